//! Where Katagami keeps things unless told otherwise.

use std::path::PathBuf;

/// The data folder: the server's, and where commands find what its first start wrote.
pub fn data() -> PathBuf {
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    data.or_else(home).unwrap_or_default().join("katagami")
}
