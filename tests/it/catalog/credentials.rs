//! Tokens and idempotency keys.

use std::time::Duration;

use katagami::catalog::idempotency::{self, Seen};
use katagami::catalog::tokens::{self, NewCredential};
use katagami::domain::permission::Role;
use katagami::domain::{Digest, Timestamp, TokenId};
use katagami::wire::v1::page::PageQuery;
use katagami::wire::v1::tokens::Token;
use rstest::rstest;

use super::world::{BY, SECOND, World, refused};
use crate::backend::Backend::{self, Postgres, Sqlite};

async fn issues(world: &World, role: Role, secret: &str, expires_at: Option<Timestamp>) -> Token {
    let new = NewCredential {
        name: secret.to_owned(),
        role,
        site: role.is_of_a_site().then(|| "osaka".parse().unwrap()),
        device: None,
        expires_at,
    };
    let mut tx = world.begin().await;
    let token = tokens::issue(&mut tx, &new, &Digest::of(secret.as_bytes()), BY)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    token
}

async fn is_known(world: &World, secret: &str) -> bool {
    let hash = Digest::of(secret.as_bytes());
    tokens::find_by_hash(&mut world.read().await, &hash)
        .await
        .unwrap()
        .is_some()
}

#[rstest]
#[tokio::test]
async fn a_token_is_known_until_it_expires_or_is_revoked(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    world.site("osaka").await;
    let soon = world
        .read()
        .await
        .now()
        .await
        .unwrap()
        .after(Duration::from_mins(1));
    assert!(
        !tokens::exists(&mut world.read().await, Role::Admin)
            .await
            .unwrap()
    );
    let admin = issues(&world, Role::Admin, "admin secret", None).await;
    issues(&world, Role::Site, "site secret", Some(soon)).await;
    assert!(
        tokens::exists(&mut world.read().await, Role::Admin)
            .await
            .unwrap()
    );
    assert!(is_known(&world, "admin secret").await && is_known(&world, "site secret").await);
    assert!(!is_known(&world, "another").await);
    let hash = Digest::of(b"site secret");
    let actor = tokens::find_by_hash(&mut world.read().await, &hash)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((actor.role, actor.site.unwrap().as_str()), (Role::Site, "osaka"));

    world.catalog.advance(Duration::from_secs(61));
    assert!(!is_known(&world, "site secret").await);
    let mut tx = world.begin().await;
    let revoked = tokens::revoke(&mut tx, admin.id, BY).await.unwrap();
    assert_eq!(
        tokens::revoke(&mut tx, admin.id, BY).await.unwrap().revoked_at,
        revoked.revoked_at
    );
    refused(
        tokens::revoke(&mut tx, TokenId::generate(), BY).await,
        "no_such_token",
    );
    tx.commit().await.unwrap();
    assert!(!is_known(&world, "admin secret").await);
    assert!(
        !tokens::exists(&mut world.read().await, Role::Admin)
            .await
            .unwrap()
    );
    let listed = tokens::list(&mut world.read().await, &PageQuery::default())
        .await
        .unwrap()
        .items;
    assert_eq!(
        listed.iter().map(|token| token.role).collect::<Vec<_>>(),
        [Role::Site, Role::Admin]
    );
}

#[rstest]
#[tokio::test]
async fn a_key_is_answered_once_and_again(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let token = issues(&world, Role::Operator, "secret", None).await.id;
    let (request, other) = (Digest::of(b"POST /v1/sites {}"), Digest::of(b"POST /v1/sites []"));
    let mut tx = world.begin().await;
    assert_eq!(
        idempotency::begin(&mut tx, token, "key", &request).await.unwrap(),
        Seen::Fresh
    );
    assert_eq!(
        idempotency::begin(&mut tx, token, "key", &request).await.unwrap(),
        Seen::InProgress
    );
    assert_eq!(
        idempotency::begin(&mut tx, token, "key", &other).await.unwrap(),
        Seen::Conflict
    );
    idempotency::finish(&mut tx, token, "key", 201, "{\"name\":\"osaka\"}")
        .await
        .unwrap();
    idempotency::forget(&mut tx, token, "key").await.unwrap();
    let replay = Seen::Replay {
        status: 201,
        answer: "{\"name\":\"osaka\"}".to_owned(),
    };
    assert_eq!(
        idempotency::begin(&mut tx, token, "key", &request).await.unwrap(),
        replay
    );
    assert_eq!(
        idempotency::begin(&mut tx, token, "key", &other).await.unwrap(),
        Seen::Conflict
    );

    assert_eq!(
        idempotency::begin(&mut tx, token, "failed", &request)
            .await
            .unwrap(),
        Seen::Fresh
    );
    idempotency::forget(&mut tx, token, "failed").await.unwrap();
    assert_eq!(
        idempotency::begin(&mut tx, token, "failed", &request)
            .await
            .unwrap(),
        Seen::Fresh
    );
    world.catalog.advance(Duration::from_secs(601));
    let left_behind = idempotency::begin(&mut tx, token, "failed", &request)
        .await
        .unwrap();
    assert_eq!(left_behind, Seen::Fresh, "its server died");

    let before = tx.now().await.unwrap().after(SECOND);
    assert_eq!(idempotency::sweep(&mut tx, before).await.unwrap(), 2);
    assert_eq!(
        idempotency::begin(&mut tx, token, "key", &other).await.unwrap(),
        Seen::Fresh
    );
}
