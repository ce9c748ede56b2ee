//! One cell of the column `frame`: compressed, then sealed under the vehicle's key.
//!
//! Sealed are a byte that says how the rest is stored, and the rest. Nonce and associated data are not stored: both follow from
//! the row and the file, so that a cell moved to another row, file or center does not open.

use std::collections::HashMap;

use aws_lc_rs::aead::{Aad, LessSafeKey, NONCE_LEN, Nonce};
use aws_lc_rs::digest::{SHA256, digest};
use model::{CenterName, GatewayName, KeyPeriod, Sequence, VehicleId};

use crate::{Error, Keyring};

/// The rest is the frame as it is.
const STORED_RAW: u8 = 0;
/// The rest is one zstd frame that tells its content's size.
const STORED_ZSTD: u8 = 1;

/// zstd level: at the size of a frame higher ones cost more and save next to nothing.
const ZSTD_LEVEL: i32 = 1;

/// The longest frame that a cell may claim to hold; the journal takes none that is longer.
pub(super) const FRAME_BYTES_MAX: usize = 64 << 20;

/// Longest associated data: a length byte, a center name of 32, vehicle, period, sequence.
const AAD_BYTES_MAX: usize = 1 + 32 + VEHICLE_BYTES + 4 + 8;
const VEHICLE_BYTES: usize = 17;

/// Ciphers kept for one file, about 20 MiB of them. A segment rarely has more vehicles; an import of records has, each of them once.
const CIPHERS_MAX: usize = 32_768;

/// What is the same for all cells of a file, and the ciphers of the vehicles seen in it.
pub(super) struct Ciphers<'a> {
    keyring: &'a Keyring,
    /// Center, then room for vehicle, period and sequence.
    aad: [u8; AAD_BYTES_MAX],
    aad_fixed: usize,
    nonce_prefix: [u8; 4],
    /// `None` for a key that was destroyed.
    ciphers: HashMap<(VehicleId, KeyPeriod), Option<LessSafeKey>>,
}

impl<'a> Ciphers<'a> {
    pub(super) fn new(center: &CenterName, gateway: &GatewayName, keyring: &'a Keyring) -> Self {
        let mut aad = [0; AAD_BYTES_MAX];
        let name = center.as_str().as_bytes();
        aad[0] = u8::try_from(name.len()).expect("a center name has at most 32 characters");
        aad[1..=name.len()].copy_from_slice(name);
        let hash = digest(&SHA256, gateway.as_str().as_bytes());
        let nonce_prefix = hash.as_ref()[..4].try_into().expect("SHA-256 has 32 bytes");
        Self { keyring, aad, aad_fixed: 1 + name.len(), nonce_prefix, ciphers: HashMap::new() }
    }

    /// The vehicle's cipher; `None` where its key was destroyed.
    fn cipher(&mut self, vehicle: VehicleId, period: KeyPeriod) -> Result<Option<&LessSafeKey>, Error> {
        if !self.ciphers.contains_key(&(vehicle, period)) {
            let cipher = match self.keyring.key(vehicle, period) {
                Ok(key) => Some(key.frame_cipher()),
                Err(Error::KeyMissing { .. }) => None,
                Err(error) => return Err(error),
            };
            if self.ciphers.len() >= CIPHERS_MAX {
                self.ciphers.clear();
            }
            self.ciphers.insert((vehicle, period), cipher);
        }
        Ok(self.ciphers.get(&(vehicle, period)).and_then(Option::as_ref))
    }

    fn aad(&self, vehicle: VehicleId, period: KeyPeriod, sequence: Sequence) -> ([u8; AAD_BYTES_MAX], usize) {
        let mut aad = self.aad;
        let mut end = self.aad_fixed;
        for part in [vehicle.as_bytes().as_slice(), &period.0.to_le_bytes(), &sequence.0.to_le_bytes()] {
            aad[end..end + part.len()].copy_from_slice(part);
            end += part.len();
        }
        (aad, end)
    }

    fn nonce(&self, sequence: Sequence) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[..4].copy_from_slice(&self.nonce_prefix);
        nonce[4..].copy_from_slice(&sequence.0.to_le_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

/// Makes cells; its buffers and its zstd context are reused.
pub(super) struct Sealer<'a> {
    ciphers: Ciphers<'a>,
    zstd: zstd::bulk::Compressor<'static>,
    cell: Vec<u8>,
    compressed: Vec<u8>,
}

impl<'a> Sealer<'a> {
    pub(super) fn new(ciphers: Ciphers<'a>) -> Self {
        let zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("zstd has level 1");
        Self { ciphers, zstd, cell: Vec::new(), compressed: Vec::new() }
    }

    /// The cell of a frame; empty where the vehicle's key was destroyed.
    pub(super) fn seal(
        &mut self,
        vehicle: VehicleId,
        period: KeyPeriod,
        sequence: Sequence,
        frame: &[u8],
    ) -> Result<&[u8], Error> {
        self.cell.clear();
        let (aad, aad_bytes) = self.ciphers.aad(vehicle, period, sequence);
        let nonce = self.ciphers.nonce(sequence);
        let Some(cipher) = self.ciphers.cipher(vehicle, period)? else { return Ok(&[]) };
        self.compressed.clear();
        self.compressed.reserve(zstd::zstd_safe::compress_bound(frame.len()));
        let compressed = self.zstd.compress_to_buffer(frame, &mut self.compressed);
        // What does not get smaller, or what zstd declines, is stored as it is.
        if compressed.is_ok_and(|bytes| bytes < frame.len()) {
            self.cell.push(STORED_ZSTD);
            self.cell.extend_from_slice(&self.compressed);
        } else {
            self.cell.push(STORED_RAW);
            self.cell.extend_from_slice(frame);
        }
        cipher
            .seal_in_place_append_tag(nonce, Aad::from(&aad[..aad_bytes]), &mut self.cell)
            .expect("a frame is within AES-GCM's length limit");
        Ok(&self.cell)
    }
}

/// Opens cells; its buffers and its zstd context are reused.
pub(super) struct Opener<'a> {
    ciphers: Ciphers<'a>,
    zstd: zstd::bulk::Decompressor<'static>,
    cell: Vec<u8>,
    frame: Vec<u8>,
}

impl<'a> Opener<'a> {
    pub(super) fn new(ciphers: Ciphers<'a>) -> Self {
        let zstd = zstd::bulk::Decompressor::new().expect("zstd opens without a dictionary");
        Self { ciphers, zstd, cell: Vec::new(), frame: Vec::new() }
    }

    /// The frame of a cell; `None` where the key was destroyed. The error says which rule the cell breaks.
    pub(super) fn open(
        &mut self,
        vehicle: VehicleId,
        period: KeyPeriod,
        sequence: Sequence,
        cell: &[u8],
    ) -> Result<Option<&[u8]>, CellError> {
        if cell.is_empty() {
            return Ok(None);
        }
        let (aad, aad_bytes) = self.ciphers.aad(vehicle, period, sequence);
        let nonce = self.ciphers.nonce(sequence);
        let Some(cipher) = self.ciphers.cipher(vehicle, period).map_err(CellError::Key)? else {
            return Ok(None);
        };
        self.cell.clear();
        self.cell.extend_from_slice(cell);
        let plain = cipher
            .open_in_place(nonce, Aad::from(&aad[..aad_bytes]), &mut self.cell)
            .map_err(|_| CellError::Rule("the frame does not open under its vehicle's key"))?;
        match plain.split_first() {
            Some((&STORED_RAW, frame)) => {
                self.frame.clear();
                self.frame.extend_from_slice(frame);
            }
            Some((&STORED_ZSTD, compressed)) => decompress(&mut self.zstd, compressed, &mut self.frame)?,
            _ => return Err(CellError::Rule("the frame is stored in an unknown way")),
        }
        Ok(Some(&self.frame))
    }
}

/// Why a cell did not open.
pub(super) enum CellError {
    /// The key can't be had now.
    Key(Error),
    /// The cell breaks this rule.
    Rule(&'static str),
}

fn decompress(
    zstd: &mut zstd::bulk::Decompressor<'static>,
    compressed: &[u8],
    frame: &mut Vec<u8>,
) -> Result<(), CellError> {
    let bytes = zstd::zstd_safe::get_frame_content_size(compressed)
        .ok()
        .flatten()
        .and_then(|bytes| usize::try_from(bytes).ok())
        .filter(|&bytes| bytes <= FRAME_BYTES_MAX)
        .ok_or(CellError::Rule("the compressed frame does not tell a possible size"))?;
    frame.clear();
    frame.reserve(bytes);
    zstd.decompress_to_buffer(compressed, frame)
        .map_err(|_| CellError::Rule("the compressed frame does not decompress"))?;
    Ok(())
}
