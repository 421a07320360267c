//! Metrics in the text format that Prometheus reads.
//!
//! Counters belong to this process; the gauges of the queue are the catalog's
//! and are set just before somebody reads them.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Which requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The method.
    pub method: String,
    /// The route's pattern, never the path: its number is bounded.
    pub route: String,
    /// The status.
    pub status: u16,
}

/// Which images.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FateLabels {
    /// `accepted`, `duplicate` or `rejected`.
    pub fate: &'static str,
}

/// All metrics of a server.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Seconds until a request's answer began.
    pub latency: Histogram,
    /// Images received, by what became of them.
    pub images: Family<FateLabels, Counter>,
    /// Artefacts sent, whole or in part.
    pub mask_downloads: Counter,
    /// Questions of devices that were answered "unchanged".
    pub not_modified: Counter,
    /// Jobs that wait.
    pub queued_jobs: Gauge<u64, AtomicU64>,
    /// Jobs that run.
    pub running_jobs: Gauge<u64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("katagami"),
            requests: Family::default(),
            latency: Histogram::new(exponential_buckets(0.000_5, 4.0, 10)),
            images: Family::default(),
            mask_downloads: Counter::default(),
            not_modified: Counter::default(),
            queued_jobs: Gauge::default(),
            running_jobs: Gauge::default(),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let registry = &mut self.registry;
        registry.register("requests", "Requests answered", self.requests.clone());
        registry.register(
            "request_seconds",
            "Seconds until an answer began",
            self.latency.clone(),
        );
        registry.register("images", "Images received", self.images.clone());
        registry.register(
            "mask_downloads",
            "Artefacts sent, whole or in part",
            self.mask_downloads.clone(),
        );
        registry.register(
            "mask_not_modified",
            "Questions for a channel's mask answered with 304",
            self.not_modified.clone(),
        );
        registry.register("queued_jobs", "Jobs that wait", self.queued_jobs.clone());
        registry.register("running_jobs", "Jobs that run", self.running_jobs.clone());
        self
    }

    /// All metrics as text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
