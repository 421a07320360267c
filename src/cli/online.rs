//! The commands that speak to a server.

use clap::Subcommand;

use super::remote::CommandError;
use super::{admin, device, images, job, mask, prior, release, site, snapshot, validation};

/// A command that speaks to a server.
#[derive(Debug, Subcommand)]
pub enum Online {
    /// Make sites (factories) and look at them
    Site(site::SiteArgs),
    /// Submit images to a site, list and delete them
    Images(images::ImagesArgs),
    /// Set and list the labelled pictures that judge a site's masks
    Validation(validation::ValidationArgs),
    /// Freeze lists of images that jobs train on
    Snapshot(snapshot::SnapshotArgs),
    /// Start trainings, watch and cancel them
    Job(job::JobArgs),
    /// Look at masks, their reports and verdicts, and get their files
    Mask(mask::MaskArgs),
    /// Learn population priors from the masks of sites that lend them, and get them
    Prior(prior::PriorArgs),
    /// Release masks to a site's channels, and take them back
    Release(release::ReleaseArgs),
    /// Enrol a site's edge devices, and see what they run
    Device(device::DeviceArgs),
    /// Make and revoke tokens, see workers and the audit trail
    Admin(admin::AdminArgs),
}

impl Online {
    /// Runs the command.
    pub async fn run(self) -> Result<(), CommandError> {
        match self {
            Self::Site(args) => site::run(args).await,
            Self::Images(args) => images::run(args).await,
            Self::Validation(args) => validation::run(args).await,
            Self::Snapshot(args) => snapshot::run(args).await,
            Self::Job(args) => job::run(args).await,
            Self::Mask(args) => mask::run(args).await,
            Self::Prior(args) => prior::run(args).await,
            Self::Release(args) => release::run(args).await,
            Self::Device(args) => device::run(args).await,
            Self::Admin(args) => admin::run(args).await,
        }
    }
}
