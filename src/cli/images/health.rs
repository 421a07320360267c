//! `katagami images health`: what may be wrong with a site's images, or with those of a folder.

use clap::Args;

use crate::cli::printer;
use crate::cli::remote::{CommandError, Remote};
use crate::client::Client;
use crate::domain::SiteName;
use crate::domain::health::{DoubtedLabel, FindingCode};
use crate::wire::v1::health::{Health, HealthQuery};

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
    /// Most images that are listed of a finding
    #[arg(long, default_value_t = 100)]
    limit: u32,
}

/// Runs the command.
pub async fn run(remote: &Remote, args: &HealthArgs) -> Result<(), CommandError> {
    #[cfg(feature = "server")]
    if let Some(folder) = &args.folder {
        return super::folder::health(remote, folder, args.finding, args.limit as usize);
    }
    let Some(site) = &args.site else {
        unreachable!("clap asks for a site where there is no folder")
    };
    let health = measured(&remote.connect()?, site, args).await?;
    remote.answer(&health, || print(&health, args.finding, ToString::to_string));
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

/// Asks until all images were looked at, as long as there are fewer each time.
async fn measured(client: &Client, site: &SiteName, args: &HealthArgs) -> Result<Health, CommandError> {
    let query = HealthQuery {
        finding: args.finding,
        limit: Some(args.limit),
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
pub(super) fn print<D: AsRef<str>>(
    health: &Health,
    only: Option<FindingCode>,
    name: impl Fn(&crate::domain::Digest) -> D,
) {
    let found = &health.findings;
    if let Some(code) = only {
        let images = found
            .iter()
            .filter(|finding| finding.code == code)
            .flat_map(|finding| &finding.images);
        return images.for_each(|image| printer::line(name(image).as_ref()));
    }
    if found.is_empty() {
        printer::line(&format!(
            "{} images, and nothing found wrong with them",
            health.images
        ));
    } else {
        let row = |finding: &crate::domain::health::Finding| {
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
    labels(&health.labels);
    if health.unmeasured > 0 {
        printer::line(&format!("{} images were not looked at", health.unmeasured));
    }
    if health.rejected.count > 0 {
        printer::line(&format!(
            "{} submitted files were rejected, the newest:",
            health.rejected.count
        ));
        for file in health.rejected.newest.iter().take(5) {
            printer::line(&format!("  {}: {}", file.name, file.detail));
        }
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
