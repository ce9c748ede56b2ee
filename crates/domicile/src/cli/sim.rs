use crate::world::World;

/// Simulate vehicles
#[derive(clap::Args)]
pub(crate) struct Sim {}

impl Sim {
    pub(crate) fn run(self, _world: &World) -> anyhow::Result<()> {
        anyhow::bail!("this build has no `sim` yet")
    }
}
