//! What the server tells of itself: logs and metrics.

pub mod logs;
pub mod metrics;

pub use metrics::Metrics;
