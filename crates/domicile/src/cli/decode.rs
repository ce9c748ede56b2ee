use crate::world::World;

/// Decode frames from standard input
#[derive(clap::Args)]
pub(crate) struct Decode {}

impl Decode {
    pub(crate) fn run(self, _world: &World) -> anyhow::Result<()> {
        anyhow::bail!("this build has no `decode` yet")
    }
}
