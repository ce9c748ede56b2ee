//! The log against what was seen of it before: rollback, fork, truncation, and a commit that is half written.

use ledger::{Note, Options, SignatureType, SigningKey, cosignature};

use crate::world::{SOON, World, committed, done, file_name, refused};

fn seen(checkpoint: Option<String>) -> Options {
    Options { last_seen: checkpoint, ..Options::default() }
}

#[test]
fn a_rolled_back_store_is_seen_by_who_kept_a_checkpoint() {
    let world = World::filled();
    let before = world.files();
    let early = world.verify().checkpoint;
    let book = world.book();
    done(book.enter_batch(&world.put_batch(10, 12)));
    assert!(book.ledger().close(SOON));
    let late = world.verify_with(&seen(early.clone()));
    assert_eq!(late.findings, []);
    // All of it, or the log alone.
    for keeps_objects in [false, true] {
        world.roll_back(&before, |name| keeps_objects && !name.contains("/ledger/"));
        assert_eq!(world.verify_with(&seen(early.clone())).findings, []);
        let report = world.verify_with(&seen(late.checkpoint.clone()));
        assert!(
            report.findings.iter().any(|finding| finding.what.contains("rolled back")),
            "{:?}",
            report.findings
        );
    }
    // A log that is cut, its heads left: what is missing is named.
    let log: Vec<String> = before.keys().filter(|name| name.contains("/tile/entries/001")).cloned().collect();
    log.iter().for_each(|name| world.set(name, None));
    let report = world.verify();
    assert!(log.iter().any(|name| report.findings.iter().any(|finding| finding.place == *name)));
    assert!(report.findings.iter().any(|finding| finding.what.contains("are missing")));
}

#[test]
fn a_fork_is_seen_by_who_kept_a_checkpoint() {
    let world = World::filled();
    let before = world.files();
    let grow = |count: u64| {
        let book = world.book();
        (0..3).for_each(|number| assert!(committed(&book.enter(&refused(number * count)).expect("entered"))));
        assert!(book.ledger().close(SOON));
        world.assert_clean().checkpoint
    };
    let one = grow(1);
    world.roll_back(&before, |_| false);
    let other = grow(7);
    assert_ne!(one, other);
    assert_eq!(world.verify_with(&seen(other)).findings, []);
    let report = world.verify_with(&seen(one));
    assert!(
        report.findings.iter().any(|finding| finding.what.contains("another tree")),
        "{:?}",
        report.findings
    );
    let report = world.verify_with(&seen(Some("nonsense".to_owned())));
    assert_eq!(report.findings.len(), 1);
}

#[test]
fn a_commit_that_a_crash_left_half_written_waits_and_is_finished() {
    let world = World::filled();
    let before = world.files();
    let book = world.book();
    let batch = world.put_batch(10, 12);
    done(book.enter_batch(&batch));
    assert!(book.ledger().close(SOON));
    // Only the register knows of the last commit.
    world.roll_back(&before, |name| file_name(name) == "head.json" || !name.contains("/ledger/"));
    let report = world.verify();
    assert_eq!(report.findings, []);
    assert!(!report.pending.is_empty() && report.pending.iter().all(|name| name.contains("/ledger/tile/")));
    assert_eq!(world.restart(), 0);
    world.assert_clean();
}

#[test]
fn a_quorum_counts_the_witnesses_that_were_asked_for() {
    let world = World::filled();
    let witness = |seed: u8| {
        SigningKey::from_seed("w.example", SignatureType::CosignatureV1, &[seed; 32]).expect("a key")
    };
    let keys = [witness(1), witness(2)];
    let options = |quorum: usize| Options {
        witnesses: keys.iter().map(SigningKey::verifier).collect(),
        quorum,
        ..Options::default()
    };
    assert_eq!(world.verify_with(&options(0)).findings, []);
    assert_eq!(world.verify_with(&options(1)).findings.len(), 1);
    let place = format!("{}/checkpoint", world.names.ledger());
    let text = String::from_utf8(world.content(&place.as_str().into())).expect("text");
    let mut note = Note::parse(&text).expect("a note");
    let signature = cosignature::sign(&keys[0], 1_700_000_000, note.text()).expect("a cosignature");
    note.add(signature).expect("room");
    world.set(&place, Some(note.to_string().as_bytes()));
    assert_eq!(world.verify_with(&options(1)).findings, []);
    assert_eq!(world.verify_with(&options(2)).findings.len(), 1);
}

#[test]
fn another_logs_key_and_another_countrys_key_are_not_believed() {
    let world = World::filled();
    let other = SigningKey::from_seed(world.key.name(), SignatureType::Ed25519, &[9; 32]).expect("a key");
    let report = ledger::verify(&world.objects, &world.names, &other.verifier(), &Options::default())
        .expect("readable");
    assert!(!report.passed() && report.size == 0);
    let country = SigningKey::from_seed("0123/country", SignatureType::Ed25519, &[9; 32]).expect("a key");
    let report = world.verify_with(&Options { country_key: Some(country.verifier()), ..Options::default() });
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
}
