//! Who looks: whoever shows another center's tables, before it does so, and the writer of the own ones, for the rows that it took.

use std::sync::Arc;

use model::CenterName;
use object_store::path::Path;
use tokio::sync::Mutex;

use super::examiner::{Examiner, Part};
use crate::copies::{Copies, CopyTables};
use crate::schema::Table;
use crate::tail::Tail;

/// The one examiner, and where it looks. Clones share it.
#[derive(Clone)]
pub(crate) struct Examining {
    pub(crate) examiner: Arc<Mutex<Examiner>>,
    pub(crate) center: CenterName,
    pub(crate) folders: [Path; 3],
    pub(crate) tail: Arc<Tail>,
    pub(crate) copies: Copies,
}

impl Examining {
    /// Looks at everything that came since the last look, `next` being a center's tables that are about to be shown. A look that fails
    /// is logged: rows that may show twice are better than rows that don't show.
    pub(crate) async fn examine(&self, next: Option<(&CenterName, &CopyTables)>) {
        let mut examiner = self.examiner.lock().await;
        self.look(&mut examiner, next).await;
    }

    /// Looks, unless somebody else does.
    pub(crate) async fn examine_if_free(&self) {
        if self.copies.all().is_empty() {
            return;
        }
        if let Ok(mut examiner) = self.examiner.try_lock() {
            self.look(&mut examiner, None).await;
        }
    }

    async fn look(&self, examiner: &mut Examiner, next: Option<(&CenterName, &CopyTables)>) {
        let views = self.tail.views();
        let own = Part {
            center: self.center.clone(),
            folders: self.folders.clone(),
            snapshots: views.each_ref().map(|view| view.snapshot.clone()),
            slabs: views.map(|view| view.slabs),
        };
        let part = |center: &CenterName, tables: &CopyTables| Part {
            center: center.clone(),
            folders: tables.folders.clone(),
            snapshots: tables.snapshots.clone(),
            slabs: Table::ALL.map(|_| Vec::new()),
        };
        let all = self.copies.all();
        let others = all.iter().filter(|(center, _)| next.is_none_or(|(changed, _)| changed != *center));
        let mut parts = vec![own];
        parts.extend(others.map(|(center, tables)| part(center, tables)));
        parts.extend(next.map(|(center, tables)| part(center, tables)));
        if let Err(error) = examiner.examine(&parts).await {
            tracing::warn!(%error, "rows that two centers received may show twice until the next look");
        }
    }
}
