//! Which images a command means.

use std::collections::BTreeMap;

use clap::Args;

use crate::domain::Timestamp;
use crate::domain::snapshot::ImageFilter;

/// Which images; all that is given must hold.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Only images with this metadata, such as line=a; may be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    metadata: Vec<(String, String)>,
    /// Only images received since then: 2026-11-24, 2026-11-24T08:00:00Z, or how long ago, such as 7d or 12h
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Only images received before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Only images captured since then
    #[arg(long, value_name = "TIME", value_parser = time)]
    captured_since: Option<Timestamp>,
    /// Only images captured before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    captured_until: Option<Timestamp>,
}

impl FilterArgs {
    /// The filter of a snapshot.
    pub fn filter(self) -> ImageFilter {
        ImageFilter {
            captured_from: self.captured_since,
            captured_until: self.captured_until,
            received_from: self.since,
            received_until: self.until,
            metadata: BTreeMap::from_iter(self.metadata),
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("use KEY=VALUE, such as line=a".to_owned()),
    }
}

/// A point in time as people write it.
fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_micros(time.as_microsecond()));
    }
    // A date is its first moment, as everywhere in UTC.
    if let Ok(date) = text.parse::<jiff::civil::Date>()
        && let Ok(midnight) = format!("{date}T00:00:00Z").parse::<jiff::Timestamp>()
    {
        return Ok(Timestamp::from_micros(midnight.as_microsecond()));
    }
    ago(text).ok_or_else(|| {
        "use a date (2026-11-24), a time (2026-11-24T08:00:00Z), or how long ago (7d, 12h, 30m)".to_owned()
    })
}

/// `7d`, `12h` or `30m` before now.
fn ago(text: &str) -> Option<Timestamp> {
    const MINUTE: i64 = 60_000_000;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => MINUTE,
        "h" => 60 * MINUTE,
        "d" => 24 * 60 * MINUTE,
        "w" => 7 * 24 * 60 * MINUTE,
        _ => return None,
    };
    let span = number.parse::<u32>().ok().map(i64::from)?.checked_mul(unit)?;
    Some(Timestamp::from_micros(
        Timestamp::now().as_micros().checked_sub(span)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(time("1970-01-02"), Ok(Timestamp::from_micros(86_400_000_000)));
        assert_eq!(
            time("1970-01-01T00:00:01Z"),
            Ok(Timestamp::from_micros(1_000_000))
        );
        let week = time("7d").unwrap();
        assert_eq!(Timestamp::now().since(week).as_secs() / 86_400, 7);
        for wrong in ["", "d", "7", "7y", "yesterday", "-7d", "7ä"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn metadata_is_a_key_and_a_value() {
        assert_eq!(pair("line=a=b"), Ok(("line".to_owned(), "a=b".to_owned())));
        assert!(pair("line").is_err() && pair("=a").is_err() && pair("line=").is_err());
    }
}
