//! The two executables: what they link, how they find each other.

use std::process::Command;

const KATAGAMI: &str = env!("CARGO_BIN_EXE_katagami");

/// The shared libraries that an executable names in its dynamic section.
fn needed(executable: &str) -> String {
    let output = Command::new("readelf")
        .args(["-d", executable])
        .output()
        .expect("readelf comes with the C compiler");
    assert!(output.status.success(), "readelf could not read {executable}");
    let text = String::from_utf8(output.stdout).expect("readelf prints text");
    text.lines()
        .filter(|line| line.contains("NEEDED"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn katagami_never_links_libtorch_even_with_all_features() {
    let needed = needed(KATAGAMI);
    assert!(
        needed.contains("libc.so"),
        "the dynamic section was read: {needed}"
    );
    for library in ["torch", "c10", "libstdc++"] {
        assert!(!needed.contains(library), "katagami links {library}:\n{needed}");
    }
}

#[cfg(feature = "worker")]
#[test]
fn katagami_worker_links_libtorch() {
    let needed = needed(env!("CARGO_BIN_EXE_katagami-worker"));
    assert!(needed.contains("libtorch_cpu"), "{needed}");
}

#[test]
fn a_missing_worker_is_one_sentence_that_says_what_to_do() {
    let alone = tempfile::tempdir().unwrap();
    let copy = alone.path().join("katagami");
    std::fs::copy(KATAGAMI, &copy).unwrap();
    let output = Command::new(&copy)
        .args(["worker", "--help"])
        .env("PATH", "")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("make build"), "{said}");
}

#[test]
fn help_names_every_subcommand_with_a_sentence() {
    let output = Command::new(KATAGAMI).arg("--help").output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).unwrap();
    for command in ["base", "artefact", "embed", "train", "worker"] {
        let line = help.lines().find(|line| line.trim_start().starts_with(command));
        assert!(
            line.is_some_and(|line| line.split_whitespace().count() > 3),
            "{command}: {help}"
        );
    }
}

#[cfg(feature = "worker")]
#[test]
fn the_cache_of_a_worker_is_not_that_of_the_set_up_scripts() {
    let worker = Command::new(env!("CARGO_BIN_EXE_katagami-worker"))
        .args(["run", "--help"])
        .env("KATAGAMI_CACHE", "/of/the/scripts")
        .output()
        .unwrap();
    let help = String::from_utf8(worker.stdout).unwrap();
    assert!(help.contains("KATAGAMI_WORKER_CACHE"), "{help}");
    assert!(!help.contains("/of/the/scripts"), "{help}");
}
