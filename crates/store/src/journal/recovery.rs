//! What a journal's files hold at the start.
//!
//! In each segment the first group that does not hold is the end: a crash left it. A group that holds *after* it, or a segment
//! that names a group before it which is not there, is what no crash leaves: the disk lost something that was acknowledged, and
//! the start stops and says so. Nothing on the disk is changed here.

use std::path::Path;
use std::sync::Arc;

use model::{Sequence, UtcMicros};

use super::format::{
    BLOCK_BYTES, GROUP_HEADER_BYTES, GroupHash, GroupHeader, NotHeader, Records, SEGMENT_HEADER_BYTES,
    SegmentHeader, SegmentState, group_hash, next_offset,
};
use super::index::{GroupPlace, Segment};
use super::slots::{FreeSlot, SlotCount};
use super::{JournalOptions, SegmentNumber};
use crate::paths::{slot_file, slot_of_file};
use crate::{Disk, DiskFile, Error};

/// What lies in a journal's folder.
#[derive(Default)]
pub(super) struct Recovered {
    /// Segments with groups, oldest first, all closed.
    pub(super) segments: Vec<Segment>,
    pub(super) free: Vec<FreeSlot>,
    pub(super) slots: SlotCount,
    /// A segment number that was never used.
    pub(super) next_number: u64,
    /// The last sequence in any group; 0 if there is none.
    pub(super) last: Sequence,
}

/// Reads the journal's folder, which is made where it is missing.
pub(super) fn recover(options: &JournalOptions, disk: &dyn Disk) -> Result<Recovered, Error> {
    let folder = &options.folder;
    let doing = |what: &str| format!("{what} the journal {}", folder.display());
    disk.create_folder(folder).map_err(Error::disk(doing("making")))?;
    let names = disk.list(folder).map_err(Error::disk(doing("listing")))?;
    let mut slots: Vec<u32> = names.iter().filter_map(|name| slot_of_file(name)).collect();
    slots.sort_unstable();
    let mut recovered = Recovered { next_number: 1, ..Recovered::default() };
    let mut scans = Vec::new();
    for &slot in &slots {
        let name = slot_file(slot);
        let found = read_slot(&folder.join(&name), slot, options, disk).map_err(|error| error.of(&name))?;
        recovered.next_number = recovered.next_number.max(found.number.0 + 1);
        match found.content {
            Content::Free(free) => recovered.free.push(free),
            Content::Groups(scan) => scans.push(scan),
        }
    }
    scans.sort_by_key(|scan| scan.segment.number);
    check_chain(&scans)?;
    for scan in scans {
        let mut segment = scan.segment;
        segment.after = recovered.last;
        recovered.last = recovered.last.max(segment.last());
        recovered.segments.push(segment);
    }
    let next = slots.last().map_or(0, |slot| slot + 1);
    recovered.slots = SlotCount { total: u32::try_from(slots.len()).unwrap_or(u32::MAX), next };
    Ok(recovered)
}

/// Why a slot can't be used.
enum SlotError {
    Disk(std::io::Error),
    Damaged(String),
    Version(u32),
}

impl From<std::io::Error> for SlotError {
    fn from(error: std::io::Error) -> Self {
        Self::Disk(error)
    }
}

impl SlotError {
    fn of(self, name: &str) -> Error {
        match self {
            Self::Disk(source) => Error::Disk { doing: format!("reading the journal's {name}"), source },
            Self::Damaged(what) => Error::JournalDamaged { what: format!("{name}: {what}") },
            Self::Version(version) => Error::Unsupported { what: "journal", version: version.to_string() },
        }
    }
}

struct Slot {
    number: SegmentNumber,
    content: Content,
}

enum Content {
    Free(FreeSlot),
    Groups(Scan),
}

/// A segment's groups and how they hang together.
struct Scan {
    segment: Segment,
    /// What the first group names as the one before it; `None` where it starts a chain.
    before: Option<GroupHash>,
    hashes: Vec<GroupHash>,
}

fn read_slot(path: &Path, slot: u32, options: &JournalOptions, disk: &dyn Disk) -> Result<Slot, SlotError> {
    let file = disk.open(path)?;
    let length = file.bytes()?;
    let bytes =
        usize::try_from(length).map_err(|_| SlotError::Damaged("it is too large to read".to_owned()))?;
    if bytes < BLOCK_BYTES {
        // A crash right after the file was made.
        return Ok(Slot { number: SegmentNumber(0), content: Content::Free(FreeSlot::Remake { slot }) });
    }
    let mut sector = [0; SEGMENT_HEADER_BYTES];
    file.read_at(&mut sector, 0)?;
    let header = match SegmentHeader::parse(&sector) {
        Ok(header) => header,
        Err(NotHeader::Blank) => {
            check_blank(file.as_ref(), bytes)?;
            return Ok(Slot { number: SegmentNumber(0), content: Content::Free(FreeSlot::Remake { slot }) });
        }
        Err(NotHeader::Version(version)) => return Err(SlotError::Version(version)),
        Err(NotHeader::Damaged) => return Err(SlotError::Damaged("its header does not hold".to_owned())),
    };
    if (&header.center, &header.gateway) != (&options.center, &options.gateway) {
        let what = format!("it belongs to gateway {} of center {}", header.gateway, header.center);
        return Err(SlotError::Damaged(what));
    }
    if header.bytes != length {
        return Err(SlotError::Damaged(format!("its size is {length} bytes, not {}", header.bytes)));
    }
    let number = header.number;
    let is_size_set = length == options.segment_bytes;
    let free = |is_clean: bool, file: Arc<dyn DiskFile>| match (is_size_set, is_clean) {
        (false, _) => FreeSlot::Remake { slot },
        (true, true) => FreeSlot::Clean { slot, file },
        (true, false) => FreeSlot::Dirty { slot, file, end: u64::MAX },
    };
    if header.state == SegmentState::Released {
        return Ok(Slot { number, content: Content::Free(free(false, file)) });
    }
    let mut content = vec![0; bytes];
    file.read_at(&mut content, 0)?;
    let mut scan = scan(&header, slot, &content, Arc::clone(&file)).map_err(SlotError::Damaged)?;
    if scan.segment.groups.is_empty() {
        let is_clean = content[BLOCK_BYTES..].iter().all(|&byte| byte == 0);
        return Ok(Slot { number, content: Content::Free(free(is_clean, file)) });
    }
    scan.segment.is_suspect = !is_size_set;
    Ok(Slot { number, content: Content::Groups(scan) })
}

/// A file without a header was never used: it must not hold a group.
fn check_blank(file: &dyn DiskFile, bytes: usize) -> Result<(), SlotError> {
    let mut block = vec![0; BLOCK_BYTES];
    for offset in (BLOCK_BYTES..bytes).step_by(BLOCK_BYTES) {
        let length = BLOCK_BYTES.min(bytes - offset);
        file.read_at(&mut block[..length], offset as u64)?;
        if block[..length].iter().any(|&byte| byte != 0) {
            return Err(SlotError::Damaged(format!("its header is gone, but there are bytes at {offset}")));
        }
    }
    Ok(())
}

fn scan(header: &SegmentHeader, slot: u32, content: &[u8], file: Arc<dyn DiskFile>) -> Result<Scan, String> {
    let parse = |offset: usize| GroupHeader::parse(content.get(offset..)?, header.number, header.salt);
    let mut groups: Vec<GroupPlace> = Vec::new();
    let mut hashes: Vec<GroupHash> = Vec::new();
    let mut before = None;
    let mut hour = UtcMicros::default();
    let mut offset = BLOCK_BYTES;
    while let Some((group, length)) = parse(offset) {
        let bytes = &content[offset..offset + length];
        let is_next = match (groups.last(), hashes.last()) {
            (Some(place), Some(hash)) => {
                !group.is_chain_start && group.before == *hash && group.first.0 == place.last.0 + 1
            }
            _ => true,
        };
        if !is_next || group.index as usize != groups.len() {
            return Err(format!("the group at {offset} holds, but does not follow the one before it"));
        }
        if groups.is_empty() {
            before = (!group.is_chain_start).then_some(group.before);
            let first = Records::of(&bytes[GROUP_HEADER_BYTES..]).flatten().next();
            let at = first.map_or(0, |frame| frame.received_at.0);
            hour = UtcMicros(at.div_euclid(UtcMicros::PER_HOUR).saturating_mul(UtcMicros::PER_HOUR));
        }
        hashes.push(group_hash(bytes));
        let narrow = |n: usize| u32::try_from(n).map_err(|_| "it is too large".to_owned());
        let (first, last) = (group.first, group.last());
        groups.push(GroupPlace { offset: narrow(offset)?, bytes: narrow(length)?, first, last });
        offset = next_offset(offset, length);
    }
    let later = (offset..content.len()).step_by(BLOCK_BYTES).find(|&later| parse(later).is_some());
    if let Some(later) = later {
        return Err(format!("the group at {offset} does not hold, but a later one at {later} does"));
    }
    let segment = Segment {
        number: header.number,
        slot,
        salt: header.salt,
        file,
        hour,
        groups,
        after: Sequence(0),
        is_closed: true,
        is_sealed: false,
        is_suspect: false,
        is_recovered: true,
        waiters: Vec::new(),
    };
    Ok(Scan { segment, before, hashes })
}

/// Each segment's first group names the last durable group before it: in the segment before, or, after a failed flush, in one
/// before that or not last in it (what follows there was written again). A start of the program begins a new chain.
fn check_chain(scans: &[Scan]) -> Result<(), Error> {
    let mut chain: Vec<GroupHash> = Vec::new();
    let mut is_first = true;
    for scan in scans {
        match scan.before {
            None => chain.clear(),
            Some(before) => match chain.iter().rposition(|hash| *hash == before) {
                Some(at) => chain.truncate(at + 1),
                // What came before the oldest segment is sealed and gone.
                None if is_first => chain.push(before),
                None => {
                    let what = format!(
                        "segment {} continues a group that is not there: the end of a segment before it is lost",
                        scan.segment.number.0
                    );
                    return Err(Error::JournalDamaged { what });
                }
            },
        }
        chain.extend_from_slice(&scan.hashes);
        is_first = false;
    }
    Ok(())
}
