//! Records of sale, ownership and service.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use policy::FieldType;
use registry::{Field, FieldKind, RecordInput, RecordKind, RecordSchema, RecordsImported};
use serde::{Deserialize, Serialize};

use super::{Office, Problem};

/// What an import did.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RecordsView {
    /// How many records.
    pub(crate) rows: usize,
    /// Owners' periods of earlier imports that ended because the next owner's began.
    pub(crate) closed: usize,
    /// Vehicles that have a new data key from now on, because they have a new owner.
    pub(crate) rekeyed: usize,
    /// The number of the import: `records/<number>.parquet` in the store, and in the ledger; none for a file without records.
    pub(crate) number: Option<u64>,
}

pub(super) async fn import(
    State(office): State<Arc<Office>>,
    Path(kind): Path<String>,
    csv: Bytes,
) -> Result<Json<RecordsView>, Problem> {
    office
        .blocking(move |office| {
            let kind: RecordKind = kind.parse().map_err(Problem::not_found)?;
            let schema = schema(&office.packs.in_force().pack, kind)?;
            let imported = office.registry.records_import(&schema, RecordInput::Csv(&csv))?;
            office.changed(imported.version);
            let RecordsImported { rows, closed, rekeyed, number, .. } = imported;
            Ok(Json(RecordsView { rows, closed, rekeyed, number }))
        })
        .await
}

/// The country pack's schema of records of a kind, as the registry has it.
///
/// # Errors
/// [`registry::Error::Schema`] where the registry can't keep such records.
pub(crate) fn schema(pack: &policy::Pack, kind: RecordKind) -> Result<RecordSchema, registry::Error> {
    let fields = pack.record_schema(kind).fields().iter().filter_map(|field| {
        let kind = match field.datatype() {
            // Every record names its vehicle.
            FieldType::Vin => return None,
            FieldType::Text => FieldKind::Text,
            FieldType::Number => FieldKind::Number,
            FieldType::Whole => FieldKind::Whole,
            FieldType::Flag => FieldKind::Flag,
            FieldType::Date => FieldKind::Date,
            FieldType::Country => FieldKind::Country,
        };
        let (length_min, length_max) = field.lengths();
        let (minimum, maximum) = field.range();
        Some(Field {
            required: field.is_required(),
            class: field.class(),
            identifies: field.identifies(),
            length_min,
            length_max,
            minimum: minimum.is_finite().then_some(minimum),
            maximum: maximum.is_finite().then_some(maximum),
            values: field.values().map(str::to_owned).collect(),
            ..Field::new(field.name(), kind)
        })
    });
    RecordSchema::new(kind, fields.collect())
}
