//! Who may ask for what over HTTPS.

use crate::house::{House, eventually};

const VIN: &str = "LRW3E7FA8MC000001";
const ICCID: &str = "89860012345678901234";

fn query(house: &House, token: &str, sql: &str) -> u16 {
    let question = format!("{{\"sql\":\"{sql}\"}}");
    house.ask("POST", "/api/query", Some(token), "application/json", question.as_bytes()).status
}

#[test]
fn without_a_token_only_status_and_the_public_log_are_read() {
    let mut house = House::serving();
    for path in ["/status", "/ledger/checkpoint", "/ledger/tile/0/000.p/1", "/metrics"] {
        let status = house.get(path, None).status;
        assert!(status == 200 || (path.ends_with("/1") && status == 404), "{path}: {status}");
    }
    let closed = [
        "/api/vehicles",
        "/api/platforms",
        "/api/tokens",
        "/api/policy",
        "/ledger/tile/entries/000.p/1",
        "/api/identities/LRW3E7FA8MC000001",
    ];
    for path in closed {
        for token in [None, Some("domicile_aaaaaaaa_nonsense"), Some("x")] {
            let answer = house.get(path, token);
            assert_eq!(answer.status, 401, "{path}");
            assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
            assert!(answer.body.contains("\"code\":\"unauthorized\""), "{}", answer.body);
        }
    }
    assert_eq!(house.ask("POST", "/api/records/sale", None, "text/csv", b"vin\n").status, 401);
    house.stop();
    let settings = house.path().join("domicile.toml");
    let text = std::fs::read_to_string(&settings).expect("settings");
    let lines =
        text.lines().map(|line| if line.starts_with("metrics_from") { "metrics_from = []" } else { line });
    std::fs::write(&settings, lines.collect::<Vec<_>>().join("\n")).expect("written");
    house.serve();
    assert_eq!(house.get("/metrics", None).status, 401);
    assert_eq!(house.get("/metrics", Some(&house.first)).status, 200);
}

#[test]
fn each_role_may_do_what_the_policies_say() {
    let house = House::serving();
    house.done(&["vehicle", "add", VIN, "--country", "CN", "--iccid", ICCID]);
    let secrets = ["operator", "analyst", "officer", "auditor"].map(|role| house.token(role, role));
    // Which of the four may: operator, analyst, officer, auditor.
    let table = [
        ("GET", "/api/vehicles", [true, false, true, false]),
        ("GET", "/api/platforms", [true, false, false, false]),
        ("GET", "/api/tokens", [true, false, true, false]),
        ("GET", "/api/policy", [true, false, true, true]),
        ("GET", "/ledger/tile/entries/000.p/1", [false, false, false, true]),
        ("GET", &format!("/api/identities/{VIN}"), [false, false, true, false]),
        ("POST", "/api/records/sale", [false, false, true, false]),
        ("POST", "/api/policy", [false, false, true, false]),
        ("POST", "/api/platforms", [true, false, false, false]),
        ("POST", "/api/vehicles", [true, false, false, false]),
    ];
    for (method, path, may) in table {
        for (secret, may) in secrets.iter().zip(may) {
            let answer = house.ask(method, path, Some(secret), "application/json", b"");
            // What may be done gets as far as its content, which is missing here.
            assert_eq!(answer.status == 403, !may, "{method} {path}: {} {}", answer.status, answer.body);
            assert!(
                !may || method == "POST" || matches!(answer.status, 200 | 404),
                "{path}: {}",
                answer.status
            );
        }
    }
    let [operator, analyst, officer, auditor] = &secrets;
    for outsider in [operator, auditor] {
        assert_eq!(query(&house, outsider, "select count(*) from signals"), 403);
    }
    for (sql, may) in [("signals", true), ("frames", false), ("sales", false), ("owners", false)] {
        let sql = format!("select count(*) from {sql}");
        assert_eq!(query(&house, analyst, &sql) == 200, may, "{sql}");
        assert_eq!(query(&house, officer, &sql), 200, "{sql}");
    }
    let hidden = house.get("/api/vehicles", Some(operator)).body;
    assert!(!hidden.contains(VIN) && !hidden.contains(ICCID), "{hidden}");
    let shown = house.get("/api/vehicles", Some(officer)).body;
    assert!(shown.contains(VIN) && shown.contains(ICCID), "{shown}");
    assert_eq!(house.get(&format!("/api/vehicles/{VIN}"), Some(operator)).status, 403);
    eventually("the look's entry", || {
        let bundles =
            house.files().into_iter().filter(|path| path.to_string_lossy().contains("tile/entries"));
        bundles.map(|path| std::fs::read(path).unwrap_or_default()).any(|bundle| {
            let text = String::from_utf8_lossy(&bundle).into_owned();
            text.contains("\"kind\":\"read\"") && text.contains("officer") && !text.contains(VIN)
        })
    });
}

#[test]
fn a_token_is_kept_nowhere_and_ends_at_once() {
    let mut house = House::serving();
    let secret = house.token("operator", "grafana");
    assert!(secret.starts_with("domicile_") && !secret.contains(' '), "{secret}");
    assert!(house.first.starts_with("domicile_"), "{}", house.first);
    let listed = house.done(&["token", "list"]);
    assert!(
        listed.contains("grafana") && listed.contains("first") && !listed.contains("domicile_"),
        "{listed}"
    );
    for taken in ["grafana", "socket"] {
        house.fails(&["token", "create", "--role", "analyst", "--name", taken]);
    }
    assert_eq!(house.get("/api/vehicles", Some(&secret)).status, 200);
    house.done(&["token", "revoke", "grafana", "--why", "a test"]);
    assert_eq!(house.get("/api/vehicles", Some(&secret)).status, 401);
    assert_eq!(house.get("/api/vehicles", Some(&house.first)).status, 200);
    house.stop();
    for path in house.files() {
        let bytes = std::fs::read(&path).expect("a file");
        for secret in [&secret, &house.first] {
            // Prefix, number, secret; the secret itself may have a `_`.
            let secret = secret.splitn(3, '_').nth(2).expect("a secret").as_bytes();
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{}", path.display());
        }
    }
    let policies = house.path().join("policy/access.cedar");
    let text = std::fs::read_to_string(&policies).expect("policies");
    let forbid = "\n@id(\"shut-out\")\nforbid (principal == Token::\"first\", action, resource);\n";
    std::fs::write(&policies, format!("{text}{forbid}")).expect("written");
    house.serve();
    let other = house.token("operator", "other");
    assert_eq!(house.get("/api/vehicles", Some(&house.first)).status, 403);
    assert_eq!(house.get("/api/vehicles", Some(&other)).status, 200);
    assert_eq!(house.get("/api/vehicles", Some(&secret)).status, 401, "revoked, also after a restart");
    house.stop();
    std::fs::write(&policies, format!("{text}\npermt (principal, action, resource);\n")).expect("written");
    let stopped = house.fails(&["serve"]);
    assert!(
        stopped.contains("access.cedar") && stopped.contains("line") && stopped.contains("permt"),
        "{stopped}"
    );
}
