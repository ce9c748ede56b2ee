//! Three centers of a country that acknowledge from two, each a process of its own: on loopback, behind links that can be cut or at
//! addresses that stay, or each in a network namespace.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use model::Vin;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use super::harness::{
    Link, Machine, Ports, Server, ServerOptions, link, register, run_program, run_program_with,
};
use crate::world::World;

/// The centers, the first of which begins the country.
pub(super) const NAMES: [&str; 3] = ["shanghai-1", "beijing-1", "chengdu-1"];
/// Batches are closed at this age, so that a round sees several.
const BATCH_AGE_MS: &str = "3000";
/// How long a drained center takes to close its connections.
pub(super) const DRAIN_SECONDS: u32 = 10;
/// The port that other centers are met on, where each center has an address of its own.
const PEER_PORT: u16 = 8701;
/// Each center must say that it is joined, and know each vehicle, within this time.
const JOIN_TIME_MAX: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A machine for a center: a network namespace, its address there, and the address on the way to it at which others reach it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    namespace: String,
    pub(super) own: IpAddr,
    pub(super) way: IpAddr,
}

/// One center, and the link that others reach it by.
pub(super) struct Site {
    pub(super) name: &'static str,
    pub(super) folder: PathBuf,
    pub(super) ports: Ports,
    machine: Machine,
    networks: &'static str,
    /// In how many centers everything lies.
    replication: usize,
    listen: SocketAddr,
    address: SocketAddr,
    pub(super) is_cut: Arc<AtomicBool>,
    pub(super) server: Option<Server>,
}

/// The centers.
pub(super) struct Country {
    folder: PathBuf,
    pub(super) sites: Vec<Site>,
    pub(super) runtime: Runtime,
    /// Leaves the folders where they are.
    keep: bool,
    /// The version of the charter in force.
    version: u64,
}

impl std::str::FromStr for Place {
    type Err = String;

    /// `NAMESPACE=ADDRESS=WAY`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('=').collect();
        let [namespace, own, way] = parts[..] else {
            return Err("NAMESPACE=ADDRESS=WAY, such as cn-a=10.77.1.2=10.77.1.1".to_owned());
        };
        let address = |text: &str| text.parse().map_err(|_| format!("`{text}` is no address"));
        Ok(Self { namespace: namespace.to_owned(), own: address(own)?, way: address(way)? })
    }
}

impl Country {
    /// On loopback. Centers listen on one port, each at an address of its own: a center gives up the others before it knows who joins.
    pub(super) fn on_loopback(parent: &Path, world: &World) -> anyhow::Result<Self> {
        let [.., high, low] = std::process::id().to_be_bytes();
        let port = Ports::free()?.http;
        let at = |number| SocketAddr::from(([127, high.max(1), low, number], port));
        let mut country = Self::empty(parent, world)?;
        for (number, name) in (1_u8..).step_by(2).zip(NAMES) {
            let site = Site {
                name,
                folder: country.folder.join(name),
                ports: Ports::free()?,
                machine: Machine::default(),
                networks: "[\"127.0.0.0/8\"]",
                replication: 2,
                listen: at(number + 1),
                address: at(number),
                is_cut: Arc::default(),
                server: None,
            };
            country.link(&site, Link { is_cut: site.is_cut.clone(), delay: Duration::ZERO })?;
            country.sites.push(site);
        }
        Ok(country)
    }

    /// Each in a namespace of its own; `delay` is what the links between them, which end in this namespace, add to each way.
    pub(super) fn in_namespaces(
        parent: &Path,
        places: &[Place],
        delay: Duration,
        world: &World,
    ) -> anyhow::Result<Self> {
        let mut country = Self::empty(parent, world)?;
        for (place, name) in places.iter().zip(NAMES) {
            let site = Site {
                name,
                folder: country.folder.join(name),
                ports: Ports::own_at(place.own),
                machine: Machine { namespace: Some(place.namespace.clone()) },
                networks: "[\"10.0.0.0/8\"]",
                replication: 2,
                listen: SocketAddr::new(place.own, PEER_PORT),
                address: SocketAddr::new(place.way, PEER_PORT),
                is_cut: Arc::default(),
                server: None,
            };
            country.link(&site, Link { is_cut: site.is_cut.clone(), delay })?;
            country.sites.push(site);
        }
        Ok(country)
    }

    fn empty(parent: &Path, world: &World) -> anyhow::Result<Self> {
        let mut name = [0; 4];
        world.entropy.fill(&mut name);
        Self::in_folder(parent.join(format!("domicile-country-{:08x}", u32::from_be_bytes(name))))
    }

    fn in_folder(folder: PathBuf) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        Ok(Self { folder, sites: Vec::new(), runtime, keep: false, version: 0 })
    }

    fn link(&self, site: &Site, by: Link) -> anyhow::Result<()> {
        let listener = self.runtime.block_on(TcpListener::bind(site.address));
        let listener = listener.with_context(|| format!("listening at {}", site.address))?;
        self.runtime.spawn(link(listener, site.listen, by));
        Ok(())
    }

    /// At addresses on loopback that stay, so that it can go on another time; nothing lies between the centers.
    pub(super) fn that_stays(folder: &Path) -> anyhow::Result<Self> {
        let at = |number| SocketAddr::from(([127, 77, 0, number], PEER_PORT));
        let mut country = Self::in_folder(folder.to_owned())?;
        country.keep = true;
        for (number, name) in (1_u8..).zip(NAMES) {
            country.sites.push(Site {
                name,
                folder: folder.join(name),
                ports: Ports::free()?,
                machine: Machine::default(),
                networks: "[\"127.0.0.0/8\"]",
                // Each answers for the whole country.
                replication: NAMES.len(),
                listen: at(number),
                address: at(number),
                is_cut: Arc::default(),
                server: None,
            });
        }
        Ok(country)
    }

    /// Does something with the centers; where it fails their folders are kept, and it says where.
    pub(super) fn with(mut self, work: impl FnOnce(&mut Self) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let outcome = work(&mut self);
        if outcome.is_err() {
            self.keep = true;
            println!("The centers are kept in {}.", self.folder.display());
        }
        outcome
    }

    /// Makes the first center with its vehicles, a CSV file of them, and serves it.
    pub(super) fn begin(&mut self, vehicles: &str, world: &World) -> anyhow::Result<()> {
        let first = &mut self.sites[0];
        let host = first.ports.host.to_string();
        first.run(&["init", "--country", "CN", "--center", first.name, "--host", &host])?;
        register(&first.folder, vehicles)?;
        first.serve()?;
        first.ready(world)
    }

    /// Lets some of the others join, and serves them, until they know a vehicle.
    pub(super) fn join(&mut self, joining: &[usize], known: &Vin, world: &World) -> anyhow::Result<()> {
        let text = |path: &Path| path.to_str().map(str::to_owned).context("a folder's name is no UTF-8");
        let invitation = text(&self.folder.join("invitation.json"))?;
        self.sites[0].run(&["center", "invite", "--out", &invitation])?;
        for site in joining.iter().map(|index| &self.sites[*index]) {
            let (address, host) = (site.address.to_string(), site.ports.host.to_string());
            let arguments = ["init", "--country", "CN", "--center", site.name, "--host", &host];
            let more = ["--invitation", invitation.as_str(), "--address", address.as_str()];
            site.run(&[&arguments[..], &more[..]].concat())?;
            let request = text(&site.folder.join("join/request.note"))?;
            self.sites[0].run(&["center", "add", &request])?;
        }
        self.apply(0)?;
        for index in joining {
            let package = text(&self.sites[0].folder.join(format!("join/{}.json", self.sites[*index].name)))?;
            let site = &mut self.sites[*index];
            site.run(&["center", "join", &package])?;
            site.serve()?;
            site.ready(world)?;
            let name = site.name;
            self.sites[0].run(&["center", "activate", name])?;
        }
        self.apply(0)?;
        let deadline = world.clock.monotonic() + JOIN_TIME_MAX;
        for site in joining.iter().map(|index| &self.sites[*index]) {
            while run_program(&["vehicle", "show", known.as_str()], &site.folder).is_err() {
                ensure!(world.clock.monotonic() < deadline, "{} does not know the vehicles", site.name);
                std::thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }

    /// Serves all centers, which were made before.
    pub(super) fn go_on(&mut self, world: &World) -> anyhow::Result<()> {
        self.sites.iter_mut().try_for_each(Site::serve)?;
        self.sites.iter_mut().try_for_each(|site| site.ready(world))
    }

    /// Ends those that serve, in good order.
    pub(super) fn stop(&mut self, world: &World) -> anyhow::Result<()> {
        self.sites
            .iter_mut()
            .filter_map(|site| site.server.take())
            .try_for_each(|mut server| server.stop(world))
    }

    /// Puts what is staged at a center in force.
    pub(super) fn apply(&mut self, at: usize) -> anyhow::Result<()> {
        let version = (self.version + 1).to_string();
        self.sites[at].run(&["center", "apply", "--version", &version])?;
        self.version += 1;
        Ok(())
    }

    /// Kills a center and starts it again after a while.
    pub(super) fn kill(&mut self, index: usize, time: Duration, world: &World) -> anyhow::Result<()> {
        let site = &mut self.sites[index];
        site.server.take().context("it serves")?.kill()?;
        std::thread::sleep(time);
        site.serve_again(world)
    }

    /// Cuts a center off from the others for a while: none reaches it.
    pub(super) fn cut_off(&self, index: usize, time: Duration) {
        let site = &self.sites[index];
        site.is_cut.store(true, Ordering::Relaxed);
        std::thread::sleep(time);
        site.is_cut.store(false, Ordering::Relaxed);
    }

    /// Kills a center and deletes its folder. The country's key, kept elsewhere, comes to an heir.
    pub(super) fn lose(&mut self, lost: usize, heir: usize, world: &World) -> anyhow::Result<()> {
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
        site.server.take().context("it serves")?.kill()?;
        std::fs::remove_dir_all(&site.folder)?;
        println!(
            "{name} is lost with its disk; files of {} KiB with its unsealed frames lie with others",
            bytes() >> 10
        );
        std::fs::copy(&key, self.sites[heir].folder.join("keys/country.key"))?;
        Ok(())
    }

    /// The charter calls a center lost.
    pub(super) fn declare_lost(&mut self, lost: usize, heir: usize) -> anyhow::Result<()> {
        self.sites[heir].run(&["center", "remove", self.sites[lost].name, "--lost"])?;
        self.apply(heir)
    }

    /// Each center that is left verifies its own log and the copies of the others, the lost one's too.
    pub(super) fn check_books(&self) -> anyhow::Result<()> {
        for site in self.left() {
            site.run(&["ledger", "verify"])?;
            for other in self.sites.iter().filter(|other| other.name != site.name) {
                site.run(&["ledger", "verify", "--of", other.name])
                    .with_context(|| format!("{}'s copy of {}", site.name, other.name))?;
            }
            println!("{}: its log and its copies of the others verify", site.name);
        }
        Ok(())
    }

    /// The centers that are left.
    pub(super) fn left(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(|site| site.server.is_some())
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
    fn environment(&self) -> [(&'static str, String); 7] {
        [
            ("DOMICILE_PEER_LISTEN", self.listen.to_string()),
            ("DOMICILE_PEER_ADDRESS", self.address.to_string()),
            ("DOMICILE_PEER_NETWORKS", self.networks.to_owned()),
            ("DOMICILE_PEER_ACK_CENTERS", "2".to_owned()),
            ("DOMICILE_PEER_REPLICATION", self.replication.to_string()),
            ("DOMICILE_PEER_DRAIN_S", DRAIN_SECONDS.to_string()),
            ("DOMICILE_STORE_BATCH_AGE_MS_MAX", BATCH_AGE_MS.to_owned()),
        ]
    }

    /// Runs this program on its folder.
    pub(super) fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run_program_with(arguments, &self.folder, &self.environment())
    }

    fn serve(&mut self) -> anyhow::Result<()> {
        let options = ServerOptions { ports: self.ports, lake: Some(true), unbounded: true, log: None };
        self.server = Some(Server::start_on(&self.machine, &self.folder, options, &self.environment())?);
        Ok(())
    }

    /// Serves it once more.
    pub(super) fn serve_again(&mut self, world: &World) -> anyhow::Result<()> {
        self.serve()?;
        self.ready(world)
    }

    fn ready(&mut self, world: &World) -> anyhow::Result<()> {
        self.server.as_mut().context("it was started")?.wait_ready(world).context(self.name)
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
