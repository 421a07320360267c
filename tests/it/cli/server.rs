//! A server with a base, the commands that speak to it, and an attempt that publishes what a test says.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use katagami::api::{Running, start};
use katagami::base::Weights;
use katagami::catalog::jobs::{self, Published, PublishedMask};
use katagami::catalog::workers::WorkerCard;
use katagami::catalog::{attempts, blobs};
use katagami::config::Config;
use katagami::domain::Digest;
use katagami::domain::gate::GateSettings;
use katagami::domain::groups::{ConfusionFigures, GroupFigure, GroupKind};
use katagami::domain::report::{
    Estimate, Figure, ImageCounts, Kpi, LabelledFigures, LossPoint, Report, TrainingFigures,
};
use tokio::runtime::Runtime;

use crate::support::{Answer, artefact_over, generated_base, imported};

/// A running server in this process; its data folder ends with it.
pub struct Server {
    runtime: Runtime,
    running: Option<Running>,
    pub folder: tempfile::TempDir,
    base: Weights,
}

impl Server {
    /// Starts a server without workers and makes the site `osaka`.
    pub fn with_a_site() -> Self {
        let server = Self::start();
        server.katagami(&["site", "create", "osaka"]).good();
        server
    }

    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let base = generated_base(1);
        imported(&base, folder.path(), None);
        let mut config = Config::default();
        folder.path().clone_into(&mut config.storage.data);
        config.storage.bases = folder.path().join("bases");
        config.server.listen.set_port(0);
        config.server.shutdown_grace = Duration::ZERO;
        config.workers.count = Some(0);
        let runtime = Runtime::new().unwrap();
        let running = runtime.block_on(start(config)).unwrap();
        Self {
            runtime,
            running: Some(running),
            folder,
            base,
        }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs until it is dropped")
    }

    pub fn url(&self) -> String {
        self.running().url.clone()
    }

    /// Runs `katagami` against this server with its admin's token.
    pub fn katagami(&self, arguments: &[&str]) -> Answer {
        let admin = self
            .running()
            .admin
            .as_ref()
            .expect("the first start makes a token");
        self.katagami_as(admin.secret.reveal(), arguments)
    }

    /// Runs `katagami` against this server with another token.
    pub fn katagami_as(&self, token: &str, arguments: &[&str]) -> Answer {
        answer(
            Command::new(env!("CARGO_BIN_EXE_katagami"))
                .args(arguments)
                .env("KATAGAMI_SERVER", self.url())
                .env("KATAGAMI_TOKEN", token)
                .current_dir(self.folder.path()),
        )
    }

    /// A folder with `count` different small pictures.
    pub fn pictures(&self, name: &str, count: u8) -> PathBuf {
        let folder = self.folder.path().join(name);
        (0..count).for_each(|number| picture(&folder.join(format!("{number}.pgm")), number));
        folder
    }

    /// Leases the next job and publishes a mask whose KPI changed by `lower` to `upper`.
    pub fn publishes(&self, lower: f64, upper: f64) -> Digest {
        self.publishes_groups(lower, upper, Vec::new())
    }

    /// The same, with figures of classes and slices.
    pub fn publishes_groups(&self, lower: f64, upper: f64, groups: Vec<GroupFigure>) -> Digest {
        let (_, artefact) = artefact_over(&self.base);
        let report = report(lower, upper, groups);
        let app = &self.running().app;
        self.runtime.block_on(async {
            let mut tx = app.catalog.begin().await.unwrap();
            let card = WorkerCard {
                name: "test".to_owned(),
                device: "cpu".to_owned(),
                memory_bytes: 0,
                version: "test".to_owned(),
            };
            let assignment = jobs::lease(&mut tx, &card, Duration::from_mins(1)).await;
            let attempt = assignment.unwrap().expect("a job is queued").attempt;
            tx.commit().await.unwrap();
            let mut digests = Vec::new();
            for content in [
                artefact,
                report.to_json().unwrap().into_bytes(),
                b"scores".to_vec(),
            ] {
                let mut tx = app.catalog.begin().await.unwrap();
                blobs::touch(&mut tx, &Digest::of(&content), content.len() as u64)
                    .await
                    .unwrap();
                tx.commit().await.unwrap();
                let digest = app.blobs.put(Bytes::from(content)).await.unwrap();
                let mut tx = app.catalog.begin().await.unwrap();
                attempts::uploaded(&mut tx, attempt, &digest).await.unwrap();
                tx.commit().await.unwrap();
                digests.push(digest);
            }
            let verdict = &report.gate.verdict;
            let mask = PublishedMask {
                artefact: digests[0],
                scores: digests[2],
                weights: Digest::of(b"weights"),
                flips: report.training.flips,
                verdict: verdict.word().to_owned(),
                reasons: verdict.reasons().iter().map(ToString::to_string).collect(),
                kpi_base: Some(0.75),
                kpi_mask: Some(0.8),
                kpi_difference: Some([f64::midpoint(lower, upper), lower, upper]),
            };
            let published = Published {
                report: digests[1],
                mask: Some(mask),
            };
            let mut tx = app.catalog.begin().await.unwrap();
            jobs::publish(&mut tx, attempt, &published).await.unwrap();
            tx.commit().await.unwrap();
            digests[0]
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop());
        }
    }
}

/// Runs a command to its end.
pub fn answer(command: &mut Command) -> Answer {
    let output = command.output().expect("the executable was built with the tests");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is text");
    Answer {
        code: output.status.code(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Writes a picture that is unlike those of other numbers.
pub fn picture(path: &Path, number: u8) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut state = u32::from(number) + 1;
    let mut pixel = || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 24) as u8
    };
    // Blocks, so that their perceptual hashes differ, too.
    let blocks: Vec<u8> = (0..64).map(|_| pixel()).collect();
    let mut file = b"P5 64 64 255\n".to_vec();
    file.extend((0..64 * 64).map(|at| blocks[at / 64 / 8 * 8 + at % 64 / 8]));
    std::fs::write(path, file).unwrap();
}

/// A class that gained and a line that lost.
pub fn groups() -> Vec<GroupFigure> {
    let group = |kind, name: &str, value: f64| {
        let difference = Estimate {
            value,
            lower: value - 0.03,
            upper: value + 0.03,
        };
        GroupFigure {
            kind,
            name: name.to_owned(),
            images: 90,
            figure: Figure {
                base: Estimate::exact(0.8),
                mask: Estimate::exact(0.8 + value),
                difference,
            },
            difference,
        }
    };
    vec![
        group(GroupKind::Class, "crack", 0.1),
        group(GroupKind::Slice, "line=3", -0.05),
    ]
}

fn report(lower: f64, upper: f64, groups: Vec<GroupFigure>) -> Report {
    let figure = Figure {
        base: Estimate::exact(0.75),
        mask: Estimate::exact(0.8),
        difference: Estimate {
            value: f64::midpoint(lower, upper),
            lower,
            upper,
        },
    };
    let figures = LabelledFigures {
        images: 400,
        classes: 2,
        smallest_class: 90,
        knn: figure,
        probe: figure,
        few_shot: None,
        defined: None,
        widened: None,
        groups,
        confusion: Some(ConfusionFigures {
            classes: vec!["crack".to_owned(), "ok".to_owned()],
            base: vec![vec![70.0, 20.0], vec![30.0, 280.0]],
            mask: vec![vec![80.0, 10.0], vec![20.0, 290.0]],
        }),
    };
    let training = TrainingFigures {
        flips: 94,
        loss: vec![
            LossPoint { step: 1, loss: 4.1 },
            LossPoint { step: 100, loss: 3.9 },
        ],
        seconds: 12.0,
        images_per_second: 30.0,
        ..TrainingFigures::default()
    };
    let settings = GateSettings::default();
    let mut report = Report::judged(
        Kpi::Probe,
        Some(figures.clone()),
        None,
        training,
        ImageCounts::default(),
        settings,
    );
    report.test = Some(figures.clone());
    report.random_mask = Some(figures);
    report
}
