//! Tesla Fleet Telemetry over WebSocket: who is connected comes from the client certificate, so the registry decides before
//! the upgrade. Who is refused then gets HTTP 403 with the reason's code; who is refused later (revoked while connected) gets
//! close code 1008.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use model::{Protocol, Vin};
use policy::{Admission, Refusal, Signature, Transport, Via};
use store::{AppendRefused, CommitWaiter};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use wire::tesla::{Action, Identity, Session, encode_ack};
use wire::websocket::{self, CloseCode, Decision, HEAD_BYTES_MAX, Handshake, Item, Receiver, Role, Upgrade};

use super::answers::Answers;
use super::connections::{Connection, Seat};
use super::dialogue::{self, Dialogue, Ending, Heard, Moment, Then, Wait, read_out};
use super::gate::{Certified, Claim, DECISIONS_MAX, ERASED, Gate, Rate};
use super::line::{Line, Taken};

/// How long a client may take for its request's head, from the end of its TLS handshake on.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// How long we read on after a refusal, so that the refusal is not lost by a reset.
const REFUSED_TIME: Duration = Duration::from_millis(500);

/// Serves one connection whose TLS handshake is done.
pub(crate) async fn serve(gate: Arc<Gate>, stream: Box<TlsStream<TcpStream>>, mut seat: Seat) {
    let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let (certified, identity) = gate.certified(certificate.map(AsRef::as_ref));
    let mut line = Line::new(stream);
    let connection = seat.connection().clone();
    // Boxed: the request's head and what it needs are gone before the long silence begins.
    let opened = Box::pin(timeout(HEAD_TIME, open(&gate, &mut line, &connection, &certified))).await;
    let (admission, upgrade) = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(code)) => return gate.metrics.handshake_failed(Protocol::Tesla, code),
        Err(_) => return gate.metrics.handshake_failed(Protocol::Tesla, "timeout"),
    };
    let (Certified::Vehicle(vin), Some(identity)) = (certified, identity) else {
        unreachable!("only a vehicle's certificate is admitted")
    };
    let waiter = Arc::new(CommitWaiter::new());
    let mut vehicle =
        Vehicle::new(gate.clone(), connection.clone(), waiter.clone(), vin, &identity, admission);
    vehicle.note_connected(&upgrade);
    let ending = dialogue::lead(gate.clone(), line, &mut seat, waiter, &mut vehicle).await;
    vehicle.note_disconnected(ending);
}

/// Reads the request's head, answers it, and says who was let in. The error is a label: why nobody was.
async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    gate: &Gate,
    line: &mut Line<S>,
    connection: &Arc<Connection>,
    certified: &Certified,
) -> Result<(Admission, Upgrade), &'static str> {
    let decision = read_head(line).await?;
    let mut out = Vec::new();
    let upgrade = match decision {
        Decision::Upgrade(upgrade) => upgrade,
        decision => {
            decision.write_response(&mut out);
            answer(line, &mut out).await?;
            let _either_way = timeout(REFUSED_TIME, read_out(line)).await;
            return Err(if decision == Decision::Status { "status" } else { "not_websocket" });
        }
    };
    match admit(gate, connection, certified) {
        Ok(admission) => {
            Decision::Upgrade(upgrade.clone()).write_response(&mut out);
            answer(line, &mut out).await?;
            Ok((admission, upgrade))
        }
        Err(refusal) => {
            let vin = if let Certified::Vehicle(vin) = certified { Some(vin) } else { None };
            gate.refused(connection, vin, refusal);
            Decision::Refuse { status: 403, reason: refusal.code() }.write_response(&mut out);
            answer(line, &mut out).await?;
            let _either_way = timeout(REFUSED_TIME, async {
                poll_fn(|cx| line.poll_shutdown(cx)).await?;
                read_out(line).await;
                std::io::Result::Ok(())
            })
            .await;
            Err("refused")
        }
    }
}

fn admit(gate: &Gate, connection: &Arc<Connection>, certified: &Certified) -> Result<Admission, Refusal> {
    let vin = match certified {
        Certified::Vehicle(vin) => vin,
        Certified::UnknownIssuer => return Err(Refusal::UnknownIssuer),
        Certified::NotAVehicle | Certified::Absent => return Err(Refusal::NotAVehicle),
    };
    let (admission, _) = gate.admit(connection.id, &claim(vin, certified))?;
    // The identity of every connection here is a certificate, the strongest there is, so the claim is always granted.
    gate.connections.claim(admission.vehicle(), connection, admission.assurance(), true);
    connection.identified(admission.assurance());
    Ok(admission)
}

fn claim<'a>(vin: &'a Vin, certified: &'a Certified) -> Claim<'a> {
    Claim {
        vin,
        transport: Transport::Tls,
        via: Via::Direct,
        certified,
        iccid: None,
        signature: Signature::NotApplicable,
    }
}

async fn read_head<S: AsyncRead + AsyncWrite + Unpin>(line: &mut Line<S>) -> Result<Decision, &'static str> {
    let mut decision = None;
    loop {
        let taken = poll_fn(|cx| {
            line.poll_take(cx, |bytes| match websocket::read_request(bytes) {
                Handshake::Complete { head_bytes, decision: decided } => {
                    decision = Some(decided);
                    head_bytes
                }
                Handshake::Incomplete => 0,
            })
        })
        .await;
        match (taken, decision.take()) {
            (Ok(Taken::Bytes(_)), Some(decision)) => return Ok(decision),
            (Ok(Taken::Bytes(_)), None) if line.held_bytes() <= 4 * HEAD_BYTES_MAX => {}
            (Ok(Taken::Bytes(_)), None) => return Err("head_too_large"),
            (Ok(Taken::End), _) => return Err("peer_closed"),
            (Err(_), _) => return Err("network_error"),
        }
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<S>,
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    poll_fn(|cx| line.poll_write(cx, out)).await.map_err(|_| "network_error")
}

/// A vehicle's side of the dialogue.
struct Vehicle {
    receiver: Receiver,
    taker: Taker,
    /// A message that the journal did not take when it was read; taken first when it does.
    stalled: Option<Box<[u8]>>,
}

/// Judges messages and hands them to the journal.
struct Taker {
    gate: Arc<Gate>,
    connection: Arc<Connection>,
    waiter: Arc<CommitWaiter>,
    session: Session,
    certified: Certified,
    admission: Admission,
    rate: Rate,
}

impl Vehicle {
    fn new(
        gate: Arc<Gate>,
        connection: Arc<Connection>,
        waiter: Arc<CommitWaiter>,
        vin: Vin,
        identity: &Identity,
        admission: Admission,
    ) -> Self {
        let receiver = Receiver::new(Role::Server, gate.limits.frame_bytes_max);
        let session = Session::new(identity);
        let certified = Certified::Vehicle(vin);
        let rate = Rate::default();
        let taker = Taker { gate, connection, waiter, session, certified, admission, rate };
        Self { receiver, taker, stalled: None }
    }

    fn note_connected(&self, upgrade: &Upgrade) {
        let known = [
            ("network_interface", &upgrade.network_interface),
            ("version", &upgrade.version),
            ("transaction", &upgrade.transaction),
        ];
        let more: Vec<(&str, &str)> =
            known.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))).collect();
        let Taker { gate, connection, .. } = &self.taker;
        gate.note(connection, self.taker.vin(), "connected", "", &more);
        tracing::debug!(connection = %connection.id, protocol = "tesla", "connected");
    }

    fn note_disconnected(&self, ending: Ending) {
        let Taker { gate, connection, admission, .. } = &self.taker;
        gate.connections.release(admission.vehicle(), connection.id);
        gate.metrics.closed(Protocol::Tesla, ending.code());
        if let Ending::Refused(refusal) = ending {
            gate.refused(connection, Some(self.taker.vin()), refusal);
        }
        gate.note(connection, self.taker.vin(), "disconnected", ending.code(), &[]);
        tracing::debug!(connection = %connection.id, protocol = "tesla", reason = ending.code(), "disconnected");
    }
}

impl Dialogue for Vehicle {
    fn hear(&mut self, bytes: &mut [u8], answers: &mut Answers, moment: Moment) -> Heard {
        let mut used = 0;
        if let Some(message) = self.stalled.take()
            && let Err(then) = self.taker.message(&message, answers, moment)
        {
            if matches!(then, Then::Wait(_)) {
                self.stalled = Some(message);
            }
            return Heard { used, then };
        }
        loop {
            if let Err(wait) = self.taker.may_take(answers, moment) {
                return Heard { used, then: Then::Wait(wait) };
            }
            let step = match self.receiver.next(&mut bytes[used..]) {
                Ok(step) => step,
                Err(violation) => {
                    let ending = violated(violation.close_code());
                    return Heard { used, then: Then::End(ending) };
                }
            };
            used += step.consumed;
            match step.item {
                Item::Incomplete { .. } => return Heard { used, then: Then::Read },
                Item::Progress | Item::Pong(_) => {}
                Item::Message(message) => {
                    if let Err(then) = self.taker.message(message, answers, moment) {
                        if matches!(then, Then::Wait(_)) {
                            self.stalled = Some(message.into());
                        }
                        return Heard { used, then };
                    }
                }
                // A sign of life is answered at once, whatever the journal does.
                Item::Ping(payload) => websocket::write_pong(payload, &mut answers.out),
                Item::TooLarge => {
                    let verdict = self.taker.session.too_large();
                    self.taker.reject(verdict.outcome.as_str());
                    websocket::binary(answers.buffer(), |out| verdict.write_error(out));
                    answers.add();
                }
                Item::Close { .. } => return Heard { used, then: Then::End(Ending::Peer) },
            }
        }
    }

    fn poll_verdict(&mut self, _cx: &mut Context<'_>, _answers: &mut Answers) -> Poll<Result<(), Ending>> {
        Poll::Ready(Ok(()))
    }

    fn recheck(&mut self) -> Result<(), Refusal> {
        self.taker.admit_again()
    }

    fn ask_for_life(&mut self, out: &mut Vec<u8>) {
        websocket::write_ping(b"", out);
    }

    fn part(&mut self, ending: Ending, out: &mut Vec<u8>) {
        let (code, reason) = match ending {
            Ending::Peer => (CloseCode::Normal, ""),
            Ending::Idle => (CloseCode::Normal, "idle"),
            Ending::Replaced => (CloseCode::Policy, "replaced by a newer connection"),
            Ending::Shutdown => (CloseCode::Restart, "restart"),
            Ending::Refused(refusal) => (CloseCode::Policy, refusal.code()),
            Ending::Violation(code) => (code_of(code), code),
            Ending::Memory => (CloseCode::TryLater, "overloaded"),
            Ending::Network | Ending::Unread => return,
        };
        websocket::write_close(code, reason, out);
    }

    fn held_bytes(&self) -> usize {
        self.stalled.as_ref().map_or(0, |message| message.len())
    }
}

impl Taker {
    fn vin(&self) -> &Vin {
        match &self.certified {
            Certified::Vehicle(vin) => vin,
            _ => unreachable!("a vehicle's dialogue begins with its certificate"),
        }
    }

    /// Whether another message may be taken now, or what to wait for.
    fn may_take(&mut self, answers: &Answers, moment: Moment) -> Result<(), Wait> {
        if answers.is_full() {
            return Err(Wait::Answers);
        }
        self.rate.room(moment.monotonic, self.gate.limits.messages_per_minute_max).map_err(Wait::Until)
    }

    /// Judges one message and does what the judgement says.
    fn message(&mut self, bytes: &[u8], answers: &mut Answers, moment: Moment) -> Result<(), Then> {
        let verdict = self.session.message(bytes);
        match verdict.action {
            Action::Store { txid, topic, .. } => {
                let stored = self.store(bytes, moment)?;
                websocket::binary(answers.buffer(), |out| encode_ack(txid, topic, out));
                match stored {
                    Some(sequence) => answers.owe(sequence, moment.monotonic),
                    None => answers.add(),
                }
            }
            Action::AckWithoutStoring { txid, topic } => {
                self.reject(verdict.outcome.as_str());
                websocket::binary(answers.buffer(), |out| encode_ack(txid, topic, out));
                answers.add();
            }
            Action::Reply { .. } => {
                self.reject(verdict.outcome.as_str());
                websocket::binary(answers.buffer(), |out| verdict.write_error(out));
                answers.add();
            }
            Action::Close(code) => return Err(Then::End(violated(code))),
        }
        self.rate.take(moment.monotonic, self.gate.limits.messages_per_minute_max);
        Ok(())
    }

    /// Hands a frame to the journal, under a decision that holds now. `None` for one that speaks of an erased time alone: it is
    /// counted, and nothing is kept of it.
    fn store(&mut self, bytes: &[u8], moment: Moment) -> Result<Option<model::Sequence>, Then> {
        for _ in 0..DECISIONS_MAX {
            if self.gate.is_of_erased_time(&self.admission, Protocol::Tesla, bytes, moment.utc) {
                self.reject(ERASED);
                return Ok(None);
            }
            let frame = self.admission.frame(moment.utc, Protocol::Tesla, self.connection.id, bytes);
            match self.gate.journal.append(frame, &self.waiter) {
                Ok(sequence) => {
                    let metrics = self.gate.metrics.of(Protocol::Tesla);
                    metrics.frames.inc();
                    metrics.frame_bytes.inc_by(bytes.len() as u64);
                    return Ok(Some(sequence));
                }
                Err(AppendRefused::Stale) => {
                    self.admit_again().map_err(|refusal| Then::End(Ending::Refused(refusal)))?;
                }
                Err(AppendRefused::Paused) => return Err(Then::Wait(Wait::Journal)),
                Err(AppendRefused::Closed) => return Err(Then::End(Ending::Shutdown)),
                Err(AppendRefused::TooLarge) => return Err(Then::End(violated(CloseCode::TooBig))),
            }
        }
        Err(Then::Wait(Wait::Until(moment.monotonic + Duration::from_millis(100))))
    }

    fn admit_again(&mut self) -> Result<(), Refusal> {
        let (admission, _) = self.gate.admit(self.connection.id, &claim(self.vin(), &self.certified))?;
        let (before, now) = (self.admission.vehicle(), admission.vehicle());
        if before != now {
            // What the vehicle said was erased, and it has a new pseudonym.
            self.gate.connections.release(before, self.connection.id);
            self.gate.connections.claim(now, &self.connection, admission.assurance(), true);
        }
        self.admission = admission;
        Ok(())
    }

    fn reject(&self, outcome: &'static str) {
        self.gate.metrics.rejected(Protocol::Tesla, outcome);
    }
}

fn violated(code: CloseCode) -> Ending {
    Ending::Violation(match code {
        CloseCode::Unsupported => "text_message",
        CloseCode::TooBig => "too_large",
        CloseCode::InvalidData => "invalid_data",
        CloseCode::Policy => "too_many_fragments",
        _ => "websocket_protocol",
    })
}

/// The inverse of [`violated`].
fn code_of(violation: &str) -> CloseCode {
    match violation {
        "text_message" => CloseCode::Unsupported,
        "too_large" => CloseCode::TooBig,
        "invalid_data" => CloseCode::InvalidData,
        "too_many_fragments" => CloseCode::Policy,
        _ => CloseCode::Protocol,
    }
}
