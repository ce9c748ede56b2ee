//! Which files are to be rewritten together.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::UtcMicros;

use crate::delta::{DataFile, Snapshot};
use crate::schema::Table;
use crate::terms::{Cutoffs, Fate, KnownFiles, received};

/// A file of this size stays as it is, and no more than this is rewritten at a time: so files come to lie between half of it and
/// all of it. An erasure of a vehicle rewrites whole files, which takes a fraction of a second each at this size; smaller files
/// would be many to open for a query, and larger ones would take more memory to sort.
pub(super) const FILE_BYTES_MAX: i64 = 8 << 20;

/// Below this a file waits to be put together with others.
const SMALL_BYTES_MAX: i64 = FILE_BYTES_MAX / 2;

/// Rows that are sorted at a time: about 100 bytes each in memory, so some 300 MB with their encoding.
pub(super) const ROWS_MAX: u64 = 2 << 20;

/// A file with more rows is no small one, however well they compress.
const SMALL_ROWS_MAX: u64 = ROWS_MAX / 2;

/// Files that one commit replaces: its text is some hundred bytes for each.
pub(super) const FILES_MAX: usize = 1_000;

/// Of a day that still goes on, at least so many files are put together, so that a file is not written again for each that comes.
const FILES_MIN: usize = 8;

/// Files with rows younger than this are left alone: a start learns from them what was seen lately, and more of their hour come.
const SETTLE_TIME: i64 = UtcMicros::PER_HOUR;

/// A file is rewritten for its first expired rows only when they are over for so long. No query shows them any more; the rest of
/// the file expires within the day, and would else be written again at each look.
const OVERDUE_TIME: i64 = 6 * UtcMicros::PER_HOUR;

/// Whether what need not be done yet is to be done too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// What is due: as the center does by itself.
    Due,
    /// All that can be done, as a person asks for it.
    Now,
}

/// Groups of small files, each of one UTC day of receipt, oldest first: a day expires as a whole.
pub(super) fn compaction(snapshot: &Snapshot, now: UtcMicros, urgency: Urgency) -> Vec<Vec<Arc<DataFile>>> {
    let mut days: BTreeMap<i64, Vec<(i64, &Arc<DataFile>)>> = BTreeMap::new();
    for file in &snapshot.files {
        let Some((first, last)) = received(file).filter(|_| is_small(file)) else { continue };
        if urgency == Urgency::Now || last < now.0 - SETTLE_TIME {
            days.entry(last.div_euclid(UtcMicros::PER_DAY)).or_default().push((first, file));
        }
    }
    let mut groups = Vec::new();
    for (day, mut files) in days {
        files.sort_by_key(|(first, _)| *first);
        let is_over = (day + 1) * UtcMicros::PER_DAY <= now.0 - SETTLE_TIME;
        let least = if is_over || urgency == Urgency::Now { 2 } else { FILES_MIN };
        let files = files.into_iter().map(|(_, file)| file.clone());
        groups.extend(grouped(files).into_iter().filter(|group| group.len() >= least));
    }
    groups
}

/// What expiry has to do.
#[derive(Default)]
pub(super) struct Expiry {
    /// Files of which no row is left.
    pub(super) gone: Vec<Arc<DataFile>>,
    /// Files that would have to be read to know.
    pub(super) unknown: Vec<Arc<DataFile>>,
    /// Files of which some rows are left, to be rewritten together.
    pub(super) partly: Vec<Vec<Arc<DataFile>>>,
}

pub(super) fn expiry(
    table: Table,
    snapshot: &Snapshot,
    known: &KnownFiles,
    cutoffs: &Cutoffs,
    urgency: Urgency,
) -> Expiry {
    let mut expiry = Expiry::default();
    let mut partly = Vec::new();
    let overdue_max = if urgency == Urgency::Now { 0 } else { OVERDUE_TIME };
    for file in &snapshot.files {
        match known.fate(table, file, cutoffs) {
            Fate::Kept => {}
            Fate::Gone => expiry.gone.push(file.clone()),
            Fate::Partly(overdue) if overdue <= overdue_max => {}
            Fate::Partly(_) if known.contents(table, file).is_none() => expiry.unknown.push(file.clone()),
            Fate::Partly(_) => partly.push(file.clone()),
        }
    }
    expiry.partly = together(partly);
    expiry
}

/// Files of the same UTC days of receipt, as many as can be rewritten at a time.
pub(super) fn together(files: Vec<Arc<DataFile>>) -> Vec<Vec<Arc<DataFile>>> {
    let mut days: BTreeMap<i64, Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in files {
        let day = received(&file).map_or(0, |(_, last)| last.div_euclid(UtcMicros::PER_DAY));
        days.entry(day).or_default().push(file);
    }
    days.into_values().flat_map(grouped).collect()
}

fn is_small(file: &DataFile) -> bool {
    file.add.size < SMALL_BYTES_MAX && rows(file) < SMALL_ROWS_MAX
}

fn rows(file: &DataFile) -> u64 {
    file.statistics.as_ref().map_or(0, |known| known.rows)
}

/// Cuts files into groups that can be rewritten at a time; one that is too large by itself is a group of its own.
fn grouped(files: impl IntoIterator<Item = Arc<DataFile>>) -> Vec<Vec<Arc<DataFile>>> {
    let mut groups: Vec<Vec<Arc<DataFile>>> = Vec::new();
    let (mut bytes_in, mut rows_in) = (0, 0);
    for file in files {
        let (bytes, rows) = (bytes_in + file.add.size, rows_in + rows(&file));
        match groups.last_mut() {
            Some(group) if bytes <= FILE_BYTES_MAX && rows <= ROWS_MAX && group.len() < FILES_MAX => {
                (bytes_in, rows_in) = (bytes, rows);
                group.push(file);
            }
            _ => {
                (bytes_in, rows_in) = (file.add.size, self::rows(&file));
                groups.push(vec![file]);
            }
        }
    }
    groups
}
