//! Memory does not grow with an upload. In a process of its own: other tests
//! of this binary would be counted, too.

use std::process::Command;

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
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    println!("peak {} MB", peak / 1024);
    assert!(peak < 300 * 1024, "{peak} kB");
}
