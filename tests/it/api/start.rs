//! Starting, listening, ending: `katagami serve` as a process and in this one

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use reqwest::{StatusCode, Version};

use katagami::api;
use katagami::catalog::tokens::NewCredential;
use katagami::cli::{offline, serve::Settings};
use katagami::config::ConfigError;
use katagami::domain::Problem;
use katagami::domain::permission::Role;

use crate::backend::Backend::{Postgres, Sqlite};
use crate::server::{Server, settings};
use crate::support::katagami;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

#[test]
fn an_open_address_without_tls_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let arguments = ["serve", "--listen", "0.0.0.0:0", "--data", data.to_str().unwrap()];
    let sentence = katagami(folder.path(), &arguments).refused(2);
    assert!(
        sentence.contains("--tls-cert") && sentence.contains("--behind-proxy"),
        "{sentence}"
    );
    assert!(!data.exists(), "nothing was made");
}

#[tokio::test]
async fn an_open_address_needs_a_token_that_somebody_made() {
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite.database();
    let mut config = settings(folder.path(), &database);
    config.server.listen = ([0, 0, 0, 0], 0).into();
    let error = api::start(config.clone()).await.err().expect("it must not start");
    assert_eq!(error.code(), "config_exposed");
    config.server.behind_proxy = true;
    let error = api::start(config.clone()).await.err().expect("it must not start");
    assert_eq!(error.code(), "no_admin");
    let place = Settings {
        config: None,
        data: Some(config.storage.data.clone()),
        database_url: Some(database.url.clone()),
    };
    let new = NewCredential {
        name: "operator".to_owned(),
        role: Role::Admin,
        site: None,
        device: None,
        expires_at: None,
    };
    offline::issue_token(&place, new).await.unwrap();
    let server = api::start(config).await.expect("there is an admin now");
    assert!(server.admin.is_none(), "no token was made by itself");
    server.stop().await;
}

#[test]
fn a_database_that_cannot_be_opened_is_told_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let database = Postgres.database();
    let (server, rest) = database.url.split_once("/test_").expect("one of the tests'");
    let (_, settings) = rest
        .split_once('?')
        .expect("the socket's folder is in the address");
    let elsewhere = format!("{server}/elsewhere?{settings}");
    let data = folder.path().join("data");
    let said = katagami(
        folder.path(),
        &[
            "serve",
            "--data",
            data.to_str().unwrap(),
            "--database-url",
            &elsewhere,
        ],
    )
    .refused(1);
    assert!(
        said.contains("\"elsewhere\" does not exist") && said.contains("--database-url"),
        "{said}"
    );
}

#[tokio::test]
async fn the_first_start_makes_a_token_that_only_its_owner_reads() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite.database();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let config = settings(folder.path(), &database);
        let data = config.storage.data.clone();
        let server = api::start(config).await.unwrap();
        let admin = server.admin.as_ref().expect("the token is known");
        assert_eq!(admin.path, data.join("admin-token"));
        for file in ["admin-token", "server.json"] {
            let mode = std::fs::metadata(data.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        let remembered: serde_json::Value =
            serde_json::from_slice(&std::fs::read(data.join("server.json")).unwrap()).unwrap();
        assert_eq!(remembered["server"], server.url);
        assert_eq!(remembered["token"], admin.secret.reveal());
        tokens.push(admin.secret.reveal().to_owned());
        server.stop().await;
    }
    assert_eq!(tokens[0], tokens[1], "the second start made no other");
}

#[tokio::test]
async fn tls_and_plain_both_speak_both_versions_of_http() {
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite.database();
    let mut config = settings(folder.path(), &database);
    config.server.tls_cert = Some(fixture("cert.pem"));
    config.server.tls_key = Some(fixture("key.pem"));
    let server = api::start(config).await.unwrap();
    assert!(server.url.starts_with("https://"));
    let certificate = reqwest::Certificate::from_pem(&std::fs::read(fixture("cert.pem")).unwrap()).unwrap();
    let trusting = || {
        reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([certificate.clone()])
    };
    let url = format!("{}/healthz", server.url);
    for (client, version) in [
        (trusting().build().unwrap(), Version::HTTP_2),
        (trusting().http1_only().build().unwrap(), Version::HTTP_11),
    ] {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, version));
    }
    server.stop().await;

    let server = Server::start(Postgres).await;
    let url = format!("{}/healthz", server.running.url);
    let plain = || reqwest::Client::builder().no_proxy();
    for (client, version) in [
        (plain().http2_prior_knowledge().build().unwrap(), Version::HTTP_2),
        (plain().build().unwrap(), Version::HTTP_11),
    ] {
        let answer = client.get(&url).send().await.unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, version));
    }
    server.stop().await;
}

#[tokio::test]
async fn half_of_tls_and_no_certificate_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = Sqlite.database();
    let mut config = settings(folder.path(), &database);
    config.server.tls_cert = Some(fixture("cert.pem"));
    assert!(matches!(config.check(), Err(ConfigError::HalfOfTls)));
    config.server.tls_key = Some(fixture("cert.pem"));
    let error = api::start(config).await.err().expect("it must not start");
    assert_eq!(error.code(), "certificate");
}

/// `katagami serve` as a process; killed if the test fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_process_says_where_it_is_and_ends_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_katagami"))
        .args(["serve", "--listen", "127.0.0.1:0", "--workers", "0", "--data"])
        .arg(folder.path().join("data"))
        .arg("--bases")
        .arg(folder.path().join("bases"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable was built with the tests");
    let mut process = Process(child);
    let mut line = String::new();
    let mut out = BufReader::new(process.0.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let url = line.split_whitespace().next().expect("it says where it is");
    assert!(line.contains("admin-token"), "{line}");
    // The first server of this process would do it; here none is.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let alive = client.get(format!("{url}/healthz")).send().await.unwrap();
    assert_eq!(alive.status(), StatusCode::OK);
    let token = std::fs::read_to_string(folder.path().join("data/admin-token")).unwrap();
    let watching = client
        .get(format!("{url}/v1/events"))
        .bearer_auth(token.trim())
        .send();
    let mut watching = watching.await.unwrap();
    let told = Command::new("kill")
        .arg(process.0.id().to_string())
        .status()
        .unwrap();
    assert!(told.success());
    let status = tokio::task::spawn_blocking(move || process.0.wait().unwrap())
        .await
        .unwrap();
    assert!(status.success(), "{status}");
    assert!(
        matches!(watching.chunk().await, Ok(None) | Err(_)),
        "the stream ended"
    );
}

#[test]
fn settings_are_shown_with_their_origin_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("katagami.toml");
    std::fs::write(&file, "[scheduler]\nlease = \"2m\"\n").unwrap();
    let file = file.to_str().unwrap();
    let shown = katagami(folder.path(), &["config", "--config", file, "show"]).good();
    let lease = shown.out.lines().find(|line| line.starts_with("lease")).unwrap();
    assert!(lease.contains("\"2m\"") && lease.contains(file), "{lease}");
    katagami(folder.path(), &["config", "--config", file, "check"]).good();
    std::fs::write(file, "[scheduler]\nlaese = \"2m\"\n").unwrap();
    let sentence = katagami(folder.path(), &["config", "--config", file, "check"]).refused(2);
    assert!(sentence.contains("laese"), "{sentence}");
}
