//! Looks at each file that comes, of any center, for rows that another center's files or the own tail hold too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arrow::array::RecordBatch;
use bytes::Bytes;
use model::{CenterName, Clock, UtcMicros};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::compare::{Rows, Unit, is_near, rows_of, rows_of_group};
use super::record::{Examined, load, save};
use super::{Double, Doubles};
use crate::Error;
use crate::columns::{Gather, Names};
use crate::delta::{Bounds, DataFile, Snapshot};
use crate::maintenance::NAME_START;
use crate::rows::Slab;
use crate::schema::Table;
use crate::seen::Key;
use crate::terms::received;

/// How long after one center has received a row another may receive it and both be recognized as the same. A vehicle that loses a
/// center tries the next within minutes; a day would mean to hold the keys of a day of both centers against each file that comes.
const RESENT_TIME: i64 = UtcMicros::PER_HOUR;

/// What is known of files stays in memory up to here: an hour of two centers with ten thousand vehicles that send each ten seconds.
const CACHE_BYTES_MAX: usize = 64 << 20;

/// A file that maintenance wrote holds rows of files that are gone. Where all of those were looked at it needs no look, as long as what
/// was removed since is surely still known; that is so for an hour.
const REMOVED_KNOWN_TIME: i64 = 30 * 60 * UtcMicros::PER_SECOND;

/// What was looked at is written down not more often than this, unless something was found: a start looks at a few files again.
const SAVE_INTERVAL: Duration = Duration::from_secs(60);

/// The tables of one center, as they are now.
pub(crate) struct Part {
    pub(crate) center: CenterName,
    pub(crate) folders: [Path; 3],
    pub(crate) snapshots: [Arc<Snapshot>; 3],
    /// Rows that are in no file yet: the own center's.
    pub(crate) slabs: [Vec<Arc<Slab>>; 3],
}

/// There is one; who has it looks.
pub(crate) struct Examiner {
    store: Arc<dyn ObjectStore>,
    folder: Arc<dyn ObjectStore>,
    clock: Arc<dyn Clock>,
    names: Arc<Names>,
    doubles: Doubles,
    /// The files that were looked at, by table and center.
    examined: BTreeMap<(usize, CenterName), Examined>,
    cache: Cache,
    /// Slabs that were looked at.
    slabs: [Vec<KnownSlab>; 3],
    /// Whether rows were found since they were written down, and when that was.
    has_found: bool,
    saved_at: Duration,
}

/// A slab, which may be gone, and what is known of it.
type KnownSlab = (Weak<Slab>, Arc<[Unit]>);

/// Where rows lie.
#[derive(Clone, Copy)]
enum Lying<'a> {
    File(&'a Part, &'a Arc<DataFile>),
    Tail(&'a Part, &'a Arc<Slab>),
}

impl Examiner {
    /// Goes on where the last one ended.
    pub(crate) async fn open(
        store: Arc<dyn ObjectStore>,
        folder: Arc<dyn ObjectStore>,
        clock: Arc<dyn Clock>,
        names: Arc<Names>,
        doubles: Doubles,
    ) -> Self {
        let (found, examined) = load(folder.as_ref()).await;
        doubles.add(found);
        let (cache, saved_at) = (Cache::default(), clock.monotonic());
        Self {
            store,
            folder,
            clock,
            names,
            doubles,
            examined,
            cache,
            slabs: Default::default(),
            has_found: false,
            saved_at,
        }
    }

    /// Looks at all files and rows that were not looked at yet, and hides what two centers hold. What fails is tried again the next
    /// time; what was found before it is hidden.
    pub(crate) async fn examine(&mut self, parts: &[Part]) -> Result<(), Error> {
        if parts.len() < 2 {
            return Ok(());
        }
        for table in Table::ALL {
            self.examine_table(table, parts).await?;
        }
        let now = self.clock.monotonic();
        if self.has_found || now.saturating_sub(self.saved_at) >= SAVE_INTERVAL {
            self.saved_at = now;
            save(self.folder.as_ref(), self.has_found.then_some(&self.doubles), &self.examined).await?;
            self.has_found = false;
        }
        Ok(())
    }

    async fn examine_table(&mut self, table: Table, parts: &[Part]) -> Result<(), Error> {
        let place = table.index();
        self.slabs[place].retain(|(slab, _)| slab.strong_count() > 0);
        for part in parts {
            let new = self.due(table, part);
            for file in &new {
                self.examine_one(table, Lying::File(part, file), parts).await?;
            }
            let slabs = part.slabs[place].iter();
            let new: Vec<_> = slabs.filter(|slab| self.units_of_slab(table, slab).is_none()).collect();
            for slab in new {
                self.learn_slab(table, slab)?;
                self.examine_one(table, Lying::Tail(part, slab), parts).await?;
            }
            self.is_done(table, part);
        }
        Ok(())
    }

    /// The files of a part that are to be looked at.
    fn due(&mut self, table: Table, part: &Part) -> Vec<Arc<DataFile>> {
        let snapshot = &part.snapshots[table.index()];
        let place = (table.index(), part.center.clone());
        let Some(known) = self.examined.get_mut(&place) else { return snapshot.files.clone() };
        if known.version == snapshot.version {
            return Vec::new();
        }
        let is_fresh = self.clock.now().0.saturating_sub(known.at.0) < REMOVED_KNOWN_TIME;
        let mut removed = snapshot.removed.iter().filter(|(_, removed)| removed.version > known.version);
        let was_seen = is_fresh && removed.all(|(file, _)| known.files.contains(file));
        let new = snapshot.files.iter().filter(|file| !known.files.contains(&file.add.path));
        let (made, new): (Vec<_>, Vec<_>) =
            new.cloned().partition(|file| was_seen && file.add.path.starts_with(NAME_START));
        known.files.extend(made.into_iter().map(|file| file.add.path.clone()));
        new
    }

    /// All files of a part have been looked at.
    fn is_done(&mut self, table: Table, part: &Part) {
        let snapshot = &part.snapshots[table.index()];
        let place = (table.index(), part.center.clone());
        if let Some(known) = self.examined.get_mut(&place)
            && known.version == snapshot.version
        {
            known.at = self.clock.now();
            return;
        }
        let files: BTreeSet<String> = snapshot.files.iter().map(|file| file.add.path.clone()).collect();
        let oldest = snapshot.files.iter().filter_map(|file| Some(received(file)?.0)).min();
        if let Some(oldest) = oldest {
            self.doubles.forget_before(table, &part.center, oldest);
        }
        let known = Examined { version: snapshot.version, at: self.clock.now(), files };
        self.examined.insert(place, known);
    }

    /// Holds rows against those of all other parts.
    async fn examine_one(&mut self, table: Table, one: Lying<'_>, parts: &[Part]) -> Result<(), Error> {
        for other in parts.iter().filter(|other| other.center != one.part().center) {
            let files = other.snapshots[table.index()].files.iter().map(|file| Lying::File(other, file));
            let slabs = other.slabs[table.index()].iter().map(|slab| Lying::Tail(other, slab));
            for another in files.chain(slabs).filter(|another| may_share(one, *another)) {
                self.compare(table, one, another).await?;
            }
        }
        Ok(())
    }

    async fn compare(&mut self, table: Table, one: Lying<'_>, another: Lying<'_>) -> Result<(), Error> {
        let (mine, theirs) = (self.units(table, one).await?, self.units(table, another).await?);
        for (a, my_unit) in mine.iter().enumerate() {
            for (b, their_unit) in theirs.iter().enumerate() {
                let keys = my_unit.common(their_unit, RESENT_TIME);
                if keys.is_empty() {
                    continue;
                }
                let my_rows = self.rows(table, one, a, &keys).await?;
                let their_rows = self.rows(table, another, b, &keys).await?;
                let found =
                    later(table, (&one.part().center, &my_rows), (&another.part().center, &their_rows));
                let count = self.doubles.add(found);
                if count > 0 {
                    self.has_found = true;
                    tracing::info!(
                        table = table.name(),
                        rows = count,
                        "rows that two centers received show once"
                    );
                }
            }
        }
        Ok(())
    }

    async fn units(&mut self, table: Table, of: Lying<'_>) -> Result<Arc<[Unit]>, Error> {
        match of {
            Lying::Tail(_, slab) => match self.units_of_slab(table, slab) {
                Some(units) => Ok(units),
                None => self.learn_slab(table, slab),
            },
            Lying::File(part, file) => {
                let name = (table.index(), part.center.clone(), file.add.path.clone());
                if let Some(units) = self.cache.get(&name) {
                    return Ok(units);
                }
                let units: Arc<[Unit]> = match self.read(table, part, file).await? {
                    Some(bytes) => Unit::of_file(&bytes).map_err(|why| damaged(table, file, why))?.into(),
                    None => Arc::default(),
                };
                self.cache.put(name, units.clone());
                Ok(units)
            }
        }
    }

    /// The rows of some keys in one of the units.
    async fn rows(&self, table: Table, of: Lying<'_>, unit: usize, keys: &[Key]) -> Result<Rows, Error> {
        let mut rows = Rows::default();
        match of {
            Lying::Tail(_, slab) => {
                rows_of(table, &self.batch_of(table, slab)?, keys, &mut rows)
                    .map_err(|why| Error::Threads(format!("rows of the tail: {why}")))?;
            }
            Lying::File(part, file) => {
                if let Some(bytes) = self.read(table, part, file).await? {
                    rows_of_group(table, &bytes, unit, keys, &mut rows)
                        .map_err(|why| damaged(table, file, why))?;
                }
            }
        }
        Ok(rows)
    }

    /// A file that is gone was replaced by others with the same rows, or its term is over.
    async fn read(&self, table: Table, part: &Part, file: &DataFile) -> Result<Option<Bytes>, Error> {
        let path = part.folders[table.index()].clone().join(file.add.path.as_str());
        match self.store.get(&path).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn units_of_slab(&self, table: Table, slab: &Arc<Slab>) -> Option<Arc<[Unit]>> {
        let known = self.slabs[table.index()].iter().find(|(known, _)| known.as_ptr() == Arc::as_ptr(slab));
        known.map(|(_, units)| units.clone())
    }

    /// A slab's rows of a table, as a file would have them.
    fn batch_of(&self, table: Table, slab: &Arc<Slab>) -> Result<RecordBatch, Error> {
        let slabs = [slab.clone()];
        let gather = Gather::new(&self.names, table, &slabs);
        let batch = gather.batch(&gather.arrival_order());
        batch.map_err(|error| Error::Encode { table: table.name(), source: error.into() })
    }

    fn learn_slab(&mut self, table: Table, slab: &Arc<Slab>) -> Result<Arc<[Unit]>, Error> {
        let unit = Unit::of_batch(&self.batch_of(table, slab)?)
            .map_err(|why| Error::Threads(format!("rows of the tail: {why}")))?;
        let units: Arc<[Unit]> = [unit].into();
        self.slabs[table.index()].push((Arc::downgrade(slab), units.clone()));
        Ok(units)
    }
}

impl<'a> Lying<'a> {
    fn part(self) -> &'a Part {
        match self {
            Self::File(part, _) | Self::Tail(part, _) => part,
        }
    }

    /// First and last receipt, time and vehicle, as far as that is known without reading.
    fn bounds(self, name: &str) -> Option<&'a Bounds> {
        match self {
            Self::File(_, file) => file.statistics.as_ref()?.bounds.get(name),
            Self::Tail(..) => None,
        }
    }
}

/// Whether two may hold the same row, as far as their statistics say.
fn may_share(one: Lying<'_>, another: Lying<'_>) -> bool {
    ["received_at", "time", "vehicle"].into_iter().all(|name| {
        match (one.bounds(name), another.bounds(name)) {
            (Some(Bounds::Time(a, b)), Some(Bounds::Time(c, d))) => {
                is_near((*a, *b), (*c, *d), if name == "received_at" { RESENT_TIME } else { 0 })
            }
            (Some(Bounds::Text(a, b)), Some(Bounds::Text(c, d))) => a <= d && c <= b,
            _ => true,
        }
    })
}

/// The rows of two centers that don't show.
fn later(
    table: Table,
    (one, mine): (&CenterName, &Rows),
    (another, theirs): (&CenterName, &Rows),
) -> Vec<Double> {
    let mut found = Vec::new();
    for ((key, digest), my_times) in mine {
        let Some(their_times) = theirs.get(&(*key, *digest)) else { continue };
        let mut hide = |center: &CenterName, times: &[i64], by: &CenterName, earliest: Option<&i64>| {
            let is_later = |at: &&i64| earliest.is_some_and(|earliest| (earliest, by) < (*at, center));
            found.extend(times.iter().filter(is_later).map(|received_at| Double {
                table: table.index(),
                center: center.clone(),
                by: by.clone(),
                received_at: *received_at,
                key: *key,
                digest: *digest,
            }));
        };
        hide(one, my_times, another, their_times.iter().min());
        hide(another, their_times, one, my_times.iter().min());
    }
    found
}

fn damaged(table: Table, file: &DataFile, why: String) -> Error {
    Error::DamagedFile { table: table.name(), file: file.add.path.clone(), why }
}

/// A file: its table, center and name.
type FileName = (usize, CenterName, String);

/// What is known of files; of too many those go that were asked for longest ago.
#[derive(Default)]
struct Cache {
    units: HashMap<FileName, (u64, Arc<[Unit]>)>,
    bytes: usize,
    turn: u64,
}

impl Cache {
    fn get(&mut self, name: &FileName) -> Option<Arc<[Unit]>> {
        self.turn += 1;
        let (used, units) = self.units.get_mut(name)?;
        *used = self.turn;
        Some(units.clone())
    }

    fn put(&mut self, name: FileName, units: Arc<[Unit]>) {
        self.turn += 1;
        self.bytes += size(&units);
        self.units.insert(name, (self.turn, units));
        while self.bytes > CACHE_BYTES_MAX && self.units.len() > 1 {
            // Half of them at once, so that a full cache is not searched with each file.
            let mut turns: Vec<u64> = self.units.values().map(|(used, _)| *used).collect();
            turns.sort_unstable();
            let oldest = turns[turns.len() / 2];
            self.units.retain(|_, (used, _)| *used >= oldest);
            self.bytes = self.units.values().map(|(_, units)| size(units)).sum();
        }
    }
}

fn size(units: &[Unit]) -> usize {
    units.iter().map(Unit::bytes).sum::<usize>() + size_of::<FileName>()
}
