//! Sites, tokens, and what a command says when it cannot do what it is asked.

use std::process::Command;

use super::Server;
use super::server::answer;

#[test]
fn a_site_is_made_listed_and_shown_with_what_to_do_next() {
    let server = Server::start();
    let empty = server.katagami(&["site", "list"]).good();
    assert!(empty.out.contains("katagami site create"), "{}", empty.out);
    let made = server
        .katagami(&[
            "site",
            "create",
            "osaka",
            "--title",
            "Osaka works",
            "--margin",
            "0.02",
        ])
        .good();
    assert!(
        made.err.contains("next: katagami images submit osaka"),
        "{}",
        made.err
    );
    let listed = server.katagami(&["site", "list"]).good().out;
    assert!(
        listed.contains("osaka") && listed.contains("Osaka works"),
        "{listed}"
    );
    let shown = server
        .katagami(&["site", "show", "osaka", "--json"])
        .good()
        .json();
    assert_eq!(shown["gate"]["margin"], 0.02);
    assert_eq!(shown["kpi"], "probe");
    let again = server.katagami(&["site", "create", "osaka"]).refused(1);
    assert!(again.contains("osaka"), "{again}");
}

#[test]
fn what_is_not_there_is_one_sentence_and_exit_code_3() {
    let server = Server::start();
    for command in [
        &["site", "show", "kyoto"] as &[&str],
        &["images", "list", "kyoto"],
        &["validation", "list", "kyoto"],
        &["snapshot", "list", "kyoto"],
        &["job", "list", "kyoto"],
        &["mask", "list", "kyoto"],
        &["release", "history", "kyoto", "stable"],
        &["device", "list", "kyoto"],
    ] {
        server.katagami(command).refused(3);
    }
    let job = "01890000-0000-7000-8000-000000000000";
    server.katagami(&["job", "show", job]).refused(3);
}

#[test]
fn a_wrong_token_is_exit_code_4_and_an_unreachable_server_5() {
    let server = Server::start();
    server.katagami_as("wrong", &["site", "list"]).refused(4);
    let alone = |arguments: &[&str]| {
        answer(
            Command::new(env!("CARGO_BIN_EXE_katagami"))
                .args(arguments)
                .env("XDG_DATA_HOME", server.folder.path())
                .env_remove("KATAGAMI_SERVER")
                .env_remove("KATAGAMI_TOKEN"),
        )
    };
    let nowhere = ["site", "list", "--server", "http://127.0.0.1:1", "--token", "x"];
    let said = alone(&nowhere).refused(5);
    assert!(said.contains("127.0.0.1:1"), "{said}");
    let said = alone(&["site", "list"]).refused(2);
    assert!(said.contains("katagami serve"), "{said}");
    // The remembered token is never shown to another server.
    let own = server.folder.path().join("katagami");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::copy(server.folder.path().join("server.json"), own.join("server.json")).unwrap();
    alone(&["site", "list"]).good();
    let said = alone(&["site", "list", "--server", "http://127.0.0.1:1"]).refused(2);
    assert!(said.contains("--token"), "{said}");
}

#[test]
fn tokens_are_made_shown_once_and_revoked() {
    let server = Server::with_a_site();
    let issued = server
        .katagami(&[
            "admin", "token", "create", "engineer", "--role", "site", "--site", "osaka", "--json",
        ])
        .good()
        .json();
    let secret = issued["secret"].as_str().unwrap();
    server.katagami_as(secret, &["images", "list", "osaka"]).good();
    server
        .katagami_as(secret, &["site", "create", "kyoto"])
        .refused(4);
    let listed = server.katagami(&["admin", "token", "list"]).good().out;
    assert!(
        listed.contains("engineer") && !listed.contains(secret),
        "{listed}"
    );
    let id = issued["token"]["id"].as_str().unwrap();
    server.katagami(&["admin", "token", "revoke", id]).good();
    server
        .katagami_as(secret, &["images", "list", "osaka"])
        .refused(4);
    let data = server.folder.path().to_str().unwrap();
    let beside = [
        "admin",
        "token",
        "create",
        "spare",
        "--role",
        "admin",
        "--offline",
        "--data",
        data,
    ];
    let spare = server.katagami_as("lost", &beside).good().out;
    server.katagami_as(spare.trim(), &["site", "list"]).good();
    let audit = server.katagami(&["admin", "audit"]).good().out;
    assert!(audit.contains("token"), "{audit}");
    server.katagami(&["admin", "workers"]).good();
    let own = server.katagami(&["admin", "whoami", "--json"]).good().json();
    assert_eq!(own["role"], "admin");
}

#[test]
fn a_site_is_changed_and_its_view_shown() {
    let server = Server::with_a_site();
    let tiled = server.folder.path().join("view.toml");
    std::fs::write(&tiled, "[tiles]\ncolumns = 2\nrows = 2\noverlap = 0.25\n").unwrap();
    let changed = server
        .katagami(&[
            "site",
            "set",
            "osaka",
            "--view",
            tiled.to_str().unwrap(),
            "--kpi",
            "knn",
            "--margin",
            "0.03",
            "--json",
        ])
        .good()
        .json();
    assert_eq!(
        changed["view"]["tiles"],
        serde_json::json!({"columns": 2, "rows": 2, "overlap": 0.25})
    );
    assert_eq!(
        (&changed["kpi"], &changed["gate"]["margin"]),
        (&"knn".into(), &0.03.into())
    );
    let shown = server.katagami(&["site", "show", "osaka"]).good().out;
    assert!(
        shown.contains("whole picture, 2 × 2 tiles overlapping by 0.25"),
        "{shown}"
    );
    let back = server
        .katagami(&["site", "set", "osaka", "--view", "{}"])
        .good()
        .out;
    assert!(
        back.contains("whole picture\n") && back.contains("nearest neighbours"),
        "{back}"
    );
    let made = server
        .katagami(&["site", "create", "kyoto", "--view", r#"{"size": 64}"#, "--json"])
        .good()
        .json();
    assert_eq!(made["view"]["size"], 64);

    let wrong = server.katagami(&["site", "set", "osaka", "--view", r#"{"size": 7}"#]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("7 pixels are no size"), "{}", wrong.err);
    let nothing = server.katagami(&["site", "set", "osaka"]);
    assert_eq!(nothing.code, Some(2), "{}", nothing.err);
    server
        .katagami(&["site", "set", "nara", "--title", "Nara"])
        .refused(3);
}
