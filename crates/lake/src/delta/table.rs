//! One table: opening it, and appending to it exactly once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use model::{Clock, UtcMicros};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use serde_json::Value;

use crate::Error;
use crate::delta::action::{Action, Add, CommitInfo, Format, Metadata, Protocol, Transaction};
use crate::delta::changes::{self, Changes};
use crate::delta::checkpoint;
use crate::delta::log::{self, LogNames, Snapshot};
use crate::delta::statistics::FileStatistics;
use crate::schema::Table;

/// A data file to be written and committed.
pub(crate) struct NewFile {
    /// Its name inside the table's folder.
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    pub(crate) statistics: FileStatistics,
}

/// A Delta table with its newest snapshot.
pub(crate) struct DeltaTable {
    pub(super) table: Table,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) clock: Arc<dyn Clock>,
    folder: Path,
    pub(super) names: LogNames,
    pub(super) snapshot: Arc<Snapshot>,
    /// A step failed with an unknown outcome: the log is read again before the next one.
    pub(super) unsure: bool,
}

impl DeltaTable {
    /// A checkpoint each so many versions: opening then reads one file and at most so many commits.
    pub(crate) const CHECKPOINT_INTERVAL: i64 = 100;

    /// One process writes a folder, so a lost race is an accident (or our own commit, found again); more than
    /// so many is another writer.
    const TRIES_MAX: u32 = 10;

    /// Opens the table; makes it where there is none.
    pub(crate) async fn open(
        table: Table,
        store: Arc<dyn ObjectStore>,
        folder: Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let names = LogNames::new(&folder);
        let mut opened =
            Self { table, store, clock, folder, names, snapshot: Arc::new(Snapshot::empty()), unsure: true };
        opened.refresh().await?;
        if opened.snapshot.version < 0 {
            let actions = opened.creation();
            opened.append(actions).await?;
        }
        opened.check()?;
        Ok(opened)
    }

    pub(crate) fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The folder of its data files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// How far an application has come.
    pub(crate) fn transaction(&self, app_id: &str) -> Option<i64> {
        self.snapshot.transactions.get(app_id).copied()
    }

    /// What a version changed, as its commit in the store says it.
    pub(crate) async fn changes(&self, version: i64) -> Result<Changes, Error> {
        let table = self.table.name();
        if !(0..=self.snapshot.version).contains(&version) {
            return Err(Error::NoVersion { table: table.to_owned(), version });
        }
        changes::read(self.store.as_ref(), &self.names, &self.folder, version, table).await
    }

    /// Reads the log again where an earlier step may or may not have taken effect.
    pub(crate) async fn settle(&mut self) -> Result<(), Error> {
        if self.unsure { self.refresh().await } else { Ok(()) }
    }

    /// Writes the file, then the commit that makes it part of the table together with `app_id`'s new version.
    /// `false` where the table already holds that version: a replay, which changes nothing.
    pub(crate) async fn commit(
        &mut self,
        app_id: &str,
        version: i64,
        file: Option<NewFile>,
    ) -> Result<bool, Error> {
        self.settle().await?;
        if self.transaction(app_id).is_some_and(|held| held >= version) {
            return Ok(false);
        }
        let now = self.clock.now();
        let mut actions = vec![self.commit_info(now, "WRITE")];
        let transaction = Transaction { app_id: app_id.to_owned(), version, last_updated: Some(millis(now)) };
        actions.push(Action { txn: Some(transaction), ..Action::default() });
        // From here on a failure leaves open what took effect.
        self.unsure = true;
        if let Some(file) = file {
            let add = Add {
                path: file.name.clone(),
                partition_values: BTreeMap::new(),
                size: i64::try_from(file.bytes.len()).unwrap_or(i64::MAX),
                modification_time: millis(now),
                data_change: true,
                stats: Some(file.statistics.to_json()),
            };
            if !self.write(&file).await? {
                if self.transaction(app_id).is_some_and(|held| held >= version) {
                    return Ok(false);
                }
                return Err(Error::FileTaken { table: self.table.name(), file: file.name });
            }
            actions.push(Action { add: Some(add), ..Action::default() });
        }
        self.append_exactly_once(app_id, version, actions).await
    }

    /// Writes a data file; `false` where a commit names it already, which then stays as it is.
    ///
    /// The name is the batch's, so that a try after a crash overwrites the file of the try before, which no
    /// commit names yet. A file is entered in books only once its commit names it, so that is never one whose
    /// content somebody relies on.
    async fn write(&mut self, file: &NewFile) -> Result<bool, Error> {
        let path = self.folder.clone().join(file.name.as_str());
        let create = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path, file.bytes.clone().into(), create).await {
            Ok(_) => return Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // Only the log in the store knows what the file is, whatever this process remembers.
        self.refresh().await?;
        if self.snapshot.names(&file.name) {
            return Ok(false);
        }
        self.unsure = true;
        self.store.put(&path, file.bytes.clone().into()).await?;
        Ok(true)
    }

    async fn append_exactly_once(
        &mut self,
        app_id: &str,
        version: i64,
        actions: Vec<Action>,
    ) -> Result<bool, Error> {
        for _ in 0..Self::TRIES_MAX {
            if self.try_append(&actions).await? {
                self.unsure = false;
                self.checkpoint_when_due().await;
                return Ok(true);
            }
            self.refresh().await?;
            if self.transaction(app_id).is_some_and(|held| held >= version) {
                return Ok(false);
            }
            self.unsure = true;
        }
        Err(Error::Contended { table: self.table.name(), tries: Self::TRIES_MAX })
    }

    /// Commits actions that may not come twice by their nature.
    async fn append(&mut self, actions: Vec<Action>) -> Result<(), Error> {
        if !self.try_append(&actions).await? {
            self.refresh().await?;
        }
        Ok(())
    }

    /// Creates the next version; `false` where somebody else did.
    pub(super) async fn try_append(&mut self, actions: &[Action]) -> Result<bool, Error> {
        let version = self.snapshot.version + 1;
        let mut text = String::new();
        for action in actions {
            text.push_str(&serde_json::to_string(action).expect("actions are texts and numbers"));
            text.push('\n');
        }
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&self.names.commit(version), text.into(), options).await {
            Ok(_) => {
                let mut next = Snapshot::clone(&self.snapshot);
                next.apply(version, actions.iter().cloned());
                self.snapshot = Arc::new(next);
                Ok(true)
            }
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Follows the log to its end.
    async fn refresh(&mut self) -> Result<(), Error> {
        let name = self.table.name();
        if self.snapshot.version < 0 {
            self.snapshot = Arc::new(log::read(self.store.as_ref(), &self.names, name).await?);
        }
        let mut next = Snapshot::clone(&self.snapshot);
        while let Some(actions) =
            log::read_commit(self.store.as_ref(), &self.names, next.version + 1, name).await?
        {
            next.apply(next.version + 1, actions);
        }
        self.snapshot = Arc::new(next);
        self.unsure = false;
        Ok(())
    }

    /// The commit is done whether or not its checkpoint is; a failure is logged and made good by a later one.
    pub(super) async fn checkpoint_when_due(&self) {
        let snapshot = &self.snapshot;
        if snapshot.version == 0 || snapshot.version % Self::CHECKPOINT_INTERVAL != 0 {
            return;
        }
        let written = checkpoint::write(self.store.as_ref(), &self.names, snapshot, self.table.name()).await;
        if let Err(error) = written {
            tracing::warn!(table = self.table.name(), version = snapshot.version, %error, "no checkpoint");
        }
    }

    fn check(&self) -> Result<(), Error> {
        let table = self.table.name();
        let snapshot = &self.snapshot;
        let (Some(protocol), Some(metadata)) = (&snapshot.protocol, &snapshot.metadata) else {
            let why = "it names neither protocol nor schema".to_owned();
            return Err(Error::Damaged { table, version: snapshot.version, why });
        };
        let (reader, writer) = (protocol.min_reader_version, protocol.min_writer_version);
        if reader > 1 || writer > 2 {
            return Err(Error::TooNew { table, reader, writer });
        }
        if columns(&metadata.schema_string) != columns(&self.table.delta_schema()) {
            return Err(Error::Schema { table });
        }
        Ok(())
    }

    fn creation(&self) -> Vec<Action> {
        let now = self.clock.now();
        let configuration =
            [("delta.checkpointInterval".to_owned(), Self::CHECKPOINT_INTERVAL.to_string())].into();
        let metadata = Metadata {
            id: self.identifier(now),
            name: Some(self.table.name().to_owned()),
            description: None,
            format: Format { provider: "parquet".to_owned(), options: BTreeMap::new() },
            schema_string: self.table.delta_schema(),
            partition_columns: Vec::new(),
            created_time: Some(millis(now)),
            configuration,
        };
        let protocol = Protocol { min_reader_version: 1, min_writer_version: 2 };
        vec![
            self.commit_info(now, "CREATE TABLE"),
            Action { protocol: Some(protocol), ..Action::default() },
            Action { meta_data: Some(metadata), ..Action::default() },
        ]
    }

    /// Delta wants a GUID; ours is of version 8 (RFC 9562, section 5.8): the time of creation and the table's
    /// number.
    fn identifier(&self, now: UtcMicros) -> String {
        let time = now.0 as u64;
        let number = self.table.index();
        format!("{:08x}-{:04x}-8000-8000-{number:012x}", (time >> 16) as u32, time & 0xffff)
    }

    pub(super) fn commit_info(&self, now: UtcMicros, operation: &str) -> Action {
        let operation_parameters = match operation {
            "WRITE" => [("mode".to_owned(), Value::from("Append"))].into(),
            _ => BTreeMap::new(),
        };
        Action {
            commit_info: Some(CommitInfo {
                timestamp: millis(now),
                operation: operation.to_owned(),
                operation_parameters,
                is_blind_append: operation == "WRITE",
                engine_info: concat!("domicile/", env!("CARGO_PKG_VERSION")).to_owned(),
            }),
            ..Action::default()
        }
    }
}

pub(super) fn millis(instant: UtcMicros) -> i64 {
    instant.0.div_euclid(1_000)
}

/// Names and types of a schema; comments may change between versions.
fn columns(schema: &str) -> Option<Vec<(String, String)>> {
    let schema: Value = serde_json::from_str(schema).ok()?;
    let text = |field: &Value, name: &str| Some(field.get(name)?.as_str()?.to_owned());
    schema
        .get("fields")?
        .as_array()?
        .iter()
        .map(|field| Some((text(field, "name")?, text(field, "type")?)))
        .collect()
}
