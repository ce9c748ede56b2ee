//! Who a client certificate names. The X.509 parsing stays with the caller: here are only the rules.

use std::str::FromStr;

/// What the caller read from a client certificate that its TLS library has verified.
#[derive(Debug, Clone, Copy, Default)]
pub struct CertificateFacts<'a> {
    /// The subject's common name.
    pub subject_name: &'a str,
    /// The issuer's common name.
    pub issuer_name: &'a str,
    /// The subject's organizational units.
    pub organizational_units: &'a [&'a str],
    /// The extended key usages as dotted object identifiers.
    pub key_usages: &'a [&'a str],
}

/// A further issuer that the operator trusts to name devices: another maker's, or the data center's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The issuer's common name.
    pub name: String,
    /// What the devices are that it names.
    pub device_type: DeviceType,
}

/// Who is connected. `Debug` hides the device id: for a vehicle it is the VIN.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The kind of device.
    pub device_type: DeviceType,
    /// The subject's common name with each `.` replaced by `-`; for a vehicle the VIN.
    pub device_id: String,
}

impl Identity {
    /// `<device type>.<device id>`, the sender id that its messages carry.
    pub fn sender_id(&self) -> String {
        format!("{}.{}", self.device_type.as_str(), self.device_id)
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("device_type", &self.device_type).finish_non_exhaustive()
    }
}

/// Why a certificate names nobody here. None of the texts carries the certificate's subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CertificateRefusal {
    /// The subject's common name is missing or unusable.
    #[error(
        "the client certificate's subject has no usable common name; the device needs another certificate"
    )]
    NoName,
    /// Nobody that this server knows issued it.
    #[error(
        "the client certificate's issuer names no devices here; the operator may add the issuer's common name to the settings"
    )]
    UnknownIssuer,
    /// A product certificate without a key usage that says what the device is.
    #[error(
        "the client certificate has no extended key usage that names a kind of device; it is made for something else"
    )]
    UnknownKeyUsage,
}

impl CertificateRefusal {
    /// The metric's label.
    pub fn code(self) -> &'static str {
        match self {
            Self::NoName => "certificate_without_name",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownKeyUsage => "unknown_key_usage",
        }
    }
}

macro_rules! device_types {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What kind of device a certificate names.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum DeviceType {
            $($(#[$doc])* $variant,)*
        }

        impl DeviceType {
            /// The word in sender ids and settings.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }

        impl FromStr for DeviceType {
            type Err = UnknownDeviceType;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Self::$variant),)*
                    _ => Err(UnknownDeviceType),
                }
            }
        }

    };
}

/// A text is no device type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a device type that this version knows; a vehicle is a vehicle_device")]
pub struct UnknownDeviceType;

device_types! {
    /// A vehicle's telematics unit; the device id is the VIN.
    VehicleDevice = "vehicle_device",
    /// A vehicle's board.
    VehicleBoardDevice = "vehicle_board_device",
    /// A battery or other energy product.
    EnergyDevice = "energy_device",
    /// A driver assistance computer.
    DasDevice = "das_device",
    /// A service for vehicles.
    VehicleService = "vehicle_service",
    /// A service for driver assistance.
    DasService = "das_service",
    /// A service for energy products.
    EnergyService = "energy_service",
    /// A robot.
    RoboticsDevice = "robotics_device",
    /// A solar inverter.
    SolarInverterDevice = "solar_inverter_device",
    /// A wall connector.
    WallConnectorDevice = "wall_connector_device",
}

impl DeviceType {
    /// Whether the device id is a VIN.
    pub fn is_vehicle(self) -> bool {
        self == Self::VehicleDevice
    }
}

/// Issuers whose devices are vehicles, whatever else the certificate says.
const VEHICLE_ISSUERS: [&str; 3] = ["TeslaMotors", "Tesla Issuing CA", PRODUCTS_ISSUER];

/// Under this issuer the organizational unit [`BOARD_UNIT`] means a vehicle's board.
const PRODUCTS_ISSUER: &str = "Tesla Motors Products CA";
const BOARD_UNIT: &str = "Tesla Motors SN";

/// Issuers whose certificates say by an extended key usage what the device is.
const PRODUCT_ISSUERS: [&str; 15] = [
    "Tesla Motors Product Issuing CA",
    "Tesla Motors Product RSA Issuing CA",
    "Tesla Motors GF3 Product Issuing CA",
    "Tesla Motors GF3 Product RSA Issuing CA",
    "Tesla Energy Product Issuing CA",
    "Tesla Energy GF0 Product Issuing CA",
    "Tesla Motors GF0 Product Issuing CA",
    "Tesla Motors GF Austin Product Issuing CA",
    "Tesla Motors GF Berlin Product Issuing CA",
    "Tesla Product Access Issuing CA",
    "Tesla China Product Access Issuing CA",
    "Tesla GF0 Product Access Issuing CA",
    "Tesla GF3 Product Access Issuing CA",
    "Tesla GF Austin Product Access Issuing CA",
    "Tesla GF Berlin Product Access Issuing CA",
];

/// Key usages of engineering and production devices; what follows says which device.
const KEY_USAGE_PREFIXES: [&str; 2] = ["1.3.6.1.4.1.49279.2.4.", "1.3.6.1.4.1.49279.2.5."];

/// A certificate for joining a Wi-Fi network (EAP) is never an identity, whatever else it may be used for.
const WIFI_KEY_USAGE: &str = "1.3.6.1.4.1.49279.2.5.1.1";

/// The longest common name that is looked at, in characters (X.520's upper bound).
const NAME_CHARACTERS_MAX: usize = 64;

/// Says which device a verified client certificate names.
///
/// The operator's issuers are looked at after the maker's, so that they can't change what a maker's certificate means.
pub fn identify(facts: &CertificateFacts<'_>, further: &[Issuer]) -> Result<Identity, CertificateRefusal> {
    let name = facts.subject_name;
    if name.is_empty() || name.len() > NAME_CHARACTERS_MAX || name.chars().any(char::is_control) {
        return Err(CertificateRefusal::NoName);
    }
    let device_type = device_type(facts, further)?;
    Ok(Identity { device_type, device_id: name.replace('.', "-") })
}

fn device_type(facts: &CertificateFacts<'_>, further: &[Issuer]) -> Result<DeviceType, CertificateRefusal> {
    let has_unit = |unit: &str| facts.organizational_units.contains(&unit);
    if VEHICLE_ISSUERS.contains(&facts.issuer_name) {
        let board = facts.issuer_name == PRODUCTS_ISSUER && has_unit(BOARD_UNIT);
        return Ok(if board { DeviceType::VehicleBoardDevice } else { DeviceType::VehicleDevice });
    }
    if PRODUCT_ISSUERS.contains(&facts.issuer_name) {
        if facts.key_usages.contains(&WIFI_KEY_USAGE) {
            return Err(CertificateRefusal::UnknownKeyUsage);
        }
        let by_usage = facts.key_usages.iter().find_map(|usage| device_of_key_usage(usage));
        let by_usage = by_usage.ok_or(CertificateRefusal::UnknownKeyUsage)?;
        return Ok(if has_unit("Solar Inverter") {
            DeviceType::SolarInverterDevice
        } else if has_unit("Gen3 Wall Connector") {
            DeviceType::WallConnectorDevice
        } else {
            by_usage
        });
    }
    let issuer = further.iter().find(|issuer| issuer.name == facts.issuer_name);
    issuer.map(|issuer| issuer.device_type).ok_or(CertificateRefusal::UnknownIssuer)
}

fn device_of_key_usage(usage: &str) -> Option<DeviceType> {
    let number = KEY_USAGE_PREFIXES.iter().find_map(|prefix| usage.strip_prefix(prefix))?;
    match number {
        "1" => Some(DeviceType::VehicleDevice),
        "11" => Some(DeviceType::VehicleBoardDevice),
        "2" => Some(DeviceType::EnergyDevice),
        "12" => Some(DeviceType::DasDevice),
        "14" => Some(DeviceType::VehicleService),
        "15" => Some(DeviceType::DasService),
        "16" => Some(DeviceType::EnergyService),
        "28" => Some(DeviceType::RoboticsDevice),
        _ => None,
    }
}
