//! What the commands that speak to a server share: where it is, with which
//! token, and how to answer.

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Args;
use serde::{Deserialize, Serialize};

use super::printer;
use crate::client::{Client, ClientError};
use crate::domain::{ErrorKind, Problem};

/// Which server, and in which form it is answered.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub struct Remote {
    /// The server's address, such as https://katagami.example. Default: the one that was started here
    #[arg(long, env = "KATAGAMI_SERVER", value_name = "URL", global = true)]
    server: Option<String>,
    /// The token to show. Default: the admin's token of the server that was started here
    #[arg(
        long,
        env = "KATAGAMI_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true,
        global = true
    )]
    token: Option<String>,
    /// Certificates to trust besides the system's (PEM)
    #[arg(long, env = "KATAGAMI_CA", value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long, global = true)]
    pub json: bool,
}

/// What the first start of a server left for the commands on the same machine.
#[derive(Deserialize)]
struct Remembered {
    server: String,
    token: String,
}

impl Remote {
    /// A client of that server.
    pub fn connect(&self) -> Result<Client, CommandError> {
        let remembered = match (&self.server, &self.token) {
            (Some(_), Some(_)) => None,
            _ => remembered(&remembered_path())?,
        };
        let server = match (&self.server, &remembered) {
            (Some(server), _) => server,
            (None, Some(remembered)) => &remembered.server,
            (None, None) => return Err(CommandError::NoServer),
        };
        // The remembered token is for the remembered server: never shown to another one.
        let own = remembered
            .as_ref()
            .filter(|remembered| remembered.server.trim_end_matches('/') == server.trim_end_matches('/'));
        let token = match (&self.token, own) {
            (Some(token), _) => token,
            (None, Some(own)) => &own.token,
            (None, None) => return Err(CommandError::NoToken(server.clone())),
        };
        Ok(Client::new(server, Some(token), self.ca.as_deref())?)
    }

    /// Answers with `value` as JSON, or as `for_people` does.
    pub fn answer(&self, value: &impl Serialize, for_people: impl FnOnce()) {
        if self.json {
            printer::json(value);
        } else {
            for_people();
        }
    }
}

fn remembered_path() -> PathBuf {
    crate::folders::data().join("server.json")
}

fn remembered(path: &Path) -> Result<Option<Remembered>, CommandError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(CommandError::at(path)(source)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|_| CommandError::Remembered(path.to_owned()))
}

/// Why a command that speaks to a server failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// No server is known.
    #[error("no server is known; start one with `katagami serve`, or give --server URL and --token TOKEN")]
    NoServer,
    /// A server is given, but no token for it.
    #[error("no token for `{0}` is known; give --token TOKEN or set KATAGAMI_TOKEN")]
    NoToken(String),
    /// What the first start left is damaged.
    #[error("`{}` is damaged; start the server again, or give --server URL and --token TOKEN", .0.display())]
    Remembered(PathBuf),
    /// The server refused, or was not reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file could not be read or written.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is nothing to send.
    #[error("there is no file to send in {0}")]
    NothingToSend(String),
    /// A submission broke off.
    #[error("{source}; {answered} files were received, run the same command again for the rest")]
    BrokenOff {
        /// Why.
        source: ClientError,
        /// Files that the server has answered.
        answered: u64,
    },
    /// Some files were rejected.
    #[error("{rejected} of {files} files were rejected, for the reasons above")]
    Rejected {
        /// How many.
        rejected: u64,
        /// Of how many.
        files: u64,
    },
    /// A token was not made beside the server.
    #[cfg(feature = "server")]
    #[error(transparent)]
    Offline(#[from] super::offline::OfflineError),
    /// A job failed.
    #[error("job {job} failed: {reason}; read `katagami job logs {job}`")]
    JobFailed {
        /// The job.
        job: crate::domain::JobId,
        /// Why.
        reason: String,
    },
    /// A job was cancelled while it was watched.
    #[error("job {0} was cancelled")]
    JobCancelled(crate::domain::JobId),
    /// No prior, or several, have a digest that begins so.
    #[error("there is no one prior that begins with `{0}`; list them with `katagami prior list`")]
    NoSuchPrior(String),
    /// A channel has never pointed anywhere else.
    #[error(
        "channel `{channel}` of `{site}` was never moved; set it with `katagami release set {site} {channel} VERSION`"
    )]
    NeverMoved {
        /// The site.
        site: crate::domain::SiteName,
        /// The channel.
        channel: crate::domain::ChannelName,
    },
}

impl CommandError {
    /// An error of the file at `path`.
    pub fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl Problem for CommandError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoServer
            | Self::NoToken(_)
            | Self::Remembered(_)
            | Self::NothingToSend(_)
            | Self::Rejected { .. } => ErrorKind::Invalid,
            Self::NoSuchPrior(_) => ErrorKind::NotFound,
            Self::Client(source) | Self::BrokenOff { source, .. } => source.kind(),
            #[cfg(feature = "server")]
            Self::Offline(error) => error.kind(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::PermissionDenied => ErrorKind::Forbidden,
                _ => ErrorKind::Unavailable,
            },
            Self::JobFailed { .. } | Self::JobCancelled(_) | Self::NeverMoved { .. } => ErrorKind::Conflict,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoServer => "no_server",
            Self::NoToken(_) => "no_token",
            Self::Remembered(_) => "server_file_damaged",
            Self::Client(source) => source.code(),
            #[cfg(feature = "server")]
            Self::Offline(error) => error.code(),
            Self::NoSuchPrior(_) => "no_such_prior",
            Self::BrokenOff { .. } => "submission_broken_off",
            Self::Io { .. } => "file_unusable",
            Self::NothingToSend(_) => "nothing_to_send",
            Self::Rejected { .. } => "files_rejected",
            Self::JobFailed { .. } => "job_failed",
            Self::JobCancelled(_) => "job_cancelled",
            Self::NeverMoved { .. } => "channel_never_moved",
        }
    }
}
