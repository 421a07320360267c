//! What killed servers left in a local folder.
//!
//! `object_store` writes a blob into `KEY#NUMBER` beside its place until it is
//! whole, never lists such a file, and removes it unless the process is killed
//! before. A bucket hides and keeps the parts of broken uploads instead: let a
//! lifecycle rule of the bucket remove them.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::key;
use crate::domain::Timestamp;

/// Removes the files below `folder` that are not whole and were not written to
/// for `grace`, and answers how many.
pub(super) fn remove(folder: &Path, grace: Duration) -> io::Result<u64> {
    let now = Duration::from_micros(Timestamp::now().as_micros().unsigned_abs());
    let before = UNIX_EPOCH + now.saturating_sub(grace);
    let mut removed = 0;
    for part in entries(&folder.join(key::FOLDER))? {
        for file in entries(&part?.path())? {
            let file = file?;
            if is_unfinished(&file) && removed_if_old(&file, before)? {
                removed += 1;
            }
        }
    }
    Ok(removed)
}

/// What lies in a folder, if there is one.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<DirEntry>> + use<>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(error),
    }
}

fn is_unfinished(file: &DirEntry) -> bool {
    let name = file.file_name();
    let number = name.to_str().and_then(|name| name.split_once('#'));
    number.is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn removed_if_old(file: &DirEntry, before: SystemTime) -> io::Result<bool> {
    let removed = match file.metadata().and_then(|known| known.modified()) {
        Ok(written) if written >= before => return Ok(false),
        Ok(_) => fs::remove_file(file.path()),
        Err(error) => Err(error),
    };
    match removed {
        Ok(()) => Ok(true),
        // It became whole, or another server that has this folder was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
