//! `katagami validation …`: the labelled pictures that judge a site's masks.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::images::pack;
use super::remote::{CommandError, Remote};
use super::{printer, progress};
use crate::client::{Client, Upload};
use crate::domain::SiteName;
use crate::wire::v1::images::Received;
use crate::wire::v1::validation::{ClassCounts, ValidationReceived, ValidationSet};

/// Set and list the labelled pictures that judge a site's masks
#[derive(Debug, Args)]
pub struct ValidationArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: ValidationCommand,
}

#[derive(Debug, Subcommand)]
enum ValidationCommand {
    /// Set a site's validation set: the newest one judges, earlier ones stay readable
    ///
    /// The folder (or tar) has one folder of pictures for each class, CLASS/FILE; or
    /// validation/CLASS/FILE and test/CLASS/FILE; or files with labels.csv (file,class or
    /// file,class,split). The gate judges by split validation; split test is kept from it, and
    /// is what people are shown. A set without splits is split if it has 100 pictures or more: two
    /// fifths are test then. Captions (NAME.json beside NAME.png) and further columns of labels.csv,
    /// such as line or shift, make the slices that are looked at one by one. Links are
    /// followed, but for those that lead back to a folder that they lie in.
    Set {
        /// The site
        site: SiteName,
        /// A folder or a tar
        #[arg(value_name = "DIR|TAR")]
        path: PathBuf,
    },
    /// List a site's validation sets
    List {
        /// The site
        site: SiteName,
    },
}

/// Runs a `validation` command.
pub async fn run(args: ValidationArgs) -> Result<(), CommandError> {
    let client = args.remote.connect()?;
    match args.command {
        ValidationCommand::Set { site, path } => {
            let received = set(&client, &site, &path).await?;
            args.remote.answer(&received, || show(&site, &received));
            if !received.rejected.is_empty() {
                let rejected = received.rejected.len() as u64;
                let files = rejected + received.set.images;
                return Err(CommandError::Rejected { rejected, files });
            }
            if !args.remote.json {
                printer::next(&format!("katagami job start {site} --watch"));
            }
        }
        ValidationCommand::List { site } => {
            let sets = client.all_validation_sets(&site).await?;
            args.remote.answer(&sets, || list(&site, &sets));
        }
    }
    Ok(())
}

/// Sets the validation set of a folder or tar. Shows progress on standard error.
pub async fn set(client: &Client, site: &SiteName, path: &Path) -> Result<ValidationReceived, CommandError> {
    if path.is_dir() {
        let entries = pack::entries(path).map_err(CommandError::at(path))?;
        if entries.is_empty() {
            return Err(CommandError::NothingToSend(format!("`{}`", path.display())));
        }
        let (entries, unreadable) = pack::readable(entries);
        let sent = send(client, site, entries).await;
        if sent.is_err() {
            // It may be for lack of these.
            (unreadable.iter()).for_each(|file| printer::note(&rejection(file)));
        }
        let mut received = sent?;
        received.rejected.extend(unreadable);
        return Ok(received);
    }
    let file = tokio::fs::File::open(path)
        .await
        .map_err(CommandError::at(path))?;
    let bytes = file.metadata().await.map_err(CommandError::at(path))?.len();
    upload(client, site, Upload::reader(file), bytes).await
}

/// Sends the validation set of files that are named as the server expects them.
pub async fn send(
    client: &Client,
    site: &SiteName,
    entries: Vec<pack::Entry>,
) -> Result<ValidationReceived, CommandError> {
    let bytes = pack::tar_bytes(&entries);
    upload(client, site, Upload::stream(pack::tar(entries)), bytes).await
}

async fn upload(
    client: &Client,
    site: &SiteName,
    upload: Upload,
    bytes: u64,
) -> Result<ValidationReceived, CommandError> {
    let bar = progress::bytes(format!("setting the validation set of `{site}`"), Some(bytes));
    let shown = bar.clone();
    let received = client
        .set_validation(site, upload.with_progress(move |bytes| shown.set_position(bytes)))
        .await;
    bar.finish_and_clear();
    Ok(received?)
}

/// A file that is no part of the set, with the reason.
fn rejection(file: &Received) -> String {
    let reason = file.detail.as_deref().or(file.code.as_deref());
    format!("rejected {}: {}", file.name, reason.unwrap_or("no reason given"))
}

fn show(site: &SiteName, received: &ValidationReceived) {
    (received.rejected.iter()).for_each(|file| printer::line(&rejection(file)));
    let set = &received.set;
    printer::line(&format!(
        "validation set {} of `{site}`: {} images",
        set.version, set.images
    ));
    let row = |(class, ClassCounts { validation, test }): (&String, &ClassCounts)| {
        [class.clone(), validation.to_string(), test.to_string()]
    };
    let rows: Vec<_> = set.classes.iter().map(row).collect();
    printer::table(["CLASS", "VALIDATION", "TEST"], &rows);
}

fn list(site: &SiteName, sets: &[ValidationSet]) {
    if sets.is_empty() {
        return printer::line(&format!(
            "no validation set yet; set one with `katagami validation set {site} FOLDER`"
        ));
    }
    let row = |set: &ValidationSet| {
        let classes: Vec<_> = set.classes.keys().map(String::as_str).collect();
        let of = |split: fn(&ClassCounts) -> u64| set.classes.values().map(split).sum::<u64>().to_string();
        [
            set.version.to_string(),
            of(|counts| counts.validation),
            of(|counts| counts.test),
            classes.join(", "),
            set.created_at.to_string(),
            set.created_by.clone(),
        ]
    };
    let rows: Vec<_> = sets.iter().map(row).collect();
    printer::table(["VERSION", "VALIDATION", "TEST", "CLASSES", "SET", "BY"], &rows);
}
