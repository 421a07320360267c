//! `katagami serve`: the server, in the foreground.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;

use super::printer;
use crate::api::{self, Running, StartError};
use crate::config::{Config, ConfigError, Loaded, Sources};
use crate::domain::{ErrorKind, Problem};
use crate::telemetry;

/// Run the server: REST, the workers' protocol and the dashboard on one port
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    settings: Settings,
    /// The address to listen on; one that is not loopback needs TLS or --behind-proxy. Default: 127.0.0.1:8750
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The certificate chain (PEM). Default: plain HTTP
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Something in front of the server speaks TLS to the world
    #[arg(long)]
    behind_proxy: bool,
    /// Where blobs are: a folder or s3://BUCKET/PREFIX. Default: a folder in the data folder
    #[arg(long, value_name = "PLACE")]
    blobs: Option<String>,
    /// The folder of imported bases. Default: that of `katagami base`
    #[arg(long, value_name = "DIR")]
    bases: Option<PathBuf>,
    /// The base to serve: its digest, or the digest's beginning. Default: the one served last, else
    /// the only one
    #[arg(long, value_name = "DIGEST")]
    base: Option<String>,
    /// Workers to start beside the server; 0: none. Default: one for each NVIDIA card, or one
    #[arg(long, value_name = "N")]
    workers: Option<u32>,
    /// What the workers compute on: auto (each on a card of its own, if there are any), cpu or cuda:N. Default: auto
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// What is logged: a level, or directives such as katagami=debug. Default: info
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

/// Where settings come from, and the data they are about.
#[derive(Debug, Args)]
pub struct Settings {
    /// A file of settings (TOML); `katagami config show` lists them
    #[arg(long, env = "KATAGAMI_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The data folder. Default: ~/.local/share/katagami
    #[arg(long, value_name = "DIR", global = true)]
    pub data: Option<PathBuf>,
    /// The database: sqlite:PATH or postgres://… Default: a file in the data folder
    #[arg(long, value_name = "URL", global = true)]
    pub database_url: Option<String>,
}

impl Settings {
    /// The sources that these arguments and the process name.
    pub fn sources(&self) -> Sources {
        let mut sources = Sources::of_process(self.config.clone());
        sources.argument("storage.data", self.data.as_deref().map(text));
        sources.argument("storage.database-url", self.database_url.clone());
        sources
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl ServeArgs {
    fn load(&self) -> Result<Loaded, ConfigError> {
        let mut sources = self.settings.sources();
        sources.argument("server.listen", self.listen.map(|addr| addr.to_string()));
        sources.argument("server.tls-cert", self.tls_cert.as_deref().map(text));
        sources.argument("server.tls-key", self.tls_key.as_deref().map(text));
        sources.argument("server.behind-proxy", self.behind_proxy.then_some(true));
        sources.argument("storage.blobs", self.blobs.clone());
        sources.argument("storage.bases", self.bases.as_deref().map(text));
        sources.argument("storage.base", self.base.clone());
        sources.argument("workers.count", self.workers);
        sources.argument("workers.device", self.device.clone());
        sources.argument("telemetry.log", self.log.clone());
        sources.load()
    }
}

/// Why the server did not start or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The process could not be set up.
    #[error("the process could not be set up ({0}); is the machine out of memory or handles?")]
    Process(#[from] std::io::Error),
    /// The listener failed.
    #[error("the server ended by itself; its log says why")]
    Ended,
}

impl From<ConfigError> for ServeError {
    fn from(error: ConfigError) -> Self {
        Self::Start(error.into())
    }
}

impl Problem for ServeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Start(error) => error.kind(),
            Self::Process(_) | Self::Ended => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Start(error) => error.code(),
            Self::Process(_) => "process",
            Self::Ended => "ended",
        }
    }
}

/// Runs the server until Ctrl-C or SIGTERM.
pub fn run(args: &ServeArgs) -> Result<(), ServeError> {
    let Loaded { config, .. } = args.load()?;
    telemetry::logs::start(&config.telemetry);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), ServeError> {
    // Before the start: a signal that comes meanwhile ends it, too.
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut server = tokio::select! {
        server = api::start(config) => server?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    say_where(&server);
    let by_itself = tokio::select! {
        _ = terminate.recv() => false,
        _ = interrupt.recv() => false,
        () = server.ended() => true,
    };
    if by_itself {
        return Err(ServeError::Ended);
    }
    tracing::info!("shutting down; a second signal ends it at once");
    tokio::select! {
        () = server.stop() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The ONE thing to do next, on standard output.
fn say_where(server: &Running) {
    match &server.admin {
        Some(admin) => printer::line(&format!(
            "{}  (the admin's token is in {})",
            server.url,
            admin.path.display()
        )),
        None => printer::line(&server.url),
    }
}
