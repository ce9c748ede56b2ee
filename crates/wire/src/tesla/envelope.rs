//! The envelope: FlatBuffers, table `FlatbuffersEnvelope`, no file identifier, not size-prefixed.
//!
//! A buffer is verified before it is read: each offset, table and vector must lie inside it. Alignment is not required on
//! reading (nothing here needs it) and kept on writing. The depth is fixed by the schema: envelope, stream, vectors.
//!
//! | slot | `FlatbuffersEnvelope` | `FlatbuffersStream` (tag 4) |
//! |---|---|---|
//! | 0 | txid `[ubyte]` | created_at `uint32`, epoch seconds |
//! | 1 | topic `[ubyte]` | sender_id `[ubyte]` |
//! | 2 | union tag `ubyte` | payload `[ubyte]` |
//! | 3 | union value, a table | device_type `[ubyte]` |
//! | 4 | message id `[ubyte]` | device_id `[ubyte]` |
//! | 5 | | delivered_at_epoch_ms `uint64` |

use crate::Malformed;

/// The text in an error envelope's payload, as the reference server has it.
pub const ERROR_TEXT: &[u8] = b"incorrect message format";

const TAG_NONE: u8 = 0;
const TAG_STREAM: u8 = 4;
const TAG_ACK: u8 = 5;

/// A verified envelope, borrowed from the message. A vector that is absent reads as empty.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Envelope<'a> {
    /// The transaction id, which the ack repeats.
    pub txid: &'a [u8],
    /// The topic, which the ack repeats.
    pub topic: &'a [u8],
    /// The message's id.
    pub message_id: &'a [u8],
    /// What is inside.
    pub message: Message<'a>,
}

/// An envelope's union.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Message<'a> {
    /// Tag 0.
    #[default]
    None,
    /// Tag 4; `None` where the value is missing.
    Stream(Option<Stream<'a>>),
    /// Tag 5. Its value isn't looked at: the reference server writes a byte vector where the schema has a table.
    Ack,
    /// Another tag.
    Other(u8),
}

/// What a vehicle sends.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Stream<'a> {
    /// When it was made, in seconds since the epoch, by the vehicle's clock; 0 where absent.
    pub created_at: u32,
    /// `<device type>.<device id>`.
    pub sender_id: &'a [u8],
    /// The topic's protobuf message.
    pub payload: &'a [u8],
    /// The kind of device.
    pub device_type: &'a [u8],
    /// The device's id.
    pub device_id: &'a [u8],
    /// When it was delivered, in milliseconds since the epoch; 0 where absent.
    pub delivered_at_epoch_ms: u64,
}

impl<'a> Envelope<'a> {
    /// Verifies and reads a whole message.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let buffer = Buffer { bytes };
        let root = buffer.offset_at(0)?;
        let table = buffer.table(root)?;
        let tag = buffer.scalar::<1>(&table, 2)?.map_or(TAG_NONE, |[tag]| tag);
        let message = match tag {
            TAG_NONE => Message::None,
            TAG_STREAM => Message::Stream(match buffer.reference(&table, 3)? {
                Some(position) => Some(Stream::read(&buffer, position)?),
                None => None,
            }),
            TAG_ACK => Message::Ack,
            other => Message::Other(other),
        };
        Ok(Self {
            txid: buffer.vector(&table, 0)?,
            topic: buffer.vector(&table, 1)?,
            message_id: buffer.vector(&table, 4)?,
            message,
        })
    }
}

/// Neither the payload nor the sender is printed.
impl std::fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope").field("message", &self.message).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Stream<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bytes = self.payload.len();
        f.debug_struct("Stream").field("payload_bytes", &bytes).finish_non_exhaustive()
    }
}

impl<'a> Stream<'a> {
    fn read(buffer: &Buffer<'a>, position: usize) -> Result<Self, Malformed> {
        let table = buffer.table(position)?;
        Ok(Self {
            created_at: buffer.scalar(&table, 0)?.map_or(0, u32::from_le_bytes),
            sender_id: buffer.vector(&table, 1)?,
            payload: buffer.vector(&table, 2)?,
            device_type: buffer.vector(&table, 3)?,
            device_id: buffer.vector(&table, 4)?,
            delivered_at_epoch_ms: buffer.scalar(&table, 5)?.map_or(0, u64::from_le_bytes),
        })
    }
}

/// Reads a FlatBuffer; every access is checked.
struct Buffer<'a> {
    bytes: &'a [u8],
}

/// A table whose own bytes and whose vtable lie inside the buffer.
struct Table<'a> {
    position: usize,
    /// The table's own bytes, the offset to the vtable included.
    bytes: usize,
    /// The vtable's slots, 2 bytes each.
    slots: &'a [u8],
}

impl<'a> Buffer<'a> {
    fn table(&self, position: usize) -> Result<Table<'a>, Malformed> {
        let to_vtable = i64::from(i32::from_le_bytes(self.array(position)?));
        let vtable = usize::try_from(position as i64 - to_vtable)
            .map_err(|_| malformed(position, "a vtable inside the buffer"))?;
        let vtable_bytes = usize::from(u16::from_le_bytes(self.array(vtable)?));
        let bytes = usize::from(u16::from_le_bytes(self.array(vtable + 2)?));
        if vtable_bytes < 4 || !vtable_bytes.is_multiple_of(2) {
            return Err(malformed(vtable, "a vtable of at least 4 bytes, an even number"));
        }
        if bytes < 4 {
            return Err(malformed(vtable + 2, "a table of at least 4 bytes"));
        }
        self.slice(position, bytes)?;
        Ok(Table { position, bytes, slots: &self.slice(vtable, vtable_bytes)?[4..] })
    }

    /// The place of a field of `size` bytes; `None` where the table doesn't have it.
    fn field(&self, table: &Table<'_>, slot: usize, size: usize) -> Result<Option<usize>, Malformed> {
        let Some(&[low, high]) = table.slots.get(slot * 2..slot * 2 + 2) else {
            return Ok(None);
        };
        let offset = usize::from(u16::from_le_bytes([low, high]));
        if offset == 0 {
            return Ok(None);
        }
        if offset < 4 || offset + size > table.bytes {
            return Err(malformed(table.position, "fields inside their table"));
        }
        Ok(Some(table.position + offset))
    }

    fn scalar<const N: usize>(&self, table: &Table<'_>, slot: usize) -> Result<Option<[u8; N]>, Malformed> {
        self.field(table, slot, N)?.map(|position| self.array(position)).transpose()
    }

    /// Where the offset in a field points.
    fn reference(&self, table: &Table<'_>, slot: usize) -> Result<Option<usize>, Malformed> {
        self.field(table, slot, 4)?.map(|position| self.offset_at(position)).transpose()
    }

    fn vector(&self, table: &Table<'_>, slot: usize) -> Result<&'a [u8], Malformed> {
        let Some(position) = self.reference(table, slot)? else {
            return Ok(b"");
        };
        let length = u32::from_le_bytes(self.array(position)?) as usize;
        self.slice(position + 4, length)
    }

    /// Where the unsigned offset at `position` points: always forward.
    fn offset_at(&self, position: usize) -> Result<usize, Malformed> {
        let offset = u32::from_le_bytes(self.array(position)?) as usize;
        if offset < 4 || offset > self.bytes.len() {
            return Err(malformed(position, "an offset that stays inside the buffer"));
        }
        Ok(position + offset)
    }

    fn array<const N: usize>(&self, position: usize) -> Result<[u8; N], Malformed> {
        self.bytes
            .get(position..)
            .and_then(|rest| rest.first_chunk::<N>())
            .copied()
            .ok_or(malformed(position, "a field inside the buffer"))
    }

    fn slice(&self, position: usize, length: usize) -> Result<&'a [u8], Malformed> {
        let end = position.checked_add(length);
        end.and_then(|end| self.bytes.get(position..end))
            .ok_or(malformed(position, "a length inside the buffer"))
    }
}

fn malformed(offset: usize, rule: &'static str) -> Malformed {
    Malformed { what: "envelope", rule, offset }
}

/// Appends the ack of a message: its txid and topic, tag 5 and an empty table (which a reader that expects the reference server's
/// empty byte vector reads as one).
pub fn encode_ack(txid: &[u8], topic: &[u8], out: &mut Vec<u8>) {
    let mut writer = Writer::begin(out, TAG_ACK);
    writer.vector(TXID_FIELD, txid);
    writer.vector(TOPIC_FIELD, topic);
    writer.empty_table(MESSAGE_FIELD);
}

/// Appends the error envelope: the txid, no topic, and a stream whose payload is [`ERROR_TEXT`].
pub fn encode_error(txid: &[u8], out: &mut Vec<u8>) {
    let mut writer = Writer::begin(out, TAG_STREAM);
    writer.vector(TXID_FIELD, txid);
    writer.stream(&Stream { payload: ERROR_TEXT, ..Stream::default() });
}

/// Appends a vehicle's message.
pub fn encode_stream(txid: &[u8], topic: &[u8], message_id: &[u8], stream: &Stream<'_>, out: &mut Vec<u8>) {
    let mut writer = Writer::begin(out, TAG_STREAM);
    writer.vector(TXID_FIELD, txid);
    writer.vector(TOPIC_FIELD, topic);
    if !message_id.is_empty() {
        writer.vector(MESSAGE_ID_FIELD, message_id);
    }
    writer.stream(stream);
}

/// Places of the envelope table's fields, from the buffer's start; the table begins at [`TABLE`].
const VTABLE: usize = 4;
const TABLE: usize = 20;
const TXID_FIELD: usize = TABLE + 4;
const TOPIC_FIELD: usize = TABLE + 8;
const MESSAGE_FIELD: usize = TABLE + 12;
const MESSAGE_ID_FIELD: usize = TABLE + 16;
const TAG_FIELD: usize = TABLE + 20;
const TABLE_BYTES: usize = 24;

/// Writes an envelope front to back: offsets point forward, so each table comes before what it refers to. The vtable of the envelope
/// names each reference only once it is written, so that an absent field is really absent.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Where the buffer begins in `out`; alignment counts from here.
    start: usize,
}

impl<'o> Writer<'o> {
    fn begin(out: &'o mut Vec<u8>, tag: u8) -> Self {
        let start = out.len();
        out.resize(start + TABLE + TABLE_BYTES, 0);
        let mut writer = Self { out, start };
        writer.put(0, &(TABLE as u32).to_le_bytes());
        writer.put(VTABLE, &14_u16.to_le_bytes());
        writer.put(VTABLE + 2, &(TABLE_BYTES as u16).to_le_bytes());
        writer.put(TABLE, &((TABLE - VTABLE) as i32).to_le_bytes());
        writer.slot(2, TAG_FIELD);
        writer.put(TAG_FIELD, &[tag]);
        writer
    }

    fn put(&mut self, position: usize, bytes: &[u8]) {
        let position = self.start + position;
        self.out[position..position + bytes.len()].copy_from_slice(bytes);
    }

    fn position(&self) -> usize {
        self.out.len() - self.start
    }

    fn align(&mut self, alignment: usize) {
        let aligned = self.position().next_multiple_of(alignment);
        self.out.resize(self.start + aligned, 0);
    }

    fn slot(&mut self, slot: usize, field: usize) {
        self.put(VTABLE + 4 + slot * 2, &((field - TABLE) as u16).to_le_bytes());
    }

    /// Lets an envelope's field refer to what is written next.
    fn refer(&mut self, field: usize, target: usize) {
        let slot = match field {
            TXID_FIELD => 0,
            TOPIC_FIELD => 1,
            MESSAGE_FIELD => 3,
            _ => 4,
        };
        self.slot(slot, field);
        self.put(field, &((target - field) as u32).to_le_bytes());
    }

    fn vector(&mut self, field: usize, bytes: &[u8]) {
        self.align(4);
        self.refer(field, self.position());
        self.bytes(bytes);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).expect("no message comes near 4 GiB");
        self.out.extend_from_slice(&length.to_le_bytes());
        self.out.extend_from_slice(bytes);
    }

    fn empty_table(&mut self, field: usize) {
        self.align(4);
        // The vtable (its own size, the table's size) stands 4 bytes before the table.
        self.out.extend_from_slice(&[4, 0, 4, 0]);
        self.refer(field, self.position());
        self.out.extend_from_slice(&4_i32.to_le_bytes());
    }

    fn stream(&mut self, stream: &Stream<'_>) {
        const VTABLE_BYTES: usize = 16;
        const STREAM_BYTES: usize = 32;
        let vectors = [stream.sender_id, stream.payload, stream.device_type, stream.device_id];
        self.align(8);
        let table = self.position() + VTABLE_BYTES;
        self.out.extend_from_slice(&(VTABLE_BYTES as u16).to_le_bytes());
        self.out.extend_from_slice(&(STREAM_BYTES as u16).to_le_bytes());
        // In the table: offset to the vtable 0, created_at 4, delivered_at 8, the four vectors from 16 on.
        let present = [
            (stream.created_at != 0, 4_u16),
            (!vectors[0].is_empty(), 16),
            (!vectors[1].is_empty(), 20),
            (!vectors[2].is_empty(), 24),
            (!vectors[3].is_empty(), 28),
            (stream.delivered_at_epoch_ms != 0, 8),
        ];
        for (is_present, offset) in present {
            let offset = if is_present { offset } else { 0 };
            self.out.extend_from_slice(&offset.to_le_bytes());
        }
        self.out.resize(self.start + table + STREAM_BYTES, 0);
        self.refer(MESSAGE_FIELD, table);
        self.put(table, &(VTABLE_BYTES as i32).to_le_bytes());
        self.put(table + 4, &stream.created_at.to_le_bytes());
        self.put(table + 8, &stream.delivered_at_epoch_ms.to_le_bytes());
        for (index, bytes) in vectors.into_iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
            self.align(4);
            let field = table + 16 + index * 4;
            let target = self.position();
            self.put(field, &((target - field) as u32).to_le_bytes());
            self.bytes(bytes);
        }
    }
}
