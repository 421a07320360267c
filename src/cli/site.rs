//! `katagami site …`: the factories of a server.

use clap::{Args, Subcommand};

use super::printer;
use super::remote::{CommandError, Remote};
use crate::domain::SiteName;
use crate::domain::gate::GateSettings;
use crate::domain::report::Kpi;
use crate::wire::v1::sites::{NewSite, Site, SiteChange};

/// Make sites (factories) and look at them
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
    /// List the sites
    List,
    /// Change a site: its title, and whether it lends its masks
    Change(Change),
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
    /// Its name for people
    #[arg(long)]
    title: Option<String>,
    /// Which figure its masks are judged by: probe (a linear one), knn (nearest neighbours), few-shot
    /// (a probe of a few pictures a class), or your own as JSON or @FILE
    ///
    /// {"name": "recall-at-false-alarm", "normal": "ok", "rate": 0.05} is the share of defects found
    /// when at most 5 % of class `ok` raise an alarm. {"name": "cost", "costs": {"crack": {"ok": 20},
    /// "ok": {"crack": 1}}} is the cost of an image: 20 for a crack taken for good, 1 for a false alarm.
    #[arg(long, default_value = "probe", value_parser = super::kpi)]
    kpi: Kpi,
    /// How much worse than the base a mask may be and still count as no worse. Default: 0.01, a
    /// hundredth of the figure
    #[arg(long, value_parser = margin)]
    margin: Option<f64>,
}

#[derive(Debug, Args)]
struct Change {
    /// The site
    site: SiteName,
    /// Its name for people
    #[arg(long, required_unless_present = "lend_masks")]
    title: Option<String>,
    /// Whether population priors may be learned from its masks: sums over the rows and columns of three
    /// sites' masks or more, which every site's devices may fetch
    #[arg(long, value_name = "true|false")]
    lend_masks: Option<bool>,
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
            let mut gate = GateSettings::default();
            gate.margin = create.margin.unwrap_or(gate.margin);
            let site = client
                .create_site(&NewSite {
                    name: create.site,
                    title: create.title,
                    kpi: create.kpi,
                    gate,
                })
                .await?;
            args.remote.answer(&site, || {
                printer::line(&format!("site `{}` is there", site.name));
                printer::next(&format!("katagami images submit {} FOLDER", site.name));
            });
        }
        SiteCommand::List => {
            let sites = client.all_sites().await?;
            args.remote.answer(&sites, || list(&sites));
        }
        SiteCommand::Change(change) => {
            let wanted = SiteChange {
                title: change.title,
                lends_masks: change.lend_masks,
                ..SiteChange::default()
            };
            let site = client.change_site(&change.site, &wanted).await?;
            args.remote.answer(&site, || show(&site));
        }
        SiteCommand::Show { site } => {
            let site = client.site(&site).await?;
            args.remote.answer(&site, || show(&site));
        }
    }
    Ok(())
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
