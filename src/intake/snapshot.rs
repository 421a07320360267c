//! Snapshots: which images a job trains on, frozen, and never one that judges.

use std::collections::{HashMap, HashSet};

use super::{Intake, IntakeError};
use crate::catalog::images::Match;
use crate::catalog::snapshots::Chosen;
use crate::catalog::validation::LabelledImage;
use crate::catalog::{images, sites, snapshots, validation};
use crate::domain::health::Exclusion;
use crate::domain::image::PerceptualHash;
use crate::domain::{Digest, SiteName};
use crate::wire::v1::snapshots::{NewSnapshot, Snapshot};

/// Why images are left out, as the request says.
type Reasons = HashMap<Digest, Vec<Exclusion>>;

/// Makes a snapshot of the images that match `new` now, less all that are, or
/// nearly are, in the newest validation set, in either of its splits, and less
/// what `new` excludes. Findings are those of the whole site, whatever the filter.
pub async fn snapshot(
    intake: &Intake,
    site: &SiteName,
    new: &NewSnapshot,
    by: &str,
) -> Result<Snapshot, IntakeError> {
    let catalog = &intake.catalog;
    loop {
        let reasons = reasons(intake, site, &new.exclude).await?;
        let mut tx = catalog.read().await?;
        sites::needed(&mut tx, site).await?;
        let matching = images::matching(&mut tx, site, &new.filter).await?;
        let version = validation::newest(&mut tx, site).await?;
        let judges = match version {
            Some(version) => validation::images(&mut tx, site, version).await?,
            None => Vec::new(),
        };
        drop(tx);
        let matches = matching.len() as u64;
        // 100,000 images against 2,000 are 200 million comparisons: a fraction of a
        // second, but not one in which this thread should serve others.
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
    let hashes: Vec<PerceptualHash> = judges.iter().map(|image| image.phash).collect();
    let mut choice = Choice {
        kept: Vec::with_capacity(matching.len()),
        left_out: 0,
        excluded: Vec::new(),
    };
    for image in matching {
        if let Some(reasons) = reasons.get(&image.digest) {
            choice
                .excluded
                .extend(reasons.iter().map(|reason| (image.digest, *reason)));
            continue;
        }
        let judges = digests.contains(&image.digest) || hashes.iter().any(|hash| hash.is_near(image.phash));
        if judges {
            choice.left_out += 1;
        } else {
            choice.kept.push((image.digest, image.bytes));
        }
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Split;
    use crate::domain::health::FindingCode;
    use crate::domain::image::Metadata;

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
