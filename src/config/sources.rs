//! Where settings come from: defaults < file < environment < arguments.
//!
//! The variable of `section.some-key` is `KATAGAMI_SECTION_SOME_KEY`. Variables
//! that name no setting are ignored: Kubernetes puts some of that shape
//! (`KATAGAMI_SERVER_PORT`) into every pod.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::Config;
use crate::domain::{ErrorKind, Problem};

/// Why settings were refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A key is unknown or its value is of the wrong kind.
    #[error("{message}; `katagami config show` lists the settings")]
    Wrong {
        /// What, and where it was found.
        message: String,
    },
    /// The file is not there.
    #[error("there is no file `{}`; give another one with `--config`", .0.display())]
    NoFile(PathBuf),
    /// Only one of certificate and key was given.
    #[error("TLS needs both `--tls-cert` and `--tls-key`")]
    HalfOfTls,
    /// Tokens would cross a network in the clear.
    #[error(
        "{listen} can be reached from other machines: give `--tls-cert` and `--tls-key`, or say `--behind-proxy` if something in front speaks TLS"
    )]
    Exposed {
        /// The address.
        listen: SocketAddr,
    },
    /// A setting that must be something is nothing.
    #[error("`{0}` is too small; leave it out for its default")]
    Zero(&'static str),
}

impl Problem for ConfigError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoFile(_) => ErrorKind::NotFound,
            _ => ErrorKind::Invalid,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Wrong { .. } => "config_wrong",
            Self::NoFile(_) => "config_no_file",
            Self::HalfOfTls => "config_half_of_tls",
            Self::Exposed { .. } => "config_exposed",
            Self::Zero(_) => "config_too_small",
        }
    }
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The file given with `--config`.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// An argument of the command.
    Argument,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(variable) => f.write_str(variable),
            Self::Argument => f.write_str("argument"),
        }
    }
}

/// What to read settings from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file, TOML.
    pub file: Option<PathBuf>,
    /// The environment: names and values. An argument, so that tests share none.
    pub environment: Vec<(String, String)>,
    /// What the command line set: `("server.listen", "127.0.0.1:0")`.
    pub arguments: Vec<(&'static str, serde_json::Value)>,
}

/// Settings, and where each comes from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where each comes from, by `section.key`.
    pub origins: BTreeMap<String, Origin>,
}

/// Values under the name that errors call them by.
struct Layer {
    name: String,
    values: Dict,
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

impl Sources {
    /// A source with the process's environment and `file`.
    pub fn of_process(file: Option<PathBuf>) -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self {
            file,
            environment: std::env::vars_os().filter_map(text).collect(),
            arguments: Vec::new(),
        }
    }

    /// Adds an argument if it was given.
    pub fn argument(&mut self, key: &'static str, value: Option<impl Into<serde_json::Value>>) {
        self.arguments.extend(value.map(|value| (key, value.into())));
    }

    /// Reads, merges and checks the settings.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Config::default()));
        let mut origins: BTreeMap<String, Origin> = keys(&Config::default())
            .into_iter()
            .map(|(section, key)| (format!("{section}.{key}"), Origin::Default))
            .collect();
        if let Some(path) = &self.file {
            if !path.is_file() {
                return Err(ConfigError::NoFile(path.clone()));
            }
            let file = Figment::from(Toml::file_exact(path));
            for (key, origin) in &mut origins {
                if file.find_value(key).is_ok() {
                    *origin = Origin::File(path.clone());
                }
            }
            figment = figment.merge(Toml::file_exact(path));
        }
        for (section, key) in keys(&Config::default()) {
            let variable = variable(&section, &key);
            if let Some((_, value)) = self.environment.iter().find(|(name, _)| *name == variable) {
                // Infallible: what is no number, boolean or list is text.
                let value: Value = value.parse().unwrap_or_else(|never| match never {});
                figment = figment.merge(layer(variable.clone(), &section, &key, value));
                origins.insert(format!("{section}.{key}"), Origin::Environment(variable));
            }
        }
        for (name, value) in &self.arguments {
            let (section, key) = name.split_once('.').expect("arguments are named `section.key`");
            let value = Value::serialize(value).expect("JSON is a value");
            figment = figment.merge(layer("the arguments".to_owned(), section, key, value));
            origins.insert((*name).to_owned(), Origin::Argument);
        }
        let wrong = |error: figment::Error| ConfigError::Wrong {
            message: error
                .into_iter()
                .next()
                .map(|error| error.to_string().replace("default.", ""))
                .unwrap_or_default(),
        };
        let config: Config = figment.extract().map_err(wrong)?;
        config.check()?;
        Ok(Loaded { config, origins })
    }
}

fn layer(name: String, section: &str, key: &str, value: Value) -> Layer {
    let inner = Dict::from([(key.to_owned(), value)]);
    Layer {
        name,
        values: Dict::from([(section.to_owned(), Value::from(inner))]),
    }
}

/// The environment variable of a setting.
pub fn variable(section: &str, key: &str) -> String {
    format!("KATAGAMI_{section}_{}", key.replace('-', "_")).to_uppercase()
}

/// Every section and key, in the order of the structures.
fn keys(config: &Config) -> Vec<(String, String)> {
    let document = serde_json::to_value(config).expect("settings are plain data");
    let sections = document.as_object().cloned().unwrap_or_default();
    sections
        .into_iter()
        .flat_map(|(section, values)| {
            let keys = values.as_object().cloned().unwrap_or_default();
            keys.into_iter().map(move |(key, _)| (section.clone(), key))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(file: Option<PathBuf>, environment: &[(&str, &str)]) -> Sources {
        Sources {
            file,
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            arguments: Vec::new(),
        }
    }

    #[test]
    fn arguments_win_over_environment_over_file_over_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("katagami.toml");
        std::fs::write(
            &file,
            "[scheduler]\nlease = \"90s\"\nmax-attempts = 5\n[workers]\ncount = 4\n",
        )
        .unwrap();
        let mut sources = sources(
            Some(file.clone()),
            &[
                ("KATAGAMI_SCHEDULER_MAX_ATTEMPTS", "7"),
                ("KATAGAMI_WORKERS_COUNT", "2"),
            ],
        );
        sources.argument("workers.count", Some(0));
        let Loaded { config, origins } = sources.load().unwrap();
        assert_eq!(config.scheduler.lease.as_secs(), 90);
        assert_eq!(config.scheduler.max_attempts.get(), 7);
        assert_eq!(config.workers.count, Some(0));
        assert_eq!(origins["scheduler.lease"], Origin::File(file));
        assert_eq!(
            origins["scheduler.max-attempts"],
            Origin::Environment("KATAGAMI_SCHEDULER_MAX_ATTEMPTS".to_owned())
        );
        assert_eq!(origins["workers.count"], Origin::Argument);
        assert_eq!(origins["server.listen"], Origin::Default);
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("katagami.toml");
        std::fs::write(&file, "[scheduler]\nlaese = \"90s\"\n").unwrap();
        let error = sources(Some(file), &[]).load().unwrap_err().to_string();
        assert!(
            error.contains("laese") && error.contains("katagami.toml"),
            "{error}"
        );
    }

    #[test]
    fn variables_that_name_no_setting_are_ignored() {
        let loaded = sources(
            None,
            &[
                ("KATAGAMI_SERVER_PORT", "tcp://10.0.0.1:80"),
                ("KATAGAMI_SERVER", "x"),
            ],
        );
        assert!(loaded.load().is_ok());
    }

    #[test]
    fn an_open_address_needs_tls_or_a_proxy() {
        let open = ("KATAGAMI_SERVER_LISTEN", "0.0.0.0:8750");
        assert!(matches!(
            sources(None, &[open]).load(),
            Err(ConfigError::Exposed { .. })
        ));
        assert!(
            sources(None, &[open, ("KATAGAMI_SERVER_BEHIND_PROXY", "true")])
                .load()
                .is_ok()
        );
        let half = ("KATAGAMI_SERVER_TLS_CERT", "cert.pem");
        assert!(matches!(
            sources(None, &[open, half]).load(),
            Err(ConfigError::HalfOfTls)
        ));
    }
}
