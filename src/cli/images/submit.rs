//! Sends pictures in requests that are small enough to be sent again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;

use super::pack;
use crate::cli::remote::CommandError;
use crate::cli::{printer, progress};
use crate::client::{Client, ClientError, Upload};
use crate::domain::SiteName;
use crate::wire::v1::images::{Fate, Received, Submission};

/// How often a request is sent before the command gives up.
const ATTEMPTS: u32 = 5;

/// What became of the files that were sent.
#[derive(Debug, Default)]
pub struct Sent(Vec<Received>);

/// One request: a tar made of files, or one that is there.
enum Part {
    Files(Vec<pack::Entry>),
    Tar(PathBuf),
}

/// Submits what `paths` name: folders, tars and pictures. Shows progress on standard error.
pub async fn submit(client: &Client, site: &SiteName, paths: &[PathBuf]) -> Result<Sent, CommandError> {
    let (mut entries, mut tars) = (Vec::new(), Vec::new());
    for path in paths {
        if is_tar(path) {
            tars.push(Part::Tar(path.clone()));
        } else {
            entries.extend(pack::entries(path).map_err(CommandError::at(path))?);
        }
    }
    if entries.is_empty() && tars.is_empty() {
        let named: Vec<String> = paths.iter().map(|path| format!("`{}`", path.display())).collect();
        return Err(CommandError::NothingToSend(named.join(", ")));
    }
    let bar = progress::files(
        format!("submitting to `{site}`"),
        entries.len() as u64,
        !tars.is_empty(),
    );
    let mut sent = Sent::default();
    let files = pack::batches(entries).into_iter().map(Part::Files);
    for part in files.chain(tars) {
        let part = match part {
            Part::Files(batch) => {
                let (good, unreadable) = pack::readable(batch);
                bar.inc(unreadable.len() as u64);
                sent.0.extend(unreadable);
                Part::Files(good)
            }
            tar @ Part::Tar(_) => tar,
        };
        if matches!(&part, Part::Files(files) if files.is_empty()) {
            continue;
        }
        let outcome = again_and_again(client, site, &part, &bar).await;
        let (answered, error) = match outcome {
            Ok(answered) => (answered, None),
            Err((answered, error)) => (answered, Some(error)),
        };
        sent.0.extend(answered);
        match error {
            None => {}
            Some(CommandError::Client(source)) if !sent.0.is_empty() => {
                bar.abandon();
                let answered = sent.0.len() as u64;
                return Err(CommandError::BrokenOff { source, answered });
            }
            Some(error) => {
                bar.finish_and_clear();
                return Err(error);
            }
        }
    }
    bar.finish_and_clear();
    Ok(sent)
}

fn is_tar(path: &Path) -> bool {
    path.is_file() && path.extension().is_some_and(|extension| extension == "tar")
}

/// Sends a part until the server has answered for all of it. A failure comes with what was answered before.
async fn again_and_again(
    client: &Client,
    site: &SiteName,
    part: &Part,
    bar: &ProgressBar,
) -> Result<Vec<Received>, (Vec<Received>, CommandError)> {
    // By name, so that what an earlier attempt accepted is not told as a duplicate.
    let mut known: BTreeMap<String, Received> = BTreeMap::new();
    let mut attempt = 1;
    loop {
        let (answered, error) = once(client, site, part, &known, bar).await;
        let all = |known: BTreeMap<String, Received>, answered: Vec<Received>| {
            let told: BTreeSet<_> = answered.iter().map(|file| file.name.clone()).collect();
            let before = known.into_values().filter(|file| !told.contains(&file.name));
            before.chain(answered).collect::<Vec<_>>()
        };
        match error {
            None => return Ok(answered),
            Some(CommandError::Client(error)) if error.is_passing() && attempt < ATTEMPTS => {
                progress::say(bar, &format!("{error}; sending again"));
                for file in answered {
                    known.entry(file.name.clone()).or_insert(file);
                }
                tokio::time::sleep(Duration::from_secs(1 << (attempt - 1))).await;
                attempt += 1;
            }
            Some(error) => return Err((all(known, answered), error)),
        }
    }
}

/// Sends a part once and hears what becomes of each file.
async fn once(
    client: &Client,
    site: &SiteName,
    part: &Part,
    known: &BTreeMap<String, Received>,
    bar: &ProgressBar,
) -> (Vec<Received>, Option<CommandError>) {
    let upload = match part {
        Part::Files(files) => Upload::stream(pack::tar(files.clone())),
        Part::Tar(path) => match tokio::fs::File::open(path).await {
            Ok(file) => Upload::reader(file),
            Err(error) => return (Vec::new(), Some(CommandError::at(path)(error))),
        },
    };
    let mut answered = Vec::new();
    let error = hear(client.submit_tar(site, upload).await, |file| {
        if let Some(earlier) = known.get(&file.name) {
            answered.push(earlier.clone());
        } else {
            bar.inc(1);
            answered.push(file);
        }
    })
    .await;
    if let (Part::Files(files), Ok(())) = (part, &error) {
        answered.extend(unanswered(files, &answered));
    }
    (answered, error.err().map(CommandError::from))
}

/// The files of which the server said nothing: never to be taken for received.
fn unanswered(files: &[pack::Entry], answered: &[Received]) -> Vec<Received> {
    let told: BTreeSet<&str> = answered.iter().map(|file| file.name.as_str()).collect();
    let silent = files.iter().filter(|entry| !told.contains(entry.name.as_str()));
    silent
        .map(|entry| Received {
            name: entry.name.clone(),
            fate: Fate::Rejected,
            digest: None,
            code: Some("not_answered".to_owned()),
            detail: Some("the server said nothing of it; submit it again".to_owned()),
        })
        .collect()
}

async fn hear(
    reception: Result<crate::client::Reception, ClientError>,
    mut tell: impl FnMut(Received),
) -> Result<(), ClientError> {
    let mut reception = reception?;
    while let Some(file) = reception.next().await? {
        tell(file);
    }
    Ok(())
}

impl Sent {
    fn count(&self, fate: Fate) -> u64 {
        self.0.iter().filter(|file| file.fate == fate).count() as u64
    }

    /// In the form of the server's answers.
    pub fn submission(&self) -> Submission {
        Submission {
            accepted: self.count(Fate::Accepted),
            duplicates: self.count(Fate::Duplicate),
            rejected: self.count(Fate::Rejected),
            files: self.0.clone(),
        }
    }

    /// Prints what was rejected and why, then the sums.
    pub fn print(&self) {
        for file in self.0.iter().filter(|file| file.fate == Fate::Rejected) {
            let reason = file.detail.as_deref().or(file.code.as_deref());
            printer::line(&format!(
                "rejected {}: {}",
                file.name,
                reason.unwrap_or("no reason given")
            ));
        }
        printer::line(&format!(
            "{} accepted, {} there already, {} rejected",
            self.count(Fate::Accepted),
            self.count(Fate::Duplicate),
            self.count(Fate::Rejected),
        ));
    }

    /// An error if something was rejected.
    pub fn verdict(&self) -> Result<(), CommandError> {
        match self.count(Fate::Rejected) {
            0 => Ok(()),
            rejected => Err(CommandError::Rejected {
                rejected,
                files: self.0.len() as u64,
            }),
        }
    }
}
