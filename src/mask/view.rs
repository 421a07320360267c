//! The view in an artefact's header: `katagami.mask.v1.View`.

use super::MaskError;
use crate::domain::View;
use crate::domain::view::{BitDepth, Region, Share, Tiles};

/// `katagami.mask.v1.View`
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Message {
    #[prost(uint32, tag = "1")]
    left: u32,
    #[prost(uint32, tag = "2")]
    top: u32,
    #[prost(uint32, tag = "3")]
    width: u32,
    #[prost(uint32, tag = "4")]
    height: u32,
    #[prost(uint32, tag = "5")]
    columns: u32,
    #[prost(uint32, tag = "6")]
    rows: u32,
    #[prost(uint32, tag = "7")]
    overlap: u32,
    #[prost(uint32, tag = "8")]
    size: u32,
    #[prost(uint32, tag = "9")]
    bit_depth: u32,
    #[prost(bytes = "vec", tag = "10")]
    digest: Vec<u8>,
}

impl Message {
    /// The message of a view; none of the default one, which a header leaves out.
    pub(super) fn of(view: &View) -> Option<Self> {
        let View {
            region,
            tiles,
            size,
            bit_depth,
        } = view;
        (!view.is_default()).then(|| Self {
            left: region.left.parts(),
            top: region.top.parts(),
            width: region.width.parts(),
            height: region.height.parts(),
            columns: tiles.columns,
            rows: tiles.rows,
            overlap: tiles.overlap.parts(),
            size: size.unwrap_or(0),
            bit_depth: match bit_depth {
                None => 0,
                Some(BitDepth::UsedBits) => 1,
                Some(BitDepth::FullRange) => 2,
            },
            digest: view.digest().as_bytes().to_vec(),
        })
    }

    /// The view of a message; the default one of an absent or empty one. A digest that differs tells of fields that this program does not know.
    pub(super) fn read(&self) -> Result<View, MaskError> {
        if *self == Self::default() {
            return Ok(View::default());
        }
        let wrong = MaskError::Corrupt("its view is none that this program knows");
        let share = |parts: u32| Share::of_parts(parts).ok_or_else(|| wrong.clone());
        let view = View {
            region: Region {
                left: share(self.left)?,
                top: share(self.top)?,
                width: share(self.width)?,
                height: share(self.height)?,
            },
            tiles: Tiles {
                columns: self.columns,
                rows: self.rows,
                overlap: share(self.overlap)?,
            },
            size: (self.size > 0).then_some(self.size),
            bit_depth: match self.bit_depth {
                0 => None,
                1 => Some(BitDepth::UsedBits),
                2 => Some(BitDepth::FullRange),
                _ => return Err(wrong),
            },
        };
        match view.checked() {
            Ok(checked) if checked == view && view.digest().as_bytes() == self.digest.as_slice() => Ok(view),
            _ => Err(wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tiled() -> View {
        let text = r#"{"region": {"left": 0.1, "width": 0.5}, "tiles": {"columns": 2, "overlap": 0.25}, "size": 64, "bit-depth": "full-range"}"#;
        View::parse(text).unwrap()
    }

    #[test]
    fn a_view_comes_back_and_the_default_takes_no_byte() {
        assert_eq!(Message::of(&tiled()).unwrap().read(), Ok(tiled()));
        assert_eq!(Message::of(&View::default()), None);
    }

    #[test]
    fn a_view_that_is_none_or_of_a_newer_program_is_refused() {
        let damage: [fn(&mut Message); 6] = [
            |view| view.left = 10_001,
            |view| view.left = 9_000,
            |view| view.columns = 0,
            |view| view.columns = 1,
            |view| view.bit_depth = 3,
            |view| view.digest[0] ^= 1,
        ];
        for damaged in damage {
            let mut message = Message::of(&tiled()).unwrap();
            damaged(&mut message);
            assert!(
                matches!(message.read(), Err(MaskError::Corrupt(_))),
                "{message:?}"
            );
        }
    }
}
