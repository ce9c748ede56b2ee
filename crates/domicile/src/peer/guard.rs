//! Before a center that has no witnesses signs anything after its start, it asks the other centers what they hold of its log: a store
//! that was set back to an earlier state would else sign another history on top of it (a fork), and what came between would be gone
//! without a word. A center that nobody answers in time goes on, because a country that is split goes on; what it signed the others hold
//! against their copies as soon as they hear of it.
//!
//! Until it is known the journal takes no frames: their numbers might be those of frames that were sealed after the state that was set
//! back to. Where the log is disputed it stays so, until the center is repaired ([`super::repair`]).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ledger::{Error, Kind, SignedCheckpoint};
use model::{CenterName, Clock};
use store::Journal;

use super::network::Network;
use crate::api::Rooms;
use crate::bookkeeping::Bookkeeper;
use crate::center::Center;
use crate::charter::Charters;

/// How long the others are waited for: longer than a center takes to start, far shorter than a journal takes to fill up.
const ASK_TIME_MAX: Duration = Duration::from_secs(20);
/// How long after a round of questions those that did not answer are asked again.
pub(super) const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// Asks until it is known whether the log may be signed.
pub(super) struct Guard {
    center: Arc<Center>,
    journal: Journal,
    books: Arc<Bookkeeper>,
    charters: Arc<Charters>,
    network: Arc<dyn Network>,
    clock: Arc<dyn Clock>,
    began_at: Duration,
    answered: BTreeSet<CenterName>,
}

impl Guard {
    pub(super) fn new(
        rooms: &Rooms,
        journal: &Journal,
        network: Arc<dyn Network>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let guard = Self {
            center: rooms.center.clone(),
            journal: journal.clone(),
            books: rooms.books.clone(),
            charters: rooms.charters.clone(),
            network,
            began_at: clock.monotonic(),
            clock,
            answered: BTreeSet::new(),
        };
        journal.hold(guard.must_ask());
        guard
    }

    fn must_ask(&self) -> bool {
        let has_witnesses = !self.center.settings.ledger.witnesses.is_empty();
        !has_witnesses && self.books.book().ledger().status().held
    }

    /// Asks those that have not answered yet. Whether all is said.
    pub(super) fn step(&mut self) -> bool {
        let ledger = self.books.book().ledger();
        if !self.must_ask() {
            self.journal.hold(false);
            return true;
        }
        let own = self.center.genesis.center();
        let mut silent = Vec::new();
        for member in self.charters.others() {
            if self.answered.contains(&member.name) {
                continue;
            }
            let asked = self.network.peer(&member, &own).and_then(|peer| peer.head(0));
            let judged = asked.and_then(|held| held.map_or(Ok(()), |held| self.judge(&held.note)));
            match judged {
                Ok(()) => {
                    self.answered.insert(member.name);
                }
                // It does not answer, or the own store does not.
                Err(error) if error.kind() == Kind::Unavailable => {
                    silent.push(format!("{} ({error})", member.name));
                }
                Err(error) => {
                    tracing::error!(
                        center = %member.name, %error,
                        "nothing is signed: this log is not the one that another center holds a copy of; the store was set back or \
                         exchanged, and takes no frames. Stop it, and `domicile center repair` fetches back what others hold"
                    );
                    let words = format!("{} holds another history of it: {error}", member.name);
                    self.books.dispute(Some(words));
                    return true;
                }
            }
        }
        if !silent.is_empty() && self.clock.monotonic().saturating_sub(self.began_at) < ASK_TIME_MAX {
            return false;
        }
        if !silent.is_empty() {
            tracing::warn!(
                silent = silent.join(", "),
                "not every other center could be asked what it holds of this log; it is signed all the same"
            );
        }
        if let Err(error) = ledger.allow(None) {
            tracing::error!(%error, "the log can't be signed");
        }
        self.journal.hold(false);
        true
    }

    /// Whether what another center holds is an earlier state of this log.
    fn judge(&self, held: &str) -> Result<(), Error> {
        let held = SignedCheckpoint::open(held, &self.center.genesis.log_key())?;
        let ledger = self.books.book().ledger();
        match ledger.check_extends(&held) {
            // From here on it says so to everybody who asks.
            Err(Error::RolledBack { seen, .. }) => ledger.allow(Some(seen)),
            checked => checked,
        }
    }
}
