//! `domicile sim`: simulated vehicles that connect to a center.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use model::{Country, Vin};
use rustls::pki_types::ServerName;
use sim::client::{ClientError, Credentials, Endpoint, Outages, Pace, Report, Trust};
use sim::fleet::{Fleet, Mix};
use tokio::sync::watch;

use super::{Folder, Usage, harness};
use crate::center::Center;
use crate::pki::Authority;
use crate::world::World;

/// How often the counters are printed.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Simulate vehicles that speak the real protocols over real sockets
#[derive(clap::Args)]
pub(crate) struct Sim {
    /// How many
    #[arg(long, default_value_t = 10)]
    vehicles: u32,
    /// Number of the first vehicle; VINs follow from it
    #[arg(long, default_value_t = 0)]
    first: u32,
    /// What they speak
    #[arg(long, value_enum, default_value = "mixed")]
    protocol: Protocol,
    /// The center's host, with a port where it is not the protocol's default (4443, and 32961 for GB/T 32960)
    #[arg(long, value_name = "HOST[:PORT]", default_value = "127.0.0.1")]
    to: String,
    /// The port for GB/T 32960 in a mixed fleet
    #[arg(long, value_name = "PORT", default_value_t = 32_961)]
    gbt_port: u16,
    /// GB/T 32960 over plain TCP instead of TLS
    #[arg(long)]
    plain: bool,
    /// Messages a second of each vehicle
    #[arg(long, default_value_t = 1.0)]
    rate: f64,
    /// End after this time, such as 30s
    #[arg(long = "for", value_name = "TIME", value_parser = harness::duration)]
    duration: Option<Duration>,
    /// The seed of all that the vehicles do; the same seed drives the same ways
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The mean time between two losses of a vehicle's connection; 0s for none
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = harness::duration)]
    outages: Duration,
    /// Where they drive
    #[arg(long, default_value = "CN")]
    country: Country,
    /// Write the vehicles as a file for `domicile vehicle import` and end
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    #[command(flatten)]
    folder: Folder,
}

/// What simulated vehicles speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Protocol {
    /// Tesla Fleet Telemetry
    Tesla,
    /// GB/T 32960.3-2016
    #[value(name = "gbt32960-2016")]
    Gbt2016,
    /// GB/T 32960.3-2025
    #[value(name = "gbt32960-2025")]
    Gbt2025,
    /// Half the one, a quarter each of the others
    Mixed,
}

impl From<Protocol> for Mix {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tesla => Self::Tesla,
            Protocol::Gbt2016 => Self::Gbt2016,
            Protocol::Gbt2025 => Self::Gbt2025,
            Protocol::Mixed => Self::Mixed,
        }
    }
}

impl Sim {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        if self.rate <= 0.0 || !self.rate.is_finite() {
            return Err(Usage("--rate is a number of messages a second above 0".to_owned()).into());
        }
        harness::raise_file_limit()?;
        let fleet = self.fleet(world)?;
        if let Some(path) = &self.csv {
            std::fs::write(path, fleet.registration()).with_context(|| path.display().to_string())?;
            println!("{} vehicles: domicile vehicle import {}", fleet.vehicles, path.display());
            return Ok(());
        }
        let wallet = Wallet::open(&self.folder.path(world), world)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let (stop, stopped) = watch::channel(false);
            let mut tasks = fleet.start(&wallet.trust()?, |vin| wallet.credentials(vin, world), &stopped)?;
            let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
            let end = sleep_or_never(self.duration);
            tokio::pin!(end);
            loop {
                tokio::select! {
                    _ = ticks.tick() => println!("{}", summary(&fleet.report)),
                    () = &mut end => break,
                    result = interrupted() => { result?; break }
                }
            }
            stop.send_replace(true);
            while tasks.join_next().await.is_some() {}
            println!("{}", summary(&fleet.report));
            let counts = fleet.report.counts();
            ensure!(
                counts.connected > 0,
                "no vehicle could connect; are they registered, and is the center there?"
            );
            Ok(())
        })
    }

    fn fleet(&self, world: &World) -> anyhow::Result<Fleet> {
        let gbt_first = matches!(self.protocol, Protocol::Gbt2016 | Protocol::Gbt2025);
        let tesla = endpoint(&self.to, if gbt_first { self.gbt_port } else { 4443 })?;
        let gbt = if gbt_first {
            tesla.clone()
        } else {
            let address = SocketAddr::new(tesla.address.ip(), self.gbt_port);
            Endpoint { address, server_name: tesla.server_name.clone() }
        };
        Ok(Fleet {
            first: self.first,
            vehicles: self.vehicles,
            mix: self.protocol.into(),
            seed: self.seed,
            country: self.country,
            tesla,
            gbt,
            gbt_tls: !self.plain,
            pace: Pace::Every(Duration::from_secs_f64(1.0 / self.rate)),
            outages: outages(self.outages),
            report: Arc::new(Report::default()),
            clock: world.clock.clone(),
        })
    }
}

/// Outages of up to ten seconds at this mean interval; none where it is zero.
pub(super) fn outages(every: Duration) -> Option<Outages> {
    (!every.is_zero()).then_some(Outages { every, longest: Duration::from_secs(10) })
}

/// One line of what a fleet counted.
pub(super) fn summary(report: &Report) -> String {
    let counts = report.counts();
    let millis = |share: f64| report.latency.quantile(share).as_secs_f64() * 1_000.0;
    format!(
        "sent {} (again {}), acked {}, refused {}, connected {}, failed {}, lost {}; ack ms p50 {:.1} p99 {:.1}",
        counts.sent,
        counts.resent,
        counts.acked,
        counts.refused,
        counts.connected,
        counts.failed,
        counts.lost,
        millis(0.5),
        millis(0.99)
    )
}

/// Comes back after Ctrl-C or SIGTERM.
pub(super) async fn interrupted() -> std::io::Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result,
        _ = terminated.recv() => Ok(()),
    }
}

/// Comes back after a time, or never.
pub(super) async fn sleep_or_never(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Where vehicles' certificates come from.
pub(super) struct Wallet {
    folder: PathBuf,
    server_ca: Vec<u8>,
    /// The center's authority, where the folder is a center's; else the folder holds `VIN.pem` and `VIN.key`.
    authority: Option<Authority>,
}

impl Wallet {
    /// A center's folder, or one that `domicile vehicle cert` wrote to.
    pub(super) fn open(folder: &Path, world: &World) -> anyhow::Result<Self> {
        if folder.join("genesis.json").exists() {
            let center = Center::open(folder, world)?;
            let authority = Some(center.vehicle_authority()?);
            return Ok(Self {
                folder: folder.to_owned(),
                server_ca: center.server_ca()?.into_bytes(),
                authority,
            });
        }
        let path = folder.join("server-ca.pem");
        let server_ca = std::fs::read(&path).with_context(|| {
            format!(
                "{}: --dir is a center's folder or one that `domicile vehicle cert` wrote",
                path.display()
            )
        })?;
        Ok(Self { folder: folder.to_owned(), server_ca, authority: None })
    }

    /// The CA that the server's certificate comes from.
    pub(super) fn trust(&self) -> Result<Trust, ClientError> {
        Trust::from_pem(&self.server_ca)
    }

    /// A vehicle's certificate and key.
    pub(super) fn credentials(&self, vin: &Vin, world: &World) -> Result<Credentials, ClientError> {
        if let Some(authority) = &self.authority {
            let issued = authority
                .vehicle(vin, world.clock.now())
                .map_err(|_| ClientError::Credentials("the center's authority can't issue one"))?;
            return Credentials::from_pem(issued.certificate.as_bytes(), issued.key.as_bytes());
        }
        let read = |suffix: &str| {
            std::fs::read(self.folder.join(format!("{vin}.{suffix}")))
                .map_err(|_| ClientError::Credentials("a vehicle's .pem or .key is not in the folder"))
        };
        Credentials::from_pem(&read("pem")?, &read("key")?)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "simulated vehicles look for the center that they were told of"
)]
fn endpoint(to: &str, port: u16) -> anyhow::Result<Endpoint> {
    let (host, port) = match to.rsplit_once(':') {
        Some((host, text)) if !host.contains(':') => (host, text.parse().context("the port of --to")?),
        _ => (to, port),
    };
    let address = (host, port).to_socket_addrs()?.next().context("--to names no address")?;
    let server_name = ServerName::try_from(host.to_owned()).context("--to is no host name or address")?;
    Ok(Endpoint { address, server_name })
}
