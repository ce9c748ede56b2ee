//! Takes messages out of the caller's buffer, in place.

use super::frame::{CONTROL_BYTES_MAX, CloseCode, Opcode, mask};

/// The most frames that one message may come in. A vehicle sends one; empty parts without end would keep a connection busy for nothing.
const FRAGMENTS_MAX: u32 = 4_096;

/// Which side of the connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The other side's frames must be masked.
    Server,
    /// The other side's frames must not be masked.
    Client,
}

/// Takes messages out of a buffer. Between messages it holds no memory of its own.
#[derive(Debug)]
pub struct Receiver {
    role: Role,
    message_bytes_max: usize,
    /// The parts of a message that comes in several frames; empty otherwise.
    parts: Vec<u8>,
    state: State,
    fragments: u32,
}

/// What the next data frame has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first of a message.
    Fresh,
    /// A further part of the message in `parts`.
    Assembling,
    /// The message is whole and was handed out of `parts`, which can go now.
    Delivered,
    /// The message is too large; inside a frame of which so many bytes are to be skipped still.
    SkippingFrame { remaining: u64, is_final: bool },
    /// The message is too large; between two of its frames.
    SkippingMessage,
}

/// One step through the buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'b> {
    /// How many bytes of the buffer's front are done with. Never pass them again: they are unmasked.
    pub consumed: usize,
    /// What they were.
    pub item: Item<'b>,
}

/// What was taken out of the buffer.
#[derive(Debug, PartialEq, Eq)]
pub enum Item<'b> {
    /// Nothing whole is there. Call again with at least `needed_bytes` in the buffer (a claim of the other side's: let the buffer
    /// grow with what really comes).
    Incomplete {
        /// The bytes that the frame at the buffer's front takes, as far as its header is known.
        needed_bytes: usize,
    },
    /// Bytes were consumed and nothing is whole yet: call again.
    Progress,
    /// A whole binary message.
    Message(&'b [u8]),
    /// Answer with a pong of the same payload.
    Ping(&'b [u8]),
    /// The answer to a ping, or a sign of life.
    Pong(&'b [u8]),
    /// The other side closes. Answer with a close frame and end the connection.
    Close {
        /// Its code; `None` where it gave none.
        code: Option<u16>,
    },
    /// A message was larger than the limit and has been skipped; the connection goes on.
    TooLarge,
}

/// The other side broke the protocol: close with [`Violation::close_code`] and end the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Violation {
    /// A text message: only binary ones are spoken here.
    #[error("a text message came; only binary messages are taken")]
    Text,
    /// RFC 6455, section 5.1.
    #[error("a frame's mask is missing or shouldn't be there")]
    Mask,
    /// No extension was agreed on.
    #[error("a frame has reserved bits set or a reserved opcode")]
    Reserved,
    /// Section 5.5.
    #[error("a control frame is too long or comes in parts")]
    Control,
    /// Section 5.4.
    #[error("a message's parts come out of order")]
    Fragment,
    /// A message in more parts than anybody needs.
    #[error("a message comes in too many parts")]
    TooManyFragments,
    /// Section 5.2: the shortest form, below 2^63.
    #[error("a frame's length isn't written as it has to be")]
    Length,
    /// Section 7.4.
    #[error("a close frame's code is not one that may be sent, or cut")]
    Close,
    /// Section 5.5.1.
    #[error("a close frame's reason isn't UTF-8")]
    CloseReason,
}

impl Violation {
    /// The code to close with.
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Text => CloseCode::Unsupported,
            Self::TooManyFragments => CloseCode::Policy,
            Self::CloseReason => CloseCode::InvalidData,
            Self::Mask | Self::Reserved | Self::Control | Self::Fragment | Self::Length | Self::Close => {
                CloseCode::Protocol
            }
        }
    }
}

/// A frame's header.
struct Header {
    is_final: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    bytes: usize,
    payload_bytes: u64,
}

impl Receiver {
    /// A receiver of one connection; larger messages than `message_bytes_max` are skipped.
    pub fn new(role: Role, message_bytes_max: usize) -> Self {
        Self { role, message_bytes_max, parts: Vec::new(), state: State::Fresh, fragments: 0 }
    }

    /// Takes the next item from the buffer's front; call it until it says [`Item::Incomplete`].
    ///
    /// A message that comes in one frame is unmasked where it lies and borrowed; parts are copied together. What is larger than
    /// the limit is consumed as it comes.
    pub fn next<'b>(&'b mut self, buffer: &'b mut [u8]) -> Result<Step<'b>, Violation> {
        if self.state == State::Delivered {
            self.parts = Vec::new();
            self.state = State::Fresh;
        }
        if let State::SkippingFrame { remaining, is_final } = self.state {
            return Ok(self.skip(0, buffer.len(), remaining, is_final));
        }
        let Some(header) = read_header(buffer)? else {
            return Ok(Step { consumed: 0, item: Item::Incomplete { needed_bytes: header_bytes(buffer) } });
        };
        self.check(&header)?;
        if !header.opcode.is_control() && self.is_too_large(&header) {
            self.parts = Vec::new();
            let present = buffer.len() - header.bytes;
            return Ok(self.skip(header.bytes, present, header.payload_bytes, header.is_final));
        }
        let payload_bytes =
            usize::try_from(header.payload_bytes).expect("it is within a limit that is a usize");
        let end = header.bytes + payload_bytes;
        let Some(frame) = buffer.get_mut(header.bytes..end) else {
            return Ok(Step { consumed: 0, item: Item::Incomplete { needed_bytes: end } });
        };
        if let Some(key) = header.mask {
            mask(frame, key);
        }
        let item = self.take(&header, frame)?;
        Ok(Step { consumed: end, item })
    }

    fn check(&mut self, header: &Header) -> Result<(), Violation> {
        if header.mask.is_some() != (self.role == Role::Server) {
            return Err(Violation::Mask);
        }
        if header.opcode.is_control() {
            let is_short = header.payload_bytes <= CONTROL_BYTES_MAX as u64;
            return if header.is_final && is_short { Ok(()) } else { Err(Violation::Control) };
        }
        match (header.opcode, self.state) {
            (Opcode::Text, _) => Err(Violation::Text),
            (Opcode::Continuation, State::Fresh) => Err(Violation::Fragment),
            (Opcode::Continuation, _) if self.fragments >= FRAGMENTS_MAX => Err(Violation::TooManyFragments),
            (Opcode::Continuation, _) | (_, State::Fresh) => Ok(()),
            (_, _) => Err(Violation::Fragment),
        }
    }

    fn is_too_large(&self, header: &Header) -> bool {
        let room = self.message_bytes_max.saturating_sub(self.parts.len());
        self.state == State::SkippingMessage || header.payload_bytes > room as u64
    }

    /// Skips what is there of a frame that belongs to a message that is too large.
    fn skip(&mut self, header_bytes: usize, present: usize, remaining: u64, is_final: bool) -> Step<'static> {
        let skipped = usize::try_from(remaining).unwrap_or(usize::MAX).min(present);
        let remaining = remaining - skipped as u64;
        let consumed = header_bytes + skipped;
        let item = if remaining > 0 {
            self.state = State::SkippingFrame { remaining, is_final };
            if consumed == 0 { Item::Incomplete { needed_bytes: 1 } } else { Item::Progress }
        } else if is_final {
            self.state = State::Fresh;
            self.fragments = 0;
            Item::TooLarge
        } else {
            self.state = State::SkippingMessage;
            self.fragments += 1;
            Item::Progress
        };
        Step { consumed, item }
    }

    fn take<'b>(&'b mut self, header: &Header, payload: &'b [u8]) -> Result<Item<'b>, Violation> {
        match header.opcode {
            Opcode::Ping => return Ok(Item::Ping(payload)),
            Opcode::Pong => return Ok(Item::Pong(payload)),
            Opcode::Close => {
                return Ok(Item::Close { code: read_close(payload)? });
            }
            Opcode::Binary | Opcode::Continuation | Opcode::Text => {}
        }
        if header.is_final && self.state == State::Fresh {
            return Ok(Item::Message(payload));
        }
        self.parts.extend_from_slice(payload);
        if header.is_final {
            self.state = State::Delivered;
            self.fragments = 0;
            Ok(Item::Message(&self.parts))
        } else {
            self.state = State::Assembling;
            self.fragments += 1;
            Ok(Item::Progress)
        }
    }
}

/// How long a header is, as far as its first two bytes tell.
fn header_bytes(buffer: &[u8]) -> usize {
    let Some(second) = buffer.get(1) else {
        return 2;
    };
    let length = match second & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 == 0 { 0 } else { 4 }
}

/// Reads a header; `None` while it isn't whole. Reserved bits are refused at the first byte.
fn read_header(buffer: &[u8]) -> Result<Option<Header>, Violation> {
    let Some(&first) = buffer.first() else {
        return Ok(None);
    };
    let opcode = Opcode::from_number(first & 0x0F).ok_or(Violation::Reserved)?;
    if first & 0x70 != 0 {
        return Err(Violation::Reserved);
    }
    let bytes = header_bytes(buffer);
    let Some(head) = buffer.get(..bytes) else {
        return Ok(None);
    };
    let is_masked = head[1] & 0x80 != 0;
    let (length, mask) = head[2..].split_at(bytes - 2 - if is_masked { 4 } else { 0 });
    let payload_bytes = match *length {
        [] => u64::from(head[1] & 0x7F),
        [high, low] => u64::from(u16::from_be_bytes([high, low])),
        [a, b, c, d, e, f, g, h] => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
        _ => unreachable!("a length has 0, 2 or 8 bytes"),
    };
    let is_shortest = match length.len() {
        0 => true,
        2 => payload_bytes > 125,
        _ => payload_bytes > u64::from(u16::MAX),
    };
    if !is_shortest || payload_bytes >> 63 != 0 {
        return Err(Violation::Length);
    }
    let mask = mask.first_chunk::<4>().copied();
    Ok(Some(Header { is_final: first & 0x80 != 0, opcode, mask, bytes, payload_bytes }))
}

fn read_close(payload: &[u8]) -> Result<Option<u16>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return if payload.is_empty() { Ok(None) } else { Err(Violation::Close) };
    };
    let code = u16::from_be_bytes(*code);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Close);
    }
    std::str::from_utf8(reason).map_err(|_| Violation::CloseReason)?;
    Ok(Some(code))
}
