//! Cosignatures (c2sp.org/tlog-cosignature, version 1): that a tree head was, at a time, the largest consistent one that the cosigner saw.

use crate::note::Verified;
use crate::{Error, Note, NoteSignature, SignatureType, SigningKey, VerifierKey};

/// The largest time that the format has: what fits in 63 bits.
const TIME_MAX: u64 = i64::MAX as u64;

/// What is signed: a header, the time in seconds since 1970, and the note's whole text.
pub fn message(time: u64, text: &str) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// Cosigns a note's text at a time.
pub fn sign(key: &SigningKey, time: u64, text: &str) -> Result<NoteSignature, Error> {
    let verifier = key.verifier();
    if verifier.kind() != SignatureType::CosignatureV1 {
        return Err(Error::malformed("a private key", "it signs and does not cosign"));
    }
    if time > TIME_MAX {
        return Err(Error::malformed("a cosignature", "its time is too large"));
    }
    let signature = key.sign_bytes(&message(time, text));
    Ok(NoteSignature::new(&verifier, [time.to_be_bytes().as_slice(), &signature].concat()))
}

/// When a cosigner signed a note: `None` where it has not.
pub fn verify(key: &VerifierKey, note: &Note) -> Result<Option<u64>, Error> {
    if key.kind() != SignatureType::CosignatureV1 {
        return Err(Error::malformed("a vkey", format!("{} does not cosign", key.name())));
    }
    Ok(note.verified_by(key)?.and_then(|Verified { time }| time))
}

/// The time and the signature of a signature's bytes.
pub(crate) fn split(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (time, signature) = bytes.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    (time <= TIME_MAX).then_some((time, signature))
}

#[cfg(test)]
mod tests {
    use super::{sign, split, verify};
    use crate::{Error, Note, NoteSignature, SignatureType, SigningKey};

    #[test]
    fn a_cosignature_says_when_and_holds_for_its_text_only() {
        let key = SigningKey::from_seed("w", SignatureType::CosignatureV1, &[1; 32]).expect("a key");
        let mut note = Note::new("log\n5\nroot\n").expect("a text");
        assert_eq!(verify(&key.verifier(), &note).expect("none"), None);
        let signature = sign(&key, 1_700_000_000, note.text()).expect("a time");
        assert_eq!(signature.bytes().len(), 72);
        note.add(signature.clone()).expect("room");
        assert_eq!(verify(&key.verifier(), &note).expect("it holds"), Some(1_700_000_000));
        for place in 0..72 {
            let mut bytes = signature.bytes().to_vec();
            bytes[place] ^= 1;
            note.add(NoteSignature::new(&key.verifier(), bytes)).expect("room");
            assert!(matches!(verify(&key.verifier(), &note), Err(Error::BadSignature { .. })), "{place}");
        }
        for end in 0..72 {
            note.add(NoteSignature::new(&key.verifier(), signature.bytes()[..end].to_vec())).expect("room");
            assert!(verify(&key.verifier(), &note).is_err(), "{end}");
        }
        assert!(sign(&key, u64::MAX, note.text()).is_err() && split(&[0xff; 72]).is_none());
        let signer = SigningKey::from_seed("w", SignatureType::Ed25519, &[1; 32]).expect("a key");
        assert!(sign(&signer, 1, note.text()).is_err() && verify(&signer.verifier(), &note).is_err());
    }
}
