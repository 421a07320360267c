//! `katagami release …`: which mask a site's devices run.

use std::str::FromStr;

use clap::{Args, Subcommand};

use super::printer;
use super::remote::{CommandError, Remote};
use crate::client::{Client, ClientError};
use crate::domain::{ChannelName, MaskVersion, SiteName};
use crate::wire::v1::channels::{Channel, ChannelChange, ChannelMove};

/// Release masks to a site's channels, and take them back
#[derive(Debug, Args)]
pub struct ReleaseArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: ReleaseCommand,
}

#[derive(Debug, Subcommand)]
enum ReleaseCommand {
    /// Point a channel at a mask, or at none: then devices run the plain base
    Set {
        /// The site
        site: SiteName,
        /// The channel, such as stable
        channel: ChannelName,
        /// The mask's version, or none
        #[arg(value_name = "VERSION|none")]
        version: Target,
        #[command(flatten)]
        why: Why,
    },
    /// Point a channel back at what it pointed at before its last move
    Back {
        /// The site
        site: SiteName,
        /// The channel
        channel: ChannelName,
        #[command(flatten)]
        why: Why,
    },
    /// Show a channel's moves: who, when, why
    History {
        /// The site
        site: SiteName,
        /// The channel
        channel: ChannelName,
    },
    /// Show where a site's channels point, or one of them
    Show {
        /// The site
        site: SiteName,
        /// The channel. Default: all of them
        channel: Option<ChannelName>,
    },
}

#[derive(Debug, Args)]
struct Why {
    /// Why, for the record; needed for a mask that the gate held or refused, or that was trained
    /// with another view than the site has now
    #[arg(long)]
    reason: Option<String>,
    /// Release a mask that the gate refused (admins only)
    #[arg(long)]
    force: bool,
}

/// Where a channel is to point.
#[derive(Debug, Clone, Copy)]
struct Target(Option<MaskVersion>);

impl FromStr for Target {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self(None)),
            text => match text.parse() {
                Ok(version) => Ok(Self(Some(version))),
                Err(_) => Err("use a mask's version, such as 3, or none"),
            },
        }
    }
}

/// Runs a `release` command.
pub async fn run(args: ReleaseArgs) -> Result<(), CommandError> {
    let client = args.remote.connect()?;
    let remote = args.remote;
    match args.command {
        ReleaseCommand::Set {
            site,
            channel,
            version,
            why,
        } => {
            let change = ChannelChange {
                mask: version.0,
                reason: why.reason,
                force: why.force,
            };
            let moved = set(&client, &site, &channel, &change).await?;
            remote.answer(&moved, || said(&moved));
        }
        ReleaseCommand::Back { site, channel, why } => {
            let history = client.channel_history(&site, &channel).await?;
            let Some(last) = history.first() else {
                return Err(CommandError::NeverMoved { site, channel });
            };
            let change = ChannelChange {
                mask: last.from,
                reason: Some(why.reason.unwrap_or_else(|| back(last))),
                force: why.force,
            };
            let moved = client
                .move_channel(&site, &channel, &change, Some(last.revision))
                .await?;
            remote.answer(&moved, || said(&moved));
        }
        ReleaseCommand::History { site, channel } => {
            let moves = client.channel_history(&site, &channel).await?;
            remote.answer(&moves, || list_moves(&moves));
        }
        ReleaseCommand::Show { site, channel } => {
            let channels = match channel {
                Some(channel) => vec![client.channel(&site, &channel).await?],
                None => client.all_channels(&site).await?,
            };
            remote.answer(&channels, || list_channels(&site, &channels));
        }
    }
    Ok(())
}

/// Moves a channel from where it is now; somebody else's move in between is an error, not lost.
pub async fn set(
    client: &Client,
    site: &SiteName,
    channel: &ChannelName,
    change: &ChannelChange,
) -> Result<Channel, CommandError> {
    let revision = match client.channel(site, channel).await {
        Ok(current) => current.revision,
        // A channel begins with its first move.
        Err(ClientError::Refused {
            code: "no_such_channel",
            ..
        }) => 0,
        Err(error) => return Err(error.into()),
    };
    Ok(client.move_channel(site, channel, change, Some(revision)).await?)
}

fn back(last: &ChannelMove) -> String {
    match last.to {
        Some(version) => format!("back from mask {version}"),
        None => "back from no mask".to_owned(),
    }
}

fn points_at(mask: Option<MaskVersion>) -> String {
    match mask {
        Some(version) => format!("mask {version}"),
        None => "no mask".to_owned(),
    }
}

fn said(channel: &Channel) {
    let Channel { site, name, mask, .. } = channel;
    printer::line(&match mask {
        Some(version) => format!(
            "channel `{name}` of `{site}` points at mask {version}; devices take it at their next question"
        ),
        None => format!("channel `{name}` of `{site}` points at no mask; devices go back to the plain base"),
    });
    printer::note(&format!(
        "next: katagami device list {site}; to take it back: katagami release back {site} {name}"
    ));
}

fn list_moves(moves: &[ChannelMove]) {
    if moves.is_empty() {
        return printer::line("never moved");
    }
    let row = |moved: &ChannelMove| {
        [
            moved.revision.to_string(),
            moved.at.to_string(),
            points_at(moved.from),
            points_at(moved.to),
            if moved.overrides { "override" } else { "" }.to_owned(),
            moved.actor.clone(),
            moved.reason.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = moves.iter().map(row).collect();
    printer::table(["REVISION", "WHEN", "FROM", "TO", "GATE", "WHO", "WHY"], &rows);
}

fn list_channels(site: &SiteName, channels: &[Channel]) {
    if channels.is_empty() {
        return printer::line(&format!(
            "no channel yet; release a mask with `katagami release set {site} stable VERSION`"
        ));
    }
    let row = |channel: &Channel| {
        [
            channel.name.to_string(),
            points_at(channel.mask),
            channel.revision.to_string(),
            printer::or_dash(channel.updated_at),
            printer::or_dash(channel.digest),
        ]
    };
    let rows: Vec<_> = channels.iter().map(row).collect();
    printer::table(["CHANNEL", "POINTS AT", "REVISION", "MOVED", "ARTEFACT"], &rows);
}
