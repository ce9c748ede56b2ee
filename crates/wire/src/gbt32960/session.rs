//! One connection's state, sans-IO: what a frame means now, and what the caller is to do about it.

use std::collections::{HashMap, VecDeque};

use super::cipher::{Keys, open};
use super::frame::{Envelope, read_unit};
use super::signature::{PublicKey, verify};
use super::{
    Activation, Command, Flag, KeyExchange, Login, Malformed, PlatformLogin, Signature, SignatureCheck,
    Ticket, Undecipherable, Unit, WireTime,
};

/// Vehicles whose admissions a platform's connection remembers; beyond that the oldest is asked for again.
/// One admission is about a hundred bytes, so that a platform of any size costs under a megabyte.
pub const FORWARDED_VEHICLES_MAX: usize = 4_096;

/// One connection's state. `A` is what the caller keeps of each vehicle that it admitted on the connection.
#[derive(Debug)]
pub struct Session<A> {
    state: State<A>,
}

#[derive(Debug)]
enum State<A> {
    /// Nobody has logged in.
    New,
    /// A vehicle has.
    Vehicle { vin: [u8; 17], admission: A },
    /// A platform has; its vehicles are admitted one by one.
    Platform { vehicles: Forwarded<A> },
}

#[derive(Debug)]
struct Forwarded<A> {
    admissions: HashMap<[u8; 17], A>,
    oldest_first: VecDeque<[u8; 17]>,
}

/// A frame as the session sees it.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// With it the frame is answered, now or when it is durable.
    pub ticket: Ticket,
    /// What to do.
    pub action: Action<'a>,
}

/// What the caller is to do with a frame.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action<'a> {
    /// A vehicle wants in. Decide; then [`Session::accept_vehicle`] and store the frame and answer `SUCCESS`
    /// once it is durable, or answer with the refusal's flag and store nothing.
    Login {
        /// Who it says it is.
        vin: &'a [u8; 17],
        /// ICCID, serial number, packs.
        login: Login<'a>,
        /// It comes over a platform's connection (the platform forwards logins too).
        forwarded: bool,
    },
    /// A platform wants in. Hold the password against its account; then [`Session::accept_platform`] and
    /// answer `SUCCESS`, or answer `ERROR` and close.
    PlatformLogin(PlatformLogin),
    /// Data of a vehicle that the session doesn't know yet on this platform's connection. Decide; then
    /// [`Session::accept_vehicle`] and go on as with [`Action::Store`], or answer with the refusal's flag.
    Admit(Data<'a>),
    /// Data of a vehicle that is admitted ([`Session::admission`]): check the signature where one is asked
    /// for, store the frame's bytes, answer `SUCCESS` once they are durable.
    Store(Data<'a>),
    /// A platform's logout: answer `SUCCESS` when all before is answered, then close.
    PlatformLogout,
    /// A security chip wants to be activated (2025). Answer with [`Ticket::activation_response`]; nothing is
    /// stored.
    Activation(Activation<'a>),
    /// A sender hands over a key for its data units (2025). Keys are settings here: answer `ERROR` unless the
    /// caller takes it.
    KeyExchange(KeyExchange<'a>),
    /// Answer at once with this flag; nothing is stored.
    Answer(Flag, Why),
    /// Answers to the center's own commands: nothing is sent back.
    Acknowledged(Command),
}

/// Data to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// Whose.
    pub vin: &'a [u8; 17],
    /// Realtime, supplementary or logout.
    pub kind: DataKind,
    /// When it was collected.
    pub time: WireTime,
    /// The signature, where there is one.
    pub signature: Option<Signature<'a>>,
    signed: &'a [u8],
}

impl Data<'_> {
    /// Holds the signature against the key registered for the vehicle. What is `Invalid` is answered
    /// `SIGNATURE_INVALID` and not stored.
    pub fn verify(&self, key: Option<&PublicKey>) -> SignatureCheck {
        verify(self.signed, self.signature.as_ref(), key)
    }
}

/// What kind of data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DataKind {
    /// As it happens.
    Realtime,
    /// Resent after an outage.
    Supplementary,
    /// The vehicle logs out; on its own connection it has to log in again before anything else.
    Logout,
}

/// Why a frame is answered at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// A heartbeat or a time calibration: nothing is wrong.
    Routine,
    /// Data before a login.
    NotLoggedIn,
    /// Data of another vehicle than the one that logged in.
    OtherVehicle,
    /// A vehicle login on a platform's terms or the other way round.
    WrongRole,
    /// The data unit is not what the standard says.
    Malformed(Malformed),
    /// The data unit can't be decrypted.
    Undecipherable(Undecipherable),
    /// A command that a sender has no business to give.
    UnexpectedCommand(Command),
}

impl Why {
    /// The word for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Routine => "routine",
            Self::NotLoggedIn => "not_logged_in",
            Self::OtherVehicle => "other_vehicle",
            Self::WrongRole => "wrong_role",
            Self::Malformed(_) => "malformed",
            Self::Undecipherable(_) => "undecipherable",
            Self::UnexpectedCommand(_) => "unexpected_command",
        }
    }
}

impl<A> Default for Session<A> {
    fn default() -> Self {
        Self::new()
    }
}

impl<A> Session<A> {
    /// A connection on which nobody has logged in.
    pub fn new() -> Self {
        Self { state: State::New }
    }

    /// Takes one whole frame, as [`super::cut`] found it. `plain` holds the data unit where it had to be
    /// decrypted. An error means that the bytes are no frame at all, which `cut` rules out.
    pub fn receive<'a>(
        &mut self,
        frame: &'a [u8],
        keys: &Keys,
        plain: &'a mut Vec<u8>,
    ) -> Result<Received<'a>, Malformed> {
        let envelope = Envelope::read(frame)?;
        let header = envelope.header;
        let refused =
            |flag, why| Ok(Received { ticket: Ticket::new(header, None), action: Action::Answer(flag, why) });
        if header.flag != Flag::COMMAND {
            let ticket = Ticket::new(header, None);
            return Ok(Received { ticket, action: Action::Acknowledged(header.command) });
        }
        let unit = match open(&header, envelope.unit, keys, plain) {
            Ok(unit) => unit,
            Err(error) => return refused(Flag::DECRYPTION_FAILED, Why::Undecipherable(error)),
        };
        let unit = match read_unit(&header, unit) {
            Ok(unit) => unit,
            Err(error) => return refused(Flag::STRUCTURE_INVALID, Why::Malformed(error)),
        };
        let vin = frame[4..].first_chunk().expect("an envelope has a header");
        let action = self.action(header.command, vin, unit);
        Ok(Received { ticket: Ticket::new(header, unit.time()), action })
    }

    fn action<'a>(&mut self, command: Command, vin: &'a [u8; 17], unit: Unit<'a>) -> Action<'a> {
        match (command, unit) {
            (Command::LOGIN, Unit::Login(login)) => {
                Action::Login { vin, login, forwarded: matches!(self.state, State::Platform { .. }) }
            }
            (Command::PLATFORM_LOGIN, Unit::PlatformLogin(login)) => match self.state {
                State::Vehicle { .. } => Action::Answer(Flag::ERROR, Why::WrongRole),
                State::New | State::Platform { .. } => Action::PlatformLogin(login),
            },
            (Command::REALTIME | Command::SUPPLEMENTARY, Unit::Realtime(realtime)) => {
                let kind = match command {
                    Command::REALTIME => DataKind::Realtime,
                    _ => DataKind::Supplementary,
                };
                let signed = realtime.signed;
                self.data(Data { vin, kind, time: realtime.time, signature: realtime.signature, signed })
            }
            (Command::LOGOUT, Unit::Logout(logout)) => {
                let kind = DataKind::Logout;
                self.data(Data { vin, kind, time: logout.time, signature: None, signed: &[] })
            }
            (Command::PLATFORM_LOGOUT, Unit::Logout(_)) => match self.state {
                State::Platform { .. } => {
                    self.state = State::New;
                    Action::PlatformLogout
                }
                State::New | State::Vehicle { .. } => Action::Answer(Flag::ERROR, Why::NotLoggedIn),
            },
            (Command::ACTIVATION, Unit::Activation(activation)) => Action::Activation(activation),
            (Command::KEY_EXCHANGE, Unit::KeyExchange(exchange)) => match self.state {
                State::New => Action::Answer(Flag::ERROR, Why::NotLoggedIn),
                State::Vehicle { .. } | State::Platform { .. } => Action::KeyExchange(exchange),
            },
            // Some terminals ask for the time before they log in, because a login carries it.
            (Command::HEARTBEAT | Command::TIME_CALIBRATION, _) => {
                Action::Answer(Flag::SUCCESS, Why::Routine)
            }
            (command, _) => Action::Answer(Flag::ERROR, Why::UnexpectedCommand(command)),
        }
    }

    fn data<'a>(&self, data: Data<'a>) -> Action<'a> {
        match &self.state {
            State::New => Action::Answer(Flag::ERROR, Why::NotLoggedIn),
            State::Vehicle { vin, .. } if vin != data.vin => Action::Answer(Flag::ERROR, Why::OtherVehicle),
            State::Vehicle { .. } => Action::Store(data),
            State::Platform { vehicles } if vehicles.admissions.contains_key(data.vin) => Action::Store(data),
            State::Platform { .. } => Action::Admit(data),
        }
    }

    /// The vehicle is admitted: its login on its own connection (a second login replaces the first), its
    /// login or its first data on a platform's.
    pub fn accept_vehicle(&mut self, vin: &[u8; 17], admission: A) {
        match &mut self.state {
            State::Platform { vehicles } => vehicles.insert(*vin, admission),
            state => *state = State::Vehicle { vin: *vin, admission },
        }
    }

    /// The platform's password is right.
    pub fn accept_platform(&mut self) {
        let vehicles = Forwarded { admissions: HashMap::new(), oldest_first: VecDeque::new() };
        self.state = State::Platform { vehicles };
    }

    /// What the caller keeps of a vehicle that is admitted on this connection.
    pub fn admission(&mut self, vin: &[u8; 17]) -> Option<&mut A> {
        match &mut self.state {
            State::New => None,
            State::Vehicle { vin: logged_in, admission } => (logged_in == vin).then_some(admission),
            State::Platform { vehicles } => vehicles.admissions.get_mut(vin),
        }
    }

    /// The vehicle is no longer admitted: it logged out and the logout is stored, or it was revoked. On its
    /// own connection it has to log in again, on a platform's it is asked for again.
    pub fn dismiss(&mut self, vin: &[u8; 17]) {
        match &mut self.state {
            State::New => {}
            State::Vehicle { vin: logged_in, .. } => {
                if logged_in == vin {
                    self.state = State::New;
                }
            }
            State::Platform { vehicles } => vehicles.remove(vin),
        }
    }

    /// Whether a platform is logged in.
    pub fn is_platform(&self) -> bool {
        matches!(self.state, State::Platform { .. })
    }

    /// Whether nobody is logged in.
    pub fn is_new(&self) -> bool {
        matches!(self.state, State::New)
    }

    /// How many vehicles are admitted on this connection.
    pub fn admitted(&self) -> usize {
        match &self.state {
            State::New => 0,
            State::Vehicle { .. } => 1,
            State::Platform { vehicles } => vehicles.admissions.len(),
        }
    }
}

impl<A> Forwarded<A> {
    fn insert(&mut self, vin: [u8; 17], admission: A) {
        if self.admissions.insert(vin, admission).is_some() {
            return;
        }
        self.oldest_first.push_back(vin);
        if self.oldest_first.len() > FORWARDED_VEHICLES_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.admissions.remove(&oldest);
        }
    }

    fn remove(&mut self, vin: &[u8; 17]) {
        if self.admissions.remove(vin).is_some() {
            self.oldest_first.retain(|kept| kept != vin);
        }
    }
}
