//! `cargo xtask scan NEEDLE --dir DIR`: looks for a text, or for bytes (`hex:…`), in everything that a center's folder holds.
//!
//! Every file is searched as it lies on the disk (journal segments, logs, JSON, keys). What a plain search can't see through is
//! opened: each Parquet file page by page, decompressed, and value by value; each SQLite database cell by cell; and, with the
//! center's key, each frame of each batch and each row of each import of records, decrypted. Success means found.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use model::Entropy;
use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use store::{Identity, Keyring, Names, Objects};

/// Values that are read from a column at once.
const VALUES_AT_ONCE: usize = 4_096;
/// Folders in the names of what is sealed row by row (batches and records), by which they are told from tables.
const SEALED_FOLDERS: [&str; 2] = ["batch", "records"];

/// Looks for the needle and prints every place where it is. An error where it is nowhere.
pub(crate) fn run(needle: &str, folder: &Path) -> anyhow::Result<()> {
    let needle = parse(needle)?;
    let scan = Scan::of(folder, &needle)?;
    for (place, count) in &scan.found {
        println!("{place}: {count}");
    }
    println!(
        "{} files; of these {} Parquet ({} pages), {} SQLite ({} cells); {} frames decrypted",
        scan.files, scan.parquet_files, scan.pages, scan.databases, scan.cells, scan.frames
    );
    if scan.found.is_empty() {
        bail!("the needle is nowhere in {}", folder.display());
    }
    Ok(())
}

/// What was looked at, and where the needle was.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    /// Place and how often.
    pub(crate) found: Vec<(String, usize)>,
    files: usize,
    parquet_files: usize,
    pages: usize,
    databases: usize,
    cells: usize,
    /// Frames that were decrypted.
    pub(crate) frames: usize,
}

/// A text, or bytes after `hex:`.
fn parse(needle: &str) -> anyhow::Result<Vec<u8>> {
    let Some(digits) = needle.strip_prefix("hex:") else {
        ensure!(!needle.is_empty(), "an empty needle is everywhere");
        return Ok(needle.as_bytes().to_vec());
    };
    let digits: Vec<char> = digits.chars().filter(|c| !c.is_whitespace()).collect();
    ensure!(!digits.is_empty() && digits.len().is_multiple_of(2), "hex: takes pairs of digits");
    digits
        .chunks(2)
        .map(|pair| {
            u8::from_str_radix(&pair.iter().collect::<String>(), 16).context("hex: takes hexadecimal digits")
        })
        .collect()
}

impl Scan {
    /// Looks through a folder.
    pub(crate) fn of(folder: &Path, needle: &[u8]) -> anyhow::Result<Self> {
        let keyring = keyring(folder)?;
        let mut scan = Self::default();
        for path in files(folder)? {
            scan.file(&path, needle, &keyring).with_context(|| path.display().to_string())?;
        }
        Ok(scan)
    }

    fn file(&mut self, path: &Path, needle: &[u8], keyring: &Keyring) -> anyhow::Result<()> {
        let bytes = std::fs::read(path)?;
        self.files += 1;
        self.note(path, "bytes of the file", occurrences(&bytes, needle));
        if bytes.starts_with(b"PAR1") {
            self.parquet(path, Bytes::from(bytes), needle, keyring)
        } else if bytes.starts_with(b"SQLite format 3\0") {
            self.database(path, needle)
        } else {
            Ok(())
        }
    }

    fn note(&mut self, path: &Path, part: &str, count: usize) {
        if count > 0 {
            self.found.push((format!("{} ({part})", path.display()), count));
        }
    }

    fn parquet(&mut self, path: &Path, bytes: Bytes, needle: &[u8], keyring: &Keyring) -> anyhow::Result<()> {
        self.parquet_files += 1;
        let file = SerializedFileReader::new(bytes.clone())?;
        let (mut in_pages, mut in_values) = (0, 0);
        for group in 0..file.num_row_groups() {
            let group = file.get_row_group(group)?;
            for column in 0..group.num_columns() {
                let mut pages = group.get_column_page_reader(column)?;
                while let Some(page) = pages.get_next_page()? {
                    self.pages += 1;
                    in_pages += occurrences(page.buffer(), needle);
                }
                in_values += values_with(&*group, column, needle)?;
            }
        }
        self.note(path, "pages", in_pages);
        self.note(path, "values", in_values);
        if path.components().any(|part| SEALED_FOLDERS.iter().any(|folder| part.as_os_str() == *folder)) {
            let batch = store::read(&path.display().to_string(), bytes)?;
            let (mut frames, mut in_frames) = (0, 0);
            batch.for_each(keyring, |row| {
                frames += usize::from(row.bytes.is_some());
                in_frames += row.bytes.map_or(0, |bytes| occurrences(bytes, needle));
                Ok::<(), store::Error>(())
            })?;
            self.frames += frames;
            self.note(path, "frames", in_frames);
        }
        Ok(())
    }

    fn database(&mut self, path: &Path, needle: &[u8]) -> anyhow::Result<()> {
        self.databases += 1;
        let database = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let tables: Vec<String> = database
            .prepare("select name from sqlite_master where type = 'table'")?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let mut count = 0;
        for table in tables {
            let mut statement =
                database.prepare(&format!("select * from \"{}\"", table.replace('"', "\"\"")))?;
            let columns = statement.column_count();
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                for column in 0..columns {
                    self.cells += 1;
                    count += match row.get_ref(column)? {
                        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => occurrences(bytes, needle),
                        ValueRef::Null => 0,
                        ValueRef::Integer(number) => occurrences(number.to_string().as_bytes(), needle),
                        ValueRef::Real(number) => occurrences(number.to_string().as_bytes(), needle),
                    };
                }
            }
        }
        self.note(path, "cells", count);
        Ok(())
    }
}

/// How many values of a column of texts or bytes hold the needle: encodings that share prefixes hide them from a search of pages.
fn values_with(group: &dyn RowGroupReader, column: usize, needle: &[u8]) -> anyhow::Result<usize> {
    let ColumnReader::ByteArrayColumnReader(mut reader) = group.get_column_reader(column)? else {
        return Ok(0);
    };
    let mut count = 0;
    loop {
        let mut values: Vec<ByteArray> = Vec::new();
        let mut definitions = Vec::new();
        let mut repetitions = Vec::new();
        let (records, _, _) = reader.read_records(
            VALUES_AT_ONCE,
            Some(&mut definitions),
            Some(&mut repetitions),
            &mut values,
        )?;
        if records == 0 {
            return Ok(count);
        }
        count += values.iter().filter(|value| occurrences(value.data(), needle) > 0).count();
    }
}

fn occurrences(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).filter(|window| *window == needle).count()
}

/// Every file under a folder, in order.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The center's keyring, to be read from alone.
fn keyring(folder: &Path) -> anyhow::Result<Keyring> {
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path)
            .with_context(|| format!("{}: is this a center's folder?", path.display()))
    };
    let genesis: serde_json::Value = serde_json::from_str(&read("genesis.json")?)?;
    let center = genesis["center"].as_str().context("genesis.json names no center")?.parse()?;
    let objects = Objects::local(&folder.join("store"))?;
    let identity = Identity::parse(&read("keys/center.age")?)?;
    Ok(Keyring::new(objects, Names::new(center), identity, Arc::new(NoEntropy)))
}

/// A scan makes no keys, so it needs no randomness.
struct NoEntropy;

impl Entropy for NoEntropy {
    fn fill(&self, _: &mut [u8]) {
        unreachable!("a scan only reads keys");
    }
}

#[cfg(test)]
mod tests {
    use super::{occurrences, parse};

    #[test]
    fn needles_are_texts_or_bytes() {
        assert_eq!(parse("LDM").expect("a text"), b"LDM");
        assert_eq!(parse("hex:00 ff 41").expect("bytes"), [0, 255, b'A']);
        for wrong in ["", "hex:", "hex:0", "hex:0g"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_planted_needle_is_found_at_every_place() {
        assert_eq!(occurrences(b"abcabcab", b"abc"), 2);
        assert_eq!(occurrences(b"ab", b"abc"), 0);
        assert_eq!(occurrences(b"aaa", b"aa"), 2);
    }
}
