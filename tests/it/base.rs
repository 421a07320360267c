//! `katagami base …` over the real executable.

use crate::support::{generated_base, katagami, stored};

#[test]
fn an_imported_base_is_listed_shown_and_verified() {
    let folder = tempfile::tempdir().unwrap();
    let base = generated_base(1);
    let file = stored(&base, folder.path(), "weights.bin");
    let imported = katagami(
        folder.path(),
        &[
            "base",
            "import",
            "--arch",
            "efficientnet_lite0",
            "--weights",
            file.to_str().unwrap(),
            "--license",
            "Apache-2.0",
            "--json",
        ],
    );
    let digest = base.digest().to_string();
    assert_eq!(imported.good().json()["digest"], digest);
    let listed = katagami(folder.path(), &["base", "list"]).good().out;
    assert!(
        listed.contains(&digest[..12]) && listed.contains("Apache-2.0"),
        "{listed}"
    );
    let shown = katagami(folder.path(), &["base", "show", &digest[..8]])
        .good()
        .json();
    assert_eq!(shown["preprocessing"]["size"], 224);
    katagami(folder.path(), &["base", "verify", &digest]).good();
}

#[test]
fn one_changed_byte_of_a_base_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = stored(&generated_base(1), folder.path(), "weights.safetensors");
    let arguments = [
        "base",
        "import",
        "--arch",
        "efficientnet_lite0",
        "--weights",
        file.to_str().unwrap(),
        "--json",
    ];
    let digest = katagami(folder.path(), &arguments).good().json()["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    let model = folder
        .path()
        .join("bases")
        .join(&digest)
        .join("model.safetensors");
    let mut bytes = std::fs::read(&model).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let said = katagami(folder.path(), &["base", "verify", &digest]).refused(2);
    assert!(said.contains(&digest) && said.contains("damaged"), "{said}");
}

#[test]
fn a_wrong_file_is_one_sentence_and_imports_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = stored(&generated_base(1), folder.path(), "weights.safetensors");
    let path = file.to_str().unwrap();
    let import = |arch, path| {
        katagami(
            folder.path(),
            &["base", "import", "--arch", arch, "--weights", path],
        )
    };
    assert!(
        import("resnet18", path)
            .refused(2)
            .contains("tensor `conv1.weight` of resnet18 is missing")
    );
    assert!(
        import("resnet19", path)
            .refused(2)
            .contains("known are efficientnet_lite0, efficientnet_lite1, efficientnet_lite2, resnet18")
    );
    assert!(import("resnet18", "/nowhere").refused(3).contains("/nowhere"));
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    import("efficientnet_lite0", path).refused(2);
    assert!(!folder.path().join("bases").exists(), "nothing was imported");
}
