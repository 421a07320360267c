//! `/openapi.json`

use std::collections::BTreeSet;

use serde_json::Value;

use crate::backend::Backend::Sqlite;
use crate::server::Server;

/// Every endpoint of the contract: methods and path.
const CONTRACT: &[(&str, &str)] = &[
    ("get", "/healthz"),
    ("get", "/readyz"),
    ("get", "/metrics"),
    ("get", "/openapi.json"),
    ("get post", "/v1/sites"),
    ("get patch", "/v1/sites/{site}"),
    ("get post", "/v1/sites/{site}/images"),
    ("get delete", "/v1/sites/{site}/images/{digest}"),
    ("get head", "/v1/sites/{site}/images/{digest}/bytes"),
    ("get", "/v1/sites/{site}/health"),
    ("get post", "/v1/sites/{site}/validation"),
    ("get", "/v1/sites/{site}/validation/{version}"),
    ("get post", "/v1/sites/{site}/snapshots"),
    ("get", "/v1/sites/{site}/snapshots/{id}"),
    ("get", "/v1/sites/{site}/snapshots/{id}/images"),
    ("get post", "/v1/sites/{site}/jobs"),
    ("get", "/v1/jobs/{id}"),
    ("post", "/v1/jobs/{id}/cancel"),
    ("get", "/v1/jobs/{id}/logs"),
    ("get", "/v1/jobs/{id}/report"),
    ("get", "/v1/sites/{site}/masks"),
    ("get", "/v1/sites/{site}/masks/{version}"),
    ("get", "/v1/sites/{site}/masks/{version}/report"),
    ("get head", "/v1/sites/{site}/masks/{version}/bytes"),
    ("get", "/v1/sites/{site}/masks/{version}/deltas"),
    ("get head", "/v1/sites/{site}/masks/{version}/deltas/{parent}"),
    ("get post", "/v1/priors"),
    ("get head", "/v1/priors/{prior}"),
    ("get", "/v1/sites/{site}/masks/{version}/priors"),
    ("get head", "/v1/sites/{site}/masks/{version}/priors/{prior}"),
    ("get", "/v1/sites/{site}/channels"),
    ("get put", "/v1/sites/{site}/channels/{channel}"),
    ("get", "/v1/sites/{site}/channels/{channel}/history"),
    ("get head", "/v1/sites/{site}/channels/{channel}/mask"),
    ("get", "/v1/base"),
    ("get head", "/v1/base/bytes"),
    ("get", "/v1/bases"),
    ("get post", "/v1/sites/{site}/devices"),
    ("get", "/v1/device"),
    ("put", "/v1/device/status"),
    ("get post", "/v1/tokens"),
    ("delete", "/v1/tokens/{id}"),
    ("get", "/v1/whoami"),
    ("get", "/v1/audit"),
    ("get", "/v1/workers"),
    ("get", "/v1/events"),
    ("get put", "/v1/worker/attempts/{attempt}/blobs/{digest}"),
];

#[tokio::test]
async fn the_document_has_every_endpoint_of_the_contract_and_no_other() {
    let server = Server::start(Sqlite).await;
    let document = server.person(None).get("/openapi.json").await.good().json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let described: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| *key != "parameters");
            methods.map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    let contract: BTreeSet<(String, String)> = CONTRACT
        .iter()
        .flat_map(|(methods, path)| {
            methods
                .split(' ')
                .map(|method| (method.to_owned(), (*path).to_owned()))
        })
        .collect();
    assert_eq!(described, contract);
    server.stop().await;
}

#[tokio::test]
async fn every_reference_and_every_parameter_of_the_document_resolves() {
    let server = Server::start(Sqlite).await;
    let document = server.person(None).get("/openapi.json").await.good().json();
    let mut references = Vec::new();
    collect(&document, &mut references);
    for reference in references {
        let pointer = reference.trim_start_matches('#');
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap_or_default();
            assert!(names.insert(id.to_owned()), "{id} names two operations");
            let given: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .filter_map(|parameter| parameter["name"].as_str())
                .collect();
            let asked: BTreeSet<&str> = path
                .split('{')
                .skip(1)
                .filter_map(|rest| rest.split('}').next())
                .collect();
            assert_eq!(given, asked, "{method} {path}");
        }
    }
    server.stop().await;
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match (name.as_str(), field.as_str()) {
                    ("$ref", Some(reference)) => references.push(reference.to_owned()),
                    _ => collect(field, references),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}
