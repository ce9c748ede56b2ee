//! Letting vehicles go: while the charter says that no more of them are to be sent here, connections are closed one after the other,
//! spread over time, each once it has the answers that it is owed. Whoever comes back, because a name still leads here, is served and
//! let go again: a center refuses no vehicle because of its own state.

use std::sync::Arc;
use std::time::Duration;

use model::CenterName;
use tokio::sync::watch;

use super::connections::{Connections, Nudge};
use crate::charter::{Charters, State};

/// How far apart connections are closed.
const STEP_TIME: Duration = Duration::from_secs(1);

/// Looks after it until the program ends. `seconds` is how long those that are there at first take to be closed.
pub(crate) async fn drain(
    connections: Arc<Connections>,
    charters: Arc<Charters>,
    own: CenterName,
    seconds: u32,
    mut stop: watch::Receiver<bool>,
) {
    let mut versions = charters.subscribe();
    let is_draining = || charters.member(&own).is_some_and(|member| member.state == State::Draining);
    let mut at_once = 0;
    loop {
        if is_draining() {
            let count = connections.count();
            if at_once == 0 {
                at_once = share(count, seconds);
                tracing::warn!(
                    connections = count,
                    seconds,
                    "this center is drained: its connections are closed one after the other"
                );
            }
            connections.nudge_oldest(at_once, Nudge::Shutdown);
        } else {
            at_once = 0;
        }
        tokio::select! {
            _ = stop.wait_for(|is_stopped| *is_stopped) => return,
            changed = versions.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(STEP_TIME), if at_once > 0 => {}
        }
    }
}

/// Connections that are closed with each step.
fn share(count: usize, seconds: u32) -> usize {
    count.div_ceil(usize::try_from(seconds).unwrap_or(usize::MAX).max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn all_are_closed_in_time_and_none_faster_than_need_be() {
        for (count, seconds) in [(0, 600), (1, 600), (599, 600), (601, 600), (100_000, 600), (5, 0)] {
            let share = share(count, seconds);
            assert!(share * seconds.max(1) as usize >= count, "{count} in {seconds} s");
            assert!(share == 1 || (share - 1) * (seconds.max(1) as usize) < count, "{count} in {seconds} s");
        }
    }
}
