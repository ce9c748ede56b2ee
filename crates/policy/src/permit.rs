//! Permits: values that only a decision makes.

use std::fmt;

use model::{Assurance, ConnectionId, Frame, KeyPeriod, Protocol, UtcMicros, VehicleId};

use crate::PackVersion;

/// Which state of the registry a decision was taken on. Grows by one with every change; the journal turns back what was decided
/// on an older state than its last barrier, so that nothing of a revoked vehicle is stored after `revoke` has returned.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct RegistryVersion(pub u64);

impl fmt::Display for RegistryVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The permit to take in a vehicle's frames. Only [`crate::admit`] makes one:
///
/// ```compile_fail
/// use model::{Assurance, KeyPeriod, VehicleId};
/// let forged = policy::Admission {
///     vehicle: VehicleId::NONE,
///     key: KeyPeriod(0),
///     assurance: Assurance::Certificate,
///     version: policy::RegistryVersion(1),
///     pack: "cn-2026.1".parse().expect("a version"),
/// };
/// ```
///
/// and it can't be kept beside itself to outlive a newer decision:
///
/// ```compile_fail
/// fn copy(admission: &policy::Admission) -> policy::Admission {
///     admission.clone()
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Admission {
    vehicle: VehicleId,
    key: KeyPeriod,
    assurance: Assurance,
    version: RegistryVersion,
    pack: PackVersion,
    erased_until: Option<UtcMicros>,
}

impl Admission {
    pub(crate) fn new(
        vehicle: VehicleId,
        key: KeyPeriod,
        assurance: Assurance,
        version: RegistryVersion,
        pack: PackVersion,
        erased_until: Option<UtcMicros>,
    ) -> Self {
        Self { vehicle, key, assurance, version, pack, erased_until }
    }

    /// Whose frames are permitted.
    pub fn vehicle(&self) -> VehicleId {
        self.vehicle
    }

    /// The data key that they are sealed under.
    pub fn key(&self) -> KeyPeriod {
        self.key
    }

    /// What the identity rests on.
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// The state of the registry that it was decided on.
    pub fn version(&self) -> RegistryVersion {
        self.version
    }

    /// The edition of the country pack that it was decided by.
    pub fn pack(&self) -> PackVersion {
        self.pack
    }

    /// What the vehicle says of a time before this was erased: a frame of which all is older is acknowledged and not stored.
    /// `None` where nothing was erased.
    pub fn erased_until(&self) -> Option<UtcMicros> {
        self.erased_until
    }

    /// One frame of this vehicle, ready for the journal.
    #[inline]
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

/// The permit to note what the center itself observes of a registered vehicle (connected, refused, disconnected), also of one
/// that is not admitted: its frames are always [`Protocol::Center`], so that no payload of the vehicle passes here. Only
/// [`crate::observe`] makes one.
///
/// ```compile_fail
/// let forged = policy::Witness {
///     vehicle: model::VehicleId::NONE,
///     key: model::KeyPeriod(0),
///     version: policy::RegistryVersion(1),
/// };
/// ```
#[derive(Debug, PartialEq, Eq)]
pub struct Witness {
    vehicle: VehicleId,
    key: KeyPeriod,
    version: RegistryVersion,
}

impl Witness {
    pub(crate) fn new(vehicle: VehicleId, key: KeyPeriod, version: RegistryVersion) -> Self {
        Self { vehicle, key, version }
    }

    /// One observation of the center's own making.
    pub fn frame<'a>(
        &self,
        received_at: UtcMicros,
        connection: ConnectionId,
        bytes: &'a [u8],
    ) -> Admitted<Frame<'a>> {
        let protocol = Protocol::Center;
        let frame = Frame { received_at, vehicle: self.vehicle, key: self.key, protocol, connection, bytes };
        Admitted { value: frame, version: self.version }
    }
}

/// What a decision let in. The journal asks for it by value; only [`Admission::frame`] and [`Witness::frame`] make one:
///
/// ```compile_fail
/// let forged = policy::Admitted { value: 1, version: policy::RegistryVersion(1) };
/// ```
///
/// ```compile_fail
/// let forged: policy::Admitted<u8> = policy::Admitted::new(1, policy::RegistryVersion(1));
/// ```
#[derive(Debug)]
pub struct Admitted<T> {
    value: T,
    version: RegistryVersion,
}

impl<T> Admitted<T> {
    /// What was admitted.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// What was admitted, by value.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The state of the registry that it was decided on.
    pub fn version(&self) -> RegistryVersion {
        self.version
    }
}
