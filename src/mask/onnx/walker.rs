//! Protobuf on the wire: where each field of a message lies. Nothing is
//! decoded into structures and encoded again, so that what this program does
//! not know stays as it is.

use std::ops::Range;

use super::OnnxError;

/// What a field holds; ranges count from the beginning of the file.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// A number of variable length.
    Number(u64),
    /// Four or eight bytes.
    Fixed(Range<usize>),
    /// A text, a message, raw bytes or packed numbers.
    Bytes(Range<usize>),
}

/// The fields of one message, in the order of the file. Ends at the first error.
pub(super) struct Fields<'a> {
    file: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    /// The message at `place`, which must lie within `file`.
    pub(super) fn of(file: &'a [u8], place: Range<usize>) -> Self {
        Self {
            file,
            at: place.start,
            end: place.end,
        }
    }

    fn field(&mut self) -> Result<(u64, Value), OnnxError> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Fixed(self.take(8)?),
            2 => {
                let length = self.number()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed(self.take(4)?),
            // Groups were deprecated long before ONNX.
            _ => return Err(OnnxError::Malformed("a field of no known kind")),
        };
        match tag >> 3 {
            0 => Err(OnnxError::Malformed("a field without number")),
            number => Ok((number, value)),
        }
    }

    fn number(&mut self) -> Result<u64, OnnxError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.file[self.take(1)?][0];
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(OnnxError::Malformed("a number of more than 64 bits"))
    }

    fn take(&mut self, length: u64) -> Result<Range<usize>, OnnxError> {
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| self.at.checked_add(length))
            .filter(|end| *end <= self.end)
            .ok_or(OnnxError::Malformed("it is cut short"))?;
        let taken = self.at..end;
        self.at = end;
        Ok(taken)
    }
}

impl Iterator for Fields<'_> {
    type Item = Result<(u64, Value), OnnxError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at == self.end {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.end;
        }
        Some(field)
    }
}

/// The packed numbers at `place`.
pub(super) fn numbers(file: &[u8], place: Range<usize>) -> impl Iterator<Item = Result<u64, OnnxError>> {
    let mut fields = Fields::of(file, place);
    std::iter::from_fn(move || (fields.at < fields.end).then(|| fields.number())).fuse()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Vec<Result<(u64, Value), OnnxError>> {
        Fields::of(bytes, 0..bytes.len()).collect()
    }

    #[test]
    fn fields_are_found_where_they_lie() {
        let bytes = [0x08, 0x96, 0x01, 0x12, 0x02, b'a', b'b', 0x1d, 1, 2, 3, 4];
        let found: Vec<_> = fields(&bytes).into_iter().map(Result::unwrap).collect();
        let expected = vec![
            (1, Value::Number(150)),
            (2, Value::Bytes(5..7)),
            (3, Value::Fixed(8..12)),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn lengths_beyond_the_end_and_endless_numbers_are_refused() {
        let longest = [&[0x08_u8][..], &[0xff; 9], &[0x01]].concat();
        assert!(matches!(fields(&longest)[..], [Ok((1, Value::Number(u64::MAX)))]));
        let endless = [&[0x08_u8][..], &[0xff; 9], &[0x02]].concat();
        let huge = [&[0x12_u8][..], &[0xff; 9], &[0x01]].concat();
        for bytes in [
            &endless[..],
            &huge,
            &[0x12, 3, 0],
            &[0x08],
            &[0x0b],
            &[0x00, 0x00],
        ] {
            assert!(
                matches!(fields(bytes)[..], [Err(OnnxError::Malformed(_))]),
                "{bytes:?}"
            );
        }
    }
}
