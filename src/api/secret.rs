//! Secrets of tokens: made here, shown once, known afterwards only by their SHA-256.

use std::fmt;

use super::start::StartError;
use crate::domain::Digest;

/// What every secret begins with, so that a leaked one is recognised.
const PREFIX: &str = "ktg_";

/// A token's secret: `ktg_` and 256 random bits in hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new secret from the operating system's randomness.
    pub fn generate() -> Result<Self, StartError> {
        let mut bytes = [0; 32];
        rustls::crypto::aws_lc_rs::default_provider()
            .secure_random
            .fill(&mut bytes)
            .map_err(|_| StartError::NoRandomness)?;
        Ok(Self(format!("{PREFIX}{}", hex::encode(bytes))))
    }

    /// The secret that somebody sent; `None`: that is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
        (digits.len() == 64 && hexadecimal).then(|| Self(text.to_owned()))
    }

    /// What the catalog knows of it.
    pub fn hash(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }

    /// The secret itself, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(ktg_…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_its_text_and_hides_in_debug() {
        let secret = Secret::generate().unwrap();
        assert_eq!(Secret::parse(secret.reveal()), Some(secret.clone()));
        assert!(!format!("{secret:?}").contains(&secret.reveal()[4..]));
        assert_ne!(Secret::generate().unwrap(), secret);
        for other in ["", "ktg_", "ktg_xyz", &secret.reveal()[4..]] {
            assert_eq!(Secret::parse(other), None);
        }
    }
}
