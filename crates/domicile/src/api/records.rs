//! Records of sale, ownership and service.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};

use super::{Office, Problem};

/// What an import did.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecordsView {
    /// How many records.
    pub(crate) rows: u64,
    /// The number of the import: `records/<number>.parquet` in the store, and in the ledger.
    pub(crate) number: u64,
}

pub(super) async fn import(
    State(office): State<Arc<Office>>,
    Path(kind): Path<String>,
    csv: Bytes,
) -> Result<Json<RecordsView>, Problem> {
    office
        .blocking(move |office| {
            let kind = policy::RecordKind::from_name(&kind)
                .ok_or_else(|| Problem::not_found("records are of the kind sale, owner or service"))?;
            let pack = office.packs.in_force();
            let imported = office.registry.records_import(kind, &csv, pack.pack.record_schema(kind))?;
            office.changed(imported.version);
            Ok(Json(RecordsView { rows: imported.rows, number: imported.number }))
        })
        .await
}
