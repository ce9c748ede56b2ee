use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{DialError, Dialer, Resolver};
use crate::egress::declared::{Declared, Destination};
use crate::settings::Settings;

/// A name server that answers what the test tells it.
pub(in crate::egress) struct Told(pub(in crate::egress) &'static [&'static str]);

impl Resolver for Told {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let addresses = self.0.iter().map(|text| text.parse().expect("an address")).collect();
        Box::pin(async move { Ok(addresses) })
    }
}

/// The one destination of a list with it.
pub(in crate::egress) fn destination(to: &str, networks: &str) -> Arc<Destination> {
    let text = format!(
        "[egress]\nallow = [{{ to = \"{to}\", purpose = \"witness\", country = \"CN\", networks = [{networks}] }}]\n"
    );
    let settings = Settings::read(&text, "domicile.toml", &|_| None).expect("settings");
    let declared = Declared::of(&settings, "CN".parse().expect("a country")).expect("a list");
    declared.destinations()[0].clone()
}

#[tokio::test]
async fn a_declared_destination_is_reached_and_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.expect("four bytes");
        stream.write_all(b"pong!").await.expect("written");
        heard
    });
    let to = destination(&format!("witness.cn:{port}"), "\"127.0.0.0/8\"");
    let dialer = Dialer::with_resolver(Box::new(Told(&["127.0.0.1"])));
    let mut stream = dialer.connect(&to).await.expect("a connection");
    stream.write_all(b"ping").await.expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert_eq!((&server.await.expect("a server"), answer.as_str()), (b"ping", "pong!"));
    let traffic = to.traffic();
    assert_eq!((traffic.connections(), traffic.failures(), traffic.dns_abroad()), (1, 0, 0));
    assert_eq!((traffic.bytes_sent(), traffic.bytes_received()), (4, 5));
}

#[tokio::test]
async fn a_name_that_leads_out_of_its_networks_is_refused_before_a_byte_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let to = destination(&format!("witness.cn:{port}"), "\"10.0.0.0/8\", \"127.0.0.0/8\"");
    for answers in [&["203.0.113.9"][..], &["127.0.0.1", "203.0.113.9"], &["127.0.0.1", "2001:db8::1"]] {
        let dialer = Dialer::with_resolver(Box::new(Told(answers)));
        let error = dialer.connect(&to).await.expect_err("abroad");
        assert!(matches!(error, DialError::Abroad { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("outside of its networks (10.0.0.0/8, 127.0.0.0/8): refused"), "{text}");
    }
    assert_eq!(to.traffic().dns_abroad(), 3);
    assert_eq!((to.traffic().connections(), to.traffic().failures()), (0, 3));
    assert!(futures::FutureExt::now_or_never(listener.accept()).is_none(), "nobody has connected");
    // An IPv4 address in IPv6's clothes is the same address.
    let dialer = Dialer::with_resolver(Box::new(Told(&["::ffff:127.0.0.1"])));
    assert!(dialer.connect(&to).await.is_ok());
}

#[tokio::test]
async fn what_does_not_answer_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let to = destination(&format!("127.0.0.1:{port}"), "");
    let dialer = Dialer::with_resolver(Box::new(Told(&[])));
    let error = dialer.connect(&to).await.expect_err("closed");
    assert!(matches!(error, DialError::Unreachable { .. }), "{error}");
    let nameless = destination("witness.cn:443", "");
    let error = dialer.connect(&nameless).await.expect_err("no address");
    assert!(error.to_string().starts_with("witness.cn:443 can't be resolved"), "{error}");
}
