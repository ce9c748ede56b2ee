//! A center as a child process: how `demo` and `bench` run one, so that what they show and measure is `domicile serve` itself.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};

use crate::world::World;

/// A center that recovers a full journal needs some seconds before it listens.
const READY_TIME_MAX: Duration = Duration::from_secs(120);
/// A center that drains writes its last batch.
const STOP_TIME_MAX: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How much of a failed server's log is shown.
const LOG_LINES_SHOWN: usize = 15;
/// In a benchmark a vehicle may send as fast as it can.
const MESSAGES_PER_MINUTE_UNBOUNDED: &str = "1000000000";

/// Where a center listens: on loopback, as a rule.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) host: IpAddr,
    pub(super) tesla: u16,
    pub(super) gbt: u16,
    pub(super) gbt_tls: u16,
    pub(super) http: u16,
    pub(super) postgres: u16,
}

impl Ports {
    /// The default ports where they are free, else ones that are.
    pub(super) fn default_or_free() -> anyhow::Result<Self> {
        Self::chosen([4443, 32_960, 32_961, 8700, 5433])
    }

    /// Ports that are free.
    pub(super) fn free() -> anyhow::Result<Self> {
        Self::chosen([0; 5])
    }

    /// Keeps the listeners until all are chosen, so that they differ.
    fn chosen(wanted: [u16; 5]) -> anyhow::Result<Self> {
        let bind = |port: u16| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port))
                .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
                .context("finding a free port on loopback")
        };
        let listeners = wanted.into_iter().map(bind).collect::<anyhow::Result<Vec<_>>>()?;
        let ports = listeners
            .iter()
            .map(|listener| Ok(listener.local_addr()?.port()))
            .collect::<std::io::Result<Vec<u16>>>()?;
        let host = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Ok(Self {
            host,
            tesla: ports[0],
            gbt: ports[1],
            gbt_tls: ports[2],
            http: ports[3],
            postgres: ports[4],
        })
    }

    /// The protocols' own ports at an address where nobody else is.
    pub(super) fn own_at(host: IpAddr) -> Self {
        Self { host, tesla: 4443, gbt: 32_960, gbt_tls: 32_961, http: 8700, postgres: 5433 }
    }

    /// A port's address.
    pub(super) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.host, port)
    }
}

/// The address of a port on loopback.
pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// What a child's settings differ in.
#[derive(Clone, Copy, Debug)]
pub(super) struct ServerOptions {
    pub(super) ports: Ports,
    /// `None` leaves the setting as it is in the folder.
    pub(super) lake: Option<bool>,
    /// Lifts the limit of messages a minute, for benchmarks.
    pub(super) unbounded: bool,
    /// What it logs; `None` is the program's own default.
    pub(super) log: Option<&'static str>,
}

/// The machine that a center runs on: this one, or a network namespace that stands for another (ip-netns(8)).
#[derive(Clone, Debug, Default)]
pub(super) struct Machine {
    pub(super) namespace: Option<String>,
}

impl Machine {
    /// This program, to be run there.
    fn program(&self) -> anyhow::Result<Command> {
        let Some(namespace) = &self.namespace else { return program() };
        let own = std::env::current_exe().context("finding this program's own file")?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(own);
        Ok(command)
    }
}

/// A running `domicile serve`.
pub(super) struct Server {
    child: Child,
    options: ServerOptions,
    log: PathBuf,
}

impl Server {
    /// Starts one on a folder; its log goes to `serve.log` there. [`Server::wait_ready`] waits until it listens.
    pub(super) fn start(folder: &Path, options: ServerOptions) -> anyhow::Result<Self> {
        Self::start_with(folder, options, &[])
    }

    /// As [`Server::start`], with further variables in its environment.
    pub(super) fn start_with(
        folder: &Path,
        options: ServerOptions,
        environment: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        Self::start_on(&Machine::default(), folder, options, environment)
    }

    /// As [`Server::start_with`], on a machine.
    pub(super) fn start_on(
        machine: &Machine,
        folder: &Path,
        options: ServerOptions,
        environment: &[(&str, String)],
    ) -> anyhow::Result<Self> {
        let log = folder.join("serve.log");
        let output = File::options().create(true).append(true).open(&log).context("opening serve.log")?;
        let Ports { tesla, gbt, gbt_tls, http, postgres, .. } = options.ports;
        let mut command = machine.program()?;
        command.arg("serve").arg("--dir").arg(folder);
        for (name, port) in [
            ("DOMICILE_TESLA_LISTEN", tesla),
            ("DOMICILE_GBT32960_LISTEN", gbt),
            ("DOMICILE_GBT32960_TLS_LISTEN", gbt_tls),
            ("DOMICILE_HTTP_LISTEN", http),
            ("DOMICILE_POSTGRES_LISTEN", postgres),
        ] {
            command.env(name, options.ports.at(port).to_string());
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        if let Some(log) = options.log {
            command.args(["--log", log]);
        }
        if let Some(lake) = options.lake {
            command.env("DOMICILE_LAKE_ENABLED", lake.to_string());
        }
        if options.unbounded {
            command.env("DOMICILE_LIMITS_MESSAGES_PER_MINUTE_MAX", MESSAGES_PER_MINUTE_UNBOUNDED);
        }
        // A process group of its own: a Ctrl-C on the terminal is for the parent, which stops the fleet before the center.
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .context("starting `domicile serve`")?;
        Ok(Self { child, options, log })
    }

    /// Waits until it takes connections.
    pub(super) fn wait_ready(&mut self, world: &World) -> anyhow::Result<()> {
        let deadline = world.clock.monotonic() + READY_TIME_MAX;
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("`domicile serve` ended ({status}); its last words:\n{}", self.last_words());
            }
            #[expect(clippy::disallowed_methods, reason = "whether the center that was started here listens")]
            let listens = |port: u16| TcpStream::connect(self.options.ports.at(port)).is_ok();
            if listens(self.options.ports.tesla) && listens(self.options.ports.gbt_tls) {
                return Ok(());
            }
            ensure!(
                world.clock.monotonic() < deadline,
                "`domicile serve` does not listen after {} s; its last words:\n{}",
                READY_TIME_MAX.as_secs(),
                self.last_words()
            );
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Its status, once it has ended by itself.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    pub(super) fn stop(&mut self, world: &World) -> anyhow::Result<()> {
        if self.ended()?.is_none() {
            kill_process(self.pid(), Signal::TERM)?;
        }
        let deadline = world.clock.monotonic() + STOP_TIME_MAX;
        loop {
            if let Some(status) = self.ended()? {
                ensure!(status.success(), "`domicile serve` ended with {status}:\n{}", self.last_words());
                return Ok(());
            }
            if world.clock.monotonic() >= deadline {
                self.kill()?;
                bail!("`domicile serve` did not end {} s after SIGTERM", STOP_TIME_MAX.as_secs());
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The end of its log.
    pub(super) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }
}

/// No server outlives its parent's error.
impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // What can't be killed is gone; there is nobody left to tell.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// This program, to be run again.
pub(super) fn program() -> anyhow::Result<Command> {
    Ok(Command::new(std::env::current_exe().context("finding this program's own file")?))
}

/// Runs this program with arguments and gives what it prints; an error carries what it complains of.
pub(super) fn run_program(arguments: &[&str], folder: &Path) -> anyhow::Result<String> {
    run_program_with(arguments, folder, &[])
}

/// As [`run_program`], with further variables in its environment.
pub(super) fn run_program_with(
    arguments: &[&str],
    folder: &Path,
    environment: &[(&str, String)],
) -> anyhow::Result<String> {
    let environment = environment.iter().map(|(name, value)| (name, value));
    let output = program()?.args(arguments).arg("--dir").arg(folder).envs(environment).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`domicile {}`: {}", arguments.join(" "), complaint.trim());
    Ok(String::from_utf8(output.stdout)?)
}

/// Registers the vehicles of a CSV text in a folder that is not served now; importing again changes nothing.
pub(super) fn register(folder: &Path, csv: &str) -> anyhow::Result<()> {
    let file = folder.join("fleet.csv");
    std::fs::write(&file, csv).with_context(|| format!("writing {}", file.display()))?;
    let file = file.to_str().context("the folder's name is no UTF-8")?;
    run_program(&["vehicle", "import", file], folder)?;
    Ok(())
}

/// Lets this process and its children open as many files as the system allows: a connection is a file.
pub(super) fn raise_file_limit() -> anyhow::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// What a link to a center does to what passes.
#[derive(Clone)]
pub(super) struct Link {
    /// While it is cut nothing passes, and what was open ends.
    pub(super) is_cut: Arc<AtomicBool>,
    /// What it adds to each way. Where that is something, one piece in a hundred gets lost and is sent again, which holds up what follows.
    pub(super) delay: Duration,
}

/// One piece in so many gets lost, and is sent again after so long: the shortest time after which TCP does it (RFC 6298, section 2.4,
/// as Linux has it).
const LOST_ONE_IN: u64 = 100;
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);
/// Pieces on their way, and the bytes of one at most.
const PIECES_MAX: usize = 256;
const PIECE_BYTES_MAX: usize = 16 << 10;

/// Passes connections on over a link.
pub(super) async fn link(listener: tokio::net::TcpListener, to: SocketAddr, by: Link) {
    while let Ok((from, _)) = listener.accept().await {
        let by = by.clone();
        tokio::spawn(async move {
            if by.is_cut.load(Ordering::Relaxed) {
                return;
            }
            #[expect(
                clippy::disallowed_methods,
                reason = "the link between two centers that were started here"
            )]
            let Ok(onward) = tokio::net::TcpStream::connect(to).await else { return };
            let cut = async {
                while !by.is_cut.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            let ((near_in, near_out), (far_in, far_out)) = (from.into_split(), onward.into_split());
            tokio::select! {
                _ = async { tokio::join!(pass(near_in, far_out, by.delay), pass(far_in, near_out, by.delay)) } => {}
                () = cut => {}
            }
        });
    }
}

/// Passes what comes on to the other side, in order, each piece so much later.
async fn pass(
    mut from: impl tokio::io::AsyncRead + Unpin,
    mut to: impl tokio::io::AsyncWrite + Unpin,
    delay: Duration,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (send, mut pieces) = tokio::sync::mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(PIECES_MAX);
    let reading = async move {
        let mut piece = vec![0; PIECE_BYTES_MAX];
        for number in 1_u64.. {
            let Ok(length @ 1..) = from.read(&mut piece).await else { return };
            let is_lost = !delay.is_zero() && number.is_multiple_of(LOST_ONE_IN);
            let late = delay + if is_lost { SENT_AGAIN_AFTER } else { Duration::ZERO };
            if send.send((tokio::time::Instant::now() + late, piece[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let writing = async {
        while let Some((due, piece)) = pieces.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // The other side has ended in good order, or is gone: either way there is no more.
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

/// A time such as `30s`, `500ms`, `5m` or `1h`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 =
        text[..digits].parse().map_err(|_| "a number and ms, s, m or h, such as 30s".to_owned())?;
    match &text[digits..] {
        "ms" => Ok(Duration::from_millis(number)),
        "" | "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3_600)),
        _ => Err("a number and ms, s, m or h, such as 30s".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::duration;
    use std::time::Duration;

    #[test]
    fn durations_read_as_they_are_written() {
        for (text, seconds) in [("30s", 30), ("30", 30), ("5m", 300), ("2h", 7_200)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "s", "1d", "-1s", "1.5s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
