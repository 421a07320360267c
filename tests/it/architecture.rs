//! The arrows of ARCHITECTURE.md: which module may use which.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module, and the modules that it may use. Everything may use itself.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("base", &["domain"]),
    ("mask", &["domain", "base"]),
    ("evaluate", &["domain"]),
    ("wire", &["domain", "base"]),
    ("config", &["domain", "folders"]),
    ("telemetry", &["domain", "config"]),
    ("catalog", &["domain", "base", "wire"]),
    ("blobs", &["domain", "catalog"]),
    (
        "intake",
        &["domain", "base", "wire", "config", "catalog", "blobs"],
    ),
    ("scheduler", &["domain", "wire", "catalog"]),
    ("release", &["domain", "wire", "catalog", "blobs"]),
    (
        "api",
        &[
            "domain",
            "base",
            "mask",
            "wire",
            "config",
            "telemetry",
            "catalog",
            "blobs",
            "intake",
            "scheduler",
            "release",
            "killpoint",
            "companion",
        ],
    ),
    ("killpoint", &[]),
    ("companion", &[]),
    ("folders", &[]),
    ("client", &["domain", "wire"]),
    ("edge", &["domain", "base", "mask", "wire", "client"]),
    ("train", &["domain", "base", "mask", "evaluate"]),
    (
        "worker",
        &[
            "domain",
            "base",
            "mask",
            "evaluate",
            "wire",
            "client",
            "train",
            "cli",
            "killpoint",
        ],
    ),
];

/// What only the executables and `cli` itself may use.
const TOP: &str = "cli";

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn arrows_between_modules_go_one_way() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut wrong = Vec::new();
    for file in sources(&root) {
        let inside = file.strip_prefix(&root).unwrap();
        let module = inside
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        if ["lib", "bin", TOP].contains(&module) {
            continue;
        }
        let allowed = arrows
            .get(module)
            .unwrap_or_else(|| panic!("name the arrows of module `{module}` in {}", file!()));
        let text = fs::read_to_string(&file).unwrap();
        for used in text.split("crate::").skip(1) {
            let used: String = used
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            if used != module && !used.is_empty() && used != "Result" && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} uses crate::{used}", inside.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that ARCHITECTURE.md does not have:\n{}",
        wrong.join("\n")
    );
}
