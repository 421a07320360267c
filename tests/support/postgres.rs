//! A PostgreSQL server for the tests: one a test process, started from the
//! machine's binaries with the first test that asks, one database a test.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use katagami::catalog::Catalog;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, postgres::PgConnectOptions};

/// The database that the others are cloned from, with the whole schema.
const TEMPLATE: &str = "katagami_template";

/// A database of its own; dropped with this.
pub struct TestDatabase {
    /// Its address.
    pub url: String,
    name: String,
}

impl TestDatabase {
    /// Makes a database with the newest schema and nothing in it.
    pub fn fresh() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let server = Server::shared();
        server.ask(&format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE}"));
        Self {
            url: server.url(&name),
            name,
        }
    }

    /// Ends every connection to this database, as a restart of the server would.
    pub fn cut(&self) {
        Server::shared().ask(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        ));
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        Server::shared().ask(&format!("DROP DATABASE {} WITH (FORCE)", self.name));
    }
}

/// The server. Its guard, a shell, ends it and removes its folder when the
/// pipe to it closes: at the end of this process, however that comes.
struct Server {
    folder: PathBuf,
}

impl Server {
    fn shared() -> &'static Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(|| {
            let server = Self::start();
            server.ask(&format!("CREATE DATABASE {TEMPLATE}"));
            let url = server
                .url(TEMPLATE)
                .parse()
                .expect("the harness writes a valid address");
            wait_for(async move {
                let catalog = Catalog::open(&url).await.expect("the schema can be made");
                catalog.close().await;
            });
            // The listener's connection closes when it pleases; a template has none.
            server.ask(&format!("ALTER DATABASE {TEMPLATE} WITH ALLOW_CONNECTIONS FALSE"));
            server.ask(&format!(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{TEMPLATE}'"
            ));
            server
        })
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgres://katagami@localhost/{database}?host={}",
            self.folder.display()
        )
    }

    fn start() -> Self {
        let bin = binaries();
        let folder = tempfile::Builder::new()
            .prefix("katagami-pg-")
            .tempdir()
            .expect("there is room for a database")
            .keep();
        let data = folder.join("data");
        fs::create_dir(&data).expect("the folder is new");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("the folder is ours");
        fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).expect("the folder is ours");
        let user = unprivileged_user();
        if let Some(user) = &user {
            run(Command::new("chown").arg("-R").arg(user).arg(&folder));
        }
        run(as_user(user.as_deref(), &bin.join("initdb"))
            .args([
                "--username=katagami",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(&data));
        // The shell's own standard input is the pipe; what it starts in the background has none.
        let guard = r#"folder=$1; shift; "$@" </dev/null & server=$!
            read -r _; kill -INT "$server"; wait "$server"; rm -rf "$folder""#;
        let server = as_user(user.as_deref(), &bin.join("postgres"));
        let log = fs::File::create(folder.join("log")).expect("the folder is ours");
        #[expect(clippy::zombie_processes, reason = "it outlives the tests: the pipe ends it")]
        let mut child = Command::new("sh")
            .args(["-c", guard, "sh"])
            .arg(&folder)
            .arg(server.get_program())
            .args(server.get_args())
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&folder)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "fsync=off",
                "-c",
                "synchronous_commit=off",
            ])
            .args(["-c", "full_page_writes=off", "-c", "max_connections=300"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("there is a shell");
        // Kept open, never written to, until this process ends.
        let pipe = child.stdin.take().expect("standard input is a pipe");
        std::mem::forget(pipe);
        let server = Self { folder };
        server.wait_until_it_answers();
        server
    }

    fn wait_until_it_answers(&self) {
        let options: PgConnectOptions = self.url("postgres").parse().expect("a valid address");
        wait_for(async move {
            let mut tries = 0;
            while let Err(error) = options.connect().await {
                tries += 1;
                assert!(tries < 600, "PostgreSQL does not answer: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }

    /// Asks the server's own database.
    fn ask(&self, sql: &str) {
        let options: PgConnectOptions = self.url("postgres").parse().expect("a valid address");
        let sql = sql.to_owned();
        wait_for(async move {
            let mut connection: PgConnection = options.connect().await.expect("the server runs");
            let done = sqlx::query(AssertSqlSafe(sql.clone()))
                .execute(&mut connection)
                .await;
            done.unwrap_or_else(|error| panic!("{sql}: {error}"));
        });
    }
}

/// Runs `future` to its end from anywhere, inside a runtime or not.
fn wait_for(future: impl Future<Output = ()> + Send + 'static) {
    let waiting = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("there are threads")
            .block_on(future);
    });
    waiting.join().expect("the harness does not panic");
}

/// The newest PostgreSQL of the machine.
fn binaries() -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let newest = installed
        .filter_map(|entry| {
            Some((
                entry.file_name().to_str()?.parse::<u32>().ok()?,
                entry.path().join("bin"),
            ))
        })
        .filter(|(_, bin)| bin.join("initdb").exists())
        .max();
    if let Some((_, bin)) = newest {
        return bin;
    }
    let asked = Command::new("pg_config").arg("--bindir").output();
    let bin = asked
        .ok()
        .and_then(|answer| String::from_utf8(answer.stdout).ok());
    bin.map(|bin| PathBuf::from(bin.trim()))
        .filter(|bin| bin.join("initdb").exists())
        .expect("PostgreSQL is needed for the tests; install it with: scripts/tools.sh test")
}

/// PostgreSQL refuses to run as root: somebody else, if this is root.
fn unprivileged_user() -> Option<String> {
    let id = |arguments: &[&str]| {
        let answer = Command::new("id")
            .args(arguments)
            .output()
            .expect("there is `id`");
        answer
            .status
            .success()
            .then(|| String::from_utf8_lossy(&answer.stdout).trim().to_owned())
    };
    let is_root = id(&["-u"]).is_some_and(|id| id == "0");
    let user = ["postgres", "nobody"]
        .into_iter()
        .find(|user| id(&["-u", user]).is_some());
    is_root.then(|| user.expect("there is somebody besides root").to_owned())
}

fn as_user(user: Option<&str>, program: &Path) -> Command {
    match user {
        None => Command::new(program),
        Some(user) => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--reuid={user}"))
                .args(["--regid=nogroup", "--clear-groups", "--"])
                .arg(program);
            command
        }
    }
}

fn run(command: &mut Command) {
    // Whoever it runs as may not be allowed into the folder of the tests.
    let done = command
        .current_dir("/")
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if !done.status.success() {
        let _ = std::io::stderr().write_all(&done.stderr);
        panic!("{command:?} failed");
    }
}
