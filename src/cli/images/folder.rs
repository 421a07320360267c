//! The health of a folder's pictures, as a site would have it, without a server.

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use super::pack::{Entry, entries};
use crate::cli::printer;
use crate::cli::remote::{CommandError, Remote};
use crate::domain::health::{FindingCode, Look, Seen, findings};
use crate::domain::{Digest, Timestamp};
use crate::intake::{Picture, Rejection};
use crate::wire::v1::health::{Health, RejectedFile, Rejections};

/// What is printed as JSON: the health with the files that its digests stand for.
#[derive(Serialize)]
struct FolderHealth<'a> {
    #[serde(flatten)]
    health: &'a Health,
    files: HashMap<Digest, &'a str>,
}

/// Looks at all pictures of `folder` and prints what may be wrong with them.
pub fn health(
    remote: &Remote,
    folder: &Path,
    only: Option<FindingCode>,
    most: usize,
) -> Result<(), CommandError> {
    let files = entries(folder).map_err(CommandError::at(folder))?;
    let looked: Vec<Result<Seen, Rejection>> =
        files.par_iter().map(look).collect::<Result<_, CommandError>>()?;
    let (mut seen, mut names, mut rejected) = (Vec::new(), HashMap::new(), Vec::new());
    for (file, looked) in files.iter().zip(looked) {
        match looked {
            // The same bytes once more are one image to a site.
            Ok(image) => {
                if names.insert(image.digest, file.name.as_str()).is_none() {
                    seen.push(image);
                }
            }
            Err(why) => rejected.push(RejectedFile {
                name: file.name.clone(),
                code: why.code().to_owned(),
                detail: why.to_string(),
                at: Timestamp::now(),
            }),
        }
    }
    let found = findings(&seen).into_iter();
    let health = Health {
        images: seen.len() as u64,
        unmeasured: 0,
        findings: found
            .filter(|finding| only.is_none_or(|code| code == finding.code))
            .map(|finding| finding.bounded(most))
            .collect(),
        labels: Vec::new(),
        judged_by: None,
        rejected: Rejections {
            count: rejected.len() as u64,
            newest: rejected.into_iter().take(most).collect(),
        },
    };
    if remote.json {
        printer::json(&FolderHealth {
            health: &health,
            files: names,
        });
    } else {
        super::health::print(&health, only, |image| names[image].to_owned());
    }
    Ok(())
}

/// Looks at a file as intake does.
fn look(file: &Entry) -> Result<Result<Seen, Rejection>, CommandError> {
    let bytes = std::fs::read(&file.path).map_err(CommandError::at(&file.path))?;
    if bytes.is_empty() {
        return Ok(Err(Rejection::Empty));
    }
    Ok(Picture::of(&bytes).map_err(Rejection::from).map(|picture| Seen {
        digest: Digest::of(&bytes),
        width: picture.width,
        height: picture.height,
        phash: picture.phash,
        look: Some(Look::Measured(picture.quality)),
    }))
}
