//! A crash between any two steps leaves what waits, and the start enters it.

use ledger::entry::Ground;
use ledger::{Destruction, Word};
use object_store::path::Path;

use crate::world::{Plain, SOON, World, done, refused};

#[test]
fn what_was_put_and_not_entered_waits_and_is_entered_by_the_start() {
    let world = World::filled();
    world.put(&world.names.pack(2), "version = cn-2\n");
    world.put_control(4);
    world.put_control(5);
    let batch = world.put_batch(10, 12).name.path();
    world.put_batch(13, 20);
    world.put(&world.names.record(2), "more sales");
    // One of them had its opening already: it is taken, not replaced.
    let opening = world.names.opening(&batch).expect("a name");
    world.put(&opening, &format!("{}\n", "ab".repeat(32)));
    let report = world.verify();
    assert_eq!((report.findings, report.pending.len()), (vec![], 6));
    assert_eq!(world.restart(), 6);
    assert_eq!(world.content(&opening), format!("{}\n", "ab".repeat(32)).into_bytes());
    world.assert_clean();
    assert_eq!(world.restart(), 0);
}

#[test]
fn a_manifest_without_its_entry_is_entered_as_it_stands() {
    let world = World::filled();
    let before = world.files();
    let book = world.book();
    let version = world.put_version(2, "gw-12", &["gw-5.parquet"]);
    done(book.enter_table_version(&version));
    assert!(book.ledger().close(SOON));
    // The log forgets the entry; its objects stay.
    world.roll_back(&before, |name| !name.contains("/ledger/"));
    let report = world.verify();
    assert_eq!(report.findings, []);
    assert_eq!(report.pending.len(), 3);
    assert_eq!(world.restart(), 1);
    world.assert_clean();
    let book = world.book();
    assert_eq!((book.table_version("signals"), book.manifest_number()), (Some(2), 3));
    // What the version removed may go, and needs no further entry.
    book.discard(&version.removed).expect("deleted");
    world.assert_clean();
}

#[test]
fn entering_what_is_entered_does_nothing() {
    let world = World::filled();
    let book = world.book();
    assert!(!book.is_new());
    assert_eq!((book.control_number(), book.pack_number(), book.record_number()), (3, 1, 1));
    assert_eq!(book.stored_through(&"gw".parse().expect("a name")).map(|last| last.0), Some(9));
    assert!(book.enter_genesis().expect("entered").is_none());
    assert!(book.enter_control(2).expect("entered").is_none());
    book.enter_changes(&Plain).expect("there is nothing to enter");
    assert!(book.enter_pack(1, "cn-1").expect("entered").is_none());
    assert!(book.enter_records(1, Word::of("sale"), 2).expect("entered").is_none());
    let size = book.ledger().status().size;
    assert_eq!(book.reconcile(&Plain).expect("reconciled").entered, 0);
    // A gap is no entry.
    assert!(book.enter_batch(&world.put_batch(11, 12)).is_err());
    world.put_control(5);
    assert!(book.enter_control(5).is_err());
    assert!(book.enter_control(9).is_err());
    assert_eq!((book.ledger().status().size, book.ledger().status().waiting), (size, 0));
}

#[test]
fn a_destruction_is_entered_first_and_gone_on_with_after_a_crash() {
    let world = World::filled();
    let batch = world.put_batch(10, 12);
    let book = world.book();
    done(book.enter_batch(&batch));
    let path = batch.name.path();
    let content = world.content(&path);
    book.destroy(Destruction::Expired, Ground::Term, std::slice::from_ref(&path), SOON).expect("destroyed");
    assert!(book.destroy(Destruction::Erased, Ground::Request, &[world.names.genesis()], SOON).is_err());
    assert!(book.ledger().close(SOON));
    assert!(world.objects.read(&path).expect("readable").is_none());
    assert!(world.objects.read(&world.names.opening(&path).expect("a name")).expect("readable").is_none());
    let report = world.assert_clean();
    assert_eq!(report.kinds["expired"], 1);
    // A crash before the deletion, or between that of the object and of its opening: the start goes on.
    let opening = world.names.opening(&path).expect("a name");
    for (left, text) in [(&path, content.as_slice()), (&opening, b"left")] {
        world.set(left.as_ref(), Some(text));
        let report = world.verify();
        assert_eq!((report.findings, report.pending), (vec![], vec![left.to_string()]));
        world.restart();
        world.assert_clean();
    }
    // What an earlier destruction has left is no longer on its way.
    let later = world.put_batch(13, 13);
    let book = world.book();
    done(book.enter_batch(&later));
    book.destroy(Destruction::Expired, Ground::Term, &[later.name.path()], SOON).expect("destroyed");
    assert!(book.ledger().close(SOON));
    world.assert_clean();
    for left in [&path, &opening] {
        world.set(left.as_ref(), Some(&content));
        let report = world.verify();
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].place, left.as_ref());
        world.set(left.as_ref(), None);
    }
}

#[test]
fn many_are_destroyed_by_a_manifest() {
    let world = World::filled();
    let book = world.book();
    let batches: Vec<_> = (10..40).map(|sequence| world.put_batch(sequence, sequence)).collect();
    batches.iter().for_each(|batch| done(book.enter_batch(batch)));
    let paths: Vec<Path> = batches.iter().map(|batch| batch.name.path()).collect();
    let before = world.files();
    book.destroy(Destruction::Erased, Ground::Request, &paths, SOON).expect("destroyed");
    assert!(book.ledger().close(SOON));
    assert_eq!(world.assert_clean().kinds["erased"], 1);
    // A crash between the manifest and its entry: nothing was destroyed yet, and the start destroys it.
    let manifest = world.names.manifest(3);
    world.roll_back(&before, |name| name.ends_with(manifest.filename().expect("a name")));
    let report = world.verify();
    assert_eq!((report.findings, report.pending), (vec![], vec![manifest.to_string()]));
    assert_eq!(world.restart(), 1);
    assert_eq!(world.assert_clean().kinds["erased"], 1);
    assert!(paths.iter().all(|path| world.objects.read(path).expect("readable").is_none()));
}

#[test]
fn a_discard_that_a_crash_cut_waits_and_is_finished() {
    let world = World::filled();
    let book = world.book();
    done(book.enter_table_version(&world.put_version(2, "sorted", &["gw-5.parquet", "gw-9.parquet"])));
    let gone = ["gw-5.parquet", "gw-9.parquet"].map(|name| world.table_file(name));
    // The object goes first; the crash comes before its opening goes.
    world.objects.delete(&gone[0]).expect("deleted");
    let report = world.verify();
    let opening = world.names.opening(&gone[0]).expect("a name").to_string();
    assert_eq!((report.findings, report.pending), (vec![], vec![opening]));
    book.discard(&gone).expect("deleted");
    book.discard(&gone).expect("deleted before");
    world.assert_clean();
}

#[test]
fn a_superseded_object_may_go() {
    let world = World::filled();
    let book = world.book();
    let old = world.table_file("gw-5.parquet");
    let pending = book.enter_superseded(&old, &world.table_file("gw-9.parquet")).expect("entered");
    assert!(crate::world::committed(&pending));
    world.assert_clean();
    book.discard(std::slice::from_ref(&old)).expect("deleted");
    world.assert_clean();
}

#[test]
fn a_center_from_before_the_ledger_is_adopted_whole() {
    let world = World::new(false);
    (1..=3).for_each(|number| world.put_control(number));
    // Its first batches have expired.
    world.put_batch(101, 105);
    world.put_batch(106, 110);
    world.put_version(0, "gw-105", &[]);
    world.put_version(1, "gw-110", &[]);
    world.put(&world.table_file("_delta_log/_last_checkpoint"), "derived");
    let loose = world.table_file("gw-111.parquet");
    world.put(&loose, "rows of a commit that is to come");
    let book = world.book();
    assert!(book.is_new());
    assert_eq!(world.verify().findings, []);
    let done = book.reconcile(&Plain).expect("adopted");
    assert!(done.adopted && done.last.as_ref().is_some_and(crate::world::committed));
    assert_eq!(done.entered, 3 + 2 + 1 + 1);
    assert!(!book.is_new());
    let report = world.verify();
    assert_eq!((report.findings, report.pending), (vec![], vec![loose.to_string()]));
    assert_eq!((report.kinds["adopted"], report.notes.len()), (7, 1));
    // From here on it is a center like any other.
    assert!(!book.reconcile(&Plain).expect("nothing").adopted);
    assert_eq!(book.table_version("signals"), Some(1));
    crate::world::done(book.enter_batch(&world.put_batch(111, 112)));
    assert!(book.ledger().close(SOON));
    let report = world.verify();
    assert_eq!((report.findings, report.pending), (vec![], vec![loose.to_string()]));
}

#[test]
fn an_adoption_that_a_crash_cut_goes_on() {
    let world = World::new(false);
    world.put_batch(101, 105);
    world.put_control(1);
    world.put_version(0, "gw-105", &[]);
    let genesis = world.content(&world.names.genesis());
    let book = world.book();
    // The genesis is adopted last; it can't be read now, so the adoption stops before it.
    world.put(&world.names.opening(&world.names.genesis()).expect("a name"), "no opening");
    assert!(book.reconcile(&Plain).is_err());
    assert!(book.ledger().close(SOON));
    world.set(world.names.opening(&world.names.genesis()).expect("a name").as_ref(), None);
    assert_eq!(world.verify().pending, [world.names.genesis().to_string()]);
    world.put_batch(106, 106);
    let book = world.book();
    assert!(book.is_new());
    let done = book.reconcile(&Plain).expect("adopted");
    assert!(done.adopted && done.last.as_ref().is_some_and(crate::world::committed));
    assert_eq!(done.entered, 2);
    assert_eq!(world.content(&world.names.genesis()), genesis);
    assert_eq!(world.assert_clean().kinds["adopted"], 5);
}

#[test]
fn a_new_center_gets_its_charter_first() {
    let world = World::new(true);
    world.put_control(1);
    let book = world.book();
    assert!(book.is_new() && book.enter_control(1).is_err());
    assert!(book.ledger().close(SOON));
    assert_eq!(world.restart(), 2);
    let report = world.assert_clean();
    assert_eq!((report.kinds["charter"], report.kinds["control"]), (1, 1));
}

#[test]
fn what_speaks_of_an_object_is_not_entered_without_it() {
    let world = World::filled();
    let book = world.book();
    let report = ledger::entry::Superseded {
        object: "shanghai-1/x".parse().expect("a name"),
        by: "shanghai-1/y".parse().expect("a name"),
    };
    assert!(book.enter(&ledger::Entry::Superseded(report)).is_err());
    assert!(book.enter(&refused(3)).is_ok());
    // An object that the store gives back otherwise than it was sealed is not entered.
    let mut batch = world.put_batch(10, 12);
    batch.bytes += 1;
    assert!(book.enter_batch(&batch).is_err());
    world.objects.delete(&batch.name.path()).expect("deleted");
    batch.bytes -= 1;
    assert!(book.enter_batch(&batch).is_err());
}
