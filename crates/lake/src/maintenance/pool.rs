//! Rows of several files in memory, column by column, to be put in order and written again.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, Int32Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float64Type, Int32Type, TimestampMicrosecondType};
use arrow::error::ArrowError;

use crate::schema::{Kind, Table};

/// A text that a row does not have.
const NONE: i32 = -1;

/// Rows of one time of one vehicle (and signal) that a row is compared with, to find it a second time. A frame has hundreds at
/// most; more are kept unlooked at rather than compared for long.
const SAME_TIME_ROWS_MAX: usize = 512;

/// Rows of one table.
pub(super) struct Pool {
    table: Table,
    columns: Vec<Values>,
    rows: usize,
}

enum Values {
    Text { numbers: Vec<i32>, words: Words },
    Time(Vec<Option<i64>>),
    Double(Vec<Option<f64>>),
    Integer(Vec<Option<i32>>),
    Boolean(Vec<bool>),
}

/// Texts, each once.
#[derive(Default)]
struct Words {
    list: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, i32>,
}

impl Words {
    fn number(&mut self, word: &str) -> i32 {
        if let Some(number) = self.numbers.get(word) {
            return *number;
        }
        let word: Arc<str> = word.into();
        let number = self.list.len() as i32;
        self.list.push(word.clone());
        self.numbers.insert(word, number);
        number
    }

    /// For each word its place in their order.
    fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.list.len() as u32).collect();
        order.sort_unstable_by_key(|word| &self.list[*word as usize]);
        let mut ranks = vec![0; order.len()];
        for (rank, word) in order.into_iter().enumerate() {
            ranks[word as usize] = rank as u32;
        }
        ranks
    }
}

impl Pool {
    pub(super) fn new(table: Table) -> Self {
        let empty = |kind: Kind| match kind {
            Kind::Text => Values::Text { numbers: Vec::new(), words: Words::default() },
            Kind::Time => Values::Time(Vec::new()),
            Kind::Double => Values::Double(Vec::new()),
            Kind::Integer => Values::Integer(Vec::new()),
            Kind::Boolean => Values::Boolean(Vec::new()),
        };
        let columns = table.columns().iter().map(|column| empty(column.kind)).collect();
        Self { table, columns, rows: 0 }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Takes in rows as the reader gives them: texts as dictionaries.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<(), String> {
        for (column, values) in self.table.columns().iter().zip(&mut self.columns) {
            let wrong = || format!("column {} is missing or of another type", column.name);
            let array = batch.column_by_name(column.name).ok_or_else(wrong)?;
            values.extend(array).ok_or_else(wrong)?;
        }
        self.rows += batch.num_rows();
        Ok(())
    }

    /// A column of times.
    pub(super) fn times(&self, name: &str) -> &[Option<i64>] {
        match self.column(name) {
            Some(Values::Time(times)) => times,
            _ => &[],
        }
    }

    /// The signal of each row of `signals`, by number, and the signals.
    pub(super) fn signals(&self) -> (&[i32], &[Arc<str>]) {
        self.texts("signal")
    }

    /// The vehicle of each row, by number, and the vehicles.
    pub(super) fn vehicles(&self) -> (&[i32], &[Arc<str>]) {
        self.texts("vehicle")
    }

    fn texts(&self, name: &str) -> (&[i32], &[Arc<str>]) {
        match self.column(name) {
            Some(Values::Text { numbers, words }) => (numbers, &words.list),
            _ => (&[], &[]),
        }
    }

    /// The rows in a file's order (vehicle, signal where there is one, time, receipt), each once.
    pub(super) fn order(&self, keeps: impl Fn(usize) -> bool) -> Vec<u32> {
        let ranks = |name: &str| match self.column(name) {
            Some(Values::Text { numbers, words }) => Some((numbers, words.ranks())),
            _ => None,
        };
        let (vehicles, signals) = (ranks("vehicle"), ranks("signal"));
        let rank = |ranks: &Option<(&Vec<i32>, Vec<u32>)>, row: usize| {
            let rank = |(numbers, ranks): &(&Vec<i32>, Vec<u32>)| ranks.get(numbers[row] as usize).copied();
            u64::from(ranks.as_ref().and_then(rank).unwrap_or(0))
        };
        let (times, received) = (self.times("time"), self.times("received_at"));
        let at = |times: &[Option<i64>], row: usize| times[row].unwrap_or(0);
        let mut keys: Vec<(u64, i64, i64, u32)> = (0..self.rows)
            .filter(|row| keeps(*row))
            .map(|row| {
                let place = rank(&vehicles, row) << 32 | rank(&signals, row);
                (place, at(times, row), at(received, row), row as u32)
            })
            .collect();
        keys.sort_unstable();
        let mut order: Vec<u32> = Vec::with_capacity(keys.len());
        let (mut last, mut start) = (None, 0);
        for (place, time, _, row) in keys {
            if last != Some((place, time)) {
                (last, start) = (Some((place, time)), order.len());
            }
            let compared = &order[start.max(order.len().saturating_sub(SAME_TIME_ROWS_MAX))..];
            if !compared.iter().any(|earlier| self.say_the_same(*earlier as usize, row as usize)) {
                order.push(row);
            }
        }
        order
    }

    /// Whether most of some rows are as long after the row before them as that one is after its own.
    pub(super) fn is_steady(&self, order: &[u32]) -> bool {
        let times = self.times("time");
        let apart = |a: u32, b: u32| Some(times[b as usize]?.wrapping_sub(times[a as usize]?));
        let steady =
            order.windows(3).filter(|rows| apart(rows[0], rows[1]) == apart(rows[1], rows[2])).count();
        steady * 2 > order.len()
    }

    /// Whether two rows of one vehicle, signal and time are one, sent twice: then they differ at most in how and when they came,
    /// and, where they have a value, in its quality.
    fn say_the_same(&self, a: usize, b: usize) -> bool {
        let has_value = match self.column("value") {
            Some(Values::Double(values)) => values[a].is_some(),
            _ => false,
        };
        self.table.columns().iter().zip(&self.columns).all(|(column, values)| match column.name {
            "source" | "received_at" => true,
            "quality" if has_value => true,
            _ => values.are_equal(a, b),
        })
    }

    /// Rows as columns of the table's file schema.
    pub(super) fn batch(&self, rows: &[u32]) -> Result<RecordBatch, ArrowError> {
        let arrays = self.columns.iter().map(|values| values.array(rows)).collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(self.table.file_schema(), arrays)
    }

    fn column(&self, name: &str) -> Option<&Values> {
        let place = self.table.columns().iter().position(|column| column.name == name)?;
        self.columns.get(place)
    }
}

impl Values {
    /// `None` where the array is of another type.
    fn extend(&mut self, array: &ArrayRef) -> Option<()> {
        match self {
            Self::Text { numbers, words } => {
                let dictionary = array.as_dictionary_opt::<Int32Type>()?;
                let values = dictionary.values().as_string_opt::<i32>()?;
                let mut known: Vec<Option<i32>> = vec![None; values.len()];
                numbers.extend(dictionary.keys().iter().map(|key| {
                    let key = key.map_or(usize::MAX, |key| key as usize);
                    match known.get_mut(key) {
                        Some(number) => *number.get_or_insert_with(|| words.number(values.value(key))),
                        None => NONE,
                    }
                }));
            }
            Self::Time(times) => times.extend(array.as_primitive_opt::<TimestampMicrosecondType>()?.iter()),
            Self::Double(values) => values.extend(array.as_primitive_opt::<Float64Type>()?.iter()),
            Self::Integer(values) => values.extend(array.as_primitive_opt::<Int32Type>()?.iter()),
            Self::Boolean(values) => {
                values.extend(array.as_boolean_opt()?.iter().map(|value| value == Some(true)));
            }
        }
        Some(())
    }

    fn are_equal(&self, a: usize, b: usize) -> bool {
        match self {
            Self::Text { numbers, .. } => numbers[a] == numbers[b],
            Self::Time(times) => times[a] == times[b],
            Self::Double(values) => values[a] == values[b],
            Self::Integer(values) => values[a] == values[b],
            Self::Boolean(values) => values[a] == values[b],
        }
    }

    fn array(&self, rows: &[u32]) -> Result<ArrayRef, ArrowError> {
        let at = |row: &u32| *row as usize;
        Ok(match self {
            Self::Text { numbers, words } => {
                // Only the words of these rows: the writer looks at each word of a dictionary.
                let mut places: Vec<i32> = vec![NONE; words.list.len()];
                let mut list: Vec<&str> = Vec::new();
                let keys: Int32Array = rows
                    .iter()
                    .map(|row| {
                        let number = numbers[at(row)];
                        let place = places.get_mut(number as usize)?;
                        if *place == NONE {
                            *place = list.len() as i32;
                            list.push(&words.list[number as usize]);
                        }
                        Some(*place)
                    })
                    .collect();
                let values = Arc::new(StringArray::from_iter_values(list));
                Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values)?)
            }
            Self::Time(times) => {
                let times = rows.iter().map(|row| times[at(row)]);
                Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
            }
            Self::Double(values) => {
                Arc::new(rows.iter().map(|row| values[at(row)]).collect::<Float64Array>())
            }
            Self::Integer(values) => Arc::new(rows.iter().map(|row| values[at(row)]).collect::<Int32Array>()),
            Self::Boolean(values) => {
                Arc::new(rows.iter().map(|row| Some(values[at(row)])).collect::<BooleanArray>())
            }
        })
    }
}
