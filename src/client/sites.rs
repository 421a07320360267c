//! `/v1/sites`

use reqwest::Method;

use super::{Client, ClientError};
use crate::domain::SiteName;
use crate::wire::v1::sites::{NewSite, Site, SiteChange};

impl Client {
    /// Makes a site.
    pub async fn create_site(&self, site: &NewSite) -> Result<Site, ClientError> {
        self.post(&["sites"], site).await
    }

    /// All sites that the token may see.
    pub async fn all_sites(&self) -> Result<Vec<Site>, ClientError> {
        self.every_page(&["sites"], &()).await
    }

    /// A site.
    pub async fn site(&self, site: &SiteName) -> Result<Site, ClientError> {
        self.get(&["sites", site.as_str()]).await
    }

    /// Changes a site. What is absent stays, so sending it twice is as good as once.
    pub async fn change_site(&self, site: &SiteName, change: &SiteChange) -> Result<Site, ClientError> {
        let call = self.call(Method::PATCH, &["sites", site.as_str()]);
        call.json(change).answer().await
    }
}
