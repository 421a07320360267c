//! Whatever bytes come as a tar, they are files or reasons, never a panic.

use futures::StreamExt;
use proptest::prelude::*;

use super::*;

/// All files of an archive that comes in pieces of `piece` bytes.
fn walked(tar: &[u8], piece: usize, limits: IntakeConfig) -> Vec<(String, Result<usize, &'static str>)> {
    let pieces: Vec<io::Result<Bytes>> = tar
        .chunks(piece.max(1))
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        files(futures::stream::iter(pieces), limits)
            .map(|file| {
                (
                    file.name,
                    file.content.map(|bytes| bytes.len()).map_err(|why| why.code()),
                )
            })
            .collect()
            .await
    })
}

/// A header with the given name, type and declared size.
fn header(name: &[u8], kind: u8, size: &str) -> Vec<u8> {
    let mut block = vec![0_u8; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[124..124 + size.len()].copy_from_slice(size.as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn entry(name: &[u8], kind: u8, content: &[u8]) -> Vec<u8> {
    let mut entry = header(name, kind, &format!("{:011o}", content.len()));
    entry.extend_from_slice(content);
    entry.resize(entry.len().next_multiple_of(512), 0);
    entry
}

#[test]
fn hostile_entries_are_rejected_one_by_one_and_the_rest_is_read() {
    let tar = [
        entry(b"a/1.png", b'0', &[1; 700]),
        entry(b"../2.png", b'0', b"2"),
        entry(b"/etc/3.png", b'0', b"3"),
        entry(b"a/../../4.png", b'0', b"4"),
        entry(b"5.png", b'2', b""),
        entry(b"6.png", b'1', b""),
        entry(b"7", b'3', b""),
        entry(b"folder/", b'5', b""),
        entry(b"\xff8.png", b'0', b"8"),
        entry(b"a\\9.png", b'0', b"9"),
        entry(b"large.png", b'0', &[0; 5000]),
        entry(b"./10.png", b'0', b""),
        vec![0; 1024],
    ]
    .concat();
    let limits = IntakeConfig {
        image_bytes: 4096,
        ..Default::default()
    };
    let files = walked(&tar, 100, limits);
    let found: Vec<_> = files
        .iter()
        .map(|(name, content)| (name.as_str(), *content))
        .collect();
    assert_eq!(
        found,
        [
            ("a/1.png", Ok(700)),
            ("../2.png", Err("entry_path")),
            ("/etc/3.png", Err("entry_path")),
            ("a/../../4.png", Err("entry_path")),
            ("5.png", Err("entry_type")),
            ("6.png", Err("entry_type")),
            ("7", Err("entry_type")),
            ("\u{fffd}8.png", Err("entry_path")),
            ("a\\9.png", Err("entry_path")),
            ("large.png", Err("file_too_large")),
            ("10.png", Ok(0)),
        ]
    );
}

#[test]
fn a_declared_size_is_not_believed() {
    for size in ["77777777777", "00040000000"] {
        let tar = [entry(b"1.png", b'0', b"1"), header(b"huge.png", b'0', size)].concat();
        let files = walked(&tar, 512, IntakeConfig::default());
        assert_eq!(files[0], ("1.png".to_owned(), Ok(1)));
        assert_eq!(files.last().unwrap().1, Err("archive_damaged"));
    }
}

#[test]
fn headers_have_a_budget() {
    // An extension that never ends, so to speak.
    let mut tar = header(b"x", b'x', "00100000000");
    tar.resize(tar.len() + (4 << 20), b'a');
    assert_eq!(
        walked(&tar, 65_536, IntakeConfig::default()),
        [("(archive)".to_owned(), Err("archive_damaged"))]
    );
}

#[test]
fn every_truncation_keeps_what_came_before() {
    let tar = [entry(b"1.png", b'0', &[1; 600]), entry(b"2.png", b'0', &[2; 600])].concat();
    for length in 0..tar.len() {
        let files = walked(&tar[..length], 512, IntakeConfig::default());
        let whole = files.iter().filter(|(_, content)| *content == Ok(600)).count();
        assert_eq!(
            whole,
            usize::from(length >= 512 + 600) + usize::from(length >= 1536 + 512 + 600),
            "{length}"
        );
    }
}

#[test]
fn entries_are_counted() {
    let limits = IntakeConfig {
        entries: 2,
        ..Default::default()
    };
    let files = walked(&entry(b"1.png", b'0', b"1").repeat(5), 512, limits);
    assert_eq!(files.len(), 3);
    assert_eq!(files[2].1, Err("too_many_entries"));
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000), piece in 1_usize..700) {
        walked(&bytes, piece, IntakeConfig::default());
    }

    #[test]
    fn random_headers_never_panic(
        kind: u8,
        name in proptest::collection::vec(any::<u8>(), 0..100),
        size in "[0-7]{0,11}",
        rest in proptest::collection::vec(any::<u8>(), 0..2000),
        at in 0_usize..512,
        byte: u8,
    ) {
        let mut block = header(&name, kind, &size);
        let sane = [block.clone(), rest.clone()].concat();
        walked(&sane, 512, IntakeConfig::default());
        block[at] = byte;
        walked(&[block, rest].concat(), 512, IntakeConfig::default());
    }
}
