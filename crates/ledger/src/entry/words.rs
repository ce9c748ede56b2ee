//! What entries are made of: small types whose texts can't be anything.
//!
//! An entry can never be taken back, so none has room for free text: what is written is a number, a name of an object, a word that
//! stands in the source of this program, or 32 bytes of a commitment.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use model::{UtcMicros, VehicleId, Vin};
use sha2::Sha256;

/// Longest word.
const WORD_BYTES_MAX: usize = 32;
/// Longest label.
const LABEL_BYTES_MAX: usize = 32;
/// Longest object name. The longest that `store::Names` makes is a third of it.
const OBJECT_NAME_BYTES_MAX: usize = 512;
/// What an opening is hashed before: so that a commitment is never a hash of anything else under the same key.
const COMMITMENT_DOMAIN: &[u8] = b"domicile/commitment/v1\n";

/// A rule that a text of an entry breaks; without the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Rule(pub(crate) &'static str);

/// A UTC minute: as fine as entries tell the time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Minute(i64);

impl Minute {
    const MICROS: i64 = 60 * UtcMicros::PER_SECOND;

    /// The minute that an instant lies in.
    pub const fn of(instant: UtcMicros) -> Self {
        Self(instant.0.div_euclid(Self::MICROS))
    }

    /// Its start.
    pub const fn start(self) -> UtcMicros {
        UtcMicros(self.0.saturating_mul(Self::MICROS))
    }

    /// The start of the next one: what was entered in this one had come to pass by then.
    pub const fn end(self) -> UtcMicros {
        UtcMicros(self.0.saturating_add(1).saturating_mul(Self::MICROS))
    }
}

/// `2026-11-24T20:10Z`.
impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, _) = self.start().civil();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}Z")
    }
}

impl FromStr for Minute {
    type Err = Rule;

    fn from_str(text: &str) -> Result<Self, Rule> {
        const RULE: Rule = Rule("a time is written YYYY-MM-DDTHH:MMZ, in UTC");
        let bytes = text.as_bytes();
        let shape = b"dddd-dd-ddTdd:ddZ";
        let fits =
            |(&byte, &want): (&u8, &u8)| if want == b'd' { byte.is_ascii_digit() } else { byte == want };
        if bytes.len() != shape.len() || !bytes.iter().zip(shape).all(fits) {
            return Err(RULE);
        }
        let number =
            |from: usize, to: usize| bytes[from..to].iter().fold(0_u16, |n, b| n * 10 + u16::from(b - b'0'));
        let part = |from: usize| number(from, from + 2) as u8;
        UtcMicros::from_civil(i32::from(number(0, 4)), part(5), part(8), part(11), part(14), 0)
            .map(Self::of)
            .ok_or(RULE)
    }
}

/// A word of this program's own: 1 to 32 characters of a-z, 0-9, `-` and `_`, the first a letter.
///
/// It is made from a text that stands in the source, so nothing that comes from outside can become one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Word(Cow<'static, str>);

impl Word {
    /// The word.
    ///
    /// # Panics
    ///
    /// Where the text is no word: a mistake in the source.
    pub const fn of(text: &'static str) -> Self {
        assert!(
            is_word(text.as_bytes()),
            "a word is 1 to 32 characters of a-z, 0-9, - and _, the first a letter"
        );
        Self(Cow::Borrowed(text))
    }

    /// The word as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const fn is_word(bytes: &[u8]) -> bool {
    if bytes.is_empty() || bytes.len() > WORD_BYTES_MAX || !bytes[0].is_ascii_lowercase() {
        return false;
    }
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if !(byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_') {
            return false;
        }
        at += 1;
    }
    true
}

impl FromStr for Word {
    type Err = Rule;

    fn from_str(text: &str) -> Result<Self, Rule> {
        const RULE: Rule = Rule("a word is 1 to 32 characters of a-z, 0-9, - and _, the first a letter");
        if is_word(text.as_bytes()) { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(RULE) }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A version of a country pack or the name of a table: 1 to 32 characters of a-z, A-Z, 0-9, `.`, `-`, `_` and `+`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Label(String);

impl Label {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = Rule;

    fn from_str(text: &str) -> Result<Self, Rule> {
        const RULE: Rule = Rule(
            "a version or a table's name is 1 to 32 characters of a-z, A-Z, 0-9, ., -, _ and +, and no vehicle's",
        );
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
        let fits = !text.is_empty() && text.len() <= LABEL_BYTES_MAX && text.bytes().all(plain);
        if fits && !names_vehicle(text) { Ok(Self(text.to_owned())) } else { Err(RULE) }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of an object, as the store has it. No name that holds a VIN or a pseudonym is one: keys of vehicles are never entered.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectName(String);

impl ObjectName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as the store takes it.
    pub fn path(&self) -> object_store::path::Path {
        object_store::path::Path::parse(&self.0).expect("an object's name was checked when it was made")
    }
}

impl FromStr for ObjectName {
    type Err = Rule;

    fn from_str(text: &str) -> Result<Self, Rule> {
        const RULE: Rule =
            Rule("an object's name is 1 to 512 characters of a-z, A-Z, 0-9, ., -, _, +, =, % and /");
        const VEHICLE: Rule =
            Rule("the name of an object that is entered must not hold a VIN or a vehicle's pseudonym");
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+' | b'=' | b'%');
        let part_fits =
            |part: &str| !part.is_empty() && part != "." && part != ".." && part.bytes().all(plain);
        if text.len() > OBJECT_NAME_BYTES_MAX || !text.split('/').all(part_fits) {
            return Err(RULE);
        }
        if names_vehicle(text) { Err(VEHICLE) } else { Ok(Self(text.to_owned())) }
    }
}

impl TryFrom<&object_store::path::Path> for ObjectName {
    type Error = Rule;

    fn try_from(path: &object_store::path::Path) -> Result<Self, Rule> {
        path.as_ref().parse()
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a text has a part that is shaped like a VIN or like a pseudonym. The last guard, not the first: no caller means to
/// enter one. Numbers alone are no VIN here: object names are full of them.
fn names_vehicle(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| part.len() == Vin::LENGTH).any(|part| {
        let is_number = part.bytes().all(|b| b.is_ascii_digit());
        !is_number && (part.parse::<Vin>().is_ok() || part.parse::<VehicleId>().is_ok())
    })
}

/// The secret beside a commitment: who has it and the object can check the commitment; without it the commitment says nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Opening([u8; 32]);

impl Opening {
    /// An opening of these random bytes. Each serves one object.
    pub const fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// The text of the object that it is kept in: 64 hex digits and a newline.
    pub fn to_text(self) -> String {
        let mut text: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        text.push('\n');
        text
    }

    /// Reads what [`Opening::to_text`] wrote.
    pub fn parse(text: &[u8]) -> Result<Self, Rule> {
        const RULE: Rule = Rule("an opening is 64 hex digits of 0-9 and a-f, and a newline");
        let digits = text.strip_suffix(b"\n").filter(|digits| digits.len() == 64).ok_or(RULE)?;
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(RULE),
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }

    /// The commitment to an object's name and content.
    pub fn commit(&self, object: &str, content: &[u8]) -> Commitment {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(COMMITMENT_DOMAIN);
        mac.update(object.as_bytes());
        mac.update(b"\n");
        mac.update(content);
        Commitment(mac.finalize().into_bytes().into())
    }
}

/// Hides the secret.
impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opening(hidden)")
    }
}

/// What an entry says of an object's content: HMAC-SHA256 under the object's opening. In base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Commitment([u8; 32]);

impl FromStr for Commitment {
    type Err = Rule;

    fn from_str(text: &str) -> Result<Self, Rule> {
        bytes_of(text).map(Self).ok_or(Rule("a commitment is 32 bytes in base64"))
    }
}

/// Reads 32 bytes in base64.
fn bytes_of(text: &str) -> Option<[u8; 32]> {
    // The decoder asks for room for what the text's length could hold at most.
    let mut space = [0; 36];
    let length = STANDARD.decode_slice(text, &mut space).ok()?;
    space[..length].try_into().ok()
}

/// The root of a log's tree. In base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Root(pub crate::Hash);

impl FromStr for Root {
    type Err = Rule;

    fn from_str(text: &str) -> Result<Self, Rule> {
        bytes_of(text).map(Self).ok_or(Rule("a root is 32 bytes in base64"))
    }
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

/// A count that tells the size of a thing and not the thing: 0, 1, 2, 5, 10, 20, 50, … An exact count of one vehicle's tries would
/// be a pattern of that vehicle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct About(u64);

impl About {
    /// The count, rounded up to the next step.
    pub fn of(count: u64) -> Self {
        let mut decade = 1_u64;
        loop {
            for step in [1, 2, 5] {
                let Some(bucket) = decade.checked_mul(step) else { return Self(u64::MAX) };
                if count <= bucket {
                    return Self(if count == 0 { 0 } else { bucket });
                }
            }
            let Some(next) = decade.checked_mul(10) else { return Self(u64::MAX) };
            decade = next;
        }
    }

    /// The step.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl serde::Serialize for About {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for About {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let count = <u64 as serde::Deserialize>::deserialize(deserializer)?;
        let bucket = Self::of(count);
        if bucket.0 == count {
            Ok(bucket)
        } else {
            Err(serde::de::Error::custom("a count is rounded up to 1, 2, 5, 10, 20, 50, …"))
        }
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(TextVisitor(std::marker::PhantomData))
            }
        }
    )*};
}
as_text!(Word, Label, ObjectName, Commitment, Root);

/// Reads a type from a text, without a copy of it.
pub(super) struct TextVisitor<T>(pub(super) std::marker::PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> serde::de::Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use model::UtcMicros;

    use super::{About, Commitment, Label, Minute, ObjectName, Opening, Word};

    #[test]
    fn counts_are_rounded_up_to_one_two_and_five() {
        let about: Vec<u64> =
            [0, 1, 2, 3, 5, 6, 10, 11, 21, 51, 999, 1_001].map(|n| About::of(n).get()).to_vec();
        assert_eq!(about, [0, 1, 2, 5, 5, 10, 10, 20, 50, 100, 1_000, 2_000]);
        assert_eq!(About::of(u64::MAX).get(), u64::MAX);
    }

    #[test]
    fn minutes_are_read_as_they_are_written_and_not_otherwise() {
        let minute = Minute::of(UtcMicros::from_civil(2026, 11, 24, 20, 10, 59).expect("a time"));
        assert_eq!(minute.to_string(), "2026-11-24T20:10Z");
        assert_eq!("2026-11-24T20:10Z".parse(), Ok(minute));
        for wrong in
            ["2026-11-24T20:10:00Z", "2026-02-30T20:10Z", "2026-11-24 20:10Z", "", "2026-11-24T24:10Z"]
        {
            assert!(wrong.parse::<Minute>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn no_name_of_a_vehicle_is_a_name_here() {
        for wrong in [
            "c/keyring/vabcdefghijkmnpqr-0.key",
            "c/x/LSVAA49J832000001.json",
            "c//x",
            "/c",
            "c/../d",
            "c/a b",
            "",
        ] {
            assert!(wrong.parse::<ObjectName>().is_err(), "{wrong}");
        }
        assert!("c/batch/2026/11/24/20/gw-00000000000000000042.parquet".parse::<ObjectName>().is_ok());
        assert!("LSVAA49J832000001".parse::<Label>().is_err());
        assert!("cn-2026.1".parse::<Label>().is_ok());
        assert!("two words".parse::<Word>().is_err());
    }

    #[test]
    fn a_commitment_is_an_hmac_under_the_opening() {
        // printf 'domicile/commitment/v1\nc/x\nhello' | openssl dgst -sha256 -mac hmac -macopt hexkey:0101…01 -binary | base64
        let opening = Opening::new([1; 32]);
        let commitment = opening.commit("c/x", b"hello");
        assert_eq!(commitment.to_string(), "GJISaw9SuH0otN/mN3QPmTQXKUE5A49egq3ZT2Oq7lA=");
        assert_eq!(commitment.to_string().parse::<Commitment>(), Ok(commitment));
        assert_eq!(Opening::parse(opening.to_text().as_bytes()), Ok(opening));
        assert!(Opening::parse(&opening.to_text().as_bytes()[..64]).is_err());
        assert!(Opening::parse(opening.to_text().to_uppercase().replace('1', "A").as_bytes()).is_err());
        assert_ne!(Opening::new([2; 32]).commit("c/x", b"hello"), commitment);
        assert_ne!(opening.commit("c/y", b"hello"), commitment);
    }
}
