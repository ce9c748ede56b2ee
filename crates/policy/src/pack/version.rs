//! The version of a country pack.

use std::fmt;
use std::str::FromStr;

use crate::InvalidPackVersion;

/// Which edition of which country pack a decision was taken by, such as `cn-2026.1`. Small enough to be copied into every
/// permit. Versions of one name are in the order of their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackVersion {
    /// Padded with zero bytes.
    name: [u8; Self::NAME_LENGTH_MAX],
    year: u16,
    number: u16,
}

impl PackVersion {
    /// The longest name of a pack.
    pub const NAME_LENGTH_MAX: usize = 12;
    /// A pack from before this year or after the other is a slip of the pen.
    const YEARS: std::ops::RangeInclusive<u16> = 2021..=2199;

    /// The pack's name, such as `cn`.
    pub fn name(&self) -> &str {
        let length = self.name.iter().position(|b| *b == 0).unwrap_or(self.name.len());
        std::str::from_utf8(&self.name[..length]).expect("a pack's name is ASCII by construction")
    }

    /// Whether a pack of this version may take the place of one of `other`: a later edition, or a pack of another name. The same
    /// edition with another text, and an earlier one, may not.
    pub fn replaces(&self, other: &Self) -> bool {
        self.name != other.name || self > other
    }

    /// Reads a name (`cn`) and the version as a pack states it (`2026.1`).
    pub(super) fn from_parts(name: &str, version: &str) -> Result<Self, InvalidPackVersion> {
        let starts = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let (year, number) = version.split_once('.').ok_or(InvalidPackVersion)?;
        if !starts || !plain || name.len() > Self::NAME_LENGTH_MAX {
            return Err(InvalidPackVersion);
        }
        let mut bytes = [0_u8; Self::NAME_LENGTH_MAX];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let year = decimal(year).filter(|year| Self::YEARS.contains(year)).ok_or(InvalidPackVersion)?;
        let number = decimal(number).filter(|number| *number > 0).ok_or(InvalidPackVersion)?;
        Ok(Self { name: bytes, year, number })
    }
}

/// A number written in the one way that it prints in, so that a version has one spelling.
fn decimal(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    if digits { text.parse().ok() } else { None }
}

impl FromStr for PackVersion {
    type Err = InvalidPackVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, version) = text.split_once('-').ok_or(InvalidPackVersion)?;
        Self::from_parts(name, version)
    }
}

impl fmt::Display for PackVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{}", self.name(), self.year, self.number)
    }
}

impl fmt::Debug for PackVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PackVersion({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::PackVersion;

    #[test]
    fn a_version_has_one_spelling_and_an_order() {
        let version = |text: &str| text.parse::<PackVersion>().expect("a version");
        for text in ["cn-2026.1", "generic-2030.65535", "eu-2026.12"] {
            assert_eq!(version(text).to_string(), text);
        }
        assert_eq!(version("cn-2026.1").name(), "cn");
        assert!(version("cn-2026.2") < version("cn-2026.10"));
        assert!(version("cn-2026.10") < version("cn-2027.1"));
        assert!(version("cn-2026.2").replaces(&version("cn-2026.1")));
        assert!(version("in-2026.1").replaces(&version("generic-2027.1")));
        assert!(!version("cn-2026.1").replaces(&version("cn-2026.1")));
        assert!(!version("cn-2026.9").replaces(&version("cn-2026.10")));
        for text in [
            "",
            "cn",
            "cn-",
            "cn-2026",
            "cn-2026.",
            "cn-2026.0",
            "cn-2026.01",
            "CN-2026.1",
            "-2026.1",
            "cn-1999.1",
            "cn-2026.+1",
            "cn-2026.65536",
            "cn-2026.1.1",
            "a-very-long-name-2026.1",
            "averylongname-2026.1",
            "c\0-2026.1",
        ] {
            assert!(text.parse::<PackVersion>().is_err(), "{text}");
        }
    }
}
