//! Witnesses (c2sp.org/tlog-witness): what a log asks of them, what their answers mean, how one judges a request, and the quorum.
//!
//! No IO: who sends the request, and who keeps what a witness has seen, is elsewhere. A witness must keep what [`judge`] lets through
//! before it answers, and no other request may come between.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::checkpoint::{parse_hash, parse_size};
use crate::note::{NOTE_BYTES_MAX, parse_signatures};
use crate::tree::{PROOF_HASHES_MAX, verify_consistency};
use crate::{Error, Hash, NoteSignature, SignatureType, SignedCheckpoint, VerifierKey};

/// The content type of the answer that says which size a witness has seen.
pub const SIZE_CONTENT_TYPE: &str = "text/x.tlog.size";

/// What a log asks: to cosign a checkpoint that follows the one that the witness has seen. The body of `add-checkpoint`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AddCheckpoint {
    /// The size that the witness has seen, as the log believes; 0 where it knows nothing.
    pub old: u64,
    /// That the old tree is a prefix of the new one.
    pub proof: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

impl AddCheckpoint {
    /// Reads the body of a request.
    pub fn parse(body: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::malformed("a request to cosign", why);
        if body.len() > NOTE_BYTES_MAX * 2 {
            return Err(bad("it is too long"));
        }
        let (head, checkpoint) = body.split_once("\n\n").ok_or_else(|| bad("it has no empty line"))?;
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")).and_then(parse_size);
        let old = old.ok_or_else(|| bad("no line `old` with a plain number"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == PROOF_HASHES_MAX {
                return Err(bad("it has more hashes than a proof can have"));
            }
            proof.push(parse_hash(line).ok_or_else(|| bad("a line is no hash in base64"))?);
        }
        Ok(Self { old, proof, checkpoint: checkpoint.to_owned() })
    }
}

impl fmt::Display for AddCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", STANDARD.encode(hash)))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// What a witness answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// 200: its cosignatures, which are to be verified.
    Cosigned(Vec<NoteSignature>),
    /// 409: it has seen a tree of this size; ask again from there.
    Seen(u64),
    /// 422: the proof does not lead from the tree that it has seen to this one. The log has two histories.
    Inconsistent,
    /// Any other: a fault of the log, of the witness's settings, or of the witness.
    Refused(&'static str),
}

impl Answer {
    /// Reads an answer's status, content type and body.
    pub fn parse(status: u16, content_type: Option<&str>, body: &str) -> Result<Self, Error> {
        const WHAT: &str = "a witness's answer";
        let refused = match status {
            200 if body.len() > NOTE_BYTES_MAX => return Err(Error::malformed(WHAT, "it is too long")),
            200 => return parse_signatures(body).map(Self::Cosigned),
            409 if content_type == Some(SIZE_CONTENT_TYPE) => {
                let size = body.strip_suffix('\n').and_then(parse_size);
                return size.map(Self::Seen).ok_or_else(|| Error::malformed(WHAT, "409 without a size"));
            }
            400 => "it can't read the request",
            403 => "it does not trust this log's key; give it the log's vkey",
            404 => "it does not know this log; register the log's origin and key with it",
            409 => "another checkpoint of this log came between",
            422 => return Ok(Self::Inconsistent),
            _ => "an error of the witness",
        };
        Ok(Self::Refused(refused))
    }
}

/// Why a witness does not cosign.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The request says something impossible.
    Malformed,
    /// The checkpoint is of another log.
    UnknownLog,
    /// The log's signature is not there or does not hold.
    NotSigned,
    /// The witness has seen a tree of this size, and the request goes on from another.
    Seen(u64),
    /// The new tree does not contain the one that was seen: a fork.
    Inconsistent,
}

impl Refusal {
    /// The status of the answer. (Version 1.0.0 says 409 for a second tree of the same size, later drafts say 422.)
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::NotSigned => 403,
            Self::UnknownLog => 404,
            Self::Seen(_) => 409,
            Self::Inconsistent => 422,
        }
    }
}

/// Judges a request as a witness that trusts the log's key and has seen a tree of it (`None`: none yet). The checkpoint is given where
/// it may be cosigned.
pub fn judge(
    request: &AddCheckpoint,
    log: &VerifierKey,
    seen: Option<(u64, Hash)>,
) -> Result<SignedCheckpoint, Refusal> {
    let origin = request.checkpoint.split('\n').next().unwrap_or_default();
    if origin != log.name() {
        return Err(Refusal::UnknownLog);
    }
    let next = SignedCheckpoint::open(&request.checkpoint, log).map_err(|error| match error {
        Error::NotSigned { .. } | Error::BadSignature { .. } => Refusal::NotSigned,
        _ => Refusal::Malformed,
    })?;
    if request.old > next.size() {
        return Err(Refusal::Malformed);
    }
    let (size, root) = seen.unwrap_or((0, crate::hash::empty()));
    if request.old != size {
        return Err(Refusal::Seen(size));
    }
    let verified = verify_consistency(size, root, next.size(), next.root(), &request.proof);
    verified.map(|()| next).map_err(|_| Refusal::Inconsistent)
}

/// The witnesses that a log counts on, and how many of them must have cosigned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quorum {
    witnesses: Vec<VerifierKey>,
    needed: usize,
}

/// That a witness has cosigned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosigned {
    /// The witness.
    pub name: String,
    /// When it did, in seconds since 1970, by its own clock.
    pub time: u64,
}

impl Quorum {
    /// A quorum of `needed` of these witnesses.
    pub fn new(witnesses: Vec<VerifierKey>, needed: usize) -> Result<Self, Error> {
        let bad = |why: String| Err(Error::malformed("a quorum", why));
        if let Some(key) = witnesses.iter().find(|key| key.kind() != SignatureType::CosignatureV1) {
            return bad(format!("the key of {} does not cosign: its vkey must be of kind 0x04", key.name()));
        }
        let is_twin = |(place, key): (usize, &VerifierKey)| {
            witnesses[..place].iter().any(|other| other.has_same_public(key) || other.name() == key.name())
        };
        if witnesses.iter().enumerate().any(is_twin) {
            return bad("two witnesses have one name or one key".to_owned());
        }
        if needed > witnesses.len() {
            return bad(format!("{needed} can't cosign where there are {} witnesses", witnesses.len()));
        }
        Ok(Self { witnesses, needed })
    }

    /// The witnesses.
    pub fn witnesses(&self) -> &[VerifierKey] {
        &self.witnesses
    }

    /// How many must have cosigned.
    pub fn needed(&self) -> usize {
        self.needed
    }

    /// Who has cosigned a checkpoint.
    ///
    /// # Errors
    /// [`Error::BadSignature`] where a cosignature of one of the witnesses does not hold.
    pub fn cosigned(&self, checkpoint: &SignedCheckpoint) -> Result<Vec<Cosigned>, Error> {
        let mut found = Vec::new();
        for key in &self.witnesses {
            if let Some(time) = checkpoint.cosigned_at(key)? {
                found.push(Cosigned { name: key.name().to_owned(), time });
            }
        }
        Ok(found)
    }

    /// Who has cosigned, where they are enough.
    ///
    /// # Errors
    /// [`Error::NoQuorum`], and those of [`Quorum::cosigned`].
    pub fn check(&self, checkpoint: &SignedCheckpoint) -> Result<Vec<Cosigned>, Error> {
        let found = self.cosigned(checkpoint)?;
        if found.len() < self.needed {
            return Err(Error::NoQuorum { found: found.len(), needed: self.needed });
        }
        Ok(found)
    }

    /// Adds a witness's cosignatures to a checkpoint. Those that are not of the quorum's witnesses are left out.
    ///
    /// # Errors
    /// [`Error::BadSignature`] where one of the witnesses gave a signature that does not hold; then none is added.
    pub fn add(
        &self,
        checkpoint: &SignedCheckpoint,
        given: &[NoteSignature],
    ) -> Result<SignedCheckpoint, Error> {
        let mut cosigned = checkpoint.clone();
        for signature in given {
            if self.witnesses.iter().any(|key| signature.is_of(key)) {
                cosigned = cosigned.with(signature.clone())?;
            }
        }
        self.cosigned(&cosigned)?;
        Ok(cosigned)
    }
}

#[cfg(test)]
mod tests {
    use super::{AddCheckpoint, Answer, Quorum, Refusal, judge};
    use crate::{Checkpoint, Error, Hash, SignatureType, SignedCheckpoint, SigningKey, cosignature, hash};

    fn key(name: &str, kind: SignatureType, seed: u8) -> SigningKey {
        SigningKey::from_seed(name, kind, &[seed; 32]).expect("a key")
    }

    fn log() -> SigningKey {
        key("log", SignatureType::Ed25519, 1)
    }

    fn witness(number: u8) -> SigningKey {
        key(&format!("w{number}"), SignatureType::CosignatureV1, 10 + number)
    }

    /// Checkpoints of the log of `a`, `b`, `c`, and of a fork of it.
    fn roots() -> [(u64, Hash); 4] {
        let [a, b, c, x] = [b"a", b"b", b"c", b"x"].map(|entry| hash::leaf(entry));
        [(1, a), (2, hash::node(&a, &b)), (3, hash::node(&hash::node(&a, &b), &c)), (2, hash::node(&a, &x))]
    }

    fn signed((size, root): (u64, Hash)) -> SignedCheckpoint {
        SignedCheckpoint::sign(Checkpoint::new("log", size, root), &log()).expect("signed")
    }

    fn request(old: u64, proof: Vec<Hash>, new: (u64, Hash)) -> AddCheckpoint {
        AddCheckpoint { old, proof, checkpoint: signed(new).note().to_owned() }
    }

    #[test]
    fn a_request_comes_back_and_no_part_of_it_is_judged_well() {
        let request = request(2, vec![hash::leaf(b"c")], roots()[2]);
        let body = request.to_string();
        assert!(body.starts_with("old 2\n") && body.contains("\n\nlog\n3\n"));
        assert_eq!(AddCheckpoint::parse(&body).expect("a request"), request);
        for end in (0..body.len()).filter(|end| body.is_char_boundary(*end)) {
            let part = AddCheckpoint::parse(&body[..end]).ok();
            assert!(
                part.is_none_or(|part| judge(&part, &log().verifier(), Some(roots()[1])).is_err()),
                "{end}"
            );
        }
        for bad in ["old 02\n\nx", "old -1\n\nx", "old 1\nAAAA\n\nx", "Old 1\n\nx", "old 1\n", "", "\n\n"] {
            assert!(AddCheckpoint::parse(bad).is_err(), "{bad:?}");
        }
        let many = format!("old 1\n{}\nx", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".repeat(64));
        assert!(AddCheckpoint::parse(&many).is_err());
    }

    #[test]
    fn a_witness_lets_a_log_grow_and_nothing_else() {
        let [one, two, three, fork] = roots();
        let log = log().verifier();
        let c = hash::leaf(b"c");
        let judged = |request: &AddCheckpoint, seen| judge(request, &log, seen).map(|next| next.size());
        assert_eq!(judged(&request(0, vec![], one), None), Ok(1));
        assert_eq!(judged(&request(1, vec![hash::leaf(b"b")], two), Some(one)), Ok(2));
        assert_eq!(judged(&request(2, vec![c], three), Some(two)), Ok(3));
        assert_eq!(judged(&request(2, vec![], two), Some(two)), Ok(2), "a fresh time for the same tree");
        // A rollback, a fork, and who knows nothing.
        assert_eq!(judged(&request(0, vec![], two), Some(three)), Err(Refusal::Seen(3)));
        assert_eq!(judged(&request(3, vec![], two), Some(three)), Err(Refusal::Malformed));
        assert_eq!(judged(&request(2, vec![], fork), Some(two)), Err(Refusal::Inconsistent));
        assert_eq!(judged(&request(1, vec![c], two), Some(one)), Err(Refusal::Inconsistent));
        assert_eq!(judged(&request(0, vec![c], two), None), Err(Refusal::Inconsistent));
        let mut forged = request(0, vec![], two);
        forged.checkpoint = forged.checkpoint.replace("\n2\n", "\n3\n");
        assert_eq!(judged(&forged, None), Err(Refusal::NotSigned));
        assert_eq!(judge(&request(0, vec![], two), &witness(1).verifier(), None), Err(Refusal::UnknownLog));
        let statuses = [Refusal::Malformed, Refusal::NotSigned, Refusal::UnknownLog, Refusal::Seen(1)];
        assert_eq!(statuses.map(|refusal| refusal.status()), [400, 403, 404, 409]);
    }

    #[test]
    fn answers_say_what_they_mean() {
        let checkpoint = signed(roots()[1]);
        let signature = cosignature::sign(&witness(1), 5, checkpoint.text()).expect("a time");
        let body = format!("{signature}\n");
        assert_eq!(Answer::parse(200, None, &body).expect("read"), Answer::Cosigned(vec![signature]));
        for end in (0..body.len()).filter(|end| body.is_char_boundary(*end)) {
            assert!(Answer::parse(200, None, &body[..end]).is_err(), "{end}");
        }
        let size = |body| Answer::parse(409, Some("text/x.tlog.size"), body);
        assert_eq!(size("34000\n").expect("read"), Answer::Seen(34_000));
        for bad in ["", "\n", "034\n", "34", "34\n\n", "-1\n", "99999999999999999999\n"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        for status in [0, 301, 400, 403, 404, 409, 500, u16::MAX] {
            assert!(matches!(Answer::parse(status, None, "x"), Ok(Answer::Refused(_))), "{status}");
        }
        assert_eq!(Answer::parse(422, None, "x").expect("read"), Answer::Inconsistent);
    }

    #[test]
    fn a_quorum_counts_different_witnesses_whose_signatures_hold() {
        let [w1, w2, w3] = [1, 2, 3].map(witness);
        let quorum = Quorum::new([&w1, &w2, &w3].map(SigningKey::verifier).to_vec(), 2).expect("a quorum");
        let checkpoint = signed(roots()[1]);
        let cosign =
            |key: &SigningKey, time| cosignature::sign(key, time, checkpoint.text()).expect("a time");
        let one = quorum.add(&checkpoint, &[cosign(&w1, 5), cosign(&w1, 6)]).expect("it holds");
        assert!(matches!(quorum.check(&one), Err(Error::NoQuorum { found: 1, needed: 2 })));
        let stranger = key("w2", SignatureType::CosignatureV1, 99);
        let still_one = quorum.add(&one, &[cosign(&stranger, 5)]).expect("it is left out");
        assert_eq!(still_one, one);
        let two = quorum.add(&one, &[cosign(&w3, 7)]).expect("it holds");
        let found = quorum.check(&two).expect("two of three");
        assert_eq!(
            found.iter().map(|one| (one.name.as_str(), one.time)).collect::<Vec<_>>(),
            [("w1", 6), ("w3", 7)]
        );
        // A cosignature of another checkpoint.
        let other = cosignature::sign(&w2, 5, signed(roots()[2]).text()).expect("a time");
        assert!(matches!(quorum.add(&two, &[other]), Err(Error::BadSignature { .. })));
        let twin = key("w4", SignatureType::CosignatureV1, 11).verifier();
        assert!(Quorum::new(vec![w1.verifier(), twin], 1).is_err(), "one key under two names");
        assert!(Quorum::new(vec![w1.verifier(), w1.verifier()], 1).is_err());
        assert!(
            Quorum::new(vec![w1.verifier()], 2).is_err() && Quorum::new(vec![log().verifier()], 1).is_err()
        );
        assert_eq!(Quorum::new(vec![], 0).expect("none").check(&checkpoint).expect("none is needed"), []);
    }
}
