//! `katagami admin …`: tokens, workers, the audit trail.

use clap::{Args, Subcommand};

use super::printer;
use super::remote::{CommandError, Remote};
use crate::domain::permission::Role;
use crate::domain::{SiteName, TokenId};
use crate::wire::v1::page::PageQuery;
use crate::wire::v1::tokens::{AuditEntry, IssuedToken, NewToken, Token};
use crate::wire::v1::workers::Worker;

/// Make and revoke tokens, see workers and the audit trail
#[derive(Debug, Args)]
pub struct AdminArgs {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: AdminCommand,
}

#[derive(Debug, Subcommand)]
enum AdminCommand {
    /// Make, list and revoke tokens
    #[command(subcommand)]
    Token(TokenCommand),
    /// List the workers that asked for work lately
    Workers,
    /// Show what was done last, by whom
    Audit {
        /// Most entries
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// Show whom the token in use belongs to
    Whoami,
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Make a token: prints it, once
    Create(Create),
    /// List the tokens, without their secrets
    List,
    /// Revoke a token
    Revoke {
        /// The token's identifier, as `katagami admin token list` shows it
        #[arg(value_name = "TOKEN")]
        id: TokenId,
    },
}

#[derive(Debug, Args)]
struct Create {
    /// What it is for, such as "the cameras of line a"; the audit trail names it so
    name: String,
    /// Its role: admin, operator, auditor, site or worker
    #[arg(long, value_parser = role)]
    role: Role,
    /// The site; needed for role site, and for no other
    #[arg(long)]
    site: Option<SiteName>,
    #[cfg(feature = "server")]
    #[command(flatten)]
    beside: super::offline::Beside,
}

impl Create {
    /// Makes the token, through the server unless told otherwise.
    async fn issue(self, remote: &Remote) -> Result<IssuedToken, CommandError> {
        let new = NewToken {
            name: self.name,
            role: self.role,
            site: self.site,
            expires_at: None,
        };
        #[cfg(feature = "server")]
        if let Some(issued) = self.beside.issue(&new).await? {
            return Ok(issued);
        }
        Ok(remote.connect()?.create_token(&new).await?)
    }
}

fn role(text: &str) -> Result<Role, String> {
    Role::of_word(text).ok_or_else(|| "use admin, operator, auditor, site or worker".to_owned())
}

/// Runs an `admin` command.
pub async fn run(args: AdminArgs) -> Result<(), CommandError> {
    let remote = args.remote;
    // Each connects for itself: one of them can do without a server.
    let connect = || remote.connect();
    match args.command {
        AdminCommand::Token(TokenCommand::Create(create)) => {
            let issued = create.issue(&remote).await?;
            remote.answer(&issued, || {
                printer::line(&issued.secret);
                printer::note(&format!(
                    "This is the token `{}` of role {}, shown this once. Revoke it with: katagami admin token revoke {}",
                    issued.token.name,
                    issued.token.role.word(),
                    issued.token.id
                ));
            });
        }
        AdminCommand::Token(TokenCommand::List) => {
            let tokens = connect()?.all_tokens().await?;
            remote.answer(&tokens, || list_tokens(&tokens));
        }
        AdminCommand::Token(TokenCommand::Revoke { id }) => {
            connect()?.revoke_token(id).await?;
            remote.answer(&serde_json::json!({ "revoked": id }), || {
                printer::line(&format!("token {id} is revoked"));
            });
        }
        AdminCommand::Workers => {
            let workers = connect()?.all_workers().await?;
            remote.answer(&workers, || list_workers(&workers));
        }
        AdminCommand::Audit { limit } => {
            let query = PageQuery {
                cursor: None,
                limit: Some(limit),
            };
            let entries = connect()?.audit(&query).await?.items;
            remote.answer(&entries, || list_entries(&entries));
        }
        AdminCommand::Whoami => {
            let client = connect()?;
            let own = client.whoami().await?;
            remote.answer(&own, || {
                printer::facts(&[
                    ("token", own.name.clone()),
                    ("role", own.role.word().to_owned()),
                    ("site", printer::or_dash(own.site.as_ref())),
                    ("server", format!("{} {}", client.server(), own.server_version)),
                ]);
            });
        }
    }
    Ok(())
}

fn list_tokens(tokens: &[Token]) {
    let row = |token: &Token| {
        let state = match (token.revoked_at, token.expires_at) {
            (Some(at), _) => format!("revoked {at}"),
            (None, Some(at)) => format!("until {at}"),
            (None, None) => "valid".to_owned(),
        };
        [
            token.id.to_string(),
            token.name.clone(),
            token.role.word().to_owned(),
            printer::or_dash(token.site.as_ref()),
            token.created_at.to_string(),
            state,
        ]
    };
    let rows: Vec<_> = tokens.iter().map(row).collect();
    printer::table(["TOKEN", "NAME", "ROLE", "SITE", "MADE", "STATE"], &rows);
}

fn list_workers(workers: &[Worker]) {
    if workers.is_empty() {
        return printer::line(
            "no worker asked for work lately; `katagami serve` starts one unless it has --workers 0",
        );
    }
    let row = |worker: &Worker| {
        [
            worker.name.clone(),
            worker.device.clone(),
            printer::bytes(worker.memory_bytes),
            worker.version.clone(),
            worker.last_seen_at.to_string(),
            printer::or_dash(worker.job),
        ]
    };
    let rows: Vec<_> = workers.iter().map(row).collect();
    printer::table(
        ["WORKER", "DEVICE", "MEMORY", "VERSION", "LAST SEEN", "JOB"],
        &rows,
    );
}

fn list_entries(entries: &[AuditEntry]) {
    let row = |entry: &AuditEntry| {
        [
            entry.at.to_string(),
            entry.actor.clone(),
            entry.event.clone(),
            printer::or_dash(entry.site.as_ref()),
            entry.details.to_string(),
        ]
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    printer::table(["WHEN", "WHO", "WHAT", "SITE", "DETAILS"], &rows);
}
