//! Vehicles and platforms as people see them.

use model::{CenterName, Country, KeyPeriod, UtcMicros, VehicleId, Vin};
use policy::{Iccid, VehicleFacts, VehicleState};

use crate::Error;
use crate::private::PrivateTimes;

/// A registered vehicle with everything that is known of it. `Debug` hides VIN and ICCID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vehicle {
    /// Its VIN.
    pub vin: Vin,
    /// Its pseudonym in tables and batches.
    pub id: VehicleId,
    /// The data key that its frames are sealed under now.
    pub key: KeyPeriod,
    /// The country that it was sold in.
    pub country: Country,
    /// Who made it; empty where that is not known.
    pub maker: String,
    /// Its model; empty where that is not known.
    pub model: String,
    /// Its SIM card's number.
    pub iccid: Option<Iccid>,
    /// The key that its signatures are verified with: SubjectPublicKeyInfo as PEM.
    pub public_key: Option<String>,
    /// When it was sold.
    pub sold_at: Option<UtcMicros>,
    /// When it was registered.
    pub added_at: UtcMicros,
    /// What it said up to then was erased; `None` where nothing was.
    pub erased_until: Option<UtcMicros>,
    /// When it is used privately.
    pub private: PrivateTimes,
    /// Why and when it was revoked; `None` while it is active.
    pub revoked: Option<Revocation>,
    /// Revocations up to then were lifted.
    pub lifted: Option<UtcMicros>,
    /// Pseudonyms that other centers gave it before they knew of this one, in order.
    pub aliases: Vec<VehicleId>,
    /// Who said all this, and when.
    pub stated: Stated,
}

/// When a vehicle's state was said, and by which center: of two states of one vehicle the later one holds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stated {
    /// When, by that center's clock.
    pub at: UtcMicros,
    /// By whom; at one instant the name that comes later in the alphabet wins.
    pub by: CenterName,
}

impl Stated {
    /// What `by` says at `at`, knowing of this: later than it, whatever the clocks show.
    pub(crate) fn next(&self, at: UtcMicros, by: &CenterName) -> Self {
        Self { at: at.max(UtcMicros(self.at.0.saturating_add(1))), by: by.clone() }
    }
}

/// Why and when somebody was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: UtcMicros,
    /// The operator's words.
    pub why: String,
}

impl Vehicle {
    /// Whether it may connect.
    pub fn state(&self) -> VehicleState {
        if self.revoked.is_some() { VehicleState::Revoked } else { VehicleState::Active }
    }

    /// What admission needs of it.
    pub(crate) fn facts(&self) -> VehicleFacts {
        VehicleFacts {
            id: self.id,
            key: self.key,
            country: self.country,
            state: self.state(),
            iccid: self.iccid,
            public_key: self.public_key.as_deref().map(Box::from),
            erased_until: self.erased_until,
        }
    }
}

/// A vehicle to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVehicle {
    /// Its VIN.
    pub vin: Vin,
    /// The country that it was sold in.
    pub country: Country,
    /// Who made it; empty where that is not known.
    pub maker: String,
    /// Its model; empty where that is not known.
    pub model: String,
    /// Its SIM card's number.
    pub iccid: Option<Iccid>,
    /// The key that its signatures are verified with: SubjectPublicKeyInfo as PEM.
    pub public_key: Option<String>,
    /// When it was sold.
    pub sold_at: Option<UtcMicros>,
}

/// The longest maker's or model's name: these are labels, not documents.
const LABEL_LENGTH_MAX: usize = 64;
/// The longest public key: an RSA key of 8192 bits takes 1,500 characters.
const PUBLIC_KEY_LENGTH_MAX: usize = 4096;

impl NewVehicle {
    /// A vehicle of which only the VIN and the country are known.
    pub fn new(vin: Vin, country: Country) -> Self {
        Self {
            vin,
            country,
            maker: String::new(),
            model: String::new(),
            iccid: None,
            public_key: None,
            sold_at: None,
        }
    }

    /// Holds the fields against their rules.
    ///
    /// # Errors
    /// [`Error::Field`] with the field's name and its rule.
    pub fn check(&self) -> Result<(), Error> {
        for (field, text) in [("maker", &self.maker), ("model", &self.model)] {
            if text.len() > LABEL_LENGTH_MAX || text.chars().any(char::is_control) {
                return Err(Error::Field { field, rule: "at most 64 bytes, no control characters" });
            }
        }
        match &self.public_key {
            Some(key) if !is_public_key_pem(key) => Err(Error::Field {
                field: "public_key",
                rule: "a public key as PEM (-----BEGIN PUBLIC KEY-----), with its line breaks",
            }),
            _ => Ok(()),
        }
    }
}

/// Whether a text has the form of a SubjectPublicKeyInfo in PEM (RFC 7468, section 13). What algorithm it is and whether the
/// numbers in it make a key shows when a signature is verified.
fn is_public_key_pem(text: &str) -> bool {
    use base64::Engine;
    let body = text
        .trim()
        .strip_prefix("-----BEGIN PUBLIC KEY-----")
        .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"));
    let Some(body) = body.filter(|_| text.len() <= PUBLIC_KEY_LENGTH_MAX) else { return false };
    let body: String = body.split_ascii_whitespace().collect();
    // A DER SEQUENCE is what every SubjectPublicKeyInfo starts with.
    base64::engine::general_purpose::STANDARD.decode(body).is_ok_and(|der| der.first() == Some(&0x30))
}

/// What [`date`] takes.
pub(crate) const DATE_RULE: &str = "a date such as 2026-01-31, or an instant such as 2026-01-31T08:00:00Z";

/// Reads a date (`2026-01-31`, midnight UTC) or an instant in UTC (`2026-01-31T08:00:00Z`).
///
/// # Errors
/// [`Error::Field`].
pub fn date(text: &str) -> Result<UtcMicros, Error> {
    read_date(text).ok_or(Error::Field { field: "sold_at", rule: DATE_RULE })
}

/// As [`date`].
pub(crate) fn read_date(text: &str) -> Option<UtcMicros> {
    let digits = |from: usize, to: usize| -> Option<u32> {
        let part = text.get(from..to)?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse().ok())?
    };
    let small = |from: usize, to: usize| digits(from, to).and_then(|number| u8::try_from(number).ok());
    let is_instant = match text.len() {
        10 => false,
        20 => true,
        _ => return None,
    };
    let separators: &[(usize, u8)] = &[(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'Z')];
    let separators = if is_instant { separators } else { &separators[..2] };
    if separators.iter().any(|(at, byte)| text.as_bytes()[*at] != *byte) {
        return None;
    }
    let year = i32::try_from(digits(0, 4)?).ok()?;
    let (month, day) = (small(5, 7)?, small(8, 10)?);
    let (hour, minute, second) =
        if is_instant { (small(11, 13)?, small(14, 16)?, small(17, 19)?) } else { (0, 0, 0) };
    UtcMicros::from_civil(year, month, day, hour, minute, second)
}

/// A platform that may log in and forward its vehicles' frames (GB/T 32960.3, platform login).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// The user name of its login.
    pub name: String,
    /// When it was registered.
    pub added_at: UtcMicros,
    /// Why and when it was revoked; `None` while it is active.
    pub revoked: Option<Revocation>,
}
