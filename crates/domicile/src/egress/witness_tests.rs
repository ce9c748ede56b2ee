use std::sync::Arc;

use bytes::Bytes;
use ledger::NoteSignature;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{Said, WitnessError, Witnesses, read_answer};
use crate::egress::declared::Declared;
use crate::egress::dial::Dialer;
use crate::egress::http::Answer;
use crate::settings::Settings;

const VKEY: &str = "w+0011aabb+BAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const LINE: &str = "— w AAECAwQ=\n";

fn signatures() -> Vec<NoteSignature> {
    vec![NoteSignature::parse(LINE.trim_end()).expect("a signature line")]
}

fn answered(status: u16, content_type: Option<&str>, body: &str) -> Answer {
    Answer { status, content_type: content_type.map(str::to_owned), body: Bytes::from(body.to_owned()) }
}

#[test]
fn every_answer_of_the_protocol_is_understood_and_no_other() {
    let size = Some("text/x.tlog.size");
    assert_eq!(read_answer(&answered(200, None, LINE)).expect("cosigned"), Said::Cosigned(signatures()));
    assert_eq!(read_answer(&answered(409, size, "42\n")).expect("a size"), Said::Seen(42));
    for (status, kind, body) in [
        (200, None, ""),
        (200, None, "ok\n"),
        (200, None, "— w AAECAwQ="),
        (200, None, "— w ???\n"),
        (409, size, "42"),
        (409, size, "042\n"),
        (409, size, "-1\n"),
        (409, size, "99999999999999999999\n"),
    ] {
        let said = read_answer(&answered(status, kind, body));
        assert!(matches!(said, Err(WitnessError::Answer(_))), "{body:?}: {said:?}");
    }
    for (status, part) in [
        (400, "can't read"),
        (403, "the log's vkey"),
        (404, "register the log's origin"),
        (409, "came between"),
        (422, "two histories"),
        (500, "an error of the witness"),
    ] {
        let error = read_answer(&answered(status, None, "no\x1b[31m\n")).expect_err("refused").to_string();
        assert!(error.contains(part) && error.contains("no?[31m"), "{error}");
    }
}

/// A witness that knows one size, as the protocol has it; gives what it was asked.
async fn witness(mut size: u64) -> (Witnesses, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut heard = Vec::new();
            while !heard.ends_with("END\n".as_bytes()) {
                let mut buffer = [0; 1024];
                match stream.read(&mut buffer).await {
                    Ok(count) if count > 0 => heard.extend_from_slice(&buffer[..count]),
                    _ => break,
                }
            }
            let heard = String::from_utf8(heard).expect("text");
            let body = heard.split_once("\r\n\r\n").expect("a body").1.to_owned();
            let line = |at: usize| body.lines().nth(at).unwrap_or_default().to_owned();
            let old: u64 = line(0).trim_start_matches("old ").parse().expect("a size");
            let new: u64 =
                body.split("origin\n").nth(1).and_then(|r| r.lines().next()?.parse().ok()).expect("size");
            let text = if old == size {
                size = new;
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{LINE}", LINE.len())
            } else {
                let text = format!("{size}\n");
                format!(
                    "HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: {}\r\n\r\n{text}",
                    text.len()
                )
            };
            log.lock().push(body);
            stream.write_all(text.as_bytes()).await.expect("written");
        }
    });
    let text = format!(
        "[egress]\nallow = [{{ to = \"127.0.0.1:{port}\", purpose = \"witness\", country = \"CN\" }}]\n\
         [ledger]\nwitnesses = [{{ name = \"w\", vkey = \"{VKEY}\", url = \"http://127.0.0.1:{port}\", country = \"CN\" }}]\n"
    );
    let settings = Settings::read(&text, "domicile.toml", &|_| None).expect("settings");
    let declared = Declared::of(&settings, "CN".parse().expect("a country")).expect("a list");
    let folder = tempfile::tempdir().expect("a folder");
    let authority = rcgen::generate_simple_self_signed(["w".to_owned()]).expect("a certificate");
    std::fs::write(folder.path().join("ca.pem"), authority.cert.pem()).expect("written");
    let ca_file = folder.path().join("ca.pem");
    let dialer = Arc::new(Dialer::new());
    (Witnesses::open(&settings, &declared, dialer, Some(&ca_file)).expect("witnesses"), asked)
}

fn checkpoint(size: u64) -> String {
    format!("origin\n{size}\nAAAA\n\n— log AAAA\nEND\n")
}

#[tokio::test]
async fn a_witness_whose_size_is_unknown_is_asked_again_with_what_it_says() {
    let (witnesses, asked) = witness(5).await;
    let proof = |old: u64| Ok(vec![[u8::try_from(old).expect("small"); 32]]);
    let outcomes = witnesses.cosign(9, &checkpoint(9), proof).await;
    assert_eq!(outcomes[0].witness, "w");
    assert_eq!(outcomes[0].signatures.as_ref().expect("cosigned"), &signatures());
    let bodies = asked.lock().clone();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].starts_with("old 0\n\n"), "{}", bodies[0]);
    assert!(bodies[1].starts_with("old 5\nBQUF"), "{}", bodies[1]);
    // The next round knows it: one question. A repetition proves nothing anew.
    assert!(witnesses.cosign(12, &checkpoint(12), proof).await[0].signatures.is_ok());
    assert!(
        witnesses.cosign(12, &checkpoint(12), |_| Err("not needed".to_owned())).await[0].signatures.is_ok()
    );
    assert_eq!(asked.lock().len(), 4);
    assert!(asked.lock()[3].starts_with("old 12\n\n"));
}

#[tokio::test]
async fn a_witness_that_has_seen_more_stops_the_log() {
    let (witnesses, _) = witness(20).await;
    let seen = witnesses.seen(9, &checkpoint(9)).await;
    assert_eq!((seen.size, seen.silent.len()), (Some(20), 0));
    let outcomes = witnesses.cosign(9, &checkpoint(9), |_| Ok(Vec::new())).await;
    let error = outcomes[0].signatures.as_ref().expect_err("ahead");
    assert!(matches!(error, WitnessError::Ahead { seen: 20, size: 9 }), "{error}");
    assert!(error.to_string().contains("rolled back"), "{error}");
}

#[tokio::test]
async fn a_witness_that_has_seen_nothing_sees_this() {
    let (witnesses, _) = witness(0).await;
    assert_eq!(witnesses.seen(9, &checkpoint(9)).await.size, Some(9));
}
