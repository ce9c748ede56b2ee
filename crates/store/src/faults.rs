//! A disk in memory that fails on command and whose power can be cut at any moment.
//!
//! It keeps a log of everything done to it. [`FaultyDisk::image`] replays the log up to any point and gives the disk as it is
//! found after a power cut there: what was synced is there, what was not is there in part, in units of a sector.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::{Disk, DiskFile};

/// What a disk writes wholly or not at all.
const SECTOR_BYTES: usize = 512;

/// How a disk fails from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    /// So many syncs fail; what they should have made durable is lost, although later syncs succeed.
    pub syncs: u32,
    /// So many writes fail after half of their bytes.
    pub writes: u32,
    /// No room for new files.
    pub is_full: bool,
}

/// Which of the unsynced sectors survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survivors {
    /// None.
    None,
    /// All.
    All,
    /// Those that the seed says.
    Seed(u64),
}

/// The disk. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<PathBuf, Arc<FaultyFile>>,
    faults: Faults,
    log: Vec<Step>,
    next_file: usize,
}

/// A step of the log. Files are numbered, because names come and go.
#[derive(Clone)]
enum Step {
    Create {
        file: usize,
        path: PathBuf,
        bytes: usize,
    },
    Write {
        file: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    /// What was written to the file so far is durable, if it was not lost by a failed sync.
    Sync {
        file: usize,
    },
    /// The sync failed: what was not durable is lost for good.
    Lose {
        file: usize,
    },
    Remove {
        path: PathBuf,
    },
    SyncFolder,
    Mark(u64),
}

struct FaultyFile {
    number: usize,
    content: Mutex<Vec<u8>>,
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    /// Sets how the disk fails from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state.lock().faults = faults;
    }

    /// Puts a mark, such as the last acknowledged sequence, into the log.
    pub fn mark(&self, mark: u64) {
        self.state.lock().log.push(Step::Mark(mark));
    }

    /// The number of steps so far.
    pub fn steps(&self) -> usize {
        self.state.lock().log.len()
    }

    /// The marks within the first `steps` steps.
    pub fn marks(&self, steps: usize) -> Vec<u64> {
        let state = self.state.lock();
        let mark = |step: &Step| if let Step::Mark(mark) = step { Some(*mark) } else { None };
        state.log[..steps].iter().filter_map(mark).collect()
    }

    /// The disk as it is found after the power was cut behind the first `steps` steps.
    pub fn image(&self, steps: usize, survivors: Survivors) -> Self {
        let mut replay = Replay { survivors, ..Replay::default() };
        for step in &self.state.lock().log[..steps] {
            replay.apply(step);
        }
        replay.power_cut()
    }

    /// Overwrites bytes of a file on the medium, behind everybody's back.
    pub fn corrupt(&self, path: &Path, offset: usize, bytes: &[u8]) {
        let state = self.state.lock();
        let file = state.files.get(path).expect("the file to corrupt is there");
        file.content.lock()[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    /// The paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state.lock().files.keys().cloned().collect()
    }
}

impl Disk for FaultyDisk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let names = state.files.keys().filter(|path| path.parent() == Some(folder));
        Ok(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path, bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        if state.faults.is_full {
            return Err(Errno::NOSPC.into());
        }
        if state.files.contains_key(path) {
            return Err(Errno::EXIST.into());
        }
        let bytes = usize::try_from(bytes).map_err(|_| Errno::FBIG)?;
        let number = state.next_file;
        state.next_file += 1;
        let content = Mutex::new(vec![0; bytes]);
        let file = Arc::new(FaultyFile { number, content, state: Arc::clone(&self.state) });
        state.files.insert(path.to_owned(), Arc::clone(&file));
        state.log.push(Step::Create { file: number, path: path.to_owned(), bytes });
        Ok(file)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state.lock();
        let file = state.files.get(path).ok_or(Errno::NOENT)?;
        Ok(Arc::clone(file) as Arc<dyn DiskFile>)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.files.remove(path).ok_or(Errno::NOENT)?;
        state.log.push(Step::Remove { path: path.to_owned() });
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.state.lock().log.push(Step::SyncFolder);
        Ok(())
    }
}

impl DiskFile for FaultyFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.content.lock().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content.lock();
        let start = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let found = content.get(start..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let fails = state.faults.writes > 0;
        state.faults.writes = state.faults.writes.saturating_sub(1);
        let bytes = if fails { &bytes[..bytes.len() / 2] } else { bytes };
        let offset = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
        let mut content = self.content.lock();
        let place = content.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len()));
        place.ok_or(Errno::NOSPC)?.copy_from_slice(bytes);
        state.log.push(Step::Write { file: self.number, offset, bytes: bytes.to_vec() });
        if fails { Err(Errno::IO.into()) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if state.faults.syncs > 0 {
            state.faults.syncs -= 1;
            state.log.push(Step::Lose { file: self.number });
            return Err(Errno::IO.into());
        }
        state.log.push(Step::Sync { file: self.number });
        Ok(())
    }
}

/// Where something was written, and what.
type Written = (usize, Vec<u8>);

/// A disk on which the log is played again.
struct Replay {
    survivors: Survivors,
    /// By number: what is durable, and what was written since.
    files: BTreeMap<usize, (Vec<u8>, Vec<Written>)>,
    /// Names that are durable.
    durable: BTreeMap<PathBuf, usize>,
    /// Names as they are.
    names: BTreeMap<PathBuf, usize>,
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            survivors: Survivors::None,
            files: BTreeMap::new(),
            durable: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }
}

impl Replay {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Create { file, path, bytes } => {
                self.files.insert(*file, (vec![0; *bytes], Vec::new()));
                self.names.insert(path.clone(), *file);
            }
            Step::Write { file, offset, bytes } => {
                let (_, pending) = self.files.get_mut(file).expect("it was created");
                pending.push((*offset, bytes.clone()));
            }
            Step::Sync { file } => {
                let (durable, pending) = self.files.get_mut(file).expect("it was created");
                for (offset, bytes) in pending.drain(..) {
                    durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
                }
            }
            Step::Lose { file } => {
                // Some of it may have reached the medium before the error.
                self.settle(*file);
            }
            Step::Remove { path } => {
                self.names.remove(path);
            }
            Step::SyncFolder => self.durable = self.names.clone(),
            Step::Mark(_) => {}
        }
    }

    /// Lets the surviving sectors of a file's unsynced writes become durable and drops the others.
    fn settle(&mut self, file: usize) {
        let (durable, pending) = self.files.get_mut(&file).expect("it was created");
        for (offset, bytes) in pending.drain(..) {
            let mut at = 0;
            while at < bytes.len() {
                let sector = (offset + at) / SECTOR_BYTES;
                let end = ((sector + 1) * SECTOR_BYTES - offset).min(bytes.len());
                let survives = match self.survivors {
                    Survivors::None => false,
                    Survivors::All => true,
                    Survivors::Seed(seed) => mix(seed ^ mix(file as u64) ^ sector as u64) & 1 == 1,
                };
                if survives {
                    durable[offset + at..offset + end].copy_from_slice(&bytes[at..end]);
                }
                at = end;
            }
        }
    }

    fn power_cut(mut self) -> FaultyDisk {
        for file in self.files.keys().copied().collect::<Vec<_>>() {
            self.settle(file);
        }
        let names = match self.survivors {
            Survivors::None => self.durable,
            // A journaling file system may have written names that nobody synced yet.
            Survivors::All | Survivors::Seed(_) => self.names,
        };
        let disk = FaultyDisk::default();
        let mut state = disk.state.lock();
        for (path, number) in names {
            let content = self.files[&number].0.clone();
            state.log.push(Step::Create { file: number, path: path.clone(), bytes: content.len() });
            state.log.push(Step::Write { file: number, offset: 0, bytes: content.clone() });
            state.log.push(Step::Sync { file: number });
            let file = FaultyFile { number, content: Mutex::new(content), state: Arc::clone(&disk.state) };
            state.files.insert(path, Arc::new(file));
            state.next_file = state.next_file.max(number + 1);
        }
        state.log.push(Step::SyncFolder);
        drop(state);
        disk
    }
}

/// Spreads the bits of a number (splitmix64).
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
