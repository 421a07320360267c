//! Pages of long lists: how many entries, and where the next page begins.

use std::str::FromStr;

use super::CatalogError;
use crate::wire::v1::page::Page;

/// How many entries a page has: what was asked, within 1 to 1,000; else 100.
pub fn size(asked: Option<u32>) -> usize {
    asked.map_or(100, |asked| asked.clamp(1, 1000) as usize)
}

/// The cursor of a request as what it stands for.
pub fn cursor<T: FromStr>(given: Option<&str>) -> Result<Option<T>, CatalogError> {
    given
        .map(|text| {
            text.parse().map_err(|_| CatalogError::InvalidCursor {
                given: text.chars().take(80).collect(),
            })
        })
        .transpose()
}

/// A page of `found`, for which one entry more than `size` was asked: if it is
/// there, another page follows, and `cursor` of this page's last entry finds it.
pub fn page<T>(mut found: Vec<T>, size: usize, cursor: impl Fn(&T) -> String) -> Page<T> {
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(cursor);
    Page { items: found, next }
}
