//! A store in memory of which the process is cut off at any operation, before or after that took effect.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// What goes wrong at an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    /// The number of the operation, from 0.
    pub(super) at: usize,
    /// Whether it takes effect and only its answer is lost.
    pub(super) takes_effect: bool,
    /// Whether nothing gets through from then on, as after a crash; else it is this one operation alone.
    pub(super) is_last: bool,
}

/// The store as one process reaches it. What it holds is shared and outlives it.
#[derive(Debug)]
pub(super) struct FaultyStore {
    inner: Arc<InMemory>,
    fault: Option<Fault>,
    operations: AtomicUsize,
}

/// What becomes of an operation.
#[derive(PartialEq, Eq)]
enum Fate {
    Done,
    Lost,
    AnswerLost,
}

impl FaultyStore {
    pub(super) fn new(inner: Arc<InMemory>, fault: Option<Fault>) -> Self {
        Self { inner, fault, operations: AtomicUsize::new(0) }
    }

    pub(super) fn operations(&self) -> usize {
        self.operations.load(Ordering::SeqCst)
    }

    fn fate(&self) -> Fate {
        let number = self.operations.fetch_add(1, Ordering::SeqCst);
        match self.fault {
            Some(fault) if number == fault.at && fault.takes_effect => Fate::AnswerLost,
            Some(fault) if number == fault.at || number > fault.at && fault.is_last => Fate::Lost,
            _ => Fate::Done,
        }
    }
}

fn lost() -> object_store::Error {
    object_store::Error::Generic { store: "FaultyStore", source: "the connection is gone".into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let fate = self.fate();
        if fate == Fate::Lost {
            return Err(lost());
        }
        let put = self.inner.put_opts(location, payload, options).await;
        if fate == Fate::AnswerLost { Err(lost()) } else { put }
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(lost())
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if self.fate() == Fate::Done { self.inner.get_opts(location, options).await } else { Err(lost()) }
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let fate = self.fate();
        let inner = Arc::clone(&self.inner);
        let deletes = locations.then(move |location| {
            let inner = Arc::clone(&inner);
            let (is_lost, is_answered) = (fate == Fate::Lost, fate == Fate::Done);
            async move {
                let location = location?;
                if is_lost {
                    return Err(lost());
                }
                inner.delete(&location).await?;
                if is_answered { Ok(location) } else { Err(lost()) }
            }
        });
        deletes.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.fate() {
            Fate::Done => self.inner.list(prefix),
            _ => futures::stream::iter([Err(lost())]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        if self.fate() == Fate::Done { self.inner.list_with_delimiter(prefix).await } else { Err(lost()) }
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(lost())
    }
}
