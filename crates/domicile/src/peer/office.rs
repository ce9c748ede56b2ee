//! What other centers may read here: the charter, this center's log, objects and keys, and those of the copies that are held here.
//! And what they may say: that they hold a copy of this center, and frames of their journals. Without a network: [`super::serve`]
//! answers with it over HTTPS.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ledger::{SignedCheckpoint, Tile};
use model::{CenterName, Clock, GatewayName, KeyPeriod, Sequence, VehicleId};
use parking_lot::Mutex;
use store::{HeldBlock, HeldFrames, Keyring, Names, ObjectKind, ObjectPath, Recipient};

use super::KEYS_AT_ONCE;
use super::network::HeadAnswer;
use super::receipts::Receipts;
use super::takeover::TakeOver;
use crate::api::{Problem, Rooms};
use crate::bookkeeping::Bookkeeper;
use crate::center::Center;
use crate::charter::Charters;
use crate::pki::PkiError;
use crate::world::World;

/// The most that is held of one gateway's journal: four times what a journal takes by default. Past it nothing more is held, until the
/// copy has the batches.
const HELD_BYTES_MAX: u64 = 4 << 30;

/// What is asked for and answered.
pub(crate) struct PeerOffice {
    center: Arc<Center>,
    store: Arc<store::Store>,
    registry: Arc<registry::Registry>,
    books: Arc<Bookkeeper>,
    charters: Arc<Charters>,
    receipts: Arc<Receipts>,
    held: Arc<HeldBooks>,
    takeover: Arc<TakeOver>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn model::Entropy>,
}

impl PeerOffice {
    /// For an opened center.
    pub(super) fn new(
        rooms: &Rooms,
        receipts: Arc<Receipts>,
        held: Arc<HeldBooks>,
        takeover: Arc<TakeOver>,
        world: &World,
    ) -> Self {
        Self {
            center: rooms.center.clone(),
            store: rooms.store.clone(),
            registry: rooms.registry.clone(),
            books: rooms.books.clone(),
            charters: rooms.charters.clone(),
            receipts,
            held,
            takeover,
            clock: world.clock.clone(),
            entropy: world.entropy.clone(),
        }
    }

    /// Whether a center may ask: the charter in force names it, and it is here.
    pub(super) fn serves(&self, caller: &CenterName) -> bool {
        self.charters.others().iter().any(|member| member.name == *caller)
    }

    /// The version of the charter in force.
    pub(super) fn charter_version(&self) -> u64 {
        self.charters.version()
    }

    /// A version of the charter, signed.
    pub(super) fn charter(&self, version: u64) -> Result<String, Problem> {
        let note = self.charters.note(version).map_err(Problem::unavailable)?;
        note.ok_or_else(|| Problem::not_found("there is no such version of the charter"))
    }

    /// The newest signed head of a log. Of the own one, `wait` is waited for one of more than `after` entries.
    pub(super) fn head(&self, center: &str, after: u64, wait: Duration) -> Result<HeadAnswer, Problem> {
        let names = self.names(center)?;
        let charter = self.charter_version();
        if self.is_own(&names) {
            let ledger = self.books.book().ledger();
            ledger.wait_for_size_above(after, wait);
            let note = ledger.checkpoint().note().to_owned();
            return Ok(HeadAnswer { note, charter, controls: self.registry.version().0 });
        }
        let name = ObjectPath::from(format!("{}/checkpoint", names.ledger()));
        let note = String::from_utf8(self.must_read(&name)?.to_vec());
        let note = note.map_err(|_| Problem::unavailable("the copy's checkpoint is damaged"))?;
        Ok(HeadAnswer { note, charter, controls: 0 })
    }

    /// A tile or bundle of a log.
    pub(super) fn log_file(&self, center: &str, name: &str) -> Result<Bytes, Problem> {
        let names = self.names(center)?;
        Tile::parse(name).ok_or_else(|| Problem::not_found("no file of a log has such a name"))?;
        self.must_read(&ObjectPath::from(format!("{}/{name}", names.ledger())))
    }

    /// An object that is entered, and its opening.
    pub(super) fn object(&self, center: &str, name: &str) -> Result<(Bytes, Bytes), Problem> {
        let names = self.names(center)?;
        let name = ObjectPath::from(format!("{center}/{name}"));
        let opening = match names.kind(&name) {
            ObjectKind::Foreign
            | ObjectKind::Key
            | ObjectKind::Ledger
            | ObjectKind::Opening
            | ObjectKind::Writer
            | ObjectKind::GenesisSignature => None,
            _ => names.opening(&name),
        };
        let opening =
            opening.ok_or_else(|| Problem::not_found("no object that is entered has such a name"))?;
        Ok((self.must_read(&name)?, self.must_read(&opening)?))
    }

    /// What needs no entry and is copied all the same: the genesis's signature, and checkpoints of tables' logs.
    pub(super) fn unentered(&self, center: &str, name: &str) -> Result<Bytes, Problem> {
        let names = self.names(center)?;
        let name = ObjectPath::from(format!("{center}/{name}"));
        if !ledger::copy::is_unentered(&names, &name) {
            return Err(Problem::not_found("nothing that is copied without an entry has such a name"));
        }
        self.must_read(&name)
    }

    /// Keys, wrapped for the center that asks; `None` for one that was destroyed.
    pub(super) fn keys(
        &self,
        caller: &CenterName,
        center: &str,
        wanted: &[(VehicleId, KeyPeriod)],
    ) -> Result<Vec<Option<Bytes>>, Problem> {
        let names = self.names(center)?;
        if wanted.len() > KEYS_AT_ONCE {
            return Err(Problem::invalid(format!("at most {KEYS_AT_ONCE} keys are handed out at once")));
        }
        let member = self.charters.member(caller);
        let member = member.ok_or_else(|| Problem::refused("the charter does not name this center"))?;
        let recipient = Recipient::parse(&member.recipient).map_err(Problem::unavailable)?;
        let keyring = match self.is_own(&names) {
            true => self.store.keyring().clone(),
            false => {
                let identity = self.center.identity().map_err(Problem::unavailable)?;
                Keyring::new(self.store.objects().clone(), names, identity, self.entropy.clone())
            }
        };
        let wrapped = wanted.iter().map(|(vehicle, period)| {
            keyring.wrapped_for(*vehicle, *period, &recipient).map_err(Problem::unavailable)
        });
        wrapped.collect()
    }

    /// Takes durable frames of another center's journal, durably; they stay until that center says that its batches are here: those up
    /// to `freed` are. Gives the number of changes of that center's registry that are taken over here: a frame of a vehicle that nobody
    /// else knows yet could not be taken over.
    pub(super) fn take_frames(
        &self,
        caller: &CenterName,
        gateway: &GatewayName,
        freed: Sequence,
        text: &[u8],
    ) -> Result<u64, Problem> {
        let mut blocks = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let block = HeldBlock::parse(rest);
            let (block, after) =
                block.ok_or_else(|| Problem::invalid("what is sent is no block of frames"))?;
            blocks.push(block);
            rest = after;
        }
        let kept = self.held.with(&self.store, caller, gateway, |held| {
            held.release(freed)?;
            anyhow::ensure!(
                held.bytes() < HELD_BYTES_MAX,
                "{} MiB of its frames are held here already: the copy of its batches does not keep up",
                held.bytes() >> 20
            );
            Ok(held.hold(&blocks)?)
        });
        kept.map_err(Problem::unavailable)?;
        Ok(self.registry.adopted(caller)?)
    }

    /// Another center has lost its journal, and knows its gateways' frames up to some: what is held here of later ones is taken over.
    /// Gives how many frames that were.
    pub(super) fn take_over_held(
        &self,
        caller: &CenterName,
        known: &BTreeMap<String, u64>,
    ) -> Result<u64, Problem> {
        let read = |(gateway, last): (&String, &u64)| {
            let gateway = gateway.parse().map_err(|_| Problem::invalid("a gateway has no such name"))?;
            Ok((gateway, Sequence(*last)))
        };
        let known = known.iter().map(read).collect::<Result<BTreeMap<GatewayName, Sequence>, Problem>>()?;
        self.takeover.take_held(caller, &known).map_err(Problem::unavailable)
    }

    /// Another center's certificate as a server, made anew for the same key and names. Only one that the country's authority has made.
    pub(super) fn renew_certificate(&self, certificate: &str) -> Result<String, Problem> {
        let renewed = self.center.renew_for_another(certificate, self.clock.now());
        let renewed = renewed.map_err(|error| match error {
            PkiError::Foreign | PkiError::Unreadable { .. } => Problem::refused(error),
            _ => Problem::unavailable(error),
        })?;
        renewed.ok_or_else(|| Problem::not_found("the country's authority for servers is not here"))
    }

    /// Another center says that it holds a copy of this one up to a checkpoint, which it has cosigned.
    pub(super) fn take_receipt(&self, caller: &CenterName, note: &str) -> Result<(), Problem> {
        let checkpoint = SignedCheckpoint::open(note, &self.center.genesis.log_key())
            .map_err(|error| Problem::invalid(error.to_string()))?;
        let member = self.charters.member(caller);
        let keys = member.ok_or_else(|| Problem::refused("the charter does not name this center"))?.keys();
        let keys = keys.map_err(Problem::unavailable)?;
        match checkpoint.cosigned_at(&keys.mirror) {
            Ok(Some(_)) => {}
            _ => return Err(Problem::invalid("it is not cosigned by the mirror key that the charter names")),
        }
        self.receipts.keep(caller, &checkpoint).map_err(Problem::unavailable)
    }

    /// The names under a prefix that lies here: this center's own, or another one's of the charter.
    fn names(&self, center: &str) -> Result<Names, Problem> {
        let unknown = || Problem::not_found("no center of that name is in the charter");
        let name: CenterName = center.parse().map_err(|_| unknown())?;
        self.charters.member(&name).ok_or_else(unknown)?;
        Ok(Names::new(name))
    }

    fn is_own(&self, names: &Names) -> bool {
        *names.center() == self.center.genesis.center()
    }

    fn must_read(&self, name: &ObjectPath) -> Result<Bytes, Problem> {
        let found = self.store.objects().read(name).map_err(Problem::unavailable)?;
        found.ok_or_else(|| Problem::not_found("it is not here, or not any more"))
    }
}

/// What is held of other centers' journals. Opened when it is first asked for.
#[derive(Default)]
pub(super) struct HeldBooks(Mutex<BTreeMap<OneGateway, Arc<Mutex<HeldFrames>>>>);

/// A gateway of a center.
type OneGateway = (CenterName, GatewayName);

impl HeldBooks {
    /// Works with what is held of a gateway; one at a time, and no other gateway waits for it.
    pub(super) fn with<T>(
        &self,
        store: &store::Store,
        center: &CenterName,
        gateway: &GatewayName,
        work: impl FnOnce(&mut HeldFrames) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut all = self.0.lock();
        let held = match all.entry((center.clone(), gateway.clone())) {
            Entry::Occupied(held) => held.get().clone(),
            Entry::Vacant(place) => {
                place.insert(Arc::new(Mutex::new(store.held_frames(center, gateway)?))).clone()
            }
        };
        drop(all);
        work(&mut held.lock())
    }
}
