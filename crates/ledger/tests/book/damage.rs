//! A byte, an object, the log: changed, taken away, added.

use ledger::Report;

use crate::world::{VEHICLE, VIN, World, done, file_name};

fn names(report: &Report, name: &str) -> bool {
    report.findings.iter().any(|finding| finding.place == name || finding.what.contains(name))
}

/// Derived, or kept by other means: the keyring's keys are wrapped, the register `writer.json` says only who writes now.
fn needs_no_entry(name: &str) -> bool {
    let file = file_name(name);
    name.contains("/keyring/")
        || ["writer.json", "_last_checkpoint"].contains(&file)
        || file.ends_with(".checkpoint.parquet")
}

/// Whether it is a partial tile that a wider one has superseded: nobody needs it.
fn is_superseded(name: &str, all: &[&String]) -> bool {
    let Some((place, width)) = name.split_once(".p/") else { return false };
    let width: u32 = width.parse().expect("a width");
    all.iter().any(|other| {
        let wider = other.split_once(".p/").filter(|(at, _)| *at == place);
        *other == place
            || wider.is_some_and(|(_, other)| other.parse::<u32>().is_ok_and(|other| other > width))
    })
}

#[test]
fn what_was_entered_verifies_and_holds_nothing_personal() {
    let world = World::filled();
    let report = world.assert_clean();
    assert_eq!(report.notes, []);
    assert_eq!(report.kinds["stored"], 3);
    assert_eq!(report.kinds["control"], 3);
    assert_eq!(report.kinds["tabled"], 2);
    assert_eq!(report.size, report.kinds.values().sum::<u64>());
    // Genesis, pack, changes, batches, records, manifests, and of each table version a data file and a commit.
    assert_eq!(report.objects, 1 + 1 + 3 + 2 + 1 + 2 + 4);
    assert!(report.tiles > 4 && report.root.is_some() && report.checkpoint.is_some());
    for (name, content) in world.files().iter().filter(|(name, _)| name.contains("/ledger/")) {
        for planted in [VIN, VEHICLE] {
            let found = content.windows(planted.len()).any(|part| part == planted.as_bytes());
            assert!(!found, "{planted} in {name}");
        }
    }
}

#[test]
fn a_changed_byte_is_found_wherever_it_is() {
    let world = World::filled();
    for (name, content) in world.files().iter().filter(|(name, _)| !needs_no_entry(name)) {
        // The register's epoch and owner are the writer's own affair; what is signed comes after.
        let begin = match file_name(name) {
            "head.json" => {
                content.windows(12).position(|part| part == b"\"checkpoint\"").expect("a checkpoint")
            }
            _ => 0,
        };
        let step = ((content.len() - begin) / 7).max(1);
        for place in (begin..content.len()).step_by(step).chain([content.len() - 1]) {
            let mut changed = content.clone();
            changed[place] ^= 1;
            world.set(name, Some(&changed));
            let report = world.verify();
            assert!(names(&report, name), "{name} at {place}: {:?}", report.findings);
            // Of a tile and the bundle below it the right one is blamed.
            let is_hashes = name.contains("/tile/") && !name.contains("/entries/");
            assert!(!is_hashes || report.findings.len() == 1, "{name} at {place}: {:?}", report.findings);
        }
        world.set(name, Some(content));
    }
    world.assert_clean();
}

#[test]
fn a_missing_object_is_named() {
    let world = World::filled();
    let files = world.files();
    let all: Vec<&String> = files.keys().collect();
    for (name, content) in files.iter().filter(|(name, _)| !needs_no_entry(name)) {
        world.set(name, None);
        let report = world.verify();
        if is_superseded(name, &all) {
            assert_eq!(report.findings, [], "{name}");
        } else {
            assert!(names(&report, name), "{name}: {:?}", report.findings);
        }
        world.set(name, Some(content));
    }
    world.assert_clean();
}

#[test]
fn what_nobody_entered_is_named() {
    let world = World::filled();
    let foreign = [
        world.names.control(5).to_string(),
        world.names.pack(3).to_string(),
        world.names.record(7).to_string(),
        world.names.manifest(9).to_string(),
        "shanghai-1/notes.txt".to_owned(),
        "shanghai-1/control/4.json".to_owned(),
        "shanghai-1/ledger/tile/0/001.p/200".to_owned(),
        "shanghai-1/ledger/tile/entries/002".to_owned(),
        "shanghai-1/ledger/checkpoint.old".to_owned(),
        "shanghai-1/batch/2026/11/24/21/gw-00000000000000000030.parquet".to_owned(),
        "shanghai-1/opening/control/00000000000000000009.json".to_owned(),
        world.table_file("_delta_log/00000000000000000009.json").to_string(),
        world.table_file("_delta_log/notes").to_string(),
    ];
    for name in &foreign {
        world.set(name, Some(b"whatever"));
        let report = world.verify();
        assert!(names(&report, name), "{name}: {:?}", report.findings);
        world.set(name, None);
    }
    world.assert_clean();
}

#[test]
fn only_what_directly_follows_waits_for_its_entry() {
    let world = World::filled();
    // 4 follows, 6 does not; of the batches the first two follow.
    world.put_control(4);
    world.put_control(6);
    let followers = [world.put_batch(10, 12), world.put_batch(13, 13)];
    let stranger = world.put_batch(20, 21);
    let version = world.put_version(2, "gw-12", &[]);
    let loose = world.table_file("gw-99.parquet");
    world.put(&loose, "rows of a commit that is to come");
    let report = world.verify();
    let mut pending: Vec<String> = followers.iter().map(|batch| batch.name.path().to_string()).collect();
    pending.push(world.names.control(4).to_string());
    pending.extend(version.added.iter().map(ToString::to_string));
    pending.push(loose.to_string());
    pending.sort();
    assert_eq!(report.pending, pending);
    let places: Vec<&str> = report.findings.iter().map(|finding| finding.place.as_str()).collect();
    assert_eq!(places, [stranger.name.path().as_ref(), world.names.control(6).as_ref()]);
}

#[test]
fn a_data_file_that_an_entered_commit_names_had_to_be_entered() {
    let world = World::new(true);
    let book = world.book();
    done(book.enter_genesis());
    let mut version = world.put_version(0, "gw-1", &[]);
    let data = version.added.remove(0);
    done(book.enter_table_version(&version));
    assert!(book.ledger().close(crate::world::SOON));
    assert!(names(&world.verify(), data.as_ref()));
}
