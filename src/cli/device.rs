//! `katagami device …`: the edge machines of a site.

use clap::{Args, Subcommand};

use super::printer;
use super::remote::{CommandError, Remote};
use crate::domain::{ChannelName, SiteName};
use crate::wire::v1::devices::{Device, NewDevice};

/// Enrol a site's edge devices, and see what they run
#[derive(Debug, Args)]
pub struct DeviceArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: DeviceCommand,
}

#[derive(Debug, Subcommand)]
enum DeviceCommand {
    /// Enrol a device: prints its token, once, and the command that runs on it
    #[command(visible_alias = "token")]
    Enrol {
        /// The site
        site: SiteName,
        /// The device's name, such as line-a-camera-3
        name: String,
        /// The channel that it follows. Default: stable
        #[arg(long)]
        channel: Option<ChannelName>,
    },
    /// List a site's devices and what they run
    List {
        /// The site
        site: SiteName,
    },
}

/// Runs a `device` command.
pub async fn run(args: DeviceArgs) -> Result<(), CommandError> {
    let client = args.remote.connect()?;
    match args.command {
        DeviceCommand::Enrol { site, name, channel } => {
            let enrolled = client.enrol_device(&site, &NewDevice { name, channel }).await?;
            args.remote.answer(&enrolled, || {
                printer::line(&enrolled.token);
                printer::note(&format!(
                    "This is the token of `{}`, shown this once. On the device, run:\n  \
                     katagami edge run --server {} --token {} --dir /var/lib/katagami",
                    enrolled.device.name,
                    client.server().trim_end_matches('/'),
                    enrolled.token
                ));
            });
        }
        DeviceCommand::List { site } => {
            let devices = client.all_devices(&site).await?;
            args.remote.answer(&devices, || list(&site, &devices));
        }
    }
    Ok(())
}

fn list(site: &SiteName, devices: &[Device]) {
    if devices.is_empty() {
        return printer::line(&format!(
            "no device yet; enrol one with `katagami device enrol {site} NAME`"
        ));
    }
    let row = |device: &Device| {
        let runs = match &device.status {
            None => "not heard of yet".to_owned(),
            Some(status) => match status.mask {
                Some(version) => format!("mask {version}"),
                None => "the plain base".to_owned(),
            },
        };
        let status = device.status.as_ref();
        [
            device.name.clone(),
            device.channel.to_string(),
            runs,
            printer::or_dash(device.last_seen_at),
            printer::or_dash(status.map(|status| &status.agent)),
            status.and_then(|status| status.error.clone()).unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = devices.iter().map(row).collect();
    printer::table(
        ["DEVICE", "CHANNEL", "RUNS", "LAST SEEN", "AGENT", "ERROR"],
        &rows,
    );
}
