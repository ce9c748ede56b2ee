//! How information items lie in a data unit, in both editions and both directions.

use super::error::malformed;
use super::items::{
    AlarmLevel, Alarms, DriveMotor, Engine, Extremes, FaultCode, FuelCell, Hydrogen, Item, PackTemperatures,
    PackVoltages, Place, Stack, Supercapacitor, SupercapacitorExtremes, Vehicle,
};
use super::list::{CountWidth, Element, List, Octets, Words};
use super::unit::Signature;
use super::{Edition, Malformed, SignatureAlgorithm, TooLong};
use crate::reader::Reader;

/// The type byte that starts the signature instead of an item (2025).
pub(super) const SIGNATURE_START: u8 = 0xff;

impl<'a> Item<'a> {
    /// The type byte that the item has in the edition.
    pub fn kind(&self, edition: Edition) -> u8 {
        let by_edition = |in_2016, in_2025| match edition {
            Edition::V2016 => in_2016,
            Edition::V2025 => in_2025,
        };
        match self {
            Self::Vehicle(_) => 0x01,
            Self::DriveMotors(_) => 0x02,
            Self::FuelCell(_) | Self::Hydrogen(_) => 0x03,
            Self::Engine(_) => 0x04,
            Self::Place(_) => 0x05,
            Self::Extremes(_) => 0x06,
            Self::Alarms(_) => by_edition(0x07, 0x06),
            Self::CellVoltages(_) => by_edition(0x08, 0x07),
            Self::Temperatures(_) => by_edition(0x09, 0x08),
            Self::Stacks(_) => 0x30,
            Self::Supercapacitor(_) => 0x31,
            Self::SupercapacitorExtremes(_) => 0x32,
            Self::Custom { kind, .. } | Self::Unknown { kind, .. } => *kind,
        }
    }
}

impl<'a> Element<'a> for Item<'a> {
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        use Edition::{V2016, V2025};
        let offset = reader.offset();
        let kind = reader.u8()?;
        Ok(match (edition, kind) {
            (_, 0x01) => Self::Vehicle(Vehicle::read(reader, edition)?),
            (_, 0x02) => Self::DriveMotors(List::read(reader, edition)?),
            (V2016, 0x03) => Self::FuelCell(FuelCell::read(reader, edition)?),
            (V2025, 0x03) => Self::Hydrogen(Hydrogen::read(reader, edition)?),
            (_, 0x04) => Self::Engine(Engine::read(reader, edition)?),
            (_, 0x05) => Self::Place(Place::read(reader, edition)?),
            (V2016, 0x06) => Self::Extremes(Extremes::read(reader, edition)?),
            (V2016, 0x07) | (V2025, 0x06) => Self::Alarms(Alarms::read(reader, edition)?),
            (V2016, 0x08) | (V2025, 0x07) => Self::CellVoltages(List::read(reader, edition)?),
            (V2016, 0x09) | (V2025, 0x08) => Self::Temperatures(List::read(reader, edition)?),
            (V2025, 0x30) => Self::Stacks(List::read(reader, edition)?),
            (V2025, 0x31) => Self::Supercapacitor(Supercapacitor::read(reader, edition)?),
            (V2025, 0x32) => Self::SupercapacitorExtremes(SupercapacitorExtremes::read(reader, edition)?),
            (_, 0x80..=0xfe) => {
                let length = reader.u16()?;
                Self::Custom { kind, bytes: reader.take(usize::from(length))? }
            }
            (_, 0x09..=0x7f) => {
                Self::Unknown { kind, bytes: reader.take(unknown_length(reader.rest(), edition))? }
            }
            (_, 0x00 | 0xff) => return Err(malformed(offset, "no information item has this type")),
        })
    }

    fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.push(self.kind(edition));
        match self {
            Self::Vehicle(item) => item.write(edition, out),
            Self::DriveMotors(items) => items.write(edition, out),
            Self::FuelCell(item) => item.write(edition, out),
            Self::Hydrogen(item) => item.write(edition, out),
            Self::Engine(item) => item.write(edition, out),
            Self::Place(item) => item.write(edition, out),
            Self::Extremes(item) => item.write(edition, out),
            Self::Alarms(item) => item.write(edition, out),
            Self::CellVoltages(items) => items.write(edition, out),
            Self::Temperatures(items) => items.write(edition, out),
            Self::Stacks(items) => items.write(edition, out),
            Self::Supercapacitor(item) => item.write(edition, out),
            Self::SupercapacitorExtremes(item) => item.write(edition, out),
            Self::Custom { bytes, .. } => {
                write_u16_counted("maker-defined item", bytes, out)?;
                Ok(())
            }
            Self::Unknown { bytes, .. } => {
                out.extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

/// Appends bytes behind their length of two bytes.
pub(super) fn write_u16_counted(what: &'static str, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    let length =
        u16::try_from(bytes.len()).map_err(|_| TooLong { what, length: bytes.len(), length_max: 0xffff })?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// An item of a reserved type has no length that could be read. It goes to the end of the data unit, in 2025
/// to the first byte from which a signature block fills the rest exactly.
fn unknown_length(rest: &[u8], edition: Edition) -> usize {
    if edition == Edition::V2016 {
        return rest.len();
    }
    let starts_signature = |at: &usize| {
        let Some((&SIGNATURE_START, block)) = rest[*at..].split_first() else { return false };
        let mut reader = Reader::new(block);
        let known = matches!(reader.peek(), Some(1..=3));
        known && Signature::read(&mut reader, edition).is_ok() && reader.is_empty()
    };
    (0..rest.len()).find(starts_signature).unwrap_or(rest.len())
}

impl<'a> Element<'a> for Signature<'a> {
    fn read(reader: &mut Reader<'a>, _: Edition) -> Result<Self, Malformed> {
        let algorithm = SignatureAlgorithm(reader.u8()?);
        let r_length = reader.u16()?;
        let r = reader.take(usize::from(r_length))?;
        let s_length = reader.u16()?;
        Ok(Self { algorithm, r, s: reader.take(usize::from(s_length))? })
    }

    fn write(&self, _: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.push(self.algorithm.0);
        write_u16_counted("signature's R", self.r, out)?;
        write_u16_counted("signature's S", self.s, out)
    }
}

/// How a number stands in a frame.
trait Number: Sized {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed>;
    fn write(&self, out: &mut Vec<u8>);
}

macro_rules! number {
    ($($type:ident)*) => {$(
        impl Number for $type {
            #[inline]
            fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
                Ok(reader.$type()?)
            }

            #[inline]
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }
        }
    )*};
}

number!(u8 u16 u32);

/// Gives a struct whose numbers stand in a frame in its own order, in both editions alike, its two
/// directions.
macro_rules! fixed {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl<'a> Element<'a> for $type {
            fn read(reader: &mut Reader<'a>, _: Edition) -> Result<Self, Malformed> {
                Ok(Self { $($field: Number::read(reader)?),* })
            }

            fn write(&self, _: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
                $(self.$field.write(out);)*
                Ok(())
            }
        }
    };
}

fixed!(Hydrogen {
    temperature_max,
    temperature_probe,
    concentration_max,
    concentration_sensor,
    pressure_max,
    pressure_sensor,
    dcdc,
    remaining_fuel,
    dcdc_temperature,
});
fixed!(Extremes {
    voltage_max_pack,
    voltage_max_cell,
    voltage_max,
    voltage_min_pack,
    voltage_min_cell,
    voltage_min,
    temperature_max_pack,
    temperature_max_probe,
    temperature_max,
    temperature_min_pack,
    temperature_min_probe,
    temperature_min,
});
fixed!(SupercapacitorExtremes {
    voltage_max_system,
    voltage_max_unit,
    voltage_max,
    voltage_min_system,
    voltage_min_unit,
    voltage_min,
    temperature_max_system,
    temperature_max_probe,
    temperature_max,
    temperature_min_system,
    temperature_min_probe,
    temperature_min,
});
fixed!(AlarmLevel { flag, level });

impl<'a> Element<'a> for FaultCode {
    fn read(reader: &mut Reader<'a>, _: Edition) -> Result<Self, Malformed> {
        Ok(Self(reader.u32()?))
    }

    fn write(&self, _: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.0.write(out);
        Ok(())
    }
}

/// Reads a number that only 2016 has.
fn only_2016<T: Number>(reader: &mut Reader<'_>, edition: Edition) -> Result<Option<T>, Malformed> {
    match edition {
        Edition::V2016 => T::read(reader).map(Some),
        Edition::V2025 => Ok(None),
    }
}

fn write_only_2016<T: Number>(value: Option<T>, invalid: T, edition: Edition, out: &mut Vec<u8>) {
    if edition == Edition::V2016 {
        value.unwrap_or(invalid).write(out);
    }
}

impl<'a> Element<'a> for Vehicle {
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        Ok(Self {
            state: reader.u8()?,
            charging: reader.u8()?,
            mode: reader.u8()?,
            speed: reader.u16()?,
            odometer: reader.u32()?,
            voltage: reader.u16()?,
            current: reader.u16()?,
            soc: reader.u8()?,
            dcdc: reader.u8()?,
            gear: reader.u8()?,
            insulation: reader.u16()?,
            accelerator: only_2016(reader, edition)?,
            brake: only_2016(reader, edition)?,
        })
    }

    fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.extend_from_slice(&[self.state, self.charging, self.mode]);
        self.speed.write(out);
        self.odometer.write(out);
        self.voltage.write(out);
        self.current.write(out);
        out.extend_from_slice(&[self.soc, self.dcdc, self.gear]);
        self.insulation.write(out);
        write_only_2016(self.accelerator, 0xff, edition, out);
        write_only_2016(self.brake, 0xff, edition, out);
        Ok(())
    }
}

impl<'a> Element<'a> for DriveMotor {
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        Ok(Self {
            number: reader.u8()?,
            state: reader.u8()?,
            controller_temperature: reader.u8()?,
            speed: reader.u16()?,
            torque: match edition {
                Edition::V2016 => u32::from(reader.u16()?),
                Edition::V2025 => reader.u32()?,
            },
            temperature: reader.u8()?,
            controller_voltage: only_2016(reader, edition)?,
            controller_current: only_2016(reader, edition)?,
        })
    }

    fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        out.extend_from_slice(&[self.number, self.state, self.controller_temperature]);
        self.speed.write(out);
        match edition {
            Edition::V2016 => u16::try_from(self.torque).unwrap_or(u16::MAX).write(out),
            Edition::V2025 => self.torque.write(out),
        }
        self.temperature.write(out);
        write_only_2016(self.controller_voltage, 0xffff, edition, out);
        write_only_2016(self.controller_current, 0xffff, edition, out);
        Ok(())
    }
}

impl<'a> Element<'a> for FuelCell<'a> {
    fn read(reader: &mut Reader<'a>, _: Edition) -> Result<Self, Malformed> {
        Ok(Self {
            voltage: reader.u16()?,
            current: reader.u16()?,
            consumption: reader.u16()?,
            probes: Octets::read(reader, CountWidth::Word)?,
            temperature_max: reader.u16()?,
            temperature_probe: reader.u8()?,
            concentration_max: reader.u16()?,
            concentration_sensor: reader.u8()?,
            pressure_max: reader.u16()?,
            pressure_sensor: reader.u8()?,
            dcdc: reader.u8()?,
        })
    }

    fn write(&self, _: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.voltage.write(out);
        self.current.write(out);
        self.consumption.write(out);
        self.probes.write(CountWidth::Word, out)?;
        self.temperature_max.write(out);
        self.temperature_probe.write(out);
        self.concentration_max.write(out);
        self.concentration_sensor.write(out);
        self.pressure_max.write(out);
        out.extend_from_slice(&[self.pressure_sensor, self.dcdc]);
        Ok(())
    }
}

impl<'a> Element<'a> for Engine {
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        Ok(Self {
            state: only_2016(reader, edition)?,
            speed: reader.u16()?,
            consumption: only_2016(reader, edition)?,
        })
    }

    fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        write_only_2016(self.state, 0xff, edition, out);
        self.speed.write(out);
        write_only_2016(self.consumption, 0xffff, edition, out);
        Ok(())
    }
}

impl<'a> Element<'a> for Place {
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        Ok(Self {
            state: reader.u8()?,
            system: match edition {
                Edition::V2016 => None,
                Edition::V2025 => Some(reader.u8()?),
            },
            longitude: reader.u32()?,
            latitude: reader.u32()?,
        })
    }

    fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.state.write(out);
        if edition == Edition::V2025 {
            self.system.unwrap_or(0xff).write(out);
        }
        self.longitude.write(out);
        self.latitude.write(out);
        Ok(())
    }
}

impl<'a> Element<'a> for Alarms<'a> {
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        Ok(Self {
            level: reader.u8()?,
            flags: reader.u32()?,
            battery: List::read(reader, edition)?,
            motor: List::read(reader, edition)?,
            engine: List::read(reader, edition)?,
            other: List::read(reader, edition)?,
            levels: match edition {
                Edition::V2016 => None,
                Edition::V2025 => Some(List::read(reader, edition)?),
            },
        })
    }

    fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.level.write(out);
        self.flags.write(out);
        for codes in [&self.battery, &self.motor, &self.engine, &self.other] {
            codes.write(edition, out)?;
        }
        match (edition, &self.levels) {
            (Edition::V2016, _) => Ok(()),
            (Edition::V2025, Some(levels)) => levels.write(edition, out),
            (Edition::V2025, None) => List::<AlarmLevel>::absent(0xff).write(edition, out),
        }
    }
}

impl<'a> PackVoltages<'a> {
    fn cells_width(edition: Edition) -> CountWidth {
        match edition {
            Edition::V2016 => CountWidth::Byte,
            Edition::V2025 => CountWidth::Word,
        }
    }
}

impl<'a> Element<'a> for PackVoltages<'a> {
    fn read(reader: &mut Reader<'a>, edition: Edition) -> Result<Self, Malformed> {
        Ok(Self {
            pack: reader.u8()?,
            voltage: reader.u16()?,
            current: reader.u16()?,
            cells_total: only_2016(reader, edition)?,
            first_cell: only_2016(reader, edition)?,
            cells: Words::read(reader, Self::cells_width(edition))?,
        })
    }

    fn write(&self, edition: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.pack.write(out);
        self.voltage.write(out);
        self.current.write(out);
        write_only_2016(self.cells_total, 0xffff, edition, out);
        write_only_2016(self.first_cell, 0xffff, edition, out);
        self.cells.write(Self::cells_width(edition), out)
    }
}

impl<'a> Element<'a> for PackTemperatures<'a> {
    fn read(reader: &mut Reader<'a>, _: Edition) -> Result<Self, Malformed> {
        Ok(Self { pack: reader.u8()?, probes: Octets::read(reader, CountWidth::Word)? })
    }

    fn write(&self, _: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.pack.write(out);
        self.probes.write(CountWidth::Word, out)
    }
}

impl<'a> Element<'a> for Stack<'a> {
    fn read(reader: &mut Reader<'a>, _: Edition) -> Result<Self, Malformed> {
        Ok(Self {
            number: reader.u8()?,
            voltage: reader.u16()?,
            current: reader.u16()?,
            hydrogen_pressure: reader.u16()?,
            air_pressure: reader.u16()?,
            air_temperature: reader.u8()?,
            probes: Octets::read(reader, CountWidth::Word)?,
        })
    }

    fn write(&self, _: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.number.write(out);
        self.voltage.write(out);
        self.current.write(out);
        self.hydrogen_pressure.write(out);
        self.air_pressure.write(out);
        self.air_temperature.write(out);
        self.probes.write(CountWidth::Word, out)
    }
}

impl<'a> Element<'a> for Supercapacitor<'a> {
    fn read(reader: &mut Reader<'a>, _: Edition) -> Result<Self, Malformed> {
        Ok(Self {
            system: reader.u8()?,
            voltage: reader.u16()?,
            current: reader.u16()?,
            cells: Words::read(reader, CountWidth::Word)?,
            probes: Octets::read(reader, CountWidth::Word)?,
        })
    }

    fn write(&self, _: Edition, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.system.write(out);
        self.voltage.write(out);
        self.current.write(out);
        self.cells.write(CountWidth::Word, out)?;
        self.probes.write(CountWidth::Word, out)
    }
}
