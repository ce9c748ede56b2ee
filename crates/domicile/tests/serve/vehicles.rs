//! Vehicles for tests: blocking clients on the codecs' client sides.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wire::gbt32960::{
    Command, Edition, Encryption, Envelope, Flag, HEADER_BYTES, Header, Item, Items, Login, LoginPacks,
    Logout, PlatformLogin, Realtime, Unit, Vehicle, WireTime, encode,
};
use wire::tesla::payload::{Datum, Value, encode_vitals};
use wire::tesla::{Message, Stream, encode_stream};
use wire::websocket::{
    Item as Frame, Opcode, Receiver, Response, Role, UpgradeRequest, read_response, write_masked,
};

use crate::center::{PATIENCE, Papers};

/// 2026-11-23T12:00:00 in UTC+8.
pub(crate) const TIME: WireTime = WireTime([26, 11, 23, 12, 0, 0]);

pub(crate) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// Opens TLS to the center with a vehicle's papers; the server's name is checked.
pub(crate) fn tls(address: SocketAddr, papers: Option<&Papers>, server_ca: &str) -> io::Result<TlsStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(server_ca.as_bytes()).expect("PEM")).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match papers {
        None => builder.with_no_client_auth(),
        Some(papers) => {
            let chain = CertificateDer::pem_slice_iter(papers.certificate.as_bytes());
            let chain = chain.collect::<Result<Vec<_>, _>>().expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(papers.key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("a pair")
        }
    };
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    Ok(StreamOwned::new(connection, tcp(address)?))
}

pub(crate) fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What the center says to a Tesla vehicle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The message of this transaction is taken.
    Ack(Vec<u8>),
    /// The message of this transaction is wrong.
    Error(Vec<u8>),
    /// The connection ends with this code.
    Close(Option<u16>),
    Pong,
    Ping,
}

/// A Tesla vehicle on an upgraded connection.
pub(crate) struct Tesla {
    pub stream: TlsStream,
    receiver: Receiver,
    buffer: Vec<u8>,
    vin: String,
}

impl Tesla {
    /// Connects and upgrades; the error is the HTTP status, or 0 where TLS already failed.
    pub(crate) fn connect(address: SocketAddr, vin: &str, papers: &Papers) -> Result<Self, u16> {
        let mut stream = tls(address, Some(papers), &papers.server_ca).map_err(|_| 0_u16)?;
        let key = [7; 16];
        let mut out = Vec::new();
        let headers = [("X-Network-Interface", "cellular"), ("Version", "1.0")];
        UpgradeRequest { host: "localhost", path: "/", key, headers: &headers }.write(&mut out);
        stream.write_all(&out).map_err(|_| 0_u16)?;
        let mut buffer = Vec::new();
        loop {
            let mut some = [0; 1024];
            match stream.read(&mut some) {
                Ok(count @ 1..) => buffer.extend_from_slice(&some[..count]),
                _ => return Err(0),
            }
            match read_response(&buffer, key) {
                Response::Incomplete => {}
                Response::Upgraded { head_bytes } => {
                    buffer.drain(..head_bytes);
                    let receiver = Receiver::new(Role::Client, 1 << 20);
                    return Ok(Self { stream, receiver, buffer, vin: vin.to_owned() });
                }
                Response::Refused { status } => return Err(status),
            }
        }
    }

    /// Sends a message of topic V with a speed in mph.
    pub(crate) fn send_speed(&mut self, txid: &str, at_s: i64, mph: f64) {
        let message = speed_message(txid, &format!("vehicle_device.{}", self.vin), at_s, mph);
        self.send(Opcode::Binary, &message);
    }

    /// Sends a message of topic V with a number.
    #[cfg(feature = "lake")]
    pub(crate) fn send_number(&mut self, txid: &str, at_s: i64, field: u32, value: f64) {
        let datum = Datum { field, value: Value::Double(value) };
        let message = message(txid, &format!("vehicle_device.{}", self.vin), at_s, datum);
        self.send(Opcode::Binary, &message);
    }

    /// Sends a message of topic V with a text.
    #[cfg(feature = "lake")]
    pub(crate) fn send_text(&mut self, txid: &str, at_s: i64, field: u32, text: &str) {
        let datum = Datum { field, value: Value::Text(text) };
        let message = message(txid, &format!("vehicle_device.{}", self.vin), at_s, datum);
        self.send(Opcode::Binary, &message);
    }

    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mut out = Vec::new();
        write_masked(opcode, payload, [1, 2, 3, 4], &mut out);
        self.stream.write_all(&out).expect("sent");
    }

    /// What the center says next; `None` where it has closed without a word.
    pub(crate) fn hear(&mut self) -> Option<Said> {
        loop {
            let step = self.receiver.next(&mut self.buffer).expect("the center keeps to the protocol");
            let (consumed, said) = (
                step.consumed,
                match step.item {
                    Frame::Message(bytes) => Some(said(bytes)),
                    Frame::Close { code } => Some(Said::Close(code)),
                    Frame::Ping(_) => Some(Said::Ping),
                    Frame::Pong(_) => Some(Said::Pong),
                    _ => None,
                },
            );
            self.buffer.drain(..consumed);
            if said.is_some() {
                return said;
            }
            if consumed > 0 {
                continue;
            }
            let mut some = [0; 4096];
            match self.stream.read(&mut some) {
                Ok(count @ 1..) => self.buffer.extend_from_slice(&some[..count]),
                _ => return None,
            }
        }
    }

    /// Sets how long [`Tesla::hear`] waits.
    pub(crate) fn set_patience(&mut self, time: Duration) {
        self.stream.sock.set_read_timeout(Some(time)).expect("a deadline");
    }
}

pub(crate) fn speed_message(txid: &str, sender: &str, at_s: i64, mph: f64) -> Vec<u8> {
    message(txid, sender, at_s, Datum { field: 4, value: Value::Double(mph) })
}

fn message(txid: &str, sender: &str, at_s: i64, datum: Datum<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    encode_vitals([datum], Some(model::UtcMicros::from_seconds(at_s)), "", false, &mut payload);
    let stream = Stream { sender_id: sender.as_bytes(), payload: &payload, ..Stream::default() };
    let mut message = Vec::new();
    encode_stream(txid.as_bytes(), b"V", b"", &stream, &mut message);
    message
}

fn said(bytes: &[u8]) -> Said {
    let envelope = wire::tesla::Envelope::parse(bytes).expect("an envelope");
    match envelope.message {
        Message::Ack => Said::Ack(envelope.txid.to_vec()),
        _ => Said::Error(envelope.txid.to_vec()),
    }
}

/// A GB/T 32960 terminal or platform.
pub(crate) struct Terminal<S> {
    pub stream: S,
    buffer: Vec<u8>,
}

impl<S: Read + Write> Terminal<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("sent");
        self.stream.flush().expect("sent");
    }

    /// The next answer's command and flag; `None` where the center has closed (or says nothing).
    pub(crate) fn hear(&mut self) -> Option<(Command, Flag)> {
        loop {
            if self.buffer.len() > HEADER_BYTES {
                let unit = usize::from(u16::from_be_bytes([self.buffer[22], self.buffer[23]]));
                let length = HEADER_BYTES + unit + 1;
                if self.buffer.len() >= length {
                    let header = Envelope::read(&self.buffer[..length]).expect("an answer").header;
                    self.buffer.drain(..length);
                    return Some((header.command, header.flag));
                }
            }
            let mut some = [0; 1024];
            match self.stream.read(&mut some) {
                Ok(count @ 1..) => self.buffer.extend_from_slice(&some[..count]),
                _ => return None,
            }
        }
    }

    /// Sends a frame and gives the flag of its answer.
    pub(crate) fn ask(&mut self, bytes: &[u8]) -> Option<Flag> {
        self.send(bytes);
        self.hear().map(|(_, flag)| flag)
    }
}

pub(crate) fn login(vin: &str) -> Vec<u8> {
    let packs = LoginPacks::V2016 { count: 0, code_bytes: 0, codes: &[] };
    let login = Login { time: TIME, serial: 1, iccid: *b"89860012345678901234", packs };
    frame(vin, Command::LOGIN, &Unit::Login(login))
}

pub(crate) fn logout(vin: &str) -> Vec<u8> {
    frame(vin, Command::LOGOUT, &Unit::Logout(Logout { time: TIME, serial: 1 }))
}

pub(crate) fn heartbeat(vin: &str) -> Vec<u8> {
    frame(vin, Command::HEARTBEAT, &Unit::Empty)
}

pub(crate) fn platform_login(user: &str, password: &str) -> Vec<u8> {
    let mut login = PlatformLogin {
        time: TIME,
        serial: 1,
        user: [0; 12],
        password: [0; 20],
        encryption: Encryption::NONE,
    };
    login.user[..user.len()].copy_from_slice(user.as_bytes());
    login.password[..password.len()].copy_from_slice(password.as_bytes());
    frame("PLATFORM000000001", Command::PLATFORM_LOGIN, &Unit::PlatformLogin(login))
}

/// Realtime data with a speed in 0.1 km/h.
pub(crate) fn realtime(vin: &str, second: u8, speed: u16) -> Vec<u8> {
    let vehicle = Vehicle {
        state: 1,
        charging: 3,
        mode: 1,
        speed,
        odometer: 123_456,
        voltage: 3_500,
        current: 10_100,
        soc: 80,
        dcdc: 1,
        gear: 14,
        insulation: 500,
        accelerator: Some(20),
        brake: Some(0),
    };
    let items = [Item::Vehicle(vehicle)];
    let mut time = TIME;
    time.0[5] = second;
    let data = Realtime { time, items: Items::Given(&items), signature: None, signed: &[] };
    frame(vin, Command::REALTIME, &Unit::Realtime(data))
}

fn frame(vin: &str, command: Command, unit: &Unit<'_>) -> Vec<u8> {
    let vin = vin.as_bytes().try_into().expect("17 bytes");
    let header =
        Header { edition: Edition::V2016, command, flag: Flag::COMMAND, vin, encryption: Encryption::NONE };
    let mut out = Vec::new();
    encode(&header, unit, &mut out).expect("it fits");
    out
}
