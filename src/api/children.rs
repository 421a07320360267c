//! The workers that the server starts itself.
//!
//! Each is a `katagami-worker` tied to this process by a pipe: its token comes
//! through it, and it ends when the pipe is closed, which the system does even
//! if this process is killed. One that ends is started again after a while.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

use super::secret::Secret;
use super::start::{StartError, kept_token, new_token};
use super::state::App;
use crate::companion;
use crate::domain::permission::Role;

/// Waits before a worker is started again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// A worker that ran this long had no bad start.
const STEADY: Duration = Duration::from_mins(1);
/// How long a worker may take to give its job back.
const LEAVING: Duration = Duration::from_secs(35);

/// Starts the workers that the settings ask for, and keeps them running until the shutdown.
/// Without their executable the server goes on: workers may come from elsewhere.
pub async fn supervise(app: &App, addr: SocketAddr) -> Result<(), StartError> {
    let count = app.config.workers.count;
    if count == 0 {
        return Ok(());
    }
    let Some(executable) = companion::worker() else {
        tracing::warn!(
            "`katagami-worker` was found neither beside `katagami` nor on PATH, so jobs wait for a worker from \
             elsewhere; build it with `make build`, or start the server with --workers 0"
        );
        return Ok(());
    };
    let token = token(app).await?;
    let server = address(app, addr);
    for number in 1..=count {
        let worker = Worker {
            executable: executable.clone(),
            server: server.clone(),
            token: token.clone(),
            number,
        };
        app.tasks.spawn(keep(app.clone(), worker));
    }
    Ok(())
}

/// Where a worker on this machine finds the server.
fn address(app: &App, addr: SocketAddr) -> String {
    if let Some(given) = &app.config.workers.server {
        return given.clone();
    }
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if app.config.server.has_tls() {
        "https"
    } else {
        "http"
    };
    format!("{scheme}://{}", SocketAddr::new(ip, addr.port()))
}

/// The token of this server's own workers: made once, kept in the data folder.
async fn token(app: &App) -> Result<Secret, StartError> {
    let path = app.config.storage.data.join("worker-token");
    let mut tx = app.catalog.begin().await?;
    match kept_token(&mut tx, &path, Some(Role::Worker)).await? {
        Some(secret) => Ok(secret),
        None => new_token(tx, &path, "workers of the server", Role::Worker, "server").await,
    }
}

struct Worker {
    executable: PathBuf,
    server: String,
    token: Secret,
    number: u32,
}

impl Worker {
    /// Starts it; it lives while the pipe does.
    async fn start(&self, app: &App) -> std::io::Result<(Child, ChildStdin)> {
        let mut command = Command::new(&self.executable);
        command
            .args(["run", "--server", &self.server, "--token-stdin"])
            .args(["--device", &app.config.workers.device])
            .args([
                Path::new("--cache"),
                &app.config.storage.data.join("worker-cache"),
            ])
            .args([
                "--name",
                &format!("server-{}-{}", std::process::id(), self.number),
            ])
            .env_remove("KATAGAMI_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let config = &app.config;
        if let Some(trusted) = config.workers.ca.as_ref().or(config.server.tls_cert.as_ref()) {
            command.args([Path::new("--ca"), trusted]);
        }
        let mut child = command.spawn()?;
        let number = self.number;
        if let Some(log) = child.stderr.take() {
            // Ends when the worker does and closes its end.
            app.tasks.spawn(async move {
                let mut lines = BufReader::new(log).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    tracing::info!(target: "katagami::worker", number, "{line}");
                }
            });
        }
        let mut pipe = child
            .stdin
            .take()
            .ok_or_else(|| std::io::Error::other("no pipe"))?;
        pipe.write_all(format!("{}\n", self.token.reveal()).as_bytes())
            .await?;
        Ok((child, pipe))
    }
}

/// Keeps one worker running.
async fn keep(app: App, worker: Worker) {
    let number = worker.number;
    let mut wait = FIRST_WAIT;
    loop {
        let began = Instant::now();
        match worker.start(&app).await {
            Ok((mut child, pipe)) => {
                tokio::select! {
                    () = app.shutdown.cancelled() => return leave(child, pipe).await,
                    status = child.wait() => {
                        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                        tracing::warn!(number, status, "a worker ended; it is started again");
                    }
                }
            }
            Err(error) => {
                let path = worker.executable.display();
                tracing::warn!(number, %error, "`{path}` does not start; build it again with `make build`");
            }
        }
        if began.elapsed() > STEADY {
            wait = FIRST_WAIT;
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        wait = (2 * wait).min(LONGEST_WAIT);
    }
}

/// Closes the pipe, upon which the worker gives its job back and ends.
async fn leave(mut child: Child, pipe: ChildStdin) {
    drop(pipe);
    if tokio::time::timeout(LEAVING, child.wait()).await.is_err() {
        tracing::warn!("a worker did not end in time and is killed; its lease runs out");
        let _ = child.kill().await;
    }
}
