//! The client's side: the upgrade request, the server's answer, masked frames. Keys and masks are the caller's, as all randomness.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::frame::{Opcode, header, mask};
use super::handshake::{HEAD_BYTES_MAX, HEADERS_MAX, accept, has_token, value};

/// An upgrade request to write.
#[derive(Debug, Clone, Copy)]
pub struct UpgradeRequest<'a> {
    /// The `Host` header.
    pub host: &'a str,
    /// The path, such as `/`.
    pub path: &'a str,
    /// 16 random bytes.
    pub key: [u8; 16],
    /// Further headers: name and value.
    pub headers: &'a [(&'a str, &'a str)],
}

/// How far the server's answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Response {
    /// More bytes are needed.
    Incomplete,
    /// The connection is upgraded; frames follow after so many bytes.
    Upgraded {
        /// The head's length in bytes.
        head_bytes: usize,
    },
    /// The server answered something else.
    Refused {
        /// The HTTP status; 0 where the answer is no HTTP or not an answer to this key.
        status: u16,
    },
}

impl UpgradeRequest<'_> {
    /// Appends the request head.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self { host, path, .. } = self;
        let key = STANDARD.encode(self.key);
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        for (name, value) in self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads the server's answer to a request of this key from the front of what has come so far.
pub fn read_response(bytes: &[u8], key: [u8; 16]) -> Response {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(&bytes[..bytes.len().min(HEAD_BYTES_MAX)]) {
        Ok(httparse::Status::Complete(head_bytes)) => {
            let status = response.code.unwrap_or_default();
            if status != 101 {
                return Response::Refused { status };
            }
            let accepted = accept(STANDARD.encode(key).as_bytes());
            let is_answer = value(response.headers, "Sec-WebSocket-Accept") == Some(accepted.as_bytes())
                && has_token(response.headers, "Upgrade", "websocket");
            if is_answer { Response::Upgraded { head_bytes } } else { Response::Refused { status: 0 } }
        }
        Ok(httparse::Status::Partial) if bytes.len() < HEAD_BYTES_MAX => Response::Incomplete,
        Ok(httparse::Status::Partial) | Err(_) => Response::Refused { status: 0 },
    }
}

/// Appends one final frame with this mask (4 random bytes).
///
/// # Panics
///
/// If a control frame's payload is longer than 125 bytes.
pub fn write_masked(opcode: Opcode, payload: &[u8], key: [u8; 4], out: &mut Vec<u8>) {
    assert!(
        !opcode.is_control() || payload.len() <= super::frame::CONTROL_BYTES_MAX,
        "a control frame carries at most 125 bytes"
    );
    let (header, header_bytes) = header(opcode, payload.len(), 0x80);
    out.extend_from_slice(&header[..header_bytes]);
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key);
}
