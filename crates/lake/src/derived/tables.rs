//! The derived tables and their columns.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::schema::time_type;

/// A derived table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum DerivedTable {
    Trips,
    Charges,
    States,
    Battery,
    Gaps,
    Daily,
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn time(name: &str) -> Field {
    Field::new(name, time_type(), false)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

fn count(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

impl DerivedTable {
    pub(crate) const ALL: [Self; 6] =
        [Self::Trips, Self::Charges, Self::States, Self::Battery, Self::Gaps, Self::Daily];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Trips => "trips",
            Self::Charges => "charges",
            Self::States => "states",
            Self::Battery => "battery",
            Self::Gaps => "gaps",
            Self::Daily => "daily",
        }
    }

    /// Whether its rows are of single vehicles.
    pub(crate) fn has_vehicles(self) -> bool {
        self != Self::Daily
    }

    /// Its columns, as files and queries have them.
    pub(crate) fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 6]> =
            LazyLock::new(|| DerivedTable::ALL.map(|table| Arc::new(Schema::new(table.columns()))));
        SCHEMAS[self as usize].clone()
    }

    fn columns(self) -> Vec<Field> {
        match self {
            Self::Trips => vec![
                text("vehicle"),
                time("started_at"),
                time("ended_at"),
                number("distance"),
                number("energy"),
                number("soc_start"),
                number("soc_end"),
                number("speed_max"),
                Field::new("private", DataType::Boolean, true),
            ],
            Self::Charges => vec![
                text("vehicle"),
                time("started_at"),
                time("ended_at"),
                number("energy"),
                number("soc_start"),
                number("soc_end"),
                number("power_max"),
                Field::new("kind", DataType::Utf8, true),
                Field::new("curve", DataType::Utf8, true),
            ],
            Self::States => vec![text("vehicle"), time("began_at"), time("ended_at"), text("state")],
            Self::Battery => {
                vec![
                    text("vehicle"),
                    time("time"),
                    number("odometer"),
                    number("capacity"),
                    number("soc_rise"),
                ]
            }
            Self::Gaps => vec![
                text("vehicle"),
                time("day"),
                count("rows"),
                number("cadence"),
                count("gaps"),
                number("missing"),
                number("longest"),
                number("distance"),
                count("lost_signals"),
                Field::new("lost", DataType::Utf8, true),
                count("late_rows"),
                number("latest"),
            ],
            Self::Daily => vec![
                time("day"),
                text("source"),
                count("vehicles"),
                count("rows"),
                count("trips"),
                number("distance"),
                number("energy"),
                count("charges"),
                number("charged"),
                Field::new("owners", DataType::Int64, true),
            ],
        }
    }
}
