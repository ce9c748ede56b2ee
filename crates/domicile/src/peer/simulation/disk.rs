//! The disk under a machine's journal: it loses what was not flushed when the power goes, in units of a sector, and fails on command.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;
use store::{Disk, DiskFile};

use super::world::{Dice, Power};

/// What a disk writes wholly or not at all.
const SECTOR_BYTES: usize = 512;

/// How the disk fails from now on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DiskFaults {
    /// So many flushes fail, and what they should have made durable is lost.
    pub(super) syncs: u32,
    /// So many writes fail half-way.
    pub(super) writes: u32,
    /// There is no room for so many new files.
    pub(super) full: u32,
}

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub(super) struct SimDisk {
    shared: Arc<Shared>,
}

struct Shared {
    power: Arc<Power>,
    /// A flush is answered and not done: a disk that lies, or a program that forgot it.
    skips_syncs: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    /// Names as they are after the power was lost.
    durable: BTreeMap<PathBuf, Arc<Mutex<Content>>>,
    faults: DiskFaults,
}

/// A file's bytes.
#[derive(Default)]
struct Content {
    /// As they are read.
    now: Vec<u8>,
    /// As they are after the power was lost.
    durable: Vec<u8>,
    /// What was written since the last flush: where, and how many bytes.
    pending: Vec<(usize, usize)>,
}

struct SimFile {
    shared: Arc<Shared>,
    content: Arc<Mutex<Content>>,
}

impl SimDisk {
    pub(super) fn new(power: Arc<Power>, skips_syncs: bool) -> Self {
        let state = Mutex::default();
        Self { shared: Arc::new(Shared { power, skips_syncs, state }) }
    }

    pub(super) fn set_faults(&self, faults: DiskFaults) {
        self.shared.state.lock().faults = faults;
    }

    /// What is left when the power is lost: sectors and names that nobody flushed survive as the dice say.
    pub(super) fn lose_power(&self, dice: &Dice) {
        let mut state = self.shared.state.lock();
        if dice.permille(500) {
            state.names = state.durable.clone();
        } else {
            state.durable = state.names.clone();
        }
        state.faults = DiskFaults::default();
        for file in state.names.values() {
            let mut content = file.lock();
            content.settle(|| dice.permille(500));
            content.now = content.durable.clone();
        }
    }

    fn file(&self, content: &Arc<Mutex<Content>>) -> Arc<dyn DiskFile> {
        Arc::new(SimFile { shared: self.shared.clone(), content: content.clone() })
    }
}

impl Content {
    /// Lets pending sectors become durable, those that are to.
    fn settle(&mut self, mut survives: impl FnMut() -> bool) {
        for (offset, length) in std::mem::take(&mut self.pending) {
            let end = offset + length;
            let mut at = offset;
            while at < end {
                let next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
                let next = next.min(end);
                if survives() {
                    self.durable[at..next].copy_from_slice(&self.now[at..next]);
                }
                at = next;
            }
        }
    }
}

/// What a machine without power says.
fn off<T>() -> io::Result<T> {
    Err(Errno::IO.into())
}

impl Disk for SimDisk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.shared.state.lock();
        let below = state.names.keys().filter_map(|path| path.strip_prefix(folder).ok());
        let mut names: Vec<String> =
            below.filter_map(|rest| Some(rest.iter().next()?.to_str()?.to_owned())).collect();
        names.dedup();
        Ok(names)
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let create = || {
            let mut state = self.shared.state.lock();
            if state.faults.full > 0 {
                state.faults.full -= 1;
                return Err(Errno::NOSPC.into());
            }
            if state.names.contains_key(path) {
                return Err(Errno::EXIST.into());
            }
            let zeros = vec![0; usize::try_from(bytes).map_err(|_| Errno::FBIG)?];
            let content = Content { now: zeros.clone(), durable: zeros, pending: Vec::new() };
            let content = Arc::new(Mutex::new(content));
            state.names.insert(path.to_owned(), content.clone());
            Ok(self.file(&content))
        };
        self.shared.power.operate(create, off)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.shared.state.lock();
        Ok(self.file(state.names.get(path).ok_or(Errno::NOENT)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let remove = || {
            self.shared.state.lock().names.remove(path).ok_or(Errno::NOENT)?;
            Ok(())
        };
        self.shared.power.operate(remove, off)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let sync = || {
            let mut state = self.shared.state.lock();
            if !self.shared.skips_syncs {
                state.durable = state.names.clone();
            }
            Ok(())
        };
        self.shared.power.operate(sync, off)
    }
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content.lock();
        let start = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let found = content.now.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let write = || {
            let fails = {
                let mut state = self.shared.state.lock();
                let fails = state.faults.writes > 0;
                state.faults.writes = state.faults.writes.saturating_sub(1);
                fails
            };
            let half = bytes.len() / 2 / SECTOR_BYTES * SECTOR_BYTES;
            let bytes = if fails { &bytes[..half] } else { bytes };
            let offset = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
            let mut content = self.content.lock();
            let place = content.now.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len()));
            place.ok_or(Errno::NOSPC)?.copy_from_slice(bytes);
            content.pending.push((offset, bytes.len()));
            if fails { off() } else { Ok(()) }
        };
        self.shared.power.operate(write, off)
    }

    fn sync(&self) -> io::Result<()> {
        let sync = || {
            let mut state = self.shared.state.lock();
            let mut content = self.content.lock();
            if state.faults.syncs > 0 {
                state.faults.syncs -= 1;
                // Lost for good, although it is still read: every other sector had made it.
                let mut survives = false;
                content.settle(|| {
                    survives = !survives;
                    survives
                });
                return off();
            }
            if !self.shared.skips_syncs {
                content.settle(|| true);
            }
            Ok(())
        };
        self.shared.power.operate(sync, off)
    }
}
