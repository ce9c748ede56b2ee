//! Frames of another center's journal that are held here until that center's batches are: with `ack_centers = 2` a vehicle gets its
//! acknowledgement only once they are durable in both.
//!
//! A folder for each gateway, files named by the first sequence in them, blocks that begin at multiples of 4096 bytes:
//! `DHLD`, length of the records, first and last sequence, CRC-32C of all that, then the records as the journal has them. The first
//! block that does not hold is the end of a file: it was being written when the power went, and was not acknowledged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Frame, Sequence};

use crate::journal::{Records, numbered};
use crate::{Disk, DiskFile, Error};

const MAGIC: &[u8; 4] = b"DHLD";
const BLOCK_BYTES: usize = 4096;
const HEADER_BYTES: usize = 28;
const ENDING: &str = ".held";

/// Frames that became durable together at their own center.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeldBlock<'a> {
    /// Sequence of the first.
    pub first: Sequence,
    /// Sequence of the last.
    pub last: Sequence,
    /// Their records, as the journal has them.
    pub body: &'a [u8],
}

/// What is held of one gateway of another center. One thread at a time.
pub struct HeldFrames {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// Room that a file is made with.
    file_bytes: usize,
    files: Vec<HeldFile>,
    through: Sequence,
}

struct HeldFile {
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    room: usize,
    end: usize,
    last: Sequence,
    /// `end` and `last` as far as they are durable.
    durable: (usize, Sequence),
    /// Nothing more is written to it: an earlier run did, or a write failed.
    is_closed: bool,
    /// The last sequence and the sum of each block, by its first sequence.
    blocks: BTreeMap<Sequence, (Sequence, u32)>,
}

impl<'a> HeldBlock<'a> {
    /// The next block of a text of blocks, and what follows it. `None` where it is none.
    pub fn parse(text: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let header = text.get(..HEADER_BYTES)?;
        let length = usize::try_from(u32::from_le_bytes(*header[4..].first_chunk()?)).ok()?;
        let number = |at: usize| header[at..].first_chunk().map(|bytes| Sequence(u64::from_le_bytes(*bytes)));
        let body = text.get(HEADER_BYTES..)?.get(..length)?;
        let block = Self { first: number(8)?, last: number(16)?, body };
        let sum = u32::from_le_bytes(*header[24..].first_chunk()?);
        let is_whole = header[..4] == *MAGIC && sum == block.sum() && block.is_numbered();
        is_whole.then_some((block, &text[HEADER_BYTES + length..]))
    }

    /// Appends the block to a text of blocks.
    pub fn put(&self, text: &mut Vec<u8>) {
        text.extend_from_slice(&self.head());
        text.extend_from_slice(&self.sum().to_le_bytes());
        text.extend_from_slice(self.body);
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        HEADER_BYTES + self.body.len()
    }

    fn head(&self) -> [u8; HEADER_BYTES - 4] {
        let mut head = [0; HEADER_BYTES - 4];
        let length = u32::try_from(self.body.len()).expect("a group is at most 1 GiB");
        head[..4].copy_from_slice(MAGIC);
        head[4..8].copy_from_slice(&length.to_le_bytes());
        head[8..16].copy_from_slice(&self.first.0.to_le_bytes());
        head[16..24].copy_from_slice(&self.last.0.to_le_bytes());
        head
    }

    fn sum(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.head()), self.body)
    }

    /// Whether it has the records that its numbers say.
    fn is_numbered(&self) -> bool {
        let mut records = 0_u64;
        for record in Records::of(self.body) {
            if record.is_none() {
                return false;
            }
            records += 1;
        }
        records > 0 && self.first.0.checked_add(records - 1) == Some(self.last.0)
    }
}

impl HeldFrames {
    /// Opens what is held in a folder, which is made where it is missing. Files are made with room for `file_bytes`: as much as a batch,
    /// so that files go as batches come.
    ///
    /// # Errors
    /// Where the disk fails.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path, file_bytes: usize) -> Result<Self, Error> {
        let failed = || Error::disk(format!("opening frames held in {}", folder.display()));
        disk.create_folder(folder).map_err(failed())?;
        let mut names = disk.list(folder).map_err(failed())?;
        names.retain(|name| name.ends_with(ENDING));
        names.sort_unstable();
        let mut held =
            Self { disk, folder: folder.to_owned(), file_bytes, files: Vec::new(), through: Sequence(0) };
        for name in names {
            let path = folder.join(name);
            let file = held.disk.open(&path).map_err(failed())?;
            let (mut last, mut blocks) = (Sequence(0), BTreeMap::new());
            let (room, mut end) = (usize::try_from(file.bytes().map_err(failed())?).unwrap_or(0), 0);
            read(&file, room, |block, next| {
                (last, end) = (last.max(block.last), next);
                blocks.insert(block.first, (block.last, block.sum()));
            })
            .map_err(failed())?;
            held.through = held.through.max(last);
            let durable = (end, last);
            held.files.push(HeldFile { path, file, room, end, last, durable, is_closed: true, blocks });
        }
        Ok(held)
    }

    /// The last sequence that is held or was.
    pub fn through(&self) -> Sequence {
        self.through
    }

    /// Bytes that are held.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.end as u64).sum()
    }

    /// Holds blocks, durably when it returns; those that are held already are left out.
    ///
    /// # Errors
    /// [`Error::OtherJournal`] where other frames are held under numbers of these: then nothing was changed. Where the disk fails they may
    /// be held or not.
    pub fn hold(&mut self, blocks: &[HeldBlock<'_>]) -> Result<(), Error> {
        if let Some(other) = blocks.iter().find(|block| self.differs(block)) {
            return Err(Error::OtherJournal { first: other.first, last: other.last });
        }
        let doing = format!("writing held frames in {}", self.folder.display());
        let new: Vec<_> = blocks.iter().filter(|block| block.last > self.through).collect();
        let written = self.forget_undurable().and_then(|()| self.write(&new));
        if written.is_err() {
            let _tried_again_before_the_next_write = self.forget_undurable();
        }
        written.map_err(Error::disk(doing))?;
        self.files.iter_mut().for_each(|file| file.durable = (file.end, file.last));
        if let Some(newest) = new.last() {
            self.through = newest.last;
        }
        Ok(())
    }

    /// After a failed write or flush the system may show what never reached the disk: it is blanked, so that no later start takes it
    /// for held, and its file takes nothing more.
    fn forget_undurable(&mut self) -> std::io::Result<()> {
        for file in
            self.files.iter_mut().filter(|file| (file.end, file.last) != file.durable || file.end == 0)
        {
            file.is_closed = true;
            if file.durable.0 + HEADER_BYTES <= file.room {
                file.file.write_at(&[0; HEADER_BYTES], file.durable.0 as u64)?;
            }
            (file.end, file.last) = file.durable;
            let durable = file.last;
            file.blocks.retain(|_, (last, _)| *last <= durable);
        }
        Ok(())
    }

    /// Whether other frames are held under some of a block's numbers. A journal pushes what it pushed before in the same blocks.
    fn differs(&self, block: &HeldBlock<'_>) -> bool {
        let held = |file: &HeldFile| {
            let before = file.blocks.range(..=block.last).next_back();
            // The sum, which goes over all of the block, is only asked for where its numbers are taken.
            before.is_some_and(|(first, (last, sum))| {
                *last >= block.first && (*first, *last, *sum) != (block.first, block.last, block.sum())
            })
        };
        self.files.iter().any(held)
    }

    /// Forgets frames up to `through`: their center's batches are here. Whole files go.
    ///
    /// # Errors
    /// Where the disk fails; some may be gone then.
    pub fn release(&mut self, through: Sequence) -> Result<(), Error> {
        let (gone, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.files).into_iter().partition(|file| file.last <= through);
        self.files = kept;
        for file in gone {
            let doing = format!("removing held frames {}", file.path.display());
            self.disk.remove(&file.path).map_err(Error::disk(doing))?;
        }
        Ok(())
    }

    /// Forgets all of it, and what numbers there were: their center begins anew with other frames.
    ///
    /// # Errors
    /// Where the disk fails; some may be gone then.
    pub fn forget(&mut self) -> Result<(), Error> {
        self.release(Sequence(u64::MAX))?;
        self.through = Sequence(0);
        Ok(())
    }

    /// Calls `each` with every frame after `after` that is held, in order, each once.
    ///
    /// # Errors
    /// Where the disk fails, or whatever `each` gives.
    pub fn frames<E: From<Error>>(
        &self,
        after: Sequence,
        mut each: impl FnMut(Sequence, Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut past = after;
        for file in &self.files {
            let mut outcome = Ok(());
            let doing = format!("reading held frames {}", file.path.display());
            read(&file.file, file.room, |block, _| {
                for (sequence, frame) in numbered(block.first, block.body) {
                    if sequence > past && outcome.is_ok() {
                        past = sequence;
                        outcome = each(sequence, frame);
                    }
                }
            })
            .map_err(Error::disk(doing))?;
            outcome?;
        }
        Ok(())
    }

    fn write(&mut self, blocks: &[&HeldBlock<'_>]) -> std::io::Result<()> {
        let mut dirty: Option<Arc<dyn DiskFile>> = None;
        for block in blocks {
            let fits = |file: &&mut HeldFile| !file.is_closed && file.end + block.bytes() <= file.room;
            if self.files.last_mut().as_mut().is_none_or(|file| !fits(file)) {
                if let Some(file) = dirty.take() {
                    file.sync()?;
                }
                self.begin(block)?;
            }
            let file = self.files.last_mut().expect("one was begun");
            let mut text = Vec::with_capacity(block.bytes());
            block.put(&mut text);
            let at = file.end as u64;
            file.end = (file.end + text.len()).next_multiple_of(BLOCK_BYTES);
            file.last = block.last;
            file.blocks.insert(block.first, (block.last, block.sum()));
            file.file.write_at(&text, at)?;
            dirty = Some(Arc::clone(&file.file));
        }
        dirty.map_or(Ok(()), |file| file.sync())
    }

    fn begin(&mut self, block: &HeldBlock<'_>) -> std::io::Result<()> {
        // A name is used once, also where the file of an earlier try is there.
        let path = (0_u32..)
            .map(|number| self.folder.join(format!("{:020}-{number}{ENDING}", block.first.0)))
            .find(|path| self.files.iter().all(|file| file.path != *path))
            .expect("there are fewer files than numbers");
        let room = self.file_bytes.max(block.bytes().next_multiple_of(BLOCK_BYTES));
        let file = self.disk.create(&path, room as u64)?;
        self.disk.sync_folder(&self.folder)?;
        let (last, durable) = (Sequence(0), (0, Sequence(0)));
        let blocks = BTreeMap::new();
        self.files.push(HeldFile { path, file, room, end: 0, last, durable, is_closed: false, blocks });
        Ok(())
    }
}

/// Calls `each` with the blocks of a file and where the next one would begin.
fn read(
    file: &Arc<dyn DiskFile>,
    room: usize,
    mut each: impl FnMut(&HeldBlock<'_>, usize),
) -> std::io::Result<()> {
    let mut text = vec![0; room];
    file.read_at(&mut text, 0)?;
    let mut at = 0;
    while let Some((block, _)) = text.get(at..).and_then(HeldBlock::parse) {
        at = (at + block.bytes()).next_multiple_of(BLOCK_BYTES);
        each(&block, at);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
