//! The demo's photographs: solar cells of two factories, and what each one is for.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::domain::Digest;
use crate::domain::validation::Split;

/// A cell that is this likely to be defective counts as defective.
const DEFECTIVE: f64 = 0.5;

/// A photograph of the demo.
#[derive(Debug, Clone, PartialEq)]
pub struct Photograph {
    /// Its file.
    pub path: PathBuf,
    /// Whether it shows a defective cell; only validation and test photographs tell the server.
    pub defective: bool,
    /// What it is for; `None`: training.
    pub split: Option<Split>,
    /// SHA-256 of the file, which decides the split.
    digest: Digest,
}

impl Photograph {
    /// The name of its class.
    pub const fn class(&self) -> &'static str {
        if self.defective { "defective" } else { "functional" }
    }
}

/// Reads the photographs of one kind of cell (`mono` or `poly`) below
/// `folder`, in an order that their content decides; at most `most` of them.
pub fn read(folder: &Path, kind: &str, most: Option<usize>) -> io::Result<Vec<Photograph>> {
    let labels = fs::read_to_string(folder.join("labels.csv"))?;
    let mut found = Vec::new();
    for line in labels.lines() {
        let Some((name, probability)) = labelled(line, kind) else {
            continue;
        };
        let path = folder.join(name);
        let digest = Digest::of(&fs::read(&path)?);
        found.push(Photograph {
            path,
            defective: probability >= DEFECTIVE,
            split: split_of(&digest),
            digest,
        });
    }
    // By digest: the first 200 are as mixed as all.
    found.sort_by_key(|photograph| photograph.digest);
    found.dedup_by_key(|photograph| photograph.digest);
    found.truncate(most.unwrap_or(usize::MAX));
    Ok(found)
}

/// Name and defect probability of a line of that kind: columns are separated by spaces.
fn labelled<'a>(line: &'a str, kind: &str) -> Option<(&'a str, f64)> {
    let mut columns = line.split_whitespace();
    let (name, probability, of) = (columns.next()?, columns.next()?, columns.next()?);
    (of == kind).then_some(())?;
    Some((name, probability.parse().ok()?))
}

/// Half trains, three tenths judge, two tenths are what people are shown.
fn split_of(digest: &Digest) -> Option<Split> {
    // Not the byte that sorts, or the first of a sorted list would all be of one split.
    match digest.as_bytes()[31] % 10 {
        0..5 => None,
        5..8 => Some(Split::Validation),
        _ => Some(Split::Test),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kind_are_read_and_others_skipped() {
        let line = "images/cell0001.png  0.3333333333333333  mono";
        assert_eq!(labelled(line, "mono"), Some(("images/cell0001.png", 1.0 / 3.0)));
        assert_eq!(labelled(line, "poly"), None);
        assert_eq!(labelled("", "mono"), None);
    }

    #[test]
    fn the_split_is_half_and_three_and_two_tenths() {
        let splits: Vec<_> = (0..2000_u32)
            .map(|number| split_of(&Digest::of(&number.to_le_bytes())))
            .collect();
        let count = |split| splits.iter().filter(|found| **found == split).count();
        assert!((900..1100).contains(&count(None)));
        assert!((500..700).contains(&count(Some(Split::Validation))));
        assert!((320..480).contains(&count(Some(Split::Test))));
    }
}
