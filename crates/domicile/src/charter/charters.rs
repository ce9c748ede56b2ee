//! The charter in force at a center: read at the start, replaced by the next version, and told to whoever follows it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use model::CenterName;
use parking_lot::Mutex;
use store::{Created, Names, ObjectKind, Objects};
use tokio::sync::watch;

use super::{Charter, Member};
use crate::api::Problem;
use crate::center::{Center, CenterError, Genesis};
use crate::egress::Declared;
use crate::egress::declared::DeclarationError;
use crate::pki::replace_file;

/// The file of all centers' authorities of vehicles, in a center's folder: what clients' certificates are held against.
const VEHICLE_AUTHORITIES: &str = "pki/vehicle-cas.pem";

/// The files of the authorities whose client certificates a center accepts: those of its settings, and those of all centers' vehicles,
/// because any center takes any vehicle of the country.
pub(crate) fn client_authorities(center: &Center) -> Vec<PathBuf> {
    let own = center.settings.tesla.vehicle_ca.iter().map(PathBuf::as_path);
    own.chain([Path::new(VEHICLE_AUTHORITIES)]).map(|path| center.folder.join(path)).collect()
}

/// What a center may connect to: what its settings declare, and the other centers of its charter.
///
/// # Errors
/// What can't be declared.
pub(crate) fn declared(center: &Center) -> Result<Declared, DeclarationError> {
    let country = center.genesis.country();
    let mut declared = Declared::of(&center.settings, country)?;
    // A store or charter that can't be read is told by the start; here it only declares nothing.
    let objects = Objects::read_only(&center.settings.store_folder(&center.folder)).ok();
    let charters = objects.and_then(|objects| Charters::open(center, &objects, || {}).ok());
    for member in charters.map(|charters| charters.others()).unwrap_or_default() {
        match declared.peer(&member.address, &center.settings, country) {
            Ok(destination) => declared = declared.with_peer(destination),
            Err(error) => {
                tracing::warn!(center = %member.name, %error, "a center of the charter is not connected to")
            }
        }
    }
    Ok(declared)
}

/// The charter in force.
pub(crate) struct Charters {
    objects: Objects,
    names: Names,
    genesis: Genesis,
    in_force: ArcSwapOption<InForce>,
    /// Held while a version is put in force.
    applying: Mutex<()>,
    changed: watch::Sender<u64>,
    on_applied: Box<dyn Fn() + Send + Sync>,
}

/// A version and its signed text.
pub(crate) struct InForce {
    pub(crate) charter: Charter,
    pub(crate) note: String,
}

impl Charters {
    /// Reads the newest version in a center's store. `on_applied` is called after each that is put in force.
    ///
    /// # Errors
    /// [`CenterError::Charter`] where it is not what the country's key signed.
    pub(crate) fn open(
        center: &Center,
        objects: &Objects,
        on_applied: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, CenterError> {
        let names = center.names();
        let version = |name| match names.kind(name) {
            ObjectKind::Charter(version) => Some(version),
            _ => None,
        };
        let newest = objects.list(&names.charters())?.iter().filter_map(|meta| version(&meta.location)).max();
        let mut in_force = None;
        if let Some(newest) = newest {
            let wrong = |what: String| CenterError::Charter { name: names.charter(newest).to_string(), what };
            let bytes =
                objects.read(&names.charter(newest))?.ok_or_else(|| wrong("it is gone".to_owned()))?;
            let note = String::from_utf8(bytes.to_vec()).map_err(|_| wrong("it is no text".to_owned()))?;
            let charter = Charter::open(&note, &center.genesis).map_err(wrong)?;
            if charter.version != newest {
                return Err(wrong(format!("it says that it is version {}", charter.version)));
            }
            in_force = Some(Arc::new(InForce { charter, note }));
        }
        Ok(Self {
            objects: objects.clone(),
            genesis: center.genesis.clone(),
            in_force: ArcSwapOption::new(in_force),
            applying: Mutex::new(()),
            changed: watch::channel(newest.unwrap_or(0)).0,
            on_applied: Box::new(on_applied),
            names,
        })
    }

    /// The version in force; `None` while the center is alone.
    pub(crate) fn in_force(&self) -> Option<Arc<InForce>> {
        self.in_force.load_full()
    }

    /// The number of the version in force; 0 for none.
    pub(crate) fn version(&self) -> u64 {
        self.in_force().map_or(0, |in_force| in_force.charter.version)
    }

    /// What the version in force says of a center.
    pub(crate) fn member(&self, center: &CenterName) -> Option<Member> {
        self.in_force().and_then(|in_force| in_force.charter.member(center).cloned())
    }

    /// Follows changes of the version.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The other centers that are there.
    pub(crate) fn others(&self) -> Vec<Member> {
        let own = self.genesis.center();
        let is_other = |member: &&Member| member.name != own && member.state.is_here();
        self.in_force().map_or(Vec::new(), |in_force| {
            in_force.charter.centers.iter().filter(is_other).cloned().collect()
        })
    }

    /// Writes the authorities of all centers' vehicles into the center's folder, its own first.
    pub(crate) fn write_vehicle_authorities(&self, center: &Center) -> Result<(), CenterError> {
        let own = center.vehicle_ca()?;
        let others = self.others().into_iter().map(|member| member.vehicle_ca);
        let text: String = std::iter::once(own).chain(others).collect();
        let path = center.folder.join(VEHICLE_AUTHORITIES);
        if std::fs::read_to_string(&path).is_ok_and(|there| there == text) {
            return Ok(());
        }
        Ok(replace_file(&path, text.as_bytes(), 0o644)?)
    }

    /// A version's signed text.
    pub(crate) fn note(&self, version: u64) -> Result<Option<String>, store::Error> {
        let bytes = self.objects.read(&self.names.charter(version))?;
        Ok(bytes.and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()))
    }

    /// Puts the next version in force: durable in the store first.
    ///
    /// # Errors
    /// A problem that says what is wrong with it, or that the store failed.
    pub(crate) fn apply(&self, note: &str) -> Result<u64, Problem> {
        let charter = Charter::open(note, &self.genesis).map_err(Problem::invalid)?;
        let _applying = self.applying.lock();
        let before = self.in_force();
        if before.as_ref().is_some_and(|before| before.charter == charter) {
            return Err(Problem::conflict(format!("version {} is in force already", charter.version)));
        }
        charter.check_follows(before.as_ref().map(|before| &before.charter)).map_err(Problem::conflict)?;
        let own = self.genesis.center();
        let Some(member) = charter.member(&own) else {
            return Err(Problem::conflict(format!("it does not name this center, {own}")));
        };
        let keys = member.keys().map_err(Problem::invalid)?;
        if keys.log != self.genesis.log_key() || keys.mirror != self.genesis.mirror_key() {
            return Err(Problem::conflict(format!("it gives this center, {own}, keys that are not its own")));
        }
        let version = charter.version;
        let created = self.objects.create(&self.names.charter(version), note.to_owned().into_bytes());
        if created.map_err(Problem::unavailable)? == Created::Exists {
            return Err(Problem::unavailable(format!(
                "an earlier try left a version {version} in the store; restart the center, which takes it"
            )));
        }
        self.in_force.store(Some(Arc::new(InForce { charter, note: note.to_owned() })));
        (self.on_applied)();
        self.changed.send_replace(version);
        Ok(version)
    }
}
