//! `katagami images health`: what may be wrong with a site's images, or with those of a folder.

use clap::Args;

use crate::cli::printer;
use crate::cli::remote::{CommandError, Remote};
use crate::client::Client;
use crate::domain::health::{DoubtedLabel, FEWEST_COMPARED, Finding, FindingCode};
use crate::domain::{Digest, SiteName};
use crate::wire::v1::health::{Health, HealthQuery, MOST_LISTED, Rejections};

/// Arguments of `images health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// The site
    #[cfg_attr(feature = "server", arg(required_unless_present = "folder"))]
    #[cfg_attr(not(feature = "server"), arg(required = true))]
    site: Option<SiteName>,
    /// Look at the pictures of a folder on this machine instead; needs no server
    #[cfg(feature = "server")]
    #[arg(long, value_name = "DIR", conflicts_with = "site")]
    folder: Option<std::path::PathBuf>,
    /// Only this finding, its images one a line: for scripts
    #[arg(long, value_name = "CODE")]
    finding: Option<FindingCode>,
    /// Most images that are listed of a finding; 0: as many as can be, of a site 10,000
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

/// Runs the command.
pub async fn run(remote: &Remote, args: &HealthArgs) -> Result<(), CommandError> {
    #[cfg(feature = "server")]
    if let Some(folder) = &args.folder {
        return super::folder::health(remote, folder, args.finding, args.limit);
    }
    let Some(site) = &args.site else {
        unreachable!("clap asks for a site where there is no folder")
    };
    let health = measured(&remote.connect()?, site, args).await?;
    let compared = compared(&health);
    remote.answer(&health, || {
        print(&health, args.finding, compared, ToString::to_string);
        if args.finding.is_none() {
            rejected(&health.rejected, "submitted files were rejected, the newest", 5);
        }
    });
    shortened(&health, args.finding, args.limit);
    let excludable: Vec<&str> = (health.findings.iter().map(|finding| finding.code))
        .filter(|code| *code != FindingCode::LabelError)
        .map(FindingCode::word)
        .collect();
    if !remote.json && args.finding.is_none() && !excludable.is_empty() {
        let codes = excludable.join(",");
        printer::next(&format!("katagami snapshot create {site} --exclude {codes}"));
    }
    Ok(())
}

/// How many images of a site were measured.
fn compared(health: &Health) -> u64 {
    let unreadable = (health.findings.iter())
        .filter(|finding| finding.code == FindingCode::Unreadable)
        .map(|finding| finding.count);
    health
        .images
        .saturating_sub(health.unmeasured + unreadable.sum::<u64>())
}

/// Asks until all images were looked at, as long as there are fewer each time.
async fn measured(client: &Client, site: &SiteName, args: &HealthArgs) -> Result<Health, CommandError> {
    let query = HealthQuery {
        finding: args.finding,
        limit: Some(if args.limit == 0 { MOST_LISTED } else { args.limit }),
    };
    let mut health = client.health(site, &query).await?;
    while health.unmeasured > 0 {
        printer::note(&format!(
            "{} images of before are still to be looked at",
            health.unmeasured
        ));
        let before = health.unmeasured;
        health = client.health(site, &query).await?;
        if health.unmeasured >= before {
            break;
        }
    }
    Ok(health)
}

/// Prints findings with their reasons; of one that was asked for, its images as `name` calls them.
/// `compared` images were measured.
pub(super) fn print<D: AsRef<str>>(
    health: &Health,
    only: Option<FindingCode>,
    compared: u64,
    name: impl Fn(&Digest) -> D,
) {
    let found = &health.findings;
    let few = (1..FEWEST_COMPARED as u64).contains(&compared).then(|| {
        format!(
            "fewer than {FEWEST_COMPARED} images are judged by absolute limits only, not compared with each other"
        )
    });
    if let Some(code) = only {
        let images = found
            .iter()
            .filter(|finding| finding.code == code)
            .flat_map(|finding| &finding.images);
        images.for_each(|image| printer::line(name(image).as_ref()));
        if let Some(few) = few.filter(|_| is_compared(code)) {
            printer::note(&few);
        }
        return;
    }
    if health.images == 0 {
        printer::line("there are no images");
    } else if found.is_empty() {
        printer::line(&format!(
            "{} images, and nothing found wrong with them",
            health.images
        ));
    } else {
        let row = |finding: &Finding| {
            [
                finding.code.to_string(),
                finding.count.to_string(),
                finding.explanation.clone(),
            ]
        };
        let rows: Vec<_> = found.iter().map(row).collect();
        printer::table(["FINDING", "IMAGES", "WHY"], &rows);
        printer::line(&format!(
            "of {} images; an image may be in several findings",
            health.images
        ));
    }
    if let Some(few) = few {
        printer::line(&few);
    }
    labels(&health.labels);
    if health.unmeasured > 0 {
        printer::line(&format!("{} images were not looked at", health.unmeasured));
    }
}

/// Whether images are found by comparing them with the others.
fn is_compared(code: FindingCode) -> bool {
    use FindingCode::{Blurred, Bright, Clipped, Dark, LowInformation, OddSize};
    matches!(code, Dark | Bright | Clipped | Blurred | LowInformation | OddSize)
}

/// Says so where the finding that was asked for has more images than were listed.
pub(super) fn shortened(health: &Health, only: Option<FindingCode>, limit: u32) {
    let Some(code) = only else { return };
    for finding in health.findings.iter().filter(|finding| finding.code == code) {
        let (count, listed) = (finding.count, finding.images.len() as u64);
        if listed < count {
            let rest = if listed == u64::from(limit) {
                "list more with --limit 0"
            } else {
                "no more can be listed"
            };
            printer::note(&format!("{listed} of {count} images are listed; {rest}"));
        }
    }
}

/// Prints at most `most` of the rejected files, below how many there are and what `said` of them.
pub(super) fn rejected(rejected: &Rejections, said: &str, most: usize) {
    if rejected.count == 0 {
        return;
    }
    printer::line(&format!("{} {said}:", rejected.count));
    for file in rejected.newest.iter().take(most) {
        printer::line(&format!("  {}: {}", file.name, file.detail));
    }
}

/// Prints labels that are doubted.
pub fn labels(doubted: &[DoubtedLabel]) {
    for DoubtedLabel { image, given, likely } in doubted {
        printer::line(&format!(
            "  {} is labelled {given}, looks like {likely}",
            image.short()
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::health::{Look, Quality, Seen, findings};
    use crate::domain::image::PerceptualHash;

    #[test]
    fn the_number_from_which_images_are_compared_is_that_of_the_rules() {
        // The first one is dark beside the others, but not black.
        let seen = |number: u64| Seen {
            digest: Digest::of(&number.to_le_bytes()),
            width: 64,
            height: 64,
            phash: PerceptualHash((number + 1).wrapping_mul(0xd6e8_feb8_6659_fd93)),
            look: Some(Look::Measured(Quality {
                luminance: if number == 0 { 20.0 } else { 110.0 },
                darkest: 2,
                brightest: 200,
                clipped: 0.0,
                entropy: 6.0,
                sharpness: 0.05,
                pixels: Digest::of(&(number + 1_000).to_le_bytes()),
            })),
        };
        let found = |count: u64| findings(&(0..count).map(seen).collect::<Vec<_>>());
        assert!(found(FEWEST_COMPARED as u64 - 1).is_empty());
        let codes: Vec<_> = (found(FEWEST_COMPARED as u64).iter())
            .map(|finding| finding.code)
            .collect();
        assert_eq!(codes, [FindingCode::Dark]);
        assert!(codes.into_iter().all(is_compared));
    }
}
