//! The pictures of a training: some that it sees, a few labelled ones that the gate sees,
//! and many that only the truth is read from.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use image::RgbImage;
use image::imageops::FilterType;
use sha2::{Digest, Sha256};

use crate::trainings::{Outcome, classes, textures};

/// Pictures that a training sees.
const IMAGES: usize = 160;
/// Labelled pictures that the gate sees.
const VALIDATION: usize = 120;
/// Most labelled pictures of the truth.
pub const TEST: usize = 800;
/// Edge length of the shuffled pictures.
const EDGE: u32 = 64;

/// A factory: a set with its labels.
pub struct Site {
    /// Its name in tables.
    pub name: String,
    /// A folder for each class.
    pub folder: PathBuf,
}

/// Where one draw of a site's pictures lies.
pub struct Drawn {
    /// What a training sees.
    pub images: PathBuf,
    /// Folders `validation` and `test`, in them one for each class.
    pub labelled: PathBuf,
}

impl Site {
    /// The site `name`, whose pictures are in `folder`.
    pub fn new(name: &str, folder: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            folder,
        }
    }

    /// Draws the site's pictures by `seed`, as links below `folder`, which is made if it is not there.
    pub fn drawn(&self, folder: &Path, seed: u64) -> Outcome<Drawn> {
        let drawn = Drawn {
            images: folder.join("images"),
            labelled: folder.join("labelled"),
        };
        once(folder, || {
            let mut pictures: Vec<_> = (classes(&self.folder)?.into_iter())
                .flat_map(|(class, files)| files.into_iter().map(move |file| (class.clone(), file)))
                .map(|(class, file)| (Sha256::digest(format!("{seed} {}", file.display())), class, file))
                .collect();
            pictures.sort();
            for (number, (_, class, file)) in pictures.iter().take(IMAGES + VALIDATION + TEST).enumerate() {
                let into = match number {
                    ..IMAGES => drawn.images.clone(),
                    _ if number < IMAGES + VALIDATION => drawn.labelled.join("validation").join(class),
                    _ => drawn.labelled.join("test").join(class),
                };
                fs::create_dir_all(&into)?;
                let name = file.file_name().ok_or("a picture has no name")?;
                // The class in the name: two classes may have files of one name.
                let name = format!("{}-{}", class.display(), name.display());
                symlink(fs::canonicalize(file)?, into.join(name))?;
            }
            Ok(())
        })?;
        Ok(drawn)
    }
}

/// The pictures of `images` with their pixels in another order, below `folder`.
pub fn shuffled(images: &Path, folder: &Path, seed: u64) -> Outcome<PathBuf> {
    once(folder, || {
        let mut paths: Vec<PathBuf> = fs::read_dir(images)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        paths.sort();
        for (number, path) in paths.iter().enumerate() {
            let picture = image::open(path)?.resize_exact(EDGE, EDGE, FilterType::Triangle);
            let mut pixels: Vec<_> = picture.to_rgb8().pixels().copied().collect();
            for last in (1..pixels.len()).rev() {
                let chance = textures::noise(seed, number as i64, last as i64);
                pixels.swap(last, ((last + 1) as f64 * chance) as usize);
            }
            RgbImage::from_fn(EDGE, EDGE, |x, y| pixels[(y * EDGE + x) as usize])
                .save(folder.join(format!("{number:04}.png")))?;
        }
        Ok(())
    })?;
    Ok(folder.to_owned())
}

/// Fills `folder` unless that was done before; what was interrupted begins anew.
fn once(folder: &Path, fill: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    let complete = folder.with_extension("complete");
    if complete.exists() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    fill()?;
    Ok(fs::write(complete, "")?)
}
