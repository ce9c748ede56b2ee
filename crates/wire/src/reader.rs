//! One bounds-checked reader over a borrowed buffer: the only way in which protocols here look at bytes.

/// The buffer ended before what was asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("truncated at offset {offset}: {wanted} more bytes were expected")]
pub struct Truncated {
    /// Where in the buffer the reader stood.
    pub offset: usize,
    /// How many bytes were asked for.
    pub wanted: usize,
}

/// A cursor over bytes; a read that does not fit leaves it where it was.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    buffer: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub fn new(buffer: &'a [u8]) -> Self {
        Self { buffer, offset: 0 }
    }

    /// How many bytes have been read.
    #[inline]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// How many bytes are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.buffer.len() - self.offset
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Truncated> {
        let taken = self
            .buffer
            .get(self.offset..)
            .and_then(|rest| rest.get(..count))
            .ok_or(Truncated { offset: self.offset, wanted: count })?;
        self.offset += count;
        Ok(taken)
    }

    /// The next `N` bytes as an array.
    #[inline]
    pub fn take_array<const N: usize>(&mut self) -> Result<&'a [u8; N], Truncated> {
        let taken = self
            .buffer
            .get(self.offset..)
            .and_then(|rest| rest.first_chunk::<N>())
            .ok_or(Truncated { offset: self.offset, wanted: N })?;
        self.offset += N;
        Ok(taken)
    }

    /// The next byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Truncated> {
        self.take_array::<1>().map(|bytes| bytes[0])
    }

    /// The next two bytes, big-endian.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Truncated> {
        self.take_array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    /// The next four bytes, big-endian.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, Truncated> {
        self.take_array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    /// The next eight bytes, big-endian.
    #[inline]
    pub fn u64(&mut self) -> Result<u64, Truncated> {
        self.take_array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    /// The next byte, left unread.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.buffer.get(self.offset).copied()
    }

    /// Everything that is left, left unread.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        &self.buffer[self.offset..]
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, Truncated};

    #[test]
    fn a_read_that_does_not_fit_leaves_the_reader_where_it_was() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u16(), Ok(0x0102));
        assert_eq!(reader.u32(), Err(Truncated { offset: 2, wanted: 4 }));
        assert_eq!(reader.take(usize::MAX), Err(Truncated { offset: 2, wanted: usize::MAX }));
        assert_eq!(reader.peek(), Some(3));
        assert_eq!(reader.rest(), [3]);
        assert_eq!(reader.u8(), Ok(3));
        assert!(reader.is_empty());
    }
}
