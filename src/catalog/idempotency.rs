//! Idempotency keys: a request that is sent twice is done once, and answered
//! twice the same.

use std::time::Duration;

use super::dialect::PerDialect;
use super::{CatalogError, Tx};
use crate::domain::{Digest, Timestamp, TokenId};

/// How long a request may be under way before its key counts as left behind by
/// a server that died.
const LEFT_BEHIND: Duration = Duration::from_mins(10);

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: do the request, then [`finish`] or, if it failed, [`forget`].
    Fresh,
    /// It was answered: answer the same.
    Replay {
        /// The HTTP status.
        status: u16,
        /// The body.
        answer: String,
    },
    /// The key was used for another request.
    Conflict,
    /// The first request has not been answered yet.
    InProgress,
}

/// Takes the key `name` of `token` for `request`, the SHA-256 of method, path and
/// body. Commit before the request is done, so that a second one sees it.
pub async fn begin(tx: &mut Tx, token: TokenId, name: &str, request: &Digest) -> Result<Seen, CatalogError> {
    const TAKE: &str = "INSERT INTO idempotency (token, name, request, status, answer, created_at)
        VALUES ($1, $2, $3, 0, '', $4) ON CONFLICT (token, name) DO NOTHING";
    const LOOK: PerDialect = locking!(
        "SELECT request, status, answer, created_at FROM idempotency WHERE token = $1 AND name = $2",
        "FOR UPDATE"
    );
    const RETAKE: &str = "UPDATE idempotency SET created_at = $3 WHERE token = $1 AND name = $2";
    let now = tx.now().await?;
    let taken = on!(tx, db => {
        sqlx::query(TAKE).bind(token).bind(name).bind(request).bind(now).execute(db).await?.rows_affected()
    });
    if taken > 0 {
        return Ok(Seen::Fresh);
    }
    let look = tx.text(LOOK);
    let (first, status, answer, created_at): (Digest, i64, String, Timestamp) =
        on!(tx, db => sqlx::query_as(look).bind(token).bind(name).fetch_one(db).await?);
    Ok(match u16::try_from(status).unwrap_or(0) {
        _ if first != *request => Seen::Conflict,
        0 if now.since(created_at) < LEFT_BEHIND => Seen::InProgress,
        0 => {
            on!(tx, db => { sqlx::query(RETAKE).bind(token).bind(name).bind(now).execute(db).await?; });
            Seen::Fresh
        }
        status => Seen::Replay { status, answer },
    })
}

/// Remembers the answer.
pub async fn finish(
    tx: &mut Tx,
    token: TokenId,
    name: &str,
    status: u16,
    answer: &str,
) -> Result<(), CatalogError> {
    const SQL: &str = "UPDATE idempotency SET status = $3, answer = $4 WHERE token = $1 AND name = $2";
    on!(tx, db => {
        sqlx::query(SQL).bind(token).bind(name).bind(i64::from(status)).bind(answer).execute(db).await?;
    });
    Ok(())
}

/// Gives the key back, so that the request can be tried again: for faults of the server.
pub async fn forget(tx: &mut Tx, token: TokenId, name: &str) -> Result<(), CatalogError> {
    const SQL: &str = "DELETE FROM idempotency WHERE token = $1 AND name = $2 AND status = 0";
    on!(tx, db => { sqlx::query(SQL).bind(token).bind(name).execute(db).await?; });
    Ok(())
}

/// Forgets keys that were taken before `before`.
pub async fn sweep(tx: &mut Tx, before: Timestamp) -> Result<u64, CatalogError> {
    const SQL: &str = "DELETE FROM idempotency WHERE created_at < $1";
    Ok(on!(tx, db => sqlx::query(SQL).bind(before).execute(db).await?.rows_affected()))
}
