//! Why a vehicle's data is not taken in.

use std::fmt;

/// Why a connection or a frame is refused. A refusal is an answer, not an error: the protocol says it to the vehicle in its own
/// words, a counter counts it under [`Refusal::code`], and the connection diary shows its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Refusal {
    /// The registry has no such VIN.
    UnknownVehicle,
    /// The vehicle was sold in another country.
    ForeignCountry,
    /// The vehicle was revoked.
    Revoked,
    /// The certificate names one vehicle, the message another.
    IdentityMismatch,
    /// A connection with a stronger identity holds this vehicle.
    WeakerIdentity,
    /// The connection is not encrypted, and the settings ask for it.
    TlsRequired,
    /// The settings ask for signed data, and there is no signature that could be verified.
    SignatureRequired,
    /// A signature does not verify against the key that is registered for the vehicle.
    SignatureInvalid,
    /// The login's ICCID is not the registered one.
    IccidMismatch,
    /// The certificate's issuer stands for no kind of device.
    UnknownIssuer,
    /// The certificate belongs to a device that is not a vehicle, or names no VIN.
    NotAVehicle,
}

impl Refusal {
    /// Every refusal, for registering metrics once at the start.
    pub const ALL: [Self; 11] = [
        Self::UnknownVehicle,
        Self::ForeignCountry,
        Self::Revoked,
        Self::IdentityMismatch,
        Self::WeakerIdentity,
        Self::TlsRequired,
        Self::SignatureRequired,
        Self::SignatureInvalid,
        Self::IccidMismatch,
        Self::UnknownIssuer,
        Self::NotAVehicle,
    ];

    /// The name that metrics' labels and the events' column `code` use.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownVehicle => "unknown_vehicle",
            Self::ForeignCountry => "foreign_country",
            Self::Revoked => "revoked",
            Self::IdentityMismatch => "identity_mismatch",
            Self::WeakerIdentity => "weaker_identity",
            Self::TlsRequired => "tls_required",
            Self::SignatureRequired => "signature_required",
            Self::SignatureInvalid => "signature_invalid",
            Self::IccidMismatch => "iccid_mismatch",
            Self::UnknownIssuer => "unknown_issuer",
            Self::NotAVehicle => "not_a_vehicle",
        }
    }

    /// The refusal of a name as [`Refusal::code`] gives it.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }
}

/// What is wrong, whose fault it is, and what to do next. Names no vehicle.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownVehicle => {
                "this VIN is not in the registry; if it belongs here, register it: domicile vehicle add VIN"
            }
            Self::ForeignCountry => {
                "this vehicle was sold in another country than this data center's; its data belongs to a center there"
            }
            Self::Revoked => "this vehicle was revoked; domicile vehicle show VIN says why and when",
            Self::IdentityMismatch => {
                "the certificate names another vehicle than the message; the sender is misconfigured or pretends"
            }
            Self::WeakerIdentity => {
                "another connection holds this vehicle with a stronger identity; the newcomer must prove as much"
            }
            Self::TlsRequired => {
                "the connection is not encrypted and gbt32960.require_tls is set; point the vehicle to the TLS port"
            }
            Self::SignatureRequired => {
                "gbt32960.require_signature is set and there is no signature to verify: the vehicle does not sign, or no \
                 public key is registered for it (column public_key of vehicle import)"
            }
            Self::SignatureInvalid => {
                "the signature does not verify against the public key registered for this vehicle; the key in the registry \
                 is not the vehicle's, or the data was changed"
            }
            Self::IccidMismatch => {
                "the login's ICCID is not the one registered for this vehicle; if its SIM card was changed, register the \
                 new one, otherwise somebody else claims to be it"
            }
            Self::UnknownIssuer => {
                "no rule says what certificates of this issuer stand for; if they are this fleet's, add the issuer to \
                 tesla.issuers"
            }
            Self::NotAVehicle => {
                "the certificate is trusted but belongs to no vehicle: its device type is another, or its name is no VIN"
            }
        })
    }
}
