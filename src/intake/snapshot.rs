//! Snapshots: which images a job trains on, frozen, and never one that judges.

use std::collections::HashSet;

use super::IntakeError;
use crate::catalog::images::Match;
use crate::catalog::snapshots::Chosen;
use crate::catalog::validation::LabelledImage;
use crate::catalog::{Catalog, images, sites, snapshots, validation};
use crate::domain::image::PerceptualHash;
use crate::domain::{Digest, SiteName};
use crate::wire::v1::snapshots::{NewSnapshot, Snapshot};

/// Makes a snapshot of the images that match `new` now, less all that are, or
/// nearly are, in the newest validation set, in either of its splits.
pub async fn snapshot(
    catalog: &Catalog,
    site: &SiteName,
    new: &NewSnapshot,
    by: &str,
) -> Result<Snapshot, IntakeError> {
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
        let excluded: HashSet<Digest> = new.exclude.iter().copied().collect();
        // 100,000 images against 2,000 are 200 million comparisons: a fraction of a
        // second, but not one in which this thread should serve others.
        let chosen = tokio::task::spawn_blocking(move || choose(matching, &excluded, &judges));
        let (kept, left_out) = chosen.await?;
        if kept.is_empty() {
            return Err(IntakeError::SnapshotEmpty {
                site: site.clone(),
                matching: left_out,
                left_out,
            });
        }
        let chosen = Chosen {
            filter: new.filter.clone(),
            exclusions: new.exclude.clone(),
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

/// The images to train on, and how many were left out because of `judges`.
fn choose(
    matching: Vec<Match>,
    excluded: &HashSet<Digest>,
    judges: &[LabelledImage],
) -> (Vec<(Digest, u64)>, u64) {
    let digests: HashSet<Digest> = judges.iter().map(|image| image.digest).collect();
    let hashes: Vec<PerceptualHash> = judges.iter().map(|image| image.phash).collect();
    let mut left_out = 0;
    let mut kept = Vec::with_capacity(matching.len());
    for image in matching {
        if excluded.contains(&image.digest) {
            continue;
        }
        let judges = digests.contains(&image.digest) || hashes.iter().any(|hash| hash.is_near(image.phash));
        if judges {
            left_out += 1;
        } else {
            kept.push((image.digest, image.bytes));
        }
    }
    (kept, left_out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Split;
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
        let judges = [judge(b"same bytes", 0xffff_0000), judge(b"judge", 0)];
        let (kept, left_out) = choose(matching, &HashSet::from(excluded), &judges);
        assert_eq!(kept, [(Digest::of(b"not near"), 10)]);
        assert_eq!(left_out, 2);
    }
}
