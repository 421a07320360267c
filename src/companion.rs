//! Where the other executable is: `katagami-worker`, the one that links libtorch.

use std::path::PathBuf;

/// Beside this executable, else on PATH.
pub fn worker() -> Option<PathBuf> {
    const NAME: &str = "katagami-worker";
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| own.parent().map(|folder| folder.join(NAME)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|folder| folder.join(NAME)))
        .find(|candidate| candidate.is_file())
}
