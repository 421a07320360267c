//! `katagami mask …`: what the trainings made.

mod report;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::remote::{CommandError, Remote};
use super::{printer, progress};
use crate::client::Download;
use crate::domain::{MaskVersion, SiteName};
use crate::wire::v1::masks::{Mask, MaskDelta};

pub use report::print as print_report;

/// The longest artefact that is downloaded.
const LONGEST: u64 = 256 << 20;

/// Look at masks, their reports and verdicts, and get their files
#[derive(Debug, Args)]
pub struct MaskArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: MaskCommand,
}

#[derive(Debug, Subcommand)]
enum MaskCommand {
    /// List a site's masks
    List {
        /// The site
        site: SiteName,
    },
    /// Show a mask: its verdict, figures and origin
    Show {
        /// The site
        site: SiteName,
        /// The mask's version
        version: MaskVersion,
    },
    /// Show the evidence: figures of base and mask, the random mask beside them, the gate's verdict
    Report {
        /// The site
        site: SiteName,
        /// The mask's version
        version: MaskVersion,
    },
    /// Get a mask's artefact as a file; its digest is checked
    Get {
        /// The site
        site: SiteName,
        /// The mask's version
        version: MaskVersion,
        /// Where it goes. Default: SITE-VERSION.kgm
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs a `mask` command.
pub async fn run(args: MaskArgs) -> Result<(), CommandError> {
    let client = args.remote.connect()?;
    let remote = args.remote;
    match args.command {
        MaskCommand::List { site } => {
            let masks = client.all_masks(&site).await?;
            remote.answer(&masks, || list(&site, &masks));
        }
        MaskCommand::Show { site, version } => {
            let mask = client.mask(&site, version).await?;
            let deltas = client.mask_deltas(&site, version).await?;
            remote.answer(&mask, || show(&mask, &deltas));
        }
        MaskCommand::Report { site, version } => {
            let report = client.mask_report(&site, version).await?;
            remote.answer(&report, || {
                print_report(&format!("mask {version} of `{site}`"), &report);
                printer::next(&release(&site, version, report.gate.verdict.word()));
            });
        }
        MaskCommand::Get { site, version, out } => {
            let mask = client.mask(&site, version).await?;
            let out = out.unwrap_or_else(|| PathBuf::from(format!("{site}-{version}.kgm")));
            let bar = progress::bytes(format!("getting mask {version} of `{site}`"), Some(mask.bytes));
            let wanted = Download {
                to: &out,
                digest: mask.digest,
                limit: LONGEST,
                progress: &mut |bytes, _| bar.set_position(bytes),
            };
            let outcome = client.download_mask(&site, version, wanted).await;
            bar.finish_and_clear();
            outcome?;
            let answer = json!({ "file": out, "digest": mask.digest, "bytes": mask.bytes });
            remote.answer(&answer, || {
                printer::line(&format!(
                    "{} has mask {version} of `{site}`, {}, with digest {}",
                    out.display(),
                    printer::bytes(mask.bytes),
                    mask.digest
                ));
                printer::next(&format!("katagami artefact show {}", out.display()));
            });
        }
    }
    Ok(())
}

/// The command that releases a mask with this verdict.
fn release(site: &SiteName, version: MaskVersion, verdict: &str) -> String {
    let command = format!("katagami release set {site} stable {version}");
    match verdict {
        "passed" => command,
        "held" => format!("{command} --reason WHY (the gate held it)"),
        _ => format!("{command} --force --reason WHY (the gate refused it; admins only)"),
    }
}

fn list(site: &SiteName, masks: &[Mask]) {
    if masks.is_empty() {
        return printer::line(&format!(
            "no mask yet; train one with `katagami job start {site} --watch`"
        ));
    }
    let figure = |value: Option<f64>| printer::or_dash(value.map(|value| format!("{value:.3}")));
    let row = |mask: &Mask| {
        let difference = mask
            .kpi_difference
            .map(|[value, lower, upper]| format!("{value:+.3} ({lower:+.3} to {upper:+.3})"));
        [
            mask.version.to_string(),
            mask.verdict.clone(),
            figure(mask.kpi_base),
            figure(mask.kpi_mask),
            printer::or_dash(difference),
            mask.flips.to_string(),
            printer::bytes(mask.bytes),
            mask.created_at.to_string(),
        ]
    };
    let rows: Vec<_> = masks.iter().map(row).collect();
    printer::table(
        [
            "MASK",
            "GATE",
            "KPI, BASE",
            "KPI, MASK",
            "DIFFERENCE",
            "DROPPED",
            "BYTES",
            "MADE",
        ],
        &rows,
    );
}

fn show(mask: &Mask, deltas: &[MaskDelta]) {
    let delta = |delta: &MaskDelta| format!("{} from mask {}", printer::bytes(delta.bytes), delta.parent);
    let deltas: Vec<_> = deltas.iter().map(delta).collect();
    let gate = match mask.reasons.as_slice() {
        [] => mask.verdict.clone(),
        reasons => format!("{}: {}", mask.verdict, reasons.join("; ")),
    };
    let parent = mask.parent.map(|version| format!("mask {version}"));
    printer::facts(&[
        ("mask", format!("{} of {}", mask.version, mask.site)),
        ("gate", gate),
        ("drops", format!("{} weights", mask.flips)),
        ("bytes", printer::bytes(mask.bytes)),
        (
            "deltas",
            printer::or_dash((!deltas.is_empty()).then(|| deltas.join(", "))),
        ),
        ("digest", mask.digest.to_string()),
        ("base", mask.base.to_string()),
        ("view", mask.view.to_string()),
        ("weights", format!("{} once applied", mask.weights)),
        ("job", mask.job.to_string()),
        ("started from", parent.unwrap_or_else(|| "the base".to_owned())),
        ("made", mask.created_at.to_string()),
    ]);
    printer::next(&format!("katagami mask report {} {}", mask.site, mask.version));
}
