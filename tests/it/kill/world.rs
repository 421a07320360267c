//! A server and workers as processes of their own.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use katagami::blobs::{self, Blobs};
use katagami::catalog::{self, Catalog};
use katagami::client::{Client, SingleImage};
use katagami::config::Config;
use katagami::domain::job::{JobState, Phase};
use katagami::domain::permission::Role;
use katagami::domain::{Digest, JobId, MaskVersion, SiteName};
use katagami::wire::v1::jobs::{JobQuery, NewJob, Outcome, Start};
use katagami::wire::v1::masks::Mask;
use katagami::wire::v1::sites::NewSite;
use katagami::wire::v1::tokens::NewToken;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::server::picture;
use crate::support::{generated_base, imported};

/// Images of the site.
pub const IMAGES: u64 = 12;
/// How long anything may take before the test gives up: a machine under load is slow.
const PATIENCE: Duration = Duration::from_mins(3);
/// How often processes are asked for what is awaited.
const LOOK: Duration = Duration::from_millis(50);
/// SIGABRT: how a process dies at its point.
const ABORTED: i32 = 6;

/// Done in a second, and with its coarse rate surely drops weights.
fn recipe(steps: u32) -> String {
    format!(
        "
schedule = {{ steps = {steps}, warm-up = 1, prototypes-frozen = 1, batch = 4 }}
mask = {{ rate = 0.2, momentum = 0.9, normalise = true, skip-first = 8 }}
head = {{ rate = 0.15, momentum = 0.9, hidden = 16, output = 8, prototypes = 4 }}
swav = {{ temperature = 0.1, epsilon = 0.05, rounds = 3, drop-connect = 0.2 }}
[augment]
brightness = 0.2
contrast = 0.2
large = {{ count = 2, size = 32, scale = [0.3, 1.0] }}
small = {{ count = 1, size = 32, scale = [0.1, 0.3] }}
"
    )
}

/// A server in a folder of its own, with a site that has images.
pub struct World {
    pub folder: tempfile::TempDir,
    server: Child,
    pub url: String,
    admin: String,
    token: String,
    workers: u32,
    /// The weights of a mask that nobody disturbed; the same in all worlds.
    weights: OnceLock<Digest>,
}

/// A worker's process; it ends when its standard input is closed.
pub struct Worker {
    child: Child,
    pipe: File,
}

impl Worker {
    /// Tells it to end, and waits until it has.
    pub async fn leaves(mut self) {
        drop(self.pipe);
        let status = within(self.child.wait(), "the worker ends").await.unwrap();
        assert!(status.success(), "it says good-bye: {status}");
    }
}

async fn within<T>(what: impl Future<Output = T>, name: &str) -> T {
    let in_time = tokio::time::timeout(PATIENCE, what).await;
    in_time.unwrap_or_else(|_| panic!("waited too long until {name}"))
}

/// Asks until it is so. A server that is away is no answer.
async fn until<T, F: Future<Output = Option<T>>>(name: &str, mut ask: impl FnMut() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    within(asking, name).await
}

/// The site.
pub fn site() -> SiteName {
    "osaka".parse().unwrap()
}

impl World {
    /// A server without workers of its own.
    pub async fn new() -> Self {
        Self::with_workers(0).await
    }

    /// A server that starts so many workers.
    pub async fn with_workers(workers: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        imported(&generated_base(7), folder.path(), Some(32));
        let settings = "[scheduler]\nlease = \"3s\"\nreap-every = \"500ms\"\nmax-attempts = 50\n";
        std::fs::write(folder.path().join("settings.toml"), settings).unwrap();
        for (name, steps) in [("quick", 4), ("endless", 100_000)] {
            let recipes = folder.path().join(name);
            std::fs::create_dir(&recipes).unwrap();
            // In place of the embedded one: the server lets no other name pass.
            std::fs::write(recipes.join("factory.toml"), recipe(steps)).unwrap();
        }
        let (server, url) = start_server(folder.path(), "127.0.0.1:0", workers, None).await;
        let admin = std::fs::read_to_string(folder.path().join("data/admin-token")).unwrap();
        let mut world = Self {
            folder,
            server,
            url,
            admin: admin.trim().to_owned(),
            token: String::new(),
            workers,
            weights: OnceLock::new(),
        };
        world.furnish().await;
        world
    }

    async fn furnish(&mut self) {
        let client = self.client();
        let new = NewSite {
            name: site(),
            ..serde_json::from_str(r#"{"name": "osaka"}"#).unwrap()
        };
        client.create_site(&new).await.unwrap();
        for number in 0..IMAGES as u8 {
            let image = SingleImage {
                name: format!("{number}.png"),
                media_type: "image/png".to_owned(),
                caption: None,
                bytes: picture(number).into(),
            };
            client.submit_image(&site(), image).await.unwrap();
        }
        let token = NewToken {
            name: "workers".to_owned(),
            role: Role::Worker,
            site: None,
            expires_at: None,
        };
        self.token = client.create_token(&token).await.unwrap().secret;
    }

    /// The admin's client. It asks once: who waits for a server asks again by itself.
    pub fn client(&self) -> Client {
        Client::new(&self.url, Some(&self.admin), None)
            .unwrap()
            .with_attempts(1)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a worker, which dies where it is told to.
    pub fn worker(&self, kill_at: Option<&str>) -> Worker {
        self.started("quick", kill_at)
    }

    /// Starts a worker whose trainings do not end by themselves.
    pub fn endless_worker(&self) -> Worker {
        self.started("endless", None)
    }

    fn started(&self, recipes: &str, kill_at: Option<&str>) -> Worker {
        let mut command = Command::new(env!("CARGO_BIN_EXE_katagami-worker"));
        command
            .args([
                "run",
                "--server",
                &self.url,
                "--token-stdin",
                "--device",
                "cpu",
                "--threads",
                "1",
            ])
            .args(["--checkpoint-every", "0"])
            .args([Path::new("--recipes"), &self.path(recipes)])
            .args([Path::new("--cache"), &self.path("cache")])
            .env_remove("KATAGAMI_KILL_AT")
            .envs(kill_at.map(|aim| ("KATAGAMI_KILL_AT", aim)))
            .stdin(Stdio::piped())
            .stderr(log(self.folder.path(), "worker.log"))
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        // Tokio's end of the pipe cannot be written to while its runtime waits here.
        let mut pipe = File::from(child.stdin.take().unwrap().into_owned_fd().unwrap());
        let token = format!("{}\n", self.token);
        // A pipe holds a line without anybody reading it.
        pipe.write_all(token.as_bytes()).unwrap();
        Worker { child, pipe }
    }

    /// The next worker has to fetch everything again.
    pub fn forget_cache(&self) {
        std::fs::remove_dir_all(self.path("cache")).unwrap();
    }

    /// Puts a job into the queue that starts from the base, whatever was released.
    pub async fn job(&self) -> JobId {
        let new = NewJob {
            start: Some(Start::Base),
            seed: Some(1),
            ..NewJob::default()
        };
        self.client().create_job(&site(), &new).await.unwrap().id
    }

    /// The same, for a worker whose recipe is endless.
    pub async fn long_job(&self) -> JobId {
        self.job().await
    }

    /// One job in peace, whose weights all others must have.
    pub async fn undisturbed(&self) {
        let worker = self.worker(None);
        let job = self.job().await;
        self.ends_well(job, "nothing").await;
        worker.leaves().await;
    }

    /// Waits until the worker died at its point.
    pub async fn dies(&self, doomed: &mut Worker, job: JobId, aim: &str) {
        let status = tokio::select! {
            status = within(doomed.child.wait(), aim) => status.unwrap(),
            () = self.ended_and_some(job) => panic!("the job ended, and {aim} was never reached\n{}", self.logs()),
        };
        self.aborted(status, aim);
    }

    /// Waits until the server died at its point.
    pub async fn server_dies(&mut self, job: JobId, aim: &str) {
        let client = self.client();
        let ended = async move {
            until("the job ends", || async {
                client.job(job).await.ok()?.state.is_ended().then_some(())
            })
            .await;
            // Dead after the answer is dead as well.
            tokio::time::sleep(Duration::from_secs(5)).await;
        };
        let status = tokio::select! {
            status = within(self.server.wait(), aim) => status.unwrap(),
            () = ended => panic!("the job ended, and {aim} was never reached\n{}", self.logs()),
        };
        self.aborted(status, aim);
    }

    fn aborted(&self, status: ExitStatus, aim: &str) {
        assert_eq!(status.signal(), Some(ABORTED), "{aim}: {status}\n{}", self.logs());
    }

    async fn ended_and_some(&self, job: JobId) {
        let client = self.client();
        until("the job ends", || async {
            client.job(job).await.ok()?.state.is_ended().then_some(())
        })
        .await;
        // A worker that dies after its job's end is about to.
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    /// Ends the server without any warning and starts it on the same port.
    pub async fn restarts_server(&mut self, kill_at: Option<&str>) {
        self.kill_server().await;
        let address = self.url.strip_prefix("http://").unwrap().to_owned();
        let (server, _) = start_server(self.folder.path(), &address, self.workers, kill_at).await;
        self.server = server;
    }

    /// Ends the server without any warning.
    pub async fn kill_server(&mut self) {
        let _ = self.server.start_kill();
        self.server.wait().await.unwrap();
    }

    /// Waits for the job's end, which must be a mask.
    pub async fn makes_a_mask(&self, job: JobId, aim: &str) -> MaskVersion {
        let client = self.client();
        let ended = until("the job ends", || async {
            client.job(job).await.ok().filter(|job| job.state.is_ended())
        })
        .await;
        match ended.outcome {
            Some(Outcome::Mask { version, .. }) => version,
            _ => panic!("{aim}: {ended:?}\n{}", self.logs()),
        }
    }

    /// Waits for the job's end, and checks that it is the one that it would have had anyway.
    pub async fn ends_well(&self, job: JobId, aim: &str) {
        let version = self.makes_a_mask(job, aim).await;
        let client = self.client();
        let said = || format!("{aim}: {job}\n{}", self.logs());
        let masks = client.all_masks(&site()).await.unwrap();
        let own: Vec<&Mask> = masks.iter().filter(|mask| mask.job == job).collect();
        assert_eq!(own.len(), 1, "published once: {}", said());
        assert_eq!(own[0].version, version);
        let expected = *self.weights.get_or_init(|| own[0].weights);
        assert_eq!(own[0].weights, expected, "the same bits: {}", said());
        let attempts = client.job_logs(job).await.unwrap().attempts;
        let published = attempts
            .iter()
            .filter(|attempt| attempt.end.as_deref() == Some("published"));
        assert_eq!(published.count(), 1, "{attempts:?}");
        assert!(
            attempts.iter().all(|attempt| attempt.ended_at.is_some()),
            "{attempts:?}"
        );
        self.keeps_what_is_named(&masks).await;
    }

    /// After collecting without any grace, blobs are there that something names, whole, and no others.
    async fn keeps_what_is_named(&self, masks: &[Mask]) {
        let mut config = Config::default();
        config.storage.data = self.path("data");
        let catalog = Catalog::open(&config.storage.database().parse().unwrap())
            .await
            .unwrap();
        let blobs = Blobs::open(&config.storage.blob_store().parse().unwrap()).unwrap();
        blobs::collect::once(&catalog, &blobs, Duration::ZERO)
            .await
            .unwrap();
        // A server that died while it wrote a blob leaves a part of it, which it clears away as it collects.
        blobs.remove_leftovers(Duration::ZERO).await.unwrap();
        let mut tx = catalog.read().await.unwrap();
        let (count, _) = catalog::blobs::stored(&mut tx).await.unwrap();
        drop(tx);
        catalog.close().await;
        let mut stored = BTreeSet::new();
        files(&self.path("data/blobs/sha256"), &mut stored);
        for path in &stored {
            let bytes = std::fs::read(path).unwrap();
            let parts: Vec<_> = path
                .iter()
                .rev()
                .take(2)
                .map(|part| part.to_str().unwrap())
                .collect();
            assert_eq!(
                format!("{}{}", parts[1], parts[0]),
                Digest::of(&bytes).to_string(),
                "whole"
            );
        }
        let mut named: BTreeSet<Digest> = masks.iter().flat_map(|mask| [mask.digest, mask.report]).collect();
        named.extend((0..IMAGES as u8).map(|number| Digest::of(&picture(number))));
        // The base's file, and the scores, which are the same after every training.
        let expected = named.len() + 2;
        assert_eq!(
            (stored.len(), count as usize),
            (expected, expected),
            "no orphans\n{}",
            self.logs()
        );
        let spooled = std::fs::read_dir(self.path("data/blobs/spool")).unwrap().count();
        assert_eq!(spooled, 0, "nothing half received");
    }

    /// Nothing is left to be done.
    pub async fn is_clean(&self) {
        let jobs = self
            .client()
            .all_jobs(&site(), &JobQuery::default())
            .await
            .unwrap();
        assert!(jobs.iter().all(|job| job.state == JobState::Done));
        let masks = self.client().all_masks(&site()).await.unwrap();
        assert_eq!(masks.len(), jobs.len(), "one mask a job");
    }

    /// Waits until the attempt has done so many steps.
    pub async fn reaches_step(&self, job: JobId, step: u64) {
        let client = self.client();
        until("the training has begun", || async {
            let progress = client.job(job).await.ok()?.progress?;
            (progress.phase == Phase::Train && progress.step >= step).then_some(())
        })
        .await;
    }

    /// Waits until the job is cancelled.
    pub async fn is_cancelled(&self, job: JobId) {
        let client = self.client();
        let state = until("the job ends", || async {
            let state = client.job(job).await.ok()?.state;
            state.is_ended().then_some(state)
        })
        .await;
        assert_eq!(state, JobState::Cancelled);
    }

    /// Who asked for work.
    pub async fn worker_names(&self) -> Vec<String> {
        let workers = self.client().all_workers().await.unwrap();
        workers.into_iter().map(|worker| worker.name).collect()
    }

    /// Waits until no process uses the cache of the server's workers.
    pub async fn has_no_worker(&self) {
        let lock = self.path("data/worker-cache/1/lock");
        until("the worker ends", || async {
            std::fs::File::open(&lock).ok()?.try_lock().ok()
        })
        .await;
    }

    /// What the processes logged.
    fn logs(&self) -> String {
        let tail = |name| {
            let log = std::fs::read_to_string(self.path(name)).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            format!(
                "--- {name}\n{}\n",
                lines[lines.len().saturating_sub(40)..].join("\n")
            )
        };
        ["server.log", "worker.log"].map(tail).concat()
    }
}

fn files(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.insert(path);
        }
    }
}

fn log(folder: &Path, name: &str) -> Stdio {
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join(name));
    file.unwrap().into()
}

/// Starts a server, and answers its address.
async fn start_server(folder: &Path, listen: &str, workers: u32, kill_at: Option<&str>) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_katagami"));
    command
        .args([
            "serve",
            "--listen",
            listen,
            "--workers",
            &workers.to_string(),
            "--device",
            "cpu",
        ])
        .args([Path::new("--data"), &folder.join("data")])
        .args([Path::new("--bases"), &folder.join("bases")])
        .args([Path::new("--config"), &folder.join("settings.toml")])
        .env_remove("KATAGAMI_KILL_AT")
        .envs(kill_at.map(|aim| ("KATAGAMI_KILL_AT", aim)))
        // Of the server's own workers; the others are told by an argument.
        .env("KATAGAMI_RECIPES", folder.join("quick"))
        .stdout(Stdio::piped())
        .stderr(log(folder, "server.log"))
        .kill_on_drop(true);
    let mut server = command.spawn().unwrap();
    let out = server.stdout.take().unwrap();
    let mut lines = BufReader::new(out).lines();
    let line = within(lines.next_line(), "the server listens").await.unwrap();
    let log = || std::fs::read_to_string(folder.join("server.log")).unwrap_or_default();
    let line = line.unwrap_or_else(|| panic!("the server did not start: {}", log()));
    let url = line.split_whitespace().next().unwrap().to_owned();
    (server, url)
}
