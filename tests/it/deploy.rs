//! What the deployment files name exists: commands, flags, variables and paths.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of `deploy` and their texts.
fn deployment() -> Vec<(PathBuf, String)> {
    let folder = Path::new(ROOT).join("deploy");
    let entries = ["", "systemd"].map(|below| std::fs::read_dir(folder.join(below)).unwrap());
    let paths = entries.into_iter().flatten().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file() && path.file_name().is_some_and(|name| name != ".env"))
        .map(|path| (path.clone(), read(&path)))
        .collect()
}

/// Words of capitals that begin with `KATAGAMI_`.
fn variables(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_uppercase() && c != '_')
        .filter(|word| {
            word.strip_prefix("KATAGAMI_")
                .is_some_and(|rest| !rest.is_empty())
        })
        .collect()
}

/// What a command prints.
fn prints(executable: &str, arguments: &[&str]) -> String {
    let output = Command::new(executable)
        .args(arguments)
        .env_remove("KATAGAMI_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{executable} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

const KATAGAMI: &str = env!("CARGO_BIN_EXE_katagami");
const WORKER: &str = env!("CARGO_BIN_EXE_katagami-worker");

#[test]
fn every_variable_of_the_deployment_is_read_by_something() {
    let read_by = [
        prints(KATAGAMI, &["config", "show", "--json"]),
        prints(KATAGAMI, &["serve", "--help"]),
        prints(KATAGAMI, &["site", "--help"]),
        prints(KATAGAMI, &["base", "--help"]),
        prints(KATAGAMI, &["edge", "run", "--help"]),
        prints(WORKER, &["run", "--help"]),
        read(&Path::new(ROOT).join("scripts/lib.sh")),
    ];
    let known: BTreeSet<&str> = read_by.iter().flat_map(|text| variables(text)).collect();
    let mut seen = 0;
    for (path, text) in &deployment() {
        for variable in variables(text) {
            // What compose itself puts in.
            let filled_in = variable == "KATAGAMI_WORKER_TOKEN";
            assert!(
                filled_in || known.contains(variable),
                "{}: nothing reads {variable}",
                path.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen} variables");
}

/// The commands that start something of Katagami's, each with its executable.
fn commands(path: &Path, text: &str) -> Vec<(&'static str, Vec<String>)> {
    let list = |json: &str| -> Vec<String> { serde_json::from_str(json).unwrap() };
    let of_worker = |text: &str| text.contains("katagami-worker");
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if let Some(command) = line.strip_prefix("ExecStart=/usr/local/bin/") {
            let executable = if of_worker(command) { WORKER } else { KATAGAMI };
            let arguments = command.split(' ').skip(1).map(|word| word.replace("%i", "0"));
            found.push((executable, arguments.collect()));
        } else if let Some(json) = line.strip_prefix("CMD ") {
            found.push((if of_worker(text) { WORKER } else { KATAGAMI }, list(json)));
        } else if let Some(json) = line.strip_prefix("command: [") {
            let arguments = list(&format!("[{json}"));
            let executable = if arguments[0] == "run" { WORKER } else { KATAGAMI };
            found.push((executable, arguments));
        }
    }
    assert!(
        !found.is_empty() || path.extension().is_some_and(|end| end == "md" || end == "env"),
        "{} starts nothing",
        path.display()
    );
    found
}

#[test]
fn every_command_of_the_deployment_takes_the_arguments_that_it_is_given() {
    for (path, text) in deployment() {
        for (executable, arguments) in commands(&path, &text) {
            // An unknown flag is refused before the help is printed.
            let arguments = arguments.iter().map(String::as_str).chain(["--help"]);
            prints(executable, &arguments.collect::<Vec<_>>());
        }
    }
}

#[test]
fn every_path_that_documents_and_deployment_name_is_in_the_repository() {
    let root = Path::new(ROOT);
    let is_path = |word: &&str| {
        let folder = word.split('/').next().unwrap_or_default();
        let ours = [
            "src",
            "tests",
            "scripts",
            "deploy",
            "docs",
            "benches",
            "recipes",
            "dashboard",
            "migrations",
        ];
        word.contains('/')
            && ours.contains(&folder)
            && word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "/._-@".contains(c))
    };
    let mut documents = deployment();
    for name in [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "Makefile",
        ".ci/run",
    ] {
        documents.push((root.join(name), read(&root.join(name))));
    }
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        let path = entry.unwrap().path();
        documents.push((path.clone(), read(&path)));
    }
    let mut seen = 0;
    for (path, text) in &documents {
        for word in text.split(|c: char| c.is_whitespace() || "`()[]\",;:".contains(c)) {
            let word = word.trim_end_matches('.');
            // That one is made by who deploys.
            if is_path(&word) && word != "deploy/.env" {
                assert!(root.join(word).exists(), "{} names {word}", path.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 60, "{seen} paths");
}

#[test]
fn the_way_of_an_image_names_files_that_are_there() {
    let root = Path::new(ROOT);
    let text = read(&root.join("ARCHITECTURE.md"));
    let way = text.split("```").nth(1).expect("the way is a block");
    let mut seen = 0;
    let mut folder = PathBuf::new();
    for word in way.split(|c: char| c.is_whitespace() || ",;()".contains(c)) {
        let named = word.strip_suffix('/').unwrap_or(word);
        let is_file = Path::new(word).extension().is_some_and(|end| end == "rs");
        let is_folder = word.ends_with('/') && named.chars().all(|c| c.is_ascii_lowercase() || c == '/');
        if !is_file && !is_folder {
            continue;
        }
        let whole = root.join("src").join(named);
        // `intake/check.rs, phash.rs`: the second is beside the first.
        let found = if whole.exists() { whole } else { folder.join(named) };
        assert!(found.exists(), "the way of an image names {word}");
        folder = found.parent().expect("below src").to_owned();
        seen += 1;
    }
    assert!(seen > 35, "{seen} files");
}
