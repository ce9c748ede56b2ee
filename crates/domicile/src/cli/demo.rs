use crate::world::World;

/// Run a whole center with a simulated fleet
#[derive(clap::Args)]
pub(crate) struct Demo {}

impl Demo {
    pub(crate) fn run(self, _world: &World) -> anyhow::Result<()> {
        anyhow::bail!("this build has no `demo` yet")
    }
}
