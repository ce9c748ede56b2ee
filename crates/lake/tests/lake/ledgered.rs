//! Maintenance with a real ledger as its books: the store and the log say the same after each step, before and after deletion,
//! and as a kill between any two steps leaves them.

use std::fs;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lake::{Books, LakeWriter, ObjectPath, SourceError, Urgency, Work};
use ledger::entry::Ground;
use ledger::{
    Book, Destruction, Ledger, Meaning, Options, Report, SignatureType, SigningKey, TableVersion, Word,
};
use model::{CenterName, Clock, Entropy, UtcMicros};
use parking_lot::Mutex;
use store::{Names, Objects};
use tempfile::TempDir;

use crate::world::{Center, START, check_rows};

/// Longer than any commit of these tests.
const SOON: Duration = Duration::from_secs(60);

/// Copies that are tried until one is of a store at rest.
const COPIES_MAX: usize = 200;

/// A clock that goes on by a second each time that somebody looks, so that no commit waits for others.
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> UtcMicros {
        START
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Never the same bytes twice.
struct Counted(AtomicU64);

impl Entropy for Counted {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            let number = self.0.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

struct NoMeaning;

impl Meaning for NoMeaning {
    fn pack_version(&self, _pack: &[u8]) -> Option<String> {
        None
    }

    fn records(&self, _records: &bytes::Bytes) -> Option<(Word, u64)> {
        None
    }
}

/// A center's store with its log.
struct Ledgered {
    objects: Objects,
    names: Names,
    key: SigningKey,
}

impl Ledgered {
    fn open(folder: &FilePath) -> Self {
        let objects = Objects::local(folder).expect("a store");
        let names = Names::new("shanghai-1".parse::<CenterName>().expect("a name"));
        let key = SigningKey::from_seed("0123.domicile/shanghai-1", SignatureType::Ed25519, &[7; 32]);
        Self { objects, names, key: key.expect("a key") }
    }

    /// One whose log is empty but for the charter.
    fn new(folder: &FilePath) -> Self {
        let center = Self::open(folder);
        let country = SigningKey::from_seed("0123/country", SignatureType::Ed25519, &[8; 32]).expect("a key");
        let genesis = format!("{{\"country\":\"CN\",\"country_vkey\":\"{}\"}}\n", country.verifier());
        let text = ledger_genesis_text(genesis.as_bytes());
        let note = country.sign(&text).expect("a text").to_string();
        for (name, content) in [(center.names.genesis(), genesis), (center.names.genesis_signature(), note)] {
            let _new = center.objects.create(&name, bytes::Bytes::from(content)).expect("put");
        }
        assert!(center.book().ledger().close(SOON));
        center
    }

    /// The book after a start, which enters what a kill left.
    fn book(&self) -> Book {
        let clock: Arc<dyn Clock> = Arc::new(Ticks(AtomicU64::new(0)));
        let parts = ledger::Parts {
            objects: self.objects.clone(),
            folder: self.names.ledger(),
            key: self.key.clone(),
            clock: Arc::clone(&clock),
            owner: "test".to_owned(),
            publish_at_once: true,
        };
        let ledger = Ledger::open(parts).expect("a ledger");
        ledger.allow(None).expect("allowed");
        // Each book draws other numbers, as the system's randomness would.
        let drawn = self.objects.list(&self.names.openings()).expect("a list").len() as u64;
        let entropy = Arc::new(Counted(AtomicU64::new(drawn << 32 | 1)));
        let book =
            Book::open(ledger, self.objects.clone(), self.names.clone(), clock, entropy).expect("a book");
        let done = book.reconcile(&NoMeaning).expect("reconciled");
        if let Some(last) = done.last {
            assert!(last.wait(SOON).expect("a commit").is_some());
        }
        book
    }

    fn verify(&self) -> Report {
        ledger::verify(&self.objects, &self.names, &self.key.verifier(), &Options::default())
            .expect("readable")
    }
}

fn ledger_genesis_text(genesis: &[u8]) -> String {
    use base64::Engine;
    use sha2::Digest;
    let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(genesis));
    format!("domicile genesis v1\n{hash}\n")
}

/// Enters the tables' versions as the pipeline does, and copies the store's folder between the steps.
struct Kept<'a> {
    writer: &'a LakeWriter,
    book: Book,
    objects: Objects,
    folder: &'a FilePath,
    copies: &'a Mutex<Vec<(String, TempDir)>>,
}

impl<'a> Kept<'a> {
    fn of(
        center: &'a Center,
        ledgered: &Ledgered,
        folder: &'a FilePath,
        copies: &'a Mutex<Vec<(String, TempDir)>>,
    ) -> Self {
        let (writer, objects) = (&center.writer, ledgered.objects.clone());
        Self { writer, book: ledgered.book(), objects, folder, copies }
    }

    fn copy(&self, what: &str) {
        // The ledger's thread still tidies its tiles: a copy is of one instant if nothing changed meanwhile.
        let state = || self.objects.list(&ObjectPath::from("shanghai-1")).expect("a list");
        for _ in 0..COPIES_MAX {
            let (copy, before) = (tempfile::tempdir().expect("a folder"), state());
            if copy_folder(self.folder, copy.path()).is_ok() && state() == before {
                self.copies.lock().push((what.to_owned(), copy));
                return;
            }
        }
        panic!("the store does not come to rest");
    }
}

fn copy_folder(from: &FilePath, to: &FilePath) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

impl Books for Kept<'_> {
    fn finish(&self) -> Result<(), SourceError> {
        self.book.finish_destruction(SOON).map_err(|error| SourceError(error.to_string()))
    }

    fn entered(&self, table: &str, _version: i64) -> Result<i64, SourceError> {
        self.copy("before the versions are entered");
        enter(self.writer, &self.book);
        self.copy("after the versions are entered");
        Ok(self.book.table_version(table).unwrap_or(-1))
    }

    fn destroy(&self, objects: &[ObjectPath]) -> Result<(), SourceError> {
        let done = self.book.destroy(Destruction::Expired, Ground::Term, objects, SOON);
        self.copy("after a destruction");
        done.map_err(|error| SourceError(error.to_string()))
    }

    fn discard(&self, objects: &[ObjectPath]) -> Result<(), SourceError> {
        for object in objects {
            self.book
                .discard(std::slice::from_ref(object))
                .map_err(|error| SourceError(error.to_string()))?;
        }
        self.copy("after files were discarded");
        Ok(())
    }
}

fn enter(writer: &LakeWriter, book: &Book) {
    let mut last = None;
    for (table, newest) in writer.versions() {
        for version in book.table_version(table).map_or(0, |entered| entered + 1)..=newest {
            let changes = writer.changes(table, version).expect("changes");
            let mut added = changes.added;
            added.push(changes.commit);
            let version = TableVersion { table: table.to_owned(), version, added, removed: changes.removed };
            last = book.enter_table_version(&version).expect("entered").or(last);
        }
    }
    if let Some(last) = last {
        assert!(last.wait(SOON).expect("a commit").is_some());
    }
}

fn fill(center: &mut Center, batches: std::ops::Range<u64>) {
    for batch in batches {
        let (first, last) = (batch * 6 + 1, (batch + 1) * 6);
        center.take(batch, first..=last);
        center.commit(first, last).expect("a commit");
    }
}

#[test]
fn the_ledger_holds_after_each_step_and_after_a_kill_between_any_two() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledgered = Ledgered::new(folder.path());
    let copies = Mutex::new(Vec::new());
    {
        let mut center = Center::open(ledgered.objects.object_store()).expect("a lake");
        fill(&mut center, 0..5);
        let (maintenance, clock) = (center.maintenance.clone(), center.clock.clone());
        let books = Kept::of(&center, &ledgered, folder.path(), &copies);
        for days in [0, 0, 15] {
            clock.pass(days * UtcMicros::PER_DAY + 2 * UtcMicros::PER_HOUR);
            let mut each = |_: &lake::Step| {
                books.copy("after a commit");
                true
            };
            maintenance.lock().run(Work::Both, Urgency::Now, &books, &mut each).expect("a run");
            let report = ledgered.verify();
            assert_eq!((report.findings, report.pending), (vec![], vec![]));
        }
        assert!(books.book.ledger().close(SOON));
    }
    let copies = copies.into_inner();
    let kinds = ledgered.verify().kinds;
    println!("{} states; entries: {kinds:?}", copies.len());
    assert!(kinds["expired"] >= 3, "{kinds:?}");
    for (number, (what, copy)) in copies.iter().enumerate() {
        let context = format!("state {number}, {what}");
        let ledgered = Ledgered::open(copy.path());
        assert_eq!(ledgered.verify().findings, [], "{context}");
        // A start goes on from there to the same end.
        let center = Center::open(ledgered.objects.object_store()).expect("a lake");
        let found = center.numbers("select count(*) from signals")[0];
        if found == 30 * 4 {
            check_rows_of_signals(&center, &context);
        }
        let (maintenance, clock) = (center.maintenance.clone(), center.clock.clone());
        let unread = Mutex::new(Vec::new());
        let books = Kept::of(&center, &ledgered, copy.path(), &unread);
        for days in [20, 0] {
            clock.pass(days * UtcMicros::PER_DAY + 2 * UtcMicros::PER_HOUR);
            maintenance.lock().run(Work::Both, Urgency::Now, &books, &mut |_| true).expect(&context);
        }
        assert!(books.book.ledger().close(SOON));
        drop(books);
        let report = ledgered.verify();
        assert_eq!((report.findings, report.pending), (vec![], vec![]), "{context}");
        drop(center);
        let center = Center::open(ledgered.objects.object_store()).expect("a lake");
        assert_eq!(center.numbers("select count(*) from signals"), [30 * 3], "{context}");
        assert_eq!(center.numbers("select count(*) from positions"), [0], "{context}");
    }
}

fn check_rows_of_signals(center: &Center, context: &str) {
    let sum = center.numbers(
        "select count(distinct value), cast(sum(value) as bigint) from signals where signal like '%Part01'",
    );
    assert_eq!(sum, [30, 30 * 31 / 2], "{context}");
}

#[test]
fn ingest_goes_on_after_a_compaction_that_the_ledger_entered() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledgered = Ledgered::new(folder.path());
    let mut center = Center::open(ledgered.objects.object_store()).expect("a lake");
    fill(&mut center, 0..3);
    let copies = Mutex::new(Vec::new());
    let maintenance = center.maintenance.clone();
    {
        let books = Kept::of(&center, &ledgered, folder.path(), &copies);
        maintenance.lock().run(Work::Compact, Urgency::Now, &books, &mut |_| true).expect("a run");
        assert!(books.book.ledger().close(SOON));
    }
    fill(&mut center, 3..6);
    check_rows(&center, 36, "after compaction");
    let book = ledgered.book();
    enter(&center.writer, &book);
    assert!(book.ledger().close(SOON));
    let report = ledgered.verify();
    assert_eq!((report.findings, report.pending), (vec![], vec![]));
}
