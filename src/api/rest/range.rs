//! Conditional requests and ranges (RFC 9110 §13, §14), decided without I/O.

use std::ops::Range;

use axum::http::{HeaderMap, Method, header};

/// What part of a representation a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// All of it: no range, several ranges, or text that is no range.
    Whole,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that there are not.
    Unsatisfiable,
}

/// Reads a `Range` header for a representation of `length` bytes.
pub fn asked(range: &str, length: u64) -> Asked {
    let Some((unit, set)) = range.split_once('=') else {
        return Asked::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Whole;
    }
    let Some((first, last)) = set.trim().split_once('-') else {
        return Asked::Whole;
    };
    let number = |text: &str| match text {
        "" => Some(None),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(Some(digits.parse().unwrap_or(u64::MAX)))
        }
        _ => None,
    };
    match (number(first.trim()), number(last.trim())) {
        (Some(None), Some(Some(suffix))) if suffix == 0 || length == 0 => Asked::Unsatisfiable,
        (Some(None), Some(Some(suffix))) => Asked::Part(length.saturating_sub(suffix)..length),
        (Some(Some(first)), Some(Some(last))) if last < first => Asked::Whole,
        (Some(Some(first)), Some(_)) if first >= length => Asked::Unsatisfiable,
        (Some(Some(first)), Some(last)) => {
            let end = last.map_or(length, |last| last.saturating_add(1).min(length));
            Asked::Part(first..end)
        }
        _ => Asked::Whole,
    }
}

/// What a request for a representation is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// 304.
    NotModified,
    /// 200 with everything.
    Whole,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 416.
    Unsatisfiable,
}

/// Decides by the request's headers, for a representation of `length` bytes
/// under the strong entity tag `etag` (with its quotes). `If-None-Match` comes
/// before `Range`; a range is taken only without `If-Range` or if that is this
/// very tag, so that two masks are never spliced.
pub fn decide(method: &Method, headers: &HeaderMap, etag: &str, length: u64) -> Decision {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .any(|value| value.to_str().is_ok_and(|list| lists(list, etag)))
    {
        return Decision::NotModified;
    }
    let same = text(header::IF_RANGE).is_none_or(|tag| tag.trim() == etag);
    match text(header::RANGE) {
        Some(range) if method == Method::GET && same => match asked(range, length) {
            Asked::Whole => Decision::Whole,
            Asked::Part(part) => Decision::Part(part),
            Asked::Unsatisfiable => Decision::Unsatisfiable,
        },
        _ => Decision::Whole,
    }
}

/// Whether an `If-None-Match` list names `etag`, compared weakly as it must be.
fn lists(list: &str, etag: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAG: &str = "\"abc\"";

    fn decided(pairs: &[(header::HeaderName, &str)]) -> Decision {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().unwrap()))
            .collect();
        decide(&Method::GET, &headers, TAG, 100)
    }

    #[test]
    fn single_ranges_are_cut_to_what_there_is() {
        assert_eq!(asked("bytes=0-9", 100), Asked::Part(0..10));
        assert_eq!(asked("bytes=90-", 100), Asked::Part(90..100));
        assert_eq!(asked("bytes=90-1000", 100), Asked::Part(90..100));
        assert_eq!(asked("bytes=-10", 100), Asked::Part(90..100));
        assert_eq!(asked("bytes=-1000", 100), Asked::Part(0..100));
        assert_eq!(asked("Bytes = 5-5", 100), Asked::Part(5..6));
        assert_eq!(asked(&format!("bytes=0-{}9", u64::MAX), 100), Asked::Part(0..100));
    }

    #[test]
    fn what_is_not_there_is_unsatisfiable() {
        for range in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(asked(range, 100), Asked::Unsatisfiable, "{range}");
        }
        assert_eq!(asked("bytes=0-", 0), Asked::Unsatisfiable);
        assert_eq!(asked("bytes=-5", 0), Asked::Unsatisfiable);
    }

    #[test]
    fn several_ranges_and_nonsense_get_everything() {
        for range in [
            "bytes=0-1,5-6",
            "bytes=9-3",
            "bytes=-",
            "bytes=a-b",
            "lines=1-2",
            "bytes",
            "",
            "bytes=+1-2",
        ] {
            assert_eq!(asked(range, 100), Asked::Whole, "{range}");
        }
    }

    #[test]
    fn if_none_match_comes_before_range() {
        let range = (header::RANGE, "bytes=0-9");
        for list in [TAG, "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert_eq!(
                decided(&[(header::IF_NONE_MATCH, list), range.clone()]),
                Decision::NotModified
            );
        }
        let other = (header::IF_NONE_MATCH, "\"other\"");
        assert_eq!(decided(&[other, range]), Decision::Part(0..10));
    }

    #[test]
    fn a_range_of_another_representation_gets_everything() {
        let range = (header::RANGE, "bytes=0-9");
        for stale in ["\"old\"", "W/\"abc\"", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            let decision = decided(&[(header::IF_RANGE, stale), range.clone()]);
            assert_eq!(decision, Decision::Whole, "{stale}");
        }
        assert_eq!(decided(&[(header::IF_RANGE, TAG), range]), Decision::Part(0..10));
    }

    proptest! {
        #[test]
        fn a_part_always_lies_inside(range in ".{0,40}|bytes=[0-9]{0,20}-[0-9]{0,20}", length: u64) {
            if let Asked::Part(part) = asked(&range, length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }

        #[test]
        fn what_is_asked_for_within_bounds_is_given(start in 0..1000_u64, more in 0..1000_u64) {
            let range = format!("bytes={start}-{}", start + more);
            prop_assert_eq!(asked(&range, 2001), Asked::Part(start..start + more + 1));
        }
    }
}
