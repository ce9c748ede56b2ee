//! A machine's objects: each is durable or not there when the power goes, and the store fails on command.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use model::CenterName;
use object_store::memory::InMemory;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use store::{Names, ObjectKind, ObjectPath};

use super::world::Power;

/// The store.
pub(super) struct SimObjects {
    inner: InMemory,
    own: Names,
    power: Arc<Power>,
    /// So many operations fail.
    failures: AtomicU32,
    /// Keys of copies are not deleted: a mirror that forgets erasures.
    keeps_copied_keys: bool,
}

impl SimObjects {
    pub(super) fn new(own: &CenterName, power: Arc<Power>, keeps_copied_keys: bool) -> Self {
        let (inner, failures) = (InMemory::new(), AtomicU32::new(0));
        Self { inner, own: Names::new(own.clone()), power, failures, keeps_copied_keys }
    }

    pub(super) fn fail(&self, operations: u32) {
        self.failures.store(operations, Ordering::Relaxed);
    }

    /// Puts what lay there before the simulation began.
    pub(super) fn lay(&self, name: &ObjectPath, bytes: Bytes) {
        let put = self.inner.put_opts(name, bytes.into(), PutOptions::default());
        put.now_or_never().expect("memory does not wait").expect("memory takes everything");
    }

    fn operate<T>(&self, operation: impl FnOnce() -> Result<T>) -> Result<T> {
        let fails =
            self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if fails.is_ok() {
            return failed("the simulated store fails");
        }
        self.power.operate(operation, || failed("the machine has no power"))
    }
}

fn failed<T>(why: &str) -> Result<T> {
    Err(Error::Generic { store: "SimObjects", source: why.into() })
}

fn now<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    future.now_or_never().expect("memory does not wait")
}

impl fmt::Debug for SimObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimObjects")
    }
}

impl fmt::Display for SimObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimObjects")
    }
}

#[async_trait]
impl ObjectStore for SimObjects {
    async fn put_opts(
        &self,
        name: &ObjectPath,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.operate(|| now(self.inner.put_opts(name, payload, options)))
    }

    async fn put_multipart_opts(
        &self,
        name: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(name, options).await
    }

    async fn get_opts(&self, name: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(name, options).await
    }

    fn delete_stream(
        &self,
        names: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        let names: Vec<_> = names.collect::<Vec<_>>().now_or_never().expect("names are known");
        let deleted = names.into_iter().map(|name| {
            let name = name?;
            let is_copied_key =
                self.own.kind(&name) == ObjectKind::Foreign && name.as_ref().contains("/keyring/");
            if self.keeps_copied_keys && is_copied_key {
                return Ok(name);
            }
            self.operate(|| {
                let one = futures::stream::once(std::future::ready(Ok(name.clone()))).boxed();
                now(async { self.inner.delete_stream(one).next().await.unwrap_or(Ok(name.clone())) })
            })
        });
        futures::stream::iter(deleted.collect::<Vec<_>>()).boxed()
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.operate(|| now(self.inner.copy_opts(from, to, options)))
    }
}
