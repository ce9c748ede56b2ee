//! Settings: `DIR/domicile.toml`, with `DOMICILE_SECTION_KEY` over it.
//!
//! Defaults, file and environment are laid over each other as TOML and then read strictly into [`Settings`], so that a default
//! stands in one place ([`table`]) and a mistyped key is never ignored.

mod table;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::Deserialize;
use toml::{Table, Value};

use crate::egress::Declared;
use table::{SECTIONS, SETTINGS, Setting};

/// All settings.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) store: store::Settings,
    pub(crate) journal: store::JournalSettings,
    pub(crate) tesla: Tesla,
    pub(crate) gbt32960: Gbt32960,
    pub(crate) http: Http,
    pub(crate) postgres: Listener,
    pub(crate) peer: Peer,
    pub(crate) ledger: Ledger,
    pub(crate) lake: Lake,
    pub(crate) egress: Egress,
    pub(crate) limits: Limits,
}

/// `[tesla]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tesla {
    pub(crate) listen: String,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) vehicle_ca: Vec<PathBuf>,
    pub(crate) issuers: Vec<Issuer>,
}

/// What the certificates of an issuer stand for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Issuer {
    /// The issuer's common name.
    pub(crate) name: String,
    /// The protocol's word for the kind of device, such as `vehicle_device`.
    pub(crate) device_type: String,
}

/// `[gbt32960]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gbt32960 {
    pub(crate) listen: String,
    pub(crate) tls_listen: String,
    pub(crate) require_tls: bool,
    pub(crate) require_signature: bool,
    pub(crate) position_2016: Coordinates,
    pub(crate) encryption: Encryption,
}

/// The system of coordinates that vehicles send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Coordinates {
    /// WGS 84.
    Wgs84,
    /// GCJ-02, the shifted coordinates of Chinese maps.
    Gcj02,
}

/// `[gbt32960.encryption]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Encryption {
    pub(crate) mode: CipherMode,
    pub(crate) padding: Padding,
    /// Empty for none.
    pub(crate) keys_file: String,
}

/// The mode of a block cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CipherMode {
    /// Electronic codebook.
    Ecb,
    /// Cipher block chaining, with the initialisation vector in front or zero as the wire's codec has it.
    Cbc,
}

/// How the last block is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Padding {
    /// PKCS #7.
    Pkcs7,
    /// Zero bytes.
    Zero,
    /// None: the data unit is a whole number of blocks.
    None,
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub(crate) listen: String,
    /// Checked when the settings are read: `metrics_networks` gives them.
    metrics_from: Vec<String>,
    pub(crate) query_rows_max: u64,
    pub(crate) query_bytes_max: u64,
}

/// `[postgres]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Listener {
    pub(crate) listen: String,
}

/// What happens to acknowledgements while too few centers are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WhenAlone {
    /// They wait.
    Wait,
    /// They are given, and that is shown.
    Degrade,
}

/// `[peer]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) listen: String,
    /// Where other centers reach this one; empty where nobody said.
    pub(crate) address: String,
    /// Where centers of the country lie.
    pub(crate) networks: Vec<String>,
    /// 0 for no limit.
    pub(crate) bytes_per_s_max: u64,
    pub(crate) ack_centers: u32,
    pub(crate) when_alone: WhenAlone,
    pub(crate) replication: u32,
    pub(crate) drain_s: u32,
}

/// `[ledger]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ledger {
    pub(crate) witnesses: Vec<Witness>,
    pub(crate) quorum: u32,
}

/// Somebody who cosigns the ledger's checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Witness {
    /// What it is called in status and logs.
    pub(crate) name: String,
    /// Its verifier key, as it publishes it.
    pub(crate) vkey: String,
    /// Where it takes `add-checkpoint`.
    pub(crate) url: String,
    /// Where it lies.
    pub(crate) country: String,
}

/// `[lake]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lake {
    pub(crate) enabled: bool,
    pub(crate) memory_bytes_max: u64,
    pub(crate) query_seconds_max: u64,
    /// 0 for never by itself.
    pub(crate) maintain_interval_s: u64,
}

/// `[egress]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Egress {
    pub(crate) allow: Vec<Allowed>,
    /// Whether `serve` asks the kernel to hold it to its files and ports.
    pub(crate) confine: bool,
    /// Empty for the system's.
    pub(crate) ca_file: String,
}

/// A destination as it is written; `egress::Declared` reads what it means.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allowed {
    /// `host:port`.
    pub(crate) to: String,
    /// `witness`, `feed`, `peer` or `object_store`.
    pub(crate) purpose: String,
    /// Where it lies.
    pub(crate) country: String,
    /// The networks that the host's addresses must lie in.
    #[serde(default)]
    pub(crate) networks: Vec<String>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) connections_max: usize,
    pub(crate) frame_bytes_max: usize,
    pub(crate) messages_per_minute_max: u32,
    pub(crate) idle_timeout_s: u64,
    pub(crate) memory_bytes_max: u64,
}

/// Why the settings can't be used. Each says which setting and what to write instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SettingsError {
    #[error("{}: {source}; `domicile init` writes a folder with this file", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{origin} is not TOML: {source}")]
    Syntax { origin: String, source: Box<toml::de::Error> },
    #[error("{origin}: there is no setting `{name}`{}", suggestion(nearest.as_deref()))]
    Unknown { origin: String, name: String, nearest: Option<String> },
    #[error("{origin}: {problem}")]
    Value { origin: String, problem: String },
}

fn suggestion(nearest: Option<&str>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Reads a variable of the process's environment; `None` where it is not set or no UTF-8. The only place that does.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one reader of the environment; others are handed a lookup"
)]
pub(crate) fn environment_variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Settings {
    /// The settings of a center's folder: defaults, `domicile.toml` over them, the environment over both.
    ///
    /// # Errors
    /// [`SettingsError`] with the file's or the variable's name in it.
    pub(crate) fn load(
        folder: &Path,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let path = folder.join("domicile.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| SettingsError::Unreadable { path: path.clone(), source })?;
        Self::read(&text, &path.display().to_string(), environment)
    }

    /// The settings of a file's text; `origin` names it in errors.
    pub(crate) fn read(
        text: &str,
        origin: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        let mut merged = defaults();
        overlay(&mut merged, parse(text, origin)?, "", origin)?;
        for setting in SETTINGS {
            let name = setting.variable();
            if let Some(value) = environment(&name) {
                let value = setting.environment_value(&value, &name)?;
                put(&mut merged, setting, value);
            }
        }
        let settings: Self = merged.try_into().map_err(|error: toml::de::Error| SettingsError::Value {
            origin: origin.to_owned(),
            problem: error.message().to_owned(),
        })?;
        settings.check(origin)?;
        Ok(settings)
    }

    /// Rules that a type can't say.
    fn check(&self, origin: &str) -> Result<(), SettingsError> {
        let wrong = |problem: &str| {
            Err(SettingsError::Value { origin: origin.to_owned(), problem: problem.to_owned() })
        };
        if self.store.url.starts_with("s3:") {
            return wrong("store.url: this release has the local store only; write \"file:\" and a folder");
        }
        if self.store.url.strip_prefix("file:").is_none_or(str::is_empty) {
            return wrong("store.url: \"file:\" and a folder, such as \"file:store\"");
        }
        if self.journal.ack == store::Ack::Object {
            return wrong("journal.ack: this release acknowledges from the \"journal\" only");
        }
        if !(1..=2).contains(&self.peer.ack_centers) {
            return wrong("peer.ack_centers: 1, or 2");
        }
        if self.store.batch_bytes_max < 4 * self.limits.frame_bytes_max as u64 {
            return wrong("store.batch_bytes_max: at least four times limits.frame_bytes_max");
        }
        if self.journal.bytes_max < 4 * self.store.batch_bytes_max {
            return wrong("journal.bytes_max: at least four times store.batch_bytes_max");
        }
        if self.store.batch_age_ms_max == 0
            || self.limits.idle_timeout_s == 0
            || self.limits.connections_max == 0
        {
            return wrong(
                "store.batch_age_ms_max, limits.idle_timeout_s and limits.connections_max: more than zero",
            );
        }
        self.check_network(origin)
    }

    /// The rules about addresses: what is listened on, who may read metrics, what may be connected to.
    fn check_network(&self, origin: &str) -> Result<(), SettingsError> {
        let wrong = |problem: String| SettingsError::Value { origin: origin.to_owned(), problem };
        for (setting, listen) in self.listeners() {
            if !listen.is_empty() {
                listen_address(listen).map_err(|problem| wrong(format!("{setting}: {problem}")))?;
            }
        }
        for text in &self.http.metrics_from {
            network(text).map_err(|problem| wrong(format!("http.metrics_from: {problem}")))?;
        }
        for text in &self.peer.networks {
            network(text).map_err(|problem| wrong(format!("peer.networks: {problem}")))?;
        }
        let witnesses = &self.ledger.witnesses;
        if let Some(twice) = witnesses
            .iter()
            .enumerate()
            .find_map(|(at, witness)| witnesses[..at].iter().find(|earlier| earlier.name == witness.name))
        {
            let problem = format!("ledger.witnesses: two are called `{}`: name each otherwise", twice.name);
            return Err(wrong(problem));
        }
        if self.ledger.quorum as usize > witnesses.len() {
            return Err(wrong(format!(
                "ledger.quorum: {} of {} witnesses can never have cosigned; lower it, or declare more in ledger.witnesses",
                self.ledger.quorum,
                witnesses.len()
            )));
        }
        Declared::parse(self).map_err(|error| wrong(error.to_string()))?;
        Ok(())
    }

    /// Each listener's setting and its address; empty where it is turned off.
    pub(crate) fn listeners(&self) -> [(&'static str, &str); 6] {
        [
            ("tesla.listen", &self.tesla.listen),
            ("gbt32960.listen", &self.gbt32960.listen),
            ("gbt32960.tls_listen", &self.gbt32960.tls_listen),
            ("http.listen", &self.http.listen),
            ("postgres.listen", &self.postgres.listen),
            ("peer.listen", &self.peer.listen),
        ]
    }

    /// Who may read `/metrics` without a token.
    pub(crate) fn metrics_networks(&self) -> Vec<IpNet> {
        self.http.metrics_from.iter().filter_map(|text| network(text).ok()).collect()
    }

    /// The file of the authorities that outbound TLS trusts, below `folder` where it is relative; `None` for the system's.
    pub(crate) fn ca_file(&self, folder: &Path) -> Option<PathBuf> {
        (!self.egress.ca_file.is_empty()).then(|| folder.join(&self.egress.ca_file))
    }

    /// The local store's folder, below `folder` where it is relative.
    pub(crate) fn store_folder(&self, folder: &Path) -> PathBuf {
        folder.join(self.store.url.strip_prefix("file:").unwrap_or(&self.store.url))
    }
}

/// A network, or one address as a network of its own.
pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let of_one = || text.parse::<IpAddr>().ok().map(IpNet::from);
    text.parse::<IpNet>().ok().or_else(of_one).map(|network| network.trunc()).ok_or_else(|| {
        format!("`{text}` is no network; write an address and how many bits of it are fixed, such as \"10.0.0.0/8\"")
    })
}

/// The address of a listener. `localhost` is the one name: any other would have to be asked for on the network.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let local = || {
        let port = text.strip_prefix("localhost:")?.parse().ok()?;
        Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
    };
    text.parse().ok().or_else(local).ok_or_else(|| {
        format!(
            "`{text}` is no address and port; write such as \"0.0.0.0:4443\" or \"[::]:4443\", no host name"
        )
    })
}

#[cfg(test)]
impl Default for Settings {
    fn default() -> Self {
        Self::read("", "the defaults", &|_| None).expect("the table of settings is complete and valid")
    }
}

/// `domicile.toml` with every setting, its default and what it is for.
pub(crate) fn written() -> String {
    let mut text = String::from(
        "# Settings of this data center. Each has its default here; DOMICILE_SECTION_KEY in the environment overrides it\n\
         # (DOMICILE_LIMITS_IDLE_TIMEOUT_S=600). Relative paths lie in this folder. Restart the center after a change.\n",
    );
    for (section, help) in SECTIONS {
        write!(text, "\n# {help}\n[{section}]\n").expect("writing to a string succeeds");
        for setting in SETTINGS.iter().filter(|setting| setting.section == *section) {
            writeln!(text, "# {}\n{} = {}", setting.help, setting.key, setting.default)
                .expect("writing to a string succeeds");
        }
    }
    text
}

impl Setting {
    /// `DOMICILE_` and the section and key in capitals.
    fn variable(&self) -> String {
        format!("DOMICILE_{}_{}", self.section.replace('.', "_"), self.key).to_uppercase()
    }

    fn default_value(&self) -> Value {
        toml_value(self.default).expect("the defaults of the table of settings are TOML")
    }

    /// The value of an environment's variable: a text as it stands, anything else as TOML.
    fn environment_value(&self, text: &str, name: &str) -> Result<Value, SettingsError> {
        let default = self.default_value();
        if default.is_str() {
            return Ok(Value::String(text.to_owned()));
        }
        toml_value(text).filter(|value| value.same_type(&default)).ok_or_else(|| SettingsError::Value {
            origin: name.to_owned(),
            problem: format!("a TOML {} is expected, such as {}", default.type_str(), self.default),
        })
    }
}

fn toml_value(text: &str) -> Option<Value> {
    let mut table: Table = format!("value = {text}").parse().ok()?;
    table.remove("value")
}

fn parse(text: &str, origin: &str) -> Result<Table, SettingsError> {
    text.parse()
        .map_err(|source| SettingsError::Syntax { origin: origin.to_owned(), source: Box::new(source) })
}

fn defaults() -> Table {
    let mut table = Table::new();
    for setting in SETTINGS {
        put(&mut table, setting, setting.default_value());
    }
    table
}

/// Sets one setting, making its section's tables where they are missing.
fn put(table: &mut Table, setting: &Setting, value: Value) {
    let mut here = table;
    for part in setting.section.split('.') {
        here = here
            .entry(part)
            .or_insert_with(|| Value::Table(Table::new()))
            .as_table_mut()
            .expect("a section of the table of settings is no setting of another");
    }
    here.insert(setting.key.to_owned(), value);
}

/// Lays a file's settings over `base`, which has every known name.
fn overlay(base: &mut Table, over: Table, prefix: &str, origin: &str) -> Result<(), SettingsError> {
    for (key, value) in over {
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match (base.get_mut(&key), value) {
            (None, _) => {
                let nearest = nearest(&name);
                return Err(SettingsError::Unknown { origin: origin.to_owned(), name, nearest });
            }
            (Some(Value::Table(section)), Value::Table(settings)) => {
                overlay(section, settings, &name, origin)?
            }
            (Some(Value::Table(_)), _) => {
                let problem = format!("`{name}` is a section: write [{name}]");
                return Err(SettingsError::Value { origin: origin.to_owned(), problem });
            }
            (Some(known), value) if known.same_type(&value) => *known = value,
            (Some(known), value) => {
                let problem = format!("`{name}` is a {}, not a {}", known.type_str(), value.type_str());
                return Err(SettingsError::Value { origin: origin.to_owned(), problem });
            }
        }
    }
    Ok(())
}

/// The known name that a mistyped one most resembles, where one is near enough to be meant.
fn nearest(name: &str) -> Option<String> {
    let settings = SETTINGS.iter().map(|setting| format!("{}.{}", setting.section, setting.key));
    let sections = SECTIONS.iter().map(|(section, _)| (*section).to_owned());
    let last = |text: &str| text.rsplit('.').next().unwrap_or_default().to_owned();
    settings
        .chain(sections)
        .map(|known| {
            // A right key in the wrong section is as near as one letter.
            let elsewhere = if last(&known) == last(name) { 1 } else { usize::MAX };
            (distance(&known, name).min(elsewhere), known)
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= name.len().div_ceil(3))
        .map(|(_, known)| known)
}

/// How many letters must be inserted, removed or replaced to make one text of another (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
