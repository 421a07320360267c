//! `/v1/tokens`, `/v1/whoami`, `/v1/audit`

use reqwest::Method;

use super::{Client, ClientError};
use crate::domain::TokenId;
use crate::wire::v1::page::{Page, PageQuery};
use crate::wire::v1::tokens::{AuditEntry, IssuedToken, NewToken, Token, WhoAmI};

impl Client {
    /// Makes a token; its secret is in the answer and nowhere else.
    pub async fn create_token(&self, token: &NewToken) -> Result<IssuedToken, ClientError> {
        self.post(&["tokens"], token).await
    }

    /// All tokens, without their secrets.
    pub async fn all_tokens(&self) -> Result<Vec<Token>, ClientError> {
        self.every_page(&["tokens"], &()).await
    }

    /// Revokes a token.
    pub async fn revoke_token(&self, token: TokenId) -> Result<(), ClientError> {
        self.call(Method::DELETE, &["tokens", &token.to_string()])
            .done()
            .await
    }

    /// Whom this client's token belongs to.
    pub async fn whoami(&self) -> Result<WhoAmI, ClientError> {
        self.get(&["whoami"]).await
    }

    /// One page of the audit trail.
    pub async fn audit(&self, query: &PageQuery) -> Result<Page<AuditEntry>, ClientError> {
        self.call(Method::GET, &["audit"]).query(query).answer().await
    }
}
