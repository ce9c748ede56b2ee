//! The lake's own threads.

use std::future::Future;

use tokio::runtime::{Builder, Handle, Runtime};

use crate::Error;

/// Queries run here, apart from the threads that serve vehicles, and the writer waits here for the object
/// store.
pub(crate) struct Threads(Option<Runtime>);

impl Threads {
    /// As many as queries are split into. More would take the cores from the vehicles.
    pub(crate) const COUNT: usize = 2;

    /// Planning a query recurses deeply, and without optimisation its frames are large: the usual 2 MiB are
    /// not enough for a query with some dozens of conditions. Only what is touched takes memory.
    const STACK_BYTES: usize = 16 << 20;

    pub(crate) fn start() -> Result<Self, Error> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(Self::COUNT)
            .thread_name("lake")
            .thread_stack_size(Self::STACK_BYTES)
            .enable_all()
            .build()
            .map_err(|error| Error::Threads(error.to_string()))?;
        Ok(Self(Some(runtime)))
    }

    pub(crate) fn handle(&self) -> &Handle {
        self.0.as_ref().expect("the runtime is taken only on drop").handle()
    }

    /// Waits for a future; must not be called on a thread of an async runtime.
    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.handle().block_on(future)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // Dropping a runtime waits for its threads, which an async caller must not do.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
