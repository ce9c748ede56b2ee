//! `domicile doctor`: looks at everything that a center needs, and says what to do where something is wrong.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, UtcMicros};

use super::Folder;
use super::client::converse;
use super::egress::located;
use crate::center::Center;
use crate::egress::confine::{Confinement, Report};
use crate::egress::declared::{Destination, Host, Url};
use crate::egress::dial::Dialer;
use crate::egress::http::Client;
use crate::egress::nft::Located;
use crate::pki;
use crate::settings::listen_address;
use crate::world::World;

/// What the flush measurement writes at once: about a busy group of the journal.
const FLUSH_BYTES: usize = 64 << 10;
/// How often it writes: enough for a 98th percentile.
const FLUSHES: usize = 50;
/// From here on a flush is slow enough to be noticed in acknowledgements.
const FLUSH_SLOW: Duration = Duration::from_millis(20);
/// How long a port may take to answer on this machine.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);
/// Files beside the connections: segments, objects, tables, listeners.
const FILES_BESIDE: u64 = 512;

/// Look at clock, disk, certificates, ports, limits and permissions, and say what to do next
#[derive(clap::Args)]
pub(crate) struct Doctor {
    #[command(flatten)]
    folder: Folder,
    /// Look at what this center may connect to, and nothing else: the declared list, where it leads, what the kernel holds
    #[arg(long)]
    egress: bool,
    /// With --egress: open a connection to each destination and close it
    #[arg(long, requires = "egress")]
    probe: bool,
}

/// What a look found.
enum Finding {
    Ok(String),
    Warn(String),
    Fail(String),
}

use Finding::{Fail, Ok as Good, Warn};

impl Doctor {
    pub(crate) fn run(self, world: &World) -> anyhow::Result<()> {
        let folder = self.folder.path(world);
        let mut failed = 0;
        let mut tell = |name: &str, finding: Finding| {
            let (word, text) = match finding {
                Good(text) => ("ok", text),
                Warn(text) => ("warn", text),
                Fail(text) => {
                    failed += 1;
                    ("fail", text)
                }
            };
            say!("{word:<5} {name:<12} {text}");
        };
        let center = match Center::open(&folder, world) {
            Ok(center) => center,
            Err(error) => {
                tell("folder", Fail(error.to_string()));
                anyhow::bail!("1 thing must be put right");
            }
        };
        if self.egress {
            for (name, finding) in egress(&center, self.probe) {
                tell(name, finding);
            }
            return verdict(failed);
        }
        tell("folder", permissions(&folder));
        tell("clock", clock(&center, world));
        tell("disk", disk(&center, &*world.clock));
        tell("space", space(&center));
        for (name, path) in certificates(&center) {
            tell(name, certificate(&path, world.clock.now()));
        }
        let is_running = UnixStream::connect(Center::socket(&folder)).is_ok();
        tell("center", running(is_running, &folder));
        let settings = &center.settings;
        let listeners = [
            ("tesla", &settings.tesla.listen),
            ("gbt32960", &settings.gbt32960.listen),
            ("gbt32960 tls", &settings.gbt32960.tls_listen),
            ("http", &settings.http.listen),
            ("postgres", &settings.postgres.listen),
        ];
        for (name, address) in listeners {
            tell(name, port(address, is_running));
        }
        tell("files", open_files(settings.limits.connections_max as u64));
        tell("egress", declared(&center));
        tell("confinement", confinement(&center));
        verdict(failed)
    }
}

fn verdict(failed: usize) -> anyhow::Result<()> {
    match failed {
        0 => Ok(()),
        1 => anyhow::bail!("1 thing must be put right"),
        more => anyhow::bail!("{more} things must be put right"),
    }
}

fn permissions(folder: &Path) -> Finding {
    let wrong: Vec<String> = Center::private(folder)
        .into_iter()
        .filter_map(|(path, wanted)| {
            let mode = path.metadata().ok()?.permissions().mode() & 0o777;
            (mode != wanted).then(|| format!("chmod {wanted:o} {}", path.display()))
        })
        .collect();
    if wrong.is_empty() {
        Good(format!("{} and its keys are yours alone", folder.display()))
    } else {
        Warn(wrong.join("; "))
    }
}

fn clock(center: &Center, world: &World) -> Finding {
    let now = world.clock.now();
    if now.to_string() < center.genesis.created_at {
        return Fail(format!(
            "it is {now}, before this center was made ({}): set the clock, vehicles' times are held against it",
            center.genesis.created_at
        ));
    }
    // Daemons that keep the clock leave one of these; containers see the host's clock and none of them.
    let signs = ["/run/systemd/timesync/synchronized", "/run/chrony", "/run/ntpd.pid", "/var/run/ntpd.pid"];
    if signs.iter().any(|sign| Path::new(sign).exists()) {
        Good(format!("{now}, kept by a time service"))
    } else {
        Warn(format!(
            "{now}; no time service was found: in a container see that its host has one, else install chrony"
        ))
    }
}

fn disk(center: &Center, clock: &dyn Clock) -> Finding {
    let journal = center.folder.join(&center.settings.journal.dir);
    let folder = if journal.is_dir() { journal } else { center.folder.clone() };
    match flush_times(&folder, clock) {
        Err(error) => {
            Fail(format!("{} can't be written: {error}; vehicles get no acknowledgement", folder.display()))
        }
        Ok(mut times) => {
            times.sort_unstable();
            let (middle, slow) = (times[times.len() / 2], times[times.len() * 98 / 100]);
            let text = format!(
                "64 KiB are durable in {:.1} ms (p50), {:.1} ms (p98)",
                middle.as_secs_f64() * 1e3,
                slow.as_secs_f64() * 1e3
            );
            if middle > FLUSH_SLOW {
                Warn(format!(
                    "{text}: an acknowledgement takes about twice that; put journal.dir on a faster disk"
                ))
            } else {
                Good(text)
            }
        }
    }
}

/// How long it takes to append and flush, measured on a file that is removed afterwards.
fn flush_times(folder: &Path, clock: &dyn Clock) -> std::io::Result<Vec<Duration>> {
    let path = folder.join(".doctor");
    let _ = std::fs::remove_file(&path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let bytes = vec![0x5a_u8; FLUSH_BYTES];
    let mut measure = || -> std::io::Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(FLUSHES);
        for _ in 0..FLUSHES {
            let started = clock.monotonic();
            file.write_all(&bytes)?;
            file.sync_data()?;
            times.push(clock.monotonic().saturating_sub(started));
        }
        Ok(times)
    };
    let times = measure();
    std::fs::remove_file(&path)?;
    times
}

fn space(center: &Center) -> Finding {
    let stat = match rustix::fs::statvfs(&center.folder) {
        Ok(stat) => stat,
        Err(error) => return Warn(format!("the free space can't be read: {error}")),
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let text = format!("{:.1} GiB free", free as f64 / f64::from(1 << 30));
    if free < center.settings.journal.bytes_max {
        Fail(format!("{text}, less than journal.bytes_max: make room, or lower the setting"))
    } else if free < center.settings.journal.bytes_max.saturating_mul(4) {
        Warn(format!("{text}: enough for the journal, little for the store"))
    } else {
        Good(text)
    }
}

fn certificates(center: &Center) -> Vec<(&'static str, std::path::PathBuf)> {
    let mut files = vec![
        ("server ca", center.folder.join("pki/server-ca.pem")),
        ("server cert", center.folder.join(&center.settings.tesla.certificate)),
    ];
    files
        .extend(center.settings.tesla.vehicle_ca.iter().map(|path| ("vehicle ca", center.folder.join(path))));
    files
}

fn certificate(path: &Path, now: UtcMicros) -> Finding {
    match pki::inspect_file(path) {
        Err(error) => Fail(error.to_string()),
        Ok((expires, _)) if expires <= now => {
            Fail(format!("{} expired at {expires}: no vehicle can connect; renew it", path.display()))
        }
        Ok((expires, names)) => {
            let days = expires.since(now).as_secs() / 86_400;
            let names = if names.is_empty() { String::new() } else { format!(", for {}", names.join(", ")) };
            let text = format!("{} expires in {days} days{names}", path.display());
            if days < pki::RENEWAL_DAYS.unsigned_abs() {
                Warn(format!(
                    "{text}; the center's own is renewed while it serves, another is yours to renew"
                ))
            } else {
                Good(text)
            }
        }
    }
}

fn running(is_running: bool, folder: &Path) -> Finding {
    if is_running {
        Good("running".to_owned())
    } else {
        Warn(format!("not running; start it: domicile serve --dir {}", folder.display()))
    }
}

fn port(address: &str, is_running: bool) -> Finding {
    if address.is_empty() {
        return Good("turned off".to_owned());
    }
    let resolved = match listen_address(address) {
        Ok(resolved) => resolved,
        Err(problem) => return Fail(problem),
    };
    if is_running {
        let mut own = resolved;
        if own.ip().is_unspecified() {
            own = SocketAddr::new(
                if own.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() },
                own.port(),
            );
        }
        #[expect(clippy::disallowed_methods, reason = "an address that this machine listens on itself")]
        let answer = TcpStream::connect_timeout(&own, CONNECT_TIME_MAX);
        return match answer {
            Ok(_) => Good(format!("{address} answers")),
            Err(error) => Fail(format!("{address} does not answer: {error}; the center's log says why")),
        };
    }
    match TcpListener::bind(resolved) {
        Ok(_) => Good(format!("{address} is free")),
        Err(error) => {
            Fail(format!("{address} can't be listened on: {error}; end what has it, or set another"))
        }
    }
}

/// The list of destinations in one line.
fn declared(center: &Center) -> Finding {
    match crate::charter::declared(center) {
        Err(error) => Fail(error.to_string()),
        Ok(declared) => match declared.destinations().len() {
            0 => Good("nothing is declared: this center opens no connection to anywhere".to_owned()),
            count => {
                Good(format!("{count} destinations are declared; `domicile doctor --egress` looks at each"))
            }
        },
    }
}

/// Everything about the way out: each destination, and what the kernel holds.
fn egress(center: &Center, is_probe: bool) -> Vec<(&'static str, Finding)> {
    let mut findings = vec![("egress", declared(center))];
    match located(center) {
        // The first finding has said it.
        Err(_) => return findings,
        Ok(located) => {
            for located in located {
                let purpose = located.destination.purpose().as_str();
                let finding = destination(located, center, is_probe);
                findings.push((purpose, finding));
            }
        }
    }
    findings.push(("confinement", confinement(center)));
    findings
}

fn destination(located: Located, center: &Center, is_probe: bool) -> Finding {
    let (to, country) = (located.destination.to_string(), located.destination.country());
    let addresses = match located.addresses {
        Err(error) => return Fail(error.to_string()),
        Ok(addresses) => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let text = format!("{to} in {country} is {addresses}");
    if is_probe && let Err(error) = probe(&located.destination, center) {
        return Fail(format!("{text}; {error}"));
    }
    let text = if is_probe { format!("{text}, and answers") } else { text };
    if located.destination.networks().is_empty() && matches!(located.destination.host(), Host::Name(_)) {
        return Warn(format!("{text}; it may be anywhere that its name servers say: declare its networks"));
    }
    Good(text)
}

/// Opens a connection and closes it; with TLS where a witness's URL has it.
fn probe(destination: &Arc<Destination>, center: &Center) -> anyhow::Result<()> {
    let dialer = Arc::new(Dialer::new());
    let urls = center.settings.ledger.witnesses.iter().filter_map(|witness| Url::parse(&witness.url).ok());
    let mut urls = urls.filter(|url| url.leads_to(destination));
    converse(async {
        match urls.next() {
            Some(url) => {
                let client = Client::new(dialer, center.settings.ca_file(&center.folder).as_deref())?;
                Ok(client.probe(destination, &url).await?)
            }
            None => Ok(dialer.connect(destination).await.map(drop)?),
        }
    })
}

/// What the kernel of this machine would hold a serving center to, tried on a thread of its own.
fn confinement(center: &Center) -> Finding {
    if !center.settings.egress.confine {
        return Warn(Report::OFF.to_string());
    }
    let Ok(declared) = crate::charter::declared(center) else {
        return Fail("what is declared in egress.allow must be put right first".to_owned());
    };
    let confinement = Confinement::of(center, &declared);
    let ports = |ports: &[u16]| match ports {
        [] => "none".to_owned(),
        ports => ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" "),
    };
    let (listens, connects) = confinement.ports();
    let text = format!("listens on {}, connects to {}", ports(listens), ports(connects));
    match confinement.rehearse() {
        Err(error) => Fail(error.to_string()),
        Ok(report) if report.is_full() => Good(format!("{report}; {text}")),
        Ok(report) => Warn(report.to_string()),
    }
}

fn open_files(connections_max: u64) -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = connections_max + FILES_BESIDE;
    match (limit.current, limit.maximum) {
        (Some(current), _) if current >= wanted => Good(format!("{current} open files allowed")),
        (None, _) => Good("any number of open files allowed".to_owned()),
        (Some(current), maximum) if maximum.is_none_or(|maximum| maximum >= wanted) => {
            Good(format!("{current} open files allowed, and as many as needed when the center asks for them"))
        }
        (Some(_), maximum) => Warn(format!(
            "at most {} open files allowed, limits.connections_max needs {wanted}: raise LimitNOFILE (systemd) or ulimit -n",
            maximum.unwrap_or_default()
        )),
    }
}
