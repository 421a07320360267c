//! Names that people give and numbers that we give.
//!
//! A name validates itself when it is parsed or deserialised, so a handler or
//! a command that holds one never checks it again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a {what}: {rule}")]
pub struct InvalidName {
    given: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $max:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                let valid = (1..=$max).contains(&text.len())
                    && text.chars().all(|c| word(c) || $extra.contains(c))
                    && text.starts_with(word)
                    && text.ends_with(word);
                if valid {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName { given: text.chars().take(80).collect(), what: $what, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of a site, such as `osaka-2`.
    SiteName,
    "site name",
    "use 1 to 63 lower-case letters, digits and hyphens, beginning and ending with a letter or digit",
    63,
    "-"
);

name!(
    /// The name of a channel, such as `stable` or `line-a.stable`.
    ChannelName,
    "channel name",
    "use 1 to 63 lower-case letters, digits, hyphens and dots, beginning and ending with a letter or digit",
    63,
    "-."
);

/// The version of a mask: 1, 2, 3 … within its site, never used twice.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct MaskVersion(pub u32);

impl fmt::Display for MaskVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MaskVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        #[schema(value_type = uuid::Uuid)]
        pub struct $type(pub Uuid);

        impl $type {
            /// A new identifier. Version 7: later ones sort later.
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $type {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    /// Identifies a snapshot.
    SnapshotId
);
id!(
    /// Identifies a job.
    JobId
);
id!(
    /// Identifies an edge device.
    DeviceId
);
id!(
    /// Identifies an access token (not its secret).
    TokenId
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_refuse_what_a_path_could_abuse() {
        for bad in ["", "-a", "a-", "A", "a/b", "..", "a b", "ä", &"a".repeat(64)] {
            assert!(bad.parse::<SiteName>().is_err(), "{bad}");
        }
        assert!("line-a.stable".parse::<ChannelName>().is_ok());
        assert!("line-a.stable".parse::<SiteName>().is_err());
    }

    proptest! {
        #[test]
        fn a_valid_name_survives_json(text in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?") {
            let name: SiteName = text.parse().unwrap();
            let json = serde_json::to_string(&name).unwrap();
            prop_assert_eq!(serde_json::from_str::<SiteName>(&json).unwrap(), name);
        }
    }
}
