//! A center as the simulation runs it: the program's own rooms, on a simulated disk, store, clock and network, with its work done by hand.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use anyhow::Context;
use ledger::entry::{Entered, Stored};
use ledger::{Entry, LedgerHands, LogReader};
use model::{CenterName, ConnectionId, Protocol, Sequence, UtcMicros, Vin};
use parking_lot::Mutex;
use policy::{Refusal, Rules, Signature, Transport, Via};
use store::{AppendRefused, CommitWaiter, Journal, JournalHands, Names, Objects, Store};

use super::super::guard::Guard;
use super::super::mirror::{Mirrors, Round, Work};
use super::super::network::Network;
use super::super::office::{HeldBooks, PeerOffice};
use super::super::receipts::Receipts;
use super::super::register::Listening;
use super::super::second::Pusher;
use super::super::takeover::TakeOver;
use super::disk::SimDisk;
use super::network::{Plug, SimNetwork};
use super::objects::SimObjects;
use super::world::{Dice, Power, SkewedClock, Time};
use crate::api::Rooms;
use crate::bookkeeping::Worker;
use crate::center::Center;
use crate::charter::Charters;
use crate::erasure;
use crate::ingress::connections::Connections;
use crate::ingress::gate::{self, Certified, Claim, Gate};
use crate::world::World;

/// Steps that one thing is waited for before the simulation calls it stuck.
const STEPS_MAX: u32 = 64;

/// What of a machine outlives its program: folder, disks, clock.
pub(super) struct Machine {
    pub(super) name: CenterName,
    folder: PathBuf,
    pub(super) power: Arc<Power>,
    pub(super) disk: SimDisk,
    pub(super) objects: Arc<SimObjects>,
    clock: Arc<SkewedClock>,
    pub(super) world: World,
    network: Arc<SimNetwork>,
    /// Starts so far.
    pub(super) runs: u64,
}

/// The running program of a machine.
pub(super) struct Program {
    /// The hands go first: nobody waits for them then.
    hands: Arc<Mutex<JournalHands>>,
    ledger: LedgerHands,
    worker: Worker,
    pub(super) journal: Journal,
    pub(super) mirrors: Mirrors,
    rounds: BTreeMap<CenterName, Option<Round>>,
    listening: BTreeMap<CenterName, Option<Listening>>,
    pub(super) pusher: Option<Pusher>,
    guard: Guard,
    takeover: Arc<TakeOver>,
    pub(super) gate: Gate,
    eraser: erasure::Desk,
    is_to_erase: Arc<AtomicBool>,
    waiters: BTreeMap<Vin, Arc<CommitWaiter>>,
    pub(super) receipts: Arc<Receipts>,
    pub(super) rooms: Rooms,
}

/// What the machines of a country have in common.
pub(super) struct Common {
    pub(super) network: Arc<SimNetwork>,
    pub(super) time: Arc<Time>,
    pub(super) skips_syncs: bool,
    pub(super) keeps_copied_keys: bool,
}

impl Machine {
    /// A machine with a center's folder and what lies in its store.
    pub(super) fn new(
        name: CenterName,
        folder: PathBuf,
        laid: Vec<(store::ObjectPath, bytes::Bytes)>,
        seed: u64,
        common: &Common,
    ) -> Self {
        let power = Arc::new(Power::default());
        let objects = SimObjects::new(&name, power.clone(), common.keeps_copied_keys);
        laid.into_iter().for_each(|(name, bytes)| objects.lay(&name, bytes));
        let clock = Arc::new(SkewedClock { time: common.time.clone(), skew: AtomicI64::new(0) });
        let entropy = Arc::new(Dice::new(seed));
        let world = World { clock: clock.clone(), entropy, environment: Arc::new(|_| None) };
        Self {
            disk: SimDisk::new(power.clone(), common.skips_syncs),
            objects: Arc::new(objects),
            network: common.network.clone(),
            name,
            folder,
            power,
            clock,
            world,
            runs: 0,
        }
    }

    /// Sets the wall clock off by so many seconds.
    pub(super) fn skew(&self, seconds: i64) {
        self.clock.skew.store(seconds * UtcMicros::PER_SECOND, Ordering::Relaxed);
    }

    /// Starts the program, as `domicile serve` does, without threads and listeners.
    pub(super) fn start(&mut self) -> anyhow::Result<Program> {
        self.runs += 1;
        let world = &self.world;
        let center = Center::open(&self.folder, world)?;
        let outside = store::World {
            clock: world.clock.clone(),
            entropy: world.entropy.clone(),
            disk: Arc::new(self.disk.clone()),
        };
        let objects = Objects::new(self.objects.clone());
        let store = Store::over_objects(
            &center.settings.store,
            &self.folder,
            &self.name,
            &center.identity()?,
            outside,
            objects,
        )?;
        let (rooms, worker, ledger) = Rooms::by_hand(center, store, world)?;
        let center = rooms.center.clone();
        let (journal, hands) = rooms.store.journal_by_hand(
            &center.settings.journal,
            &center.gateway(),
            rooms.books.on_sealed(),
        )?;
        let hands = Arc::new(Mutex::new(hands));
        let gate = gate(&rooms, &journal, world);
        let receipts = Receipts::open(&center.folder, &center.genesis.log_key(), rooms.charters.clone())?;
        let (receipts, held) = (Arc::new(receipts), Arc::new(HeldBooks::default()));
        let plug: Arc<dyn Network> = Arc::new(Plug { network: self.network.clone(), own: self.name.clone() });
        let is_to_erase = Arc::new(AtomicBool::new(true));
        let (changed, erases) = (journal.clone(), is_to_erase.clone());
        let on_adopted = Box::new(move |adopted: &registry::Adopted| {
            if let Some(version) = adopted.version {
                changed.raise_barrier(version);
            }
            erases.fetch_or(adopted.erasures > 0, Ordering::Relaxed);
        });
        let guard = Guard::new(&rooms, &journal, plug.clone(), world.clock.clone());
        let mirrors = Mirrors::new(&rooms, plug.clone(), Box::new(|_| {}), on_adopted, world)?;
        let pusher = (center.settings.peer.ack_centers > 1)
            .then(|| Pusher::new(&rooms, plug.clone(), receipts.clone(), &journal, world.clock.clone()));
        let goes_on = hands.clone();
        let pause = Box::new(move || {
            goes_on.lock().commit();
            true
        });
        // No tables here: what a batch has that is entered shows.
        let (store, charters) = (rooms.store.clone(), rooms.charters.clone());
        let tabled = Box::new(move |center: &CenterName, _: &model::GatewayName| {
            Ok(Some(shown_through(&store, &charters, center)?))
        });
        let takeover = Arc::new(TakeOver::new(&rooms, &journal, held.clone(), plug, tabled, pause, world));
        let office = PeerOffice::new(&rooms, receipts.clone(), held, takeover.clone(), world);
        self.network.connect(&self.name, Arc::new(office), self.power.clone());
        let eraser = erasure::Desk::new(erasure::Parts {
            registry: rooms.registry.clone(),
            journal: journal.clone(),
            center,
            packs: rooms.packs.clone(),
            books: rooms.books.clone(),
            clock: world.clock.clone(),
            #[cfg(feature = "lake")]
            tables: None,
        });
        let (rounds, listening, waiters) = Default::default();
        Ok(Program {
            hands,
            ledger,
            worker,
            journal,
            mirrors,
            rounds,
            listening,
            pusher,
            guard,
            takeover,
            gate,
            eraser,
            is_to_erase,
            waiters,
            receipts,
            rooms,
        })
    }
}

/// The last frame of a center that a batch has which is entered, as far as its log lies in a store. Each center has one gateway.
pub(super) fn shown_through(
    store: &Store,
    charters: &Charters,
    center: &CenterName,
) -> anyhow::Result<Sequence> {
    let member = charters.member(center).context("it is in the charter")?;
    let key = member.keys().map_err(anyhow::Error::msg)?.log;
    let log = LogReader::new(store.objects().clone(), Names::new(center.clone()).ledger(), key);
    let mut last = Sequence(0);
    let Some(checkpoint) = log.checkpoint()? else { return Ok(last) };
    for entry in log.entries(log.view(&checkpoint)?, 0) {
        if let Entry::Stored(Stored::Batch(batch)) = Entered::parse(&entry?.1)?.entry {
            last = last.max(Sequence(batch.last));
        }
    }
    Ok(last)
}

fn gate(rooms: &Rooms, journal: &Journal, world: &World) -> Gate {
    let rules = Rules {
        country: rooms.center.genesis.country(),
        require_tls: false,
        require_signature: false,
        pack: rooms.packs.in_force().pack.version(),
    };
    let limits = rooms.center.settings.limits.clone();
    Gate::new(gate::Parts {
        journal: journal.clone(),
        registry: rooms.registry.clone(),
        clock: world.clock.clone(),
        metrics: rooms.metrics.clone(),
        connections: Arc::new(Connections::new(world.clock.now(), 1_000, 1 << 20)),
        diary: Arc::default(),
        rules,
        limits,
        issuers: Vec::new(),
        looking: wire::Context::new(wire::gbt32960::Keys::none(), wire::gbt32960::CoordinateSystem::Wgs84),
    })
}

/// What became of a message that a vehicle sent.
pub(super) enum Sent {
    /// It is acknowledged once the waiter says that this sequence may be.
    Taken(Sequence, Arc<CommitWaiter>),
    Refused(Refusal),
    /// The journal takes nothing now.
    NotNow,
}

impl Program {
    /// A vehicle, known by its certificate, sends a message.
    pub(super) fn send(&mut self, vin: &Vin, message: &[u8]) -> Sent {
        let certified = Certified::Vehicle(*vin);
        let connection = ConnectionId(1);
        let claim = Claim {
            vin,
            transport: Transport::Tls,
            via: Via::Direct,
            certified: &certified,
            iccid: None,
            signature: Signature::NotApplicable,
        };
        let waiter = self.waiters.entry(*vin).or_default().clone();
        for _ in 0..gate::DECISIONS_MAX {
            let admission = match self.gate.admit(connection, &claim) {
                Ok((admission, _)) => admission,
                Err(refusal) => return Sent::Refused(refusal),
            };
            let frame = admission.frame(self.gate.moment().utc, Protocol::Tesla, connection, message);
            match self.journal.append(frame, &waiter) {
                Ok(sequence) => return Sent::Taken(sequence, waiter),
                Err(AppendRefused::Stale) => {}
                Err(_) => return Sent::NotNow,
            }
        }
        Sent::NotNow
    }

    /// The journal's flush.
    pub(super) fn commit(&mut self) {
        self.hands.lock().commit();
    }

    /// Seals, enters, and frees segments, as far as there is something.
    pub(super) fn keep_books(&mut self, closes_segment: bool) -> anyhow::Result<()> {
        if closes_segment {
            self.hands.lock().close_segment();
        }
        self.guard.step();
        self.hands.lock().seal()?;
        self.worker.step()?;
        self.ledger.commit()?;
        self.worker.step()?;
        self.hands.lock().prepare();
        Ok(())
    }

    /// Whom this center listens to, and whose copy it holds.
    pub(super) fn wanted(&self) -> Vec<(CenterName, Work)> {
        self.mirrors.shared.wanted()
    }

    /// Goes on with one thing that is to be done with another center.
    pub(super) fn meet(&mut self, center: &CenterName, work: Work) -> Result<(), ledger::Error> {
        match work {
            Work::Mirror => {
                let round = self.rounds.entry(center.clone()).or_default();
                self.mirrors.shared.go_round(center, round)
            }
            Work::Register => {
                let listening = self.listening.entry(center.clone()).or_default();
                self.mirrors.shared.look(center, listening).map(|_| ())
            }
        }
    }

    /// Pushes frames to the second center, where there is to be one.
    pub(super) fn push(&mut self) -> Result<(), ledger::Error> {
        self.pusher.as_mut().map_or(Ok(()), Pusher::step)
    }

    /// Takes over what lost centers leave.
    pub(super) fn take_over(&self) {
        self.takeover.look();
    }

    /// Goes on with erasures that are open: what the journal took in before is sealed first.
    pub(super) fn erase(&mut self) -> anyhow::Result<()> {
        if !self.is_to_erase.load(Ordering::Relaxed) {
            return Ok(());
        }
        for _ in 0..STEPS_MAX {
            self.commit();
            self.keep_books(true)?;
            let through = self.journal.raise_barrier(self.rooms.registry.version());
            let is_freed = *self.journal.committed().borrow() >= through && self.journal.oldest() > through;
            if is_freed && self.hands.lock().prepare() {
                self.eraser.work().map_err(|error| anyhow::anyhow!("{error}"))?;
                self.is_to_erase.store(false, Ordering::Relaxed);
                return Ok(());
            }
        }
        // The disk fails; later.
        Ok(())
    }

    /// There is something to erase.
    pub(super) fn call_eraser(&self) {
        self.is_to_erase.store(true, Ordering::Relaxed);
    }
}

/// What shows whether anything goes on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ProgramState {
    entries: u64,
    registry: u64,
    committed: Sequence,
    oldest: Sequence,
    copies: Vec<(CenterName, u64)>,
}

impl Program {
    pub(super) fn state(&self) -> ProgramState {
        let copies = self.mirrors.views().into_iter().map(|(center, view)| (center, view.held));
        ProgramState {
            entries: self.rooms.books.book().ledger().status().size,
            registry: self.rooms.registry.version().0,
            committed: *self.journal.committed().borrow(),
            oldest: self.journal.oldest(),
            copies: copies.collect(),
        }
    }

    /// Whether nothing waits to be sealed, entered, copied or erased.
    pub(super) fn is_at_rest(&self) -> bool {
        let state = self.state();
        state.oldest > state.committed
            && self.rooms.books.book().ledger().status().waiting == 0
            && !self.is_to_erase.load(Ordering::Relaxed)
            // Of a center that is lost nobody may have a copy, or not a whole one.
            && self.mirrors.views().iter().all(|(center, view)| view.problem.is_empty() || !self.is_here(center))
    }

    /// Whether everything is held that was read of a center's log.
    pub(super) fn has_whole_copy(&self, center: &CenterName) -> bool {
        self.rounds.get(center).and_then(Option::as_ref).is_some_and(Round::is_whole)
    }

    fn is_here(&self, center: &CenterName) -> bool {
        self.rooms.charters.member(center).is_some_and(|member| member.state.is_here())
    }

    /// Frames taken over from lost centers since the start.
    pub(super) fn taken_over(&self) -> u64 {
        self.takeover.frames()
    }

    /// The defect that lets a vehicle of another country in: nobody looks where it was sold.
    pub(super) fn send_without_looking(&mut self, vin: &Vin, message: &[u8]) -> Sent {
        let waiter = self.waiters.entry(*vin).or_default().clone();
        let (version, vehicle) = self.rooms.registry.look(vin);
        let Some(vehicle) = vehicle else { return Sent::Refused(Refusal::UnknownVehicle) };
        let facts =
            policy::VehicleFacts { country: self.rooms.center.genesis.country(), ..(*vehicle).clone() };
        let admission = policy::take_over(&facts, version, self.rooms.packs.in_force().pack.version());
        let frame = admission.frame(self.gate.moment().utc, Protocol::Tesla, ConnectionId(1), message);
        match self.journal.append(frame, &waiter) {
            Ok(sequence) => Sent::Taken(sequence, waiter),
            Err(_) => Sent::NotNow,
        }
    }
}
