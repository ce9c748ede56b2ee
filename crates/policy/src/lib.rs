//! Decisions: facts in, a permit or a [`Refusal`] out.
//!
//! Not here: IO, async code, time but as an argument. The permits have private fields, so no other room can make one.
//! Start at [`admit`].

use std::fmt;

use model::{Assurance, ConnectionId, Frame, KeyPeriod, Protocol, UtcMicros, VehicleId};

/// Which state of the registry a decision rests on; grows with each change of the registry.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct RegistryVersion(pub u64);

/// What an admission is decided on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The vehicle that the connection's identity names.
    pub vehicle: VehicleId,
    /// Its current data key.
    pub key: KeyPeriod,
    /// What the identity rests on.
    pub assurance: Assurance,
    /// Whether the registry has it revoked.
    pub is_revoked: bool,
    /// The registry's state that these facts were read from.
    pub version: RegistryVersion,
}

/// Why a vehicle's data is not taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The registry has the vehicle revoked.
    Revoked,
}

impl Refusal {
    /// The label for metrics.
    pub fn code(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked => f.write_str("the vehicle is revoked; an operator can add it again"),
        }
    }
}

/// Decides whether a vehicle's data may be stored.
pub fn admit(facts: &Facts) -> Result<Admission, Refusal> {
    if facts.is_revoked {
        return Err(Refusal::Revoked);
    }
    Ok(Admission {
        vehicle: facts.vehicle,
        key: facts.key,
        assurance: facts.assurance,
        version: facts.version,
    })
}

/// The permit to store what one vehicle sends over one connection.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    vehicle: VehicleId,
    key: KeyPeriod,
    assurance: Assurance,
    version: RegistryVersion,
}

impl Admission {
    /// The admitted vehicle.
    pub fn vehicle(&self) -> VehicleId {
        self.vehicle
    }

    /// What the identity rests on.
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// The registry's state that the decision rests on.
    pub fn version(&self) -> RegistryVersion {
        self.version
    }

    /// Puts the permit on a frame of this vehicle.
    pub fn frame<'a>(
        &self,
        received_at: UtcMicros,
        protocol: Protocol,
        connection: ConnectionId,
        bytes: &'a [u8],
    ) -> Admitted<Frame<'a>> {
        let frame = Frame { received_at, vehicle: self.vehicle, key: self.key, protocol, connection, bytes };
        Admitted { value: frame, version: self.version }
    }
}

/// What has been decided to be stored. Only [`Admission`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Admitted<T> {
    value: T,
    version: RegistryVersion,
}

impl<T> Admitted<T> {
    /// What was admitted.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// The registry's state that the decision rests on.
    pub fn version(&self) -> RegistryVersion {
        self.version
    }
}
