//! For how long rows are kept: the terms of the country pack in force, and which rows and files they are over for.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Class, SignalInfo, UtcMicros};
use parking_lot::Mutex;

use crate::delta::{Bounds, DataFile};
use crate::schema::Table;

/// What events are about: connections, logins and alarms of a vehicle show when somebody drove.
pub(crate) const EVENT_CLASS: Class = Class::Personal;

/// What a signal is about that the catalogue has no longer, as the catalogue says of signals that it does not know.
pub(crate) const UNKNOWN_CLASS: Class = Class::Personal;

pub(crate) const CLASSES: [Class; 5] =
    [Class::Technical, Class::Personal, Class::Location, Class::Sensitive, Class::Important];

/// After how many days rows are destroyed, counted from when they were received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The country pack that says so: name and version.
    pub pack: String,
    /// In the order of `CLASSES`.
    days: [u32; 5],
}

/// Who knows the terms in force. They may change while the center runs.
pub trait TermSource: Send + Sync {
    /// The terms as they are now.
    fn terms(&self) -> Terms;
}

impl Terms {
    /// The terms of a pack.
    pub fn new(pack: String, days: impl Fn(Class) -> u32) -> Self {
        Self { pack, days: CLASSES.map(days) }
    }

    /// The term of a class.
    pub fn days(&self, class: Class) -> u32 {
        self.days[number(class)]
    }

    /// The classes that a table's rows may be of, with their terms.
    pub(crate) fn of_table(&self, table: Table) -> Vec<(Class, u32)> {
        let classes: &[Class] = match table {
            Table::Signals => &CLASSES,
            Table::Positions => &[Class::Location],
            Table::Events => &[EVENT_CLASS],
        };
        classes.iter().map(|class| (*class, self.days(*class))).collect()
    }

    pub(crate) fn cutoffs(&self, now: UtcMicros) -> Cutoffs {
        Cutoffs(self.days.map(|days| now.plus_micros(-i64::from(days) * UtcMicros::PER_DAY).0))
    }
}

fn number(class: Class) -> usize {
    match class {
        Class::Technical => 0,
        Class::Personal => 1,
        Class::Location => 2,
        Class::Sensitive => 3,
        Class::Important => 4,
    }
}

/// For each class the instant of receipt before which rows are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cutoffs([i64; 5]);

impl Cutoffs {
    pub(crate) fn of(&self, class: Class) -> i64 {
        self.0[number(class)]
    }

    /// Whether a row of a class is still kept.
    pub(crate) fn keeps(&self, class: Class, received_at: i64) -> bool {
        received_at >= self.of(class)
    }

    /// The latest among the classes of a table: rows received after it are kept, whatever they say.
    pub(crate) fn latest(&self, table: Table) -> i64 {
        self.among(table).max().unwrap_or(i64::MIN)
    }

    fn earliest(&self, table: Table) -> i64 {
        self.among(table).min().unwrap_or(i64::MIN)
    }

    fn among(&self, table: Table) -> impl Iterator<Item = i64> {
        let cutoffs = *self;
        CLASSES.into_iter().filter(move |class| may_hold(table, *class)).map(move |class| cutoffs.of(class))
    }
}

fn may_hold(table: Table, class: Class) -> bool {
    match table {
        Table::Signals => true,
        Table::Positions => class == Class::Location,
        Table::Events => class == EVENT_CLASS,
    }
}

/// The class of each row of `signals`, by its path.
pub(crate) struct SignalClasses {
    by_path: HashMap<&'static str, Class>,
}

impl SignalClasses {
    pub(crate) fn new(infos: &'static [SignalInfo]) -> Self {
        Self { by_path: infos.iter().map(|info| (info.path, info.class)).collect() }
    }

    pub(crate) fn of(&self, path: &str) -> Class {
        self.by_path.get(path).copied().unwrap_or(UNKNOWN_CLASS)
    }

    /// The paths of a class.
    pub(crate) fn paths(&self, class: Class) -> impl Iterator<Item = &'static str> {
        self.by_path.iter().filter(move |(_, of)| **of == class).map(|(path, _)| *path)
    }
}

/// What a file holds of each class: its first and last instant of receipt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Contents([Option<(i64, i64)>; 5]);

impl Contents {
    /// Rows of one class alone.
    fn of_class(class: Class, first: i64, last: i64) -> Self {
        let mut contents = Self::default();
        contents.0[number(class)] = Some((first, last));
        contents
    }

    /// Takes in a row.
    pub(crate) fn add(&mut self, class: Class, received_at: i64) {
        let bounds = self.0[number(class)].get_or_insert((received_at, received_at));
        *bounds = (bounds.0.min(received_at), bounds.1.max(received_at));
    }

    fn each(&self) -> impl Iterator<Item = (Class, i64, i64)> {
        CLASSES.into_iter().zip(self.0).filter_map(|(class, bounds)| bounds.map(|(a, b)| (class, a, b)))
    }
}

/// How a file stands to the terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// All its rows are kept.
    Kept,
    /// All its rows are gone.
    Gone,
    /// Some rows may be gone; for how long at most the term of one has been over, in microseconds.
    Partly(i64),
}

/// What is known of files beyond their statistics, by their names. It is learned by reading them, and forgotten with the process.
#[derive(Default)]
pub(crate) struct KnownFiles(Mutex<HashMap<String, Contents>>);

/// The files of all tables.
pub(crate) type Known = Arc<[KnownFiles; 3]>;

impl KnownFiles {
    pub(crate) fn learn(&self, name: &str, contents: Contents) {
        self.0.lock().insert(name.to_owned(), contents);
    }

    pub(crate) fn forget(&self, name: &str) {
        self.0.lock().remove(name);
    }

    /// What a file holds; `None` where it would have to be read.
    pub(crate) fn contents(&self, table: Table, file: &DataFile) -> Option<Contents> {
        if let Some(known) = self.0.lock().get(&file.add.path) {
            return Some(*known);
        }
        let class = match table {
            Table::Signals => return None,
            Table::Positions => Class::Location,
            Table::Events => EVENT_CLASS,
        };
        received(file).map(|(first, last)| Contents::of_class(class, first, last))
    }

    /// How a file stands to the terms, as far as that is known without reading it.
    pub(crate) fn fate(&self, table: Table, file: &DataFile, cutoffs: &Cutoffs) -> Fate {
        if let Some((first, last)) = received(file) {
            if first >= cutoffs.latest(table) {
                return Fate::Kept;
            }
            if last < cutoffs.earliest(table) {
                return Fate::Gone;
            }
        }
        let Some(contents) = self.contents(table, file) else {
            let first = received(file).map_or(i64::MIN, |(first, _)| first);
            return Fate::Partly(cutoffs.latest(table).saturating_sub(first));
        };
        let mut overdue = None;
        let mut keeps_any = false;
        for (class, first, last) in contents.each() {
            let cutoff = cutoffs.of(class);
            keeps_any |= last >= cutoff;
            if first < cutoff {
                overdue = overdue.max(Some(cutoff.saturating_sub(first)));
            }
        }
        match overdue {
            None => Fate::Kept,
            Some(_) if !keeps_any => Fate::Gone,
            Some(overdue) => Fate::Partly(overdue),
        }
    }
}

/// A file's first and last instant of receipt, as its statistics say.
pub(crate) fn received(file: &DataFile) -> Option<(i64, i64)> {
    match file.statistics.as_ref()?.bounds.get("received_at")? {
        Bounds::Time(first, last) => Some((*first, *last)),
        Bounds::Text(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use model::{Class, UtcMicros};

    use super::{CLASSES, Contents, Terms, number};
    use crate::schema::Table;

    #[test]
    fn every_class_has_its_place() {
        for (place, class) in CLASSES.into_iter().enumerate() {
            assert_eq!(number(class), place);
            assert_eq!(Class::from_name(class.as_str()), Some(class));
        }
    }

    #[test]
    fn a_row_is_kept_to_the_end_of_its_classs_term() {
        let terms = Terms::new("cn-1".to_owned(), |class| if class == Class::Location { 14 } else { 365 });
        let now = UtcMicros::from_seconds(1_795_428_000);
        let cutoffs = terms.cutoffs(now);
        let fortnight = now.plus_micros(-14 * UtcMicros::PER_DAY).0;
        assert!(cutoffs.keeps(Class::Location, fortnight) && !cutoffs.keeps(Class::Location, fortnight - 1));
        assert!(cutoffs.keeps(Class::Technical, fortnight - 1));
        assert_eq!(cutoffs.latest(Table::Positions), fortnight);
        assert_eq!(cutoffs.latest(Table::Events), now.plus_micros(-365 * UtcMicros::PER_DAY).0);
        let mut contents = Contents::default();
        contents.add(Class::Location, 5);
        contents.add(Class::Location, 3);
        assert_eq!(contents.each().collect::<Vec<_>>(), [(Class::Location, 3, 5)]);
    }
}
