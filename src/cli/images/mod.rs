//! `katagami images …`: a site's pictures.

#[cfg(feature = "server")]
mod folder;
mod health;
pub(super) mod pack;
mod submit;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::filter::FilterArgs;
use super::printer;
use super::remote::{CommandError, Remote};
use crate::domain::{Digest, SiteName};
use crate::wire::v1::images::{Image, ImageQuery};

pub use health::labels;
pub use submit::{Sent, submit};

/// Submit images to a site, list and delete them
#[derive(Debug, Args)]
pub struct ImagesArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: ImagesCommand,
}

#[derive(Debug, Subcommand)]
enum ImagesCommand {
    /// Submit pictures; run it again after an interruption, what the site has is not stored twice
    ///
    /// Beside cell.png may lie cell.png.json (or cell.json) with what is known of it:
    /// {"captured_at": "2026-11-24T08:00:00Z", "metadata": {"line": "a", "camera": "3"}}.
    ///
    /// Links are followed, but for those that lead back to a folder that they lie in.
    ///
    /// Exit code 0: all were accepted or are duplicates; 2: some were rejected, and the
    /// reasons are listed.
    Submit {
        /// The site
        site: SiteName,
        /// Folders, tars (.tar) and pictures
        #[arg(required = true, value_name = "DIR|TAR|FILE")]
        paths: Vec<PathBuf>,
    },
    /// List a site's images
    List {
        /// The site
        site: SiteName,
        #[command(flatten)]
        filter: FilterArgs,
        /// Deleted ones, too
        #[arg(long)]
        deleted: bool,
        /// Most images that are listed; 0: all
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Say what may be wrong with a site's images, before anything is trained on them
    ///
    /// Leave what you agree with out of the next snapshot: katagami snapshot create SITE
    /// --exclude blurred,dark. Nothing is deleted.
    ///
    /// Fewer than 20 images are judged by absolute limits only (black, white, one flat grey,
    /// duplicates); more are compared with each other, too.
    ///
    /// Of a folder, `unreadable` lists pictures that cannot be decoded, and `exact-duplicate`
    /// copies of files, too.
    Health(health::HealthArgs),
    /// Delete images: their bytes go, a tombstone stays
    Rm {
        /// The site
        site: SiteName,
        /// Their digests, as `images list --json` shows them
        #[arg(required = true)]
        digests: Vec<Digest>,
    },
}

/// Runs an `images` command.
pub async fn run(args: ImagesArgs) -> Result<(), CommandError> {
    let remote = args.remote;
    match args.command {
        // The health of a folder needs no server.
        ImagesCommand::Health(health) => health::run(&remote, &health).await?,
        ImagesCommand::Submit { site, paths } => {
            let client = remote.connect()?;
            let sent = submit(&client, &site, &paths).await?;
            remote.answer(&sent.submission(), || sent.print());
            sent.verdict()?;
            if !remote.json {
                printer::next(&format!("katagami job start {site} --watch"));
            }
        }
        ImagesCommand::List {
            site,
            filter,
            deleted,
            limit,
        } => {
            let filter = filter.filter();
            let query = ImageQuery {
                captured_from: filter.captured_from,
                captured_until: filter.captured_until,
                received_from: filter.received_from,
                received_until: filter.received_until,
                deleted,
                metadata: filter
                    .metadata
                    .into_iter()
                    .map(|(key, value)| (format!("metadata.{key}"), value))
                    .collect(),
                ..ImageQuery::default()
            };
            let client = remote.connect()?;
            let (images, more) = fetch(&client, &site, query, limit).await?;
            remote.answer(&images, || list(&images, more));
        }
        ImagesCommand::Rm { site, digests } => {
            let client = remote.connect()?;
            for digest in &digests {
                client.delete_image(&site, digest).await?;
            }
            remote.answer(&json!({ "deleted": digests }), || {
                printer::line(&format!("{} images of `{site}` are deleted", digests.len()));
            });
        }
    }
    Ok(())
}

/// At most `limit` images (0: all), and whether there are more.
async fn fetch(
    client: &crate::client::Client,
    site: &SiteName,
    mut query: ImageQuery,
    limit: u32,
) -> Result<(Vec<Image>, bool), CommandError> {
    const PAGE: u32 = 1000;
    let mut images: Vec<Image> = Vec::new();
    loop {
        let missing = match limit {
            0 => PAGE,
            limit => limit.saturating_sub(images.len() as u32).min(PAGE),
        };
        query.limit = Some(missing);
        let page = client.images(site, &query).await?;
        images.extend(page.items);
        let full = limit > 0 && images.len() as u32 >= limit;
        if full || page.next.is_none() {
            return Ok((images, page.next.is_some()));
        }
        query.cursor = page.next;
    }
}

fn list(images: &[Image], more: bool) {
    if images.is_empty() {
        return printer::line("no such image");
    }
    let row = |image: &Image| {
        let metadata = image.metadata.pairs().iter();
        let said: Vec<String> = metadata.map(|(key, value)| format!("{key}={value}")).collect();
        let name = match image.deleted_at {
            Some(_) => format!("{} (deleted)", image.name),
            None => image.name.clone(),
        };
        [
            image.digest.short(),
            name,
            format!("{}x{}", image.width, image.height),
            printer::bytes(image.bytes),
            image.received_at.to_string(),
            printer::or_dash(image.captured_at),
            said.join(" "),
        ]
    };
    let rows: Vec<_> = images.iter().map(row).collect();
    printer::table(
        [
            "IMAGE", "NAME", "PIXELS", "BYTES", "RECEIVED", "CAPTURED", "METADATA",
        ],
        &rows,
    );
    if more {
        printer::note("there are more; list all with --limit 0");
    }
}
