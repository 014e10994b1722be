//! The headers of a decoded record.

use super::Decoder;
use alloc::borrow::Cow;

/// One header of a decoded record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedHeader<'a> {
    /// The name's bytes as they were in the log.
    pub name: Cow<'a, [u8]>,
    /// The value; null is not empty.
    pub value: Option<&'a [u8]>,
}

/// The headers of a decoded record, in the log's order, as they are encoded.
///
/// A header of three bytes would be a structure of forty: they are decoded one at a time, so that no record takes more
/// memory than its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// An array that was decoded once already, or nothing.
    encoded: &'a [u8],
    count: usize,
}

impl<'a> Headers<'a> {
    /// The array at the front of `encoded`, which was decoded once already and has `count` items.
    pub(super) fn new(encoded: &'a [u8], count: usize) -> Headers<'a> {
        Headers { encoded, count }
    }

    /// Number of headers.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if the record has none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers, decoded one at a time.
    pub fn iter(&self) -> HeadersIter<'a> {
        HeadersIter { decoder: Decoder::new(self.encoded), left: self.count, left_in_block: 0 }
    }
}

impl<'a> IntoIterator for Headers<'a> {
    type Item = DecodedHeader<'a>;
    type IntoIter = HeadersIter<'a>;

    fn into_iter(self) -> HeadersIter<'a> {
        self.iter()
    }
}

/// Iterator over [`Headers`].
#[derive(Clone, Debug)]
pub struct HeadersIter<'a> {
    decoder: Decoder<'a>,
    left: usize,
    left_in_block: u64,
}

impl<'a> Iterator for HeadersIter<'a> {
    type Item = DecodedHeader<'a>;

    fn next(&mut self) -> Option<DecodedHeader<'a>> {
        self.left = self.left.checked_sub(1)?;
        if self.left_in_block == 0 {
            self.left_in_block = self.decoder.array_block().ok()?;
        }
        self.left_in_block = self.left_in_block.checked_sub(1)?;
        // They were decoded when the record was.
        self.decoder.header().ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for HeadersIter<'_> {}

#[cfg(test)]
mod tests {
    use super::super::encode_long;
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn headers_are_read_from_every_kind_of_array_block() {
        let fields = [0, 0, 0, 14, 2];
        let header = |name: u8| [2, name, 0, 0];
        // Two items; one whose block says how many bytes it has; two more, the same way; the end.
        let array = [&[4][..], &header(b'a'), &header(b'b'), &[1, 8], &header(b'c'), &[3, 16], &header(b'd')].concat();
        let bytes = [&fields[..], &array, &header(b'e'), &[0]].concat();
        let mut decoder = Decoder::new(&bytes);
        let (_, headers) = decoder.record().expect("a record");
        assert!(decoder.rest().is_empty());
        let names: Vec<u8> = headers.iter().map(|header| header.name[0]).collect();
        assert_eq!((names, headers.len()), (b"abcde".to_vec(), 5));
        assert_eq!(headers.iter().len(), 5);
        // Counts that are lies: as many as there can be, and as few.
        for count in [i64::MAX, i64::MIN, -2, 3] {
            let mut bytes = fields.to_vec();
            encode_long(count, &mut bytes);
            bytes.extend_from_slice(&header(b'a'));
            assert!(Decoder::new(&bytes).record().is_err(), "{count}");
        }
    }
}
