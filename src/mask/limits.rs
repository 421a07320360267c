//! A budget for what a file may make its reader allocate.

use super::MaskError;

/// How much memory a decoder may take. Every allocation whose size a file
/// names is reserved here first, so that a lying number costs nothing.
#[derive(Debug, Clone)]
pub struct Limits {
    bytes: usize,
}

impl Limits {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Self {
        Self { bytes }
    }

    /// Takes `bytes` from what is left.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), MaskError> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or(MaskError::LimitExceeded {
            needed: bytes,
            left: self.bytes,
        })?;
        Ok(())
    }
}

impl Default for Limits {
    /// 256 MiB: enough for a mask over two billion weights.
    fn default() -> Self {
        Self::new(256 << 20)
    }
}
