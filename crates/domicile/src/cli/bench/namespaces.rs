//! `domicile bench namespaces`: the life of a country's centers, each on a machine of its own (a network namespace with its address), under
//! load from both protocols and acknowledging from two: a third center joins, one is killed, half of its vehicles move with frames in
//! flight, it comes back, the link between two is cut
//! for a while, one is drained and its vehicles move, one is lost for good with its disk. At the end SQL at each that is left is held
//! against what was acknowledged, logs and copies verify, and the placement report is held against the disks.
//!
//! Who calls it makes the namespaces and has a say over the links: `--cut` and `--heal` are commands that cut and heal the link between
//! the second and the third center. Between the centers lie proxies that delay and lose pieces.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use parking_lot::Mutex;
use sim::client::{Directory, Endpoint, Report};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::country::{Country, DRAIN_SECONDS, NAMES, Place, Site};
use super::super::harness::{Ports, duration};
use super::super::sim::{Wallet, summary};
use super::kill_loop::{Acked, HISTORY_MICROS, NUMBERED, NumberedLoad, endpoint_of, expected, wait_for_ack};
use super::placed::Disks;
use super::rows::{check_rows, numbered};
use crate::world::World;

/// The time under load between two events.
const CALM_TIME: Duration = Duration::from_secs(4);
/// How long a killed center is down.
const DOWN_TIME: Duration = Duration::from_secs(5);
/// A drained center must have let go of its vehicles within this time.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(DRAIN_SECONDS as u64 + 20);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Let a third center join, kill, cut off, drain and lose centers, each in a network namespace; hold SQL, logs and disks against what was promised
#[derive(clap::Args)]
pub(super) struct Namespaces {
    /// The three centers' machines: NAMESPACE=ADDRESS=WAY, where WAY is the address in this namespace at which the others reach it
    #[arg(long = "place", value_name = "PLACE", required = true, num_args = 1)]
    places: Vec<Place>,
    /// Cuts the link between the second and the third center
    #[arg(long, value_name = "COMMAND")]
    cut: String,
    /// Heals it
    #[arg(long, value_name = "COMMAND")]
    heal: String,
    /// How long it is cut
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = duration)]
    cut_for: Duration,
    /// What the links between centers add to each way
    #[arg(long, value_name = "TIME", default_value = "15ms", value_parser = duration)]
    delay: Duration,
    /// The seed of the load and of the objects that are looked at
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the centers are made (they are deleted afterwards, unless something does not hold)
    #[arg(long, value_name = "DIR", default_value = ".")]
    under: PathBuf,
}

/// Which center each vehicle is sent to, as a name service says it.
struct Names {
    ports: Vec<Ports>,
    homes: Mutex<Vec<usize>>,
}

impl Directory for Names {
    fn endpoint(&self, vehicle: u32) -> Endpoint {
        let home = self.homes.lock()[vehicle as usize];
        endpoint_of(vehicle, &self.ports[home])
    }
}

impl Names {
    /// Sends a center's vehicles to others, in turn.
    fn move_from(&self, from: usize, to: &[usize]) -> usize {
        let mut homes = self.homes.lock();
        let moved = homes.iter_mut().filter(|home| **home == from).zip(to.iter().cycle());
        moved.map(|(home, next)| *home = *next).count()
    }
}

impl Namespaces {
    pub(super) fn run(self, world: &World) -> anyhow::Result<()> {
        ensure!(self.places.len() == NAMES.len(), "there are three centers: give --place three times");
        let country = Country::in_namespaces(&self.under, &self.places, self.delay, world)?;
        country.with(|country| self.go(country, world))
    }

    fn go(&self, country: &mut Country, world: &World) -> anyhow::Result<()> {
        let (first, second, third) = (0, 1, 2);
        let (vehicles, last) = numbered();
        country.begin(&vehicles, world)?;
        country.join(&[second], &last, world)?;
        say(world, "two centers serve");
        let start = world.clock.now().plus_micros(-HISTORY_MICROS);
        let expected = expected(start, &|_| true)?;
        let (acked, report) = (Arc::new(Acked::default()), Arc::new(Report::default()));
        let (stop, stopped) = watch::channel(false);
        let wallet = Wallet::open(&country.sites[first].folder, world)?;
        // Two thirds of the vehicles drive from the start, the last third once there is a third center.
        let homes = (0..NUMBERED as usize).map(|vehicle| vehicle % NAMES.len()).collect();
        let ports = country.sites.iter().map(|site| site.ports).collect();
        let names = Arc::new(Names { ports, homes: Mutex::new(homes) });
        let load = NumberedLoad {
            wallet: &wallet,
            start,
            acked: &acked,
            report: &report,
            stop: &stopped,
            seed: self.seed,
            directory: Some(names.clone()),
        };
        let mut drivers = JoinSet::new();
        let drive = |drivers: &mut JoinSet<()>, country: &Country, is_third: bool| -> anyhow::Result<()> {
            let _inside = country.runtime.enter();
            for index in (0..NUMBERED).filter(|index| (*index as usize % NAMES.len() == third) == is_third) {
                load.drive(drivers, index, country.sites[index as usize % NAMES.len()].ports, world)?;
            }
            Ok(())
        };
        drive(&mut drivers, country, false)?;
        let calm = |what: &str| -> anyhow::Result<()> {
            wait_for_ack(&report, world).context(what.to_owned())?;
            std::thread::sleep(CALM_TIME);
            Ok(())
        };
        calm("under load")?;
        country.join(&[third], &last, world)?;
        drive(&mut drivers, country, true)?;
        say(world, "a third center has joined under load, and takes vehicles");
        calm("after the third joined")?;
        // Half of its vehicles go elsewhere, and send again there what it had and did not say that it had.
        names.move_from(second, &[first, second]);
        country.kill(second, DOWN_TIME, world)?;
        say(
            world,
            "the second was killed and has come back; half of its vehicles went to the first, with frames in flight",
        );
        calm("after the kill")?;
        command(&self.cut)?;
        std::thread::sleep(self.cut_for);
        command(&self.heal)?;
        say(
            world,
            &format!("the link between the second and the third was cut for {} s", self.cut_for.as_secs()),
        );
        calm("after the cut")?;
        let disks = Disks::look(&country.sites, world)?;
        self.drain(country, &names, third, &[first, second], world)?;
        calm("after the third was drained")?;
        names.move_from(second, &[first]);
        country.lose(second, first, world)?;
        std::thread::sleep(CALM_TIME);
        let began = world.clock.monotonic();
        country.declare_lost(second, first)?;
        std::thread::sleep(CALM_TIME);
        drivers.abort_all();
        country.runtime.block_on(async { while drivers.join_next().await.is_some() {} });
        drop(stop);
        say(world, "the second is called lost");
        println!("{}", summary(&report));
        check_rows(country, &acked, &expected, began, world)?;
        country.check_books()?;
        print!("{}", country.sites[first].run(&["placement", "report"])?);
        disks.check(country, first, self.seed, world)?;
        println!("Every acknowledged frame is in SQL exactly once at each center that is left.");
        Ok(())
    }

    /// Drains a center and waits until it holds no vehicle any more.
    fn drain(
        &self,
        country: &mut Country,
        names: &Names,
        index: usize,
        to: &[usize],
        world: &World,
    ) -> anyhow::Result<()> {
        let before = connections(&country.sites[index])?;
        country.sites[0].run(&["center", "drain", country.sites[index].name])?;
        country.apply(0)?;
        let moved = names.move_from(index, to);
        let began = world.clock.monotonic();
        while connections(&country.sites[index])? > 0 {
            ensure!(
                world.clock.monotonic().saturating_sub(began) < DRAIN_TIME_MAX,
                "{} holds connections {} s after it was drained",
                country.sites[index].name,
                DRAIN_TIME_MAX.as_secs()
            );
            std::thread::sleep(POLL_INTERVAL);
        }
        let took = world.clock.monotonic().saturating_sub(began);
        ensure!(before > 0, "{} had no vehicles to be drained of", country.sites[index].name);
        say(
            world,
            &format!(
                "the third was drained: {before} connections closed within {:.1} s, {moved} vehicles moved",
                took.as_secs_f64()
            ),
        );
        Ok(())
    }
}

/// Connections of a center now.
fn connections(site: &Site) -> anyhow::Result<u64> {
    let status: serde_json::Value = serde_json::from_str(&site.run(&["status", "--format", "json"])?)?;
    status["live"]["connections"]
        .as_u64()
        .context("a serving center's status says how many connections there are")
}

fn command(text: &str) -> anyhow::Result<()> {
    let status = Command::new("sh").args(["-c", text]).status().context("starting a shell")?;
    ensure!(status.success(), "`{text}` failed");
    Ok(())
}

fn say(world: &World, what: &str) {
    println!("{:>6.1} s: {what}", world.clock.monotonic().as_secs_f64());
}
