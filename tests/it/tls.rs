//! The whole way over TLS: commands, device and worker trust an authority that no system knows.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::edge::proxy::Proxy;
use crate::support::{Answer, generated_base, imported, katagami, katagami_with};
use crate::worker::QUICK;

/// Long enough for the slowest machine; waiting ends as soon as the job does.
const PATIENCE: Duration = Duration::from_mins(3);

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    folder.join(name).to_str().unwrap().to_owned()
}

/// A process that ends with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `katagami serve` with a certificate from an authority, and a worker of its own.
struct Factory {
    _server: Process,
    folder: tempfile::TempDir,
    url: String,
    admin: String,
}

impl Factory {
    fn new(workers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        imported(&generated_base(7), folder.path(), Some(32));
        let settings = format!("[workers]\ndevice = \"cpu\"\nca = {:?}\n", fixture("ca.pem"));
        std::fs::write(folder.path().join("settings.toml"), settings).unwrap();
        let recipes = folder.path().join("recipes");
        std::fs::create_dir(&recipes).unwrap();
        std::fs::write(recipes.join("factory.toml"), QUICK).unwrap();
        let log = std::fs::File::create(folder.path().join("server.log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_katagami"))
            .args(["serve", "--listen", "127.0.0.1:0", "--workers", workers])
            .args(["--tls-cert", &fixture("signed.pem")])
            .args(["--tls-key", &fixture("signed-key.pem")])
            .args([Path::new("--data"), &folder.path().join("data")])
            .args([Path::new("--bases"), &folder.path().join("bases")])
            .args([Path::new("--config"), &folder.path().join("settings.toml")])
            .env("KATAGAMI_RECIPES", recipes)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut server = Process(child);
        let mut line = String::new();
        let out = server.0.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let url = line
            .split_whitespace()
            .next()
            .expect("it says where it is")
            .to_owned();
        let admin = std::fs::read_to_string(folder.path().join("data/admin-token")).unwrap();
        Self {
            url,
            admin: admin.trim().to_owned(),
            folder,
            _server: server,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command as the admin, who trusts `ca`.
    fn trusting(&self, ca: &str, command: &[&str]) -> Answer {
        let remote = ["--server", &self.url, "--token", &self.admin, "--ca", ca];
        katagami(self.folder.path(), &[command, &remote].concat())
    }

    fn admin(&self, command: &[&str]) -> Answer {
        self.trusting(&fixture("ca.pem"), command)
    }

    /// A device's token.
    fn enrols(&self) -> String {
        self.admin(&["site", "create", "osaka"]).good();
        let enrol = ["device", "token", "osaka", "line-a", "--json"];
        let told = self.admin(&enrol).good().json();
        told["token"].as_str().unwrap().to_owned()
    }

    fn pull(&self, token: &str, more: &[&str]) -> Answer {
        self.pull_from(&self.url, token, more, &[])
    }

    fn pull_from(&self, url: &str, token: &str, more: &[&str], variables: &[(&str, &str)]) -> Answer {
        let dir = self.at("device");
        let fixed = ["edge", "pull", "--dir", dir.to_str().unwrap(), "--json"];
        let remote = ["--server", url, "--token", token];
        katagami_with(
            self.folder.path(),
            &[&fixed[..], &remote, more].concat(),
            variables,
        )
    }

    /// Waits for the job's end and answers it.
    fn ended(&self, job: &str) -> serde_json::Value {
        let began = Instant::now();
        loop {
            let shown = self.admin(&["job", "show", job, "--json"]).good().json();
            if !["queued", "running"].contains(&shown["state"].as_str().unwrap()) {
                return shown;
            }
            let log = || std::fs::read_to_string(self.at("server.log")).unwrap();
            assert!(began.elapsed() < PATIENCE, "{shown}\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn everybody_speaks_tls_with_an_authority_of_ones_own() {
    let factory = Factory::new("1");
    assert!(factory.url.starts_with("https://"), "{}", factory.url);
    let token = factory.enrols();
    let pictures = factory.at("pictures");
    for number in 0..12 {
        crate::cli::server::picture(&pictures.join(format!("{number}.pgm")), number);
    }
    factory
        .admin(&["images", "submit", "osaka", pictures.to_str().unwrap()])
        .good();

    // The server's own worker leases over gRPC and fetches over REST, both over TLS.
    let job = factory.admin(&["job", "start", "osaka", "--json"]).good().json();
    let ended = factory.ended(job["id"].as_str().unwrap());
    assert_eq!(ended["state"], "done", "{ended}");
    assert_eq!(ended["outcome"]["kind"], "mask", "{ended}");

    let authority = fixture("ca.pem");
    let pulled = factory.pull(&token, &["--ca", &authority]).good().json();
    assert_eq!(pulled["switched"], true, "{pulled}");
    assert!(pulled["base_bytes"].as_u64().unwrap() > 0);
}

#[test]
fn a_server_that_is_not_trusted_is_one_sentence_to_everybody() {
    let factory = Factory::new("0");
    let other = fixture("cert.pem");
    let said = |sentence: String| {
        assert!(
            sentence.contains("is not trusted") && sentence.contains("--ca"),
            "{sentence}"
        );
    };
    said(factory.trusting(&other, &["site", "list"]).refused(5));
    said(factory.pull("a-token", &["--ca", &other]).refused(5));
    said(factory.pull("a-token", &[]).refused(5));
    assert!(!factory.at("device/current").exists());
    let missing = factory.trusting("/nowhere.pem", &["site", "list"]).refused(2);
    assert!(missing.contains("/nowhere.pem"), "{missing}");

    // A worker must not ask for ever; what it logged before is no error.
    let mut worker = Process(
        Command::new(env!("CARGO_BIN_EXE_katagami-worker"))
            .args([
                "run",
                "--server",
                &factory.url,
                "--token-stdin",
                "--device",
                "cpu",
            ])
            .args(["--ca", &other])
            .args([Path::new("--cache"), &factory.at("cache")])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut pipe = worker.0.stdin.take().unwrap();
    pipe.write_all(b"a-token\n").unwrap();
    let began = Instant::now();
    let status = loop {
        if let Some(status) = worker.0.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "it asks for ever");
        std::thread::sleep(Duration::from_millis(20));
    };
    let told = std::io::read_to_string(worker.0.stderr.take().unwrap()).unwrap();
    assert_eq!(status.code(), Some(5), "{told}");
    said(told.lines().last().unwrap().to_owned());
}

#[test]
fn tls_goes_through_a_proxy_untouched() {
    let factory = Factory::new("0");
    let token = factory.enrols();
    let (host, port) = ("localhost", factory.url.rsplit(':').next().unwrap());
    let address = format!("127.0.0.1:{port}").parse().unwrap();
    let proxy = Proxy::to(address);
    let url = format!("https://{host}:{port}");
    let authority = fixture("ca.pem");
    let pulled = factory.pull_from(
        &url,
        &token,
        &["--ca", &authority],
        &proxy.variables("HTTPS_PROXY"),
    );
    assert_eq!(pulled.good().json()["switched"], true);
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    let tunnel = format!("CONNECT {host}:{port} HTTP/1.1");
    assert!(
        asked.iter().all(|line| *line == tunnel),
        "it sees nothing of what is asked: {asked:?}"
    );
}
