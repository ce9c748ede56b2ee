//! Signatures of 2025 data units: verified against the public key registered for the vehicle, and made for
//! the simulator.
//!
//! A signature covers the data unit from its time on, so neither VIN nor command: which vehicle's key to hold
//! it against is the caller's decision.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sm2::dsa::signature::{Signer as _, Verifier as _};
use sm2::pkcs8::DecodePublicKey;

use super::frame::encode_with;
use super::list::Element;
use super::{Header, Realtime, Signature, SignatureAlgorithm, TooLong};

/// The user id that SM2 signatures are made with unless both sides agree on another (GB/T 35276).
pub const SM2_USER_ID: &str = "1234567812345678";

/// What became of a signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignatureCheck {
    /// It holds under the vehicle's key.
    Verified,
    /// It does not, or the key is of another algorithm.
    Invalid,
    /// No key is registered for the vehicle.
    NoKey,
    /// The data carry no signature.
    Absent,
    /// The algorithm is none of the standard's.
    UnknownAlgorithm,
}

/// A vehicle's public key, from SPKI PEM.
#[derive(Clone)]
pub struct PublicKey(Key);

#[derive(Clone)]
enum Key {
    /// The SPKI document.
    Rsa(Vec<u8>),
    /// The uncompressed point.
    P256(Vec<u8>),
    Sm2(Box<sm2::dsa::VerifyingKey>),
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.algorithm().name().unwrap_or("unknown"))
    }
}

/// A text that is no public key that signatures can be held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a public key of RSA (2048 bits or more), P-256 or SM2 in PEM with the line BEGIN PUBLIC KEY")]
pub struct InvalidPublicKey;

/// Object identifiers as DER content: rsaEncryption, id-ecPublicKey, prime256v1, sm2p256v1.
const OID_RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const OID_EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const OID_P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const OID_SM2: &[u8] = &[0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d];

impl PublicKey {
    /// Reads a key from SPKI PEM (`-----BEGIN PUBLIC KEY-----`).
    pub fn from_pem(pem: &str) -> Result<Self, InvalidPublicKey> {
        let body = pem
            .split_once("-----BEGIN PUBLIC KEY-----")
            .and_then(|(_, rest)| rest.split_once("-----END PUBLIC KEY-----"))
            .ok_or(InvalidPublicKey)?
            .0;
        let compact: String = body.split_whitespace().collect();
        let der = STANDARD.decode(compact).map_err(|_| InvalidPublicKey)?;
        Self::from_der(&der)
    }

    /// Reads a key from SPKI DER.
    pub fn from_der(der: &[u8]) -> Result<Self, InvalidPublicKey> {
        let spki = der_value(&mut { der }, 0x30).ok_or(InvalidPublicKey)?;
        let mut fields = spki;
        let mut algorithm = der_value(&mut fields, 0x30).ok_or(InvalidPublicKey)?;
        let kind = der_value(&mut algorithm, 0x06).ok_or(InvalidPublicKey)?;
        let curve = der_value(&mut algorithm, 0x06);
        let key = match (kind, curve) {
            (OID_RSA, _) => {
                aws_lc_rs::signature::ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
                    .map_err(|_| InvalidPublicKey)?;
                Key::Rsa(der.to_vec())
            }
            (OID_EC, Some(OID_P256)) => {
                aws_lc_rs::signature::ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der)
                    .map_err(|_| InvalidPublicKey)?;
                Key::P256(der.to_vec())
            }
            (OID_EC, Some(OID_SM2)) => {
                let key = sm2::PublicKey::from_public_key_der(der).map_err(|_| InvalidPublicKey)?;
                let key = sm2::dsa::VerifyingKey::new(SM2_USER_ID, key).map_err(|_| InvalidPublicKey)?;
                Key::Sm2(Box::new(key))
            }
            _ => return Err(InvalidPublicKey),
        };
        Ok(Self(key))
    }

    /// Which algorithm the key is for.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match self.0 {
            Key::Rsa(_) => SignatureAlgorithm::RSA,
            Key::P256(_) => SignatureAlgorithm::ECC,
            Key::Sm2(_) => SignatureAlgorithm::SM2,
        }
    }

    fn holds(&self, signed: &[u8], signature: &Signature<'_>) -> bool {
        match (&self.0, signature.algorithm) {
            (Key::Rsa(der), SignatureAlgorithm::RSA) => {
                signature.s.is_empty()
                    && UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
                        .verify(signed, signature.r)
                        .is_ok()
            }
            (Key::P256(der), SignatureAlgorithm::ECC) => fixed_pair(signature).is_some_and(|pair| {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der).verify(signed, &pair).is_ok()
            }),
            (Key::Sm2(key), SignatureAlgorithm::SM2) => fixed_pair(signature)
                .and_then(|pair| sm2::dsa::Signature::from_slice(&pair).ok())
                .is_some_and(|signature| key.verify(signed, &signature).is_ok()),
            _ => false,
        }
    }
}

/// Holds a data unit's signature against the key registered for the vehicle.
pub fn verify(signed: &[u8], signature: Option<&Signature<'_>>, key: Option<&PublicKey>) -> SignatureCheck {
    let Some(signature) = signature else { return SignatureCheck::Absent };
    if signature.algorithm.name().is_none() {
        return SignatureCheck::UnknownAlgorithm;
    }
    match key {
        None => SignatureCheck::NoKey,
        Some(key) if key.holds(signed, signature) => SignatureCheck::Verified,
        Some(_) => SignatureCheck::Invalid,
    }
}

/// R and S as 32 bytes each; leading zeros that a sender adds (DER integers) or leaves out are made up for.
fn fixed_pair(signature: &Signature<'_>) -> Option<[u8; 64]> {
    let mut pair = [0; 64];
    let (r, s) = pair.split_at_mut(32);
    for (place, number) in [(r, signature.r), (s, signature.s)] {
        let first = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
        let digits = &number[first..];
        let start = place.len().checked_sub(digits.len())?;
        place[start..].copy_from_slice(digits);
    }
    Some(pair)
}

/// The content of the next DER value with this tag, lengths up to 65535.
fn der_value<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&found, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), &rest[1..]),
        0x82 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), &rest[2..]),
        _ => return None,
    };
    let value = rest.get(..length).filter(|_| found == tag)?;
    *input = &rest[length..];
    Some(value)
}

/// A private key of a simulated vehicle.
pub struct Signer(SignerKey);

enum SignerKey {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    Sm2(Box<sm2::dsa::SigningKey>),
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(hidden)")
    }
}

impl Signer {
    /// RSA, from PKCS #8 DER.
    pub fn rsa(pkcs8: &[u8]) -> Option<Self> {
        RsaKeyPair::from_pkcs8(pkcs8).ok().map(|key| Self(SignerKey::Rsa(Box::new(key))))
    }

    /// P-256, from PKCS #8 DER.
    pub fn p256(pkcs8: &[u8]) -> Option<Self> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
        Some(Self(SignerKey::P256(Box::new(key))))
    }

    /// SM2, from the 32 bytes of its private number (1 to the group's order less one).
    pub fn sm2(secret: &[u8; 32]) -> Option<Self> {
        let key = sm2::dsa::SigningKey::from_slice(SM2_USER_ID, secret).ok()?;
        Some(Self(SignerKey::Sm2(Box::new(key))))
    }

    /// The public half as SPKI PEM, as the registry takes it.
    pub fn public_key_pem(&self) -> String {
        let der = match &self.0 {
            SignerKey::Rsa(key) => {
                let pkcs1 = key.public_key().as_ref();
                spki(&[&[0x06, OID_RSA.len() as u8], OID_RSA, &[0x05, 0x00]].concat(), pkcs1)
            }
            SignerKey::P256(key) => spki(&ec_algorithm(OID_P256), key.public_key().as_ref()),
            SignerKey::Sm2(key) => spki(&ec_algorithm(OID_SM2), &key.verifying_key().to_sec1_bytes()),
        };
        let text = STANDARD.encode(der);
        let lines: Vec<&str> =
            (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
    }

    /// Signs and gives algorithm, R and S.
    pub fn sign(&self, signed: &[u8]) -> (SignatureAlgorithm, Vec<u8>, Vec<u8>) {
        match &self.0 {
            SignerKey::Rsa(key) => {
                let mut r = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut r)
                    .expect("the buffer is as long as the modulus");
                (SignatureAlgorithm::RSA, r, Vec::new())
            }
            SignerKey::P256(key) => {
                let pair = key.sign(&SystemRandom::new(), signed).expect("a P-256 key signs anything");
                let (r, s) = pair.as_ref().split_at(32);
                (SignatureAlgorithm::ECC, r.to_vec(), s.to_vec())
            }
            SignerKey::Sm2(key) => {
                let pair = key.sign(signed).to_bytes();
                let (r, s) = pair.split_at(32);
                (SignatureAlgorithm::SM2, r.to_vec(), s.to_vec())
            }
        }
    }

    /// Appends a whole frame of realtime data with its signature; the one that `realtime` carries is not
    /// looked at.
    pub fn encode_signed(
        &self,
        header: &Header,
        realtime: &Realtime<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), TooLong> {
        encode_with(header, out, |out| {
            let start = out.len();
            let unsigned = Realtime { signature: None, ..*realtime };
            unsigned.write(header.edition, out)?;
            let (algorithm, r, s) = self.sign(&out[start..]);
            out.push(super::layout::SIGNATURE_START);
            Signature { algorithm, r: &r, s: &s }.write(header.edition, out)
        })
    }
}

fn ec_algorithm(curve: &[u8]) -> Vec<u8> {
    [&[0x06, OID_EC.len() as u8], OID_EC, &[0x06, curve.len() as u8], curve].concat()
}

/// An SPKI document of an algorithm's content and a public key.
fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = [&[0], key].concat();
    let body = [der_of(0x30, algorithm), der_of(0x03, &bits)].concat();
    der_of(0x30, &body)
}

fn der_of(tag: u8, content: &[u8]) -> Vec<u8> {
    let [high, low] = (content.len() as u16).to_be_bytes();
    let length = match content.len() {
        0..=0x7f => vec![low],
        0x80..=0xff => vec![0x81, low],
        _ => vec![0x82, high, low],
    };
    [&[tag], length.as_slice(), content].concat()
}
