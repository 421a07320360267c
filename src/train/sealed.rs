//! Files of the training's own: a magic number, fields, a checksum at the end;
//! and a reader of such bytes that refuses what is wrong and never panics.

use crate::domain::Digest;

const CHECKSUM: usize = 32;

/// `magic` and `content` with the checksum of both.
pub(super) fn seal(magic: [u8; 8], content: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(magic.len() + content.len() + CHECKSUM);
    sealed.extend(magic);
    sealed.extend(content);
    let checksum = Digest::of(&sealed);
    sealed.extend(checksum.as_bytes());
    sealed
}

/// The content of what [`seal`] wrote; none if its magic number or checksum is wrong.
pub(super) fn open(magic: [u8; 8], sealed: &[u8]) -> Option<Reader<'_>> {
    let (content, checksum) = sealed.split_last_chunk::<CHECKSUM>()?;
    let fields = content.strip_prefix(&magic)?;
    (Digest::of(content).as_bytes() == checksum).then_some(Reader(fields))
}

/// Takes fields from the front; none where there is too little left.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn digest(&mut self) -> Option<Digest> {
        self.array().map(Digest::from_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn f64(&mut self) -> Option<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// All that is left, expanded to exactly `length` bytes: what the caller
    /// expects and not what the file says, so a lying file costs nothing.
    pub(super) fn expand(self, length: usize) -> Option<Vec<u8>> {
        let expanded = zstd::bulk::decompress(self.0, length).ok()?;
        (expanded.len() == length).then_some(expanded)
    }
}
