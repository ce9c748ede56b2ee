//! The vehicles' data keys.

use std::sync::Arc;

use model::{Entropy, KeyPeriod, VehicleId};

use crate::Error;

/// A vehicle's data key of one period.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey([u8; 32]);

/// The center's identity: opens every wrapped key of the keyring.
#[derive(Clone)]
pub struct Identity {}

impl Identity {
    /// Draws a new identity.
    pub fn generate() -> Self {
        unimplemented!()
    }

    /// Reads the text of `keys/center.age`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let _ = text;
        unimplemented!()
    }

    /// The text of `keys/center.age`: secret.
    pub fn to_text(&self) -> String {
        unimplemented!()
    }
}

/// The vehicles' data keys in the store. Clones share the cache.
#[derive(Clone)]
pub struct Keyring {}

impl Keyring {
    /// Makes a key if there is none yet; durable when it returns.
    pub fn create(&self, vehicle: VehicleId, period: KeyPeriod) -> Result<Arc<DataKey>, Error> {
        let _ = (vehicle, period);
        unimplemented!()
    }

    /// Makes many keys, as [`Keyring::create`] but with few flushes for all.
    pub fn create_many(&self, keys: &[(VehicleId, KeyPeriod)]) -> Result<(), Error> {
        let _ = keys;
        unimplemented!()
    }

    /// The key; [`Error::KeyMissing`] where it was destroyed or never made.
    pub fn key(&self, vehicle: VehicleId, period: KeyPeriod) -> Result<Arc<DataKey>, Error> {
        let _ = (vehicle, period);
        unimplemented!()
    }

    /// Destroys a key: what was sealed under it can't be read any more.
    pub fn destroy(&self, vehicle: VehicleId, period: KeyPeriod) -> Result<(), Error> {
        let _ = (vehicle, period);
        unimplemented!()
    }
}

/// Seals a small text, such as the personal fields of a registry entry, under a vehicle's key. `context` (which field of which
/// entry) must be the same at opening.
pub fn seal_small(key: &DataKey, context: &[u8], plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let _ = (key.0, context, plain, entropy);
    unimplemented!()
}

/// Opens what [`seal_small`] made; `None` where it was tampered with, or key or context are others.
pub fn open_small(key: &DataKey, context: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let _ = (key, context, sealed);
    unimplemented!()
}
