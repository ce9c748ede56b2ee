//! `domicile query "SQL"`: asks the tables.

use std::io::{self, BufWriter, Write};
use std::pin::pin;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;
use arrow::util::pretty::pretty_format_batches_with_schema;
use axum::body::Body;
use futures::StreamExt;

use super::Folder;
use super::client::{Client, converse};
use crate::api::query::Question;
use crate::api::rows::{self, RowWriter};
use crate::world::World;

/// Ask the tables with SQL: signals, positions, events, frames, vehicles
#[derive(clap::Args)]
pub(crate) struct Query {
    /// A SELECT
    sql: String,
    #[arg(long, value_enum, default_value_t = RowFormat::Table)]
    format: RowFormat,
    #[command(flatten)]
    folder: Folder,
}

/// How rows are written.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RowFormat {
    /// For people
    Table,
    /// One array of objects
    Json,
    /// RFC 4180, with a header
    Csv,
    /// An Arrow IPC stream
    Arrow,
}

impl Query {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        let folder = self.folder.path(world);
        let written = converse(Client::with_tables(&folder, world, async |client| {
            let body = client.stream("/api/query", &Question { sql: self.sql }).await?;
            write(body, self.format, BufWriter::new(io::stdout().lock())).await
        }));
        match written {
            // Whoever reads our output has read enough (`| head`).
            Err(error) if is_broken_pipe(&error) => Ok(()),
            written => written,
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let is_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
        cause.downcast_ref::<io::Error>().is_some_and(is_pipe) || cause.to_string().contains("Broken pipe")
    })
}

/// Writes an Arrow stream's rows as they come; a table only at the end, because its columns are as wide as their widest value.
async fn write(body: Body, format: RowFormat, out: impl Write) -> anyhow::Result<()> {
    let mut decoder = StreamDecoder::new();
    let mut writer = None;
    let mut out = Some(out);
    let mut chunks = pin!(body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        let mut buffer = Buffer::from(chunk?.to_vec());
        while !buffer.is_empty() {
            let batch = decoder.decode(&mut buffer)?;
            if let (None, Some(schema)) = (&writer, decoder.schema())
                && let Some(out) = out.take()
            {
                writer = Some(Writer::new(format, schema, out)?);
            }
            if let (Some(batch), Some(writer)) = (batch, &mut writer) {
                writer.rows(batch)?;
            }
        }
    }
    decoder
        .finish()
        .map_err(|_| anyhow::anyhow!("the query broke off before its last row; the center's log says why"))?;
    writer.ok_or_else(|| anyhow::anyhow!("the center answered without columns"))?.finish()
}

/// Writes rows for people, or in one of the API's formats.
enum Writer<W: Write> {
    Table { schema: SchemaRef, rows: Vec<RecordBatch>, out: W },
    Rows(RowWriter<W>),
}

impl<W: Write> Writer<W> {
    fn new(format: RowFormat, schema: SchemaRef, out: W) -> anyhow::Result<Self> {
        let format = match format {
            RowFormat::Table => return Ok(Self::Table { schema, rows: Vec::new(), out }),
            RowFormat::Json => rows::RowFormat::Json,
            RowFormat::Csv => rows::RowFormat::Csv,
            RowFormat::Arrow => rows::RowFormat::Arrow,
        };
        Ok(Self::Rows(RowWriter::new(format, &schema, out)?))
    }

    fn rows(&mut self, batch: RecordBatch) -> anyhow::Result<()> {
        match self {
            Self::Table { rows, .. } => rows.push(batch),
            Self::Rows(writer) => writer.rows(&batch)?,
        }
        Ok(())
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Table { schema, rows, mut out } => {
                writeln!(out, "{}", pretty_format_batches_with_schema(schema, &rows)?)?;
                let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
                writeln!(out, "{count} {}", if count == 1 { "row" } else { "rows" })?;
                out.flush()?;
            }
            Self::Rows(writer) => writer.finish()?,
        }
        Ok(())
    }
}
