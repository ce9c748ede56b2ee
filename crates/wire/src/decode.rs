//! The one entry for what was stored: live frames and recovered ones take the same way.

use model::{Event, Position, Protocol, Reading, ReadingSink, UtcMicros};

use crate::gbt32960::{self, CoordinateSystem, Keys, Unreadable};
use crate::{Malformed, center, tesla};

/// What decoding needs besides a frame: the center's settings, and buffers that are used again and again.
#[derive(Debug)]
pub struct Context {
    keys: Keys,
    position_2016: CoordinateSystem,
    scratch: gbt32960::Scratch,
}

impl Context {
    /// `keys` open encrypted GB/T 32960 frames; `position_2016` says in which coordinates frames of its 2016 edition are, which don't say
    /// it themselves.
    pub fn new(keys: Keys, position_2016: CoordinateSystem) -> Self {
        Self { keys, position_2016, scratch: gbt32960::Scratch::default() }
    }

    /// The keys of encrypted frames.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
}

/// The newest time that a frame speaks of; `None` where it names none, or can't be read to its end.
pub fn newest(
    protocol: Protocol,
    bytes: &[u8],
    received_at: UtcMicros,
    context: &mut Context,
) -> Option<UtcMicros> {
    let mut newest = Newest(None);
    decode(protocol, bytes, received_at, context, &mut newest).ok()?;
    newest.0
}

struct Newest(Option<UtcMicros>);

impl ReadingSink for Newest {
    fn reading(&mut self, reading: Reading<'_>) {
        self.0 = self.0.max(Some(reading.time));
    }

    fn position(&mut self, position: Position) {
        self.0 = self.0.max(Some(position.time));
    }

    fn event(&mut self, event: Event<'_>) {
        self.0 = self.0.max(Some(event.time)).max(event.ended_at);
    }
}

/// Gives the readings, positions and events of one stored frame to `sink`, in the order in which they stand in it.
///
/// `received_at` is when the center read the frame. What was given to the sink before an error stays given: a frame that was admitted
/// was read as a whole before it was stored, so that an error here means another version of this program, or other keys.
pub fn decode(
    protocol: Protocol,
    bytes: &[u8],
    received_at: UtcMicros,
    context: &mut Context,
    sink: &mut impl ReadingSink,
) -> Result<(), Unreadable> {
    match protocol {
        Protocol::Center => Ok(center::decode(bytes, received_at, sink)?),
        Protocol::Tesla => Ok(tesla::decode(bytes, received_at, sink)?),
        Protocol::Gbt32960 => {
            let frame =
                gbt32960::Context { received_at, position_2016: context.position_2016, keys: &context.keys };
            gbt32960::decode(bytes, &frame, &mut context.scratch, sink)
        }
        _ => {
            let rule = "a protocol that this version decodes";
            Err(Malformed { what: "frame", rule, offset: 0 }.into())
        }
    }
}
