//! Access tokens. The catalog knows the SHA-256 of a secret and never the
//! secret: it has 256 random bits, so no salt and no slow hash are needed.

use serde_json::json;

use super::dialect::text;
use super::{CatalogError, Tx, audit};
use crate::domain::permission::{Actor, Role};
use crate::domain::{DeviceId, Digest, SiteName, Timestamp, TokenId};
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::tokens::Token;

/// A token that is to be made.
#[derive(Debug, Clone)]
pub struct NewCredential {
    /// What it is for, for the audit trail.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// The site that it is bound to; needed for [`Role::Site`] and [`Role::Device`].
    pub site: Option<SiteName>,
    /// The device that it belongs to.
    pub device: Option<DeviceId>,
    /// When it ends; `None`: never.
    pub expires_at: Option<Timestamp>,
}

#[derive(sqlx::FromRow)]
struct TokenRow {
    id: TokenId,
    name: String,
    role: Role,
    site: Option<SiteName>,
    device: Option<DeviceId>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl From<TokenRow> for Token {
    fn from(row: TokenRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            role: row.role,
            site: row.site,
            device: row.device,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, role, site, device, created_at, expires_at, revoked_at FROM token ",
            $rest
        )
    };
}

/// Makes a token whose secret has the SHA-256 `hash`.
pub async fn issue(tx: &mut Tx, new: &NewCredential, hash: &Digest, by: &str) -> Result<Token, CatalogError> {
    const SQL: &str = "INSERT INTO token (id, hash, name, role, site, device, created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    if let Some(site) = &new.site {
        super::sites::lock(tx, site).await?;
    }
    let token = Token {
        id: TokenId::generate(),
        name: new.name.clone(),
        role: new.role,
        site: new.site.clone(),
        device: new.device,
        created_at: tx.now().await?,
        expires_at: new.expires_at,
        revoked_at: None,
    };
    on!(tx, db => {
        sqlx::query(SQL).bind(token.id).bind(hash).bind(text(&token.name)).bind(token.role).bind(&token.site)
            .bind(token.device).bind(token.created_at).bind(token.expires_at).execute(db).await?;
    });
    audit::record(tx, by, "token_issued", new.site.as_ref(), json!(token)).await?;
    Ok(token)
}

/// Whom the secret with this SHA-256 belongs to; nobody once it expired or was revoked.
pub async fn find_by_hash(tx: &mut Tx, hash: &Digest) -> Result<Option<Actor>, CatalogError> {
    const SQL: &str =
        select!("WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)");
    let now = tx.now().await?;
    let row: Option<TokenRow> =
        on!(tx, db => sqlx::query_as(SQL).bind(hash).bind(now).fetch_optional(db).await?);
    Ok(row.map(|row| Actor {
        token: row.id,
        name: row.name,
        role: row.role,
        site: row.site,
        device: row.device,
    }))
}

/// Whether a token of that role is usable now: without an admin, nobody can make one.
pub async fn exists(tx: &mut Tx, role: Role) -> Result<bool, CatalogError> {
    const SQL: &str = "SELECT COUNT(*) FROM token
        WHERE role = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)";
    let now = tx.now().await?;
    let count: i64 = on!(tx, db => sqlx::query_scalar(SQL).bind(role).bind(now).fetch_one(db).await?);
    Ok(count > 0)
}

/// The tokens that were revoked or expired at or after `since`, and the time
/// until when that is known: for who remembers tokens.
pub async fn ended_since(tx: &mut Tx, since: Timestamp) -> Result<(Vec<TokenId>, Timestamp), CatalogError> {
    const SQL: &str = "SELECT id FROM token
        WHERE revoked_at >= $1 OR (expires_at >= $1 AND expires_at <= $2)";
    let now = tx.now().await?;
    let ended = on!(tx, db => sqlx::query_scalar(SQL).bind(since).bind(now).fetch_all(db).await?);
    Ok((ended, now))
}

/// Ends a token. Ending it again changes nothing.
pub async fn revoke(tx: &mut Tx, token: TokenId, by: &str) -> Result<Token, CatalogError> {
    const SQL: &str = "UPDATE token SET revoked_at = COALESCE(revoked_at, $2) WHERE id = $1";
    const GET: &str = select!("WHERE id = $1");
    let now = tx.now().await?;
    on!(tx, db => { sqlx::query(SQL).bind(token).bind(now).execute(db).await?; });
    let row: Option<TokenRow> = on!(tx, db => sqlx::query_as(GET).bind(token).fetch_optional(db).await?);
    let revoked = Token::from(row.ok_or(CatalogError::NoSuchToken { token })?);
    audit::record(
        tx,
        by,
        "token_revoked",
        revoked.site.as_ref(),
        json!({"token": token, "name": revoked.name}),
    )
    .await?;
    Ok(revoked)
}

/// All tokens, newest first, the expired and revoked ones too.
pub async fn list(tx: &mut Tx, query: &PageQuery) -> Result<Page<Token>, CatalogError> {
    const SQL: &str = select!("WHERE id < $1 ORDER BY id DESC LIMIT $2");
    let size = super::paging::size(query.limit);
    let before = super::paging::cursor(query.cursor.as_deref())?.unwrap_or(TokenId(uuid::Uuid::max()));
    let rows: Vec<TokenRow> = on!(tx, db => {
        sqlx::query_as(SQL).bind(before).bind(size as i64 + 1).fetch_all(db).await?
    });
    let tokens = rows.into_iter().map(Token::from).collect();
    Ok(super::paging::page(tokens, size, |token: &Token| {
        token.id.to_string()
    }))
}
