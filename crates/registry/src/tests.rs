use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{Clock, Entropy, UtcMicros, Vin};
use store::{Identity, Keyring, OsDisk, Store};

use crate::{
    Error, NewVehicle, OnRecorded, Registry, RegistryVersion, Role, VehicleState, World, date, parse_csv,
};

const KEY: &str =
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----";

/// A clock that goes on by a second a look, and bytes that count: no two draws are the same.
pub(crate) struct Fixed(AtomicU64);

impl Clock for Fixed {
    fn now(&self) -> UtcMicros {
        let seconds = self.0.fetch_add(1, Ordering::Relaxed);
        UtcMicros::from_seconds(1_795_435_200 + seconds.cast_signed())
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

impl Entropy for Fixed {
    fn fill(&self, buffer: &mut [u8]) {
        for byte in buffer {
            // SplitMix64: consecutive counts give unrelated bytes.
            let count = self.0.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mixed = (count ^ (count >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (mixed >> 56) as u8;
        }
    }
}

pub(crate) struct Center {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) world: World,
    identity: Identity,
}

impl Center {
    pub(crate) fn new() -> Self {
        Self::named("shanghai-1", 0)
    }

    /// `count` is where its clock and its random bytes begin.
    pub(crate) fn named(name: &str, count: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let fixed = Arc::new(Fixed(AtomicU64::new(count)));
        let outside = store::World { clock: fixed.clone(), entropy: fixed.clone(), disk: Arc::new(OsDisk) };
        let center = name.parse().expect("a name");
        let identity = Identity::generate();
        let store = Store::open(&store::Settings::default(), folder.path(), &center, &identity, outside)
            .expect("a store");
        Self { folder, store, world: World { clock: fixed.clone(), entropy: fixed }, identity }
    }

    /// The keyring as after a restart: nothing is unwrapped yet.
    pub(crate) fn cold_keyring(&self) -> Keyring {
        let (objects, names) = (self.store.objects().clone(), self.store.names().clone());
        Keyring::new(objects, names, self.identity.clone(), self.world.entropy.clone())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("registry.sqlite")
    }

    fn open(&self) -> Result<Registry, Error> {
        self.open_telling(None)
    }

    pub(crate) fn open_telling(&self, on_recorded: Option<OnRecorded>) -> Result<Registry, Error> {
        Registry::open(
            &self.file(),
            self.store.objects().clone(),
            self.store.names().clone(),
            self.cold_keyring(),
            self.world.clone(),
            on_recorded,
        )
    }

    pub(crate) fn registry(&self) -> Registry {
        self.open().expect("a registry")
    }

    pub(crate) fn delete_projection(&self) {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.folder.path().join(format!("registry.sqlite{suffix}")));
        }
    }
}

pub(crate) fn vin(number: u32) -> Vin {
    format!("LRW3E7FA8MC{number:06}").parse().expect("a VIN")
}

pub(crate) fn new(number: u32) -> NewVehicle {
    NewVehicle::new(vin(number), "CN".parse().expect("a country"))
}

/// Everything that the registry says, as text.
fn state(registry: &Registry) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for vehicle in registry.list(None, usize::MAX >> 1).expect("vehicles") {
        let facts = registry.lookup(&vehicle.vin).expect("in memory too");
        let public = vehicle.iccid.map(|iccid| iccid.as_str().to_owned());
        state.insert(vehicle.vin.to_string(), format!("{vehicle:?} {public:?} {facts:?}"));
    }
    for platform in registry.platforms().expect("platforms") {
        state.insert(platform.name.clone(), format!("{platform:?}"));
    }
    for token in registry.token_list().expect("tokens") {
        state.insert(token.name.clone(), format!("{token:?}"));
    }
    state.insert("version".to_owned(), registry.version().to_string());
    state
}

fn fill(registry: &Registry) {
    let full = NewVehicle {
        maker: "Example".to_owned(),
        model: "One".to_owned(),
        iccid: Some("89860012345678901234".parse().expect("an ICCID")),
        public_key: Some(KEY.to_owned()),
        sold_at: Some(date("2026-01-31").expect("a date")),
        ..new(1)
    };
    registry.add(&full).expect("added");
    registry.add(&new(2)).expect("added");
    registry.revoke(&vin(2), "stolen").expect("revoked");
    let csv = "vin,country,model\nLRW3E7FA8MC000001,CN,Two\nLRW3E7FA8MC000003,DE,\n";
    registry.import(csv.as_bytes()).expect("imported");
    registry.platform_add("oem", "correct-horse").expect("added");
    registry.platform_add("old", "battery-staple").expect("added");
    registry.platform_revoke("old", "contract ended").expect("revoked");
    registry.token_create("grafana", Role::Analyst, date("2027-01-31").ok()).expect("created");
    registry.token_create("lost", Role::Officer, None).expect("created");
    registry.token_revoke("lost", "left in a train").expect("revoked");
}

#[test]
fn the_projection_is_rebuilt_from_the_control_objects() {
    let center = Center::new();
    let before = {
        let registry = center.registry();
        fill(&registry);
        state(&registry)
    };
    assert_eq!(before.len(), 3 + 2 + 2 + 1);
    assert_eq!(state(&center.registry()), before, "opened again");
    center.delete_projection();
    assert_eq!(state(&center.registry()), before, "deleted");
    std::fs::write(center.file(), b"this is no database at all, but it is long enough to look like a file")
        .expect("written");
    assert_eq!(state(&center.registry()), before, "damaged");
    center.delete_projection();
    let registry = center.registry();
    assert!(registry.platform_verify(b"oem", b"correct-horse"), "the password outlives the projection");
}

#[test]
fn a_change_that_reached_only_the_store_is_applied_at_the_next_start() {
    let center = Center::new();
    let registry = center.registry();
    registry.add(&new(1)).expect("added");
    let kept = std::fs::read(center.file()).expect("the projection");
    let wal = center.folder.path().join("registry.sqlite-wal");
    let kept_wal = std::fs::read(&wal).unwrap_or_default();
    registry.add(&new(2)).expect("added");
    registry.revoke(&vin(1), "sold abroad").expect("revoked");
    let before = state(&registry);
    drop(registry);
    center.delete_projection();
    std::fs::write(center.file(), kept).expect("written");
    std::fs::write(&wal, kept_wal).expect("written");
    let registry = center.registry();
    assert_eq!(state(&registry), before);
    assert_eq!(registry.lookup(&vin(1)).map(|facts| facts.state), Some(VehicleState::Revoked));
}

#[test]
fn a_projection_of_a_store_that_was_lost_is_not_believed() {
    let center = Center::new();
    fill(&center.registry());
    for name in center.store.objects().list(&center.store.names().controls()).expect("listed") {
        center.store.objects().delete(&name.location).expect("deleted");
    }
    let registry = center.registry();
    assert_eq!(registry.version(), RegistryVersion(0));
    assert!(registry.lookup(&vin(1)).is_none());
}

#[test]
fn a_missing_or_damaged_control_object_stops_the_rebuild_and_says_which() {
    let center = Center::new();
    fill(&center.registry());
    center.delete_projection();
    let (objects, names) = (center.store.objects(), center.store.names());
    let kept = objects.read(&names.control(2)).expect("read").expect("there");
    objects.delete(&names.control(2)).expect("deleted");
    let error = center.open().err().expect("a gap").to_string();
    assert!(error.contains("control object 2"), "{error}");
    let mut text = String::from_utf8(kept.to_vec()).expect("JSON");
    let _ = objects
        .create(&names.control(2), text.replace("\"format\":1", "\"format\":9").into_bytes())
        .expect("put");
    assert!(center.open().err().expect("another format").to_string().contains("format"));
    objects.delete(&names.control(2)).expect("deleted");
    text.truncate(text.len() / 2);
    let _ = objects.create(&names.control(2), text.into_bytes()).expect("put");
    assert!(matches!(center.open().err(), Some(Error::Damaged { sequence: 2, .. })));
    objects.delete(&names.control(2)).expect("deleted");
    let _ = objects.create(&names.control(2), kept).expect("put");
    center.open().expect("whole again");
}

#[test]
fn no_personal_field_stands_readable_in_the_store() {
    let center = Center::new();
    fill(&center.registry());
    let mut readable = Vec::new();
    collect(&center.folder.path().join("store"), &mut readable);
    let contains = |needle: &str| readable.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(contains("\"country\":\"CN\""), "the control: what is not personal is found");
    for personal in ["LRW3E7FA8MC000001", "89860012345678901234", "stolen", "correct-horse"] {
        assert!(!contains(personal), "{personal}");
    }
}

pub(crate) fn collect(path: &Path, bytes: &mut Vec<u8>) {
    for entry in std::fs::read_dir(path).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, bytes);
        } else {
            bytes.extend(std::fs::read(&path).expect("a file"));
        }
    }
}

#[test]
fn an_erased_vehicle_is_not_in_a_rebuilt_registry() {
    let center = Center::new();
    let registry = center.registry();
    let added = registry.add(&new(1)).expect("added").vehicle;
    registry.add(&new(2)).expect("added");
    drop(registry);
    center.store.keyring().destroy(added.id, added.key).expect("destroyed");
    center.delete_projection();
    let registry = center.registry();
    assert!(registry.lookup(&vin(1)).is_none());
    assert!(registry.lookup(&vin(2)).is_some());
}

#[test]
fn the_projection_is_for_its_owner_alone() {
    let center = Center::new();
    fill(&center.registry());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&center.file().metadata().expect("a file").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_vin_is_registered_once_and_a_revoked_one_is_restored() {
    let center = Center::new();
    let registry = center.registry();
    let first = registry.add(&new(1)).expect("added");
    assert!(!first.restored);
    let error = registry.add(&new(1)).expect_err("twice");
    assert!(matches!(error, Error::AlreadyRegistered { id } if id == first.vehicle.id));
    assert!(!error.to_string().contains("LRW3"), "an error's text may be logged");
    assert_eq!(
        registry.revoke(&vin(9), "x").expect_err("unknown").to_string(),
        Error::NoSuchVehicle.to_string()
    );
    let revoked = registry.revoke(&vin(1), "stolen").expect("revoked");
    assert!(revoked > first.version);
    assert!(matches!(registry.revoke(&vin(1), "again"), Err(Error::AlreadyRevoked { .. })));
    assert_eq!(registry.show(&vin(1)).expect("read").and_then(|v| v.revoked).expect("revoked").why, "stolen");
    let restored = registry.add(&new(1)).expect("restored");
    assert!(restored.restored);
    assert_eq!(restored.vehicle.id, first.vehicle.id, "its rows stay its own");
    assert_eq!(registry.lookup(&vin(1)).expect("there").state, VehicleState::Active);
    assert_eq!(registry.version(), restored.version);
}

#[test]
fn fields_that_break_their_rule_are_refused() {
    let registry = Center::new();
    let registry = registry.registry();
    let long = NewVehicle { maker: "x".repeat(65), ..new(1) };
    assert!(matches!(registry.add(&long), Err(Error::Field { field: "maker", .. })));
    for key in
        ["", "hello", "-----BEGIN PUBLIC KEY-----\n?\n-----END PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----"]
    {
        let vehicle = NewVehicle { public_key: Some(key.to_owned()), ..new(1) };
        assert!(matches!(registry.add(&vehicle), Err(Error::Field { field: "public_key", .. })), "{key}");
    }
    registry.add(&new(1)).expect("added");
    for why in ["", "  ", "two\nlines", &"x".repeat(501)] {
        assert!(matches!(registry.revoke(&vin(1), why), Err(Error::Field { field: "why", .. })), "{why}");
    }
    assert_eq!(registry.version(), RegistryVersion(1), "a refused change leaves nothing");
}

#[test]
fn an_import_is_one_change_and_importing_again_changes_nothing() {
    let center = Center::new();
    let registry = center.registry();
    let csv = format!(
        "\u{feff}VIN,country,maker,iccid,public_key,sold_at\r\n\
         LRW3E7FA8MC000001,CN,Example,89860012345678901234,\"{KEY}\",2026-01-31\r\n\
         LRW3E7FA8MC000002,DE,,,,2026-01-31T08:00:00Z\r\n"
    );
    let first = registry.import(csv.as_bytes()).expect("imported");
    assert_eq!((first.added, first.changed, first.unchanged), (2, 0, 0));
    assert_eq!(registry.version(), RegistryVersion(1));
    let again = registry.import(csv.as_bytes()).expect("imported");
    assert_eq!((again.added, again.changed, again.unchanged), (0, 0, 2));
    assert_eq!(registry.version(), RegistryVersion(1));
    registry.revoke(&vin(2), "exported").expect("revoked");
    let changed = registry.import(csv.replace("Example", "Other").as_bytes()).expect("imported");
    assert_eq!((changed.added, changed.changed, changed.unchanged, changed.revoked), (0, 1, 0, 1));
    let vehicle = registry.show(&vin(1)).expect("read").expect("there");
    assert_eq!(vehicle.maker, "Other");
    assert_eq!(vehicle.public_key.as_deref(), Some(KEY));
    assert_eq!(registry.lookup(&vin(2)).expect("there").state, VehicleState::Revoked);
}

#[test]
fn a_wrong_line_is_named_and_nothing_is_imported() {
    let center = Center::new();
    let registry = center.registry();
    registry.add(&new(5)).expect("added");
    let csv = "vin,country,iccid,sold_at\n\
               LRW3E7FA8MC000001,CN,,\n\
               lrw3e7fa8mc000002,CN,,\n\
               LRW3E7FA8MC000003,China,,\n\
               LRW3E7FA8MC000004,CN,123,\n\
               LRW3E7FA8MC000001,CN,,\n\
               LRW3E7FA8MC000006,CN,,31.01.2026\n\
               LRW3E7FA8MC000007,CN\n";
    let error = registry.import(csv.as_bytes()).expect_err("wrong lines").to_string();
    for line in [
        "line 3: vin: 17 characters",
        "line 4: country: two upper-case letters",
        "line 5: ICCID: 19 or 20",
        "line 6: vin: the same as in line 2",
        "line 7: sold_at: a date such as",
        "line 8: 2 values where the header has 4 columns",
    ] {
        assert!(error.contains(line), "{line} is missing in {error}");
    }
    assert!(!error.contains("LRW3"), "{error}");
    assert!(registry.lookup(&vin(1)).is_none());
    let foreign = "vin,country\nLRW3E7FA8MC000001,CN\nLRW3E7FA8MC000005,DE\n";
    let error = registry.import(foreign.as_bytes()).expect_err("another country").to_string();
    assert!(error.contains("line 3: this VIN is registered as sold in CN"), "{error}");
    assert!(registry.lookup(&vin(1)).is_none());
}

#[test]
fn a_header_that_is_not_understood_is_refused() {
    let table = [
        ("", "the column `vin` is missing"),
        ("vin\nLRW3E7FA8MC000001", "the column `country` is missing"),
        ("vin;country\n", "there is no column `vin;country`"),
        ("vin,country,colour\n", "there is no column `colour`"),
        ("vin,country,vin\n", "the column `vin` stands there twice"),
    ];
    for (csv, part) in table {
        let error = parse_csv(csv.as_bytes()).expect_err("refused").to_string();
        assert!(error.contains("line 1:") && error.contains(part), "{csv}: {error}");
    }
    let error = parse_csv(b"vin,country\n\xff\xfe,CN\n").expect_err("no UTF-8").to_string();
    assert!(error.contains("not UTF-8"), "{error}");
}

#[test]
fn an_import_cut_anywhere_is_refused_or_has_fewer_vehicles() {
    let csv = format!("vin,country,public_key\nLRW3E7FA8MC000001,CN,\"{KEY}\"\nLRW3E7FA8MC000002,CN,\n");
    for length in 0..csv.len() {
        if let Ok(vehicles) = parse_csv(&csv.as_bytes()[..length]) {
            assert!(vehicles.len() <= 2, "{length}");
        }
    }
    assert_eq!(parse_csv(csv.as_bytes()).expect("whole").len(), 2);
}

#[test]
fn many_wrong_lines_are_counted() {
    let mut csv = String::from("vin,country\n");
    for _ in 0..50 {
        csv.push_str("x,CN\n");
    }
    let Err(Error::Import { problems, more }) = parse_csv(csv.as_bytes()) else { panic!("refused") };
    assert_eq!((problems.len(), more), (20, 30));
}

#[test]
fn times_of_private_use_come_back_after_a_rebuild_and_an_erasure_forgets_those_before_it() {
    let center = Center::new();
    let registry = center.registry();
    let id = registry.add(&new(1)).expect("added").vehicle.id;
    registry.add(&new(2)).expect("added");
    let set = |from, to: Option<i64>, is_private| {
        let times = (UtcMicros::from_seconds(from), to.map(UtcMicros::from_seconds));
        registry.set_private(&vin(1), times, is_private).expect("set").0
    };
    set(1, Some(5), true);
    set(7, None, true);
    let vehicle = set(2, Some(3), false);
    assert_eq!(vehicle.private.iter().count(), 3);
    let backwards = (UtcMicros(5), Some(UtcMicros(4)));
    assert!(matches!(
        registry.set_private(&vin(1), backwards, true),
        Err(Error::Field { field: "until", .. })
    ));
    let before = state(&registry);
    let times = registry.private_times().expect("times");
    assert_eq!(times, [(id, vehicle.private)]);
    drop(registry);
    center.delete_projection();
    let registry = center.registry();
    assert_eq!(state(&registry), before);
    assert_eq!(registry.private_times().expect("times"), times);
    let asked_at = registry.show(&vin(1)).expect("read").expect("known").added_at;
    let (why, ground) = ("asked", crate::ErasureGround::Request);
    let erasure =
        crate::NewErasure { vin: &vin(1), owner_from: None, ground, why, asked_at, subject: "x".to_owned() };
    let (erasure, _) = registry.erase(&erasure).expect("erased");
    registry.revoke(&vin(2), "sold").expect("revoked");
    let times = (UtcMicros(4), Some(UtcMicros(5)));
    assert!(matches!(registry.set_private(&vin(2), times, true), Err(Error::AlreadyRevoked { .. })));
    let times = registry.private_times().expect("times");
    let (id, times) = times.first().expect("the switch stays on");
    assert_ne!(*id, erasure.vehicle);
    assert_eq!(times.iter().collect::<Vec<_>>(), [(erasure.began_at, None)]);
}

#[test]
fn a_platform_logs_in_with_its_password_until_it_is_revoked() {
    let center = Center::new();
    let registry = center.registry();
    registry.platform_add("oem", "correct-horse").expect("added");
    assert!(registry.platform_verify(b"oem", b"correct-horse"));
    assert!(!registry.platform_verify(b"oem", b"correct-hors"));
    assert!(!registry.platform_verify(b"oem", b""));
    assert!(!registry.platform_verify(b"nobody", b"correct-horse"));
    assert!(!registry.platform_verify(b"\xff", b"correct-horse"));
    assert!(matches!(registry.platform_add("oem", "another-one"), Err(Error::PlatformExists)));
    assert!(matches!(registry.platform_add("x", "short"), Err(Error::Field { field: "password", .. })));
    assert!(matches!(registry.platform_add("thirteen-long", "long-enough"), Err(Error::Field { .. })));
    registry.platform_revoke("oem", "contract ended").expect("revoked");
    assert!(!registry.platform_verify(b"oem", b"correct-horse"));
    assert!(matches!(registry.platform_revoke("oem", "again"), Err(Error::AlreadyRevoked { .. })));
    assert!(matches!(registry.platform_add("oem", "another-one"), Err(Error::PlatformExists)));
}

#[test]
fn vehicles_are_listed_page_by_page() {
    let center = Center::new();
    let registry = center.registry();
    let mut csv = String::from("vin,country\n");
    for number in 0..25 {
        csv.push_str(&format!("{},CN\n", vin(number)));
    }
    registry.import(csv.as_bytes()).expect("imported");
    let first = registry.list(None, 10).expect("a page");
    let second = registry.list(first.last().map(|vehicle| &vehicle.vin), 20).expect("a page");
    assert_eq!((first.len(), second.len()), (10, 15));
    assert_eq!(second[0].vin, vin(10));
    assert_eq!(registry.counts().expect("counts"), (25, 0));
    let id = second[3].id;
    assert_eq!(registry.show_id(id).expect("read").map(|vehicle| vehicle.vin), Some(vin(13)));
}

#[test]
fn dates_are_read_strictly() {
    assert_eq!(date("2026-01-31").expect("a date").to_string(), "2026-01-31T00:00:00Z");
    assert_eq!(date("2026-01-31T08:09:10Z").expect("an instant").to_string(), "2026-01-31T08:09:10Z");
    for text in
        ["", "2026-02-30", "2026-1-31", "2026-01-31T08:09:10", "31.01.2026", "+026-01-31", "2026-01-3\u{e9}"]
    {
        assert!(date(text).is_err(), "{text}");
    }
}

#[test]
fn a_token_opens_until_it_expires_or_is_revoked_and_after_a_rebuild() {
    let center = Center::new();
    let registry = center.registry();
    let now = center.world.clock.now();
    let later = now.plus_micros(UtcMicros::PER_HOUR);
    let (secret, version) = registry.token_create("ann@plant", Role::Auditor, Some(later)).expect("created");
    assert_eq!((version, registry.version()), (RegistryVersion(1), RegistryVersion(1)));
    let text = secret.as_str();
    let shape: Vec<usize> = text.splitn(3, '_').map(str::len).collect();
    assert_eq!(shape, [8, 8, 43]);
    let holder = registry.token_check(text, now).expect("its holder");
    assert_eq!((&*holder.name, holder.role), ("ann@plant", Role::Auditor));
    assert_eq!(registry.token_check(text, later), None, "expired");
    for end in 0..text.len() {
        assert_eq!(registry.token_check(&text[..end], now), None, "{end} characters");
        let mut other = text.as_bytes().to_vec();
        other[end] = if other[end] == b'x' { b'y' } else { b'x' };
        assert_eq!(registry.token_check(&String::from_utf8(other).expect("ASCII"), now), None, "{end}");
    }
    assert_eq!(registry.token_check(&format!("{text}x"), now), None);
    assert!(matches!(registry.token_create("ann@plant", Role::Analyst, None), Err(Error::TokenExists)));
    let (second, _) = registry.token_create("bob", Role::Operator, None).expect("created");
    drop(registry);
    center.delete_projection();
    let registry = center.registry();
    assert!(registry.token_check(text, now).is_some(), "the token outlives the projection");
    registry.token_revoke("ann@plant", "left").expect("revoked");
    assert_eq!(registry.token_check(text, now), None);
    assert!(matches!(registry.token_revoke("ann@plant", "again"), Err(Error::AlreadyRevoked { .. })));
    assert!(matches!(registry.token_revoke("nobody", "x"), Err(Error::NoSuchToken)));
    assert!(matches!(registry.token_create("ann@plant", Role::Analyst, None), Err(Error::TokenExists)));
    center.delete_projection();
    let registry = center.registry();
    assert_eq!(registry.token_check(text, now), None, "revoked, also after a rebuild");
    assert!(registry.token_check(second.as_str(), now.plus_micros(400 * UtcMicros::PER_DAY)).is_some());
    let list = registry.token_list().expect("tokens");
    assert_eq!(list.iter().map(|token| &*token.name).collect::<Vec<_>>(), ["ann@plant", "bob"]);
    assert_eq!(list[0].revoked.as_ref().map(|revocation| &*revocation.why), Some("left"));
}

#[test]
fn a_token_with_a_wrong_name_or_a_past_end_is_refused() {
    let center = Center::new();
    let registry = center.registry();
    for name in ["", "two words", "caf\u{e9}", "line\n", "socket", &"x".repeat(65)] {
        let refused = registry.token_create(name, Role::Analyst, None);
        assert!(matches!(refused, Err(Error::Field { field: "name", .. })), "{name}");
    }
    let past = registry.token_create("late", Role::Analyst, Some(center.world.clock.now()));
    assert!(matches!(past, Err(Error::Field { field: "expires", .. })));
    assert_eq!(registry.version(), RegistryVersion(0));
    assert!(Role::from_name("owner").is_none() && Role::from_name("Analyst").is_none());
    for role in Role::ALL {
        assert_eq!(Role::from_name(role.as_str()), Some(role));
    }
}

#[test]
fn a_tokens_text_is_in_no_object_no_file_and_no_debug_output() {
    let center = Center::new();
    let registry = center.registry();
    let (secret, _) = registry.token_create("grafana", Role::Analyst, None).expect("created");
    let part = &secret.as_str()[18..];
    let shown = format!("{secret:?} {:?}", registry.token_list().expect("tokens"));
    assert!(!shown.contains(part) && shown.contains("hidden"), "{shown}");
    drop(registry);
    let mut readable = Vec::new();
    collect(center.folder.path(), &mut readable);
    let contains = |needle: &str| readable.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(contains("grafana"), "the control: a token's name is found");
    assert!(!contains(part));
}

#[test]
fn each_change_is_told_once_in_order_when_memory_knows_it() {
    let center = Center::new();
    let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let heard = told.clone();
    let slot: Arc<std::sync::OnceLock<Arc<Registry>>> = Arc::default();
    let inner = slot.clone();
    let on_recorded: OnRecorded = Box::new(move |name| {
        let registry = inner.get().expect("it is open");
        // Reads of memory and of the file: neither may wait for the change.
        let counted = registry.counts().expect("counts").0;
        heard.lock().push((name.to_string(), registry.version(), counted));
    });
    let registry = Arc::new(center.open_telling(Some(on_recorded)).expect("a registry"));
    assert!(slot.set(registry.clone()).is_ok());
    std::thread::scope(|scope| {
        for part in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                for number in 0..5 {
                    registry.add(&new(part * 10 + number)).expect("added");
                }
            });
        }
    });
    let names = center.store.names();
    let expected: Vec<_> = (1..=20_u64)
        .map(|number| (names.control(number).to_string(), RegistryVersion(number), number))
        .collect();
    assert_eq!(*told.lock(), expected);
}

#[test]
fn the_header_of_a_file_without_one_is_not_told() {
    let error = parse_csv(b"LRW3E7FA8MC000001,CN\n").expect_err("no header").to_string();
    assert!(!error.contains("LRW3") && error.contains("number 1"), "{error}");
}
