//! `katagami snapshot …`: frozen lists of images that jobs train on.

use clap::{Args, Subcommand};

use super::filter::FilterArgs;
use super::printer;
use super::remote::{CommandError, Remote};
use crate::domain::SiteName;
use crate::domain::health::Exclusion;
use crate::wire::v1::snapshots::{NewSnapshot, Snapshot};

/// Freeze lists of images that jobs train on
#[derive(Debug, Args)]
pub struct SnapshotArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
enum SnapshotCommand {
    /// Freeze the list of the images that match now; without a filter, of all of them
    Create {
        /// The site
        site: SiteName,
        #[command(flatten)]
        filter: FilterArgs,
        /// What to leave out although it matches: findings of `katagami images health`, such as
        /// blurred,dark, and digests of images. Nothing is deleted
        #[arg(long, value_name = "FINDING|DIGEST", value_delimiter = ',')]
        exclude: Vec<Exclusion>,
    },
    /// List a site's snapshots
    List {
        /// The site
        site: SiteName,
    },
}

/// Runs a `snapshot` command.
pub async fn run(args: SnapshotArgs) -> Result<(), CommandError> {
    let client = args.remote.connect()?;
    match args.command {
        SnapshotCommand::Create {
            site,
            filter,
            exclude,
        } => {
            let new = NewSnapshot {
                filter: filter.filter(),
                exclude,
            };
            let snapshot = client.create_snapshot(&site, &new).await?;
            args.remote.answer(&snapshot, || {
                printer::line(&format!(
                    "snapshot {} of `{site}`: {} images, {} left out because the validation set has them or nearly",
                    snapshot.id, snapshot.images, snapshot.left_out
                ));
                if !snapshot.exclude.is_empty() {
                    printer::line(&format!("  {} images excluded as asked", snapshot.excluded));
                }
                printer::next(&format!("katagami job start {site} --snapshot {} --watch", snapshot.id));
            });
        }
        SnapshotCommand::List { site } => {
            let snapshots = client.all_snapshots(&site).await?;
            args.remote.answer(&snapshots, || list(&site, &snapshots));
        }
    }
    Ok(())
}

fn list(site: &SiteName, snapshots: &[Snapshot]) {
    if snapshots.is_empty() {
        return printer::line(&format!(
            "no snapshot yet; make one with `katagami snapshot create {site}`, or start a job, which makes its own"
        ));
    }
    let row = |snapshot: &Snapshot| {
        let metadata = snapshot.filter.metadata.iter();
        let filter: Vec<String> = metadata.map(|(key, value)| format!("{key}={value}")).collect();
        [
            snapshot.id.to_string(),
            snapshot.images.to_string(),
            snapshot.left_out.to_string(),
            snapshot.excluded.to_string(),
            printer::or_dash(snapshot.validation),
            if snapshot.incomplete {
                "incomplete"
            } else {
                "whole"
            }
            .to_owned(),
            snapshot.created_at.to_string(),
            filter.join(" "),
        ]
    };
    let rows: Vec<_> = snapshots.iter().map(row).collect();
    printer::table(
        [
            "SNAPSHOT",
            "IMAGES",
            "LEFT OUT",
            "EXCLUDED",
            "VALIDATION SET",
            "STATE",
            "MADE",
            "METADATA",
        ],
        &rows,
    );
}
