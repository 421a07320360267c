//! What the engine is given: the assignment, with what was fetched for it.

use std::path::Path;
use std::time::Duration;

use super::attempt::{AttemptInput, Parent, Resume};
use super::failure::Failure;
use super::fetch::Fetched;
use super::images::training_images;
use super::lease::{Assignment, Stored};
use super::pictures::{LabelledPicture, Picture, Source};
use crate::base::{Manifest, architecture, import};
use crate::domain::report::Kpi;
use crate::domain::{Digest, Split, View};
use crate::mask::{Limits, decode};
use crate::train::Recipe;

/// The recipe of that name: from the folder of further ones, else an embedded one.
fn recipe(name: &str, folder: Option<&Path>) -> Result<Recipe, Failure> {
    // The name comes from the server: never a path.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(folder) = folder.filter(|_| name.chars().all(plain)) {
        let path = folder.join(format!("{name}.toml"));
        match std::fs::read_to_string(&path) {
            Ok(text) => return Ok(Recipe::parse(&text)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(Failure::Io { path, source }),
        }
    }
    Ok(Recipe::named(name)?)
}

/// Puts together what the engine needs from what was fetched.
pub(super) fn input(
    assignment: Assignment,
    fetched: &Fetched,
    recipes: Option<&Path>,
    checkpoint_every: Duration,
) -> Result<AttemptInput, Failure> {
    let unknown = Failure::Assignment;
    let manifest: Manifest =
        serde_json::from_str(&assignment.manifest).map_err(|_| unknown("the base's manifest"))?;
    let architecture = architecture(&manifest.architecture).ok_or(unknown("the base's architecture"))?;
    let file = fetched
        .path(&assignment.base_file.digest)
        .ok_or(unknown("no base"))?;
    let base = import(architecture, file)?;
    let given = base.digest();
    if given != assignment.base {
        return Err(Failure::OtherBase {
            expected: assignment.base,
            given,
        });
    }
    let picture = |stored: &Stored| {
        let path = fetched.path(&stored.digest)?.to_owned();
        Some(Picture {
            digest: stored.digest,
            source: Source::Cached(path),
        })
    };
    let labelled = fetched.lists.labelled.iter().map(|labelled| {
        Ok(LabelledPicture {
            picture: picture(&labelled.image).ok_or(unknown("an image of the validation set"))?,
            class: labelled.class.clone(),
            metadata: labelled.metadata.clone(),
            split: Split::of_word(&labelled.split).ok_or(unknown("a split"))?,
        })
    });
    let view = View::parse(&assignment.view).map_err(|_| unknown("the view"))?;
    let start = match &assignment.parent {
        Some(parent) => {
            let artefact = decode(&read(fetched, &parent.artefact.digest)?, Limits::default())?;
            artefact.header.check_view(&view)?;
            Some(Parent {
                version: parent.version,
                scores: read(fetched, &parent.scores.digest)?,
                mask: artefact.mask(&base)?,
            })
        }
        None => None,
    };
    let checkpoints = assignment
        .checkpoints
        .iter()
        .filter(|stored| fetched.path(&stored.digest).is_some());
    let images: Vec<Picture> = fetched.lists.images.iter().filter_map(picture).collect();
    let recipe = recipe(&assignment.recipe, recipes)?;
    let epoch = training_images(&images, &recipe, &view, manifest.preprocessing.seen(&view).size);
    Ok(AttemptInput {
        base,
        preprocessing: manifest.preprocessing,
        view,
        recipe: recipe.over(epoch).within(assignment.budget).checked()?,
        seed: assignment.seed,
        images,
        left_out: assignment.left_out,
        labelled: labelled.collect::<Result<_, Failure>>()?,
        start,
        kpi: assignment.kpi.parse::<Kpi>().map_err(|_| unknown("the KPI"))?,
        judged_before: assignment.judged_before,
        gate: serde_json::from_str(&assignment.gate).map_err(|_| unknown("the gate's settings"))?,
        site: assignment.site,
        version: assignment.mask_version,
        snapshot: Some(assignment.snapshot),
        job: Some(assignment.attempt.job),
        control: false,
        resume: Resume::Newest(
            checkpoints
                .map(|stored| read(fetched, &stored.digest))
                .collect::<Result<_, _>>()?,
        ),
        checkpoint_every,
    })
}

fn read(fetched: &Fetched, digest: &Digest) -> Result<Vec<u8>, Failure> {
    let path = fetched
        .path(digest)
        .ok_or(Failure::Assignment("a blob is missing"))?;
    std::fs::read(path).map_err(|source| Failure::Io {
        path: path.to_owned(),
        source,
    })
}
