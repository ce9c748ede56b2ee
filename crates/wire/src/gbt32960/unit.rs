//! Data units: what stands between a frame's header and its check code, by command.

use super::error::malformed;
use super::items::Item;
use super::layout::{SIGNATURE_START, write_u16_counted};
use super::list::{CountWidth, Element, Octets};
use super::{Command, Edition, Encryption, Flag, Malformed, SignatureAlgorithm, TooLong, WireTime};
use crate::reader::Reader;

/// A data unit. Reading one checks all of it, so that walking its lists and items later cannot fail.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Unit<'a> {
    /// 01.
    Login(Login<'a>),
    /// 02 and 03.
    Realtime(Realtime<'a>),
    /// 04 and 06.
    Logout(Logout),
    /// 05.
    PlatformLogin(PlatformLogin),
    /// 09 (2025).
    Activation(Activation<'a>),
    /// 0A (2025).
    ActivationResponse(ActivationResponse),
    /// 0B (2025).
    KeyExchange(KeyExchange<'a>),
    /// 80, 81, 82: a time and what each maker and platform agree on.
    Downlink {
        /// When it was given.
        time: WireTime,
        /// Parameter numbers, values or a control, as bytes.
        body: &'a [u8],
    },
    /// An answer's time.
    Time(WireTime),
    /// Nothing: heartbeat, time calibration and the answer to a heartbeat.
    Empty,
    /// Reserved commands, platforms' own, and answers that carry more than a time.
    Opaque(&'a [u8]),
}

/// Vehicle login.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// When.
    pub time: WireTime,
    /// 1 to 65531, one more each login, starts again daily.
    pub serial: u16,
    /// The SIM card's number, 20 ASCII bytes.
    pub iccid: [u8; 20],
    /// The rechargeable energy storage.
    pub packs: LoginPacks<'a>,
}

/// How a login counts battery packs.
#[derive(Clone, Copy, Debug)]
pub enum LoginPacks<'a> {
    /// 2016: `count` codes of `code_bytes` bytes; a sentinel in either means no codes.
    V2016 {
        /// Rechargeable subsystems, 0 to 250.
        count: u8,
        /// Length of a code, 0 to 50.
        code_bytes: u8,
        /// All codes one behind the other.
        codes: &'a [u8],
    },
    /// 2025: packs of each battery management system, then a code of [`PACK_CODE_BYTES`] for each pack.
    V2025 {
        /// How many packs each system has.
        packs: Octets<'a>,
        /// All codes one behind the other.
        codes: &'a [u8],
    },
}

/// Length of a pack's code in 2025.
pub const PACK_CODE_BYTES: usize = 24;

/// Realtime or supplementary data.
#[derive(Clone, Copy, Debug)]
pub struct Realtime<'a> {
    /// When the data was collected.
    pub time: WireTime,
    /// The information items.
    pub items: Items<'a>,
    /// The signature, 2025.
    pub signature: Option<Signature<'a>>,
    /// What the signature covers: from the first byte of the time to the byte before 0xFF. Empty where the
    /// caller gave the items.
    pub signed: &'a [u8],
}

/// Information items, borrowed from a frame or from the caller.
#[derive(Clone, Copy, Debug)]
pub enum Items<'a> {
    /// From a frame.
    Wire {
        /// All of them one behind the other.
        bytes: &'a [u8],
        /// How they are laid out.
        edition: Edition,
    },
    /// The caller's own.
    Given(&'a [Item<'a>]),
}

/// A signature block (2025).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature<'a> {
    /// Which algorithm.
    pub algorithm: SignatureAlgorithm,
    /// R, or with RSA the whole signature.
    pub r: &'a [u8],
    /// S; empty with RSA.
    pub s: &'a [u8],
}

/// Vehicle or platform logout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Logout {
    /// When.
    pub time: WireTime,
    /// That of the login.
    pub serial: u16,
}

/// Platform login. It has no `Debug` of its own content: it holds a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PlatformLogin {
    /// When.
    pub time: WireTime,
    /// Number of the login.
    pub serial: u16,
    /// User name as it stands there: ASCII or GB 18030, padded with zero bytes.
    pub user: [u8; 12],
    /// Password, padded with zero bytes.
    pub password: [u8; 20],
    /// How data units will be encrypted.
    pub encryption: Encryption,
}

/// Activation of a security chip (2025).
#[derive(Clone, Copy, Debug)]
pub struct Activation<'a> {
    /// When.
    pub time: WireTime,
    /// The chip's id.
    pub chip: [u8; 16],
    /// Its public key.
    pub public_key: &'a [u8],
    /// The vehicle that it sits in.
    pub vin: [u8; 17],
    /// Signature over all that stands before it, with no 0xFF between.
    pub signature: Signature<'a>,
    /// What the signature covers. Empty where the caller gave the activation.
    pub signed: &'a [u8],
}

/// Response to an activation (2025).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActivationResponse {
    /// 1 done, 2 not done.
    pub result: u8,
    /// 1 done, 2 chip already used, 3 VIN duplicate.
    pub info: u8,
}

/// Exchange of a data unit's key (2025). It has no `Debug` of its own content: it holds a key.
#[derive(Clone, Copy)]
pub struct KeyExchange<'a> {
    /// What the key is for.
    pub encryption: Encryption,
    /// The key.
    pub key: &'a [u8],
    /// From when.
    pub start: WireTime,
    /// Until when.
    pub end: WireTime,
}

impl std::fmt::Debug for PlatformLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PlatformLogin").field("time", &self.time).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for KeyExchange<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyExchange").field("encryption", &self.encryption).finish_non_exhaustive()
    }
}

impl<'a> Unit<'a> {
    /// Reads a plain data unit. Offsets of errors count from its first byte.
    pub fn read(edition: Edition, command: Command, flag: Flag, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if flag != Flag::COMMAND {
            return Ok(answer(command, bytes));
        }
        let unit = match (edition, command) {
            (_, Command::LOGIN) => Self::Login(Login::read(&mut reader, edition)?),
            (_, Command::REALTIME | Command::SUPPLEMENTARY) => {
                Self::Realtime(Realtime::read(&mut reader, edition)?)
            }
            (_, Command::LOGOUT | Command::PLATFORM_LOGOUT) => {
                Self::Logout(Logout { time: read_time(&mut reader)?, serial: reader.u16()? })
            }
            (_, Command::PLATFORM_LOGIN) => Self::PlatformLogin(PlatformLogin::read(&mut reader)?),
            (Edition::V2025, Command::ACTIVATION) => {
                Self::Activation(Activation::read(&mut reader, edition)?)
            }
            (Edition::V2025, Command::ACTIVATION_RESPONSE) => {
                Self::ActivationResponse(ActivationResponse { result: reader.u8()?, info: reader.u8()? })
            }
            (Edition::V2025, Command::KEY_EXCHANGE) => Self::KeyExchange(KeyExchange::read(&mut reader)?),
            (_, Command::QUERY | Command::SET | Command::CONTROL) => {
                let time = read_time(&mut reader)?;
                Self::Downlink { time, body: reader.take(reader.left())? }
            }
            _ if bytes.is_empty() => Self::Empty,
            _ => return Ok(Self::Opaque(bytes)),
        };
        if reader.is_empty() {
            Ok(unit)
        } else {
            Err(malformed(reader.offset(), "the data unit goes on behind its last field"))
        }
    }

    /// Appends the plain data unit.
    pub fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        match self {
            Self::Login(login) => login.write(edition, out)?,
            Self::Realtime(realtime) => realtime.write(edition, out)?,
            Self::Logout(logout) => {
                out.extend_from_slice(&logout.time.0);
                out.extend_from_slice(&logout.serial.to_be_bytes());
            }
            Self::PlatformLogin(login) => {
                out.extend_from_slice(&login.time.0);
                out.extend_from_slice(&login.serial.to_be_bytes());
                out.extend_from_slice(&login.user);
                out.extend_from_slice(&login.password);
                out.push(login.encryption.0);
            }
            Self::Activation(activation) => {
                activation.write_signed(out)?;
                activation.signature.write(edition, out)?;
            }
            Self::ActivationResponse(response) => out.extend_from_slice(&[response.result, response.info]),
            Self::KeyExchange(exchange) => {
                out.push(exchange.encryption.0);
                write_u16_counted("key", exchange.key, out)?;
                out.extend_from_slice(&exchange.start.0);
                out.extend_from_slice(&exchange.end.0);
            }
            Self::Downlink { time, body } => {
                out.extend_from_slice(&time.0);
                out.extend_from_slice(body);
            }
            Self::Time(time) => out.extend_from_slice(&time.0),
            Self::Empty => {}
            Self::Opaque(bytes) => out.extend_from_slice(bytes),
        }
        Ok(())
    }

    /// The time that the unit carries, which an answer repeats.
    pub fn time(&self) -> Option<WireTime> {
        match self {
            Self::Login(login) => Some(login.time),
            Self::Realtime(realtime) => Some(realtime.time),
            Self::Logout(logout) => Some(logout.time),
            Self::PlatformLogin(login) => Some(login.time),
            Self::Activation(activation) => Some(activation.time),
            Self::Downlink { time, .. } | Self::Time(time) => Some(*time),
            Self::KeyExchange(exchange) => Some(exchange.start),
            Self::ActivationResponse(_) | Self::Empty | Self::Opaque(_) => None,
        }
    }
}

/// An answer's data unit: nothing, the time of the command, or (to a query) more than that.
fn answer(command: Command, bytes: &[u8]) -> Unit<'_> {
    match <[u8; 6]>::try_from(bytes) {
        _ if bytes.is_empty() => Unit::Empty,
        Ok(time) if command != Command::ACTIVATION_RESPONSE => Unit::Time(WireTime(time)),
        _ => Unit::Opaque(bytes),
    }
}

fn read_time(reader: &mut Reader<'_>) -> Result<WireTime, Malformed> {
    Ok(WireTime(*reader.take_array()?))
}

impl<'a> Login<'a> {
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        let time = read_time(reader)?;
        let serial = reader.u16()?;
        let iccid = *reader.take_array()?;
        let packs = match edition {
            Edition::V2016 => {
                let count = reader.u8()?;
                let code_bytes = reader.u8()?;
                let absent = count >= 0xfe || code_bytes >= 0xfe;
                let length = if absent { 0 } else { usize::from(count) * usize::from(code_bytes) };
                LoginPacks::V2016 { count, code_bytes, codes: reader.take(length)? }
            }
            Edition::V2025 => {
                let packs = Octets::read(reader, CountWidth::Byte)?;
                let total: usize = packs
                    .as_slice()
                    .iter()
                    .filter(|count| **count < 0xfe)
                    .map(|count| usize::from(*count))
                    .sum();
                LoginPacks::V2025 { packs, codes: reader.take(total * PACK_CODE_BYTES)? }
            }
        };
        Ok(Self { time, serial, iccid, packs })
    }

    fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.extend_from_slice(&self.time.0);
        out.extend_from_slice(&self.serial.to_be_bytes());
        out.extend_from_slice(&self.iccid);
        match (edition, &self.packs) {
            (Edition::V2016, LoginPacks::V2016 { count, code_bytes, codes }) => {
                out.extend_from_slice(&[*count, *code_bytes]);
                out.extend_from_slice(codes);
            }
            (Edition::V2025, LoginPacks::V2025 { packs, codes }) => {
                packs.write(CountWidth::Byte, out)?;
                out.extend_from_slice(codes);
            }
            // A login built for the other edition is written without packs.
            (Edition::V2016, LoginPacks::V2025 { .. }) => out.extend_from_slice(&[0, 0]),
            (Edition::V2025, LoginPacks::V2016 { .. }) => out.push(0),
        }
        Ok(())
    }

    /// The packs' codes, as bytes.
    pub fn codes(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (codes, length) = match self.packs {
            LoginPacks::V2016 { code_bytes, codes, .. } => (codes, usize::from(code_bytes)),
            LoginPacks::V2025 { codes, .. } => (codes, PACK_CODE_BYTES),
        };
        codes.chunks(length.max(1))
    }
}

impl<'a> Realtime<'a> {
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        let unit = reader.rest();
        let base = reader.offset();
        let time = read_time(reader)?;
        let items_start = reader.offset() - base;
        while let Some(kind) = reader.peek() {
            if edition == Edition::V2025 && kind == SIGNATURE_START {
                break;
            }
            Item::read(reader, edition)?;
        }
        let signed = &unit[..reader.offset() - base];
        let items = Items::Wire { bytes: &signed[items_start..], edition };
        let signature = if reader.is_empty() {
            None
        } else {
            reader.u8()?;
            Some(Signature::read(reader, edition)?)
        };
        Ok(Self { time, items, signature, signed })
    }

    pub(super) fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.extend_from_slice(&self.time.0);
        self.items.iter().try_for_each(|item| item.write(edition, out))?;
        match (edition, &self.signature) {
            (Edition::V2025, Some(signature)) => {
                out.push(SIGNATURE_START);
                signature.write(edition, out)
            }
            _ => Ok(()),
        }
    }
}

impl<'a> Items<'a> {
    /// The items in order.
    pub fn iter(&self) -> ItemsIter<'a> {
        match *self {
            Self::Wire { bytes, edition } => ItemsIter::Wire { reader: Reader::new(bytes), edition },
            Self::Given(items) => ItemsIter::Given(items.iter()),
        }
    }
}

impl<'a> IntoIterator for &Items<'a> {
    type Item = Item<'a>;
    type IntoIter = ItemsIter<'a>;

    fn into_iter(self) -> ItemsIter<'a> {
        self.iter()
    }
}

/// Walks [`Items`].
#[derive(Clone, Debug)]
pub enum ItemsIter<'a> {
    /// Read from a frame.
    Wire {
        /// Where the walk stands.
        reader: Reader<'a>,
        /// How items are laid out.
        edition: Edition,
    },
    /// The caller's own.
    Given(std::slice::Iter<'a, Item<'a>>),
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        match self {
            Self::Wire { reader, .. } if reader.is_empty() => None,
            Self::Wire { reader, edition } => Item::read(reader, *edition).ok(),
            Self::Given(items) => items.next().copied(),
        }
    }
}

impl PlatformLogin {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            time: read_time(reader)?,
            serial: reader.u16()?,
            user: *reader.take_array()?,
            password: *reader.take_array()?,
            encryption: Encryption(reader.u8()?),
        })
    }

    /// The user name without its padding of zero bytes and spaces.
    pub fn user(&self) -> &[u8] {
        without_padding(&self.user)
    }

    /// The password without its padding of zero bytes and spaces.
    pub fn password(&self) -> &[u8] {
        without_padding(&self.password)
    }
}

/// A field of fixed length without the zero bytes and spaces that fill it.
pub fn without_padding(field: &[u8]) -> &[u8] {
    let filled = field.iter().rposition(|byte| !matches!(byte, 0 | b' ')).map_or(0, |last| last + 1);
    &field[..filled]
}

impl<'a> Activation<'a> {
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        let unit = reader.rest();
        let base = reader.offset();
        let time = read_time(reader)?;
        let chip = *reader.take_array()?;
        let key_length = reader.u16()?;
        let public_key = reader.take(usize::from(key_length))?;
        let vin = *reader.take_array()?;
        let signed = &unit[..reader.offset() - base];
        let signature = Signature::read(reader, edition)?;
        Ok(Self { time, chip, public_key, vin, signature, signed })
    }

    /// Appends what the signature covers.
    pub fn write_signed(&self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.extend_from_slice(&self.time.0);
        out.extend_from_slice(&self.chip);
        write_u16_counted("public key", self.public_key, out)?;
        out.extend_from_slice(&self.vin);
        Ok(())
    }
}

impl<'a> KeyExchange<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let encryption = Encryption(reader.u8()?);
        let key_length = reader.u16()?;
        let key = reader.take(usize::from(key_length))?;
        Ok(Self { encryption, key, start: read_time(reader)?, end: read_time(reader)? })
    }
}
