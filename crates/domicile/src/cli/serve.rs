use crate::world::World;

/// Run the data center
#[derive(clap::Args)]
pub(crate) struct Serve {}

impl Serve {
    pub(crate) fn run(self, _world: &World) -> anyhow::Result<()> {
        anyhow::bail!("this build has no `serve` yet")
    }
}
