//! Snapshots: which images a job trains on, frozen, and never one that judges.

use std::collections::{HashMap, HashSet};

use super::{Intake, IntakeError};
use crate::catalog::images::Match;
use crate::catalog::snapshots::Chosen;
use crate::catalog::validation::LabelledImage;
use crate::catalog::{images, sites, snapshots, validation};
use crate::domain::health::{Exclusion, FindingCode, Likenesses};
use crate::domain::{Digest, SiteName};
use crate::wire::v1::snapshots::{NewSnapshot, Snapshot};

/// Why images are left out, as the request says.
type Reasons = HashMap<Digest, Vec<Exclusion>>;

/// Makes a snapshot of the images that match `new` now, less all that are, or
/// nearly are, in the newest validation set, in either of its splits, and less
/// what `new` excludes. Findings are those of the whole site, whatever the filter;
/// of images that are excluded as duplicates alone, one of each family stays.
pub async fn snapshot(
    intake: &Intake,
    site: &SiteName,
    new: &NewSnapshot,
    by: &str,
) -> Result<Snapshot, IntakeError> {
    let catalog = &intake.catalog;
    loop {
        let mut tx = catalog.read().await?;
        sites::needed(&mut tx, site).await?;
        let matching = images::matching(&mut tx, site, &new.filter).await?;
        let version = validation::newest(&mut tx, site).await?;
        let judges = match version {
            Some(version) => validation::images(&mut tx, site, version).await?,
            None => Vec::new(),
        };
        drop(tx);
        // After the images, so that none of them came too late to be looked at.
        let reasons = reasons(intake, site, &new.exclude).await?;
        let matches = matching.len() as u64;
        // Of 100,000 images a part of a second, in which this thread should serve others.
        let chosen = tokio::task::spawn_blocking(move || choose(matching, &reasons, &judges));
        let Choice {
            kept,
            left_out,
            excluded,
        } = chosen.await?;
        if kept.is_empty() {
            return Err(IntakeError::SnapshotEmpty {
                site: site.clone(),
                matching: matches,
                left_out,
            });
        }
        let chosen = Chosen {
            filter: new.filter.clone(),
            exclusions: new.exclude.clone(),
            excluded,
            images: kept,
            left_out,
            validation: version,
        };
        let mut tx = catalog.begin().await?;
        let snapshot = snapshots::create(&mut tx, site, &chosen, by).await?;
        // The site is locked now. A validation set that came in between could hold
        // images that were chosen: choose again.
        if validation::newest(&mut tx, site).await? == version {
            tx.commit().await?;
            return Ok(snapshot);
        }
    }
}

/// The images that `exclude` means now. Refuses findings of a site that nobody
/// has looked at whole: what was not measured would be trained on unnoticed.
async fn reasons(intake: &Intake, site: &SiteName, exclude: &[Exclusion]) -> Result<Reasons, IntakeError> {
    let mut reasons = Reasons::new();
    let mut codes = HashSet::new();
    for exclusion in exclude {
        match exclusion {
            Exclusion::Image(image) => reasons.entry(*image).or_default().push(*exclusion),
            Exclusion::Finding(code) => {
                codes.insert(*code);
            }
        }
    }
    if codes.is_empty() {
        return Ok(reasons);
    }
    let health = intake.health(site, 0).await?;
    if health.unmeasured > 0 {
        return Err(IntakeError::Unmeasured {
            site: site.clone(),
            images: health.unmeasured,
        });
    }
    for finding in health
        .findings
        .iter()
        .filter(|finding| codes.contains(&finding.code))
    {
        for image in &finding.images {
            reasons
                .entry(*image)
                .or_default()
                .push(Exclusion::Finding(finding.code));
        }
    }
    Ok(reasons)
}

/// What becomes of the images that match.
struct Choice {
    /// To train on, with the sizes of their files.
    kept: Vec<(Digest, u64)>,
    /// How many are, or nearly are, in the validation set.
    left_out: u64,
    /// Left out as asked, with each reason.
    excluded: Vec<(Digest, Exclusion)>,
}

fn choose(matching: Vec<Match>, reasons: &Reasons, judges: &[LabelledImage]) -> Choice {
    let digests: HashSet<Digest> = judges.iter().map(|image| image.digest).collect();
    let like_judges: Likenesses = judges.iter().map(|image| image.phash).collect();
    let mut choice = Choice {
        kept: Vec::with_capacity(matching.len()),
        left_out: 0,
        excluded: Vec::new(),
    };
    let judges = |image: &Match| digests.contains(&image.digest) || like_judges.has_near(image.phash);
    let mut exclude = |image: &Match, reasons: &[Exclusion]| {
        let reasons = reasons.iter().map(|reason| (image.digest, *reason));
        choice.excluded.extend(reasons);
    };
    let (mut likenesses, mut stay) = (Vec::new(), Vec::new());
    for image in matching {
        match reasons.get(&image.digest).map(Vec::as_slice) {
            Some(reasons) if reasons.iter().all(is_likeness) => likenesses.push((image, reasons)),
            Some(reasons) => exclude(&image, reasons),
            None => stay.push(image),
        }
    }
    let mut staying: Likenesses = stay.iter().map(|image| image.phash).collect();
    // What they are like may itself be excluded, for blur say, or not match: then one of them takes its place.
    for (image, reasons) in likenesses {
        if judges(&image) || staying.has_near(image.phash) {
            exclude(&image, reasons);
        } else {
            staying.add(image.phash);
            stay.push(image);
        }
    }
    for image in stay {
        if judges(&image) {
            choice.left_out += 1;
        } else {
            choice.kept.push((image.digest, image.bytes));
        }
    }
    choice
}

/// Whether an image is left out only for looking like another one.
fn is_likeness(reason: &Exclusion) -> bool {
    matches!(
        reason,
        Exclusion::Finding(FindingCode::NearDuplicate | FindingCode::ExactDuplicate)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Split;
    use crate::domain::image::{Metadata, PerceptualHash};

    fn matched(name: &[u8], phash: u64) -> Match {
        Match {
            digest: Digest::of(name),
            bytes: 10,
            phash: PerceptualHash(phash),
        }
    }

    fn judge(name: &[u8], phash: u64) -> LabelledImage {
        LabelledImage {
            digest: Digest::of(name),
            name: "a".to_owned(),
            class: "a".to_owned(),
            split: Split::Test,
            bytes: 10,
            phash: PerceptualHash(phash),
            metadata: Metadata::default(),
        }
    }

    #[test]
    fn one_of_a_family_stays_where_the_first_is_excluded_for_another_reason() {
        let matching = || {
            vec![
                matched(b"blurred", 0),
                matched(b"sharp", 0b1),
                matched(b"sharp, too", 0b11),
                matched(b"other", u64::MAX),
                matched(b"like other", u64::MAX - 1),
            ]
        };
        let near = Exclusion::Finding(FindingCode::NearDuplicate);
        let mut reasons = Reasons::from(
            [b"sharp".as_slice(), b"sharp, too", b"like other"].map(|image| (Digest::of(image), vec![near])),
        );
        let kept = |reasons: &Reasons| {
            let choice = choose(matching(), reasons, &[]);
            let kept: Vec<Digest> = choice.kept.iter().map(|(digest, _)| *digest).collect();
            (kept, choice.excluded.len())
        };
        assert_eq!(
            kept(&reasons),
            ([b"blurred".as_slice(), b"other"].map(Digest::of).to_vec(), 3)
        );
        let blurred = Exclusion::Finding(FindingCode::Blurred);
        reasons.insert(Digest::of(b"blurred"), vec![blurred]);
        assert_eq!(
            kept(&reasons),
            ([b"other".as_slice(), b"sharp"].map(Digest::of).to_vec(), 3)
        );
        reasons.insert(Digest::of(b"sharp"), vec![near, blurred]);
        assert_eq!(
            kept(&reasons),
            ([b"other".as_slice(), b"sharp, too"].map(Digest::of).to_vec(), 4)
        );
    }

    #[test]
    fn what_judges_or_nearly_does_and_what_is_excluded_is_not_trained_on() {
        let far = u64::MAX;
        let matching = vec![
            matched(b"same bytes", far),
            matched(b"near", 0b1111),
            matched(b"not near", 0b1_1111),
            matched(b"excluded", far << 32),
            matched(b"excluded and near", 0b1),
        ];
        let excluded = [b"excluded".as_slice(), b"excluded and near"].map(Digest::of);
        let reasons = excluded.map(|image| (image, vec![Exclusion::Finding(FindingCode::Dark)]));
        let judges = [judge(b"same bytes", 0xffff_0000), judge(b"judge", 0)];
        let choice = choose(matching, &Reasons::from(reasons), &judges);
        assert_eq!(choice.kept, [(Digest::of(b"not near"), 10)]);
        assert_eq!(choice.left_out, 2);
        assert_eq!(
            choice.excluded,
            excluded.map(|image| (image, Exclusion::Finding(FindingCode::Dark)))
        );
    }
}
