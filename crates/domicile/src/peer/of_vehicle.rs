//! Where the data of one vehicle lies: in which centers' prefixes, in how many objects of each kind, and who holds copies of those.
//! Worked out from the objects that lie here, so it says nothing of centers of which no copy does.

use std::collections::BTreeMap;

use model::{CenterName, VehicleId};
use serde::{Deserialize, Serialize};
use store::{Names, ObjectKind, ObjectPath, Objects};

/// The objects of one center that hold something of the vehicle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VehiclePlacement {
    /// Under whose prefix they lie.
    pub(crate) center: String,
    /// By kind: `batch` (raw frames), `table`, `registry`, `key`.
    pub(crate) objects: BTreeMap<String, Found>,
    /// The centers that hold this prefix: itself while it is here, and its copies.
    pub(crate) held_by: Vec<String>,
}

/// Objects of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub(crate) count: u64,
    pub(crate) bytes: u64,
    /// The first and the last by name, which is by time.
    pub(crate) first: String,
    pub(crate) last: String,
}

/// The files of a center's tables that may hold rows of a vehicle, as their statistics say.
pub(crate) type TableFiles<'a> = &'a dyn Fn(&CenterName, VehicleId) -> anyhow::Result<Vec<ObjectPath>>;

/// What lies under a center's prefix of a vehicle; `None` for nothing.
///
/// # Errors
/// The store's, and a batch that is damaged.
pub(super) fn found(
    objects: &Objects,
    center: &CenterName,
    vehicle: VehicleId,
    table_files: TableFiles<'_>,
) -> anyhow::Result<BTreeMap<String, Found>> {
    let names = Names::new(center.clone());
    let tables = table_files(center, vehicle)?;
    let mut all: BTreeMap<String, Found> = BTreeMap::new();
    let mut listed = objects.list(&super::placement::folder_of(center))?;
    listed.sort_by(|a, b| a.location.cmp(&b.location));
    for object in listed {
        let name = &object.location;
        let kind = match names.kind(name) {
            ObjectKind::Batch(_) => {
                let bytes = objects.read(name)?;
                let keys = bytes.map(|bytes| store::read(name.as_ref(), bytes)?.keys()).transpose()?;
                keys.unwrap_or_default().iter().any(|(of, _)| *of == vehicle).then_some("batch")
            }
            ObjectKind::Control(_) => {
                let bytes = objects.read(name)?.unwrap_or_default();
                let is_named = bytes.windows(vehicle.as_bytes().len()).any(|part| part == vehicle.as_bytes());
                is_named.then_some("registry")
            }
            ObjectKind::Key => {
                name.filename().is_some_and(|file| file.starts_with(vehicle.as_str())).then_some("key")
            }
            ObjectKind::Table(_) => tables.contains(name).then_some("table"),
            _ => None,
        };
        let Some(kind) = kind else { continue };
        let found = all.entry(kind.to_owned()).or_default();
        if found.count == 0 {
            found.first = name.to_string();
        }
        found.last = name.to_string();
        found.count += 1;
        found.bytes += object.size;
    }
    Ok(all)
}
