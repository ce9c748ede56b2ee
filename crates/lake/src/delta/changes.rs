//! What one version of a table changed, for who keeps books on it.

use object_store::ObjectStore;
use object_store::path::Path;

use crate::Error;
use crate::delta::action::Action;
use crate::delta::log::{self, LogNames};

/// What one version of a table changed. All names are the objects' full names in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The commit that made the version.
    pub commit: Path,
    /// Data files that belong to the table from this version on.
    pub added: Vec<Path>,
    /// Data files that belong to it no longer.
    pub removed: Vec<Path>,
}

/// Reads a version's commit anew: what is said of a version is what lies in the store, not what this process
/// remembers.
pub(crate) async fn read(
    store: &dyn ObjectStore,
    names: &LogNames,
    folder: &Path,
    version: i64,
    table: &'static str,
) -> Result<Changes, Error> {
    let damaged = |why: String| Error::Damaged { table, version, why };
    let Some(actions) = log::read_commit(store, names, version, table).await? else {
        return Err(damaged("its commit is gone".to_owned()));
    };
    // A commit that is cut off after a line reads as one that says less.
    let creates = actions.iter().any(|action| action.protocol.is_some())
        && actions.iter().any(|action| action.meta_data.is_some());
    if version == 0 && !creates {
        return Err(damaged("it names neither protocol nor schema".to_owned()));
    }
    if !actions.iter().any(Action::changes_the_table) {
        return Err(damaged("it names nothing that it changed".to_owned()));
    }
    let object = |path: &String| {
        let object = folder.clone().join(path.as_str());
        // All files of our tables lie in the table's own folder, under names that need no escaping.
        if !path.is_empty() && object.filename() == Some(path.as_str()) {
            Ok(object)
        } else {
            Err(damaged(format!("{path} is no name of a data file")))
        }
    };
    let added = actions.iter().filter_map(|action| action.add.as_ref()).map(|add| object(&add.path));
    let removed = actions.iter().filter_map(|action| action.remove.as_ref()).map(|gone| object(&gone.path));
    Ok(Changes {
        commit: names.commit(version),
        added: added.collect::<Result<_, _>>()?,
        removed: removed.collect::<Result<_, _>>()?,
    })
}
