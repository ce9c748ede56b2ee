//! The server's side of the opening handshake (RFC 6455, section 4.2): an HTTP/1.1 request head in, a response head out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The longest request head, in bytes: 64 headers of 128 bytes.
pub const HEAD_BYTES_MAX: usize = 8_192;

/// The most headers in a request.
pub const HEADERS_MAX: usize = 64;

/// The longest header value that is kept, in characters; what is longer is cut. They end in logs and events.
const VALUE_CHARACTERS_MAX: usize = 64;

/// The path that answers without an upgrade: monitors ask it whether mutual TLS works.
const STATUS_PATH: &str = "/status";

/// How far the request head has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handshake {
    /// More bytes are needed.
    Incomplete,
    /// The head is there, or can never become one.
    Complete {
        /// How many bytes it takes; frames follow at once.
        head_bytes: usize,
        /// What to answer.
        decision: Decision,
    },
}

/// What to answer to a request head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Write the response and go on with frames.
    Upgrade(Upgrade),
    /// `GET /status`: write the response and close.
    Status,
    /// Write the response and close.
    Refuse {
        /// The HTTP status.
        status: u16,
        /// What is wrong, for people.
        reason: &'static str,
    },
}

/// An upgrade that is accepted, and what the vehicle says about itself. The values are printable ASCII, cut to a bounded length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The connection's id by the vehicle (`X-TXID`).
    pub transaction: Option<String>,
    /// Such as `wifi`, `cellular` (`X-Network-Interface`).
    pub network_interface: Option<String>,
    /// The client's version (`Version`).
    pub version: Option<String>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    accept: String,
}

/// Reads a request head from the front of what has come so far.
///
/// Call it again with more bytes while it is incomplete; a time limit for that is the caller's. Any path upgrades.
pub fn read_request(bytes: &[u8]) -> Handshake {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let within = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let refused = |status, reason| Handshake::Complete {
        head_bytes: within.len(),
        decision: Decision::Refuse { status, reason },
    };
    match request.parse(within) {
        Ok(httparse::Status::Complete(head_bytes)) => {
            Handshake::Complete { head_bytes, decision: decide(&request) }
        }
        Ok(httparse::Status::Partial) if bytes.len() >= HEAD_BYTES_MAX => {
            refused(431, "the request head is too large")
        }
        Ok(httparse::Status::Partial) => Handshake::Incomplete,
        Err(httparse::Error::TooManyHeaders) => refused(431, "there are too many headers"),
        Err(httparse::Error::Version) => refused(505, "this server speaks HTTP/1.1"),
        Err(_) => refused(400, "this is no HTTP request"),
    }
}

fn decide(request: &httparse::Request<'_, '_>) -> Decision {
    let refuse = |status, reason| Decision::Refuse { status, reason };
    let headers = &*request.headers;
    if request.version != Some(1) {
        return refuse(505, "this server speaks HTTP/1.1");
    }
    if request.method != Some("GET") {
        return refuse(405, "only GET is answered here");
    }
    if headers.iter().any(|header| is_body_header(header)) {
        return refuse(400, "a request here has no body");
    }
    if !has_token(headers, "Upgrade", "websocket") || !has_token(headers, "Connection", "upgrade") {
        let path = request.path.unwrap_or_default();
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        return if path == STATUS_PATH { Decision::Status } else { refuse(426, "connect with a WebSocket") };
    }
    if value(headers, "Sec-WebSocket-Version") != Some(b"13") {
        return refuse(426, "this server speaks version 13 of the WebSocket protocol");
    }
    let mut keys = headers.iter().filter(|header| header.name.eq_ignore_ascii_case("Sec-WebSocket-Key"));
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return refuse(400, "one Sec-WebSocket-Key is needed");
    };
    let is_key = STANDARD.decode(key.value.trim_ascii()).is_ok_and(|nonce| nonce.len() == 16);
    if !is_key {
        return refuse(400, "the Sec-WebSocket-Key is 16 bytes in base64");
    }
    Decision::Upgrade(Upgrade {
        transaction: short_text(headers, "X-TXID"),
        network_interface: short_text(headers, "X-Network-Interface"),
        version: short_text(headers, "Version"),
        user_agent: short_text(headers, "User-Agent"),
        accept: accept(key.value.trim_ascii()),
    })
}

/// `Sec-WebSocket-Accept` of a key as it stands in the request (RFC 6455, section 4.2.2, item 5.4).
pub(super) fn accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(hash.finalize())
}

fn is_body_header(header: &httparse::Header<'_>) -> bool {
    header.name.eq_ignore_ascii_case("Transfer-Encoding")
        || (header.name.eq_ignore_ascii_case("Content-Length") && header.value.trim_ascii() != b"0")
}

pub(super) fn value<'h>(headers: &[httparse::Header<'h>], name: &str) -> Option<&'h [u8]> {
    headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value.trim_ascii())
}

/// Whether a header that is a list of tokens has this one, case aside.
pub(super) fn has_token(headers: &[httparse::Header<'_>], name: &str, token: &str) -> bool {
    headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(name))
        .flat_map(|header| header.value.split(|byte| *byte == b','))
        .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

fn short_text(headers: &[httparse::Header<'_>], name: &str) -> Option<String> {
    let printable = |byte: &u8| {
        if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '?' }
    };
    let text: String = value(headers, name)?.iter().take(VALUE_CHARACTERS_MAX).map(printable).collect();
    (!text.is_empty()).then_some(text)
}

impl Decision {
    /// Appends the response head (and body, where there is one).
    pub fn write_response(&self, out: &mut Vec<u8>) {
        match self {
            Self::Upgrade(upgrade) => {
                out.extend_from_slice(
                    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
                );
                out.extend_from_slice(b"Sec-WebSocket-Accept: ");
                out.extend_from_slice(upgrade.accept.as_bytes());
                out.extend_from_slice(b"\r\n\r\n");
            }
            Self::Status => write_plain(200, "", "mtls ok", out),
            Self::Refuse { status, reason } => {
                let further = match status {
                    405 => "Allow: GET\r\n",
                    426 => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                    _ => "",
                };
                write_plain(*status, further, reason, out);
            }
        }
    }
}

fn write_plain(status: u16, further: &str, body: &str, out: &mut Vec<u8>) {
    let phrase = match status {
        200 => "OK",
        400 => "Bad Request",
        405 => "Method Not Allowed",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        505 => "HTTP Version Not Supported",
        _ => "Refused",
    };
    let bytes = body.len();
    let connection = if status == 426 { "Upgrade, close" } else { "close" };
    let head = format!(
        "HTTP/1.1 {status} {phrase}\r\n{further}Content-Type: text/plain\r\nContent-Length: {bytes}\r\n\
         Connection: {connection}\r\n\r\n{body}"
    );
    out.extend_from_slice(head.as_bytes());
}
