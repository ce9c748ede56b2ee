//! GB/T 32960 over TCP and TLS. Who is connected is said by the login; a client certificate, where one is shown, is the stronger
//! word. A refused login or frame is answered with the standard's flag and stored nowhere; the connection stays, because a
//! terminal logs in again on it.

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::FutureExt;
use model::{Assurance, Protocol, Sequence, VehicleId, Vin};
use policy::{Admission, Refusal, Signature, Transport, Via};
use store::{AppendRefused, CommitWaiter};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use wire::gbt32960::{
    Action, Activation, ActivationResponse, Checksum, Cut, Data, DataKind, FRAME_BYTES_MAX, Flag, Keys,
    Login, PlatformLogin, PublicKey, Received, Session, SignatureCheck, Ticket, Why, cut, verify,
};

use super::answers::Answers;
use super::connections::{Connection, Seat};
use super::dialogue::{self, Dialogue, Ending, Heard, Moment, Then, Wait};
use super::gate::{Certified, Claim, DECISIONS_MAX, ERASED, Gate, Rate};
use super::line::Line;

/// Serves one connection, whose TLS handshake (where there is one) is done.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    gate: Arc<Gate>,
    keys: Arc<Keys>,
    stream: S,
    mut seat: Seat,
    transport: Transport,
    certified: Certified,
) {
    let connection = seat.connection().clone();
    let waiter = Arc::new(CommitWaiter::new());
    let ledger = Ledger { gate: gate.clone(), connection, waiter: waiter.clone(), transport, certified };
    let frame_bytes_max = gate.limits.frame_bytes_max.min(FRAME_BYTES_MAX);
    let mut terminal = Terminal {
        keys,
        frame_bytes_max,
        session: Session::new(),
        ledger,
        rate: Rate::default(),
        direct: None,
        plain: Vec::new(),
        verdict: None,
    };
    let ending = dialogue::lead(gate, Line::new(stream), &mut seat, waiter, &mut terminal).await;
    terminal.note_disconnected(ending);
}

/// What is kept of each vehicle that was admitted on a connection.
struct Member {
    vin: Vin,
    admission: Admission,
    /// As its login carried it.
    iccid: Option<[u8; 20]>,
    /// The key that its signatures are held against.
    key: Option<Arc<PublicKey>>,
    rate: Rate,
}

/// A terminal's or a platform's side of the dialogue.
struct Terminal {
    keys: Arc<Keys>,
    frame_bytes_max: usize,
    session: Session<Box<Member>>,
    ledger: Ledger,
    /// Of logins, heartbeats and whatever else is no vehicle's data.
    rate: Rate,
    /// The vehicle whose own connection this is.
    direct: Option<(Vin, VehicleId)>,
    /// Decrypted data units.
    plain: Vec<u8>,
    /// A platform's password is being verified; the answer to it.
    verdict: Option<(Ticket, JoinHandle<bool>)>,
}

/// Decides and stores.
struct Ledger {
    gate: Arc<Gate>,
    connection: Arc<Connection>,
    waiter: Arc<CommitWaiter>,
    transport: Transport,
    certified: Certified,
}

/// Why a frame was not taken.
enum NotTaken {
    /// Refused: answered with a flag.
    Refused(Refusal),
    /// Not now, or never again on this connection.
    Then(Then),
}

impl Dialogue for Terminal {
    fn hear(&mut self, bytes: &mut [u8], answers: &mut Answers, moment: Moment) -> Heard {
        let mut used = 0;
        loop {
            if answers.is_full() {
                return Heard { used, then: Then::Wait(Wait::Answers) };
            }
            let metrics = self.ledger.gate.metrics.of(Protocol::Gbt32960);
            match cut(&bytes[used..], self.frame_bytes_max, &self.keys) {
                Cut::Wait { skipped, .. } => {
                    metrics.skipped_bytes.inc_by(skipped as u64);
                    return Heard { used: used + skipped, then: Then::Read };
                }
                Cut::Refused { skipped, why } => {
                    self.ledger.gate.metrics.rejected(Protocol::Gbt32960, why.code());
                    metrics.skipped_bytes.inc_by(skipped as u64);
                    used += skipped;
                }
                Cut::Frame { skipped, length, checksum } => {
                    metrics.skipped_bytes.inc_by(skipped as u64);
                    used += skipped;
                    let frame = &bytes[used..used + length];
                    match self.frame(frame, answers, moment) {
                        Ok(()) => {}
                        Err(then @ Then::Wait(wait)) => {
                            // A frame that was taken and is answered later is done with; any other comes again.
                            let is_taken = wait == Wait::Verdict;
                            return Heard { used: used + if is_taken { length } else { 0 }, then };
                        }
                        Err(then) => return Heard { used, then },
                    }
                    if checksum == Checksum::BeforeEncryption {
                        self.ledger.gate.metrics.checksum("before_encryption");
                    }
                    used += length;
                }
            }
        }
    }

    fn poll_verdict(&mut self, cx: &mut Context<'_>, answers: &mut Answers) -> Poll<Result<(), Ending>> {
        let Some((ticket, verdict)) = &mut self.verdict else { return Poll::Ready(Ok(())) };
        let is_right = ready!(verdict.poll_unpin(cx)).unwrap_or(false);
        let now = self.ledger.gate.clock.now();
        let flag = if is_right { Flag::SUCCESS } else { Flag::ERROR };
        ticket.answer(flag, now, answers.buffer());
        answers.add();
        self.verdict = None;
        if is_right {
            self.session.accept_platform();
            self.ledger.connection.identified(Assurance::Platform);
            return Poll::Ready(Ok(()));
        }
        self.ledger.gate.metrics.refused(Protocol::Gbt32960, "platform_password");
        tracing::warn!(connection = %self.ledger.connection.id, "a platform's name or password is wrong");
        Poll::Ready(Err(Ending::Violation("platform_password")))
    }

    fn recheck(&mut self) -> Result<(), Refusal> {
        let Some((vin, _)) = self.direct else { return Ok(()) };
        let Some(member) = self.session.admission(vin.as_bytes()) else { return Ok(()) };
        match self.ledger.admit_again(member) {
            Ok(()) => Ok(()),
            Err(refusal) => {
                self.session.dismiss(vin.as_bytes());
                Err(refusal)
            }
        }
    }

    fn ask_for_life(&mut self, _out: &mut Vec<u8>) {
        // The standard has no question that a terminal must answer; heartbeats are the terminal's to send.
    }

    fn part(&mut self, _ending: Ending, _out: &mut Vec<u8>) {
        // The standard has no goodbye: the connection is closed after the last answer.
    }

    fn held_bytes(&self) -> usize {
        self.plain.capacity() + self.session.admitted() * size_of::<Member>()
    }
}

impl Terminal {
    fn frame(&mut self, frame: &[u8], answers: &mut Answers, moment: Moment) -> Result<(), Then> {
        let mut plain = std::mem::take(&mut self.plain);
        let taken = match self.session.receive(frame, &self.keys, &mut plain) {
            Ok(Received { ticket, action }) => self.act(frame, &ticket, action, answers, moment),
            Err(_) => {
                self.ledger.gate.metrics.rejected(Protocol::Gbt32960, "malformed");
                Ok(())
            }
        };
        self.plain = plain;
        taken
    }

    fn act(
        &mut self,
        frame: &[u8],
        ticket: &Ticket,
        action: Action<'_>,
        answers: &mut Answers,
        moment: Moment,
    ) -> Result<(), Then> {
        if !matches!(action, Action::Store(_) | Action::Admit(_)) {
            self.count(moment)?;
        }
        match action {
            Action::Login { vin, login, forwarded } => {
                self.login(frame, vin, &login, forwarded, ticket, answers, moment)
            }
            Action::Admit(data) => self.forwarded(frame, &data, ticket, answers, moment),
            Action::Store(data) => self.data(frame, &data, ticket, answers, moment),
            Action::PlatformLogin(login) => Err(self.platform_login(*ticket, &login)),
            Action::PlatformLogout => {
                ticket.answer(Flag::SUCCESS, moment.utc, answers.buffer());
                answers.add();
                Err(Then::End(Ending::Peer))
            }
            Action::Activation(activation) => {
                ticket.activation_response(self.activation(&activation), answers.buffer());
                answers.add();
                Ok(())
            }
            Action::KeyExchange(_) => {
                self.answer(ticket, Flag::ERROR, answers, moment);
                self.ledger.gate.metrics.rejected(Protocol::Gbt32960, "key_exchange");
                Ok(())
            }
            Action::Answer(flag, why) => {
                self.answer(ticket, flag, answers, moment);
                if why != Why::Routine {
                    self.ledger.gate.metrics.rejected(Protocol::Gbt32960, why.code());
                }
                Ok(())
            }
            Action::Acknowledged(_) => Ok(()),
            _ => {
                self.answer(ticket, Flag::ERROR, answers, moment);
                self.ledger.gate.metrics.rejected(Protocol::Gbt32960, "unexpected_command");
                Ok(())
            }
        }
    }

    /// Counts a frame that is no vehicle's data.
    fn count(&mut self, moment: Moment) -> Result<(), Then> {
        let per_minute_max = self.ledger.gate.limits.messages_per_minute_max;
        self.rate.room(moment.monotonic, per_minute_max).map_err(|until| Then::Wait(Wait::Until(until)))?;
        self.rate.take(moment.monotonic, per_minute_max);
        Ok(())
    }

    fn answer(&self, ticket: &Ticket, flag: Flag, answers: &mut Answers, moment: Moment) {
        ticket.answer(flag, moment.utc, answers.buffer());
        answers.add();
    }

    /// A vehicle's login, on its own connection or over a platform's.
    #[expect(clippy::too_many_arguments, reason = "a login is these things, and only one place has them")]
    fn login(
        &mut self,
        frame: &[u8],
        vin: &[u8; 17],
        login: &Login<'_>,
        forwarded: bool,
        ticket: &Ticket,
        answers: &mut Answers,
        moment: Moment,
    ) -> Result<(), Then> {
        let via = if forwarded { Via::Platform } else { Via::Direct };
        let taken = self.ledger.enter(vin, via, Some(login.iccid), Signature::NotApplicable).and_then(
            |mut member| {
                let stored = self.ledger.store(frame, &mut member, moment)?;
                Ok((stored, member))
            },
        );
        let (stored, member) = match taken {
            Ok(taken) => taken,
            Err(NotTaken::Then(then)) => return Err(then),
            Err(NotTaken::Refused(refusal)) => {
                return self.refuse(vin, refusal, ticket, answers, moment);
            }
        };
        let assurance = member.admission.assurance();
        let vehicle = member.admission.vehicle();
        if !forwarded {
            self.change_direct(member.vin, vehicle, assurance);
        }
        self.session.accept_vehicle(vin, Box::new(member));
        ticket.answer(Flag::SUCCESS, moment.utc, answers.buffer());
        match stored {
            Some(sequence) => answers.owe(sequence, moment.monotonic),
            None => answers.add(),
        }
        Ok(())
    }

    /// Notes whose own connection this is now.
    fn change_direct(&mut self, vin: Vin, vehicle: VehicleId, assurance: Assurance) {
        let Ledger { gate, connection, .. } = &self.ledger;
        connection.identified(assurance);
        if let Some((_, before)) = self.direct.replace((vin, vehicle)) {
            if before == vehicle {
                return;
            }
            gate.connections.release(before, connection.id);
        }
        gate.note(connection, &vin, "connected", "", &[]);
        tracing::debug!(connection = %connection.id, protocol = "gbt32960", "connected");
    }

    /// Data of a vehicle that a platform forwards and that is not known yet on this connection.
    fn forwarded(
        &mut self,
        frame: &[u8],
        data: &Data<'_>,
        ticket: &Ticket,
        answers: &mut Answers,
        moment: Moment,
    ) -> Result<(), Then> {
        match self.ledger.enter(data.vin, Via::Platform, None, Signature::NotApplicable) {
            Ok(member) => {
                self.session.accept_vehicle(data.vin, Box::new(member));
                self.data(frame, data, ticket, answers, moment)
            }
            Err(NotTaken::Then(then)) => Err(then),
            Err(NotTaken::Refused(refusal)) => {
                self.count(moment)?;
                self.refuse(data.vin, refusal, ticket, answers, moment)
            }
        }
    }

    /// Data of an admitted vehicle.
    fn data(
        &mut self,
        frame: &[u8],
        data: &Data<'_>,
        ticket: &Ticket,
        answers: &mut Answers,
        moment: Moment,
    ) -> Result<(), Then> {
        let per_minute_max = self.ledger.gate.limits.messages_per_minute_max;
        let via = if self.session.is_platform() { Via::Platform } else { Via::Direct };
        let member = self.session.admission(data.vin).expect("the session stores data of its members alone");
        member.rate.room(moment.monotonic, per_minute_max).map_err(|until| Then::Wait(Wait::Until(until)))?;
        let signature = signature_fact(data, member.key.as_deref());
        let stored = self
            .ledger
            .hold_signature(member, via, signature)
            .map_err(NotTaken::Refused)
            .and_then(|()| self.ledger.store(frame, member, moment));
        match stored {
            Ok(stored) => {
                member.rate.take(moment.monotonic, per_minute_max);
                ticket.answer(Flag::SUCCESS, moment.utc, answers.buffer());
                match stored {
                    Some(sequence) => answers.owe(sequence, moment.monotonic),
                    None => answers.add(),
                }
                if data.kind == DataKind::Logout {
                    let vehicle = member.admission.vehicle();
                    self.ledger.gate.connections.release(vehicle, self.ledger.connection.id);
                    self.session.dismiss(data.vin);
                }
                Ok(())
            }
            Err(NotTaken::Then(then)) => Err(then),
            Err(NotTaken::Refused(refusal)) => {
                if !matches!(refusal, Refusal::SignatureInvalid | Refusal::SignatureRequired) {
                    self.session.dismiss(data.vin);
                }
                self.count(moment)?;
                self.refuse(data.vin, refusal, ticket, answers, moment)
            }
        }
    }

    fn refuse(
        &self,
        vin: &[u8; 17],
        refusal: Refusal,
        ticket: &Ticket,
        answers: &mut Answers,
        moment: Moment,
    ) -> Result<(), Then> {
        let Ledger { gate, connection, .. } = &self.ledger;
        gate.refused(connection, Vin::from_bytes(vin).ok().as_ref(), refusal);
        self.answer(ticket, flag_of(refusal), answers, moment);
        Ok(())
    }

    /// Lets the password be verified on a thread that may be busy with it.
    fn platform_login(&mut self, ticket: Ticket, login: &PlatformLogin) -> Then {
        let registry = self.ledger.gate.registry.clone();
        let login = *login;
        let verdict =
            tokio::task::spawn_blocking(move || registry.platform_verify(login.user(), login.password()));
        self.verdict = Some((ticket, verdict));
        Then::Wait(Wait::Verdict)
    }

    /// A chip is accepted when its request is signed with the key that is registered for its vehicle.
    fn activation(&self, activation: &Activation<'_>) -> ActivationResponse {
        let vehicle =
            Vin::from_bytes(&activation.vin).ok().and_then(|vin| self.ledger.gate.registry.lookup(&vin));
        let key = vehicle.and_then(|vehicle| PublicKey::from_pem(vehicle.public_key.as_deref()?).ok());
        let check = verify(activation.signed, Some(&activation.signature), key.as_ref());
        if check == SignatureCheck::Verified {
            ActivationResponse { result: 1, info: 1 }
        } else {
            ActivationResponse { result: 2, info: 2 }
        }
    }

    fn note_disconnected(&mut self, ending: Ending) {
        let Ledger { gate, connection, .. } = &self.ledger;
        gate.metrics.closed(Protocol::Gbt32960, ending.code());
        if self.session.is_platform() {
            gate.connections.release_all(connection.id);
        }
        if let Some((vin, vehicle)) = self.direct {
            // Its pseudonym is another one where what it said was erased meanwhile.
            let vehicle =
                self.session.admission(vin.as_bytes()).map_or(vehicle, |member| member.admission.vehicle());
            gate.connections.release(vehicle, connection.id);
            if let Ending::Refused(refusal) = ending {
                gate.refused(connection, Some(&vin), refusal);
            }
            gate.note(connection, &vin, "disconnected", ending.code(), &[]);
        }
        tracing::debug!(connection = %connection.id, protocol = "gbt32960", reason = ending.code(), "disconnected");
    }
}

impl Ledger {
    /// Admits a vehicle and lets this connection hold it.
    fn enter(
        &self,
        vin: &[u8; 17],
        via: Via,
        iccid: Option<[u8; 20]>,
        signature: Signature,
    ) -> Result<Member, NotTaken> {
        // What is no VIN can't be registered.
        let vin = Vin::from_bytes(vin).map_err(|_| NotTaken::Refused(Refusal::UnknownVehicle))?;
        let claim = Claim {
            vin: &vin,
            transport: self.transport,
            via,
            certified: &self.certified,
            iccid: iccid.as_ref().map(<[u8; 20]>::as_slice),
            signature,
        };
        let (admission, vehicle) = self.gate.admit(self.connection.id, &claim).map_err(NotTaken::Refused)?;
        let (id, assurance) = (admission.vehicle(), admission.assurance());
        if !self.gate.connections.claim(id, &self.connection, assurance, via == Via::Direct) {
            return Err(NotTaken::Refused(Refusal::WeakerIdentity));
        }
        // A key that the registry took and that can't be read leaves signatures unverifiable, as without one.
        let key = vehicle.public_key.as_deref().and_then(|pem| PublicKey::from_pem(pem).ok()).map(Arc::new);
        Ok(Member { vin, admission, iccid, key, rate: Rate::default() })
    }

    /// Decides anew for a member, on the registry as it stands now.
    fn admit_again(&self, member: &mut Member) -> Result<(), Refusal> {
        let via =
            if member.admission.assurance() == Assurance::Platform { Via::Platform } else { Via::Direct };
        self.decide(member, via, Signature::NotApplicable)
    }

    fn decide(&self, member: &mut Member, via: Via, signature: Signature) -> Result<(), Refusal> {
        let claim = Claim {
            vin: &member.vin,
            transport: self.transport,
            via,
            certified: &self.certified,
            iccid: member.iccid.as_ref().map(<[u8; 20]>::as_slice),
            signature,
        };
        let (admission, vehicle) = self.gate.admit(self.connection.id, &claim)?;
        member.key =
            vehicle.public_key.as_deref().and_then(|pem| PublicKey::from_pem(pem).ok()).map(Arc::new);
        let (before, now) = (member.admission.vehicle(), admission.vehicle());
        if before != now {
            // What the vehicle said was erased, and it has a new pseudonym.
            let connections = &self.gate.connections;
            connections.release(before, self.connection.id);
            connections.claim(now, &self.connection, admission.assurance(), via == Via::Direct);
        }
        member.admission = admission;
        Ok(())
    }

    /// Lets what came of a frame's signature count: it may strengthen the vehicle's identity, or be a reason to refuse.
    fn hold_signature(&self, member: &mut Member, via: Via, signature: Signature) -> Result<(), Refusal> {
        let is_stronger =
            signature == Signature::Verified && member.admission.assurance() < Assurance::Signature;
        let is_weaker = match signature {
            Signature::Invalid => true,
            Signature::Absent | Signature::Unverifiable => self.gate.rules().require_signature,
            Signature::Verified | Signature::NotApplicable => false,
        };
        if !is_stronger && !is_weaker {
            return Ok(());
        }
        self.decide(member, via, signature)?;
        let (id, assurance) = (member.admission.vehicle(), member.admission.assurance());
        if !self.gate.connections.claim(id, &self.connection, assurance, via == Via::Direct) {
            return Err(Refusal::WeakerIdentity);
        }
        if via == Via::Direct {
            self.connection.identified(assurance);
        }
        Ok(())
    }

    /// Hands a frame to the journal, under a decision that holds now. `None` for one that speaks of an erased time alone: it is
    /// counted, and nothing is kept of it.
    fn store(&self, frame: &[u8], member: &mut Member, moment: Moment) -> Result<Option<Sequence>, NotTaken> {
        for _ in 0..DECISIONS_MAX {
            if self.gate.is_of_erased_time(&member.admission, Protocol::Gbt32960, frame, moment.utc) {
                self.gate.metrics.rejected(Protocol::Gbt32960, ERASED);
                return Ok(None);
            }
            let admitted = member.admission.frame(moment.utc, Protocol::Gbt32960, self.connection.id, frame);
            match self.gate.journal.append(admitted, &self.waiter) {
                Ok(sequence) => {
                    let metrics = self.gate.metrics.of(Protocol::Gbt32960);
                    metrics.frames.inc();
                    metrics.frame_bytes.inc_by(frame.len() as u64);
                    return Ok(Some(sequence));
                }
                Err(AppendRefused::Stale) => self.admit_again(member).map_err(NotTaken::Refused)?,
                Err(AppendRefused::Paused) => return Err(NotTaken::Then(Then::Wait(Wait::Journal))),
                Err(AppendRefused::Closed) => return Err(NotTaken::Then(Then::End(Ending::Shutdown))),
                Err(AppendRefused::TooLarge) => {
                    return Err(NotTaken::Then(Then::End(Ending::Violation("too_large"))));
                }
            }
        }
        Err(NotTaken::Then(Then::Wait(Wait::Until(moment.monotonic + Duration::from_millis(100)))))
    }
}

fn signature_fact(data: &Data<'_>, key: Option<&PublicKey>) -> Signature {
    if data.kind == DataKind::Logout {
        return Signature::NotApplicable;
    }
    match data.verify(key) {
        SignatureCheck::Verified => Signature::Verified,
        SignatureCheck::Invalid => Signature::Invalid,
        SignatureCheck::Absent => Signature::Absent,
        SignatureCheck::NoKey | SignatureCheck::UnknownAlgorithm => Signature::Unverifiable,
    }
}

/// The standard's word for a refusal.
fn flag_of(refusal: Refusal) -> Flag {
    match refusal {
        Refusal::UnknownVehicle | Refusal::ForeignCountry | Refusal::Revoked => Flag::VIN_UNKNOWN,
        Refusal::WeakerIdentity => Flag::VIN_DUPLICATE,
        Refusal::SignatureInvalid | Refusal::SignatureRequired => Flag::SIGNATURE_INVALID,
        _ => Flag::ERROR,
    }
}
