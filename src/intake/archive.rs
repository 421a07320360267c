//! A tar, entry by entry: each a file, or the reason why it is none. Nothing
//! that an archive says is believed: a declared size reserves no memory,
//! headers have a budget, and names are checked although they never become
//! paths here.

use std::borrow::Cow;
use std::io;
use std::path::{Component, Path};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio_tar::{Archive, Entries, Entry, EntryType};
use tokio_util::io::StreamReader;

use super::Rejection;
use crate::config::IntakeConfig;

/// Most bytes of the headers before one entry: long names and extensions are held in memory.
const HEADERS: u64 = 256 << 10;
/// Most bytes of a name.
const NAME: usize = 1024;

/// An entry of an archive: a file, or why it is none.
#[derive(Debug)]
pub(super) struct File {
    /// Its name as sent, made printable.
    pub name: String,
    /// Its bytes.
    pub content: Result<Bytes, Rejection>,
}

type Source = Guarded<Pin<Box<dyn AsyncRead + Send>>>;

/// The files of a tar in the order sent. An archive that is damaged or breaks
/// off ends with a rejection that says so.
pub(super) fn files(
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    limits: IntakeConfig,
) -> impl Stream<Item = File> + Send + 'static {
    let allowed = Arc::new(AtomicU64::new(HEADERS));
    let source = Guarded {
        inner: Box::pin(StreamReader::new(body.boxed())) as Pin<Box<dyn AsyncRead + Send>>,
        allowed: allowed.clone(),
    };
    let entries = Archive::new(source).entries().ok();
    let walk = entries.map(|entries| Walk {
        entries,
        allowed,
        count: 0,
        limits,
    });
    futures::stream::unfold(walk, |walk| async move {
        let mut walk = walk?;
        match walk.next().await {
            Ok(Some(file)) => Some((file, Some(walk))),
            Ok(None) => None,
            Err(why) => {
                let end = File {
                    name: "(archive)".to_owned(),
                    content: Err(why),
                };
                Some((end, None))
            }
        }
    })
}

struct Walk {
    entries: Entries<Source>,
    /// What may be read before the next entry is there; shared with the source.
    allowed: Arc<AtomicU64>,
    count: u64,
    limits: IntakeConfig,
}

impl Walk {
    /// The next file; an error ends the archive.
    async fn next(&mut self) -> Result<Option<File>, Rejection> {
        loop {
            let Some(entry) = self.entries.next().await else {
                return Ok(None);
            };
            let mut entry = entry.map_err(|error| damaged(&error))?;
            self.count += 1;
            if self.count > self.limits.entries {
                return Err(Rejection::TooManyEntries(self.limits.entries));
            }
            let kind = entry.header().entry_type();
            let plain = matches!(kind, EntryType::Regular | EntryType::Continuous);
            // What is not read here is skipped on the way to the next header. A
            // sparse entry's effective size is an invention of its sender.
            let size = if plain {
                entry.effective_size()
            } else {
                entry.header().raw_entry_size().unwrap_or(0)
            };
            self.allowed
                .store(size.saturating_add(512 + HEADERS), Ordering::Relaxed);
            let name = entry.path_bytes().map(Cow::into_owned).unwrap_or_default();
            match (kind, name_of(&name)) {
                (EntryType::Directory | EntryType::XGlobalHeader, _) => {}
                (_, (name, false)) => return Ok(Some(File::rejected(name, Rejection::Path))),
                (_, (name, true)) if !plain => {
                    return Ok(Some(File::rejected(name, Rejection::NoFile(word(kind)))));
                }
                (_, (name, true)) if size > self.limits.image_bytes => {
                    let why = Rejection::TooLarge(self.limits.image_bytes);
                    return Ok(Some(File::rejected(name, why)));
                }
                (_, (name, true)) => {
                    let content = content(&mut entry, size).await?;
                    self.allowed.store(512 + HEADERS, Ordering::Relaxed);
                    return Ok(Some(File {
                        name,
                        content: Ok(content),
                    }));
                }
            }
        }
    }
}

/// The bytes of an entry, which are there only if all `size` of them came.
async fn content(entry: &mut Entry<Archive<Source>>, size: u64) -> Result<Bytes, Rejection> {
    const EARNED: u64 = 1 << 20;
    let mut bytes = Vec::with_capacity(size.min(EARNED) as usize);
    let read = entry.take(size).read_to_end(&mut bytes).await;
    read.map_err(|error| damaged(&error))?;
    match bytes.len() as u64 {
        length if length == size => Ok(bytes.into()),
        length => Err(Rejection::Archive(format!(
            "{length} of {size} bytes of a file came"
        ))),
    }
}

impl File {
    fn rejected(name: String, why: Rejection) -> Self {
        Self {
            name,
            content: Err(why),
        }
    }
}

fn damaged(error: &io::Error) -> Rejection {
    Rejection::Archive(printable(&error.to_string(), 160))
}

/// A name as it can be shown, without a leading `./`, and whether it may be used.
fn name_of(raw: &[u8]) -> (String, bool) {
    let Ok(name) = std::str::from_utf8(raw) else {
        return (printable(&String::from_utf8_lossy(raw), NAME), false);
    };
    let name = name.strip_prefix("./").unwrap_or(name);
    let inside = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    // A backslash or a drive is a path on other machines.
    let plain = !name.contains(['\\', '\0']) && !name.chars().any(char::is_control);
    let short = (1..=NAME).contains(&name.len());
    (printable(name, NAME), inside && plain && short)
}

fn printable(text: &str, most: usize) -> String {
    text.chars()
        .take(most)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn word(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link | EntryType::Symlink => "link",
        EntryType::Char | EntryType::Block | EntryType::Fifo => "device",
        EntryType::GNUSparse => "sparse file",
        _ => "special entry",
    }
}

/// A reader that fails once more was read than is allowed: the tar library
/// holds the headers before an entry in memory, however long they are.
struct Guarded<R> {
    inner: R,
    allowed: Arc<AtomicU64>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Guarded<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let allowed = self.allowed.load(Ordering::Relaxed);
        if allowed == 0 {
            return Poll::Ready(Err(io::Error::other("its headers are too long")));
        }
        let before = into.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, into);
        let read = (into.filled().len() - before) as u64;
        self.allowed
            .store(allowed.saturating_sub(read), Ordering::Relaxed);
        polled
    }
}

#[cfg(test)]
#[path = "tests/archive.rs"]
mod tests;
