//! What the lake asks of other rooms: raw frames, vehicles and records.

use std::sync::Arc;

use parking_lot::Mutex;

use store::Store;

use crate::api::records::schema;
use crate::center::Packs;

/// The tables' source of raw frames: the sealed batches.
pub(crate) struct Frames {
    pub(crate) store: Arc<Store>,
}

impl lake::FrameSource for Frames {
    fn batches(
        &self,
        from: Option<model::UtcMicros>,
        until: Option<model::UtcMicros>,
    ) -> futures::future::BoxFuture<'_, Result<Vec<lake::FrameBatch>, lake::SourceError>> {
        let store = self.store.clone();
        Box::pin(blocking(move || {
            let names = store.batches().map_err(source_error)?;
            let in_range =
                |hour| from.is_none_or(|from| hour >= from) && until.is_none_or(|until| hour <= until);
            let mut batches: Vec<lake::FrameBatch> = names
                .iter()
                .filter(|name| in_range(name.hour))
                .map(|name| lake::FrameBatch { name: name.path().to_string(), hour: name.hour })
                .collect();
            batches.sort_by_key(|batch| batch.hour);
            Ok(batches)
        }))
    }

    fn read<'a>(
        &'a self,
        batch: &'a lake::FrameBatch,
        with_bytes: bool,
        each: &'a mut (dyn FnMut(lake::StoredFrame<'_>) + Send),
    ) -> futures::future::BoxFuture<'a, Result<(), lake::SourceError>> {
        Box::pin(async move {
            let name = store::BatchName::parse(&batch.name.as_str().into())
                .ok_or_else(|| lake::SourceError(format!("{} is no batch", batch.name)))?;
            let store = self.store.clone();
            let opened = blocking(move || store.read_batch(&name).map_err(source_error)).await?;
            let visit = |row: store::Row<'_>| {
                each(lake::StoredFrame {
                    sequence: row.sequence,
                    received_at: row.received_at,
                    vehicle: row.vehicle,
                    key: row.key,
                    protocol: row.protocol,
                    connection: row.connection,
                    bytes: row.bytes.filter(|_| with_bytes),
                });
                Ok::<(), store::Error>(())
            };
            // On the lake's own threads, which are there for work that takes long.
            opened.for_each(self.store.keyring(), visit).map_err(source_error)
        })
    }
}

/// The tables' source of vehicles: the registry.
pub(crate) struct Vehicles {
    pub(crate) registry: Arc<registry::Registry>,
}

/// Vehicles that are asked of the registry at once.
const VEHICLES_AT_ONCE: usize = 10_000;

impl lake::VehicleSource for Vehicles {
    fn vehicles(&self) -> Result<Vec<lake::VehicleRow>, lake::SourceError> {
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let some = self
                .registry
                .list(after.as_ref(), VEHICLES_AT_ONCE)
                .map_err(|error| lake::SourceError(error.to_string()))?;
            let Some(last) = some.last() else { return Ok(rows) };
            after = Some(last.vin);
            rows.extend(some.into_iter().map(row_of));
        }
    }

    fn private(&self) -> Result<Vec<lake::PrivateTime>, lake::SourceError> {
        let all = self.registry.private_times().map_err(|error| lake::SourceError(error.to_string()))?;
        let of = |(vehicle, times): &(model::VehicleId, registry::PrivateTimes)| {
            let vehicle = *vehicle;
            times
                .iter()
                .map(move |(from, until)| lake::PrivateTime { vehicle, from, until })
                .collect::<Vec<_>>()
        };
        Ok(all.iter().flat_map(of).collect())
    }
}

fn row_of(vehicle: registry::Vehicle) -> lake::VehicleRow {
    let state = if vehicle.revoked.is_some() { "revoked" } else { "active" };
    lake::VehicleRow {
        vehicle: vehicle.id,
        country: vehicle.country,
        maker: vehicle.maker,
        model: vehicle.model,
        state: state.to_owned(),
        registered_at: vehicle.added_at,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, lake::SourceError> + Send + 'static,
) -> Result<T, lake::SourceError> {
    let ended = |_| lake::SourceError("the program ends".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

/// The tables' source of sales, ownership and service records: the registry.
pub(crate) struct Records {
    pub(crate) registry: Arc<registry::Registry>,
    pub(crate) packs: Arc<Packs>,
}

/// Records that are asked of the registry at once.
const RECORDS_AT_ONCE: usize = 10_000;

impl Records {
    fn table(&self, kind: registry::RecordKind) -> Option<registry::RecordTable> {
        // A pack is held against the registry's rules when it is put in force.
        Some(schema(&self.packs.in_force().pack, kind).ok()?.table())
    }
}

impl lake::RecordSource for Records {
    fn tables(&self) -> Vec<lake::RecordTable> {
        let tables = registry::RecordKind::ALL.into_iter().filter_map(|kind| self.table(kind));
        tables.map(table_of).collect()
    }

    fn rows(
        &self,
        table: &str,
        each: &mut dyn FnMut(Vec<lake::RecordValue>),
    ) -> Result<(), lake::SourceError> {
        let kind = registry::RecordKind::ALL.into_iter().find(|kind| kind.table() == table);
        let Some(table) = kind.and_then(|kind| self.table(kind)) else { return Ok(()) };
        let mut after = None;
        loop {
            let rows = self
                .registry
                .record_rows(&table, after, RECORDS_AT_ONCE)
                .map_err(|error| lake::SourceError(error.to_string()))?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.place);
            for row in rows {
                each(row.values.into_iter().map(value_of).collect());
            }
        }
    }

    fn owners(&self) -> Result<Vec<lake::OwnerTime>, lake::SourceError> {
        let times = self.registry.owner_times().map_err(|error| lake::SourceError(error.to_string()))?;
        let time = |registry::OwnerTime { vehicle, from, to, owner }: registry::OwnerTime| lake::OwnerTime {
            vehicle,
            from,
            to,
            owner,
        };
        Ok(times.into_iter().map(time).collect())
    }

    fn version(&self) -> u64 {
        // An erasure takes records out when it begins, at the latest when it is done.
        let erased = self.registry.erased();
        let steps = erased.iter().map(|erased| if erased.is_open { 1 } else { 2 }).sum::<u64>();
        self.registry.records_version() << 32 | (steps & 0xffff_ffff)
    }
}

fn table_of(table: registry::RecordTable) -> lake::RecordTable {
    let columns = table.columns.into_iter().map(|column| lake::RecordColumn {
        name: column.name,
        kind: match column.kind {
            registry::FieldKind::Text | registry::FieldKind::Country => lake::RecordKind::Text,
            registry::FieldKind::Number => lake::RecordKind::Number,
            registry::FieldKind::Whole => lake::RecordKind::Whole,
            registry::FieldKind::Flag => lake::RecordKind::Flag,
            registry::FieldKind::Date => lake::RecordKind::Time,
        },
    });
    lake::RecordTable { name: table.name.to_owned(), columns: columns.collect() }
}

fn value_of(value: Option<registry::FieldValue>) -> lake::RecordValue {
    match value {
        None => lake::RecordValue::Null,
        Some(registry::FieldValue::Text(text)) => lake::RecordValue::Text(text),
        Some(registry::FieldValue::Number(number)) => lake::RecordValue::Number(number),
        Some(registry::FieldValue::Whole(whole)) => lake::RecordValue::Whole(whole),
        Some(registry::FieldValue::Flag(flag)) => lake::RecordValue::Flag(flag),
        Some(registry::FieldValue::Date(at)) => lake::RecordValue::Time(at),
    }
}

fn source_error(error: store::Error) -> lake::SourceError {
    lake::SourceError(error.to_string())
}

/// The terms of the country pack in force.
impl lake::TermSource for Packs {
    fn terms(&self) -> lake::Terms {
        let in_force = self.in_force();
        let pack = &in_force.pack;
        lake::Terms::new(pack.version().to_string(), |class| pack.retention_days(class))
    }
}

/// What was erased, as the lake wants it.
pub(crate) struct Erasures {
    registry: Arc<registry::Registry>,
    /// The list that was last asked for, and what was made of it.
    made: Mutex<(Arc<Vec<registry::ErasedRows>>, Arc<lake::Erased>)>,
}

impl Erasures {
    pub(crate) fn new(registry: Arc<registry::Registry>) -> Self {
        Self { registry, made: Mutex::default() }
    }
}

impl lake::ErasureSource for Erasures {
    fn erased(&self) -> Arc<lake::Erased> {
        let rows = self.registry.erased();
        let mut made = self.made.lock();
        if !Arc::ptr_eq(&made.0, &rows) {
            let row = |row: &registry::ErasedRows| lake::ErasedRows {
                vehicle: row.vehicle,
                from: row.from,
                to: row.to,
                is_open: row.is_open,
            };
            *made = (rows.clone(), Arc::new(lake::Erased::new(rows.iter().map(row))));
        }
        made.1.clone()
    }
}
