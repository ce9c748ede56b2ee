//! `domicile bench lose-center`: three centers of a country on loopback, acknowledging from two (`ack_centers = 2`), under load from both
//! protocols. Centers are killed with `kill -9` and started again, links between them are cut and healed, and in the end one
//! is lost with its disk. Then SQL at each center that is left is held against what was acknowledged, by whichever center: every frame is there exactly once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::client::Report;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::country::Country;
use super::super::sim::{Wallet, summary};
use super::kill_loop::{Acked, HISTORY_MICROS, NUMBERED, NumberedLoad, expected, wait_for_ack};
use super::rows::{check_rows, numbered};
use crate::world::World;

/// The time under load between two blows, and how long a link is cut or a center is down at most.
const CALM_TIME_MAX: Duration = Duration::from_secs(2);
const BLOW_TIME_MAX: Duration = Duration::from_secs(5);

/// Kill, cut off and at last lose centers of a country under load; hold SQL at those that are left against what was acknowledged
#[derive(clap::Args)]
pub(super) struct LoseCenter {
    /// Blows before the loss
    #[arg(long, default_value_t = 6)]
    rounds: u32,
    /// The seed of the moments and of who is hit
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the centers are made (they are deleted afterwards, unless something does not hold)
    #[arg(long, value_name = "DIR", default_value = ".")]
    under: PathBuf,
}

impl LoseCenter {
    pub(super) fn run(self, world: &World) -> anyhow::Result<()> {
        Country::on_loopback(&self.under, world)?.with(|country| self.go(country, world))
    }

    fn go(&self, country: &mut Country, world: &World) -> anyhow::Result<()> {
        let (vehicles, last) = numbered();
        country.begin(&vehicles, world)?;
        country.join(&[1, 2], &last, world)?;
        println!("three centers serve, and each knows all vehicles");
        let start = world.clock.now().plus_micros(-HISTORY_MICROS);
        let expected = expected(start, &|_| true)?;
        let (acked, report) = (Arc::new(Acked::default()), Arc::new(Report::default()));
        let (stop, stopped) = watch::channel(false);
        let wallet = Wallet::open(&country.sites[0].folder, world)?;
        let load = NumberedLoad {
            wallet: &wallet,
            start,
            acked: &acked,
            report: &report,
            stop: &stopped,
            seed: self.seed,
            directory: None,
        };
        let mut drivers = JoinSet::new();
        {
            let _inside = country.runtime.enter();
            for index in 0..NUMBERED {
                let home = &country.sites[index as usize % country.sites.len()];
                load.drive(&mut drivers, index, home.ports, world)?;
            }
        }
        let mut rng = StdRng::seed_from_u64(self.seed);
        for round in 1..=self.rounds {
            wait_for_ack(&report, world).with_context(|| format!("round {round}"))?;
            std::thread::sleep(CALM_TIME_MAX.mul_f64(rng.random_range(0.0..1.0)));
            blow(country, round, &mut rng, world)?;
        }
        wait_for_ack(&report, world).context("after the last blow")?;
        std::thread::sleep(CALM_TIME_MAX);
        let lost = rng.random_range(0..country.sites.len());
        let heir = (lost + 1) % country.sites.len();
        // What is acknowledged before the kill returns may still be on its way to its vehicle.
        country.lose(lost, heir, world)?;
        std::thread::sleep(CALM_TIME_MAX);
        let began = world.clock.monotonic();
        country.declare_lost(lost, heir)?;
        std::thread::sleep(CALM_TIME_MAX);
        drivers.abort_all();
        country.runtime.block_on(async { while drivers.join_next().await.is_some() {} });
        drop(stop);
        println!("{}", summary(&report));
        check_rows(country, &acked, &expected, began, world)?;
        country.check_books()?;
        print!("{}", country.sites[heir].run(&["placement", "report"])?);
        println!(
            "Every frame that any of the three acknowledged is in SQL exactly once at each center that is left."
        );
        Ok(())
    }
}

/// Kills a center and starts it again, or cuts it off from the others for a while.
fn blow(country: &mut Country, round: u32, rng: &mut StdRng, world: &World) -> anyhow::Result<()> {
    let time = BLOW_TIME_MAX.mul_f64(rng.random_range(0.0..1.0));
    let hit = rng.random_range(0..country.sites.len());
    let name = country.sites[hit].name;
    if rng.random_bool(0.5) {
        country.kill(hit, time, world)?;
        println!("round {round}: {name} was killed and started again after {:.1} s", time.as_secs_f64());
    } else {
        country.cut_off(hit, time);
        println!("round {round}: no other center reached {name} for {:.1} s", time.as_secs_f64());
    }
    Ok(())
}
