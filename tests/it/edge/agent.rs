//! `edge run`: the agent as a process.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Device, flip, server};

/// Long enough for the slowest machine; waiting ends as soon as the condition holds.
const PATIENCE: Duration = Duration::from_mins(1);

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Ends it as systemd does, and answers its exit code.
    fn terminated(mut self) -> Option<i32> {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Device {
    /// Starts an agent that asks every second.
    fn agent(&self, on_switch: Option<&str>) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_katagami"));
        command.args([
            "edge",
            "run",
            "--interval",
            "1",
            "--server",
            &self.server.url(),
            "--token",
            server::TOKEN,
        ]);
        command
            .arg("--dir")
            .arg(self.dir())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.args(on_switch.iter().flat_map(|on_switch| ["--on-switch", on_switch]));
        Running(command.spawn().unwrap())
    }

    /// Waits until the status is as it should be, and answers it.
    fn until(&self, what: &str, holds: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        let began = Instant::now();
        loop {
            if self.dir().join("state.json").exists() {
                let status = self.status();
                if holds(&status) {
                    return status;
                }
                assert!(began.elapsed() < PATIENCE, "{what} never came: {status:#}");
            }
            assert!(began.elapsed() < PATIENCE, "{what} never came");
            std::thread::yield_now();
        }
    }

    fn told(&self) -> PathBuf {
        self.folder.path().join("told")
    }

    /// What the command after a switch was told, as `old new rollback`, shortened.
    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.told()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_agent_follows_the_channel_reports_and_ends_when_told_to() {
    let device = Device::new();
    device.world().releases(1);
    let agent = device.agent(None);
    device.until("mask 1", |status| status["mask"] == 1);
    device.world().releases(2);
    let status = device.until("mask 2", |status| {
        status["mask"] == 2 && status["agent"]["error"].is_null()
    });
    assert_eq!(status["agent"]["process"], agent.0.id());
    let runs = device.weights();
    device.until("the report", |_| {
        let reports = &device.world().reports;
        reports
            .last()
            .is_some_and(|report| report.weights == Some(runs) && report.error.is_none())
    });
    // Nobody else may work in the folder meanwhile.
    let said = device.pull(&[]).refused(1);
    assert!(said.contains("another agent"), "{said}");
    assert_eq!(agent.terminated(), Some(0));
    device.pulled();
}

#[test]
fn a_base_that_is_damaged_under_the_agent_is_fetched_again_for_the_next_mask() {
    let device = Device::new();
    device.world().releases(1);
    let _agent = device.agent(None);
    device.until("mask 1", |status| status["mask"] == 1);
    let base = device.world().weights.digest().to_string();
    flip(&device.dir().join("models").join(base).join("model.safetensors"));
    device.world().releases(2);
    device.until("mask 2", |status| {
        status["mask"] == 2 && status["agent"]["error"].is_null()
    });
}

#[test]
fn the_agent_outlives_servers_that_restart_or_are_overloaded() {
    let mut device = Device::new();
    device.world().releases(1);
    let _agent = device.agent(None);
    device.until("mask 1", |status| status["mask"] == 1);
    device.server.stop();
    device.until("an error", |status| status["agent"]["error"].is_string());
    assert_eq!(device.status()["mask"], 1);
    device.world().releases(2);
    device.server.resume();
    device.until("mask 2", |status| {
        status["mask"] == 2 && status["agent"]["error"].is_null()
    });
    device.world().overloaded = true;
    device.until("an error", |status| status["agent"]["error"].is_string());
    device.world().releases(3);
    device.world().overloaded = false;
    device.until("mask 3", |status| status["mask"] == 3);
}

#[test]
fn a_switch_whose_command_fails_is_undone_and_not_tried_again_until_the_channel_moves() {
    let device = Device::new();
    device.world().releases(1);
    device.pulled();
    let first = device.weights();
    device.world().releases(2);
    // Fails on whatever was not there at first.
    let command = format!(
        "echo \"$1 $2 $KATAGAMI_ROLLBACK\" >> {}; test \"$KATAGAMI_NEW\" = {first} -o -e {}",
        device.told().display(),
        device.folder.path().join("mended").display()
    );
    let _agent = device.agent(Some(&command));
    let status = device.until("the way back", |status| {
        status["held"].is_object() && device.lines().len() == 2
    });
    assert_eq!(status["mask"], 1);
    assert_eq!(device.weights(), first);
    let lines = device.lines();
    let failed = lines[0].split(' ').nth(1).unwrap().to_owned();
    assert_eq!(lines, [format!(" {failed} 0"), format!("{failed} {first} 1")]);
    device.until("the report", |_| {
        device
            .world()
            .reports
            .last()
            .is_some_and(|report| report.error.is_some() && report.weights == Some(first))
    });
    // Asked again and told that nothing moved, it stays.
    let asked = device.world().asked.len();
    device.until("more questions", |_| device.world().asked.len() > asked + 3);
    assert_eq!(
        (device.status()["mask"].as_u64(), device.lines().len()),
        (Some(1), 2)
    );

    std::fs::write(device.folder.path().join("mended"), "").unwrap();
    device.world().releases(3);
    device.until("mask 3", |status| {
        status["mask"] == 3 && status["held"].is_null() && device.lines().len() == 3
    });
    assert_eq!(device.lines()[2], format!("{first} {} 0", device.weights()));
}

#[test]
fn a_person_who_goes_back_is_followed_and_the_command_told() {
    let device = Device::new();
    device.world().releases(1);
    device.pulled();
    let command = format!("echo \"$1 $2\" >> {}", device.told().display());
    let agent = device.agent(Some(&command));
    let first = device.weights();
    device.until("mask 1 told", |_| device.lines() == [format!(" {first}")]);
    device.world().releases(2);
    device.until("mask 2 told", |_| device.lines().len() == 2);
    let second = device.weights();
    device.edge("rollback", &[]).good();
    device.until("mask 1 told again", |_| device.lines().len() == 3);
    assert_eq!(
        device.lines()[1..],
        [format!("{first} {second}"), format!("{second} {first}")]
    );
    assert_eq!(device.status()["mask"], 1);
    // What was told is remembered across a restart.
    assert_eq!(agent.terminated(), Some(0));
    let asked = device.world().asked.len();
    let _agent = device.agent(Some(&command));
    device.until("more questions", |_| device.world().asked.len() > asked + 4);
    assert_eq!(device.lines().len(), 3);
}

#[test]
fn an_agent_that_is_killed_at_any_time_leaves_a_whole_model() {
    let device = Device::new();
    for version in 1..=12_u32 {
        device.world().releases(version);
        let agent = device.agent(None);
        // Killed a little later each time, in whatever it does then.
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(u64::from(version) * 35) {
            std::thread::yield_now();
        }
        drop(agent);
        if device.dir().join("current").exists() {
            device.edge("verify", &[]).good();
        }
    }
    assert_eq!(device.pulled()["status"]["mask"], 12);
    device.edge("verify", &[]).good();
}
