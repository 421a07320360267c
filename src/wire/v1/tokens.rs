//! `/v1/tokens`, `/v1/whoami`, `/v1/audit`

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::permission::Role;
use crate::domain::{DeviceId, SiteName, Timestamp, TokenId};

/// Makes a token. Tokens of devices are made by enrolling the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What it is for, for the audit trail.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The site, for role `site`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<SiteName>,
    /// When it ends. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A new token with its secret, which is shown this once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IssuedToken {
    /// The token.
    pub token: Token,
    /// What goes after `Authorization: Bearer`.
    pub secret: String,
}

/// A token without its secret, which the server does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its identifier.
    pub id: TokenId,
    /// What it is for.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The site that it is bound to.
    pub site: Option<SiteName>,
    /// The device that it belongs to.
    pub device: Option<DeviceId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Whom a token belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The token's name.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The site that it is bound to.
    pub site: Option<SiteName>,
    /// The server's version.
    pub server_version: String,
}

/// One entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Counts up.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: name and role of the token.
    pub actor: String,
    /// What, as a past participle: `channel_moved`, `job_created` …
    pub event: String,
    /// On which site.
    pub site: Option<SiteName>,
    /// What exactly.
    #[schema(value_type = Object)]
    pub details: serde_json::Value,
}
