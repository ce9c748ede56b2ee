//! Holds the store against the ledger, both ways, without a key and without a write.
//!
//! The tree is worked out from the entries and held against the signed heads and every tile that lies there. The entries are held
//! against the objects: each live object has its entry and is what the entry's commitment says, and each entry has its object or
//! the entry that took it away. Only what directly follows the last entry of its series may wait for its own.
//!
//! Works beside a running center: objects are listed first and the head is read after, so what is in the list and not in the log
//! is new, and what is in the log and not in the list is looked for again.

mod accounts;
mod heads;
mod listing;
mod objects;
mod pending;
mod proof;
mod walk;

use std::collections::BTreeMap;

use object_store::path::Path;
use store::{Names, Objects};

use crate::{Error, Hash, Kind, VerifierKey};
use accounts::Accounts;
use heads::Heads;
use listing::{Listing, LogListing};
use walk::Walk;

pub use proof::{BatchProof, BatchProofs, ProvedObject, proof_of, proofs_of_batches, verify_proof_file};

/// Findings that a report lists; those after it are counted.
pub(crate) const FINDINGS_MAX: usize = 1_000;

/// What a verification is held against, beside the store itself.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The country's key, where the genesis does not name it or is not believed.
    pub country_key: Option<VerifierKey>,
    /// A signed checkpoint of this log that was seen earlier, and kept elsewhere.
    pub last_seen: Option<String>,
    /// The witnesses' keys.
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have cosigned the published checkpoint.
    pub quorum: usize,
    /// Whether it is another center's copy: one has a published checkpoint and no register.
    pub is_copy: bool,
}

/// Something that is not as it must be.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// Where: an object, an entry.
    pub place: String,
    /// What.
    pub what: String,
}

/// What a verification found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// Entries in the log.
    pub size: u64,
    /// The root that the entries lead to; `None` where some are missing.
    pub root: Option<Hash>,
    /// The published checkpoint, to be kept and given as [`Options::last_seen`] the next time; else the last signed one.
    pub checkpoint: Option<String>,
    /// Entries of each kind.
    pub kinds: BTreeMap<String, u64>,
    /// Objects that were held against their entries.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Tiles and bundles that were held against the tree.
    pub tiles: u64,
    /// What is wrong; at most a thousand.
    pub findings: Vec<Finding>,
    /// Findings that are not listed.
    pub findings_left_out: u64,
    /// Objects that wait for their entry, or the log's for its next file.
    pub pending: Vec<String>,
    /// What could not be judged, such as entries of a later program.
    pub notes: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, place: impl ToString, what: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { place: place.to_string(), what: what.into() });
        } else {
            self.findings_left_out += 1;
        }
    }

    fn note(&mut self, place: impl ToString, what: impl Into<String>) {
        if self.notes.len() < FINDINGS_MAX {
            self.notes.push(Finding { place: place.to_string(), what: what.into() });
        }
    }
}

/// What is read from.
struct Store<'a> {
    objects: &'a Objects,
    names: &'a Names,
    log_key: &'a VerifierKey,
}

/// Verifies a center's store. Fails only where the store can't be read: whatever is wrong with it stands in the report.
pub fn verify(
    objects: &Objects,
    names: &Names,
    log_key: &VerifierKey,
    options: &Options,
) -> Result<Report, Error> {
    let store = Store { objects, names, log_key };
    let mut report = verify_once(&store, options)?;
    if !report.passed() {
        // Beside a running center a folder may have been listed while it changed, so that a later object was seen and an earlier one
        // not. What is really wrong is wrong a second time.
        let now = Heads::read(&store, options, &mut Report::default())?;
        if now.is_some_and(|now| now.size() != report.size) {
            report = verify_once(&store, options)?;
        }
    }
    Ok(report)
}

fn verify_once(store: &Store<'_>, options: &Options) -> Result<Report, Error> {
    let mut report = Report::default();
    // The order matters: see the module's comment.
    let listing = Listing::read(store, &mut report)?;
    let log = LogListing::read(store, &mut report)?;
    let heads = Heads::read(store, options, &mut report)?;
    heads::check_genesis(store, options, &mut report)?;
    let mut accounts = Accounts::new(listing);
    let Some(heads) = heads else {
        accounts.finish_without_log(store, &mut report)?;
        return Ok(report);
    };
    let mut walk = Walk::default();
    walk.walk_to(store, &heads, &log, &mut accounts, &mut report)?;
    accounts.check_objects(store, &mut report)?;
    if accounts.misses_any(store)? {
        // The center may have destroyed them since, or put them after the list was made: the log says.
        let log = LogListing::read(store, &mut Report::default())?;
        let later = Heads::read(store, options, &mut Report::default())?;
        if let Some(later) = later.filter(|later| later.size() > walk.size()) {
            walk.walk_to(store, &later, &log, &mut accounts, &mut report)?;
        }
    }
    accounts.finish(store, &mut report)?;
    report.size = walk.size();
    report.root = walk.root();
    report.checkpoint = Some(heads.newest_published().to_owned());
    report.findings.sort();
    report.findings.dedup();
    report.pending.sort();
    Ok(report)
}

impl Store<'_> {
    fn read(&self, object: &Path) -> Result<Option<bytes::Bytes>, Error> {
        Ok(self.objects.read(object)?)
    }

    /// A file of the log, by its name below the log's folder.
    fn log_file(&self, below: &str) -> Path {
        Path::from(format!("{}/{below}", self.names.ledger()))
    }
}

/// Splits what went wrong with the store's bytes, which is a finding, from a store that does not answer, which is an error.
fn judged<T>(result: Result<T, Error>) -> Result<Result<T, String>, Error> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) if error.kind() == Kind::Unavailable => Err(error),
        Err(error) => Ok(Err(error.to_string())),
    }
}

/// The first byte at which two contents differ.
fn first_difference(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).position(|(a, b)| a != b).unwrap_or_else(|| a.len().min(b.len()))
}
