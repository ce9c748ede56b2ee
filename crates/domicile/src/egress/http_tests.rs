use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use model::UtcMicros;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::super::dial::tests::{Told, destination};
use super::{ANSWER_BYTES_MAX, Answer, Client, HttpError};
use crate::egress::declared::Url;
use crate::egress::dial::Dialer;
use crate::pki::{self, Authority};

/// When the tests' certificates are made: in the test's machine's present, which TLS reads by itself.
fn now() -> UtcMicros {
    use model::Clock;
    crate::world::SystemClock::new().now()
}

/// An authority in a file of its own, for clients, and what a server of its shows.
fn papers(folder: &Path, name: &str) -> ServerConfig {
    let authority = pki::new_server_authority(now()).expect("an authority");
    std::fs::write(folder.join(name), &authority.certificate).expect("written");
    let authority = Authority::from_pem(&authority.certificate, &authority.key).expect("an authority");
    let issued = authority.server(&["127.0.0.1".to_owned()], now()).expect("a certificate");
    let chain = CertificateDer::pem_slice_iter(issued.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("PEM");
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a pair")
}

/// Reads one request, answers with these bytes, and gives what it read.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) -> String {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while !heard.ends_with(b"the body") {
        match stream.read(&mut buffer).await {
            Ok(count) if count > 0 => heard.extend_from_slice(&buffer[..count]),
            _ => break,
        }
    }
    // A client that has heard enough closes while this is written.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
    String::from_utf8(heard).expect("text")
}

/// A server for one request; gives its port.
async fn server(answers: Vec<u8>, tls: Option<ServerConfig>) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        match tls {
            None => answer(stream, &answers).await,
            Some(config) => match TlsAcceptor::from(Arc::new(config)).accept(stream).await {
                Ok(session) => answer(session, &answers).await,
                Err(error) => error.to_string(),
            },
        }
    });
    (port, task)
}

fn client(ca_file: &Path) -> Client {
    let dialer = Dialer::with_resolver(Box::new(Told(&[])));
    Client::new(Arc::new(dialer), Some(ca_file)).expect("a client")
}

async fn post(client: &Client, scheme: &str, port: u16) -> Result<Answer, HttpError> {
    let url = Url::parse(&format!("{scheme}://127.0.0.1:{port}/log")).expect("a URL");
    let to = destination(&format!("127.0.0.1:{port}"), "");
    client.post(&to, &url, "/add-checkpoint", Bytes::from_static(b"the body")).await
}

/// A folder with an authority's file, and what its server shows.
fn authority() -> (tempfile::TempDir, ServerConfig) {
    let folder = tempfile::tempdir().expect("a folder");
    let config = papers(folder.path(), "ca.pem");
    (folder, config)
}

#[tokio::test]
async fn a_request_goes_over_tls_and_its_answer_comes_back() {
    let (folder, config) = authority();
    let text = b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 3\r\n\r\n42\n";
    let (port, server) = server(text.to_vec(), Some(config)).await;
    let answer = post(&client(&folder.path().join("ca.pem")), "https", port).await.expect("an answer");
    let heard = server.await.expect("a server");
    assert!(heard.starts_with("POST /log/add-checkpoint HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains(&format!("host: 127.0.0.1:{port}\r\n")), "{heard}");
    assert_eq!((answer.status, &answer.body[..]), (409, &b"42\n"[..]));
    assert_eq!(answer.content_type.as_deref(), Some("text/x.tlog.size"));
}

#[tokio::test]
async fn a_stranger_s_certificate_is_refused() {
    let (folder, _) = authority();
    let strangers = papers(folder.path(), "stranger.pem");
    let (port, _server) = server(Vec::new(), Some(strangers)).await;
    let error = post(&client(&folder.path().join("ca.pem")), "https", port).await.expect_err("refused");
    assert!(matches!(error, HttpError::Tls { .. }), "{error}");
    assert!(error.to_string().contains("egress.ca_file"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_refused_and_named() {
    let (folder, _) = authority();
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let text =
            format!("HTTP/1.1 {status}\r\nLocation: https://192.0.2.1/x\x07\r\nContent-Length: 0\r\n\r\n")
                .replace('\x07', "%07");
        let (port, _server) = server(text.into_bytes(), None).await;
        let error = post(&client(&folder.path().join("ca.pem")), "http", port).await.expect_err("refused");
        let HttpError::Redirect { location, .. } = &error else { panic!("{error}") };
        assert_eq!(location, "https://192.0.2.1/x%07");
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_refused_however_it_is_framed() {
    let (folder, _) = authority();
    let body = vec![b'x'; ANSWER_BYTES_MAX + 1];
    let mut claimed = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).into_bytes();
    claimed.extend_from_slice(&body);
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in body.chunks(1000) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    endless.extend_from_slice(&body);
    for text in [claimed, chunked, endless] {
        let (port, _server) = server(text, None).await;
        let error = post(&client(&folder.path().join("ca.pem")), "http", port).await.expect_err("refused");
        assert!(matches!(error, HttpError::TooLarge { .. }), "{error}");
    }
    // Header lines without end are no answer either.
    let mut headers = b"HTTP/1.1 200 OK\r\n".to_vec();
    for line in 0..10_000 {
        headers.extend_from_slice(format!("x-{line}: y\r\n").as_bytes());
    }
    let (port, _server) = server(headers, None).await;
    let error = post(&client(&folder.path().join("ca.pem")), "http", port).await.expect_err("refused");
    assert!(matches!(error, HttpError::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn a_slow_server_is_not_waited_for() {
    let (folder, _) = authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let client = client(&folder.path().join("ca.pem")).within(Duration::from_millis(200));
    for scheme in ["http", "https"] {
        // The listener's queue takes the connection, and nobody ever answers.
        let error = post(&client, scheme, port).await.expect_err("slow");
        assert!(matches!(error, HttpError::Slow { .. }), "{error}");
    }
    drop(listener);
}

#[test]
fn authorities_that_are_none_say_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let dialer = || Arc::new(Dialer::with_resolver(Box::new(Told(&[]))));
    for name in ["missing.pem", "empty.pem"] {
        std::fs::write(folder.path().join("empty.pem"), "nothing\n").expect("written");
        let made = Client::new(dialer(), Some(&folder.path().join(name)));
        let error = made.err().expect("no authorities").to_string();
        assert!(error.contains("name a PEM file of the authorities"), "{error}");
    }
}
