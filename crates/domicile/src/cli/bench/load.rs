//! `domicile bench load`: the load of a measurement, as a process of its own. It connects and prints `ready`; then, each time a line
//! comes in, it goes on: warm-up (`warm`), measurement (one JSON object), end.

use std::collections::VecDeque;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use model::{Clock, UtcMicros};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use sim::client::{Answer, ClientError, Endpoint, Latency, Link, Source, Speaks, Target};
use sim::gbt32960::{GbtVehicle, LoginFacts};
use sim::load::{GbtLoad, TeslaLoad};
use sim::past::{Days, Past};
use sim::tesla::{Firmware, TeslaVehicle};
use sim::vehicle::{Vehicle, vin};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use wire::gbt32960::Edition;

use super::super::sim::Wallet;
use super::super::{Folder, harness};
use super::Protocol;
use crate::world::World;

/// Handshakes at once: enough to keep a server busy, few enough that none waits long.
const HANDSHAKES_AT_ONCE: usize = 32;
/// Connections from one source address; loopback has 28,000 ports for each.
const CONNECTIONS_PER_SOURCE: u32 = 25_000;

#[derive(clap::Args)]
pub(super) struct Load {
    #[command(flatten)]
    folder: Folder,
    #[arg(long)]
    to: SocketAddr,
    #[arg(long, value_enum)]
    protocol: Protocol,
    #[arg(long)]
    connections: u32,
    /// All connections together
    #[arg(long)]
    warm_up: u64,
    /// All connections together
    #[arg(long)]
    messages: u64,
    #[arg(long)]
    window: usize,
    #[arg(long)]
    size: usize,
    /// Number of the first vehicle
    #[arg(long, default_value_t = 0)]
    first: u32,
    /// Instead of messages of a size: what simulated vehicles say of days that are over, until they have told all
    #[command(flatten)]
    past: PastDays,
}

/// See [`Days`].
#[derive(clap::Args)]
struct PastDays {
    /// Microseconds since 1970
    #[arg(long, requires_all = ["days", "times_a_day", "interval"])]
    past_from: Option<i64>,
    #[arg(long, default_value_t = 0)]
    days: u32,
    #[arg(long, default_value_t = 0)]
    times_a_day: u32,
    #[arg(long, default_value = "1s", value_parser = harness::duration)]
    interval: Duration,
}

/// One connection with its messages.
struct Conversation {
    link: Link,
    source: Box<dyn Source>,
}

/// What all connections count.
#[derive(Default)]
struct Counts {
    latency: Latency,
    acked: AtomicU64,
    refused: AtomicU64,
}

impl Load {
    pub(super) fn run(self, world: &World) -> anyhow::Result<()> {
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(self.all(world))
    }

    async fn all(&self, world: &World) -> anyhow::Result<()> {
        let mut conversations = self.connect(world).await?;
        say("ready")?;
        told().await?;
        let counts = Arc::new(Counts::default());
        conversations = self.talk(conversations, self.warm_up, &counts, world).await?;
        say("warm")?;
        told().await?;
        let counts = Arc::new(Counts::default());
        let before = world.clock.monotonic();
        conversations = self.talk(conversations, self.messages, &counts, world).await?;
        let seconds = (world.clock.monotonic() - before).as_secs_f64();
        let millis = |share: f64| counts.latency.quantile(share).as_secs_f64() * 1_000.0;
        say(&json!({
            "seconds": seconds,
            "acked": counts.acked.load(Ordering::Relaxed),
            "refused": counts.refused.load(Ordering::Relaxed),
            "ack_ms_p50": millis(0.5),
            "ack_ms_p99": millis(0.99),
        })
        .to_string())?;
        told().await?;
        drop(conversations);
        Ok(())
    }

    async fn connect(&self, world: &World) -> anyhow::Result<Vec<Conversation>> {
        let wallet = Wallet::open(&self.folder.path(world), world)?;
        let trust = wallet.trust()?;
        let permits = Arc::new(Semaphore::new(HANDSHAKES_AT_ONCE));
        let mut tasks = JoinSet::new();
        for index in self.first..self.first + self.connections {
            let vin = vin(index);
            let (speaks, tls) = match self.protocol {
                Protocol::Tesla => {
                    (Speaks::Tesla, Some(trust.connector(Some(&wallet.credentials(&vin, world)?))?))
                }
                Protocol::Gbt32960 => (Speaks::Gbt(LoginFacts::of(Edition::V2016, index)), None),
            };
            let target =
                Target { endpoint: Endpoint::at(self.to), tls, source: self.source(index), vin, speaks };
            let source = self.messages_of(index)?;
            let (permits, now) = (permits.clone(), world.clock.now());
            tasks.spawn(async move {
                let permit = permits.acquire().await;
                let link = Link::connect(&target, now, StdRng::seed_from_u64(u64::from(index))).await;
                drop(permit);
                link.map(|link| Conversation { link, source })
            });
        }
        let mut conversations = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            conversations.push(joined?.context("connecting")?);
        }
        Ok(conversations)
    }

    /// 127.0.0.1 up to 25,000 connections, then the loopback addresses after it.
    fn source(&self, index: u32) -> Option<IpAddr> {
        let group = u8::try_from(index / CONNECTIONS_PER_SOURCE).unwrap_or(u8::MAX);
        (self.connections > CONNECTIONS_PER_SOURCE).then(|| IpAddr::from(Ipv4Addr::new(127, 0, 0, group + 1)))
    }

    fn messages_of(&self, index: u32) -> anyhow::Result<Box<dyn Source>> {
        let seed = u64::from(index);
        if let Some(days) = self.past.days() {
            let country = "CN".parse().context("the benchmark's country")?;
            let vehicle = Vehicle::new(seed, index, country, days.start);
            return Ok(match self.protocol {
                Protocol::Tesla => Box::new(Past::new(TeslaVehicle::new(vehicle, Firmware::Typed), days)),
                Protocol::Gbt32960 => {
                    Box::new(Past::new(GbtVehicle::new(vehicle, Edition::V2016, None), days))
                }
            });
        }
        Ok(match self.protocol {
            Protocol::Tesla => Box::new(TeslaLoad::new(seed, vin(index), u64::MAX, self.size)),
            Protocol::Gbt32960 => {
                Box::new(GbtLoad::new(seed, vin(index), u64::MAX, self.size, Edition::V2016))
            }
        })
    }

    /// Each connection sends its share of `messages`, `window` in flight, until all are acknowledged.
    async fn talk(
        &self,
        conversations: Vec<Conversation>,
        messages: u64,
        counts: &Arc<Counts>,
        world: &World,
    ) -> anyhow::Result<Vec<Conversation>> {
        let connections = u64::from(self.connections);
        let mut tasks = JoinSet::new();
        for (index, mut conversation) in (0u64..).zip(conversations) {
            let share = messages / connections + u64::from(index < messages % connections);
            let (counts, clock, window) = (counts.clone(), world.clock.clone(), self.window);
            tasks.spawn(async move {
                conversation.exchange(share, window, &counts, &*clock).await.map(|()| conversation)
            });
        }
        let mut conversations = Vec::new();
        while let Some(joined) = tasks.join_next().await {
            conversations.push(joined?.context("talking to the server")?);
        }
        ensure!(counts.refused.load(Ordering::Relaxed) == 0, "the server refused messages");
        Ok(conversations)
    }
}

impl PastDays {
    fn days(&self) -> Option<Days> {
        let start = UtcMicros(self.past_from?);
        Some(Days { start, count: self.days, times_a_day: self.times_a_day, interval: self.interval })
    }
}

impl Conversation {
    async fn exchange(
        &mut self,
        messages: u64,
        window: usize,
        counts: &Counts,
        clock: &dyn Clock,
    ) -> Result<(), ClientError> {
        let mut left = messages;
        let mut in_flight: VecDeque<(u64, Duration)> = VecDeque::with_capacity(window);
        let mut answers = Vec::new();
        while left > 0 || !in_flight.is_empty() {
            while left > 0 && in_flight.len() < window {
                let Some(message) = self.source.next(clock.now()) else {
                    // It has told all that it had to tell.
                    left = 0;
                    break;
                };
                self.link.queue(&message, false);
                in_flight.push_back((message.number, clock.monotonic()));
                left -= 1;
            }
            if in_flight.is_empty() {
                break;
            }
            self.link.flush().await?;
            self.link.answers(&mut answers).await?;
            let now = clock.monotonic();
            for answer in answers.drain(..) {
                let (Answer::Acked(number) | Answer::Refused(number)) = answer;
                let place = in_flight.iter().position(|(sent, _)| *sent == number);
                let Some((_, sent_at)) = place.and_then(|place| in_flight.remove(place)) else { continue };
                match answer {
                    Answer::Acked(_) => {
                        counts.latency.record(now.saturating_sub(sent_at));
                        counts.acked.fetch_add(1, Ordering::Relaxed);
                    }
                    Answer::Refused(_) => {
                        counts.refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
        Ok(())
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}

/// Waits for a line from the process that measures; its end is an error.
async fn told() -> anyhow::Result<()> {
    let read = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await??;
    if read == 0 { Err(anyhow!("the measuring process ended")) } else { Ok(()) }
}
