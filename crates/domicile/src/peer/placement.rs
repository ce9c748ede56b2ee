//! Who holds what: by the charter, each center's log and objects lie with that center and with others, chosen by rendezvous hashing, so
//! that a center more or less moves as little as can be.

use model::CenterName;
use sha2::{Digest, Sha256};
use store::{Names, ObjectPath, Objects};

use crate::charter::{Charter, Member};

/// The other centers that are to hold a copy of a center, most wanted first.
pub(crate) fn holders<'a>(charter: &'a Charter, source: &CenterName) -> Vec<&'a Member> {
    let is_source_here = charter.member(source).is_some_and(|member| member.state.is_here());
    let needed = (charter.replication as usize).saturating_sub(usize::from(is_source_here));
    let mut others: Vec<&Member> =
        charter.centers.iter().filter(|member| member.state.is_here() && member.name != *source).collect();
    // Highest random weight (Thaler and Ravishankar, 1998).
    others.sort_by_key(|member| std::cmp::Reverse(weight(source, &member.name)));
    others.truncate(needed);
    others
}

fn weight(source: &CenterName, holder: &CenterName) -> [u8; 32] {
    Sha256::digest(format!("{source}\n{holder}")).into()
}

/// The centers that `own` holds copies of: those that the charter gives it, and those whose copy lies here already: one that was not
/// followed any more would keep what others have erased.
pub(crate) fn followed_by(charter: &Charter, own: &CenterName, objects: &Objects) -> Vec<CenterName> {
    let is_mine = |source: &CenterName| {
        holders(charter, source).iter().any(|member| member.name == *own) || has_copy(objects, source)
    };
    let others = charter.centers.iter().map(|member| &member.name).filter(|name| *name != own);
    others.filter(|source| is_mine(source)).cloned().collect()
}

/// Whether a copy of a center lies here, or was begun.
fn has_copy(objects: &Objects, source: &CenterName) -> bool {
    let genesis = Names::new(source.clone()).genesis();
    objects.read(&genesis).is_ok_and(|found| found.is_some())
}

/// Where a prefix may be fetched from: its own center first, then those that hold copies, then any.
pub(crate) fn sources_of(charter: &Charter, prefix: &CenterName, own: &CenterName) -> Vec<Member> {
    let mut sources: Vec<Member> =
        charter.member(prefix).filter(|member| member.state.is_here()).into_iter().cloned().collect();
    if !sources.is_empty() {
        return sources;
    }
    let others = charter.centers.iter().filter(|member| member.state.is_here() && member.name != *own);
    sources.extend(others.cloned());
    sources
}

/// The folder of a center in the store.
pub(crate) fn folder_of(center: &CenterName) -> ObjectPath {
    ObjectPath::from(center.as_str())
}
