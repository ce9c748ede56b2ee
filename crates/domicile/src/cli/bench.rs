use crate::world::World;

/// Measure
#[derive(clap::Args)]
pub(crate) struct Bench {}

impl Bench {
    pub(crate) fn run(self, _world: &World) -> anyhow::Result<()> {
        anyhow::bail!("this build has no `bench` yet")
    }
}
