//! What is entered: one JSON object an entry, its keys in a fixed order, no free text, nothing personal.
//!
//! An entry has one spelling. Reading one therefore ends with writing it again: what comes out must be what went in, so an unknown
//! key, another order, a space or a second spelling of a number is refused. The schema stands in `docs/formats/ledger.md`.

mod words;

use std::marker::PhantomData;

use model::{CenterName, GatewayName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Error;
pub use words::{About, Commitment, Label, Minute, ObjectName, Opening, Root, Rule, Word};

/// Longest entry. Longer lists go into a manifest.
pub const ENTRY_BYTES_MAX: usize = 4096;
/// The version of the entries that this program writes.
const VERSION: &str = "{\"v\":1,\"kind\":\"";
/// Most names of destroyed objects in an entry itself; more go into a manifest.
pub const DESTROYED_NAMES_MAX: usize = 16;

/// The kinds that this program writes.
const KINDS: [&str; 14] = [
    "charter",
    "mirrored",
    "adopted",
    "stored",
    "control",
    "policy",
    "tabled",
    "refused",
    "read",
    "erased",
    "expired",
    "superseded",
    "degraded",
    "checked",
];

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// The center was born: its genesis.
    Charter(Whole),
    /// The country's list of centers has a new version.
    Chartered(Numbered),
    /// Another center's log and objects are held here, up to a size of its log.
    Mirrored(Mirrored),
    /// What a center from before the ledger held.
    Adopted(Adopted),
    /// A batch or an import of records was stored.
    Stored(Stored),
    /// The registry changed.
    Control(Numbered),
    /// A country pack came into force.
    Policy(Pack),
    /// A table was committed.
    Tabled(Tabled),
    /// Vehicles' data was refused, in one minute and for one reason.
    Refused(Refused),
    /// Somebody privileged, or from outside, looked.
    Read(Read),
    /// Objects were destroyed because somebody could ask for it.
    Erased(Destroyed),
    /// Objects were destroyed because their term was over.
    Expired(Destroyed),
    /// An object may go: another says the same.
    Superseded(Superseded),
    /// A part of the center does not do what it should.
    Degraded(Degraded),
    /// A check was run.
    Checked(Checked),
    /// An entry of a later program: its kind, and all its bytes.
    Opaque {
        /// What it calls itself.
        kind: Word,
        /// The entry.
        bytes: Vec<u8>,
    },
}

/// An entry as it stands in the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entered {
    /// The UTC minute in which it was written.
    pub at: Minute,
    /// What happened.
    pub entry: Entry,
}

/// An object that is alone of its kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whole {
    /// Its name.
    pub object: ObjectName,
    /// What commits to it.
    pub commitment: Commitment,
}

/// An object of a numbered series.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbered {
    /// Its name.
    pub object: ObjectName,
    /// Its number; one more than that of the one before.
    pub number: u64,
    /// What commits to it.
    pub commitment: Commitment,
}

/// What is held of another center.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirrored {
    /// The other center.
    #[serde(with = "text")]
    pub center: CenterName,
    /// Entries of its log: every object that they name is held here, or the entry that took it away is among them.
    pub size: u64,
    /// The root of the log's tree of that size.
    pub root: Root,
}

/// A country pack.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// Its name.
    pub object: ObjectName,
    /// Its number; one more than that of the one before.
    pub number: u64,
    /// The version that it gives itself.
    pub version: Label,
    /// What commits to it.
    pub commitment: Commitment,
}

/// A batch of a gateway's frames.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchFacts {
    /// Its name.
    pub object: ObjectName,
    /// What commits to it.
    pub commitment: Commitment,
    /// Its size.
    pub bytes: u64,
    /// The gateway.
    #[serde(with = "text")]
    pub gateway: GatewayName,
    /// Its first sequence; one more than the last of the gateway's batch before.
    pub first: u64,
    /// Its last sequence.
    pub last: u64,
    /// How many frames it holds.
    pub frames: u64,
}

/// An import of records.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordsFacts {
    /// Its name.
    pub object: ObjectName,
    /// Its number; one more than that of the one before.
    pub number: u64,
    /// What commits to it.
    pub commitment: Commitment,
    /// Its size.
    pub bytes: u64,
    /// `sale`, `owner`, `service`.
    pub records: Word,
    /// How many rows it holds.
    pub rows: u64,
}

/// A version of a table, whose files its manifest lists.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tabled {
    /// The table.
    pub table: Label,
    /// The version of its log; one more than that of the entry before.
    pub version: i64,
    /// The manifest's name.
    pub manifest: ObjectName,
    /// The manifest's number; one more than that of the one before.
    pub number: u64,
    /// What commits to the manifest.
    pub commitment: Commitment,
    /// Files that it added.
    pub added: u64,
    /// Files that it removed.
    pub removed: u64,
}

/// What was stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// A batch.
    Batch(BatchFacts),
    /// An import of records.
    Records(RecordsFacts),
}

/// What was adopted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Adopted {
    /// The genesis. It is adopted last: a log that has no genesis is still being begun.
    Genesis(Whole),
    /// A batch.
    Batch(BatchFacts),
    /// An import of records.
    Records(RecordsFacts),
    /// A change of the registry.
    Control(Numbered),
    /// A country pack.
    Pack(Pack),
    /// All of a table, up to a version of its log.
    Table(Tabled),
}

/// Refusals of one minute.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The protocol.
    pub protocol: Word,
    /// The reason.
    pub reason: Word,
    /// About how many.
    pub count: About,
    /// The version of the country pack that decided.
    pub pack: Label,
}

/// A look.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The role of who looked.
    pub role: Word,
    /// What was looked at.
    pub what: Word,
    /// From where: `inside` or `abroad`.
    pub from: Word,
}

/// Why something was destroyed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// Its term of retention was over.
    Term,
    /// The person whom it speaks of asked for it.
    Request,
    /// A consent was withdrawn.
    Withdrawal,
    /// An authority ordered it.
    Order,
}

/// Objects that are destroyed: few by their names, many by a manifest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destroyed {
    /// Why.
    pub ground: Ground,
    /// Their names; empty where there is a manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectName>,
    /// The manifest that lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Numbered>,
}

/// An object that another makes unnecessary.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Superseded {
    /// Its name.
    pub object: ObjectName,
    /// What stands for it.
    pub by: ObjectName,
}

/// A part that does not do what it should, or does again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Degraded {
    /// Which part.
    pub part: Word,
    /// How it is.
    pub state: Word,
}

/// The result of a check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checked {
    /// What was checked.
    pub what: Word,
    /// The result.
    pub result: Word,
}

impl Entry {
    /// The kind, as it is written.
    pub fn kind(&self) -> &str {
        match self {
            Self::Charter(_) | Self::Chartered(_) => "charter",
            Self::Mirrored(_) => "mirrored",
            Self::Adopted(_) => "adopted",
            Self::Stored(_) => "stored",
            Self::Control(_) => "control",
            Self::Policy(_) => "policy",
            Self::Tabled(_) => "tabled",
            Self::Refused(_) => "refused",
            Self::Read(_) => "read",
            Self::Erased(_) => "erased",
            Self::Expired(_) => "expired",
            Self::Superseded(_) => "superseded",
            Self::Degraded(_) => "degraded",
            Self::Checked(_) => "checked",
            Self::Opaque { kind, .. } => kind.as_str(),
        }
    }

    /// The object that the entry commits to, and the commitment.
    pub fn committed(&self) -> Option<(&ObjectName, &Commitment)> {
        match self {
            Self::Charter(whole) | Self::Adopted(Adopted::Genesis(whole)) => {
                Some((&whole.object, &whole.commitment))
            }
            Self::Adopted(Adopted::Batch(batch)) | Self::Stored(Stored::Batch(batch)) => {
                Some((&batch.object, &batch.commitment))
            }
            Self::Adopted(Adopted::Records(records)) | Self::Stored(Stored::Records(records)) => {
                Some((&records.object, &records.commitment))
            }
            Self::Adopted(Adopted::Control(numbered))
            | Self::Control(numbered)
            | Self::Chartered(numbered) => Some((&numbered.object, &numbered.commitment)),
            Self::Adopted(Adopted::Pack(pack)) | Self::Policy(pack) => Some((&pack.object, &pack.commitment)),
            Self::Adopted(Adopted::Table(tabled)) | Self::Tabled(tabled) => {
                Some((&tabled.manifest, &tabled.commitment))
            }
            _ => None,
        }
    }

    /// The entry as it is written.
    pub fn write(&self, at: Minute) -> Result<Vec<u8>, Error> {
        if let Self::Opaque { bytes, .. } = self {
            return Ok(bytes.clone());
        }
        let mut to = format!("{VERSION}{}\",\"at\":\"{at}\"", self.kind()).into_bytes();
        match self {
            Self::Charter(facts) => push(&mut to, None, facts),
            Self::Chartered(facts) => push(&mut to, None, facts),
            Self::Mirrored(facts) => push(&mut to, None, facts),
            Self::Adopted(Adopted::Genesis(facts)) => push(&mut to, Some(("what", "genesis")), facts),
            Self::Adopted(Adopted::Batch(facts)) => push(&mut to, Some(("what", "batch")), facts),
            Self::Adopted(Adopted::Records(facts)) => push(&mut to, Some(("what", "records")), facts),
            Self::Adopted(Adopted::Control(facts)) => push(&mut to, Some(("what", "control")), facts),
            Self::Adopted(Adopted::Pack(facts)) => push(&mut to, Some(("what", "policy")), facts),
            Self::Adopted(Adopted::Table(facts)) => push(&mut to, Some(("what", "table")), facts),
            Self::Stored(Stored::Batch(facts)) => push(&mut to, Some(("series", "batch")), facts),
            Self::Stored(Stored::Records(facts)) => push(&mut to, Some(("series", "records")), facts),
            Self::Control(facts) => push(&mut to, None, facts),
            Self::Policy(facts) => push(&mut to, None, facts),
            Self::Tabled(facts) => push(&mut to, None, facts),
            Self::Refused(facts) => push(&mut to, None, facts),
            Self::Read(facts) => push(&mut to, None, facts),
            Self::Erased(facts) | Self::Expired(facts) => push(&mut to, None, facts),
            Self::Superseded(facts) => push(&mut to, None, facts),
            Self::Degraded(facts) => push(&mut to, None, facts),
            Self::Checked(facts) => push(&mut to, None, facts),
            Self::Opaque { .. } => {}
        }
        if to.len() > ENTRY_BYTES_MAX {
            return Err(Error::EntryTooLong { bytes: to.len(), bytes_max: ENTRY_BYTES_MAX });
        }
        Ok(to)
    }
}

impl Entered {
    /// Reads an entry. One of an unknown kind or version becomes [`Entry::Opaque`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(Error::EntryTooLong { bytes: bytes.len(), bytes_max: ENTRY_BYTES_MAX });
        }
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("it is not UTF-8"))?;
        let Some(rest) = text.strip_prefix(VERSION) else { return opaque(text) };
        let (kind, rest) = rest.split_once('"').ok_or_else(|| malformed("its kind does not end"))?;
        let rest = rest.strip_prefix(",\"at\":\"").ok_or_else(|| malformed("after `kind` comes `at`"))?;
        let (at, rest) = rest.split_once('"').ok_or_else(|| malformed("its time does not end"))?;
        let at = at.parse().map_err(|rule: Rule| malformed(rule.0))?;
        let entry = match kind {
            // A version of the charter has a number, and the genesis has none.
            "charter" => match body(rest) {
                Ok(numbered) => Entry::Chartered(numbered),
                Err(_) => Entry::Charter(body(rest)?),
            },
            "mirrored" => Entry::Mirrored(body(rest)?),
            "adopted" => Entry::Adopted(match tagged(rest, "what")? {
                ("genesis", rest) => Adopted::Genesis(body(rest)?),
                ("batch", rest) => Adopted::Batch(body(rest)?),
                ("records", rest) => Adopted::Records(body(rest)?),
                ("control", rest) => Adopted::Control(body(rest)?),
                ("policy", rest) => Adopted::Pack(body(rest)?),
                ("table", rest) => Adopted::Table(body(rest)?),
                _ => return Err(malformed("`what` names nothing that is adopted")),
            }),
            "stored" => Entry::Stored(match tagged(rest, "series")? {
                ("batch", rest) => Stored::Batch(body(rest)?),
                ("records", rest) => Stored::Records(body(rest)?),
                _ => return Err(malformed("`series` names nothing that is stored")),
            }),
            "control" => Entry::Control(body(rest)?),
            "policy" => Entry::Policy(body(rest)?),
            "tabled" => Entry::Tabled(body(rest)?),
            "refused" => Entry::Refused(body(rest)?),
            "read" => Entry::Read(body(rest)?),
            "erased" => Entry::Erased(destroyed(rest)?),
            "expired" => Entry::Expired(destroyed(rest)?),
            "superseded" => Entry::Superseded(body(rest)?),
            "degraded" => Entry::Degraded(body(rest)?),
            "checked" => Entry::Checked(body(rest)?),
            _ => return opaque(text),
        };
        if entry.write(at)? != bytes {
            return Err(malformed("it is not spelled as entries are: keys in their order, no spaces"));
        }
        Ok(Self { at, entry })
    }
}

fn malformed(why: impl Into<String>) -> Error {
    Error::malformed("entry", why)
}

/// Appends the members of `facts`, and before them a tag, to an object that was begun.
fn push<T: Serialize>(to: &mut Vec<u8>, tag: Option<(&str, &str)>, facts: &T) {
    if let Some((key, value)) = tag {
        to.extend_from_slice(format!(",\"{key}\":\"{value}\"").as_bytes());
    }
    let begin = to.len();
    serde_json::to_writer(&mut *to, facts).expect("texts and numbers are JSON, and memory takes them");
    // The object of the facts goes on where the entry's own began.
    to[begin] = b',';
}

/// Reads the members that [`push`] appended.
fn body<T: DeserializeOwned>(rest: &str) -> Result<T, Error> {
    let members = rest.strip_prefix(',').ok_or_else(|| malformed("it ends after its time"))?;
    let mut object = String::with_capacity(members.len() + 1);
    object.push('{');
    object.push_str(members);
    serde_json::from_str(&object).map_err(|error| malformed(error.to_string()))
}

fn destroyed(rest: &str) -> Result<Destroyed, Error> {
    let facts: Destroyed = body(rest)?;
    if facts.objects.is_empty() == facts.manifest.is_none() || facts.objects.len() > DESTROYED_NAMES_MAX {
        return Err(malformed("what was destroyed is named by a list of at most 16 or by a manifest"));
    }
    Ok(facts)
}

/// The tag that [`push`] put before the members.
fn tagged<'a>(rest: &'a str, key: &str) -> Result<(&'a str, &'a str), Error> {
    let tag = || {
        let rest = rest.strip_prefix(",\"")?.strip_prefix(key)?.strip_prefix("\":\"")?;
        rest.split_once('"')
    };
    tag().ok_or_else(|| malformed(format!("after `at` comes `{key}`")))
}

/// An entry that a later program wrote: what it must have in common with ours is a version, a kind and a time.
fn opaque(text: &str) -> Result<Entered, Error> {
    #[derive(Deserialize)]
    struct Common {
        v: u32,
        kind: Word,
        at: String,
    }
    let common: Common = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    if common.v == 1 && KINDS.contains(&common.kind.as_str()) {
        return Err(malformed("it is not spelled as entries are: keys in their order, no spaces"));
    }
    let at = common.at.parse().map_err(|rule: Rule| malformed(rule.0))?;
    Ok(Entered { at, entry: Entry::Opaque { kind: common.kind, bytes: text.as_bytes().to_vec() } })
}

/// Types of other rooms, as their text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserializer, Serializer};

    use super::{PhantomData, words::TextVisitor};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        deserializer.deserialize_str(TextVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests;
