//! AES-128 over data units (encryption kind 03). The standard names the cipher and neither its mode nor its
//! padding, so both are settings; ECB with PKCS #7 is what most terminals do.

use std::collections::HashMap;
use std::fmt;

use aes::Aes128;
use aes::cipher::block_padding::{NoPadding, Pkcs7, ZeroPadding};
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyInit, KeyIvInit};

use super::frame::{encode_with, read_unit};
use super::{Encryption, Header, TooLong, Undecipherable, Unit};

/// Bytes of an AES block.
const BLOCK_BYTES: usize = 16;

/// How blocks are chained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Mode {
    /// Each block by itself.
    #[default]
    Ecb,
    /// Cipher block chaining from a fixed start vector.
    Cbc {
        /// The start vector.
        iv: [u8; BLOCK_BYTES],
    },
}

/// How the last block is filled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Padding {
    /// PKCS #7.
    #[default]
    Pkcs7,
    /// Zero bytes, none where the text fills its blocks; how many were added is found by what gives a whole
    /// data unit.
    Zero,
    /// None: the text has to fill its blocks.
    None,
}

/// A key with how it is used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cipher {
    /// The AES-128 key.
    pub key: [u8; 16],
    /// How blocks are chained.
    pub mode: Mode,
    /// How the last block is filled.
    pub padding: Padding,
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher").field("padding", &self.padding).finish_non_exhaustive()
    }
}

/// The keys that the settings give: of single vehicles, and of platforms, which use one key for all vehicles
/// that they forward.
#[derive(Clone, Default)]
pub struct Keys {
    vehicles: HashMap<[u8; 17], Vec<Cipher>>,
    platforms: Vec<Cipher>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("vehicles", &self.vehicles.len())
            .field("platforms", &self.platforms.len())
            .finish()
    }
}

impl Keys {
    /// No keys: every encrypted frame is refused.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a vehicle's key; older ones stay in use for what is resent.
    pub fn insert_vehicle(&mut self, vin: [u8; 17], cipher: Cipher) {
        self.vehicles.entry(vin).or_default().push(cipher);
    }

    /// Adds a platform's key. It is tried for each vehicle that has none of its own.
    pub fn insert_platform(&mut self, cipher: Cipher) {
        self.platforms.push(cipher);
    }

    /// The keys to try for a VIN, in order.
    pub fn candidates(&self, vin: &[u8; 17]) -> &[Cipher] {
        self.vehicles.get(vin).map_or(&self.platforms, Vec::as_slice)
    }
}

/// The data unit in plain text: the frame's own bytes where it is not encrypted, else the text that the first
/// fitting key gives, in `plain`. A key fits when its padding holds and a whole data unit comes out.
pub fn open<'a>(
    header: &Header,
    unit: &'a [u8],
    keys: &Keys,
    plain: &'a mut Vec<u8>,
) -> Result<&'a [u8], Undecipherable> {
    // Heartbeats, time calibrations and answers to heartbeats have nothing to encrypt, whatever the header
    // says.
    if header.encryption == Encryption::NONE || unit.is_empty() {
        return Ok(unit);
    }
    if header.encryption != Encryption::AES128 {
        return Err(Undecipherable::Kind(header.encryption.0));
    }
    let candidates = keys.candidates(&header.vin);
    if candidates.is_empty() {
        return Err(Undecipherable::NoKey);
    }
    let fits = |cipher: &&Cipher| open_with(cipher, header, unit, plain).is_ok();
    let cipher = candidates.iter().find(fits).ok_or(Undecipherable::WrongKey)?;
    open_with(cipher, header, unit, plain)
}

/// Opens a data unit with one key.
pub(super) fn open_with<'a>(
    cipher: &Cipher,
    header: &Header,
    unit: &[u8],
    plain: &'a mut Vec<u8>,
) -> Result<&'a [u8], Undecipherable> {
    plain.clear();
    plain.extend_from_slice(unit);
    let key = &cipher.key.into();
    let length = match (cipher.mode, cipher.padding) {
        (Mode::Ecb, Padding::Pkcs7) => {
            ecb::Decryptor::<Aes128>::new(key).decrypt_padded::<Pkcs7>(plain).map(<[u8]>::len)
        }
        (Mode::Ecb, Padding::Zero | Padding::None) => {
            ecb::Decryptor::<Aes128>::new(key).decrypt_padded::<NoPadding>(plain).map(<[u8]>::len)
        }
        (Mode::Cbc { iv }, Padding::Pkcs7) => {
            cbc::Decryptor::<Aes128>::new(key, &iv.into()).decrypt_padded::<Pkcs7>(plain).map(<[u8]>::len)
        }
        (Mode::Cbc { iv }, Padding::Zero | Padding::None) => {
            cbc::Decryptor::<Aes128>::new(key, &iv.into()).decrypt_padded::<NoPadding>(plain).map(<[u8]>::len)
        }
    }
    .map_err(|_| Undecipherable::WrongKey)?;
    let zeros_max = match cipher.padding {
        Padding::Zero => {
            plain[..length].iter().rev().take(BLOCK_BYTES - 1).take_while(|byte| **byte == 0).count()
        }
        Padding::Pkcs7 | Padding::None => 0,
    };
    // A data unit may itself end in zero bytes: the shortest text that is a whole data unit is the one.
    (length - zeros_max..=length)
        .find(|length| read_unit(header, &plain[..*length]).is_ok())
        .map(|length| &plain[..length])
        .ok_or(Undecipherable::WrongKey)
}

/// Appends a whole frame with its data unit encrypted; the header's encryption is set to AES-128.
pub fn encode_sealed(
    header: &Header,
    unit: &Unit<'_>,
    cipher: &Cipher,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let header = Header { encryption: Encryption::AES128, ..*header };
    let mut plain = Vec::new();
    unit.write(header.edition, &mut plain)?;
    encode_with(&header, out, |out| {
        out.extend_from_slice(&seal(cipher, &plain)?);
        Ok(())
    })
}

/// Encrypts a data unit. Without padding its length has to be a multiple of 16.
pub fn seal(cipher: &Cipher, plain: &[u8]) -> Result<Vec<u8>, TooLong> {
    let length = plain.len();
    let mut sealed = plain.to_vec();
    sealed.resize(length + BLOCK_BYTES, 0);
    let key = &cipher.key.into();
    let ecb = || ecb::Encryptor::<Aes128>::new(key);
    let text = match (cipher.mode, cipher.padding) {
        (Mode::Ecb, Padding::Pkcs7) => ecb().encrypt_padded::<Pkcs7>(&mut sealed, length),
        (Mode::Ecb, Padding::Zero) => ecb().encrypt_padded::<ZeroPadding>(&mut sealed, length),
        (Mode::Ecb, Padding::None) => ecb().encrypt_padded::<NoPadding>(&mut sealed, length),
        (Mode::Cbc { iv }, padding) => {
            let cbc = cbc::Encryptor::<Aes128>::new(key, &iv.into());
            match padding {
                Padding::Pkcs7 => cbc.encrypt_padded::<Pkcs7>(&mut sealed, length),
                Padding::Zero => cbc.encrypt_padded::<ZeroPadding>(&mut sealed, length),
                Padding::None => cbc.encrypt_padded::<NoPadding>(&mut sealed, length),
            }
        }
    };
    let filled = text.map(<[u8]>::len).map_err(|_| TooLong {
        what: "text that does not fill its last block, without padding,",
        length,
        length_max: length / BLOCK_BYTES * BLOCK_BYTES,
    })?;
    sealed.truncate(filled);
    Ok(sealed)
}
