//! Two centers of a country: one joins the other, each holds what the other has, and what is erased or refused is so in both.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::center::{Center, PATIENCE, Papers, eventually};
use crate::postgres;
use crate::vehicles::{Said, Tesla};

const VIN: &str = "LRW3E7FA8MC000001";
const OTHER: &str = "LRW3E7FA8MC000002";
const THIRD: &str = "LRW3E7FA8MC000003";

/// Settings of a center that others reach at an address of its own on loopback; and that address.
fn settings() -> (String, Vec<(&'static str, &'static str)>) {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = format!("127.{}.{}.{}:18701", high.max(1), low, NEXT.fetch_add(1, Ordering::Relaxed));
    let leaked: &'static str = Box::leak(address.clone().into_boxed_str());
    let settings = vec![
        ("DOMICILE_PEER_LISTEN", leaked),
        ("DOMICILE_PEER_ADDRESS", leaked),
        ("DOMICILE_PEER_NETWORKS", "[\"127.0.0.0/8\"]"),
        ("DOMICILE_STORE_BATCH_AGE_MS_MAX", "300"),
    ];
    (address, settings)
}

fn run(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_domicile"))
        .args(arguments)
        .arg("--dir")
        .arg(folder)
        .envs(settings.iter().copied())
        .output()
        .expect("the program runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn domicile(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let output = run(folder, arguments, settings);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A refused command's words: its exit code says that a rule refuses it.
fn refused(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let output = run(folder, arguments, settings);
    assert_eq!(output.status.code(), Some(3), "{arguments:?}: {}", said(&output));
    said(&output)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A country's first center, and what a second one needs to join it.
struct Country {
    first: Center,
    settings: Vec<(&'static str, &'static str)>,
    invitation: PathBuf,
}

impl Country {
    fn new() -> Self {
        Self::with(&[])
    }

    fn with(more: &[(&'static str, &'static str)]) -> Self {
        let (_, mut settings) = settings();
        settings.extend(more);
        let first = Center::start(&settings);
        let invitation = first.folder.path().join("invitation.json");
        domicile(&first.path(), &["center", "invite", "--out", text(&invitation)], &settings);
        Self { first, settings, invitation }
    }

    fn prepare(&self, name: &str, address: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let (invitation, center) = (text(&self.invitation), folder.path().join("center"));
        let arguments =
            ["init", "--country", "CN", "--center", name, "--invitation", invitation, "--address", address];
        domicile(&center, &arguments, &[]);
        folder
    }

    fn at_first(&self, arguments: &[&str]) -> String {
        domicile(&self.first.path(), arguments, &self.settings)
    }

    /// Lets a second center join, and serves it.
    fn join(&self, name: &str, version: &str) -> (Center, Vec<(&'static str, &'static str)>) {
        self.join_with(name, version, &[])
    }

    fn join_with(
        &self,
        name: &str,
        version: &str,
        more: &[(&'static str, &'static str)],
    ) -> (Center, Vec<(&'static str, &'static str)>) {
        let (address, mut settings) = settings();
        settings.extend(more);
        let folder = self.prepare(name, &address);
        let second = folder.path().join("center");
        self.at_first(&["center", "add", text(&second.join("join/request.note"))]);
        self.at_first(&["center", "apply", "--version", version]);
        let package = self.first.path().join(format!("join/{name}.json"));
        domicile(&second, &["center", "join", text(&package)], &settings);
        (Center::of(folder, &settings), settings)
    }
}

fn view(center: &Center) -> Value {
    let (status, view) = center.call("GET", "/api/centers", None);
    assert_eq!(status, 200, "{view}");
    view
}

/// Whether `holder` holds everything that `center` has entered, and said so.
fn is_held(center: &Center, holder: &str) -> bool {
    let view = view(center);
    let receipts = view["receipts"].as_array().expect("a list");
    let held =
        receipts.iter().find(|receipt| receipt["center"] == holder).map(|receipt| receipt["held"].clone());
    held.is_some_and(|held| held == view["entries"])
}

/// The files of a center's prefix that a copy has too, with their bytes.
fn files(store: &Path, center: &str) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![store.join(center)];
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = text(path.strip_prefix(store).expect("below")).to_owned();
            let own =
                ["head.json", "writer.json", "ledger/checkpoint", ".checkpoint.parquet", "_last_checkpoint"];
            if !own.iter().any(|own| name.ends_with(own)) && !name.contains(".p/") {
                let content =
                    if name.contains("/keyring/") { Vec::new() } else { std::fs::read(&path).expect("read") };
                files.insert(name, content);
            }
        }
    }
    files
}

fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("seconds")
}

fn drive(center: &Center, vin: &str, from: u32, messages: u32) {
    drive_with(center, vin, &center.papers(vin), from, messages);
}

fn drive_with(center: &Center, vin: &str, papers: &Papers, from: u32, messages: u32) {
    drive_at(center, vin, papers, from..from + messages, now_s());
}

/// Messages that were made at a second, however often they are sent.
fn drive_at(center: &Center, vin: &str, papers: &Papers, numbers: Range<u32>, at_s: i64) {
    let mut vehicle = Tesla::connect(center.address("tesla"), vin, papers).expect("it is let in");
    // A center that has just started takes nothing until the others have said what they hold of its log, or were asked for long enough.
    vehicle.stream.sock.set_read_timeout(Some(PATIENCE * 3)).expect("set");
    for number in numbers {
        let transaction = format!("tx-{number}");
        vehicle.send_speed(&transaction, at_s, f64::from(number));
        assert_eq!(vehicle.hear(), Some(Said::Ack(transaction.into_bytes())));
    }
}

/// Rows of speeds that a center's SQL shows.
fn speeds(center: &Center) -> i64 {
    number(center, "select count(*) as n from signals where signal = 'Vehicle.Speed'")
}

fn vehicles_with_speeds(center: &Center) -> i64 {
    number(center, "select count(distinct vehicle) as n from signals where signal = 'Vehicle.Speed'")
}

fn number(center: &Center, sql: &str) -> i64 {
    let sql = json!({ "sql": sql });
    let (status, body) = center.ask_accepting("application/json", "POST", "/api/query", Some(&sql));
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let answer: Value = serde_json::from_slice(&body).expect("JSON");
    let rows = if answer.is_array() { &answer } else { &answer["rows"] };
    rows[0]["n"].as_i64().or_else(|| rows[0][0].as_i64()).expect("a count")
}

#[test]
fn a_second_center_joins_and_each_holds_what_the_other_has() {
    let country = Country::new();
    let first = &country.first;
    first.add(VIN, "CN");
    first.add(OTHER, "CN");
    drive(first, VIN, 0, 20);
    let (mut second, settings) = country.join("beijing-1", "1");
    eventually("the second holds the first", || (is_held(first, "beijing-1")).then_some(()));
    eventually("the first holds the second", || (is_held(&second, "shanghai-1")).then_some(()));
    let store = |center: &Center| center.path().join("store");
    for center in ["shanghai-1", "beijing-1"] {
        let is_same = || (files(&store(first), center) == files(&store(&second), center)).then_some(());
        eventually("the copy is the same", is_same);
    }
    let verified = domicile(&second.path(), &["ledger", "verify", "--of", "shanghai-1"], &settings);
    assert!(verified.contains("verified"), "{verified}");

    // SQL at either center answers for both.
    eventually("the first's rows at the second", || (speeds(&second) == 20).then_some(()));
    second.add(THIRD, "CN");
    drive(&second, THIRD, 0, 7);
    eventually("the second's rows at the first", || (speeds(first) == 27).then_some(()));
    eventually("all rows at the second", || (speeds(&second) == 27).then_some(()));

    // There is one register: what one center registers drives up to the other under the same name, and a revocation holds at both.
    let id = |center: &Center, vin: &str| {
        center.call("GET", &format!("/api/vehicles/{vin}"), None).1["vehicle"]["id"].clone()
    };
    assert_eq!(id(first, THIRD), id(&second, THIRD));
    assert_eq!(id(first, VIN), id(&second, VIN));
    let papers = first.papers(VIN);
    drive_with(&second, VIN, &papers, 50, 5);
    eventually("all rows at the first", || (speeds(first) == 32).then_some(()));
    assert_eq!(vehicles_with_speeds(first), 2);
    let report = || {
        let arguments = ["placement", "report", "--vin", VIN, "--format", "json"];
        serde_json::from_str::<Value>(&domicile(&first.path(), &arguments, &country.settings)).expect("JSON")
    };
    let found = eventually("both centers are told to hold something of it", || {
        let report = report()["vehicle"].clone();
        (report.as_array()?.len() == 2 && report[1]["objects"]["table"]["count"].as_u64()? > 0)
            .then_some(report)
    });
    for (place, center) in [(0, "shanghai-1"), (1, "beijing-1")] {
        let of = &found[place];
        assert_eq!(of["center"], center);
        assert_eq!(of["held_by"].as_array().expect("centers").len(), 2, "{of}");
        for kind in ["batch", "table", "key", "registry"] {
            let object = of["objects"][kind]["first"].as_str().unwrap_or_default();
            assert!(object.starts_with(center) && store(first).join(object).exists(), "{kind}: {of}");
        }
    }
    let text = domicile(&first.path(), &["placement", "report", "--vin", VIN], &country.settings);
    assert!(text.contains("Of the vehicle, received or registered by beijing-1 (in "), "{text}");
    first.revoke(THIRD);
    eventually("the second knows that it is revoked", || {
        (second.call("GET", &format!("/api/vehicles/{THIRD}"), None).1["vehicle"]["state"] == "revoked")
            .then_some(())
    });

    // What comes while the second is away is fetched when it is back, also where it was killed.
    second.kill();
    drive(first, VIN, 100, 20);
    drive(first, OTHER, 100, 5);
    second.serve_again();
    eventually("the second holds the first", || (is_held(first, "beijing-1")).then_some(()));

    // A vehicle that the first erases is erased in the copy: its key is gone, and what is left verifies.
    let erase = json!({ "vin": OTHER, "why": "a test" });
    let keys = |center: &Center| {
        let names = files(&store(center), "shanghai-1").into_keys().filter(|name| name.contains("/keyring/"));
        names.collect::<Vec<_>>()
    };
    let before = keys(&second);
    let (status, answer) = first.call("POST", "/api/subjects/erasures", Some(&erase));
    assert!(status < 300, "{status} {answer}");
    for center in [first, &second] {
        eventually("the erasure is done at each center", || {
            (center.call("GET", "/api/subjects/erasures", None).1[0]["state"] == "done").then_some(())
        });
    }
    eventually("it has the same new name at each center", || {
        (id(first, OTHER) == id(&second, OTHER)).then_some(())
    });
    eventually("the copy has the same keys", || {
        (is_held(first, "beijing-1") && keys(first) == keys(&second)).then_some(())
    });
    assert!(before.iter().any(|key| !keys(&second).contains(key)), "a key was destroyed: {before:?}");

    // The next version reaches the second by itself.
    country.at_first(&["center", "activate", "beijing-1"]);
    country.at_first(&["center", "apply", "--version", "2"]);
    eventually("the second has version 2", || (view(&second)["version"] == 2).then_some(()));

    // The first is gone: the second has all of it, and says who held what.
    let kept = files(&store(first), "shanghai-1");
    eventually("the second holds the first", || (is_held(first, "beijing-1")).then_some(()));
    let report = domicile(&second.path(), &["placement", "report", "--format", "json"], &settings);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let shanghai = &report["centers"][0];
    assert_eq!((&shanghai["center"], &shanghai["is_safe"]), (&json!("shanghai-1"), &json!(true)), "{report}");
    let Country { mut first, .. } = country;
    first.kill();
    assert!(kept.len() > 20);
    let verified = domicile(&second.path(), &["ledger", "verify", "--of", "shanghai-1"], &settings);
    assert!(verified.contains("verified"), "{verified}");
    let object =
        kept.keys().find(|name| name.contains("/control/") && !name.contains("/opening/")).expect("a change");
    let placed = domicile(&second.path(), &["placement", "report", "--object", object], &settings);
    assert!(placed.contains("in shanghai-1") && placed.contains("in beijing-1"), "{placed}");
    assert!(placed.contains("on this disk"), "{placed}");
    let early = ["placement", "report", "--object", object, "--at", "2020-01-01T00:00:00Z"];
    let placed = domicile(&second.path(), &early, &settings);
    assert!(placed.contains("in no center"), "{placed}");
    assert_eq!(speeds(&second), 52, "all rows but the erased vehicle's");
}

#[test]
fn what_a_vehicle_sends_to_one_center_and_again_to_another_shows_once() {
    let country = Country::new();
    let first = &country.first;
    first.add(VIN, "CN");
    let papers = first.papers(VIN);
    let (mut second, _) = country.join("beijing-1", "1");
    eventually("the second holds the first", || (is_held(first, "beijing-1")).then_some(()));
    let at_s = now_s();
    drive_at(first, VIN, &papers, 0..20, at_s);
    drive_at(&second, VIN, &papers, 15..30, at_s);
    let both_hold = |second: &Center| is_held(first, "beijing-1") && is_held(second, "shanghai-1");
    eventually("each holds the other", || both_hold(&second).then_some(()));
    let shown = |center: &Center| {
        let sum = "select cast(sum(value) as bigint) as n from signals where signal = 'Vehicle.Speed'";
        (speeds(center), number(center, sum))
    };
    // Speeds are in km/h: what counts is that both say the same of each message once.
    eventually("each message once at both", || {
        (shown(first).0 == 30 && shown(&second).0 == 30).then_some(())
    });
    assert_eq!(shown(first), shown(&second));
    let sources =
        |center: &Center| number(center, "select count(*) as n from frames where protocol = 'tesla'");
    assert_eq!(sources(first) + sources(&second), 35, "both keep the frames that they received");
    second.kill();
    second.serve_again();
    eventually("each message once after a start", || (shown(&second).0 == 30).then_some(()));
}

/// A drill: one center is away for a while, its vehicles go to the other, and whoever ordered it is told how fast, and what a real loss had
/// taken along.
#[test]
fn a_drill_tells_who_moved_and_what_a_loss_had_cost() {
    let country = Country::new();
    let first = &country.first;
    first.add(VIN, "CN");
    first.add(OTHER, "CN");
    let drill =
        |folder: &Path, name: &str| run(folder, &["center", "drill", name, "--for", "4s"], &country.settings);
    let alone = drill(&first.path(), "shanghai-1");
    assert!(said(&alone).contains("could go nowhere") && alone.status.code() == Some(3), "{}", said(&alone));
    let (second, _) = country.join("beijing-1", "1");
    country.at_first(&["center", "activate", "beijing-1"]);
    country.at_first(&["center", "apply", "--version", "2"]);
    let other = drill(&first.path(), "beijing-1");
    assert!(
        said(&other).contains("is that of shanghai-1") && other.status.code() == Some(2),
        "{}",
        said(&other)
    );
    eventually("the second knows the vehicles", || {
        let knows = |vin: &str| second.call("GET", &format!("/api/vehicles/{vin}"), None).0 == 200;
        (knows(VIN) && knows(OTHER)).then_some(())
    });
    let (papers, others) = (first.papers(VIN), first.papers(OTHER));
    let connect =
        |center: &Center, vin: &str, papers: &Papers| Tesla::connect(center.address("tesla"), vin, papers);
    let mut moving = connect(first, VIN, &papers).expect("it is let in");
    let mut waiting = connect(first, OTHER, &others).expect("it is let in");
    for (car, name) in [(&mut moving, "one"), (&mut waiting, "two")] {
        car.send_speed(name, now_s(), 1.0);
        assert_eq!(car.hear(), Some(Said::Ack(name.as_bytes().to_vec())));
    }
    let report = std::thread::scope(|scope| {
        let folder = first.path();
        let settings = &country.settings;
        let arguments = ["center", "drill", "shanghai-1", "--for", "4s", "--format", "json"];
        let drilled = scope.spawn(move || domicile(&folder, &arguments, settings));
        assert!(matches!(moving.hear(), Some(Said::Close(_)) | None), "it is let go");
        assert!(connect(first, VIN, &papers).is_err(), "nobody is let in");
        let mut moved = connect(&second, VIN, &papers).expect("it is let in elsewhere");
        moved.send_speed("three", now_s(), 3.0);
        assert_eq!(moved.hear(), Some(Said::Ack(b"three".to_vec())));
        let problem = eventually("the second sees that the first is away", || {
            let problem = view(&second)["copies"][0]["problem"].as_str().unwrap_or_default().to_owned();
            (!problem.is_empty()).then_some(problem)
        });
        assert!(problem.contains("503") || problem.contains("connect"), "{problem}");
        let back = eventually("it is back", || connect(first, OTHER, &others).ok());
        let mut back = back;
        back.send_speed("four", now_s(), 4.0);
        assert_eq!(back.hear(), Some(Said::Ack(b"four".to_vec())));
        drilled.join().expect("no panic")
    });
    let report: Value = serde_json::from_str(&report).expect("JSON");
    let number = |name: &str| report[name].as_u64().expect("a count");
    assert_eq!((number("vehicles"), number("moved"), number("waited")), (2, 1, 1), "{report}");
    let rto = report["rto_s_max"].as_f64().expect("seconds");
    assert!(rto > 0.0 && rto < 4.0, "{report}");
    assert!(number("rpo_frames") >= 2, "what was acknowledged from one journal lay there alone: {report}");
    eventually("nothing is lost in a drill", || (speeds(first) == 4 && speeds(&second) == 4).then_some(()));
    assert_eq!(entries_with(first, "\"part\":\"drill\""), 2, "its begin and its end are entered");
}

/// Who asks over PostgreSQL is told like everybody else whose rows may be missing.
#[test]
fn an_answer_says_whose_rows_may_be_missing() {
    if Command::new("psql").arg("--version").output().is_err() {
        println!("skipped: psql is missing (Debian's postgresql-client)");
        return;
    }
    let country = Country::new();
    let first = &country.first;
    first.add(VIN, "CN");
    let (mut second, _) = country.join("beijing-1", "1");
    eventually("the first holds the second", || is_held(&second, "shanghai-1").then_some(()));
    let (secret, authority) = (postgres::token(first, "shell", "analyst"), postgres::authority(first));
    let counted =
        || postgres::said(&postgres::psql(first, &secret, &authority, &["select count(*) from signals"]));
    let whole = counted();
    assert!(whole.contains("(1 row)") && !whole.contains("WARNING"), "{whole}");
    second.kill();
    eventually("it says so", || {
        let said = counted();
        let is_told = said.contains("WARNING") && said.contains("beijing-1 (received after 20");
        (is_told && said.contains("(1 row)")).then_some(())
    });
    let other = postgres::said(&postgres::psql(first, &secret, &authority, &["select 1"]));
    assert!(!other.contains("WARNING"), "only where rows of all centers are asked for: {other}");
}

/// Only the first center has the authority that vehicles trust; what it gives a center that joins lasts 397 days.
#[test]
fn the_certificate_of_a_center_that_joined_is_renewed_by_the_first() {
    let country = Country::new();
    let (mut second, _) = country.join("beijing-1", "1");
    second.kill();
    let pki = |center: &Center, name: &str| center.path().join("pki").join(name);
    let read = |path: &Path| std::fs::read_to_string(path).expect("a file");
    let ca = rcgen::KeyPair::from_pem(&read(&pki(&country.first, "server-ca.key"))).expect("a key");
    let issuer = rcgen::Issuer::from_ca_cert_pem(&read(&pki(&country.first, "server-ca.pem")), ca)
        .expect("an authority");
    let key = rcgen::KeyPair::from_pem(&read(&pki(&second, "server.key"))).expect("a key");
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let day = |days: i64| {
        std::time::SystemTime::now() + std::time::Duration::from_secs(86_400 * days.unsigned_abs())
    };
    params.not_after = day(5).into();
    let ending = params.signed_by(&key, &issuer).expect("a certificate").pem();
    let used = pki(&second, "server.pem");
    std::fs::write(&used, &ending).expect("written");
    second.serve_again();
    eventually("it is renewed", || (read(&used) != ending).then_some(()));
    second.add(VIN, "CN");
    eventually("it is read anew", || (metric(&second, "tls_reloads_total") > 0.0).then_some(()));
    drive(&second, VIN, 0, 3);
}

#[test]
fn what_is_of_another_country_or_lies_elsewhere_does_not_join() {
    let country = Country::new();
    let first = country.first.path();
    let settings = &country.settings;
    // Another country's invitation, or ours for another country.
    let folder = tempfile::tempdir().expect("a folder");
    let abroad = folder.path().join("center");
    let invitation = text(&country.invitation);
    let arguments = [
        "init",
        "--country",
        "DE",
        "--center",
        "berlin-1",
        "--invitation",
        invitation,
        "--address",
        "127.0.0.9:18701",
    ];
    let output = run(&abroad, &arguments, &[]);
    assert!(
        !output.status.success() && said(&output).contains("never crosses a border"),
        "{}",
        said(&output)
    );
    assert!(!abroad.join("keys").exists(), "nothing was made");
    let german = Center::start(&[]);
    let foreign = Country::new();
    let stranger = foreign.prepare("beijing-1", "127.0.0.9:18701");
    let request = stranger.path().join("center/join/request.note");
    let words = refused(&first, &["center", "add", text(&request)], settings);
    assert!(words.contains("cluster"), "{words}");
    drop(german);

    // An address outside of the declared networks.
    let elsewhere = country.prepare("beijing-1", "10.9.9.9:8701");
    let request = elsewhere.path().join("center/join/request.note");
    let words = refused(&first, &["center", "add", text(&request)], settings);
    assert!(words.contains("peer.networks"), "{words}");

    // A request that somebody changed.
    let (address, _) = self::settings();
    let changed = country.prepare("beijing-1", &address);
    let request = changed.path().join("center/join/request.note");
    let note = std::fs::read_to_string(&request).expect("read");
    std::fs::write(&request, note.replace(":18701", ":18702")).expect("written");
    let words = refused(&first, &["center", "add", text(&request)], settings);
    assert!(words.contains("not signed"), "{words}");
    std::fs::write(&request, note).expect("written");
    country.at_first(&["center", "add", text(&request)]);
    let words = refused(&first, &["center", "apply", "--version", "7"], settings);
    assert!(words.contains("version 1, not 7"), "{words}");
    country.at_first(&["center", "apply", "--version", "1"]);
    let words = refused(&first, &["center", "apply", "--version", "1"], settings);
    assert!(words.contains("nothing is applied twice"), "{words}");

    // Another folder's package.
    let package = first.join("join/beijing-1.json");
    let other = country.prepare("beijing-1", &address);
    let unprepared = refused(&other.path().join("center"), &["center", "join", text(&package)], &[]);
    assert!(
        unprepared.contains("residency self-test") && unprepared.contains("write peer.networks"),
        "{unprepared}"
    );
    let elsewhere =
        ("DOMICILE_EGRESS_ALLOW", "[{ to = \"192.0.2.7:443\", purpose = \"records\", country = \"DE\" }]");
    let abroad = refused(
        &other.path().join("center"),
        &["center", "join", text(&package)],
        &[&settings[..], &[elsewhere]].concat(),
    );
    assert!(abroad.contains("residency self-test"), "{abroad}");
    let output = run(&other.path().join("center"), &["center", "join", text(&package)], settings);
    assert!(!output.status.success() && said(&output).contains("another center's"), "{}", said(&output));
    // A charter that nobody signed, or that goes back.
    let (status, _) = country.first.call("POST", "/api/charter", Some(&json!({ "charter": "nonsense" })));
    assert_eq!(status, 400);
    let charter = view(&country.first)["charter"].as_str().expect("a note").to_owned();
    let changed = charter.replace("\"replication\": 2", "\"replication\": 1");
    assert_ne!(changed, charter);
    let (status, answer) = country.first.call("POST", "/api/charter", Some(&json!({ "charter": changed })));
    assert_eq!(status, 400, "{answer}");
    let (status, _) = country.first.call("POST", "/api/charter", Some(&json!({ "charter": charter })));
    assert_eq!(status, 409);
}

/// With `ack_centers = 2` a center may burn down the moment after it has answered: what it had sealed lies in the copy, what it had not
/// lies with the second center as it was pushed, and both show in the second's SQL, each once.
#[test]
fn what_was_acknowledged_from_two_centers_outlives_one_that_is_lost_with_its_disk() {
    let two = [("DOMICILE_PEER_ACK_CENTERS", "2"), ("DOMICILE_STORE_BATCH_AGE_MS_MAX", "1500")];
    let country = Country::with(&two);
    let first = &country.first;
    first.add(VIN, "CN");
    let papers = first.papers(VIN);
    let address = first.address("tesla");
    // Nobody is there who could have it too: nothing is acknowledged.
    let mut early = Tesla::connect(address, VIN, &papers).expect("it is let in");
    early.send_speed("early", now_s(), 1.0);
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(metric(first, "second_center_failing"), 1.0);
    let (second, settings) = country.join("beijing-1", "1");
    assert_eq!(early.hear(), Some(Said::Ack(b"early".to_vec())), "it is acknowledged once the second has it");
    let records = || country.at_first(&["center", "dns", "--name", "cars.example.cn"]);
    assert_eq!(records().matches(" SRV 10 100 ").count(), 1, "one that joins takes no vehicles");
    country.at_first(&["center", "activate", "beijing-1"]);
    country.at_first(&["center", "apply", "--version", "2"]);
    assert_eq!(records().matches(" SRV 10 50 ").count(), 2);

    drive(first, VIN, 100, 20);
    eventually("some of it is sealed and copied", || {
        (is_held(first, "beijing-1") && metric(first, "batches_sealed") > 0.0).then_some(())
    });
    drive(first, VIN, 200, 30);
    let held = second.path().join("held/shanghai-1");
    assert!(held.is_dir(), "frames that are not sealed lie at the second center");

    // The country's key is kept elsewhere; center and disk are gone.
    let key = "keys/country.key";
    std::fs::copy(first.path().join(key), second.path().join(key)).expect("copied");
    let Country { mut first, .. } = country;
    first.kill();
    std::fs::remove_dir_all(first.path()).expect("removed");
    domicile(&second.path(), &["center", "remove", "shanghai-1", "--lost"], &settings);
    let staged = domicile(&second.path(), &["center", "show"], &settings);
    assert!(staged.contains("Keys that shanghai-1 has seen") && staged.contains("  beijing-1: "), "{staged}");
    domicile(&second.path(), &["center", "apply", "--version", "3"], &settings);
    eventually("every acknowledged frame is in SQL", || (speeds(&second) >= 51).then_some(()));
    eventually("what was held is let go", || (metric(&second, "frames_taken_over") > 0.0).then_some(()));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(speeds(&second), 51, "each once");
    assert_eq!(
        number(
            &second,
            "select count(*) as n from (select distinct time, value from signals where signal = 'Vehicle.Speed')"
        ),
        51
    );
    let verified = domicile(&second.path(), &["ledger", "verify"], &settings);
    assert!(verified.contains("verified"), "{verified}");
}

/// With `when_alone = "degrade"` frames are acknowledged from one center after a while, and everybody can see it until the other is back.
#[test]
fn a_center_that_is_alone_says_so_and_goes_on_where_it_is_told_to() {
    let alone = [("DOMICILE_PEER_ACK_CENTERS", "2"), ("DOMICILE_PEER_WHEN_ALONE", "degrade")];
    let country = Country::with(&alone);
    let first = &country.first;
    first.add(VIN, "CN");
    drive(first, VIN, 0, 5);
    let degraded = |first: &Center| metric(first, "second_center_degraded");
    assert_eq!(degraded(first), 1.0, "what was acknowledged lies here alone");
    assert!(metric(first, "second_center_bytes_at_risk") > 0.0);
    let (mut second, _) = country.join("beijing-1", "1");
    let safe =
        || (degraded(first) == 0.0 && metric(first, "second_center_bytes_at_risk") == 0.0).then_some(());
    eventually("the second has it too", safe);
    drive(first, VIN, 10, 5);
    second.kill();
    drive(first, VIN, 20, 5);
    assert_eq!(degraded(first), 1.0);
    second.serve_again();
    eventually("the second has it again", safe);
    eventually("each time it was alone and was not any more is an entry", || {
        (entries_with(first, "\"part\":\"second-center\"") == 4).then_some(())
    });
}

/// A store that was set back to an earlier state, together with the note beside it, is found out by what another center holds: nothing
/// is signed on top of it.
#[test]
fn a_center_whose_disk_was_set_back_signs_nothing_new() {
    let country = Country::new();
    let (mut second, settings) = country.join("beijing-1", "1");
    country.at_first(&["center", "activate", "beijing-1"]);
    country.at_first(&["center", "apply", "--version", "2"]);
    eventually("the first holds what the second has", || is_held(&second, "shanghai-1").then_some(()));
    second.kill();
    let earlier = second.folder.path().join("earlier");
    let copied = Command::new("cp").arg("-a").arg(second.path()).arg(&earlier).status().expect("cp runs");
    assert!(copied.success());
    second.serve_again();
    let entries = |center: &Center| metric(center, "ledger_entries");
    let before = entries(&second);
    second.add(VIN, "CN");
    eventually("the first holds that too", || {
        (entries(&second) > before && is_held(&second, "shanghai-1")).then_some(())
    });
    second.kill();
    std::fs::rename(second.path(), second.folder.path().join("later")).expect("moved");
    std::fs::rename(&earlier, second.path()).expect("moved");
    second.serve_again();
    let before = entries(&second);
    eventually("it says that its store was set back", || {
        (metric(&second, "ledger_failing") > 0.0).then_some(())
    });
    second.add(OTHER, "CN");
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(entries(&second), before, "nothing is entered");
    let verified = domicile(&country.first.path(), &["ledger", "verify", "--of", "beijing-1"], &settings);
    assert!(verified.contains("verified"), "{verified}");
}

/// A center whose disk was set back takes no frames; what the others hold of it is fetched back, what one of them holds in its second
/// journal alone is taken over there, and then both go on as before.
#[test]
fn a_center_whose_disk_was_set_back_is_repaired_from_what_others_hold() {
    let two = [("DOMICILE_PEER_ACK_CENTERS", "2"), ("DOMICILE_STORE_BATCH_AGE_MS_MAX", "3000")];
    let country = Country::with(&two);
    let first = &country.first;
    let (mut second, settings) = country.join_with("beijing-1", "1", &two);
    country.at_first(&["center", "activate", "beijing-1"]);
    country.at_first(&["center", "apply", "--version", "2"]);
    let held = |second: &Center| is_held(second, "shanghai-1").then_some(());
    eventually("the first holds what the second has", || held(&second));
    let refused = run(&second.path(), &["center", "repair"], &settings);
    assert!(said(&refused).contains("another process"), "{}", said(&refused));
    second.kill();
    let nothing = run(&second.path(), &["center", "repair"], &settings);
    assert!(said(&nothing).contains("nothing to fetch back"), "{}", said(&nothing));
    let earlier = second.folder.path().join("earlier");
    let copied = Command::new("cp").arg("-a").arg(second.path()).arg(&earlier).status().expect("cp runs");
    assert!(copied.success());

    second.serve_again();
    second.add(VIN, "CN");
    let papers = second.papers(VIN);
    drive_with(&second, VIN, &papers, 0, 20);
    eventually("they are in batches that the first holds", || {
        (speeds(first) == 20 && is_held(&second, "shanghai-1")).then_some(())
    });
    // These are acknowledged from both journals, and in no batch yet when the disk is gone.
    drive_with(&second, VIN, &papers, 20, 10);
    second.kill();
    std::fs::rename(second.path(), second.folder.path().join("later")).expect("moved");
    std::fs::rename(&earlier, second.path()).expect("moved");
    second.serve_again();
    eventually("it says that its store was set back", || {
        (metric(&second, "ledger_failing") > 0.0).then_some(())
    });
    second.add(OTHER, "CN");
    let mut waiting =
        Tesla::connect(second.address("tesla"), OTHER, &second.papers(OTHER)).expect("it is let in");
    waiting.send_speed("waits", now_s(), 1.0);
    let quickly = std::time::Duration::from_secs(2);
    waiting.stream.sock.set_read_timeout(Some(quickly)).expect("set");
    assert_eq!(waiting.hear(), None, "nothing is acknowledged under numbers that may be taken");
    second.kill();

    let repaired = domicile(&second.path(), &["center", "repair"], &settings);
    assert!(repaired.contains("Fetched back from shanghai-1"), "{repaired}");
    assert!(repaired.contains("changes of the registry were made"), "{repaired}");
    assert!(repaired.contains("took over"), "{repaired}");
    second.serve_again();
    let all = |count: i64, second: &Center| (speeds(first) == count && speeds(second) == count).then_some(());
    eventually("everything that was acknowledged is there", || all(30, &second));
    drive_with(&second, VIN, &papers, 30, 5);
    second.add(OTHER, "CN");
    drive_with(&second, OTHER, &second.papers(OTHER), 0, 5);
    eventually("both go on", || all(40, &second));
    eventually("the first holds what the second has", || held(&second));
    for (center, arguments) in
        [(&second, &["ledger", "verify"][..]), (first, &["ledger", "verify", "--of", "beijing-1"])]
    {
        let verified = domicile(&center.path(), arguments, &settings);
        assert!(verified.contains("verified"), "{verified}");
    }
}

/// Entries with a text in the first bundle of a center's log.
fn entries_with(center: &Center, text: &str) -> usize {
    let bundles = center.path().join("store/shanghai-1/ledger/tile/entries");
    let mut folders = vec![bundles];
    let mut most = 0;
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir().expect("a folder").flatten() {
            match entry.path() {
                path if path.is_dir() => folders.push(path),
                // One that is replaced by a longer one meanwhile is gone.
                path => {
                    let bundle = std::fs::read(path).unwrap_or_default();
                    most = most.max(String::from_utf8_lossy(&bundle).matches(text).count());
                }
            }
        }
    }
    most
}

/// A gauge or counter of a center without labels.
fn metric(center: &Center, name: &str) -> f64 {
    let metrics = center.metrics();
    let line = metrics.lines().find_map(|line| {
        line.strip_prefix("domicile_").unwrap_or(line).strip_prefix(name)?.strip_prefix([' ', '_'])
    });
    let line = line.unwrap_or_else(|| panic!("there is no {name}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
}
