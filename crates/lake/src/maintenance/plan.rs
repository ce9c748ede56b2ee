//! Which files are to be rewritten together.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::UtcMicros;

use super::NAME_START;
use crate::delta::{Bounds, DataFile, Snapshot};
use crate::schema::Table;
use crate::terms::{Cutoffs, Fate, KnownFiles, received};

/// How large files are to become.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    /// A file of this size stays as it is, and no more than this is rewritten at a time: so files come to lie between half of it and
    /// all of it. An erasure of a vehicle rewrites whole files, which takes a fraction of a second each at this size; smaller files
    /// would be many to open for a query, and larger ones would take more memory to sort.
    pub(super) file_bytes_max: i64,
    /// Rows that are sorted at a time: about 100 bytes each in memory, so some 300 MB with their encoding.
    pub(super) rows_max: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { file_bytes_max: 8 << 20, rows_max: 2 << 20 }
    }
}

/// Files that are cut by vehicle together: each of what comes of it has a sixteenth of the vehicles. More would have more of them read
/// for each of what comes; fewer, and a large day is written more often.
pub(super) const SLICED_MAX: usize = 16;

/// So many files of a day may hold rows of one vehicle before they are cut by vehicle: while the day goes on, so that few rows are written
/// twice, when it is over, and where a person asks. An erasure rewrites so many files of a day and table at most, and what is not put
/// together yet.
const OVERLAP_MAX_TODAY: usize = SLICED_MAX - 1;
const OVERLAP_MAX: usize = 3;
const OVERLAP_MAX_NOW: usize = 1;

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
pub(super) fn compaction(
    snapshot: &Snapshot,
    now: UtcMicros,
    urgency: Urgency,
    sizes: &Sizes,
) -> Vec<Vec<Arc<DataFile>>> {
    let mut days: BTreeMap<i64, Vec<(i64, &Arc<DataFile>)>> = BTreeMap::new();
    for file in &snapshot.files {
        let Some((first, last)) = received(file).filter(|_| is_small(file, sizes)) else { continue };
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
        groups.extend(grouped(files, sizes).into_iter().filter(|group| group.len() >= least));
    }
    groups
}

/// Files of one UTC day of receipt that hold rows of the same vehicles, to be cut by vehicle. Only files that compaction leaves alone: those
/// that it has made, and those that were large as they were written; and none of a single vehicle, which can't be cut. What comes of it is
/// disjoint, but for files of a single vehicle, and lies within the ranges of what went in, so that each time fewer files overlap and it comes
/// to an end.
pub(super) fn slicing(
    snapshot: &Snapshot,
    now: UtcMicros,
    urgency: Urgency,
    sizes: &Sizes,
) -> Option<Vec<Arc<DataFile>>> {
    /// The least and the greatest vehicle of a file.
    type Ranged<'a> = (&'a str, &'a str, &'a Arc<DataFile>);
    let mut days: BTreeMap<i64, Vec<Ranged<'_>>> = BTreeMap::new();
    for file in &snapshot.files {
        let Some((_, last)) = received(file).filter(|_| !is_small(file, sizes)) else { continue };
        if urgency == Urgency::Due && last >= now.0 - SETTLE_TIME {
            continue;
        }
        let bounds = file.statistics.as_ref().and_then(|known| known.bounds.get("vehicle"));
        if let Some(Bounds::Text(least, greatest)) = bounds
            && least < greatest
        {
            let day = last.div_euclid(UtcMicros::PER_DAY);
            days.entry(day).or_default().push((least, greatest, file));
        }
    }
    for (day, files) in days {
        let is_over = (day + 1) * UtcMicros::PER_DAY <= now.0 - SETTLE_TIME;
        let overlap_max = match urgency {
            Urgency::Now => OVERLAP_MAX_NOW,
            Urgency::Due if is_over => OVERLAP_MAX,
            Urgency::Due => OVERLAP_MAX_TODAY,
        };
        // Where most overlap, a file begins.
        let at = |place: &str| {
            let holds = |(least, greatest, _): &&Ranged<'_>| *least <= place && place <= *greatest;
            files.iter().filter(holds).map(|(_, _, file)| (*file).clone()).collect::<Vec<_>>()
        };
        let deepest = files.iter().map(|(least, _, _)| at(least)).max_by_key(Vec::len);
        if let Some(mut deepest) = deepest.filter(|deepest| deepest.len() > overlap_max) {
            deepest.truncate(SLICED_MAX);
            return Some(deepest);
        }
    }
    None
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
    sizes: &Sizes,
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
    expiry.partly = together(partly, sizes);
    expiry
}

/// Files of the same UTC days of receipt, as many as can be rewritten at a time. One that was cut by vehicle stays by itself, or it would have to
/// be cut again.
pub(super) fn together(files: Vec<Arc<DataFile>>, sizes: &Sizes) -> Vec<Vec<Arc<DataFile>>> {
    let mut days: BTreeMap<i64, Vec<Arc<DataFile>>> = BTreeMap::new();
    let (slices, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| is_slice(&file.add.path));
    for file in files {
        let day = received(&file).map_or(0, |(_, last)| last.div_euclid(UtcMicros::PER_DAY));
        days.entry(day).or_default().push(file);
    }
    let groups = days.into_values().flat_map(|files| grouped(files, sizes));
    slices.into_iter().map(|slice| vec![slice]).chain(groups).collect()
}

/// Whether a file waits to be put together with others: less than half as large as one may be, in bytes and in rows, however well they
/// compress. One that was cut by vehicle does not: put together with another it would have to be cut again.
fn is_small(file: &DataFile, sizes: &Sizes) -> bool {
    !is_slice(&file.add.path) && file.add.size < sizes.file_bytes_max / 2 && rows(file) < sizes.rows_max / 2
}

/// Whether a file was cut by vehicle.
pub(super) fn is_slice(name: &str) -> bool {
    name.strip_prefix(NAME_START).is_some_and(|name| name.contains('-'))
}

fn rows(file: &DataFile) -> u64 {
    file.statistics.as_ref().map_or(0, |known| known.rows)
}

/// Cuts files into groups that can be rewritten at a time; one that is too large by itself is a group of its own.
fn grouped(files: impl IntoIterator<Item = Arc<DataFile>>, sizes: &Sizes) -> Vec<Vec<Arc<DataFile>>> {
    let mut groups: Vec<Vec<Arc<DataFile>>> = Vec::new();
    let (mut bytes_in, mut rows_in) = (0, 0);
    for file in files {
        let (bytes, rows) = (bytes_in + file.add.size, rows_in + rows(&file));
        match groups.last_mut() {
            Some(group)
                if bytes <= sizes.file_bytes_max && rows <= sizes.rows_max && group.len() < FILES_MAX =>
            {
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
