//! The tables as the interface sees them.

use std::sync::Arc;

use crate::peer::mirror::OnHeld;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use lake::{Allowed, Done, Lake, Places, Sight, Work};

use crate::api::Problem;
use crate::api::lake::{Chore, DerivedView, DoneView, LakeView, TableFilesView, TermView};
use crate::api::query::{PlacesSeen, Rows, Sql, Visible};
use crate::api::status::TableView;
use crate::deriving::Derivers;
use crate::housekeeping::Housekeeper;

/// The lake and who looks after it.
#[derive(Clone)]
pub(crate) struct Tables {
    pub(crate) lake: Lake,
    pub(crate) housekeeper: Arc<Housekeeper>,
    pub(crate) derivers: Arc<Derivers>,
}

impl Sql for Tables {
    fn query(&self, sql: String, visible: Visible) -> BoxFuture<'_, Result<Rows, Problem>> {
        Box::pin(async move {
            let allowed = allowed(visible);
            let answer = self.lake.query_as(&sql, &allowed).await.map_err(query_problem)?;
            Ok(Rows {
                schema: answer.schema,
                tables: answer.tables,
                versions: answer.versions,
                batches: answer.rows.map_err(query_problem).boxed(),
            })
        })
    }

    fn tables(&self) -> Vec<TableView> {
        let view = |table: lake::TableStatus| TableView {
            table: table.table.to_owned(),
            rows: table.rows,
            files: table.files,
            bytes: table.bytes,
            tail_rows: table.tail_rows,
            duplicates: table.duplicates,
        };
        self.lake.status().into_iter().map(view).collect()
    }

    fn lake(&self) -> LakeView {
        let term =
            |term: lake::TermStatus| TermView { class: term.class.as_str().to_owned(), days: term.days };
        let view = |table: lake::TableStatus| TableFilesView {
            table: table.table.to_owned(),
            files: table.files,
            bytes: table.bytes,
            rows: table.rows,
            waiting: table.waiting,
            oldest: table.oldest.map(|at| at.to_string()),
            terms: table.terms.into_iter().map(term).collect(),
            pack: table.pack,
            sorted_at: table.sorted_at.map(|at| at.to_string()),
        };
        let derived = self.derivers.status();
        LakeView {
            tables: self.lake.status().into_iter().map(view).collect(),
            last_run: self.housekeeper.chores().last_run().map(|at| at.to_string()),
            derived: DerivedView {
                days: derived.days,
                behind: derived.behind,
                files: derived.files,
                bytes: derived.bytes,
            },
        }
    }

    fn keep(&self, chore: Chore) -> Result<Option<DoneView>, Problem> {
        let work = match chore {
            Chore::Compact => Work::Compact,
            Chore::Expire => Work::Expire,
            Chore::Rebuild => {
                self.derivers.rebuild().map_err(Problem::unavailable)?;
                return Ok(Some(DoneView::default()));
            }
        };
        Ok(self.housekeeper.run_now(work).map_err(Problem::unavailable)?.map(|done| done_view(&done)))
    }
}

/// In the lake's own terms.
pub(crate) fn allowed(visible: Visible) -> Allowed {
    let places = match visible.places {
        PlacesSeen::Exact => Places::Exact,
        PlacesSeen::Coarse(cell) => Places::Coarse { cell },
        PlacesSeen::Hidden => Places::Hidden,
    };
    Allowed { tables: visible.tables, sight: Sight { places, hidden: visible.hidden }, own_alone: false }
}

fn done_view(done: &Done) -> DoneView {
    let mut view = DoneView {
        destroyed: done.destroyed + done.commits,
        discarded: done.discarded,
        ..DoneView::default()
    };
    for step in &done.steps {
        view.files_removed += step.files_removed;
        view.files_added += step.files_added;
        view.bytes_before += step.bytes_before;
        view.bytes_after += step.bytes_after;
        view.expired += step.expired;
        view.doubled += step.doubled;
    }
    view
}

fn query_problem(error: lake::QueryError) -> Problem {
    match error {
        lake::QueryError::Refused(_) => Problem::refused(error),
        lake::QueryError::TooLarge(_) | lake::QueryError::Failed(_) => Problem::unavailable(error),
        _ => Problem::invalid(error),
    }
}

/// Shows the rows of another center when the tables of its copy have changed. Called on threads that may block; made inside the runtime.
pub(crate) fn show_copies(lake: Lake) -> OnHeld {
    let runtime = tokio::runtime::Handle::current();
    Box::new(move |center| {
        if let Err(error) = runtime.block_on(lake.show_copy(center)) {
            tracing::error!(%center, %error, "the rows of a copy can't be shown; the next change of its tables tries again");
        }
    })
}
