//! Offline proofs (c2sp.org/tlog-proof@v1): an entry's index, the hashes that lead from it to the root, and the signed checkpoint.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{parse_hash, parse_size};
use crate::note::{NOTE_BYTES_MAX, decode};
use crate::tree::{PROOF_HASHES_MAX, verify_inclusion};
use crate::{Error, Hash, SignedCheckpoint, VerifierKey, hash};

/// The first line.
const HEADER: &str = "c2sp.org/tlog-proof@v1";
/// The longest file: what travels with it included.
pub const PROOF_BYTES_MAX: usize = NOTE_BYTES_MAX * 2;

/// An entry's proof, with the checkpoint that it leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlogProof {
    /// What travels with it; not authenticated.
    pub extra: Option<Vec<u8>>,
    /// The entry's index.
    pub index: u64,
    /// The siblings, the leaf's first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl TlogProof {
    /// Its text.
    pub fn encode(&self) -> String {
        let mut text = format!("{HEADER}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&format!("extra {}\n", STANDARD.encode(extra)));
        }
        text.push_str(&format!("index {}\n", self.index));
        for hash in &self.hashes {
            text.push_str(&format!("{}\n", STANDARD.encode(hash)));
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::malformed("a proof", why);
        if text.len() > PROOF_BYTES_MAX {
            return Err(bad("it is longer than any proof"));
        }
        let (head, checkpoint) =
            text.split_once("\n\n").ok_or_else(|| bad("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(bad("it does not begin with `c2sp.org/tlog-proof@v1`"));
        }
        let extra = lines.next_if(|line| line.starts_with("extra "));
        let extra =
            extra.map(|line| decode(&line["extra ".len()..]).ok_or_else(|| bad("`extra` is no base64")));
        let index = lines.next().and_then(|line| line.strip_prefix("index ")).and_then(parse_size);
        let index = index.ok_or_else(|| bad("no line `index` with a plain number"))?;
        let hashes: Vec<Hash> = lines
            .map(|line| parse_hash(line).ok_or_else(|| bad("a line is no hash in base64")))
            .collect::<Result<_, _>>()?;
        if hashes.len() > PROOF_HASHES_MAX {
            return Err(bad("it has more hashes than a tree can be high"));
        }
        if checkpoint.is_empty() {
            return Err(bad("it has no checkpoint"));
        }
        Ok(Self { extra: extra.transpose()?, index, hashes, checkpoint: checkpoint.to_owned() })
    }

    /// Verifies it for an entry; the checkpoint is the log's.
    pub fn verify(&self, entry: &[u8], key: &VerifierKey) -> Result<SignedCheckpoint, Error> {
        let checkpoint = SignedCheckpoint::open(&self.checkpoint, key)?;
        let leaf = hash::leaf(entry);
        verify_inclusion(self.index, checkpoint.size(), &leaf, &self.hashes, &checkpoint.root())?;
        Ok(checkpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::TlogProof;
    use crate::{Checkpoint, Error, SignatureType, SignedCheckpoint, SigningKey, hash};

    fn proof(extra: Option<&[u8]>) -> (TlogProof, SigningKey) {
        let key = SigningKey::from_seed("log", SignatureType::Ed25519, &[1; 32]).expect("a key");
        let (a, b) = (hash::leaf(b"a"), hash::leaf(b"b"));
        let checkpoint = Checkpoint::new("log", 2, hash::node(&a, &b));
        let checkpoint = SignedCheckpoint::sign(checkpoint, &key).expect("signed").note().to_owned();
        (TlogProof { extra: extra.map(<[u8]>::to_vec), index: 1, hashes: vec![a], checkpoint }, key)
    }

    #[test]
    fn a_proof_comes_back_and_holds_for_its_entry_alone() {
        for extra in [None, Some(b"opening".as_slice()), Some(b"".as_slice())] {
            let (proof, key) = proof(extra);
            let text = proof.encode();
            assert_eq!(TlogProof::parse(&text).expect("a proof"), proof);
            assert_eq!(proof.verify(b"b", &key.verifier()).expect("it holds").size(), 2);
            assert!(matches!(proof.verify(b"a", &key.verifier()), Err(Error::BadProof { .. })));
            let moved = TlogProof { index: 0, ..proof.clone() };
            assert!(matches!(moved.verify(b"b", &key.verifier()), Err(Error::BadProof { .. })));
            let outside = TlogProof { index: 2, ..proof };
            assert!(outside.verify(b"b", &key.verifier()).is_err());
        }
    }

    #[test]
    fn no_part_of_a_proof_is_one() {
        let (proof, key) = proof(Some(b"x"));
        let text = proof.encode();
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            let read = TlogProof::parse(&text[..end]).and_then(|proof| proof.verify(b"b", &key.verifier()));
            assert!(read.is_err(), "{end} bytes");
        }
        for wrong in ["index 01", "index +1", "index", "Index 1"] {
            assert!(TlogProof::parse(&text.replace("index 1", wrong)).is_err(), "{wrong}");
        }
    }
}
