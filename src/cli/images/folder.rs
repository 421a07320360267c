//! The health of a folder's pictures, as a site would have it, without a server.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use image::ImageFormat;
use rayon::prelude::*;
use serde::Serialize;

use super::pack::{Entry, entries, unusable};
use crate::base::preprocessing::PictureError;
use crate::cli::printer;
use crate::cli::remote::{CommandError, Remote};
use crate::domain::health::{Finding, FindingCode, Look, Seen, findings};
use crate::domain::image::PerceptualHash;
use crate::domain::{Digest, Timestamp};
use crate::intake::{Picture, Rejection};
use crate::wire::v1::health::{Health, RejectedFile, Rejections};

/// What is printed as JSON: the health with the files that its digests stand for.
#[derive(Serialize)]
struct FolderHealth<'a> {
    #[serde(flatten)]
    health: &'a Health,
    /// A file with the bytes of an earlier one stands under the digest of its name: that of the
    /// bytes is the earlier one's.
    files: HashMap<Digest, &'a str>,
}

/// What a file is like.
struct Looked {
    /// None: it is no picture, or cannot be read at all.
    seen: Option<Seen>,
    /// Why a site would reject it, as a code and a sentence.
    rejected: Option<(&'static str, String)>,
}

/// Looks at all pictures of `folder` and prints what may be wrong with them; lists `limit` images
/// of a finding, 0: all.
pub fn health(
    remote: &Remote,
    folder: &Path,
    only: Option<FindingCode>,
    limit: u32,
) -> Result<(), CommandError> {
    let most = if limit == 0 { usize::MAX } else { limit as usize };
    let files = entries(folder).map_err(CommandError::at(folder))?;
    let looked: Vec<Looked> = files.par_iter().map(look).collect();
    let (mut seen, mut copies, mut rejected) = (Vec::new(), Vec::new(), Vec::new());
    let mut names = HashMap::<Digest, &str>::new();
    for (file, looked) in files.iter().zip(looked) {
        if let Some((code, detail)) = looked.rejected {
            rejected.push(RejectedFile {
                name: file.name.clone(),
                code: code.to_owned(),
                detail,
                at: Timestamp::now(),
            });
        }
        let Some(mut image) = looked.seen else { continue };
        let is_copy = names.contains_key(&image.digest);
        if is_copy {
            image.digest = Digest::of(file.name.as_bytes());
        }
        names.insert(image.digest, file.name.as_str());
        // The same bytes once more are one image to a site, so the others are not compared with it.
        if is_copy && is_measured(&image) {
            copies.push(image.digest);
        } else {
            seen.push(image);
        }
    }
    let images = (seen.len() + copies.len()) as u64;
    let compared = seen.iter().filter(|image| is_measured(image)).count() as u64;
    let found = as_files(findings(&seen), copies).into_iter();
    let health = Health {
        images,
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
        super::health::print(&health, only, compared, |image| names[image].to_owned());
        if only.is_none() {
            print_rejected(&health.rejected);
        }
    }
    super::health::shortened(&health, only, limit);
    Ok(())
}

fn is_measured(image: &Seen) -> bool {
    matches!(image.look, Some(Look::Measured(_)))
}

/// Looks at a file as intake does.
fn look(file: &Entry) -> Looked {
    let rejected = |code, why| Looked {
        seen: None,
        rejected: Some((code, why)),
    };
    if let Some((code, why)) = unusable(file) {
        return rejected(code, why);
    }
    let bytes = match fs::read(&file.path) {
        Ok(bytes) => bytes,
        Err(error) => return rejected("file_unusable", error.to_string()),
    };
    let picture = if bytes.is_empty() {
        Err(Rejection::Empty)
    } else {
        Picture::of(&bytes).map_err(Rejection::from)
    };
    let digest = Digest::of(&bytes);
    match picture {
        Ok(picture) => Looked {
            seen: Some(Seen {
                digest,
                width: picture.width,
                height: picture.height,
                phash: picture.phash,
                look: Some(Look::Measured(picture.quality)),
            }),
            rejected: None,
        },
        Err(why) => {
            let detail = why.to_string();
            let broken = || Seen {
                digest,
                width: 0,
                height: 0,
                phash: PerceptualHash(0),
                look: Some(Look::Unreadable(detail.clone())),
            };
            Looked {
                seen: is_meant_as_picture(file, &why).then(broken),
                rejected: Some((why.code(), detail)),
            }
        }
    }
}

/// Whether a file that cannot be decoded was meant as a picture: by its content, else by its name.
fn is_meant_as_picture(file: &Entry, why: &Rejection) -> bool {
    let says_nothing = matches!(
        why,
        Rejection::Empty | Rejection::Picture(PictureError::UnknownFormat)
    );
    !says_nothing || ImageFormat::from_path(&file.path).is_ok()
}

/// What was found, in words for files, with copies among the exact duplicates.
fn as_files(mut found: Vec<Finding>, copies: Vec<Digest>) -> Vec<Finding> {
    for finding in &mut found {
        if finding.code == FindingCode::Unreadable {
            "the file cannot be decoded, so a site would reject it".clone_into(&mut finding.explanation);
        }
    }
    if copies.is_empty() {
        return found;
    }
    let duplicates = found
        .iter_mut()
        .find(|finding| finding.code == FindingCode::ExactDuplicate);
    if let Some(duplicates) = duplicates {
        duplicates.count += copies.len() as u64;
        duplicates.images.extend(copies);
    } else {
        let why = "the same bytes as an earlier file; the first one is not listed".to_owned();
        found.push(Finding::of(FindingCode::ExactDuplicate, why, copies));
        found.sort_by_key(|finding| finding.code);
    }
    found
}

fn print_rejected(rejected: &Rejections) {
    let listed = rejected.newest.len();
    super::health::rejected(rejected, "files would be rejected", listed);
    if rejected.count > listed as u64 {
        printer::note("there are more; list all with --limit 0");
    }
}
