//! `/v1/sites`

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::gate::GateSettings;
use crate::domain::report::Kpi;
use crate::domain::{MaskVersion, SiteName, Timestamp, View};

/// Makes a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSite {
    /// Its name; cannot be changed.
    pub name: SiteName,
    /// Its name for people. Default: `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Which figure its masks are judged by. Default: the linear probe.
    #[serde(default)]
    pub kpi: Kpi,
    /// What its gate asks for.
    #[serde(default)]
    pub gate: GateSettings,
    /// How its pictures become network input. Default: the whole picture, as the base has it.
    #[serde(default, skip_serializing_if = "View::is_default")]
    pub view: View,
}

/// Changes a site; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SiteChange {
    /// Its name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Which figure its masks are judged by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kpi: Option<Kpi>,
    /// What its gate asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateSettings>,
    /// Whether its masks may be learned from for population priors. Its own engineers may say so, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lends_masks: Option<bool>,
    /// How its pictures become network input, for jobs to come; `{}`: the whole picture, as the base has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<View>,
}

impl SiteChange {
    /// Whether it changes only what is the site's own to say: whether it lends its masks.
    pub fn is_of_the_site(&self) -> bool {
        let own = Self {
            lends_masks: self.lends_masks,
            ..Self::default()
        };
        self.lends_masks.is_some() && *self == own
    }
}

/// A site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Site {
    /// Its name.
    pub name: SiteName,
    /// Its name for people.
    pub title: String,
    /// Which figure its masks are judged by.
    pub kpi: Kpi,
    /// What its gate asks for.
    pub gate: GateSettings,
    /// Whether its masks may be learned from for population priors. At first: no.
    pub lends_masks: bool,
    /// How its pictures become network input.
    pub view: View,
    /// When it was made.
    pub created_at: Timestamp,
    /// Images that are there.
    pub images: u64,
    /// Jobs that wait or run.
    pub open_jobs: u64,
    /// Masks.
    pub masks: u64,
    /// What channel `stable` points at.
    pub stable: Option<MaskVersion>,
    /// Devices enrolled.
    pub devices: u64,
}
