//! Rows that two centers hold: a vehicle sent them to one, did not hear so, and sent them to another. Each shows once.
//!
//! A center writes only its own tables, so the second of two such rows stays where it is and is hidden from queries instead: the one
//! that was received later, at the same instant the one of the center whose name is greater. Both centers, and every other that
//! holds both tables, come to the same answer, because the rows themselves say when they were received. A row is hidden only while
//! the tables that hold the other one are here.
//!
//! [`Examiner`] finds them, file by file as files come; [`Doubles`] is what it found, for queries, and kept in the folder of
//! projections, so that a start does not read all files again. If that is deleted, it does.

mod compare;
mod examiner;
mod examining;
mod record;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use model::{CenterName, Quality};
use parking_lot::RwLock;

use crate::delta::DataFile;
use crate::identity::{Columns, each_row};
use crate::schema::Table;
use crate::seen::{Digest, Key};
use crate::terms::received;

pub(crate) use examiner::Examiner;
pub(crate) use examining::Examining;
pub(crate) use record::FOLDER;

/// How rows of `signals` are told apart here.
fn of_path(path: &str, value: Option<f64>, text: Option<&str>, quality: Quality) -> Option<Digest> {
    Some(Digest::of_path(path, value, text, quality))
}

/// A row that doesn't show: when it was received, what it says, where it lies and where the one lies that shows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Double {
    pub(crate) table: usize,
    pub(crate) center: CenterName,
    pub(crate) by: CenterName,
    pub(crate) received_at: i64,
    pub(crate) key: Key,
    pub(crate) digest: Digest,
}

/// Rows of one center's table that are hidden because of one other center, by when they were received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rows(BTreeMap<i64, Vec<(Key, Digest)>>);

/// A table, whose rows are hidden, and by whose.
type Place = (usize, CenterName, CenterName);

/// Everything that is hidden. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Doubles(Arc<RwLock<BTreeMap<Place, Arc<Rows>>>>);

impl Doubles {
    /// Hides rows; gives how many were not hidden yet.
    pub(crate) fn add(&self, found: impl IntoIterator<Item = Double>) -> u64 {
        let mut all = self.0.write();
        let mut count = 0;
        for Double { table, center, by, received_at, key, digest } in found {
            let rows = Arc::make_mut(all.entry((table, center, by)).or_default());
            let same = rows.0.entry(received_at).or_default();
            if !same.contains(&(key, digest)) {
                same.push((key, digest));
                count += 1;
            }
        }
        count
    }

    /// Forgets rows of a center's table that were received before an instant: no file holds them any more.
    pub(crate) fn forget_before(&self, table: Table, center: &CenterName, instant: i64) {
        let mut all = self.0.write();
        for ((of, hidden, _), rows) in all.iter_mut() {
            if *of == table.index()
                && hidden == center
                && rows.0.keys().next().is_some_and(|at| *at < instant)
            {
                let rows = Arc::make_mut(rows);
                rows.0 = rows.0.split_off(&instant);
            }
        }
        all.retain(|_, rows| !rows.0.is_empty());
    }

    /// All of it, one by one.
    pub(crate) fn all(&self) -> Vec<Double> {
        let all = self.0.read();
        let each = all.iter().flat_map(|((table, center, by), rows)| {
            rows.0.iter().flat_map(move |(received_at, same)| {
                same.iter().map(move |(key, digest)| Double {
                    table: *table,
                    center: center.clone(),
                    by: by.clone(),
                    received_at: *received_at,
                    key: *key,
                    digest: *digest,
                })
            })
        });
        each.collect()
    }

    /// What is hidden of a center's table from somebody who sees the tables of these centers.
    pub(crate) fn of(&self, table: Table, center: &CenterName, seen: impl Fn(&CenterName) -> bool) -> Hidden {
        let all = self.0.read();
        let rows =
            all.iter().filter(|((of, hidden, by), _)| *of == table.index() && hidden == center && seen(by));
        Hidden(rows.map(|(_, rows)| rows.clone()).collect())
    }
}

/// What one query may not see of one center's table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hidden(Vec<Arc<Rows>>);

impl Hidden {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a file may hold hidden rows, as far as its statistics say.
    pub(crate) fn may_lie_in(&self, file: &DataFile) -> bool {
        let Some((first, last)) = received(file) else { return !self.is_empty() };
        let span = (Bound::Included(first), Bound::Included(last));
        self.0.iter().any(|rows| rows.0.range(span).next().is_some())
    }

    /// Whether rows that were received then may be hidden.
    pub(crate) fn knows(&self, received_at: i64) -> bool {
        self.0.iter().any(|rows| rows.0.contains_key(&received_at))
    }

    /// Gives the places of a batch's hidden rows. The batch has all columns of the table.
    ///
    /// # Errors
    /// A column that is missing or of another type.
    pub(crate) fn judge(
        &self,
        table: Table,
        batch: &RecordBatch,
        hide: &mut dyn FnMut(usize),
    ) -> Result<(), ArrowError> {
        let mut judged = || {
            let received_at = Columns { batch }.times("received_at")?;
            each_row(table, batch, &of_path, &mut |row, key, digest| {
                if self.holds(received_at(row).0, key, digest) {
                    hide(row);
                }
            })
        };
        judged().map_err(ArrowError::SchemaError)
    }

    fn holds(&self, received_at: i64, key: Key, digest: Digest) -> bool {
        self.0.iter().any(|rows| rows.0.get(&received_at).is_some_and(|same| same.contains(&(key, digest))))
    }
}
