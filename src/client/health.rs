//! `/v1/sites/{site}/health`

use reqwest::Method;

use super::{Client, ClientError};
use crate::domain::SiteName;
use crate::wire::v1::health::{Health, HealthQuery};

impl Client {
    /// What may be wrong with a site's images.
    pub async fn health(&self, site: &SiteName, query: &HealthQuery) -> Result<Health, ClientError> {
        let path = ["sites", site.as_str(), "health"];
        self.call(Method::GET, &path).query(query).answer().await
    }
}
