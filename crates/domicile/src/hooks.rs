//! What happens in this center when others say or leave something: its rooms, as the peers' threads call them.

use std::sync::Arc;

use crate::assemble::Flow;
use crate::ingress::connections::Nudge;
use crate::ingress::gate::Gate;
use crate::peer::Hooks;

/// The hooks of a serving center. Called inside the runtime.
pub(crate) fn hooks(gate: &Arc<Gate>, flow: &Flow) -> Hooks {
    let (gate, journal, eraser) = (gate.clone(), flow.journal.clone(), flow.eraser.clone());
    let on_adopted = Box::new(move |adopted: &registry::Adopted| {
        if let Some(version) = adopted.version {
            journal.raise_barrier(version);
            gate.connections.nudge_all(Nudge::Recheck);
        }
        adopted.erased.iter().for_each(|vin| gate.diary.forget(vin));
        if adopted.erasures > 0 {
            eraser.call();
        }
    });
    #[cfg(feature = "lake")]
    if let Some(lake) = flow.lake().cloned() {
        let (shown, runtime) = (lake.clone(), tokio::runtime::Handle::current());
        return Hooks {
            on_held: crate::tables::show_copies(shown),
            on_adopted,
            tabled: Box::new(move |center, gateway| {
                let through = runtime.block_on(lake.copy_progress(center, gateway))?;
                lake.learn_copy(center)?;
                Ok(Some(through))
            }),
        };
    }
    Hooks { on_held: Box::new(|_| {}), on_adopted, tabled: Box::new(|_, _| Ok(None)) }
}
