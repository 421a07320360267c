//! How files of an archive come to their classes and splits.

use super::*;

fn candidate(name: &str, content: &[u8]) -> Candidate {
    Candidate {
        name: name.to_owned(),
        digest: Digest::of(content),
        bytes: 1,
        phash: PerceptualHash(0),
    }
}

fn candidates(names: &[&str]) -> Vec<Candidate> {
    names
        .iter()
        .map(|name| candidate(name, name.as_bytes()))
        .collect()
}

fn classes(kept: &[(Candidate, Label)]) -> Vec<&str> {
    kept.iter().map(|(_, label)| label.class.as_str()).collect()
}

fn codes(out: &[Received]) -> Vec<&str> {
    out.iter()
        .map(|file| file.code.as_deref().unwrap_or_default())
        .collect()
}

#[test]
fn a_path_names_class_and_split() {
    let label = |path: &str| label_of_path(path).map(|label| (label.class, label.split)).ok();
    assert_eq!(label("crack/1.png"), Some(("crack".to_owned(), None)));
    assert_eq!(
        label("test/crack/1.png"),
        Some(("crack".to_owned(), Some(Split::Test)))
    );
    for path in ["1.png", "test/1.png", "a/crack/1.png", "a/b/crack/1.png"] {
        assert_eq!(label(path), None, "{path}");
    }
}

#[test]
fn one_folder_around_the_set_is_looked_through() {
    let inside = |names: &[&str]| common_folder(&candidates(names), None);
    assert_eq!(inside(&["set/crack/1.png", "set/good/2.png"]), 4);
    assert_eq!(inside(&["set/test/crack/1.png", "set/validation/good/2.png"]), 4);
    assert_eq!(inside(&["crack/1.png", "good/2.png"]), 0);
    assert_eq!(inside(&["crack/1.png", "crack/2.png"]), 0);
    assert_eq!(inside(&["test/crack/1.png", "test/good/2.png"]), 0);
    assert_eq!(common_folder(&[], Some("set/labels.csv")), 4);
}

#[test]
fn a_table_names_classes_and_its_rows_are_answered_one_by_one() {
    let csv = b"\xef\xbb\xbfFile, Class ,split\n1.png,crack,test\n./2.png,good,\n3.png,good,train\n4.png\n5.png,good,validation\n";
    let (labels, wrong) = read_labels(csv).unwrap();
    assert_eq!(codes(&wrong), ["no_such_split", "labels_row"]);
    assert_eq!(labels["1.png"].as_ref().unwrap().split, Some(Split::Test));
    let (kept, out) = label(
        candidates(&["set/1.png", "set/2.png", "set/9.png"]),
        Some(labels),
        4,
    );
    assert_eq!(classes(&kept), ["crack", "good"]);
    assert_eq!(codes(&out), ["no_class", "no_such_file"]);
    assert!(matches!(read_labels(b"a,b\n1,2\n"), Err(IntakeError::Labels(_))));
}

#[test]
fn a_file_that_the_table_names_twice_has_one_class_or_none() {
    let csv = b"file,class,split,defect\n\
        1.png,crack,,\n1.png,good,,\n1.png,crack,,\n\
        2.png,crack,,left\n./2.png,crack,,right\n\
        3.png,good,validation,\n3.png,good,test,\n\
        4.png,good,,\n";
    let (labels, wrong) = read_labels(csv).unwrap();
    assert_eq!(codes(&wrong), ["again"]);
    assert_eq!(wrong[0].name, "labels.csv row 8");
    let names = ["1.png", "2.png", "3.png", "4.png"];
    let (kept, out) = label(candidates(&names), Some(labels), 0);
    assert_eq!(classes(&kept), ["crack", "good", "good"]);
    assert_eq!(kept[1].1.split, Some(Split::Validation));
    assert_eq!(codes(&out), ["two_classes"]);
    let detail = out[0].detail.as_deref().unwrap();
    assert!(
        detail.contains("`crack`") && detail.contains("`good`"),
        "{detail}"
    );
}

#[test]
fn metadata_is_that_of_the_caption_else_of_the_table() {
    let csv = b"file,line,class,remark,camera\n1.png,3,crack,,top\n2.png,4,good,,\n";
    let (labels, wrong) = read_labels(csv).unwrap();
    assert_eq!(codes(&wrong), [""; 0]);
    let (kept, _) = label(candidates(&["1.png", "2.png"]), Some(labels), 0);
    let mut captions = Sidecars::default();
    let caption = sidecars::caption(br#"{"metadata": {"shift": "night"}}"#).unwrap();
    captions.came("2.png", caption.clone()).unwrap();
    captions.came("lost", caption).unwrap();
    let images = split(kept, &mut captions);
    let pairs = |image: &LabelledImage| format!("{:?}", image.metadata.pairs());
    assert_eq!(pairs(&images[0]), r#"{"camera": "top", "line": "3"}"#);
    assert_eq!(pairs(&images[1]), r#"{"shift": "night"}"#);
    assert_eq!(captions.left_over().as_deref(), Some("lost.json"));
}

#[test]
fn an_image_with_two_classes_has_none_and_one_that_comes_twice_counts_once() {
    let files = vec![
        candidate("good/1.png", b"1"),
        candidate("crack/1.png", b"1"),
        candidate("good/2.png", b"2"),
        candidate("good/again.png", b"2"),
        candidate("crack/3.png", b"3"),
    ];
    let (kept, out) = label(files, None, 0);
    assert_eq!(classes(&kept), ["good", "crack"]);
    assert_eq!(codes(&out), ["two_classes", "again", "two_classes"]);
}

#[test]
fn small_sets_are_not_split_and_large_ones_by_digest() {
    let labelled = |count: usize| -> Vec<(Candidate, Label)> {
        let label = Label {
            class: "good".to_owned(),
            split: None,
            metadata: Metadata::default(),
        };
        (0..count)
            .map(|number| (candidate("a", &number.to_le_bytes()), label.clone()))
            .collect()
    };
    let test = |images: &[LabelledImage]| images.iter().filter(|image| image.split == Split::Test).count();
    assert_eq!(test(&split(labelled(99), &mut Sidecars::default())), 0);
    assert!((20..60).contains(&test(&split(labelled(100), &mut Sidecars::default()))));
}
