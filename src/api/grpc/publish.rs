//! Publishing: what an attempt brings is compared with its job before anything is stored.

use super::messages::Brought;
use crate::api::bases;
use crate::api::blocking::blocking;
use crate::api::error::ApiError;
use crate::api::state::App;
use crate::catalog::attempts::{self, Assignment};
use crate::catalog::jobs::{self, Abandoned, PublishedMask};
use crate::catalog::{CatalogError, Tx, blobs};
use crate::domain::report::{Report, ReportError};
use crate::domain::{AttemptId, Digest, ErrorKind, Problem};
use crate::killpoint;
use crate::mask::cascade::Experts;
use crate::mask::{Artefact, Limits, MaskError, decode};
use crate::wire::grpc::v1::PublishReply;
use crate::wire::v1::jobs::Outcome;

/// Longest report and artefact that are read.
const LONGEST_REPORT: u64 = 64 << 20;
const LONGEST_ARTEFACT: u64 = 256 << 20;
/// What a job without a mask is answered.
const NO_IMPROVEMENT: &str = "no improvement";

/// Why a result is not that of its job.
#[derive(Debug, thiserror::Error)]
pub enum WrongResult {
    /// A part is longer than such a thing can be.
    #[error("{what} has {bytes} bytes, more than any; the attempt has failed")]
    TooLong {
        /// Which.
        what: &'static str,
        /// Its length.
        bytes: u64,
    },
    /// The report cannot be read.
    #[error("the attempt has failed: {0}")]
    Report(#[from] ReportError),
    /// The artefact cannot be read.
    #[error("the attempt has failed: {0}")]
    Artefact(#[from] MaskError),
    /// The artefact or the report says something else than the job.
    #[error(
        "the {part} names another {what} than its job ({given} instead of {expected}); the attempt has failed"
    )]
    Other {
        /// Artefact or report.
        part: &'static str,
        /// What differs.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        given: String,
    },
}

impl Problem for WrongResult {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn code(&self) -> &'static str {
        "result_wrong"
    }
}

/// Ends the job of `attempt` with what it brings. A result that is not the
/// job's ends the attempt as a failure, and nothing of it is stored.
pub async fn publish(app: &App, attempt: AttemptId, result: &Brought) -> Result<PublishReply, ApiError> {
    let mut tx = app.catalog.read().await?;
    let assignment = match attempts::assignment(&mut tx, attempt).await {
        Err(lost @ CatalogError::LeaseLost { .. }) => return published_before(&mut tx, attempt, lost).await,
        assignment => assignment?,
    };
    let sizes = sizes(&mut tx, attempt, result).await?;
    drop(tx);
    let checked = match checked(app, &assignment, result, sizes).await? {
        Ok(checked) => checked,
        Err(wrong) => return Err(failed(app, attempt, wrong).await?),
    };
    let verdict = checked
        .as_ref()
        .map_or(NO_IMPROVEMENT, |mask| mask.verdict.as_str())
        .to_owned();
    let published = jobs::Published {
        report: result.report,
        mask: checked,
    };
    let mut tx = app.catalog.begin().await?;
    let version = match jobs::publish(&mut tx, attempt, &published).await {
        Err(lost @ CatalogError::LeaseLost { .. }) => return published_before(&mut tx, attempt, lost).await,
        version => version?,
    };
    killpoint::reached("server-publish");
    tx.commit().await?;
    app.deltas.notify_one();
    tracing::info!(%attempt, mask = version.map(|version| version.0), verdict, "published");
    Ok(PublishReply {
        mask_version: version.map_or(0, |version| version.0),
        verdict,
    })
}

/// The answer of a call that ended the job but whose answer was lost; else that the lease is.
async fn published_before(
    tx: &mut Tx,
    attempt: AttemptId,
    lost: CatalogError,
) -> Result<PublishReply, ApiError> {
    let job = jobs::get(tx, attempt.job).await?;
    match job
        .filter(|job| job.attempt == attempt.number)
        .and_then(|job| job.outcome)
    {
        Some(Outcome::Mask { version, verdict }) => Ok(PublishReply {
            mask_version: version.0,
            verdict,
        }),
        Some(Outcome::NoImprovement { .. }) => Ok(PublishReply {
            mask_version: 0,
            verdict: NO_IMPROVEMENT.to_owned(),
        }),
        _ => Err(lost.into()),
    }
}

/// Bytes of report and artefact, which the attempt must have uploaded.
async fn sizes(tx: &mut Tx, attempt: AttemptId, result: &Brought) -> Result<[u64; 2], ApiError> {
    let mut sizes = [0; 2];
    let parts = [Some(result.report), result.mask.map(|(artefact, _)| artefact)];
    for (size, digest) in sizes.iter_mut().zip(parts) {
        if let Some(digest) = digest {
            let stored = blobs::exists(tx, &digest).await?;
            *size = stored.ok_or(CatalogError::NotUploaded { attempt, digest })?;
        }
    }
    Ok(sizes)
}

/// Ends the attempt of a wrong result, and answers what its worker is told.
async fn failed(app: &App, attempt: AttemptId, wrong: WrongResult) -> Result<ApiError, ApiError> {
    tracing::warn!(%attempt, error = %wrong, "a worker brought a result that is not its job's");
    let why = Abandoned::Failed {
        error: wrong.to_string(),
        // Another worker may have another version.
        retry: true,
    };
    let mut tx = app.catalog.begin().await?;
    jobs::abandon(&mut tx, attempt, &why).await?;
    tx.commit().await?;
    Ok(wrong.into())
}

/// What a right result stores. The outer error is the server's, the inner one the result's.
async fn checked(
    app: &App,
    job: &Assignment,
    result: &Brought,
    [report_bytes, artefact_bytes]: [u64; 2],
) -> Result<Result<Option<PublishedMask>, WrongResult>, ApiError> {
    for (what, bytes, longest) in [
        ("the report", report_bytes, LONGEST_REPORT),
        ("the artefact", artefact_bytes, LONGEST_ARTEFACT),
    ] {
        if bytes > longest {
            return Ok(Err(WrongResult::TooLong { what, bytes }));
        }
    }
    let report = app.blobs.get(&result.report).await?;
    let artefact = match &result.mask {
        Some((artefact, _)) => Some(app.blobs.get(artefact).await?),
        None => None,
    };
    let read = blocking(move || {
        let report = Report::from_json(&String::from_utf8_lossy(&report))?;
        let artefact = artefact.map(|artefact| decode(&artefact, Limits::default()));
        Ok::<_, WrongResult>((report, artefact.transpose()?))
    });
    let compared = read.await.and_then(|(report, artefact)| {
        compared(job, result, &report, artefact.as_ref())?;
        Ok((report, artefact.zip(result.mask)))
    });
    let (report, mask) = match compared {
        Ok(compared) => compared,
        Err(wrong) => return Ok(Err(wrong)),
    };
    let Some((artefact, parts)) = mask else {
        return Ok(Ok(None));
    };
    let mask = stored(&report, &artefact, parts);
    let base = app.blobs.get(&job.base.file).await?;
    let yields = blocking(move || yields_its_weights(&base, &artefact)).await?;
    Ok(yields.map(|()| Some(mask)))
}

/// Whether the artefact over the base's file yields the weights that it
/// promises, of experts, too: devices would refuse others, and everybody would wonder why.
fn yields_its_weights(base: &[u8], artefact: &Artefact) -> Result<Result<(), WrongResult>, ApiError> {
    let checked = artefact.check_networks(&bases::weights(base, artefact.architecture)?);
    Ok(checked.map_err(WrongResult::Artefact))
}

/// What the catalog keeps of a mask.
fn stored(report: &Report, artefact: &Artefact, (digest, scores): (Digest, Digest)) -> PublishedMask {
    let kpi = report
        .validation
        .as_ref()
        .and_then(|figures| figures.of(&report.kpi));
    let verdict = &report.gate.verdict;
    PublishedMask {
        artefact: digest,
        scores,
        weights: artefact.header.weights,
        flips: artefact.flips() as u64,
        verdict: verdict.word().to_owned(),
        reasons: verdict.reasons().iter().map(ToString::to_string).collect(),
        kpi_base: kpi.map(|kpi| kpi.base.value),
        kpi_mask: kpi.map(|kpi| kpi.mask.value),
        kpi_difference: kpi.map(|kpi| {
            let difference = kpi.difference;
            [difference.value, difference.lower, difference.upper]
        }),
    }
}

/// Whether report and artefact are those of the job.
fn compared(
    job: &Assignment,
    result: &Brought,
    report: &Report,
    artefact: Option<&Artefact>,
) -> Result<(), WrongResult> {
    let same = |part, what, expected: String, given: String| {
        if expected == given {
            Ok(())
        } else {
            Err(WrongResult::Other {
                part,
                what,
                expected,
                given,
            })
        }
    };
    same("report", "figure", job.kpi.to_string(), report.kpi.to_string())?;
    same("report", "view", job.view.to_string(), report.view.to_string())?;
    let settings = |settings| serde_json::to_string(settings).unwrap_or_default();
    same(
        "report",
        "gate",
        settings(&job.gate),
        settings(&report.gate.settings),
    )?;
    let answers = report
        .validation
        .as_ref()
        .filter(|figures| figures.of(&report.kpi).is_some());
    if let Some(figures) = answers {
        let told = figures.widened.map_or(0, |widened| widened.judged_before);
        same(
            "report",
            "number of masks judged before",
            job.judged_before.to_string(),
            told.to_string(),
        )?;
    }
    let found = |found: bool| if found { "a mask" } else { "no mask" }.to_owned();
    let improved = !report.gate.verdict.is_no_improvement();
    same("report", "outcome", found(artefact.is_some()), found(improved))?;
    let Some(artefact) = artefact else {
        return Ok(());
    };
    let header = &artefact.header;
    let none = || "none".to_owned();
    for (what, expected, given) in [
        (
            "base",
            job.base.manifest.digest.to_string(),
            header.base.to_string(),
        ),
        (
            "preprocessing",
            job.base.preprocessing.to_string(),
            header.preprocessing.to_string(),
        ),
        ("view", job.view.to_string(), header.view.to_string()),
        ("site", job.site.to_string(), header.site.to_string()),
        (
            "version",
            job.mask_version.to_string(),
            header.version.to_string(),
        ),
        (
            "snapshot",
            job.snapshot_digest.to_string(),
            header.snapshot.to_string(),
        ),
        (
            "job",
            job.attempt.job.to_string(),
            header.job.map_or_else(none, |job| job.to_string()),
        ),
        (
            "report",
            result.report.to_string(),
            header.report.map_or_else(none, |report| report.to_string()),
        ),
    ] {
        same("artefact", what, expected, given)?;
    }
    let (fallen, told) = (artefact.flips() as u64, report.training.flips);
    same(
        "report",
        "number of fallen weights",
        fallen.to_string(),
        told.to_string(),
    )?;
    let experts = artefact.experts.as_ref().map_or(0, Experts::count);
    same(
        "report",
        "number of experts",
        experts.to_string(),
        report.training.experts.len().to_string(),
    )
}
