//! What the set-up scripts say when a machine lacks something.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A machine with the most basic commands and nothing else.
struct Machine(tempfile::TempDir);

impl Machine {
    fn bare() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "bash", "cut", "dirname", "grep", "head", "id", "make", "sed", "sort", "uname",
        ] {
            let found = ["/usr/bin", "/bin"].map(|place| Path::new(place).join(name));
            let found = found.iter().find(|path| path.exists());
            symlink(found.expect("a basic command"), folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    /// Adds a command that is this script.
    fn with(self, name: &str, script: &str) -> Self {
        let path = self.0.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Runs a command of the machine in the repository.
    fn runs(&self, command: &[&str], environment: &[(&str, &str)]) -> Output {
        Command::new(self.0.path().join(command[0]))
            .args(&command[1..])
            .current_dir(ROOT)
            .env_clear()
            .env("PATH", self.0.path())
            .env("HOME", self.0.path())
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    }

    /// What is said to a command that must fail.
    fn says(&self, command: &[&str], environment: &[(&str, &str)]) -> String {
        let output = self.runs(command, environment);
        assert!(!output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

const TOOLS: [&str; 2] = ["bash", "scripts/tools.sh"];

#[test]
fn without_rust_or_with_an_old_one_it_is_said_which_is_needed() {
    let least = format!("Rust {} or newer", env!("CARGO_PKG_RUST_VERSION"));
    let said = Machine::bare().says(&TOOLS, &[]);
    assert!(
        said.contains("Rust is missing") && said.contains(&least),
        "{said}"
    );
    let old = Machine::bare().with("cargo", "echo cargo 1.63.0");
    let said = old.says(&TOOLS, &[]);
    assert!(
        said.contains("Rust 1.63.0 is too old") && said.contains(&least),
        "{said}"
    );
}

#[test]
fn what_is_missing_and_cannot_be_installed_is_named_with_the_command_that_installs_it() {
    let machine = Machine::bare().with("cargo", "echo cargo 2.0.0");
    let said = machine.says(&TOOLS, &[]);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("sudo apt-get install g++ python3-pip"), "{said}");
    let machine = ["cc", "c++", "python3"]
        .into_iter()
        .fold(machine, |machine, name| machine.with(name, "exit 0"));
    let output = machine.runs(&TOOLS, &[]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn nothing_is_compiled_where_libtorch_cannot_be_had() {
    let machine = ["cargo", "cc", "c++", "python3"]
        .into_iter()
        .fold(Machine::bare(), |machine, name| {
            machine.with(name, "echo cargo 2.0.0; echo $* >>\"$HOME/calls\"")
        });
    let said = machine.says(&["make", "build"], &[("TORCH", "/nowhere")]);
    assert!(
        said.contains("TORCH=/nowhere has no lib/libtorch_cpu.so"),
        "{said}"
    );
    let calls = std::fs::read_to_string(machine.0.path().join("calls")).unwrap();
    assert!(!calls.contains("build"), "{calls}");
}
