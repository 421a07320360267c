//! Sites, transactions, bases.

use katagami::catalog::{audit, bases, devices, masks, sites};
use katagami::domain::report::Kpi;
use katagami::domain::{Digest, View};
use katagami::wire::v1::devices::{DeviceStatus, NewDevice};
use katagami::wire::v1::page::PageQuery;
use katagami::wire::v1::sites::SiteChange;
use rstest::rstest;

use super::world::{BY, World, new_site, refused};
use crate::backend::Backend::{self, Postgres, Sqlite};

#[rstest]
#[tokio::test]
async fn a_site_is_made_once_and_changed(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let name = world.site("osaka").await;
    world.image(&name, "cell", &[]).await;
    world.job(&name).await;
    refused(
        sites::create(&mut world.begin().await, &new_site("osaka"), "eve").await,
        "site_exists",
    );
    let mut tx = world.begin().await;
    let change = SiteChange {
        title: Some("Ōsaka\0 II".to_owned()),
        kpi: Some(Kpi::FewShot),
        gate: None,
        lends_masks: Some(true),
        view: None,
    };
    let site = sites::update(&mut tx, &name, &change, BY).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        (site.kpi, site.images, site.open_jobs, site.masks),
        (Kpi::FewShot, 1, 1, 0)
    );
    assert!(site.title.starts_with("Ōsaka") && site.lends_masks);
    let mut tx = world.begin().await;
    refused(
        sites::update(&mut tx, &"kyoto".parse().unwrap(), &change, BY).await,
        "no_such_site",
    );
    let trail = audit::list(&mut tx, Some(&name), &PageQuery::default())
        .await
        .unwrap();
    assert!(
        trail.items.iter().all(|entry| entry.actor == BY),
        "what was refused left nothing"
    );
    assert_eq!(trail.items[0].event, "site_changed");
}

#[rstest]
#[tokio::test]
async fn a_transaction_that_is_dropped_leaves_nothing(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let mut tx = world.begin().await;
    sites::create(&mut tx, &new_site("osaka"), BY).await.unwrap();
    drop(tx);
    let mut tx = world.read().await;
    assert!(
        sites::list(&mut tx, &PageQuery::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    let trail = audit::list(&mut tx, None, &PageQuery::default()).await.unwrap();
    assert!(trail.items.iter().all(|entry| entry.event.starts_with("base_")));
}

#[rstest]
#[tokio::test]
async fn a_reading_transaction_cannot_write(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let error = refused(
        sites::create(&mut world.read().await, &new_site("osaka"), BY).await,
        "database",
    );
    assert!(!error.to_string().contains("INSERT"), "{error}");
}

#[rstest]
#[tokio::test]
async fn lists_come_in_pages(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    for name in ["e", "d", "c", "b", "a"] {
        world.site(name).await;
    }
    let mut query = PageQuery {
        cursor: None,
        limit: Some(2),
    };
    let (mut names, mut pages) = (Vec::new(), 0);
    loop {
        let page = sites::list(&mut world.read().await, &query).await.unwrap();
        names.extend(page.items.iter().map(|site| site.name.to_string()));
        pages += 1;
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!((names.join(""), pages), ("abcde".to_owned(), 3));
    let wrong = PageQuery {
        cursor: Some("x".to_owned()),
        limit: None,
    };
    refused(
        audit::list(&mut world.read().await, None, &wrong).await,
        "invalid_cursor",
    );
}

#[rstest]
#[tokio::test]
async fn one_base_is_active(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let mut tx = world.begin().await;
    let mut manifest = bases::active(&mut tx).await.unwrap().unwrap().manifest;
    manifest.digest = Digest::of(b"other weights");
    refused(bases::activate(&mut tx, &manifest.digest, BY).await, "no_base");
    refused(
        bases::put(&mut tx, &manifest, &Digest::of(b"no such file"), BY).await,
        "blob_gone",
    );
    tx.commit().await.unwrap();
    let file = world.blob("other.safetensors").await;
    let mut tx = world.begin().await;
    assert!(!bases::put(&mut tx, &manifest, &file, BY).await.unwrap().active);
    assert!(
        bases::activate(&mut tx, &manifest.digest, BY)
            .await
            .unwrap()
            .active
    );
    assert_eq!(bases::active(&mut tx).await.unwrap().unwrap().manifest, manifest);
    let active: Vec<bool> = bases::list(&mut tx)
        .await
        .unwrap()
        .iter()
        .map(|base| base.active)
        .collect();
    assert_eq!(active.iter().filter(|active| **active).count(), 1);
    assert_eq!(active.len(), 2);
}

#[rstest]
#[tokio::test]
async fn a_device_enrols_once_and_reports(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let site = world.site("osaka").await;
    let new = NewDevice {
        name: "camera 3".to_owned(),
        channel: None,
    };
    let mut tx = world.begin().await;
    let device = devices::enrol(&mut tx, &site, &new, BY).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((device.channel.as_str(), &device.last_seen_at), ("stable", &None));
    refused(
        devices::enrol(&mut world.begin().await, &site, &new, BY).await,
        "device_exists",
    );
    let elsewhere = "kyoto".parse().unwrap();
    refused(
        devices::enrol(&mut world.begin().await, &elsewhere, &new, BY).await,
        "no_such_site",
    );
    let status = DeviceStatus {
        mask: None,
        digest: None,
        weights: Some(world.base),
        channel: "line-a.stable".parse().unwrap(),
        agent: "0.1.0".to_owned(),
        error: None,
    };
    let mut tx = world.begin().await;
    devices::report(&mut tx, device.id, &status).await.unwrap();
    tx.commit().await.unwrap();
    let page = devices::list(&mut world.read().await, &site, &PageQuery::default())
        .await
        .unwrap();
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.items[0].status.as_ref(), Some(&status));
    assert!(page.items[0].last_seen_at.is_some());
}

#[rstest]
#[tokio::test]
async fn a_job_and_its_mask_keep_the_view_that_their_site_had(#[values(Sqlite, Postgres)] backend: Backend) {
    let world = World::new(backend).await;
    let name = world.site("osaka").await;
    world.image(&name, "cell", &[]).await;
    let sets = async |view: View| {
        let mut tx = world.begin().await;
        let change = SiteChange {
            view: Some(view),
            ..SiteChange::default()
        };
        let site = sites::update(&mut tx, &name, &change, BY).await.unwrap();
        tx.commit().await.unwrap();
        site.view
    };
    let plain = world.job(&name).await;
    assert_eq!(plain.view, View::default());
    let tiled =
        View::parse(r#"{"tiles": {"columns": 3, "overlap": 0.1}, "bit-depth": "used-bits"}"#).unwrap();
    assert_eq!(sets(tiled).await, tiled);
    let job = world.job(&name).await;
    assert_eq!(sets(View::default()).await, View::default());
    assert_eq!(
        (world.look(&plain).await.view, world.look(&job).await.view),
        (View::default(), tiled)
    );
    for view in [View::default(), tiled] {
        let assignment = world.leases("one").await.unwrap();
        assert_eq!(assignment.view, view);
        world.publishes(assignment.attempt).await.unwrap();
        let mask = masks::needed(&mut world.read().await, &name, assignment.mask_version).await;
        assert_eq!(mask.unwrap().view, view);
    }
    // What leaves the view out leaves it as it is.
    let mut tx = world.begin().await;
    let untouched = sites::update(&mut tx, &name, &SiteChange::default(), BY).await;
    assert_eq!(untouched.unwrap().view, View::default());
}
