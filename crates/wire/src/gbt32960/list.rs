//! Lists inside a data unit, borrowed either from a frame or from the caller's own values: one type to read
//! and to write.

use std::marker::PhantomData;

use model::Quality;

use super::{Edition, Malformed, TooLong};
use crate::reader::Reader;

/// Something that stands in a data unit and knows its own length there.
pub trait Element<'a>: Copy {
    /// Reads one.
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed>;
    /// Appends one.
    fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong>;
}

#[derive(Clone, Copy, Debug)]
enum Source<'a, T> {
    Wire { bytes: &'a [u8], edition: Edition, of: PhantomData<T> },
    Given(&'a [T]),
}

/// A list with its count byte. A count of 0xFE or 0xFF means abnormal or invalid and carries no list.
#[derive(Clone, Copy, Debug)]
pub struct List<'a, T> {
    count: u8,
    source: Source<'a, T>,
}

impl<'a, T: Element<'a>> List<'a, T> {
    /// The largest count that is one.
    pub const LENGTH_MAX: usize = 0xfd;

    /// A list of the caller's values, to be written.
    pub fn of(values: &'a [T]) -> Result<Self, TooLong> {
        let length = values.len();
        match u8::try_from(length) {
            Ok(count @ 0..=0xfd) => Ok(Self { count, source: Source::Given(values) }),
            _ => Err(TooLong { what: "list", length, length_max: Self::LENGTH_MAX }),
        }
    }

    /// No list: `count` is 0xFE (abnormal) or 0xFF (invalid).
    pub fn absent(count: u8) -> Self {
        Self { count: count.max(0xfe), source: Source::Given(&[]) }
    }

    /// The count byte as it stands in the frame.
    pub fn count(&self) -> u8 {
        self.count
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        usize::from(sentinel_is_zero(self.count))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values in order.
    pub fn iter(&self) -> ListIter<'a, T> {
        match self.source {
            Source::Wire { bytes, edition, .. } => {
                ListIter::Wire { reader: Reader::new(bytes), edition, left: self.len() }
            }
            Source::Given(values) => ListIter::Given(values.iter()),
        }
    }

    /// Reads count and values; every value is checked here, so that walking them later cannot fail.
    pub(super) fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        let count = reader.u8()?;
        let rest = reader.rest();
        let start = reader.offset();
        for _ in 0..sentinel_is_zero(count) {
            T::read(reader, edition)?;
        }
        let bytes = &rest[..reader.offset() - start];
        Ok(Self { count, source: Source::Wire { bytes, edition, of: PhantomData } })
    }

    pub(super) fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.push(self.count);
        self.iter().try_for_each(|value| value.write(edition, out))
    }
}

impl<'a, T: Element<'a>> IntoIterator for &List<'a, T> {
    type Item = T;
    type IntoIter = ListIter<'a, T>;

    fn into_iter(self) -> ListIter<'a, T> {
        self.iter()
    }
}

/// Walks a [`List`].
#[derive(Clone, Debug)]
pub enum ListIter<'a, T> {
    /// Read from a frame.
    Wire {
        /// Where the walk stands.
        reader: Reader<'a>,
        /// How values are laid out.
        edition: Edition,
        /// How many are to come.
        left: usize,
    },
    /// The caller's own.
    Given(std::slice::Iter<'a, T>),
}

impl<'a, T: Element<'a>> Iterator for ListIter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match self {
            Self::Wire { reader, edition, left } => {
                *left = left.checked_sub(1)?;
                T::read(reader, *edition).ok()
            }
            Self::Given(values) => values.next().copied(),
        }
    }
}

fn sentinel_is_zero(count: u8) -> u8 {
    if count >= 0xfe { 0 } else { count }
}

/// How wide a list's count is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum CountWidth {
    Byte,
    Word,
}

/// Values of one kind (`u8` temperatures, `[u8; 2]` voltages as they stand in a frame) after a count of one
/// or two bytes, which is kept as declared: where it is a sentinel (all ones, or one less) there are no
/// values.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a, T> {
    declared: u16,
    values: &'a [T],
}

/// Two-byte numbers, big-endian, as they stand in a frame; [`number`] and [`word`] turn them.
pub type Words<'a> = Values<'a, [u8; 2]>;
/// One-byte numbers.
pub type Octets<'a> = Values<'a, u8>;

/// The number of a big-endian pair.
pub fn number(pair: [u8; 2]) -> u16 {
    u16::from_be_bytes(pair)
}

/// The big-endian pair of a number.
pub fn word(number: u16) -> [u8; 2] {
    number.to_be_bytes()
}

impl<'a, T> Values<'a, T> {
    /// The caller's values, to be written.
    pub fn of(values: &'a [T]) -> Self {
        Self { declared: u16::try_from(values.len()).unwrap_or(u16::MAX), values }
    }

    /// No values: `declared` is the sentinel that stands in place of their count.
    pub fn absent(declared: u16) -> Self {
        Self { declared, values: &[] }
    }

    /// The count as declared, be it a sentinel.
    pub fn declared(&self) -> u16 {
        self.declared
    }

    /// The values in order.
    pub fn as_slice(&self) -> &'a [T] {
        self.values
    }

    /// What stands in place of the count, where there is no list.
    pub(super) fn absence(&self, width: CountWidth) -> Option<Quality> {
        let invalid = match width {
            CountWidth::Byte => 0xff,
            CountWidth::Word => 0xffff,
        };
        match self.declared {
            _ if !self.values.is_empty() => None,
            declared if declared == invalid => Some(Quality::Invalid),
            declared if declared == invalid - 1 => Some(Quality::Abnormal),
            _ => None,
        }
    }

    fn read_count(reader: &mut Reader<'a>, width: CountWidth) -> Result<(u16, usize), Malformed> {
        Ok(match width {
            CountWidth::Byte => {
                let count = reader.u8()?;
                (u16::from(count), usize::from(sentinel_is_zero(count)))
            }
            CountWidth::Word => {
                let count = reader.u16()?;
                (count, if count >= 0xfffe { 0 } else { usize::from(count) })
            }
        })
    }

    fn write_count(&self, width: CountWidth, out: &mut Vec<u8>) -> Result<(), TooLong> {
        let length = self.values.len();
        let length_max = match width {
            CountWidth::Byte => 0xfd,
            CountWidth::Word => 0xfffd,
        };
        if length > length_max {
            return Err(TooLong { what: "list of values", length, length_max });
        }
        match width {
            CountWidth::Byte => out.push(self.declared.to_be_bytes()[1]),
            CountWidth::Word => out.extend_from_slice(&self.declared.to_be_bytes()),
        }
        Ok(())
    }
}

impl<'a> Values<'a, u8> {
    pub(super) fn read(reader: &mut Reader<'a>, width: CountWidth) -> Result<Self, Malformed> {
        let (declared, count) = Self::read_count(reader, width)?;
        Ok(Self { declared, values: reader.take(count)? })
    }

    pub(super) fn write(&self, width: CountWidth, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.write_count(width, out)?;
        out.extend_from_slice(self.values);
        Ok(())
    }
}

impl<'a> Values<'a, [u8; 2]> {
    pub(super) fn read(reader: &mut Reader<'a>, width: CountWidth) -> Result<Self, Malformed> {
        let (declared, count) = Self::read_count(reader, width)?;
        let (values, _) = reader.take(count * 2)?.as_chunks::<2>();
        Ok(Self { declared, values })
    }

    pub(super) fn write(&self, width: CountWidth, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.write_count(width, out)?;
        out.extend_from_slice(self.values.as_flattened());
        Ok(())
    }
}
