//! What each version changed, for the books: complete and unchanging, through crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::TryStreamExt;
use lake::{Changes, Error};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::world::{Center, Fault, FaultyStore, check_rows};

const BATCH: u64 = 10;
const BATCHES: u64 = 3;

/// What was entered: each table's versions from 0 on.
type Book = BTreeMap<&'static str, Vec<Changes>>;

/// Enters the versions that the book lacks.
fn enter(center: &Center, book: &mut Book) -> Result<(), Error> {
    for (table, newest) in center.writer.versions() {
        let entered = book.entry(table).or_default();
        for version in entered.len() as i64..=newest {
            entered.push(center.writer.changes(table, version)?);
        }
    }
    Ok(())
}

fn run(center: &mut Center, book: &mut Book) -> Result<(), Error> {
    enter(center, book)?;
    let covered = center.writer.covered().map_or(0, |covered| covered.0);
    for first in (1..=BATCHES * BATCH).step_by(BATCH as usize) {
        let last = first + BATCH - 1;
        center.take(first, first.max(covered + 1)..=last);
        center.commit(first, last)?;
        enter(center, book)?;
    }
    Ok(())
}

fn block_on<F: Future>(future: F) -> F::Output {
    futures::executor::block_on(future)
}

/// The data files in the store, each with a tag that changes when it is written again.
fn data_files(disk: &InMemory) -> BTreeMap<Path, Option<String>> {
    let objects: Vec<_> = block_on(disk.list(None).try_collect()).expect("a listing");
    let data = objects
        .into_iter()
        .filter(|object| object.location.filename().is_some_and(|name| name.starts_with("gw-")));
    data.map(|object| (object.location, object.e_tag)).collect()
}

fn added(book: &Book) -> Vec<Path> {
    book.values().flatten().flat_map(|changes| changes.added.clone()).collect()
}

#[test]
fn a_version_names_its_commit_and_its_files() {
    let mut center = Center::new();
    let versions = |center: &Center| center.writer.versions();
    assert_eq!(versions(&center), [("signals", 0), ("positions", 0), ("events", 0)]);
    let created = center.writer.changes("signals", 0).expect("the creation");
    assert_eq!(created.commit.as_ref(), "shanghai-1/lake/signals/_delta_log/00000000000000000000.json");
    assert_eq!((created.added.len(), created.removed.len()), (0, 0));
    center.take(1, 1..=1);
    center.commit(1, 1).expect("a commit");
    assert_eq!(versions(&center), [("signals", 1), ("positions", 1), ("events", 1)]);
    let first = center.writer.changes("signals", 1).expect("a version");
    assert_eq!(first.added, [Path::from("shanghai-1/lake/signals/gw-00000000000000000001.parquet")]);
    let empty = center.writer.changes("events", 1).expect("a version without a row");
    assert_eq!(empty.commit.as_ref(), "shanghai-1/lake/events/_delta_log/00000000000000000001.json");
    assert_eq!((empty.added.len(), empty.removed.len()), (0, 0));
    for (table, version) in [("signals", 2), ("signals", -1), ("frames", 0), ("", 0)] {
        match center.writer.changes(table, version) {
            Err(Error::NoVersion { table: named, version: of }) => {
                assert_eq!((named.as_str(), of), (table, version))
            }
            other => panic!("{table} {version}: {other:?}"),
        }
    }
}

#[test]
fn after_a_crash_at_any_operation_the_book_takes_what_it_lacks_and_what_it_has_holds() {
    let store = Arc::new(FaultyStore::new(Arc::new(InMemory::new()), u64::MAX, Fault::Before, false));
    let mut whole = Book::new();
    run(&mut Center::open(store.clone()).expect("a lake"), &mut whole).expect("no fault");
    let count = store.count();
    for at in 1..=count {
        for fault in [Fault::Before, Fault::After] {
            let context = format!("crash at operation {at}, {fault:?}");
            let disk = Arc::new(InMemory::new());
            let mut book = Book::new();
            let dying = Arc::new(FaultyStore::new(disk.clone(), at, fault, true));
            let crashed = Center::open(dying).and_then(|mut center| run(&mut center, &mut book));
            assert!(crashed.is_err(), "{context}");
            let mut center = Center::open(disk.clone()).expect("the store is well again");
            enter(&center, &mut book).expect(&context);
            let named: BTreeSet<Path> = added(&book).into_iter().collect();
            let mut before = data_files(&disk);
            before.retain(|file, _| named.contains(file));
            run(&mut center, &mut book).expect(&context);
            check_rows(&center, BATCHES * BATCH, &context);
            let after = data_files(&disk);
            for (file, tag) in &before {
                assert_eq!(after.get(file), Some(tag), "{context}: {file} was written again");
            }
            let added = added(&book);
            assert_eq!(added.iter().collect::<BTreeSet<_>>().len(), added.len(), "{context}: a file twice");
            assert_eq!(added.iter().collect::<BTreeSet<_>>(), after.keys().collect(), "{context}");
            for (table, entered) in &book {
                assert_eq!(entered.len(), whole[table].len(), "{context}: {table}");
                for (version, changes) in entered.iter().enumerate() {
                    let again = center.writer.changes(table, version as i64).expect(&context);
                    assert_eq!(&again, changes, "{context}");
                }
            }
        }
    }
    println!("crashed at each of {count} operations, before and after it took effect");
}

#[test]
fn a_commit_that_is_gone_or_damaged_is_named() {
    let disk = Arc::new(InMemory::new());
    let mut center = Center::open(disk.clone()).expect("a lake");
    center.take(1, 1..=10);
    center.commit(1, 10).expect("a commit");
    for (table, version) in [("positions", 0), ("positions", 1)] {
        let path = center.writer.changes(table, version).expect("whole").commit;
        let whole =
            block_on(async { disk.get(&path).await.expect("a commit").bytes().await.expect("bytes") });
        let named = |what: &str| match center.writer.changes(table, version) {
            Err(Error::Damaged { table: named, version: of, .. }) => {
                assert_eq!((named, of), (table, version), "{what}")
            }
            other => panic!("{what}: {other:?}"),
        };
        for length in 0..whole.len() - 1 {
            // A cut between two lines can read as a commit that says less; the books' hash of it tells.
            if whole[length] == b'\n' || length > 0 && whole[length - 1] == b'\n' {
                continue;
            }
            block_on(disk.put(&path, whole.slice(..length).into())).expect("a put");
            named(&format!("cut at {length}"));
        }
        block_on(disk.delete(&path)).expect("a commit");
        named("gone");
        block_on(disk.put(&path, whole.into())).expect("a put");
        center.writer.changes(table, version).expect("whole again");
    }
}
