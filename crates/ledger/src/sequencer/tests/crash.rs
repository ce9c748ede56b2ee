//! A crash at every operation of the store, before and after that took effect.

use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use store::Objects;

use super::faulty::{Fault, FaultyStore};
use super::{LONG, check_log, entry, fill, fill_singly, open, partial_tiles, parts};
use crate::tree::verify_consistency;
use crate::{Ledger, SignedCheckpoint, TileKind};

/// Where the runs begin: the next commits complete a tile of level 0.
const BEFORE: u64 = 254;
/// What a run appends.
const APPENDED: u64 = 5;

/// A log of some entries.
fn prepared() -> InMemory {
    let memory = Arc::new(InMemory::new());
    let ledger = open(&memory);
    fill(&ledger, BEFORE);
    assert!(ledger.close(LONG));
    memory.fork()
}

/// Opens the log and appends entry after entry until all are committed or the store is out of reach. Gives the checkpoints that
/// were told, and how many operations there were.
fn run(memory: &Arc<InMemory>, fault: Option<Fault>, first: u64) -> (Vec<SignedCheckpoint>, usize) {
    let store = Arc::new(FaultyStore::new(Arc::clone(memory), fault));
    let objects = Objects::new(Arc::clone(&store) as Arc<dyn ObjectStore>);
    let mut told = Vec::new();
    let is_last = fault.is_some_and(|fault| fault.is_last);
    let reaches = |at: usize| fault.is_none_or(|fault| at <= fault.at);
    if let Ok(ledger) = Ledger::open(parts(objects)) {
        ledger.allow(None).expect("nobody was asked");
        for index in first..first + APPENDED {
            let Ok(pending) = ledger.append(entry(index)) else { break };
            while !matches!(pending.wait(Duration::from_millis(1)), Ok(Some(_)) | Err(_))
                && (!is_last || reaches(store.operations()))
            {}
            match pending.wait(Duration::ZERO) {
                Ok(Some(receipt)) => {
                    assert_eq!(receipt.index(), index);
                    told.push(ledger.checkpoint());
                }
                _ => break,
            }
        }
        ledger.close(LONG);
    }
    (told, store.operations())
}

/// That what was told is in the log, and that the log goes on.
fn check(memory: &Arc<InMemory>, told: &[SignedCheckpoint]) {
    let ledger = open(memory);
    let now = ledger.checkpoint();
    for told in told {
        assert!(told.size() <= now.size());
        let proof = ledger.consistency_proof(told.size(), now.size()).expect("a proof");
        verify_consistency(told.size(), told.root(), now.size(), now.root(), &proof)
            .expect("it goes on from there");
    }
    fill_singly(&ledger, now.size() + 2);
    assert!(ledger.close(LONG));
    let size = check_log(memory);
    assert!((BEFORE + 2..=BEFORE + APPENDED + 2).contains(&size));
    if size >= 258 {
        let places = partial_tiles(memory);
        assert!(places.iter().all(|tile| tile.index > 0 || tile.kind == TileKind::Hashes(1)), "{places:?}");
    }
}

#[test]
fn no_crash_loses_what_was_told_or_leaves_a_log_that_does_not_go_on() {
    let prepared = prepared();
    let (told, operations) = run(&Arc::new(prepared.fork()), None, BEFORE);
    assert_eq!(told.len() as u64, APPENDED);
    let mut most = 0;
    for at in 0..operations {
        for takes_effect in [false, true] {
            let memory = Arc::new(prepared.fork());
            let (told, _) = run(&memory, Some(Fault { at, takes_effect, is_last: true }), BEFORE);
            most = most.max(told.len());
            check(&memory, &told);
        }
    }
    assert_eq!(most as u64, APPENDED, "the last operations follow the last answer");
}

#[test]
fn a_crash_during_the_recovery_from_a_crash_is_recovered_from() {
    let prepared = prepared();
    let (_, operations) = run(&Arc::new(prepared.fork()), None, BEFORE);
    for at in (0..operations).step_by(3) {
        let memory = Arc::new(prepared.fork());
        let (told, _) = run(&memory, Some(Fault { at, takes_effect: true, is_last: true }), BEFORE);
        for again in 0..12 {
            let memory = Arc::new(memory.fork());
            let store = FaultyStore::new(
                Arc::clone(&memory),
                Some(Fault { at: again, takes_effect: true, is_last: true }),
            );
            drop(Ledger::open(parts(Objects::new(Arc::new(store)))));
            check(&memory, &told);
        }
    }
}

#[test]
fn an_answer_that_is_lost_once_stops_nothing() {
    let prepared = prepared();
    let (_, operations) = run(&Arc::new(prepared.fork()), None, BEFORE);
    let opening = {
        let memory = Arc::new(prepared.fork());
        let store = Arc::new(FaultyStore::new(memory, None));
        let ledger = Ledger::open(parts(Objects::new(Arc::clone(&store) as Arc<dyn ObjectStore>)));
        ledger.expect("the log opens").close(LONG);
        store.operations()
    };
    for at in opening..operations {
        for takes_effect in [false, true] {
            let memory = Arc::new(prepared.fork());
            let (told, _) = run(&memory, Some(Fault { at, takes_effect, is_last: false }), BEFORE);
            assert_eq!(told.len() as u64, APPENDED, "operation {at}");
            check(&memory, &told);
        }
    }
}
