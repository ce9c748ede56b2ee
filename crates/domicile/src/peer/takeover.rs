//! A center that was lost: what of its frames no table has is taken over by the center that holds its copy. Those are frames of
//! batches that came before its tables did, and frames that it had pushed and not sealed. They go through this center's own journal,
//! are sealed and entered as any, and show in its tables.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use ledger::{LogReader, SignedCheckpoint};
use model::{CenterName, Clock, ConnectionId, Entropy, Frame, GatewayName, Sequence, VehicleId, Vin};
use policy::RegistryVersion;
use registry::Registry;
use store::{AppendRefused, CommitWaiter, Journal, Keyring, Names, Store, TailError};

use super::network::Network;
use super::office::HeldBooks;
use super::placement::holders;
use crate::api::Rooms;
use crate::center::{Center, Packs};
use crate::charter::{Charter, Charters, Member, State};
use crate::pki::replace_file;
use crate::world::World;

/// Up to where the tables of a center's copy have the frames of a gateway; `None` where there are no tables here.
pub(crate) type Tabled =
    Box<dyn Fn(&CenterName, &GatewayName) -> anyhow::Result<Option<Sequence>> + Send + Sync>;

/// Lets a moment pass, in which the own journal goes on; `false` where the program ends.
pub(super) type Pause = Box<dyn Fn() -> bool + Send + Sync>;

/// Takes over what lost centers leave.
pub(super) struct TakeOver {
    center: Arc<Center>,
    store: Arc<Store>,
    registry: Arc<Registry>,
    packs: Arc<Packs>,
    charters: Arc<Charters>,
    journal: Journal,
    held: Arc<HeldBooks>,
    network: Arc<dyn Network>,
    tabled: Tabled,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pause: Pause,
    /// Frames taken over since the start.
    frames: AtomicU64,
}

/// Frames of the own journal by whose they are, the connection and the bytes, and how often each is there.
type Appended = HashMap<(VehicleId, ConnectionId, Vec<u8>), u64>;

/// One take-over.
struct Taking<'a> {
    takeover: &'a TakeOver,
    waiter: Arc<CommitWaiter>,
    last: Option<Sequence>,
    frames: u64,
    /// Frames of vehicles that were erased since.
    gone: u64,
    /// Vehicles as they were looked up.
    known: BTreeMap<VehicleId, Option<Vin>>,
    /// Frames that an earlier try, which was cut short, has appended, and how often.
    there: Appended,
}

impl TakeOver {
    pub(super) fn new(
        rooms: &Rooms,
        journal: &Journal,
        held: Arc<HeldBooks>,
        network: Arc<dyn Network>,
        tabled: Tabled,
        pause: Pause,
        world: &World,
    ) -> Self {
        Self {
            center: rooms.center.clone(),
            store: rooms.store.clone(),
            registry: rooms.registry.clone(),
            packs: rooms.packs.clone(),
            charters: rooms.charters.clone(),
            journal: journal.clone(),
            held,
            network,
            tabled,
            clock: world.clock.clone(),
            entropy: world.entropy.clone(),
            pause,
            frames: AtomicU64::new(0),
        }
    }

    /// Frames taken over since the start.
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// Takes over what the centers that the charter calls lost leave, each once. What fails is tried again with the next call.
    pub(super) fn look(&self) {
        let Some(in_force) = self.charters.in_force() else { return };
        let own = self.center.genesis.center();
        let is_mine = |center: &CenterName| {
            holders(&in_force.charter, center).first().is_some_and(|first| first.name == own)
        };
        for member in in_force.charter.centers.iter().filter(|member| !is_mine(&member.name)) {
            if let Err(error) = self.forget(&member.name) {
                tracing::error!(center = %member.name, %error, "frames that are held for another center can't be deleted; trying again");
            }
        }
        for member in in_force.charter.centers.iter().filter(|member| member.state == State::Lost) {
            if !is_mine(&member.name) || self.marker(&member.name).exists() {
                continue;
            }
            match self.must_have_most(&in_force.charter, member).and_then(|()| self.take(&member.name)) {
                Ok(frames) => {
                    tracing::warn!(center = %member.name, frames, "the frames that a lost center leaves are taken over");
                }
                Err(error) => {
                    tracing::error!(center = %member.name, %error, "the frames that a lost center leaves are not taken over; trying again");
                }
            }
        }
    }

    /// That no other center has more of a lost center than lies here: what came later would show a second time. Each must know that the
    /// center is lost, and so take nothing more from it.
    ///
    /// # Errors
    /// Who may have more, or does not answer.
    fn must_have_most(&self, charter: &Charter, lost: &Member) -> anyhow::Result<()> {
        let own = self.center.genesis.center();
        let key = lost.keys().map_err(anyhow::Error::msg)?.log;
        let log = Names::new(lost.name.clone()).ledger();
        let held = LogReader::new(self.store.objects().clone(), log, key.clone()).checkpoint()?;
        let held = held.map_or(0, |held| held.size());
        for other in charter.centers.iter().filter(|other| other.name != own && other.state.is_here()) {
            let known = self.network.peer(other, &other.name)?.head(0)?.map_or(0, |answer| answer.charter);
            anyhow::ensure!(
                known >= charter.version,
                "{} has version {known} of the charter, and may still take something from it",
                other.name
            );
            let Some(answer) = self.network.peer(other, &lost.name)?.head(0)? else { continue };
            let theirs = SignedCheckpoint::open(&answer.note, &key)?.size();
            anyhow::ensure!(
                theirs <= held,
                "{} holds {theirs} entries of its log, and {held} lie here so far",
                other.name
            );
        }
        Ok(())
    }

    fn marker(&self, center: &CenterName) -> PathBuf {
        self.center.folder.join("mirror").join(format!("{center}.taken"))
    }

    /// Begins to take over from a center. What a try that was cut short has appended to the own journal is not appended again: where it began is
    /// noted before it does.
    fn begin(&self, center: &CenterName) -> anyhow::Result<Taking<'_>> {
        let mut taking = Taking::by(self);
        let note = self.note(center);
        match std::fs::read_to_string(&note) {
            Ok(text) => {
                let begun = text.trim().parse().with_context(|| note.display().to_string())?;
                taking.there = self.appended_since(Sequence(begun))?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let last = *self.journal.committed().borrow();
                replace_file(&note, format!("{last}\n").as_bytes(), 0o600)?;
            }
            Err(error) => return Err(error).with_context(|| note.display().to_string()),
        }
        Ok(taking)
    }

    /// It is over: a later one begins anew.
    fn end(&self, center: &CenterName) -> anyhow::Result<()> {
        let note = self.note(center);
        std::fs::remove_file(&note).with_context(|| note.display().to_string())
    }

    fn note(&self, center: &CenterName) -> PathBuf {
        self.center.folder.join("mirror").join(format!("{center}.taking"))
    }

    /// The own frames after one, in batches or still in the journal.
    fn appended_since(&self, after: Sequence) -> anyhow::Result<Appended> {
        let gateway = self.center.gateway();
        let mut there = HashMap::new();
        let mut add = |frame: &Frame<'_>| {
            *there.entry((frame.vehicle, frame.connection, frame.bytes.to_vec())).or_default() += 1;
        };
        let mut past = after;
        loop {
            for name in self.store.batches_after(&gateway, past)? {
                self.store.read_batch(&name)?.for_each(self.store.keyring(), |row| {
                    if row.sequence > past
                        && let Some(frame) = row.frame()
                    {
                        add(&frame);
                    }
                    anyhow::Ok(())
                })?;
                past = past.max(name.last);
            }
            let mut tail = self.journal.tail(Sequence(past.0 + 1));
            loop {
                match tail.next_group() {
                    Ok(Some(group)) => group.frames().for_each(|(_, frame)| add(&frame)),
                    Ok(None) => return Ok(there),
                    // They were sealed meanwhile.
                    Err(TailError::Overrun { .. }) => break,
                    Err(TailError::Store(error)) => return Err(error.into()),
                    Err(other) => return Err(anyhow::anyhow!("{other}")),
                }
            }
            past = Sequence(tail.next_sequence().0.saturating_sub(1));
        }
    }

    /// Another center is the second one of this center now: what is held here of it goes as far as its batches are here.
    fn forget(&self, center: &CenterName) -> anyhow::Result<()> {
        let mut gateways = self.store.held_gateways(center)?;
        let bytes =
            |gateway: &GatewayName| self.held.with(&self.store, center, gateway, |held| Ok(held.bytes()));
        gateways.retain(|gateway| bytes(gateway).is_ok_and(|bytes| bytes > 0));
        if gateways.is_empty() {
            return Ok(());
        }
        let batches = self.store.batches_of(center)?;
        for gateway in gateways {
            let newest =
                batches.iter().filter(|batch| batch.gateway == gateway).map(|batch| batch.last).max();
            let newest = newest.unwrap_or(Sequence(0));
            self.held.with(&self.store, center, &gateway, |held| Ok(held.release(newest)?))?;
        }
        Ok(())
    }

    /// Takes over what is held of the journals of a center that is here and has lost them; of frames up to `known` it has the batches.
    /// From then on it may push frames under the same numbers. Gives how many frames were taken over.
    pub(super) fn take_held(
        &self,
        center: &CenterName,
        known: &BTreeMap<GatewayName, Sequence>,
    ) -> anyhow::Result<u64> {
        let batches = self.store.batches_of(center)?;
        let mut taking = self.begin(center)?;
        let gateways = self.store.held_gateways(center)?;
        for gateway in &gateways {
            let here = batches.iter().filter(|batch| batch.gateway == *gateway).map(|batch| batch.last).max();
            let newest = here.max(known.get(gateway).copied()).unwrap_or(Sequence(0));
            self.held.with(&self.store, center, gateway, |held| {
                held.frames(newest, |_, frame| taking.frame(&frame))
            })?;
        }
        taking.finish()?;
        for gateway in &gateways {
            self.held
                .with(&self.store, center, gateway, |held| held.forget().map_err(anyhow::Error::from))?;
        }
        self.end(center)?;
        let frames = taking.frames;
        tracing::warn!(%center, frames, "the frames that were held of a center that is being repaired are taken over");
        Ok(frames)
    }

    fn take(&self, center: &CenterName) -> anyhow::Result<u64> {
        let batches = self.store.batches_of(center)?;
        let mut gateways: BTreeSet<GatewayName> = self.store.held_gateways(center)?.into_iter().collect();
        gateways.extend(batches.iter().map(|batch| batch.gateway.clone()));
        let mut taking = self.begin(center)?;
        let identity = self.center.identity()?;
        let (objects, names) = (self.store.objects().clone(), Names::new(center.clone()));
        let keyring = Keyring::new(objects, names, identity, self.entropy.clone());
        for gateway in gateways {
            let sealed = batches.iter().filter(|batch| batch.gateway == gateway);
            let newest = sealed.clone().map(|batch| batch.last).max().unwrap_or(Sequence(0));
            let tabled = (self.tabled)(center, &gateway)?.unwrap_or(newest);
            // A batch may have come before the keys of its frames, and the center was lost between: those are held still.
            let mut unopened = BTreeSet::new();
            for name in sealed.filter(|batch| batch.last > tabled) {
                self.store.read_batch(name)?.for_each(&keyring, |row| match row.frame() {
                    _ if row.sequence <= tabled => Ok(()),
                    Some(frame) => taking.frame(&frame),
                    None => {
                        unopened.insert(row.sequence);
                        Ok(())
                    }
                })?;
            }
            self.held.with(&self.store, center, &gateway, |held| {
                held.frames(tabled, |sequence, frame| {
                    if sequence > newest || unopened.contains(&sequence) {
                        taking.frame(&frame)
                    } else {
                        Ok(())
                    }
                })
            })?;
        }
        taking.finish()?;
        replace_file(&self.marker(center), b"taken over\n", 0o600)?;
        self.end(center)?;
        for gateway in self.store.held_gateways(center)? {
            self.held.with(&self.store, center, &gateway, |held| {
                held.release(Sequence(u64::MAX)).map_err(anyhow::Error::from)
            })?;
        }
        if taking.gone > 0 {
            tracing::warn!(%center, frames = taking.gone, "frames of vehicles that were erased are not taken over");
        }
        Ok(taking.frames)
    }
}

impl<'a> Taking<'a> {
    fn by(takeover: &'a TakeOver) -> Self {
        let waiter = Arc::new(CommitWaiter::new());
        Self {
            takeover,
            waiter,
            last: None,
            frames: 0,
            gone: 0,
            known: BTreeMap::new(),
            there: HashMap::new(),
        }
    }

    /// Appends a frame to the own journal: it was admitted by the other center, so only whose it is is looked up anew.
    fn frame(&mut self, frame: &Frame<'_>) -> anyhow::Result<()> {
        let takeover = self.takeover;
        if !self.there.is_empty()
            && let Some(count @ 1..) =
                self.there.get_mut(&(frame.vehicle, frame.connection, frame.bytes.to_vec()))
        {
            *count -= 1;
            return Ok(());
        }
        loop {
            let (version, Some(facts)) = self.facts(frame)? else {
                self.gone += 1;
                return Ok(());
            };
            let admission = policy::take_over(&facts, version, takeover.packs.in_force().pack.version());
            let admitted =
                admission.frame(takeover.clock.now(), frame.protocol, frame.connection, frame.bytes);
            match takeover.journal.append(admitted, &self.waiter) {
                Ok(sequence) => {
                    self.last = Some(sequence);
                    self.frames += 1;
                    takeover.frames.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
                Err(AppendRefused::Stale) => {}
                Err(AppendRefused::Paused) => self.pause()?,
                Err(AppendRefused::TooLarge) => {
                    anyhow::bail!("a frame is larger than this center's journal takes")
                }
                Err(AppendRefused::Closed) => anyhow::bail!("the program ends"),
            }
        }
    }

    fn facts(
        &mut self,
        frame: &Frame<'_>,
    ) -> anyhow::Result<(RegistryVersion, Option<Arc<policy::VehicleFacts>>)> {
        let registry = &self.takeover.registry;
        let version = registry.version();
        let vin = match self.known.entry(frame.vehicle) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(place) => *place.insert(registry.find_id(frame.vehicle)?.map(|known| known.vin)),
        };
        Ok((version, vin.and_then(|vin| registry.lookup(&vin))))
    }

    /// Waits until all of it is durable here.
    fn finish(&self) -> anyhow::Result<()> {
        let Some(last) = self.last else { return Ok(()) };
        let committed = self.takeover.journal.committed();
        while *committed.borrow() < last {
            self.pause()?;
        }
        Ok(())
    }

    fn pause(&self) -> anyhow::Result<()> {
        anyhow::ensure!((self.takeover.pause)(), "the program ends");
        Ok(())
    }
}
