//! `/v1/sites/{site}/jobs`, `/v1/jobs/{id}`

use super::{Client, ClientError};
use crate::domain::report::Report;
use crate::domain::{JobId, SiteName};
use crate::wire::v1::jobs::{Job, JobLogs, JobQuery, NewJob};

impl Client {
    /// Asks for a training.
    pub async fn create_job(&self, site: &SiteName, job: &NewJob) -> Result<Job, ClientError> {
        self.post(&["sites", site.as_str(), "jobs"], job).await
    }

    /// All jobs of a site that `query` asks for; its cursor and limit are not looked at.
    pub async fn all_jobs(&self, site: &SiteName, query: &JobQuery) -> Result<Vec<Job>, ClientError> {
        let query = JobQuery {
            state: query.state,
            ..JobQuery::default()
        };
        self.every_page(&["sites", site.as_str(), "jobs"], &query).await
    }

    /// A job.
    pub async fn job(&self, job: JobId) -> Result<Job, ClientError> {
        self.get(&["jobs", &job.to_string()]).await
    }

    /// Cancels a job; a running attempt stops at its next heartbeat.
    pub async fn cancel_job(&self, job: JobId) -> Result<Job, ClientError> {
        self.post(&["jobs", &job.to_string(), "cancel"], &serde_json::json!({}))
            .await
    }

    /// What the attempts of a job wrote.
    pub async fn job_logs(&self, job: JobId) -> Result<JobLogs, ClientError> {
        self.get(&["jobs", &job.to_string(), "logs"]).await
    }

    /// The report of an ended job, also of one that found no improvement.
    pub async fn job_report(&self, job: JobId) -> Result<Report, ClientError> {
        self.get(&["jobs", &job.to_string(), "report"]).await
    }
}
