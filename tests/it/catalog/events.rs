//! Events: in order, durable, and somebody is woken.

use std::time::Duration;

use katagami::catalog::{Catalog, events, images, sites};
use katagami::scheduler;
use katagami::wire::v1::events::Happening;
use rstest::rstest;

use super::world::{BY, WEEK, World, new_site};
use crate::backend::Backend::{self, Postgres, Sqlite};

#[rstest]
#[tokio::test]
async fn a_commit_wakes_those_who_watch_and_a_rollback_does_not(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let world = World::new(backend).await;
    let mut woken = world.catalog.notified();
    // On PostgreSQL what others committed before may still arrive.
    let newest = events::newest(&mut world.read().await).await.unwrap();
    let mut tx = world.begin().await;
    sites::create(&mut tx, &new_site("osaka"), BY).await.unwrap();
    drop(tx);
    assert!(
        events::after(&mut world.read().await, newest, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    let site = world.site("osaka").await;
    woken.changed().await.unwrap();
    let seen = events::after(&mut world.read().await, newest, Some(&site), 10)
        .await
        .unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (&seen[0].what, seen[0].site.as_ref()),
        (&Happening::SiteChanged, Some(&site))
    );
    let elsewhere = "kyoto".parse().unwrap();
    assert!(
        events::after(&mut world.read().await, 0, Some(&elsewhere), 10)
            .await
            .unwrap()
            .is_empty()
    );

    world.catalog.advance(Duration::from_hours(192));
    scheduler::sweep_once(&world.catalog, &WEEK).await.unwrap();
    assert!(
        events::after(&mut world.read().await, 0, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    world.site("kyoto").await;
    let later = events::after(&mut world.read().await, seen[0].id, None, 10)
        .await
        .unwrap();
    assert_eq!(later.len(), 1, "a number is never used twice");
}

#[tokio::test]
async fn another_server_is_woken_too_and_after_its_connection_was_cut() {
    let world = World::new(Postgres).await;
    let other = Catalog::open(&world.database.url.parse().unwrap()).await.unwrap();
    let mut woken = other.notified();
    woken.mark_unchanged();
    world.site("osaka").await;
    woken.changed().await.unwrap();
    // The cut is itself a reason to look: who knows what was missed.
    woken.mark_unchanged();
    world.database.cut();
    woken.changed().await.unwrap();
    let mut found = false;
    for _ in 0..100 {
        // Connections that were cut are noticed one by one.
        let Ok(mut tx) = other.read().await else { continue };
        found = sites::get(&mut tx, &"osaka".parse().unwrap())
            .await
            .is_ok_and(|site| site.is_some());
        if found {
            break;
        }
    }
    assert!(found, "the pool connects again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_that_follows_misses_nothing() {
    for backend in [Sqlite, Postgres] {
        let world = World::new(backend).await;
        let site = world.site("osaka").await;
        let begin = events::newest(&mut world.read().await).await.unwrap();
        let writing = (0..8_u64).map(|writer| {
            let (catalog, site) = (world.catalog.clone(), site.clone());
            tokio::spawn(async move {
                for number in 0..10 {
                    let mut tx = catalog.begin().await.unwrap();
                    images::received(&mut tx, &site, writer * 100 + number, BY)
                        .await
                        .unwrap();
                    tx.commit().await.unwrap();
                }
            })
        });
        let writing: Vec<_> = writing.collect();
        let mut woken = world.catalog.notified();
        let (mut last, mut seen) = (begin, Vec::new());
        while seen.len() < 80 {
            woken.mark_unchanged();
            let new = events::after(&mut world.read().await, last, None, 3)
                .await
                .unwrap();
            match new.last() {
                Some(event) => last = event.id,
                None => woken.changed().await.unwrap(),
            }
            seen.extend(new.into_iter().map(|event| event.what));
        }
        for task in writing {
            task.await.unwrap();
        }
        for writer in 0..8 {
            for number in 0..10 {
                let what = Happening::ImagesReceived {
                    accepted: writer * 100 + number,
                };
                assert_eq!(seen.iter().filter(|seen| **seen == what).count(), 1);
            }
        }
    }
}
