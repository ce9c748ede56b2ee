//! The derived tables while the center serves: one thread that works out the days whose signals have changed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use lake::{DerivedStatus, Deriver};
use model::{Clock, VehicleId};
use parking_lot::Mutex;

use crate::bell::Bell;

/// How often it is looked whether signals have changed: derived tables are as fresh as this and what a day takes.
const LOOK_TIME: Duration = Duration::from_secs(20);

/// After a day it rests so many times as long as the day took, up to [`REST_TIME_MAX`]: a fifth of one core at most, so that vehicles and
/// queries go first. Where a person has asked for it to be made anew it does not rest.
const REST_FACTOR: u32 = 4;
const REST_TIME_MAX: Duration = Duration::from_secs(120);
/// How soon it notices in its rest that a person waits.
const HURRY_LOOK_TIME: Duration = Duration::from_secs(1);

/// The thread, and what is asked of it meanwhile.
pub(crate) struct Derivers {
    desk: Arc<Desk>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Desk {
    deriver: Mutex<Deriver>,
    clock: Arc<dyn Clock>,
    bell: Bell,
    days: AtomicU64,
    failures: AtomicU64,
    is_failing: AtomicBool,
    /// Somebody waits: it goes on without rest until nothing is left to do.
    is_hurried: AtomicBool,
    /// How the tables stood when the deriver was free last.
    status: Mutex<DerivedStatus>,
}

impl Derivers {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(deriver: Deriver, clock: Arc<dyn Clock>) -> std::io::Result<Self> {
        let desk = Arc::new(Desk {
            status: Mutex::new(deriver.status()),
            deriver: Mutex::new(deriver),
            clock,
            bell: Bell::default(),
            days: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            is_failing: AtomicBool::new(false),
            is_hurried: AtomicBool::new(false),
        });
        let working = Arc::clone(&desk);
        let thread =
            std::thread::Builder::new().name("lake-deriver".to_owned()).spawn(move || working.run())?;
        Ok(Self { desk, thread: Mutex::new(Some(thread)) })
    }

    /// Throws everything away, so that it is made anew. Blocks while a day is worked out.
    ///
    /// # Errors
    /// What the lake says.
    pub(crate) fn rebuild(&self) -> Result<(), lake::Error> {
        self.desk.with_deriver(Deriver::discard)?;
        self.desk.is_hurried.store(true, Ordering::Relaxed);
        self.desk.bell.call();
        Ok(())
    }

    /// Throws away what may tell of a vehicle whose rows were erased. Blocks while a day is worked out.
    ///
    /// # Errors
    /// What the lake says.
    pub(crate) fn forget(&self, vehicle: VehicleId) -> Result<(), lake::Error> {
        self.desk.with_deriver(|deriver| deriver.forget(vehicle))?;
        self.desk.bell.call();
        Ok(())
    }

    /// How the tables stand; while a day is worked out, how they stood before.
    pub(crate) fn status(&self) -> DerivedStatus {
        let mut status = self.desk.status.lock();
        if let Some(deriver) = self.desk.deriver.try_lock() {
            *status = deriver.status();
        }
        status.clone()
    }

    /// Days worked out, and tries that failed, since the start; whether the last one failed.
    pub(crate) fn work(&self) -> (u64, u64, bool) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (load(&self.desk.days), load(&self.desk.failures), self.desk.is_failing.load(Ordering::Relaxed))
    }

    /// Ends the thread after its day. Blocks.
    pub(crate) fn finish(&self) {
        self.desk.bell.end();
        if self.thread.lock().take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("deriving ended by a defect of the program; the next start goes on with it");
        }
    }
}

impl Desk {
    fn run(&self) {
        while self.bell.rest(LOOK_TIME) {
            loop {
                let began = self.clock.monotonic();
                // One day at a time: who asks for something else comes in between.
                let done = self.with_deriver(|deriver| deriver.run(&mut || false));
                self.is_failing.store(done.is_err(), Ordering::Relaxed);
                match done {
                    Ok(0) => {
                        self.is_hurried.store(false, Ordering::Relaxed);
                        break;
                    }
                    Ok(days) => {
                        self.days.fetch_add(days, Ordering::Relaxed);
                    }
                    Err(error) => {
                        self.failures.fetch_add(1, Ordering::Relaxed);
                        tracing::warn!(%error, "a day of the derived tables could not be worked out; it is tried again");
                        break;
                    }
                }
                let took = self.clock.monotonic().saturating_sub(began);
                if !self.pause((took * REST_FACTOR).min(REST_TIME_MAX)) {
                    return;
                }
            }
        }
    }

    /// Does something with the deriver, when it is free, and notes how the tables stand then.
    fn with_deriver<T>(&self, act: impl FnOnce(&mut Deriver) -> T) -> T {
        let mut deriver = self.deriver.lock();
        let done = act(&mut deriver);
        *self.status.lock() = deriver.status();
        done
    }

    /// Waits for the time, unless somebody waits for the tables; `false` where the program ends.
    fn pause(&self, time: Duration) -> bool {
        let mut left = time;
        while !left.is_zero() && !self.is_hurried.load(Ordering::Relaxed) {
            let some = left.min(HURRY_LOOK_TIME);
            if !self.bell.pause(some) {
                return false;
            }
            left -= some;
        }
        true
    }
}
