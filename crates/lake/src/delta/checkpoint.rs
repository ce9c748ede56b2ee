//! Checkpoints: a Parquet file that says in one place what all commits up to its version say (PROTOCOL.md,
//! "Checkpoints").
//!
//! A checkpoint only saves time. One that fails is left out; the log is whole without it.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::json::{LineDelimitedWriter, ReaderBuilder};
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::json;

use crate::Error;
use crate::delta::action::{Action, Remove, Transaction};
use crate::delta::log::{LogNames, Snapshot};

/// Writes the checkpoint of a snapshot, then the pointer to it.
pub(crate) async fn write(
    store: &dyn ObjectStore,
    names: &LogNames,
    snapshot: &Snapshot,
    table: &'static str,
) -> Result<(), Error> {
    let actions = actions_of(snapshot);
    let bytes = encode(&actions).map_err(|source| Error::Encode { table, source })?;
    store.put(&names.checkpoint(snapshot.version), bytes.into()).await?;
    let pointer = json!({ "version": snapshot.version, "size": actions.len() }).to_string();
    store.put(&names.last_checkpoint(), pointer.into()).await?;
    Ok(())
}

/// Reads the actions of a checkpoint.
pub(crate) async fn read(
    store: &dyn ObjectStore,
    names: &LogNames,
    version: i64,
    table: &'static str,
) -> Result<Vec<Action>, Error> {
    let bytes = store.get(&names.checkpoint(version)).await?.bytes().await?;
    decode(bytes).map_err(|why| Error::Damaged { table, version, why })
}

fn actions_of(snapshot: &Snapshot) -> Vec<Action> {
    let mut actions = vec![
        Action { protocol: snapshot.protocol.clone(), ..Action::default() },
        Action { meta_data: snapshot.metadata.clone(), ..Action::default() },
    ];
    actions.extend(snapshot.transactions.iter().map(|(app_id, version)| Action {
        txn: Some(Transaction { app_id: app_id.clone(), version: *version, last_updated: None }),
        ..Action::default()
    }));
    actions.extend(
        snapshot.files.iter().map(|file| Action { add: Some(file.add.clone()), ..Action::default() }),
    );
    actions.extend(snapshot.removed.iter().map(|(path, tombstone)| Action {
        remove: Some(Remove {
            path: path.clone(),
            deletion_timestamp: Some(tombstone.deleted_at),
            data_change: tombstone.data_change,
        }),
        ..Action::default()
    }));
    actions
}

fn encode(actions: &[Action]) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let schema = schema();
    let mut decoder = ReaderBuilder::new(schema.clone()).with_batch_size(actions.len()).build_decoder()?;
    decoder.serialize(actions)?;
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
    if let Some(batch) = decoder.flush()? {
        writer.write(&batch)?;
    }
    writer.into_inner()
}

fn decode(bytes: Bytes) -> Result<Vec<Action>, String> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| error.to_string())?;
    let mut writer = LineDelimitedWriter::new(Vec::new());
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        writer.write(&batch).map_err(|error| error.to_string())?;
    }
    writer.finish().map_err(|error| error.to_string())?;
    writer
        .into_inner()
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).map_err(|error| error.to_string()))
        .collect()
}

/// The checkpoint's columns (PROTOCOL.md, "Checkpoint Schema"), of the actions that this program writes.
fn schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let long = |name: &str| Field::new(name, DataType::Int64, true);
    let group = |name: &str, fields: Vec<Field>| Field::new(name, DataType::Struct(fields.into()), true);
    let map = |name: &str| {
        let entry = Fields::from(vec![Field::new("key", DataType::Utf8, false), text("value")]);
        let entries = Field::new("key_value", DataType::Struct(entry), false);
        Field::new(name, DataType::Map(Arc::new(entries), false), true)
    };
    let number = |name: &str| Field::new(name, DataType::Int32, true);
    Arc::new(Schema::new(vec![
        group("protocol", vec![number("minReaderVersion"), number("minWriterVersion")]),
        group(
            "metaData",
            vec![
                text("id"),
                text("name"),
                text("description"),
                group("format", vec![text("provider"), map("options")]),
                text("schemaString"),
                Field::new_list("partitionColumns", Field::new("element", DataType::Utf8, true), true),
                long("createdTime"),
                map("configuration"),
            ],
        ),
        group("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        group(
            "add",
            vec![
                text("path"),
                map("partitionValues"),
                long("size"),
                long("modificationTime"),
                Field::new("dataChange", DataType::Boolean, true),
                text("stats"),
            ],
        ),
        group(
            "remove",
            vec![text("path"), long("deletionTimestamp"), Field::new("dataChange", DataType::Boolean, true)],
        ),
    ]))
}
