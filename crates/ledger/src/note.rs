//! Signed notes (c2sp.org/signed-note).

use crate::Error;

/// The kind of a signature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignatureType {
    /// 0x01: Ed25519 over the text.
    Ed25519,
    /// 0x04: Ed25519 over the text and a time.
    CosignatureV1,
    /// Any other; carried along and never verified.
    Other(u8),
}

/// A text with signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note;

/// One signature line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteSignature;

/// A public key with its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey;

/// A private key with its name.
#[derive(Clone)]
pub struct SigningKey;

impl SigningKey {
    /// The key of a seed.
    pub fn from_seed(_name: &str, _kind: SignatureType, _seed: &[u8; 32]) -> Result<Self, Error> {
        unimplemented!()
    }
    /// Reads `PRIVATE+KEY+…`.
    pub fn parse(_text: &str) -> Result<Self, Error> {
        unimplemented!()
    }
    /// The public half.
    pub fn verifier(&self) -> VerifierKey {
        unimplemented!()
    }
    /// Signs a text (which ends with a newline) and gives the whole note.
    pub fn sign(&self, _text: &str) -> Result<Note, Error> {
        unimplemented!()
    }
}

impl VerifierKey {
    /// Reads a vkey.
    pub fn parse(_vkey: &str) -> Result<Self, Error> {
        unimplemented!()
    }
}
