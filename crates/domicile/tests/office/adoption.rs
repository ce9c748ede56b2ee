//! A center of the program from before the ledger, and a store of another country.

use std::time::Duration;

use crate::house::House;

/// Turns a center back into what the program from before the ledger wrote.
fn turn_back(house: &House) {
    let folder = house.path();
    let store = folder.join("store/shanghai-1");
    let text = std::fs::read_to_string(folder.join("genesis.json")).expect("a genesis");
    let mut old = Vec::new();
    for line in text.lines().filter(|line| !line.contains("vkey")) {
        old.push(line.replace("\"format\": 2", "\"format\": 1"));
    }
    let last = old.len() - 2;
    old[last] = old[last].trim_end_matches(',').to_owned();
    let text = old.join("\n") + "\n";
    for path in [folder.join("genesis.json"), store.join("genesis.json")] {
        std::fs::write(path, &text).expect("written");
    }
    for name in ["ledger", "opening", "manifest", "policy"] {
        let _some_are_there = std::fs::remove_dir_all(store.join(name));
    }
    std::fs::remove_dir_all(folder.join("policy")).expect("removed");
    let _some_are_there = std::fs::remove_file(store.join("genesis.sig"));
    for name in [
        "genesis.sig",
        "ledger.seen",
        "keys/country.key",
        "keys/country.vkey",
        "keys/log.key",
        "keys/log.vkey",
        "keys/mirror.key",
        "keys/mirror.vkey",
    ] {
        let _some_are_there = std::fs::remove_file(folder.join(name));
    }
}

#[test]
fn a_center_from_before_the_ledger_is_adopted_also_after_a_crash() {
    let mut house = House::new("CN", "shanghai-1");
    for number in 1..=3 {
        house.done(&["vehicle", "add", &format!("LRW3E7FA8MC00000{number}"), "--country", "CN"]);
    }
    let before = house.done(&["vehicle", "list"]);
    turn_back(&house);
    for millis in [20, 40, 60, 90, 130] {
        let mut child = house.spawn();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().expect("killed");
        child.wait().expect("it ended");
    }
    house.serve();
    assert_eq!(house.done(&["vehicle", "list"]), before);
    house.stop();
    let verified = house.done(&["ledger", "verify"]);
    assert!(verified.contains("adopted") && verified.contains("verified"), "{verified}");
}

#[test]
fn a_store_of_another_country_is_refused() {
    let china = House::new("CN", "shanghai-1");
    let mut germany = House::new("DE", "berlin-1");
    germany.set("DOMICILE_STORE_URL", &format!("file://{}", china.path().join("store").display()));
    let refused = germany.fails(&["serve"]);
    assert!(refused.contains("of CN") && refused.contains("this folder is of DE"), "{refused}");
}
