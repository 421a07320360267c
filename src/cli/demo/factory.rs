//! One factory of the demo: its way from photographs to an edge folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::DemoError;
use super::document::Finding;
use super::photographs::{self, Photograph};
use super::stage::Stage;
use crate::base::{StoreError, architecture, import};
use crate::cli::images::pack::{self, Entry};
use crate::cli::images::submit;
use crate::cli::remote::CommandError;
use crate::cli::{job, printer, release, validation};
use crate::client::{Client, Download};
use crate::domain::report::{LabelledFigures, Report};
use crate::domain::{ChannelName, MaskVersion, SiteName};
use crate::edge::{DeviceFolder, Puller, Source, Status};
use crate::mask::{self, Artefact, Limits};
use crate::wire::v1::channels::ChannelChange;
use crate::wire::v1::devices::NewDevice;
use crate::wire::v1::jobs::{Job, NewJob, Outcome};
use crate::wire::v1::sites::NewSite;

/// The longest artefact that is downloaded.
const LONGEST: u64 = 256 << 20;
/// Why a mask that did not pass is released all the same.
const REASON: &str = "demo: to show the edge's part";

/// A factory whose site is on the server.
pub struct Factory {
    site: SiteName,
    accepted: u64,
    rejected: u64,
    job: Option<Job>,
}

impl Factory {
    /// Makes the site, submits the photographs that train, and sets those that judge as its validation set.
    pub async fn open(
        stage: &Stage,
        data: &Path,
        name: &str,
        title: &str,
        most: Option<usize>,
    ) -> Result<Self, DemoError> {
        let site: SiteName = name.parse().expect("the demo's names are names");
        let folder = data.join("elpv");
        if !folder.join("labels.csv").is_file() {
            return Err(DemoError::Missing(folder.join("labels.csv")));
        }
        let photographs = photographs::read(&folder, name, most).map_err(CommandError::at(&folder))?;
        let new = NewSite {
            name: site.clone(),
            title: Some(title.to_owned()),
            kpi: crate::domain::report::Kpi::default(),
            gate: crate::domain::gate::GateSettings::default(),
            view: crate::domain::View::default(),
        };
        stage.client.create_site(&new).await?;
        // First the set that judges: a snapshot leaves out what is in it.
        let entries = labelled(&photographs).map_err(CommandError::at(&folder))?;
        let set = validation::send(&stage.client, &site, entries).await?;
        let training: Vec<PathBuf> = (photographs.iter())
            .filter(|photograph| photograph.split.is_none())
            .map(|photograph| photograph.path.clone())
            .collect();
        let sent = submit(&stage.client, &site, &training).await?.submission();
        printer::note(&format!(
            "site `{site}`: {} photographs submitted, {} rejected, {} more judge",
            sent.accepted + sent.duplicates,
            sent.rejected,
            set.set.images
        ));
        Ok(Self {
            site,
            accepted: sent.accepted,
            rejected: sent.rejected + set.rejected.len() as u64,
            job: None,
        })
    }

    /// Trains a mask as ordered, and waits for it.
    pub async fn train(&mut self, stage: &Stage, order: &NewJob) -> Result<(), DemoError> {
        let job = stage.client.create_job(&self.site, order).await?;
        printer::note(&format!("site `{}`: training, job {}", self.site, job.id));
        let job = job::watch(&stage.client, job).await?;
        job::check(&job)?;
        printer::note(&format!("site `{}`: {}", self.site, job::result(&job)));
        self.job = Some(job);
        Ok(())
    }

    /// Releases the mask, lets an edge folder pull it, and gathers what was found.
    pub async fn deliver(self, stage: &Stage) -> Result<Finding, DemoError> {
        let Some(job) = &self.job else {
            unreachable!("a factory delivers after its training")
        };
        let report = stage.client.job_report(job.id).await?;
        let mut finding = found(&self, stage, &report);
        let mut channel: ChannelName = "stable".parse().expect("a channel's name");
        if let Some(Outcome::Mask { version, verdict }) = &job.outcome {
            if verdict != "passed" {
                channel = "demo".parse().expect("a channel's name");
                finding.overrides = true;
            }
            self.release(stage, &channel, *version, verdict).await?;
            let artefact = self.download(stage, *version).await?;
            finding.mask_bytes = Some(artefact.sizes.total() as u64);
            finding.mask_payload_bytes = Some((artefact.sizes.bits + artefact.sizes.norms) as u64);
            finding.weights_digest_header = Some(artefact.header.weights);
        } else {
            "no improvement found".clone_into(&mut finding.gate);
        }
        self.pull(stage, &channel, &mut finding).await?;
        Ok(finding)
    }

    async fn release(
        &self,
        stage: &Stage,
        channel: &ChannelName,
        version: MaskVersion,
        verdict: &str,
    ) -> Result<(), DemoError> {
        let change = ChannelChange {
            mask: Some(version),
            reason: (verdict != "passed").then(|| REASON.to_owned()),
            force: verdict == "refused",
        };
        release::set(&stage.client, &self.site, channel, &change).await?;
        Ok(())
    }

    async fn download(&self, stage: &Stage, version: MaskVersion) -> Result<Artefact, DemoError> {
        let mask = stage.client.mask(&self.site, version).await?;
        let folder = stage.folder.join("masks");
        fs::create_dir_all(&folder).map_err(CommandError::at(&folder))?;
        let path = folder.join(format!("{}-{version}.kgm", self.site));
        let wanted = Download {
            to: &path,
            digest: mask.digest,
            limit: LONGEST,
            progress: &mut |_, _| {},
        };
        stage.client.download_mask(&self.site, version, wanted).await?;
        let bytes = fs::read(&path).map_err(CommandError::at(&path))?;
        Ok(mask::decode(&bytes, Limits::default())?)
    }

    /// What an edge device does, in a folder of its own with a token of its own.
    async fn pull(
        &self,
        stage: &Stage,
        channel: &ChannelName,
        finding: &mut Finding,
    ) -> Result<(), DemoError> {
        let device = NewDevice {
            name: format!("{}-line-1", self.site),
            channel: Some(channel.clone()),
        };
        let enrolled = stage.client.enrol_device(&self.site, &device).await?;
        let folder = Arc::new(DeviceFolder::open(
            stage.folder.join("edge").join(self.site.as_str()),
        )?);
        let _lock = folder.lock_agent()?;
        let source = Source {
            client: Client::new(stage.client.server(), Some(&enrolled.token), None)?,
            channel: None,
            base: None,
            progress: Box::new(|_, _| {}),
        };
        let mut puller = Puller::new(folder.clone(), source);
        puller.pull().await?;
        let status = Status::of(&folder)?;
        if let Some(report) = status.report(None) {
            puller.client().report_status(&report).await?;
        }
        let model = status.weights.map(|weights| folder.model(&weights));
        let Some(model) = model else { return Ok(()) };
        // Read from its file again and digested anew: what the edge says of itself proves nothing.
        let architecture = architecture(&stage.base.architecture).expect("it was imported");
        let given = import(architecture, &model).map_err(StoreError::from)?.digest();
        let expected = finding.weights_digest_header.unwrap_or(stage.base.digest);
        finding.weights_digest_edge = Some(given);
        finding.edge_digest_ok = Some(given == expected);
        finding.edge_model = Some(model.display().to_string());
        Ok(())
    }
}

/// What the report says; figures for people rest on the test split.
fn found(factory: &Factory, stage: &Stage, report: &Report) -> Finding {
    let training = &report.training;
    let test = report.test.as_ref();
    let of = |figure: fn(&LabelledFigures) -> f64| test.map(figure);
    let random = report.random_mask.as_ref();
    Finding {
        site: factory.site.to_string(),
        images: factory.accepted,
        rejected: factory.rejected,
        steps: training.loss.last().map_or(0, |point| point.step),
        flips: training.flips,
        seconds: training.seconds,
        loss_first: training.loss.first().map(|point| point.loss),
        loss_last: training.loss.last().map(|point| point.loss),
        base_bytes: stage.base.bytes,
        gate: report.gate.verdict.word().to_owned(),
        gate_reasons: (report.gate.verdict.reasons().iter())
            .map(ToString::to_string)
            .collect(),
        knn_base: of(|test| test.knn.base.value),
        knn_mask: of(|test| test.knn.mask.value),
        knn_difference_ci: test.map(|test| [test.knn.difference.lower, test.knn.difference.upper]),
        probe_base: of(|test| test.probe.base.value),
        probe_mask: of(|test| test.probe.mask.value),
        probe_random_mask: random.map(|random| random.probe.mask.value),
        ..Finding::default()
    }
}

/// The photographs that judge, as the server expects them: `SPLIT/CLASS/FILE`.
fn labelled(photographs: &[Photograph]) -> std::io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for photograph in photographs {
        let Some(split) = photograph.split else { continue };
        for entry in pack::entries(&photograph.path)? {
            let name = format!("{}/{}/{}", split.word(), photograph.class(), entry.name);
            entries.push(Entry { name, ..entry });
        }
    }
    Ok(entries)
}
