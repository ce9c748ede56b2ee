//! The life of one connection, whatever is spoken on it: read, take frames, answer when they are durable, keep the deadlines,
//! part in the protocol's words.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use model::{Sequence, UtcMicros};
use policy::Refusal;
use store::CommitWaiter;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::answers::Answers;
use super::connections::{Connection, Nudge, Nudges, Seat};
use super::gate::Gate;
use super::line::{Line, Taken};

/// Reads of one connection before others get their turn.
const READS_MAX: usize = 4;

/// How long a parting connection may take to get its last acknowledgements and the goodbye out.
const FAREWELL_TIME: Duration = Duration::from_secs(5);

/// After the goodbye, how long we read on and throw away what comes: closing at once would reset the connection, and the
/// goodbye could be lost on its way.
const LINGER_TIME: Duration = Duration::from_millis(500);

/// A peer that takes nothing of what we write for this long is gone (the reference server's deadline).
const WRITE_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection on which nobody has logged in for this long is closed. Terminals log in at once.
const LOGIN_S_MAX: u32 = 60;

/// A message that is still incomplete at this size may grow only while the whole program has memory for it.
const REST_BYTES_FREE: usize = 16 * 1024;

/// What is spoken on a connection. Methods don't wait: they say what to wait for.
pub(crate) trait Dialogue {
    /// Takes the whole messages at the front of `bytes`; what it does not use comes again, with more behind it.
    fn hear(&mut self, bytes: &mut [u8], answers: &mut Answers, moment: Moment) -> Heard;

    /// [`Wait::Verdict`]: ready when it has come; an error ends the connection.
    fn poll_verdict(&mut self, cx: &mut Context<'_>, answers: &mut Answers) -> Poll<Result<(), Ending>>;

    /// The registry has changed: is this connection still admitted?
    fn recheck(&mut self) -> Result<(), Refusal>;

    /// Half of the idle time is over: ask whether the peer is there, if the protocol has a way to.
    fn ask_for_life(&mut self, out: &mut Vec<u8>);

    /// The last words, in the protocol's way.
    fn part(&mut self, ending: Ending, out: &mut Vec<u8>);

    /// Bytes that it holds beside the answers.
    fn held_bytes(&self) -> usize;
}

/// When something was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// By the wall clock: what is stored.
    pub(crate) utc: UtcMicros,
    /// By the clock that never jumps: what is measured.
    pub(crate) monotonic: Duration,
}

/// What came of hearing.
#[derive(Debug)]
pub(crate) struct Heard {
    /// Bytes that are done with.
    pub(crate) used: usize,
    /// How to go on.
    pub(crate) then: Then,
}

/// How to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    /// Read more.
    Read,
    /// Wait, then look at the rest again, then read more.
    Wait(Wait),
    /// Part.
    End(Ending),
}

/// What to wait for before reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The journal takes frames again.
    Journal,
    /// Some answers have left.
    Answers,
    /// The dialogue's own question to somebody else is answered.
    Verdict,
    /// The vehicle may send again at this time of the monotonic clock.
    Until(Duration),
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The peer closed it, or said goodbye.
    Peer,
    /// The network failed.
    Network,
    /// Nothing came for too long.
    Idle,
    /// The peer took nothing of what we wrote for too long.
    Unread,
    /// A newer connection took the vehicle over.
    Replaced,
    /// The program ends.
    Shutdown,
    /// A rule refuses it.
    Refused(Refusal),
    /// The peer broke the protocol; the code goes into metrics.
    Violation(&'static str),
    /// The memory is used up.
    Memory,
}

impl Ending {
    /// The name in metrics and the diary.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Peer => "peer_closed",
            Self::Network => "network_error",
            Self::Idle => "idle",
            Self::Unread => "write_deadline",
            Self::Replaced => "replaced",
            Self::Shutdown => "shutdown",
            Self::Refused(refusal) => refusal.code(),
            Self::Violation(code) => code,
            Self::Memory => "memory_full",
        }
    }
}

/// Leads a dialogue over an identified connection until it ends, says goodbye, and returns why it ended.
pub(crate) async fn lead<S, D>(
    gate: Arc<Gate>,
    line: Line<S>,
    seat: &mut Seat,
    waiter: Arc<CommitWaiter>,
    dialogue: &mut D,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
    D: Dialogue,
{
    let is_rest_due = !line.is_rest_empty();
    let mut link = Link {
        gate,
        line,
        seat,
        waiter,
        dialogue,
        answers: Answers::default(),
        wait: None,
        journal_ready: None,
        is_rest_due,
        unread_since: None,
        is_asked: false,
    };
    let ending = poll_fn(|cx| link.poll(cx)).await;
    // Boxed, so that the thousands that are silent don't carry the room for their goodbye.
    Box::pin(link.part(ending)).await;
    ending
}

struct Link<'a, S, D> {
    gate: Arc<Gate>,
    line: Line<S>,
    seat: &'a mut Seat,
    waiter: Arc<CommitWaiter>,
    dialogue: &'a mut D,
    answers: Answers,
    wait: Option<Wait>,
    /// Ready when the journal takes frames again; there only while that is waited for.
    journal_ready: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Whether bytes that were read are to be heard (again) before more is read.
    is_rest_due: bool,
    /// Since when the peer takes nothing of what is written.
    unread_since: Option<Duration>,
    /// Whether the silent peer was asked for a sign of life.
    is_asked: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin, D: Dialogue> Link<'_, S, D> {
    /// Does all that can be done now. `Ready` when the connection ends.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let Some(nudges) = self.seat.connection().poll_nudges(cx)
            && let Err(ending) = self.heed(nudges)
        {
            return Poll::Ready(ending);
        }
        loop {
            if let Err(ending) = self.poll_wait(cx) {
                return Poll::Ready(ending);
            }
            if self.wait.is_none()
                && let Err(ending) = self.poll_hear(cx)
            {
                return Poll::Ready(ending);
            }
            self.poll_settle(cx);
            if let Err(ending) = self.poll_write(cx) {
                return Poll::Ready(ending);
            }
            // Answers that have just left may be what was waited for.
            if self.wait != Some(Wait::Answers) || self.answers.is_full() {
                break;
            }
        }
        let held_bytes = self.line.held_bytes() + self.answers.held_bytes() + self.dialogue.held_bytes();
        self.seat.hold(held_bytes);
        let is_waiting = matches!(self.wait, Some(Wait::Until(_))) || self.unread_since.is_some();
        self.seat.connection().want_attention(is_waiting || held_bytes > 0);
        Poll::Pending
    }

    fn heed(&mut self, nudges: Nudges) -> Result<(), Ending> {
        if nudges.has(Nudge::Shutdown) {
            return Err(Ending::Shutdown);
        }
        if nudges.has(Nudge::Replaced) {
            return Err(Ending::Replaced);
        }
        if nudges.has(Nudge::Recheck) {
            self.dialogue.recheck().map_err(Ending::Refused)?;
        }
        if nudges.has(Nudge::Sweep) {
            self.keep_deadlines()?;
        }
        Ok(())
    }

    fn keep_deadlines(&mut self) -> Result<(), Ending> {
        let now = self.gate.clock.monotonic();
        if self.unread_since.is_some_and(|since| now.saturating_sub(since) >= WRITE_TIME_MAX) {
            return Err(Ending::Unread);
        }
        if self.wait.is_some() {
            // The silence is ours: we don't read.
            self.seat.connection().heard(seconds(now));
            return Ok(());
        }
        let connection = self.seat.connection();
        if connection.assurance().is_none() && seconds(now).saturating_sub(connection.since_s) >= LOGIN_S_MAX
        {
            return Err(Ending::Violation("no_login"));
        }
        let silent_s = u64::from(self.seat.connection().silent_s(seconds(now)));
        if silent_s >= self.gate.limits.idle_timeout_s {
            return Err(Ending::Idle);
        }
        if silent_s >= self.gate.limits.idle_timeout_s / 2 && !self.is_asked {
            self.is_asked = true;
            self.dialogue.ask_for_life(&mut self.answers.out);
        }
        if silent_s > 0 && self.answers.first().is_none() {
            self.line.release();
            self.answers.release();
        }
        Ok(())
    }

    /// Ends a wait that is over.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        let is_over = match self.wait {
            None => return Ok(()),
            Some(Wait::Answers) => !self.answers.is_full(),
            Some(Wait::Until(time)) => self.gate.clock.monotonic() >= time,
            Some(Wait::Verdict) => match self.dialogue.poll_verdict(cx, &mut self.answers) {
                Poll::Ready(Ok(())) => true,
                Poll::Ready(Err(ending)) => return Err(ending),
                Poll::Pending => false,
            },
            Some(Wait::Journal) => {
                let journal = &self.gate.journal;
                let ready = self.journal_ready.get_or_insert_with(|| {
                    let journal = journal.clone();
                    Box::pin(async move { journal.ready().await })
                });
                let is_ready = ready.as_mut().poll(cx).is_ready();
                if is_ready {
                    self.journal_ready = None;
                }
                is_ready
            }
        };
        if is_over {
            self.wait = None;
            self.is_rest_due = true;
        }
        Ok(())
    }

    /// Reads and hears until nothing is there, there is something to wait for, or others should have their turn.
    fn poll_hear(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        if std::mem::take(&mut self.is_rest_due) {
            let moment = self.gate.moment();
            let mut then = Then::Read;
            self.line.take_rest(|bytes| {
                let heard = self.dialogue.hear(bytes, &mut self.answers, moment);
                then = heard.then;
                heard.used
            });
            self.go_on(then)?;
        }
        for _ in 0..READS_MAX {
            if self.wait.is_some() {
                return Ok(());
            }
            if self.line.held_bytes() > REST_BYTES_FREE && self.gate.connections.is_full_of_bytes() {
                return Err(Ending::Memory);
            }
            let (gate, dialogue, answers) = (&self.gate, &mut *self.dialogue, &mut self.answers);
            let mut then = Then::Read;
            let mut monotonic = Duration::ZERO;
            let polled = self.line.poll_take(cx, |bytes| {
                let moment = gate.moment();
                monotonic = moment.monotonic;
                let heard = dialogue.hear(bytes, answers, moment);
                then = heard.then;
                heard.used
            });
            match polled {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(_)) => return Err(Ending::Network),
                Poll::Ready(Ok(Taken::End)) => return Err(Ending::Peer),
                Poll::Ready(Ok(Taken::Bytes(_))) => {
                    self.seat.connection().heard(seconds(monotonic));
                    self.is_asked = false;
                    self.go_on(then)?;
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn go_on(&mut self, then: Then) -> Result<(), Ending> {
        match then {
            Then::Read => Ok(()),
            Then::Wait(wait) => {
                match wait {
                    Wait::Journal => self.gate.metrics.journal_pauses.inc(),
                    Wait::Until(_) => self.gate.metrics.rate_pauses.inc(),
                    Wait::Answers | Wait::Verdict => 0,
                };
                self.wait = Some(wait);
                Ok(())
            }
            Then::End(ending) => Err(ending),
        }
    }

    /// Lets the answers leave whose frames are durable, and asks to be woken for the others.
    fn poll_settle(&mut self, cx: &mut Context<'_>) {
        while let Some(first) = self.answers.first() {
            let before = Sequence(first.0.saturating_sub(1));
            let Poll::Ready(durable) = self.waiter.poll_durable(cx, before) else { return };
            let connection: &Connection = self.seat.connection();
            let metrics = self.gate.metrics.of(connection.protocol);
            let mut series = metrics.ack_seconds.series();
            let now = self.gate.clock.monotonic();
            let count = self.answers.settle(durable, now, |waited| series.observe(waited));
            metrics.acks.inc_by(count);
            connection.frames.fetch_add(count, Ordering::Relaxed);
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Ending> {
        if self.answers.out.is_empty() {
            return Ok(());
        }
        match self.line.poll_write(cx, &mut self.answers.out) {
            Poll::Ready(Ok(())) => self.unread_since = None,
            Poll::Ready(Err(_)) => return Err(Ending::Network),
            Poll::Pending => {
                self.unread_since.get_or_insert_with(|| self.gate.clock.monotonic());
            }
        }
        Ok(())
    }

    /// Waits for the acknowledgements that are still owed, says goodbye and closes.
    async fn part(&mut self, ending: Ending) {
        if matches!(ending, Ending::Network | Ending::Unread) {
            return;
        }
        let goodbye = async {
            poll_fn(|cx| {
                self.poll_settle(cx);
                if self.answers.first().is_none() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            self.dialogue.part(ending, &mut self.answers.out);
            poll_fn(|cx| self.line.poll_write(cx, &mut self.answers.out)).await?;
            poll_fn(|cx| self.line.poll_shutdown(cx)).await
        };
        let said: Result<io::Result<()>, _> = timeout(FAREWELL_TIME, goodbye).await;
        if matches!(said, Ok(Ok(()))) && ending != Ending::Peer {
            let _either_way = timeout(LINGER_TIME, read_out(&mut self.line)).await;
        }
    }
}

/// Reads and throws away until the peer has closed.
pub(crate) async fn read_out<S: AsyncRead + AsyncWrite + Unpin>(line: &mut Line<S>) {
    while let Ok(Taken::Bytes(_)) = poll_fn(|cx| line.poll_take(cx, |bytes| bytes.len())).await {}
}

/// Whole seconds of the monotonic clock: enough for 136 years.
pub(crate) fn seconds(monotonic: Duration) -> u32 {
    u32::try_from(monotonic.as_secs()).unwrap_or(u32::MAX)
}
