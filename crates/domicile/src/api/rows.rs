//! Rows as bytes: the formats that the API and the command line share.

use std::io::{self, Write};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder as CsvBuilder;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use arrow::json::writer::{JsonArray, WriterBuilder as JsonBuilder};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use parking_lot::Mutex;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowFormat {
    /// An Arrow IPC stream.
    Arrow,
    /// One array of objects.
    Json,
    /// RFC 4180, with a header.
    Csv,
}

impl RowFormat {
    const ALL: [Self; 3] = [Self::Arrow, Self::Json, Self::Csv];

    /// Its content type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Json => "application/json",
            Self::Csv => "text/csv",
        }
    }

    /// The first format that a request accepts (RFC 9110, section 12.5.1; weights are not looked at). Arrow where it accepts
    /// anything or does not say; `None` where it accepts only what there is not.
    pub(crate) fn accepted(headers: &HeaderMap) -> Option<Self> {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
        let Some(accept) = accept else { return Some(Self::Arrow) };
        accept.split(',').find_map(|range| {
            let range = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let is_in = |format: &Self| {
                let (kind, _) = format.content_type().split_once('/').unwrap_or_default();
                range == format.content_type() || range == "*/*" || range.strip_suffix("/*") == Some(kind)
            };
            Self::ALL.into_iter().find(is_in)
        })
    }
}

/// Writes rows in one of the formats.
pub(crate) enum RowWriter<W: Write> {
    Arrow(Box<StreamWriter<W>>),
    Json(Box<arrow::json::Writer<W, JsonArray>>),
    Csv(Box<arrow::csv::Writer<W>>),
}

impl<W: Write> RowWriter<W> {
    /// Begins an answer with these columns.
    pub(crate) fn new(format: RowFormat, schema: &Arc<Schema>, out: W) -> Result<Self, ArrowError> {
        Ok(match format {
            RowFormat::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(out, schema)?)),
            RowFormat::Json => Self::Json(Box::new(JsonBuilder::new().with_explicit_nulls(true).build(out))),
            RowFormat::Csv => {
                let mut writer = CsvBuilder::new().with_header(true).build(out);
                // A question without rows has columns all the same.
                writer.write(&RecordBatch::new_empty(schema.clone()))?;
                Self::Csv(Box::new(writer))
            }
        })
    }

    pub(crate) fn rows(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::Arrow(writer) => writer.write(batch),
            Self::Json(writer) => writer.write(batch),
            Self::Csv(writer) => writer.write(batch),
        }
    }

    /// Ends the answer.
    pub(crate) fn finish(self) -> Result<(), ArrowError> {
        match self {
            Self::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?.flush()?;
            }
            Self::Json(mut writer) => {
                writer.finish()?;
                let mut out = writer.into_inner();
                writeln!(out)?;
                out.flush()?;
            }
            Self::Csv(writer) => writer.into_inner().flush()?,
        }
        Ok(())
    }
}

/// What was written and not yet sent. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Unsent(Arc<Mutex<Vec<u8>>>);

impl Unsent {
    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Takes back what was written last.
    pub(crate) fn truncate(&self, bytes: usize) {
        self.0.lock().truncate(bytes);
    }

    /// Takes it to be sent.
    pub(crate) fn take(&self) -> Bytes {
        Bytes::from(std::mem::take(&mut *self.0.lock()))
    }
}

impl Write for Unsent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::RowFormat;

    #[test]
    fn the_first_format_that_is_accepted_and_known_is_taken() {
        assert_eq!(RowFormat::accepted(&HeaderMap::new()), Some(RowFormat::Arrow));
        for (accept, format) in [
            ("*/*", Some(RowFormat::Arrow)),
            ("application/json", Some(RowFormat::Json)),
            ("text/html, TEXT/CSV;q=0.5, */*;q=0.1", Some(RowFormat::Csv)),
            ("text/*", Some(RowFormat::Csv)),
            ("application/vnd.apache.arrow.stream", Some(RowFormat::Arrow)),
            ("text/html", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(RowFormat::accepted(&headers), format, "{accept}");
        }
    }
}
