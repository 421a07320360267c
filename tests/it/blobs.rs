//! Blobs on both kinds of stores.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use katagami::blobs::{BlobError, BlobKey, BlobLocation, Blobs};
use katagami::domain::{Digest, Problem};
use object_store::local::LocalFileSystem;
use object_store::path::Path as ObjectPath;
use object_store::{MultipartUpload as _, ObjectStoreExt as _};
use rstest::rstest;

use crate::store::Store;

/// Bytes that a seed decides, more than one part of a multipart upload.
fn large(seed: u8) -> Bytes {
    (0..17_000_000_u32)
        .map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8 ^ seed)
        .collect()
}

fn pieces(bytes: &Bytes) -> impl futures::Stream<Item = io::Result<Bytes>> + use<> {
    let pieces: Vec<Bytes> = bytes.chunks(100_000).map(Bytes::copy_from_slice).collect();
    futures::stream::iter(pieces.into_iter().map(Ok))
}

async fn streamed(blobs: &Blobs, digest: &Digest) -> Result<Vec<u8>, BlobError> {
    let pieces: Vec<Bytes> = blobs.stream(digest).await?.try_collect().await?;
    Ok(pieces.concat())
}

#[rstest]
#[tokio::test]
async fn what_is_put_is_there_once_under_its_digest(#[values(Store::Folder, Store::S3)] store: Store) {
    let store = store.open().await;
    let blobs = &store.blobs;
    let bytes = Bytes::from_static(b"a mask");
    for _ in 0..2 {
        assert_eq!(blobs.put(bytes.clone()).await.unwrap(), Digest::of(&bytes));
    }
    let (one, other) = tokio::join!(blobs.put(bytes.clone()), blobs.put(bytes.clone()));
    assert_eq!(one.unwrap(), other.unwrap());
    let digest = Digest::of(&bytes);
    assert_eq!(blobs.get(&digest).await.unwrap(), bytes);
    assert_eq!(blobs.get_range(&digest, 2..6).await.unwrap(), "mask");
    assert_eq!(streamed(blobs, &digest).await.unwrap(), bytes);
    assert_eq!(blobs.size(&digest).await.unwrap(), Some(6));
    assert_eq!(store.files().len(), 1);
    blobs.delete(&digest).await.unwrap();
    blobs.delete(&digest).await.unwrap();
    assert!(!blobs.exists(&digest).await.unwrap());
    assert!(matches!(blobs.get(&digest).await, Err(BlobError::Missing(missing)) if missing == digest));
    assert_eq!(blobs.stream(&digest).await.err().unwrap().code(), "no_such_blob");
    assert!(store.files().is_empty());
}

#[rstest]
#[tokio::test]
async fn a_large_file_goes_in_parts(#[values(Store::Folder, Store::S3)] store: Store) {
    let store = store.open().await;
    let bytes = large(1);
    let digest = Digest::of(&bytes);
    for _ in 0..2 {
        let stored = store
            .blobs
            .put_stream(&digest, pieces(&bytes), u64::MAX)
            .await
            .unwrap();
        assert_eq!(stored, bytes.len() as u64);
    }
    assert_eq!(streamed(&store.blobs, &digest).await.unwrap(), bytes);
    assert_eq!(
        store
            .blobs
            .get_range(&digest, 9_000_000..9_000_010)
            .await
            .unwrap(),
        bytes.slice(9_000_000..9_000_010)
    );
    assert_eq!(store.files().len(), 1);
}

#[rstest]
#[tokio::test]
async fn a_stream_that_fails_leaves_nothing(#[values(Store::Folder, Store::S3)] store: Store) {
    let store = store.open().await;
    let bytes = large(2);
    let digest = Digest::of(&bytes);
    let broken = pieces(&bytes)
        .take(20)
        .chain(futures::stream::iter([Err(io::Error::other("gone"))]));
    let refused = store.blobs.put_stream(&digest, broken, u64::MAX).await;
    assert_eq!(refused.unwrap_err().code(), "transfer_broken_off");
    let refused = store.blobs.put_stream(&digest, pieces(&bytes), 1_000_000).await;
    assert_eq!(refused.unwrap_err().code(), "file_too_large");
    let other = store
        .blobs
        .put_stream(&Digest::of(b"other"), pieces(&bytes), u64::MAX)
        .await;
    assert_eq!(other.unwrap_err().code(), "digest_mismatch");
    drop(store.blobs.spool(pieces(&bytes), u64::MAX).await.unwrap());
    assert!(store.files().is_empty(), "{:?}", store.files());
}

#[tokio::test]
async fn what_a_killed_server_left_goes_after_the_grace_period() {
    const GRACE: Duration = Duration::from_hours(1);
    let key = |seed| BlobKey::of(&Digest::of(&large(seed)));
    let store = Store::Folder.open().await;
    let whole = store.blobs.put(large(4).slice(..9)).await.unwrap();
    // A kill runs no destructor: the file stays as the store had it.
    let BlobLocation::Folder(folder) = &store.location else {
        panic!("a folder was opened")
    };
    let raw = LocalFileSystem::new_with_prefix(folder).unwrap();
    for seed in [5, 6] {
        let mut upload = raw
            .put_multipart(&ObjectPath::from(key(seed).to_string()))
            .await
            .unwrap();
        upload.put_part(large(seed).into()).await.unwrap();
        std::mem::forget(upload);
    }
    assert_eq!(store.files().len(), 3);
    let removed = async || store.blobs.remove_leftovers(GRACE).await.unwrap();
    assert_eq!(removed().await, 0, "somebody may still write to them");
    // All are old now, but for one of the two.
    for file in store.files() {
        if !file.to_string_lossy().contains(&key(6).to_string()) {
            let written = std::fs::metadata(&file).unwrap().modified().unwrap();
            let file = std::fs::File::options().write(true).open(&file).unwrap();
            file.set_modified(written - 2 * GRACE).unwrap();
        }
    }
    assert_eq!(removed().await, 1);
    let left = store.files();
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left.iter().any(|file| file.to_string_lossy().contains('#')),
        "{left:?}"
    );
    assert_eq!(store.blobs.get(&whole).await.unwrap(), large(4).slice(..9));
}

#[rstest]
#[tokio::test]
async fn damaged_bytes_are_never_given_away_whole(
    #[values(Store::Folder, Store::S3)] store: Store,
    #[values(5, 3_000_000)] length: usize,
) {
    let store = store.open().await;
    let digest = store.blobs.put(large(3).slice(..length)).await.unwrap();
    store.damage_the_only_blob();
    assert_eq!(store.blobs.get(&digest).await.unwrap_err().code(), "blob_damaged");
    assert_eq!(
        streamed(&store.blobs, &digest).await.unwrap_err().code(),
        "blob_damaged"
    );
}
