//! The three tables and their columns: one list each, from which the Delta schema, the Parquet schema and the
//! query schema come.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use model::CenterName;
use object_store::path::Path;
use serde_json::json;

/// A table that the lake writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    Signals = 0,
    Positions = 1,
    Events = 2,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Time,
    Double,
    Integer,
    Boolean,
}

/// A column of a table.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) nullable: bool,
    pub(crate) comment: &'static str,
}

const fn column(name: &'static str, kind: Kind, nullable: bool, comment: &'static str) -> Column {
    Column { name, kind, nullable, comment }
}

const VEHICLE: Column = column("vehicle", Kind::Text, false, "the vehicle's pseudonym");
const SOURCE: Column = column("source", Kind::Text, false, "the protocol that it came by");
const RECEIVED_AT: Column =
    column("received_at", Kind::Time, false, "when the center read its last byte, UTC");

static SIGNALS: [Column; 8] = [
    VEHICLE,
    column("time", Kind::Time, false, "when the vehicle measured it, by its own clock, UTC"),
    column("signal", Kind::Text, false, "COVESA VSS path, or the maker's own name"),
    column(
        "value",
        Kind::Double,
        true,
        "the number in the signal's unit; booleans 0 or 1, enumerations their number",
    ),
    column("text", Kind::Text, true, "the text, the enumeration's name, or an array's JSON"),
    column("quality", Kind::Text, false, "valid, invalid, abnormal, or clock (the vehicle's clock is ahead)"),
    SOURCE,
    RECEIVED_AT,
];

static POSITIONS: [Column; 9] = [
    VEHICLE,
    column("time", Kind::Time, false, "when the vehicle was there, by its own clock, UTC"),
    column("latitude", Kind::Double, true, "degrees north, WGS-84"),
    column("longitude", Kind::Double, true, "degrees east, WGS-84"),
    column("heading", Kind::Double, true, "degrees clockwise from north"),
    column("speed", Kind::Double, true, "km/h"),
    column("valid", Kind::Boolean, false, "whether the vehicle calls its own position valid"),
    SOURCE,
    RECEIVED_AT,
];

static EVENTS: [Column; 9] = [
    VEHICLE,
    column(
        "time",
        Kind::Time,
        false,
        "when it began, by the vehicle's clock (the center's for connections), UTC",
    ),
    column(
        "kind",
        Kind::Text,
        false,
        "alert, alarm, error, login, logout, connected, disconnected, refused, ...",
    ),
    column("code", Kind::Text, false, "the maker's name or number for it"),
    column("level", Kind::Integer, true, "severity where the protocol has one"),
    column("ended_at", Kind::Time, true, "when it ended, where that is known, UTC"),
    column("detail", Kind::Text, true, "further detail, one JSON object"),
    SOURCE,
    RECEIVED_AT,
];

impl Table {
    pub(crate) const ALL: [Self; 3] = [Self::Signals, Self::Positions, Self::Events];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Signals => "signals",
            Self::Positions => "positions",
            Self::Events => "events",
        }
    }

    /// The table's folder in the store, under a center's prefix.
    pub(crate) fn folder(self, center: &CenterName) -> Path {
        Path::from_iter([center.as_str(), "lake", self.name()])
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn columns(self) -> &'static [Column] {
        match self {
            Self::Signals => &SIGNALS,
            Self::Positions => &POSITIONS,
            Self::Events => &EVENTS,
        }
    }

    /// The columns as queries see them.
    pub(crate) fn query_schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 3]> =
            LazyLock::new(|| Table::ALL.map(|table| Arc::new(schema_of(table, &DataType::Utf8View))));
        SCHEMAS[self.index()].clone()
    }

    /// The columns as they are handed to the Parquet writer: texts as dictionaries, which it writes as plain
    /// strings.
    pub(crate) fn file_schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 3]> = LazyLock::new(|| {
            let text = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
            Table::ALL.map(|table| Arc::new(schema_of(table, &text)))
        });
        SCHEMAS[self.index()].clone()
    }

    /// The schema as Delta's metadata holds it (Delta protocol, "Schema Serialization Format").
    pub(crate) fn delta_schema(self) -> String {
        let fields: Vec<_> = self
            .columns()
            .iter()
            .map(|column| {
                json!({
                    "name": column.name,
                    "type": column.kind.delta_name(),
                    "nullable": column.nullable,
                    "metadata": { "comment": column.comment },
                })
            })
            .collect();
        json!({ "type": "struct", "fields": fields }).to_string()
    }
}

impl Kind {
    fn delta_name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Time => "timestamp",
            Self::Double => "double",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
        }
    }
}

/// Microseconds in UTC, as all times in the tables are.
pub(crate) fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn schema_of(table: Table, text: &DataType) -> Schema {
    let fields: Vec<Field> = table
        .columns()
        .iter()
        .map(|column| {
            let datatype = match column.kind {
                Kind::Text => text.clone(),
                Kind::Time => time_type(),
                Kind::Double => DataType::Float64,
                Kind::Integer => DataType::Int32,
                Kind::Boolean => DataType::Boolean,
            };
            Field::new(column.name, datatype, column.nullable)
        })
        .collect();
    Schema::new(fields)
}
