//! Signals: what the catalogue knows of each quantity.

/// A signal's index in the catalogue of the running program. It is not stable between versions and never written down: what is
/// stored is the signal's path.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct SignalId(pub u16);

/// How a signal's data is to be treated.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Class {
    /// About the machine.
    Technical,
    /// About a person.
    Personal,
    /// A place, also a planned or remembered one.
    Location,
    /// Personal and of the kind that the law protects more strongly.
    Sensitive,
    /// Of importance to the country (the country pack says which).
    Important,
}

impl Class {
    /// The word that the catalogue, packs and tables use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Technical => "technical",
            Self::Personal => "personal",
            Self::Location => "location",
            Self::Sensitive => "sensitive",
            Self::Important => "important",
        }
    }

    /// The class of a word as [`Class::as_str`] gives it.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Technical, Self::Personal, Self::Location, Self::Sensitive, Self::Important]
            .into_iter()
            .find(|class| class.as_str() == name)
    }
}

/// What kind of value a signal has, and so which of the columns `value` and `text` it fills.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Datatype {
    /// A number: `value`.
    Number,
    /// 0 or 1: `value`.
    Boolean,
    /// A number in `value`, its name in `text`.
    Enumeration,
    /// `text`.
    Text,
    /// One JSON text in `text`.
    Array,
}

/// What the catalogue knows of a signal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignalInfo {
    /// COVESA VSS path, or `Vehicle.Tesla.…` / `Vehicle.GBT32960.…` where VSS has none.
    pub path: &'static str,
    /// VSS unit (`km/h`, `celsius`, …); empty where it has none or the maker doesn't document it.
    pub unit: &'static str,
    /// Kind of value.
    pub datatype: Datatype,
    /// How it is to be treated.
    pub class: Class,
}
