use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use super::super::dial::tests::Told;
use super::{Located, locate, nameservers, ruleset};
use crate::egress::declared::Declared;
use crate::egress::dial::Dialer;
use crate::settings::Settings;

const LIST: &str = "[egress]\nallow = [\n\
    { to = \"witness.example.cn:443\", purpose = \"witness\", country = \"CN\", networks = [\"10.0.0.0/8\", \"fd00::/8\"] },\n\
    { to = \"192.168.7.1:9000\", purpose = \"object_store\", country = \"CN\" },\n]\n";

async fn located(list: &str, answers: &'static [&'static str]) -> Vec<Located> {
    let settings = Settings::read(list, "domicile.toml", &|_| None).expect("settings");
    let declared = Declared::of(&settings, "CN".parse().expect("a country")).expect("a list");
    locate(&declared, &Dialer::with_resolver(Box::new(Told(answers)))).await
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

/// Lets nft read it, where nft is installed and may.
fn check(text: &str) {
    let mut nft = match Command::new("nft")
        .args(["-c", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(nft) => nft,
        Err(_) => {
            println!("skipped: nft is not installed (apt-get install nftables)");
            return;
        }
    };
    nft.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
    let output = nft.wait_with_output().expect("nft ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("Operation not permitted") {
        println!("skipped: nft may not look at the kernel's tables here");
        return;
    }
    assert!(output.status.success(), "{text}\n{complaint}");
}

#[tokio::test]
async fn the_machine_s_ruleset_is_the_golden_one() {
    let located = located(LIST, &["10.2.0.7", "fd00::7"]).await;
    let text = ruleset(&located, &addresses(&["10.0.0.53", "127.0.0.53"]), None);
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/egress-machine.nft");
    let kept = std::fs::read_to_string(golden).expect("tests/golden/egress-machine.nft");
    assert_eq!(text, kept, "the ruleset has changed: if it is meant, replace {golden}");
    check(&text);
}

#[tokio::test]
async fn a_user_s_ruleset_is_the_golden_one() {
    let located = located(LIST, &["10.2.0.7", "fd00::7"]).await;
    let text = ruleset(&located, &addresses(&["10.0.0.53"]), Some("root"));
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/egress-user.nft");
    let kept = std::fs::read_to_string(golden).expect("tests/golden/egress-user.nft");
    assert_eq!(text, kept, "the ruleset has changed: if it is meant, replace {golden}");
    check(&text);
}

#[tokio::test]
async fn a_name_that_leads_abroad_gets_no_rule() {
    let text = ruleset(&located(LIST, &["203.0.113.9"]).await, &[], None);
    assert!(
        text.contains("# witness.example.cn:443, witness: no rule: witness.example.cn:443 resolves to"),
        "{text}"
    );
    assert!(!text.contains("daddr 203.0.113.9"), "{text}");
    check(&text);
}

#[tokio::test]
async fn without_names_nobody_asks_a_name_server() {
    let list = "[egress]\nallow = [{ to = \"192.168.7.1:9000\", purpose = \"feed\", country = \"CN\" }]\n";
    let text = ruleset(&located(list, &[]).await, &addresses(&["10.0.0.53"]), None);
    assert!(!text.contains("dport 53"), "{text}");
    let text = ruleset(&located("", &[]).await, &addresses(&["10.0.0.53"]), None);
    assert!(!text.contains("daddr"), "{text}");
    check(&text);
}

#[test]
fn name_servers_are_read_as_the_resolver_reads_them() {
    let text = "# comment\nsearch x.cn\nnameserver 10.0.0.53\nnameserver\tfe80::1%eth0\nnameserver nonsense\n\
                nameserver 1.1.1.1\nnameserver 8.8.8.8\n";
    assert_eq!(nameservers(text), addresses(&["10.0.0.53", "fe80::1", "1.1.1.1"]));
}
