//! How a center joins: an invitation from the country, a request from the new center, and a package that makes it one.
//!
//! Three files, carried by people. None holds a secret: private keys are made where they stay. The request is signed by the new
//! center's log key, the package's parts by the country's.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ledger::{Note, SigningKey, VerifierKey};
use serde::{Deserialize, Serialize};

use super::{Member, State, sha256};
use crate::center::{Center, CenterError};
use crate::peer::identity::PeerIdentity;

/// The first line of a request.
const REQUEST: &str = "domicile join request v1\n";
/// Letters that an inspection of a request may be long.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// What a new center must know before it makes its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Invitation {
    pub(crate) country: String,
    pub(crate) cluster: String,
    pub(crate) country_vkey: String,
    /// The authority of the servers' certificates, PEM.
    pub(crate) server_ca: String,
    /// Where centers may lie.
    pub(crate) networks: Vec<String>,
}

/// What a new center says of itself, checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JoinRequest {
    pub(crate) country: String,
    pub(crate) cluster: String,
    pub(crate) created_at: String,
    pub(crate) member: Member,
    /// Host names and addresses that vehicles reach it by.
    pub(crate) hosts: Vec<String>,
    /// The public key of its server's certificate, PEM.
    pub(crate) server_public_key: String,
}

/// What makes a prepared folder a center: all of it signed by the country's key, or by its authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Package {
    pub(crate) genesis: String,
    pub(crate) genesis_signature: String,
    /// Every version of the charter.
    pub(crate) charters: Vec<String>,
    pub(crate) server_certificate: String,
    pub(crate) pack: String,
    pub(crate) pack_signature: String,
}

impl JoinRequest {
    /// Signs it with the new center's log key, whose public half it names.
    pub(crate) fn sign(&self, key: &SigningKey) -> Result<String, ledger::Error> {
        let json = serde_json::to_string_pretty(self).expect("texts and numbers are JSON");
        Ok(key.sign(&format!("{REQUEST}{json}\n"))?.to_string())
    }

    /// Reads a request that whoever has its log key has signed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn open(note: &str) -> Result<Self, String> {
        if note.len() > REQUEST_BYTES_MAX {
            return Err(format!("the request is longer than {REQUEST_BYTES_MAX} bytes"));
        }
        let note = Note::parse(note).map_err(|error| format!("the request: {error}"))?;
        let json = note.text().strip_prefix(REQUEST).ok_or("it is no request to join")?;
        let request: Self =
            serde_json::from_str(json).map_err(|error| format!("it is no request to join: {error}"))?;
        let key =
            VerifierKey::parse(&request.member.log_vkey).map_err(|error| format!("its log_vkey: {error}"))?;
        match note.verify(&[key]) {
            Ok(signed) if !signed.is_empty() => {}
            _ => return Err("the request is not signed by the log key that it names".to_owned()),
        }
        request.member.keys()?;
        Ok(request)
    }
}

/// What a center's folder says of it, as a member of the charter.
pub(super) fn member(center: &Center, address: &str) -> Result<Member, CenterError> {
    let genesis = &center.genesis;
    Ok(Member {
        name: genesis.center(),
        site: genesis.site.clone(),
        state: State::Joining,
        address: address.to_owned(),
        capacity_bytes: 0,
        log_vkey: genesis.log_vkey.clone(),
        mirror_vkey: genesis.mirror_vkey.clone(),
        recipient: center.identity()?.recipient(),
        peer_sha256: PeerIdentity::open_or_make(&center.folder)?.sha256(),
        genesis_sha256: sha256(genesis.to_text()),
        vehicle_ca: center.vehicle_ca()?,
    })
}

/// SHA-256 of a public key in PEM, as a pin.
pub(crate) fn pin_of_pem(pem: &str) -> Option<String> {
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    Some(sha256(STANDARD.decode(body).ok()?))
}
