//! Admission: may this vehicle's data be taken in?

use model::{Assurance, Country, Vin};

use crate::{Admission, PackVersion, Refusal, RegistryVersion, VehicleFacts, VehicleState, Witness};

/// What the operator has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The country of this data center; its genesis says so.
    pub country: Country,
    /// The edition of the country pack that decisions are taken by; permits and what is noted of refusals name it.
    pub pack: PackVersion,
    /// Whether an unencrypted connection is refused.
    pub require_tls: bool,
    /// Whether data without a verified signature is refused, where the protocol has signatures.
    pub require_signature: bool,
}

/// Everything that a decision depends on. Borrowed, so that a decision costs no allocation.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What the operator has set.
    pub rules: &'a Rules,
    /// The state of the registry, read *before* `vehicle` was looked up (or together with it), so that a change in between
    /// makes the permit stale and not wrong.
    pub version: RegistryVersion,
    /// The VIN that the message or login names.
    pub vin: &'a Vin,
    /// What the registry knows of that VIN.
    pub vehicle: Option<&'a VehicleFacts>,
    /// Whether the connection is encrypted.
    pub transport: Transport,
    /// Who speaks on the connection.
    pub via: Via,
    /// What the client certificate of the connection says.
    pub certificate: Certificate<'a>,
    /// The ICCID as the login carries it (its bytes on the wire); `None` for what carries none.
    pub iccid: Option<&'a [u8]>,
    /// What came of the signature.
    pub signature: Signature,
    /// What the identity of *another* connection that now holds this vehicle rests on.
    pub holder: Option<Assurance>,
}

/// Whether a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Plain TCP.
    Plain,
    /// TLS.
    Tls,
}

/// Who speaks on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// The vehicle itself.
    Direct,
    /// A platform that has logged in with its account and forwards its vehicles' frames.
    Platform,
}

/// What the client certificate of a connection says. It was verified against the trusted authorities before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certificate<'a> {
    /// There is none.
    Absent,
    /// It names this vehicle.
    Names(&'a Vin),
    /// No rule says what its issuer's certificates stand for.
    UnknownIssuer,
    /// It belongs to a device that is not a vehicle, or its name is no VIN.
    NotAVehicle,
}

/// What came of a frame's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// This kind of message has none (a login, a heartbeat, another protocol).
    NotApplicable,
    /// The message could be signed and is not.
    Absent,
    /// It is signed, and no key is registered to verify it with.
    Unverifiable,
    /// It verifies against the registered key.
    Verified,
    /// It does not verify against the registered key.
    Invalid,
}

/// Decides whether a vehicle's frames may be taken in: it is in the registry, sold in this country, not revoked, and is who it
/// says it is as far as the settings ask for. Looked up again for each message of a connection that several vehicles share, and
/// whenever the journal calls a permit stale.
///
/// # Errors
/// The first [`Refusal`] that applies, identity before registration: a stranger must not learn from the answer which VINs are
/// registered.
pub fn admit(facts: &Facts<'_>) -> Result<Admission, Refusal> {
    let assurance = identify(facts)?;
    let vehicle = facts.vehicle.ok_or(Refusal::UnknownVehicle)?;
    if vehicle.country != facts.rules.country {
        return Err(Refusal::ForeignCountry);
    }
    if vehicle.state == VehicleState::Revoked {
        return Err(Refusal::Revoked);
    }
    check_signature(facts, vehicle)?;
    if assurance <= Assurance::Platform && !iccid_agrees(facts, vehicle) {
        return Err(Refusal::IccidMismatch);
    }
    if facts.holder.is_some_and(|holder| assurance < holder) {
        return Err(Refusal::WeakerIdentity);
    }
    let erased_until = vehicle.erased_until;
    Ok(Admission::new(vehicle.id, vehicle.key, assurance, facts.version, facts.rules.pack, erased_until))
}

/// Permits a center to take over what another center of the country had admitted of a vehicle and was lost with: that decision
/// stands, so only whose the frames are, and under which key they lie here, is decided anew.
pub fn take_over(vehicle: &VehicleFacts, version: RegistryVersion, pack: PackVersion) -> Admission {
    Admission::new(vehicle.id, vehicle.key, Assurance::Certificate, version, pack, vehicle.erased_until)
}

/// Permits the center to note its own observations of a registered vehicle, admitted or not. `version` is read before the
/// vehicle is looked up, as in [`Facts::version`].
pub fn observe(vehicle: &VehicleFacts, version: RegistryVersion) -> Witness {
    Witness::new(vehicle.id, vehicle.key, version)
}

/// What the identity rests on, or why it rests on nothing.
fn identify(facts: &Facts<'_>) -> Result<Assurance, Refusal> {
    if facts.rules.require_tls && facts.transport == Transport::Plain {
        return Err(Refusal::TlsRequired);
    }
    // A platform's certificate says who the platform is, nothing about the vehicles that it forwards.
    let certified = match (facts.via, facts.certificate) {
        (Via::Platform, _) | (Via::Direct, Certificate::Absent) => false,
        (Via::Direct, Certificate::UnknownIssuer) => return Err(Refusal::UnknownIssuer),
        (Via::Direct, Certificate::NotAVehicle) => return Err(Refusal::NotAVehicle),
        (Via::Direct, Certificate::Names(vin)) if vin != facts.vin => return Err(Refusal::IdentityMismatch),
        (Via::Direct, Certificate::Names(_)) => true,
    };
    Ok(match (certified, facts.signature, facts.via) {
        (true, ..) => Assurance::Certificate,
        (false, Signature::Verified, _) => Assurance::Signature,
        (false, _, Via::Platform) => Assurance::Platform,
        (false, _, Via::Direct) => Assurance::Claim,
    })
}

fn check_signature(facts: &Facts<'_>, vehicle: &VehicleFacts) -> Result<(), Refusal> {
    let required = facts.rules.require_signature;
    match facts.signature {
        Signature::Invalid => Err(Refusal::SignatureInvalid),
        Signature::Absent | Signature::Unverifiable if required => Err(Refusal::SignatureRequired),
        // A login can't be signed; but where data must be, a vehicle without a registered key can never send any.
        Signature::NotApplicable if required && vehicle.public_key.is_none() => {
            Err(Refusal::SignatureRequired)
        }
        _ => Ok(()),
    }
}

fn iccid_agrees(facts: &Facts<'_>, vehicle: &VehicleFacts) -> bool {
    match (&vehicle.iccid, facts.iccid) {
        (Some(registered), Some(claimed)) => registered.matches(claimed),
        _ => true,
    }
}
