//! `katagami config …`: what the settings are, where they come from, what they mean.

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

use super::printer;
use super::serve::Settings;
use crate::config::{
    Config, ConfigError, IntakeConfig, Loaded, SchedulerConfig, ServerConfig, StorageConfig, TelemetryConfig,
    WorkersConfig, sources,
};

/// Show and check the server's settings
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every setting, where it comes from, and with --docs what it means
    Show {
        /// Explain each setting
        #[arg(long)]
        docs: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Check the settings, and answer with the first thing that is wrong
    Check,
}

/// Runs a `config` command.
pub fn run(args: &ConfigArgs) -> Result<(), ConfigError> {
    let loaded = args.settings.sources().load()?;
    match args.command {
        ConfigCommand::Show { docs: _, json: true } => printer::json(&document(&loaded)),
        ConfigCommand::Show { docs, json: false } => show(&loaded, docs),
        ConfigCommand::Check => printer::line("the settings are good"),
    }
    Ok(())
}

/// The settings as sections of keys. A password in the database's address stays hidden.
fn values(config: &Config) -> Map<String, Value> {
    let mut shown = config.clone();
    shown.storage.database_url = shown.storage.database_url.as_deref().map(without_password);
    match serde_json::to_value(shown) {
        Ok(Value::Object(sections)) => sections,
        _ => Map::new(),
    }
}

/// `scheme://user:password@rest` without the password.
fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        let (credentials, place) = rest.rsplit_once('@')?;
        let (user, _) = credentials.split_once(':')?;
        Some(format!("{scheme}://{user}:…@{place}"))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}

fn document(loaded: &Loaded) -> Value {
    let mut settings = Map::new();
    each(loaded, |section, key, value| {
        let name = format!("{section}.{key}");
        let entry = json!({
            "value": value,
            "origin": loaded.origins.get(&name).map(ToString::to_string),
            "variable": sources::variable(section, key),
            "meaning": meaning(section, key),
        });
        settings.insert(name, entry);
    });
    Value::Object(settings)
}

fn each(loaded: &Loaded, mut visit: impl FnMut(&str, &str, &Value)) {
    for (section, keys) in values(&loaded.config) {
        for (key, value) in keys.as_object().into_iter().flatten() {
            visit(&section, key, value);
        }
    }
}

/// As a file of settings, so that it can be used as one.
fn show(loaded: &Loaded, docs: bool) {
    let mut current = String::new();
    each(loaded, |section, key, value| {
        if section != current {
            let gap = if current.is_empty() { "" } else { "\n" };
            printer::line(&format!("{gap}[{section}]"));
            section.clone_into(&mut current);
        }
        if docs {
            printer::line(&format!("# {}", meaning(section, key)));
        }
        let origin = loaded.origins.get(&format!("{section}.{key}"));
        let origin = origin.map(ToString::to_string).unwrap_or_default();
        let line = match value {
            Value::Null => format!("# {key} = "),
            value => format!("{key} = {value}"),
        };
        printer::line(&format!("{line:<44}  # {origin}"));
    });
}

/// What a key means: its documentation in `config`, on one line.
fn meaning(section: &str, key: &str) -> String {
    let schema = match section {
        "server" => ServerConfig::schema(),
        "storage" => StorageConfig::schema(),
        "intake" => IntakeConfig::schema(),
        "scheduler" => SchedulerConfig::schema(),
        "workers" => WorkersConfig::schema(),
        _ => TelemetryConfig::schema(),
    };
    let document = serde_json::to_value(schema).unwrap_or_default();
    let description = document["properties"][key]["description"].as_str();
    description
        .unwrap_or_default()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn every_setting_says_what_it_means() {
        let loaded = Sources::default().load().unwrap();
        each(&loaded, |section, key, _| {
            assert!(
                !meaning(section, key).is_empty(),
                "{section}.{key} has no documentation"
            );
        });
    }

    #[test]
    fn a_password_stays_hidden() {
        let shown = without_password("postgres://katagami:hunter2@db/katagami");
        assert_eq!(shown, "postgres://katagami:…@db/katagami");
        assert_eq!(without_password("sqlite:catalog.sqlite"), "sqlite:catalog.sqlite");
    }
}
