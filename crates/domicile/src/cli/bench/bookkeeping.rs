//! What the ledger says of a center that nobody serves: whether it and the store agree, and which frames lie in entered batches.

use std::collections::HashSet;

use anyhow::{Context, ensure};
use ledger::entry::Stored;
use ledger::{Entered, Entry, LogReader, verify};
use model::{Event, Position, Protocol, Reading, ReadingSink, SignalId};
use store::{Keyring, Row};
use wire::gbt32960::{CoordinateSystem, Keys};

use super::super::ledger::Subject;
use super::kill_loop::{counters, frame_of};
use super::workshop::Workshop;
use crate::center::Center;
use crate::world::World;

/// Findings that are printed of a ledger that does not verify.
const FINDINGS_SHOWN: usize = 10;

/// What a verified ledger holds.
pub(super) struct Verified {
    pub(super) entries: u64,
    /// Objects that wait for their entries: what a kill leaves between the two.
    pub(super) pending: usize,
    /// Entries of what was destroyed because its term was over.
    pub(super) expired: u64,
}

/// Verifies the ledger of a center at rest, as `domicile ledger verify` does.
pub(super) fn verify_ledger(workshop: &Workshop, world: &World) -> anyhow::Result<Verified> {
    let Subject { objects, names, log_key, options } = Subject::of_center(&workshop.folder, world)?;
    let report = verify(&objects, &names, &log_key, &options)?;
    let shown = report.findings.iter().take(FINDINGS_SHOWN);
    let shown: Vec<String> = shown.map(|finding| format!("{}: {}", finding.place, finding.what)).collect();
    ensure!(report.passed(), "the store and its ledger do not agree:\n{}", shown.join("\n"));
    let expired = report.kinds.get("expired").copied().unwrap_or_default();
    Ok(Verified { entries: report.size, pending: report.pending.len(), expired })
}

/// The numbered frames, by vehicle and number, that lie in batches which the log has an entry of. Each batch is read from the object
/// that its entry names, and every frame's sequence must lie within what the entry says.
pub(super) fn entered_frames(workshop: &Workshop, world: &World) -> anyhow::Result<HashSet<(u32, u64)>> {
    let Subject { objects, names, log_key, .. } = Subject::of_center(&workshop.folder, world)?;
    let center = Center::open(&workshop.folder, world)?;
    let keyring = Keyring::new(objects.clone(), names.clone(), center.identity()?, world.entropy.clone());
    let reader = LogReader::new(objects.clone(), names.ledger(), log_key);
    let head = reader.head()?.context("the log has no head")?;
    let mut context = wire::Context::new(Keys::default(), CoordinateSystem::Wgs84);
    let mut frames = HashSet::new();
    let mut next = 1;
    for entry in reader.entries(reader.view_of_head(&head)?, 0) {
        let (index, entry) = entry?;
        let Entry::Stored(Stored::Batch(facts)) = Entered::parse(&entry)?.entry else { continue };
        ensure!(
            facts.first == next,
            "entry {index} begins with frame {}, and {next} is the next",
            facts.first
        );
        next = facts.last + 1;
        let name = facts.object.as_str();
        let content = objects.read(&facts.object.path())?.with_context(|| format!("{name} is missing"))?;
        store::read(name, content)?.for_each(&keyring, |row: Row<'_>| {
            let within = facts.first..=facts.last;
            ensure!(within.contains(&row.sequence.0), "{name}: frame {} is not in its entry", row.sequence);
            let bytes =
                row.bytes.with_context(|| format!("{name}: frame {} can't be opened", row.sequence))?;
            let mut found = Found::of(row.protocol);
            wire::decode(row.protocol, bytes, row.received_at, &mut context, &mut found)?;
            if let Some(counter) = found.counter
                && let Some((vehicle, number, _)) = frame_of(row.protocol.as_str(), &counter.to_string())?
            {
                frames.insert((vehicle, number));
            }
            Ok::<(), anyhow::Error>(())
        })?;
    }
    Ok(frames)
}

/// Takes the counter out of a decoded frame.
struct Found {
    /// The signal that carries it; `None` where frames of the protocol carry none.
    signal: Option<SignalId>,
    counter: Option<f64>,
}

impl Found {
    fn of(protocol: Protocol) -> Self {
        let counter = counters().into_iter().find(|(source, _, _)| *source == protocol.as_str());
        Self { signal: counter.and_then(|(_, path, _)| wire::catalogue::find(path)), counter: None }
    }
}

impl ReadingSink for Found {
    fn reading(&mut self, reading: Reading<'_>) {
        if self.signal == Some(reading.signal) {
            self.counter = reading.value.or(self.counter);
        }
    }

    fn position(&mut self, _: Position) {}

    fn event(&mut self, _: Event<'_>) {}
}
