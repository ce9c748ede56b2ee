//! Logs that are damaged, made by others, or raced for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::{Clock, UtcMicros};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{Bounds, DeltaTable, FileStatistics, NewFile};
use crate::Error;
use crate::schema::Table;

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> UtcMicros {
        UtcMicros::from_seconds(1_795_428_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    futures::executor::block_on(future)
}

fn open(store: &Arc<InMemory>) -> Result<DeltaTable, Error> {
    let store: Arc<dyn ObjectStore> = store.clone();
    block_on(DeltaTable::open(Table::Events, store, Path::from("t"), Arc::new(Stopped)))
}

fn file(name: &str) -> NewFile {
    let statistics = FileStatistics { rows: 3, ..FileStatistics::default() };
    NewFile { name: name.to_owned(), bytes: Bytes::from_static(b"rows"), statistics }
}

#[test]
fn two_writers_take_turns_and_neither_commits_twice() {
    let store = Arc::new(InMemory::new());
    let (mut one, mut two) = (open(&store).expect("a table"), open(&store).expect("a table"));
    assert!(block_on(one.commit("c/a", 5, Some(file("a")))).expect("a commit"));
    assert!(block_on(two.commit("c/b", 7, Some(file("b")))).expect("a commit after another's"));
    assert!(!block_on(one.commit("c/b", 7, Some(file("b2")))).expect("found in the log"));
    assert!(!block_on(one.commit("c/b", 6, Some(file("b3")))).expect("older than the log"));
    assert_eq!((one.transaction("c/a"), one.transaction("c/b")), (Some(5), Some(7)));
    let table = open(&store).expect("a table");
    assert_eq!(table.snapshot().files.len(), 2);
    assert_eq!(table.snapshot().rows(), 6);
    assert_eq!(table.snapshot().version, 2);
}

#[test]
fn a_log_cut_off_anywhere_is_named_as_damaged() {
    let store = Arc::new(InMemory::new());
    let mut table = open(&store).expect("a table");
    block_on(table.commit("c/a", 5, Some(file("a")))).expect("a commit");
    for version in 0..2 {
        let path = Path::from(format!("t/_delta_log/{version:020}.json"));
        let whole =
            block_on(async { store.get(&path).await.expect("a commit").bytes().await.expect("bytes") });
        for length in 0..whole.len() - 1 {
            block_on(store.put(&path, whole.slice(..length).into())).expect("a put");
            let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count();
            match open(&store) {
                Err(Error::Damaged { table: "events", .. }) => {}
                // Cut between two lines the rest is a log of its own; it must lack what the missing lines
                // say.
                Ok(cut) => {
                    assert!(lines > 0 && whole[length - 1] == b'\n' || whole[length] == b'\n', "{length}");
                    assert!(cut.snapshot().files.is_empty(), "{length}");
                }
                Err(other) => panic!("{length}: {other}"),
            }
        }
        block_on(store.put(&path, whole.into())).expect("a put");
    }
    open(&store).expect("whole again");
}

#[test]
fn a_missing_commit_is_named() {
    let store = Arc::new(InMemory::new());
    let mut table = open(&store).expect("a table");
    for version in 1..4 {
        block_on(table.commit("c/a", version, None)).expect("a commit");
    }
    block_on(store.delete(&"t/_delta_log/00000000000000000002.json".into())).expect("a commit");
    assert!(matches!(open(&store), Err(Error::Damaged { version: 2, .. })));
}

#[test]
fn tables_of_newer_programs_and_other_columns_are_left_alone() {
    let store = Arc::new(InMemory::new());
    open(&store).expect("a table");
    let path = Path::from("t/_delta_log/00000000000000000001.json");
    let newer =
        r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"]}}"#;
    block_on(store.put(&path, newer.into())).expect("a put");
    assert!(matches!(open(&store), Err(Error::TooNew { reader: 3, writer: 7, .. })));
    let schema = Table::Signals.delta_schema();
    let other = serde_json::json!({ "metaData": {
        "id": "x", "format": { "provider": "parquet" }, "schemaString": schema,
        "partitionColumns": [], "configuration": {},
    }});
    block_on(store.put(&path, other.to_string().into())).expect("a put");
    assert!(matches!(open(&store), Err(Error::Schema { table: "events" })));
}

#[test]
fn removed_files_leave_the_snapshot() {
    let store = Arc::new(InMemory::new());
    let mut table = open(&store).expect("a table");
    block_on(table.commit("c/a", 1, Some(file("a")))).expect("a commit");
    block_on(table.commit("c/a", 2, Some(file("b")))).expect("a commit");
    let path = Path::from("t/_delta_log/00000000000000000003.json");
    let removal = r#"{"remove":{"path":"a","deletionTimestamp":1,"dataChange":true}}"#;
    block_on(store.put(&path, removal.into())).expect("a put");
    assert!(block_on(table.commit("c/a", 3, None)).expect("a commit after it"));
    let table = open(&store).expect("a table");
    let files: Vec<_> = table.snapshot().files.iter().map(|file| file.add.path.as_str()).collect();
    assert_eq!(files, ["b"]);
    assert!(table.snapshot().removed["a"].data_change);
}

#[test]
fn statistics_read_back_as_written_but_for_rounding_outwards() {
    let mut statistics = FileStatistics { rows: 7, ..FileStatistics::default() };
    statistics.bounds.insert("vehicle".to_owned(), Bounds::Text("a".to_owned(), "b".to_owned()));
    statistics.bounds.insert("time".to_owned(), Bounds::Time(1_795_428_000_123_456, 1_795_428_000_123_456));
    statistics.bounds.insert("received_at".to_owned(), Bounds::Time(-1, i64::MAX));
    statistics.nulls.insert("text".to_owned(), 3);
    let json = statistics.to_json();
    assert!(
        json.contains(r#""time":"2026-11-23T10:00:00.123Z""#)
            && json.contains(r#""time":"2026-11-23T10:00:00.124Z""#),
        "{json}"
    );
    let read = FileStatistics::from_json(&json).expect("statistics");
    assert_eq!(read.bounds["time"], Bounds::Time(1_795_428_000_123_000, 1_795_428_000_124_000));
    assert_eq!(read.bounds["vehicle"], statistics.bounds["vehicle"]);
    assert_eq!((read.rows, &read.nulls), (7, &statistics.nulls));
    assert!(!read.bounds.contains_key("received_at"), "a year of more than four digits is left out");
    for length in 0..json.len() {
        assert_eq!(FileStatistics::from_json(&json[..length]), None);
    }
}

fn content(store: &Arc<InMemory>, name: &str) -> Bytes {
    let path = Path::from("t").join(name);
    block_on(async { store.get(&path).await.expect("a file").bytes().await.expect("bytes") })
}

fn other(name: &str) -> NewFile {
    NewFile { bytes: Bytes::from_static(b"other rows"), ..file(name) }
}

#[test]
fn a_file_without_a_commit_is_overwritten_and_one_that_a_commit_names_is_not() {
    let store = Arc::new(InMemory::new());
    let (mut one, mut stale) = (open(&store).expect("a table"), open(&store).expect("a table"));
    block_on(store.put(&"t/a".into(), "of a try that crashed".into())).expect("a put");
    assert!(block_on(one.commit("c/a", 5, Some(file("a")))).expect("a commit"));
    assert_eq!(content(&store, "a"), "rows");
    // Who does not know of the commit learns of it before it writes.
    assert!(!block_on(stale.commit("c/a", 5, Some(other("a")))).expect("found in the log"));
    let taken = block_on(one.commit("c/b", 5, Some(other("a"))));
    assert!(matches!(taken, Err(Error::FileTaken { table: "events", file }) if file == "a"));
    let removal = r#"{"remove":{"path":"a","deletionTimestamp":1,"dataChange":true}}"#;
    block_on(store.put(&"t/_delta_log/00000000000000000002.json".into(), removal.into())).expect("a put");
    assert!(matches!(block_on(one.commit("c/b", 5, Some(other("a")))), Err(Error::FileTaken { .. })));
    assert_eq!(content(&store, "a"), "rows");
    assert!(block_on(one.commit("c/b", 5, Some(other("b")))).expect("a name of its own"));
}

#[test]
fn a_version_tells_what_it_added_and_removed() {
    let store = Arc::new(InMemory::new());
    let mut table = open(&store).expect("a table");
    block_on(table.commit("c/a", 1, Some(file("a")))).expect("a commit");
    let removal = concat!(
        r#"{"remove":{"path":"a","deletionTimestamp":1,"dataChange":true}}"#,
        "\n",
        r#"{"add":{"path":"b","size":1,"modificationTime":1,"dataChange":true}}"#,
    );
    let path = Path::from("t/_delta_log/00000000000000000002.json");
    block_on(store.put(&path, removal.into())).expect("a put");
    let table = open(&store).expect("a table");
    let changes = block_on(table.changes(2)).expect("changes");
    assert_eq!(
        (changes.commit, changes.added, changes.removed),
        (path, vec!["t/b".into()], vec!["t/a".into()])
    );
}

#[test]
fn a_commit_that_names_other_folders_or_nothing_is_damaged() {
    let store = Arc::new(InMemory::new());
    let mut table = open(&store).expect("a table");
    block_on(table.commit("c/a", 1, Some(file("a")))).expect("a commit");
    let add = |path: &str| {
        format!(r#"{{"add":{{"path":"{path}","size":1,"modificationTime":1,"dataChange":true}}}}"#)
    };
    let empty =
        [String::new(), "{}".to_owned(), r#"{"commitInfo":{"timestamp":1,"operation":"WRITE"}}"#.to_owned()];
    let foreign = ["../a", "a/b", "%2e%2e", "", "/t/a", "s3://else/a"].map(add);
    for text in empty.into_iter().chain(foreign) {
        block_on(store.put(&"t/_delta_log/00000000000000000001.json".into(), text.clone().into()))
            .expect("a put");
        let changes = block_on(table.changes(1));
        assert!(
            matches!(changes, Err(Error::Damaged { table: "events", version: 1, .. })),
            "{text}: {changes:?}"
        );
    }
}
