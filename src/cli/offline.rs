//! What an operator can do beside a server, on its database: make a token when
//! nobody has one any more.

use clap::Args;

use super::serve::Settings;
use crate::api::secret::Secret;
use crate::api::start::{StartError, open_catalog};
use crate::catalog::CatalogError;
use crate::catalog::tokens::{self, NewCredential};
use crate::config::ConfigError;
use crate::domain::{ErrorKind, Problem};
use crate::wire::v1::tokens::{IssuedToken, NewToken};

/// Whether, and on which database, a token is made beside the server.
#[derive(Debug, Args)]
pub struct Beside {
    /// Make it in the database itself, where the server runs: for when nobody has a token any more
    #[arg(long)]
    offline: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Beside {
    /// Makes the token if it is to be made without the server.
    pub async fn issue(&self, new: &NewToken) -> Result<Option<IssuedToken>, OfflineError> {
        if !self.offline {
            return Ok(None);
        }
        let credential = NewCredential {
            name: new.name.clone(),
            role: new.role,
            site: new.site.clone(),
            device: None,
            expires_at: new.expires_at,
        };
        issue_token(&self.settings, credential).await.map(Some)
    }
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The settings do not name a usable database.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The catalog failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl From<ConfigError> for OfflineError {
    fn from(error: ConfigError) -> Self {
        Self::Start(error.into())
    }
}

impl Problem for OfflineError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Start(error) => error.kind(),
            Self::Catalog(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Start(error) => error.code(),
            Self::Catalog(error) => error.code(),
        }
    }
}

/// Makes a token in the database that `settings` name, whether a server runs or not.
pub async fn issue_token(settings: &Settings, new: NewCredential) -> Result<IssuedToken, OfflineError> {
    let loaded = settings.sources().load()?;
    let catalog = open_catalog(&loaded.config).await?;
    let secret = Secret::generate()?;
    let mut tx = catalog.begin().await?;
    let token = tokens::issue(&mut tx, &new, &secret.hash(), "operator beside the server").await?;
    tx.commit().await?;
    catalog.close().await;
    Ok(IssuedToken {
        token,
        secret: secret.reveal().to_owned(),
    })
}
