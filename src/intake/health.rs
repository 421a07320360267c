//! What may be wrong with what a site has: what was measured at intake, judged
//! together, and what the newest report says of embeddings.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};

use super::{Intake, IntakeError};
use crate::blobs::BlobError;
use crate::catalog::{CatalogError, Tx, images, jobs, rejections, sites, snapshots, validation};
use crate::domain::health::{EmbeddingHealth, Exclusion, Finding, FindingCode, Look, Seen, findings};
use crate::domain::report::Report;
use crate::domain::{Digest, JobId, SiteName};
use crate::wire::v1::health::Rejections;
use crate::wire::v1::snapshots::ExcludedImage;

/// The health of a site, every finding with all its images.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteHealth {
    /// Images of the site.
    pub images: u64,
    /// Those that nobody has looked at.
    pub unmeasured: u64,
    /// What was found, embeddings' findings last.
    pub findings: Vec<Finding>,
    /// The job whose report embeddings' findings are from, and what it says as far as it is still
    /// so, what its training left out for such a finding included.
    pub embeddings: Option<(JobId, EmbeddingHealth)>,
    /// Files that were rejected.
    pub rejected: Rejections,
}

/// Newest reports of a site of which one is looked for that says something of embeddings.
const REPORTS: u32 = 10;

impl Intake {
    /// Looks at no more than `most` images that came before intake measured any.
    pub async fn look_at_unseen(&self, site: &SiteName, most: usize) -> Result<(), IntakeError> {
        let unseen = images::unseen(&mut self.catalog.read().await?, site, most).await?;
        if unseen.is_empty() {
            return Ok(());
        }
        let looks = unseen
            .into_iter()
            .map(|digest| async move { Ok::<_, IntakeError>((digest, self.look_again(&digest).await?)) });
        let looks: Vec<(Digest, Look)> = futures::stream::iter(looks)
            .buffered(self.limits.concurrent_decodes.max(1) + 1)
            .try_collect()
            .await?;
        let mut tx = self.catalog.begin().await?;
        for (digest, look) in &looks {
            images::looked_at(&mut tx, site, digest, look).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Looks at an image by its stored bytes.
    async fn look_again(&self, digest: &Digest) -> Result<Look, IntakeError> {
        let bytes = match self.blobs.get(digest).await {
            Ok(bytes) => bytes,
            // No other attempt would find more.
            Err(error @ (BlobError::Missing(_) | BlobError::Damaged { .. })) => {
                return Ok(Look::Unreadable(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        Ok(match self.look_at(&bytes).await? {
            Ok(picture) => Look::Measured(picture.quality),
            Err(why) => Look::Unreadable(why.to_string()),
        })
    }

    /// Judges the images of a site as they are known now; shows the newest `rejections`.
    pub async fn health(&self, site: &SiteName, rejections: usize) -> Result<SiteHealth, IntakeError> {
        let mut tx = self.catalog.read().await?;
        sites::needed(&mut tx, site).await?;
        let seen = images::seen(&mut tx, site).await?;
        let rejected = rejections::newest(&mut tx, site, rejections).await?;
        let reports = jobs::newest_reports(&mut tx, site, REPORTS).await?;
        let mut embeddings = None;
        for (job, snapshot, report) in reports {
            if let Some(health) = self.embedding_health(&report).await? {
                let left_out = snapshots::excluded(&mut tx, snapshot).await?;
                embeddings = Some((job, with_left_out(health, &left_out)));
                break;
            }
        }
        let classes = match &embeddings {
            Some((_, health)) if !health.labels.is_empty() => newest_classes(&mut tx, site).await?,
            _ => HashMap::new(),
        };
        drop(tx);
        let (images, unmeasured) = (seen.len(), seen.iter().filter(|seen| seen.look.is_none()).count());
        // Of 100,000 images a tenth of a second, in which this thread should serve others.
        let judged = tokio::task::spawn_blocking(move || {
            let embeddings = embeddings.map(|(job, health)| (job, still_so(health, &seen, &classes)));
            let mut found = findings(&seen);
            found.extend(
                embeddings
                    .iter()
                    .flat_map(|(_, health)| health.findings.iter().cloned()),
            );
            (found, embeddings)
        });
        let (found, embeddings) = judged.await?;
        Ok(SiteHealth {
            images: images as u64,
            unmeasured: unmeasured as u64,
            findings: found,
            embeddings,
            rejected,
        })
    }

    /// What a report says of embeddings; none if it says nothing, or is of a format that is not known.
    async fn embedding_health(&self, report: &Digest) -> Result<Option<EmbeddingHealth>, IntakeError> {
        let bytes = self.blobs.get(report).await?;
        match Report::from_json(&String::from_utf8_lossy(&bytes)) {
            Ok(report) => Ok(report.health),
            Err(error) => {
                tracing::warn!(%error, "report {} cannot be read for its data health", report.short());
                Ok(None)
            }
        }
    }
}

/// The class of each image of a site's newest validation set.
async fn newest_classes(tx: &mut Tx, site: &SiteName) -> Result<HashMap<Digest, String>, CatalogError> {
    let Some(version) = validation::newest(tx, site).await? else {
        return Ok(HashMap::new());
    };
    let images = validation::images(tx, site, version).await?;
    Ok(images
        .into_iter()
        .map(|image| (image.digest, image.class))
        .collect())
}

/// What a report says without what has changed since: images that were deleted, and labels that
/// the newest validation set does not give any more.
fn still_so(
    mut health: EmbeddingHealth,
    seen: &[Seen],
    classes: &HashMap<Digest, String>,
) -> EmbeddingHealth {
    let there: HashSet<Digest> = seen.iter().map(|seen| seen.digest).collect();
    health
        .labels
        .retain(|label| classes.get(&label.image) == Some(&label.given));
    let doubted: HashSet<Digest> = health.labels.iter().map(|label| label.image).collect();
    for finding in &mut health.findings {
        let known = if finding.code == FindingCode::LabelError {
            &doubted
        } else {
            &there
        };
        let before = finding.images.len();
        finding.images.retain(|image| known.contains(image));
        let gone = before - finding.images.len();
        finding.count = finding.count.saturating_sub(gone as u64);
    }
    // Images beyond those that a report lists are known to nobody, so nothing could be done about them.
    health.findings.retain(|finding| !finding.images.is_empty());
    health
}

/// Adds the images that a training left out for what an earlier one had found: its report cannot
/// say anything of them, and they would come back with the next snapshot.
fn with_left_out(mut health: EmbeddingHealth, left_out: &[ExcludedImage]) -> EmbeddingHealth {
    for code in FindingCode::ALL
        .into_iter()
        .filter(|code| code.is_of_embeddings())
    {
        let of_code = |image: &&ExcludedImage| image.reasons.contains(&Exclusion::Finding(code));
        let before: Vec<Digest> = (left_out.iter().filter(of_code))
            .map(|image| image.image)
            .collect();
        if before.is_empty() {
            continue;
        }
        if let Some(finding) = health.findings.iter_mut().find(|finding| finding.code == code) {
            finding.count += before.len() as u64;
            finding.images.extend(before);
        } else {
            let explanation = "found by an earlier training and left out of the newest".to_owned();
            health.findings.push(Finding::of(code, explanation, before));
        }
    }
    health
}

#[cfg(test)]
#[path = "tests/health.rs"]
mod tests;
