//! Asks witnesses to cosign the ledger's checkpoint (C2SP tlog-witness, `add-checkpoint`). The ledger says what is asked, what an
//! answer means and whether a cosignature holds; here it is sent.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use ledger::witness::{self, AddCheckpoint};
use ledger::{Hash, NoteSignature};
use parking_lot::Mutex;

use super::declared::{Declared, Destination, Url};
use super::dial::Dialer;
use super::http::{Answer, Client, HttpError, shown};
use crate::settings::Settings;

/// How often one round asks a witness: with what we believe that it has seen, and once more with what it says it has.
const ASKS_MAX: usize = 2;

/// Why a witness gave no cosignature.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WitnessError {
    /// It could not be asked.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It has seen more than this log holds: the log was rolled back, or is a copy. Nothing more may be signed.
    #[error(
        "has cosigned {seen} entries, and this log holds {size}: the store was rolled back, or another center signs with this key; restore the newer store"
    )]
    Ahead {
        /// What the witness has seen.
        seen: u64,
        /// What the log holds.
        size: u64,
    },
    /// It has seen another history of this log.
    #[error(
        "says that this log is not the one that it has cosigned: it has two histories; find out which store is the true one and restore it, \
         or who else signs with this key ({words})"
    )]
    Forked {
        /// The witness's words.
        words: String,
    },
    /// It doesn't want to.
    #[error("refuses ({status}): {reason}")]
    Refused {
        /// Its status code.
        status: u16,
        /// What the code means, and the witness's words.
        reason: String,
    },
    /// Its answer is none of those that the protocol has.
    #[error("gives an answer that the protocol doesn't have: {0}")]
    Answer(String),
    /// The ledger has no proof for what the witness has seen.
    #[error("the proof from {seen} entries on can't be made: {problem}")]
    Proof {
        /// What the witness has seen.
        seen: u64,
        /// What the ledger said.
        problem: String,
    },
}

/// Reads the answer to `add-checkpoint`.
///
/// # Errors
/// [`WitnessError::Forked`], [`WitnessError::Refused`] and [`WitnessError::Answer`].
fn read_answer(answer: &Answer) -> Result<Said, WitnessError> {
    let words = || shown(answer.body.trim_ascii());
    let unknown = |problem: String| WitnessError::Answer(format!("{}: {problem}", answer.status));
    // What is no text says nothing; only the status counts then.
    let body = std::str::from_utf8(&answer.body).unwrap_or_default();
    let said = witness::Answer::parse(answer.status, answer.content_type.as_deref(), body);
    match said.map_err(|error| unknown(error.to_string()))? {
        witness::Answer::Cosigned(signatures) => Ok(Said::Cosigned(signatures)),
        witness::Answer::Seen(size) => Ok(Said::Seen(size)),
        witness::Answer::Inconsistent => Err(WitnessError::Forked { words: words() }),
        witness::Answer::Refused(meaning) => {
            Err(WitnessError::Refused { status: answer.status, reason: format!("{meaning}: {}", words()) })
        }
    }
}

/// What a witness that does not refuse says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// Its cosignatures, unverified.
    Cosigned(Vec<NoteSignature>),
    /// The largest size that it has cosigned is another than the one that we named.
    Seen(u64),
}

/// A configured witness.
struct Witness {
    name: String,
    url: Url,
    destination: Arc<Destination>,
    /// The size that it cosigned last, as far as is known.
    seen: Mutex<u64>,
}

/// All configured witnesses.
pub(crate) struct Witnesses {
    /// `None` where there is no witness: then no authority's file needs to be there either.
    client: Option<Client>,
    witnesses: Vec<Witness>,
}

/// What a witness answered in a round.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its name in the settings.
    pub(crate) witness: String,
    /// Its cosignatures, unverified.
    pub(crate) signatures: Result<Vec<NoteSignature>, WitnessError>,
}

/// What the witnesses have seen of this log.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The largest size that one of those who answered has cosigned; `None` when nobody answered.
    pub(crate) size: Option<u64>,
    /// Who did not answer, and why.
    pub(crate) silent: Vec<(String, WitnessError)>,
}

impl Witnesses {
    /// The witnesses of the settings, which were checked against the list when they were read.
    ///
    /// # Errors
    /// [`HttpError::Authorities`], where there are witnesses.
    pub(crate) fn open(
        settings: &Settings,
        declared: &Declared,
        dialer: Arc<Dialer>,
        ca_file: Option<&std::path::Path>,
    ) -> Result<Self, HttpError> {
        let witness = |witness: &crate::settings::Witness| {
            let (url, destination) = declared.witness(witness).ok()?;
            let destination = destination.clone();
            Some(Witness { name: witness.name.clone(), url, destination, seen: Mutex::default() })
        };
        let witnesses: Vec<Witness> = settings.ledger.witnesses.iter().filter_map(witness).collect();
        let client = if witnesses.is_empty() { None } else { Some(Client::new(dialer, ca_file)?) };
        Ok(Self { client, witnesses })
    }

    /// Asks all of them at once to cosign a checkpoint of `size` entries. `proof` gives the consistency proof from a smaller size.
    pub(crate) async fn cosign<P>(&self, size: u64, checkpoint: &str, proof: P) -> Vec<Outcome>
    where
        P: Fn(u64) -> Result<Vec<Hash>, String>,
    {
        let Some(client) = &self.client else { return Vec::new() };
        let asked = self.witnesses.iter().map(|witness| witness.cosign(client, size, checkpoint, &proof));
        let names = self.witnesses.iter().map(|witness| witness.name.clone());
        let answers = names.zip(join_all(asked).await);
        answers.map(|(witness, signatures)| Outcome { witness, signatures }).collect()
    }

    /// Asks all of them what they have seen, with the last checkpoint that this log has signed: before the first signature after a
    /// start, so that a log that was rolled back signs no second history.
    pub(crate) async fn seen(&self, size: u64, checkpoint: &str) -> Seen {
        let mut seen = Seen { size: None, silent: Vec::new() };
        let Some(client) = &self.client else { return seen };
        let asked =
            join_all(self.witnesses.iter().map(|witness| witness.ask(client, 0, Vec::new(), checkpoint)));
        for (witness, said) in self.witnesses.iter().zip(asked.await) {
            let known = match said {
                // It had seen nothing, and now has seen this.
                Ok(Said::Cosigned(_)) => size,
                Ok(Said::Seen(known)) => known,
                Err(error) => {
                    seen.silent.push((witness.name.clone(), error));
                    continue;
                }
            };
            *witness.seen.lock() = known;
            seen.size = seen.size.max(Some(known));
        }
        seen
    }
}

impl Witness {
    async fn cosign(
        &self,
        client: &Client,
        size: u64,
        checkpoint: &str,
        proof: &impl Fn(u64) -> Result<Vec<Hash>, String>,
    ) -> Result<Vec<NoteSignature>, WitnessError> {
        for _ in 0..ASKS_MAX {
            let seen = *self.seen.lock();
            if seen > size {
                return Err(WitnessError::Ahead { seen, size });
            }
            // Nothing to prove to whom has seen nothing, or the same.
            let hashes = if seen == 0 || seen == size {
                Vec::new()
            } else {
                proof(seen).map_err(|problem| WitnessError::Proof { seen, problem })?
            };
            match self.ask(client, seen, hashes, checkpoint).await? {
                Said::Cosigned(signatures) => {
                    *self.seen.lock() = size;
                    return Ok(signatures);
                }
                Said::Seen(known) => *self.seen.lock() = known,
            }
        }
        let seen = *self.seen.lock();
        if seen > size { Err(WitnessError::Ahead { seen, size }) } else { Err(changing()) }
    }

    async fn ask(
        &self,
        client: &Client,
        old: u64,
        proof: Vec<Hash>,
        checkpoint: &str,
    ) -> Result<Said, WitnessError> {
        let request = AddCheckpoint { old, proof, checkpoint: checkpoint.to_owned() };
        let body = Bytes::from(request.to_string());
        read_answer(&client.post(&self.destination, &self.url, "/add-checkpoint", body).await?)
    }
}

fn changing() -> WitnessError {
    WitnessError::Answer("its size changes while it is asked: another center signs with this key".to_owned())
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
