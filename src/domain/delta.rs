//! When a delta between two artefacts is worth its own request. Server and
//! device ask the same rule, so that neither makes nor asks for what helps nobody.

/// The shortest artefact of which deltas are made. Half of fewer bytes is less
/// than what the headers of another request and its answer take.
const SHORTEST: u64 = 4 << 10;

/// Whether a delta to an artefact of `whole` bytes can be worth it.
pub const fn may_help(whole: u64) -> bool {
    whole >= SHORTEST
}

/// Whether a delta of `delta` bytes is: it saves a quarter or more of `whole` bytes.
pub const fn is_worthwhile(delta: u64, whole: u64) -> bool {
    may_help(whole) && delta <= whole - whole.div_ceil(4)
}

/// Whether an artefact coded with a population prior in `coded` bytes, rather than `whole` ones, is: it
/// saves an eighth or more, which is what asking for it takes.
pub const fn is_worthwhile_with_prior(coded: u64, whole: u64) -> bool {
    may_help(whole) && coded <= whole - whole.div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delta_saves_a_quarter_of_something_that_is_not_small() {
        assert!(is_worthwhile(3_072, 4_096));
        assert!(!is_worthwhile(3_073, 4_096));
        assert!(!is_worthwhile(1, 4_095));
        assert!(!is_worthwhile(u64::MAX, u64::MAX));
    }
}
