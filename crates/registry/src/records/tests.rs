use model::{Class, KeyPeriod, VehicleId};
use policy::RecordKind;
use serde_json::{Map, Value, json};

use super::{Field, FieldKind, FieldValue, RecordInput, RecordSchema, RecordsImported};
use crate::tests::{Center, collect, vin};
use crate::{Error, OwnerPeriod, OwnerTime, Registry, RegistryVersion, date};

fn sale() -> RecordSchema {
    let fields = vec![
        Field { required: true, class: Class::Personal, ..Field::new("sold_at", FieldKind::Date) },
        Field { required: true, length_max: 20, ..Field::new("dealer", FieldKind::Text) },
        Field {
            minimum: Some(0.0),
            maximum: Some(1e8),
            class: Class::Personal,
            ..Field::new("price", FieldKind::Number)
        },
        Field { identifies: true, class: Class::Personal, ..Field::new("contract_no", FieldKind::Text) },
        Field {
            values: vec!["person".into(), "company".into()],
            ..Field::new("buyer_type", FieldKind::Text)
        },
        Field::new("used", FieldKind::Flag),
        Field { minimum: Some(0.0), ..Field::new("mileage", FieldKind::Whole) },
        Field::new("country", FieldKind::Country),
    ];
    RecordSchema::new(RecordKind::Sale, fields).expect("a schema")
}

fn owner() -> RecordSchema {
    let fields = vec![
        Field { required: true, identifies: true, ..Field::new("name", FieldKind::Text) },
        Field { identifies: true, ..Field::new("owner_id", FieldKind::Text) },
        Field::new("owner_type", FieldKind::Text),
        Field { required: true, ..Field::new("valid_from", FieldKind::Date) },
        Field::new("valid_to", FieldKind::Date),
    ];
    RecordSchema::new(RecordKind::Owner, fields).expect("a schema")
}

fn service() -> RecordSchema {
    let at = Field { required: true, ..Field::new("at", FieldKind::Date) };
    RecordSchema::new(RecordKind::Service, vec![at, Field::new("work", FieldKind::Text)]).expect("a schema")
}

fn csv(registry: &Registry, schema: &RecordSchema, csv: &str) -> Result<RecordsImported, Error> {
    registry.records_import(schema, RecordInput::Csv(csv.as_bytes()))
}

fn with_vehicles(center: &Center, count: u32) -> Registry {
    let registry = center.registry();
    let lines: String = (0..count).map(|number| format!("{},CN\n", vin(number))).collect();
    registry.import(format!("vin,country\n{lines}").as_bytes()).expect("imported");
    registry
}

fn id(registry: &Registry, number: u32) -> VehicleId {
    registry.lookup(&vin(number)).expect("registered").id
}

/// Everything that the tables say, a page of two rows at a time, as text.
fn tables(registry: &Registry) -> Vec<String> {
    let mut rows = Vec::new();
    for table in Registry::record_tables(&[sale(), owner(), service()]) {
        let mut after = None;
        loop {
            let page = registry.record_rows(&table, after, 2).expect("rows");
            let Some(last) = page.last() else { break };
            after = Some(last.place);
            rows.extend(page.iter().map(|row| format!("{} {:?} {:?}", table.name, row.place, row.values)));
        }
    }
    rows.push(registry.records_version().to_string());
    rows
}

const SALES: &str = "\u{feff}vin,sold_at,dealer,price,contract_no,buyer_type,used,mileage,country\r\n\
    LRW3E7FA8MC000000,2026-01-31,\"North, Ltd\",199999.5,C-77,person,false,,\r\n\
    LRW3E7FA8MC000001,2026-02-01T08:00:00Z,South,,C-78,,1,12,CN\r\n";

fn fill(registry: &Registry) {
    csv(registry, &sale(), SALES).expect("sales");
    let owners = "vin,name,valid_from,valid_to\nLRW3E7FA8MC000000,Ann Other,2026-01-31,\n";
    csv(registry, &owner(), owners).expect("owners");
    let owners = "vin,name,valid_from,owner_type\nLRW3E7FA8MC000000,Bob Other,2026-06-01,person\n";
    csv(registry, &owner(), owners).expect("owners");
    let row = |at: &str| json!({ "vin": vin(1).as_str(), "at": at, "work": "tyres" });
    let rows: Vec<Map<String, Value>> =
        [row("2026-03-01"), row("2026-04-01")].iter().filter_map(|row| row.as_object().cloned()).collect();
    registry.records_import(&service(), RecordInput::Rows(&rows)).expect("services");
}

#[test]
fn the_same_owner_has_the_same_number_across_imports() {
    let center = Center::new();
    let registry = with_vehicles(&center, 4);
    let header = "vin,valid_from,valid_to,name,owner_id";
    let line = |number, from: &str, owner: &str| format!("{},{from},,N,{owner}\n", vin(number));
    let first = line(0, "2024-01-01", "a") + &line(1, "2024-01-01", "b") + &line(2, "2024-01-01", "");
    csv(&registry, &owner(), &format!("{header}\n{first}")).expect("imported");
    // The first owner of 1 gives way to that of 0.
    csv(&registry, &owner(), &format!("{header}\n{}", line(1, "2025-01-01", "a"))).expect("imported");
    let times = registry.owner_times().expect("times");
    let of = |number, from: &str| {
        let from = date(from).expect("a date");
        let is_it = |time: &&OwnerTime| time.vehicle == id(&registry, number) && time.from == from;
        *times.iter().find(is_it).expect("a time")
    };
    assert_eq!(times.len(), 3, "who has no number is nobody's: {times:?}");
    assert_eq!(of(0, "2024-01-01").owner, of(1, "2025-01-01").owner);
    assert_ne!(of(0, "2024-01-01").owner, of(1, "2024-01-01").owner);
    assert_eq!(of(1, "2024-01-01").to, Some(of(1, "2025-01-01").from));
    assert_eq!(of(0, "2024-01-01").to, None);
}

#[test]
fn records_become_tables_without_what_identifies() {
    let center = Center::new();
    let registry = with_vehicles(&center, 2);
    let before = registry.version();
    let imported = csv(&registry, &sale(), SALES).expect("imported");
    assert_eq!((imported.rows, imported.number, imported.rekeyed), (2, Some(1), 0));
    assert_eq!((imported.version, registry.records_version()), (before, 1));
    let table = sale().table();
    let names: Vec<_> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let expected =
        ["vehicle", "sold_at", "dealer", "price", "buyer_type", "used", "mileage", "country", "recorded_at"];
    assert_eq!((table.name, names.as_slice()), ("sales", expected.as_slice()));
    let rows = registry.record_rows(&table, None, 10).expect("rows");
    let text = |text: &str| Some(FieldValue::Text(text.to_owned()));
    let instant = |text: &str| date(text).ok().map(FieldValue::Date);
    assert_eq!(rows[0].values[0], text(id(&registry, 0).as_str()));
    assert_eq!(
        rows[0].values[1..4],
        [instant("2026-01-31"), text("North, Ltd"), Some(FieldValue::Number(199_999.5))]
    );
    assert_eq!(rows[0].values[4..8], [text("person"), Some(FieldValue::Flag(false)), None, None]);
    assert_eq!(rows[1].values[1], instant("2026-02-01T08:00:00Z"));
    assert_eq!(rows[1].values[3..6], [None, None, Some(FieldValue::Flag(true))]);
    assert_eq!(rows[1].values[6..8], [Some(FieldValue::Whole(12)), text("CN")]);
    let nothing = csv(&registry, &sale(), "vin,sold_at,dealer\n").expect("an empty file");
    assert_eq!((nothing.rows, nothing.number), (0, None));
}

#[test]
fn the_tables_are_rebuilt_from_the_objects() {
    let center = Center::new();
    let registry = with_vehicles(&center, 2);
    fill(&registry);
    let (before, version) = (tables(&registry), registry.version());
    assert_eq!(before.len(), 2 + 2 + 2 + 1);
    drop(registry);
    assert_eq!(tables(&center.registry()), before, "opened again");
    center.delete_projection();
    let registry = center.registry();
    assert_eq!(tables(&registry), before, "deleted");
    assert_eq!(registry.version(), version, "a rebuild changes nothing");
}

#[test]
fn an_import_that_reached_only_the_store_is_applied_at_the_next_start() {
    let center = Center::new();
    let registry = with_vehicles(&center, 2);
    csv(&registry, &sale(), SALES).expect("sales");
    drop(registry);
    let kept = std::fs::read(center.file()).expect("the projection");
    let registry = center.registry();
    let owners = "vin,name,valid_from\nLRW3E7FA8MC000000,Ann,2026-01-31\nLRW3E7FA8MC000000,Bob,2026-06-01\n";
    let imported = csv(&registry, &owner(), owners).expect("owners");
    assert_eq!(imported.rekeyed, 1);
    let before = tables(&registry);
    drop(registry);
    // The crash: the object of records is there, the change of the key that follows from it is not.
    let names = center.store.names();
    center.store.objects().delete(&names.control(imported.version.0)).expect("deleted");
    center.delete_projection();
    std::fs::write(center.file(), kept).expect("written");
    let told = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let heard = told.clone();
    let on_recorded: crate::OnRecorded = Box::new(move |name| heard.lock().push(name.to_string()));
    let registry = center.open_telling(Some(on_recorded)).expect("opened");
    assert_eq!(tables(&registry), before);
    assert_eq!(registry.lookup(&vin(0)).expect("there").key, KeyPeriod(1), "the key follows");
    assert_eq!(*told.lock(), [names.control(imported.version.0).to_string()]);
}

#[test]
fn what_somebody_else_wrote_and_what_is_missing_or_damaged_stops() {
    let center = Center::new();
    let registry = with_vehicles(&center, 2);
    fill(&registry);
    drop(registry);
    let (objects, names) = (center.store.objects(), center.store.names());
    let kept = objects.read(&names.record(2)).expect("read").expect("there");
    objects.delete(&names.record(2)).expect("deleted");
    center.delete_projection();
    let error = center.open_telling(None).err().expect("a gap");
    assert!(matches!(error, Error::RecordsDamaged { number: 2, .. }), "{error}");
    let other = objects.read(&names.record(1)).expect("read").expect("there");
    let _ = objects.create(&names.record(2), other.slice(..other.len() / 2)).expect("put");
    assert!(center.open_telling(None).is_err());
    objects.delete(&names.record(2)).expect("deleted");
    let _ = objects.create(&names.record(2), kept).expect("put");
    center.registry();
}

#[test]
fn wrong_lines_are_named_with_their_columns_and_nothing_is_imported() {
    let center = Center::new();
    let registry = with_vehicles(&center, 4);
    let lines = "vin,sold_at,dealer,price,buyer_type,used,mileage,country\n\
        LRW3E7FA8MC000000,2026-01-31,North,1,,,,\n\
        lrw3e7fa8mc000001,2026-01-31,North,1,,,,\n\
        LRW3E7FA8MC000009,2026-01-31,North,1,,,,\n\
        LRW3E7FA8MC000001,31.01.2026,North,NaN,nobody,maybe,1.5,China\n\
        LRW3E7FA8MC000001,2026-01-31,,-1,,,-1,\n\
        LRW3E7FA8MC000002,2026-01-31,a dealer whose name is too long,1e300,,,,\n\
        LRW3E7FA8MC000000,2026-01-31,North,1,,,,\n\
        LRW3E7FA8MC000003,2026-01-31\n\
        ,2026-01-31,North,1,,,,\n";
    let error = csv(&registry, &sale(), lines).expect_err("wrong lines").to_string();
    for line in [
        "line 3: vin: 17 characters",
        "line 5: sold_at: a date such as",
        "line 5: price: a number",
        "line 5: buyer_type: one of person, company",
        "line 5: used: true or false",
        "line 5: mileage: a whole number",
        "line 5: country: two upper-case letters",
        "line 6: dealer: every record has one",
        "line 6: price: at least 0",
        "line 6: mileage: at least 0",
        "line 7: dealer: 0 to 20 characters",
        "line 7: price: at most 100000000",
        "line 9: 2 values where the header has 8 columns",
        "line 10: vin: every record has one",
    ] {
        assert!(error.contains(line), "{line} is missing in {error}");
    }
    let sound = lines.lines().filter(|line| line.starts_with("vin") || line.contains(",North,1,"));
    let sound: Vec<_> = sound.filter(|line| !line.starts_with("lrw") && !line.starts_with(',')).collect();
    let error = csv(&registry, &sale(), &sound.join("\n")).expect_err("two wrong lines").to_string();
    assert!(
        error.contains("line 3: vin: not registered") && error.contains("line 4: vin: the same as in line 2")
    );
    assert!(!error.to_uppercase().contains("LRW3"), "{error}");
    assert_eq!(registry.records_version(), 0);
    assert_eq!(center.store.objects().list(&center.store.names().records()).expect("listed").len(), 0);
    csv(&registry, &sale(), &sound[..2].join("\n")).expect("the sound line");
    let error = csv(&registry, &sale(), &sound[..2].join("\n")).expect_err("twice").to_string();
    assert!(error.contains("line 2: vin: the sale of this vehicle is recorded already"), "{error}");
}

#[test]
fn a_wrong_header_and_wrong_bytes_are_refused_without_being_told() {
    let center = Center::new();
    let registry = with_vehicles(&center, 1);
    let table: &[(&[u8], &str)] = &[
        (b"", "line 1: the column `vin` is missing"),
        (b"vin,dealer\n", "line 1: the column `sold_at` is missing"),
        (b"vin,sold_at,dealer,colour\n", "line 1: column 4 is none of vin, sold_at"),
        (b"LRW3E7FA8MC000000,2026-01-31,North\n", "line 1: column 1 is none of"),
        (b"vin,sold_at,dealer,VIN\n", "line 1: the column `vin` stands there twice"),
        (b"vin,sold_at,dealer\nLRW3E7FA8MC000000,2026-01-31,\xce\xd2\n", "line 2: the line is not UTF-8"),
        (b"vin,sold_at,dealer\nLRW3E7FA8MC000000,2026-01-31,\"North\nx", "dealer: a text on one line"),
        (b"\xff\xfev\0i\0n\0", "line 1: the header is not UTF-8"),
    ];
    for (bytes, part) in table {
        let refused = registry.records_import(&sale(), RecordInput::Csv(bytes));
        let error = refused.expect_err("refused").to_string();
        assert!(error.contains(part) && !error.contains("LRW3"), "{part} is missing in {error}");
    }
    let rows = |row: Value| vec![row.as_object().cloned().expect("an object")];
    for (row, part) in [
        (json!({ "vin": vin(0).as_str(), "colour": 1 }), "line 1: a column that is none of"),
        (json!({ "vin": vin(0).as_str(), "sold_at": ["x"], "dealer": "x" }), "line 1: sold_at: a date"),
        (
            json!({ "vin": vin(0).as_str(), "sold_at": "2026-01-31", "dealer": {} }),
            "line 1: dealer: a text on one",
        ),
        (json!({ "vin": vin(0).as_str(), "sold_at": "2026-01-31", "dealer": null }), "line 1: dealer: every"),
    ] {
        let error = registry.records_import(&sale(), RecordInput::Rows(&rows(row))).expect_err("refused");
        assert!(error.to_string().contains(part), "{part} is missing in {error}");
    }
    assert_eq!(registry.records_version(), 0);
}

#[test]
fn an_import_cut_or_flipped_anywhere_is_all_or_nothing() {
    let center = Center::new();
    let registry = with_vehicles(&center, 2);
    let at =
        "vin,at,work\nLRW3E7FA8MC000000,2026-01-31,tyres\nLRW3E7FA8MC000001,2026-02-01,\"oil, filter\"\n";
    let mut seen = registry.records_version();
    let mut refused = 0;
    for place in 0..at.len() {
        let mut flipped = at.as_bytes().to_vec();
        flipped[place] ^= 1 << (place % 8);
        for bytes in [&at.as_bytes()[..place], &flipped] {
            match registry.records_import(&service(), RecordInput::Csv(bytes)) {
                Ok(RecordsImported { number: Some(number), rows, .. }) => {
                    seen += 1;
                    assert_eq!((number, registry.records_version()), (seen, seen));
                    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
                    assert!(rows < lines.max(2), "{rows} of {lines}");
                }
                Ok(_) => assert_eq!(registry.records_version(), seen),
                Err(error) => {
                    refused += 1;
                    assert!(
                        matches!(error, Error::Import { .. }) && !error.to_string().contains("LRW3"),
                        "{error}"
                    );
                    assert_eq!(registry.records_version(), seen, "a refused import leaves nothing");
                }
            }
        }
    }
    assert!(refused > 50 && seen > 5, "{refused} refused, {seen} imported");
}

#[test]
fn an_owner_follows_another_and_brings_a_new_key() {
    let center = Center::new();
    let registry = with_vehicles(&center, 1);
    let vehicle = id(&registry, 0);
    let import = |line: &str| csv(&registry, &owner(), &format!("vin,name,valid_from,valid_to\n{line}\n"));
    let period = |at: &str| registry.owner_period(vehicle, date(at).expect("a date")).expect("read");
    let from = |from: &str, to: Option<&str>| {
        let date = |text| date(text).expect("a date");
        Some(OwnerPeriod { from: date(from), to: to.map(date) })
    };
    let version = registry.version();
    let first = import("LRW3E7FA8MC000000,Ann,2026-01-01,").expect("the first owner");
    assert_eq!(
        (first.rekeyed, first.version),
        (0, version),
        "the first owner has the key of the registration"
    );
    assert_eq!(period("2026-09-01"), from("2026-01-01", None));
    assert_eq!(period("2025-12-31"), None);
    let second = import("LRW3E7FA8MC000000,Bob,2026-06-01,").expect("the second");
    assert_eq!((second.rows, second.closed, second.rekeyed), (1, 1, 1));
    assert_eq!(second.version, RegistryVersion(version.0 + 1));
    assert_eq!(registry.lookup(&vin(0)).expect("there").key, KeyPeriod(1));
    assert_eq!(period("2026-05-31T23:59:59Z"), from("2026-01-01", Some("2026-06-01")));
    assert_eq!(period("2026-06-01"), from("2026-06-01", None));
    // Somebody who owned it earlier is added later: the present owner and the present key stay.
    let early = import("LRW3E7FA8MC000000,Cid,2025-06-01,2025-12-01").expect("an earlier one");
    assert_eq!((early.closed, early.rekeyed), (0, 0));
    assert_eq!(registry.lookup(&vin(0)).expect("there").key, KeyPeriod(1));
    assert_eq!(period("2025-12-01"), None);
    let open = import("LRW3E7FA8MC000000,Dan,2025-12-02,").expect("one without an end before a known one");
    assert_eq!((open.closed, open.rekeyed), (0, 0));
    assert_eq!(period("2025-12-31"), from("2025-12-02", Some("2026-01-01")));
    for (line, part) in [
        ("LRW3E7FA8MC000000,Eve,2026-06-01,", "overlaps"),
        ("LRW3E7FA8MC000000,Eve,2026-03-01,2026-04-01", "overlaps"),
        ("LRW3E7FA8MC000000,Eve,2025-01-01,2025-07-01", "overlaps"),
        ("LRW3E7FA8MC000000,Eve,2026-07-01,2026-07-01", "later than valid_from"),
        ("LRW3E7FA8MC000000,Eve,2099-07-01,", "a date that has come"),
    ] {
        let error = import(line).expect_err("refused").to_string();
        assert!(error.contains("line 2: valid_") && error.contains(part), "{line}: {error}");
    }
    registry.revoke(&vin(0), "stolen").expect("revoked");
    let error = import("LRW3E7FA8MC000000,Eve,2026-07-01,").expect_err("revoked").to_string();
    assert!(error.contains("line 2: vin: revoked"), "{error}");
}

#[test]
fn an_erased_owner_leaves_the_others_and_their_ends() {
    let center = Center::new();
    let registry = with_vehicles(&center, 1);
    let vehicle = id(&registry, 0);
    let owners = "vin,name,valid_from\nLRW3E7FA8MC000000,Bob,2026-06-01\nLRW3E7FA8MC000000,Ann,2026-01-01\n";
    csv(&registry, &owner(), owners).expect("owners");
    csv(&registry, &owner(), "vin,name,valid_from\nLRW3E7FA8MC000000,Cid,2026-09-01\n").expect("owners");
    assert_eq!(registry.lookup(&vin(0)).expect("there").key, KeyPeriod(2));
    drop(registry);
    for erased in [KeyPeriod(0), KeyPeriod(2)] {
        center.store.keyring().destroy(vehicle, erased).expect("destroyed");
    }
    center.delete_projection();
    let registry = center.registry();
    let rows = registry.record_rows(&owner().table(), None, 10).expect("rows");
    assert_eq!(rows.len(), 1);
    let period = |at: &str| registry.owner_period(vehicle, date(at).expect("a date")).expect("read");
    assert_eq!(period("2026-03-01"), None, "the first owner was erased");
    assert_eq!(period("2026-07-01").and_then(|period| period.to), date("2026-09-01").ok());
    assert_eq!(period("2026-10-01"), None, "the second owner does not own it again");
}

#[test]
fn no_personal_value_stands_readable_on_the_disk_or_in_debug_output() {
    let center = Center::new();
    let registry = with_vehicles(&center, 2);
    fill(&registry);
    let debug = format!("{:?} {:?}", registry.record_rows(&sale().table(), None, 9), sale());
    drop(registry);
    let mut readable = debug.into_bytes();
    collect(&center.folder.path().join("store"), &mut readable);
    for file in ["registry.sqlite", "registry.sqlite-wal"] {
        readable.extend(std::fs::read(center.folder.path().join(file)).unwrap_or_default());
    }
    let contains = |needle: &str| readable.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(contains("North, Ltd"), "the control: a dealer's name stands in the projection");
    for personal in ["C-77", "Ann Other", "Bob Other"] {
        assert!(!contains(personal), "{personal}");
    }
    let mut objects = Vec::new();
    collect(&center.folder.path().join("store"), &mut objects);
    assert!(!objects.windows(8).any(|window| window == b"LRW3E7FA"), "no VIN in the store");
}

#[test]
fn two_imports_of_the_same_row_use_other_nonces() {
    let center = Center::new();
    let registry = with_vehicles(&center, 1);
    let line = "vin,at,work\nLRW3E7FA8MC000000,2026-01-31,tyres\n";
    csv(&registry, &service(), line).expect("imported");
    csv(&registry, &service(), line).expect("imported again: a workshop may do the same twice");
    let first = |number| {
        let bytes = center.store.objects().read(&center.store.names().record(number)).expect("read");
        store::read("records", bytes.expect("there")).expect("a batch").header().first
    };
    assert_ne!(first(1), first(2));
}

#[test]
fn a_schema_that_can_not_be_kept_is_refused() {
    let field = |name: &str, kind| Field::new(name, kind);
    let from = || Field { required: true, ..field("valid_from", FieldKind::Date) };
    for (kind, fields, part) in [
        (RecordKind::Sale, vec![field("vin", FieldKind::Text)], "`vin` by itself"),
        (RecordKind::Sale, vec![field("Price", FieldKind::Number)], "field 1: its name"),
        (RecordKind::Sale, vec![field("a", FieldKind::Flag), field("a", FieldKind::Flag)], "two fields"),
        (RecordKind::Owner, vec![], "must have `valid_from`"),
        (RecordKind::Owner, vec![field("valid_from", FieldKind::Date)], "must have `valid_from`"),
        (RecordKind::Owner, vec![from(), field("valid_to", FieldKind::Text)], "`valid_to` must be"),
        (RecordKind::Sale, (0..65).map(|n| field(&format!("f{n}"), FieldKind::Flag)).collect(), "at most 64"),
    ] {
        let error = RecordSchema::new(kind, fields).expect_err("refused").to_string();
        assert!(error.contains(part), "{part} is missing in {error}");
    }
    let bare = RecordSchema::new(RecordKind::Owner, vec![from()]).expect("a schema").table();
    assert_eq!(bare.columns.len(), 4, "vehicle, valid_from, valid_to, recorded_at");
}

/// Run by hand for the figures of the documentation: `cargo test -p registry -- --ignored --nocapture speed`.
#[test]
#[ignore = "takes a minute, and prints figures"]
fn speed_of_a_hundred_thousand() {
    const COUNT: u32 = 100_000;
    let center = Center::new();
    let registry = center.registry();
    let started = stopwatch();
    let lines: String = (0..COUNT).map(|number| format!("{},CN,Example,One\n", vin(number))).collect();
    let vehicles = format!("vin,country,maker,model\n{lines}");
    registry.import(vehicles.as_bytes()).expect("imported");
    println!("{COUNT} vehicles imported: {}", started());
    let line = |number: u32| {
        format!("{},2026-01-31,North,{}.5,C-{number},person,false,10,CN\n", vin(number), 100_000 + number)
    };
    let sales: String = (0..COUNT).map(line).collect();
    let sales = format!("vin,sold_at,dealer,price,contract_no,buyer_type,used,mileage,country\n{sales}");
    let at: String = (0..COUNT).map(|number| format!("{},2026-01-31,tyres\n", vin(number))).collect();
    let services = format!("vin,at,work\n{at}");
    drop(registry);
    let started = stopwatch();
    let registry = center.registry();
    println!("opened again: {}", started());
    let started = stopwatch();
    csv(&registry, &sale(), &sales).expect("imported");
    println!("{COUNT} sales imported after a restart: {}", started());
    let started = stopwatch();
    csv(&registry, &service(), &services).expect("imported");
    println!("{COUNT} services imported, keys in memory: {}", started());
    let started = stopwatch();
    let rows = registry.record_rows(&sale().table(), None, usize::MAX).expect("rows");
    println!("{} rows of `sales` read: {}", rows.len(), started());
    drop(registry);
    center.delete_projection();
    let started = stopwatch();
    let registry = center.registry();
    println!("opened with the projection deleted: {}", started());
    assert_eq!(registry.counts().expect("counts").0, u64::from(COUNT));
}

/// Tells the time that went by and the processors' time in it, which other programs on the machine change less.
#[expect(clippy::disallowed_methods, reason = "a measurement of real time")]
fn stopwatch() -> impl Fn() -> String {
    let (started, before) = (std::time::Instant::now(), processor_seconds());
    move || format!("{:.2?} ({:.2} s of CPU)", started.elapsed(), processor_seconds() - before)
}

fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux has it");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // proc(5): utime and stime are the fields 14 and 15, in hundredths of a second; the name is the second.
    after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>()
        / 100.0
}
