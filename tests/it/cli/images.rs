//! Images, validation sets and snapshots.

use super::Server;
use super::server::picture;

#[test]
fn a_folder_is_submitted_with_its_captions_and_again_without_harm() {
    let server = Server::with_a_site();
    let folder = server.pictures("pictures", 5);
    std::fs::write(
        folder.join("3.json"),
        r#"{"captured_at": "2026-11-24T08:00:00Z", "metadata": {"line": "a"}}"#,
    )
    .unwrap();
    let submit = ["images", "submit", "osaka", folder.to_str().unwrap(), "--json"];
    let first = server.katagami(&submit).good().json();
    assert_eq!(
        [&first["accepted"], &first["duplicates"], &first["rejected"]],
        [5, 0, 0],
        "{first}"
    );
    let second = server.katagami(&submit).good().json();
    assert_eq!(second["duplicates"], 5, "{second}");
    let of_line_a = server
        .katagami(&["images", "list", "osaka", "--metadata", "line=a", "--json"])
        .good()
        .json();
    assert_eq!(of_line_a.as_array().unwrap().len(), 1);
    assert_eq!(of_line_a[0]["captured_at"], "2026-11-24T08:00:00Z");
    let old = server
        .katagami(&["images", "list", "osaka", "--until", "2020-01-01", "--json"])
        .good()
        .json();
    assert_eq!(old.as_array().unwrap().len(), 0);
    let some = server
        .katagami(&["images", "list", "osaka", "--limit", "2"])
        .good();
    assert_eq!(some.out.lines().count(), 3, "{}", some.out);
    assert!(some.err.contains("--limit 0"), "{}", some.err);
}

#[test]
fn a_rejected_file_is_listed_with_its_reason_and_the_rest_is_accepted() {
    let server = Server::with_a_site();
    let folder = server.pictures("pictures", 3);
    std::fs::write(folder.join("notes.txt"), "no picture").unwrap();
    let answer = server.katagami(&["images", "submit", "osaka", folder.to_str().unwrap()]);
    assert_eq!(answer.code, Some(2), "{}{}", answer.out, answer.err);
    assert!(answer.out.contains("rejected notes.txt: "), "{}", answer.out);
    assert!(
        answer.out.contains("3 accepted, 0 there already, 1 rejected"),
        "{}",
        answer.out
    );
    assert!(
        answer.err.contains("error: 1 of 4 files were rejected"),
        "{}",
        answer.err
    );
    server
        .katagami(&["images", "submit", "osaka", "/nowhere"])
        .refused(3);
}

#[test]
fn a_tar_is_submitted_as_it_is_and_images_can_be_deleted() {
    let server = Server::with_a_site();
    server.pictures("pictures", 4);
    let tar = server.folder.path().join("pictures.tar");
    let made = std::process::Command::new("tar")
        .args(["-cf", tar.to_str().unwrap(), "pictures"])
        .current_dir(server.folder.path())
        .status()
        .unwrap();
    assert!(made.success());
    let sent = server
        .katagami(&["images", "submit", "osaka", tar.to_str().unwrap(), "--json"])
        .good()
        .json();
    assert_eq!(sent["accepted"], 4, "{sent}");
    let digest = sent["files"][0]["digest"].as_str().unwrap();
    server.katagami(&["images", "rm", "osaka", digest]).good();
    let left = server
        .katagami(&["images", "list", "osaka", "--json"])
        .good()
        .json();
    assert_eq!(left.as_array().unwrap().len(), 3);
    let all = server
        .katagami(&["images", "list", "osaka", "--deleted", "--json"])
        .good()
        .json();
    assert_eq!(all.as_array().unwrap().len(), 4);
}

#[test]
fn a_validation_set_is_set_and_kept_out_of_snapshots() {
    let server = Server::with_a_site();
    let pictures = server.pictures("pictures", 6);
    let labelled = server.folder.path().join("labelled");
    for (split, class, number) in [
        ("validation", "good", 0),
        ("validation", "bad", 10),
        ("test", "good", 11),
        ("test", "bad", 12),
    ] {
        picture(
            &labelled.join(split).join(class).join(format!("{number}.pgm")),
            number,
        );
    }
    let set = server
        .katagami(&["validation", "set", "osaka", labelled.to_str().unwrap(), "--json"])
        .good()
        .json();
    assert_eq!(set["set"]["classes"]["good"]["test"], 1, "{set}");
    let listed = server.katagami(&["validation", "list", "osaka"]).good().out;
    assert!(listed.contains("bad, good"), "{listed}");
    server
        .katagami(&["images", "submit", "osaka", pictures.to_str().unwrap()])
        .good();
    let snapshot = server
        .katagami(&["snapshot", "create", "osaka", "--json"])
        .good()
        .json();
    assert_eq!([&snapshot["images"], &snapshot["left_out"]], [5, 1], "{snapshot}");
    let listed = server.katagami(&["snapshot", "list", "osaka"]).good().out;
    assert!(listed.contains(snapshot["id"].as_str().unwrap()), "{listed}");
}

#[test]
fn health_says_what_is_wrong_and_a_snapshot_leaves_it_out() {
    let server = Server::with_a_site();
    let folder = server.pictures("pictures", 30);
    let pgm = |name: &str, grey: u8, edge: usize| {
        let mut file = format!("P5 {edge} {edge} 255\n").into_bytes();
        file.resize(file.len() + edge * edge, grey);
        std::fs::write(folder.join(name), file).unwrap();
    };
    pgm("black.pgm", 0, 64);
    std::fs::write(folder.join("notes.txt"), "no picture").unwrap();
    let path = folder.to_str().unwrap();
    server.katagami(&["images", "submit", "osaka", path]);
    let health = server.katagami(&["images", "health", "osaka"]).good();
    assert!(
        health.out.contains("dark") && health.out.contains("nearly black"),
        "{}",
        health.out
    );
    assert!(health.out.contains("notes.txt"), "{}", health.out);
    assert!(
        health
            .err
            .contains("katagami snapshot create osaka --exclude dark"),
        "{}",
        health.err
    );
    let json = server
        .katagami(&["images", "health", "osaka", "--json"])
        .good()
        .json();
    let dark = json["findings"][0]["images"][0].as_str().unwrap().to_owned();
    let listed = server
        .katagami(&["images", "health", "osaka", "--finding", "dark"])
        .good()
        .out;
    assert_eq!(listed.trim(), dark);
    let snapshot = server
        .katagami(&[
            "snapshot",
            "create",
            "osaka",
            "--exclude",
            "dark,blurred",
            "--json",
        ])
        .good()
        .json();
    assert_eq!(
        [&snapshot["images"], &snapshot["excluded"]],
        [30, 1],
        "{snapshot}"
    );
    let said = server
        .katagami(&["snapshot", "create", "osaka", "--exclude", &dark])
        .good()
        .out;
    assert!(said.contains("1 images excluded"), "{said}");
    let ugly = server.katagami(&["snapshot", "create", "osaka", "--exclude", "ugly"]);
    assert_eq!(ugly.code, Some(2));
    assert!(
        ugly.err.contains("near-duplicate"),
        "it says what there is: {}",
        ugly.err
    );

    // The same of the folder, with the names of files and no server.
    let alone = server.katagami_as("no token", &["images", "health", "--folder", path, "--json"]);
    let alone = alone.good().json();
    assert_eq!(alone["findings"], json["findings"]);
    assert_eq!(alone["files"][&dark], "black.pgm");
    let listed = server
        .katagami(&["images", "health", "--folder", path, "--finding", "dark"])
        .good()
        .out;
    assert_eq!(listed.trim(), "black.pgm");
}
