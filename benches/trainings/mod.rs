//! What the benches that train share: trainings by the real executables, kept by
//! all that decides them, and generated pictures.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use katagami::base::Manifest;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub mod textures;

/// How trainings train. Whoever changes what a recipe makes of the same pictures gives it another number: what
/// is kept was made by the trainer of its number. The digest of the executable would forget hours of trainings
/// for each change of anything else.
const TRAINER: u32 = 1;
/// The same of how trainings are judged.
pub const JUDGE: u32 = 3;

/// What went well, or a sentence.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How a bench ends: an error as one sentence.
pub fn ended(outcome: Outcome<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Name and folder of the set `NAME=FOLDER`, or of `textures`, which are generated into `cache`.
pub fn named<'a>(set: &'a str, cache: &Path) -> Outcome<(&'a str, PathBuf)> {
    match set.split_once('=') {
        Some((name, folder)) => Ok((name, folder.into())),
        None if set == "textures" => Ok((set, textures::generated(cache)?)),
        None => Err(format!("`{set}` is no set; use NAME=FOLDER or textures").into()),
    }
}

/// The worker's executable, and the base that it works on.
pub struct Worker {
    bin: PathBuf,
    /// The digests of sets that were read.
    sets: RefCell<HashMap<PathBuf, [u8; 32]>>,
    /// The base's file.
    pub base: PathBuf,
    architecture: String,
}

impl Worker {
    /// The worker in the folder `bin`, on the imported base in the file `base`.
    pub fn new(bin: &Path, base: &Path) -> Outcome<Self> {
        let manifest: Manifest = serde_json::from_slice(&fs::read(base.with_file_name("manifest.json"))?)?;
        Ok(Self {
            bin: bin.to_owned(),
            sets: RefCell::default(),
            base: base.to_owned(),
            architecture: manifest.architecture,
        })
    }

    /// `katagami-worker COMMAND` on the base and a CPU.
    pub fn command(&self, command: &str) -> Command {
        let mut worker = Command::new(self.bin.join("katagami-worker"));
        worker
            .args([command, "--device", "cpu", "--arch", &self.architecture, "--base"])
            .arg(&self.base);
        worker
    }

    /// The digest of all that decides a training: trainer, base, recipe and seed, and the pictures of
    /// `sets`, each a folder of classes. `study` says for what, and how it is read.
    pub fn key(&self, study: &str, recipe: &str, sets: &[&Path], seed: u64) -> Outcome<String> {
        let mut digest = Sha256::new();
        digest.update(format!("{study} {TRAINER} {seed}\n{recipe}"));
        // A base lies in a folder that is called by its digest.
        digest.update(self.base.to_string_lossy().as_bytes());
        for set in sets {
            digest.update(self.pictures(set)?);
        }
        Ok(hex::encode(digest.finalize())[..24].to_owned())
    }

    /// The digest of the pictures of a set and of their classes.
    fn pictures(&self, set: &Path) -> Outcome<[u8; 32]> {
        if let Some(known) = self.sets.borrow().get(set) {
            return Ok(*known);
        }
        let mut digest = Sha256::new();
        for (class, files) in classes(set)? {
            digest.update(class.as_encoded_bytes());
            for file in files {
                digest.update(file.file_name().unwrap_or_default().as_encoded_bytes());
                digest.update(Sha256::digest(fs::read(&file)?));
            }
        }
        let found = digest.finalize().into();
        self.sets.borrow_mut().insert(set.to_owned(), found);
        Ok(found)
    }
}

/// The classes of the set in the folder `set` and the files of each, all in the order of their names.
pub fn classes(set: &Path) -> Outcome<Vec<(std::ffi::OsString, Vec<PathBuf>)>> {
    let inside = |folder: &Path| -> Outcome<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        paths.sort();
        Ok(paths)
    };
    let folders = inside(set)?.into_iter().filter(|class| class.is_dir());
    folders
        .map(|class| Ok((class.file_name().unwrap_or_default().to_owned(), inside(&class)?)))
        .collect()
}

/// Sets a field of a recipe's section.
pub fn set(
    recipe: &mut toml::Table,
    section: &str,
    field: &str,
    value: impl Into<toml::Value>,
) -> Outcome<()> {
    let table = recipe.get_mut(section).and_then(toml::Value::as_table_mut);
    let table = table.ok_or_else(|| format!("the recipe has no section `{section}`"))?;
    table.insert(field.to_owned(), value.into());
    Ok(())
}

/// What `command` prints, or what it printed before.
pub fn kept(path: &Path, what: &str, command: impl Fn() -> Command) -> Outcome<Value> {
    if let Ok(text) = fs::read(path)
        && let Ok(value) = serde_json::from_slice(&text)
    {
        return Ok(value);
    }
    let mut command = command();
    eprintln!(
        "{} {what}",
        path.file_stem().unwrap_or_default().to_string_lossy()
    );
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{what}: {}", said.lines().last().unwrap_or("failed")).into());
    }
    let value = serde_json::from_slice(&output.stdout)?;
    let part = path.with_extension("part");
    fs::write(&part, &output.stdout)?;
    fs::rename(part, path)?;
    Ok(value)
}
