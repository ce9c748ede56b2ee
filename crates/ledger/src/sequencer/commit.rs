//! The commit: its steps, its thread, and the opening of a log, which runs the same steps.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use parking_lot::{Condvar, Mutex};
use store::{Created, Objects, Version};

use super::{GATHER_TIME, GROUP_ENTRIES_MAX, Parts, Shared, State};
use crate::reader::{CHECKPOINT, Grown, HEAD, Head, LogReader, StoreTiles, below, parse_checkpoint};
use crate::tile::{self, LEVELS_MAX};
use crate::tree::{Edge, Growth};
use crate::{Checkpoint, Error, Kind, SignedCheckpoint, Tile, TileKind};

/// Objects from which on one flush of the whole file system is cheaper than a flush for each.
const CREATES_SINGLY_MAX: usize = 8;

/// First and longest pause between tries on a store that does not answer.
const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Rounds in which a claim may lose against others before it gives up.
const CLAIM_ROUNDS_MAX: u32 = 16;

/// The thread's own state: what only the writer of the log knows.
pub(super) struct Committer {
    /// Goes first: who waits is told that nothing more comes.
    _ending: Ending,
    shared: Arc<Shared>,
    /// Whether it may use threads and wait for time to pass.
    has_thread: bool,
    epoch: u64,
    /// Which `head.json` is replaced next.
    version: Version,
    edge: Edge,
    /// The incomplete bundle at the right edge.
    bundle: Vec<u8>,
    /// When the last commit began, by the monotonic clock.
    last: Option<Duration>,
    /// Places whose full tile is there and whose partial ones may go.
    completed: BTreeSet<(TileKind, u64)>,
}

/// Opens the log: reads and claims `head.json`, and finishes the commit that it holds.
pub(super) fn open(parts: Parts, has_thread: bool) -> Result<(Arc<Shared>, Committer), Error> {
    let Parts { objects, folder, key, clock, owner, publish_at_once } = parts;
    let reader = LogReader::new(objects.clone(), folder.clone(), key.verifier());
    let (head, version) = claim(&objects, &folder, &key, &owner)?;
    let tiles = StoreTiles::new(objects.clone(), folder.clone());
    let Grown { edge, bundle, growth } = head.grow(&tiles)?;
    let published = reader.checkpoint()?;
    if let Some(published) = published.as_ref().filter(|published| published.size() > head.checkpoint.size())
    {
        let why = format!(
            "it has {} entries, fewer than the {} that are published: the store was rolled back",
            head.checkpoint.size(),
            published.size()
        );
        return Err(Error::corrupt(HEAD, why));
    }
    // None published: what a quorum still lacks.
    let published_size = published.as_ref().map_or(0, SignedCheckpoint::size);
    let state = State {
        queue: Default::default(),
        in_commit: 0,
        edge: edge.clone(),
        checkpoint: head.checkpoint.clone(),
        published,
        held: true,
        failed: None,
        is_closing: false,
        has_ended: false,
        commits: 0,
    };
    let shared = Arc::new(Shared {
        objects,
        folder,
        key,
        clock,
        owner,
        publish_at_once,
        state: Mutex::new(state),
        called: Condvar::new(),
        moved: Condvar::new(),
        publishing: Mutex::new(()),
    });
    let mut committer = Committer {
        _ending: Ending(Arc::clone(&shared)),
        shared: Arc::clone(&shared),
        has_thread,
        epoch: head.epoch,
        version,
        edge,
        bundle,
        last: None,
        completed: left_over(head.checkpoint.size(), published_size),
    };
    committer.write_tiles(&growth)?;
    if publish_at_once {
        shared.publish(head.checkpoint)?;
    }
    committer.collect_partials();
    Ok((shared, committer))
}

/// Claims the log for a new epoch.
fn claim(
    objects: &Objects,
    folder: &Path,
    key: &crate::SigningKey,
    owner: &str,
) -> Result<(Head, Version), Error> {
    let name = below(folder, HEAD);
    let mut seen = 0;
    for _ in 0..CLAIM_ROUNDS_MAX {
        let (head, known) = match objects.read_version(&name)? {
            Some((bytes, version)) => {
                let head = Head::parse(&bytes, &key.verifier())?;
                let epoch = head.epoch.checked_add(1);
                let epoch = epoch.ok_or_else(|| Error::corrupt(HEAD, "no epoch can follow its own"))?;
                (Head { epoch, ..head }, Some(version))
            }
            None => {
                check_new(objects, folder)?;
                let empty = Checkpoint::new(key.name(), 0, crate::hash::empty());
                let checkpoint = SignedCheckpoint::sign(empty, key)?;
                (Head { epoch: 1, checkpoint, staged: Vec::new() }, None)
            }
        };
        seen = head.epoch;
        let bytes = head.encode(owner);
        let won = match known {
            Some(version) => objects.replace(&name, bytes, &version)?,
            None => match objects.create(&name, bytes)? {
                Created::New => objects.read_version(&name)?.map(|(_, version)| version),
                Created::Exists => None,
            },
        };
        if let Some(version) = won {
            return Ok((head, version));
        }
    }
    Err(Error::Fenced { epoch: seen })
}

/// That a log without a register is a new one: beginning anew beside what was signed before would be a fork.
fn check_new(objects: &Objects, folder: &Path) -> Result<(), Error> {
    let head = below(folder, HEAD);
    match objects.list(folder)?.iter().find(|object| object.location != head) {
        Some(object) => {
            Err(Error::corrupt(HEAD, format!("it is missing, and yet there is {}", object.location)))
        }
        None => Ok(()),
    }
}

/// The places completed since the last one that the published checkpoint covers: a crash may have left their partial tiles.
fn left_over(size: u64, published: u64) -> BTreeSet<(TileKind, u64)> {
    let levels = (0..LEVELS_MAX as u8).map(|level| (TileKind::Hashes(level), level));
    let kinds = levels.chain([(TileKind::Entries, 0)]);
    let places = kinds.flat_map(|(kind, level)| {
        let first = tile::edge_index(published, level).saturating_sub(1);
        (first..tile::edge_index(size, level)).map(move |index| (kind, index))
    });
    places.collect()
}

/// Tells everybody when the thread ends, however it does.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if std::thread::panicking() {
            state.failed.get_or_insert_with(|| "its thread panicked".to_owned());
        }
        state.has_ended = true;
        drop(state);
        self.0.moved.notify_all();
    }
}

impl Committer {
    pub(super) fn run(mut self) {
        while let Some(group) = self.next_group() {
            if self.commit_or_stop(&group).is_err() {
                break;
            }
        }
    }

    /// Commits what waits, once; waits for nothing. Returns whether there was something.
    pub(super) fn step(&mut self) -> Result<bool, Error> {
        {
            let state = self.shared.state.lock();
            if let Some(refusal) = state.refusal() {
                return Err(refusal);
            }
            if state.held || state.queue.is_empty() {
                return Ok(false);
            }
        }
        let group = self.take_group();
        self.commit_or_stop(&group).map(|()| true)
    }

    fn commit_or_stop(&mut self, group: &[Vec<u8>]) -> Result<(), Error> {
        let committed = self.commit(group);
        match &committed {
            // It was closed while the store did not answer.
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => {
                tracing::error!(%error, "the ledger stops: nothing more is signed");
                self.shared.state.lock().failed.get_or_insert(error.to_string());
            }
        }
        committed
    }

    /// Waits for entries and takes them; `None` at the end.
    fn next_group(&mut self) -> Option<Vec<Vec<u8>>> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            let may_sign = !state.held && !state.queue.is_empty();
            if state.is_closing {
                if !may_sign {
                    return None;
                }
                break;
            }
            if !may_sign {
                shared.called.wait(&mut state);
                continue;
            }
            let now = shared.clock.monotonic();
            let since = self.last.and_then(|last| now.checked_sub(last));
            let left = since.map_or(Duration::ZERO, |since| GATHER_TIME.saturating_sub(since));
            if left.is_zero() || state.queue.len() >= GROUP_ENTRIES_MAX {
                break;
            }
            // Whatever the clock says then: one that stands still must not hold up the log.
            if shared.called.wait_for(&mut state, left).timed_out() && !state.held && state.failed.is_none() {
                break;
            }
        }
        drop(state);
        Some(self.take_group())
    }

    /// Takes the entries that are committed together.
    fn take_group(&mut self) -> Vec<Vec<u8>> {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.lock();
        self.last = Some(shared.clock.monotonic());
        // Where more wait than fit, a group ends with its bundle: then commit after commit writes whole tiles, and no partial ones that
        // are to be collected again.
        let room = GROUP_ENTRIES_MAX - usize::from(tile::edge_width(self.edge.size(), 0));
        let waiting = state.queue.len();
        let count = if waiting < GROUP_ENTRIES_MAX { waiting } else { room };
        let group: Vec<_> = state.queue.drain(..count).collect();
        state.in_commit = group.len();
        drop(state);
        shared.moved.notify_all();
        group
    }

    fn commit(&mut self, group: &[Vec<u8>]) -> Result<(), Error> {
        let (mut edge, mut bundle) = (self.edge.clone(), self.bundle.clone());
        let growth = edge.grow(&mut bundle, group.iter().map(Vec::as_slice))?;
        let shared = Arc::clone(&self.shared);
        let next = Checkpoint::new(shared.key.name(), edge.size(), edge.root());
        let checkpoint = SignedCheckpoint::sign(next, &shared.key)?;
        let head = Head { epoch: self.epoch, checkpoint: checkpoint.clone(), staged: group.to_vec() };
        self.swap_head(head.encode(&shared.owner))?;
        (self.edge, self.bundle) = (edge.clone(), bundle);
        self.write_tiles_until_written(&growth)?;
        {
            let mut state = shared.state.lock();
            state.in_commit = 0;
            state.edge = edge;
            state.checkpoint = checkpoint.clone();
            state.commits += 1;
        }
        shared.moved.notify_all();
        if shared.publish_at_once {
            self.publish_until_published(&checkpoint)?;
        }
        self.collect_partials();
        Ok(())
    }

    /// The commit point. An answer that was lost is looked up: the register holds the old head, the new one, or another writer's.
    /// The new one is swapped for itself then, because only a swap that the store has confirmed is known to be durable.
    fn swap_head(&mut self, head: Bytes) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        let name = below(&shared.folder, HEAD);
        let mut pause = RETRY_MIN;
        loop {
            match shared.objects.replace(&name, head.clone(), &self.version) {
                Ok(Some(version)) => {
                    self.version = version;
                    return Ok(());
                }
                // A lost answer to an earlier try of ours looks like another writer.
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "the store does not take the ledger's head; trying again");
                    self.pause(&mut pause)?;
                }
            }
            match shared.objects.read_version(&name) {
                Ok(Some((bytes, version))) if bytes == head => self.version = version,
                Ok(Some((_, version))) if version == self.version => self.pause(&mut pause)?,
                Ok(Some((bytes, _))) => {
                    let epoch = Head::parse(&bytes, &shared.key.verifier())?.epoch;
                    return Err(Error::Fenced { epoch });
                }
                Ok(None) => return Err(Error::corrupt(HEAD, "it was deleted")),
                Err(error) => {
                    tracing::warn!(%error, "the ledger's head can't be read; trying again");
                    self.pause(&mut pause)?;
                }
            }
        }
    }

    fn publish_until_published(&self, checkpoint: &SignedCheckpoint) -> Result<(), Error> {
        let mut pause = RETRY_MIN;
        loop {
            match self.shared.publish(checkpoint.clone()) {
                Err(error) if error.kind() == Kind::Unavailable => {
                    tracing::warn!(%error, "the store does not take the ledger's checkpoint; trying again");
                    self.pause(&mut pause)?;
                }
                published => return published,
            }
        }
    }

    fn write_tiles_until_written(&mut self, growth: &Growth) -> Result<(), Error> {
        let mut pause = RETRY_MIN;
        loop {
            match self.write_tiles(growth) {
                Err(error) if error.kind() == Kind::Unavailable => {
                    tracing::warn!(%error, "the store does not take the ledger's tiles; trying again");
                    self.pause(&mut pause)?;
                }
                written => return written,
            }
        }
    }

    /// Creates tiles and bundles; what exists must be the same.
    fn write_tiles(&mut self, growth: &Growth) -> Result<(), Error> {
        let shared = &self.shared;
        let objects = growth
            .iter()
            .map(|(tile, bytes)| (below(&shared.folder, &tile.path()), Bytes::from(bytes.clone())));
        let objects: Vec<(Path, Bytes)> = objects.collect();
        if objects.len() > CREATES_SINGLY_MAX {
            shared.objects.create_many(objects.clone())?;
            objects.iter().try_for_each(|(name, bytes)| self.check_same(name, bytes))?;
        } else {
            self.create_side_by_side(&objects)?;
        }
        self.completed
            .extend(growth.keys().filter(|tile| tile.is_full()).map(|tile| (tile.kind, tile.index)));
        Ok(())
    }

    /// Creates a few objects, each on a thread: flushes that a disk gets at once cost it hardly more than one.
    fn create_side_by_side(&self, objects: &[(Path, Bytes)]) -> Result<(), Error> {
        let create = |(name, bytes): &(Path, Bytes)| match self.shared.objects.create(name, bytes.clone())? {
            Created::New => Ok(()),
            Created::Exists => self.check_same(name, bytes),
        };
        if !self.has_thread {
            return objects.iter().try_for_each(create);
        }
        let Some((last, others)) = objects.split_last() else { return Ok(()) };
        std::thread::scope(|scope| {
            let mut created = Ok(());
            let mut threads = Vec::with_capacity(others.len());
            for object in others {
                let thread = std::thread::Builder::new().name("ledger-tile".to_owned());
                match thread.spawn_scoped(scope, || create(object)) {
                    Ok(thread) => threads.push(thread),
                    // A thread that can't be had is done without.
                    Err(_) => created = created.and_then(|()| create(object)),
                }
            }
            created = created.and_then(|()| create(last));
            let joined =
                threads.into_iter().map(|one| one.join().expect("creating an object does not panic"));
            joined.fold(created, Result::and)
        })
    }

    fn check_same(&self, name: &Path, bytes: &Bytes) -> Result<(), Error> {
        if self.shared.objects.read(name)?.as_ref() == Some(bytes) {
            return Ok(());
        }
        Err(Error::corrupt(name, "it holds something else than the tree that was signed"))
    }

    /// Deletes partial tiles whose full tile is there, as soon as the published checkpoint has no use for them. A failure only
    /// leaves files that nobody needs.
    fn collect_partials(&mut self) {
        let shared = Arc::clone(&self.shared);
        let Some(published) = shared.state.lock().published.as_ref().map(SignedCheckpoint::size) else {
            return;
        };
        let is_covered = |kind: TileKind, index: u64| {
            let level = match kind {
                TileKind::Hashes(level) => level,
                TileKind::Entries => 0,
            };
            index < tile::edge_index(published, level)
        };
        self.completed.retain(|&(kind, index)| {
            if !is_covered(kind, index) {
                return true;
            }
            let full = Tile { kind, index, width: tile::TILE_WIDTH };
            let partials = below(&shared.folder, &full.partials());
            let collected = shared
                .objects
                .list(&partials)
                .and_then(|found| found.iter().try_for_each(|partial| shared.objects.delete(&partial.location)));
            if let Err(error) = &collected {
                tracing::warn!(%error, "superseded partial tiles can't be collected; trying again with the next commit");
            }
            collected.is_err()
        });
    }

    /// Waits before the next try; an error where the ledger is to end.
    fn pause(&self, pause: &mut Duration) -> Result<(), Error> {
        let mut state = self.shared.state.lock();
        let goes_on = |state: &mut State| state.refusal().is_none();
        let time = if self.has_thread { *pause } else { Duration::ZERO };
        let _ = self.shared.called.wait_while_for(&mut state, goes_on, time);
        *pause = (*pause * 2).min(RETRY_MAX);
        state.refusal().map_or(Ok(()), Err)
    }
}

impl Shared {
    /// Replaces the published checkpoint, unless a larger one is published.
    pub(super) fn publish(&self, checkpoint: SignedCheckpoint) -> Result<(), Error> {
        let _publishing = self.publishing.lock();
        let published = self.state.lock().published.clone();
        let is_older = |published: &SignedCheckpoint| {
            published.size() > checkpoint.size()
                || published.size() == checkpoint.size()
                    && published.signatures().len() > checkpoint.signatures().len()
        };
        if published.as_ref().is_some_and(is_older) || published.as_ref() == Some(&checkpoint) {
            return Ok(());
        }
        let name = below(&self.folder, CHECKPOINT);
        let bytes = Bytes::from(checkpoint.note().to_owned());
        let written = match self.objects.read_version(&name)? {
            Some((there, version)) => {
                // A writer that was fenced and does not know it yet must not take back what its successor published.
                let there = parse_checkpoint(&there, &self.key.verifier())?;
                if there.size() > checkpoint.size() {
                    let why = format!("another writer has published one of {} entries", there.size());
                    return Err(Error::NotPublishable { why });
                }
                self.objects.replace(&name, bytes, &version)?.is_some()
            }
            None => self.objects.create(&name, bytes)? == Created::New,
        };
        if !written {
            return Err(Error::NotPublishable { why: "another writer replaced it meanwhile".to_owned() });
        }
        self.state.lock().published = Some(checkpoint);
        Ok(())
    }
}
