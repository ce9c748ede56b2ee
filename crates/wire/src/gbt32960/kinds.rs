//! The one-byte words of the header. Each is a newtype over its byte, so that a value that no edition knows
//! survives.

use std::fmt;

use model::UtcMicros;

/// Which edition of the standard a frame follows; its two start bytes say so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Edition {
    /// GB/T 32960.3-2016, start bytes `##`.
    V2016,
    /// GB/T 32960.3-2025, start bytes `$$`.
    V2025,
}

impl Edition {
    /// The byte that a frame starts with, twice.
    pub const fn start_byte(self) -> u8 {
        match self {
            Self::V2016 => b'#',
            Self::V2025 => b'$',
        }
    }

    /// The edition of a start byte.
    pub const fn from_start_byte(byte: u8) -> Option<Self> {
        match byte {
            b'#' => Some(Self::V2016),
            b'$' => Some(Self::V2025),
            _ => None,
        }
    }

    /// The year.
    pub const fn year(self) -> u16 {
        match self {
            Self::V2016 => 2016,
            Self::V2025 => 2025,
        }
    }
}

macro_rules! byte_kind {
    ($(#[$doc:meta])* $type:ident {
        $($(#[$constant_doc:meta])* $constant:ident = $value:literal $name:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $type(pub u8);

        impl $type {
            $($(#[$constant_doc])* pub const $constant: Self = Self($value);)*

            /// The name in words; `None` for a value that no edition defines.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($name),)*
                    _ => None,
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:#04x} {})", stringify!($type), self.0, self.name().unwrap_or("unknown"))
            }
        }
    };
}

byte_kind!(
    /// What a frame is about (table 3).
    Command {
        /// Vehicle login.
        LOGIN = 0x01 "login",
        /// Realtime data.
        REALTIME = 0x02 "realtime",
        /// Data resent after an outage.
        SUPPLEMENTARY = 0x03 "supplementary",
        /// Vehicle logout.
        LOGOUT = 0x04 "logout",
        /// Platform login.
        PLATFORM_LOGIN = 0x05 "platform_login",
        /// Platform logout.
        PLATFORM_LOGOUT = 0x06 "platform_logout",
        /// Heartbeat, empty.
        HEARTBEAT = 0x07 "heartbeat",
        /// The terminal asks for the time.
        TIME_CALIBRATION = 0x08 "time_calibration",
        /// Activation of the security chip (2025).
        ACTIVATION = 0x09 "activation",
        /// Response to an activation (2025).
        ACTIVATION_RESPONSE = 0x0a "activation_response",
        /// Exchange of the data unit's key (2025).
        KEY_EXCHANGE = 0x0b "key_exchange",
        /// The platform asks for parameters.
        QUERY = 0x80 "query",
        /// The platform sets parameters.
        SET = 0x81 "set",
        /// The platform commands the terminal.
        CONTROL = 0x82 "control",
    }
);

byte_kind!(
    /// The response flag (table 4).
    Flag {
        /// Taken.
        SUCCESS = 0x01 "success",
        /// An error of any kind.
        ERROR = 0x02 "error",
        /// The VIN is already logged in.
        VIN_DUPLICATE = 0x03 "vin_duplicate",
        /// The VIN is not known here.
        VIN_UNKNOWN = 0x04 "vin_unknown",
        /// The signature does not hold (2025).
        SIGNATURE_INVALID = 0x05 "signature_invalid",
        /// The data unit's structure is wrong (2025).
        STRUCTURE_INVALID = 0x06 "structure_invalid",
        /// The data unit could not be decrypted (2025).
        DECRYPTION_FAILED = 0x07 "decryption_failed",
        /// Not an answer: a command.
        COMMAND = 0xfe "command",
    }
);

impl Flag {
    /// The flag as the edition knows it: what only 2025 defines is a plain error in 2016.
    #[must_use]
    pub const fn in_edition(self, edition: Edition) -> Self {
        match (edition, self) {
            (Edition::V2016, Self::SIGNATURE_INVALID | Self::STRUCTURE_INVALID | Self::DECRYPTION_FAILED) => {
                Self::ERROR
            }
            (_, flag) => flag,
        }
    }
}

byte_kind!(
    /// How the data unit is encrypted.
    Encryption {
        /// Not at all.
        NONE = 0x01 "none",
        /// RSA.
        RSA = 0x02 "rsa",
        /// AES-128.
        AES128 = 0x03 "aes128",
        /// SM2 (2025).
        SM2 = 0x04 "sm2",
        /// SM4 (2025).
        SM4 = 0x05 "sm4",
        /// The sender says: abnormal.
        ABNORMAL = 0xfe "abnormal",
        /// The sender says: invalid.
        INVALID = 0xff "invalid",
    }
);

byte_kind!(
    /// The algorithm of a 2025 signature.
    SignatureAlgorithm {
        /// SM2 with SM3, default user id.
        SM2 = 0x01 "sm2",
        /// RSA, PKCS #1 v1.5, SHA-256, the whole signature in R.
        RSA = 0x02 "rsa",
        /// ECDSA on P-256 with SHA-256.
        ECC = 0x03 "ecc",
    }
);

/// Six bytes of time on the wire: year of the century, month, day, hour, minute, second in UTC+8, always.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct WireTime(pub [u8; 6]);

impl WireTime {
    /// UTC+8.
    const OFFSET_MICROS: i64 = 8 * UtcMicros::PER_HOUR;

    /// The instant; `None` for a date or a time of day that does not exist.
    pub fn utc(self) -> Option<UtcMicros> {
        let [year, month, day, hour, minute, second] = self.0;
        if year > 99 {
            return None;
        }
        let local = UtcMicros::from_civil(2000 + i32::from(year), month, day, hour, minute, second)?;
        Some(local.plus_micros(-Self::OFFSET_MICROS))
    }

    /// The bytes of an instant, its part of a second cut; the years 2000 to 2099 can be written, others are
    /// held at their ends.
    pub fn from_utc(instant: UtcMicros) -> Self {
        let (year, month, day, hour, minute, second) = instant.plus_micros(Self::OFFSET_MICROS).civil();
        match u8::try_from(year - 2000) {
            Ok(of_century @ 0..=99) => Self([of_century, month, day, hour, minute, second]),
            _ if year < 2000 => Self([0, 1, 1, 0, 0, 0]),
            _ => Self([99, 12, 31, 23, 59, 59]),
        }
    }
}
