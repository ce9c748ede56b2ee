//! What can go wrong here, and whose move it is. No error names a VIN: some end in logs.

/// An error of the registry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A field breaks its rule.
    #[error("{field}: {rule}")]
    Field {
        /// The field, as a CSV header has it.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// The VIN is in the registry already.
    #[error(
        "this VIN is registered already (as {id}); `vehicle show` shows it, `vehicle import` changes its details"
    )]
    AlreadyRegistered {
        /// Its pseudonym.
        id: model::VehicleId,
    },
    /// A vehicle's country of sale can't be changed.
    #[error(
        "this VIN is registered as sold in {registered}, which can't be changed; revoke it if that was a mistake"
    )]
    CountryDiffers {
        /// The registered country.
        registered: model::Country,
    },
    /// The VIN or pseudonym is not in the registry.
    #[error("there is no such vehicle in the registry; `vehicle add` registers one")]
    NoSuchVehicle,
    /// The vehicle has no owner's period that began then.
    #[error(
        "no owner's period of this vehicle began then; the table `owners` has their first days (valid_from)"
    )]
    NoSuchPeriod,
    /// There is no erasure of this number.
    #[error("there is no such erasure; `subject list` shows them")]
    NoSuchErasure,
    /// The vehicle, platform or token is revoked already.
    #[error("it was revoked already, at {at}")]
    AlreadyRevoked {
        /// When.
        at: model::UtcMicros,
    },
    /// The platform's name is taken.
    #[error("there is a platform of this name already; names are not used twice")]
    PlatformExists,
    /// The platform is not in the registry.
    #[error("there is no such platform; `platform list` shows them")]
    NoSuchPlatform,
    /// The token's name is taken.
    #[error("there is a token of this name already; names are not used twice")]
    TokenExists,
    /// The token is not in the registry.
    #[error("there is no such token; `token list` shows them")]
    NoSuchToken,
    /// An import file has wrong lines; nothing was imported.
    #[error("{}", lines(problems, *more))]
    Import {
        /// The first wrong lines.
        problems: Vec<LineProblem>,
        /// How many more there are.
        more: usize,
    },
    /// A control object is not what this program wrote.
    #[error("control object {sequence} is damaged: {what}; restore it from a mirror or a backup")]
    Damaged {
        /// Its number.
        sequence: u64,
        /// What is wrong with it.
        what: String,
    },
    /// An object of records is not what this program wrote.
    #[error("records object {number} is damaged: {what}; restore it from a mirror or a backup")]
    RecordsDamaged {
        /// Its number.
        number: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A schema of records, as a country pack gives it, can't work.
    #[error("records.{kind}: {rule}")]
    Schema {
        /// Which kind of records.
        kind: &'static str,
        /// What it must be.
        rule: String,
    },
    /// The SQLite file failed.
    #[error(
        "{doing}: {source}; the file is a projection: stop the center, delete registry/registry.sqlite, and start it again"
    )]
    Projection {
        /// What was being done.
        doing: &'static str,
        /// SQLite's answer.
        source: rusqlite::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// A wrong line of an import file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// Its number; the header is line 1.
    pub line: u64,
    /// What is wrong, with the column's name.
    pub problem: String,
}

fn lines(problems: &[LineProblem], more: usize) -> String {
    let mut text = String::from("nothing was imported:");
    for LineProblem { line, problem } in problems {
        text.push_str(&format!("\n  line {line}: {problem}"));
    }
    if more > 0 {
        text.push_str(&format!("\n  and {more} more"));
    }
    text
}
