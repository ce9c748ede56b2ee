//! Objects: whole, immutable or swapped as a whole, durable when a call returns.
//!
//! [`Objects`] is what the rooms use; [`DurableFolder`] is the local store beneath it. `object_store` 0.13's own local file
//! system never syncs a file or a folder and has no conditional update: this one does both.

mod folder;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::path::Path as FilePath;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};

pub use folder::DurableFolder;

use crate::Error;

/// Objects that are created side by side where the store has no way to make many durable at once.
const CREATES_AT_ONCE: usize = 16;

/// Which content of an object was read: what [`Objects::replace`] compares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version(Option<String>);

/// What became of a create.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Created {
    /// The object is new.
    New,
    /// There was one of this name, with whatever content; nothing was written.
    Exists,
}

/// An object store with synchronous calls. Clones are the same store.
///
/// A call may block its thread on the disk or the network; it works on threads of a `tokio` runtime and on others.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The same store, where it is a local folder, for what only that can do.
    folder: Option<Arc<DurableFolder>>,
}

impl Objects {
    /// The objects in a local folder, which is made where it is missing.
    pub fn local(folder: &FilePath) -> Result<Self, Error> {
        let folder = Arc::new(DurableFolder::open(folder)?);
        Ok(Self { store: Arc::clone(&folder) as Arc<dyn ObjectStore>, folder: Some(folder) })
    }

    /// The objects in a local folder, to be read only: nothing is made there, also not where the folder is missing.
    pub fn read_only(folder: &FilePath) -> Result<Self, Error> {
        let opened = object_store::local::LocalFileSystem::new_with_prefix(folder);
        let store = opened.map_err(Error::objects(format!("opening the store {}", folder.display())))?;
        Ok(Self { store: Arc::new(store), folder: None })
    }

    /// The objects of any other store.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, folder: None }
    }

    /// The store itself, for engines that read and write many objects.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// An object's content; `None` where there is none.
    pub fn read(&self, name: &Path) -> Result<Option<Bytes>, Error> {
        Ok(self.read_version(name)?.map(|(bytes, _)| bytes))
    }

    /// An object's content and its version; `None` where there is none.
    pub fn read_version(&self, name: &Path) -> Result<Option<(Bytes, Version)>, Error> {
        let answer = wait(async {
            let found = self.store.get(name).await?;
            let version = Version(found.meta.e_tag.clone());
            Ok((found.bytes().await?, version))
        });
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(Error::objects(format!("reading {name}"))(source)),
        }
    }

    /// Makes a new object; durable when it returns. Never overwrites.
    pub fn create(&self, name: &Path, bytes: impl Into<PutPayload>) -> Result<Created, Error> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match wait(self.store.put_opts(name, bytes.into(), options)) {
            Ok(_) => Ok(Created::New),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(Created::Exists),
            Err(source) => Err(Error::objects(format!("creating {name}"))(source)),
        }
    }

    /// Makes many new objects, durable when it returns; those that exist stay as they are. After an error any of them may exist.
    pub fn create_many(&self, objects: Vec<(Path, Bytes)>) -> Result<(), Error> {
        if let Some(folder) = &self.folder {
            return folder.create_many(&objects).map_err(Error::objects("creating many objects"));
        }
        let creates = futures::stream::iter(objects).map(|(name, bytes)| async move {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            match self.store.put_opts(&name, bytes.into(), options).await {
                Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
                Err(source) => Err(Error::objects(format!("creating {name}"))(source)),
            }
        });
        wait(creates.buffer_unordered(CREATES_AT_ONCE).try_collect())
    }

    /// Replaces an object that still has the content of `expected`; durable when it returns. `None` where it has another by now.
    pub fn replace(&self, name: &Path, bytes: Bytes, expected: &Version) -> Result<Option<Version>, Error> {
        let mode = PutMode::Update(UpdateVersion { e_tag: expected.0.clone(), version: None });
        let options = PutOptions { mode, ..PutOptions::default() };
        match wait(self.store.put_opts(name, bytes.into(), options)) {
            Ok(put) => Ok(Some(Version(put.e_tag))),
            Err(object_store::Error::Precondition { .. }) => Ok(None),
            Err(source) => Err(Error::objects(format!("replacing {name}"))(source)),
        }
    }

    /// Deletes an object, durably; none of that name is no error.
    pub fn delete(&self, name: &Path) -> Result<(), Error> {
        match wait(self.store.delete(name)) {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(Error::objects(format!("deleting {name}"))(source)),
        }
    }

    /// The names of the folders at the top of the store.
    pub fn folders(&self) -> Result<Vec<Path>, Error> {
        let listed =
            wait(self.store.list_with_delimiter(None)).map_err(Error::objects("listing the store"))?;
        Ok(listed.common_prefixes)
    }

    /// All objects under a folder, sorted by name.
    pub fn list(&self, folder: &Path) -> Result<Vec<ObjectMeta>, Error> {
        let mut found: Vec<ObjectMeta> = wait(self.store.list(Some(folder)).try_collect())
            .map_err(Error::objects(format!("listing {folder}")))?;
        found.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(found)
    }
}

/// Runs a future to its end on this thread. Unlike `Handle::block_on` it may be used on any thread, because it only parks it:
/// inside a runtime the store's own work goes to the runtime's blocking threads, outside it runs in place. What is waited for is
/// taken out of the runtime's cooperative budget: a task that has used its budget up would be told to yield, again and again,
/// to a runtime that this thread never goes back to.
pub(crate) fn wait<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(tokio::task::unconstrained(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}
