//! Channels and their history.

use katagami::catalog::channels::{self, Why};
use katagami::catalog::masks;
use katagami::domain::channel::{Current, Move};
use katagami::domain::permission::{Actor, Role};
use katagami::domain::{ChannelName, Digest, MaskVersion, SiteName, TokenId, View};
use katagami::wire::v1::channels::Channel;
use katagami::wire::v1::page::PageQuery;
use rstest::rstest;

use super::world::{BY, World, refused};
use crate::backend::Backend::{self, Postgres, Sqlite};

pub async fn moves(world: &World, site: &SiteName, channel: &ChannelName, to: Option<u32>) -> Channel {
    let actor = Actor {
        token: TokenId::generate(),
        name: "the test".to_owned(),
        role: Role::Admin,
        site: None,
        device: None,
    };
    let asked = Move {
        reason: Some("the line is down".to_owned()),
        force: false,
    };
    let mut tx = world.begin().await;
    let candidate = match to {
        Some(version) => Some(
            masks::candidate(&mut tx, site, MaskVersion(version))
                .await
                .unwrap(),
        ),
        None => None,
    };
    let before = channels::get_for_update(&mut tx, site, channel).await.unwrap();
    let current = Current {
        base: world.base,
        view: View::default(),
    };
    let fitted = candidate.as_ref().map(|mask| (mask, &current));
    let (after, overrides) = before.moved_to(fitted, &actor, &asked).unwrap();
    let why = Why {
        overrides,
        reason: asked.reason,
    };
    let moved = channels::put(&mut tx, &before, &after, &why, BY).await.unwrap();
    tx.commit().await.unwrap();
    moved
}

#[rstest]
#[tokio::test]
async fn a_channel_moves_and_remembers(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    let stable: ChannelName = "stable".parse().unwrap();
    world.job(&osaka).await;
    let attempt = world.leases("one").await.unwrap().attempt;
    world.publishes(attempt).await.unwrap();
    assert_eq!(
        channels::get(&mut world.read().await, &osaka, &stable)
            .await
            .unwrap(),
        None
    );

    let artefact = Digest::of(format!("artefact of {attempt}").as_bytes());
    let moved = moves(&world, &osaka, &stable, Some(1)).await;
    assert_eq!(
        (moved.mask, moved.revision, moved.digest),
        (Some(MaskVersion(1)), 1, Some(artefact))
    );
    let pointers = channels::pointers(&mut world.read().await).await.unwrap();
    assert_eq!(pointers.len(), 1);
    assert_eq!(pointers[0].mask.unwrap().artefact, artefact);
    let site = katagami::catalog::sites::needed(&mut world.read().await, &osaka)
        .await
        .unwrap();
    assert_eq!((site.stable, site.masks), (Some(MaskVersion(1)), 1));

    let moved = moves(&world, &osaka, &stable, None).await;
    assert_eq!((moved.mask, moved.revision, moved.digest), (None, 2, None));
    assert_eq!(
        channels::pointers(&mut world.read().await).await.unwrap()[0].mask,
        None
    );
    let history = channels::history(&mut world.read().await, &osaka, &stable, &PageQuery::default())
        .await
        .unwrap();
    let seen: Vec<_> = history
        .items
        .iter()
        .map(|m| (m.revision, m.from, m.to, m.overrides))
        .collect();
    let one = Some(MaskVersion(1));
    assert_eq!(seen, [(2, one, None, false), (1, None, one, true)]);
    assert_eq!(history.items[1].reason.as_deref(), Some("the line is down"));
}

#[rstest]
#[tokio::test]
async fn nobodys_move_is_lost(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    let stable: ChannelName = "stable".parse().unwrap();
    let never = channels::get_for_update(&mut world.begin().await, &osaka, &stable)
        .await
        .unwrap();
    let first = moves(&world, &osaka, &stable, None).await;
    let mut after = never.clone();
    after.revision = 1;
    let mut tx = world.begin().await;
    refused(
        channels::put(&mut tx, &never, &after, &Why::default(), BY).await,
        "channel_moved",
    );
    drop(tx);
    moves(&world, &osaka, &stable, None).await;
    let mut tx = world.begin().await;
    let again = channels::put(&mut tx, &after, &after, &Why::default(), BY).await;
    refused(again, "channel_moved");
    drop(tx);
    let history = channels::history(&mut world.read().await, &osaka, &stable, &PageQuery::default())
        .await
        .unwrap();
    assert_eq!((history.items.len(), first.revision), (2, 1));
    let nowhere = "kyoto".parse().unwrap();
    refused(
        channels::get_for_update(&mut world.begin().await, &nowhere, &stable).await,
        "no_such_site",
    );
    refused(
        masks::candidate(&mut world.begin().await, &osaka, MaskVersion(9)).await,
        "no_such_mask",
    );
}
