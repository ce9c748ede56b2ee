//! A local folder as an object store that survives a loss of power.
//!
//! A put writes a staged file, syncs it, links or renames it to its name and syncs the folder (and those above it that are
//! new). So a name never shows an unfinished object, and what was put stays put.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;

use crate::Error;
use crate::disk::create_folder_durable;
use crate::paths::STAGING_FOLDER;

/// Deletions that run side by side.
const DELETES_AT_ONCE: usize = 8;

/// A local folder as a durable object store. One process at a time may write to it (see `Store::open`).
#[derive(Debug)]
pub struct DurableFolder {
    inner: LocalFileSystem,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// Names staged files; unique within this process, and the staging folder is emptied at each start.
    staged: AtomicU64,
    /// Held from the comparison to the rename of a conditional update. Plain overwrites take it too.
    swap: Mutex<()>,
}

impl DurableFolder {
    /// Opens the folder, makes it where it is missing, and removes what unfinished puts left.
    pub fn open(root: &FilePath) -> std::result::Result<Self, Error> {
        let doing = || format!("opening the store {}", root.display());
        let staging = root.join(STAGING_FOLDER);
        create_folder_durable(&staging).map_err(Error::disk(doing()))?;
        for entry in std::fs::read_dir(&staging).map_err(Error::disk(doing()))? {
            let entry = entry.map_err(Error::disk(doing()))?;
            std::fs::remove_file(entry.path()).map_err(Error::disk(doing()))?;
        }
        let root = root.canonicalize().map_err(Error::disk(doing()))?;
        let inner = LocalFileSystem::new_with_prefix(&root).map_err(Error::objects(doing()))?;
        let shared = Shared { root, staged: AtomicU64::new(0), swap: Mutex::new(()) };
        Ok(Self { inner, shared: Arc::new(shared) })
    }

    /// Makes many new objects with three flushes of the file system in all; existing ones stay as they are.
    pub(super) fn create_many(&self, objects: &[(Path, Bytes)]) -> Result<()> {
        let mut staged = Vec::with_capacity(objects.len());
        for (name, bytes) in objects {
            let target = self.inner.path_to_filesystem(name)?;
            let (mut file, source) = self.shared.stage().map_err(generic)?;
            file.write_all(bytes).map_err(generic)?;
            staged.push((source, target));
        }
        let root = File::open(&self.shared.root).map_err(generic)?;
        // `syncfs` reports write errors since Linux 5.8; it is one flush for all files where `fsync` is one for each.
        rustix::fs::syncfs(&root).map_err(generic)?;
        for (source, target) in staged {
            self.shared.make_parent(&target).map_err(generic)?;
            match std::fs::hard_link(&source, &target) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(generic(error)),
            }
            std::fs::remove_file(&source).map_err(generic)?;
        }
        rustix::fs::syncfs(&root).map_err(generic)
    }
}

impl fmt::Display for DurableFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DurableFolder({})", self.shared.root.display())
    }
}

#[async_trait]
impl ObjectStore for DurableFolder {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        if !options.attributes.is_empty() {
            return Err(object_store::Error::NotImplemented {
                operation: "`put_opts` with attributes".into(),
                implementer: self.to_string(),
            });
        }
        let target = self.inner.path_to_filesystem(location)?;
        let shared = Arc::clone(&self.shared);
        let expected = match options.mode {
            PutMode::Create => {
                blocking(move || shared.create(&payload, &target)).await?;
                return Ok(self.put_result(location).await);
            }
            PutMode::Overwrite => None,
            PutMode::Update(version) => Some(version.e_tag),
        };
        // The tag is compared under the lock, on the blocking thread, by the inner store's own idea of it.
        let inner = self.inner.clone();
        let name = location.clone();
        blocking(move || {
            let _swap = shared.swap.lock();
            if let Some(expected) = expected {
                let current = super::wait(inner.head(&name));
                check_tag(&name, current, expected.as_deref())?;
            }
            shared.replace(&payload, &target)?;
            Ok(PutResult { e_tag: super::wait(inner.head(&name))?.e_tag, version: None })
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        if !options.attributes.is_empty() {
            return Err(object_store::Error::NotImplemented {
                operation: "`put_multipart_opts` with attributes".into(),
                implementer: self.to_string(),
            });
        }
        let target = self.inner.path_to_filesystem(location)?;
        let (file, staged) = self.shared.stage().map_err(generic)?;
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(Upload { file: Arc::new(file), staged, target, offset: 0, shared }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let inner = self.inner.clone();
        let shared = Arc::clone(&self.shared);
        locations
            .map(move |location| {
                let (inner, shared) = (inner.clone(), Arc::clone(&shared));
                async move {
                    let location = location?;
                    let target = inner.path_to_filesystem(&location)?;
                    inner.delete(&location).await?;
                    blocking(move || shared.sync_parent(&target).map_err(generic)).await?;
                    Ok(location)
                }
            })
            .buffered(DELETES_AT_ONCE)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix).try_filter(|meta| std::future::ready(!is_staging(&meta.location))).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut found = self.inner.list_with_delimiter(prefix).await?;
        found.common_prefixes.retain(|folder| !is_staging(folder));
        found.objects.retain(|meta| !is_staging(&meta.location));
        Ok(found)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        // The source was synced when it was put; a copy is a further name for it.
        let target = self.inner.path_to_filesystem(to)?;
        let shared = Arc::clone(&self.shared);
        let parent = target.clone();
        blocking(move || shared.make_parent(&parent).map_err(generic)).await?;
        self.inner.copy_opts(from, to, options).await?;
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.sync_parent(&target).map_err(generic)).await
    }
}

impl DurableFolder {
    async fn put_result(&self, location: &Path) -> PutResult {
        // The object is durable; that its tag can't be read (it may be deleted already) is no failure of the put.
        PutResult { e_tag: self.inner.head(location).await.ok().and_then(|meta| meta.e_tag), version: None }
    }
}

impl Shared {
    /// A new file to write an object into, and its path.
    fn stage(&self) -> io::Result<(File, PathBuf)> {
        let number = self.staged.fetch_add(1, Ordering::Relaxed);
        // Names with `#` and digits are none to the inner store, so no listing shows them.
        let path = self.root.join(STAGING_FOLDER).join(format!("put#{number}"));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((file, path))
    }

    fn stage_synced(&self, payload: &PutPayload) -> io::Result<PathBuf> {
        let (mut file, staged) = self.stage()?;
        let written = payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| file.sync_all());
        written.map(|()| staged.clone()).inspect_err(|_| remove_staged(&staged))
    }

    fn create(&self, payload: &PutPayload, target: &FilePath) -> Result<()> {
        let staged = self.stage_synced(payload).map_err(generic)?;
        let linked = self.make_parent(target).and_then(|()| std::fs::hard_link(&staged, target));
        remove_staged(&staged);
        match linked {
            Ok(()) => self.sync_parent(target).map_err(generic),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Who made it may have crashed before its folder was synced; who hears "it exists" relies on it.
                self.sync_parent(target).map_err(generic)?;
                Err(object_store::Error::AlreadyExists {
                    path: target.display().to_string(),
                    source: error.into(),
                })
            }
            Err(error) => Err(generic(error)),
        }
    }

    fn replace(&self, payload: &PutPayload, target: &FilePath) -> Result<()> {
        let staged = self.stage_synced(payload).map_err(generic)?;
        self.rename(&staged, target).map_err(generic)
    }

    fn rename(&self, staged: &FilePath, target: &FilePath) -> io::Result<()> {
        let renamed = self.make_parent(target).and_then(|()| std::fs::rename(staged, target));
        renamed.inspect_err(|_| remove_staged(staged))?;
        self.sync_parent(target)
    }

    fn make_parent(&self, target: &FilePath) -> io::Result<()> {
        target.parent().map_or(Ok(()), create_folder_durable)
    }

    fn sync_parent(&self, target: &FilePath) -> io::Result<()> {
        target.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    }
}

/// An upload in parts, which lie one after the other in the order in which they were put.
#[derive(Debug)]
struct Upload {
    file: Arc<File>,
    staged: PathBuf,
    target: PathBuf,
    offset: u64,
    shared: Arc<Shared>,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let file = Arc::clone(&self.file);
        let mut offset = self.offset;
        self.offset += payload.content_length() as u64;
        Box::pin(blocking(move || {
            for part in &payload {
                file.write_all_at(part, offset).map_err(generic)?;
                offset += part.len() as u64;
            }
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (file, shared) = (Arc::clone(&self.file), Arc::clone(&self.shared));
        let (staged, target) = (self.staged.clone(), self.target.clone());
        blocking(move || {
            file.sync_all().map_err(generic)?;
            let _swap = shared.swap.lock();
            shared.rename(&staged, &target).map_err(generic)?;
            Ok(PutResult { e_tag: None, version: None })
        })
        .await
    }

    async fn abort(&mut self) -> Result<()> {
        remove_staged(&self.staged);
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // After `complete` there is nothing of this name any more.
        remove_staged(&self.staged);
    }
}

fn check_tag(name: &Path, current: Result<ObjectMeta>, expected: Option<&str>) -> Result<()> {
    let failed = |why: &str| object_store::Error::Precondition { path: name.to_string(), source: why.into() };
    match current {
        Ok(meta) if expected.is_some() && meta.e_tag.as_deref() == expected => Ok(()),
        Ok(_) => Err(failed("the object has another content by now")),
        Err(object_store::Error::NotFound { .. }) => Err(failed("the object is gone")),
        Err(error) => Err(error),
    }
}

fn is_staging(location: &Path) -> bool {
    location.parts().next().is_some_and(|part| part.as_ref() == STAGING_FOLDER)
}

fn remove_staged(path: &FilePath) {
    // A staged file that stays is removed at the next start; the put's own outcome matters more.
    let _ = std::fs::remove_file(path);
}

fn generic(source: impl Into<io::Error>) -> object_store::Error {
    object_store::Error::Generic { store: "DurableFolder", source: source.into().into() }
}

/// Runs blocking work on the runtime's blocking threads, or in place where there is no runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}
