//! The charter: the country's list of centers, versioned, each version signed by the country's key.
//!
//! A version is a signed note (C2SP signed-note): its text is the line `domicile charter v1` and the list as JSON. Every center keeps
//! every version in its own prefix and enters it in its own ledger, so all of them have the same history of who held what when.
//! A center without a charter is alone; the first version names it and the first that joins it.

mod change;
mod charters;
mod joining;

use std::collections::BTreeSet;
use std::fmt;

use ledger::{Note, SigningKey, VerifierKey};
use model::{CenterName, Country};
use serde::{Deserialize, Serialize};

use crate::center::{Genesis, hex};

pub(crate) use change::{Change, Staged};
pub(crate) use charters::{Charters, client_authorities, declared};
pub(crate) use joining::{Invitation, JoinRequest, Package, pin_of_pem};

/// The first line of what is signed.
const SIGNED: &str = "domicile charter v1\n";
/// The version of the document that this program writes.
const FORMAT: u32 = 1;
/// Centers that a country has at most, those that were retired among them: a charter is read by people.
const CENTERS_MAX: usize = 64;
/// The longest charter: 64 centers, each with a certificate.
const CHARTER_BYTES_MAX: usize = 256 << 10;
/// Letters that a site's description has at most.
const SITE_CHARS_MAX: usize = 200;

/// A version of the country's list of centers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Charter {
    format: u32,
    country: String,
    cluster: String,
    /// By one from 1.
    pub(crate) version: u64,
    /// When it was signed: RFC 3339, UTC.
    pub(crate) at: String,
    /// In how many centers everything lies, the one that wrote it among them.
    pub(crate) replication: u32,
    pub(crate) centers: Vec<Member>,
}

/// A center of the country.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Member {
    #[serde(with = "name_text")]
    pub(crate) name: CenterName,
    /// Where it stands, in the operator's words.
    pub(crate) site: String,
    pub(crate) state: State,
    /// Where other centers reach it: `host:port`.
    pub(crate) address: String,
    /// What it can store; 0 where nobody said.
    #[serde(default)]
    pub(crate) capacity_bytes: u64,
    /// The key that signs its log.
    pub(crate) log_vkey: String,
    /// The key that says what it holds of others.
    pub(crate) mirror_vkey: String,
    /// What keys are wrapped for when it gets them: an age recipient.
    pub(crate) recipient: String,
    /// SHA-256 (hex) of the public key (SubjectPublicKeyInfo, DER) that it shows other centers.
    pub(crate) peer_sha256: String,
    /// SHA-256 (hex) of its genesis.
    pub(crate) genesis_sha256: String,
    /// The authority of its vehicles' certificates, PEM.
    pub(crate) vehicle_ca: String,
}

/// What a center of the country does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It copies what it is to hold; vehicles are sent to it when it is made active.
    Joining,
    /// Vehicles may be sent to it, and it holds copies of others.
    Active,
    /// No vehicles are to be sent to it any more; others still copy what it has.
    Draining,
    /// It is no center any more: what it had lies with others.
    Retired,
    /// It is lost, with what only it had: others hold what they had copied.
    Lost,
}

impl State {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Retired => "retired",
            Self::Lost => "lost",
        }
    }

    /// Whether the center is asked and may ask.
    pub(crate) fn is_here(self) -> bool {
        !matches!(self, Self::Retired | Self::Lost)
    }

    fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (Self::Joining, Self::Active | Self::Retired | Self::Lost)
            | (Self::Active, Self::Draining | Self::Lost)
            | (Self::Draining, Self::Active | Self::Retired | Self::Lost) => true,
            _ => self == next,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Charter {
    /// A next version, which says nothing new yet.
    pub(crate) fn next(before: Option<&Self>, genesis: &Genesis, replication: u32, at: String) -> Self {
        match before {
            Some(before) => Self { version: before.version + 1, at, ..before.clone() },
            None => Self {
                format: FORMAT,
                country: genesis.country().to_string(),
                cluster: genesis.cluster().to_owned(),
                version: 1,
                at,
                replication,
                centers: Vec::new(),
            },
        }
    }

    /// The country that it is of.
    pub(crate) fn country(&self) -> &str {
        &self.country
    }

    /// The center of a name.
    pub(crate) fn member(&self, name: &CenterName) -> Option<&Member> {
        self.centers.iter().find(|member| member.name == *name)
    }

    /// Signs it: the whole note.
    pub(crate) fn sign(&self, key: &SigningKey) -> Result<String, ledger::Error> {
        let json = serde_json::to_string_pretty(self).expect("texts and numbers are JSON");
        Ok(key.sign(&format!("{SIGNED}{json}\n"))?.to_string())
    }

    /// Reads a signed version that a center of this genesis may follow.
    ///
    /// # Errors
    /// What is wrong with it: its signature, its form, or that it is of another country or cluster.
    pub(crate) fn open(note: &str, genesis: &Genesis) -> Result<Self, String> {
        if note.len() > CHARTER_BYTES_MAX {
            return Err(format!("it is longer than {CHARTER_BYTES_MAX} bytes"));
        }
        let note = Note::parse(note).map_err(|error| error.to_string())?;
        let json = note.text().strip_prefix(SIGNED).ok_or("it is no charter")?;
        let charter: Self =
            serde_json::from_str(json).map_err(|error| format!("it is no charter: {error}"))?;
        // Whose it is says more than that a stranger's signature does not hold.
        if charter.country != genesis.country().to_string() {
            return Err(format!(
                "it is a charter of {}, and this center is of {}: a cluster never crosses a border",
                charter.country,
                genesis.country()
            ));
        }
        if charter.cluster != genesis.cluster() {
            return Err(format!(
                "it is of cluster {}, and this center of {}",
                charter.cluster,
                genesis.cluster()
            ));
        }
        let signed = note.verify(&[genesis.country_key()]).map_err(|error| error.to_string())?;
        if signed.is_empty() {
            return Err(format!("it is not signed by the country's key, {}", genesis.country_key().name()));
        }
        charter.check()?;
        Ok(charter)
    }

    /// Rules that hold in each version.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("its format is {}, this program knows {FORMAT}", self.format));
        }
        if self.centers.is_empty() || self.centers.len() > CENTERS_MAX {
            return Err(format!("a country has 1 to {CENTERS_MAX} centers"));
        }
        if self.replication == 0 {
            return Err("its replication is 0: everything lies in one center at least".to_owned());
        }
        let mut seen = BTreeSet::new();
        for member in &self.centers {
            let center = &member.name;
            let keys = member.keys().map_err(|what| format!("center {center}: {what}"))?;
            let own = [
                center.to_string(),
                keys.log.to_string(),
                keys.mirror.to_string(),
                member.peer_sha256.clone(),
            ];
            for word in own {
                if !seen.insert(word) {
                    return Err(format!("center {center} has the name or a key of another one"));
                }
            }
            if member.site.chars().count() > SITE_CHARS_MAX || member.site.chars().any(char::is_control) {
                return Err(format!(
                    "center {center}: its site is longer than {SITE_CHARS_MAX} letters, or no plain text"
                ));
            }
        }
        Ok(())
    }

    /// Whether it may take the place of another version.
    ///
    /// # Errors
    /// Which rule it breaks.
    pub(crate) fn check_follows(&self, before: Option<&Self>) -> Result<(), String> {
        let expected = before.map_or(1, |before| before.version + 1);
        if self.version != expected {
            return Err(format!("it is version {}, and the next is {expected}", self.version));
        }
        let Some(before) = before else { return Ok(()) };
        for old in &before.centers {
            let Some(new) = self.member(&old.name) else {
                return Err(format!(
                    "it leaves out center {}: one that goes is retired, its keys stay known",
                    old.name
                ));
            };
            let same = |member: &Member| {
                [
                    &member.log_vkey,
                    &member.mirror_vkey,
                    &member.peer_sha256,
                    &member.genesis_sha256,
                    &member.recipient,
                ]
                .map(String::clone)
            };
            if same(old) != same(new) {
                return Err(format!(
                    "it gives center {} other keys: another center needs another name",
                    old.name
                ));
            }
            if !old.state.may_become(new.state) {
                return Err(format!("center {} is {} and can't become {}", old.name, old.state, new.state));
            }
        }
        let known = |member: &&Member| before.member(&member.name).is_none();
        match self.centers.iter().filter(known).find(|member| member.state != State::Joining) {
            Some(member) => {
                Err(format!("center {} is new and {}: a new one is joining first", member.name, member.state))
            }
            None => Ok(()),
        }
    }
}

/// A member's public keys, read.
pub(crate) struct MemberKeys {
    pub(crate) log: VerifierKey,
    /// As a cosigner.
    pub(crate) mirror: VerifierKey,
}

impl Member {
    /// Its public keys.
    ///
    /// # Errors
    /// Which of them is none.
    pub(crate) fn keys(&self) -> Result<MemberKeys, String> {
        let read =
            |what: &str, vkey: &str| VerifierKey::parse(vkey).map_err(|error| format!("its {what}: {error}"));
        let is_hex =
            |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_hex(&self.peer_sha256) || !is_hex(&self.genesis_sha256) {
            return Err("peer_sha256 and genesis_sha256 are 64 hex digits each".to_owned());
        }
        store::Recipient::parse(&self.recipient).map_err(|error| format!("its recipient: {error}"))?;
        let mirror = read("mirror_vkey", &self.mirror_vkey)?.as_cosigner();
        Ok(MemberKeys { log: read("log_vkey", &self.log_vkey)?, mirror })
    }
}

/// SHA-256 of a text, as hex digits.
pub(crate) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    use sha2::Digest;
    hex(&sha2::Sha256::digest(bytes))
}

/// A center's name as its text.
mod name_text {
    use model::CenterName;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(name: &CenterName, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CenterName, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The country of a text, for errors that name it.
pub(crate) fn country_of(text: &str) -> Option<Country> {
    text.parse().ok()
}
