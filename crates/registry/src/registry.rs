//! The registry as one thing: the control objects, the records, and their two projections.

use std::path::Path;
use std::sync::Arc;

use model::{Clock, Entropy, KeyPeriod, UtcMicros, VehicleId, Vin};
use object_store::path::Path as ObjectPath;
use parking_lot::{Mutex, MutexGuard, RwLock};
use policy::{RegistryVersion, VehicleFacts, VehicleState};
use store::{Created, Keyring, Names, ObjectKind, Objects};

use crate::control::{Change, Control, Occasion, Vault};
use crate::erasure::Erasure;
use crate::fast::Fast;
use crate::import::{Problems, parse_csv};
use crate::private::PrivateTimes;
use crate::projection::{Newest, Projection};
use crate::records::RecordsObject;
use crate::token::Known;
use crate::vehicle::{NewVehicle, Platform, Revocation, Stated, Vehicle};
use crate::{Error, password};

/// The longest reason of a revocation: a sentence or two.
const WHY_LENGTH_MAX: usize = 500;

/// What the registry takes from the outside world.
#[derive(Clone)]
pub struct World {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for pseudonyms and salts.
    pub entropy: Arc<dyn Entropy>,
}

/// Called with the name of each object that the registry has written, control object or records, once it is durable and
/// [`Registry::lookup`] answers by it; of each kind in the order of its numbers, each once. It is called on the thread that
/// makes the change, which waits for it, and so does every other change; nothing that reads the registry waits. So it may ask
/// the registry anything, but it must not change it. [`Registry::open`] calls it only where it finishes what a crash left.
pub type OnRecorded = Box<dyn Fn(&ObjectPath) + Send + Sync>;

/// Vehicles, platforms, tokens and records. Shared by all connections; its calls block on the disk, but for
/// [`Registry::lookup`], [`Registry::look`], [`Registry::version`], [`Registry::records_version`] and
/// [`Registry::token_check`], which read memory.
pub struct Registry {
    pub(crate) objects: Objects,
    pub(crate) names: Names,
    pub(crate) keyring: Keyring,
    pub(crate) world: World,
    on_recorded: Option<OnRecorded>,
    /// What admission reads. Written for an instant, after a change is durable.
    pub(crate) fast: RwLock<Fast>,
    /// Held for one look at the file, or one write to it.
    pub(crate) projection: Mutex<Projection>,
    /// Held from the first look at the old state until the change is applied and told: one change at a time.
    turn: Mutex<Told>,
    /// One password is verified at a time: each takes 19 MiB, and strangers may try as many as they like.
    verifying: Mutex<()>,
}

/// The last objects that [`OnRecorded`] was told of.
#[derive(Default)]
pub(crate) struct Told {
    control: u64,
    records: u64,
}

/// The right to change the registry.
pub(crate) type Turn<'a> = MutexGuard<'a, Told>;

/// A vehicle was registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// It, as registered.
    pub vehicle: Vehicle,
    /// Whether it had been revoked and may connect again.
    pub restored: bool,
    /// The state of the registry from then on.
    pub version: RegistryVersion,
}

/// What an import did. Importing the same file again changes nothing and says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Vehicles that are new.
    pub added: usize,
    /// Vehicles whose details are others now.
    pub changed: usize,
    /// Vehicles that were registered just so.
    pub unchanged: usize,
    /// Vehicles that are revoked and stay so; `vehicle add` would restore one.
    pub revoked: usize,
    /// The state of the registry from then on.
    pub version: RegistryVersion,
}

impl Registry {
    /// Opens the registry over the control objects and records of the center that `names` belongs to; `file` is its SQLite
    /// projection, which is made where it is missing or can't be used. Its folder must exist.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::RecordsDamaged`] where an object is missing or not what was written, [`Error::Store`],
    /// [`Error::Projection`].
    pub fn open(
        file: &Path,
        objects: Objects,
        names: Names,
        keyring: Keyring,
        world: World,
        on_recorded: Option<OnRecorded>,
    ) -> Result<Self, Error> {
        let numbers = |folder: &ObjectPath, number: &dyn Fn(&ObjectPath) -> Option<u64>| {
            let listed = objects.list(folder)?;
            Ok::<_, Error>(listed.iter().filter_map(|meta| number(&meta.location)).max().unwrap_or(0))
        };
        let record_number = |name: &ObjectPath| match names.kind(name) {
            ObjectKind::Record(number) => Some(number),
            _ => None,
        };
        let newest = Newest {
            control: numbers(&names.controls(), &|name| names.control_sequence(name))?,
            records: numbers(&names.records(), &record_number)?,
        };
        let projection = Projection::open(file, names.center(), newest)?;
        let registry = Self {
            objects,
            names,
            keyring,
            world,
            on_recorded,
            fast: RwLock::default(),
            projection: Mutex::new(projection),
            turn: Mutex::default(),
            verifying: Mutex::new(()),
        };
        registry.load(newest)?;
        Ok(registry)
    }

    /// What admission needs of a VIN; `None` for a stranger. One hash and a read lock.
    pub fn lookup(&self, vin: &Vin) -> Option<Arc<VehicleFacts>> {
        self.fast.read().vehicles.get(vin).map(Arc::clone)
    }

    /// As [`Registry::lookup`], with the state of the registry that it is true of.
    pub fn look(&self, vin: &Vin) -> (RegistryVersion, Option<Arc<VehicleFacts>>) {
        let fast = self.fast.read();
        (fast.version, fast.vehicles.get(vin).map(Arc::clone))
    }

    /// The state of the records: the number of the last import. What was read of the tables holds as long as it is the same.
    pub fn records_version(&self) -> u64 {
        self.fast.read().records
    }

    /// The state of the registry: the number of the last change.
    pub fn version(&self) -> RegistryVersion {
        self.fast.read().version
    }

    /// Registers a vehicle, or restores a revoked one with the details given. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::AlreadyRegistered`], [`Error::CountryDiffers`], [`Error::Field`], or the store's.
    pub fn add(&self, new: &NewVehicle) -> Result<Added, Error> {
        new.check()?;
        let mut turn = self.begin()?;
        let (vehicle, restored) = match self.show(&new.vin)? {
            Some(known) if known.state() == VehicleState::Active => {
                return Err(Error::AlreadyRegistered { id: known.id });
            }
            Some(known) if known.country != new.country => {
                return Err(Error::CountryDiffers { registered: known.country });
            }
            Some(known) => (merge(&known, new), true),
            None => (self.draw(new), false),
        };
        self.keyring.create(vehicle.id, vehicle.key)?;
        let occasion = if restored { Occasion::Restored } else { Occasion::Added };
        let change = Change::Vehicle(occasion, Box::new(vehicle.clone()));
        let version = self.record(&mut turn, self.world.clock.now(), vec![change])?;
        let vehicle = self.show(&new.vin)?.unwrap_or(vehicle);
        Ok(Added { vehicle, restored, version })
    }

    /// Registers the vehicles of a CSV file (see [`parse_csv`]), all or none, as one change. Known ones get the details that
    /// the file has; an empty field leaves what is known. Revoked ones stay as they are.
    ///
    /// # Errors
    /// [`Error::Import`] with the wrong lines, or the store's.
    pub fn import(&self, csv: &[u8]) -> Result<Imported, Error> {
        let lines = parse_csv(csv)?;
        let mut turn = self.begin()?;
        let mut imported = Imported::default();
        let mut problems = Problems::default();
        let mut changes = Vec::new();
        for (line, new) in &lines {
            match self.show(&new.vin)? {
                None => {
                    imported.added += 1;
                    changes.push(Change::Vehicle(Occasion::Added, Box::new(self.draw(new))));
                }
                Some(known) if known.country != new.country => {
                    problems.push(*line, Error::CountryDiffers { registered: known.country }.to_string());
                }
                Some(known) if known.state() == VehicleState::Revoked => imported.revoked += 1,
                Some(known) => {
                    let merged = merge(&known, new);
                    if merged == known {
                        imported.unchanged += 1;
                    } else {
                        imported.changed += 1;
                        changes.push(Change::Vehicle(Occasion::Changed, Box::new(merged)));
                    }
                }
            }
        }
        problems.into_result()?;
        imported.version = if changes.is_empty() {
            self.version()
        } else {
            let keys: Vec<(VehicleId, KeyPeriod)> = changes.iter().filter_map(new_key).collect();
            self.keyring.create_many(&keys)?;
            self.record(&mut turn, self.world.clock.now(), changes)?
        };
        Ok(imported)
    }

    /// Withdraws a vehicle. Durable when it returns; the caller raises the journal's barrier to the version returned, after
    /// which nothing of the vehicle is stored.
    ///
    /// # Errors
    /// [`Error::NoSuchVehicle`], [`Error::AlreadyRevoked`], [`Error::Field`], or the store's.
    pub fn revoke(&self, vin: &Vin, why: &str) -> Result<RegistryVersion, Error> {
        check_why(why)?;
        let mut turn = self.begin()?;
        let known = self.show(vin)?.ok_or(Error::NoSuchVehicle)?;
        if let Some(revocation) = known.revoked {
            return Err(Error::AlreadyRevoked { at: revocation.at });
        }
        let at = self.world.clock.now();
        // Later than what was lifted, whatever the clock shows: another center would else take it for lifted too.
        let since = known.lifted.map_or(at, |lifted| at.max(UtcMicros(lifted.0 + 1)));
        let revocation = Revocation { at: since, why: why.to_owned() };
        let change = Change::VehicleRevoked { vin: known.vin, id: known.id, key: known.key, revocation };
        self.record(&mut turn, at, vec![change])
    }

    /// Says that a vehicle is used privately from an instant up to another (`None`: until further notice), or that it is not.
    /// Durable when it returns.
    ///
    /// # Errors
    /// [`Error::NoSuchVehicle`], [`Error::AlreadyRevoked`], [`Error::Field`], or the store's.
    pub fn set_private(
        &self,
        vin: &Vin,
        (from, to): (UtcMicros, Option<UtcMicros>),
        is_private: bool,
    ) -> Result<(Vehicle, RegistryVersion), Error> {
        let mut turn = self.begin()?;
        let mut vehicle = self.show(vin)?.ok_or(Error::NoSuchVehicle)?;
        // A vehicle that is stated anew is active.
        if let Some(revocation) = vehicle.revoked {
            return Err(Error::AlreadyRevoked { at: revocation.at });
        }
        vehicle.private.set(from, to, is_private)?;
        let change = Change::Vehicle(Occasion::Changed, Box::new(vehicle.clone()));
        let version = self.record(&mut turn, self.world.clock.now(), vec![change])?;
        Ok((self.show(vin)?.unwrap_or(vehicle), version))
    }

    /// The vehicles that are used privately at times, with these.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn private_times(&self) -> Result<Vec<(VehicleId, PrivateTimes)>, Error> {
        self.projection.lock().private_times()
    }

    /// Up to `limit` vehicles in the order of their VINs, those after `after`.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn list(&self, after: Option<&Vin>, limit: usize) -> Result<Vec<Vehicle>, Error> {
        self.projection.lock().vehicles(after, limit)
    }

    /// The vehicle of a VIN; `None` for a stranger.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn show(&self, vin: &Vin) -> Result<Option<Vehicle>, Error> {
        self.projection.lock().vehicle(vin)
    }

    /// The vehicle of a pseudonym.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn show_id(&self, id: VehicleId) -> Result<Option<Vehicle>, Error> {
        self.projection.lock().vehicle_by_id(id)
    }

    /// The vehicle that a pseudonym stands or stood for: one of two that centers gave to it is its alias.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn find_id(&self, id: VehicleId) -> Result<Option<Vehicle>, Error> {
        let projection = self.projection.lock();
        match projection.vehicle_by_id(id)? {
            Some(vehicle) => Ok(Some(vehicle)),
            None => projection.vehicle_by_alias(id),
        }
    }

    /// How many vehicles there are, and how many of them are revoked.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn counts(&self) -> Result<(u64, u64), Error> {
        self.projection.lock().vehicle_counts()
    }

    /// Registers a platform with its password (8 to 20 visible ASCII characters). Durable when it returns.
    ///
    /// # Errors
    /// [`Error::PlatformExists`], [`Error::Field`], or the store's.
    pub fn platform_add(&self, name: &str, password: &str) -> Result<RegistryVersion, Error> {
        password::check_name(name)?;
        let password_hash = password::hash(password, &*self.world.entropy)?;
        let mut turn = self.begin()?;
        if self.platforms()?.iter().any(|platform| platform.name == name) {
            return Err(Error::PlatformExists);
        }
        let at = self.world.clock.now();
        let platform = Platform { name: name.to_owned(), added_at: at, revoked: None };
        self.record(&mut turn, at, vec![Change::PlatformAdded { platform, password_hash }])
    }

    /// Whether a platform of this name may log in with this password. Takes some 20 ms and 19 MiB, one call at a time, so
    /// call it from a thread that may block.
    pub fn platform_verify(&self, name: &[u8], password: &[u8]) -> bool {
        let name = std::str::from_utf8(name).ok();
        let hash = name.and_then(|name| self.fast.read().platforms.get(name).cloned());
        let _one_at_a_time = self.verifying.lock();
        password::verify(password, hash.as_deref())
    }

    /// Withdraws a platform's account. Durable when it returns.
    ///
    /// # Errors
    /// [`Error::NoSuchPlatform`], [`Error::AlreadyRevoked`], [`Error::Field`], or the store's.
    pub fn platform_revoke(&self, name: &str, why: &str) -> Result<RegistryVersion, Error> {
        check_why(why)?;
        let mut turn = self.begin()?;
        let known = self.platforms()?.into_iter().find(|platform| platform.name == name);
        let known = known.ok_or(Error::NoSuchPlatform)?;
        if let Some(revocation) = known.revoked {
            return Err(Error::AlreadyRevoked { at: revocation.at });
        }
        let at = self.world.clock.now();
        let revocation = Revocation { at, why: why.to_owned() };
        let change = Change::PlatformRevoked { name: known.name, revocation };
        self.record(&mut turn, at, vec![change])
    }

    /// All platforms, in the order of their names.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn platforms(&self) -> Result<Vec<Platform>, Error> {
        Ok(self.projection.lock().platforms()?.into_iter().map(|(platform, _)| platform).collect())
    }

    /// Brings the projection up to the store's newest objects and fills the memory from it.
    fn load(&self, newest: Newest) -> Result<(), Error> {
        let mut turn = self.turn.lock();
        let mut projection = self.projection.lock();
        while projection.applied().control < newest.control {
            let sequence = projection.applied().control + 1;
            let Some((at, changes)) = self.read(sequence)? else {
                let what = format!("it is missing, while there is a change {}", newest.control);
                return Err(Error::Damaged { sequence, what });
            };
            projection.apply(sequence, at, &changes)?;
        }
        while projection.applied().records < newest.records {
            let number = projection.applied().records + 1;
            let Some(object) = self.read_records(number)? else {
                let what = format!("it is missing, while there is an object {}", newest.records);
                return Err(Error::RecordsDamaged { number, what });
            };
            projection.apply_records(&object)?;
        }
        let applied = projection.applied();
        let mut fast =
            Fast { version: RegistryVersion(applied.control), records: applied.records, ..Fast::default() };
        projection.for_each_vehicle(|vehicle| {
            fast.vehicles.insert(vehicle.vin, Arc::new(vehicle.facts()));
        })?;
        for (platform, hash) in projection.platforms()? {
            if platform.revoked.is_none() {
                fast.platforms.insert(platform.name, hash);
            }
        }
        for (token, hash) in projection.tokens()? {
            if token.revoked.is_none() {
                fast.tokens.insert(token.id.clone(), Known::of(&token, hash));
            }
        }
        fast.erased = Arc::new(projection.erasures()?.iter().map(Erasure::rows).collect());
        drop(projection);
        *self.fast.write() = fast;
        *turn = Told { control: applied.control, records: applied.records };
        self.settle_keys(&mut turn).map(|_| ())
    }

    /// Starts a change: what is in the store and not yet applied (a put whose answer was lost, a failed SQLite write) is
    /// applied first.
    pub(crate) fn begin(&self) -> Result<Turn<'_>, Error> {
        let mut turn = self.turn.lock();
        loop {
            let sequence = self.projection.lock().applied().control + 1;
            let Some((at, changes)) = self.read(sequence)? else { break };
            self.apply(&mut turn, sequence, at, &changes)?;
        }
        loop {
            let number = self.projection.lock().applied().records + 1;
            let Some(object) = self.read_records(number)? else { break };
            self.apply_records(&mut turn, &object)?;
            self.settle_keys(&mut turn)?;
        }
        Ok(turn)
    }

    /// Makes changes of this center durable, then applies them. `at` is the time that the changes speak of, so that the projections
    /// now and a rebuild later say the same.
    pub(crate) fn record(
        &self,
        turn: &mut Turn<'_>,
        at: UtcMicros,
        mut changes: Vec<Change>,
    ) -> Result<RegistryVersion, Error> {
        for change in &mut changes {
            if let Change::Vehicle(_, vehicle) = change {
                vehicle.stated = vehicle.stated.next(at, self.names.center());
            }
        }
        self.write(turn, at, changes)
    }

    /// As [`Registry::record`], for what was not this center's to say.
    pub(crate) fn write(
        &self,
        turn: &mut Turn<'_>,
        at: UtcMicros,
        changes: Vec<Change>,
    ) -> Result<RegistryVersion, Error> {
        let sequence = self.next_control();
        let bytes = Control::encode(sequence, at, &changes, &self.vault(), &*self.world.entropy)?;
        match self.objects.create(&self.names.control(sequence), bytes)? {
            Created::New => {}
            Created::Exists => {
                let what =
                    "somebody else wrote it meanwhile; only one process may change a registry".to_owned();
                return Err(Error::Damaged { sequence, what });
            }
        }
        self.apply(turn, sequence, at, &changes)?;
        Ok(RegistryVersion(sequence))
    }

    /// The number of the next change.
    pub(crate) fn next_control(&self) -> u64 {
        self.projection.lock().applied().control + 1
    }

    /// Applies what is durable: to the memory first, because a revocation must hold even if SQLite fails.
    fn apply(
        &self,
        turn: &mut Turn<'_>,
        sequence: u64,
        at: UtcMicros,
        changes: &[Change],
    ) -> Result<(), Error> {
        self.fast.write().apply(sequence, changes);
        let applied = self.projection.lock().apply(sequence, at, changes);
        if turn.control < sequence {
            turn.control = sequence;
            self.tell(&self.names.control(sequence));
        }
        applied
    }

    /// As [`Registry::apply`], for an object of records.
    pub(crate) fn apply_records(&self, turn: &mut Turn<'_>, object: &RecordsObject) -> Result<(), Error> {
        let applied = self.projection.lock().apply_records(object);
        self.fast.write().records = object.number;
        if turn.records < object.number {
            turn.records = object.number;
            self.tell(&self.names.record(object.number));
        }
        applied
    }

    /// Neither the memory's lock nor the file's is held here: who is told may ask the registry.
    fn tell(&self, name: &ObjectPath) {
        if let Some(on_recorded) = &self.on_recorded {
            on_recorded(name);
        }
    }

    fn read(&self, sequence: u64) -> Result<Option<(UtcMicros, Vec<Change>)>, Error> {
        let Some(bytes) = self.objects.read(&self.names.control(sequence))? else { return Ok(None) };
        Control::decode(sequence, &bytes, &self.vault()).map(Some)
    }

    fn vault(&self) -> Vault<'_> {
        Vault { center: self.names.center(), keyring: &self.keyring }
    }

    /// A new vehicle with a pseudonym of its own.
    fn draw(&self, new: &NewVehicle) -> Vehicle {
        Vehicle {
            vin: new.vin,
            id: VehicleId::draw(&*self.world.entropy),
            key: KeyPeriod(0),
            country: new.country,
            maker: new.maker.clone(),
            model: new.model.clone(),
            iccid: new.iccid,
            public_key: new.public_key.clone(),
            sold_at: new.sold_at,
            added_at: self.world.clock.now(),
            erased_until: None,
            private: PrivateTimes::default(),
            revoked: None,
            lifted: None,
            aliases: Vec::new(),
            // Said when it is recorded.
            stated: Stated { at: UtcMicros(0), by: self.names.center().clone() },
        }
    }
}

/// What is known of a vehicle with the filled fields of `new` over it; active.
fn merge(known: &Vehicle, new: &NewVehicle) -> Vehicle {
    let text = |new: &str, known: &str| if new.is_empty() { known.to_owned() } else { new.to_owned() };
    Vehicle {
        maker: text(&new.maker, &known.maker),
        model: text(&new.model, &known.model),
        iccid: new.iccid.or(known.iccid),
        public_key: new.public_key.clone().or_else(|| known.public_key.clone()),
        sold_at: new.sold_at.or(known.sold_at),
        revoked: None,
        lifted: known.revoked.as_ref().map(|revocation| revocation.at).max(known.lifted),
        ..known.clone()
    }
}

fn new_key(change: &Change) -> Option<(VehicleId, KeyPeriod)> {
    match change {
        Change::Vehicle(Occasion::Added, vehicle) => Some((vehicle.id, vehicle.key)),
        _ => None,
    }
}

pub(crate) fn check_why(why: &str) -> Result<(), Error> {
    if why.trim().is_empty() || why.len() > WHY_LENGTH_MAX || why.chars().any(char::is_control) {
        return Err(Error::Field { field: "why", rule: "a reason of at most 500 bytes on one line" });
    }
    Ok(())
}
