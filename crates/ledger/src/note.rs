//! Signed notes (c2sp.org/signed-note): a text, an empty line, and lines with signatures.
//!
//! A verifier ignores signatures of keys that it doesn't know, so that signatures of other kinds (ML-DSA, SM2) can stand beside
//! Ed25519. A signature of a key that it knows must hold, or the whole note is refused.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::{Error, cosignature};

/// Bytes of the longest note that is read.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;
/// Signatures on a note; the specification asks for at least 16.
pub const SIGNATURES_MAX: usize = 64;
/// Bytes of a key's name.
pub const NAME_BYTES_MAX: usize = 255;

/// What a signature line begins with: an em dash and a space.
const SIGNATURE_START: &str = "\u{2014} ";
const PRIVATE_START: &str = "PRIVATE+KEY+";

/// The kind of a key and its signatures: the byte before the public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SignatureType {
    /// 0x01: Ed25519 over the text.
    Ed25519,
    /// 0x04: Ed25519 over the text and a time (c2sp.org/tlog-cosignature).
    CosignatureV1,
    /// Any other, such as 0x06 for ML-DSA-44 or a national algorithm: carried along and never verified.
    Other(u8),
}

impl SignatureType {
    /// The kind of a byte.
    pub fn from_byte(byte: u8) -> Self {
        match byte {
            0x01 => Self::Ed25519,
            0x04 => Self::CosignatureV1,
            other => Self::Other(other),
        }
    }

    /// Its byte.
    pub fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
            Self::Other(other) => other,
        }
    }
}

/// A text with signatures; none of them is verified yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteSignature {
    name: String,
    id: u32,
    bytes: Vec<u8>,
}

/// A public key with its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifierKey {
    name: String,
    id: u32,
    kind: SignatureType,
    public: Public,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Public {
    Ed25519(VerifyingKey),
    Opaque(Vec<u8>),
}

/// A private key with its name. Its `Debug` hides it.
#[derive(Clone)]
pub struct SigningKey {
    verifier: VerifierKey,
    private: ed25519_dalek::SigningKey,
}

impl Note {
    /// An unsigned note. The text ends with a newline and has no other control characters.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        check_text(&text)?;
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Reads a note.
    pub fn parse(note: &str) -> Result<Self, Error> {
        if note.len() > NOTE_BYTES_MAX {
            return Err(malformed(format!("more than {NOTE_BYTES_MAX} bytes")));
        }
        let split = note.rfind("\n\n").ok_or_else(|| malformed("no empty line before the signatures"))?;
        let (text, signatures) = (&note[..=split], &note[split + 2..]);
        check_text(text)?;
        Ok(Self { text: text.to_owned(), signatures: parse_signatures(signatures)? })
    }

    /// The text that is signed, with its last newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines in their order.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a signature; an earlier one of the same key goes.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), Error> {
        let other = |known: &NoteSignature| known.name != signature.name || known.id != signature.id;
        self.signatures.retain(other);
        if self.signatures.len() >= SIGNATURES_MAX {
            return Err(malformed(format!("more than {SIGNATURES_MAX} signatures")));
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// What the signatures of these keys say, in the order of the keys; nothing for a key that has not signed.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Vec<Verified>, Error> {
        let found: Result<Vec<_>, Error> = keys.iter().map(|key| self.verified_by(key)).collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// What a key's signature on this note says: `None` where there is none of that key.
    pub fn verified_by(&self, key: &VerifierKey) -> Result<Option<Verified>, Error> {
        let mut found = None;
        for signature in self.signatures.iter().filter(|signature| signature.is_of(key)) {
            let verified = key.verify(&self.text, signature)?;
            found = found.or(verified);
        }
        Ok(found)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

/// That a signature holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Since when, in seconds since 1970; only a cosignature says so.
    pub time: Option<u64>,
}

/// Reads signature lines, each with its newline; at least one.
pub fn parse_signatures(lines: &str) -> Result<Vec<NoteSignature>, Error> {
    let mut signatures = Vec::new();
    let lines = lines.strip_suffix('\n').ok_or_else(|| malformed("the last signature has no newline"))?;
    for line in lines.split('\n') {
        if signatures.len() == SIGNATURES_MAX {
            return Err(malformed(format!("more than {SIGNATURES_MAX} signatures")));
        }
        signatures.push(NoteSignature::parse(line)?);
    }
    Ok(signatures)
}

impl NoteSignature {
    pub(crate) fn new(key: &VerifierKey, bytes: Vec<u8>) -> Self {
        Self { name: key.name.clone(), id: key.id, bytes }
    }

    /// Reads a line, without its newline.
    pub fn parse(line: &str) -> Result<Self, Error> {
        let rest = line.strip_prefix(SIGNATURE_START);
        let (name, encoded) =
            rest.and_then(|rest| rest.split_once(' ')).ok_or_else(|| malformed("not a signature line"))?;
        check_name(name)?;
        let bytes = decode(encoded).ok_or_else(|| malformed("a signature is not base64"))?;
        match bytes.split_first_chunk::<4>() {
            Some((id, bytes)) if !bytes.is_empty() => {
                Ok(Self { name: name.to_owned(), id: u32::from_be_bytes(*id), bytes: bytes.to_vec() })
            }
            _ => Err(malformed("a signature is too short")),
        }
    }

    /// The signer's name; a claim.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id; a claim.
    pub fn key_id(&self) -> u32 {
        self.id
    }

    /// The signature behind the key's id.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn is_of(&self, key: &VerifierKey) -> bool {
        self.id == key.id && self.name == key.name
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&self.id.to_be_bytes(), self.bytes.as_slice()].concat();
        write!(f, "{SIGNATURE_START}{} {}", self.name, STANDARD.encode(bytes))
    }
}

impl VerifierKey {
    fn new(name: &str, kind: SignatureType, public: Public) -> Result<Self, Error> {
        check_name(name)?;
        let bytes: &[u8] = match &public {
            Public::Ed25519(key) => key.as_bytes(),
            Public::Opaque(bytes) => bytes,
        };
        let id = key_id(name, kind, bytes);
        Ok(Self { name: name.to_owned(), id, kind, public })
    }

    /// Reads a vkey: `<name>+<id, 8 hex digits>+<base64 of the kind and the key>`.
    pub fn parse(vkey: &str) -> Result<Self, Error> {
        let (name, id, kind, bytes) = parse_key(vkey, "a vkey")?;
        let public = match kind {
            SignatureType::Other(_) => Public::Opaque(bytes),
            SignatureType::Ed25519 | SignatureType::CosignatureV1 => {
                let key =
                    bytes.as_slice().try_into().ok().and_then(|bytes| VerifyingKey::from_bytes(bytes).ok());
                Public::Ed25519(key.ok_or_else(|| Error::malformed("a vkey", "not an Ed25519 key"))?)
            }
        };
        let key = Self::new(name, kind, public)?;
        if key.id == id { Ok(key) } else { Err(Error::malformed("a vkey", "its id is not that of its key")) }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What kind of signatures it makes.
    pub fn kind(&self) -> SignatureType {
        self.kind
    }

    /// The same key in the role of a cosigner, as [`SigningKey::as_cosigner`].
    pub fn as_cosigner(&self) -> Self {
        let kind = SignatureType::CosignatureV1;
        let id = match &self.public {
            Public::Ed25519(key) => key_id(&self.name, kind, key.as_bytes()),
            // A key of an unknown kind signs nothing that this program verifies, in whatever role.
            Public::Opaque(_) => return self.clone(),
        };
        Self { id, kind, ..self.clone() }
    }

    /// Whether another key is the same under another name or in another role.
    pub(crate) fn has_same_public(&self, other: &Self) -> bool {
        self.public == other.public
    }

    /// Verifies one of its signatures on a text. `None` where this program does not know the kind of signature.
    fn verify(&self, text: &str, signature: &NoteSignature) -> Result<Option<Verified>, Error> {
        let bad = || Error::BadSignature { name: self.name.clone() };
        let Public::Ed25519(key) = &self.public else { return Ok(None) };
        let (time, bytes) = match self.kind {
            SignatureType::CosignatureV1 => {
                let (time, bytes) = cosignature::split(&signature.bytes).ok_or_else(bad)?;
                (Some(time), bytes)
            }
            _ => (None, signature.bytes.as_slice()),
        };
        let bytes = bytes.try_into().map_err(|_| bad())?;
        let message = time.map_or_else(|| text.as_bytes().to_vec(), |time| cosignature::message(time, text));
        key.verify_strict(&message, &Signature::from_bytes(bytes)).map_err(|_| bad())?;
        Ok(Some(Verified { time }))
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match &self.public {
            Public::Ed25519(key) => key.as_bytes(),
            Public::Opaque(bytes) => bytes,
        };
        let bytes = [&[self.kind.byte()], bytes].concat();
        write!(f, "{}+{:08x}+{}", self.name, self.id, STANDARD.encode(bytes))
    }
}

impl SigningKey {
    /// The key of a seed of 32 random bytes. Each role needs a seed of its own.
    pub fn from_seed(name: &str, kind: SignatureType, seed: &[u8; 32]) -> Result<Self, Error> {
        if matches!(kind, SignatureType::Other(_)) {
            return Err(Error::malformed("a private key", "of a kind that this program can't sign with"));
        }
        let private = ed25519_dalek::SigningKey::from_bytes(seed);
        let verifier = VerifierKey::new(name, kind, Public::Ed25519(private.verifying_key()))?;
        Ok(Self { verifier, private })
    }

    /// Reads `PRIVATE+KEY+<name>+<id, 8 hex digits>+<base64 of the kind and the seed>`; a newline may follow.
    pub fn parse(text: &str) -> Result<Self, Error> {
        const WHAT: &str = "a private key";
        let text = text.strip_suffix('\n').unwrap_or(text);
        let rest = text.strip_prefix(PRIVATE_START);
        let rest = rest.ok_or_else(|| Error::malformed(WHAT, "it does not begin with PRIVATE+KEY+"))?;
        let (name, id, kind, seed) = parse_key(rest, WHAT)?;
        let seed =
            seed.as_slice().try_into().map_err(|_| Error::malformed(WHAT, "its seed has not 32 bytes"))?;
        let key = Self::from_seed(name, kind, seed)?;
        if key.verifier.id == id {
            Ok(key)
        } else {
            Err(Error::malformed(WHAT, "its id is not that of its key"))
        }
    }

    /// Its text, which [`SigningKey::parse`] reads. Who has it can sign.
    pub fn to_text(&self) -> String {
        let bytes = [&[self.verifier.kind.byte()], self.private.as_bytes().as_slice()].concat();
        format!("{PRIVATE_START}{}+{:08x}+{}", self.name(), self.verifier.id, STANDARD.encode(bytes))
    }

    /// The same key in the role of a cosigner. A key file of a mirror or witness may say 0x01 as any other; its signatures say 0x04.
    pub fn as_cosigner(&self) -> Self {
        let kind = SignatureType::CosignatureV1;
        let id = key_id(&self.verifier.name, kind, self.private.verifying_key().as_bytes());
        Self { verifier: VerifierKey { id, kind, ..self.verifier.clone() }, private: self.private.clone() }
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.verifier.name
    }

    /// The public half.
    pub fn verifier(&self) -> VerifierKey {
        self.verifier.clone()
    }

    /// Signs a text and gives the whole note. Not for cosigners, who sign a time too.
    pub fn sign(&self, text: &str) -> Result<Note, Error> {
        if self.verifier.kind != SignatureType::Ed25519 {
            return Err(Error::malformed("a private key", "it cosigns and does not sign"));
        }
        let mut note = Note::new(text)?;
        note.add(NoteSignature::new(&self.verifier, self.sign_bytes(text.as_bytes()).to_vec()))?;
        Ok(note)
    }

    pub(crate) fn sign_bytes(&self, message: &[u8]) -> [u8; 64] {
        self.private.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("verifier", &self.verifier).finish_non_exhaustive()
    }
}

fn malformed(why: impl Into<String>) -> Error {
    Error::malformed("a signed note", why)
}

/// Base64 as the formats want it: standard alphabet, padded, no stray bits.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

fn key_id(name: &str, kind: SignatureType, key: &[u8]) -> u32 {
    let digest =
        Sha256::new().chain_update(name).chain_update([b'\n', kind.byte()]).chain_update(key).finalize();
    let mut id = [0; 4];
    id.copy_from_slice(&digest[..4]);
    u32::from_be_bytes(id)
}

fn check_name(name: &str) -> Result<(), Error> {
    let is_good = |letter: char| !letter.is_whitespace() && !letter.is_control() && letter != '+';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_good) {
        return Err(Error::malformed("a key's name", "empty, too long, or with a space or a plus"));
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), Error> {
    if !text.ends_with('\n') {
        return Err(malformed("the text does not end with a newline"));
    }
    match text.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        true => Err(malformed("the text has control characters")),
        false => Ok(()),
    }
}

/// The parts of `<name>+<id>+<base64>`.
fn parse_key<'a>(text: &'a str, what: &'static str) -> Result<(&'a str, u32, SignatureType, Vec<u8>), Error> {
    let shape = || Error::malformed(what, "not <name>+<8 hex digits>+<base64>");
    let (name, rest) = text.split_once('+').ok_or_else(shape)?;
    let (id, key) = rest.split_once('+').ok_or_else(shape)?;
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if id.len() != 8 || !id.bytes().all(is_hex) || key.len() > NOTE_BYTES_MAX {
        return Err(shape());
    }
    let id = u32::from_str_radix(id, 16).map_err(|_| shape())?;
    let bytes = decode(key).ok_or_else(shape)?;
    let (kind, bytes) = bytes.split_first().ok_or_else(shape)?;
    Ok((name, id, SignatureType::from_byte(*kind), bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::{Note, SignatureType, SigningKey, Verified, VerifierKey};
    use crate::Error;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const TEXT: &str = "This is an example message.\n";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    fn key(seed: u8, kind: SignatureType) -> SigningKey {
        SigningKey::from_seed(&format!("key-{seed}"), kind, &[seed; 32]).expect("a key")
    }

    #[test]
    fn the_published_vector_holds() {
        let key = VerifierKey::parse(VKEY).expect("a vkey");
        assert_eq!((key.to_string().as_str(), key.name(), key.id()), (VKEY, "example.com/foo", 0x530d_903a));
        let note = Note::parse(NOTE).expect("a note");
        assert_eq!((note.text(), note.to_string().as_str()), (TEXT, NOTE));
        assert_eq!(note.verified_by(&key).expect("it holds"), Some(Verified { time: None }));
        let changed = Note::parse(&NOTE.replace("example m", "examplE m")).expect("a note");
        assert!(matches!(changed.verified_by(&key), Err(Error::BadSignature { .. })));
    }

    #[test]
    fn private_keys_come_back_and_hide_themselves() {
        let signer = key(7, SignatureType::Ed25519);
        let text = signer.to_text();
        assert!(text.starts_with("PRIVATE+KEY+key-7+"));
        let again = SigningKey::parse(&format!("{text}\n")).expect("a key");
        assert_eq!((again.verifier(), again.to_text()), (signer.verifier(), text.clone()));
        for end in 0..text.len() {
            assert!(SigningKey::parse(&text[..end]).is_err(), "{end}");
        }
        let secret = text.rsplit('+').next().expect("a last part");
        assert!(!format!("{signer:?}").contains(secret));
        let cosigner = signer.as_cosigner().verifier();
        assert_ne!(cosigner.id(), signer.verifier().id());
        assert_eq!(VerifierKey::parse(&cosigner.to_string()).expect("a vkey"), cosigner);
        assert!(signer.as_cosigner().sign(TEXT).is_err());
    }

    #[test]
    fn unknown_signatures_are_ignored_and_known_ones_must_hold() {
        let (known, other) = (key(1, SignatureType::Ed25519), key(2, SignatureType::Ed25519));
        let mut note = known.sign(TEXT).expect("a note");
        let stranger = other.sign(TEXT).expect("a note").signatures()[0].clone();
        note.add(stranger.clone()).expect("room");
        note.add(stranger).expect("it takes the earlier one's place");
        let quantum = VerifierKey::parse("pq+00000000+BgEC").map(|key| key.id());
        assert!(quantum.is_err(), "an id that is not the key's");
        assert_eq!(note.signatures().len(), 2);
        let note = Note::parse(&note.to_string()).expect("a note");
        assert!(note.verified_by(&known.verifier()).expect("it holds").is_some());
        let keys = [key(3, SignatureType::Ed25519).verifier(), known.verifier(), other.verifier()];
        assert_eq!(note.verify(&keys).expect("they hold").len(), 2);
        assert!(note.verified_by(&key(3, SignatureType::Ed25519).verifier()).expect("none of it").is_none());
        // A second line of the known key that does not hold refuses the note.
        let bad = known.sign("another\n").expect("a note").signatures()[0].to_string();
        let note = Note::parse(&format!("{note}{bad}\n")).expect("a note");
        assert!(matches!(note.verified_by(&known.verifier()), Err(Error::BadSignature { .. })));
    }

    #[test]
    fn hostile_notes_are_refused() {
        let whole = NOTE;
        for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
            assert!(Note::parse(&whole[..end]).is_err(), "{end}");
        }
        let line = whole.lines().last().expect("a line");
        let many = format!("{TEXT}\n{}", format!("{line}\n").repeat(65));
        let long = format!("{}\n{line}\n", "a".repeat(super::NOTE_BYTES_MAX));
        for bad in [
            "",
            "\n\n",
            "a\n\n\n",
            &format!("a\tb\n\n{line}\n"),
            &format!("{TEXT}\n{line}"),
            &format!("{TEXT}{line}\n"),
            &format!("{TEXT}\n- x AAAAAAA=\n"),
            &format!("{TEXT}\n\u{2014} a+b Uw2QOkn8srU=\n"),
            &format!("{TEXT}\n\u{2014}  Uw2QOkn8srU=\n"),
            &format!("{TEXT}\n\u{2014} x Uw2QOg==\n"),
            &format!("{TEXT}\n\u{2014} x Uw2QOkn8srV=\n"),
            &many,
            &long,
        ] {
            assert!(Note::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hostile_vkeys_are_refused() {
        for end in 0..VKEY.len() {
            assert!(VerifierKey::parse(&VKEY[..end]).is_err(), "{end}");
        }
        for bad in
            ["++", "a+530d903a+", "+530d903a+AQ==", "a b+530d903a+AQ==", "a+530D903A+AQ==", "a+é30d90+AQ=="]
        {
            assert!(VerifierKey::parse(bad).is_err(), "{bad}");
        }
        assert!(VerifierKey::parse(&VKEY.replace("foo", "bar")).is_err());
    }
}
