//! What can go wrong in the lake, said by whose fault it is.

use crate::source::SourceError;

/// Why the lake could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The object store failed. Nothing is lost: repeat the step.
    #[error("object store: {0}; repeat the step once the store answers")]
    Store(#[from] object_store::Error),
    /// A Delta log does not say what it must. Repeating does not help: a person has to look.
    #[error(
        "table {table}: log version {version} is damaged ({why}); restore the table's folder from a mirror"
    )]
    Damaged {
        /// Which table.
        table: &'static str,
        /// The version of the log that does not hold.
        version: i64,
        /// What is wrong with it.
        why: String,
    },
    /// A data file is not what its table holds.
    #[error("table {table}: file {file} can't be read ({why}); restore it from a mirror")]
    DamagedFile {
        /// Which table.
        table: &'static str,
        /// The file's name in the table's folder.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Maintenance did not get its turn: new rows are being committed, and the store does not take them.
    #[error("table {table}: its writer has not finished a commit; maintenance goes on with the next run")]
    Busy {
        /// Which table.
        table: &'static str,
    },
    /// The table was made by a newer program.
    #[error("table {table} needs Delta reader {reader} and writer {writer}; this program speaks 1 and 2")]
    TooNew {
        /// Which table.
        table: &'static str,
        /// The reader version that the table asks for.
        reader: i32,
        /// The writer version that the table asks for.
        writer: i32,
    },
    /// The table's columns are not this program's.
    #[error("table {table} has other columns than this program writes; use the program that made it")]
    Schema {
        /// Which table.
        table: &'static str,
    },
    /// Batches must be committed in the order of their sequences; the pipeline's mistake.
    #[error(
        "batch up to {last} came before rows from {earlier} on were committed; commit the older batch first"
    )]
    OutOfOrder {
        /// The refused batch's last sequence.
        last: u64,
        /// The oldest frame that waits for its batch.
        earlier: u64,
    },
    /// A batch was to be committed before all its frames were decoded; the pipeline's mistake.
    #[error("{frames} of the batch's {expected} frames were decoded; decode the whole batch")]
    Incomplete {
        /// Frames that came.
        frames: u64,
        /// Frames of the batch.
        expected: u64,
    },
    /// Another process writes the same table.
    #[error("table {table}: another writer took {tries} versions in a row; a folder has one serving process")]
    Contended {
        /// Which table.
        table: &'static str,
        /// Commits tried.
        tries: u32,
    },
    /// A data file that a commit names was to be written again.
    #[error(
        "table {table}: a commit names file {file} already, and it is never written again; another program \
         wrote there under this gateway's name, a folder has one serving process"
    )]
    FileTaken {
        /// Which table.
        table: &'static str,
        /// The file's name in the table's folder.
        file: String,
    },
    /// Changes of a version were asked for that the table does not have; the program's mistake.
    #[error(
        "the lake has no version {version} of a table {table}; ask up to what LakeWriter::versions names"
    )]
    NoVersion {
        /// The table asked for.
        table: String,
        /// The version asked for.
        version: i64,
    },
    /// The tables of records are not fit to be asked; the program's mistake.
    #[error("table {table} of records: {why}; rename it where the records are declared")]
    Records {
        /// The declared table.
        table: String,
        /// What is wrong with it.
        why: String,
    },
    /// Rows could not be encoded: a defect of this program.
    #[error("rows of table {table} could not be encoded: {source}")]
    Encode {
        /// Which table.
        table: &'static str,
        /// What the encoder says.
        source: parquet::errors::ParquetError,
    },
    /// A thread of the lake could not be started, or ended early.
    #[error("the lake's threads: {0}")]
    Threads(String),
    /// What the rest of the program should have answered failed.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The SQL is wrong, or names what does not exist.
    #[error("the query is not understood: {0}")]
    Malformed(String),
    /// Only questions are answered, no statement that makes, changes or copies anything; and only about tables
    /// that are open to whoever asks.
    #[error("{0}")]
    Refused(String),
    /// The query needs more memory than `[lake] memory_bytes_max` leaves it, or too many run.
    #[error("the query is too large for this center ({0}); narrow it, or raise memory_bytes_max")]
    TooLarge(String),
    /// It took longer than `[lake] query_seconds_max`.
    #[error(
        "the query took longer than {seconds} s and was ended; narrow it, read its rows faster, or raise lake.query_seconds_max"
    )]
    TooLong {
        /// How long it was let run.
        seconds: u64,
    },
    /// The lake failed, the query is not to blame.
    #[error("the query failed: {0}")]
    Failed(String),
}
