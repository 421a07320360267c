//! Jobs, masks, releases and devices.

use katagami::domain::Digest;

use super::Server;
use super::server::{groups, picture};

/// A server whose site has images and a queued job; the job's identifier.
fn with_a_job() -> (Server, String) {
    let server = Server::with_a_site();
    let pictures = server.pictures("pictures", 3);
    server
        .katagami(&["images", "submit", "osaka", pictures.to_str().unwrap()])
        .good();
    let job = server
        .katagami(&["job", "start", "osaka", "--budget", "12", "--json"])
        .good()
        .json();
    let id = job["id"].as_str().unwrap().to_owned();
    (server, id)
}

#[test]
fn a_job_is_started_listed_and_cancelled() {
    let (server, job) = with_a_job();
    let listed = server
        .katagami(&["job", "list", "osaka", "--state", "queued"])
        .good()
        .out;
    assert!(listed.contains(&job), "{listed}");
    let shown = server.katagami(&["job", "show", &job]).good().out;
    assert!(
        shown.contains("12 steps") && shown.contains("the base"),
        "{shown}"
    );
    let logs = server.katagami(&["job", "logs", &job]).good().out;
    assert!(logs.contains("no attempt yet"), "{logs}");
    server.katagami(&["job", "cancel", &job]).good();
    let said = server.katagami(&["job", "watch", &job]);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    assert!(said.err.contains("was cancelled"), "{}", said.err);
    let said = server
        .katagami(&["job", "start", "osaka", "--recipe", "no-such-recipe"])
        .refused(2);
    assert!(said.contains("no-such-recipe"), "{said}");
}

#[test]
fn a_mask_is_watched_reported_got_released_and_taken_back() {
    let (server, job) = with_a_job();
    let artefact = server.publishes(0.01, 0.09);
    let watched = server.katagami(&["job", "watch", &job]).good();
    assert!(
        watched.out.contains("mask 1 of `osaka`: passed"),
        "{}",
        watched.out
    );
    let report = server.katagami(&["mask", "report", "osaka", "1"]).good();
    for expected in [
        "passed",
        "linear probe",
        "0.750",
        "0.800",
        "+0.050 (+0.010 to +0.090)",
        "RANDOM MASK",
        "94 weights",
    ] {
        assert!(report.out.contains(expected), "{expected}: {}", report.out);
    }
    assert!(
        report.err.contains("katagami release set osaka stable 1"),
        "{}",
        report.err
    );
    let listed = server.katagami(&["mask", "list", "osaka"]).good().out;
    assert!(listed.contains("+0.050 (+0.010 to +0.090)"), "{listed}");
    server.katagami(&["mask", "show", "osaka", "1"]).good();
    let out = server.folder.path().join("got.kgm");
    server
        .katagami(&["mask", "get", "osaka", "1", "--out", out.to_str().unwrap()])
        .good();
    assert_eq!(Digest::of(&std::fs::read(&out).unwrap()), artefact);
    server
        .katagami(&["release", "set", "osaka", "stable", "1"])
        .good();
    let shown = server
        .katagami(&["release", "show", "osaka", "--json"])
        .good()
        .json();
    assert_eq!(shown[0]["mask"], 1, "{shown}");
    server.katagami(&["release", "back", "osaka", "stable"]).good();
    let history = server
        .katagami(&["release", "history", "osaka", "stable", "--json"])
        .good()
        .json();
    assert_eq!(history.as_array().unwrap().len(), 2);
    assert_eq!([&history[0]["from"], &history[1]["to"]], [1, 1], "{history}");
    assert!(history[0]["to"].is_null() && history[0]["reason"] == "back from mask 1");
}

#[test]
fn a_slice_that_pays_for_the_mean_is_said_first() {
    let (server, _) = with_a_job();
    server.publishes_groups(0.01, 0.09, groups());
    let report = server.katagami(&["mask", "report", "osaka", "1"]).good().out;
    assert!(
        report.starts_with(
            "mask 1 of `osaka` is worse for some:\n  slice line=3: 0.800 to 0.750, -0.050 (-0.080 to -0.020) on 90 images\n\
             mask 1 of `osaka`: held\n  slice `line=3` (90 images) is worse with the mask: balanced accuracy -0.050"
        ),
        "{report}"
    );
    for expected in ["class crack", "what was taken for what", "AS crack", "70.0 80.0"] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    let json = server
        .katagami(&["mask", "report", "osaka", "1", "--json"])
        .good();
    assert!(
        json.out.find("line=3") < json.out.find("\"validation\""),
        "{}",
        json.out
    );
    assert_eq!(json.json()["worse"][0]["kind"], "slice");
}

#[test]
fn a_kpi_of_ones_own_is_a_text_or_a_file_and_is_checked_before_the_training() {
    let (server, _) = with_a_job();
    let file = server.folder.path().join("kpi.json");
    std::fs::write(
        &file,
        r#"{"name": "cost", "costs": {"bad": {"good": 9}, "good": {"bad": 1}}}"#,
    )
    .unwrap();
    let at = format!("@{}", file.display());
    server.katagami(&["site", "create", "kyoto", "--kpi", &at]).good();
    let shown = server.katagami(&["site", "show", "kyoto"]).good().out;
    assert!(shown.contains("cost of an image, less is better"), "{shown}");
    let labelled = server.folder.path().join("labelled");
    for (class, number) in [("good", 20), ("bad", 30)] {
        picture(&labelled.join(class).join("1.pgm"), number);
    }
    server
        .katagami(&["validation", "set", "osaka", labelled.to_str().unwrap()])
        .good();
    let recall = r#"{"name": "recall-at-false-alarm", "normal": "ok", "rate": 0.05}"#;
    let said = server
        .katagami(&["job", "start", "osaka", "--kpi", recall])
        .refused(2);
    assert!(
        said.contains("names class `ok`, but the validation split has `bad`, `good`"),
        "{said}"
    );
    let said = server.katagami(&["job", "start", "osaka", "--kpi", "magic"]);
    assert_eq!(
        said.code,
        Some(2),
        "an argument is refused before anything is asked"
    );
    assert!(said.err.contains("there is no figure `magic`"), "{}", said.err);
}

#[test]
fn what_the_gate_held_needs_a_reason_and_what_it_refused_force() {
    let (server, _) = with_a_job();
    server.publishes(-0.005, 0.02);
    let said = server
        .katagami(&["release", "set", "osaka", "stable", "1"])
        .refused(1);
    assert!(said.contains("give a reason"), "{said}");
    server
        .katagami(&[
            "release",
            "set",
            "osaka",
            "stable",
            "1",
            "--reason",
            "line is down",
        ])
        .good();
    server.katagami(&["job", "start", "osaka"]).good();
    server.publishes(-0.09, -0.02);
    server
        .katagami(&["release", "set", "osaka", "stable", "2", "--reason", "because"])
        .refused(1);
    server
        .katagami(&[
            "release", "set", "osaka", "stable", "2", "--reason", "because", "--force",
        ])
        .good();
    let history = server
        .katagami(&["release", "history", "osaka", "stable"])
        .good()
        .out;
    assert_eq!(history.matches("override").count(), 2, "{history}");
}

#[test]
fn a_device_gets_its_token_once_and_is_listed() {
    let server = Server::with_a_site();
    let enrolled = server
        .katagami(&["device", "enrol", "osaka", "camera-3", "--channel", "canary"])
        .good();
    let token = enrolled.out.trim();
    assert!(
        enrolled.err.contains(&format!("--token {token}")),
        "{}",
        enrolled.err
    );
    assert!(enrolled.err.contains(&server.url()), "{}", enrolled.err);
    let listed = server.katagami(&["device", "list", "osaka"]).good().out;
    for expected in ["camera-3", "canary", "not heard of yet"] {
        assert!(listed.contains(expected), "{listed}");
    }
    assert!(!listed.contains(token));
    // `device token` is the same command.
    server.katagami(&["device", "token", "osaka", "camera-4"]).good();
}

#[test]
fn a_mask_of_another_view_is_released_with_a_reason_and_said_where_the_view_is_set() {
    let (server, job) = with_a_job();
    server.publishes(0.01, 0.09);
    server
        .katagami(&["release", "set", "osaka", "stable", "1"])
        .good();
    let set = server
        .katagami(&["site", "set", "osaka", "--view", r#"{"tiles": {"columns": 2}}"#])
        .good();
    assert!(
        set.err
            .contains("mask 1 on channel `stable` was trained with another view (whole picture)"),
        "{}",
        set.err
    );
    let shown = server.katagami(&["job", "show", &job]).good().out;
    assert!(shown.contains("whole picture"), "{shown}");
    let shown = server.katagami(&["mask", "show", "osaka", "1"]).good().out;
    assert!(shown.contains("whole picture"), "{shown}");
    let refused = server
        .katagami(&["release", "set", "osaka", "canary", "1"])
        .refused(1);
    assert!(refused.contains("give a reason"), "{refused}");
    server
        .katagami(&["release", "set", "osaka", "canary", "1", "--reason", "to compare"])
        .good();
    // Back is a reason of its own: nobody is kept from what ran before.
    server
        .katagami(&["release", "set", "osaka", "stable", "none"])
        .good();
    server.katagami(&["release", "back", "osaka", "stable"]).good();
    let refused = server
        .katagami(&["job", "start", "osaka", "--start", "mask:1"])
        .refused(1);
    assert!(refused.contains("start from `base`"), "{refused}");
    let anew = server.katagami(&["job", "start", "osaka"]).good().out;
    assert!(anew.contains("is queued, and starts from the base"), "{anew}");
}
