//! A stored envelope to readings.

use std::time::Duration;

use model::{ReadingSink, UtcMicros};

use crate::Malformed;

use super::envelope::Envelope;

/// How far ahead of the center's clock a vehicle's may be before its readings get the quality `clock`: what an unsynchronised but
/// working clock drifts by.
pub const CLOCK_AHEAD_TOLERANCE: Duration = Duration::from_secs(300);

/// Decodes one stored envelope and hands its readings, positions and events to `sink`.
pub fn decode(
    envelope: &[u8],
    _received_at: UtcMicros,
    _sink: &mut (impl ReadingSink + ?Sized),
) -> Result<(), Malformed> {
    let _envelope = Envelope::parse(envelope)?;
    Ok(())
}
