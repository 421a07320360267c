//! When a picture is suspicious.
//!
//! Absolute limits only where a picture is useless whatever the factory: black,
//! white, one flat grey. Everything else is judged against the site's own
//! images, since solar cells under electroluminescence are dark by nature and
//! a milled surface is sharp by nature: an image is found if it is more than
//! [`USUAL`] robust deviations from the site's middle, and far enough in plain
//! figures that a person would see it, so that very even sites are left alone.
//! More than [`MANY`] that part from the others alike are no strays but another
//! camera, line or product, which the site has, too.

use std::collections::HashSet;

use super::alike::near_earlier;
use super::{Finding, FindingCode, Look, Quality, Seen};
use crate::domain::Digest;
use crate::domain::robust::Spread;

/// How many robust deviations from the middle are usual.
const USUAL: f64 = 5.0;
/// Fewest measured images that have a middle worth comparing with.
pub const FEWEST_COMPARED: usize = 20;
/// Greatest share of the images that are strays; a few ([`FEW`]) may always be.
const MANY: f64 = 0.1;
const FEW: usize = 5;
/// The brightest pixels of a black picture, and how far from white the darkest of a white one.
const BLACK: u8 = 12;
/// The most luminances that a flat picture spans.
const FLAT: u8 = 4;

/// What is useless whatever the factory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Useless {
    Black,
    White,
    Flat,
}

impl Useless {
    fn of(quality: &Quality) -> Option<Self> {
        match quality {
            Quality {
                brightest: 0..=BLACK, ..
            } => Some(Self::Black),
            Quality { darkest, .. } if *darkest >= 255 - BLACK => Some(Self::White),
            Quality {
                darkest, brightest, ..
            } if brightest - darkest <= FLAT => Some(Self::Flat),
            _ => None,
        }
    }
}

/// Which side of the middle is suspicious.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Low,
    High,
    Both,
}

/// A figure that is compared with the site's.
struct Figure {
    of: fn(&Seen, &Quality) -> f64,
    side: Side,
    /// How far from the middle an image must be at least.
    least: f64,
    /// The limit and the middle in words that a person can check.
    tell: fn(limit: f64, middle: f64) -> String,
}

/// A finding that is judged by one image's figures.
struct Rule {
    code: FindingCode,
    useless: Option<(Useless, &'static str)>,
    figures: &'static [Figure],
}

const RULES: [Rule; 6] = [
    Rule {
        code: FindingCode::Dark,
        useless: Some((Useless::Black, "nearly black")),
        // Half the light; in octaves, so that dark sites are judged by the same measure.
        figures: &[Figure {
            of: |_, quality| (quality.luminance + 1.0).log2(),
            side: Side::Low,
            least: 1.0,
            tell: |limit, middle| {
                let (limit, middle) = (limit.exp2() - 1.0, middle.exp2() - 1.0);
                format!("mean luminance below {limit:.0} of 255, the site's middle is {middle:.0}")
            },
        }],
    },
    Rule {
        code: FindingCode::Bright,
        useless: Some((Useless::White, "nearly white")),
        // Half the distance from white.
        figures: &[Figure {
            of: |_, quality| (256.0 - quality.luminance).log2(),
            side: Side::Low,
            least: 1.0,
            tell: |limit, middle| {
                let (limit, middle) = (256.0 - limit.exp2(), 256.0 - middle.exp2());
                format!("mean luminance above {limit:.0} of 255, the site's middle is {middle:.0}")
            },
        }],
    },
    Rule {
        code: FindingCode::Clipped,
        useless: None,
        figures: &[Figure {
            of: |_, quality| quality.clipped,
            side: Side::High,
            least: 0.2,
            tell: |limit, middle| {
                let (limit, middle) = (100.0 * limit, 100.0 * middle);
                format!(
                    "more than {limit:.0} % of the pixels black or white, the site's middle is {middle:.0} %"
                )
            },
        }],
    },
    Rule {
        code: FindingCode::Blurred,
        useless: None,
        figures: &[Figure {
            // Detail of a hundredth of the light is none.
            of: |_, quality| (quality.sharpness + 1e-4).log2(),
            side: Side::Low,
            least: 1.5,
            tell: |limit, middle| {
                let times = (middle - limit).exp2();
                format!("less than 1/{times:.1} of the fine detail of the site's middle image")
            },
        }],
    },
    Rule {
        code: FindingCode::LowInformation,
        useless: Some((Useless::Flat, "one flat grey")),
        figures: &[Figure {
            of: |_, quality| quality.entropy,
            side: Side::Low,
            least: 1.5,
            tell: |limit, middle| {
                format!("less than {limit:.1} bits of grey levels, the site's middle is {middle:.1}")
            },
        }],
    },
    Rule {
        code: FindingCode::OddSize,
        useless: None,
        figures: &[
            Figure {
                of: |seen, _| (f64::from(seen.width) * f64::from(seen.height)).log2(),
                side: Side::Both,
                least: 2.0,
                tell: |limit, middle| {
                    let (times, edge) = ((limit - middle).abs().exp2(), (middle / 2.0).exp2());
                    format!(
                        "{times:.0} times more or fewer pixels than the site's middle image ({edge:.0} pixels an edge)"
                    )
                },
            },
            Figure {
                of: |seen, _| (f64::from(seen.width) / f64::from(seen.height)).log2(),
                side: Side::Both,
                least: 0.585,
                tell: |limit, middle| {
                    let (times, shape) = ((limit - middle).abs().exp2(), middle.exp2());
                    format!(
                        "{times:.1} times wider or higher than the site's middle shape of {shape:.2} to 1"
                    )
                },
            },
        ],
    },
];

/// Everything that may be wrong with `images`, which come in the order
/// received. An image can be in several findings; empty ones are left out.
pub fn findings(images: &[Seen]) -> Vec<Finding> {
    let measured: Vec<(&Seen, &Quality)> = images
        .iter()
        .filter_map(|seen| match &seen.look {
            Some(Look::Measured(quality)) => Some((seen, quality)),
            _ => None,
        })
        .collect();
    let mut found = Vec::new();
    found.extend(unreadable(images));
    found.extend(duplicates(&measured));
    found.extend(RULES.iter().filter_map(|rule| rule.judge(&measured)));
    found
}

fn unreadable(images: &[Seen]) -> Option<Finding> {
    let gone = images
        .iter()
        .filter(|seen| matches!(seen.look, Some(Look::Unreadable(_))));
    let explanation = "the stored file can no longer be decoded; delete it and submit it again";
    listed(
        FindingCode::Unreadable,
        explanation.to_owned(),
        gone.map(|seen| seen.digest).collect(),
    )
}

/// Exact duplicates by their pixels; near ones among the rest by their hashes.
/// Flat pictures have hashes of chance, so only pixels tell whether they are the same.
fn duplicates(measured: &[(&Seen, &Quality)]) -> Vec<Finding> {
    let (mut pixels, mut exact, mut others) = (HashSet::new(), Vec::new(), Vec::new());
    for (seen, quality) in measured {
        if !pixels.insert(quality.pixels) {
            exact.push(seen.digest);
        } else if Useless::of(quality).is_none() {
            others.push(*seen);
        }
    }
    let hashes: Vec<_> = others.iter().map(|seen| seen.phash).collect();
    let near = near_earlier(&hashes)
        .into_iter()
        .map(|at| others[at].digest)
        .collect();
    [
        listed(
            FindingCode::ExactDuplicate,
            "the same pixels as an image received before, in another file; the first one is not listed"
                .to_owned(),
            exact,
        ),
        listed(
            FindingCode::NearDuplicate,
            "looks like an image received before (perceptual hash); the first of each family is not listed"
                .to_owned(),
            near,
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn listed(code: FindingCode, explanation: String, images: Vec<Digest>) -> Option<Finding> {
    (!images.is_empty()).then(|| Finding::of(code, explanation, images))
}

impl Rule {
    fn judge(&self, measured: &[(&Seen, &Quality)]) -> Option<Finding> {
        // What is useless is found by that alone: it has no sharpness or size worth comparing.
        let (useless, usable): (Vec<_>, Vec<_>) = measured
            .iter()
            .copied()
            .partition(|(_, quality)| Useless::of(quality).is_some());
        let mut reasons = Vec::new();
        let mut images: Vec<Digest> = Vec::new();
        if let Some((kind, words)) = self.useless {
            let of_kind = useless
                .iter()
                .filter(|(_, quality)| Useless::of(quality) == Some(kind));
            images.extend(of_kind.map(|(seen, _)| seen.digest));
            if !images.is_empty() {
                reasons.push(words.to_owned());
            }
        }
        let mut odd: Vec<(f64, Digest)> = Vec::new();
        for figure in self.figures {
            let (reason, found) = figure.judge(&usable).unzip();
            reasons.extend(reason);
            odd.extend(found.unwrap_or_default());
        }
        odd.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
        let mut known: HashSet<Digest> = HashSet::new();
        images.extend(
            odd.into_iter()
                .map(|(_, digest)| digest)
                .filter(|digest| known.insert(*digest)),
        );
        listed(self.code, reasons.join(", or "), images)
    }
}

impl Figure {
    /// The images beyond the limit with how far they are, and the limit in words; none if there is none.
    fn judge(&self, usable: &[(&Seen, &Quality)]) -> Option<(String, Vec<(f64, Digest)>)> {
        if usable.len() < FEWEST_COMPARED {
            return None;
        }
        let values: Vec<f64> = usable
            .iter()
            .map(|(seen, quality)| (self.of)(seen, quality))
            .collect();
        let spread = Spread::of(&values)?;
        let limit = self.least.max(USUAL * spread.sigma);
        let distance = |value: f64| match self.side {
            Side::Low => spread.median - value,
            Side::High => value - spread.median,
            Side::Both => (value - spread.median).abs(),
        };
        let found: Vec<(f64, Digest)> = usable
            .iter()
            .zip(&values)
            .map(|((seen, _), value)| (distance(*value), seen.digest))
            .filter(|(distance, _)| *distance > limit)
            .collect();
        let strays = 1..=FEW.max((MANY * usable.len() as f64) as usize);
        let end = match self.side {
            Side::Low => spread.median - limit,
            Side::High | Side::Both => spread.median + limit,
        };
        strays
            .contains(&found.len())
            .then(|| ((self.tell)(end, spread.median), found))
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
