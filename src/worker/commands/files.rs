//! Folders of pictures, labelled or not.

use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::domain::image::{Caption, Metadata};
use crate::domain::{Digest, Split};
use crate::worker::error::{WorkerCommandError, at};
use crate::worker::pictures::{LabelledPicture, Picture, Source};

/// All files below `folder`, in the order of their names.
pub(super) fn below(folder: &Path) -> Result<Vec<PathBuf>, WorkerCommandError> {
    let mut found = Vec::new();
    collect(folder, &mut found)?;
    found.sort();
    Ok(found)
}

/// The same without the captions that lie beside pictures.
pub(super) fn without_captions(folder: &Path) -> Result<Vec<PathBuf>, WorkerCommandError> {
    let mut found = below(folder)?;
    found.retain(|path| path.extension().is_none_or(|extension| extension != "json"));
    Ok(found)
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), WorkerCommandError> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// Refuses a file that could not be written: a folder, or one in a folder that is not there.
pub(super) fn writable(path: &Path) -> Result<(), WorkerCommandError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let refused = match folder.map(fs::metadata).transpose() {
        Err(error) => Some(error),
        Ok(Some(found)) if !found.is_dir() => Some(std::io::ErrorKind::NotADirectory.into()),
        Ok(_) if path.is_dir() => Some(std::io::ErrorKind::IsADirectory.into()),
        Ok(_) => None,
    };
    refused.map_or(Ok(()), |error| Err(at(path)(error)))
}

/// The caption beside a labelled picture, `NAME.json` or `NAME.EXT.json`, if there is one: its metadata.
pub(super) fn metadata(picture: &Path) -> Result<Metadata, WorkerCommandError> {
    let mut appended = picture.as_os_str().to_owned();
    appended.push(".json");
    for path in [PathBuf::from(appended), picture.with_extension("json")] {
        match fs::read(&path) {
            Ok(bytes) => {
                let caption: Result<Caption, _> = serde_json::from_slice(&bytes);
                return caption.map(|caption| caption.metadata).map_err(|error| {
                    WorkerCommandError::Caption {
                        path,
                        reason: error.to_string(),
                    }
                });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path)(error)),
        }
    }
    Ok(Metadata::default())
}

/// Digests files, which stay where they are.
pub(super) fn pictures(paths: &[PathBuf]) -> Result<Vec<Picture>, WorkerCommandError> {
    let picture = |path: &PathBuf| {
        Ok(Picture {
            digest: Digest::of(&fs::read(path).map_err(at(path))?),
            source: Source::Path(path.clone()),
        })
    };
    paths.par_iter().map(picture).collect()
}

/// The pictures below a folder with one folder for each class, each class with its name.
pub(super) fn classes(folder: &Path) -> Result<Vec<(String, Vec<PathBuf>)>, WorkerCommandError> {
    let unusable = |reason| WorkerCommandError::Labelled {
        folder: folder.to_owned(),
        reason,
    };
    let folders = folders(folder)?;
    if folders.iter().any(|class| Split::of_word(&name(class)).is_some()) {
        return Err(unusable(
            "`validation` and `test` are splits, not classes: name one of them, or leave no other folder beside them",
        ));
    }
    let mut classes = Vec::new();
    for class in folders {
        let found = without_captions(&class)?;
        if found.is_empty() {
            return Err(unusable("one of its folders has no pictures"));
        }
        classes.push((name(&class), found));
    }
    if classes.len() < 2 {
        return Err(unusable("it needs at least two folders, one for each class"));
    }
    Ok(classes)
}

/// Labelled pictures below `folder`: a folder for each class, and each picture
/// on the side of its digest; or folders `validation` and `test` with such folders.
pub(super) fn labelled(folder: &Path) -> Result<Vec<LabelledPicture>, WorkerCommandError> {
    let parts = folders(folder)?;
    let splits: Vec<Option<Split>> = parts.iter().map(|part| Split::of_word(&name(part))).collect();
    let sets: Vec<(&Path, Option<Split>)> = if parts.is_empty() || splits.iter().any(Option::is_none) {
        vec![(folder, None)]
    } else {
        (parts.iter().map(PathBuf::as_path)).zip(splits).collect()
    };
    let mut found = Vec::new();
    for (folder, split) in sets {
        for (class, paths) in classes(folder)? {
            for (picture, path) in pictures(&paths)?.into_iter().zip(&paths) {
                found.push(LabelledPicture {
                    metadata: metadata(path)?,
                    split: split.unwrap_or_else(|| Split::of_digest(&picture.digest)),
                    class: class.clone(),
                    picture,
                });
            }
        }
    }
    Ok(found)
}

fn folders(folder: &Path) -> Result<Vec<PathBuf>, WorkerCommandError> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        if path.is_dir() {
            folders.push(path);
        }
    }
    folders.sort();
    Ok(folders)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}
