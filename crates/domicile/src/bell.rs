//! What a thread that works now and then waits by: for its time, for somebody who calls it, for the end of the program.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Rung from outside; the thread rests by it.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    rung: Condvar,
}

#[derive(Default)]
struct State {
    is_called: bool,
    is_ending: bool,
}

impl Bell {
    /// Tells that there is something to do.
    pub(crate) fn call(&self) {
        self.state.lock().is_called = true;
        self.rung.notify_all();
    }

    /// Lets the thread end after its step.
    pub(crate) fn end(&self) {
        self.state.lock().is_ending = true;
        self.rung.notify_all();
    }

    /// Waits until it is called; `false` where the program ends.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.state.lock();
        self.rung.wait_while(&mut state, |state| !state.is_called && !state.is_ending);
        state.is_called = false;
        !state.is_ending
    }

    /// Waits for the time, or until it is called; `false` where the program ends.
    pub(crate) fn rest(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        let is_idle = |state: &mut State| !state.is_called && !state.is_ending;
        let _either_way = self.rung.wait_while_for(&mut state, is_idle, time);
        state.is_called = false;
        !state.is_ending
    }

    /// Waits for the time, whoever calls; `false` where the program ends.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        let _either_way = self.rung.wait_while_for(&mut state, |state| !state.is_ending, time);
        !state.is_ending
    }
}
