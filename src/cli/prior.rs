//! `katagami prior …`: what the masks of sites that lend them have in common.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::printer;
use super::remote::{CommandError, Remote};
use crate::client::Download;
use crate::wire::v1::priors::Prior;

/// The longest prior that is downloaded.
const LONGEST: u64 = 64 << 20;

/// Learn population priors from the masks of sites that lend them, and get them
#[derive(Debug, Args)]
pub struct PriorArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: PriorCommand,
}

#[derive(Debug, Subcommand)]
enum PriorCommand {
    /// Learn the next prior of the active base, from the newest mask of each site that lends its masks
    Make,
    /// List the priors
    List,
    /// Get a prior as a file; its digest is checked
    Get {
        /// The prior's digest, or its beginning
        prior: String,
        /// Where it goes. Default: DIGEST.kgp
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs a `prior` command.
pub async fn run(args: PriorArgs) -> Result<(), CommandError> {
    let client = args.remote.connect()?;
    let remote = args.remote;
    match args.command {
        PriorCommand::Make => {
            let prior = client.make_prior().await?;
            remote.answer(&prior, || {
                printer::line(&format!(
                    "prior {} of base {}, version {}, from {} sites, {}",
                    prior.digest,
                    prior.base.short(),
                    prior.version,
                    prior.sites,
                    printer::bytes(prior.bytes)
                ));
                printer::next("katagami prior list");
            });
        }
        PriorCommand::List => {
            let priors = client.all_priors().await?;
            remote.answer(&priors, || list(&priors));
        }
        PriorCommand::Get { prior, out } => {
            let priors = client.all_priors().await?;
            let prior = chosen(priors, &prior)?;
            let out = out.unwrap_or_else(|| PathBuf::from(format!("{}.kgp", prior.digest.short())));
            let wanted = Download {
                to: &out,
                digest: prior.file,
                limit: LONGEST,
                progress: &mut |_, _| {},
            };
            client.download_prior(&prior.digest, wanted).await?;
            let answer = json!({ "file": out, "digest": prior.digest, "bytes": prior.bytes });
            remote.answer(&answer, || {
                printer::line(&format!("{} has prior {}", out.display(), prior.digest));
            });
        }
    }
    Ok(())
}

/// The one prior whose digest begins with `given`.
fn chosen(priors: Vec<Prior>, given: &str) -> Result<Prior, CommandError> {
    let begins = |prior: &Prior| prior.digest.to_string().starts_with(given);
    let mut found = priors.into_iter().filter(begins);
    let first = found.next();
    match (first, found.next()) {
        (Some(prior), None) => Ok(prior),
        _ => Err(CommandError::NoSuchPrior(given.to_owned())),
    }
}

fn list(priors: &[Prior]) {
    if priors.is_empty() {
        return printer::line(
            "no prior yet; sites lend their masks with `katagami site set SITE --lend-masks true`, then run `katagami prior make`",
        );
    }
    let row = |prior: &Prior| {
        [
            prior.digest.short(),
            prior.base.short(),
            prior.version.to_string(),
            prior.sites.to_string(),
            printer::bytes(prior.bytes),
            prior.made_at.to_string(),
        ]
    };
    let rows: Vec<_> = priors.iter().map(row).collect();
    printer::table(["PRIOR", "BASE", "VERSION", "SITES", "SIZE", "MADE"], &rows);
}
