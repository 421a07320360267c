//! Population priors: whose masks they are learned from, who may have them, and masks coded with them

use std::time::Duration;

use katagami::api::priors;
use katagami::base::Weights;
use katagami::blobs::collect;
use katagami::domain::{Digest, MaskVersion};
use katagami::mask::{Header, Limits, Mask, Prior, delta, encode};
use reqwest::Method;
use rstest::rstest;
use serde_json::{Value, json};

use crate::backend::Backend::{self, Postgres, Sqlite};
use crate::server::{Person, Server};
use crate::support::{alike_mask, generated_base, header_of};

const SITES: [&str; 3] = ["kobe", "kyoto", "osaka"];
const MASK: &str = "/v1/sites/osaka/masks/1/priors";

fn artefact(mask: &Mask, base: &Weights, site: &str, version: u32) -> Vec<u8> {
    let header = Header {
        site: site.parse().unwrap(),
        version: MaskVersion(version),
        ..header_of(mask, base)
    };
    encode(&header, mask, base).unwrap()
}

/// Three sites with a mask each, of which the last one's artefact is answered.
async fn three_sites(server: &Server, base: &Weights) -> Vec<u8> {
    let mut last = Vec::new();
    for (number, site) in (1..).zip(SITES) {
        server.engineer(site).await;
        last = artefact(&alike_mask(base, number), base, site, 1);
        server.mask(site, &last, "passed").await;
    }
    last
}

async fn lends(person: &Person, site: &str, lends: bool) {
    let change = json!({"lends_masks": lends});
    let changed = person.patch(&format!("/v1/sites/{site}"), change).await.good();
    assert_eq!(changed.json()["lends_masks"], lends);
}

#[rstest]
#[tokio::test]
async fn a_prior_is_learned_from_three_sites_that_agree_and_never_from_fewer(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let server = Server::with_base(backend).await;
    let (admin, base) = (server.admin(), generated_base(7));
    three_sites(&server, &base).await;
    let make = async || admin.post("/v1/priors", json!({})).await;
    make().await.refused(412, "too_few_sites");
    for site in &SITES[..2] {
        lends(&server.engineer(site).await, site, true).await;
    }
    let refused = make().await.refused(412, "too_few_sites").json();
    assert!(
        refused["detail"].as_str().unwrap().contains("2 sites"),
        "{refused}"
    );
    // Only the site itself or who runs the platform speaks for it, and it speaks for nothing else.
    let osaka = server.engineer("osaka").await;
    let kyoto = server.engineer("kyoto").await;
    let consent = json!({"lends_masks": true});
    kyoto
        .patch("/v1/sites/osaka", consent.clone())
        .await
        .refused(404, "not_found");
    for more in [
        json!({"lends_masks": true, "title": "Osaka"}),
        json!({"title": "Osaka"}),
        json!({}),
    ] {
        osaka
            .patch("/v1/sites/osaka", more)
            .await
            .refused(403, "forbidden");
    }
    make().await.refused(412, "too_few_sites");
    lends(&osaka, "osaka", true).await;
    osaka
        .post("/v1/priors", json!({}))
        .await
        .refused(403, "forbidden");

    let first = make().await.good().json();
    let masks = [1, 2, 3].map(|number| alike_mask(&base, number));
    let learned = Prior::learn(&base, &masks.each_ref());
    let file = learned.encode().unwrap();
    assert_eq!(first["digest"], json!(learned.digest()));
    assert_eq!(
        (&first["version"], &first["sites"], &first["bytes"]),
        (&json!(1), &json!(3), &json!(file.len()))
    );
    assert_eq!(make().await.good().json(), first, "it would say the same");
    let audit = admin.get("/v1/audit").await.good().json();
    let events: Vec<_> = audit["items"].as_array().unwrap().iter().collect();
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((of("prior_made"), of("site_changed")), (1, 3), "{audit}");

    // Any device may fetch it, once.
    let device = server.device("kobe", "line-a").await;
    let url = format!("/v1/priors/{}", learned.digest());
    let sent = device.get(&url).await.status(200);
    assert_eq!(sent.body, file);
    let tag = format!("\"{}\"", Digest::of(&file));
    assert_eq!(sent.header("etag"), tag);
    assert!(sent.header("cache-control").contains("immutable"));
    let again = device.get_with(&url, &[("if-none-match", &tag)]).await;
    again.status(304);
    let head = device.with(Method::HEAD, &url, &[]).await.status(200);
    assert_eq!(head.header("content-length"), file.len().to_string());
    let unknown = format!("/v1/priors/{}", Digest::of(b"another"));
    device.get(&unknown).await.refused(404, "no_such_prior");
    server.person(None).get(&url).await.refused(401, "token_missing");

    // A newer mask counts instead of its site's older one; what was refused and what is lent no more does not.
    let newer = artefact(&alike_mask(&base, 9), &base, "osaka", 2);
    server.mask("osaka", &newer, "held").await;
    let refused = artefact(&alike_mask(&base, 10), &base, "osaka", 3);
    server.mask("osaka", &refused, "refused").await;
    let second = make().await.good().json();
    let masks = [1, 2, 9].map(|number| alike_mask(&base, number));
    assert_eq!(second["version"], 2);
    assert_eq!(
        second["digest"],
        json!(Prior::learn(&base, &masks.each_ref()).digest())
    );
    lends(&kyoto, "kyoto", false).await;
    make().await.refused(412, "too_few_sites");
    let listed = device.get("/v1/priors").await.good().json();
    assert_eq!(listed["items"], json!([second, first]), "they stay");
    server.stop().await;
}

async fn listed(person: &Person, url: &str) -> Vec<Value> {
    let list = person.get(url).await.good().json();
    list["items"].as_array().unwrap().clone()
}

#[rstest]
#[tokio::test]
async fn masks_are_there_coded_with_the_newest_prior_as_long_as_devices_may_ask(
    #[values(Sqlite, Postgres)] backend: Backend,
) {
    let server = Server::with_base(backend).await;
    let (app, admin, base) = (&server.running.app, server.admin(), generated_base(7));
    let whole = three_sites(&server, &base).await;
    for site in SITES {
        lends(&admin, site, true).await;
    }
    let device = server.device("osaka", "line-a").await;
    priors::once(app).await.unwrap();
    assert_eq!(listed(&device, MASK).await, Vec::<Value>::new());
    let prior = admin.post("/v1/priors", json!({})).await.good().json();
    priors::once(app).await.unwrap();
    let coded = listed(&device, MASK).await.pop().unwrap();
    assert_eq!(coded["prior"], prior);

    let url = format!("{MASK}/{}", prior["digest"].as_str().unwrap());
    let sent = device.get(&url).await.status(200);
    assert_eq!(sent.header("etag"), format!("\"{}\"", Digest::of(&sent.body)));
    assert_eq!(coded["digest"], json!(Digest::of(&sent.body)));
    assert_eq!(sent.header("katagami-mask-version"), "1");
    let learned = format!("/v1/priors/{}", prior["digest"].as_str().unwrap());
    let learned = device.get(&learned).await.good();
    let learned = Prior::decode(&learned.body, Limits::default()).unwrap();
    assert!(delta::restore_with_prior(&learned, &sent.body, &base).unwrap() == whole);
    assert!(
        sent.body.len() * 8 <= whole.len() * 7,
        "{} of {}",
        sent.body.len(),
        whole.len()
    );
    let unknown = format!("{MASK}/{}", Digest::of(b"another"));
    device.get(&unknown).await.refused(404, "not_with_prior");
    let absent = "/v1/sites/osaka/masks/9/priors";
    device.get(absent).await.refused(404, "no_such_mask");
    let stranger = server.device("kobe", "line-b").await;
    stranger.get(&url).await.refused(404, "not_found");
    stranger.get(MASK).await.refused(404, "not_found");

    // Kept as long as it is the site's newest mask or a channel's; the prior stays.
    let collected = async || {
        app.catalog.advance(Duration::from_hours(2));
        priors::once(app).await.unwrap();
        collect::once(&app.catalog, &app.blobs, Duration::from_hours(1))
            .await
            .unwrap()
    };
    collected().await;
    device.get(&url).await.status(200);
    let newer = artefact(&alike_mask(&base, 9), &base, "osaka", 2);
    server.mask("osaka", &newer, "passed").await;
    assert_eq!(collected().await, 1);
    device.get(&url).await.refused(404, "not_with_prior");
    device.get("/v1/sites/osaka/masks/1/bytes").await.status(200);
    let next = url.replace("masks/1", "masks/2");
    device.get(&next).await.status(200);
    let prior = format!("/v1/priors/{}", learned.digest());
    device.get(&prior).await.status(200);
    server.stop().await;
}

#[tokio::test]
async fn a_mask_whose_artefact_is_lost_keeps_no_others_from_being_coded() {
    let server = Server::with_base(Sqlite).await;
    let (app, admin, base) = (&server.running.app, server.admin(), generated_base(7));
    three_sites(&server, &base).await;
    for site in SITES {
        lends(&admin, site, true).await;
    }
    admin.post("/v1/priors", json!({})).await.good();
    priors::once(app).await.unwrap();
    for site in ["kobe", "osaka"] {
        let newer = artefact(&alike_mask(&base, 9), &base, site, 2);
        server.mask(site, &newer, "passed").await;
        if site == "kobe" {
            app.blobs.delete(&Digest::of(&newer)).await.unwrap();
        }
    }
    priors::once(app).await.unwrap_err();
    let device = server.device("osaka", "line-a").await;
    let newest = listed(&device, "/v1/sites/osaka/masks/2/priors").await;
    assert_eq!(newest.len(), 1);
    server.stop().await;
}
