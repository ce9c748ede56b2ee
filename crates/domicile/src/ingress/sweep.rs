//! One task that keeps all connections' deadlines, so that none of them has a timer of its own.

use std::sync::Arc;
use std::time::Duration;

use super::connections::Nudge;
use super::dialogue::seconds;
use super::gate::Gate;

/// How often connections that have something to attend to are looked at: a vehicle that was slowed down reads on at most this
/// much later than it might.
const TICK: Duration = Duration::from_millis(500);

/// Ticks between looks at all connections' silence, at most; a short idle time is looked at more often.
const SILENCE_TICKS_MAX: u64 = 10;

/// Runs until it is dropped.
pub(crate) async fn sweep(gate: Arc<Gate>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut version = gate.registry.version();
    let silence_s = u32::try_from(gate.limits.idle_timeout_s / 2).unwrap_or(u32::MAX);
    let silence_ticks = (gate.limits.idle_timeout_s / 2).clamp(1, SILENCE_TICKS_MAX);
    for tick in 0_u64.. {
        ticks.tick().await;
        let now_s = seconds(gate.clock.monotonic());
        let is_silence_due = tick % silence_ticks == 0;
        gate.connections.for_each(|connection| {
            let is_overdue = || connection.silent_s(now_s) >= silence_s || connection.assurance().is_none();
            if connection.wants_attention() || (is_silence_due && is_overdue()) {
                connection.nudge(Nudge::Sweep);
            }
        });
        let current = gate.registry.version();
        if current != version {
            version = current;
            gate.connections.nudge_all(Nudge::Recheck);
        }
    }
}
