//! The two kinds of stores that every test of blobs runs on: a local folder
//! and, inside this process, a server that speaks the protocol of S3.

use std::path::{Path, PathBuf};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use katagami::blobs::{BlobLocation, Blobs};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

const BUCKET: &str = "katagami";
const PREFIX: &str = "of/tests";
const KEY: &str = "key";
const SECRET: &str = "secret";

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// A local folder.
    Folder,
    /// A bucket.
    S3,
}

/// An empty store, gone when this is dropped.
pub struct OpenStore {
    /// What `--blobs` takes.
    pub location: BlobLocation,
    /// The store, opened.
    pub blobs: Blobs,
    /// The variables that a server needs to use it.
    pub variables: Vec<(&'static str, String)>,
    /// Where the files of the blobs lie.
    files: PathBuf,
    _folder: TempDir,
    _server: Option<AbortOnDropHandle<()>>,
}

impl Store {
    /// Makes an empty store. A bucket's server lives as long as the test's runtime.
    pub async fn open(self) -> OpenStore {
        let folder = tempfile::tempdir().expect("there is room for blobs");
        match self {
            Self::Folder => {
                let location = BlobLocation::Folder(folder.path().to_owned());
                OpenStore {
                    blobs: Blobs::open(&location).unwrap(),
                    location,
                    variables: Vec::new(),
                    files: folder.path().to_owned(),
                    _folder: folder,
                    _server: None,
                }
            }
            Self::S3 => {
                let files = folder.path().join(BUCKET);
                std::fs::create_dir(&files).unwrap();
                let (endpoint, server) = serve(folder.path()).await;
                let location: BlobLocation = format!("s3://{BUCKET}/{PREFIX}").parse().unwrap();
                let variables = vec![
                    ("AWS_ENDPOINT_URL", endpoint),
                    ("AWS_REGION", "us-east-1".to_owned()),
                    ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
                    ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
                ];
                let settings: Vec<(String, &str)> = variables
                    .iter()
                    .map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
                    .collect();
                let settings = settings.iter().map(|(name, value)| (name.as_str(), *value));
                OpenStore {
                    blobs: Blobs::open_with(&location, settings).unwrap(),
                    location,
                    variables,
                    files: files.join(PREFIX),
                    _folder: folder,
                    _server: Some(server),
                }
            }
        }
    }
}

/// Serves the folders in `folder` as buckets.
async fn serve(folder: &Path) -> (String, AbortOnDropHandle<()>) {
    let service = {
        let mut builder = S3ServiceBuilder::new(FileSystem::new(folder).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY, SECRET));
        builder.build()
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            connections.spawn(async move {
                let http = Builder::new(TokioExecutor::new());
                // A client that leaves is none of the test's business.
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (endpoint, AbortOnDropHandle::new(server))
}

impl OpenStore {
    /// The files of all blobs: the digests, and anything else that was left lying there.
    pub fn files(&self) -> Vec<PathBuf> {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, found);
                } else {
                    found.push(path);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.files, &mut found);
        found.sort();
        found
    }

    /// Overwrites the only blob, as a broken disk would.
    pub fn damage_the_only_blob(&self) {
        let files = self.files();
        assert_eq!(files.len(), 1, "{files:?}");
        let mut bytes = std::fs::read(&files[0]).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&files[0], bytes).unwrap();
    }
}
