use model::{Class, Country, UtcMicros};

use super::parts::CLASSES;
use super::{
    CN, Counts, Day, EU, ExportPath, FieldType, GENERIC, Pack, Per, RecordKind, RecordValue, ResidencyMode,
    Status, Term, Unit, Window, YearDay, ZoneEffect,
};
use crate::{HeaderError, Role};

fn country(code: &str) -> Country {
    code.parse().expect("a country")
}

fn cn() -> Pack {
    Pack::parse(CN).expect("the Chinese pack")
}

/// The Chinese pack with one text replaced by another.
fn changed(from: &str, to: &str) -> String {
    assert!(CN.contains(from), "{from}");
    CN.replacen(from, to, 1)
}

#[test]
fn the_packs_that_the_program_brings_along_are_sound() {
    for text in [CN, EU, GENERIC] {
        let pack = Pack::parse(text).unwrap_or_else(|error| panic!("{error}"));
        for (_, class) in CLASSES {
            assert!((1..=7_320).contains(&pack.retention_days(class)));
            assert!(!pack.may_read(Role::Operator, class) && !pack.may_read(Role::Auditor, class));
            assert!(pack.may_read(Role::Officer, class));
        }
        let words = ["sensitive", "important", "location"];
        for class in words.map(|word| Class::from_name(word).expect("a class")) {
            assert!(!pack.may_read(Role::Analyst, class), "{class:?}");
            assert!(pack.frame_retention_days() <= pack.retention_days(class));
        }
        assert!(pack.may_read_coarse(Role::Analyst, Class::Location));
        assert!(!pack.may_read_coarse(Role::Analyst, Class::Sensitive));
        // At least a kilometre, also where degrees of longitude are short (60 degrees north).
        assert!(pack.positions().analyst_grid.value * 111.0 / 2.0 > 1.0);
        assert!(pack.export().default.value == ExportPath::Blocked);
        assert!(!pack.zones().is_empty());
    }
}

#[test]
fn a_country_gets_its_own_pack_its_unions_or_the_generic_one() {
    for (code, name) in
        [("CN", "cn"), ("DE", "eu"), ("MT", "eu"), ("US", "generic"), ("HK", "generic"), ("GB", "generic")]
    {
        let pack = Pack::parse(Pack::builtin(country(code))).expect("a pack");
        assert_eq!(pack.version().name(), name, "{code}");
        assert!(pack.is_for(country(code)));
    }
    assert_eq!(Pack::parse(EU).expect("the pack").countries().len(), 27);
    assert!(!cn().is_for(country("TW")));
}

#[test]
fn the_chinese_numbers_are_those_of_the_rules_and_say_how_sure_they_are() {
    let pack = cn();
    assert_eq!(pack.version().to_string(), "cn-2026.1");
    assert_eq!(pack.retention_days(Class::Location), 14);
    assert_eq!(pack.class(Class::Location).retention.status, Status::Unconfirmed);
    assert_eq!(pack.frame_retention_days(), 14);
    let deadlines = pack.deadlines();
    assert_eq!(deadlines.deletion.value, Term { amount: 10, unit: Unit::WorkingDays });
    assert_eq!(deadlines.deletion.status, Status::Reported);
    let report = deadlines.annual_report.as_ref().expect("a yearly report");
    assert_eq!(report.value, YearDay { month: 12, day: 15 });
    assert_eq!(pack.keep().logs.value.days_at_most(), Some(186));
    assert_eq!(pack.keep().logs.status, Status::Confirmed);
    assert_eq!(pack.keep().handovers.value.days_at_most(), Some(3 * 366));
    assert_eq!(pack.residency().mode.value, ResidencyMode::NoRemoteAccess);
    assert_eq!(pack.thresholds().important_persons.as_ref().expect("a threshold").value, 100_000);
    assert_eq!(pack.zone("military").expect("a zone").effect.value, ZoneEffect::Drop);
    assert_eq!(pack.consent().longest.value.days_at_least(), Some(365));
    assert_eq!(pack.cameras().recheck.value, 5);
}

#[test]
fn export_counters_step_where_the_rules_do() {
    let pack = cn();
    let counter =
        |name: &str| pack.export().counters.iter().find(|counter| &*counter.name == name).expect("a counter");
    let personal = counter("personal");
    assert_eq!(
        (personal.counts, personal.window, personal.per),
        (Counts::Persons, Window::CalendarYear, Per::Exporter)
    );
    for (count, path) in [
        (0, ExportPath::Exempt),
        (99_999, ExportPath::Exempt),
        (100_000, ExportPath::Contract),
        (999_999, ExportPath::Contract),
        (1_000_000, ExportPath::Assessment),
        (u64::MAX, ExportPath::Assessment),
    ] {
        assert_eq!(personal.path(count), path, "{count}");
    }
    for (count, path) in [
        (0, ExportPath::Exempt),
        (1, ExportPath::Contract),
        (9_999, ExportPath::Contract),
        (10_000, ExportPath::Assessment),
    ] {
        assert_eq!(counter("sensitive").path(count), path, "{count}");
    }
    assert_eq!(counter("important").path(1), ExportPath::Assessment);
    let generic = Pack::parse(GENERIC).expect("the generic pack");
    assert_eq!(generic.export().counters[0].window, Window::Rolling12Months);
    assert_eq!(generic.export().counters[0].path(1), ExportPath::Blocked);
}

#[test]
fn working_days_skip_weekends_and_holidays_and_count_days_made_up_for() {
    let pack = cn();
    let day = |year, month, day| Day::from_civil(year, month, day).expect("a day");
    let after = |from, days| pack.calendar().after_working_days(from, days).civil();
    // 24 November 2026 is a Tuesday; nothing but weekends lies ahead.
    assert_eq!(after(day(2026, 11, 24), 10), (2026, 12, 8));
    // National Day's week is off, and Saturday the 10th is worked.
    assert!(!pack.calendar().is_working_day(day(2026, 10, 5)));
    assert!(pack.calendar().is_working_day(day(2026, 10, 10)));
    assert_eq!(after(day(2026, 9, 28), 4), (2026, 10, 9));
    assert_eq!(after(day(2026, 9, 28), 5), (2026, 10, 10));
    assert_eq!(after(day(2026, 9, 28), 0), (2026, 9, 28));
    // A year that the pack doesn't know has its weekends only.
    assert!(pack.calendar().is_working_day(day(2030, 10, 1)));
    assert!(pack.calendar().year(2030).is_none());
    assert_eq!(pack.calendar().year(2026).expect("a year").1, Status::Unconfirmed);
    // A day begins by the pack's clock: 16:30 in UTC is the next day in China.
    let instant = UtcMicros::from_civil(2026, 11, 24, 16, 30, 0).expect("an instant");
    assert_eq!(pack.day(instant).civil(), (2026, 11, 25));
}

/// What must be refused, where, and a word of what is said.
#[test]
fn what_is_wrong_is_named_by_line_table_and_key() {
    let table = [
        // replaced, by, table, key, said
        (
            "retention = { value = 14",
            "retension = { value = 14",
            "classes.location",
            "retention",
            "`retension` meant",
        ),
        ("title =", "titel = \"x\"\ntitle =", "", "titel", "did you mean `title`"),
        ("[classes.important]", "[classes.importent]", "classes", "important", "`importent` meant"),
        ("[keep]", "[keep]\nlog = 1", "keep", "log", "did you mean `logs`"),
        (
            "value = 14, unit = \"days\"",
            "value = 0, unit = \"days\"",
            "classes.location.retention",
            "value",
            "1 to 7320",
        ),
        (
            "value = 14, unit = \"days\"",
            "value = 99999, unit = \"days\"",
            "classes.location.retention",
            "value",
            "out of range",
        ),
        (
            "value = 14, unit = \"days\"",
            "value = -1, unit = \"days\"",
            "classes.location.retention",
            "value",
            "out of range",
        ),
        (
            "value = 14, unit = \"days\"",
            "value = \"ever\", unit = \"days\"",
            "classes.location.retention",
            "value",
            "a text stands here",
        ),
        (
            "value = 14, unit = \"days\"",
            "value = 14, unit = \"day\"",
            "classes.location.retention",
            "unit",
            "did you mean `days`",
        ),
        (
            "value = 14, unit = \"days\"",
            "value = 2, unit = \"weeks\"",
            "classes.location.retention",
            "unit",
            "one of days",
        ),
        (
            "status = \"unconfirmed\"",
            "status = \"unconfirmd\"",
            "classes.location.retention",
            "status",
            "did you mean `unconfirmed`",
        ),
        (", status = \"product\" }", " }", "classes.technical.retention", "status", "missing"),
        (
            "source = \"Cybersecurity Law (2016 numbering) art. 21(3)\", ",
            "",
            "keep.logs",
            "source",
            "missing",
        ),
        (
            "source = \"Cybersecurity Law (2016 numbering) art. 21(3)\"",
            "source = \" \"",
            "keep.logs",
            "source",
            "empty",
        ),
        (
            "[\"analyst\", \"officer\"]",
            "[\"analist\"]",
            "classes.technical",
            "readers[0]",
            "did you mean `analyst`",
        ),
        (
            "coarse_readers = [\"analyst\"]",
            "coarse_readers = [\"officer\"]",
            "classes.location",
            "coarse_readers",
            "already",
        ),
        ("format = 1", "format = 2", "", "format", "1 to 1"),
        ("version = \"2026.1\"", "version = \"2026.01\"", "", "version", "such as \"2026.1\""),
        ("version = \"2026.1\"", "version = 2026.1", "", "version", "a number stands here"),
        ("name = \"cn\"", "name = \"CN\"", "", "name", "a-z"),
        ("countries = [\"CN\"]", "countries = [\"CHN\"]", "", "countries[0]", "two upper-case letters"),
        ("countries = [\"CN\"]", "countries = []", "", "countries", "empty"),
        ("countries = [\"CN\"]", "countries = [\"*\", \"CN\"]", "", "countries[0]", "two upper-case"),
        ("clock = \"+08:00\"", "clock = \"8\"", "", "clock", "+08:00"),
        (
            "value = \"12-15\"",
            "value = \"02-30\"",
            "deadlines.annual_report",
            "value",
            "no day of every year",
        ),
        (
            "value = 100000, path",
            "value = 0, path",
            "export.counters.personal.steps[1]",
            "value",
            "more than the step before",
        ),
        (
            "path = \"assessment\"",
            "path = \"assesment\"",
            "export.counters.personal.steps[2]",
            "path",
            "did you mean",
        ),
        (
            "window = \"calendar-year\"",
            "window = \"year\"",
            "export.counters.personal",
            "window",
            "rolling-12-months",
        ),
        (
            "longest = { value = 1, unit = \"years\"",
            "longest = { value = 6, unit = \"months\"",
            "consent",
            "periods",
            "longer than",
        ),
        (
            "effect = { value = \"drop\"",
            "effect = { value = \"hide\"",
            "zones.military.effect",
            "value",
            "coarsen",
        ),
        ("value = 0.02", "value = nan", "positions.analyst_grid", "value", "out of range"),
        ("value = 0.02", "value = 0.0", "positions.analyst_grid", "value", "out of range"),
        (
            "\"2026-01-01/2026-01-03\"",
            "\"2026-01-03/2026-01-01\"",
            "calendar.years.2026",
            "holidays[0]",
            "ends before",
        ),
        ("\"2026-01-01/2026-01-03\"", "\"2025-01-01\"", "calendar.years.2026", "holidays[0]", "of that year"),
        (
            "workdays = [\"2026-01-04\"",
            "workdays = [\"2026-01-03\"",
            "calendar.years.2026",
            "workdays",
            "a holiday and a workday",
        ),
        (
            "retained_from = \"sold_at\"",
            "retained_from = \"sold_on\"",
            "records.sale",
            "retained_from",
            "did you mean `sold_at`",
        ),
        (
            "[records.sale.fields.city]",
            "[records.sale.fields.vin]",
            "records.sale.fields",
            "vin",
            "leave it out",
        ),
        ("[records.sale.fields.city]", "[records.sale.fields.City]", "records.sale.fields", "City", "a-z"),
        (
            "[records.sale.fields.city]",
            "[records.sale.fields.vehicle]",
            "records.sale.fields",
            "vehicle",
            "another name",
        ),
        (
            "type = \"number\"",
            "type = \"numeric\"",
            "records.sale.fields.price",
            "type",
            "one of text, number",
        ),
        ("type = \"number\"", "type = \"flag\"", "records.sale.fields.price", "min", "unknown key"),
        (
            "class = \"technical\"\nmax_length = 120",
            "class = \"techncal\"",
            "records.sale.fields.dealer",
            "class",
            "did you mean `technical`",
        ),
        (
            "class = \"technical\"\nmax_length = 120",
            "max_length = 120",
            "records.sale.fields.dealer",
            "class",
            "missing",
        ),
        ("min = 0\nmax = 100000000", "min = 1\nmax = 0", "records.sale.fields.price", "", "no value fits"),
    ];
    for (from, to, path, key, said) in table {
        let text = changed(from, to);
        let error = Pack::parse(&text).expect_err(to);
        assert_eq!((error.table.as_str(), error.key.as_str()), (path, key), "{to}: {error}");
        assert!(error.to_string().contains(said), "{to}: {error}");
        assert!(error.line > 0 && error.line <= text.lines().count(), "{to}: {error}");
    }
    let error =
        Pack::parse(&CN.replace("records.service", "records.servise")).expect_err("a kind is missing");
    assert!(error.table == "records" && error.to_string().contains("`servise` meant"), "{error}");
}

#[test]
fn an_error_reads_well() {
    let error = Pack::parse(&changed("[keep]", "[keep]\nlog = 1")).expect_err("an unknown key");
    let line = CN.lines().position(|line| line == "[keep]").expect("the table") + 2;
    assert_eq!(
        error.to_string(),
        format!(
            "country pack, line {line}, [keep] `log`: unknown key; this table has logs, handovers, assessments, exports; \
             did you mean `logs`?"
        )
    );
    let not_toml = Pack::parse("format = 1\nname = \n").expect_err("no TOML");
    assert!(not_toml.to_string().starts_with("country pack, line 2: not TOML: "), "{not_toml}");
}

#[test]
fn every_line_that_is_left_out_is_missed_or_was_optional() {
    // Removing any single line must give an error that names a place, or a pack that is still sound.
    let lines: Vec<&str> = CN.lines().collect();
    let mut refused = 0;
    for left_out in 0..lines.len() {
        let kept = lines.iter().enumerate().filter(|(index, _)| *index != left_out);
        let text: String = kept.map(|(_, line)| format!("{line}\n")).collect();
        if let Err(error) = Pack::parse(&text) {
            assert!(error.line <= lines.len(), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 200, "{refused}");
}

#[test]
fn every_prefix_is_refused_without_a_panic() {
    let last = CN.trim_end().len();
    for end in (0..last).step_by(211).filter(|end| CN.is_char_boundary(*end)) {
        if let Err(error) = Pack::parse(&CN[..end]) {
            assert!(error.line >= 1);
        } else {
            assert!(last - end < 600, "cut off at {end} of {last}");
        }
    }
    assert!(Pack::parse("").is_err());
    assert!(Pack::parse(&"#".repeat(Pack::TEXT_BYTES_MAX + 1)).is_err());
}

#[test]
fn damaged_packs_are_read_or_refused_without_a_panic() {
    // A linear congruential generator: the same damage in every run.
    let mut state = 20_261_124_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..300 {
        let mut bytes = CN.as_bytes().to_vec();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            bytes[at] = b"0\"[]{}=.,#\n-xX9"[next(15)];
        }
        if let Err(error) = Pack::parse(&String::from_utf8_lossy(&bytes)) {
            assert!(!error.problem.is_empty());
        }
    }
    for deep in ["[", "{a=", "a.", "[["] {
        assert!(Pack::parse(&format!("a = {}", deep.repeat(100_000))).is_err());
        assert!(Pack::parse(&deep.repeat(100_000)).is_err());
    }
}

#[test]
fn a_records_values_are_checked_by_type_and_range() {
    let pack = cn();
    let sale = pack.record_schema(RecordKind::Sale);
    let owner = pack.record_schema(RecordKind::Owner);
    let service = pack.record_schema(RecordKind::Service);
    let good = [
        (sale, "vin", " LRW3E7FA8MC000001 ", RecordValue::Vin("LRW3E7FA8MC000001".parse().expect("a VIN"))),
        (sale, "price", "249900.50", RecordValue::Number(249_900.5)),
        (sale, "price", "", RecordValue::Absent),
        (sale, "dealer", " 上海一店 ", RecordValue::Text("上海一店")),
        (sale, "buyer_type", "person", RecordValue::Text("person")),
        (sale, "used", "true", RecordValue::Flag(true)),
        (sale, "used", "0", RecordValue::Flag(false)),
        (sale, "country", "CN", RecordValue::Country(country("CN"))),
        (service, "mileage", "12000", RecordValue::Whole(12_000)),
        (owner, "valid_to", "  ", RecordValue::Absent),
    ];
    for (schema, field, text, value) in good {
        assert!(schema.check(field, text) == Ok(value), "{field}: {text}");
    }
    let bad = [
        (sale, "vin", "LRW3E7FA8MC00000", "17 characters"),
        (sale, "vin", "", "required"),
        (sale, "dealer", "   ", "required"),
        (sale, "dealer", "a\nb", "line breaks"),
        (sale, "price", "1,000", "without separators"),
        (sale, "price", "inf", "a number"),
        (sale, "price", "NaN", "a number"),
        (sale, "price", "1e9", "a number"),
        (sale, "price", "-1", "from 0 to 100000000"),
        (sale, "currency", "YUAN", "3 to 3 characters; it has 4"),
        (sale, "currency", "", ""),
        (sale, "buyer_type", "persn", "one of person, company"),
        (sale, "used", "yes", "true or false"),
        (sale, "country", "China", "ISO 3166-1"),
        (service, "mileage", "12.5", "a whole number"),
        (service, "mileage", "99999999", "from 0 to 5000000"),
        (sale, "colour", "red", "no field"),
    ];
    for (schema, field, text, said) in bad {
        match schema.check(field, text) {
            Ok(value) => assert!(said.is_empty() && value == RecordValue::Absent, "{field}: {text}"),
            Err(error) => {
                assert!(error.to_string().contains(said), "{field}: {text}: {error}");
                assert!(
                    text.len() < 5 || !error.to_string().contains(text),
                    "an error repeats no value: {error}"
                );
            }
        }
    }
    assert_eq!(format!("{:?}", sale.check("vin", "LRW3E7FA8MC000001")), "Ok(Vin(hidden))");
}

#[test]
fn a_date_is_an_instant_by_the_packs_clock() {
    let pack = cn();
    let at = |text| match pack.record_schema(RecordKind::Service).check("at", text) {
        Ok(RecordValue::Date(instant)) => instant.to_string(),
        Ok(_) => "another type".to_owned(),
        Err(_) => "refused".to_owned(),
    };
    for (text, expected) in [
        ("2026-11-24", "2026-11-23T16:00:00Z"),
        ("2026-11-24 20:10", "2026-11-24T12:10:00Z"),
        ("2026-11-24T20:10:05Z", "2026-11-24T20:10:05Z"),
        ("2026-11-24T20:10:05+08:00", "2026-11-24T12:10:05Z"),
        ("2026-11-24T20:10:05-02:30", "2026-11-24T22:40:05Z"),
        ("2026-02-29", "refused"),
        ("24.11.2026", "refused"),
        ("2026/11/24", "refused"),
        ("2026-11-24T", "refused"),
        ("2026-11-24T24:00", "refused"),
        ("2026-11-24T20", "refused"),
        ("2026-11-24T20:10:05+25:00", "refused"),
        ("2026-11-24T20:10:05Zulu", "refused"),
        ("2026-11-24T20:10:05.123", "refused"),
        ("2026-11-2４", "refused"),
        ("0001-01-01", "refused"),
    ] {
        assert_eq!(at(text), expected, "{text}");
    }
}

#[test]
fn a_header_is_held_against_the_fields() {
    let pack = cn();
    let sale = pack.record_schema(RecordKind::Sale);
    let columns = sale.columns(["\u{feff}vin", " dealer ", "sold_at"]).expect("a header");
    assert_eq!(columns.iter().map(|field| field.name()).collect::<Vec<_>>(), ["vin", "dealer", "sold_at"]);
    let error = sale.columns(["vin", "sold_at", "deeler"]).expect_err("an unknown column");
    assert!(
        error.to_string().contains("column 3") && error.to_string().contains("did you mean `dealer`"),
        "{error}"
    );
    assert!(matches!(sale.columns(["vin", "vin"]), Err(HeaderError::Twice { position: 2, .. })));
    let error = sale.columns(["vin", "dealer"]).expect_err("a required column is missing");
    assert_eq!(error.to_string(), "column `sold_at` is missing; every record of kind sale has it");
}

#[test]
fn every_kind_has_its_vin_its_identities_and_its_retention() {
    for text in [CN, EU, GENERIC] {
        let pack = Pack::parse(text).expect("a pack");
        for kind in RecordKind::ALL {
            let schema = pack.record_schema(kind);
            assert_eq!(schema.kind(), kind);
            assert_eq!(kind.as_str().parse(), Ok(kind));
            let vin = &schema.fields()[0];
            assert!(vin.name() == "vin" && vin.is_required() && vin.identifies());
            assert_eq!(schema.retained_from().datatype(), FieldType::Date);
            assert!(schema.retention().value.amount > 0);
        }
        let owner = pack.record_schema(RecordKind::Owner);
        for name in ["name", "phone", "id_number", "owner_id", "address"] {
            assert!(owner.field(name).expect("a field").identifies(), "{name}");
        }
        assert_eq!(owner.field("id_number").expect("a field").class(), Class::Sensitive);
    }
}
