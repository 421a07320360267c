//! `/v1/tokens`, `/v1/whoami`

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::extract::{Json, Path, Query};
use crate::api::idempotency::ShownOnce;
use crate::api::secret::Secret;
use crate::api::{ApiError, App, Caller};
use crate::catalog::tokens::{self, NewCredential};
use crate::domain::TokenId;
use crate::domain::permission::{Action, Role};
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::tokens::{IssuedToken, NewToken, Token, WhoAmI};

/// Lists all tokens, newest first, without their secrets.
#[utoipa::path(
    get, path = "/v1/tokens", tag = "tokens", operation_id = "list_tokens", params(PageQuery),
    responses((status = OK, body = Page<Token>))
)]
pub async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Token>>, ApiError> {
    caller.may_anywhere(Action::ManageTokens)?;
    let mut tx = app.catalog.read().await?;
    Ok(Json(tokens::list(&mut tx, &query).await?))
}

/// A name that people can read in the audit trail.
pub(super) fn check_name(name: &str) -> Result<(), ApiError> {
    let usable = (1..=128).contains(&name.len()) && !name.chars().any(char::is_control);
    if usable && name.trim() == name {
        Ok(())
    } else {
        Err(ApiError::invalid(
            "name_invalid",
            "a name has 1 to 128 bytes, no control codes, and no space at its ends",
        ))
    }
}

/// Which credential a request asks for.
pub fn credential(new: NewToken) -> Result<NewCredential, ApiError> {
    check_name(&new.name)?;
    match (new.role, &new.site) {
        (Role::Device, _) => Err(ApiError::invalid(
            "device_token",
            "tokens of devices are made by enrolling the device: POST /v1/sites/{site}/devices",
        )),
        (Role::Site, None) => Err(ApiError::invalid(
            "site_missing",
            "a token of role `site` needs the site that it is for",
        )),
        (Role::Site, Some(_)) | (_, None) => Ok(NewCredential {
            name: new.name,
            role: new.role,
            site: new.site,
            device: None,
            expires_at: new.expires_at,
        }),
        (role, Some(_)) => Err(ApiError::invalid(
            "site_not_wanted",
            format!(
                "a token of role `{}` is for all sites; leave `site` out",
                role.word()
            ),
        )),
    }
}

/// Makes a token; its secret is shown this once.
#[utoipa::path(
    post, path = "/v1/tokens", tag = "tokens", operation_id = "create_token", request_body = NewToken,
    responses((status = CREATED, body = IssuedToken))
)]
pub async fn create(
    State(app): State<App>,
    caller: Caller,
    Json(new): Json<NewToken>,
) -> Result<(StatusCode, ShownOnce<IssuedToken>), ApiError> {
    let actor = caller.may_anywhere(Action::ManageTokens)?;
    let new = credential(new)?;
    let secret = Secret::generate()?;
    let mut tx = app.catalog.begin().await?;
    let token = tokens::issue(&mut tx, &new, &secret.hash(), &actor.to_string()).await?;
    tx.commit().await?;
    let issued = IssuedToken {
        token,
        secret: secret.reveal().to_owned(),
    };
    Ok((StatusCode::CREATED, ShownOnce(issued)))
}

/// Revokes a token; at once here, within seconds on other servers.
#[utoipa::path(
    delete, path = "/v1/tokens/{id}", tag = "tokens", operation_id = "revoke_token",
    params(("id" = TokenId, Path)), responses((status = OK, body = Token), (status = NOT_FOUND))
)]
pub async fn revoke(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<TokenId>,
) -> Result<Json<Token>, ApiError> {
    let actor = caller.may_anywhere(Action::ManageTokens)?;
    let mut tx = app.catalog.begin().await?;
    let revoked = tokens::revoke(&mut tx, id, &actor.to_string()).await?;
    tx.commit().await?;
    app.tokens.forget(&[id]);
    Ok(Json(revoked))
}

/// Tells whom a token belongs to.
#[utoipa::path(
    get, path = "/v1/whoami", tag = "tokens", operation_id = "whoami", responses((status = OK, body = WhoAmI))
)]
pub async fn whoami(caller: Caller) -> Json<WhoAmI> {
    Json(WhoAmI {
        name: caller.0.name,
        role: caller.0.role,
        site: caller.0.site,
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}
