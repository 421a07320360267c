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
use crate::domain::placement::placement;

/// Waits before a worker is started again.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// A worker that ran this long had no bad start.
const STEADY: Duration = Duration::from_mins(1);
/// How long a worker may take to give its job back.
const LEAVING: Duration = Duration::from_secs(35);
/// How long a worker's executable may take to say what can compute here; a host of many cards wakes slowly.
const COUNTING: Duration = Duration::from_secs(30);

/// Starts the workers that the settings ask for, and keeps them running until the shutdown.
/// Without their executable the server goes on: workers may come from elsewhere.
pub async fn supervise(app: &App, addr: SocketAddr) -> Result<(), StartError> {
    if app.config.workers.count == Some(0) {
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
    let app = app.clone();
    // Counting cards loads libtorch, and people who wait for the server need not wait for that.
    app.tasks.clone().spawn(async move {
        let config = &app.config.workers;
        let cards = if config.device == "auto" {
            tokio::select! {
                () = app.shutdown.cancelled() => return,
                cards = cards(&executable) => cards,
            }
        } else {
            0
        };
        for (number, device) in (1..).zip(placement(config.count, &config.device, cards)) {
            let worker = Worker {
                executable: executable.clone(),
                server: server.clone(),
                token: token.clone(),
                device,
                number,
            };
            app.tasks.spawn(keep(app.clone(), worker));
        }
    });
    Ok(())
}

/// How many NVIDIA cards the worker's libtorch can use; 0 where it does not tell, since a worker works without.
async fn cards(worker: &Path) -> u32 {
    let mut command = Command::new(worker);
    command.arg("devices").stdin(Stdio::null()).kill_on_drop(true);
    match tokio::time::timeout(COUNTING, command.output()).await {
        Ok(Ok(told)) if told.status.success() => cards_of(&String::from_utf8_lossy(&told.stdout)),
        _ => {
            tracing::warn!(
                "`katagami-worker devices` does not tell what can compute here; taken for no card"
            );
            0
        }
    }
}

/// The cards in the list that `katagami-worker devices` prints, a device a line.
fn cards_of(list: &str) -> u32 {
    let cards = list.lines().filter(|line| line.starts_with("cuda:"));
    u32::try_from(cards.count()).unwrap_or(u32::MAX)
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
    device: String,
    number: u32,
}

impl Worker {
    /// Starts it; it lives while the pipe does.
    async fn start(&self, app: &App) -> std::io::Result<(Child, ChildStdin)> {
        let mut command = Command::new(&self.executable);
        command
            .args(["run", "--server", &self.server, "--token-stdin"])
            .args(["--device", &self.device])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_counted_in_what_the_worker_lists() {
        assert_eq!(cards_of("cpu  8000.0 MB\n"), 0);
        let two = "cuda:0 NVIDIA H100  85000.0 MB\ncuda:1 NVIDIA H100  85000.0 MB\ncpu  128000.0 MB\n";
        assert_eq!(cards_of(two), 2);
    }
}
