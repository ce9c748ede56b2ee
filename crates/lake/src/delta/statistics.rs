//! A data file's statistics (PROTOCOL.md, "Per-file Statistics"): how many rows, and the range of the columns
//! that queries ask for.

use std::collections::BTreeMap;

use model::UtcMicros;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The least and the greatest value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bounds {
    /// Of a column of times, in microseconds.
    Time(i64, i64),
    /// Of a column of texts.
    Text(String, String),
}

/// What is known of a data file without opening it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileStatistics {
    pub(crate) rows: u64,
    pub(crate) bounds: BTreeMap<String, Bounds>,
    pub(crate) nulls: BTreeMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    num_records: u64,
    #[serde(default)]
    min_values: BTreeMap<String, Value>,
    #[serde(default)]
    max_values: BTreeMap<String, Value>,
    #[serde(default)]
    null_count: BTreeMap<String, Value>,
}

impl FileStatistics {
    /// The JSON that an `add` carries. Times are rounded outwards to whole milliseconds, which is what all
    /// readers understand, and left out where the year has not four digits.
    pub(crate) fn to_json(&self) -> String {
        let mut json = Json {
            num_records: self.rows,
            min_values: BTreeMap::new(),
            max_values: BTreeMap::new(),
            null_count: self.nulls.iter().map(|(name, count)| (name.clone(), Value::from(*count))).collect(),
        };
        for (name, bounds) in &self.bounds {
            let (least, greatest) = match bounds {
                Bounds::Text(least, greatest) => (Some(least.clone()), Some(greatest.clone())),
                Bounds::Time(least, greatest) => (
                    printed(least.div_euclid(1_000)),
                    printed(greatest.saturating_add(999).div_euclid(1_000)),
                ),
            };
            if let (Some(least), Some(greatest)) = (least, greatest) {
                json.min_values.insert(name.clone(), Value::from(least));
                json.max_values.insert(name.clone(), Value::from(greatest));
            }
        }
        serde_json::to_string(&json).expect("maps of texts and numbers are JSON")
    }

    /// Reads what [`Self::to_json`] wrote; columns of other kinds are passed over. `None` where it is no
    /// statistics at all.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let json: Json = serde_json::from_str(text).ok()?;
        let mut bounds = BTreeMap::new();
        for (name, least) in &json.min_values {
            let (Some(least), Some(greatest)) =
                (least.as_str(), json.max_values.get(name).and_then(Value::as_str))
            else {
                continue;
            };
            let known = match (parsed(least), parsed(greatest)) {
                (Some(least), Some(greatest)) => Bounds::Time(least, greatest),
                _ => Bounds::Text(least.to_owned(), greatest.to_owned()),
            };
            bounds.insert(name.clone(), known);
        }
        let nulls = json
            .null_count
            .iter()
            .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
            .collect();
        Some(Self { rows: json.num_records, bounds, nulls })
    }
}

/// `2026-11-23T10:00:00.123Z`.
fn printed(millis: i64) -> Option<String> {
    let instant = UtcMicros::from_millis(millis);
    let (year, month, day, hour, minute, second) = instant.civil();
    (0..=9_999).contains(&year).then(|| {
        format!(
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z",
            millis.rem_euclid(1_000)
        )
    })
}

/// The inverse of [`printed`]: the instant in microseconds.
fn parsed(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
    if bytes.len() != 24 || marks.iter().any(|(place, mark)| bytes[*place] != *mark) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i32>().ok();
    let part = |from: usize, to: usize| u8::try_from(number(from, to)?).ok();
    let second = UtcMicros::from_civil(
        number(0, 4)?,
        part(5, 7)?,
        part(8, 10)?,
        part(11, 13)?,
        part(14, 16)?,
        part(17, 19)?,
    )?;
    Some(second.plus_micros(i64::from(number(20, 23)?) * 1_000).0)
}
