//! The genesis: what a center was born as. A JSON document and, beside it, the country key's signature over it.
//!
//! Format 2 names the public keys and is signed. A center from before the ledger has format 1, which is neither; the first program
//! that knows format 2 adopts it: same country, cluster and center, with keys, and the old document's hash in it.

use ledger::{Note, SigningKey, VerifierKey};
use model::{CenterName, Country};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The version of the document that this program writes.
const FORMAT: u32 = 2;
/// The version from before the ledger.
const FORMAT_UNSIGNED: u32 = 1;
/// The first line of what is signed.
const SIGNED: &str = "domicile genesis v1";

/// What a center was born as. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Genesis {
    format: u32,
    country: String,
    /// The cluster's random id: 32 hex digits.
    pub(crate) cluster: String,
    center: String,
    /// Where the center stands, in the operator's words; empty where it was not said.
    pub(crate) site: String,
    /// RFC 3339, UTC.
    pub(crate) created_at: String,
    /// SHA-256 of the authorities' certificates (DER), as hex digits.
    pub(crate) server_ca_sha256: String,
    pub(crate) vehicle_ca_sha256: String,
    /// The public keys, as C2SP signed-note verifier keys; empty in format 1.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) country_vkey: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) log_vkey: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) mirror_vkey: String,
    /// SHA-256 (hex) of the unsigned document that this one took the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adopts_sha256: Option<String>,
}

/// The public keys that a genesis names.
pub(crate) struct PublicKeys {
    pub(crate) country: VerifierKey,
    pub(crate) log: VerifierKey,
    pub(crate) mirror: VerifierKey,
}

/// What a new genesis says beside its keys.
pub(crate) struct Birth {
    pub(crate) country: Country,
    pub(crate) cluster: String,
    pub(crate) center: CenterName,
    pub(crate) site: String,
    pub(crate) created_at: String,
    pub(crate) server_ca_sha256: String,
    pub(crate) vehicle_ca_sha256: String,
}

impl Genesis {
    pub(crate) fn new(birth: Birth, keys: &PublicKeys) -> Self {
        Self {
            format: FORMAT,
            country: birth.country.to_string(),
            cluster: birth.cluster,
            center: birth.center.to_string(),
            site: birth.site,
            created_at: birth.created_at,
            server_ca_sha256: birth.server_ca_sha256,
            vehicle_ca_sha256: birth.vehicle_ca_sha256,
            country_vkey: keys.country.to_string(),
            log_vkey: keys.log.to_string(),
            mirror_vkey: keys.mirror.to_string(),
            adopts_sha256: None,
        }
    }

    /// The signed genesis of a center that has an unsigned one.
    pub(super) fn adopt(&self, keys: &PublicKeys) -> Self {
        Self {
            format: FORMAT,
            country_vkey: keys.country.to_string(),
            log_vkey: keys.log.to_string(),
            mirror_vkey: keys.mirror.to_string(),
            adopts_sha256: Some(crate::center::hex(&Sha256::digest(self.to_text()))),
            ..self.clone()
        }
    }

    /// Whether it is from before the ledger.
    pub(super) fn is_unsigned(&self) -> bool {
        self.format == FORMAT_UNSIGNED
    }

    /// The country that the cluster belongs to.
    pub(crate) fn country(&self) -> Country {
        self.country.parse().expect("a genesis is checked when it is read")
    }

    /// The cluster's name.
    pub(crate) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The center's name.
    pub(crate) fn center(&self) -> CenterName {
        self.center.parse().expect("a genesis is checked when it is read")
    }

    /// The key that signs it and the packs.
    pub(crate) fn country_key(&self) -> VerifierKey {
        VerifierKey::parse(&self.country_vkey).expect("a genesis is checked when it is read")
    }

    /// The key that says what this center holds of others, as a cosigner's.
    pub(crate) fn mirror_key(&self) -> VerifierKey {
        VerifierKey::parse(&self.mirror_vkey).expect("a genesis is checked when it is read").as_cosigner()
    }

    /// The key that signs the log's checkpoints.
    pub(crate) fn log_key(&self) -> VerifierKey {
        VerifierKey::parse(&self.log_vkey).expect("a genesis is checked when it is read")
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a genesis is texts and a number");
        text.push('\n');
        text
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let genesis: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if ![FORMAT_UNSIGNED, FORMAT].contains(&genesis.format) {
            return Err(format!("its format is {}, this program knows {FORMAT}", genesis.format));
        }
        genesis.country.parse::<Country>().map_err(|error| error.to_string())?;
        let center = genesis.center.parse::<CenterName>().map_err(|error| error.to_string())?;
        if genesis.format == FORMAT {
            let keys = [
                (super::Role::Country, &genesis.country_vkey),
                (super::Role::Log, &genesis.log_vkey),
                (super::Role::Mirror, &genesis.mirror_vkey),
            ];
            for (role, vkey) in keys {
                let key = VerifierKey::parse(vkey).map_err(|error| format!("a key in it: {error}"))?;
                if key.name() != role.key_name(&genesis.cluster, &center) {
                    return Err(format!("the key {} is not named as this center's must be", key.name()));
                }
            }
        }
        Ok(genesis)
    }

    /// The country key's signature over the document.
    pub(crate) fn sign(&self, key: &SigningKey) -> Result<String, ledger::Error> {
        Ok(key.sign(&signed_text(&self.to_text()))?.to_string())
    }

    /// Holds a signature against the document and the key that it names itself.
    pub(crate) fn check_signature(&self, signature: &str) -> Result<(), String> {
        let note = Note::parse(signature).map_err(|error| format!("its signature: {error}"))?;
        let signed = note.verify(&[self.country_key()]).map_err(|error| format!("its signature: {error}"))?;
        if signed.is_empty() || note.text() != signed_text(&self.to_text()) {
            return Err("it is not what its country key signed".to_owned());
        }
        Ok(())
    }
}

fn signed_text(document: &str) -> String {
    format!("{SIGNED}\n{}\n", STANDARD.encode(Sha256::digest(document)))
}
