//! The words of access: who asks, what for, and of what.

use std::fmt;
use std::str::FromStr;

use model::InvalidName;

/// What somebody is at a data center.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Runs the center.
    Operator,
    /// Asks tables that carry pseudonyms.
    Analyst,
    /// Answers for the data.
    Officer,
    /// Checks the proofs.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Analyst, Self::Officer, Self::Auditor];

    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("operator", Self::Operator),
        ("analyst", Self::Analyst),
        ("officer", Self::Officer),
        ("auditor", Self::Auditor),
    ];

    /// The word that policies, packs and commands use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Analyst => "analyst",
            Self::Officer => "officer",
            Self::Auditor => "auditor",
        }
    }

    /// The role of a word as [`Role::as_str`] gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const INVALID: InvalidName =
            InvalidName { what: "role", rule: "operator, analyst, officer or auditor" };
        Self::from_name(text).ok_or(INVALID)
    }
}

/// Several roles at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Roles(u8);

impl Roles {
    /// No role: nothing is permitted.
    pub const NONE: Self = Self(0);

    /// These and one more.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | 1 << role as u8)
    }

    /// Whether a role is among them.
    pub const fn contains(self, role: Role) -> bool {
        self.0 & 1 << role as u8 != 0
    }
}

impl From<Role> for Roles {
    fn from(role: Role) -> Self {
        Self::NONE.with(role)
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal<'a> {
    /// The token's name.
    pub name: &'a str,
    /// What it may act as.
    pub roles: Roles,
}

impl<'a> Principal<'a> {
    /// The name that policies use for the center's own socket; no token can have it.
    pub const SOCKET_NAME: &'static str = "socket";

    /// Who comes over the center's own socket: operator and officer at once.
    pub const SOCKET: Principal<'static> =
        Principal { name: Self::SOCKET_NAME, roles: Roles::NONE.with(Role::Operator).with(Role::Officer) };

    /// Who shows a token.
    pub fn new(name: &'a str, role: Role) -> Self {
        Self { name, roles: role.into() }
    }
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What is asked for. Whether the status page may be read is no action: anybody may.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Action {
            $($(#[$doc])* $variant,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// The word that policies and the ledger use.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

actions! {
    /// Read the metrics.
    MetricsRead = "metrics.read",
    /// List vehicles and their states, by pseudonym.
    VehiclesRead = "vehicles.read",
    /// Register, change and revoke vehicles.
    VehiclesWrite = "vehicles.write",
    /// See which vehicle or person a pseudonym stands for.
    IdentitiesRead = "identities.read",
    /// List forwarding platforms.
    PlatformsRead = "platforms.read",
    /// Add and revoke forwarding platforms.
    PlatformsWrite = "platforms.write",
    /// Import records of sale, ownership and service.
    RecordsWrite = "records.write",
    /// See which erasures were asked for and how far they are, and take out all that is held of a vehicle.
    SubjectsRead = "subjects.read",
    /// Erase what is held of a vehicle or of an owner's period.
    SubjectsErase = "subjects.erase",
    /// Query a table: of [`Resource::Table`].
    Query = "query",
    /// See places as exact as they are, and what holds them: within what the country pack allows.
    LocationExact = "location.exact",
    /// See rows of the classes sensitive and important: within what the country pack allows.
    SensitiveRead = "sensitive.read",
    /// See how the tables' files are.
    LakeRead = "lake.read",
    /// Have the tables' files put together, and expired rows destroyed.
    LakeWrite = "lake.write",
    /// List tokens.
    TokensRead = "tokens.read",
    /// Make or revoke a token: of [`Resource::Role`], the token's.
    TokensWrite = "tokens.write",
    /// Read the country pack and the access policy.
    PolicyRead = "policy.read",
    /// Replace the country pack or the access policy.
    PolicyWrite = "policy.write",
    /// See the country's centers, and what they hold of each other.
    CentersRead = "centers.read",
    /// Put the next version of the charter in force, which the country's key has signed.
    CentersWrite = "centers.write",
    /// Read the ledger's entries.
    LedgerRead = "ledger.read",
    /// Have the store verified against the ledger.
    LedgerVerify = "ledger.verify",
}

impl Action {
    /// The action of a word as [`Action::as_str`] gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == name)
    }
}

/// What it is asked of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// The data center itself.
    Center,
    /// A table.
    Table {
        /// Its name.
        name: &'a str,
        /// Whether its rows name persons or vehicles.
        identities: bool,
    },
    /// The role of a token that is made or revoked.
    Role(Role),
}
