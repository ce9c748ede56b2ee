//! A center's store, made by hand, with an object of each kind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ledger::{
    About, Book, Entry, Ledger, Meaning, Options, Parts, Pending, Refused, Report, SignatureType, SigningKey,
    TableVersion, Word,
};
use model::{
    CenterName, Clock, ConnectionId, Entropy, Frame, GatewayName, KeyPeriod, Protocol, Sequence, UtcMicros,
    VehicleId,
};
use object_store::path::Path;
use sha2::{Digest, Sha256};
use store::{BatchHeader, BatchName, Created, Identity, Keyring, Names, Objects, SealedBatch, SegmentNumber};
use tempfile::TempDir;

/// What must never be in the log.
pub(crate) const VIN: &str = "LSVAA49J132047371";
pub(crate) const VEHICLE: &str = "vabcdefghijkmnpqr";
/// Longer than any commit of these tests.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A clock that goes on by a second each time that somebody looks, so that no commit waits for others.
struct Ticks(AtomicU64);

impl Clock for Ticks {
    fn now(&self) -> UtcMicros {
        UtcMicros::from_civil(2026, 11, 24, 20, 10, 0).expect("a time")
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// Never the same bytes twice.
struct Counted(AtomicU64);

impl Entropy for Counted {
    fn fill(&self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(32) {
            let random = Sha256::digest(self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}

/// What the tests' packs and records say of themselves.
pub(crate) struct Plain;

impl Meaning for Plain {
    fn pack_version(&self, pack: &[u8]) -> Option<String> {
        std::str::from_utf8(pack).ok()?.strip_prefix("version = ").map(|version| version.trim().to_owned())
    }

    fn records(&self, _records: &Bytes) -> Option<(Word, u64)> {
        Some((Word::of("sale"), 2))
    }
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) objects: Objects,
    pub(crate) names: Names,
    pub(crate) key: SigningKey,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl World {
    /// A center that was just made, with its signed genesis, or one from before the ledger.
    pub(crate) fn new(has_ledger: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = Objects::local(folder.path()).expect("a store");
        let names = Names::new("shanghai-1".parse::<CenterName>().expect("a name"));
        let entropy: Arc<dyn Entropy> = Arc::new(Counted(AtomicU64::new(0)));
        let identity = Identity::generate();
        let keyring = Keyring::new(objects.clone(), names.clone(), identity, Arc::clone(&entropy));
        keyring.create(vehicle(), KeyPeriod::default()).expect("a key");
        let key = SigningKey::from_seed("0123.domicile/shanghai-1", SignatureType::Ed25519, &[7; 32])
            .expect("a key");
        let clock = Arc::new(Ticks(AtomicU64::new(0)));
        let world = Self { folder, objects, names, key, keyring, clock, entropy };
        let country = SigningKey::from_seed("0123/country", SignatureType::Ed25519, &[8; 32]).expect("a key");
        let genesis = match has_ledger {
            true => format!("{{\"country\":\"CN\",\"country_vkey\":\"{}\"}}\n", country.verifier()),
            false => "{\"country\":\"CN\"}\n".to_owned(),
        };
        world.put(&world.names.genesis(), &genesis);
        if has_ledger {
            let text = format!("domicile genesis v1\n{}\n", STANDARD.encode(Sha256::digest(&genesis)));
            let note = country.sign(&text).expect("a text").to_string();
            world.put(&world.names.genesis_signature(), &note);
        }
        world.put(&world.names.writer(), "{\"epoch\":1,\"owner\":\"test\"}");
        world
    }

    /// One that has entered an object of each kind, and enough else for a full tile.
    pub(crate) fn filled() -> Self {
        let world = Self::new(true);
        let book = world.book();
        done(book.enter_genesis());
        world.put(&world.names.pack(1), "version = cn-1\n");
        done(book.enter_pack(1, "cn-1"));
        (1..=3).for_each(|number| world.put_control(number));
        done(book.enter_control(1));
        book.enter_changes(&Plain).expect("entered");
        done(book.enter_batch(&world.put_batch(1, 5)));
        done(book.enter_table_version(&world.put_version(0, "gw-5", &[])));
        world.put(&world.names.record(1), "two sales");
        done(book.enter_records(1, Word::of("sale"), 2));
        for number in 0..300 {
            let pending = book.enter(&refused(number)).expect("an entry");
            assert!(number < 299 || committed(&pending));
        }
        done(book.enter_batch(&world.put_batch(6, 9)));
        done(book.enter_table_version(&world.put_version(1, "gw-9", &[])));
        for derived in ["_last_checkpoint", "00000000000000000001.checkpoint.parquet"] {
            world.put(
                &Path::from(format!("{}/_delta_log/{derived}", world.names.table("signals"))),
                "derived",
            );
        }
        assert!(book.ledger().close(SOON));
        world
    }

    /// The ledger, allowed to sign, and the book over it.
    pub(crate) fn book(&self) -> Book {
        let parts = Parts {
            objects: self.objects.clone(),
            folder: self.names.ledger(),
            key: self.key.clone(),
            clock: Arc::clone(&self.clock),
            owner: "test".to_owned(),
            publish_at_once: true,
        };
        let ledger = Ledger::open(parts).expect("a ledger");
        ledger.allow(None).expect("allowed");
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        Book::open(ledger, self.objects.clone(), self.names.clone(), clock, entropy).expect("a book")
    }

    /// Opens the book, enters what is missing and finishes what was begun, and closes it.
    pub(crate) fn restart(&self) -> u64 {
        let book = self.book();
        let done = book.reconcile(&Plain).expect("reconciled");
        assert!(done.last.as_ref().is_none_or(committed));
        book.finish_destruction(SOON).expect("finished");
        assert!(book.ledger().close(SOON));
        done.entered
    }

    /// Verifies as an auditor does: a folder that nothing is written to, and public keys.
    pub(crate) fn verify_with(&self, options: &Options) -> Report {
        let objects = Objects::read_only(self.folder.path()).expect("a store");
        ledger::verify(&objects, &self.names, &self.key.verifier(), options).expect("a readable store")
    }

    pub(crate) fn verify(&self) -> Report {
        self.verify_with(&Options::default())
    }

    /// Asserts that nothing is wrong and nothing waits.
    pub(crate) fn assert_clean(&self) -> Report {
        let report = self.verify();
        assert_eq!((&report.findings, &report.pending), (&vec![], &vec![]));
        report
    }

    pub(crate) fn put(&self, name: &Path, content: &str) {
        let created = self.objects.create(name, Bytes::from(content.to_owned())).expect("put");
        assert_eq!(created, Created::New, "{name}");
    }

    pub(crate) fn put_control(&self, number: u64) {
        self.put(
            &self.names.control(number),
            &format!("{{\"number\":{number},\"vin\":\"{VIN}\",\"id\":\"{VEHICLE}\"}}"),
        );
    }

    /// A real batch of the gateway `gw`.
    pub(crate) fn put_batch(&self, first: u64, last: u64) -> SealedBatch {
        let gateway: GatewayName = "gw".parse().expect("a name");
        let center = self.names.center().clone();
        let hour = UtcMicros::from_civil(2026, 11, 24, 20, 0, 0).expect("a time");
        let (from, to) = (Sequence(first), Sequence(last));
        let header = BatchHeader { center: center.clone(), gateway: gateway.clone(), first: from, last: to };
        let frame = Frame {
            received_at: hour,
            vehicle: vehicle(),
            key: KeyPeriod::default(),
            protocol: Protocol::Tesla,
            connection: ConnectionId(1),
            bytes: VIN.as_bytes(),
        };
        let frames = (first..=last).map(|sequence| (Sequence(sequence), frame));
        let content = store::write(&header, frames, &self.keyring).expect("a batch");
        let name = BatchName { center, gateway, hour, last: to };
        let (bytes, frames) = (content.len() as u64, last - first + 1);
        let created = self.objects.create(&name.path(), content).expect("put");
        assert_eq!(created, Created::New);
        SealedBatch { name, segment: SegmentNumber(1), first: from, last: to, frames, bytes, hour }
    }

    /// A version of the table `signals` with one data file.
    pub(crate) fn put_version(&self, version: i64, file: &str, removed: &[&str]) -> TableVersion {
        let file = format!("{file}.parquet");
        let data = self.table_file(&file);
        self.put(&data, &format!("rows of {file}"));
        let commit = self.table_file(&format!("_delta_log/{version:020}.json"));
        self.put(&commit, &format!("{{\"add\":{{\"path\":\"{file}\",\"size\":9}}}}\n"));
        let removed = removed.iter().map(|file| self.table_file(file)).collect();
        TableVersion { table: "signals".to_owned(), version, added: vec![data, commit], removed }
    }

    pub(crate) fn table_file(&self, name: &str) -> Path {
        Path::from(format!("{}/{name}", self.names.table("signals")))
    }

    /// All files of the center, by their object names.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let center = Path::from(self.names.center().as_str());
        let listed = self.objects.list(&center).expect("a list");
        let names = listed.into_iter().map(|meta| meta.location);
        names.map(|name| (name.to_string(), self.content(&name))).collect()
    }

    pub(crate) fn content(&self, name: &Path) -> Vec<u8> {
        self.objects.read(name).expect("readable").expect("there").to_vec()
    }

    /// Puts a file of the store back as it was, or, with `None`, takes it away.
    pub(crate) fn set(&self, name: &str, content: Option<&[u8]>) {
        let path = self.folder.path().join(name);
        match content {
            Some(content) => {
                fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
                fs::write(path, content).expect("written");
            }
            None => fs::remove_file(path).expect("removed"),
        }
    }

    /// Makes the store's files what they were, but for those of which `keeps` says so.
    pub(crate) fn roll_back(&self, files: &BTreeMap<String, Vec<u8>>, keeps: impl Fn(&str) -> bool) {
        for name in self.files().keys().filter(|name| !files.contains_key(*name) && !keeps(name)) {
            self.set(name, None);
        }
        for (name, content) in files.iter().filter(|(name, _)| !keeps(name)) {
            self.set(name, Some(content));
        }
    }
}

pub(crate) fn vehicle() -> VehicleId {
    VEHICLE.parse().expect("a pseudonym")
}

pub(crate) fn refused(number: u64) -> Entry {
    Entry::Refused(Refused {
        protocol: Word::of("tesla"),
        reason: Word::of("unknown_vehicle"),
        count: About::of(number),
        pack: "cn-1".parse().expect("a version"),
    })
}

/// Waits for an entry that must be new.
pub(crate) fn done(entered: Result<Option<Pending>, ledger::Error>) {
    assert!(committed(&entered.expect("entered").expect("new")));
}

pub(crate) fn committed(pending: &Pending) -> bool {
    pending.wait(SOON).expect("a commit").is_some()
}

/// The last part of a name.
pub(crate) fn file_name(name: &str) -> &str {
    FilePath::new(name).file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
