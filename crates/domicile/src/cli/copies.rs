//! `domicile lake export-files`: a table's rows, as a role may see them, in Parquet files for another engine.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use lake::CopyFile;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::Folder;
use super::client::{Client, part};
use super::query::{Sink, receive};
use crate::api::copies::{NewCopy, about};
use crate::center::hex;
use crate::world::World;

/// Rows of a file: some tens of megabytes, so that engines read several at once.
const FILE_ROWS_MAX: u64 = 1 << 22;

/// The format of `manifest.json`; its rules stand in docs/formats/tables.md.
const MANIFEST_FORMAT: u32 = 1;

/// Hand an engine a table as Parquet files, without what a role may not see; an entry of the ledger says so first
#[derive(clap::Args)]
pub(super) struct ExportFiles {
    /// signals, positions, events, vehicles, or what else the role may ask
    #[arg(long)]
    table: String,
    /// analyst, officer: whose view of the rows
    #[arg(long)]
    role: String,
    /// A new or empty folder on this machine
    #[arg(long)]
    out: PathBuf,
    /// Rows received at this instant or later: RFC 3339
    #[arg(long)]
    from: Option<String>,
    /// Rows received before this instant
    #[arg(long)]
    until: Option<String>,
    #[command(flatten)]
    folder: Folder,
}

/// What `manifest.json` says.
#[derive(Debug, Serialize)]
struct Manifest {
    format: u32,
    table: String,
    role: String,
    center: Option<String>,
    made_at: Option<String>,
    /// The country pack that bounds what the role sees.
    pack: Option<String>,
    /// `exact`, `hidden`, or the side of a cell in degrees.
    places: Option<String>,
    /// Classes whose rows are left out.
    hidden: Vec<String>,
    from: Option<String>,
    until: Option<String>,
    /// The Delta version that was read; rows not yet in one of its files are there too.
    version: Option<i64>,
    rows: u64,
    columns: Vec<ColumnView>,
    files: Vec<FileView>,
}

#[derive(Debug, Serialize)]
struct ColumnView {
    name: String,
    r#type: &'static str,
    nullable: bool,
}

#[derive(Debug, Serialize)]
struct FileView {
    path: String,
    rows: u64,
    bytes: u64,
    sha256: String,
}

impl ExportFiles {
    pub(super) async fn run(self, world: &World) -> anyhow::Result<()> {
        make_folder(&self.out)?;
        let address = format!("/api/tables/{}/copy", part(&self.table));
        let asked = NewCopy {
            role: self.role.clone(),
            from: self.from.clone(),
            until: self.until.clone(),
            vehicle: None,
        };
        let folder = self.folder.path(world);
        let mut files = Files::new(&self.out, &self.table);
        Client::with_tables(&folder, world, async |client| {
            let body = client.stream(&address, &asked).await?.body;
            receive(body, &mut files).await
        })
        .await?;
        let manifest = files.manifest(&self.table, &asked)?;
        // Last: a folder without it is no copy.
        write_last(&self.out, &manifest)?;
        say!(
            "{} rows of {} in {} files, {}",
            manifest.rows,
            self.table,
            manifest.files.len(),
            self.out.display()
        );
        Ok(())
    }
}

/// Copies the rows of one vehicle, as an officer sees them, into a folder; gives how many they are. `look` sees them too.
pub(super) async fn copy_vehicle(
    client: &mut Client,
    table: &str,
    vehicle: &str,
    out: &Path,
    look: impl FnMut(&RecordBatch) -> anyhow::Result<()>,
) -> anyhow::Result<u64> {
    make_folder(out)?;
    let asked = NewCopy {
        role: policy::Role::Officer.as_str().to_owned(),
        from: None,
        until: None,
        vehicle: Some(vehicle.to_owned()),
    };
    let mut seen = Seen { files: Files::new(out, table), look };
    let body = client.stream(&format!("/api/tables/{}/copy", part(table)), &asked).await?.body;
    receive(body, &mut seen).await?;
    let manifest = seen.files.manifest(table, &asked)?;
    write_last(out, &manifest)?;
    Ok(manifest.rows)
}

/// Writes `manifest.json`, durably.
pub(super) fn write_last(folder: &Path, manifest: &impl Serialize) -> anyhow::Result<()> {
    write_file(&folder.join("manifest.json"), &(serde_json::to_string_pretty(manifest)? + "\n"))?;
    Ok(File::open(folder)?.sync_all()?)
}

/// Writes a new file, for its user alone.
pub(super) fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut file = create(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file.sync_all()?)
}

/// Makes the folder, for its user alone. One that is there must be empty.
pub(super) fn make_folder(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mut entries = std::fs::read_dir(path).with_context(|| format!("reading {shown}"))?;
            anyhow::ensure!(
                entries.next().is_none(),
                "{shown} is not empty: files are written into a new folder"
            );
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
                .with_context(|| format!("closing {shown} to others"))
        }
        Err(error) => Err(error).with_context(|| format!("making {shown}")),
    }
}

fn create(path: &Path) -> anyhow::Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    opened.with_context(|| format!("writing {}", path.display()))
}

/// The files as they are written, one after the other.
struct Files<'a> {
    folder: &'a Path,
    table: &'a str,
    schema: Option<SchemaRef>,
    open: Option<CopyFile<Hashed>>,
    done: Vec<FileView>,
}

/// A file whose bytes are hashed as they are written.
struct Hashed {
    out: BufWriter<File>,
    hash: Sha256,
    bytes: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<'a> Files<'a> {
    fn new(folder: &'a Path, table: &'a str) -> Self {
        Self { folder, table, schema: None, open: None, done: Vec::new() }
    }

    fn name(&self) -> String {
        format!("{}-{:05}.parquet", self.table, self.done.len() + 1)
    }

    fn close(&mut self) -> anyhow::Result<()> {
        let Some(file) = self.open.take() else { return Ok(()) };
        let rows = file.count();
        let Hashed { out, hash, bytes } = file.finish()?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        self.done.push(FileView { path: self.name(), rows, bytes, sha256: hex(&hash.finalize()) });
        Ok(())
    }

    /// A table without rows has one file without rows, so that an engine finds its columns.
    fn manifest(mut self, table: &str, asked: &NewCopy) -> anyhow::Result<Manifest> {
        let schema = self.schema.clone().context("the center answered without columns")?;
        if self.done.is_empty() && self.open.is_none() {
            self.rows(RecordBatch::new_empty(schema.clone()))?;
        }
        self.close()?;
        let says = |key: &str| schema.metadata().get(key).cloned();
        let column = |field: &arrow::datatypes::FieldRef| {
            Ok(ColumnView {
                name: field.name().clone(),
                r#type: word(field.data_type())?,
                nullable: field.is_nullable(),
            })
        };
        Ok(Manifest {
            format: MANIFEST_FORMAT,
            table: table.to_owned(),
            role: asked.role.clone(),
            center: says(about::CENTER),
            made_at: says(about::MADE_AT),
            pack: says(about::PACK),
            places: says(about::PLACES),
            hidden: says(about::HIDDEN).unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
            from: asked.from.clone(),
            until: asked.until.clone(),
            version: says(about::VERSION).map(|version| version.parse()).transpose()?,
            rows: self.done.iter().map(|file| file.rows).sum(),
            columns: schema.fields().iter().map(column).collect::<anyhow::Result<_>>()?,
            files: self.done,
        })
    }
}

impl Sink for Files<'_> {
    fn begin(&mut self, schema: SchemaRef) -> anyhow::Result<()> {
        self.schema = Some(schema);
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> anyhow::Result<()> {
        let schema = self.schema.clone().context("rows came before their columns")?;
        if self.open.is_none() {
            let out = BufWriter::new(create(&self.folder.join(self.name()))?);
            // What the schema says of itself stands in the manifest, once.
            let plain = schema.as_ref().clone().with_metadata(Default::default());
            let out = Hashed { out, hash: Sha256::new(), bytes: 0 };
            self.open = Some(CopyFile::new(plain.into(), out)?);
        }
        if let Some(file) = &mut self.open {
            let plain = RecordBatch::try_new(
                schema.as_ref().clone().with_metadata(Default::default()).into(),
                batch.columns().to_vec(),
            )?;
            file.rows(&plain)?;
            if file.count() >= FILE_ROWS_MAX {
                self.close()?;
            }
        }
        Ok(())
    }
}

/// Files whose rows somebody looks at before they are written.
struct Seen<'a, F> {
    files: Files<'a>,
    look: F,
}

impl<F: FnMut(&RecordBatch) -> anyhow::Result<()>> Sink for Seen<'_, F> {
    fn begin(&mut self, schema: SchemaRef) -> anyhow::Result<()> {
        self.files.begin(schema)
    }

    fn rows(&mut self, batch: RecordBatch) -> anyhow::Result<()> {
        (self.look)(&batch)?;
        self.files.rows(batch)
    }
}

/// The Delta type of a column.
fn word(datatype: &DataType) -> anyhow::Result<&'static str> {
    Ok(match datatype {
        DataType::Utf8 | DataType::Utf8View => "string",
        DataType::Timestamp(..) => "timestamp",
        DataType::Float64 => "double",
        DataType::Boolean => "boolean",
        DataType::Int64 => "long",
        DataType::Int32 => "integer",
        // Delta has no unsigned numbers: Parquet holds them as such, with the same bits.
        DataType::UInt64 => "unsigned long",
        DataType::UInt32 => "unsigned integer",
        DataType::Binary | DataType::BinaryView => "binary",
        other => anyhow::bail!("a column of type {other} has no word in the manifest"),
    })
}
