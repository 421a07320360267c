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

/// What `katagami COMMAND… --help` prints in short.
fn help(command: &[&str]) -> String {
    let output = Command::new(KATAGAMI).args(command).arg("-h").output().unwrap();
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Checks the help of a command and of all commands below it, and answers how many they are.
fn explains(command: &[&str]) -> usize {
    let help = help(command);
    let usage = format!("Usage: {}", [&["katagami"], command].concat().join(" "));
    assert!(help.contains(&usage), "{command:?}: {help}");
    let mut all = 1;
    let mut below = false;
    for (line, next) in help.lines().zip(help.lines().skip(1).chain([""])) {
        if !line.starts_with(' ') {
            below = line == "Commands:";
            continue;
        }
        // Words after two spaces are the sentence, which may stand on the next line, further in.
        let indent = |line: &str| line.len() - line.trim_start().len();
        let (name, said) = line.trim().split_once("  ").unwrap_or((line.trim(), ""));
        if indent(line) > 6 {
            continue;
        }
        let sentence = said.trim().len()
            + if indent(next) > indent(line) + 4 {
                next.trim().len()
            } else {
                0
            };
        assert!(sentence > 5, "{command:?}: `{name}` is not explained\n{help}");
        let handed = command.is_empty() && ["embed", "train", "judge", "worker"].contains(&name);
        if below && name != "help" && (!handed || cfg!(feature = "worker")) {
            all += explains(&[command, &[name]].concat());
        }
    }
    all
}

#[test]
fn help_explains_every_command_and_argument() {
    let commands = explains(&[]);
    assert!(commands > 10, "{commands}");
}

#[test]
fn a_setting_may_stand_behind_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(KATAGAMI)
        .args(["config", "show", "--json", "--data"])
        .arg(folder.path())
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(shown.contains(folder.path().to_str().unwrap()), "{shown}");
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
