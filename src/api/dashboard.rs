//! The dashboard at `/`: the files of the folder `dashboard/`, inside the executable.
//!
//! It speaks only the public API, with the token of whoever looks at it, so nothing here
//! asks who that is. The page names the digest of all files in the addresses of the others:
//! those never change and are kept by browsers for good, and no browser ever mixes the
//! scripts of two versions.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;

use crate::domain::{Digest, Digester};

#[derive(RustEmbed)]
#[folder = "dashboard/"]
struct Files;

/// The page that names the others.
const PAGE: &str = "index.html";

/// What the page's addresses begin with, in the folder and in the answer.
const ASSETS: &str = "assets/";

/// Nothing from elsewhere, nothing inline. Pictures come with a token, so they are fetched
/// and shown as `blob:`.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; img-src 'self' blob:; object-src 'none'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The routes of the dashboard. They hold for any state and need no token.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(page))
        .route("/assets/{version}/{*file}", get(asset))
}

/// The digest of all files, shortened; part of every asset's address.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut names: Vec<_> = Files::iter().collect();
    names.sort_unstable();
    let mut digester = Digester::default();
    for name in names {
        if let Some(file) = Files::get(&name) {
            digester.update(name.as_bytes());
            digester.update(&file.metadata.sha256_hash());
        }
    }
    digester.finish().short()
});

/// The page with the assets' addresses, and its `ETag`.
static INDEX: LazyLock<(String, HeaderValue)> = LazyLock::new(|| {
    let file = Files::get(PAGE).unwrap_or_else(|| unreachable!("dashboard/{PAGE} is compiled in"));
    let text = String::from_utf8_lossy(&file.data).replace(ASSETS, &format!("{ASSETS}{}/", *VERSION));
    let etag = format!("\"{}\"", Digest::of(text.as_bytes()));
    let etag = HeaderValue::from_str(&etag).unwrap_or_else(|_| unreachable!("a digest is ASCII"));
    (text, etag)
});

async fn page(headers: HeaderMap) -> Response {
    let (text, etag) = &*INDEX;
    let caching = [
        (header::ETAG, etag.clone()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|tags| tags.to_str().ok())
        .is_some_and(|tags| {
            tags.split(',')
                .any(|tag| tag.trim().trim_start_matches("W/") == etag)
        });
    if known {
        return (StatusCode::NOT_MODIFIED, caching, security()).into_response();
    }
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (kind, caching, security(), text.as_str()).into_response()
}

async fn asset(Path((version, name)): Path<(String, String)>) -> Response {
    let found = media_type(&name)
        .filter(|_| version == *VERSION)
        .and_then(|media_type| Some((media_type, Files::get(&name)?)));
    let Some((media_type, file)) = found else {
        return (
            StatusCode::NOT_FOUND,
            "this dashboard has no such file; load the page again\n",
        )
            .into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ];
    (headers, security(), file.data).into_response()
}

/// The media type of an asset; none: it is not served (the folder's README, the page itself).
fn media_type(name: &str) -> Option<&'static str> {
    match name.rsplit_once('.')?.1 {
        "js" => Some("text/javascript; charset=utf-8"),
        "css" => Some("text/css; charset=utf-8"),
        "svg" => Some("image/svg+xml"),
        _ => None,
    }
}

fn security() -> [(HeaderName, &'static str); 4] {
    [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    async fn answer(path: &str, etag: Option<&HeaderValue>) -> Response {
        let mut request = Request::get(path);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let request = request.body(Body::empty()).unwrap();
        routes::<()>().with_state(()).oneshot(request).await.unwrap()
    }

    async fn text(answer: Response) -> String {
        let bytes = to_bytes(answer.into_body(), 1 << 20).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// What the page names: `src` and `href` of its scripts, styles and icons.
    fn addresses(page: &str) -> Vec<String> {
        page.split(['"', '\''])
            .filter(|part| part.starts_with(ASSETS))
            .map(|part| format!("/{part}"))
            .collect()
    }

    #[tokio::test]
    async fn every_file_that_the_page_names_is_served_for_good() {
        let named = addresses(&text(answer("/", None).await).await);
        assert!(named.len() >= 2, "{named:?}");
        for address in named {
            let answer = answer(&address, None).await;
            assert_eq!(answer.status(), StatusCode::OK, "{address}");
            assert!(
                answer.headers()[header::CACHE_CONTROL]
                    .to_str()
                    .unwrap()
                    .contains("immutable")
            );
        }
    }

    #[tokio::test]
    async fn every_script_is_reachable_and_is_a_script() {
        for name in Files::iter().filter(|name| media_type(name).is_some()) {
            let answer = answer(&format!("/{ASSETS}{}/{name}", *VERSION), None).await;
            assert_eq!(answer.status(), StatusCode::OK, "{name}");
            assert_eq!(
                answer.headers()[header::CONTENT_TYPE].to_str().unwrap(),
                media_type(&name).unwrap()
            );
        }
    }

    #[tokio::test]
    async fn a_page_that_the_browser_has_is_not_sent_again() {
        let first = answer("/", None).await;
        let etag = first.headers()[header::ETAG].clone();
        assert_eq!(first.headers()[header::CACHE_CONTROL], "no-cache");
        let second = answer("/", Some(&etag)).await;
        assert_eq!(second.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(second.headers()[header::ETAG], etag);
        assert_eq!(text(second).await, "");
    }

    #[tokio::test]
    async fn what_is_of_another_version_or_no_asset_is_not_found() {
        for path in [
            format!("/{ASSETS}0123456789ab/main.js"),
            format!("/{ASSETS}{}/README.md", *VERSION),
            format!("/{ASSETS}{}/index.html", *VERSION),
            format!("/{ASSETS}{}/../Cargo.toml", *VERSION),
            "/main.js".to_owned(),
        ] {
            assert_eq!(
                answer(&path, None).await.status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }

    #[tokio::test]
    async fn nothing_inline_and_nothing_from_elsewhere() {
        let answer = answer("/", None).await;
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"));
        for name in Files::iter() {
            let file = Files::get(&name).unwrap();
            let file = String::from_utf8_lossy(&file.data);
            let page = name.ends_with(".html");
            assert!(
                !page || !file.contains("<script>") && !file.contains(" style="),
                "{name}"
            );
            // The name space of SVG is no address.
            let elsewhere = file.replace("http://www.w3.org/2000/svg", "");
            assert!(
                !elsewhere.contains("http://") && !elsewhere.contains("https://"),
                "{name}"
            );
        }
    }
}
