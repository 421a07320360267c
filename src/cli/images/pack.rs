//! Folders and files become tars: what is sent, in which batches, with which sidecars.

use std::path::{Path, PathBuf};
use std::{fs, io};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tokio_tar::{Builder, Header};

use crate::wire::v1::images::{Fate, Received};

/// Most files of one request: so many are sent again when a connection breaks.
const MOST_FILES: usize = 200;
/// Most bytes of one request, but always at least one file.
const MOST_BYTES: u64 = 64 << 20;
/// Most bytes of a file that is read at all: it is held in memory while it is sent.
const LONGEST: u64 = 256 << 20;

/// A file to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name below the folder that was given.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// What the factory says of it: `NAME.json` beside it.
    pub sidecar: Option<PathBuf>,
    /// Its size.
    pub bytes: u64,
}

/// Finds the files below `path`, or `path` itself: in the order of their
/// names, without hidden ones, sidecars with their images. What lies below and
/// cannot be read is among them, for [`unusable`] to say why.
pub fn entries(path: &Path) -> io::Result<Vec<Entry>> {
    let mut found = Vec::new();
    let root = if fs::metadata(path)?.is_dir() {
        walk(path, &mut Vec::new(), &mut found)?;
        path
    } else {
        found.push(path.to_owned());
        path.parent().unwrap_or(path)
    };
    found.sort();
    let is_sidecar = |path: &Path| path.extension().is_some_and(|extension| extension == "json");
    let entry = |path: PathBuf| {
        let name = path.strip_prefix(root).unwrap_or(&path);
        Entry {
            name: name.to_string_lossy().into_owned(),
            sidecar: sidecar_of(&path),
            bytes: fs::metadata(&path).map_or(0, |file| file.len()),
            path,
        }
    };
    Ok(found
        .into_iter()
        .filter(|path| !is_sidecar(path))
        .map(entry)
        .collect())
}

/// Finds the files below `folder`, which lies below the real folders `above`; links to folders are followed.
fn walk(folder: &Path, above: &mut Vec<PathBuf>, found: &mut Vec<PathBuf>) -> io::Result<()> {
    let real = folder.canonicalize()?;
    if above.contains(&real) {
        return Err(io::Error::other("a link leads back up, round and round"));
    }
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    above.push(real);
    for entry in entries {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if !path.is_dir() || walk(&path, above, found).is_err() {
            found.push(path);
        }
    }
    above.pop();
    Ok(())
}

/// `cell.png.json`, else `cell.json`, beside `cell.png`.
fn sidecar_of(image: &Path) -> Option<PathBuf> {
    let mut appended = image.as_os_str().to_owned();
    appended.push(".json");
    [PathBuf::from(appended), image.with_extension("json")]
        .into_iter()
        .find(|path| path.is_file())
}

/// Cuts a list of files into requests.
pub fn batches(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let mut batches: Vec<Vec<Entry>> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        match batches.last_mut() {
            Some(batch) if batch.len() < MOST_FILES && bytes + entry.bytes <= MOST_BYTES => {
                bytes += entry.bytes;
                batch.push(entry);
            }
            _ => {
                bytes = entry.bytes;
                batches.push(vec![entry]);
            }
        }
    }
    batches
}

/// Why a file is not read, as a code and a sentence.
pub fn unusable(entry: &Entry) -> Option<(&'static str, String)> {
    let why = match fs::metadata(&entry.path) {
        Err(error) if entry.path.is_symlink() => format!("the link cannot be followed ({error})"),
        Err(error) => error.to_string(),
        // Not opened: a pipe would wait for somebody who writes into it.
        Ok(kind) if !kind.is_file() && !kind.is_dir() => "it is no file".to_owned(),
        Ok(kind) => match fs::File::open(&entry.path) {
            Err(error) => error.to_string(),
            Ok(_) if kind.is_dir() => "the link leads back to a folder that it lies in".to_owned(),
            Ok(_) if entry.bytes > LONGEST => {
                return Some(("too_large", format!("larger than {} MiB", LONGEST >> 20)));
            }
            Ok(_) => return None,
        },
    };
    Some(("file_unusable", why))
}

/// Splits off what cannot be sent, with the reason in the server's form.
pub fn readable(batch: Vec<Entry>) -> (Vec<Entry>, Vec<Received>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for entry in batch {
        match unusable(&entry) {
            None => good.push(entry),
            Some((code, detail)) => bad.push(Received {
                name: entry.name,
                fate: Fate::Rejected,
                digest: None,
                code: Some(code.to_owned()),
                detail: Some(detail),
            }),
        }
    }
    (good, bad)
}

/// The files as one tar, read one by one while it is sent.
pub fn tar(entries: Vec<Entry>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let end = stream::once(async { Ok(Bytes::from_static(&[0; 1024])) });
    stream::iter(entries).then(packed).chain(end)
}

/// About how many bytes that tar has: for a progress bar.
pub fn tar_bytes(entries: &[Entry]) -> u64 {
    let blocks = |bytes: u64| 512 + bytes.next_multiple_of(512);
    entries.iter().map(|entry| blocks(entry.bytes)).sum()
}

/// One file with its sidecar as they stand in a tar.
async fn packed(entry: Entry) -> io::Result<Bytes> {
    let mut builder = Builder::new_non_terminated(Vec::new());
    if let Some(sidecar) = &entry.sidecar {
        // Named after the image, whichever of the two names it has on disk.
        append(&mut builder, &format!("{}.json", entry.name), sidecar).await?;
    }
    append(&mut builder, &entry.name, &entry.path).await?;
    // Not `into_inner`, which would end the tar after each file.
    Ok(std::mem::take(builder.get_mut()).into())
}

async fn append(builder: &mut Builder<Vec<u8>>, name: &str, path: &Path) -> io::Result<()> {
    let content = tokio::fs::read(path).await?;
    let mut header = Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    builder.append_data(&mut header, name, content.as_slice()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, bytes: u64) -> Entry {
        Entry {
            name: name.to_owned(),
            path: PathBuf::from(name),
            sidecar: None,
            bytes,
        }
    }

    #[test]
    fn a_batch_is_small_in_files_and_bytes_but_never_empty() {
        let files = (0..450).map(|n| entry(&n.to_string(), 1)).collect();
        let sizes: Vec<usize> = batches(files).iter().map(Vec::len).collect();
        assert_eq!(sizes, [200, 200, 50]);
        let large = vec![entry("a", MOST_BYTES + 1), entry("b", 1), entry("c", MOST_BYTES)];
        let sizes: Vec<usize> = batches(large).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 1, 1]);
        assert!(batches(Vec::new()).is_empty());
    }

    #[test]
    fn sidecars_go_with_their_images_and_hidden_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        };
        [
            "b.png",
            "b.json",
            "line/a.png",
            "line/a.png.json",
            ".DS_Store",
            "lost.json",
        ]
        .into_iter()
        .for_each(write);
        let found = entries(folder.path()).unwrap();
        let names: Vec<_> = found.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["b.png", "line/a.png"]);
        assert!(found.iter().all(|entry| entry.sidecar.is_some()));
    }

    #[test]
    fn what_cannot_be_read_is_told_by_itself_and_no_link_leads_round_and_round() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("line")).unwrap();
        fs::write(at("line/a.png"), "pixels").unwrap();
        symlink("nowhere", at("gone.png")).unwrap();
        symlink(".", at("loop")).unwrap();
        symlink("line/a.png", at("same.png")).unwrap();
        symlink("line", at("other")).unwrap();
        let (good, bad) = readable(entries(folder.path()).unwrap());
        let names: Vec<_> = good.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["line/a.png", "other/a.png", "same.png"]);
        assert_eq!(good[2].bytes, 6);
        let told = |name: &str| {
            let of_name = bad.iter().find(|file| file.name == name).unwrap();
            of_name.detail.as_deref().unwrap()
        };
        assert_eq!(bad.len(), 2);
        assert!(told("gone.png").starts_with("the link cannot be followed ("));
        assert!(told("loop").contains("a folder that it lies in"));
        // What was named is what must be there.
        assert!(entries(&at("gone.png")).is_err() && entries(&at("never.png")).is_err());
        assert_eq!(entries(&at("loop")).unwrap().len(), 5);
    }

    #[tokio::test]
    async fn a_tar_of_files_reads_back_with_long_names() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{}/{}.png", "d".repeat(90), "n".repeat(120));
        let path = folder.path().join(&name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "pixels").unwrap();
        fs::write(folder.path().join("z.png"), "more").unwrap();
        let chunks: Vec<_> = tar(entries(folder.path()).unwrap()).collect().await;
        let bytes: Vec<u8> = chunks.into_iter().flat_map(Result::unwrap).collect();
        let mut archive = tokio_tar::Archive::new(bytes.as_slice());
        let mut read = archive.entries().unwrap();
        let first = read.next().await.unwrap().unwrap();
        assert_eq!(first.path().unwrap().to_string_lossy(), name);
        let second = read.next().await.expect("one file does not end the tar").unwrap();
        assert_eq!(second.path().unwrap().to_string_lossy(), "z.png");
        assert!(read.next().await.is_none());
    }
}
