//! The certificate of an erasure: a signed note (c2sp.org/signed-note) that anybody verifies with the log's key, `keys/log.vkey`.
//!
//! Its text is a first line that no checkpoint can have, and one JSON object. It names nobody: the subject is the SHA-256 of a salt
//! and the VIN, each on a line of its own, and the salt is given to who asked and kept nowhere. So who has VIN and salt shows what the
//! certificate is about (`printf '%s\n%s\n' SALT VIN | sha256sum`), and nobody else learns it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ledger::{Note, SignedCheckpoint, SigningKey, VerifierKey};
use model::{UtcMicros, Vin};
use policy::{Day, Pack, Term, Unit};
use registry::Erasure;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::TablesErased;
use crate::center::Center;

/// The first line of a certificate's text: kind and version.
const FIRST_LINE: &str = "domicile erasure certificate 1\n";

/// What stands before a commitment's digits.
const SHA256: &str = "sha256:";

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Certificate {
    pub(crate) country: String,
    pub(crate) cluster: String,
    pub(crate) center: String,
    /// The erasure's number: that of the change of the registry, `control/<number>.json` in the store and in the ledger.
    pub(crate) number: u64,
    /// What commits to the VIN.
    pub(crate) subject: String,
    /// `vehicle`: all that was held of it; `owner-period`: what was received in the period.
    pub(crate) scope: String,
    /// The period, RFC 3339, UTC; the end is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) period: Option<(String, String)>,
    pub(crate) ground: String,
    /// RFC 3339, UTC.
    pub(crate) asked_at: String,
    /// From when on nothing older was taken in.
    pub(crate) began_at: String,
    pub(crate) done_at: String,
    /// The last day on which it had to be done, and the rule that says so.
    pub(crate) deadline: String,
    pub(crate) deadline_rule: String,
    /// The country pack by which it was done.
    pub(crate) pack: String,
    pub(crate) destroyed: Vec<Item>,
    pub(crate) kept: Vec<Item>,
    /// The log as it was when all destructions were entered.
    pub(crate) log_size: u64,
    pub(crate) log_root: String,
}

/// Something that was destroyed, or that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) what: String,
    /// Where it lay or lies.
    pub(crate) place: String,
    /// How many, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    /// How it was destroyed, or why it is kept.
    pub(crate) how: String,
}

/// What a certificate is made of beside the erasure.
pub(super) struct Facts<'a> {
    pub(super) center: &'a Center,
    pub(super) pack: &'a Pack,
    pub(super) checkpoint: SignedCheckpoint,
    pub(super) done_at: UtcMicros,
    pub(super) tables: &'a TablesErased,
}

/// Why a certificate is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error(transparent)]
    Note(#[from] ledger::Error),
    #[error("it is not signed by this key; take the log.vkey of the center that it names")]
    Unsigned,
    #[error("it is signed, but it is no erasure certificate that this program knows")]
    Foreign,
    #[error("it is about another vehicle, or the salt is another")]
    Subject,
}

/// What commits to a VIN under a salt.
pub(crate) fn commit(salt: &str, vin: &Vin) -> String {
    let mut hash = Sha256::new();
    for line in [salt, "\n", vin.as_str(), "\n"] {
        hash.update(line.as_bytes());
    }
    hash.finalize().iter().fold(SHA256.to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// The last day on which an erasure that was asked for at an instant must be done, by the pack's clock and calendar.
pub(crate) fn deadline(pack: &Pack, asked_at: UtcMicros) -> Day {
    last_day(pack, pack.deadlines().deletion.value, asked_at)
}

/// The last day of a term that runs from an instant, by the pack's clock and calendar.
pub(crate) fn last_day(pack: &Pack, term: Term, asked_at: UtcMicros) -> Day {
    let day = pack.day(asked_at);
    match term.unit {
        Unit::WorkingDays => pack.calendar().after_working_days(day, term.amount),
        _ => Day(day.0 + i64::from(term.days_at_least().unwrap_or(0))),
    }
}

/// Reads a certificate and verifies it with the log's key; with a VIN and its salt also whom it is about.
///
/// # Errors
/// [`CertificateError`].
pub(crate) fn verify(
    text: &str,
    key: &VerifierKey,
    subject: Option<(&str, &Vin)>,
) -> Result<Certificate, CertificateError> {
    let note = Note::parse(text)?;
    note.verified_by(key)?.ok_or(CertificateError::Unsigned)?;
    let certificate = read(&note).ok_or(CertificateError::Foreign)?;
    match subject {
        Some((salt, vin)) if commit(salt, vin) != certificate.subject => Err(CertificateError::Subject),
        _ => Ok(certificate),
    }
}

fn read(note: &Note) -> Option<Certificate> {
    serde_json::from_str(note.text().strip_prefix(FIRST_LINE)?).ok()
}

pub(super) fn sign(erasure: &Erasure, facts: &Facts<'_>, key: &SigningKey) -> Result<String, ledger::Error> {
    let certificate = Certificate::of(erasure, facts);
    let body = serde_json::to_string_pretty(&certificate).expect("texts and numbers are JSON");
    Ok(key.sign(&format!("{FIRST_LINE}{body}\n"))?.to_string())
}

impl Certificate {
    fn of(erasure: &Erasure, facts: &Facts<'_>) -> Self {
        let Facts { center, pack, checkpoint, done_at, tables } = facts;
        let genesis = &center.genesis;
        let (year, month, day) = deadline(pack, erasure.asked_at).civil();
        let rule = &pack.deadlines().deletion;
        Self {
            country: genesis.country().to_string(),
            cluster: genesis.cluster().to_owned(),
            center: genesis.center().to_string(),
            number: erasure.number,
            subject: erasure.subject.clone(),
            scope: if erasure.span.is_some() { "owner-period" } else { "vehicle" }.to_owned(),
            period: erasure.span.map(|(from, to)| (from.to_string(), to.to_string())),
            ground: erasure.ground.as_str().to_owned(),
            asked_at: erasure.asked_at.to_string(),
            began_at: erasure.began_at.to_string(),
            done_at: done_at.to_string(),
            deadline: format!("{year:04}-{month:02}-{day:02}"),
            deadline_rule: format!("{} ({})", rule.value, rule.source),
            pack: pack.version().to_string(),
            destroyed: destroyed(erasure, center, tables),
            kept: kept(erasure, center, pack),
            log_size: checkpoint.size(),
            log_root: STANDARD.encode(checkpoint.root()),
        }
    }
}

fn destroyed(erasure: &Erasure, center: &Center, tables: &TablesErased) -> Vec<Item> {
    let name = center.genesis.center();
    let item = |what: &str, place: String, count: Option<u64>, how: &str| Item {
        what: what.to_owned(),
        place,
        count,
        how: how.to_owned(),
    };
    let mut items = vec![
        item(
            "data keys",
            format!("{name}/keyring/"),
            Some(erasure.keys.len() as u64),
            "deleted; what was encrypted under them can't be read any more, wherever a copy lies",
        ),
        item(
            "raw frames, records of sale, ownership and service, personal fields of registry changes",
            format!("{name}/batch/, {name}/records/, {name}/control/"),
            None,
            "encrypted under the data keys that were deleted",
        ),
        item(
            "rows of the registry's projection",
            "registry/registry.sqlite".to_owned(),
            None,
            "deleted and overwritten",
        ),
        item(
            "frames that were not sealed yet",
            "journal/".to_owned(),
            None,
            "sealed under the data keys, and their segments overwritten",
        ),
    ];
    for table in &tables.tables {
        items.push(item(
            &format!("rows of the table {}", table.table),
            format!("{name}/lake/{}/", table.table),
            Some(table.rows),
            &format!("{} files rewritten without them, the old ones destroyed", table.files),
        ));
    }
    if center.settings.lake.enabled {
        items.push(item(
            "days of the derived tables on which it was there",
            "derived/".to_owned(),
            None,
            "deleted, and worked out anew without it",
        ));
    }
    if tables.objects > 0 {
        items.push(item(
            "old files of the tables and of their logs, whose statistics name vehicles",
            format!("{name}/lake/"),
            Some(tables.objects),
            "destroyed, with their entries in the ledger",
        ));
    }
    items
}

fn kept(erasure: &Erasure, center: &Center, pack: &Pack) -> Vec<Item> {
    let name = center.genesis.center();
    let item =
        |what: &str, place: String, how: String| Item { what: what.to_owned(), place, count: None, how };
    let keep = pack.keep();
    let mut items = vec![
        item(
            "the registration (VIN, country of sale)",
            format!("{name}/control/"),
            "so that the vehicle is known, and what it sends again of before is kept out; under a new pseudonym where all was erased"
                .to_owned(),
        ),
        item(
            "the entries of the transparency log",
            format!("{name}/ledger/"),
            format!("they name nobody; {} ({})", keep.logs.value, keep.logs.source),
        ),
        item(
            "records of exports and of handing data over",
            "the ledger".to_owned(),
            format!("they name nobody; {} ({})", keep.handovers.value, keep.handovers.source),
        ),
    ];
    if erasure.span.is_some() {
        items.push(item(
            "raw frames received between a change of owner and its import",
            format!("{name}/batch/"),
            format!(
                "encrypted under the key of the owner before, shown to nobody as far as they were received in the period; \
                 destroyed with that key, or after {} days",
                pack.frame_retention_days()
            ),
        ));
    }
    items
}

#[cfg(test)]
mod tests {
    use super::commit;

    #[test]
    fn a_commitment_is_what_sha256sum_prints() {
        let vin = "LRW3E7FA8MC000001".parse().expect("a VIN");
        // printf '%s\n%s\n' 00ff LRW3E7FA8MC000001 | sha256sum
        assert_eq!(
            commit("00ff", &vin),
            "sha256:755891f4def78515ee3a60caefe16eeb99ca9aa6d8fae5065c7ffae19876d46f"
        );
    }
}
