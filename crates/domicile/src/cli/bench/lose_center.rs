//! `domicile bench lose-center`: three centers of a country on loopback, acknowledging from two (`ack_centers = 2`), under load from both
//! protocols. Centers are killed with `kill -9` and started again, links between them are cut and healed, and in the end one
//! is lost with its disk. Then SQL at each center that is left is held against what was acknowledged, by whichever center: every frame is there exactly once.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sim::client::Report;
use sim::vehicle::vin;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::super::harness::{Ports, Server, ServerOptions, link, register, run_program_with};
use super::super::sim::{Wallet, summary};
use super::kill_loop::{
    Acked, HISTORY_MICROS, NUMBERED, NumberedLoad, Verdict, expected, judge, rows_of, wait_for_ack,
};
use super::workshop::pseudonym;
use crate::world::World;

const NAMES: [&str; 3] = ["shanghai-1", "beijing-1", "chengdu-1"];
/// Batches are closed at this age, so that a round sees several.
const BATCH_AGE_MS: &str = "3000";
/// The time under load between two blows, and how long a link is cut or a center is down at most.
const CALM_TIME_MAX: Duration = Duration::from_secs(2);
const BLOW_TIME_MAX: Duration = Duration::from_secs(5);
/// Each center must say that it is joined, knows each vehicle, and acknowledges, within this time.
const JOIN_TIME_MAX: Duration = Duration::from_secs(60);
/// What a lost center leaves must be in SQL within this time.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(180);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

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

/// One center, and the link that others reach it by.
struct Site {
    name: &'static str,
    folder: PathBuf,
    ports: Ports,
    listen: SocketAddr,
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    server: Option<Server>,
}

struct Country {
    folder: PathBuf,
    sites: Vec<Site>,
    runtime: Runtime,
    keep: bool,
}

impl LoseCenter {
    pub(super) fn run(self, world: &World) -> anyhow::Result<()> {
        let mut country = Country::new(&self.under, world)?;
        let outcome = self.go(&mut country, world);
        if outcome.is_err() {
            country.keep = true;
            println!("The centers are kept in {}.", country.folder.display());
        }
        outcome
    }

    fn go(&self, country: &mut Country, world: &World) -> anyhow::Result<()> {
        country.found(world)?;
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
            country.blow(round, &mut rng, world)?;
        }
        wait_for_ack(&report, world).context("after the last blow")?;
        std::thread::sleep(CALM_TIME_MAX);
        let lost = rng.random_range(0..country.sites.len());
        // What is acknowledged before the kill returns may still be on its way to its vehicle.
        country.lose(lost, world)?;
        std::thread::sleep(CALM_TIME_MAX);
        let began = world.clock.monotonic();
        country.declare_lost(lost)?;
        std::thread::sleep(CALM_TIME_MAX);
        drivers.abort_all();
        country.runtime.block_on(async { while drivers.join_next().await.is_some() {} });
        drop(stop);
        println!("{}", summary(&report));
        for site in country.sites.iter().filter(|site| site.server.is_some()) {
            let verdict = verdict(site, &acked, &expected, world)?;
            println!(
                "{}: {} frames acknowledged by the three, {} in its SQL; {} missing, {} doubled, {} half there, after {:.1} s",
                site.name,
                verdict.acked,
                verdict.present,
                verdict.missing,
                verdict.doubled,
                verdict.partial,
                (world.clock.monotonic().saturating_sub(began)).as_secs_f64()
            );
            ensure!(verdict.holds(), "the promise does not hold at {}", site.name);
        }
        country.check_books(lost)?;
        println!(
            "Every frame that any of the three acknowledged is in SQL exactly once at each center that is left."
        );
        Ok(())
    }
}

impl Country {
    fn new(parent: &Path, world: &World) -> anyhow::Result<Self> {
        let mut name = [0; 4];
        world.entropy.fill(&mut name);
        let folder = parent.join(format!("domicile-country-{:08x}", u32::from_be_bytes(name)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut sites = Vec::new();
        // Centers listen on one port, each at an address of its own: a center gives up the others before it knows who joins.
        let [.., high, low] = std::process::id().to_be_bytes();
        let port = Ports::free()?.http;
        for (number, name) in (1_u8..).step_by(2).zip(NAMES) {
            let at = |number| SocketAddr::from(([127, high.max(1), low, number], port));
            let (address, listen) = (at(number), at(number + 1));
            let listener = runtime.block_on(TcpListener::bind(address))?;
            let is_cut = Arc::new(AtomicBool::new(false));
            runtime.spawn(link(listener, listen, is_cut.clone()));
            let ports = Ports::free()?;
            sites.push(Site {
                name,
                folder: folder.join(name),
                ports,
                listen,
                address,
                is_cut,
                server: None,
            });
        }
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder, sites, runtime, keep: false })
    }

    /// Makes the first center with its vehicles, lets the others join, and serves all three.
    fn found(&mut self, world: &World) -> anyhow::Result<()> {
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a folder's name is no UTF-8");
        let [first, others @ ..] = &mut self.sites[..] else { unreachable!("there are three") };
        first.run(&["init", "--country", "CN", "--center", first.name])?;
        let csv: String = (0..NUMBERED).map(|index| format!("{},CN\n", vin(index))).collect();
        register(&first.folder, &format!("vin,country\n{csv}"))?;
        first.serve()?;
        first.ready(world)?;
        let invitation = text(&self.folder.join("invitation.json"))?;
        first.run(&["center", "invite", "--out", &invitation])?;
        for site in others.iter() {
            let address = site.address.to_string();
            let arguments = ["init", "--country", "CN", "--center", site.name];
            let more = ["--invitation", invitation.as_str(), "--address", address.as_str()];
            site.run(&[&arguments[..], &more[..]].concat())?;
            let request = text(&site.folder.join("join/request.note"))?;
            first.run(&["center", "add", &request])?;
        }
        first.run(&["center", "apply", "--version", "1"])?;
        for site in others.iter_mut() {
            let package = text(&first.folder.join(format!("join/{}.json", site.name)))?;
            site.run(&["center", "join", &package])?;
            site.serve()?;
            site.ready(world)?;
            first.run(&["center", "activate", site.name])?;
        }
        first.run(&["center", "apply", "--version", "2"])?;
        let deadline = world.clock.monotonic() + JOIN_TIME_MAX;
        for site in &self.sites {
            while pseudonym(&site.folder, &vin(NUMBERED - 1)).is_err() {
                ensure!(world.clock.monotonic() < deadline, "{} does not know the vehicles", site.name);
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        println!("three centers serve, and each knows all vehicles");
        Ok(())
    }

    /// Kills a center and starts it again, or cuts it off from the others for a while.
    fn blow(&mut self, round: u32, rng: &mut StdRng, world: &World) -> anyhow::Result<()> {
        let time = BLOW_TIME_MAX.mul_f64(rng.random_range(0.0..1.0));
        let site = rng.random_range(0..self.sites.len());
        let site = &mut self.sites[site];
        if rng.random_bool(0.5) {
            site.kill()?;
            std::thread::sleep(time);
            site.serve()?;
            site.ready(world)?;
            println!(
                "round {round}: {} was killed and started again after {:.1} s",
                site.name,
                time.as_secs_f64()
            );
        } else {
            site.is_cut.store(true, Ordering::Relaxed);
            std::thread::sleep(time);
            site.is_cut.store(false, Ordering::Relaxed);
            println!("round {round}: no other center reached {} for {:.1} s", site.name, time.as_secs_f64());
        }
        Ok(())
    }

    /// Kills a center and deletes its folder; the country's key is kept elsewhere.
    fn lose(&mut self, lost: usize, world: &World) -> anyhow::Result<()> {
        let key = self.folder.join("country.key");
        std::fs::copy(self.sites[0].folder.join("keys/country.key"), &key)?;
        let name = self.sites[lost].name;
        let others = self.sites.iter().filter(|other| other.name != name);
        let held: Vec<_> = others.map(|other| other.folder.join("held").join(name)).collect();
        let bytes = || held.iter().map(|folder| bytes_below(folder)).sum::<u64>();
        // A moment at which others hold frames that it has not sealed: else the loss would show little.
        let deadline = world.clock.monotonic() + JOIN_TIME_MAX;
        while bytes() == 0 {
            ensure!(world.clock.monotonic() < deadline, "no other center holds frames of {name}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let site = &mut self.sites[lost];
        site.kill()?;
        std::fs::remove_dir_all(&site.folder)?;
        println!(
            "{name} is lost with its disk; files of {} KiB with its unsealed frames lie with others",
            bytes() >> 10
        );
        let heir = (lost + 1) % self.sites.len();
        std::fs::copy(&key, self.sites[heir].folder.join("keys/country.key"))?;
        Ok(())
    }

    fn declare_lost(&self, lost: usize) -> anyhow::Result<()> {
        let heir = &self.sites[(lost + 1) % self.sites.len()];
        heir.run(&["center", "remove", self.sites[lost].name, "--lost"])?;
        heir.run(&["center", "apply", "--version", "3"])?;
        Ok(())
    }

    /// Each center that is left verifies its own log and the copies of the others, the lost one's too.
    fn check_books(&self, lost: usize) -> anyhow::Result<()> {
        for site in self.sites.iter().filter(|site| site.server.is_some()) {
            site.run(&["ledger", "verify"])?;
            for other in self.sites.iter().filter(|other| other.name != site.name) {
                site.run(&["ledger", "verify", "--of", other.name])
                    .with_context(|| format!("{}'s copy of {}", site.name, other.name))?;
            }
            println!("{}: its log and its copies of the others verify", site.name);
        }
        let heir = &self.sites[(lost + 1) % self.sites.len()];
        print!("{}", heir.run(&["placement", "report"])?);
        Ok(())
    }
}

impl Drop for Country {
    fn drop(&mut self) {
        self.sites.iter_mut().for_each(|site| drop(site.server.take()));
        if !self.keep {
            // Folders that can't be deleted are named by nobody: it is over either way.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}

impl Site {
    fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("DOMICILE_PEER_LISTEN", self.listen.to_string()),
            ("DOMICILE_PEER_ADDRESS", self.address.to_string()),
            ("DOMICILE_PEER_NETWORKS", "[\"127.0.0.0/8\"]".to_owned()),
            ("DOMICILE_PEER_ACK_CENTERS", "2".to_owned()),
            ("DOMICILE_STORE_BATCH_AGE_MS_MAX", BATCH_AGE_MS.to_owned()),
        ]
    }

    /// Runs this program on its folder.
    fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run_program_with(arguments, &self.folder, &self.environment())
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        let options = ServerOptions { ports: self.ports, lake: Some(true), unbounded: true, log: None };
        self.server = Some(Server::start_with(&self.folder, options, &self.environment())?);
        Ok(())
    }

    fn ready(&mut self, world: &World) -> anyhow::Result<()> {
        self.server.as_mut().context("it was started")?.wait_ready(world).context(self.name)
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.server.take().context("it serves")?.kill()
    }
}

/// Bytes of the files in a folder and below.
fn bytes_below(folder: &Path) -> u64 {
    let entries = folder.read_dir().into_iter().flatten().flatten();
    let bytes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    });
    bytes.sum()
}

/// Asks a center until all that was acknowledged is there and stays so, or time is over.
fn verdict(
    site: &Site,
    acked: &Acked,
    expected: &std::collections::HashMap<&'static str, u64>,
    world: &World,
) -> anyhow::Result<Verdict> {
    let deadline = world.clock.monotonic() + RECOVERY_TIME_MAX;
    let mut last = None;
    loop {
        let verdict = judge(&rows_of(&site.folder, None)?, &acked.0.lock(), expected)?;
        // What comes late must not come twice.
        let settled = verdict.missing == 0 && last.as_ref() == Some(&verdict);
        if settled || world.clock.monotonic() >= deadline {
            return Ok(verdict);
        }
        last = Some(verdict);
        std::thread::sleep(Duration::from_secs(3));
    }
}
