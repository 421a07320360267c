//! Memory does not grow with an upload. In a process of its own: other tests
//! of this binary would be counted, too.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use katagami::intake;
use katagami::wire::v1::images::Fate;

use super::world::{BY, World, header};
use crate::backend::Backend::Sqlite;
use crate::store::Store::Folder;

/// Set in the child.
const CHILD: &str = "KATAGAMI_TEST_MEMORY";
/// Files of the tar, and the size of each: a little more than 400 MB.
const FILES: u64 = 66;
const EDGE: u32 = 1500;

/// An uncompressed picture (PNM) of `EDGE` × `EDGE` that a seed decides.
fn uncompressed(seed: u64) -> Vec<u8> {
    let mut bytes = format!("P6 {EDGE} {EDGE} 255\n").into_bytes();
    let pixels = u64::from(EDGE) * u64::from(EDGE) * 3;
    bytes.extend((0..pixels).map(|index| ((index * (seed + 1)) >> 7) as u8));
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_tar_is_taken_in_bounded_memory() {
    #[expect(
        clippy::disallowed_methods,
        reason = "how a test tells itself that it is its own child"
    )]
    let child = std::env::var(CHILD).is_ok();
    if !child {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "intake::memory::a_long_tar_is_taken_in_bounded_memory",
                "--nocapture",
            ])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let world = World::new(Sqlite, Folder).await;
    let pieces = futures::stream::iter(0..FILES).flat_map(|seed| {
        let content = uncompressed(seed);
        let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
        let mut entry = header(&format!("{seed}.ppm"), b'0', content.len() as u64);
        entry.extend(content);
        entry.extend(padding);
        let entry = Bytes::from(entry);
        futures::stream::iter(
            (0..entry.len())
                .step_by(65_536)
                .map(move |at| Ok(entry.slice(at..entry.len().min(at + 65_536)))),
        )
    });
    let answers: Vec<_> = intake::tar(&world.intake, &world.site, BY, pieces)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(answers.len() as u64, FILES);
    assert!(answers.iter().all(|answer| answer.fate == Fate::Accepted));
    let peak = peak("self");
    println!("peak {} MB", peak / 1024);
    assert!(peak < 300 * 1024, "{peak} kB");
}

/// The most memory that a process has had, in kB.
fn peak(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

/// `katagami serve`; ends with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_takes_a_long_tar_over_http_in_bounded_memory() {
    /// 270 MB. Measured once by hand: with 160, a little more than 1 GiB, the peak was below 150 MB.
    const FILES: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let child = Command::new(env!("CARGO_BIN_EXE_katagami"))
        .args(["serve", "--listen", "127.0.0.1:0", "--workers", "0"])
        .args([Path::new("--data"), &data])
        .args([Path::new("--bases"), &folder.path().join("bases")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Server(child);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let url = line.split_whitespace().next().expect("it says where it is");
    let token = std::fs::read_to_string(data.join("admin-token")).unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = |path: &str| client.post(format!("{url}{path}")).bearer_auth(token.trim());
    let made = post("/v1/sites").json(&serde_json::json!({"name": "osaka"}));
    assert!(made.send().await.unwrap().status().is_success());

    let entries = futures::stream::iter(0..FILES).flat_map(|number| {
        let row: Vec<u8> = (0..EDGE as usize * 3)
            .map(|x| ((x * (number + 1)) >> 5) as u8)
            .collect();
        let content = [
            format!("P6 {EDGE} {EDGE} 255\n").into_bytes(),
            row.repeat(EDGE as usize),
        ]
        .concat();
        let padding = vec![0; content.len().next_multiple_of(512) - content.len()];
        let head = header(&format!("{number}.ppm"), b'0', content.len() as u64);
        let pieces = [head, content, padding].map(|piece| Ok::<_, std::io::Error>(Bytes::from(piece)));
        futures::stream::iter(pieces)
    });
    let end = futures::stream::iter([Ok(Bytes::from_static(&[0; 1024]))]);
    let answer = post("/v1/sites/osaka/images")
        .header("content-type", "application/x-tar")
        .header("accept", "application/x-ndjson")
        .body(reqwest::Body::wrap_stream(entries.chain(end)))
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success());
    let answers = answer.text().await.unwrap();
    let accepted = answers.lines().filter(|line| line.contains("\"accepted\""));
    assert_eq!(accepted.count(), FILES, "{answers}");
    let peak = peak(&server.0.id().to_string());
    assert!(peak < 300 * 1024, "{peak} kB");
}
