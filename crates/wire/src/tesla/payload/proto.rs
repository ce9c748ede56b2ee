//! The protobuf wire format (proto3), borrowed.

use model::UtcMicros;

use crate::Malformed;

/// What is malformed, in 8 bytes: results are returned in registers on the way that every message takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fault {
    rule: Rule,
    /// Where in the payload; a payload is far shorter than 4 GiB.
    offset: u32,
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    FieldNumber,
    WireType,
    Varint,
    Fixed,
    Length,
    OwnType,
    Text,
}

impl Fault {
    #[cold]
    fn new(rule: Rule, offset: usize) -> Self {
        Self { rule, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
    }
}

impl From<Fault> for Malformed {
    fn from(fault: Fault) -> Self {
        let rule = match fault.rule {
            Rule::FieldNumber => "a field number from 1 to 536,870,911",
            Rule::WireType => "a wire type of proto3",
            Rule::Varint => "a whole varint of at most 10 bytes",
            Rule::Fixed => "a whole fixed number",
            Rule::Length => "a length inside its message",
            Rule::OwnType => "the wire type of the field's own type",
            Rule::Text => "text in UTF-8",
        };
        Self { what: "payload", rule, offset: fault.offset as usize }
    }
}

/// A message's bytes and where they begin in the payload.
#[derive(Clone, Copy)]
pub(super) struct Span<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) offset: usize,
}

/// A field's value as the wire has it.
#[derive(Clone, Copy)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(Span<'a>),
    Fixed32([u8; 4]),
}

/// A field: its number, its value, and where it begins in the payload.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    wire: Wire<'a>,
    offset: usize,
}

/// The fields of a message in the order in which they stand.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    position: usize,
    offset: usize,
}

/// The largest field number (protobuf's specification).
const NUMBER_MAX: u64 = (1 << 29) - 1;

/// Seconds from here on are milliseconds: some firmware writes them there. As seconds it would be the year 11970, beyond what a
/// timestamp may hold.
const MILLISECONDS_FROM: i64 = 315_576_000_000;

/// The seconds that a timestamp may hold: up to the end of the year 9999.
const SECONDS_MAX: i64 = 253_402_300_799;

impl<'a> Span<'a> {
    pub(super) fn whole(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(super) fn fields(self) -> Fields<'a> {
        Fields { bytes: self.bytes, position: 0, offset: self.offset }
    }

    #[inline(always)]
    pub(super) fn text(self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes)
            .map_err(|error| Fault::new(Rule::Text, self.offset + error.valid_up_to()))
    }
}

impl<'a> Fields<'a> {
    /// The next field; `None` at the message's end.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, Fault> {
        if self.position >= self.bytes.len() {
            return Ok(None);
        }
        let offset = self.offset + self.position;
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > NUMBER_MAX {
            return Err(Fault::new(Rule::FieldNumber, offset));
        }
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(self.array()?),
            2 => Wire::Bytes(self.span()?),
            5 => Wire::Fixed32(self.array()?),
            _ => return Err(Fault::new(Rule::WireType, offset)),
        };
        Ok(Some(Field { number: number as u32, wire, offset }))
    }

    /// The next number of a packed list; `None` at its end.
    pub(super) fn packed(&mut self) -> Result<Option<i32>, Fault> {
        if self.position >= self.bytes.len() {
            return Ok(None);
        }
        self.varint().map(|number| Some(number as i32))
    }

    /// Most varints take one byte; tags of enumerations and numbers of later fields take two.
    #[inline(always)]
    fn varint(&mut self) -> Result<u64, Fault> {
        match self.bytes[self.position..] {
            [byte, ..] if byte < 0x80 => {
                self.position += 1;
                Ok(u64::from(byte))
            }
            [low, high, ..] if high < 0x80 => {
                self.position += 2;
                Ok(u64::from(low & 0x7F) | u64::from(high) << 7)
            }
            _ => {
                let (value, length) = long_varint(&self.bytes[self.position..])
                    .ok_or_else(|| Fault::new(Rule::Varint, self.offset + self.position))?;
                self.position += length;
                Ok(value)
            }
        }
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let Some(array) = self.bytes[self.position..].first_chunk::<N>() else {
            return Err(Fault::new(Rule::Fixed, self.offset + self.position));
        };
        self.position += N;
        Ok(*array)
    }

    #[inline(always)]
    fn span(&mut self) -> Result<Span<'a>, Fault> {
        let start = self.position;
        let length = self.varint()?;
        let rest = &self.bytes[self.position..];
        let Some(bytes) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
            return Err(Fault::new(Rule::Length, self.offset + start));
        };
        let offset = self.offset + self.position;
        self.position += bytes.len();
        Ok(Span { bytes, offset })
    }
}

/// A varint of several bytes and how many it takes; `None` where it isn't whole.
fn long_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0_u64;
    for (index, &byte) in bytes.iter().take(10).enumerate() {
        // The tenth byte has room for one bit; what is above it falls off, as in other readers.
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte < 0x80 {
            return Some((value, index + 1));
        }
    }
    None
}

impl<'a> Field<'a> {
    #[inline(always)]
    pub(super) fn int64(&self) -> Result<i64, Fault> {
        match self.wire {
            Wire::Varint(value) => Ok(value as i64),
            _ => Err(self.mismatch()),
        }
    }

    /// An `int32` or an enumeration: the low 32 bits, as other readers take them.
    #[inline(always)]
    pub(super) fn int32(&self) -> Result<i32, Fault> {
        self.int64().map(|value| value as i32)
    }

    #[inline(always)]
    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        self.int64().map(|value| value != 0)
    }

    #[inline(always)]
    pub(super) fn float(&self) -> Result<f32, Fault> {
        match self.wire {
            Wire::Fixed32(bytes) => Ok(f32::from_le_bytes(bytes)),
            _ => Err(self.mismatch()),
        }
    }

    #[inline(always)]
    pub(super) fn double(&self) -> Result<f64, Fault> {
        match self.wire {
            Wire::Fixed64(bytes) => Ok(f64::from_le_bytes(bytes)),
            _ => Err(self.mismatch()),
        }
    }

    #[inline(always)]
    pub(super) fn span(&self) -> Result<Span<'a>, Fault> {
        match self.wire {
            Wire::Bytes(span) => Ok(span),
            _ => Err(self.mismatch()),
        }
    }

    #[inline(always)]
    pub(super) fn text(&self) -> Result<&'a str, Fault> {
        self.span()?.text()
    }

    /// A `google.protobuf.Timestamp`; `None` where it is zero or out of a timestamp's range, which is no time that a vehicle means.
    pub(super) fn timestamp(&self) -> Result<Option<UtcMicros>, Fault> {
        let mut fields = self.span()?.fields();
        let (mut seconds, mut nanos) = (0, 0);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => seconds = field.int64()?,
                2 => nanos = field.int32()?,
                _ => {}
            }
        }
        let micros = i64::from(nanos.clamp(0, 999_999_999) / 1_000);
        let whole = if seconds >= MILLISECONDS_FROM {
            if seconds / 1_000 > SECONDS_MAX {
                return Ok(None);
            }
            UtcMicros::from_millis(seconds)
        } else if (0..=SECONDS_MAX).contains(&seconds) && (seconds, nanos) != (0, 0) {
            UtcMicros::from_seconds(seconds)
        } else {
            return Ok(None);
        };
        Ok(Some(whole.plus_micros(micros)))
    }

    fn mismatch(&self) -> Fault {
        Fault::new(Rule::OwnType, self.offset)
    }
}

/// Appends a varint.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a varint field.
pub(super) fn put_number(out: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(out, u64::from(field) << 3);
    put_varint(out, value);
}

/// Appends a `float` field.
pub(super) fn put_float(out: &mut Vec<u8>, field: u32, value: f32) {
    put_varint(out, u64::from(field) << 3 | 5);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a `double` field.
pub(super) fn put_double(out: &mut Vec<u8>, field: u32, value: f64) {
    put_varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a text field, also an empty one.
pub(super) fn put_text(out: &mut Vec<u8>, field: u32, text: &str) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Appends a text field unless it is empty (proto3's default).
pub(super) fn put_text_unless_empty(out: &mut Vec<u8>, field: u32, text: &str) {
    if !text.is_empty() {
        put_text(out, field, text);
    }
}

/// Appends a message field whose fields `write` appends.
pub(super) fn put_message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, u64::from(field) << 3 | 2);
    let start = out.len();
    // Most messages are shorter than 128 bytes and take one byte of length; longer ones are moved.
    out.push(0);
    write(out);
    let length = out.len() - start - 1;
    if let Ok(short) = u8::try_from(length)
        && short < 0x80
    {
        out[start] = short;
        return;
    }
    let mut prefix = Vec::with_capacity(5);
    put_varint(&mut prefix, length as u64);
    out.splice(start..=start, prefix);
}

/// Appends a timestamp field.
pub(super) fn put_timestamp(out: &mut Vec<u8>, field: u32, time: UtcMicros) {
    put_message(out, field, |out| {
        let seconds = time.0.div_euclid(UtcMicros::PER_SECOND);
        let nanos = time.0.rem_euclid(UtcMicros::PER_SECOND) * 1_000;
        if seconds != 0 {
            put_number(out, 1, seconds as u64);
        }
        if nanos != 0 {
            put_number(out, 2, nanos as u64);
        }
    });
}
