//! The sequencer over a store in memory.

mod crash;
mod faulty;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use model::{Clock, UtcMicros};
use object_store::memory::InMemory;
use object_store::path::Path;
use store::{Created, Objects};

use super::{Ledger, Parts, QUEUE_MAX};
use crate::reader::{CHECKPOINT, HEAD, Head, below};
use crate::tile::written;
use crate::tree::{verify_consistency, verify_inclusion};
use crate::{
    Checkpoint, Error, LogReader, SignatureType, SignedCheckpoint, SigningKey, Tile, TlogProof, cosignature,
    hash,
};

/// Long enough for whatever a test waits for.
const LONG: Duration = Duration::from_secs(60);
/// Long enough to see that nothing happens.
const SHORT: Duration = Duration::from_millis(30);

/// A clock that goes on by so much with each look at it.
struct Ticking {
    looks: AtomicU64,
    step: Duration,
}

impl Clock for Ticking {
    fn now(&self) -> UtcMicros {
        UtcMicros::from_seconds(1_700_000_000)
    }

    fn monotonic(&self) -> Duration {
        self.step * u32::try_from(self.looks.fetch_add(1, Ordering::SeqCst)).expect("a short test")
    }
}

fn clock(step: Duration) -> Arc<dyn Clock> {
    Arc::new(Ticking { looks: AtomicU64::new(0), step })
}

fn key() -> SigningKey {
    SigningKey::from_seed("log.example", SignatureType::Ed25519, &[7; 32]).expect("a key")
}

fn folder() -> Path {
    Path::from("center/ledger")
}

fn objects(memory: &Arc<InMemory>) -> Objects {
    Objects::new(Arc::clone(memory) as Arc<dyn object_store::ObjectStore>)
}

/// Commits at once, whenever it is asked.
fn parts(objects: Objects) -> Parts {
    let clock = clock(Duration::from_secs(1));
    Parts { objects, folder: folder(), key: key(), clock, owner: "test".to_owned(), publish_at_once: true }
}

fn open(memory: &Arc<InMemory>) -> Ledger {
    let ledger = Ledger::open(parts(objects(memory))).expect("the log opens");
    ledger.allow(None).expect("nobody has seen more");
    ledger
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

/// Appends entries up to a size, at once.
fn fill(ledger: &Ledger, size: u64) {
    let waiting: Vec<_> =
        (ledger.checkpoint().size()..size).map(|index| ledger.append(entry(index)).expect("room")).collect();
    for pending in waiting {
        assert!(pending.wait(LONG).expect("it is committed").is_some());
    }
}

/// The sizes of all checkpoints that one commit for each entry signs.
fn fill_singly(ledger: &Ledger, size: u64) {
    (ledger.checkpoint().size()..size).for_each(|size| fill(ledger, size + 1));
}

/// Holds all that a reader sees of the log against entries 0, 1, 2, …: register, checkpoint, tiles, bundles, proofs.
fn check_log(memory: &Arc<InMemory>) -> u64 {
    let objects = objects(memory);
    let reader = LogReader::new(objects.clone(), folder(), key().verifier());
    let published = reader.checkpoint().expect("the checkpoint is read").expect("one is published");
    let head = reader.head().expect("the head is read").expect("there is a head");
    let size = head.checkpoint.size();
    assert!(published.size() <= size);
    for (tree, tree_size) in [(reader.view(&published), published.size()), (reader.view_of_head(&head), size)]
    {
        let mut tree = tree.expect("the tree is that of its checkpoint");
        tree.check_tiles().expect("all tiles hold");
        let read: Vec<_> =
            reader.entries(tree, 0).collect::<Result<_, _>>().expect("all entries are authentic");
        assert_eq!(read, (0..tree_size).map(|index| (index, entry(index))).collect::<Vec<_>>());
    }
    for tile in written(0, published.size()) {
        let read = objects.read(&below(&folder(), &tile.path())).expect("a tile");
        assert!(read.is_some(), "{tile} of the published size {}", published.size());
    }
    size
}

fn partial_tiles(memory: &Arc<InMemory>) -> Vec<Tile> {
    let prefix = format!("{}/", folder());
    let listed = objects(memory).list(&folder()).expect("a listing");
    let tiles = listed.iter().filter_map(|meta| Tile::parse(meta.location.as_ref().strip_prefix(&prefix)?));
    tiles.filter(|tile| !tile.is_full()).collect()
}

#[test]
fn entries_are_committed_in_order_and_proved_from_the_store() {
    let memory = Arc::new(InMemory::new());
    let ledger = open(&memory);
    assert_eq!(ledger.checkpoint().size(), 0);
    assert_eq!(ledger.published().expect("the empty log is published").root(), hash::empty());
    fill(&ledger, 700);
    fill_singly(&ledger, 703);
    let (checkpoint, reader) =
        (ledger.checkpoint(), LogReader::new(objects(&memory), folder(), key().verifier()));
    assert_eq!(check_log(&memory), 703);
    for index in [0, 1, 255, 256, 511, 512, 699, 702] {
        let hashes = reader.inclusion_proof(&checkpoint, index).expect("a proof");
        assert_eq!(hashes, ledger.inclusion_proof(index, 703).expect("a proof"));
        verify_inclusion(index, 703, &hash::leaf(&entry(index)), &hashes, &checkpoint.root())
            .expect("it holds");
        let proof = TlogProof { extra: None, index, hashes, checkpoint: checkpoint.note().to_owned() };
        let proof = TlogProof::parse(&proof.encode()).expect("a proof");
        proof.verify(&entry(index), &key().verifier()).expect("it holds");
    }
    let mut view = reader.view(&checkpoint).expect("a tree");
    for old in [0, 1, 256, 300, 512, 703] {
        let proof = ledger.consistency_proof(old, 703).expect("a proof");
        let root = view.root_of(old).expect("a size of it");
        verify_consistency(old, root, 703, checkpoint.root(), &proof).expect("it holds");
    }
    assert!(matches!(ledger.inclusion_proof(703, 703), Err(Error::OutOfRange { .. })));
    assert!(matches!(ledger.consistency_proof(3, 704), Err(Error::OutOfRange { .. })));
    let tail: Vec<_> = ledger.entries(699).expect("a tree").map(|entry| entry.expect("an entry").0).collect();
    assert_eq!(tail, [699, 700, 701, 702]);
    assert_eq!(ledger.entries(703).expect("a tree").count(), 0);
    assert!(matches!(ledger.append(vec![0; 65_536]), Err(Error::EntryTooLong { .. })));
    assert_eq!(ledger.wait_for_size_above(702, SHORT), 703);
    assert_eq!(ledger.wait_for_size_above(703, SHORT), 703);
    assert!(ledger.close(LONG) && ledger.close(LONG));
    let ledger = open(&memory);
    assert_eq!(ledger.checkpoint(), checkpoint);
}

#[test]
fn partial_tiles_go_when_the_published_checkpoint_has_their_full_ones() {
    let memory = Arc::new(InMemory::new());
    let ledger = open(&memory);
    fill_singly(&ledger, 256);
    assert!(ledger.close(LONG));
    assert_eq!(partial_tiles(&memory), [Tile::hashes(1, 0, 1)]);
    // With a quorum nothing goes before the cosigned checkpoint is there.
    let mut quorum = parts(objects(&memory));
    quorum.publish_at_once = false;
    let ledger = Ledger::open(quorum).expect("the log opens");
    ledger.allow(Some(256)).expect("no more was seen");
    fill_singly(&ledger, 514);
    assert_eq!(ledger.published().map(|published| published.size()), Some(256));
    let count = |memory| partial_tiles(memory).iter().filter(|tile| tile.index == 1).count();
    assert_eq!(count(&memory), 2 * 255);
    ledger.publish(ledger.checkpoint().note()).expect("it is ours");
    fill_singly(&ledger, 515);
    assert!(ledger.close(LONG));
    assert_eq!(count(&memory), 0);
    assert_eq!(check_log(&memory), 515);
}

#[test]
fn partial_tiles_that_a_crash_left_go_at_the_next_start() {
    let memory = Arc::new(InMemory::new());
    let mut quorum = parts(objects(&memory));
    quorum.publish_at_once = false;
    let ledger = Ledger::open(quorum).expect("the log opens");
    ledger.allow(Some(0)).expect("no more was seen");
    fill_singly(&ledger, 770);
    assert!(ledger.close(LONG));
    drop(open(&memory));
    assert!(
        partial_tiles(&memory).iter().all(|tile| tile.index == 3 || tile.kind == crate::TileKind::Hashes(1))
    );
    assert_eq!(check_log(&memory), 770);
}

#[test]
fn nothing_is_signed_before_it_is_allowed_nor_after_a_rollback() {
    let memory = Arc::new(InMemory::new());
    let ledger = Ledger::open(parts(objects(&memory))).expect("the log opens");
    let pending = ledger.append(entry(0)).expect("room");
    assert_eq!(pending.wait(SHORT).expect("it waits"), None);
    let status = ledger.status();
    assert_eq!((status.held, status.waiting, status.size, status.commits), (true, 1, 0, 0));
    ledger.allow(Some(0)).expect("no more was seen");
    let receipt = pending.wait(LONG).expect("it is committed").expect("in time");
    assert_eq!((receipt.index(), receipt.size()), (0, 1));
    // A witness that answers later knows better.
    assert!(matches!(ledger.allow(Some(2)), Err(Error::RolledBack { ours: 1, seen: 2 })));
    assert!(matches!(ledger.append(entry(1)), Err(Error::Failed { .. })));
    assert!(ledger.allow(Some(1)).is_err() && ledger.allow(None).is_err());
    assert!(ledger.status().failed.expect("a reason").contains("rolled back"));
    drop(ledger);
    let ledger = Ledger::open(parts(objects(&memory))).expect("the log opens");
    let pending = ledger.append(entry(1)).expect("room");
    assert!(matches!(ledger.allow(Some(5)), Err(Error::RolledBack { ours: 1, seen: 5 })));
    assert!(matches!(pending.wait(LONG), Err(Error::Failed { .. })));
    assert!(!ledger.close(LONG));
    assert_eq!(check_log(&memory), 1);
}

#[test]
fn a_full_queue_holds_up_and_a_close_wakes_who_waits_for_room() {
    let memory = Arc::new(InMemory::new());
    let ledger = Ledger::open(parts(objects(&memory))).expect("the log opens");
    let mut waiting: Vec<_> =
        (0..QUEUE_MAX as u64).map(|index| ledger.append(entry(index)).expect("room")).collect();
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| ledger.append(entry(QUEUE_MAX as u64)));
        std::thread::sleep(SHORT);
        assert!(!blocked.is_finished());
        ledger.allow(None).expect("nobody was asked");
        waiting.push(blocked.join().expect("no panic").expect("room"));
    });
    for (index, pending) in waiting.iter().enumerate() {
        assert_eq!(pending.wait(LONG).expect("it is committed").expect("in time").index(), index as u64);
    }
    assert_eq!(ledger.status().commits, (QUEUE_MAX as u64).div_ceil(256) + 1);
    drop(ledger);
    assert_eq!(check_log(&memory), QUEUE_MAX as u64 + 1);

    let ledger = Ledger::open(parts(objects(&memory))).expect("the log opens");
    let waiting: Vec<_> = (0..QUEUE_MAX).map(|_| ledger.append(entry(0)).expect("room")).collect();
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| ledger.append(entry(0)).map(drop));
        std::thread::sleep(SHORT);
        // It may not sign, so what waits is not committed.
        assert!(!ledger.close(LONG));
        assert!(matches!(blocked.join().expect("no panic"), Err(Error::Closed)));
    });
    assert!(matches!(waiting[0].wait(LONG), Err(Error::Closed)));
    assert!(matches!(ledger.append(entry(0)), Err(Error::Closed)));
}

#[test]
fn a_close_commits_what_waits() {
    let memory = Arc::new(InMemory::new());
    let mut slow = parts(objects(&memory));
    slow.clock = clock(Duration::from_nanos(1));
    let ledger = Ledger::open(slow).expect("the log opens");
    ledger.allow(None).expect("nobody was asked");
    let waiting: Vec<_> = (0..600).map(|index| ledger.append(entry(index)).expect("room")).collect();
    assert!(ledger.close(LONG));
    assert!(waiting.iter().all(|pending| pending.wait(Duration::ZERO).expect("it is committed").is_some()));
    assert_eq!(check_log(&memory), 600);
}

#[test]
fn a_clock_that_stands_still_or_goes_back_holds_up_nothing() {
    struct Backwards(AtomicU64);
    impl Clock for Backwards {
        fn now(&self) -> UtcMicros {
            UtcMicros::from_seconds(1_700_000_000)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs(1_000_000 - self.0.fetch_add(1, Ordering::SeqCst))
        }
    }
    for clock in [clock(Duration::ZERO), Arc::new(Backwards(AtomicU64::new(0)))] {
        let memory = Arc::new(InMemory::new());
        let ledger = Ledger::open(Parts { clock, ..parts(objects(&memory)) }).expect("the log opens");
        ledger.allow(None).expect("nobody was asked");
        fill_singly(&ledger, 4);
    }
}

#[test]
fn a_later_writer_fences_the_earlier_one() {
    let memory = Arc::new(InMemory::new());
    let earlier = open(&memory);
    fill(&earlier, 10);
    let later = open(&memory);
    let lost = earlier.append(entry(10)).expect("room");
    assert!(matches!(lost.wait(LONG), Err(Error::Failed { .. })));
    assert!(earlier.status().failed.expect("a reason").contains("epoch 2"));
    fill(&later, 12);
    assert!(later.close(LONG));
    // What the earlier one signed last must not take the place of what the later one has published.
    let old = earlier.checkpoint();
    assert!(matches!(earlier.inner.shared.publish(old), Ok(()) | Err(Error::NotPublishable { .. })));
    let signed = SignedCheckpoint::sign(Checkpoint::new("log.example", 11, hash::leaf(b"fork")), &key());
    let forked = signed.expect("signed");
    assert!(matches!(earlier.inner.shared.publish(forked), Err(Error::NotPublishable { .. })));
    assert_eq!(check_log(&memory), 12);
}

#[test]
fn a_tile_that_differs_stops_the_ledger() {
    for tile in [Tile::entries(0, 11), Tile::hashes(0, 0, 11)] {
        let memory = Arc::new(InMemory::new());
        let ledger = open(&memory);
        fill(&ledger, 10);
        let name = below(&folder(), &tile.path());
        assert_eq!(objects(&memory).create(&name, Bytes::from_static(b"other")).expect("put"), Created::New);
        let pending = ledger.append(entry(10)).expect("room");
        assert!(matches!(pending.wait(LONG), Err(Error::Failed { .. })), "{tile}");
        assert!(matches!(ledger.append(entry(11)), Err(Error::Failed { .. })));
        assert_eq!(ledger.checkpoint().size(), 10);
        drop(ledger);
        assert!(matches!(Ledger::open(parts(objects(&memory))).err(), Some(Error::Corrupt { .. })), "{tile}");
        objects(&memory).delete(&name).expect("deleted");
        drop(open(&memory));
        assert_eq!(check_log(&memory), 11);
    }
}

#[test]
fn only_checkpoints_of_this_log_are_published_and_never_a_smaller_one() {
    let memory = Arc::new(InMemory::new());
    let mut quorum = parts(objects(&memory));
    quorum.publish_at_once = false;
    let ledger = Ledger::open(quorum).expect("the log opens");
    ledger.allow(None).expect("nobody was asked");
    assert_eq!(ledger.published(), None);
    fill(&ledger, 5);
    let five = ledger.checkpoint();
    fill(&ledger, 9);
    let witness = SigningKey::from_seed("w", SignatureType::CosignatureV1, &[9; 32]).expect("a key");
    let cosign = |checkpoint: &SignedCheckpoint, time| {
        let signature = cosignature::sign(&witness, time, checkpoint.text()).expect("a time");
        checkpoint.with(signature).expect("room")
    };
    let nine = cosign(&ledger.checkpoint(), 1);
    ledger.publish(nine.note()).expect("it is ours");
    assert_eq!(ledger.published(), Some(nine.clone()));
    ledger.publish(five.note()).expect("it is passed over");
    ledger.publish(ledger.checkpoint().note()).expect("it is passed over");
    assert_eq!(ledger.published(), Some(nine.clone()));
    let renewed = cosign(&ledger.checkpoint(), 2);
    ledger.publish(renewed.note()).expect("it is ours");
    assert_eq!(ledger.published(), Some(renewed.clone()));
    for (size, root) in [(9, hash::empty()), (10, nine.root()), (7, nine.root())] {
        let other =
            SignedCheckpoint::sign(Checkpoint::new("log.example", size, root), &key()).expect("signed");
        assert!(matches!(ledger.publish(other.note()), Err(Error::NotPublishable { .. })), "{size}");
    }
    let stranger = SigningKey::from_seed("log.example", SignatureType::Ed25519, &[8; 32]).expect("a key");
    let foreign = SignedCheckpoint::sign(nine.checkpoint().clone(), &stranger).expect("signed");
    assert!(matches!(ledger.publish(foreign.note()), Err(Error::NotSigned { .. })));
    drop(ledger);
    // Without a quorum the same size with fewer signatures takes nothing away.
    assert_eq!(open(&memory).published(), Some(renewed));
}

#[test]
fn a_register_behind_the_published_checkpoint_is_a_rollback() {
    let memory = Arc::new(InMemory::new());
    let ledger = open(&memory);
    fill(&ledger, 3);
    let name = below(&folder(), HEAD);
    let old = objects(&memory).read(&name).expect("read").expect("a head");
    fill(&ledger, 8);
    drop(ledger);
    let (_, version) = objects(&memory).read_version(&name).expect("read").expect("a head");
    objects(&memory).replace(&name, old, &version).expect("put").expect("swapped");
    assert!(matches!(Ledger::open(parts(objects(&memory))).err(), Some(Error::Corrupt { .. })));
}

#[test]
fn a_log_that_lost_its_register_is_not_begun_anew() {
    let memory = Arc::new(InMemory::new());
    let mut quorum = parts(objects(&memory));
    quorum.publish_at_once = false;
    let ledger = Ledger::open(quorum).expect("the log opens");
    ledger.allow(None).expect("nobody was asked");
    fill(&ledger, 3);
    assert_eq!(ledger.published(), None);
    drop(ledger);
    let name = below(&folder(), HEAD);
    objects(&memory).delete(&name).expect("deleted");
    assert!(matches!(Ledger::open(parts(objects(&memory))).err(), Some(Error::Corrupt { .. })));
    assert_eq!(objects(&memory).read(&name).expect("read"), None);
}

#[test]
fn the_register_is_what_its_description_says() {
    let memory = Arc::new(InMemory::new());
    let ledger = open(&memory);
    fill(&ledger, 1);
    drop(ledger);
    let read = |name| objects(&memory).read(&below(&folder(), name)).expect("read").expect("it is there");
    let head = String::from_utf8(read(HEAD).to_vec()).expect("a text");
    // The root is the hash of the one entry: base64 of SHA-256 of a zero byte and `entry 0`.
    let golden = concat!(
        r#"{"epoch":1,"owner":"test","size":1,"checkpoint":"log.example\n1\ndziFphNIniTOLPdhmdakI/BC5LvxLX7s7pEu8nbGVwE=\n\n"#,
        "\u{2014}",
        r#" log.example iRusLQOrqjX960G7tQHQSHbVX2Xbz4GbgPGVEW32ft7p7evMfpHNOAzIu8Gve9eRh77+vbsHF9hh+ATzoD3etoS8UwY=\n","#,
        r#""staged":["ZW50cnkgMA=="]}"#
    );
    assert_eq!(head, golden);
    let note = String::from_utf8(read(CHECKPOINT).to_vec()).expect("a text");
    assert_eq!(Head::parse(head.as_bytes(), &key().verifier()).expect("a head").checkpoint.note(), note);
    for end in 0..head.len() {
        assert!(Head::parse(&head.as_bytes()[..end], &key().verifier()).is_err(), "{end}");
    }
    for (from, to) in
        [(r#""size":1"#, r#""size":2"#), (r#"["ZW"#, r#"["ZW50","ZW"#), ("ZW50", "!W50"), ("epoch", "epock")]
    {
        let changed = head.replace(from, to);
        assert!(Head::parse(changed.as_bytes(), &key().verifier()).is_err(), "{to}");
    }
}
