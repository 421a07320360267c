//! Validation sets: labelled images that judge masks.
//!
//! A set comes as a tar with a folder per class (`CLASS/FILE`, or
//! `validation/CLASS/FILE` and `test/CLASS/FILE`), or as flat files with
//! `labels.csv`; all may lie in one folder more. What slices are made of (line,
//! shift, camera) comes as captions, `NAME.json`, or as further columns of
//! `labels.csv`. Files that are no part of the set are answered one by one, and what remains becomes its next version, in
//! one transaction, if it still has two classes to tell apart.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};

use super::answers::rejected;
use super::archive::{File, files};
use super::check;
use super::sidecars::{self, Sidecars};
use super::{Intake, IntakeError, Rejection};
use crate::catalog::validation::LabelledImage;
use crate::catalog::{sites, validation as sets};
use crate::domain::image::{Caption, Metadata, PerceptualHash};
use crate::domain::{Digest, SiteName, Split};
use crate::wire::v1::images::Received;
use crate::wire::v1::validation::ValidationReceived;

/// The file that names classes.
const LABELS: &str = "labels.csv";
/// Images from which on a set that does not say so is split.
const SPLIT_FROM: usize = 100;

/// A picture of the archive, stored, whose class is not known yet.
#[derive(Debug, Clone)]
struct Candidate {
    name: String,
    digest: Digest,
    bytes: u64,
    phash: PerceptualHash,
}

/// What a file is said to show.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    class: String,
    split: Option<Split>,
    /// What the row of `labels.csv` says besides.
    metadata: Metadata,
}

/// What `labels.csv` says of its files; of one that is said to show two things, that.
type Labels = HashMap<String, Result<Label, Rejection>>;

/// Sets a site's labelled images as the next version of its validation set.
pub async fn validation(
    intake: &Intake,
    site: &SiteName,
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    by: &str,
) -> Result<ValidationReceived, IntakeError> {
    sites::needed(&mut intake.catalog.read().await?, site).await?;
    let mut looked = files(body, intake.limits)
        .map(|file| intake.candidate(file))
        .buffered(intake.limits.concurrent_decodes.max(1) + 1)
        .boxed();
    let (mut candidates, mut out, mut csv) = (Vec::new(), Vec::new(), None);
    let mut captions = Sidecars::default();
    while let Some(one) = looked.try_next().await? {
        match one {
            Looked::Candidate(candidate) => candidates.push(candidate),
            Looked::Labels(name, bytes) => csv = Some((name, bytes)),
            Looked::Caption(name, caption) => {
                let subject = sidecars::subject(&name).unwrap_or_default();
                if let Err(why) = captions.came(subject, caption) {
                    out.push(rejected(name, None, &why));
                }
            }
            Looked::Rejected(received) => out.push(received),
        }
    }
    drop(looked);
    let inside = common_folder(&candidates, csv.as_ref().map(|(name, _)| name.as_str()));
    let labels = match &csv {
        Some((_, bytes)) => {
            let (labels, wrong) = read_labels(bytes)?;
            out.extend(wrong);
            Some(labels)
        }
        None => None,
    };
    let (labelled, wrong) = label(candidates, labels, inside);
    out.extend(wrong);
    let images = split(labelled, &mut captions);
    while let Some(name) = captions.left_over() {
        out.push(rejected(name, None, &Rejection::CaptionAlone));
    }
    let judging: BTreeSet<&str> = images
        .iter()
        .filter(|image| image.split == Split::Validation)
        .map(|image| image.class.as_str())
        .collect();
    if judging.len() < 2 {
        return Err(IntakeError::TooFewClasses {
            found: judging.len(),
            first: out
                .iter()
                .find_map(|file| Some(format!("{}: {}", file.name, file.detail.as_deref()?))),
        });
    }
    let mut tx = intake.catalog.begin().await?;
    let set = sets::create(&mut tx, site, &images, by).await?;
    tx.commit().await?;
    Ok(ValidationReceived { set, rejected: out })
}

/// What an entry of the archive is.
enum Looked {
    Candidate(Candidate),
    Labels(String, Bytes),
    Caption(String, Caption),
    Rejected(Received),
}

impl Intake {
    /// Looks at a file and stores its bytes if it is a picture.
    async fn candidate(&self, file: File) -> Result<Looked, IntakeError> {
        let File { name, content } = file;
        let bytes = match content {
            Ok(bytes) => bytes,
            Err(why) => return Ok(Looked::Rejected(rejected(name, None, &why))),
        };
        if name == LABELS || name.ends_with("/labels.csv") {
            return Ok(Looked::Labels(name, bytes));
        }
        if sidecars::subject(&name).is_some() {
            return Ok(match sidecars::caption(&bytes) {
                Ok(caption) => Looked::Caption(name, caption),
                Err(why) => Looked::Rejected(rejected(name, None, &why)),
            });
        }
        let digest = check::digest(&bytes).await?;
        match self.look_at(&bytes).await? {
            Err(why) => Ok(Looked::Rejected(rejected(name, Some(digest), &why))),
            Ok(picture) => {
                self.keep(&[(digest, &bytes)]).await?;
                Ok(Looked::Candidate(Candidate {
                    name,
                    digest,
                    bytes: bytes.len() as u64,
                    phash: picture.phash,
                }))
            }
        }
    }
}

/// The length of the folder's name, with its slash, in which the whole set
/// lies; 0: in none. `validation` and `test` are no such folders.
fn common_folder(candidates: &[Candidate], csv: Option<&str>) -> usize {
    if let Some(name) = csv {
        return name.len() - LABELS.len();
    }
    let folder = |candidate: &Candidate| {
        candidate
            .name
            .split_once('/')
            .map(|(folder, _)| folder.to_owned())
    };
    let Some(first) = candidates.first().and_then(folder) else {
        return 0;
    };
    let shared = candidates
        .iter()
        .all(|candidate| folder(candidate).as_ref() == Some(&first));
    // Without anything below, the shared folder is a class, and a set of one class is refused.
    let deeper = candidates
        .iter()
        .all(|candidate| candidate.name.matches('/').count() >= 2);
    if shared && deeper && Split::of_word(&first).is_none() {
        first.len() + 1
    } else {
        0
    }
}

/// The labels of a `labels.csv` by file, and its rows that cannot be used. Of a file's rows the
/// first one counts, as of images that come twice, unless another one says another class.
fn read_labels(bytes: &[u8]) -> Result<(Labels, Vec<Received>), IntakeError> {
    let unreadable = |error: csv::Error| IntakeError::Labels(error.to_string());
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .flexible(true)
        .from_reader(bytes);
    let header = reader.headers().map_err(unreadable)?.clone();
    let column = |name: &str| header.iter().position(|title| title.eq_ignore_ascii_case(name));
    let (Some(file), Some(class)) = (column("file"), column("class")) else {
        return Err(IntakeError::Labels(
            "it has no columns `file` and `class`".to_owned(),
        ));
    };
    let split = column("split");
    let known = [Some(file), Some(class), split];
    let (mut labels, mut wrong) = (Labels::new(), Vec::new());
    for (index, row) in reader.records().enumerate() {
        let refuse = |why: &Rejection| rejected(format!("{LABELS} row {}", index + 2), None, why);
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                wrong.push(refuse(&Rejection::Row(error.to_string())));
                continue;
            }
        };
        let (Some(file), Some(class)) = (row.get(file), row.get(class)) else {
            wrong.push(refuse(&Rejection::Row("it has too few columns".to_owned())));
            continue;
        };
        let word = split.and_then(|split| row.get(split)).unwrap_or_default();
        let split = Split::of_word(word);
        if split.is_none() && !word.is_empty() {
            wrong.push(refuse(&Rejection::Split(word.chars().take(40).collect())));
            continue;
        }
        let further = (header.iter().zip(&row).enumerate())
            .filter(|(at, (_, value))| !known.contains(&Some(*at)) && !value.is_empty())
            .map(|(_, (title, value))| (title.to_owned(), value.to_owned()));
        let metadata = Metadata::of_usable(further);
        let file = file.strip_prefix("./").unwrap_or(file).to_owned();
        let class = class.to_owned();
        let label = Label {
            class,
            split,
            metadata,
        };
        match labels.entry(file) {
            Entry::Vacant(first) => {
                first.insert(Ok(label));
            }
            Entry::Occupied(mut earlier) => match earlier.get() {
                // Nobody knows which of the two rows is right.
                Ok(first) if first.class != label.class => {
                    let why = Rejection::TwoClasses(first.class.clone(), label.class);
                    *earlier.get_mut() = Err(why);
                }
                Ok(first) if first.split != label.split => {
                    wrong.push(refuse(&Rejection::Again(earlier.key().clone())));
                }
                // The same once more, as in tables with a row for each defect; or known to be two things.
                _ => {}
            },
        }
    }
    Ok((labels, wrong))
}

/// The label that a file's place in the archive gives it.
fn label_of_path(path: &str) -> Result<Label, Rejection> {
    let parts: Vec<&str> = path.split('/').collect();
    let (class, split) = match parts[..] {
        [class, _] if Split::of_word(class).is_none() => (class, None),
        [split, class, _] => match Split::of_word(split) {
            Some(split) => (class, Some(split)),
            None => return Err(Rejection::NoClass),
        },
        _ => return Err(Rejection::NoClass),
    };
    Ok(Label {
        class: class.to_owned(),
        split,
        metadata: Metadata::default(),
    })
}

/// Gives each candidate its label, and takes out those that have none, came
/// twice, or are said to be two things.
fn label(
    candidates: Vec<Candidate>,
    labels: Option<Labels>,
    inside: usize,
) -> (Vec<(Candidate, Label)>, Vec<Received>) {
    let mut out = Vec::new();
    let mut unused: Option<BTreeMap<String, Result<Label, Rejection>>> =
        labels.map(|labels| labels.into_iter().collect());
    // By digest; in the order sent, because what came first counts.
    let mut taken: Vec<(Candidate, Label)> = Vec::new();
    let mut by_digest: HashMap<Digest, usize> = HashMap::new();
    let mut ambiguous: BTreeSet<usize> = BTreeSet::new();
    for candidate in candidates {
        let path = candidate.name.get(inside..).unwrap_or(&candidate.name).to_owned();
        let found = match &mut unused {
            Some(labels) => labels.remove(&path).unwrap_or(Err(Rejection::NoClass)),
            None => label_of_path(&path),
        };
        let found = found.and_then(|label| {
            if usable(&label.class) {
                Ok(label)
            } else {
                Err(Rejection::ClassName)
            }
        });
        let label = match found {
            Ok(label) => label,
            Err(why) => {
                out.push(rejected(candidate.name, Some(candidate.digest), &why));
                continue;
            }
        };
        let Some(&before) = by_digest.get(&candidate.digest) else {
            by_digest.insert(candidate.digest, taken.len());
            taken.push((candidate, label));
            continue;
        };
        let (earlier, said) = &taken[before];
        let why = if said.class == label.class {
            Rejection::Again(earlier.name.clone())
        } else {
            ambiguous.insert(before);
            Rejection::TwoClasses(said.class.clone(), label.class.clone())
        };
        out.push(rejected(candidate.name, Some(candidate.digest), &why));
    }
    for (name, _) in unused.into_iter().flatten() {
        out.push(rejected(name, None, &Rejection::NoFileOfRow));
    }
    // Nobody knows which of the two classes is right, so the first one goes, too.
    let mut kept = Vec::with_capacity(taken.len());
    for (index, (candidate, label)) in taken.into_iter().enumerate() {
        if ambiguous.contains(&index) {
            let why = Rejection::TwoClasses(label.class, "another one".to_owned());
            out.push(rejected(candidate.name, Some(candidate.digest), &why));
        } else {
            kept.push((candidate, label));
        }
    }
    (kept, out)
}

fn usable(class: &str) -> bool {
    (1..=128).contains(&class.len()) && !class.chars().any(char::is_control)
}

/// Decides the split of every image whose set does not say, and takes its
/// metadata from its caption, else from `labels.csv`.
fn split(labelled: Vec<(Candidate, Label)>, captions: &mut Sidecars) -> Vec<LabelledImage> {
    let enough = labelled.len() >= SPLIT_FROM;
    let of = |candidate: &Candidate, label: &Label| match label.split {
        Some(split) => split,
        None if enough => Split::of_digest(&candidate.digest),
        None => Split::Validation,
    };
    let image = |(candidate, label): (Candidate, Label)| LabelledImage {
        metadata: (captions.of(&candidate.name)).map_or(label.metadata.clone(), |caption| caption.metadata),
        split: of(&candidate, &label),
        digest: candidate.digest,
        name: candidate.name,
        class: label.class,
        bytes: candidate.bytes,
        phash: candidate.phash,
    };
    labelled.into_iter().map(image).collect()
}

#[cfg(test)]
#[path = "tests/validation.rs"]
mod tests;
