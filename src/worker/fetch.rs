//! What an attempt needs, on this machine's disk: a cache by digest.
//!
//! A file is named by its SHA-256 and is whole or not there; what a broken
//! download left is continued. Nothing is used before its digest was compared,
//! not even what lies in the cache. One process per folder: the first of
//! `1`, `2`, `3` … below the cache's folder that no other process has locked.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::lease::{Assignment, Connection, ProtocolError, Stored};
use super::lists::Lists;
use super::patience::patiently;
use super::progress::Pulse;
use crate::client::Download;
use crate::domain::job::{Phase, Progress};
use crate::domain::{AttemptId, Digest, Digester, ErrorKind, Problem};

/// Downloads at a time.
const PARALLEL: usize = 8;

/// Why something was not fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The cache cannot be read or written.
    #[error("the cache `{}` cannot be used: {source}; choose another folder with --cache", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The server gave no bytes.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> FetchError + use<> {
    let path = path.to_owned();
    move |source| FetchError::Cache { path, source }
}

/// A folder of blobs that this process alone uses.
pub struct Cache {
    folder: PathBuf,
    /// Most bytes that lie there while no attempt needs them.
    limit: u64,
    /// Held until the process ends, however it ends.
    _lock: File,
}

impl Cache {
    /// Takes the first free cache below `folder`. Holds at most about `limit` bytes.
    pub fn open(folder: &Path, limit: u64) -> Result<Self, FetchError> {
        let mut number = 1_u32;
        loop {
            let own = folder.join(number.to_string());
            fs::create_dir_all(&own).map_err(at(&own))?;
            let path = own.join("lock");
            let lock = File::create(&path).map_err(at(&path))?;
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Self {
                        folder: own,
                        limit,
                        _lock: lock,
                    });
                }
                Err(fs::TryLockError::WouldBlock) => number += 1,
                Err(fs::TryLockError::Error(source)) => return Err(FetchError::Cache { path, source }),
            }
        }
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.folder.join(&name[..2]).join(&name[2..])
    }

    /// Where the bytes of `wanted` are, which are fetched if they are not there or damaged.
    async fn get(&self, source: &Source<'_>, wanted: Stored) -> Result<PathBuf, FetchError> {
        let path = self.path(&wanted.digest);
        if is_whole(path.clone(), wanted).await? {
            return Ok(path);
        }
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(at(folder))?;
        let (to, fetched) = (&path, &wanted);
        patiently(source.pulse, || async move {
            let download = Download {
                to,
                digest: fetched.digest,
                limit: fetched.bytes,
                progress: &mut |_, _| {},
            };
            let done = source
                .connection
                .bytes
                .download_attempt_blob(source.attempt, download);
            done.await.map_err(ProtocolError::from)
        })
        .await?;
        crate::killpoint::reached("fetch");
        Ok(path)
    }

    /// Deletes what no attempt needed for longest until the rest is within the limit, but nothing of `needed`.
    fn trim(&self, needed: &HashSet<Digest>) -> Result<(), FetchError> {
        let needed: HashSet<PathBuf> = needed.iter().map(|digest| self.path(digest)).collect();
        let mut files = Vec::new();
        for folder in fs::read_dir(&self.folder).map_err(at(&self.folder))?.flatten() {
            let Ok(inside) = fs::read_dir(folder.path()) else {
                continue;
            };
            for file in inside.flatten() {
                let known = file.metadata().map_err(at(&file.path()))?;
                let used = known.modified().unwrap_or(UNIX_EPOCH);
                files.push((used, known.len(), file.path()));
            }
        }
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        files.sort();
        for (_, bytes, path) in files {
            if total <= self.limit {
                break;
            }
            if !needed.contains(&path) {
                fs::remove_file(&path).map_err(at(&path))?;
                total -= bytes;
            }
        }
        Ok(())
    }
}

/// Whether the file at `path` holds the bytes of `wanted`; then it counts as used now.
async fn is_whole(path: PathBuf, wanted: Stored) -> Result<bool, FetchError> {
    let read = move || {
        let Ok(mut file) = File::open(&path) else {
            return Ok(false);
        };
        if file.metadata().map_err(at(&path))?.len() != wanted.bytes {
            return Ok(false);
        }
        let mut digester = Digester::default();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).map_err(at(&path))? {
                0 => break,
                read => digester.update(&buffer[..read]),
            }
        }
        if digester.finish() != wanted.digest {
            return Ok(false);
        }
        let now = std::time::Duration::from_micros(crate::domain::Timestamp::now().as_micros() as u64);
        // A folder without that right makes the order of deletion worse, nothing else.
        let _ = file.set_modified(UNIX_EPOCH + now);
        Ok(true)
    };
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}

/// Where blobs come from.
struct Source<'a> {
    connection: &'a Connection,
    attempt: AttemptId,
    pulse: &'a Pulse,
}

/// What an attempt needs.
pub struct Fetched {
    /// Which images it trains on, and which judge.
    pub lists: Lists,
    files: HashMap<Digest, PathBuf>,
}

impl Fetched {
    /// Where the bytes are; none: the image was deleted since the snapshot.
    pub fn path(&self, digest: &Digest) -> Option<&Path> {
        self.files.get(digest).map(PathBuf::as_path)
    }
}

/// Fetches everything that the attempt needs. An image that was deleted meanwhile is left out and said so.
pub async fn fetch(
    cache: &Cache,
    connection: &Connection,
    assignment: &Assignment,
    pulse: &Pulse,
) -> Result<Fetched, FetchError> {
    let lists = Lists::of(connection, assignment, pulse).await?;
    let images: HashSet<Digest> = lists.images.iter().map(|image| image.digest).collect();
    let mut wanted: Vec<Stored> = vec![assignment.base_file];
    wanted.extend(&lists.images);
    wanted.extend(lists.labelled.iter().map(|labelled| labelled.image));
    wanted.extend(
        assignment
            .parent
            .iter()
            .flat_map(|parent| [parent.scores, parent.artefact]),
    );
    wanted.extend(&assignment.checkpoints);
    let mut seen = HashSet::new();
    wanted.retain(|stored| seen.insert(stored.digest));
    cache.trim(&seen)?;

    pulse.progress(Progress {
        phase: Phase::Fetch,
        steps: wanted.len() as u64,
        ..Progress::default()
    });
    let source = Source {
        connection,
        attempt: assignment.attempt,
        pulse,
    };
    let (source, images, checkpoints) = (&source, &images, &assignment.checkpoints);
    let fetched = stream::iter(wanted)
        .map(|stored| async move {
            let found = match cache.get(source, stored).await {
                Ok(path) => Some((stored.digest, path)),
                // Gone by a person's wish: the training goes on without it.
                Err(FetchError::Protocol(error))
                    if error.kind() == ErrorKind::NotFound
                        && (images.contains(&stored.digest) || checkpoints.contains(&stored)) =>
                {
                    pulse.line(format!("left out: {} is not there any more", stored.digest));
                    None
                }
                Err(error) => return Err(error),
            };
            pulse.advance();
            Ok(found)
        })
        .buffer_unordered(PARALLEL)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(Fetched {
        lists,
        files: fetched.into_iter().flatten().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(cache: &Cache, bytes: &[u8], age: u64) -> Digest {
        let digest = Digest::of(bytes);
        let path = cache.path(&digest);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        let used = UNIX_EPOCH + std::time::Duration::from_secs(1_000 - age);
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(used)
            .unwrap();
        digest
    }

    #[test]
    fn two_processes_never_share_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let first = Cache::open(folder.path(), 1).unwrap();
        let second = Cache::open(folder.path(), 1).unwrap();
        assert_ne!(first.folder, second.folder);
        let freed = first.folder.clone();
        drop(first);
        assert_eq!(Cache::open(folder.path(), 1).unwrap().folder, freed);
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_what_is_needed_never() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 8).unwrap();
        let needed = stored(&cache, b"needed", 30);
        let old = stored(&cache, b"old", 20);
        let young = stored(&cache, b"yo", 10);
        cache.trim(&HashSet::from([needed])).unwrap();
        let there = |digest| cache.path(&digest).exists();
        assert_eq!([there(needed), there(old), there(young)], [true, false, true]);
    }

    #[tokio::test]
    async fn what_is_damaged_in_the_cache_is_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 8).unwrap();
        let digest = stored(&cache, b"whole", 0);
        let wanted = Stored { digest, bytes: 5 };
        assert!(is_whole(cache.path(&digest), wanted).await.unwrap());
        fs::write(cache.path(&digest), b"whole but longer").unwrap();
        assert!(!is_whole(cache.path(&digest), wanted).await.unwrap());
        fs::write(cache.path(&digest), b"whale").unwrap();
        assert!(!is_whole(cache.path(&digest), wanted).await.unwrap());
    }
}
