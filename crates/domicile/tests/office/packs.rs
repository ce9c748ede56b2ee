//! The country pack: signed, applied, named.

use crate::house::House;

#[test]
fn a_pack_is_in_force_only_with_the_countrys_signature() {
    let mut house = House::new("CN", "shanghai-1");
    let path = house.path().join("policy/pack.toml");
    let first = std::fs::read_to_string(&path).expect("the pack");
    let changed = first.replace("version = \"2026.1\"", "version = \"2026.2\"");
    assert_ne!(first, changed);
    std::fs::write(&path, &changed).expect("written");
    let stopped = house.fails(&["serve"]);
    assert!(stopped.contains("pack.toml") && stopped.contains("domicile policy apply"), "{stopped}");
    std::fs::write(&path, &first).expect("written");
    let next = house.file("next.toml", &changed);
    assert!(house.done(&["policy", "check", &next]).contains("2026.2"));
    let abroad = house.file("abroad.toml", include_str!("../../../../packs/eu.toml"));
    assert!(house.fails(&["policy", "check", &abroad]).contains("not for CN"));
    house.serve();
    let same = house.file("same.toml", first.replace("About the machine", "About a machine"));
    assert!(house.fails(&["policy", "apply", &same]).contains("later one"));
    assert!(house.fails(&["policy", "apply", &abroad]).contains("not for CN"));
    let (here, away) = (house.path().join("keys/country.key"), house.folder.path().join("country.key"));
    std::fs::rename(&here, &away).expect("moved away");
    assert!(house.fails(&["policy", "apply", &next]).contains("--signature"));
    let signature = house.done(&["policy", "sign", &next, "--key", &away.display().to_string()]);
    let signature = house.file("next.sig", signature);
    assert!(house.done(&["policy", "apply", &next, "--signature", &signature]).contains("number 2"));
    assert!(house.done(&["policy", "show"]).contains("version = \"2026.2\""));
    house.stop();
    assert!(house.done(&["ledger", "verify"]).contains("verified"));
    let names_it =
        house.files().into_iter().filter(|path| path.to_string_lossy().contains("tile/entries")).any(
            |path| {
                let bundle = String::from_utf8_lossy(&std::fs::read(path).expect("a bundle")).into_owned();
                bundle.contains("\"kind\":\"policy\"") && bundle.contains("cn-2026.2")
            },
        );
    assert!(names_it, "the new pack has its entry");
    house.serve();
}
