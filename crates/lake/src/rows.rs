//! Rows in memory, column by column, before they are in a file. A slab grows by appending only; nothing is
//! allocated for a row.

use model::{Event, Position, Protocol, Quality, Reading, Sequence, UtcMicros, VehicleId};

use crate::schema::Table;

/// What all rows of a frame share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameRow {
    pub(crate) sequence: Sequence,
    pub(crate) vehicle: VehicleId,
    pub(crate) source: Protocol,
    pub(crate) received_at: UtcMicros,
}

/// Where a text lies in its slab's arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    length: u32,
}

impl Span {
    const NONE: Self = Self { start: u32::MAX, length: 0 };
}

/// The rows of `signals`, a vector a column.
#[derive(Default)]
pub(crate) struct SignalRows {
    pub(crate) frame: Vec<u32>,
    pub(crate) time: Vec<i64>,
    pub(crate) signal: Vec<u16>,
    /// Not a number where the row has none.
    pub(crate) value: Vec<f64>,
    pub(crate) text: Vec<Span>,
    pub(crate) quality: Vec<Quality>,
}

/// A row of `positions`.
pub(crate) struct PositionRow {
    pub(crate) frame: u32,
    pub(crate) position: Position,
}

/// A row of `events`.
pub(crate) struct EventRow {
    pub(crate) frame: u32,
    pub(crate) time: UtcMicros,
    pub(crate) kind: Span,
    pub(crate) code: Span,
    pub(crate) level: Option<i32>,
    pub(crate) ended_at: Option<UtcMicros>,
    pub(crate) detail: Span,
}

/// Some frames' rows of all three tables.
#[derive(Default)]
pub(crate) struct Slab {
    pub(crate) frames: Vec<FrameRow>,
    pub(crate) signals: SignalRows,
    pub(crate) positions: Vec<PositionRow>,
    pub(crate) events: Vec<EventRow>,
    texts: String,
}

impl Slab {
    /// A slab is closed at so many rows: large enough that its fixed cost does not count, small enough that a
    /// query's view of it is quickly built.
    pub(crate) const ROWS_MAX: usize = 1 << 16;

    /// Texts of a slab end here, so that a span's numbers always suffice.
    const TEXT_BYTES_MAX: usize = 64 << 20;

    /// Begins a frame; the rows that follow are its.
    pub(crate) fn begin_frame(&mut self, frame: FrameRow) {
        self.frames.push(frame);
    }

    pub(crate) fn push_reading(&mut self, reading: &Reading<'_>) {
        let text = self.keep(reading.text);
        let rows = &mut self.signals;
        rows.frame.push((self.frames.len() - 1) as u32);
        rows.time.push(reading.time.0);
        rows.signal.push(reading.signal.0);
        rows.value.push(reading.value.unwrap_or(f64::NAN));
        rows.text.push(text);
        rows.quality.push(reading.quality);
    }

    pub(crate) fn push_position(&mut self, position: Position) {
        self.positions.push(PositionRow { frame: (self.frames.len() - 1) as u32, position });
    }

    pub(crate) fn push_event(&mut self, event: &Event<'_>) {
        let kind = self.keep(Some(event.kind));
        let code = self.keep(Some(event.code));
        let detail = self.keep(event.detail);
        self.events.push(EventRow {
            frame: (self.frames.len() - 1) as u32,
            time: event.time,
            kind,
            code,
            level: event.level,
            ended_at: event.ended_at,
            detail,
        });
    }

    /// The text of a span, `None` where the row has none.
    pub(crate) fn text(&self, span: Span) -> Option<&str> {
        let start = span.start as usize;
        (span != Span::NONE).then(|| &self.texts[start..start + span.length as usize])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    pub(crate) fn is_full(&self) -> bool {
        self.rows() >= Self::ROWS_MAX || self.texts.len() >= Self::TEXT_BYTES_MAX
    }

    /// Rows of all three tables.
    pub(crate) fn rows(&self) -> usize {
        self.signals.time.len() + self.positions.len() + self.events.len()
    }

    /// Rows of one table.
    pub(crate) fn rows_of(&self, table: Table) -> usize {
        match table {
            Table::Signals => self.signals.time.len(),
            Table::Positions => self.positions.len(),
            Table::Events => self.events.len(),
        }
    }

    /// Memory held, by capacity.
    pub(crate) fn bytes(&self) -> usize {
        const SIGNAL_ROW_BYTES: usize = 4 + 8 + 2 + 8 + size_of::<Span>() + 1;
        self.frames.capacity() * size_of::<FrameRow>()
            + self.signals.time.capacity() * SIGNAL_ROW_BYTES
            + self.positions.capacity() * size_of::<PositionRow>()
            + self.events.capacity() * size_of::<EventRow>()
            + self.texts.capacity()
    }

    /// Empties it and keeps its memory for the next rows.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
        let rows = &mut self.signals;
        rows.frame.clear();
        rows.time.clear();
        rows.signal.clear();
        rows.value.clear();
        rows.text.clear();
        rows.quality.clear();
        self.positions.clear();
        self.events.clear();
        self.texts.clear();
    }

    fn keep(&mut self, text: Option<&str>) -> Span {
        let Some(text) = text else { return Span::NONE };
        let start = self.texts.len();
        if start + text.len() >= u32::MAX as usize {
            // One frame would have to hold 4 GiB of texts; its bytes are limited to far less.
            return Span::NONE;
        }
        self.texts.push_str(text);
        Span { start: start as u32, length: text.len() as u32 }
    }
}

/// Brings a reading into the form that the tables promise: a value is a finite number, and only readings that
/// may have one do.
pub(crate) fn settled(reading: Reading<'_>) -> Reading<'_> {
    match (reading.value, reading.quality) {
        (Some(value), _) if !value.is_finite() => {
            Reading { value: None, quality: Quality::Abnormal, ..reading }
        }
        (Some(_), Quality::Invalid | Quality::Abnormal) => Reading { value: None, ..reading },
        _ => reading,
    }
}

/// Keeps a position's numbers only where they are numbers.
pub(crate) fn settled_position(position: Position) -> Position {
    let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
    Position {
        latitude: finite(position.latitude),
        longitude: finite(position.longitude),
        heading: finite(position.heading),
        speed: finite(position.speed),
        ..position
    }
}
