//! Proofs that can be handed out: that an object was entered, checked with the log's public key alone.
//!
//! The file is a `.tlog-proof` (c2sp.org/tlog-proof@v1), which other verifiers read too. Its extra data is a small JSON: the entry,
//! the object's name and the opening of its commitment; for a file of a table also the manifest that the entry commits to.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use store::{BatchName, Names, ObjectKind, Objects};

use crate::book::Manifest;
use crate::entry::{Adopted, Commitment, Entered, Entry, ObjectName, Opening, Stored, Tabled};
use crate::{Error, Hash, LogReader, Note, SignedCheckpoint, TlogProof, VerifierKey, cosignature};

/// What travels with a proof.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extra {
    entry: String,
    object: ObjectName,
    /// 64 hex digits.
    opening: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<ManifestExtra>,
}

/// The manifest between the entry and a file of a table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestExtra {
    object: ObjectName,
    opening: String,
    /// In base64.
    content: String,
}

/// What a proof proves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProvedObject {
    /// The entry's index.
    pub index: u64,
    /// The entry.
    pub entry: Vec<u8>,
    /// The object that the entry speaks of; `None` where the proof is of an entry alone.
    pub object: Option<String>,
    /// Whether the object's content was given and is what was entered.
    pub content_matches: bool,
    /// The checkpoint that the proof leads to.
    pub checkpoint: SignedCheckpoint,
    /// The witnesses, of those that were asked for, who cosigned it.
    pub cosigned_by: Vec<String>,
}

/// The proof that an object was entered, as the text of a `.tlog-proof` file. It leads to the published checkpoint.
pub fn proof_of(
    objects: &Objects,
    names: &Names,
    log_key: &VerifierKey,
    object: &Path,
) -> Result<String, Error> {
    let reader = LogReader::new(objects.clone(), names.ledger(), log_key.clone());
    let checkpoint = published(&reader)?;
    let table = match names.kind(object) {
        ObjectKind::Table(table) => Some(table),
        _ => None,
    };
    let name =
        ObjectName::try_from(object).map_err(|rule| Error::malformed("object name", rule.to_string()))?;
    for entry in reader.entries(reader.view(&checkpoint)?, 0) {
        let (index, entry) = entry?;
        let manifest = match &table {
            Some(table) => match manifest_that_names(objects, &name, table, &entry)? {
                Some(manifest) => Some(manifest),
                None => continue,
            },
            None if speaks_of(&entry, &name) => None,
            None => continue,
        };
        let manifest = match manifest {
            Some((object, content)) => Some(ManifestExtra {
                opening: opening_of(objects, names, &object.path())?,
                content: STANDARD.encode(content),
                object,
            }),
            None => None,
        };
        let opening = opening_of(objects, names, object)?;
        let extra = Extra { entry: text_of(entry)?, object: name, opening, manifest };
        let hashes = reader.inclusion_proof(&checkpoint, index)?;
        return Ok(written(&extra, index, hashes, checkpoint.note().to_owned()));
    }
    let why = format!("none of the {} published entries speaks of {object}", checkpoint.size());
    Err(Error::malformed("proof", why))
}

/// A batch's entry and its proof, as they are handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchProof {
    /// The batch.
    pub batch: BatchName,
    /// The entry's index.
    pub index: u64,
    /// The entry.
    pub entry: String,
    /// The text of a `.tlog-proof` file, as [`proof_of`] makes it.
    pub text: String,
}

/// Proofs of batches against one checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchProofs {
    /// The published checkpoint, a signed note, to which all of them lead.
    pub checkpoint: String,
    /// In the order of the log.
    pub proofs: Vec<BatchProof>,
    /// Batches of which none of the published entries speaks.
    pub missing: Vec<BatchName>,
}

/// The proofs that batches were entered. The log is walked once for all of them.
pub fn proofs_of_batches(
    objects: &Objects,
    names: &Names,
    log_key: &VerifierKey,
    batches: &[BatchName],
) -> Result<BatchProofs, Error> {
    let reader = LogReader::new(objects.clone(), names.ledger(), log_key.clone());
    let checkpoint = published(&reader)?;
    let mut tree = reader.view(&checkpoint)?;
    let mut missing: BTreeMap<Path, BatchName> =
        batches.iter().map(|batch| (batch.path(), batch.clone())).collect();
    let note = checkpoint.note().to_owned();
    let mut proofs = Vec::new();
    for entry in reader.entries(reader.view(&checkpoint)?, 0) {
        let (index, entry) = entry?;
        let Ok(entered) = Entered::parse(&entry) else { continue };
        let (Entry::Stored(Stored::Batch(stored)) | Entry::Adopted(Adopted::Batch(stored))) = entered.entry
        else {
            continue;
        };
        let Some(batch) = missing.remove(&stored.object.path()) else { continue };
        let opening = opening_of(objects, names, &stored.object.path())?;
        let entry = text_of(entry)?;
        let extra = Extra { entry: entry.clone(), object: stored.object, opening, manifest: None };
        let hashes = tree.inclusion_proof(index, checkpoint.size())?;
        let text = written(&extra, index, hashes, note.clone());
        proofs.push(BatchProof { batch, index, entry, text });
    }
    Ok(BatchProofs { checkpoint: note, proofs, missing: missing.into_values().collect() })
}

/// Checks a `.tlog-proof`: the entry (the one that is given, or the one that travels with it) is in the log, and, where the
/// content of the object is given, it is what was entered. At least `quorum` of the witnesses must have cosigned.
pub fn verify_proof_file(
    text: &str,
    entry: Option<&[u8]>,
    content: Option<&[u8]>,
    log_key: &VerifierKey,
    witnesses: &[VerifierKey],
    quorum: usize,
) -> Result<ProvedObject, Error> {
    let proof = TlogProof::parse(text)?;
    let extra: Option<Extra> = match &proof.extra {
        Some(extra) => serde_json::from_slice(extra).ok(),
        None => None,
    };
    let entry = match (entry, &extra) {
        (Some(entry), _) => entry.to_vec(),
        (None, Some(extra)) => extra.entry.clone().into_bytes(),
        (None, None) => return Err(wrong("it carries no entry of ours: give the entry")),
    };
    let checkpoint = proof.verify(&entry, log_key)?;
    let cosigned_by = cosigners(&checkpoint, witnesses)?;
    if cosigned_by.len() < quorum {
        return Err(Error::NoQuorum { found: cosigned_by.len(), needed: quorum });
    }
    let object = match &extra {
        Some(extra) => Some((extra.object.to_string(), committed(extra, &entry)?, extra)),
        None => None,
    };
    let mut content_matches = false;
    if let Some(content) = content {
        let (object, commitment, extra) =
            object.as_ref().ok_or_else(|| wrong("it carries no opening: the content can't be checked"))?;
        if opening(&extra.opening)?.commit(object, content) != *commitment {
            return Err(wrong("the content is not what was entered, or the opening is another's"));
        }
        content_matches = true;
    }
    let object = object.map(|(object, _, _)| object);
    Ok(ProvedObject { index: proof.index, entry, object, content_matches, checkpoint, cosigned_by })
}

fn published(reader: &LogReader) -> Result<SignedCheckpoint, Error> {
    let none = || Error::malformed("proof", "no checkpoint is published yet: try again when one is");
    reader.checkpoint()?.ok_or_else(none)
}

fn text_of(entry: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(entry).map_err(|_| Error::malformed("entry", "it is not UTF-8"))
}

fn written(extra: &Extra, index: u64, hashes: Vec<Hash>, checkpoint: String) -> String {
    let extra = serde_json::to_vec(extra).expect("texts are JSON");
    TlogProof { extra: Some(extra), index, hashes, checkpoint }.encode()
}

fn wrong(why: &str) -> Error {
    Error::BadProof { why: why.to_owned() }
}

fn opening(digits: &str) -> Result<Opening, Error> {
    Opening::parse(format!("{digits}\n").as_bytes())
        .map_err(|rule| Error::malformed("proof", rule.to_string()))
}

fn opening_of(objects: &Objects, names: &Names, object: &Path) -> Result<String, Error> {
    let name = names.opening(object);
    let name =
        name.ok_or_else(|| Error::malformed("object name", "it lies under the prefix of another center"))?;
    let text = objects.read(&name)?.ok_or_else(|| Error::corrupt(&name, "the opening is missing"))?;
    Opening::parse(&text).map_err(|rule| Error::corrupt(&name, rule.to_string()))?;
    Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
}

/// The object that an entry commits to, and the commitment.
fn commitment_of(entry: &Entry) -> Option<(&ObjectName, Commitment)> {
    match entry {
        Entry::Charter(whole) | Entry::Adopted(Adopted::Genesis(whole)) => {
            Some((&whole.object, whole.commitment))
        }
        Entry::Stored(Stored::Batch(batch)) | Entry::Adopted(Adopted::Batch(batch)) => {
            Some((&batch.object, batch.commitment))
        }
        Entry::Stored(Stored::Records(records)) | Entry::Adopted(Adopted::Records(records)) => {
            Some((&records.object, records.commitment))
        }
        Entry::Control(control) | Entry::Adopted(Adopted::Control(control)) => {
            Some((&control.object, control.commitment))
        }
        Entry::Policy(pack) | Entry::Adopted(Adopted::Pack(pack)) => Some((&pack.object, pack.commitment)),
        Entry::Tabled(tabled) | Entry::Adopted(Adopted::Table(tabled)) => {
            Some((&tabled.manifest, tabled.commitment))
        }
        Entry::Erased(destroyed) | Entry::Expired(destroyed) => {
            destroyed.manifest.as_ref().map(|manifest| (&manifest.object, manifest.commitment))
        }
        _ => None,
    }
}

fn speaks_of(entry: &[u8], name: &ObjectName) -> bool {
    // Most entries are of other objects: a look at the bytes is cheaper than reading each.
    let wanted = name.as_str().as_bytes();
    let is_named = entry.windows(wanted.len()).any(|part| part == wanted);
    is_named
        && Entered::parse(entry)
            .is_ok_and(|entered| commitment_of(&entered.entry).is_some_and(|(object, _)| object == name))
}

/// The manifest that an entry commits to, if it is of the table and lists the file as added.
fn manifest_that_names(
    objects: &Objects,
    name: &ObjectName,
    table: &str,
    entry: &[u8],
) -> Result<Option<(ObjectName, bytes::Bytes)>, Error> {
    let Ok(Entered { entry, .. }) = Entered::parse(entry) else { return Ok(None) };
    let (Entry::Tabled(tabled) | Entry::Adopted(Adopted::Table(tabled))) = entry else { return Ok(None) };
    let Tabled { manifest, number, .. } = tabled;
    if tabled.table.as_str() != table {
        return Ok(None);
    }
    let path = manifest.path();
    let content = objects.read(&path)?.ok_or_else(|| Error::corrupt(&path, "the manifest is missing"))?;
    let is_listed = match Manifest::parse(&path, number, &content)? {
        Manifest::Table(table) => table.added.iter().any(|file| file.name == *name),
        Manifest::Destruction(_) => false,
    };
    Ok(is_listed.then_some((manifest, content)))
}

/// What the entry, by itself or by the manifest that travels along, says of the object.
fn committed(extra: &Extra, entry: &[u8]) -> Result<Commitment, Error> {
    let entered = Entered::parse(entry)?;
    let (object, commitment) =
        commitment_of(&entered.entry).ok_or_else(|| wrong("its entry commits to no object"))?;
    let Some(manifest) = &extra.manifest else {
        return if *object == extra.object {
            Ok(commitment)
        } else {
            Err(wrong("its entry is another object's"))
        };
    };
    let content = STANDARD.decode(&manifest.content).map_err(|_| wrong("its manifest is no base64"))?;
    let is_entered = opening(&manifest.opening)?.commit(manifest.object.as_str(), &content) == commitment;
    let (Entry::Tabled(tabled) | Entry::Adopted(Adopted::Table(tabled))) = &entered.entry else {
        return Err(wrong("its entry is no table's"));
    };
    if *object != manifest.object || !is_entered {
        return Err(wrong("its manifest is not the one that was entered"));
    }
    let file = match Manifest::parse(&manifest.object.path(), tabled.number, &content)? {
        Manifest::Table(table) => table.added.into_iter().find(|file| file.name == extra.object),
        Manifest::Destruction(_) => None,
    };
    file.map(|file| file.commitment).ok_or_else(|| wrong("its manifest does not list the object"))
}

fn cosigners(checkpoint: &SignedCheckpoint, witnesses: &[VerifierKey]) -> Result<Vec<String>, Error> {
    let note = Note::parse(checkpoint.note())?;
    let mut found = Vec::new();
    for witness in witnesses {
        if cosignature::verify(witness, &note)?.is_some() {
            found.push(witness.name().to_owned());
        }
    }
    Ok(found)
}
