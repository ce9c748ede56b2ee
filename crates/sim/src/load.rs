//! Messages for measuring and for counting, cheap to make and of a given size.
//!
//! [`TeslaLoad`] and [`GbtLoad`] fill the benchmark's messages with values that vary in steps of 0.01, because regular ones compress
//! far better than real ones. [`Numbered`] makes messages that can be told apart in SQL: each has its own second and its own odometer.

use model::{UtcMicros, Vin};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use wire::gbt32960::{
    DriveMotor, Edition, Item, List, PackTemperatures, PackVoltages, Place, Vehicle, Words, word,
};
use wire::tesla::Topic;
use wire::tesla::payload::{Datum, Value, encode_vitals};

use crate::client::{Body, Message, Source};
use crate::gbt32960::data_frame;

/// Fields of a benchmark's message: numbers that move, two that name a state, and a text that fills it up.
const NUMBER_FIELDS: [u32; 17] = [4, 5, 6, 7, 8, 12, 15, 16, 17, 18, 25, 27, 69, 70, 85, 98, 99];
/// The text that a message is filled up with, cut to length.
const FILLING: &str = "The quick brown fox jumps over the lazy dog; 0123456789; ";

/// Messages of 20 datums and a given size.
pub struct TeslaLoad {
    rng: StdRng,
    vin: Vin,
    left: u64,
    number: u64,
    filling_bytes: usize,
    values: [f64; NUMBER_FIELDS.len()],
}

impl TeslaLoad {
    /// A vehicle that sends `messages` messages whose envelopes have `message_bytes`.
    pub fn new(seed: u64, vin: Vin, messages: u64, message_bytes: usize) -> Self {
        let mut load = Self {
            rng: StdRng::seed_from_u64(seed),
            vin,
            left: messages,
            number: 0,
            filling_bytes: 0,
            values: [50.0; NUMBER_FIELDS.len()],
        };
        let shortest = envelope_bytes(vin, &load.payload(UtcMicros::from_millis(1_780_000_000_123)));
        load.filling_bytes = message_bytes.saturating_sub(shortest);
        load
    }

    fn payload(&mut self, now: UtcMicros) -> Vec<u8> {
        for value in &mut self.values {
            let step = f64::from(self.rng.random_range(-120i32..=120));
            *value = ((*value * 100.0 + step).round() / 100.0).clamp(-200.0, 900.0);
        }
        let filling: String = FILLING.chars().cycle().take(self.filling_bytes).collect();
        let numbers = NUMBER_FIELDS.iter().zip(&self.values);
        let gear = Datum { field: 10, value: Value::Enumeration { kind: 9, number: 5 } };
        let locked = Datum { field: 59, value: Value::Boolean(self.rng.next_u32().is_multiple_of(2)) };
        let text = Datum { field: 248, value: Value::Text(&filling) };
        let data = numbers
            .map(|(field, value)| Datum { field: *field, value: Value::Double(*value) })
            .chain([gear, locked, text]);
        let mut out = Vec::with_capacity(640);
        encode_vitals(data, Some(now), self.vin.as_str(), false, &mut out);
        out
    }
}

impl Source for TeslaLoad {
    fn next(&mut self, now: UtcMicros) -> Option<Message> {
        self.left = self.left.checked_sub(1)?;
        self.number += 1;
        let created_at = u32::try_from(now.0 / UtcMicros::PER_SECOND).unwrap_or(0);
        let payload = self.payload(now);
        Some(Message { number: self.number, body: Body::Tesla { topic: Topic::Vitals, payload, created_at } })
    }
}

/// The length of the envelope that a payload of topic `V` is sent in.
pub fn envelope_bytes(vin: Vin, payload: &[u8]) -> usize {
    envelope(vin, Topic::Vitals, payload, 1).len()
}

/// The frame that a center stores of a message: the envelope of a Tesla vehicle, the frame of a GB/T one.
pub fn sent_bytes(vin: Vin, message: &Message) -> Vec<u8> {
    match &message.body {
        Body::Tesla { topic, payload, created_at } => envelope(vin, *topic, payload, *created_at),
        Body::Gbt { frame } => frame.clone(),
    }
}

fn envelope(vin: Vin, topic: Topic, payload: &[u8], created_at: u32) -> Vec<u8> {
    let sender = format!("vehicle_device.{vin}");
    let stream = wire::tesla::Stream {
        created_at,
        sender_id: sender.as_bytes(),
        payload,
        device_type: b"vehicle_device",
        device_id: vin.as_bytes(),
        delivered_at_epoch_ms: 0,
    };
    let mut envelope = Vec::new();
    wire::tesla::encode_stream(&[b'0'; 32], topic.as_str().as_bytes(), b"", &stream, &mut envelope);
    envelope
}

/// Realtime frames of a given size: vehicle, motor, position, temperatures and as many cells as fill it.
pub struct GbtLoad {
    rng: StdRng,
    vin: Vin,
    left: u64,
    number: u64,
    edition: Edition,
    cells: Vec<[u8; 2]>,
}

impl GbtLoad {
    /// A vehicle that sends `messages` frames of `frame_bytes` (or one more: a cell takes two).
    pub fn new(seed: u64, vin: Vin, messages: u64, frame_bytes: usize, edition: Edition) -> Self {
        let mut load = Self {
            rng: StdRng::seed_from_u64(seed),
            vin,
            left: messages,
            number: 0,
            edition,
            cells: Vec::new(),
        };
        let shortest = load.frame(UtcMicros::from_seconds(1_780_000_000)).len();
        let cells = frame_bytes.saturating_sub(shortest).div_ceil(2).min(200);
        load.cells = vec![word(3_700); cells];
        load
    }

    fn frame(&mut self, now: UtcMicros) -> Vec<u8> {
        for cell in &mut self.cells {
            *cell = word(3_700 + self.rng.random_range(0u16..40));
        }
        let rng = &mut self.rng;
        let mut noisy = |middle: u16, spread: u16| middle + rng.random_range(0..spread);
        let vehicle = Vehicle {
            state: 1,
            charging: 3,
            mode: 1,
            speed: noisy(600, 400),
            odometer: 1_000_000 + u32::try_from(self.number / 10).unwrap_or(0),
            voltage: noisy(3_700, 60),
            current: noisy(10_200, 900),
            soc: 71,
            dcdc: 1,
            gear: 0x2e,
            insulation: noisy(4_000, 3),
            accelerator: Some(31),
            brake: Some(0),
        };
        let motors = [DriveMotor {
            number: 1,
            state: 1,
            controller_temperature: 91,
            speed: noisy(24_000, 3_000),
            torque: u32::from(noisy(20_500, 900)),
            temperature: 95,
            controller_voltage: Some(noisy(3_690, 60)),
            controller_current: Some(noisy(10_200, 900)),
        }];
        let place = Place {
            state: 0,
            system: Some(1),
            longitude: 121_470_000 + u32::from(noisy(0, 9_000)),
            latitude: 31_230_000 + u32::from(noisy(0, 9_000)),
        };
        let probes = [64, 64, 65, 65, 64, 66, 65, 64];
        let voltages = [PackVoltages {
            pack: 1,
            voltage: vehicle.voltage,
            current: vehicle.current,
            cells_total: Some(self.cells.len() as u16),
            first_cell: Some(1),
            cells: Words::of(&self.cells),
        }];
        let temperatures = [PackTemperatures { pack: 1, probes: wire::gbt32960::Octets::of(&probes) }];
        let items = [
            Item::Vehicle(vehicle),
            Item::DriveMotors(List::of(&motors).expect("one motor")),
            Item::Place(place),
            Item::CellVoltages(List::of(&voltages).expect("one pack")),
            Item::Temperatures(List::of(&temperatures).expect("one pack")),
        ];
        data_frame(self.vin, self.edition, &items, None, now)
    }
}

impl Source for GbtLoad {
    fn next(&mut self, now: UtcMicros) -> Option<Message> {
        self.left = self.left.checked_sub(1)?;
        self.number += 1;
        Some(Message { number: self.number, body: Body::Gbt { frame: self.frame(now) } })
    }
}

/// Messages that can be told apart in SQL: message `n` of a vehicle is of the second `n` after a start, and says an odometer of
/// `first + n` (tenths of kilometres, or hundredths of a kWh used), which nobody else says.
pub struct Numbered {
    vin: Vin,
    start: UtcMicros,
    first: u32,
    number: u64,
    kind: NumberedKind,
}

/// In which protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NumberedKind {
    /// Tesla Fleet Telemetry, 20 datums.
    Tesla,
    /// GB/T 32960.3.
    Gbt(Edition),
}

impl Numbered {
    /// A vehicle whose first message has number `after + 1`; `start` must lie in the past by more seconds than it will send messages.
    pub fn new(vin: Vin, start: UtcMicros, first: u32, kind: NumberedKind, after: u64) -> Self {
        Self { vin, start, first, number: after, kind }
    }

    /// The time that message `number` carries.
    pub fn time(start: UtcMicros, number: u64) -> UtcMicros {
        start.plus_micros(i64::try_from(number).unwrap_or(i64::MAX).saturating_mul(UtcMicros::PER_SECOND))
    }

    fn tesla(&self, time: UtcMicros, count: u32) -> Body {
        let mut payload = Vec::new();
        let counter = Datum { field: 102, value: Value::Double(f64::from(count) / 100.0) };
        let others = NUMBER_FIELDS.iter().map(|field| Datum {
            field: *field,
            value: Value::Double(f64::from(count % 1_000) / 10.0 + f64::from(*field)),
        });
        let text = format!("message {count}");
        let text = Datum { field: 248, value: Value::Text(&text) };
        let locked = Datum { field: 59, value: Value::Boolean(count.is_multiple_of(2)) };
        let data = [counter].into_iter().chain(others).chain([locked, text]);
        encode_vitals(data, Some(time), self.vin.as_str(), false, &mut payload);
        let created_at = u32::try_from(time.0 / UtcMicros::PER_SECOND).unwrap_or(0);
        Body::Tesla { topic: Topic::Vitals, payload, created_at }
    }

    fn gbt(&self, edition: Edition, time: UtcMicros, count: u32) -> Body {
        let cells: Vec<[u8; 2]> =
            (0..96u16).map(|cell| word(3_600 + (count % 200) as u16 + cell % 7)).collect();
        let vehicle = Vehicle {
            state: 1,
            charging: 3,
            mode: 1,
            speed: (count % 1_200) as u16,
            odometer: count,
            voltage: 3_700 + (count % 100) as u16,
            current: 10_000 + (count % 500) as u16,
            soc: (count % 100) as u8,
            dcdc: 1,
            gear: 0x2e,
            insulation: 4_000,
            accelerator: Some((count % 100) as u8),
            brake: Some(0),
        };
        let voltages = [PackVoltages {
            pack: 1,
            voltage: vehicle.voltage,
            current: vehicle.current,
            cells_total: Some(96),
            first_cell: Some(1),
            cells: Words::of(&cells),
        }];
        let items = [Item::Vehicle(vehicle), Item::CellVoltages(List::of(&voltages).expect("one pack"))];
        Body::Gbt { frame: data_frame(self.vin, edition, &items, None, time) }
    }
}

impl Source for Numbered {
    fn next(&mut self, now: UtcMicros) -> Option<Message> {
        let time = Self::time(self.start, self.number + 1);
        if time >= now {
            // A vehicle's clock does not run ahead of the center's.
            return None;
        }
        self.number += 1;
        let count = self.first + u32::try_from(self.number).unwrap_or(u32::MAX);
        let body = match self.kind {
            NumberedKind::Tesla => self.tesla(time, count),
            NumberedKind::Gbt(edition) => self.gbt(edition, time, count),
        };
        Some(Message { number: self.number, body })
    }
}
