//! Answers to what a vehicle or a platform sends.

use model::UtcMicros;

use super::frame::encode;
use super::{ActivationResponse, Command, Edition, Encryption, Flag, Header, TooLong, Unit, WireTime};

/// What is needed to answer a frame later, when its bytes are gone: a small copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket {
    header: Header,
    time: Option<WireTime>,
}

impl Ticket {
    /// Of a frame's header and the time in its data unit. `time` is `None` where there is none or the unit
    /// can't be read.
    pub fn new(header: Header, time: Option<WireTime>) -> Self {
        Self { header, time }
    }

    /// The header of the frame to be answered.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Appends the answer: command and VIN repeated, the flag (as the edition knows it), the time of the
    /// command. A heartbeat's answer is empty, a time calibration's carries `now`; a frame whose own time
    /// can't be read is answered with `now` too. Answers are never encrypted: they hold nothing that the wire
    /// does not show anyway.
    pub fn answer(&self, flag: Flag, now: UtcMicros, out: &mut Vec<u8>) {
        let now = WireTime::from_utc(now);
        let unit = match self.header.command {
            Command::HEARTBEAT => Unit::Empty,
            Command::TIME_CALIBRATION => Unit::Time(now),
            _ => Unit::Time(self.time.unwrap_or(now)),
        };
        let flag = flag.in_edition(self.header.edition);
        let header = Header { flag, encryption: Encryption::NONE, ..self.header };
        encode(&header, &unit, out).expect("six bytes fit a data unit");
    }

    /// Appends the response to an activation (0A), a command of its own.
    pub fn activation_response(&self, response: ActivationResponse, out: &mut Vec<u8>) {
        let header = Header {
            edition: Edition::V2025,
            command: Command::ACTIVATION_RESPONSE,
            flag: Flag::COMMAND,
            encryption: Encryption::NONE,
            ..self.header
        };
        encode(&header, &Unit::ActivationResponse(response), out).expect("two bytes fit a data unit");
    }
}

/// Appends a command to a terminal: query (80), set (81) or control (82), with a time and a body that both
/// sides agree on.
pub fn encode_downlink(
    edition: Edition,
    command: Command,
    vin: [u8; 17],
    now: UtcMicros,
    body: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let header = Header { edition, command, flag: Flag::COMMAND, vin, encryption: Encryption::NONE };
    encode(&header, &Unit::Downlink { time: WireTime::from_utc(now), body }, out)
}
