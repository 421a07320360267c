//! When a population prior may be made, and when a device should fetch one.

use super::{Digest, ErrorKind, Problem};

/// The fewest sites that a prior is learned from. It holds sums over their masks, for each row and
/// column: of one site's that would be its own mask's, and of two each could take its own off and see
/// the other's. From three on, no site alone can.
pub const FEWEST_SITES: usize = 3;

/// Why no prior was made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PriorError {
    /// Too few sites agree.
    #[error(
        "{sites} sites with a mask over base {} lend it, a prior needs {FEWEST_SITES}; a site lends its masks with `katagami site set SITE --lend-masks true`",
        base.short()
    )]
    TooFewSites {
        /// The base.
        base: Digest,
        /// How many agree.
        sites: usize,
    },
}

impl Problem for PriorError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::PreconditionFailed
    }

    fn code(&self) -> &'static str {
        "too_few_sites"
    }
}

/// Whether a prior may be learned from the masks of `sites` sites over `base`.
pub fn may_be_learned(base: &Digest, sites: usize) -> Result<(), PriorError> {
    if sites < FEWEST_SITES {
        Err(PriorError::TooFewSites { base: *base, sites })
    } else {
        Ok(())
    }
}

/// Whether a device that would have saved `missed` bytes so far, had it held a prior, should fetch its
/// `bytes`. Like renting skis until the rent has cost what skis cost: never more than twice the bytes that
/// the best choice in hindsight takes, and a device that pulls few masks fetches none.
pub const fn is_due(missed: u64, bytes: u64) -> bool {
    missed >= bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prior_is_learned_of_which_a_site_could_subtract_its_own_mask() {
        let base = Digest::of(b"base");
        for sites in 0..FEWEST_SITES {
            let refused = may_be_learned(&base, sites).unwrap_err();
            assert!(refused.to_string().contains("--lend-masks"), "{refused}");
        }
        may_be_learned(&base, FEWEST_SITES).unwrap();
    }
}
