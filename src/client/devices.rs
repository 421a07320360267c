//! `/v1/sites/{site}/devices`, `/v1/device`

use reqwest::Method;

use super::{Client, ClientError};
use crate::domain::SiteName;
use crate::wire::v1::devices::{Device, DeviceStatus, EnrolledDevice, Myself, NewDevice};

impl Client {
    /// Enrols a device; its token is in the answer and nowhere else.
    pub async fn enrol_device(
        &self,
        site: &SiteName,
        device: &NewDevice,
    ) -> Result<EnrolledDevice, ClientError> {
        self.post(&["sites", site.as_str(), "devices"], device).await
    }

    /// All devices of a site.
    pub async fn all_devices(&self, site: &SiteName) -> Result<Vec<Device>, ClientError> {
        self.every_page(&["sites", site.as_str(), "devices"], &()).await
    }

    /// The device that the token belongs to.
    pub async fn myself(&self) -> Result<Myself, ClientError> {
        self.get(&["device"]).await
    }

    /// Reports what the token's device runs.
    pub async fn report_status(&self, status: &DeviceStatus) -> Result<(), ClientError> {
        self.call(Method::PUT, &["device", "status"])
            .json(status)
            .done()
            .await
    }
}
