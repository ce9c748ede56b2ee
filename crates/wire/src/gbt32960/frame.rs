//! The frame around a data unit: header, length and check code; and cutting frames from a stream.

use std::fmt;

use super::cipher::{Keys, open_with};
use super::error::{behind, malformed};
use super::{Command, Edition, Encryption, Flag, Malformed, TooLong, Unit};

/// Bytes before the data unit.
pub const HEADER_BYTES: usize = 24;
/// Longest data unit.
pub const UNIT_BYTES_MAX: usize = 65_531;
/// Longest frame: header, data unit and check code.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + UNIT_BYTES_MAX + 1;

/// The header without its length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// From the start bytes.
    pub edition: Edition,
    /// What the frame is about.
    pub command: Command,
    /// Command or answer.
    pub flag: Flag,
    /// 17 bytes: a VIN, or with a platform login the platform's unique code.
    pub vin: [u8; 17],
    /// How the data unit is encrypted.
    pub encryption: Encryption,
}

/// Hides the VIN, so that it can't reach a log by accident.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Header")
            .field("edition", &self.edition)
            .field("command", &self.command)
            .field("flag", &self.flag)
            .field("encryption", &self.encryption)
            .finish_non_exhaustive()
    }
}

/// A whole frame with its data unit still as bytes, perhaps encrypted.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    /// The header.
    pub header: Header,
    /// The data unit as sent.
    pub unit: &'a [u8],
    /// The check code as sent.
    pub check: u8,
    /// The check code as the standard computes it over what was sent.
    pub check_computed: u8,
}

impl<'a> Envelope<'a> {
    /// Reads one whole frame. The check code is not held against the bytes: [`cut`] did that when the frame
    /// came in.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let short = malformed(bytes.len(), "the frame ends before what it declares");
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(short)?;
        let (header, length) =
            read_header(header).ok_or(malformed(0, "a frame starts with ## or $$ twice the same"))?;
        if length > UNIT_BYTES_MAX {
            return Err(malformed(22, "a data unit has at most 65531 bytes"));
        }
        let unit = rest.get(..length).ok_or(short)?;
        let check = *rest.get(length).ok_or(short)?;
        if rest.len() > length + 1 {
            let offset = HEADER_BYTES + length + 1;
            return Err(malformed(offset, "bytes behind the check code"));
        }
        let check_computed = xor(&bytes[2..HEADER_BYTES + length]);
        Ok(Self { header, unit, check, check_computed })
    }

    /// Reads the data unit of a frame that is not encrypted. Offsets of errors count from the frame's first
    /// byte.
    pub fn plain_unit(&self) -> Result<Unit<'a>, Malformed> {
        read_unit(&self.header, self.unit)
    }
}

/// Reads a plain data unit under its header. Offsets of errors count from the frame's first byte.
pub fn read_unit<'a>(header: &Header, unit: &'a [u8]) -> Result<Unit<'a>, Malformed> {
    Unit::read(header.edition, header.command, header.flag, unit).map_err(|error| behind(error, HEADER_BYTES))
}

/// Appends a whole frame with a data unit that is not encrypted (`header.encryption` is written as given).
pub fn encode(header: &Header, unit: &Unit<'_>, out: &mut Vec<u8>) -> Result<(), TooLong> {
    encode_with(header, out, |out| unit.write(header.edition, out))
}

/// Appends a whole frame whose data unit `write` appends.
pub fn encode_with(
    header: &Header,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), TooLong>,
) -> Result<(), TooLong> {
    let start = out.len();
    let start_byte = header.edition.start_byte();
    out.extend_from_slice(&[start_byte, start_byte, header.command.0, header.flag.0]);
    out.extend_from_slice(&header.vin);
    out.extend_from_slice(&[header.encryption.0, 0, 0]);
    let written = write(out).and_then(|()| {
        let length = out.len() - start - HEADER_BYTES;
        u16::try_from(length).ok().filter(|length| usize::from(*length) <= UNIT_BYTES_MAX).ok_or(TooLong {
            what: "data unit",
            length,
            length_max: UNIT_BYTES_MAX,
        })
    });
    match written {
        Ok(length) => {
            out[start + 22..start + HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
            let check = xor(&out[start + 2..]);
            out.push(check);
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Which bytes a frame's check code was computed over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// As the standard has it: the data unit as sent.
    AsSent,
    /// The data unit before it was encrypted, as some terminals do.
    BeforeEncryption,
}

/// What stands at the front of a stream's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// A whole frame.
    Frame {
        /// Bytes of garbage before it.
        skipped: usize,
        /// Its length; it is `buffer[skipped..skipped + length]`.
        length: usize,
        /// What its check code covers.
        checksum: Checksum,
    },
    /// No whole frame yet. The first `skipped` bytes are garbage and may go; the rest waits for more.
    Wait {
        /// Bytes of garbage.
        skipped: usize,
        /// How long the frame that has begun will be, where its header is whole.
        wanted: Option<usize>,
    },
    /// Something that looks like a frame and can't be taken. The first `skipped` bytes (garbage, and the
    /// start bytes of the refused frame) are to be dropped; a good frame behind is found by cutting again.
    Refused {
        /// Bytes to drop.
        skipped: usize,
        /// Why.
        why: CutRefusal,
    },
}

/// Why a frame can't be taken from the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CutRefusal {
    /// It declares more than the standard or the center's setting allows.
    TooLong,
    /// Its check code does not hold.
    Checksum,
}

impl CutRefusal {
    /// The word for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::TooLong => "frame_too_long",
            Self::Checksum => "checksum",
        }
    }
}

/// Finds the first frame in what a stream has brought so far, borrowed where it lies. Nothing is remembered
/// between calls.
///
/// A start is two start bytes with 17 printable characters where the VIN stands (zero bytes fill it too), so
/// that stray start bytes in garbage are passed over; where garbage still looks like a start, its check code
/// fails and cutting goes on right behind its start bytes. `keys` are needed only for check codes computed
/// before encryption.
pub fn cut(buffer: &[u8], frame_bytes_max: usize, keys: &Keys) -> Cut {
    let skipped = find_start(buffer);
    let candidate = &buffer[skipped..];
    let Some((header, length)) = candidate.first_chunk::<HEADER_BYTES>().and_then(read_header) else {
        return Cut::Wait { skipped, wanted: None };
    };
    let frame_bytes = HEADER_BYTES + length + 1;
    if length > UNIT_BYTES_MAX || frame_bytes > frame_bytes_max {
        return Cut::Refused { skipped: skipped + 2, why: CutRefusal::TooLong };
    }
    let Some(frame) = candidate.get(..frame_bytes) else {
        return Cut::Wait { skipped, wanted: Some(frame_bytes) };
    };
    let check = frame[frame_bytes - 1];
    if xor(&frame[2..frame_bytes - 1]) == check {
        Cut::Frame { skipped, length: frame_bytes, checksum: Checksum::AsSent }
    } else if is_check_before_encryption(&header, frame, check, keys) {
        Cut::Frame { skipped, length: frame_bytes, checksum: Checksum::BeforeEncryption }
    } else {
        Cut::Refused { skipped: skipped + 2, why: CutRefusal::Checksum }
    }
}

/// XOR of all bytes.
pub fn xor(bytes: &[u8]) -> u8 {
    let (words, rest) = bytes.as_chunks::<8>();
    let folded = words.iter().fold(0, |sum, word| sum ^ u64::from_be_bytes(*word));
    let folded = folded.to_be_bytes().into_iter().fold(0, |sum, byte| sum ^ byte);
    rest.iter().fold(folded, |sum, byte| sum ^ byte)
}

fn read_header(bytes: &[u8; HEADER_BYTES]) -> Option<(Header, usize)> {
    let edition = Edition::from_start_byte(bytes[0]).filter(|_| bytes[0] == bytes[1])?;
    let vin = *bytes[4..].first_chunk::<17>()?;
    let length = usize::from(u16::from_be_bytes([bytes[22], bytes[23]]));
    let header = Header {
        edition,
        command: Command(bytes[2]),
        flag: Flag(bytes[3]),
        vin,
        encryption: Encryption(bytes[21]),
    };
    Some((header, length))
}

/// The offset of the first place where a frame may start; as much of its header as is there agrees.
fn find_start(buffer: &[u8]) -> usize {
    let may_start = |at: &usize| {
        let candidate = &buffer[*at..];
        let known = Edition::from_start_byte(candidate[0]).is_some();
        known
            && candidate.get(1).is_none_or(|second| *second == candidate[0])
            && candidate.iter().take(21).skip(4).all(|byte| matches!(byte, 0 | b' '..=b'~'))
    };
    (0..buffer.len()).find(may_start).unwrap_or(buffer.len())
}

/// Some terminals compute the check code first and encrypt then, with the length of either text in the
/// header.
fn is_check_before_encryption(header: &Header, frame: &[u8], check: u8, keys: &Keys) -> bool {
    if header.encryption != Encryption::AES128 {
        return false;
    }
    let unit = &frame[HEADER_BYTES..frame.len() - 1];
    let head = xor(&frame[2..22]);
    let mut plain = Vec::new();
    keys.candidates(&header.vin).iter().any(|cipher| {
        let Ok(plain) = open_with(cipher, header, unit, &mut plain) else { return false };
        let with_length = |length: usize| {
            let low_bytes = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
            xor(&low_bytes) ^ head ^ xor(plain) == check
        };
        with_length(unit.len()) || with_length(plain.len())
    })
}
