//! Identifiers. None of them prints personal data through `Debug`: a VIN shows itself only where `Display` is asked for.

use std::fmt;
use std::str::FromStr;

use crate::Entropy;

/// Why a text is not the identifier that it should be; the text itself is left out, because it may be personal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {rule}")]
pub struct InvalidName {
    /// Which identifier was expected.
    pub what: &'static str,
    /// The rule that the text breaks.
    pub rule: &'static str,
}

/// A vehicle identification number (ISO 3779): 17 upper-case letters and digits.
///
/// `Debug` hides it, so that it can't reach a log by accident.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Vin([u8; 17]);

impl Vin {
    /// Length in bytes.
    pub const LENGTH: usize = 17;

    /// Reads a VIN from its 17 bytes as they stand on the wire.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidName> {
        const INVALID: InvalidName =
            InvalidName { what: "VIN", rule: "17 characters, each an upper-case letter or a digit" };
        let array: [u8; 17] = bytes.try_into().map_err(|_| INVALID)?;
        if array.iter().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) {
            Ok(Self(array))
        } else {
            Err(INVALID)
        }
    }

    /// The 17 ASCII bytes.
    pub fn as_bytes(&self) -> &[u8; 17] {
        &self.0
    }

    /// The VIN as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a VIN is ASCII by construction")
    }
}

impl FromStr for Vin {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for Vin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Vin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vin(hidden)")
    }
}

/// A vehicle's pseudonym inside tables and batches: `v` and 16 random characters of `a-z0-9`, drawn at registration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VehicleId([u8; 17]);

impl VehicleId {
    const ALPHABET: &'static [u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

    /// The pseudonym that rows about the center itself carry (no vehicle has it).
    pub const NONE: Self = Self(*b"v0000000000000000");

    /// Draws a new pseudonym: 80 random bits.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let mut random = [0_u8; 16];
        entropy.fill(&mut random);
        let mut id = [b'v'; 17];
        for (character, byte) in id[1..].iter_mut().zip(random) {
            *character = Self::ALPHABET[usize::from(byte % 32)];
        }
        Self(id)
    }

    /// Reads a pseudonym from its 17 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidName> {
        const INVALID: InvalidName =
            InvalidName { what: "vehicle id", rule: "`v` followed by 16 characters of a-z and 0-9" };
        let array: [u8; 17] = bytes.try_into().map_err(|_| INVALID)?;
        let plain = array[1..].iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if array[0] == b'v' && plain { Ok(Self(array)) } else { Err(INVALID) }
    }

    /// The 17 ASCII bytes.
    pub fn as_bytes(&self) -> &[u8; 17] {
        &self.0
    }

    /// The pseudonym as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a vehicle id is ASCII by construction")
    }
}

impl FromStr for VehicleId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::from_bytes(text.as_bytes())
    }
}

impl fmt::Display for VehicleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for VehicleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VehicleId({})", self.as_str())
    }
}

/// A country by its ISO 3166-1 alpha-2 code, such as `CN`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Country([u8; 2]);

impl Country {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a country code is ASCII by construction")
    }
}

impl FromStr for Country {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.as_bytes() {
            &[a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase() => Ok(Self([a, b])),
            _ => {
                Err(InvalidName { what: "country", rule: "two upper-case letters of ISO 3166-1, such as CN" })
            }
        }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Country({})", self.as_str())
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let starts = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
                let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                if starts && plain && text.len() <= 32 {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(InvalidName {
                        what: $what,
                        rule: "1 to 32 characters of a-z, 0-9 and -, the first a letter",
                    })
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A data center's name, such as `shanghai-1`: the prefix under which it alone writes.
    CenterName,
    "center name"
);
name!(
    /// A gateway's name inside its center, such as `gw`: the owner of one journal.
    GatewayName,
    "gateway name"
);

/// A frame's number in its gateway's journal; grows by one a frame and is never used twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A connection's number: what logs name instead of a vehicle. Unique within a center's life (the start's time is in it).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:x}", self.0)
    }
}
