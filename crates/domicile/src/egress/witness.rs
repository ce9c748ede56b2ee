//! Asks witnesses to cosign the ledger's checkpoint (C2SP tlog-witness, `add-checkpoint`). What a witness says is taken apart
//! here; whether its cosignature holds is the ledger's to verify.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;

use super::declared::{Declared, Destination, Url};
use super::dial::Dialer;
use super::http::{Answer, Client, HttpError, shown};
use crate::settings::Settings;

/// Hashes of a consistency proof at most (C2SP tlog-witness).
const PROOF_HASHES_MAX: usize = 63;
/// The type of an answer that says which size the witness has.
const SIZE_TYPE: &str = "text/x.tlog.size";
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

/// What an answer to `add-checkpoint` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// Cosignature lines, each with its newline, unverified.
    Cosigned(String),
    /// The largest size that it has cosigned is another than the one that we named.
    Seen(u64),
}

/// The body of `add-checkpoint`: what the witness has seen, the proof from there on, the signed checkpoint.
pub(crate) fn request_body(old: u64, proof: &[[u8; 32]], checkpoint: &str) -> String {
    let mut body = format!("old {old}\n");
    for hash in proof.iter().take(PROOF_HASHES_MAX) {
        writeln!(body, "{}", STANDARD.encode(hash)).expect("writing to a string succeeds");
    }
    body.push('\n');
    body.push_str(checkpoint);
    body
}

/// Reads the answer to `add-checkpoint`.
///
/// # Errors
/// [`WitnessError::Refused`] and [`WitnessError::Answer`].
pub(crate) fn read_answer(answer: &Answer) -> Result<Said, WitnessError> {
    let text = std::str::from_utf8(&answer.body);
    let refused = |meaning: &str| {
        Err(WitnessError::Refused {
            status: answer.status,
            reason: format!("{meaning}: {}", shown(answer.body.trim_ascii())),
        })
    };
    match (answer.status, text) {
        (200, Ok(lines)) if is_signature_lines(lines) => Ok(Said::Cosigned(lines.to_owned())),
        (200, _) => Err(WitnessError::Answer("200 without signature lines".to_owned())),
        (409, Ok(text)) if answer.content_type.as_deref() == Some(SIZE_TYPE) => {
            let size = text.strip_suffix('\n').filter(|size| is_decimal(size)).and_then(|s| s.parse().ok());
            size.map(Said::Seen).ok_or_else(|| WitnessError::Answer("409 without a size".to_owned()))
        }
        (400, _) => refused("it can't read the request"),
        (403, _) => refused("it doesn't trust this log's key; give it keys/log.vkey"),
        (404, _) => refused("it doesn't know this log; register the log's origin and key with it"),
        (409, _) => refused("another checkpoint of this log came between"),
        (422, _) => refused("the proof doesn't hold: this log is not the one that it has seen"),
        _ => refused("an error of the witness"),
    }
}

/// Lines of `— name base64` (C2SP signed-note), at least one.
fn is_signature_lines(text: &str) -> bool {
    let is_line = |line: &str| {
        let parts = line.strip_prefix("— ").and_then(|rest| rest.split_once(' '));
        parts.is_some_and(|(name, signature)| !name.is_empty() && STANDARD.decode(signature).is_ok())
    };
    text.ends_with('\n') && text.lines().all(is_line)
}

/// A number without sign or leading zeros.
fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
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
    /// Its cosignature lines, unverified.
    pub(crate) lines: Result<String, WitnessError>,
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
        P: Fn(u64) -> Result<Vec<[u8; 32]>, String>,
    {
        let Some(client) = &self.client else { return Vec::new() };
        let asked = self.witnesses.iter().map(|witness| witness.cosign(client, size, checkpoint, &proof));
        let names = self.witnesses.iter().map(|witness| witness.name.clone());
        names.zip(join_all(asked).await).map(|(witness, lines)| Outcome { witness, lines }).collect()
    }

    /// Asks all of them what they have seen, with the last checkpoint that this log has signed: before the first signature after a
    /// start, so that a log that was rolled back signs no second history.
    pub(crate) async fn seen(&self, size: u64, checkpoint: &str) -> Seen {
        let mut seen = Seen { size: None, silent: Vec::new() };
        let Some(client) = &self.client else { return seen };
        let asked = join_all(self.witnesses.iter().map(|witness| witness.ask(client, 0, &[], checkpoint)));
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
        proof: &impl Fn(u64) -> Result<Vec<[u8; 32]>, String>,
    ) -> Result<String, WitnessError> {
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
            match self.ask(client, seen, &hashes, checkpoint).await? {
                Said::Cosigned(lines) => {
                    *self.seen.lock() = size;
                    return Ok(lines);
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
        proof: &[[u8; 32]],
        checkpoint: &str,
    ) -> Result<Said, WitnessError> {
        let body = Bytes::from(request_body(old, proof, checkpoint));
        read_answer(&client.post(&self.destination, &self.url, "/add-checkpoint", body).await?)
    }
}

fn changing() -> WitnessError {
    WitnessError::Answer("its size changes while it is asked: another center signs with this key".to_owned())
}

#[cfg(test)]
#[path = "witness_tests.rs"]
mod tests;
