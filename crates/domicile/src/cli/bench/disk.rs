//! The disk's own flush times, so that ack latencies can be judged on any machine.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::world::World;

/// What the journal writes at a middling rate.
const APPEND_BYTES: usize = 64 * 1024;
const APPENDS: usize = 200;

/// Flush times of the disk under a folder.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flushes {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
}

/// Appends 64 KiB with `fdatasync` to a preallocated file, 200 times.
pub(super) fn measure(folder: &Path, world: &World) -> anyhow::Result<Flushes> {
    let path = folder.join("flush-test");
    let mut file = File::create_new(&path).with_context(|| path.display().to_string())?;
    let block = vec![0x5a; APPEND_BYTES];
    for _ in 0..APPENDS {
        file.write_all(&vec![0; APPEND_BYTES])?;
    }
    file.sync_all()?;
    file.seek(SeekFrom::Start(0))?;
    let mut times = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let before = world.clock.monotonic();
        file.write_all(&block)?;
        file.sync_data()?;
        times.push(world.clock.monotonic() - before);
    }
    std::fs::remove_file(&path)?;
    times.sort_unstable();
    Ok(Flushes { p50: times[APPENDS / 2], p99: times[APPENDS * 99 / 100] })
}
