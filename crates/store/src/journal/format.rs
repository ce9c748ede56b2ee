//! The journal's bytes: segment headers, groups and records. `docs/formats/journal.md` describes them. Numbers are little-endian.

use aws_lc_rs::digest::{SHA256, digest};
use model::{
    CenterName, ConnectionId, Frame, GatewayName, KeyPeriod, Protocol, Sequence, UtcMicros, VehicleId,
};

use super::SegmentNumber;

/// Groups begin at multiples of this, so that no write touches a disk block that holds an earlier group.
pub(super) const BLOCK_BYTES: usize = 4096;
/// A segment's header: one disk sector, which is written wholly or not at all.
pub(super) const SEGMENT_HEADER_BYTES: usize = 512;
/// A group's header.
pub(super) const GROUP_HEADER_BYTES: usize = 80;
/// What stands before a frame's bytes.
pub(super) const RECORD_HEADER_BYTES: usize = 4 + 8 + 17 + 1 + 4 + 8;

/// The version of all of this.
const FORMAT: u32 = 1;
const SEGMENT_MAGIC: &[u8; 8] = b"DOMIJRNL";
const GROUP_MAGIC: &[u8; 4] = b"DGRP";
const FLAG_CHAIN_START: u32 = 1;

/// SHA-256 of a group, header included.
pub(super) type GroupHash = [u8; 32];

/// What a segment is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SegmentState {
    /// Its groups count.
    Active = 1,
    /// Its groups lie in a batch; the file waits to be zeroed.
    Released = 2,
}

/// A segment's header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub(super) state: SegmentState,
    pub(super) number: SegmentNumber,
    /// Size of the file.
    pub(super) bytes: u64,
    /// Random; stands in each group too, so that bytes which a vehicle sends can't pose as a group.
    pub(super) salt: u64,
    pub(super) center: CenterName,
    pub(super) gateway: GatewayName,
}

/// Why a sector is no segment header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum NotHeader {
    /// All zero: never written.
    Blank,
    /// Of another version of the format.
    Version(u32),
    /// Neither.
    Damaged,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut sector = [0; SEGMENT_HEADER_BYTES];
        sector[..8].copy_from_slice(SEGMENT_MAGIC);
        sector[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        sector[12..16].copy_from_slice(&(self.state as u32).to_le_bytes());
        sector[16..24].copy_from_slice(&self.number.0.to_le_bytes());
        sector[24..32].copy_from_slice(&self.bytes.to_le_bytes());
        sector[32..40].copy_from_slice(&self.salt.to_le_bytes());
        put_name(&mut sector[40..73], self.center.as_str());
        put_name(&mut sector[73..106], self.gateway.as_str());
        let checksum = crc32c::crc32c(&sector[..508]);
        sector[508..].copy_from_slice(&checksum.to_le_bytes());
        sector
    }

    pub(super) fn parse(sector: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, NotHeader> {
        if sector.iter().all(|&byte| byte == 0) {
            return Err(NotHeader::Blank);
        }
        if crc32c::crc32c(&sector[..508]) != u32_at(sector, 508) || sector[..8] != *SEGMENT_MAGIC {
            return Err(NotHeader::Damaged);
        }
        if u32_at(sector, 8) != FORMAT {
            return Err(NotHeader::Version(u32_at(sector, 8)));
        }
        let state = match u32_at(sector, 12) {
            1 => SegmentState::Active,
            2 => SegmentState::Released,
            _ => return Err(NotHeader::Damaged),
        };
        let name = |bytes| name_at(bytes).ok_or(NotHeader::Damaged);
        Ok(Self {
            state,
            number: SegmentNumber(u64_at(sector, 16)),
            bytes: u64_at(sector, 24),
            salt: u64_at(sector, 32),
            center: name(&sector[40..73])?.parse().map_err(|_| NotHeader::Damaged)?,
            gateway: name(&sector[73..106])?.parse().map_err(|_| NotHeader::Damaged)?,
        })
    }
}

/// A group's header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct GroupHeader {
    pub(super) segment: SegmentNumber,
    pub(super) salt: u64,
    /// Its index in the segment, from 0.
    pub(super) index: u32,
    pub(super) first: Sequence,
    pub(super) frames: u32,
    /// Whether it is the first group since the program started: then it names no group before.
    pub(super) is_chain_start: bool,
    pub(super) before: GroupHash,
}

impl GroupHeader {
    /// Writes the header into the first bytes of a group whose records stand behind them.
    pub(super) fn seal(&self, group: &mut [u8]) {
        let body_bytes =
            u32::try_from(group.len() - GROUP_HEADER_BYTES).expect("a group is smaller than 4 GiB");
        group[..4].copy_from_slice(GROUP_MAGIC);
        group[8..16].copy_from_slice(&self.segment.0.to_le_bytes());
        group[16..20].copy_from_slice(&self.index.to_le_bytes());
        group[20..24].copy_from_slice(&body_bytes.to_le_bytes());
        group[24..32].copy_from_slice(&self.first.0.to_le_bytes());
        group[32..36].copy_from_slice(&self.frames.to_le_bytes());
        let flags = if self.is_chain_start { FLAG_CHAIN_START } else { 0 };
        group[36..40].copy_from_slice(&flags.to_le_bytes());
        group[40..48].copy_from_slice(&self.salt.to_le_bytes());
        group[48..80].copy_from_slice(&self.before);
        let checksum = crc32c::crc32c(&group[8..]);
        group[4..8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Reads the group at the start of `bytes`: its header and its length with the header. `None` unless all of it holds.
    pub(super) fn parse(bytes: &[u8], segment: SegmentNumber, salt: u64) -> Option<(Self, usize)> {
        let header = bytes.get(..GROUP_HEADER_BYTES)?;
        let belongs =
            header[..4] == *GROUP_MAGIC && u64_at(header, 8) == segment.0 && u64_at(header, 40) == salt;
        if !belongs {
            return None;
        }
        let length = GROUP_HEADER_BYTES.checked_add(usize::try_from(u32_at(header, 20)).ok()?)?;
        let group = bytes.get(..length)?;
        if crc32c::crc32c(&group[8..]) != u32_at(group, 4) {
            return None;
        }
        let frames = u32_at(header, 32);
        let held = Records::of(&group[GROUP_HEADER_BYTES..]).filter(Option::is_some).count();
        let exact = Records::of(&group[GROUP_HEADER_BYTES..]).all(|record| record.is_some());
        if !exact || held != usize::try_from(frames).ok()? || frames == 0 {
            return None;
        }
        let parsed = Self {
            segment,
            salt,
            index: u32_at(header, 16),
            first: Sequence(u64_at(header, 24)),
            frames,
            is_chain_start: u32_at(header, 36) & FLAG_CHAIN_START != 0,
            before: header[48..80].try_into().expect("32 bytes"),
        };
        Some((parsed, length))
    }

    /// The last sequence in it.
    pub(super) fn last(&self) -> Sequence {
        Sequence(self.first.0 + u64::from(self.frames) - 1)
    }
}

/// The hash that the next group names this one by.
pub(super) fn group_hash(group: &[u8]) -> GroupHash {
    digest(&SHA256, group).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Where the group after one that begins at `offset` and is `bytes` long begins.
pub(super) fn next_offset(offset: usize, bytes: usize) -> usize {
    (offset + bytes).next_multiple_of(BLOCK_BYTES)
}

/// Appends a frame's record.
pub(crate) fn put_record(group: &mut Vec<u8>, frame: &Frame<'_>, received_at: UtcMicros) {
    let rest =
        u32::try_from(RECORD_HEADER_BYTES - 4 + frame.bytes.len()).expect("the length was checked on entry");
    let mut header = [0; RECORD_HEADER_BYTES];
    header[..4].copy_from_slice(&rest.to_le_bytes());
    header[4..12].copy_from_slice(&received_at.0.to_le_bytes());
    header[12..29].copy_from_slice(frame.vehicle.as_bytes());
    header[29] = frame.protocol as u8;
    header[30..34].copy_from_slice(&frame.key.0.to_le_bytes());
    header[34..42].copy_from_slice(&frame.connection.0.to_le_bytes());
    group.extend_from_slice(&header);
    group.extend_from_slice(frame.bytes);
}

/// The records of a group's body; ends with `None` inside where the rest is no record.
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    pub(crate) fn of(body: &'a [u8]) -> Self {
        Self { rest: body }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Option<Frame<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((frame, rest)) = record(self.rest) else {
            self.rest = &[];
            return Some(None);
        };
        self.rest = rest;
        Some(Some(frame))
    }
}

fn record(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let length = usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    let record = bytes.get(4..)?.get(..length)?;
    let header = record.get(..RECORD_HEADER_BYTES - 4)?;
    let frame = Frame {
        received_at: UtcMicros(i64::from_le_bytes(*header[..8].first_chunk()?)),
        vehicle: VehicleId::from_bytes(&header[8..25]).ok()?,
        key: KeyPeriod(u32_at(header, 26)),
        protocol: Protocol::from_number(header[25])?,
        connection: ConnectionId(u64_at(header, 30)),
        bytes: &record[RECORD_HEADER_BYTES - 4..],
    };
    Some((frame, &bytes[4 + length..]))
}

fn put_name(place: &mut [u8], name: &str) {
    place[0] = u8::try_from(name.len()).expect("a name has at most 32 characters");
    place[1..=name.len()].copy_from_slice(name.as_bytes());
}

fn name_at(place: &[u8]) -> Option<&str> {
    std::str::from_utf8(place.get(1..=usize::from(*place.first()?))?).ok()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}
