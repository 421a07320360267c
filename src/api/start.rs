//! The process: everything that `katagami serve` does, as functions that tests
//! and the demo call, too.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use axum_server::Handle;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listener::Listener;
use super::secret::Secret;
use super::state::{App, Components};
use super::{background, bases, router};
use crate::base::{StoreError, write_atomically};
use crate::blobs::{BlobError, Blobs};
use crate::catalog::tokens::NewCredential;
use crate::catalog::{Catalog, CatalogError, DatabaseUrl, InvalidDatabaseUrl, Tx, tokens};
use crate::config::{Config, ConfigError};
use crate::domain::permission::Role;
use crate::domain::{ErrorKind, Problem};
use crate::intake::Intake;

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings do not fit together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database's address is wrong.
    #[error(transparent)]
    Url(#[from] InvalidDatabaseUrl),
    /// The database cannot be opened: it is away, or the address, the user or the password is wrong.
    #[error("cannot open the database: {reason}; check its address, user and password (`--database-url`)")]
    Database {
        /// Whether it may be there in a moment.
        kind: ErrorKind,
        /// What the database or the system said.
        reason: String,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The blob store failed.
    #[error(transparent)]
    Blobs(#[from] BlobError),
    /// The base cannot be served.
    #[error(transparent)]
    Base(#[from] StoreError),
    /// The port cannot be had.
    #[error("cannot listen on {listen}: {source}; choose another address with `--listen`")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Certificate or key cannot be used.
    #[error("`{}` is no usable certificate or key: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The data folder cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody could use a server without tokens.
    #[error(
        "there is no admin's token yet, and one is made by itself only on loopback; make one with `katagami admin token create NAME --role admin --offline`"
    )]
    NoAdmin,
    /// The system gives no randomness.
    #[error("the operating system gives no random bytes; try again")]
    NoRandomness,
}

impl Problem for StartError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Config(error) => error.kind(),
            Self::Database { kind, .. } => *kind,
            Self::Catalog(error) => error.kind(),
            Self::Blobs(error) => error.kind(),
            Self::Base(error) => error.kind(),
            Self::Url(_) | Self::Certificate { .. } | Self::NoAdmin => ErrorKind::Invalid,
            Self::Listen { .. } => ErrorKind::Unavailable,
            Self::Data { .. } | Self::NoRandomness => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Config(error) => error.code(),
            Self::Catalog(error) => error.code(),
            Self::Blobs(error) => error.code(),
            Self::Base(error) => error.code(),
            Self::Url(_) => "database_url",
            Self::Database { .. } => "database",
            Self::Listen { .. } => "listen",
            Self::Certificate { .. } => "certificate",
            Self::Data { .. } => "data_folder",
            Self::NoAdmin => "no_admin",
            Self::NoRandomness => "no_randomness",
        }
    }
}

/// A server that runs. Dropping it leaves it running; [`Running::stop`] ends it.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its address as clients write it.
    pub url: String,
    /// The admin's token of the first start, if it still lies in the data folder.
    pub admin: Option<AdminToken>,
    /// Its components, for tests and the demo.
    pub app: App,
    handle: Handle<SocketAddr>,
    served: tokio::task::JoinHandle<io::Result<()>>,
}

/// The admin's token that the first start made.
pub struct AdminToken {
    /// The file that holds it.
    pub path: PathBuf,
    /// The token.
    pub secret: Secret,
}

impl Running {
    /// Ends the server: no new connections, event streams and workers stop,
    /// what has begun is finished within the grace period.
    pub async fn stop(self) {
        let grace = self.app.config.server.shutdown_grace;
        self.app.shutdown.cancel();
        self.handle.graceful_shutdown(Some(grace));
        match self.served.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the listener failed"),
            Err(error) => tracing::error!(%error, "the listener panicked"),
        }
        self.app.tasks.close();
        // A little more than requests got: a loop is never cut off in a transaction for nothing.
        let patience = grace + Duration::from_secs(5);
        if tokio::time::timeout(patience, self.app.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(left = self.app.tasks.len(), "tasks did not end in time");
        }
        self.app.catalog.close().await;
    }

    /// Completes when the server ended by itself, which it does only on an error.
    pub async fn ended(&mut self) {
        let _ = (&mut self.served).await;
    }
}

/// Opens the catalog that `config` names; its folder is made if it is missing.
pub async fn open_catalog(config: &Config) -> Result<Catalog, StartError> {
    make_folder(&config.storage.data)?;
    let url: DatabaseUrl = config.storage.database().parse()?;
    Catalog::open(&url).await.map_err(|error| match &error {
        // Who starts a server looks after its database, and has no other log to read.
        CatalogError::Database(said) => StartError::Database {
            kind: error.kind(),
            reason: match said {
                sqlx::Error::PoolTimedOut => "nothing answers there".to_owned(),
                said => said.to_string(),
            },
        },
        _ => error.into(),
    })
}

/// Starts a server; it answers when this returns.
pub async fn start(config: Config) -> Result<Running, StartError> {
    config.check()?;
    // Fails only if somebody installed one before, which does as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let listener = Listener::bind(&config.server)?;
    let catalog = open_catalog(&config).await?;
    let blobs = Blobs::open(&config.storage.blob_store().parse()?)?;
    let app = App::new(Components {
        intake: Intake::new(catalog.clone(), blobs.clone(), config.intake),
        catalog,
        blobs,
        pointers: crate::release::Pointers::default(),
        tokens: super::caller::KnownTokens::default(),
        deltas: tokio::sync::Notify::new(),
        metrics: crate::telemetry::Metrics::default(),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
        config,
    });
    bases::serve(&app).await?;
    let addr = listener.addr;
    let scheme = if listener.has_tls() { "https" } else { "http" };
    let url = format!("{scheme}://{addr}");
    let admin = first_admin(&app, addr, &url).await?;
    background::spawn(&app).await?;
    let handle = Handle::new();
    let served = app.tasks.spawn(listener.serve(router(&app), handle.clone()));
    handle.listening().await;
    super::children::supervise(&app, addr).await?;
    Ok(Running {
        addr,
        url,
        admin,
        app,
        handle,
        served,
    })
}

/// Makes the first admin's token on loopback, and tells commands of this
/// machine where the server is: `admin-token` and `server.json` in the data folder.
async fn first_admin(app: &App, addr: SocketAddr, url: &str) -> Result<Option<AdminToken>, StartError> {
    let data = &app.config.storage.data;
    let path = data.join("admin-token");
    let mut tx = app.catalog.begin().await?;
    let mut known = kept_token(&mut tx, &path, None).await?;
    if known.is_none() && !tokens::exists(&mut tx, Role::Admin).await? {
        if !addr.ip().is_loopback() {
            return Err(StartError::NoAdmin);
        }
        known = Some(new_token(tx, &path, "first start", Role::Admin, "first start").await?);
    }
    let Some(secret) = known else { return Ok(None) };
    let address = json!({"server": url, "token": secret.reveal()});
    write_private(&data.join("server.json"), &address.to_string())?;
    Ok(Some(AdminToken { path, secret }))
}

/// The token that an earlier start left in the file `path`, if it is still good (and of `role`).
pub(super) async fn kept_token(
    tx: &mut Tx,
    path: &Path,
    role: Option<Role>,
) -> Result<Option<Secret>, StartError> {
    let kept = fs::read_to_string(path).ok();
    let Some(secret) = kept.and_then(|text| Secret::parse(text.trim())) else {
        return Ok(None);
    };
    let actor = tokens::find_by_hash(tx, &secret.hash()).await?;
    let good = actor.is_some_and(|actor| role.is_none_or(|role| actor.role == role));
    Ok(good.then_some(secret))
}

/// Makes a token of no site and leaves it in the file `path`.
pub(super) async fn new_token(
    mut tx: Tx,
    path: &Path,
    name: &str,
    role: Role,
    by: &str,
) -> Result<Secret, StartError> {
    let secret = Secret::generate()?;
    let new = NewCredential {
        name: name.to_owned(),
        role,
        site: None,
        device: None,
        expires_at: None,
    };
    tokens::issue(&mut tx, &new, &secret.hash(), by).await?;
    // The file first: a token without its file would lock everybody out.
    write_private(path, secret.reveal())?;
    tx.commit().await?;
    Ok(secret)
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::Data {
        path: path.to_owned(),
        source,
    })
}

/// Writes a file that only its owner reads, all of it or nothing.
fn write_private(path: &Path, text: &str) -> Result<(), StartError> {
    // A temporary file, which this begins as, is its owner's alone.
    let written = write_atomically(path, |file| writeln!(file, "{text}"));
    written.map_err(|source| StartError::Data {
        path: path.to_owned(),
        source,
    })
}
