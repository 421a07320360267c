//! Problem documents (RFC 9457): what every refused request is answered.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of a problem document.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDocument {
    /// `about:blank`: `code` tells problems apart.
    #[serde(rename = "type", default = "blank")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A stable snake_case code, such as `no_such_mask`; the same on gRPC.
    pub code: String,
    /// One sentence that says what is wrong and what to do.
    pub detail: String,
    /// The request's identifier, to be named in a question to the operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

fn blank() -> String {
    "about:blank".to_owned()
}
