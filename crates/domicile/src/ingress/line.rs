//! A connection's bytes: read through one buffer a thread, so that a connection that says nothing holds none of its own.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The buffer that all connections of a thread read into. It holds many TLS records (16 KiB each), so that one read serves
/// many messages.
const SCRATCH_BYTES: usize = 64 * 1024;

/// What of [`SCRATCH_BYTES`] must be free for another read into it to be worth while: one TLS record.
const READ_BYTES_MIN: usize = 16 * 1024;

/// A connection whose unread rest is longer than this collects its message in a buffer of its own; a shorter rest is copied
/// to the front of the thread's buffer.
const REST_BYTES_MAX: usize = SCRATCH_BYTES - 2 * READ_BYTES_MIN;

/// An emptied buffer of up to this capacity is kept while its connection talks; the sweeper frees it when it falls silent.
const KEPT_BYTES_MAX: usize = 8 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// So many bytes, handed over.
    Bytes(usize),
    /// The peer has closed its side; nothing was handed over.
    End,
}

/// A byte stream with what was read of it and not consumed, and what is to be written to it.
pub(crate) struct Line<S> {
    stream: S,
    rest: Vec<u8>,
    /// How much of what is to be written has been handed to the stream.
    written: usize,
    is_flushed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// A line over an open stream.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, rest: Vec::new(), written: 0, is_flushed: true }
    }

    /// Reads what is there and hands it over, after what `take` left of earlier reads; `take` returns how many bytes it
    /// used. `Pending` when nothing new is there.
    pub(crate) fn poll_take(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut [u8]) -> usize,
    ) -> Poll<io::Result<Taken>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let held = if self.rest.len() <= REST_BYTES_MAX { self.rest.len() } else { 0 };
            scratch[..held].copy_from_slice(&self.rest[..held]);
            let read = match ready!(poll_fill(&mut self.stream, cx, &mut scratch[held..]))? {
                0 => return Poll::Ready(Ok(Taken::End)),
                read => read,
            };
            if held < self.rest.len() {
                self.rest.extend_from_slice(&scratch[..read]);
                let used = take(&mut self.rest);
                self.drop_front(used);
            } else {
                let used = take(&mut scratch[..held + read]);
                self.rest.clear();
                self.rest.extend_from_slice(&scratch[used..held + read]);
            }
            Poll::Ready(Ok(Taken::Bytes(read)))
        })
    }

    /// Hands over once more what `take` left of earlier reads, without reading.
    pub(crate) fn take_rest(&mut self, take: impl FnOnce(&mut [u8]) -> usize) {
        if !self.rest.is_empty() {
            let used = take(&mut self.rest);
            self.drop_front(used);
        }
    }

    /// Whether nothing is left of earlier reads.
    pub(crate) fn is_rest_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Writes `out`, always the same buffer; `Ready` when all of it has left and it is empty.
    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<io::Result<()>> {
        while self.written < out.len() {
            self.is_flushed = false;
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &out[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        if !self.is_flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_flushed = true;
        }
        out.clear();
        self.written = 0;
        if out.capacity() > KEPT_BYTES_MAX {
            *out = Vec::new();
        }
        Poll::Ready(Ok(()))
    }

    /// Says goodbye below (TLS close_notify, FIN).
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    /// Bytes that this line's own buffer holds.
    pub(crate) fn held_bytes(&self) -> usize {
        self.rest.capacity()
    }

    /// Gives empty buffers back; for a connection that has fallen silent.
    pub(crate) fn release(&mut self) {
        self.rest.shrink_to_fit();
    }

    fn drop_front(&mut self, used: usize) {
        if used == self.rest.len() && self.rest.capacity() > KEPT_BYTES_MAX {
            self.rest = Vec::new();
        } else {
            self.rest.drain(..used);
        }
    }
}

/// Reads into the buffer until it is nearly full or nothing more is there. 0 bytes: the peer has closed its side.
fn poll_fill<S: AsyncRead + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut read = ReadBuf::new(buffer);
    loop {
        let before = read.filled().len();
        match Pin::new(&mut *stream).poll_read(cx, &mut read) {
            Poll::Pending if before == 0 => return Poll::Pending,
            // What was read before an error or the end is handed over first: the next call meets it again.
            Poll::Pending => break,
            Poll::Ready(Err(error)) if before == 0 => return Poll::Ready(Err(error)),
            Poll::Ready(Err(_)) => break,
            Poll::Ready(Ok(())) if read.filled().len() == before => break,
            Poll::Ready(Ok(())) if read.remaining() < READ_BYTES_MIN => break,
            Poll::Ready(Ok(())) => {}
        }
    }
    Poll::Ready(Ok(read.filled().len()))
}
