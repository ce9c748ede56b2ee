//! Erasures: whose data goes, why, and what became of it.
//!
//! An erasure is a change of the registry like any other, so that a crash does not lose it. From that change on nothing new of the
//! vehicle comes in under the old pseudonym or the old key; who serves the center then destroys keys and rows and notes the
//! certificate with [`Registry::erasure_done`]. Until then the erasure is open, and the next start goes on with it.

use model::{KeyPeriod, UtcMicros, VehicleId, Vin};
use policy::RegistryVersion;

use crate::control::{Change, Occasion, said};
use crate::registry::{Turn, check_why};
use crate::vehicle::Vehicle;
use crate::{Error, Registry};

/// Longest commitment to the subject: `sha256:` and 64 digits are 71 characters.
const SUBJECT_LENGTH_MAX: usize = 128;

/// How far ahead of the center's clock a request may be dated: clocks differ.
const AHEAD_MAX: i64 = 5 * 60 * 1_000_000;

/// Why something is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErasureGround {
    /// The person whom it speaks of asked for it.
    Request,
    /// A consent was withdrawn.
    Withdrawal,
    /// An authority ordered it.
    Order,
}

/// What is asked for.
pub struct NewErasure<'a> {
    /// The vehicle.
    pub vin: &'a Vin,
    /// Only the owner's period that began then; `None` for all that is held of the vehicle.
    pub owner_from: Option<UtcMicros>,
    /// Why.
    pub ground: ErasureGround,
    /// The operator's words.
    pub why: &'a str,
    /// When it was asked for: the deadline runs from then.
    pub asked_at: UtcMicros,
    /// What commits to the VIN without showing it.
    pub subject: String,
}

/// What is or was erased. Names no VIN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Its number: that of the change of the registry.
    pub number: u64,
    /// The pseudonym under which it lies.
    pub vehicle: VehicleId,
    /// What was received from the first instant up to the second is erased; `None` for all.
    pub span: Option<(UtcMicros, UtcMicros)>,
    /// The data keys that are destroyed.
    pub keys: Vec<KeyPeriod>,
    /// Why.
    pub ground: ErasureGround,
    /// The operator's words; empty where a later erasure has destroyed them.
    pub why: String,
    /// When it was asked for.
    pub asked_at: UtcMicros,
    /// When it began: nothing older is taken in from then on.
    pub began_at: UtcMicros,
    /// What commits to the VIN without showing it.
    pub subject: String,
    /// When it was done, and its certificate; `None` while it is open.
    pub done: Option<(UtcMicros, String)>,
}

/// Which rows an erasure takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedRows {
    /// The erasure's number.
    pub number: u64,
    /// Of this vehicle.
    pub vehicle: VehicleId,
    /// Received from then on.
    pub from: UtcMicros,
    /// Received before then.
    pub to: UtcMicros,
    /// Whether rows may still lie somewhere.
    pub is_open: bool,
}

impl ErasureGround {
    const WORDS: [(&'static str, Self); 3] =
        [("request", Self::Request), ("withdrawal", Self::Withdrawal), ("order", Self::Order)];

    /// The word for it, as the ledger has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Withdrawal => "withdrawal",
            Self::Order => "order",
        }
    }
}

impl std::str::FromStr for ErasureGround {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let known = Self::WORDS.into_iter().find(|(word, _)| *word == text);
        known
            .map(|(_, ground)| ground)
            .ok_or(Error::Field { field: "ground", rule: "request, withdrawal or order" })
    }
}

impl NewErasure<'_> {
    fn begun(
        &self,
        number: u64,
        vehicle: VehicleId,
        span: Option<(UtcMicros, UtcMicros)>,
        keys: Vec<KeyPeriod>,
        now: UtcMicros,
    ) -> Erasure {
        Erasure {
            number,
            vehicle,
            span,
            keys,
            ground: self.ground,
            why: self.why.to_owned(),
            asked_at: self.asked_at,
            began_at: now,
            subject: self.subject.clone(),
            done: None,
        }
    }
}

impl ErasedRows {
    /// Whether all that was received of the vehicle is erased: its pseudonym is not used again.
    pub fn is_whole(&self) -> bool {
        (self.from, self.to) == (UtcMicros(i64::MIN), UtcMicros(i64::MAX))
    }
}

impl Erasure {
    pub(crate) fn rows(&self) -> ErasedRows {
        let (from, to) = self.span.unwrap_or((UtcMicros(i64::MIN), UtcMicros(i64::MAX)));
        ErasedRows { number: self.number, vehicle: self.vehicle, from, to, is_open: self.done.is_none() }
    }
}

impl Registry {
    /// Begins an erasure. Durable when it returns; the caller raises the journal's barrier to the version returned, after which
    /// nothing comes in under the erased pseudonym or keys. Of a whole vehicle the registration stays, under a new pseudonym; of an
    /// owner's period the vehicle keeps its pseudonym and, where the period's key was in use, gets a new key.
    ///
    /// # Errors
    /// [`Error::NoSuchVehicle`], [`Error::NoSuchPeriod`], [`Error::Field`], or the store's.
    pub fn erase(&self, new: &NewErasure<'_>) -> Result<(Erasure, RegistryVersion), Error> {
        check_why(new.why)?;
        if new.subject.len() > SUBJECT_LENGTH_MAX {
            return Err(Error::Field { field: "subject", rule: "a commitment of at most 128 characters" });
        }
        let mut turn = self.begin()?;
        let now = self.world.clock.now();
        if new.asked_at > now.plus_micros(AHEAD_MAX) {
            return Err(Error::Field { field: "asked_at", rule: "an instant that has come" });
        }
        let mut known = self.show(new.vin)?.ok_or(Error::NoSuchVehicle)?;
        if new.owner_from.is_none() {
            while let Some(alias) = known.aliases.first().copied() {
                known = self.erase_alias(&mut turn, new, known, alias, now)?;
            }
        }
        let periods = self.projection.lock().owner_keys(known.id)?;
        let highest = periods.iter().map(|(_, key)| *key).fold(known.key, KeyPeriod::max);
        let next = KeyPeriod(highest.0 + 1);
        let mut vehicle = Vehicle { erased_until: Some(now), ..known.clone() };
        let (span, keys) = match new.owner_from {
            None => {
                vehicle.id = VehicleId::draw(&*self.world.entropy);
                vehicle.key = KeyPeriod(0);
                vehicle.private.forget(None, now);
                // One more: an import that failed may have made it.
                (None, (0..=next.0).map(KeyPeriod).collect())
            }
            Some(from) => {
                let found = periods.iter().find(|(period, _)| period.from == from);
                let (period, key) = found.copied().ok_or(Error::NoSuchPeriod)?;
                let to = period.to.filter(|to| *to < now);
                // What was erased of an owner who has left does not keep the next one's data out.
                vehicle.erased_until = to.map_or(Some(now), |_| known.erased_until);
                if key == known.key {
                    vehicle.key = next;
                }
                vehicle.private.forget(Some(period.from), to.unwrap_or(now));
                (Some((period.from, to.unwrap_or(now))), vec![key])
            }
        };
        self.keyring.create(vehicle.id, vehicle.key)?;
        let erasure = new.begun(self.next_control(), known.id, span, keys, now);
        let occasion = if vehicle.id == known.id { Occasion::Changed } else { Occasion::Added };
        let sealed_under = (vehicle.id, vehicle.key);
        let mut changes = vec![Change::Erased { erasure: Box::new(erasure.clone()), sealed_under }];
        changes.extend(said(occasion, vehicle));
        let version = self.record(&mut turn, now, changes)?;
        Ok((erasure, version))
    }

    /// Erases what came in under a pseudonym that is an alias now. Gives the vehicle without it.
    fn erase_alias(
        &self,
        turn: &mut Turn<'_>,
        new: &NewErasure<'_>,
        known: Vehicle,
        alias: VehicleId,
        now: UtcMicros,
    ) -> Result<Vehicle, Error> {
        let periods = self.projection.lock().owner_keys(alias)?;
        // A vehicle's key is never older than those of its aliases.
        let highest = periods.iter().map(|(_, key)| *key).fold(known.key, KeyPeriod::max);
        let keys = (0..=highest.0 + 1).map(KeyPeriod).collect();
        let erasure = new.begun(self.next_control(), alias, None, keys, now);
        let sealed_under = (known.id, known.key);
        let aliases = known.aliases.iter().copied().filter(|known| *known != alias).collect();
        let mut changes = vec![Change::Erased { erasure: Box::new(erasure), sealed_under }];
        changes.extend(said(Occasion::Changed, Vehicle { aliases, ..known }));
        self.record(turn, now, changes)?;
        self.show(new.vin)?.ok_or(Error::NoSuchVehicle)
    }

    /// Notes that an erasure is done, with its certificate, which names nobody. Durable when it returns; doing it twice does no harm.
    ///
    /// # Errors
    /// [`Error::NoSuchErasure`], or the store's.
    pub fn erasure_done(&self, number: u64, certificate: &str) -> Result<(), Error> {
        let mut turn = self.begin()?;
        let known = self.erasure(number)?.ok_or(Error::NoSuchErasure)?;
        if known.done.is_some() {
            return Ok(());
        }
        let change = Change::ErasureDone { number, certificate: certificate.to_owned() };
        self.record(&mut turn, self.world.clock.now(), vec![change]).map(|_| ())
    }

    /// All erasures, the newest first.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn erasures(&self) -> Result<Vec<Erasure>, Error> {
        self.projection.lock().erasures()
    }

    /// An erasure; `None` where there is none of this number.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn erasure(&self, number: u64) -> Result<Option<Erasure>, Error> {
        Ok(self.erasures()?.into_iter().find(|erasure| erasure.number == number))
    }

    /// The rows of all erasures; from memory. A new list with each change of it.
    pub fn erased(&self) -> std::sync::Arc<Vec<ErasedRows>> {
        self.fast.read().erased.clone()
    }

    /// Destroys the data keys of an erasure, durably: raw frames, records and personal fields that were sealed under them can't be
    /// read any more. To be called once what the journal held under them is sealed.
    ///
    /// # Errors
    /// The store's.
    pub fn destroy_keys(&self, erasure: &Erasure) -> Result<(), Error> {
        for key in &erasure.keys {
            self.keyring.destroy(erasure.vehicle, *key)?;
        }
        Ok(())
    }
}
