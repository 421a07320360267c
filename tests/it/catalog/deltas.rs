//! Which deltas devices will ask for.

use katagami::catalog::deltas::{self, Wanted};
use katagami::domain::{ChannelName, MaskVersion, SiteName};
use rstest::rstest;

use super::channels::moves;
use super::world::World;
use crate::backend::Backend::{self, Postgres, Sqlite};

/// Publishes the next mask of a site.
async fn publishes(world: &World, site: &SiteName) {
    world.job(site).await;
    let attempt = world.leases("one").await.unwrap().attempt;
    world.publishes(attempt).await.unwrap();
}

async fn wanted(world: &World) -> Vec<Wanted> {
    deltas::wanted(&mut world.read().await, 10).await.unwrap()
}

/// The wanted deltas as (parent, version).
async fn steps(world: &World) -> Vec<(u32, u32)> {
    let wanted = wanted(world).await;
    wanted
        .iter()
        .map(|delta| (delta.parent.0, delta.version.0))
        .collect()
}

#[rstest]
#[tokio::test]
async fn devices_go_on_to_the_newest_mask_or_along_the_last_move(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend).await;
    let osaka = world.site("osaka").await;
    let stable: ChannelName = "stable".parse().unwrap();
    for _ in 0..3 {
        publishes(&world, &osaka).await;
    }
    assert_eq!(steps(&world).await, []);
    moves(&world, &osaka, &stable, Some(1)).await;
    assert_eq!(steps(&world).await, [(1, 3)], "nothing leads from the plain base");
    moves(&world, &osaka, &stable, Some(2)).await;
    assert_eq!(steps(&world).await, [(1, 2), (2, 3)]);
    moves(&world, &osaka, &stable, Some(1)).await;
    assert_eq!(steps(&world).await, [(2, 1), (1, 3)]);
    // Another site's channel is no reason for this site's deltas.
    let kyoto = world.site("kyoto").await;
    publishes(&world, &kyoto).await;
    moves(&world, &kyoto, &stable, Some(1)).await;
    assert_eq!(steps(&world).await, [(2, 1), (1, 3)]);

    // What was looked at is not wanted any more, made or not.
    for (wanted, content) in wanted(&world).await.iter().zip([Some("a delta"), None]) {
        let digest = match content {
            Some(content) => Some((world.blob(content).await, 7)),
            None => None,
        };
        let mut tx = world.begin().await;
        deltas::put(&mut tx, wanted, digest).await.unwrap();
        // As another server would that made the same one.
        deltas::put(&mut tx, wanted, None).await.unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(steps(&world).await, []);
    let mut tx = world.begin().await;
    let listed = deltas::list(&mut tx, &osaka, MaskVersion(1)).await.unwrap();
    assert_eq!((listed.len(), listed[0].parent.0, listed[0].bytes), (1, 2, 7));
    let none = deltas::list(&mut tx, &osaka, MaskVersion(3)).await.unwrap();
    assert_eq!(none, []);
    assert_eq!(deltas::forget_dead(&mut tx).await.unwrap(), 0);
    tx.commit().await.unwrap();
    moves(&world, &osaka, &stable, Some(3)).await;
    let mut tx = world.begin().await;
    assert_eq!(deltas::forget_dead(&mut tx).await.unwrap(), 1, "from 2 to 1");
    tx.commit().await.unwrap();
    assert_eq!(steps(&world).await, [], "from 1 to 3 it was not worth it");
}
