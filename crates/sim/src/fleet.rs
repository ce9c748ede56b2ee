//! A fleet: many vehicles of one seed, each with its own protocol, certificate and life.

use std::sync::Arc;

use model::{Clock, Country, Vin};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;
use wire::gbt32960::{Edition, Signer};

use crate::client::{
    ClientError, Credentials, Driver, Endpoint, Outages, Pace, Report, Source, Speaks, Target, Trust,
};
use crate::gbt32960::{GbtVehicle, LoginFacts, iccid};
use crate::tesla::{Firmware, TeslaVehicle};
use crate::vehicle::{Vehicle, vin};

/// Which protocols a fleet speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mix {
    /// Tesla Fleet Telemetry; one vehicle in four has the older firmware.
    Tesla,
    /// GB/T 32960.3-2016.
    Gbt2016,
    /// GB/T 32960.3-2025; one vehicle in four signs.
    Gbt2025,
    /// Half Tesla, a quarter each edition of GB/T 32960.3.
    Mixed,
}

/// What one vehicle of a fleet speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// Tesla Fleet Telemetry.
    Tesla(Firmware),
    /// GB/T 32960.3, with signed data or not.
    Gbt(Edition, bool),
}

impl Mix {
    /// What vehicle `index` speaks.
    pub fn dialect(self, index: u32) -> Dialect {
        let in_four = index % 4;
        let every_fourth = (index / 4).is_multiple_of(4);
        let text = if every_fourth { Firmware::Text } else { Firmware::Typed };
        match (self, in_four) {
            (Self::Tesla, _) => Dialect::Tesla(if in_four == 0 { Firmware::Text } else { Firmware::Typed }),
            (Self::Gbt2016, _) => Dialect::Gbt(Edition::V2016, false),
            (Self::Gbt2025, _) => Dialect::Gbt(Edition::V2025, in_four == 0),
            (Self::Mixed, 0 | 2) => Dialect::Tesla(text),
            (Self::Mixed, 1) => Dialect::Gbt(Edition::V2016, false),
            (Self::Mixed, _) => Dialect::Gbt(Edition::V2025, every_fourth),
        }
    }
}

/// A fleet that is to be simulated.
pub struct Fleet {
    /// Number of its first vehicle; VINs follow from it.
    pub first: u32,
    /// How many.
    pub vehicles: u32,
    /// What they speak.
    pub mix: Mix,
    /// The one seed of all that they do.
    pub seed: u64,
    /// Where they drive.
    pub country: Country,
    /// Where Tesla vehicles connect to.
    pub tesla: Endpoint,
    /// Where GB/T vehicles connect to.
    pub gbt: Endpoint,
    /// Whether GB/T vehicles use TLS.
    pub gbt_tls: bool,
    /// When they send.
    pub pace: Pace,
    /// Whether and how they lose their connections.
    pub outages: Option<Outages>,
    /// Counters.
    pub report: Arc<Report>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Fleet {
    /// Starts all vehicles as tasks of the running tokio runtime; `credentials` gives each its certificate.
    pub fn start(
        &self,
        trust: &Trust,
        credentials: impl Fn(&Vin) -> Result<Credentials, ClientError>,
        stop: &watch::Receiver<bool>,
    ) -> Result<JoinSet<()>, ClientError> {
        let mut tasks = JoinSet::new();
        for index in self.first..self.first + self.vehicles {
            let target = self.target(index, trust, &credentials)?;
            let driver = Driver {
                vehicle: index,
                target,
                pace: self.pace,
                directory: None,
                outages: self.outages,
                report: self.report.clone(),
                observer: None,
                clock: self.clock.clone(),
                seed: self.seed.rotate_left(17) ^ u64::from(index),
            };
            let (source, stop) = (self.source(index), stop.clone());
            tasks.spawn(async move {
                driver.run(source, stop).await;
            });
        }
        Ok(tasks)
    }

    /// The file that `domicile vehicle import` reads, with every vehicle of the fleet.
    pub fn registration(&self) -> String {
        let mut csv = String::from("vin,country,maker,model,iccid,public_key\n");
        for index in self.first..self.first + self.vehicles {
            let dialect = self.mix.dialect(index);
            let maker = match dialect {
                Dialect::Tesla(_) => "Tesla",
                Dialect::Gbt(..) => "Shanghai Simulated Motors",
            };
            let iccid = match dialect {
                Dialect::Tesla(_) => String::new(),
                Dialect::Gbt(..) => String::from_utf8_lossy(&iccid(index)).into_owned(),
            };
            let key =
                signer(self.seed, index, dialect).map_or(String::new(), |signer| signer.public_key_pem());
            let (vin, country) = (vin(index), self.country);
            csv.push_str(&format!("{vin},{country},{maker},Sim,{iccid},\"{key}\"\n"));
        }
        csv
    }

    fn target(
        &self,
        index: u32,
        trust: &Trust,
        credentials: impl Fn(&Vin) -> Result<Credentials, ClientError>,
    ) -> Result<Target, ClientError> {
        let vin = vin(index);
        let (endpoint, speaks, with_tls) = match self.mix.dialect(index) {
            Dialect::Tesla(_) => (&self.tesla, Speaks::Tesla, true),
            Dialect::Gbt(edition, _) => {
                (&self.gbt, Speaks::Gbt(LoginFacts::of(edition, index)), self.gbt_tls)
            }
        };
        let tls = if with_tls { Some(trust.connector(Some(&credentials(&vin)?))?) } else { None };
        Ok(Target { endpoint: endpoint.clone(), tls, source: None, vin, speaks })
    }

    fn source(&self, index: u32) -> Box<dyn Source> {
        let vehicle = Vehicle::new(self.seed, index, self.country, self.clock.now());
        let dialect = self.mix.dialect(index);
        match dialect {
            Dialect::Tesla(firmware) => Box::new(TeslaVehicle::new(vehicle, firmware)),
            Dialect::Gbt(edition, _) => {
                Box::new(GbtVehicle::new(vehicle, edition, signer(self.seed, index, dialect)))
            }
        }
    }
}

/// The signing key of a vehicle that signs; the same seed gives the same key, so that registration and vehicle agree.
fn signer(seed: u64, index: u32, dialect: Dialect) -> Option<Signer> {
    let Dialect::Gbt(Edition::V2025, true) = dialect else { return None };
    let mut rng = StdRng::seed_from_u64(seed.wrapping_add(0x5163_0000) ^ u64::from(index));
    // Nearly every 32 bytes are a secret of the curve; the next draw is, where one isn't.
    std::iter::repeat_with(|| rng.random::<[u8; 32]>()).take(8).find_map(|secret| Signer::sm2(&secret))
}
