//! A drill: for a while this center is not there for vehicles and for other centers, on purpose, as though it were lost; then it comes back
//! by itself. What it held at the time is noted, so that whoever ordered it can see what a real loss would have cost, and who came where.
//!
//! Connections end as they do when the program stops: with the answers that they are owed. New ones are closed at once, and so are those of
//! other centers; nobody is asked anything. The interface, the console and SQL stay. A program that ends ends its drill.

use std::sync::Arc;
use std::time::Duration;

use ledger::entry::{Degraded, Stored, Word};
use ledger::{Entered, Entry};
use model::{CenterName, Clock};
use parking_lot::Mutex;
use store::Journal;

use crate::api::Problem;
use crate::api::centers::DrillView;
use crate::bookkeeping::Bookkeeper;
use crate::charter::{Charters, State};
use crate::ingress::connections::Nudge;
use crate::ingress::gate::Gate;
use crate::peer::Others;

/// The longest drill: a loss that lasts longer is seen in an hour, and a drill that was forgotten ends.
const SECONDS_MAX: u32 = 3_600;

/// What a drill is made with.
pub(crate) struct Drill {
    pub(crate) gate: Arc<Gate>,
    pub(crate) journal: Journal,
    pub(crate) books: Arc<Bookkeeper>,
    pub(crate) others: Others,
    pub(crate) charters: Arc<Charters>,
    pub(crate) own: CenterName,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) newest: Newest,
}

/// The newest drill.
#[derive(Default)]
pub(crate) struct Newest(Mutex<Option<DrillView>>);

impl Drill {
    /// Begins a drill of so many seconds, which ends by itself. Called inside the runtime.
    ///
    /// # Errors
    /// Where one goes on already, or where vehicles could go nowhere.
    pub(crate) fn begin(self: &Arc<Self>, seconds: u32) -> Result<DrillView, Problem> {
        if !(1..=SECONDS_MAX).contains(&seconds) {
            return Err(Problem::invalid(format!("a drill takes from 1 to {SECONDS_MAX} seconds")));
        }
        if !self.charters.others().iter().any(|member| member.state == State::Active) {
            return Err(Problem::refused(
                "no other center of the country takes vehicles: they could go nowhere",
            ));
        }
        let mut view = self.newest.0.lock();
        if view.as_ref().is_some_and(|view| view.over_at.is_none()) {
            return Err(Problem::conflict("a drill goes on already"));
        }
        let begun = self.noted()?;
        *view = Some(begun.clone());
        drop(view);
        self.enter("begun");
        self.gate.away.set(true);
        self.gate.connections.nudge_all(Nudge::Shutdown);
        tracing::warn!(
            seconds,
            vehicles = begun.vehicles.len(),
            "a drill: this center is not there for vehicles and other centers"
        );
        let drill = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(u64::from(seconds))).await;
            drill.end();
        });
        Ok(begun)
    }

    /// How the newest drill stands.
    pub(crate) fn view(&self) -> Option<DrillView> {
        self.newest.0.lock().clone()
    }

    fn end(&self) {
        self.gate.away.set(false);
        if let Some(view) = self.newest.0.lock().as_mut() {
            view.over_at = Some(self.clock.now().to_string());
        }
        self.enter("over");
        tracing::warn!("the drill is over: this center is there again");
    }

    /// What only this center has at this moment, and who is connected.
    fn noted(&self) -> Result<DrillView, Problem> {
        let ledger = self.books.book().ledger();
        let entries = ledger.checkpoint().size();
        let held = self.others.receipts.all().values().map(ledger::SignedCheckpoint::size).max().unwrap_or(0);
        let frames_only_here = match &self.others.second {
            Some(second) if !second.view().is_degraded => 0,
            _ => self.frames_beyond(held)?,
        };
        Ok(DrillView {
            center: self.own.to_string(),
            began_at: self.clock.now().to_string(),
            over_at: None,
            vehicles: self.gate.connections.vehicles().iter().map(ToString::to_string).collect(),
            frames_only_here,
            entries_only_here: entries.saturating_sub(held),
        })
    }

    /// Frames acknowledged here that lie in no batch which another center holds.
    fn frames_beyond(&self, held: u64) -> Result<u64, Problem> {
        let mut from = self.journal.oldest().0;
        for entry in self.books.book().ledger().entries(held).map_err(Problem::unavailable)? {
            let (_, entry) = entry.map_err(Problem::unavailable)?;
            let entry = Entered::parse(&entry).map_err(Problem::unavailable)?.entry;
            if let Entry::Stored(Stored::Batch(batch)) = entry {
                from = from.min(batch.first);
            }
        }
        Ok((self.journal.committed().borrow().0 + 1).saturating_sub(from))
    }

    fn enter(&self, state: &'static str) {
        let entry = Entry::Degraded(Degraded { part: Word::of("drill"), state: Word::of(state) });
        if let Err(error) = self.books.book().enter(&entry) {
            tracing::error!(%error, "that a drill {state} can't be entered in the log");
        }
    }
}
