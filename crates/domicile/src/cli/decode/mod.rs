//! `domicile decode`: bytes of frames to JSON, without a center.

mod report;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, Read, Write};

use clap::ValueEnum;
use model::UtcMicros;
use serde_json::{Value as Json, json};
use wire::gbt32960::{self, Cut};
use wire::tesla;

use crate::world::World;

use report::Reporter;

/// Decode frames from standard input to a JSON line each: header, VIN, time, every item, and the rows that they become
///
/// The output holds what the frames hold, personal data and places too. A frame that can't be decoded gives its error and the offset in
/// it; the exit code is then 1.
#[derive(clap::Args)]
pub(crate) struct Decode {
    /// What the frames are
    #[arg(value_enum)]
    protocol: Dialect,
    /// Read frames in hexadecimal, one a line, instead of bytes (gbt32960: a stream of frames; tesla: one envelope)
    #[arg(long)]
    hex: bool,
}

/// The protocols that can be decoded.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Dialect {
    /// Tesla Fleet Telemetry: FlatBuffers envelopes as they stand in a WebSocket message
    Tesla,
    /// GB/T 32960.3 of 2016 and 2025
    Gbt32960,
}

/// How many frames there were, and how many of them (or bytes between them) could not be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    frames: u64,
    failed: u64,
}

/// Longest line of hexadecimal: the largest frame of either protocol with a blank after each byte, and the line's end.
const LINE_BYTES_MAX: usize = 3 * tesla::MESSAGE_BYTES_MAX + 2;

/// How much of a stream is read at once.
const READ_BYTES: usize = 64 * 1024;

impl Decode {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        let (mut input, mut output) = (io::stdin().lock(), io::BufWriter::new(io::stdout().lock()));
        let counts = decode_all(self.protocol, self.hex, world.clock.now(), &mut input, &mut output)?;
        output.flush()?;
        match counts.failed {
            0 => Ok(()),
            failed => anyhow::bail!("{failed} of {} could not be decoded", counts.frames),
        }
    }
}

/// Decodes everything that `input` holds to lines on `output`. `now` is what a vehicle's clock is held against.
fn decode_all(
    protocol: Dialect,
    hex: bool,
    now: UtcMicros,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> io::Result<Counts> {
    let mut decoding = Decoding { reporter: Reporter::new(now), output, counts: Counts::default() };
    match (protocol, hex) {
        (_, true) => decoding.lines(protocol, input)?,
        (Dialect::Tesla, false) => {
            let mut envelope = Vec::new();
            input.take(tesla::MESSAGE_BYTES_MAX as u64 + 1).read_to_end(&mut envelope)?;
            decoding.tesla(&envelope)?;
        }
        (Dialect::Gbt32960, false) => decoding.stream(input)?,
    }
    Ok(decoding.counts)
}

struct Decoding<'o, W> {
    reporter: Reporter,
    output: &'o mut W,
    counts: Counts,
}

impl<W: Write> Decoding<'_, W> {
    fn lines(&mut self, protocol: Dialect, input: &mut impl BufRead) -> io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = input.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            if read == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
                self.failed(
                    json!({ "error": "the line is longer than any frame", "offset": LINE_BYTES_MAX / 2 }),
                )?;
                input.skip_until(b'\n')?;
                continue;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            match bytes_of_hex(&line) {
                Err(at) => {
                    self.failed(json!({ "error": "the line is not hexadecimal", "column": at + 1 }))?
                }
                Ok(frame) => match protocol {
                    Dialect::Tesla => self.tesla(&frame)?,
                    Dialect::Gbt32960 => {
                        self.stream(&mut frame.as_slice())?;
                    }
                },
            }
        }
    }

    fn tesla(&mut self, envelope: &[u8]) -> io::Result<()> {
        if envelope.len() > tesla::MESSAGE_BYTES_MAX {
            let error = "the envelope is larger than a vehicle may send";
            return self.failed(json!({ "error": error, "offset": tesla::MESSAGE_BYTES_MAX }));
        }
        let report = self.reporter.tesla(envelope);
        self.report(report)
    }

    /// A stream of GB/T 32960 frames, held in a buffer of the longest frame and one read. Each fault says where in the stream it lies.
    fn stream(&mut self, input: &mut impl Read) -> io::Result<()> {
        let mut buffer: Vec<u8> = Vec::new();
        let mut position = 0_u64;
        let mut is_at_end = false;
        loop {
            if !is_at_end {
                let read = input.by_ref().take(READ_BYTES as u64).read_to_end(&mut buffer)?;
                is_at_end = read < READ_BYTES;
            }
            let used = self.frames(&buffer, position)?;
            buffer.drain(..used);
            position += used as u64;
            if is_at_end {
                return match buffer.len() {
                    0 => Ok(()),
                    left => self.failed(json!({
                        "error": "the input ends inside a frame",
                        "offset": left,
                        "stream_offset": position,
                    })),
                };
            }
        }
    }

    /// Decodes the whole frames at the buffer's front; gives how many bytes are done with.
    fn frames(&mut self, buffer: &[u8], position: u64) -> io::Result<usize> {
        let mut used = 0;
        loop {
            let rest = &buffer[used..];
            let at = |offset: usize| position + (used + offset) as u64;
            match gbt32960::cut(rest, gbt32960::FRAME_BYTES_MAX, self.reporter.keys()) {
                Cut::Frame { skipped, length, .. } => {
                    self.garbage(skipped, at(0))?;
                    let report =
                        self.reporter.gbt32960(&rest[skipped..skipped + length]).map_err(|mut fault| {
                            fault["stream_offset"] = at(skipped).into();
                            fault
                        });
                    self.report(report)?;
                    used += skipped + length;
                }
                Cut::Wait { skipped, .. } => {
                    self.garbage(skipped, at(0))?;
                    return Ok(used + skipped);
                }
                Cut::Refused { skipped, why } => {
                    // The start bytes of the refused frame are among what is dropped.
                    let start = skipped.saturating_sub(2);
                    self.garbage(start, at(0))?;
                    self.failed(json!({ "error": why.code(), "offset": 0, "stream_offset": at(start) }))?;
                    used += skipped;
                }
            }
        }
    }

    fn garbage(&mut self, bytes: usize, stream_offset: u64) -> io::Result<()> {
        match bytes {
            0 => Ok(()),
            _ => self.failed(json!({
                "error": "no frame starts here",
                "offset": 0,
                "stream_offset": stream_offset,
                "skipped_bytes": bytes,
            })),
        }
    }

    fn report(&mut self, report: Result<Json, Json>) -> io::Result<()> {
        match report {
            Ok(line) => {
                self.counts.frames += 1;
                writeln!(self.output, "{line}")
            }
            Err(fault) => self.failed(fault),
        }
    }

    fn failed(&mut self, fault: Json) -> io::Result<()> {
        self.counts.frames += 1;
        self.counts.failed += 1;
        writeln!(self.output, "{fault}")
    }
}

/// The bytes of a line of hexadecimal; blanks between bytes and a `0x` before them are passed over. `Err` is the index of what is no digit.
fn bytes_of_hex(line: &[u8]) -> Result<Vec<u8>, usize> {
    let digits = line.iter().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace());
    let mut digits = digits.skip(if line.trim_ascii_start().starts_with(b"0x") { 2 } else { 0 });
    let nibble = |(at, byte): (usize, &u8)| match char::from(*byte).to_digit(16) {
        Some(digit) => Ok(digit as u8),
        None => Err(at),
    };
    let mut bytes = Vec::with_capacity(line.len() / 2);
    while let Some(high) = digits.next() {
        let low = digits.next().ok_or(line.len())?;
        bytes.push(nibble(high)? << 4 | nibble(low)?);
    }
    Ok(bytes)
}
