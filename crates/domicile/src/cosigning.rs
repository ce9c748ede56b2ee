//! Witnesses hold the log to one history: before the first signature after a start they are asked what they have seen of it, and
//! each new checkpoint is shown to them to be cosigned. What has as many cosignatures as `ledger.quorum` asks for is published.

use std::sync::Arc;
use std::time::Duration;

use ledger::witness::Quorum;
use ledger::{Ledger, SignedCheckpoint, VerifierKey};
use model::Clock;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::bookkeeping::Bookkeeper;
use crate::center::Center;
use crate::egress::Declared;
use crate::egress::dial::Dialer;
use crate::egress::http::HttpError;
use crate::egress::witness::{Outcome, WitnessError, Witnesses};
use crate::world::World;

/// How often one looks for a new checkpoint: so much later it is cosigned.
const LOOK_TIME: Duration = Duration::from_secs(1);

/// How long a checkpoint stands before it is cosigned anew, so that the cosignatures' times show that the log is alive.
const REFRESH_TIME: Duration = Duration::from_secs(600);

/// Pause after a round in which too few answered.
const RETRY_TIME: Duration = Duration::from_secs(5);

/// Why witnesses can't be asked at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CosigningError {
    #[error("setting ledger.witnesses: {name}: {problem}")]
    Key { name: String, problem: String },
    #[error("settings ledger.witnesses and ledger.quorum: {0}")]
    Quorum(String),
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// The conversation with the witnesses.
pub(crate) struct Cosigning {
    ledger: Ledger,
    books: Arc<Bookkeeper>,
    witnesses: Witnesses,
    quorum: Quorum,
    clock: Arc<dyn Clock>,
    /// The last complaint, so that each is logged once.
    complaint: String,
}

impl Cosigning {
    /// With the witnesses of the settings.
    ///
    /// # Errors
    /// [`CosigningError`] says which setting is wrong.
    pub(crate) fn new(
        center: &Center,
        declared: &Declared,
        books: Arc<Bookkeeper>,
        world: &World,
    ) -> Result<Self, CosigningError> {
        let settings = &center.settings;
        let ca_file = settings.ca_file(&center.folder);
        let dialer = Arc::new(Dialer::new());
        let witnesses = Witnesses::open(settings, declared, dialer, ca_file.as_deref())?;
        // One that is configured is asked: without its word nothing is published, whatever the quorum.
        let needed = (settings.ledger.quorum as usize).max(1);
        let quorum = Quorum::new(witness_keys(center)?, needed)
            .map_err(|error| CosigningError::Quorum(error.to_string()))?;
        Ok(Self {
            ledger: books.book().ledger().clone(),
            books,
            witnesses,
            quorum,
            clock: Arc::clone(&world.clock),
            complaint: String::new(),
        })
    }

    /// Runs until `stop` becomes true.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|is_stopped| *is_stopped) => {}
            () = self.converse() => {}
        }
    }

    async fn converse(&mut self) {
        if !self.ask_what_was_seen().await {
            return;
        }
        let mut cosigned = 0;
        let mut cosigned_at = None;
        loop {
            let checkpoint = self.ledger.checkpoint();
            let now = self.clock.monotonic();
            let is_stale = cosigned_at.is_none_or(|at| now.saturating_sub(at) >= REFRESH_TIME);
            if checkpoint.size() == cosigned && !is_stale {
                sleep(LOOK_TIME).await;
                continue;
            }
            let prover = self.ledger.clone();
            let size = checkpoint.size();
            let proof = |old| prover.consistency_proof(old, size).map_err(|error| error.to_string());
            let outcomes = self.witnesses.cosign(size, checkpoint.note(), proof).await;
            match self.gather(&checkpoint, outcomes) {
                Gathered::Enough(signed) => match self.ledger.publish(signed.note()) {
                    Ok(()) => {
                        (cosigned, cosigned_at) = (size, Some(now));
                        self.complain(String::new());
                    }
                    Err(error) => {
                        self.complain(format!("the cosigned checkpoint can't be published: {error}"));
                        sleep(RETRY_TIME).await;
                    }
                },
                Gathered::TooFew => sleep(RETRY_TIME).await,
                Gathered::Ahead(seen) => {
                    self.refuse(seen);
                    return;
                }
            }
        }
    }

    /// Lets the ledger sign as soon as one witness has said what it has seen, and that is no more than the log holds; `false` where
    /// it is more.
    async fn ask_what_was_seen(&mut self) -> bool {
        loop {
            let checkpoint = self.ledger.checkpoint();
            let seen = self.witnesses.seen(checkpoint.size(), checkpoint.note()).await;
            match seen.size {
                Some(size) if size > checkpoint.size() => {
                    self.refuse(size);
                    return false;
                }
                Some(size) => {
                    if let Err(error) = self.ledger.allow(Some(size)) {
                        tracing::error!(%error, "the ledger signs nothing");
                        return false;
                    }
                    return true;
                }
                None => {
                    let silent = seen.silent.iter().map(|(name, error)| format!("{name}: {error}"));
                    let silent = silent.collect::<Vec<_>>().join("; ");
                    self.complain(format!(
                        "no witness says what it has seen of the log, so nothing is signed; vehicles are acknowledged as long as the \
                         journal has room ({silent})"
                    ));
                    sleep(RETRY_TIME).await;
                }
            }
        }
    }

    /// Puts the cosignatures that hold under the checkpoint.
    fn gather(&mut self, checkpoint: &SignedCheckpoint, outcomes: Vec<Outcome>) -> Gathered {
        let mut cosigned = checkpoint.clone();
        let mut problems = Vec::new();
        let mut disputed = None;
        for Outcome { witness, signatures } in outcomes {
            let problem = match signatures {
                Ok(signatures) => match self.quorum.add(&cosigned, &signatures) {
                    Ok(more) if more != cosigned => {
                        cosigned = more;
                        continue;
                    }
                    Ok(_) => "gave no cosignature of a key in ledger.witnesses".to_owned(),
                    Err(error) => error.to_string(),
                },
                Err(WitnessError::Ahead { seen, .. }) => return Gathered::Ahead(seen),
                Err(error) => {
                    let problem = error.to_string();
                    if matches!(error, WitnessError::Forked { .. }) {
                        disputed = Some(format!("{witness}: {problem}"));
                    }
                    problem
                }
            };
            problems.push(format!("{witness}: {problem}"));
        }
        self.books.dispute(disputed);
        match self.quorum.check(&cosigned) {
            Ok(_) => Gathered::Enough(cosigned),
            Err(error) => {
                self.complain(format!("the checkpoint is not published: {error}: {}", problems.join("; ")));
                Gathered::TooFew
            }
        }
    }

    fn refuse(&self, seen: u64) {
        if let Err(error) = self.ledger.allow(Some(seen)) {
            tracing::error!(%error, "the ledger signs nothing more");
        }
    }

    fn complain(&mut self, complaint: String) {
        if !complaint.is_empty() && complaint != self.complaint {
            tracing::warn!("{complaint}");
        }
        self.complaint = complaint;
    }
}

/// What a round came to.
enum Gathered {
    /// The checkpoint with its cosignatures.
    Enough(SignedCheckpoint),
    TooFew,
    /// A witness has seen more than the log holds.
    Ahead(u64),
}

/// The keys of the witnesses in the settings.
///
/// # Errors
/// [`CosigningError::Key`] names the witness.
pub(crate) fn witness_keys(center: &Center) -> Result<Vec<VerifierKey>, CosigningError> {
    let key = |witness: &crate::settings::Witness| {
        VerifierKey::parse(&witness.vkey)
            .map_err(|error| CosigningError::Key { name: witness.name.clone(), problem: error.to_string() })
    };
    center.settings.ledger.witnesses.iter().map(key).collect()
}
