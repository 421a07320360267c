//! Images, validation sets and snapshots.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::Server;
use super::server::picture;
use crate::support::{Answer, katagami};

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
fn a_link_that_leads_nowhere_is_rejected_alone() {
    let server = Server::with_a_site();
    let folder = server.pictures("pictures", 3);
    symlink("nowhere", folder.join("gone.png")).unwrap();
    symlink(".", folder.join("loop")).unwrap();
    let answer = server.katagami(&["images", "submit", "osaka", folder.to_str().unwrap()]);
    assert_eq!(answer.code, Some(2), "{}{}", answer.out, answer.err);
    for line in [
        "rejected gone.png: the link cannot be followed",
        "rejected loop: the link leads back to a folder that it lies in",
        "3 accepted, 0 there already, 2 rejected",
    ] {
        assert!(answer.out.contains(line), "{}", answer.out);
    }

    let labelled = server.folder.path().join("labelled");
    for (class, number) in [("good", 10), ("bad", 11)] {
        picture(&labelled.join(class).join(format!("{number}.pgm")), number);
    }
    symlink("nowhere", labelled.join("good/gone.pgm")).unwrap();
    let set = server.katagami(&["validation", "set", "osaka", labelled.to_str().unwrap()]);
    assert_eq!(set.code, Some(2), "{}{}", set.out, set.err);
    assert!(set.out.contains("rejected good/gone.pgm: "), "{}", set.out);
    assert!(
        set.out.contains("validation set 1 of `osaka`: 2 images"),
        "{}",
        set.out
    );
    // Where a set is too small for lack of a file, that file is named.
    std::fs::remove_dir_all(labelled.join("bad")).unwrap();
    let set = server.katagami(&["validation", "set", "osaka", labelled.to_str().unwrap()]);
    assert_eq!(set.code, Some(2), "{}{}", set.out, set.err);
    assert!(set.err.contains("rejected good/gone.pgm: "), "{}", set.err);
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

/// What `images health --folder` says of a folder.
fn health_of(folder: &Path, more: &[&str]) -> Answer {
    let fixed = ["images", "health", "--folder", folder.to_str().unwrap()];
    katagami(folder, &[&fixed[..], more].concat())
}

/// The lines of `images health --folder --finding CODE`.
fn found(folder: &Path, code: &str, more: &[&str]) -> Vec<String> {
    let answer = health_of(folder, &[&["--finding", code][..], more].concat()).good();
    answer.out.lines().map(str::to_owned).collect()
}

#[test]
fn copies_of_a_file_are_duplicates_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    picture(&at("a.pgm"), 1);
    picture(&at("c.pgm"), 2);
    for copy in ["b.pgm", "d.pgm"] {
        std::fs::copy(at("a.pgm"), at(copy)).unwrap();
    }
    // The pixels of c in other bytes.
    let pixels = std::fs::read(at("c.pgm")).unwrap();
    std::fs::write(at("e.pgm"), [b"P5\n64 64\n255\n", &pixels[13..]].concat()).unwrap();
    assert_eq!(
        found(folder.path(), "exact-duplicate", &[]),
        ["e.pgm", "b.pgm", "d.pgm"]
    );
    let json = health_of(folder.path(), &["--json"]).good().json();
    let images = json["findings"][0]["images"].as_array().unwrap();
    let names: Vec<_> = (images.iter())
        .map(|image| json["files"][image.as_str().unwrap()].as_str().unwrap())
        .collect();
    assert_eq!(names, ["e.pgm", "b.pgm", "d.pgm"], "{json}");
    assert_eq!(
        json["files"].as_object().unwrap().len(),
        5,
        "each has a name: {json}"
    );
    let table = health_of(folder.path(), &[]).good().out;
    assert!(table.contains("exact-duplicate  3"), "{table}");
    assert!(table.contains("of 5 images"), "{table}");

    std::fs::remove_file(at("e.pgm")).unwrap();
    assert_eq!(found(folder.path(), "exact-duplicate", &[]), ["b.pgm", "d.pgm"]);
}

#[test]
fn pictures_that_cannot_be_decoded_are_found_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let broken: Vec<String> = (10..22).map(|number| format!("{number}.jpg")).collect();
    for name in &broken {
        std::fs::write(folder.path().join(name), "no picture any more").unwrap();
    }
    std::fs::write(folder.path().join("notes.txt"), "never one").unwrap();
    symlink("nowhere", folder.path().join("gone.jpg")).unwrap();
    let health = health_of(folder.path(), &[]).good().out;
    assert!(health.contains("unreadable  12"), "{health}");
    assert!(!health.contains("nothing found wrong"), "{health}");
    assert!(health.contains("14 files would be rejected"), "{health}");
    for name in broken.iter().map(String::as_str).chain(["notes.txt", "gone.jpg"]) {
        assert!(health.contains(&format!("  {name}: ")), "{health}");
    }
    assert_eq!(found(folder.path(), "unreadable", &[]), broken);
    // What is cut off is said on standard error, and 0 is all.
    let few = health_of(folder.path(), &["--finding", "unreadable", "--limit", "5"]).good();
    assert_eq!(few.out.lines().count(), 5);
    assert_eq!(
        few.err.trim(),
        "5 of 12 images are listed; list more with --limit 0"
    );
    assert_eq!(found(folder.path(), "unreadable", &["--limit", "0"]), broken);

    let empty = tempfile::tempdir().unwrap();
    assert_eq!(
        health_of(empty.path(), &[]).good().out.trim(),
        "there are no images"
    );
}

#[test]
fn few_images_are_said_to_be_judged_by_absolute_limits_only() {
    let folder = tempfile::tempdir().unwrap();
    let fill = |until: u8| {
        (0..until).for_each(|number| picture(&folder.path().join(format!("{number}.pgm")), number));
    };
    fill(19);
    let said = "fewer than 20 images are judged by absolute limits only";
    let few = health_of(folder.path(), &[]).good().out;
    assert!(few.contains(said), "{few}");
    let blurred = health_of(folder.path(), &["--finding", "blurred"]).good();
    assert_eq!(blurred.out, "", "scripts read images only");
    assert!(blurred.err.contains(said), "{}", blurred.err);
    let same = health_of(folder.path(), &["--finding", "exact-duplicate"]).good();
    assert_eq!(same.err, "", "these are found among any number");
    fill(20);
    let enough = health_of(folder.path(), &[]).good().out;
    assert!(!enough.contains(said), "{enough}");
}

#[test]
fn a_site_lists_all_images_of_a_finding_with_limit_0() {
    let server = Server::with_a_site();
    let folder = server.folder.path().join("black");
    std::fs::create_dir(&folder).unwrap();
    for edge in [40, 50, 60] {
        let mut file = format!("P5 {edge} {edge} 255\n").into_bytes();
        file.resize(file.len() + edge * edge, 0);
        std::fs::write(folder.join(format!("{edge}.pgm")), file).unwrap();
    }
    server
        .katagami(&["images", "submit", "osaka", folder.to_str().unwrap()])
        .good();
    let dark = |limit: &str| {
        server
            .katagami(&["images", "health", "osaka", "--finding", "dark", "--limit", limit])
            .good()
    };
    let all = dark("0");
    assert_eq!(all.out.lines().count(), 3);
    assert!(!all.err.contains("are listed"), "{}", all.err);
    let two = dark("2");
    assert_eq!(two.out.lines().count(), 2);
    assert!(
        two.err
            .contains("2 of 3 images are listed; list more with --limit 0"),
        "{}",
        two.err
    );
}
