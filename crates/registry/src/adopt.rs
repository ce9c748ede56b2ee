//! One register in many centers: what other centers changed, taken over as this center's own changes.
//!
//! Each center changes its own registry and reads the changes of the others, so two may say different things of one vehicle at once.
//! What holds is worked out from what both said, whatever order it comes in, so that all centers end with the same: of two states
//! the one that was said later ([`Stated`](crate::Stated)); of two pseudonyms the one that was registered first, the other becomes
//! an alias; a revocation, unless somebody who knew of it lifted it. What one center erases every center erases, and an erased
//! pseudonym never comes back. Data keys are each center's own, numbered alike.
//!
//! Not taken over: tokens, which are rights at one center, and records.

use std::collections::{BTreeMap, BTreeSet};

use model::{CenterName, KeyPeriod, UtcMicros, VehicleId, Vin};
use store::Keyring;

use crate::control::{Change, Control, Occasion, Vault, said};
use crate::erasure::Erasure;
use crate::registry::Turn;
use crate::vehicle::{Revocation, Vehicle};
use crate::{Error, Registry, RegistryVersion};

/// What was taken over from a change of another center.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adopted {
    /// The state of the registry from then on; `None` where all of it was known.
    pub version: Option<RegistryVersion>,
    /// Vehicles whose state is another now.
    pub vehicles: usize,
    /// Pseudonyms that came to be aliases, or to be known as such.
    pub aliases: usize,
    /// Erasures that began.
    pub erasures: usize,
    /// The VINs that they were of, as far as they are known here.
    pub erased: Vec<Vin>,
}

impl Registry {
    /// Takes over control object `sequence` of another center; `keyring` is the copy of that center's keyring. Durable when it
    /// returns; the caller raises the journal's barrier to the version returned. Doing it twice does no harm.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the object is not what a center wrote, or the store's.
    pub fn adopt(
        &self,
        center: &CenterName,
        keyring: &Keyring,
        sequence: u64,
        bytes: &[u8],
    ) -> Result<Adopted, Error> {
        let (_, changes) = Control::decode(sequence, bytes, &Vault { center, keyring })?;
        let turn = self.begin()?;
        let is_whole = |rows: &&crate::ErasedRows| rows.is_whole();
        let gone = self.erased().iter().filter(is_whole).map(|rows| rows.vehicle).collect();
        let (states, platforms, adopted) = Default::default();
        let mut taking = Taking { registry: self, turn, gone, states, platforms, adopted };
        let mut changes = changes.into_iter().peekable();
        while let Some(change) = changes.next() {
            match change {
                Change::Vehicle(_, said) => taking.vehicle(&said)?,
                Change::VehicleRevoked { vin, revocation, .. } => taking.revoked(vin, revocation)?,
                Change::PlatformAdded { .. } | Change::PlatformRevoked { .. } => taking.platform(change)?,
                Change::Erased { erasure, sealed_under } => {
                    let after = match changes.peek() {
                        Some(Change::Vehicle(_, after)) if after.id == sealed_under.0 => Some(after.as_ref()),
                        _ => None,
                    };
                    taking.erased(*erasure, sealed_under, after)?;
                }
                Change::ErasureDone { .. } | Change::TokenCreated { .. } | Change::TokenRevoked { .. } => {}
            }
        }
        taking.write()?;
        self.projection.lock().note_adopted(center, sequence)?;
        Ok(taking.adopted)
    }

    /// The last control object of another center that was taken over; 0 before the first, and after the projection was built anew.
    ///
    /// # Errors
    /// [`Error::Projection`].
    pub fn adopted(&self, center: &CenterName) -> Result<u64, Error> {
        self.projection.lock().adopted(center)
    }
}

/// One control object of another center as it is taken over.
struct Taking<'a> {
    registry: &'a Registry,
    turn: Turn<'a>,
    /// Pseudonyms that were erased.
    gone: BTreeSet<VehicleId>,
    /// What is known of the vehicles that it speaks of, and what holds from now on.
    states: BTreeMap<Vin, (Option<Vehicle>, Vehicle)>,
    platforms: Vec<Change>,
    adopted: Adopted,
}

impl Taking<'_> {
    fn known(&self, vin: &Vin) -> Result<Option<Vehicle>, Error> {
        match self.states.get(vin) {
            Some((_, now)) => Ok(Some(now.clone())),
            None => self.registry.show(vin),
        }
    }

    fn vehicle(&mut self, said: &Vehicle) -> Result<(), Error> {
        if self.gone.contains(&said.id) {
            return Ok(());
        }
        let known = self.known(&said.vin)?;
        let state = known.as_ref().map_or_else(|| said.clone(), |known| merge(known, said));
        self.keep(known, state);
        Ok(())
    }

    fn revoked(&mut self, vin: Vin, revocation: Revocation) -> Result<(), Error> {
        let Some(known) = self.known(&vin)? else { return Ok(()) };
        let known_at = known.revoked.as_ref().map(|revocation| revocation.at);
        if known_at.max(known.lifted).is_some_and(|at| at >= revocation.at) {
            return Ok(());
        }
        let state = Vehicle { revoked: Some(revocation), ..known.clone() };
        self.keep(Some(known), state);
        Ok(())
    }

    fn keep(&mut self, known: Option<Vehicle>, mut state: Vehicle) {
        state.aliases.retain(|alias| !self.gone.contains(alias));
        let before = self.states.remove(&state.vin).map_or(known, |(before, _)| before);
        self.states.insert(state.vin, (before, state));
    }

    /// Of two centers that give a name at once each keeps its own password.
    fn platform(&mut self, change: Change) -> Result<(), Error> {
        let name = match &change {
            Change::PlatformAdded { platform, .. } => &platform.name,
            Change::PlatformRevoked { name, .. } => name,
            _ => return Ok(()),
        };
        let known = self.registry.platforms()?.into_iter().find(|platform| platform.name == *name);
        let is_new = match &change {
            Change::PlatformAdded { .. } => known.is_none(),
            _ => known.is_some_and(|known| known.revoked.is_none()),
        };
        if is_new {
            self.platforms.push(change);
            // A revocation may follow, which asks what is known.
            self.write()?;
        }
        Ok(())
    }

    /// `after` is the vehicle's state after it, where that follows.
    fn erased(
        &mut self,
        theirs: Erasure,
        sealed_under: (VehicleId, KeyPeriod),
        after: Option<&Vehicle>,
    ) -> Result<(), Error> {
        let is_whole = theirs.span.is_none();
        let rows = theirs.rows();
        let is_same =
            |own: &crate::ErasedRows| (own.vehicle, own.from, own.to) == (rows.vehicle, rows.from, rows.to);
        if self.registry.erased().iter().any(is_same) {
            return Ok(());
        }
        self.write()?;
        if is_whole {
            self.gone.insert(theirs.vehicle);
        }
        let known = self.registry.show_id(theirs.vehicle)?;
        let state = known.as_ref().zip(after).map(|(known, after)| {
            let mut state = known.clone();
            if is_whole {
                (state.id, state.key) = (after.id, after.key);
            }
            let mut state = merge(&state, after);
            state.aliases.retain(|alias| !self.gone.contains(alias));
            state
        });
        let sealed_under = state.as_ref().map_or(sealed_under, |state| (state.id, state.key));
        // The pseudonym that went on there may have been erased since: its key must not come back.
        let is_gone = self.gone.contains(&sealed_under.0);
        let sealed_under = if is_gone { (VehicleId::NONE, KeyPeriod::default()) } else { sealed_under };
        let keys = self.keys(&theirs, known.as_ref())?;
        let now = self.registry.world.clock.now();
        let erasure =
            Erasure { number: self.registry.next_control(), keys, began_at: now, done: None, ..theirs };
        let mut changes = vec![Change::Erased { erasure: Box::new(erasure), sealed_under }];
        changes.extend(state.into_iter().flat_map(|state| said(Occasion::Changed, state)));
        self.registry.keyring.create(sealed_under.0, sealed_under.1)?;
        self.adopted.version = Some(self.registry.write(&mut self.turn, now, changes)?);
        self.adopted.erasures += 1;
        self.adopted.erased.extend(known.map(|known| known.vin));
        Ok(())
    }

    /// The own data keys that an erasure destroys.
    fn keys(&self, theirs: &Erasure, known: Option<&Vehicle>) -> Result<Vec<KeyPeriod>, Error> {
        let periods = self.registry.projection.lock().owner_keys(theirs.vehicle)?;
        let mut keys: BTreeSet<KeyPeriod> = theirs.keys.iter().copied().collect();
        match theirs.span {
            None => {
                let own = periods.iter().map(|(_, key)| *key).chain(known.map(|known| known.key));
                let highest = keys.iter().copied().chain(own).max().unwrap_or_default();
                // One more: an import that failed may have made it.
                keys.extend((0..=highest.0.saturating_add(1)).map(KeyPeriod));
            }
            Some((from, _)) => {
                keys.extend(periods.iter().filter(|(period, _)| period.from == from).map(|(_, key)| *key));
            }
        }
        Ok(keys.into_iter().collect())
    }

    /// Writes what is not known yet.
    fn write(&mut self) -> Result<(), Error> {
        let mut changes = std::mem::take(&mut self.platforms);
        let mut keys = Vec::new();
        for (before, now) in std::mem::take(&mut self.states).into_values() {
            if before.as_ref() == Some(&now) {
                continue;
            }
            self.adopted.vehicles += 1;
            let known = before.as_ref().map_or(&[][..], |before| &before.aliases);
            self.adopted.aliases += now.aliases.iter().filter(|alias| !known.contains(alias)).count();
            keys.push((now.id, now.key));
            let is_only_revoked = before.map(|before| {
                Vehicle { revoked: now.revoked.clone(), ..before } == now && now.revoked.is_some()
            });
            let skipped = usize::from(is_only_revoked == Some(true));
            changes.extend(said(Occasion::Changed, now).into_iter().skip(skipped));
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.registry.keyring.create_many(&keys)?;
        let now = self.registry.world.clock.now();
        self.adopted.version = Some(self.registry.write(&mut self.turn, now, changes)?);
        Ok(())
    }
}

/// What holds after two centers said something of one vehicle. The order does not matter, nor how often it is said.
fn merge(known: &Vehicle, said: &Vehicle) -> Vehicle {
    let later = if said.stated > known.stated { said } else { known };
    let first = if (said.added_at, said.id) < (known.added_at, known.id) { said } else { known };
    let named = [known, said].into_iter().flat_map(|vehicle| vehicle.aliases.iter().chain([&vehicle.id]));
    let aliases: BTreeSet<VehicleId> = named.copied().filter(|id| *id != first.id).collect();
    let lifted = known.lifted.max(said.lifted);
    let is_lifted = |at: UtcMicros| lifted.is_some_and(|lifted| at <= lifted);
    Vehicle {
        id: first.id,
        country: first.country,
        added_at: first.added_at,
        key: known.key.max(said.key),
        erased_until: known.erased_until.max(said.erased_until),
        lifted,
        revoked: known.revoked.clone().filter(|revocation| !is_lifted(revocation.at)),
        aliases: aliases.into_iter().collect(),
        ..later.clone()
    }
}
