//! How small: each mask at each level, beside its peers; deltas and priors.

use std::collections::BTreeMap;

use katagami::base::{Role, Weights, architecture};
use katagami::domain::Digest;
use katagami::mask::{Bits, Coding, Level, Mask, Prior};

use super::input::{Input, Outcome, Trained, at, coded, header};
use super::peers::{self, PEERS};
use super::report::{figure, heading, mean};
use super::synthetic::Random;

/// The levels that are measured; what is written by default is one of both.
pub const LEVELS: [(&str, Level); 2] = [("fast", Level::Fast), ("best", Level::Best)];

/// Figures that are averaged over masks, in groups such as `best/dense/size_vs_xz`.
#[derive(Default)]
pub struct Results(BTreeMap<String, Vec<f64>>);

/// A figure and the group that it belongs to.
type Ratio = (String, f64);

impl Results {
    pub fn add(&mut self, ratios: Vec<Ratio>) {
        for (group, ratio) in ratios {
            self.0.entry(group).or_default().push(ratio);
        }
    }

    /// The mean over masks, every mask counting once, and the worst mask.
    pub fn summarise(&self) {
        heading("Means over trained masks, and the worst mask");
        for (group, ratios) in &self.0 {
            if let Some(mean) = mean(ratios) {
                figure(group, mean, "ratio");
                figure(
                    &format!("{group}/worst"),
                    ratios.iter().copied().fold(0.0, f64::max),
                    "ratio",
                );
            }
        }
    }
}

/// Measures a mask at both levels and with every peer.
pub fn measure(trained: &Trained) -> Outcome<Vec<Ratio>> {
    let Trained {
        name, mask, recipe, ..
    } = trained;
    let weights = mask.weights() as f64;
    heading(&format!(
        "{name}: {} of {weights} weights dropped, {:.3} % kept",
        mask.dropped(),
        100.0 * mask.density()
    ));
    let mut peers = BTreeMap::new();
    for (peer, size) in PEERS {
        let bytes = size(mask).ceil();
        figure(&format!("peer/{peer}/{name}/bytes"), bytes, "bytes");
        peers.insert(peer, bytes);
    }
    let mut ratios = Vec::new();
    // Best first: fast is compared with it.
    for (level, coding) in LEVELS.into_iter().rev() {
        let bytes = payload(trained, mask, &at(coding))?;
        figure(&format!("{level}/{name}/bytes"), bytes, "bytes");
        figure(
            &format!("{level}/{name}/rate"),
            8.0 * bytes / weights,
            "bits/weight",
        );
        for (versus, peer) in [
            ("xz", "xz-9e"),
            ("layer_entropy", "layer-entropy"),
            ("best", "best"),
        ] {
            // `best` is not compared with itself.
            let Some(peer) = peers.get(peer) else { continue };
            let ratio = bytes / peer;
            figure(&format!("{level}/{name}/size_vs_{versus}"), ratio, "ratio");
            // Masks that resemble a mask of the list, and those of a model of ours, prove nothing on their own.
            if trained.start.is_none() && recipe != "synthetic" {
                ratios.push((format!("{level}/{recipe}/size_vs_{versus}"), ratio));
            }
        }
        peers.insert(level, bytes);
    }
    Ok(ratios)
}

/// The bytes of `mask`'s bits over the base of `trained`.
pub fn payload(trained: &Trained, mask: &Mask, coding: &Coding) -> Outcome<f64> {
    let mut header = trained.header();
    header.parent = coding.parent.map(|_| Digest::of(b"parent"));
    header.prior = coding.prior.map(Prior::digest);
    let (_, artefact) = coded(&header, mask, &trained.base, coding)?;
    Ok(artefact.sizes.bits as f64)
}

/// Bits of which nobody can say anything.
pub fn incompressible(seed: u64) -> Outcome<()> {
    heading("Random bits, half of them kept");
    let architecture = architecture("efficientnet_lite0").expect("it is in the table");
    let mut random = Random(seed);
    let values = (architecture.tensors.iter())
        .map(|spec| (0..spec.len()).map(|_| 0.01 + random.uniform() as f32).collect())
        .collect();
    let base = Weights { architecture, values };
    let tensors = (architecture.tensors.iter().enumerate())
        .filter(|(_, spec)| matches!(spec.role, Role::Convolution { .. }))
        .map(|(index, spec)| {
            (
                index,
                Bits::from_bools((0..spec.len()).map(|_| random.next() & 1 == 1)),
            )
        })
        .collect();
    let mask = Mask {
        tensors,
        ..Mask::default()
    };
    for (level, coding) in LEVELS {
        let header = header(base.digest(), Digest::of(b"weights"), "site");
        let (_, artefact) = coded(&header, &mask, &base, &at(coding))?;
        let rate = 8.0 * artefact.sizes.bits as f64 / mask.weights() as f64;
        figure(&format!("{level}/incompressible/rate"), rate, "bits/weight");
    }
    Ok(())
}

/// Successors, coded against the mask that they succeed.
pub fn deltas(input: &Input) -> Outcome<()> {
    heading("Deltas: payload against that of the same mask in full");
    let mut by_start: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for child in &input.trained {
        let Some(start) = &child.start else { continue };
        let parent = input
            .first()
            .find(|parent| {
                (&parent.network, &parent.site, &parent.recipe)
                    == (&child.network, &child.site, &child.recipe)
            })
            .ok_or(format!("the list has no parent of {}", child.name))?;
        let coding = Coding {
            level: Level::Best,
            parent: Some(&parent.mask),
            prior: None,
        };
        let ratio = payload(child, &child.mask, &coding)? / payload(child, &child.mask, &at(Level::Best))?;
        let flips = child.mask.flips_against(&parent.mask) as f64;
        figure(&format!("delta/{}/flips", child.name), flips, "weights");
        figure(&format!("delta/{}/vs_full", child.name), ratio, "ratio");
        by_start.entry(start).or_default().push(ratio);
    }
    for (start, ratios) in by_start {
        if let Some(mean) = mean(&ratios) {
            figure(&format!("delta/{start}_vs_full"), mean, "ratio");
        }
    }
    Ok(())
}

/// Masks coded with a population prior of other sites: none that shares a
/// picture with the mask's own site teaches it, and every site counts once.
pub fn priors(input: &Input, results: &mut Results) -> Outcome<()> {
    heading("Population prior, learned without the site's own masks");
    for own in input.first() {
        let others: Vec<_> = input
            .first()
            .filter(|other| {
                (&other.network, &other.recipe) == (&own.network, &own.recipe) && other.site != own.site
            })
            .map(|other| &other.mask)
            .collect();
        if others.is_empty() {
            println!(
                "{}: there is no mask of another site over the same base",
                own.name
            );
            continue;
        }
        let prior = Prior::learn(&own.base, &others);
        figure(&format!("prior/{}/masks", own.name), others.len() as f64, "masks");
        figure(
            &format!("prior/{}/bytes", own.name),
            prior.encode()?.len() as f64,
            "bytes",
        );
        let coding = Coding {
            level: Level::Best,
            parent: None,
            prior: Some(&prior),
        };
        let bytes = payload(own, &own.mask, &coding)?;
        let group = format!("best/{}-prior/size_vs_layer_entropy", own.recipe);
        let ratio = bytes / peers::layer_entropy(&own.mask);
        figure(
            &format!("best/{}-prior/size_vs_layer_entropy", own.name),
            ratio,
            "ratio",
        );
        results.add(vec![(group, ratio)]);
    }
    Ok(())
}
