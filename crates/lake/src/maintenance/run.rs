//! A whole run, with the books that are kept on it.
//!
//! The order: what an earlier run left is finished and swept; rows leave; files are put together; the books enter the tables'
//! versions; and only then objects are deleted. So the books have said of each object that goes that it may.

use std::collections::HashSet;
use std::time::Duration;

use object_store::path::Path;

use super::{GRACE_TIME, Maintenance, Step, Urgency};
use crate::Error;
use crate::source::SourceError;

/// The books on the tables: nothing is deleted but what they have entered as gone.
pub trait Books {
    /// Deletes what a destruction that a crash or an error cut has left.
    fn finish(&self) -> Result<(), SourceError>;

    /// Waits a while until a version of a table is entered for good; gives the last that is, −1 for none.
    fn entered(&self, table: &str, version: i64) -> Result<i64, SourceError>;

    /// Enters that objects are destroyed because a term is over, and deletes them. They are entered, and lie there.
    fn destroy(&self, objects: &[Path]) -> Result<(), SourceError>;

    /// Deletes objects of which an entered version of their table says that they left it.
    fn discard(&self, objects: &[Path]) -> Result<(), SourceError>;
}

/// What a run is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Put files together.
    Compact,
    /// Take out rows whose term is over.
    Expire,
    /// Both.
    Both,
    /// Take out the rows of open erasures, and destroy all that held them: files, also those that others stand for, and the log.
    Erase,
}

/// What a run has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done {
    /// Its steps that committed something.
    pub steps: Vec<Step>,
    /// Data files deleted because their rows' term is over.
    pub destroyed: u64,
    /// Data files deleted because others stand for them.
    pub discarded: u64,
    /// Commits deleted for which a checkpoint stands.
    pub commits: u64,
    /// Files deleted that an earlier run had written and not committed.
    pub swept: u64,
    /// Whether it went to its end.
    pub is_clean: bool,
}

impl Maintenance {
    /// Files that are deleted at a time.
    const DELETES_MAX: usize = 1_000;

    /// Runs once. After each step `goes_on` is asked, which may take its time; where it says no the run ends early.
    pub fn run(
        &mut self,
        work: Work,
        urgency: Urgency,
        books: &dyn Books,
        goes_on: &mut dyn FnMut(&Step) -> bool,
    ) -> Result<Done, Error> {
        books.finish()?;
        let mut done = Done { swept: self.sweep()?, ..Done::default() };
        if work == Work::Erase {
            // What an earlier run has taken out may still lie there.
            self.has_expired = [true; 3];
            let mut without = HashSet::new();
            while let Some(step) = self.erase(&mut without)? {
                done.steps.push(step);
                if !done.steps.last().is_some_and(&mut *goes_on) {
                    return Ok(done);
                }
            }
            self.clean(books, Duration::ZERO, &mut done)?;
            done.is_clean = true;
            return Ok(done);
        }
        if work != Work::Compact {
            while let Some(step) = self.expire(urgency)? {
                done.steps.push(step);
                if !done.steps.last().is_some_and(&mut *goes_on) {
                    return Ok(done);
                }
            }
            // What may not be kept goes before files are put together, which takes long.
            self.clean(books, GRACE_TIME, &mut done)?;
        }
        if work != Work::Expire {
            while let Some(step) = self.compact(urgency)? {
                done.steps.push(step);
                if !done.steps.last().is_some_and(&mut *goes_on) {
                    return Ok(done);
                }
            }
            while let Some(step) = self.slice(urgency)? {
                done.steps.push(step);
                if !done.steps.last().is_some_and(&mut *goes_on) {
                    return Ok(done);
                }
            }
            self.clean(books, GRACE_TIME, &mut done)?;
        }
        done.is_clean = true;
        Ok(done)
    }

    /// Deletes what the books have as gone; files that others stand for after `grace`. Without grace all of it must go.
    fn clean(&mut self, books: &dyn Books, grace: Duration, done: &mut Done) -> Result<(), Error> {
        for table in self.tables() {
            let newest = self.version(table)?;
            let entered = books.entered(table, newest)?;
            if grace.is_zero() && entered < newest {
                return Err(SourceError(format!(
                    "the ledger has not entered version {newest} of {table} yet"
                ))
                .into());
            }
            let deletable = self.deletable(table, entered, grace)?;
            for some in deletable.expired.chunks(Self::DELETES_MAX) {
                // An earlier run may have been cut after it had deleted some.
                let mut there = Vec::new();
                for object in some {
                    if self.is_there(object)? {
                        there.push(object.clone());
                    }
                }
                if !there.is_empty() {
                    books.destroy(&there)?;
                }
                done.destroyed += there.len() as u64;
                self.deleted(table, some);
            }
            books.discard(&deletable.replaced)?;
            self.deleted(table, &deletable.replaced);
            done.discarded += deletable.replaced.len() as u64;
            let commits = self.old_commits(table, entered)?;
            for some in commits.chunks(Self::DELETES_MAX) {
                books.destroy(some)?;
            }
            done.commits += commits.len() as u64;
            self.cleaned(table);
        }
        Ok(())
    }
}
