//! Frames: headers, masks, and what a server writes.

/// What a frame is (RFC 6455, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// A further part of a message.
    Continuation = 0,
    /// Text.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The end of the connection.
    Close = 8,
    /// A question whether the other side is there.
    Ping = 9,
    /// The answer to it.
    Pong = 10,
}

impl Opcode {
    /// The opcode of a header's low 4 bits; `None` for a reserved one.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Continuation, Self::Text, Self::Binary, Self::Close, Self::Ping, Self::Pong]
            .into_iter()
            .find(|opcode| *opcode as u8 == number)
    }

    /// Whether it is a control frame: at most 125 bytes, never in parts.
    pub fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// Why a connection is closed (RFC 6455, section 7.4.1, and the IANA registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The purpose is fulfilled.
    Normal = 1000,
    /// The server goes down.
    GoingAway = 1001,
    /// A frame that the protocol doesn't have.
    Protocol = 1002,
    /// A kind of data that isn't taken, such as text.
    Unsupported = 1003,
    /// Data that isn't what its type says.
    InvalidData = 1007,
    /// Against the rules here: not registered, wrong country, revoked.
    Policy = 1008,
    /// Too large.
    TooBig = 1009,
    /// The server's fault.
    Internal = 1011,
    /// The server restarts; come again.
    Restart = 1012,
    /// Overloaded; come again later.
    TryLater = 1013,
}

impl CloseCode {
    /// The number on the wire.
    pub fn number(self) -> u16 {
        self as u16
    }
}

/// The largest payload of a control frame, in bytes.
pub(super) const CONTROL_BYTES_MAX: usize = 125;

/// The largest header that a server writes, in bytes: two, and a length of eight.
const SERVER_HEADER_BYTES_MAX: usize = 10;

/// Appends a whole binary message.
pub fn write_binary(payload: &[u8], out: &mut Vec<u8>) {
    write_frame(Opcode::Binary, payload, out);
}

/// Appends a binary message whose payload `write` appends: no copy through a buffer of its own.
pub fn binary(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    // Most messages (acks) are of 126 bytes or more and below 64 KiB: 4 bytes of header. Another length moves the payload.
    const EXPECTED: usize = 4;
    let start = out.len();
    out.extend_from_slice(&[0; EXPECTED]);
    write(out);
    let length = out.len() - start - EXPECTED;
    let (header, header_bytes) = header(Opcode::Binary, length, 0);
    if header_bytes > EXPECTED {
        out.resize(out.len() + header_bytes - EXPECTED, 0);
    }
    if header_bytes != EXPECTED {
        out.copy_within(start + EXPECTED..start + EXPECTED + length, start + header_bytes);
        out.truncate(start + header_bytes + length);
    }
    out[start..start + header_bytes].copy_from_slice(&header[..header_bytes]);
}

/// Appends a ping.
///
/// # Panics
///
/// If the payload is longer than 125 bytes.
pub fn write_ping(payload: &[u8], out: &mut Vec<u8>) {
    assert!(payload.len() <= CONTROL_BYTES_MAX, "a control frame carries at most 125 bytes");
    write_frame(Opcode::Ping, payload, out);
}

/// Appends the pong that answers a ping: with the same payload.
///
/// # Panics
///
/// If the payload is longer than 125 bytes; a received ping's never is.
pub fn write_pong(payload: &[u8], out: &mut Vec<u8>) {
    assert!(payload.len() <= CONTROL_BYTES_MAX, "a control frame carries at most 125 bytes");
    write_frame(Opcode::Pong, payload, out);
}

/// Appends a close frame; a reason of more than 123 bytes is cut at a character's boundary.
pub fn write_close(code: CloseCode, reason: &str, out: &mut Vec<u8>) {
    let (payload, length) = close_payload(code, reason);
    write_frame(Opcode::Close, &payload[..length], out);
}

pub(super) fn close_payload(code: CloseCode, reason: &str) -> ([u8; CONTROL_BYTES_MAX], usize) {
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(CONTROL_BYTES_MAX - 2)];
    let mut payload = [0; CONTROL_BYTES_MAX];
    payload[..2].copy_from_slice(&code.number().to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason);
    (payload, 2 + reason.len())
}

fn write_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    let (header, header_bytes) = header(opcode, payload.len(), 0);
    out.extend_from_slice(&header[..header_bytes]);
    out.extend_from_slice(payload);
}

/// The header of a final frame, without a mask; `mask_bit` is 0 or 0x80.
pub(super) fn header(opcode: Opcode, length: usize, mask_bit: u8) -> ([u8; SERVER_HEADER_BYTES_MAX], usize) {
    let mut header = [0; SERVER_HEADER_BYTES_MAX];
    header[0] = 0x80 | opcode as u8;
    if let Ok(short) = u8::try_from(length)
        && short < 126
    {
        header[1] = mask_bit | short;
        return (header, 2);
    }
    if let Ok(medium) = u16::try_from(length) {
        header[1] = mask_bit | 126;
        header[2..4].copy_from_slice(&medium.to_be_bytes());
        return (header, 4);
    }
    header[1] = mask_bit | 127;
    header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
    (header, 10)
}

/// Masks or unmasks in place, 8 bytes at a time.
pub(super) fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_le_bytes([a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_le_bytes(*chunk) ^ wide).to_le_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}
