//! `katagami site …`: the factories of a server.

use clap::{ArgGroup, Args, Subcommand};

use super::printer;
use super::remote::{CommandError, Remote};
use crate::client::Client;
use crate::domain::gate::GateSettings;
use crate::domain::report::Kpi;
use crate::domain::{SiteName, View};
use crate::wire::v1::sites::{NewSite, Site, SiteChange};

/// Make sites (factories), look at them, change them
#[derive(Debug, Args)]
pub struct SiteArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: SiteCommand,
}

#[derive(Debug, Subcommand)]
enum SiteCommand {
    /// Make a site
    Create(Create),
    /// Change a site's name for people, whether it lends its masks, or what its jobs to come are
    /// judged by and see; masks that are there stay what they are
    Set(Set),
    /// List the sites
    List,
    /// Show a site, and what to do there next
    Show {
        /// The site
        site: SiteName,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// Its name, such as osaka-2; cannot be changed later
    site: SiteName,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").args(["title", "kpi", "margin", "view", "lend_masks"]).required(true).multiple(true))]
struct Set {
    /// The site
    site: SiteName,
    #[command(flatten)]
    settings: Settings,
    /// Whether population priors may be learned from its masks: sums over the rows and columns of three
    /// sites' masks or more, which every site's devices may fetch
    #[arg(long, value_name = "true|false")]
    lend_masks: Option<bool>,
}

#[derive(Debug, Args)]
struct Settings {
    /// Its name for people
    #[arg(long)]
    title: Option<String>,
    /// Which figure its masks are judged by: probe (a linear one, the default), knn (nearest
    /// neighbours), few-shot (a probe of a few pictures a class), or your own as JSON or @FILE
    ///
    /// {"name": "recall-at-false-alarm", "normal": "ok", "rate": 0.05} is the share of defects found
    /// when at most 5 % of class `ok` raise an alarm. {"name": "cost", "costs": {"crack": {"ok": 20},
    /// "ok": {"crack": 1}}} is the cost of an image: 20 for a crack taken for good, 1 for a false alarm.
    #[arg(long, value_parser = super::kpi)]
    kpi: Option<Kpi>,
    /// How much worse than the base a mask may be and still count as no worse. Default: 0.01, a
    /// hundredth of the figure
    #[arg(long, value_parser = margin)]
    margin: Option<f64>,
    /// How its pictures become network input: a region, tiles, a size, a bit depth; JSON, or a file
    /// with JSON or TOML (docs/views.md). Default, and with {}: the whole picture, as the base has it
    #[arg(long, value_name = "VIEW", value_parser = super::view)]
    view: Option<View>,
}

fn margin(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(margin) if (0.0..1.0).contains(&margin) => Ok(margin),
        _ => Err("use a number from 0 to 1".to_owned()),
    }
}

/// Runs a `site` command.
pub async fn run(args: SiteArgs) -> Result<(), CommandError> {
    let client = args.remote.connect()?;
    match args.command {
        SiteCommand::Create(create) => {
            let Settings {
                title,
                kpi,
                margin,
                view,
            } = create.settings;
            let mut gate = GateSettings::default();
            gate.margin = margin.unwrap_or(gate.margin);
            let site = client
                .create_site(&NewSite {
                    name: create.site,
                    title,
                    kpi: kpi.unwrap_or_default(),
                    gate,
                    view: view.unwrap_or_default(),
                })
                .await?;
            args.remote.answer(&site, || {
                printer::line(&format!("site `{}` is there", site.name));
                printer::next(&format!("katagami images submit {} FOLDER", site.name));
            });
        }
        SiteCommand::Set(set) => {
            let site = changed(&client, set).await?;
            let runs_another = runs_another_view(&client, &site).await?;
            args.remote.answer(&site, || {
                show(&site);
                if let Some(said) = runs_another {
                    printer::note(&said);
                }
            });
        }
        SiteCommand::List => {
            let sites = client.all_sites().await?;
            args.remote.answer(&sites, || list(&sites));
        }
        SiteCommand::Show { site } => {
            let site = client.site(&site).await?;
            args.remote.answer(&site, || show(&site));
        }
    }
    Ok(())
}

async fn changed(client: &Client, set: Set) -> Result<Site, CommandError> {
    let Settings {
        title,
        kpi,
        margin,
        view,
    } = set.settings;
    let gate = match margin {
        // What the gate asks for is changed as a whole.
        Some(margin) => Some(GateSettings {
            margin,
            ..client.site(&set.site).await?.gate
        }),
        None => None,
    };
    let change = SiteChange {
        title,
        kpi,
        gate,
        lends_masks: set.lend_masks,
        view,
    };
    Ok(client.change_site(&set.site, &change).await?)
}

/// What it means for devices and for the next training that the mask on `stable` has not the site's view.
async fn runs_another_view(client: &Client, site: &Site) -> Result<Option<String>, CommandError> {
    let Some(version) = site.stable else {
        return Ok(None);
    };
    let view = client.mask(&site.name, version).await?.view;
    let said = || {
        format!(
            "mask {version} on channel `stable` was trained with another view ({view}) and keeps it; \
             the next training starts from the base"
        )
    };
    Ok((view != site.view).then(said))
}

fn list(sites: &[Site]) {
    if sites.is_empty() {
        return printer::line("no site yet; make one with `katagami site create NAME`");
    }
    let row = |site: &Site| {
        [
            site.name.to_string(),
            site.title.clone(),
            site.images.to_string(),
            site.open_jobs.to_string(),
            site.masks.to_string(),
            printer::or_dash(site.stable),
            site.devices.to_string(),
        ]
    };
    let rows: Vec<_> = sites.iter().map(row).collect();
    printer::table(
        [
            "SITE",
            "TITLE",
            "IMAGES",
            "OPEN JOBS",
            "MASKS",
            "STABLE",
            "DEVICES",
        ],
        &rows,
    );
}

fn show(site: &Site) {
    let name = &site.name;
    let stable = match site.stable {
        Some(version) => format!("mask {version}"),
        None => "no mask: devices run the plain base".to_owned(),
    };
    printer::facts(&[
        ("site", name.to_string()),
        ("title", site.title.clone()),
        ("made", site.created_at.to_string()),
        ("images", site.images.to_string()),
        ("judged by", super::kpi_for_people(&site.kpi)),
        ("margin", site.gate.margin.to_string()),
        (
            "lends masks",
            (if site.lends_masks { "yes" } else { "no" }).to_owned(),
        ),
        ("view", site.view.to_string()),
        ("open jobs", site.open_jobs.to_string()),
        ("masks", site.masks.to_string()),
        ("stable", stable),
        ("devices", site.devices.to_string()),
    ]);
    printer::next(&match (site.images, site.open_jobs, site.masks, site.stable) {
        (0, ..) => format!("katagami images submit {name} FOLDER"),
        (_, 0, 0, _) => format!("katagami job start {name} --watch"),
        (_, _, 0, _) => format!("katagami job list {name}"),
        (.., None) => format!("katagami mask list {name}"),
        (.., Some(version)) => format!("katagami mask report {name} {version}"),
    });
}
