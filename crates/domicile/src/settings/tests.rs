use store::Ack;

use super::{SECTIONS, SETTINGS, Settings, listen_address, written};

fn read(text: &str) -> Result<Settings, String> {
    Settings::read(text, "domicile.toml", &|_| None).map_err(|error| error.to_string())
}

#[test]
fn the_written_file_reads_back_as_the_defaults() {
    assert_eq!(read(&written()), Ok(Settings::default()));
}

#[test]
fn the_written_file_has_a_line_on_each_setting_and_section() {
    let text = written();
    for setting in SETTINGS {
        let line = format!("# {}\n{} = {}\n", setting.help, setting.key, setting.default);
        assert!(text.contains(&line), "{}.{}", setting.section, setting.key);
        assert!(SECTIONS.iter().any(|(section, _)| *section == setting.section), "{}", setting.section);
    }
}

#[test]
fn the_written_file_is_the_golden_one() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/domicile.toml");
    let kept = std::fs::read_to_string(golden).expect("tests/golden/domicile.toml");
    assert_eq!(written(), kept, "a change of the operator's interface: if it is meant, replace {golden}");
}

#[test]
fn the_defaults_are_the_agreed_ones() {
    let settings = Settings::default();
    assert_eq!(settings.store.batch_bytes_max, 16 << 20);
    assert_eq!(settings.journal.ack, Ack::Journal);
    assert_eq!(settings.journal.bytes_max, 1 << 30);
    assert_eq!(settings.tesla.listen, "0.0.0.0:4443");
    assert_eq!(settings.tesla.issuers[0].name, "Domicile vehicle CA");
    assert_eq!(settings.gbt32960.listen, "");
    assert_eq!(settings.limits.memory_bytes_max, 4 << 30);
}

#[test]
fn a_file_with_one_setting_leaves_the_others() {
    let settings = read("[limits]\nidle_timeout_s = 60\n").expect("settings");
    assert_eq!(settings.limits.idle_timeout_s, 60);
    assert_eq!(settings.limits.connections_max, 50_000);
}

#[test]
fn the_environment_overrides_the_file() {
    let environment = |name: &str| {
        match name {
            "DOMICILE_TESLA_LISTEN" => Some("127.0.0.1:9"),
            "DOMICILE_LAKE_ENABLED" => Some("false"),
            "DOMICILE_GBT32960_ENCRYPTION_MODE" => Some("cbc"),
            "DOMICILE_TESLA_VEHICLE_CA" => Some("[\"a.pem\", \"b.pem\"]"),
            _ => None,
        }
        .map(str::to_owned)
    };
    let settings = Settings::read("[tesla]\nlisten = \"\"\n", "file", &environment).expect("settings");
    assert_eq!(settings.tesla.listen, "127.0.0.1:9");
    assert!(!settings.lake.enabled);
    assert_eq!(settings.tesla.vehicle_ca.len(), 2);
    let wrong = |name: &str| (name == "DOMICILE_LAKE_ENABLED").then(|| "perhaps".to_owned());
    let error = Settings::read("", "file", &wrong).expect_err("no boolean").to_string();
    assert_eq!(error, "DOMICILE_LAKE_ENABLED: a TOML boolean is expected, such as true");
}

#[test]
fn an_unknown_name_is_refused_with_the_nearest_known_one() {
    let table = [
        ("[limits]\nidle_timeout = 5", "limits.idle_timeout", "limits.idle_timeout_s"),
        ("[tesla]\nlisen = \"\"", "tesla.lisen", "tesla.listen"),
        ("[jurnal]\ndir = \"x\"", "jurnal", "journal"),
        ("connections_max = 5", "connections_max", "limits.connections_max"),
    ];
    for (text, name, nearest) in table {
        let error = read(text).expect_err("unknown");
        assert_eq!(error, format!("domicile.toml: there is no setting `{name}`; did you mean `{nearest}`?"));
    }
    let error = read("[nonsense]\nq = 1").expect_err("unknown");
    assert_eq!(error, "domicile.toml: there is no setting `nonsense`");
}

#[test]
fn wrong_values_say_which_setting_and_what_to_write() {
    let table = [
        ("[store]\nurl = \"s3://b/p\"", "this release has the local store only"),
        ("[store]\nurl = \"store\"", "\"file:\" and a folder"),
        ("[store]\nbatch_bytes_max = 1000", "at least four times limits.frame_bytes_max"),
        ("[journal]\nack = \"object\"", "from the \"journal\" only"),
        ("[journal]\nack = \"hope\"", "unknown variant `hope`"),
        ("[journal]\nbytes_max = \"1G\"", "`journal.bytes_max` is a integer, not a string"),
        ("[limits]\nidle_timeout_s = -1", "invalid value"),
        ("lake = 1", "`lake` is a section: write [lake]"),
        ("[lake\n", "is not TOML"),
        ("[tesla]\nissuers = [{ name = \"x\" }]", "device_type"),
    ];
    for (text, part) in table {
        let error = read(text).expect_err("wrong");
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_listener_s_address_needs_no_name_server() {
    for good in ["0.0.0.0:4443", "[::]:4443", "localhost:0"] {
        assert!(listen_address(good).is_ok(), "{good}");
    }
    for wrong in ["center.example.cn:4443", "4443", "0.0.0.0", "localhost:x"] {
        let error = read(&format!("[tesla]\nlisten = \"{wrong}\"")).expect_err(wrong);
        assert!(error.contains("tesla.listen: ") && error.contains("no host name"), "{error}");
    }
}

#[test]
fn metrics_are_for_loopback_until_somebody_says_otherwise() {
    let networks = |text: &str| {
        let settings = read(text).expect("settings");
        settings.metrics_networks().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(networks(""), ["127.0.0.1/32", "::1/128"]);
    assert_eq!(
        networks("[http]\nmetrics_from = [\"10.1.2.3/8\", \"10.0.0.9\"]"),
        ["10.0.0.0/8", "10.0.0.9/32"]
    );
    let error = read("[http]\nmetrics_from = [\"anybody\"]").expect_err("no network");
    assert!(error.contains("http.metrics_from: `anybody` is no network"), "{error}");
}
