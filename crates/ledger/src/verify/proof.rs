//! Proofs of single objects that a person can carry away: the entry, what opens its commitment, and the way to a signed checkpoint.

use object_store::path::Path;
use serde::{Deserialize, Serialize};
use store::{Names, Objects};

use crate::entry::{Entered, Entry, Opening};
use crate::proof::TlogProof;
use crate::{Error, LogReader, SignedCheckpoint, VerifierKey};

/// What travels with a proof in its line `extra`, as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    /// The entry, byte for byte.
    entry: String,
    /// The object's name.
    object: String,
    /// The opening of the entry's commitment, 64 hex digits; left out where it was destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    opening: Option<String>,
}

/// What a proof was found to prove.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvedObject {
    /// The object's name.
    pub object: String,
    /// The entry's text.
    pub entry: String,
    /// The entry's index.
    pub index: u64,
    /// The signed checkpoint that it leads to.
    pub checkpoint: SignedCheckpoint,
    /// When each of the given witnesses cosigned that checkpoint, in seconds since 1970; by the witness's name.
    pub cosigned: Vec<(String, u64)>,
    /// Whether the content that was given is the one that was entered; `None` where none was given.
    pub is_content_the_same: Option<bool>,
}

/// The proof of an object as the text of a `.tlog-proof` file, under the published checkpoint; `None` where no entry under it names the
/// object.
pub fn proof_of(
    objects: &Objects,
    names: &Names,
    log_key: &VerifierKey,
    object: &Path,
) -> Result<Option<String>, Error> {
    let reader = LogReader::new(objects.clone(), names.ledger(), log_key.clone());
    let Some(checkpoint) = reader.checkpoint()? else { return Ok(None) };
    let mut found = None;
    for entry in reader.entries(reader.view(&checkpoint)?, 0) {
        let (index, bytes) = entry?;
        let is_it = Entered::parse(&bytes).is_ok_and(|entered| is_about(&entered.entry, object.as_ref()));
        if is_it {
            found = Some((index, bytes));
        }
    }
    let Some((index, entry)) = found else { return Ok(None) };
    let opening = match names.opening(object) {
        Some(name) => objects.read(&name)?,
        None => None,
    };
    let extra = Extra {
        entry: String::from_utf8_lossy(&entry).into_owned(),
        object: object.to_string(),
        opening: opening.map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned()),
    };
    let proof = TlogProof {
        extra: Some(serde_json::to_vec(&extra).expect("texts are JSON")),
        index,
        hashes: reader.inclusion_proof(&checkpoint, index)?,
        checkpoint: checkpoint.note().to_owned(),
    };
    Ok(Some(proof.encode()))
}

/// Verifies the text of a `.tlog-proof` file that [`proof_of`] made: the entry is in the log of this key, at least `quorum` of the
/// witnesses cosigned the checkpoint, and `content`, where it is given, is what the entry commits to.
pub fn verify_proof_file(
    text: &str,
    log_key: &VerifierKey,
    content: Option<&[u8]>,
    witnesses: &[VerifierKey],
    quorum: usize,
) -> Result<ProvedObject, Error> {
    let bad = |why: &str| Error::malformed("a proof of an object", why);
    let proof = TlogProof::parse(text)?;
    let extra = proof.extra.as_deref().ok_or_else(|| bad("its line `extra` with the entry is missing"))?;
    let extra: Extra = serde_json::from_slice(extra).map_err(|error| bad(&format!("`extra`: {error}")))?;
    let checkpoint = proof.verify(extra.entry.as_bytes(), log_key)?;
    let mut cosigned = Vec::new();
    for witness in witnesses {
        if let Some(time) = checkpoint.cosigned_at(witness)? {
            cosigned.push((witness.name().to_owned(), time));
        }
    }
    if cosigned.len() < quorum {
        return Err(Error::NoQuorum { found: cosigned.len(), needed: quorum });
    }
    let entered = Entered::parse(extra.entry.as_bytes())?;
    if !is_about(&entered.entry, &extra.object) {
        return Err(Error::BadProof { why: "its entry is of another object than it says".to_owned() });
    }
    let is_content_the_same = match (content, &extra.opening) {
        (None, _) => None,
        (Some(_), None) => {
            return Err(bad("its opening was destroyed: what was entered can't be compared any more"));
        }
        (Some(content), Some(opening)) => {
            let opening = Opening::parse(format!("{opening}\n").as_bytes())
                .map_err(|_| bad("its opening is not 64 hex digits"))?;
            let commitment = opening.commit(&extra.object, content);
            Some(entered.entry.committed().is_some_and(|(_, entered)| *entered == commitment))
        }
    };
    Ok(ProvedObject {
        object: extra.object,
        entry: extra.entry,
        index: proof.index,
        checkpoint,
        cosigned,
        is_content_the_same,
    })
}

fn is_about(entry: &Entry, object: &str) -> bool {
    entry.committed().is_some_and(|(name, _)| name.as_str() == object)
}
