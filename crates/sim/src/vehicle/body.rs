//! What is around the drive: cabin, tyres, doors, media, and the faults that come and go.

use model::UtcMicros;
use rand::RngExt;
use rand::rngs::StdRng;

/// What the radio says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Title {
    /// Who plays.
    pub artist: &'static str,
    /// What.
    pub title: &'static str,
    /// From which album.
    pub album: &'static str,
    /// Seconds.
    pub duration_s: u32,
}

/// Invented titles of invented people.
pub(super) const TITLES: [Title; 6] = [
    Title { artist: "北风乐队", title: "长江的早晨", album: "河流", duration_s: 214 },
    Title { artist: "The Idle Pumps", title: "Seventeen Characters", album: "Check Digit", duration_s: 187 },
    Title { artist: "Lin & the Ledger", title: "Double Entry", album: "Balance", duration_s: 251 },
    Title { artist: "晚班", title: "高架桥", album: "夜车", duration_s: 198 },
    Title { artist: "Anna Weiß", title: "Grüne Welle", album: "Ampeln", duration_s: 232 },
    Title { artist: "Podcast", title: "Episode 112: \"Range\"", album: "On the Road", duration_s: 2_710 },
];

/// A fault that is active or just ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which.
    pub kind: FaultKind,
    /// When it began.
    pub since: UtcMicros,
    /// When it ended, once it has.
    pub ended_at: Option<UtcMicros>,
}

/// The faults that simulated vehicles know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// The battery is too warm.
    BatteryHot,
    /// The state of charge is low.
    SocLow,
    /// The insulation resistance is low.
    InsulationLow,
    /// The motor's controller is too warm.
    InverterHot,
    /// The battery burns or is about to (level 3).
    ThermalEvent,
}

impl FaultKind {
    /// The bit in the alarm flags of GB/T 32960.3 (2016 table 18, 2025 the same numbers).
    pub fn gbt_bit(self) -> u8 {
        match self {
            Self::BatteryHot => 1,
            Self::SocLow => 4,
            Self::InsulationLow => 11,
            Self::InverterHot => 15,
            Self::ThermalEvent => 23,
        }
    }

    /// Severity, 1 to 3.
    pub fn level(self) -> u8 {
        match self {
            Self::SocLow => 1,
            Self::BatteryHot | Self::InsulationLow | Self::InverterHot => 2,
            Self::ThermalEvent => 3,
        }
    }

    /// A name in the manner of vehicle alerts.
    pub fn alert_name(self) -> &'static str {
        match self {
            Self::BatteryHot => "BMS_a066_packHot",
            Self::SocLow => "BMS_a018_socLow",
            Self::InsulationLow => "BMS_a035_isolationLow",
            Self::InverterHot => "DI_a184_inverterHot",
            Self::ThermalEvent => "BMS_a174_thermalEvent",
        }
    }
}

/// Cabin, tyres, doors and media.
#[derive(Clone, Debug)]
pub struct Body {
    /// °C outside.
    pub outside_c: f64,
    /// °C in the cabin.
    pub inside_c: f64,
    /// bar: front left, front right, rear left, rear right.
    pub tyres_bar: [f64; 4],
    /// Whether the doors are locked.
    pub locked: bool,
    /// Open doors: driver front, driver rear, passenger front, passenger rear, trunk front, trunk rear.
    pub doors: [bool; 6],
    /// Whether the driver's belt is latched.
    pub belted: bool,
    /// Climate on.
    pub climate_on: bool,
    /// Volume, 0 to 11.
    pub volume: f64,
    /// What plays; `None` when nothing does.
    pub title: Option<Title>,
    /// Seconds into it.
    pub elapsed_s: f64,
    /// Turn signal: −1 left, 0 off, 1 right.
    pub blinker: i8,
}

impl Body {
    pub(super) fn new(rng: &mut StdRng) -> Self {
        let outside_c = rng.random_range(-6.0..36.0);
        let base = rng.random_range(2.5..2.95);
        Self {
            outside_c,
            inside_c: outside_c + 2.0,
            tyres_bar: std::array::from_fn(|_| base + rng.random_range(-0.05..0.05)),
            locked: true,
            doors: [false; 6],
            belted: false,
            climate_on: false,
            volume: rng.random_range(2.0f64..7.0).round(),
            title: None,
            elapsed_s: 0.0,
            blinker: 0,
        }
    }

    /// Lets time pass; `driving` and `standing` decide what people do.
    pub(super) fn settle(&mut self, seconds: f64, driving: bool, rng: &mut StdRng) {
        self.outside_c += rng.random_range(-0.004..0.004) * seconds;
        let wish = if driving { 21.5 } else { self.outside_c + 3.0 };
        self.inside_c += (wish - self.inside_c) / if driving { 240.0 } else { 1_800.0 } * seconds;
        let warm = if driving { 0.25 } else { 0.0 };
        for tyre in &mut self.tyres_bar {
            *tyre += (2.75 + warm - *tyre) * 0.000_02 * seconds;
        }
        self.locked = !driving || self.belted;
        self.belted = driving;
        self.climate_on = driving;
        self.blinker = match driving && rng.random_bool(0.06) {
            true if rng.random_bool(0.5) => 1,
            true => -1,
            false => 0,
        };
        self.play(seconds, driving, rng);
    }

    /// Opens the driver's door for a moment: at the start and the end of a trip.
    pub(super) fn open_door(&mut self, open: bool) {
        self.doors[0] = open;
        self.locked = !open;
    }

    fn play(&mut self, seconds: f64, driving: bool, rng: &mut StdRng) {
        self.elapsed_s += seconds;
        let over = self.title.is_none_or(|title| self.elapsed_s > f64::from(title.duration_s));
        if !driving {
            self.title = None;
        } else if over {
            self.title = Some(TITLES[rng.random_range(0..TITLES.len())]);
            self.elapsed_s = 0.0;
        } else if rng.random_bool(0.01) {
            self.volume = (self.volume + rng.random_range(-1.0f64..1.0).round()).clamp(0.0, 11.0);
        }
    }
}
