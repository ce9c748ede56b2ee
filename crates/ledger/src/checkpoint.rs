//! Checkpoints (c2sp.org/tlog-checkpoint): origin, size and root of a log, as the text of a signed note.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::note::decode;
use crate::tree::SIZE_MAX;
use crate::{Error, Hash, Note, NoteSignature, SigningKey, VerifierKey, cosignature};

/// Lines beyond the three that every checkpoint has.
const EXTENSIONS_MAX: usize = 16;

/// The head of a log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The log.
    pub origin: String,
    /// Its entries.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// Further lines. Our logs have none; others' may.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// The checkpoint of a log.
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Self {
        Self { origin: origin.into(), size, root, extensions: Vec::new() }
    }

    /// Reads the text of a checkpoint.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::malformed("a checkpoint", why);
        let text = text.strip_suffix('\n').ok_or_else(|| bad("it does not end with a newline"))?;
        let mut lines = text.split('\n');
        let origin =
            lines.next().filter(|origin| !origin.is_empty()).ok_or_else(|| bad("it has no origin"))?;
        let size = lines.next().and_then(parse_size).ok_or_else(|| bad("its size is not a plain number"))?;
        let root =
            lines.next().and_then(parse_hash).ok_or_else(|| bad("its root is not a hash in base64"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.len() > EXTENSIONS_MAX || extensions.iter().any(String::is_empty) {
            return Err(bad("it has an empty line, or too many"));
        }
        Ok(Self { origin: origin.to_owned(), size, root, extensions })
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, STANDARD.encode(self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A size without sign, leading zeros or anything else.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_plain.then(|| text.parse().ok())?.filter(|size| *size <= SIZE_MAX)
}

pub(crate) fn parse_hash(text: &str) -> Option<Hash> {
    decode(text)?.try_into().ok()
}

/// A checkpoint on which the log's own signature was verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signed: Note,
    note: String,
}

impl SignedCheckpoint {
    /// Opens a signed checkpoint with the log's key; the key's name is the log's origin.
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, Error> {
        let signed = Note::parse(note)?;
        if signed.verified_by(key)?.is_none() {
            return Err(Error::NotSigned { name: key.name().to_owned() });
        }
        let checkpoint = Checkpoint::parse(signed.text())?;
        if checkpoint.origin != key.name() {
            let why = format!("it is one of {}, not of {}", checkpoint.origin, key.name());
            return Err(Error::malformed("a checkpoint", why));
        }
        Ok(Self { checkpoint, signed, note: note.to_owned() })
    }

    /// Signs a checkpoint. Only the sequencer may do so for a log that others rely on.
    pub fn sign(checkpoint: Checkpoint, key: &SigningKey) -> Result<Self, Error> {
        let signed = key.sign(&checkpoint.to_string())?;
        let note = signed.to_string();
        Ok(Self { checkpoint, signed, note })
    }

    /// Its content.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The log.
    pub fn origin(&self) -> &str {
        &self.checkpoint.origin
    }

    /// The log's entries.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The log's root.
    pub fn root(&self) -> Hash {
        self.checkpoint.root
    }

    /// The signed note.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// The text that is signed.
    pub fn text(&self) -> &str {
        self.signed.text()
    }

    /// All signature lines, verified or not.
    pub fn signatures(&self) -> &[NoteSignature] {
        self.signed.signatures()
    }

    /// When a cosigner signed it: `None` where it has not.
    pub fn cosigned_at(&self, key: &VerifierKey) -> Result<Option<u64>, Error> {
        cosignature::verify(key, &self.signed)
    }

    /// The same with a further signature; an earlier one of the same key goes.
    pub fn with(&self, signature: NoteSignature) -> Result<Self, Error> {
        let mut signed = self.signed.clone();
        signed.add(signature)?;
        let note = signed.to_string();
        Ok(Self { checkpoint: self.checkpoint.clone(), signed, note })
    }
}

#[cfg(test)]
mod tests {
    use super::{Checkpoint, SignedCheckpoint};
    use crate::{Error, SignatureType, SigningKey, hash};

    #[test]
    fn a_checkpoint_comes_back() {
        let checkpoint = Checkpoint::new("log.example/a", 70_000, hash::leaf(b"a"));
        let text = checkpoint.to_string();
        assert_eq!(Checkpoint::parse(&text).expect("a checkpoint"), checkpoint);
        for end in 0..text.len() {
            assert!(Checkpoint::parse(&text[..end]).is_err(), "{end}");
        }
        let extended = Checkpoint::parse(&format!("{text}more\n")).expect("a checkpoint");
        assert_eq!(
            (extended.extensions.as_slice(), extended.to_string()),
            (&["more".to_owned()][..], format!("{text}more\n"))
        );
    }

    #[test]
    fn nothing_but_the_plain_form_is_read() {
        let root = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        for size in [
            "",
            "00",
            "01",
            "+1",
            "-1",
            "1 ",
            " 1",
            "0x1",
            "1.0",
            "9223372036854775808",
            "99999999999999999999",
            "١",
        ] {
            assert!(Checkpoint::parse(&format!("o\n{size}\n{root}\n")).is_err(), "{size:?}");
        }
        for root in [
            "",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
            "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
            "AAAA",
            " 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ] {
            assert!(Checkpoint::parse(&format!("o\n1\n{root}\n")).is_err(), "{root:?}");
        }
        assert!(Checkpoint::parse(&format!("\n1\n{root}\n")).is_err());
        assert!(Checkpoint::parse(&format!("o\n1\n{root}\n\n")).is_err());
        assert!(Checkpoint::parse(&format!("o\n1\n{root}\n{}", "x\n".repeat(17))).is_err());
        Checkpoint::parse(&format!("o\n0\n{root}\n")).expect("the empty log");
    }

    #[test]
    fn only_the_logs_own_signature_opens_it() {
        let key = SigningKey::from_seed("log", SignatureType::Ed25519, &[1; 32]).expect("a key");
        let other = SigningKey::from_seed("other", SignatureType::Ed25519, &[2; 32]).expect("a key");
        let signed =
            SignedCheckpoint::sign(Checkpoint::new("log", 5, hash::leaf(b"a")), &key).expect("signed");
        assert_eq!(SignedCheckpoint::open(signed.note(), &key.verifier()).expect("it holds"), signed);
        assert!(matches!(
            SignedCheckpoint::open(signed.note(), &other.verifier()),
            Err(Error::NotSigned { .. })
        ));
        let forged = signed.note().replace("\n5\n", "\n6\n");
        assert!(matches!(SignedCheckpoint::open(&forged, &key.verifier()), Err(Error::BadSignature { .. })));
        let foreign =
            SignedCheckpoint::sign(Checkpoint::new("else", 5, hash::leaf(b"a")), &key).expect("signed");
        assert!(matches!(
            SignedCheckpoint::open(foreign.note(), &key.verifier()),
            Err(Error::Malformed { .. })
        ));
    }
}
