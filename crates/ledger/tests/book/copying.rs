//! A copy of a center's log and objects in another store: the same byte for byte, whenever it was cut, and never of another log.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

use bytes::Bytes;
use ledger::copy::{Copy, Followed, Source};
use ledger::entry::{Ground, Opening};
use ledger::{
    Destruction, Error, Hash, Kind, LogReader, Options, SignatureType, SignedCheckpoint, SigningKey, Tile,
    cosignature,
};
use object_store::path::Path;
use parking_lot::Mutex;
use store::Objects;
use tempfile::TempDir;

use crate::world::{SOON, World, committed, done, refused};

/// The source's store, asked so many more times before it fails.
struct Store<'a> {
    world: &'a World,
    answers: AtomicI64,
    /// What is sent in the place of an object, `None` for nothing.
    instead: Mutex<BTreeMap<String, Option<Bytes>>>,
}

impl<'a> Store<'a> {
    fn new(world: &'a World) -> Self {
        Self { world, answers: AtomicI64::new(i64::MAX), instead: Mutex::default() }
    }

    fn read(&self, name: &Path) -> Result<Option<Bytes>, Error> {
        if self.answers.fetch_sub(1, Ordering::Relaxed) <= 0 {
            return Err(Error::Unavailable { name: name.to_string(), why: "the link is cut".to_owned() });
        }
        if let Some(instead) = self.instead.lock().get(name.as_ref()) {
            return Ok(instead.clone());
        }
        Ok(self.world.objects.read(name)?)
    }

    fn head(&self) -> SignedCheckpoint {
        let reader =
            LogReader::new(self.world.objects.clone(), self.world.names.ledger(), self.world.key.verifier());
        reader.head().expect("readable").expect("a head").checkpoint
    }
}

impl Source for Store<'_> {
    fn tile(&self, tile: &Tile) -> Result<Option<Vec<u8>>, Error> {
        let name = Path::from(format!("{}/{}", self.world.names.ledger(), tile.path()));
        Ok(self.read(&name)?.map(|bytes| bytes.to_vec()))
    }

    fn object(&self, name: &Path) -> Result<Option<(Bytes, Opening)>, Error> {
        let Some(content) = self.read(name)? else { return Ok(None) };
        let opening = self.world.names.opening(name).expect("its own");
        let Some(opening) = self.world.objects.read(&opening)? else { return Ok(None) };
        Ok(Some((content, Opening::parse(&opening).expect("an opening"))))
    }

    fn unentered(&self, name: &Path) -> Result<Option<Bytes>, Error> {
        self.read(name)
    }
}

/// Another center's store.
struct Mirror {
    _folder: TempDir,
    objects: Objects,
    key: SigningKey,
}

impl Mirror {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let objects = Objects::local(folder.path()).expect("a store");
        let key =
            SigningKey::from_seed("0123.domicile/beijing-1/mirror", SignatureType::CosignatureV1, &[3; 32]);
        Self { _folder: folder, objects, key: key.expect("a key") }
    }

    fn copy(&self, world: &World) -> Copy {
        Copy::open(self.objects.clone(), world.names.clone(), world.key.verifier()).expect("a copy")
    }

    fn follow(&self, store: &Store<'_>) -> Result<Followed, Error> {
        let mut copy = self.copy(store.world);
        let head = store.head();
        let mut followed = Followed::default();
        copy.follow(store, &head, &mut followed)?;
        copy.discard(&std::mem::take(&mut followed.leaving)).expect("discarded");
        copy.hold(self.cosigned(&head))?;
        Ok(followed)
    }

    fn cosigned(&self, head: &SignedCheckpoint) -> SignedCheckpoint {
        let signature = cosignature::sign(&self.key, 1_764_000_000, head.text()).expect("a cosignature");
        head.with(signature).expect("room")
    }

    fn files(&self, world: &World) -> BTreeMap<String, Vec<u8>> {
        let listed = self.objects.list(&Path::from(world.names.center().as_str())).expect("a list");
        let names = listed.into_iter().map(|meta| meta.location);
        names
            .map(|name| (name.to_string(), self.objects.read(&name).expect("read").expect("there").to_vec()))
            .collect()
    }

    /// Asserts that it holds what the source holds, and verifies as the source does.
    fn assert_same(&self, world: &World) {
        let is_copied = |name: &String| {
            !["head.json", "writer.json", "/checkpoint"].iter().any(|end| name.ends_with(end))
                && !name.contains("/keyring/")
        };
        // The copy keeps no partial tiles of sizes that it never was at.
        let is_partial = |name: &String| name.contains(".p/");
        let mine: BTreeMap<_, _> =
            self.files(world).into_iter().filter(|(name, _)| is_copied(name)).collect();
        let theirs: BTreeMap<_, _> = world.files().into_iter().filter(|(name, _)| is_copied(name)).collect();
        let whole = |files: &BTreeMap<String, Vec<u8>>| {
            files
                .iter()
                .filter(|(name, _)| !is_partial(name))
                .map(|(name, content)| (name.clone(), content.clone()))
                .collect::<BTreeMap<_, _>>()
        };
        let (mine_whole, theirs_whole) = (whole(&mine), whole(&theirs));
        assert_eq!(mine_whole.keys().collect::<Vec<_>>(), theirs_whole.keys().collect::<Vec<_>>());
        assert_eq!(mine_whole, theirs_whole);
        for (name, content) in mine.iter().filter(|(name, _)| is_partial(name)) {
            assert!(theirs.get(name).is_none_or(|theirs| theirs == content), "{name}");
        }
        let report = self.verify(world);
        assert_eq!((&report.findings, &report.pending), (&vec![], &vec![]));
        assert_eq!(Some(report.root.expect("a root")), world.verify().root);
    }

    fn verify(&self, world: &World) -> ledger::Report {
        let options =
            Options { witnesses: vec![self.key.verifier()], quorum: 1, is_copy: true, ..Options::default() };
        ledger::verify(&self.objects, &world.names, &world.key.verifier(), &options).expect("readable")
    }
}

/// Goes on with what centers do: tables are put together, files go, batches and commits of tables' logs are destroyed.
fn go_on(world: &World) {
    let book = world.book();
    done(book.enter_table_version(&world.put_version(2, "sorted", &["gw-5.parquet", "gw-9.parquet"])));
    book.discard(&[world.table_file("gw-5.parquet"), world.table_file("gw-9.parquet")]).expect("discarded");
    let log = |name: &str| world.table_file(&format!("_delta_log/{name}"));
    world.objects.delete(&log("00000000000000000001.checkpoint.parquet")).expect("deleted");
    world.put(&log("00000000000000000002.checkpoint.parquet"), "all that is");
    world.set(log("_last_checkpoint").as_ref(), Some(b"{\"version\":2,\"size\":3}"));
    let commits = [log("00000000000000000000.json"), log("00000000000000000001.json")];
    book.destroy(Destruction::Expired, Ground::Term, &commits, SOON).expect("destroyed");
    let batch = world.put_batch(10, 12);
    done(book.enter_batch(&batch));
    book.destroy(Destruction::Expired, Ground::Term, &[batch.name.path()], SOON).expect("destroyed");
    for number in 0..20 {
        assert!(committed(&book.enter(&refused(number)).expect("entered")));
    }
    assert!(book.ledger().close(SOON));
}

fn filled() -> World {
    let world = World::filled();
    world.set(world.table_file("_delta_log/_last_checkpoint").as_ref(), Some(b"{\"version\":1,\"size\":3}"));
    world
}

#[test]
fn a_copy_is_the_same_byte_for_byte_and_verifies() {
    let world = filled();
    let mirror = Mirror::new();
    let store = Store::new(&world);
    let followed = mirror.follow(&store).expect("followed");
    assert_eq!((followed.entries, followed.controls.clone()), (store.head().size(), vec![1, 2, 3]));
    let report = mirror.verify(&world);
    assert_eq!((&report.findings, &report.pending), (&vec![], &vec![]));
    // A checkpoint of a table's log is fetched when commits are destroyed that it stands for, and not before.
    let pointer = world.table_file("_delta_log/_last_checkpoint");
    assert_eq!(mirror.objects.read(&pointer).expect("read"), None);
    go_on(&world);
    let followed = mirror.follow(&store).expect("followed");
    assert!(followed.objects > 0 && followed.removed > 0, "{followed:?}");
    mirror.assert_same(&world);
    let again = mirror.follow(&store).expect("nothing new");
    assert_eq!(again, Followed::default());
}

#[test]
fn a_copy_that_begins_late_takes_what_is_left() {
    let world = filled();
    go_on(&world);
    let mirror = Mirror::new();
    mirror.follow(&Store::new(&world)).expect("followed");
    mirror.assert_same(&world);
}

/// Also where it ends with an error: whoever copies fetches keys by it, and would else never.
#[test]
fn what_following_brought_is_told_wherever_it_is_cut() {
    let world = filled();
    go_on(&world);
    let whole = Mirror::new().follow(&Store::new(&world)).expect("followed").controls;
    assert!(!whole.is_empty());
    for answers in 1.. {
        let (mirror, store) = (Mirror::new(), Store::new(&world));
        let (mut copy, mut followed) = (mirror.copy(&world), Followed::default());
        store.answers.store(answers, Ordering::Relaxed);
        let cut = copy.follow(&store, &store.head(), &mut followed);
        if cut.is_ok() {
            return;
        }
        store.answers.store(i64::MAX, Ordering::Relaxed);
        copy.follow(&store, &store.head(), &mut followed).expect("followed");
        followed.controls.sort_unstable();
        followed.controls.dedup();
        assert_eq!(followed.controls, whole, "cut after {answers} answers");
    }
}

#[test]
fn a_copy_that_was_cut_anywhere_is_finished_later() {
    let world = filled();
    go_on(&world);
    let mut answers = 1;
    loop {
        let mirror = Mirror::new();
        let store = Store::new(&world);
        store.answers.store(answers, Ordering::Relaxed);
        let cut = mirror.follow(&store);
        store.answers.store(i64::MAX, Ordering::Relaxed);
        if cut.is_ok() {
            break;
        }
        assert_eq!(cut.expect_err("cut").kind(), Kind::Unavailable);
        assert_eq!(mirror.copy(&world).size(), 0, "nothing is promised");
        mirror.follow(&store).expect("followed");
        mirror.assert_same(&world);
        answers += 1;
    }
    assert!(answers > 10, "{answers}");
}

#[test]
fn nothing_is_held_while_an_object_is_missing() {
    let world = filled();
    let mirror = Mirror::new();
    let store = Store::new(&world);
    let batch =
        world.files().into_keys().find(|name| name.contains("/batch/") && !name.contains("/opening/"));
    let batch = batch.expect("a batch");
    store.instead.lock().insert(batch.clone(), None);
    let mut copy = mirror.copy(&world);
    let head = store.head();
    copy.follow(&store, &head, &mut Followed::default()).expect("followed");
    assert_eq!(copy.absent().collect::<Vec<_>>(), [batch.as_str()]);
    assert!(matches!(copy.hold(mirror.cosigned(&head)), Err(Error::NotPublishable { .. })));
    assert_eq!(mirror.copy(&world).size(), 0);
    // The center says later that it has destroyed it.
    let book = world.book();
    book.destroy(Destruction::Expired, Ground::Term, &[Path::from(batch.as_str())], SOON).expect("destroyed");
    assert!(book.ledger().close(SOON));
    let head = store.head();
    copy.follow(&store, &head, &mut Followed::default()).expect("followed");
    copy.hold(mirror.cosigned(&head)).expect("nothing is missing now");
}

#[test]
fn what_the_log_does_not_name_is_not_taken() {
    let world = filled();
    let store = Store::new(&world);
    let names: Vec<String> = world.files().into_keys().collect();
    let mut refused_of = 0;
    for name in names.iter().filter(|name| !name.contains("/opening/") && !name.contains("/keyring/")) {
        let is_read =
            !["head.json", "writer.json", "checkpoint", "genesis.sig"].iter().any(|end| name.ends_with(end))
                && !name.contains("checkpoint")
                && !name.contains(".p/");
        if !is_read {
            continue;
        }
        let mirror = Mirror::new();
        let mut changed = world.content(&Path::from(name.as_str()));
        changed[0] ^= 1;
        store.instead.lock().insert(name.clone(), Some(changed.into()));
        assert_eq!(mirror.follow(&store).expect_err(name).kind(), Kind::Corrupt, "{name}");
        assert!(mirror.objects.read(&Path::from(name.as_str())).expect("read").is_none(), "{name}");
        store.instead.lock().clear();
        refused_of += 1;
    }
    assert!(refused_of > 10, "{refused_of}");
}

#[test]
fn what_rots_in_a_copy_before_it_is_held_is_fetched_again() {
    let world = filled();
    let mirror = Mirror::new();
    let store = Store::new(&world);
    let mut copy = mirror.copy(&world);
    copy.follow(&store, &store.head(), &mut Followed::default()).expect("followed");
    drop(copy);
    let control = world.names.control(2);
    mirror.objects.delete(&control).expect("deleted");
    let _ = mirror.objects.create(&control, Bytes::from_static(b"rotten")).expect("put");
    mirror.follow(&store).expect("followed");
    assert_eq!(mirror.objects.read(&control).expect("read").expect("there"), world.content(&control));
}

#[test]
fn an_older_and_another_log_are_refused_and_change_nothing() {
    let world = filled();
    let before = world.files();
    let grow = |count: u64| {
        let book = world.book();
        (0..3).for_each(|number| assert!(committed(&book.enter(&refused(number * count)).expect("entered"))));
        assert!(book.ledger().close(SOON));
    };
    grow(1);
    let mirror = Mirror::new();
    let store = Store::new(&world);
    mirror.follow(&store).expect("followed");
    let (held, root): (u64, Hash) = (store.head().size(), store.head().root());
    let kept = mirror.files(&world);
    world.roll_back(&before, |_| false);
    assert!(
        matches!(mirror.follow(&store), Err(Error::RolledBack { ours, seen }) if ours < seen && seen == held)
    );
    grow(7);
    assert_eq!(store.head().size(), held);
    assert!(matches!(mirror.follow(&store), Err(Error::Forked { size }) if size == held));
    grow(8);
    assert!(matches!(mirror.follow(&store), Err(Error::Forked { .. })));
    assert_eq!(mirror.files(&world), kept);
    assert_eq!(mirror.copy(&world).held().map(SignedCheckpoint::root), Some(root));
}
