//! What admission needs to know of a registered vehicle.

use std::fmt;
use std::str::FromStr;

use model::{Country, KeyPeriod, UtcMicros, VehicleId};

/// What the registry knows of a vehicle as far as admission depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VehicleFacts {
    /// Its pseudonym.
    pub id: VehicleId,
    /// The data key that its frames are sealed under now.
    pub key: KeyPeriod,
    /// The country that it was sold in.
    pub country: Country,
    /// Whether it may connect.
    pub state: VehicleState,
    /// The SIM card that it was registered with.
    pub iccid: Option<Iccid>,
    /// The public key that its signatures are verified with: SubjectPublicKeyInfo as PEM.
    pub public_key: Option<Box<str>>,
    /// Somebody had everything erased that the vehicle said up to then: what it says of an earlier time is kept out.
    pub erased_until: Option<UtcMicros>,
}

/// Whether a vehicle may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VehicleState {
    /// It may.
    Active,
    /// Somebody withdrew it (`vehicle revoke`).
    Revoked,
}

impl VehicleState {
    /// The word for people and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
        }
    }
}

/// A SIM card's number (ITU-T E.118): 19 or 20 letters and digits. `Debug` hides it, because it is personal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Iccid {
    bytes: [u8; 20],
    length: u8,
}

/// The text is no ICCID; it is left out, because it may be personal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidIccid;

impl fmt::Display for InvalidIccid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ICCID: 19 or 20 letters and digits")
    }
}

impl std::error::Error for InvalidIccid {}

impl Iccid {
    /// The number as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.significant()).expect("an ICCID is ASCII by construction")
    }

    /// Whether the 20 bytes of a login say this number. A card's 19 digits are padded there with a space or a zero byte,
    /// and letters (some cards have `A` to `F`) come in either case.
    pub fn matches(&self, wire: &[u8]) -> bool {
        let end = wire.iter().rposition(|b| !matches!(b, b' ' | 0)).map_or(0, |last| last + 1);
        wire[..end].eq_ignore_ascii_case(self.significant())
    }

    fn significant(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl FromStr for Iccid {
    type Err = InvalidIccid;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.len();
        if !matches!(length, 19 | 20) || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(InvalidIccid);
        }
        let mut bytes = [0_u8; 20];
        bytes[..length].copy_from_slice(text.as_bytes());
        Ok(Self { bytes, length: length as u8 })
    }
}

impl fmt::Debug for Iccid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Iccid(hidden)")
    }
}
