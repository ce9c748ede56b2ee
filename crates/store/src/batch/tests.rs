use bytes::Bytes;
use model::{ConnectionId, Frame, KeyPeriod, Protocol, Sequence, VehicleId};

use super::{Batch, BatchHeader, read, write};
use crate::fixture::{Center, RealEntropy, TEN, vehicle};
use crate::{Error, Identity, Keyring, Kind, Names, Objects};

fn header(first: u64, last: u64) -> BatchHeader {
    let (center, gateway) = ("shanghai-1".parse().expect("a name"), "gw".parse().expect("a name"));
    BatchHeader { center, gateway, first: Sequence(first), last: Sequence(last) }
}

fn frame(vehicle: VehicleId, bytes: &[u8]) -> Frame<'_> {
    let (protocol, connection) = (Protocol::Gbt32960, ConnectionId(u64::MAX));
    Frame { received_at: TEN.plus_micros(123_456), vehicle, key: KeyPeriod(0), protocol, connection, bytes }
}

/// A sequence with its frame's bytes.
type Opened = (u64, Option<Vec<u8>>);

fn rows(batch: &Batch, keyring: &Keyring) -> Result<Vec<Opened>, Error> {
    let mut rows = Vec::new();
    batch.for_each(keyring, |row| {
        assert_eq!((row.received_at, row.connection), (TEN.plus_micros(123_456), ConnectionId(u64::MAX)));
        assert_eq!((row.protocol, row.key), (Protocol::Gbt32960, KeyPeriod(0)));
        rows.push((row.sequence.0, row.bytes.map(<[u8]>::to_vec)));
        Ok::<_, Error>(())
    })?;
    Ok(rows)
}

/// Frames that compress, that don't, and an empty one.
fn contents() -> Vec<Vec<u8>> {
    let mut random = vec![0; 600];
    model::Entropy::fill(&RealEntropy, &mut random);
    vec![b"speed=80;".repeat(70), random, Vec::new(), vec![7]]
}

fn written(keyring: &Keyring, contents: &[Vec<u8>]) -> Bytes {
    let frames = contents.iter().enumerate();
    let frames = frames.map(|(i, bytes)| (Sequence(10 + i as u64), frame(vehicle((i % 2) as u8), bytes)));
    write(&header(10, 9 + contents.len() as u64), frames, keyring).expect("a batch")
}

#[test]
fn frames_come_back_as_they_were() {
    let place = Center::new();
    let center = place.start();
    let contents = contents();
    let bytes = written(center.store.keyring(), &contents);
    let batch = read("batch", bytes).expect("a batch");
    assert_eq!(batch.header(), &header(10, 13));
    assert_eq!(batch.keys().expect("keys"), [(vehicle(0), KeyPeriod(0)), (vehicle(1), KeyPeriod(0))]);
    let expected: Vec<_> = (10..).zip(contents.into_iter().map(Some)).collect();
    assert_eq!(rows(&batch, center.store.keyring()).expect("it opens"), expected);
    center.journal.close(false, std::time::Duration::ZERO);
}

#[test]
fn only_the_vehicles_key_opens_a_frame_and_a_destroyed_one_leaves_the_rest() {
    let place = Center::new();
    let center = place.start();
    let keyring = center.store.keyring();
    let bytes = written(keyring, &contents());
    let batch = read("batch", bytes.clone()).expect("a batch");
    keyring.destroy(vehicle(0), KeyPeriod(0)).expect("a deletion");
    let opened = rows(&batch, keyring).expect("it opens");
    let gone: Vec<_> = opened.iter().map(|(_, bytes)| bytes.is_none()).collect();
    assert_eq!(gone, [true, false, true, false]);
    // Under a new key of the same name nothing opens, and a batch written without the key has no bytes to open.
    keyring.create(vehicle(0), KeyPeriod(0)).expect("a key");
    assert_eq!(rows(&batch, keyring).map_err(|error| error.kind()), Err(Kind::Corrupt));
    keyring.destroy(vehicle(0), KeyPeriod(0)).expect("a deletion");
    let without = written(keyring, &contents());
    assert!(rows(&read("batch", without).expect("a batch"), keyring).expect("it opens")[0].1.is_none());
    center.journal.close(false, std::time::Duration::ZERO);
}

#[test]
fn a_frame_does_not_open_in_another_place() {
    let place = Center::new();
    let center = place.start();
    let keyring = center.store.keyring();
    let contents = contents();
    let one = |sequence: u64, header: &BatchHeader| {
        write(header, [(Sequence(sequence), frame(vehicle(0), &contents[0]))].into_iter(), keyring)
            .expect("a batch")
    };
    // The bytes of the file but for one number: the metadata's center, its gateway, or the row's sequence.
    let sound = one(1, &header(1, 1));
    let swap = |from: &[u8], to: &[u8]| {
        let at: Vec<_> = (0..sound.len() - from.len()).filter(|&at| sound[at..].starts_with(from)).collect();
        assert!(!at.is_empty(), "the file names it");
        let mut moved = sound.to_vec();
        for at in at {
            moved[at..at + from.len()].copy_from_slice(to);
        }
        let batch = read("batch", moved.into()).expect("it is still a batch");
        assert_eq!(rows(&batch, keyring).map_err(|error| error.kind()), Err(Kind::Corrupt));
    };
    swap(b"shanghai-1", b"shanghai-2");
    // Thrift: a field header and a length of 2 stand before the gateway.
    swap(b"\x18\x02gw", b"\x18\x02gx");
    center.journal.close(false, std::time::Duration::ZERO);
}

#[test]
fn no_truncation_and_no_flipped_byte_gives_other_frames_or_a_panic() {
    let place = Center::new();
    let center = place.start();
    let keyring = center.store.keyring();
    let bytes = written(keyring, &contents()[..1]);
    let sound = rows(&read("batch", bytes.clone()).expect("a batch"), keyring).expect("it opens");
    for end in 0..bytes.len() {
        assert!(read("batch", bytes.slice(..end)).is_err(), "{end} bytes are no batch");
    }
    let mut refused = 0;
    let from = bytes.windows(4).position(|four| four == b"PAR1").expect("the magic");
    for at in from..bytes.len().min(from + 700) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1;
        let opened = read("batch", flipped.into()).and_then(|batch| {
            let mut frames = Vec::new();
            batch.for_each(keyring, |row| {
                frames.push((row.sequence.0, row.bytes.map(<[u8]>::to_vec)));
                Ok::<_, Error>(())
            })?;
            Ok(frames)
        });
        match opened {
            Ok(frames) => assert!(frames == sound || frames[0].1.is_none(), "byte {at} gave other frames"),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 50, "flips are noticed: {refused}");
    center.journal.close(false, std::time::Duration::ZERO);
}

/// A batch and its identity as an earlier build wrote them. It must open for ever; the ignored test
/// below made it.
#[test]
fn the_golden_batch_of_format_1_opens() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (objects, _keep) = golden_objects(&folder);
    let identity = std::fs::read_to_string(folder.join("center.age")).expect("the golden identity");
    let identity = Identity::parse(&identity).expect("an identity");
    let names = Names::new("shanghai-1".parse().expect("a name"));
    let keyring = Keyring::new(objects, names, identity, std::sync::Arc::new(RealEntropy));
    let bytes = std::fs::read(folder.join("batch-1.parquet")).expect("the golden batch");
    let batch = read("golden", bytes.into()).expect("a batch");
    assert_eq!(batch.header(), &header(10, 12));
    let expected: Vec<_> = (10..).zip(golden_contents().into_iter().map(Some)).collect();
    assert_eq!(rows(&batch, &keyring).expect("it opens"), expected);
}

fn golden_contents() -> Vec<Vec<u8>> {
    vec![b"speed=80;".repeat(70), (0..=255).collect(), Vec::new()]
}

/// A store with the golden wrapped key under its object's name.
fn golden_objects(folder: &std::path::Path) -> (Objects, tempfile::TempDir) {
    let store = tempfile::tempdir().expect("a folder");
    let objects = Objects::local(store.path()).expect("a store");
    let names = Names::new("shanghai-1".parse().expect("a name"));
    let key = std::fs::read(folder.join("data.key")).expect("the golden key");
    let _ = objects.create(&names.key(vehicle(0), KeyPeriod(0)), Bytes::from(key)).expect("a put");
    (objects, store)
}

/// Run by hand when a new format version gets its fixture: `cargo test -p store -- --ignored golden`.
#[test]
#[ignore = "writes the golden files"]
fn write_the_golden_batch() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    std::fs::create_dir_all(&folder).expect("a folder");
    let store = tempfile::tempdir().expect("a folder");
    let objects = Objects::local(store.path()).expect("a store");
    let names = Names::new("shanghai-1".parse().expect("a name"));
    let identity = Identity::generate();
    let keyring =
        Keyring::new(objects.clone(), names.clone(), identity.clone(), std::sync::Arc::new(RealEntropy));
    keyring.create(vehicle(0), KeyPeriod(0)).expect("a key");
    let contents = golden_contents();
    let frames = (10..).map(Sequence).zip(contents.iter().map(|bytes| frame(vehicle(0), bytes)));
    let bytes = write(&header(10, 12), frames, &keyring).expect("a batch");
    let wrapped = objects.read(&names.key(vehicle(0), KeyPeriod(0))).expect("a read").expect("the key");
    std::fs::write(folder.join("batch-1.parquet"), bytes).expect("a file");
    std::fs::write(folder.join("data.key"), wrapped).expect("a file");
    std::fs::write(folder.join("center.age"), identity.to_text()).expect("a file");
}

#[test]
fn a_batch_of_a_later_version_is_refused_as_such() {
    let place = Center::new();
    let center = place.start();
    let bytes = written(center.store.keyring(), &contents());
    let key = b"domicile.batch.format";
    let at = bytes.windows(key.len()).position(|window| window == key).expect("the version's key");
    let mut later = bytes.to_vec();
    // Thrift: the key, a field header, a length of 1, the digit.
    assert_eq!(later[at + key.len() + 2], b'1');
    later[at + key.len() + 2] = b'9';
    let refused = read("batch", later.into()).map(|_| ());
    assert!(matches!(refused, Err(Error::Unsupported { what: "batch", ref version }) if version == "9"));
    center.journal.close(false, std::time::Duration::ZERO);
}
