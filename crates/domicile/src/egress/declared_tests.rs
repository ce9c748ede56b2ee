use super::{Declared, Host, Purpose, Url};
use crate::settings::Settings;

const VKEY: &str = "witness.example.cn+0011aabb+BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn declared(text: &str) -> Result<Declared, String> {
    let settings = Settings::read(text, "domicile.toml", &|_| None).map_err(|error| error.to_string())?;
    Declared::of(&settings, "CN".parse().expect("a country")).map_err(|error| error.to_string())
}

fn allow(entry: &str) -> String {
    format!("[egress]\nallow = [{entry}]\n")
}

#[test]
fn what_is_declared_is_found_and_nothing_else() {
    let declared = declared(&allow(
        "{ to = \"Witness.Example.cn:443\", purpose = \"witness\", country = \"CN\", networks = [\"10.1.2.3/8\", \"fd00::/8\"] }, \
         { to = \"[fd00::7]:9000\", purpose = \"object_store\", country = \"CN\" }",
    ))
    .expect("declared");
    let host = Host::Name("witness.example.cn".to_owned());
    let witness = declared.find(Purpose::Witness, &host, 443).expect("declared");
    assert_eq!(witness.to_string(), "witness.example.cn:443");
    assert!(witness.includes("10.200.0.1".parse().expect("an address")));
    assert!(!witness.includes("11.0.0.1".parse().expect("an address")));
    assert!(declared.has_names());
    assert_eq!(declared.destinations()[1].to_string(), "[fd00::7]:9000");
    for (purpose, port) in [(Purpose::Feed, 443), (Purpose::Witness, 444)] {
        let error = declared.find(purpose, &host, port).expect_err("undeclared").to_string();
        assert!(
            error.contains(&format!("witness.example.cn:{port} is not declared as {purpose}")),
            "{error}"
        );
        assert!(error.contains("egress.allow"), "{error}");
    }
}

#[test]
fn a_destination_abroad_is_refused() {
    let text = allow("{ to = \"log.example.com:443\", purpose = \"witness\", country = \"US\" }");
    assert_eq!(
        declared(&text).expect_err("abroad"),
        "egress.allow, entry 1 (`log.example.com:443`): lies in US, and this center in CN: a center connects inside its country \
         only; take the entry out"
    );
}

#[test]
fn what_can_t_be_declared_says_what_to_write() {
    let table = [
        ("{ to = \"host\", purpose = \"feed\", country = \"CN\" }", "write a host and its port"),
        ("{ to = \"host:0\", purpose = \"feed\", country = \"CN\" }", "write a host and its port"),
        ("{ to = \"host:https\", purpose = \"feed\", country = \"CN\" }", "write a host and its port"),
        ("{ to = \"*.cn:443\", purpose = \"feed\", country = \"CN\" }", "a pattern is none"),
        (
            "{ to = \"fd00::7:443\", purpose = \"feed\", country = \"CN\" }",
            "neither a host name nor an address",
        ),
        ("{ to = \"10.2:443\", purpose = \"feed\", country = \"CN\" }", "neither a host name nor an address"),
        ("{ to = \"0x7f000001:443\", purpose = \"feed\", country = \"CN\" }", "neither a host name"),
        (
            "{ to = \"a..cn:443\", purpose = \"feed\", country = \"CN\" }",
            "neither a host name nor an address",
        ),
        ("{ to = \"0.0.0.0:443\", purpose = \"feed\", country = \"CN\" }", "nobody's address"),
        ("{ to = \"h:1\", purpose = \"backup\", country = \"CN\" }", "write \"witness\", \"feed\", \"peer\""),
        ("{ to = \"h:1\", purpose = \"feed\", country = \"China\" }", "two upper-case letters"),
        ("{ to = \"h:1\", purpose = \"feed\", country = \"CN\", networks = [\"10/8\"] }", "is no network"),
        (
            "{ to = \"10.0.0.1:1\", purpose = \"feed\", country = \"CN\", networks = [\"192.168.0.0/16\"] }",
            "10.0.0.1 lies in none of its networks",
        ),
        (
            "{ to = \"h:1\", purpose = \"feed\", country = \"CN\" }, { to = \"H:1\", purpose = \"feed\", country = \"CN\" }",
            "entry 2 (`H:1`): is declared as feed before",
        ),
        ("{ to = \"h:1\", purpose = \"feed\" }", "country"),
        ("{ to = \"h:1\", purpose = \"feed\", country = \"CN\", port = 5 }", "unknown field `port`"),
        ("\"h:1\"", "invalid type"),
    ];
    for (entry, part) in table {
        let error = declared(&allow(entry)).expect_err(entry);
        assert!(error.contains(part), "{entry}: {error}");
    }
    let many: Vec<String> = (1..=65)
        .map(|port| format!("{{ to = \"h:{port}\", purpose = \"feed\", country = \"CN\" }}"))
        .collect();
    assert!(declared(&allow(&many.join(", "))).expect_err("too many").contains("64 destinations"));
}

#[test]
fn a_witness_must_be_declared_in_the_same_country() {
    let witness = |url: &str, country: &str, vkey: &str| {
        let allow = allow("{ to = \"w.cn:443\", purpose = \"witness\", country = \"CN\" }");
        format!(
            "{allow}[ledger]\nwitnesses = [{{ name = \"w\", vkey = \"{vkey}\", url = \"{url}\", country = \"{country}\" }}]\n"
        )
    };
    assert!(declared(&witness("https://w.cn/log", "CN", VKEY)).is_ok());
    let table = [
        (witness("https://other.cn", "CN", VKEY), "other.cn:443 is not declared as witness"),
        (witness("https://w.cn:8443", "CN", VKEY), "w.cn:8443 is not declared as witness"),
        (witness("https://w.cn", "DE", VKEY), "w.cn:443 is declared in CN"),
        (witness("ftp://w.cn", "CN", VKEY), "is no URL"),
        (witness("https://a:b@w.cn", "CN", VKEY), "is no URL"),
        (witness("https://w.cn/?q", "CN", VKEY), "is no URL"),
        (witness("https://w.cn", "CN", "w+xx+AA=="), "vkey is no verifier key"),
    ];
    for (text, part) in table {
        let error = declared(&text).expect_err(&text);
        assert!(error.contains(part), "{text}: {error}");
        assert!(error.contains("ledger.witnesses, entry 1 (`w`)"), "{error}");
    }
    let quorum = format!("{}quorum = 2\n", witness("https://w.cn", "CN", VKEY));
    assert!(declared(&quorum).expect_err("quorum").contains("2 of 1 witnesses can never have cosigned"));
}

#[test]
fn urls_are_read_strictly() {
    let read = |text: &str| Url::parse(text).map(|url| (url.is_tls, url.authority(), url.path));
    assert_eq!(read("https://w.cn"), Ok((true, "w.cn:443".to_owned(), String::new())));
    assert_eq!(
        read("http://127.0.0.1:7380/a/b/"),
        Ok((false, "127.0.0.1:7380".to_owned(), "/a/b".to_owned()))
    );
    assert_eq!(read("https://[fd00::1]/x"), Ok((true, "[fd00::1]:443".to_owned(), "/x".to_owned())));
    for wrong in
        ["w.cn", "https://", "https:///x", "https://w.cn\r\nX: y", "https://w.cn/a b", "https://w.cn#x"]
    {
        assert!(read(wrong).is_err(), "{wrong:?}");
    }
}
