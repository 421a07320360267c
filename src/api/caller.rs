//! Who asks: the one extractor that authenticates.
//!
//! Tokens that were looked up are remembered, so that a device's question
//! costs no query; the refresher of [`super::background`] drops those that
//! ended, wherever that was said.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};

use super::error::ApiError;
use super::secret::Secret;
use super::state::App;
use crate::catalog::tokens;
use crate::domain::permission::{Action, Actor, Denied};
use crate::domain::{Digest, Problem, SiteName, TokenId};

/// Somebody with a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller(pub Actor);

impl Caller {
    /// The actor, if they may do `action` on `site`.
    pub fn may(&self, action: Action, site: &SiteName) -> Result<&Actor, ApiError> {
        self.0.may(action, Some(site))?;
        Ok(&self.0)
    }

    /// The actor, if they may do `action` without naming a site.
    pub fn may_anywhere(&self, action: Action) -> Result<&Actor, ApiError> {
        self.0.may(action, None)?;
        Ok(&self.0)
    }

    /// What looking something up by its own identifier fails with where it is
    /// not there: to who sees one site only, the same as if it were another site's.
    pub fn missing(&self, error: impl Problem) -> ApiError {
        match self.0.site {
            Some(_) => Denied::NotFound.into(),
            None => error.into(),
        }
    }
}

impl FromRequestParts<App> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let caller = authenticate(app, &parts.headers).await?;
        parts.extensions.insert(caller.clone());
        Ok(caller)
    }
}

/// Whom the bearer token in `headers` belongs to.
pub async fn authenticate(app: &App, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .ok_or_else(|| {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "token_missing",
                "send a token as `Authorization: Bearer ktg_…`",
            )
        })?;
    let unknown = || {
        ApiError::new(
            StatusCode::UNAUTHORIZED,
            "token_unknown",
            "this token is not known, has expired or was revoked; ask an admin for another one",
        )
    };
    let hash = Secret::parse(given.1.trim()).ok_or_else(unknown)?.hash();
    if let Some(actor) = app.tokens.get(&hash) {
        return Ok(Caller(actor));
    }
    let generation = app.tokens.generation();
    let mut tx = app.catalog.read().await?;
    let actor = tokens::find_by_hash(&mut tx, &hash).await?.ok_or_else(unknown)?;
    app.tokens.remember(hash, &actor, generation);
    Ok(Caller(actor))
}

/// Tokens that were looked up.
#[derive(Debug, Default)]
pub struct KnownTokens(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    actors: HashMap<Digest, Actor>,
    /// Counts what was forgotten: a lookup that began before is not remembered.
    generation: u64,
}

impl KnownTokens {
    /// Most tokens remembered; beyond, everything is forgotten and looked up again.
    const MOST: usize = 100_000;

    fn get(&self, hash: &Digest) -> Option<Actor> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.actors.get(hash).cloned()
    }

    fn generation(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    fn remember(&self, hash: Digest, actor: &Actor, generation: u64) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.generation != generation {
            return;
        }
        if known.actors.len() >= Self::MOST {
            known.actors.clear();
        }
        known.actors.insert(hash, actor.clone());
    }

    /// Forgets tokens that ended.
    pub fn forget(&self, ended: &[TokenId]) {
        if ended.is_empty() {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.generation += 1;
        known.actors.retain(|_, actor| !ended.contains(&actor.token));
    }
}
