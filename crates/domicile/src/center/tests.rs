use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use store::Objects;

use super::{Center, CenterError, NewCenter};
use crate::settings::Settings;
use crate::world::World;

fn world() -> World {
    World { environment: std::sync::Arc::new(|_| None), ..World::real() }
}

fn new_center() -> NewCenter {
    NewCenter {
        country: "CN".parse().expect("a country"),
        center: "shanghai-1".parse().expect("a name"),
        site: "Lingang".to_owned(),
        hosts: vec!["telemetry.example".to_owned()],
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().expect("it exists").permissions().mode() & 0o777
}

#[test]
fn a_new_folder_is_private_complete_and_opens_again() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("center");
    let made = Center::create(&folder, &new_center(), &world()).expect("made");
    assert_eq!(mode(&folder), 0o700);
    for name in ["keys", "pki", "registry", "run"] {
        assert_eq!(mode(&folder.join(name)), 0o700, "{name}");
    }
    for name in
        ["keys/center.age", "pki/server-ca.key", "pki/vehicle-ca.key", "pki/server.key", "domicile.toml"]
    {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    let opened = Center::open(&folder, &world()).expect("opened");
    assert_eq!(opened.genesis, made.genesis);
    assert_eq!(opened.settings, Settings::default());
    assert_eq!(opened.genesis.country().as_str(), "CN");
    opened.identity().expect("the center's identity");
    opened.vehicle_authority().expect("the authority for vehicles");
    opened.check_store(&Objects::local(&folder.join("store")).expect("the store")).expect("the same genesis");
    let (_, names) = crate::pki::inspect_file(&folder.join("pki/server.pem")).expect("a certificate");
    for name in ["telemetry.example", "localhost", "127.0.0.1", "::1"] {
        assert!(names.iter().any(|known| known == name), "{name} is not among {names:?}");
    }
}

#[test]
fn a_folder_with_anything_in_it_is_not_touched() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("holiday.jpg"), "x").expect("written");
    let error = Center::create(folder.path(), &new_center(), &world()).expect_err("refused");
    assert!(matches!(error, CenterError::Exists(_)), "{error}");
    assert_eq!(folder.path().read_dir().expect("a folder").count(), 1);
    let error = Center::open(folder.path(), &world()).expect_err("no center");
    assert!(error.to_string().contains("domicile init"), "{error}");
}

#[test]
fn a_folder_that_others_may_read_is_not_opened() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("center");
    Center::create(&folder, &new_center(), &world()).expect("made");
    let key = folder.join("keys/center.age");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("changed");
    let error = Center::open(&folder, &world()).expect_err("refused").to_string();
    assert!(error.contains("mode 640") && error.contains("chmod 600"), "{error}");
}

#[test]
fn a_store_that_is_not_there_is_told_from_a_new_one() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("center");
    let center = Center::create(&folder, &new_center(), &world()).expect("made");
    let elsewhere = Objects::local(&parent.path().join("elsewhere")).expect("a store");
    let error = center.check_store(&elsewhere).expect_err("missing").to_string();
    assert!(error.contains("is its disk mounted?"), "{error}");
}

#[test]
fn the_server_certificate_is_renewed_shortly_before_it_expires() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("center");
    let center = Center::create(&folder, &new_center(), &world()).expect("made");
    let now = world().clock.now();
    let day = |days: i64| now.plus_micros(days * model::UtcMicros::PER_DAY);
    let path = folder.join("pki/server.pem");
    let (_, names) = crate::pki::inspect_file(&path).expect("a certificate");
    let nobody = |_: &str| Err(crate::pki::PkiError::NoAuthority("nobody is asked".to_owned()));
    assert!(!center.renew_server_certificate(day(360), &nobody).expect("looked at"));
    assert!(center.renew_server_certificate(day(370), &nobody).expect("renewed"));
    let (expires, renewed) = crate::pki::inspect_file(&path).expect("a certificate");
    assert!(expires > day(700));
    assert_eq!(renewed, names);
}

#[test]
fn a_center_without_the_authority_gets_its_certificate_renewed_by_one_that_has_it() {
    let parent = tempfile::tempdir().expect("a folder");
    let made = |name: &str| {
        let folder = parent.path().join(name);
        Center::create(&folder, &new_center(), &world()).expect("made")
    };
    let (first, foreign) = (made("first"), made("foreign"));
    let now = world().clock.now();
    let day = |days: i64| now.plus_micros(days * model::UtcMicros::PER_DAY);
    let (path, ca) = (first.folder.join("pki/server.pem"), first.folder.join("pki/server-ca.key"));
    let read = || std::fs::read_to_string(&path).expect("a certificate");
    let (used, key) = (read(), std::fs::read(&ca).expect("a key"));
    let renewed = first
        .renew_for_another(&used, day(400))
        .expect("also where it has expired")
        .expect("the authority is here");
    let error = foreign.renew_for_another(&used, day(370)).expect_err("made by another authority");
    assert!(matches!(error, crate::pki::PkiError::Foreign), "{error}");

    std::fs::remove_file(&ca).expect("removed");
    assert!(first.renew_for_another(&used, day(370)).expect("looked at").is_none());
    let other = std::fs::read_to_string(foreign.folder.join("pki/server.pem")).expect("a certificate");
    for useless in [other, used.clone()] {
        let error =
            first.renew_server_certificate(day(370), &|_| Ok(useless.clone())).expect_err("of no use");
        assert!(matches!(error, crate::pki::PkiError::Useless(_)), "{error}");
    }
    assert_eq!(read(), used);
    assert!(first.renew_server_certificate(day(400), &|_| Ok(renewed.clone())).expect("renewed"));
    assert_eq!(read(), renewed);
    assert_ne!(renewed, used);
    let (again, there) = (crate::pki::public_key_pin(&renewed), crate::pki::public_key_pin(&used));
    assert_eq!(again.expect("a key"), there.expect("a key"), "the key stays");
    std::fs::write(&ca, key).expect("written");
}
