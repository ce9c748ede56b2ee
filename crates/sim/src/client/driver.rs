//! Keeps one vehicle connected: what it makes is kept until it is acknowledged, over as many connections as it takes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{Clock, UtcMicros};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::error::ClientError;
use super::link::{Answer, Link, Message, Target};
use super::report::{Report, count};
use super::tls::Endpoint;

/// Messages that a vehicle keeps while they are not acknowledged; then the oldest goes, as in real ones.
const KEPT_MAX: usize = 5_000;
/// How long a vehicle that is told to stop waits for its last acks.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(10);
/// Back-off after a failed connection: doubles from the first to the last.
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_LAST: Duration = Duration::from_secs(5);

/// Makes a vehicle's messages.
pub trait Source: Send {
    /// The next message at this time; `None` when there is nothing to say now (with [`Pace::Window`]: any more).
    fn next(&mut self, now: UtcMicros) -> Option<Message>;
}

/// Is told of each acknowledgement.
pub trait AckObserver: Send + Sync {
    /// The center says that this message of this vehicle is durable.
    fn acked(&self, vehicle: u32, number: u64);
}

/// Says where vehicles connect to, as a name service does: it is asked before each connection.
pub trait Directory: Send + Sync {
    /// Where this vehicle is to connect to now.
    fn endpoint(&self, vehicle: u32) -> Endpoint;
}

/// When a vehicle sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// One message each so long.
    Every(Duration),
    /// As many messages unacknowledged as this, always: a closed loop.
    Window(usize),
}

/// How a vehicle loses its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outages {
    /// Mean time between two losses.
    pub every: Duration,
    /// The longest one; each is drawn evenly from zero on.
    pub longest: Duration,
}

/// One vehicle's connection for as long as the simulation runs.
pub struct Driver {
    /// Its number in the fleet, for the observer.
    pub vehicle: u32,
    /// What it connects to.
    pub target: Target,
    /// Where else than the target says.
    pub directory: Option<Arc<dyn Directory>>,
    /// When it sends.
    pub pace: Pace,
    /// Whether and how it loses the connection.
    pub outages: Option<Outages>,
    /// Counters, shared by the fleet.
    pub report: Arc<Report>,
    /// Told of acks.
    pub observer: Option<Arc<dyn AckObserver>>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Seed of keys, masks, jitter and outages.
    pub seed: u64,
}

/// A message that was sent, or is to be.
struct Kept {
    message: Message,
    sent_at: Option<Duration>,
    sends: u32,
}

/// A driver at work.
struct Run<'a> {
    driver: &'a Driver,
    source: Box<dyn Source>,
    kept: VecDeque<Kept>,
    /// How many of `kept`, from the front, were written to the present connection.
    written: usize,
    exhausted: bool,
    rng: StdRng,
}

/// Why a connection's loop ended.
enum Ended {
    Outage(Duration),
    Stopped,
    Exhausted,
}

impl Driver {
    /// Runs until `stop` turns true, or until a windowed source has nothing left and all is acknowledged. What is unacknowledged
    /// then is given back.
    pub async fn run(self, source: Box<dyn Source>, mut stop: watch::Receiver<bool>) -> Vec<Message> {
        let rng = StdRng::seed_from_u64(self.seed);
        let mut run = Run { driver: &self, source, kept: VecDeque::new(), written: 0, exhausted: false, rng };
        let mut back_off = BACK_OFF_FIRST;
        while !*stop.borrow() {
            let wait = match run.connect(&mut stop).await {
                None => break,
                Some(Ok(link)) => {
                    back_off = BACK_OFF_FIRST;
                    match run.talk(link, &mut stop).await {
                        Ok(Ended::Stopped | Ended::Exhausted) => break,
                        Ok(Ended::Outage(outage)) => outage,
                        Err(error) => {
                            tracing::debug!(vehicle = self.vehicle, %error, "connection lost");
                            back_off
                        }
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(vehicle = self.vehicle, %error, "connection failed");
                    count(&self.report.failed);
                    back_off = (back_off * 2).min(BACK_OFF_LAST);
                    back_off.mul_f64(run.rng.random_range(0.5..1.0))
                }
            };
            tokio::select! {
                () = sleep(wait) => {}
                () = stopped(&mut stop) => {}
            }
        }
        run.kept.into_iter().map(|kept| kept.message).collect()
    }
}

impl Run<'_> {
    /// A connection, an error, or nothing when told to stop meanwhile.
    async fn connect(&mut self, stop: &mut watch::Receiver<bool>) -> Option<Result<Link, ClientError>> {
        let driver = self.driver;
        let rng = StdRng::seed_from_u64(self.rng.random());
        let mut target = driver.target.clone();
        if let Some(directory) = &driver.directory {
            target.endpoint = directory.endpoint(driver.vehicle);
        }
        tokio::select! {
            link = Link::connect(&target, driver.clock.now(), rng) => Some(link),
            () = stopped(stop) => None,
        }
    }

    async fn talk(&mut self, mut link: Link, stop: &mut watch::Receiver<bool>) -> Result<Ended, ClientError> {
        count(&self.driver.report.connected);
        self.written = 0;
        let ended = self.exchange(&mut link, stop).await;
        match ended {
            Ok(Ended::Outage(_)) | Err(_) => count(&self.driver.report.lost),
            Ok(Ended::Stopped) => {
                let waited = timeout(DRAIN_TIME_MAX, self.drain(&mut link)).await;
                waited.unwrap_or(Err(ClientError::TimeOut))?;
                link.close(self.driver.clock.now()).await?;
            }
            Ok(Ended::Exhausted) => link.close(self.driver.clock.now()).await?,
        }
        ended
    }

    async fn exchange(
        &mut self,
        link: &mut Link,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Ended, ClientError> {
        let outage = self.draw_outage();
        let mut answers = Vec::new();
        let mut due = Instant::now() + self.first_wait();
        self.write_kept(link).await?;
        loop {
            if let Pace::Window(window) = self.driver.pace {
                self.fill_window(link, window).await?;
                if self.exhausted && self.kept.is_empty() {
                    return Ok(Ended::Exhausted);
                }
            }
            tokio::select! {
                read = link.answers(&mut answers) => {
                    read?;
                    self.take(&mut answers);
                    link.flush().await?;
                }
                () = sleep_until(due), if matches!(self.driver.pace, Pace::Every(_)) => {
                    self.make();
                    self.write_kept(link).await?;
                    due = self.next_due(due);
                }
                () = wait_for(outage) => return Ok(Ended::Outage(self.outage_length())),
                () = stopped(stop) => return Ok(Ended::Stopped),
            }
        }
    }

    /// Reads acks until nothing is left to wait for.
    async fn drain(&mut self, link: &mut Link) -> Result<(), ClientError> {
        let mut answers = Vec::new();
        while !self.kept.is_empty() {
            link.answers(&mut answers).await?;
            self.take(&mut answers);
        }
        Ok(())
    }

    /// A paced vehicle's first message comes somewhere in its interval, so that a fleet does not march in step.
    fn first_wait(&mut self) -> Duration {
        match self.driver.pace {
            Pace::Every(interval) => interval.mul_f64(self.rng.random_range(0.0..1.0)),
            Pace::Window(_) => Duration::ZERO,
        }
    }

    /// The next due time; what was missed (a slow machine) is not made up for.
    fn next_due(&self, due: Instant) -> Instant {
        match self.driver.pace {
            Pace::Every(interval) => (due + interval).max(Instant::now()),
            Pace::Window(_) => due,
        }
    }

    fn draw_outage(&mut self) -> Option<Instant> {
        let outages = self.driver.outages?;
        let share: f64 = self.rng.random_range(0.0..1.0);
        Some(Instant::now() + outages.every.mul_f64(-(1.0 - share).ln()))
    }

    fn outage_length(&mut self) -> Duration {
        let longest = self.driver.outages.map_or(Duration::ZERO, |outages| outages.longest);
        longest.mul_f64(self.rng.random_range(0.0..1.0))
    }

    /// Asks the source for what is to say now.
    fn make(&mut self) {
        let Some(message) = self.source.next(self.driver.clock.now()) else {
            self.exhausted = true;
            return;
        };
        count(&self.driver.report.made);
        if self.kept.len() >= KEPT_MAX {
            self.kept.pop_front();
            self.written = self.written.saturating_sub(1);
            count(&self.driver.report.dropped);
        }
        self.kept.push_back(Kept { message, sent_at: None, sends: 0 });
    }

    async fn fill_window(&mut self, link: &mut Link, window: usize) -> Result<(), ClientError> {
        while self.kept.len() < window && !self.exhausted {
            self.make();
        }
        self.write_kept(link).await
    }

    /// Writes what this connection has not seen yet, in one write; what another one saw is marked as resent.
    async fn write_kept(&mut self, link: &mut Link) -> Result<(), ClientError> {
        let now = self.driver.clock.monotonic();
        for kept in self.kept.iter_mut().skip(self.written) {
            let resend = kept.sends > 0;
            link.queue(&kept.message, resend);
            kept.sends += 1;
            kept.sent_at = Some(now);
            count(&self.driver.report.sent);
            if resend {
                count(&self.driver.report.resent);
            }
        }
        self.written = self.kept.len();
        link.flush().await
    }

    fn take(&mut self, answers: &mut Vec<Answer>) {
        let now = self.driver.clock.monotonic();
        for answer in answers.drain(..) {
            let (Answer::Acked(number) | Answer::Refused(number)) = answer;
            // Acks come nearly in order, so this looks at the front.
            let Some(place) = self.kept.iter().position(|kept| kept.message.number == number) else {
                continue;
            };
            let Some(kept) = self.kept.remove(place) else { continue };
            if place < self.written {
                self.written -= 1;
            }
            if let Answer::Refused(_) = answer {
                count(&self.driver.report.refused);
                continue;
            }
            if let Some(sent_at) = kept.sent_at {
                self.driver.report.latency.record(now.saturating_sub(sent_at));
            }
            if let Some(observer) = &self.driver.observer {
                observer.acked(self.driver.vehicle, number);
            }
            self.driver.report.acked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Comes back when the vehicle is told to stop, or nobody is left to tell it.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The result borrows the channel and is of no use: either way the vehicle stops.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn wait_for(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}
