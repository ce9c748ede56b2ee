//! The battery, what driving takes from it and what charging puts in.

use rand::RngExt;
use rand::rngs::StdRng;

/// What plug a vehicle charges from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plug {
    /// Alternating current, up to 11 kW.
    Ac,
    /// Direct current, up to 170 kW, less above 60 %.
    Dc,
}

/// A traction battery with its cells.
#[derive(Clone, Debug)]
pub struct Battery {
    /// kWh when full and new.
    pub capacity_kwh: f64,
    /// kWh in it.
    pub energy_kwh: f64,
    /// V at the terminals.
    pub volts: f64,
    /// A, positive while discharging.
    pub amps: f64,
    /// mV of each cell in series.
    pub cells_mv: Vec<u16>,
    /// °C of each probe.
    pub probes_c: Vec<f64>,
    /// kΩ to the chassis.
    pub insulation_kohm: f64,
    /// kWh taken out since the vehicle was built.
    pub lifetime_used_kwh: f64,
    /// kWh won back by braking since the vehicle was built.
    pub lifetime_regained_kwh: f64,
    /// kWh that this charging session put in.
    pub session_kwh: f64,
    /// mV by which each cell differs from the mean, fixed at build.
    spread_mv: Vec<f64>,
    core_c: f64,
}

/// Ohm of the whole pack; makes the voltage sag under load.
const PACK_OHM: f64 = 0.045;

impl Battery {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        let series = [96usize, 100, 108][rng.random_range(0..3)];
        let capacity_kwh = [57.5, 60.0, 75.0, 78.4, 82.0][rng.random_range(0..5)];
        let mut battery = Self {
            capacity_kwh,
            energy_kwh: capacity_kwh * rng.random_range(0.18..0.92),
            volts: 0.0,
            amps: 0.0,
            cells_mv: vec![0; series],
            probes_c: vec![0.0; 12],
            insulation_kohm: rng.random_range(2_000.0f64..9_000.0).round(),
            lifetime_used_kwh: rng.random_range(500.0..20_000.0),
            lifetime_regained_kwh: rng.random_range(100.0..4_000.0),
            session_kwh: 0.0,
            spread_mv: (0..series).map(|_| rng.random_range(-4.0..4.0)).collect(),
            core_c: rng.random_range(14.0..30.0),
        };
        battery.settle(0.0, 0.0, 20.0, rng);
        battery
    }

    /// State of charge, 0 to 100.
    pub fn soc_percent(&self) -> f64 {
        (self.energy_kwh / self.capacity_kwh * 100.0).clamp(0.0, 100.0)
    }

    /// kW that a charger delivers now.
    pub(super) fn charge_kw(&self, plug: Plug) -> f64 {
        let soc = self.soc_percent();
        match plug {
            Plug::Ac => {
                if soc > 98.0 {
                    3.0
                } else {
                    10.9
                }
            }
            Plug::Dc => {
                let falling = 1.0 - ((soc - 20.0).max(0.0) / 80.0).powf(0.8) * 0.9;
                (165.0 * falling).clamp(8.0, 165.0)
            }
        }
    }

    /// Lets `kw` flow out (in, where negative) for a time; `outside_c` draws the temperature.
    pub(super) fn settle(&mut self, kw: f64, seconds: f64, outside_c: f64, rng: &mut StdRng) {
        let kwh = kw * seconds / 3600.0;
        self.energy_kwh = (self.energy_kwh - kwh).clamp(0.3, self.capacity_kwh);
        let soc = self.soc_percent() / 100.0;
        let open_mv = 3_180.0 + 640.0 * soc + 190.0 * soc.powi(6) - 120.0 * (1.0 - soc).powi(6);
        let series = self.cells_mv.len() as f64;
        let open_volts = open_mv * series / 1000.0;
        self.amps = kw * 1000.0 / open_volts;
        self.volts = open_volts - self.amps * PACK_OHM;
        let sagged_mv = self.volts * 1000.0 / series;
        for (cell, spread) in self.cells_mv.iter_mut().zip(&self.spread_mv) {
            *cell = (sagged_mv + spread + rng.random_range(-0.7..0.7)).round().clamp(0.0, 60_000.0) as u16;
        }
        let heat = self.amps * self.amps * PACK_OHM / 400_000.0;
        self.core_c += (heat + (outside_c + 4.0 - self.core_c) / 9_000.0) * seconds;
        for (index, probe) in self.probes_c.iter_mut().enumerate() {
            *probe = self.core_c + (index % 4) as f64 * 0.5;
        }
    }

    /// Adds what a step of driving used or won back to the counters.
    pub(super) fn count(&mut self, kw: f64, seconds: f64) {
        let kwh = kw.abs() * seconds / 3600.0;
        if kw >= 0.0 {
            self.lifetime_used_kwh += kwh;
        } else {
            self.lifetime_regained_kwh += kwh;
        }
    }

    /// The highest cell: its index from 0 and mV.
    pub fn cell_max(&self) -> (usize, u16) {
        extreme(&self.cells_mv, |a, b| a > b)
    }

    /// The lowest cell: its index from 0 and mV.
    pub fn cell_min(&self) -> (usize, u16) {
        extreme(&self.cells_mv, |a, b| a < b)
    }

    /// The warmest probe: its index from 0 and °C.
    pub fn probe_max(&self) -> (usize, f64) {
        extreme(&self.probes_c, |a, b| a > b)
    }

    /// The coldest probe: its index from 0 and °C.
    pub fn probe_min(&self) -> (usize, f64) {
        extreme(&self.probes_c, |a, b| a < b)
    }
}

/// The first element that beats all others, with its index; a battery always has cells and probes.
fn extreme<T: Copy + Default>(values: &[T], beats: impl Fn(&T, &T) -> bool) -> (usize, T) {
    let mut best = (0, values.first().copied().unwrap_or_default());
    for (index, value) in values.iter().enumerate() {
        if beats(value, &best.1) {
            best = (index, *value);
        }
    }
    best
}
