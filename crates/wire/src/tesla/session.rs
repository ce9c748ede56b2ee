//! What to do with each message of one connection, before anything of it is stored.

use crate::websocket::CloseCode;

use super::certificate::Identity;
use super::envelope::{Envelope, Message, encode_error};
use super::payload::{Topic, validate};

/// One vehicle's connection. It keeps no state but who the vehicle is: each message stands for itself.
#[derive(Debug, Clone)]
pub struct Session {
    device_id: String,
    /// `<device type>.<device id>`.
    sender: String,
}

/// What to do with a message, and what to count it as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// What to do.
    pub action: Action<'a>,
    /// What to count.
    pub outcome: Outcome,
}

/// What the caller does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Store the whole message as a frame; when that is durable, send [`encode_ack`](super::encode_ack) of these two fields.
    Store {
        /// The message's transaction id.
        txid: &'a [u8],
        /// The topic's bytes as received.
        topic: &'a [u8],
        /// The topic, known and its payload parsed.
        kind: Topic,
        /// Whether the vehicle says that it sends this again.
        resend: bool,
    },
    /// Send the ack now and store nothing, so that the vehicle doesn't send this for ever.
    AckWithoutStoring {
        /// The message's transaction id.
        txid: &'a [u8],
        /// The topic's bytes as received.
        topic: &'a [u8],
    },
    /// Send the error envelope ([`Verdict::write_error`]) and store nothing.
    Reply {
        /// The message's transaction id, empty where it couldn't be read.
        txid: &'a [u8],
    },
    /// Close the connection with this code.
    Close(CloseCode),
}

/// What became of a message: the labels of a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// Handed over to be stored.
    Accepted,
    /// Not an envelope.
    MalformedEnvelope,
    /// The payload doesn't parse as its topic's protobuf.
    MalformedPayload,
    /// The sender id isn't the certificate's.
    SenderMismatch,
    /// A topic that this version doesn't know.
    UnknownTopic,
    /// An envelope that says it is a stream and has none.
    NoStream,
    /// An envelope with another union tag than a stream's.
    OtherMessage,
    /// Larger than the limit.
    TooLarge,
    /// A text frame.
    Text,
}

impl Outcome {
    /// Every outcome, so that metrics can be there before the first of a kind.
    pub const ALL: [Self; 9] = [
        Self::Accepted,
        Self::MalformedEnvelope,
        Self::MalformedPayload,
        Self::SenderMismatch,
        Self::UnknownTopic,
        Self::NoStream,
        Self::OtherMessage,
        Self::TooLarge,
        Self::Text,
    ];

    /// The metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::MalformedEnvelope => "malformed_envelope",
            Self::MalformedPayload => "malformed_payload",
            Self::SenderMismatch => "sender_mismatch",
            Self::UnknownTopic => "unknown_topic",
            Self::NoStream => "no_stream",
            Self::OtherMessage => "other_message",
            Self::TooLarge => "too_large",
            Self::Text => "text",
        }
    }
}

impl Session {
    /// A session of the vehicle (or other device) that the client certificate names.
    pub fn new(identity: &Identity) -> Self {
        Self { device_id: identity.device_id.clone(), sender: identity.sender_id() }
    }

    /// Judges one whole binary message. One pass over the bytes, no allocation.
    ///
    /// The payload must parse as its topic's protobuf and the sender id must be the certificate's, or the vehicle gets an error
    /// envelope. What is no stream, or of an unknown topic, is acked and counted but not stored: the vehicle would send it again
    /// for ever, and what can't be parsed can't be screened, redacted or tabled either.
    pub fn message<'a>(&self, bytes: &'a [u8]) -> Verdict<'a> {
        let Ok(envelope) = Envelope::parse(bytes) else {
            return Verdict { action: Action::Reply { txid: b"" }, outcome: Outcome::MalformedEnvelope };
        };
        let (txid, topic) = (envelope.txid, envelope.topic);
        let acked = Action::AckWithoutStoring { txid, topic };
        let stream = match envelope.message {
            Message::Stream(Some(stream)) => stream,
            Message::Stream(None) => {
                return Verdict { action: acked, outcome: Outcome::NoStream };
            }
            Message::None | Message::Ack | Message::Other(_) => {
                return Verdict { action: acked, outcome: Outcome::OtherMessage };
            }
        };
        if !self.is_sender(stream.sender_id) {
            return Verdict { action: Action::Reply { txid }, outcome: Outcome::SenderMismatch };
        }
        let Some(kind) = Topic::from_bytes(topic) else {
            return Verdict { action: acked, outcome: Outcome::UnknownTopic };
        };
        match validate(kind, stream.payload) {
            Ok(resend) => {
                Verdict { action: Action::Store { txid, topic, kind, resend }, outcome: Outcome::Accepted }
            }
            Err(_) => Verdict { action: Action::Reply { txid }, outcome: Outcome::MalformedPayload },
        }
    }

    /// What to do after a message that was larger than [`MESSAGE_BYTES_MAX`](super::MESSAGE_BYTES_MAX) and was skipped.
    pub fn too_large(&self) -> Verdict<'static> {
        Verdict { action: Action::Reply { txid: b"" }, outcome: Outcome::TooLarge }
    }

    /// What to do at a text frame.
    pub fn text(&self) -> Verdict<'static> {
        Verdict { action: Action::Close(CloseCode::Unsupported), outcome: Outcome::Text }
    }

    fn is_sender(&self, sender_id: &[u8]) -> bool {
        sender_id == self.sender.as_bytes() || sender_id == self.device_id.as_bytes()
    }
}

impl Verdict<'_> {
    /// Appends the error envelope of a [`Action::Reply`]; nothing for another action.
    pub fn write_error(&self, out: &mut Vec<u8>) {
        if let Action::Reply { txid } = self.action {
            encode_error(txid, out);
        }
    }
}
