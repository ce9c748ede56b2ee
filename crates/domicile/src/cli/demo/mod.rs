//! `domicile demo`: a whole center on loopback with a mixed fleet, in one command; or three centers of one country.

mod centers;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use model::Country;
use sim::client::{Endpoint, Pace, Report};
use sim::fleet::{Fleet, Mix};
use sim::vehicle::vin;
use tokio::sync::watch;

use super::harness::{self, Ports, Server, ServerOptions, loopback};
use super::sim::{Wallet, interrupted, outages, sleep_or_never, summary};
use crate::center::{Center, NewCenter};
use crate::world::World;

/// Vehicles of the demonstration.
const VEHICLES: u32 = 200;
/// Its seed: the demonstration is the same each time but for the clock.
const SEED: u64 = 4;
/// Each vehicle sends so often.
const INTERVAL: Duration = Duration::from_secs(1);
/// A vehicle loses its connection about so often.
const OUTAGES_EVERY: Duration = Duration::from_secs(90);
/// How often a line says how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(3);

/// Run a whole center on loopback with a simulated fleet of 200
#[derive(clap::Args)]
pub(crate) struct Demo {
    /// The folder; made where it is not there
    #[arg(long, value_name = "DIR", default_value = "./domicile-demo")]
    dir: PathBuf,
    /// End after this time, such as 30s; otherwise Ctrl-C ends it
    #[arg(long = "for", value_name = "TIME", value_parser = harness::duration)]
    duration: Option<Duration>,
    /// How many centers: one, or three of one country
    #[arg(long, default_value_t = 1, value_parser = centers)]
    centers: u8,
}

fn centers(text: &str) -> Result<u8, String> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        _ => Err("one center, or three".to_owned()),
    }
}

impl Demo {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        harness::raise_file_limit()?;
        if self.centers == 3 {
            return centers::run(&self.dir, self.duration, world);
        }
        let home: Country = "CN".parse().context("the demonstration's country")?;
        let ports = Ports::default_or_free()?;
        let fleet = fleet(home, 0, VEHICLES, ports, world);
        // Two that must be refused: one sold in another country, and one that nobody registered.
        let foreigner = fleet_of_one("DE".parse().context("another country")?, VEHICLES, ports, world);
        let stranger = fleet_of_one(home, VEHICLES + 1, ports, world);
        if !self.dir.join("genesis.json").exists() {
            println!("Making a center in {} …", self.dir.display());
            let new = NewCenter {
                country: home,
                center: "demo-1".parse().context("the demonstration's center")?,
                site: "this machine".to_owned(),
                hosts: Vec::new(),
            };
            Center::create(&self.dir, &new, world)?;
        }
        println!("Registering {VEHICLES} vehicles …");
        let registration = fleet.registration();
        let abroad = foreigner.registration();
        let abroad = abroad.lines().skip(1).map(|line| format!("{line}\n"));
        harness::register(&self.dir, &(registration + &abroad.collect::<String>()))?;
        let mut server =
            Server::start(&self.dir, ServerOptions { ports, lake: None, unbounded: false, log: None })?;
        server.wait_ready(world)?;
        self.introduce(ports);
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(self.drive(&[fleet, foreigner, stranger], &mut server, world));
        println!("Stopping the center …");
        let stopped = server.stop(world);
        outcome?;
        stopped?;
        println!("Done. {} keeps what was collected; run it again to go on.", self.dir.display());
        Ok(())
    }

    fn introduce(&self, ports: Ports) {
        let dir = self.dir.display();
        let by_source = "select source, count(*), count(distinct vehicle) from signals group by 1";
        let fastest = "select vehicle, max(speed) as kmh from positions group by 1 order by 2 desc limit 5";
        let events = "select kind, code, count(*) from events group by 1, 2 order by 3 desc";
        println!(
            "\nThe center runs: Tesla Fleet Telemetry on 127.0.0.1:{}, GB/T 32960 on 127.0.0.1:{} (TLS) and {} (TCP), \
             HTTPS on 127.0.0.1:{}, PostgreSQL on 127.0.0.1:{}.\n{VEHICLES} vehicles connect. In another terminal try:\n\n  \
             domicile query --dir {dir} \"{by_source}\"\n  \
             domicile query --dir {dir} \"{fastest}\"\n  \
             domicile query --dir {dir} \"{events}\"\n  \
             domicile token create --role analyst --name me --dir {dir}      # a password for psql, Grafana, notebooks:\n  \
             psql \"host=localhost port={} dbname=domicile user=me sslmode=verify-full sslrootcert={dir}/pki/server-ca.pem\"\n  \
             domicile status --dir {dir}\n  \
             domicile vehicle show {} --dir {dir}      # sold abroad, so it is refused\n  \
             domicile vehicle show {} --dir {dir}      # nobody registered it\n\n\
             (Built from source the program is target/debug/domicile.) Its log: {dir}/serve.log. Ctrl-C ends it.\n",
            ports.tesla,
            ports.gbt_tls,
            ports.gbt,
            ports.http,
            ports.postgres,
            ports.postgres,
            vin(VEHICLES),
            vin(VEHICLES + 1),
        );
    }

    /// Drives the fleets until the time is over or somebody interrupts.
    async fn drive(&self, fleets: &[Fleet], server: &mut Server, world: &World) -> anyhow::Result<()> {
        let wallet = Wallet::open(&self.dir, world)?;
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        for fleet in fleets {
            tasks.push(fleet.start(&wallet.trust()?, |vin| wallet.credentials(vin, world), &stopped)?);
        }
        let (first, refused) = (&fleets[0].report, &fleets[1..]);
        let mut ticks = tokio::time::interval(PROGRESS_INTERVAL);
        let end = sleep_or_never(self.duration);
        tokio::pin!(end);
        loop {
            tokio::select! {
                _ = ticks.tick() => {
                    if server.ended()?.is_some() {
                        bail!("the center ended by itself:\n{}", server.last_words());
                    }
                    let turned_away: u64 = refused.iter().map(|fleet| fleet.report.counts().failed).sum();
                    println!("{}; turned away {turned_away}; {}", summary(first), self.rows().await);
                    std::io::stdout().flush()?;
                }
                () = &mut end => break,
                result = interrupted() => { result?; break }
            }
        }
        println!("Stopping the fleet …");
        stop.send_replace(true);
        for mut fleet in tasks {
            while fleet.join_next().await.is_some() {}
        }
        println!("{}; {}", summary(first), self.rows().await);
        Ok(())
    }

    /// How many rows SQL sees, as anybody would ask.
    async fn rows(&self) -> String {
        let folder = self.dir.clone();
        match tokio::task::spawn_blocking(move || rows(&folder)).await {
            Ok(Some(rows)) => format!("rows in signals {rows}"),
            _ => "rows in signals not known".to_owned(),
        }
    }
}

/// How many rows SQL at a center sees in `signals`, as anybody would ask; `None` where it does not answer.
fn rows(folder: &Path) -> Option<String> {
    let query = ["query", "select count(*) from signals", "--format", "csv"];
    let csv = harness::run_program(&query, folder).ok()?;
    csv.lines().last().map(str::to_owned)
}

fn fleet(country: Country, first: u32, vehicles: u32, ports: Ports, world: &World) -> Fleet {
    Fleet {
        first,
        vehicles,
        mix: Mix::Mixed,
        seed: SEED,
        country,
        tesla: Endpoint::at(loopback(ports.tesla)),
        gbt: Endpoint::at(loopback(ports.gbt_tls)),
        gbt_tls: true,
        pace: Pace::Every(INTERVAL),
        outages: outages(OUTAGES_EVERY),
        report: Arc::new(Report::default()),
        clock: world.clock.clone(),
    }
}

/// A vehicle of its own, which is to be refused.
fn fleet_of_one(country: Country, index: u32, ports: Ports, world: &World) -> Fleet {
    fleet(country, index, 1, ports, world)
}
