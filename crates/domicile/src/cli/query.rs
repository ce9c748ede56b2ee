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
use super::client::{Client, Stream, converse};
use crate::api::centers::MissingView;
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
            let Stream { body, cut, missing } = client.stream("/api/query", &Question::new(self.sql)).await?;
            let mut output = Output::new(self.format, BufWriter::new(io::stdout().lock()));
            receive(body, &mut output).await?;
            output.finish()?;
            for MissingView { center, from } in missing {
                match from {
                    Some(from) => eprintln!(
                        "rows that {center} received after {from} may be missing: its copy here is behind"
                    ),
                    None => eprintln!("the rows of {center} are missing: no copy of it lies here"),
                }
            }
            match cut {
                Some(limit) => {
                    anyhow::bail!("these are not all rows: the answer was cut at http.query_{limit}_max")
                }
                None => Ok(()),
            }
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

/// Takes rows as they come.
pub(super) trait Sink {
    /// The columns, once and before all rows.
    fn begin(&mut self, schema: SchemaRef) -> anyhow::Result<()>;

    fn rows(&mut self, batch: RecordBatch) -> anyhow::Result<()>;
}

/// Hands on an Arrow stream's rows as they come.
pub(super) async fn receive(body: Body, sink: &mut impl Sink) -> anyhow::Result<()> {
    let mut decoder = StreamDecoder::new();
    let mut has_begun = false;
    let mut chunks = pin!(body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        let mut buffer = Buffer::from(chunk?.to_vec());
        while !buffer.is_empty() {
            let batch = decoder.decode(&mut buffer)?;
            if let (false, Some(schema)) = (has_begun, decoder.schema()) {
                has_begun = true;
                sink.begin(schema)?;
            }
            if let Some(batch) = batch {
                sink.rows(batch)?;
            }
        }
    }
    decoder
        .finish()
        .map_err(|_| anyhow::anyhow!("the query broke off before its last row; the center's log says why"))?;
    anyhow::ensure!(has_begun, "the center answered without columns");
    Ok(())
}

/// Writes an Arrow stream's rows as they come; a table only at the end, because its columns are as wide as their widest value.
struct Output<W: Write> {
    format: RowFormat,
    out: Option<W>,
    writer: Option<Writer<W>>,
}

impl<W: Write> Output<W> {
    fn new(format: RowFormat, out: W) -> Self {
        Self { format, out: Some(out), writer: None }
    }

    fn finish(self) -> anyhow::Result<()> {
        self.writer.map_or(Ok(()), Writer::finish)
    }
}

impl<W: Write> Sink for Output<W> {
    fn begin(&mut self, schema: SchemaRef) -> anyhow::Result<()> {
        if let Some(out) = self.out.take() {
            self.writer = Some(Writer::new(self.format, schema, out)?);
        }
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> anyhow::Result<()> {
        self.writer.as_mut().map_or(Ok(()), |writer| writer.rows(batch))
    }
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
