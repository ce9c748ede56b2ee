//! An answer's rows as a body, within limits of rows, bytes and time.
//!
//! Nothing is cut silently. What is cut among its first [`HEAD_BYTES`] is a whole document with the header `domicile-cut`. What is cut later, when
//! the header has been sent, breaks the transfer off, so that no client takes it for everything.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::Problem;
use super::query::{Question, Rows};
use super::rows::{RowFormat, RowWriter, Unsent};
use crate::settings;

/// The header that says by which limit an answer was cut: `rows` or `bytes`.
pub(crate) const CUT: &str = "domicile-cut";

/// So much of an answer is held back, in the hope that it is all: then its end is known before its header is sent.
const HEAD_BYTES: usize = 1 << 20;

/// Where a batch has more bytes than are left, its rows are tried so many at a time: the answer ends at most so many rows too early.
const PART_ROWS: usize = 256;

/// How much of an answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    rows: u64,
    /// Of the document, without its last few bytes.
    bytes: u64,
    /// Until the last row is read; `None` for the tables' own limit alone.
    time: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Rows,
    Bytes,
}

impl Limits {
    /// None but the tables' own.
    pub(super) const NONE: Self = Self { rows: u64::MAX, bytes: u64::MAX, time: None };

    /// The settings' limits, and lower ones where the question asks for them.
    pub(super) fn of(settings: &settings::Http, question: &Question) -> Self {
        Self {
            rows: question.rows_max.unwrap_or(u64::MAX).min(settings.query_rows_max),
            bytes: question.bytes_max.unwrap_or(u64::MAX).min(settings.query_bytes_max),
            time: question.seconds_max.map(Duration::from_secs),
        }
    }

    /// Does something within the time.
    pub(super) async fn within<T>(
        self,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        match self.time {
            Some(time) => tokio::time::timeout(time, work).await.unwrap_or_else(|_| Err(self.too_long())),
            None => work.await,
        }
    }

    fn too_long(self) -> Problem {
        let seconds = self.time.map_or(0, |time| time.as_secs());
        Problem::invalid(format!("the query took longer than seconds_max, {seconds} s, and was ended"))
    }
}

impl Cut {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Bytes => "bytes",
        }
    }
}

/// Answers with rows.
pub(super) async fn respond(rows: Rows, format: RowFormat, limits: Limits) -> Result<Response, Problem> {
    let mut written = Written::new(rows, format, limits)?;
    while written.unsent.len() < HEAD_BYTES {
        if !written.step().await? {
            let mut response = written.send().into_response();
            let headers = response.headers_mut();
            headers
                .insert(header::CONTENT_TYPE, format.content_type().parse().map_err(Problem::unavailable)?);
            if let Some(cut) = written.cut {
                headers.insert(CUT, cut.as_str().parse().map_err(Problem::unavailable)?);
            }
            return Ok(response);
        }
    }
    let parts = stream::try_unfold(Some(written), |written| async {
        let Some(mut written) = written else { return Ok(None) };
        let head = written.send();
        if !head.is_empty() {
            return Ok(Some((head, Some(written))));
        }
        let goes_on = written.step().await;
        let problem = match (goes_on, written.cut) {
            (Err(problem), _) => problem,
            (Ok(_), Some(cut)) => {
                Problem::invalid(format!("the answer passed the limit of {}", cut.as_str()))
            }
            (Ok(true), None) => return Ok(Some((written.send(), Some(written)))),
            (Ok(false), None) => return Ok::<_, Problem>(Some((written.send(), None))),
        };
        tracing::warn!(%problem, "a query ended before its last row");
        Err(problem)
    });
    let body: BoxStream<'static, Result<Bytes, Problem>> = parts.boxed();
    Ok(([(header::CONTENT_TYPE, format.content_type())], Body::from_stream(body)).into_response())
}

/// Rows on their way into a document.
struct Written {
    batches: BoxStream<'static, Result<RecordBatch, Problem>>,
    writer: Option<RowWriter<Unsent>>,
    unsent: Unsent,
    limits: Limits,
    /// Ends with the time; `None` where it has no end.
    late: Option<Pin<Box<tokio::time::Sleep>>>,
    rows: u64,
    /// Of the document, before what is unsent.
    sent: u64,
    cut: Option<Cut>,
}

impl Written {
    fn new(rows: Rows, format: RowFormat, limits: Limits) -> Result<Self, Problem> {
        let unsent = Unsent::default();
        Ok(Self {
            writer: Some(RowWriter::new(format, &rows.schema, unsent.clone()).map_err(broken)?),
            batches: rows.batches.fuse().boxed(),
            unsent,
            limits,
            late: limits.time.map(|time| Box::pin(tokio::time::sleep(time))),
            rows: 0,
            sent: 0,
            cut: None,
        })
    }

    /// Writes the next rows, or the document's end. Whether there is more to come.
    async fn step(&mut self) -> Result<bool, Problem> {
        let next = match &mut self.late {
            Some(late) => tokio::select! {
                batch = self.batches.next() => batch,
                () = late => return Err(self.limits.too_long()),
            },
            None => self.batches.next().await,
        };
        if let Some(batch) = next.transpose()? {
            self.take(&batch)?;
            if self.cut.is_none() {
                return Ok(true);
            }
        }
        if let Some(writer) = self.writer.take() {
            writer.finish().map_err(broken)?;
        }
        Ok(false)
    }

    /// Writes as much of a batch as the limits leave.
    fn take(&mut self, batch: &RecordBatch) -> Result<(), Problem> {
        let left = usize::try_from(self.limits.rows - self.rows).unwrap_or(usize::MAX);
        let rows = batch.num_rows().min(left);
        if !self.fits(&batch.slice(0, rows))? {
            for start in (0..rows).step_by(PART_ROWS) {
                if !self.fits(&batch.slice(start, PART_ROWS.min(rows - start)))? {
                    self.cut = Some(Cut::Bytes);
                    return Ok(());
                }
            }
        }
        if rows < batch.num_rows() {
            self.cut = Some(Cut::Rows);
        }
        Ok(())
    }

    /// Writes rows, unless they would pass the limit of bytes: then nothing is written.
    fn fits(&mut self, batch: &RecordBatch) -> Result<bool, Problem> {
        let Some(writer) = &mut self.writer else { return Ok(false) };
        if batch.num_rows() == 0 {
            return Ok(true);
        }
        let before = self.unsent.len();
        writer.rows(batch).map_err(broken)?;
        if self.sent + self.unsent.len() as u64 > self.limits.bytes {
            self.unsent.truncate(before);
            return Ok(false);
        }
        self.rows += batch.num_rows() as u64;
        Ok(true)
    }

    /// Takes what is written to be sent.
    fn send(&mut self) -> Bytes {
        let bytes = self.unsent.take();
        self.sent += bytes.len() as u64;
        bytes
    }
}

fn broken(error: ArrowError) -> Problem {
    Problem::unavailable(error)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow::array::{Int64Array, RecordBatch};
    use axum::body::Body;
    use axum::response::Response;
    use futures::StreamExt;
    use futures::stream;
    use http_body_util::BodyExt;

    use super::{CUT, HEAD_BYTES, Limits, respond};
    use crate::api::query::Rows;
    use crate::api::rows::RowFormat;

    const BATCH_ROWS: i64 = 8_192;

    /// Whole numbers from 0 on.
    fn numbers(batches: i64, pause: Option<Duration>) -> Rows {
        let batch = |index: i64| {
            let numbers = Int64Array::from_iter_values(index * BATCH_ROWS..(index + 1) * BATCH_ROWS);
            RecordBatch::try_from_iter([("n", Arc::new(numbers) as _)]).expect("a batch")
        };
        let schema = batch(0).schema();
        let batches = stream::iter(0..batches).then(move |index| async move {
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            Ok(batch(index))
        });
        Rows { schema, tables: Default::default(), versions: Default::default(), batches: batches.boxed() }
    }

    fn limits(rows: u64, bytes: u64) -> Limits {
        Limits { rows, bytes, time: None }
    }

    fn cut(response: &Response<Body>) -> Option<String> {
        response.headers().get(CUT).map(|cut| cut.to_str().expect("a word").to_owned())
    }

    async fn read(response: Response<Body>) -> Result<String, String> {
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok(String::from_utf8(body.to_bytes().to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn an_answer_is_cut_at_its_limits_and_says_so() {
        let whole = respond(numbers(2, None), RowFormat::Csv, Limits::NONE).await.expect("an answer");
        assert_eq!(cut(&whole), None);
        assert_eq!(read(whole).await.expect("a body").lines().count(), 1 + 2 * 8_192);
        let exactly = limits(2 * 8_192, u64::MAX);
        let exactly = respond(numbers(2, None), RowFormat::Csv, exactly).await.expect("an answer");
        assert_eq!(cut(&exactly), None, "a limit that is just reached cuts nothing");
        for format in [RowFormat::Csv, RowFormat::Json, RowFormat::Arrow] {
            let by_rows =
                respond(numbers(2, None), format, limits(8_200, u64::MAX)).await.expect("an answer");
            assert_eq!(cut(&by_rows).as_deref(), Some("rows"));
            let by_bytes =
                respond(numbers(2, None), format, limits(u64::MAX, 40_000)).await.expect("an answer");
            assert_eq!(cut(&by_bytes).as_deref(), Some("bytes"));
            let bytes = by_bytes.into_body().collect().await.expect("a body").to_bytes().len();
            assert!((35_000..40_100).contains(&bytes), "{format:?}: {bytes} bytes");
        }
        let json = respond(numbers(2, None), RowFormat::Json, limits(3, u64::MAX)).await.expect("an answer");
        assert_eq!(read(json).await.as_deref(), Ok("[{\"n\":0},{\"n\":1},{\"n\":2}]\n"));
        let nothing =
            respond(numbers(1, None), RowFormat::Json, limits(0, u64::MAX)).await.expect("an answer");
        assert_eq!(cut(&nothing).as_deref(), Some("rows"));
    }

    #[tokio::test]
    async fn what_is_cut_after_the_header_breaks_off() {
        let rows = (4 * HEAD_BYTES) as u64;
        for limits in [limits(rows / 8, u64::MAX), limits(u64::MAX, rows)] {
            let response = respond(numbers(1_000, None), RowFormat::Csv, limits).await.expect("an answer");
            assert_eq!(cut(&response), None);
            let broken = read(response).await.expect_err("it breaks off");
            assert!(broken.contains("limit"), "{broken}");
        }
        let whole = respond(numbers(200, None), RowFormat::Csv, Limits::NONE).await.expect("an answer");
        let text = read(whole).await.expect("everything");
        assert!(text.len() > HEAD_BYTES && text.ends_with("\n1638399\n"));
    }

    #[tokio::test]
    async fn time_ends_an_answer_with_a_problem() {
        let limits = Limits { time: Some(Duration::from_secs(1)), ..Limits::NONE };
        let slow = numbers(10, Some(Duration::from_millis(400)));
        let late = respond(slow, RowFormat::Csv, limits).await.expect_err("too slow");
        assert!(late.detail.contains("1 s"), "{late}");
        let slow = numbers(1_000, Some(Duration::from_millis(5)));
        let response = respond(slow, RowFormat::Csv, limits).await.expect("its head comes in time");
        assert!(read(response).await.is_err());
    }
}
