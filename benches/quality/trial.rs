//! A trial: whether each part works, in minutes. What it measures is no figure.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::trainings::{Outcome, classes, set};

/// At most so many pictures of each class are tried.
const TRIED: usize = 20;

/// A folder of links to some pictures of each class of `set`, made in `cache`: enough to see that something is learned.
pub fn pictures(set: &Path, cache: &Path) -> Outcome<PathBuf> {
    let name = hex::encode(Sha256::digest(set.to_string_lossy().as_bytes()));
    let folder = cache.join(format!("some-{}", &name[..12]));
    for (class, files) in classes(set)? {
        let class = folder.join(class);
        fs::create_dir_all(&class)?;
        for file in files.iter().take(TRIED) {
            let link = class.join(file.file_name().unwrap_or_default());
            if !link.exists() {
                std::os::unix::fs::symlink(fs::canonicalize(file)?, link)?;
            }
        }
    }
    Ok(folder)
}

/// The recipe with a few steps on small crops.
pub fn recipe(recipe: &str) -> Outcome<String> {
    let mut recipe: toml::Table = recipe.parse()?;
    if let Some(schedule) = recipe.get_mut("schedule").and_then(toml::Value::as_table_mut) {
        schedule.remove("epochs");
    }
    for (field, value) in [
        ("steps", 6),
        ("warm-up", 1),
        ("prototypes-frozen", 1),
        ("batch", 16),
    ] {
        set(&mut recipe, "schedule", field, value)?;
    }
    for (crop, size) in [("large", 64), ("small", 32)] {
        let augment = recipe.get_mut("augment").and_then(toml::Value::as_table_mut);
        let crop = augment.and_then(|augment| augment.get_mut(crop)?.as_table_mut());
        let crop = crop.ok_or("the recipe has no crops")?;
        crop.insert("size".to_owned(), size.into());
    }
    // So few steps drop nothing at the recipe's rate.
    set(&mut recipe, "mask", "rate", 0.05)?;
    Ok(toml::to_string(&recipe)?)
}
