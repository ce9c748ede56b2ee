//! Control objects: the registry's changes as they lie in the store, one JSON object each.
//!
//! `{"format":1,"sequence":7,"at_us":1767225600000000,"changes":[…]}`. A change carries the whole new state of its vehicle or
//! platform, so that applying it twice does no harm. Times are microseconds since 1970 in UTC. `personal` is base64 of the
//! personal fields as JSON, sealed under the vehicle's data key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{CenterName, Entropy, KeyPeriod, UtcMicros, VehicleId, Vin};
use serde::{Deserialize, Serialize};
use store::{DataKey, Keyring};

use crate::Error;
use crate::erasure::Erasure;
use crate::private::PrivateTimes;
use crate::token::{Token, TokenHash};
use crate::vehicle::{Platform, Revocation, Stated, Vehicle};

/// The version of the format that this program writes.
const FORMAT: u32 = 1;

/// A control object.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Control {
    format: u32,
    sequence: u64,
    at_us: i64,
    changes: Vec<Stored>,
}

/// A change as it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
enum Stored {
    VehicleAdded(StoredVehicle),
    VehicleChanged(StoredVehicle),
    VehicleRestored(StoredVehicle),
    VehicleRevoked {
        vehicle: String,
        key: u32,
        personal: String,
        /// When, where that is not when this was written: it was taken over from another center, or written anew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_us: Option<i64>,
    },
    PlatformAdded {
        platform: String,
        password_hash: String,
    },
    PlatformRevoked {
        platform: String,
        why: String,
    },
    TokenCreated(StoredToken),
    TokenRevoked {
        token: String,
        why: String,
    },
    SubjectErased(StoredErasure),
    ErasureDone {
        erasure: u64,
        certificate: String,
    },
}

/// An erasure. `personal` is sealed under the key that the vehicle has from then on.
#[derive(Debug, Serialize, Deserialize)]
struct StoredErasure {
    vehicle: String,
    keys: Vec<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to_us: Option<i64>,
    ground: String,
    asked_at_us: i64,
    subject: String,
    vehicle_after: String,
    key_after: u32,
    personal: String,
}

/// A token: its text is not kept, only the SHA-256 of it, in base64.
#[derive(Debug, Serialize, Deserialize)]
struct StoredToken {
    token: String,
    id: String,
    role: String,
    sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at_us: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredVehicle {
    vehicle: String,
    key: u32,
    country: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    maker: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    model: String,
    /// Where an earlier version of the program wrote it: it identifies the vehicle, so it stands among the personal fields now.
    #[serde(default, skip_serializing)]
    public_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sold_at_us: Option<i64>,
    added_at_us: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erased_until_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lifted_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    /// When and by which center this was said, where it was not by this one as it wrote this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stated_at_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stated_by: Option<String>,
    personal: String,
}

/// The personal fields of a vehicle.
#[derive(Serialize, Deserialize)]
struct PersonalVehicle {
    vin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iccid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    /// When it is used privately: microseconds since 1970; null for an end that is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    private_us: Vec<(i64, Option<i64>)>,
}

/// The personal fields of an erasure: an operator's words may say anything.
#[derive(Serialize, Deserialize)]
struct PersonalErasure {
    why: String,
}

/// The personal fields of a revocation: an operator's words may say anything.
#[derive(Serialize, Deserialize)]
struct PersonalRevocation {
    vin: String,
    why: String,
}

/// The data keys that a change of the registry speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ControlKeys {
    /// Those that it, or one before it, made.
    pub made: Vec<(VehicleId, KeyPeriod)>,
    /// Those that an erasure in it destroyed.
    pub destroyed: Vec<(VehicleId, KeyPeriod)>,
}

/// The data keys that control object `sequence` speaks of. Needs none of them.
///
/// # Errors
/// [`Error::Damaged`] where it is not what this program wrote.
pub fn keys_of_control(sequence: u64, bytes: &[u8]) -> Result<ControlKeys, Error> {
    let damaged = |what: String| Error::Damaged { sequence, what };
    let control: Control = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    let mut keys = ControlKeys::default();
    for stored in &control.changes {
        if let Stored::SubjectErased(erasure) = stored {
            let vehicle: VehicleId =
                erasure.vehicle.parse().map_err(|_| damaged("an erasure names no vehicle".to_owned()))?;
            keys.destroyed.extend(erasure.keys.iter().map(|period| (vehicle, KeyPeriod(*period))));
        }
        keys.made.extend(stored.key());
    }
    Ok(keys)
}

/// Why a vehicle's new state is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Occasion {
    Added,
    Changed,
    Restored,
}

/// A change as the projections apply it.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Vehicle(Occasion, Box<Vehicle>),
    VehicleRevoked {
        vin: Vin,
        id: VehicleId,
        key: KeyPeriod,
        revocation: Revocation,
    },
    PlatformAdded {
        platform: Platform,
        password_hash: String,
    },
    PlatformRevoked {
        name: String,
        revocation: Revocation,
    },
    TokenCreated {
        token: Token,
        hash: TokenHash,
    },
    TokenRevoked {
        name: String,
        revocation: Revocation,
    },
    /// `sealed_under` is the key that the vehicle has from then on.
    Erased {
        erasure: Box<Erasure>,
        sealed_under: (VehicleId, KeyPeriod),
    },
    ErasureDone {
        number: u64,
        certificate: String,
    },
}

impl Change {
    /// The data key that its personal fields are sealed under.
    fn key(&self) -> Option<(VehicleId, KeyPeriod)> {
        match self {
            Self::Vehicle(_, vehicle) => Some((vehicle.id, vehicle.key)),
            Self::VehicleRevoked { id, key, .. } => Some((*id, *key)),
            Self::Erased { sealed_under, .. } => Some(*sealed_under),
            _ => None,
        }
    }
}

/// The changes that say a vehicle's whole state: one that is stated anew is active, so its revocation follows.
pub(crate) fn said(occasion: Occasion, state: Vehicle) -> Vec<Change> {
    let (vin, id, key) = (state.vin, state.id, state.key);
    let revoked = state.revoked.clone();
    let revoked = revoked.map(|revocation| Change::VehicleRevoked { vin, id, key, revocation });
    let stated = Vehicle { revoked: None, ..state };
    std::iter::once(Change::Vehicle(occasion, Box::new(stated))).chain(revoked).collect()
}

impl Stored {
    /// The data key that its personal fields are sealed under; `None` also where it names no vehicle, which its decoding tells.
    fn key(&self) -> Option<(VehicleId, KeyPeriod)> {
        let (vehicle, key) = match self {
            Self::VehicleAdded(vehicle) | Self::VehicleChanged(vehicle) | Self::VehicleRestored(vehicle) => {
                (&vehicle.vehicle, vehicle.key)
            }
            Self::VehicleRevoked { vehicle, key, .. } => (vehicle, *key),
            Self::SubjectErased(erasure) => (&erasure.vehicle_after, erasure.key_after),
            _ => return None,
        };
        Some((vehicle.parse().ok()?, KeyPeriod(key)))
    }
}

/// What sealing and opening personal fields needs.
pub(crate) struct Vault<'a> {
    pub(crate) center: &'a CenterName,
    pub(crate) keyring: &'a Keyring,
}

impl Control {
    /// Encodes a control object.
    ///
    /// # Errors
    /// [`Error::Store`] where a vehicle's data key can't be had.
    pub(crate) fn encode(
        sequence: u64,
        at: UtcMicros,
        changes: &[Change],
        vault: &Vault<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>, Error> {
        let mut stored = Vec::with_capacity(changes.len());
        for (index, change) in changes.iter().enumerate() {
            if index % Keyring::WARMED_MAX == 0 {
                let next = changes.iter().skip(index).take(Keyring::WARMED_MAX);
                vault.keyring.warm(&next.filter_map(Change::key).collect::<Vec<_>>())?;
            }
            let context = vault.context(sequence, index);
            let seal = |key: &DataKey, plain: Vec<u8>| {
                STANDARD.encode(store::seal_small(key, &context, &plain, entropy))
            };
            stored.push(store_change(change, at, vault, &seal)?);
        }
        let control = Self { format: FORMAT, sequence, at_us: at.0, changes: stored };
        Ok(serde_json::to_vec(&control).expect("a control object has text keys only"))
    }

    /// Decodes a control object: when it was written, and its changes. Changes of vehicles whose data key was destroyed are left out: they were erased.
    ///
    /// # Errors
    /// [`Error::Damaged`] where it is not what this program wrote, [`Error::Store`] where the keyring can't be read.
    pub(crate) fn decode(
        sequence: u64,
        bytes: &[u8],
        vault: &Vault<'_>,
    ) -> Result<(UtcMicros, Vec<Change>), Error> {
        let damaged = |what: String| Error::Damaged { sequence, what };
        let control: Self = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if control.format != FORMAT {
            return Err(damaged(format!("its format is {}, this program knows {FORMAT}", control.format)));
        }
        if control.sequence != sequence {
            return Err(damaged(format!("it says that its number is {}", control.sequence)));
        }
        let at = UtcMicros(control.at_us);
        let mut changes = Vec::with_capacity(control.changes.len());
        let keys: Vec<_> = control.changes.iter().map(Stored::key).collect();
        for (index, stored) in control.changes.into_iter().enumerate() {
            if index % Keyring::WARMED_MAX == 0 {
                let next = keys.iter().skip(index).take(Keyring::WARMED_MAX);
                vault.keyring.warm(&next.copied().flatten().collect::<Vec<_>>())?;
            }
            let opener = Opener { vault, sequence, index };
            changes.extend(load_change(stored, at, &opener)?);
        }
        Ok((at, changes))
    }
}

impl Vault<'_> {
    /// Binds sealed fields to their place, so that none can be moved to another change.
    fn context(&self, sequence: u64, index: usize) -> Vec<u8> {
        format!("{}/control/{sequence}/{index}", self.center).into_bytes()
    }
}

fn store_change(
    change: &Change,
    at: UtcMicros,
    vault: &Vault<'_>,
    seal: &dyn Fn(&DataKey, Vec<u8>) -> String,
) -> Result<Stored, Error> {
    Ok(match change {
        Change::Vehicle(occasion, vehicle) => {
            let key = vault.keyring.key(vehicle.id, vehicle.key)?;
            let personal = PersonalVehicle {
                vin: vehicle.vin.to_string(),
                iccid: vehicle.iccid.map(|iccid| iccid.as_str().to_owned()),
                public_key: vehicle.public_key.clone(),
                private_us: vehicle.private.stored(),
            };
            let stored = StoredVehicle {
                vehicle: vehicle.id.to_string(),
                key: vehicle.key.0,
                country: vehicle.country.to_string(),
                maker: vehicle.maker.clone(),
                model: vehicle.model.clone(),
                public_key: None,
                sold_at_us: vehicle.sold_at.map(|at| at.0),
                added_at_us: vehicle.added_at.0,
                erased_until_us: vehicle.erased_until.map(|at| at.0),
                lifted_us: vehicle.lifted.map(|at| at.0),
                aliases: vehicle.aliases.iter().map(ToString::to_string).collect(),
                stated_at_us: Some(vehicle.stated.at.0).filter(|stated| *stated != at.0),
                stated_by: Some(&vehicle.stated.by).filter(|by| *by != vault.center).map(ToString::to_string),
                personal: seal(&key, json(&personal)),
            };
            match occasion {
                Occasion::Added => Stored::VehicleAdded(stored),
                Occasion::Changed => Stored::VehicleChanged(stored),
                Occasion::Restored => Stored::VehicleRestored(stored),
            }
        }
        Change::VehicleRevoked { vin, id, key, revocation } => {
            let personal = PersonalRevocation { vin: vin.to_string(), why: revocation.why.clone() };
            let sealed = seal(vault.keyring.key(*id, *key)?.as_ref(), json(&personal));
            let at_us = Some(revocation.at.0).filter(|revoked| *revoked != at.0);
            Stored::VehicleRevoked { vehicle: id.to_string(), key: key.0, personal: sealed, at_us }
        }
        Change::PlatformAdded { platform, password_hash } => {
            Stored::PlatformAdded { platform: platform.name.clone(), password_hash: password_hash.clone() }
        }
        Change::PlatformRevoked { name, revocation } => {
            Stored::PlatformRevoked { platform: name.clone(), why: revocation.why.clone() }
        }
        Change::TokenCreated { token, hash } => Stored::TokenCreated(StoredToken {
            token: token.name.clone(),
            id: token.id.clone(),
            role: token.role.to_string(),
            sha256: STANDARD.encode(hash.0),
            expires_at_us: token.expires_at.map(|at| at.0),
        }),
        Change::TokenRevoked { name, revocation } => {
            Stored::TokenRevoked { token: name.clone(), why: revocation.why.clone() }
        }
        Change::Erased { erasure, sealed_under: (id, key) } => {
            let personal = PersonalErasure { why: erasure.why.clone() };
            Stored::SubjectErased(StoredErasure {
                vehicle: erasure.vehicle.to_string(),
                keys: erasure.keys.iter().map(|key| key.0).collect(),
                from_us: erasure.span.map(|(from, _)| from.0),
                to_us: erasure.span.map(|(_, to)| to.0),
                ground: erasure.ground.as_str().to_owned(),
                asked_at_us: erasure.asked_at.0,
                subject: erasure.subject.clone(),
                vehicle_after: id.to_string(),
                key_after: key.0,
                personal: seal(vault.keyring.key(*id, *key)?.as_ref(), json(&personal)),
            })
        }
        Change::ErasureDone { number, certificate } => {
            Stored::ErasureDone { erasure: *number, certificate: certificate.clone() }
        }
    })
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("personal fields are texts")
}

/// Opens the sealed fields of one change.
struct Opener<'a> {
    vault: &'a Vault<'a>,
    sequence: u64,
    index: usize,
}

impl Opener<'_> {
    fn damaged(&self, what: &str) -> Error {
        Error::Damaged { sequence: self.sequence, what: format!("change {}: {what}", self.index) }
    }

    /// The personal fields; `None` where their key was destroyed.
    fn open<T: for<'de> Deserialize<'de>>(
        &self,
        id: VehicleId,
        key: KeyPeriod,
        sealed: &str,
    ) -> Result<Option<T>, Error> {
        let key = match self.vault.keyring.key(id, key) {
            Ok(key) => key,
            Err(error) if error.kind() == store::Kind::Missing => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let context = self.vault.context(self.sequence, self.index);
        let sealed = STANDARD.decode(sealed).map_err(|_| self.damaged("`personal` is no base64"))?;
        let plain = store::open_small(&key, &context, &sealed)
            .ok_or_else(|| self.damaged("its personal fields don't open with the vehicle's key"))?;
        let value = serde_json::from_slice(&plain)
            .map_err(|_| self.damaged("its personal fields are not what they should be"))?;
        Ok(Some(value))
    }

    /// Reads a name; the error leaves out its text.
    fn read<T: std::str::FromStr>(&self, what: &str, text: &str) -> Result<T, Error> {
        text.parse().map_err(|_| self.damaged(&format!("`{what}` breaks its rule")))
    }
}

fn load_change(stored: Stored, at: UtcMicros, opener: &Opener<'_>) -> Result<Option<Change>, Error> {
    match stored {
        Stored::VehicleAdded(vehicle) => load_vehicle(Occasion::Added, vehicle, at, opener),
        Stored::VehicleChanged(vehicle) => load_vehicle(Occasion::Changed, vehicle, at, opener),
        Stored::VehicleRestored(vehicle) => load_vehicle(Occasion::Restored, vehicle, at, opener),
        Stored::VehicleRevoked { vehicle, key, personal, at_us } => {
            let (id, key) = (opener.read("vehicle", &vehicle)?, KeyPeriod(key));
            let Some(personal) = opener.open::<PersonalRevocation>(id, key, &personal)? else {
                return Ok(None);
            };
            let vin = opener.read("vin", &personal.vin)?;
            let revocation = Revocation { at: at_us.map_or(at, UtcMicros), why: personal.why };
            Ok(Some(Change::VehicleRevoked { vin, id, key, revocation }))
        }
        Stored::PlatformAdded { platform, password_hash } => {
            let platform = Platform { name: platform, added_at: at, revoked: None };
            Ok(Some(Change::PlatformAdded { platform, password_hash }))
        }
        Stored::PlatformRevoked { platform, why } => {
            Ok(Some(Change::PlatformRevoked { name: platform, revocation: Revocation { at, why } }))
        }
        Stored::TokenCreated(token) => load_token(token, at, opener).map(Some),
        Stored::TokenRevoked { token, why } => {
            Ok(Some(Change::TokenRevoked { name: token, revocation: Revocation { at, why } }))
        }
        Stored::SubjectErased(stored) => load_erasure(stored, at, opener).map(Some),
        Stored::ErasureDone { erasure, certificate } => {
            Ok(Some(Change::ErasureDone { number: erasure, certificate }))
        }
    }
}

/// An erasure is read also where its words were destroyed by a later one: what it erased stays erased.
fn load_erasure(stored: StoredErasure, at: UtcMicros, opener: &Opener<'_>) -> Result<Change, Error> {
    let sealed_under = (opener.read("vehicle_after", &stored.vehicle_after)?, KeyPeriod(stored.key_after));
    let (id, key) = sealed_under;
    let personal = opener.open::<PersonalErasure>(id, key, &stored.personal)?;
    let erasure = Erasure {
        number: opener.sequence,
        vehicle: opener.read("vehicle", &stored.vehicle)?,
        span: stored.from_us.zip(stored.to_us).map(|(from, to)| (UtcMicros(from), UtcMicros(to))),
        keys: stored.keys.into_iter().map(KeyPeriod).collect(),
        ground: opener.read("ground", &stored.ground)?,
        why: personal.map(|personal| personal.why).unwrap_or_default(),
        asked_at: UtcMicros(stored.asked_at_us),
        began_at: at,
        subject: stored.subject,
        done: None,
    };
    Ok(Change::Erased { erasure: Box::new(erasure), sealed_under })
}

fn load_token(stored: StoredToken, at: UtcMicros, opener: &Opener<'_>) -> Result<Change, Error> {
    let hash = STANDARD.decode(&stored.sha256).ok().and_then(|hash| hash.try_into().ok());
    let hash = hash.ok_or_else(|| opener.damaged("`sha256` is not 32 bytes of base64"))?;
    let token = Token {
        name: stored.token,
        id: stored.id,
        role: opener.read("role", &stored.role)?,
        created_at: at,
        expires_at: stored.expires_at_us.map(UtcMicros),
        revoked: None,
    };
    Ok(Change::TokenCreated { token, hash: TokenHash(hash) })
}

fn load_vehicle(
    occasion: Occasion,
    stored: StoredVehicle,
    at: UtcMicros,
    opener: &Opener<'_>,
) -> Result<Option<Change>, Error> {
    let (id, key) = (opener.read("vehicle", &stored.vehicle)?, KeyPeriod(stored.key));
    let Some(personal) = opener.open::<PersonalVehicle>(id, key, &stored.personal)? else { return Ok(None) };
    let iccid = personal.iccid.map(|iccid| opener.read("iccid", &iccid)).transpose()?;
    let stated_by = stored.stated_by.map(|by| opener.read("stated_by", &by)).transpose()?;
    let aliases = stored.aliases.iter().map(|alias| opener.read("aliases", alias));
    let vehicle = Vehicle {
        vin: opener.read("vin", &personal.vin)?,
        id,
        key,
        country: opener.read("country", &stored.country)?,
        maker: stored.maker,
        model: stored.model,
        iccid,
        public_key: personal.public_key.or(stored.public_key),
        sold_at: stored.sold_at_us.map(UtcMicros),
        added_at: UtcMicros(stored.added_at_us),
        erased_until: stored.erased_until_us.map(UtcMicros),
        private: PrivateTimes::read(personal.private_us),
        revoked: None,
        lifted: stored.lifted_us.map(UtcMicros),
        aliases: aliases.collect::<Result<_, _>>()?,
        stated: Stated {
            at: stored.stated_at_us.map_or(at, UtcMicros),
            by: stated_by.unwrap_or_else(|| opener.vault.center.clone()),
        },
    };
    Ok(Some(Change::Vehicle(occasion, Box::new(vehicle))))
}
