//! `domicile doctor`: looks at everything that a center needs, and says what to do where something is wrong.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use model::{Clock, UtcMicros};

use super::Folder;
use crate::center::Center;
use crate::pki;
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
        ];
        for (name, address) in listeners {
            tell(name, port(address, is_running));
        }
        tell("files", open_files(settings.limits.connections_max as u64));
        match failed {
            0 => Ok(()),
            1 => anyhow::bail!("1 thing must be put right"),
            more => anyhow::bail!("{more} things must be put right"),
        }
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
    let Some(resolved) = address.to_socket_addrs().ok().and_then(|mut found| found.next()) else {
        return Fail(format!("{address} is no address and port, such as 0.0.0.0:4443"));
    };
    if is_running {
        let mut own = resolved;
        if own.ip().is_unspecified() {
            own = SocketAddr::new(
                if own.is_ipv4() { [127, 0, 0, 1].into() } else { std::net::Ipv6Addr::LOCALHOST.into() },
                own.port(),
            );
        }
        return match TcpStream::connect_timeout(&own, CONNECT_TIME_MAX) {
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
