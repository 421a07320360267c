//! What the demo found, as a document for programs and as a table for people.

use serde::Serialize;

use super::DemoError;
use crate::cli::printer;
use crate::domain::Digest;

/// The demo's findings.
#[derive(Debug, Serialize)]
pub struct Document {
    /// The version of Katagami.
    pub version: &'static str,
    /// The sites.
    pub sites: Vec<Finding>,
}

/// What the demo found at one site. What a job without a mask cannot have is `null`.
#[derive(Debug, Serialize, Default)]
pub struct Finding {
    /// The site.
    pub site: String,
    /// Images accepted.
    pub images: u64,
    /// Images rejected.
    pub rejected: u64,
    /// Steps trained.
    pub steps: u64,
    /// Weights dropped.
    pub flips: u64,
    /// Seconds trained and judged.
    pub seconds: f64,
    /// The first loss.
    pub loss_first: Option<f64>,
    /// The last loss.
    pub loss_last: Option<f64>,
    /// Bytes of the artefact, which is what a device pulls.
    pub mask_bytes: Option<u64>,
    /// Bytes of its bits and statistics alone.
    pub mask_payload_bytes: Option<u64>,
    /// Bytes of the base's file.
    pub base_bytes: u64,
    /// `passed`, `held`, `refused` or `no improvement found`.
    pub gate: String,
    /// Why it did not pass.
    pub gate_reasons: Vec<String>,
    /// Whether it was released by an override, to channel `demo`.
    #[serde(rename = "override")]
    pub overrides: bool,
    /// Balanced accuracy of nearest neighbours on the test split: the base …
    pub knn_base: Option<f64>,
    /// … the mask …
    pub knn_mask: Option<f64>,
    /// … and the difference's 95 % interval.
    pub knn_difference_ci: Option<[f64; 2]>,
    /// Balanced accuracy of the linear probe on the test split: the base …
    pub probe_base: Option<f64>,
    /// … the mask …
    pub probe_mask: Option<f64>,
    /// … and a random mask of the same density.
    pub probe_random_mask: Option<f64>,
    /// The digest of the masked weights that the artefact promises.
    pub weights_digest_header: Option<Digest>,
    /// The digest of the weights in the edge's file, computed anew.
    pub weights_digest_edge: Option<Digest>,
    /// Whether they are equal.
    pub edge_digest_ok: Option<bool>,
    /// The edge's file.
    pub edge_model: Option<String>,
}

impl Document {
    /// An error if an edge has other weights than it was promised.
    pub fn check(&self) -> Result<(), DemoError> {
        let wrong = self.sites.iter().find(|site| site.edge_digest_ok == Some(false));
        match wrong.map(|site| (site, site.weights_digest_header, site.weights_digest_edge)) {
            Some((site, Some(expected), Some(given))) => Err(DemoError::OtherWeights {
                site: site.site.clone(),
                expected,
                given,
            }),
            _ => Ok(()),
        }
    }

    /// Prints the one table: a column for each site.
    pub fn print(&self) {
        let column = |finding: &Finding| finding.cells();
        let columns: Vec<_> = self.sites.iter().map(column).collect();
        let rows: Vec<Vec<String>> = (LABELS.iter().enumerate())
            .map(|(row, label)| {
                let cells = columns.iter().map(|column| column[row].clone());
                std::iter::once((*label).to_owned()).chain(cells).collect()
            })
            .collect();
        printer::columns(&rows);
        for finding in &self.sites {
            for reason in &finding.gate_reasons {
                printer::line(&format!(
                    "{}: {} by the gate: {reason}",
                    finding.site, finding.gate
                ));
            }
        }
    }
}

const LABELS: [&str; 17] = [
    "SITE",
    "images",
    "rejected",
    "steps",
    "weights dropped",
    "time",
    "loss",
    "base",
    "mask",
    "mask, bits alone",
    "gate",
    "released to",
    "neighbours, base -> mask",
    "  difference, 95 %",
    "probe, base -> mask",
    "probe, random mask",
    "weights on the edge",
];

impl Finding {
    fn cells(&self) -> [String; LABELS.len()] {
        let none = || "-".to_owned();
        let bytes = |count: Option<u64>| count.map_or_else(none, printer::bytes);
        let arrow = |from: Option<f64>, to: Option<f64>| match (from, to) {
            (Some(from), Some(to)) => format!("{from:.3} -> {to:.3}"),
            (Some(from), None) => format!("{from:.3}"),
            _ => none(),
        };
        let interval = |[lower, upper]: [f64; 2]| format!("{lower:+.3} to {upper:+.3}");
        let channel = match (self.edge_model.is_some(), self.overrides) {
            (_, true) => "demo (override)".to_owned(),
            (true, false) => "stable".to_owned(),
            (false, false) => "nothing".to_owned(),
        };
        let edge = match self.edge_digest_ok {
            Some(true) => "as promised, bit for bit".to_owned(),
            Some(false) => "WRONG".to_owned(),
            None => "the plain base".to_owned(),
        };
        [
            self.site.clone(),
            self.images.to_string(),
            self.rejected.to_string(),
            self.steps.to_string(),
            self.flips.to_string(),
            format!("{:.0} s", self.seconds),
            arrow(self.loss_first, self.loss_last),
            printer::bytes(self.base_bytes),
            bytes(self.mask_bytes),
            bytes(self.mask_payload_bytes),
            self.gate.clone(),
            channel,
            arrow(self.knn_base, self.knn_mask),
            self.knn_difference_ci.map_or_else(none, interval),
            arrow(self.probe_base, self.probe_mask),
            self.probe_random_mask
                .map_or_else(none, |value| format!("{value:.3}")),
            edge,
        ]
    }
}
