//! One connection of one vehicle: handshake, upgrade or login, messages out, answers in.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use model::{UtcMicros, Vin};
use rand::rngs::StdRng;
use rand::{Rng, RngExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use wire::gbt32960::{self, Command, Edition, Flag};
use wire::tesla::{self, Envelope, Stream};
use wire::websocket::{self, Item, Opcode, Receiver, Response, Role, UpgradeRequest};

use super::error::ClientError;
use super::tls::Endpoint;
use crate::gbt32960::{LoginFacts, login, logout};

/// How long a vehicle waits for handshake and upgrade or login. A center under a storm of connections takes seconds.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(60);
/// Room for one read.
const READ_BYTES: usize = 8 * 1024;
/// Answers are small; a server that sends more than this without a whole one is broken.
const INPUT_BYTES_MAX: usize = 256 * 1024;

/// What a vehicle connects to, and as what.
#[derive(Clone)]
pub struct Target {
    /// The server.
    pub endpoint: Endpoint,
    /// TLS, or `None` for plain TCP (GB/T 32960 alone).
    pub tls: Option<TlsConnector>,
    /// The source address; `None` leaves it to the system. Many source addresses make room for many connections.
    pub source: Option<std::net::IpAddr>,
    /// Who it is.
    pub vin: Vin,
    /// What it speaks.
    pub speaks: Speaks,
}

/// A vehicle's protocol.
#[derive(Clone, Debug)]
pub enum Speaks {
    /// Tesla Fleet Telemetry.
    Tesla,
    /// GB/T 32960.3, with what its login says.
    Gbt(LoginFacts),
}

/// A message of a vehicle.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its number, unique for the vehicle.
    pub number: u64,
    /// What it says.
    pub body: Body,
}

/// What a message says, in the form that can be sent a second time.
#[derive(Clone, Debug)]
pub enum Body {
    /// A payload of a topic; the envelope is put around it when it is sent.
    Tesla {
        /// Which topic.
        topic: tesla::Topic,
        /// The protobuf message.
        payload: Vec<u8>,
        /// Seconds since the epoch.
        created_at: u32,
    },
    /// A whole frame.
    Gbt {
        /// Its bytes.
        frame: Vec<u8>,
    },
}

/// What the server said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The message of this number is durable.
    Acked(u64),
    /// The message of this number was answered with an error.
    Refused(u64),
}

/// A message that waits for its answer on a GB/T connection, where answers come in order.
struct Awaited {
    number: u64,
    command: u8,
    resent_as: u8,
}

/// A connection after handshake and upgrade or login.
pub struct Link {
    stream: Box<dyn Io>,
    vin: Vin,
    sender_id: String,
    input: Vec<u8>,
    output: Vec<u8>,
    speech: Speech,
    rng: StdRng,
}

enum Speech {
    Tesla(Receiver),
    Gbt { facts: LoginFacts, awaited: VecDeque<Awaited> },
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Link {
    /// Connects, and comes back when messages may be sent.
    pub async fn connect(target: &Target, now: UtcMicros, rng: StdRng) -> Result<Self, ClientError> {
        timeout(CONNECT_TIME_MAX, Self::establish(target, now, rng))
            .await
            .map_err(|_| ClientError::TimeOut)?
    }

    async fn establish(target: &Target, now: UtcMicros, rng: StdRng) -> Result<Self, ClientError> {
        let tcp = open(target.endpoint.address, target.source).await?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Io> = match &target.tls {
            Some(tls) => Box::new(tls.connect(target.endpoint.server_name.clone(), tcp).await?),
            None => Box::new(tcp),
        };
        let mut link = Self {
            stream,
            vin: target.vin,
            sender_id: format!("{}.{}", tesla::DeviceType::VehicleDevice.as_str(), target.vin),
            input: Vec::new(),
            output: Vec::new(),
            speech: Speech::Tesla(Receiver::new(Role::Client, tesla::MESSAGE_BYTES_MAX)),
            rng,
        };
        match &target.speaks {
            Speaks::Tesla => link.upgrade(target.endpoint.address).await?,
            Speaks::Gbt(facts) => link.log_in(facts, now).await?,
        }
        Ok(link)
    }

    /// Puts a message into the output; [`Link::flush`] writes what was put.
    pub fn queue(&mut self, message: &Message, resend: bool) {
        match (&message.body, &mut self.speech) {
            (Body::Tesla { topic, payload, created_at }, Speech::Tesla(_)) => {
                let marked;
                let payload = match (resend, topic) {
                    (true, tesla::Topic::Vitals) => {
                        marked = crate::tesla::marked_as_resent(payload);
                        &marked
                    }
                    _ => payload,
                };
                let txid = txid(message.number);
                let stream = Stream {
                    created_at: *created_at,
                    sender_id: self.sender_id.as_bytes(),
                    payload,
                    device_type: tesla::DeviceType::VehicleDevice.as_str().as_bytes(),
                    device_id: self.vin.as_bytes(),
                    delivered_at_epoch_ms: 0,
                };
                let mut envelope = Vec::with_capacity(payload.len() + 256);
                tesla::encode_stream(&txid, topic.as_str().as_bytes(), b"", &stream, &mut envelope);
                let mask = self.rng.next_u32().to_be_bytes();
                websocket::write_masked(Opcode::Binary, &envelope, mask, &mut self.output);
            }
            (Body::Gbt { frame }, Speech::Gbt { awaited, .. }) => {
                let start = self.output.len();
                self.output.extend_from_slice(frame);
                if resend {
                    crate::gbt32960::mark_as_resent(&mut self.output[start..]);
                }
                let resent_as = self.output[start + 2];
                awaited.push_back(Awaited { number: message.number, command: frame[2], resent_as });
            }
            _ => debug_assert!(false, "a message of one protocol on a connection of another"),
        }
    }

    /// Writes what was queued.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await?;
            self.output.clear();
        }
        Ok(())
    }

    /// Waits for bytes and reads the answers in them; may be cancelled without losing any.
    pub async fn answers(&mut self, answers: &mut Vec<Answer>) -> Result<(), ClientError> {
        self.fill().await?;
        match &mut self.speech {
            Speech::Tesla(_) => self.read_tesla(answers),
            Speech::Gbt { .. } => self.read_gbt(answers),
        }
    }

    /// Says goodbye (WebSocket close, GB/T logout) and ends the connection.
    pub async fn close(mut self, now: UtcMicros) -> Result<(), ClientError> {
        match &self.speech {
            Speech::Tesla(_) => {
                let mask = self.rng.next_u32().to_be_bytes();
                websocket::write_masked(Opcode::Close, &1000u16.to_be_bytes(), mask, &mut self.output);
            }
            Speech::Gbt { facts, .. } => self.output.extend_from_slice(&logout(facts, self.vin, now)),
        }
        self.flush().await?;
        self.stream.shutdown().await?;
        Ok(())
    }

    async fn upgrade(&mut self, address: SocketAddr) -> Result<(), ClientError> {
        let key: [u8; 16] = self.rng.random();
        let host = address.to_string();
        let headers =
            [("X-Network-Interface", "cellular"), ("Version", "sim-1"), ("User-Agent", "domicile-sim")];
        UpgradeRequest { host: &host, path: "/", key, headers: &headers }.write(&mut self.output);
        self.flush().await?;
        loop {
            self.fill().await?;
            match websocket::read_response(&self.input, key) {
                Response::Incomplete => {}
                Response::Upgraded { head_bytes } => {
                    self.input.drain(..head_bytes);
                    return Ok(());
                }
                Response::Refused { status } => return Err(ClientError::Upgrade(status)),
            }
        }
    }

    async fn log_in(&mut self, facts: &LoginFacts, now: UtcMicros) -> Result<(), ClientError> {
        self.speech = Speech::Gbt { facts: facts.clone(), awaited: VecDeque::new() };
        self.output.extend_from_slice(&login(facts, self.vin, now));
        self.flush().await?;
        loop {
            self.fill().await?;
            if let Some((bytes, command, flag)) = frame_at_front(&self.input)? {
                self.input.drain(..bytes);
                if command == Command::LOGIN.0 {
                    let accepted = flag == Flag::SUCCESS.0;
                    return if accepted { Ok(()) } else { Err(ClientError::Login(flag)) };
                }
            }
        }
    }

    async fn fill(&mut self) -> Result<(), ClientError> {
        self.input.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(ClientError::Closed(None));
        }
        if self.input.len() > INPUT_BYTES_MAX + READ_BYTES {
            return Err(ClientError::Protocol("more bytes than any answer has"));
        }
        Ok(())
    }

    fn read_tesla(&mut self, answers: &mut Vec<Answer>) -> Result<(), ClientError> {
        let Speech::Tesla(receiver) = &mut self.speech else { return Ok(()) };
        let mut done = 0;
        loop {
            let step = receiver
                .next(&mut self.input[done..])
                .map_err(|_| ClientError::Protocol("a frame that RFC 6455 forbids"))?;
            done += step.consumed;
            match step.item {
                Item::Incomplete { .. } => break,
                Item::Progress | Item::Pong(_) | Item::TooLarge => {}
                Item::Message(bytes) => answers.push(read_answer(bytes)?),
                Item::Ping(payload) => {
                    let mask = self.rng.next_u32().to_be_bytes();
                    websocket::write_masked(Opcode::Pong, payload, mask, &mut self.output);
                }
                Item::Close { code } => return Err(ClientError::Closed(code)),
            }
        }
        self.input.drain(..done);
        Ok(())
    }

    fn read_gbt(&mut self, answers: &mut Vec<Answer>) -> Result<(), ClientError> {
        let Speech::Gbt { awaited, .. } = &mut self.speech else { return Ok(()) };
        let mut done = 0;
        while let Some((bytes, command, flag)) = frame_at_front(&self.input[done..])? {
            done += bytes;
            let is_answer =
                awaited.front().is_some_and(|first| [first.command, first.resent_as].contains(&command));
            if !is_answer {
                return Err(ClientError::Protocol("an answer to no command that was sent"));
            }
            if let Some(first) = awaited.pop_front() {
                let taken = flag == Flag::SUCCESS.0;
                answers.push(if taken { Answer::Acked(first.number) } else { Answer::Refused(first.number) });
            }
        }
        self.input.drain(..done);
        Ok(())
    }
}

/// Opens a TCP connection, from a given source address if there is one.
#[expect(
    clippy::disallowed_methods,
    reason = "a simulated vehicle connects to its center; no center runs this"
)]
async fn open(address: SocketAddr, source: Option<std::net::IpAddr>) -> Result<TcpStream, ClientError> {
    let Some(source) = source else { return Ok(TcpStream::connect(address).await?) };
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0))?;
    Ok(socket.connect(address).await?)
}

/// The transaction id of a message: its number as 32 hexadecimal digits, as long as a UUID's.
fn txid(number: u64) -> Vec<u8> {
    format!("{number:032x}").into_bytes()
}

/// An ack carries topic and txid of the message; an error envelope the txid alone.
fn read_answer(bytes: &[u8]) -> Result<Answer, ClientError> {
    const BROKEN: ClientError = ClientError::Protocol("an answer that is no envelope");
    let envelope = Envelope::parse(bytes).map_err(|_| BROKEN)?;
    let number = std::str::from_utf8(envelope.txid).ok().and_then(|txid| u64::from_str_radix(txid, 16).ok());
    let number = number.ok_or(ClientError::Protocol("an answer without the message's txid"))?;
    match envelope.message {
        tesla::Message::Ack => Ok(Answer::Acked(number)),
        _ => Ok(Answer::Refused(number)),
    }
}

/// The length, command and flag of the whole frame at the buffer's front; `None` while it is not whole.
fn frame_at_front(buffer: &[u8]) -> Result<Option<(usize, u8, u8)>, ClientError> {
    let Some(header) = buffer.first_chunk::<{ gbt32960::HEADER_BYTES }>() else { return Ok(None) };
    if Edition::from_start_byte(header[0]).is_none() || header[0] != header[1] {
        return Err(ClientError::Protocol("a frame that does not begin with its start bytes"));
    }
    let bytes = gbt32960::HEADER_BYTES + usize::from(u16::from_be_bytes([header[22], header[23]])) + 1;
    let Some(frame) = buffer.get(..bytes) else { return Ok(None) };
    if frame[2..].iter().fold(0, |sum, byte| sum ^ byte) != 0 {
        return Err(ClientError::Protocol("a frame whose check code does not hold"));
    }
    Ok(Some((bytes, header[2], header[3])))
}
