//! What a process costs, as Linux counts it in /proc.

use std::time::Duration;

use anyhow::Context;
use rustix::process::Pid;

/// Ticks a second of the times in /proc/PID/stat: Linux's interface fixes USER_HZ at 100 on every architecture that this runs on.
const TICKS_PER_SECOND: u64 = 100;

/// CPU time of a process, all its threads, user and system (proc(5), stat fields 14 and 15).
pub(super) fn cpu(pid: Pid) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
        .context("reading the server's CPU time; this needs Linux")?;
    let ticks = ticks(&stat).context("/proc/PID/stat has another form than proc(5) says")?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND))
}

/// CPU time of the threads of a process whose names begin with `prefix`. Threads that have ended are not in it.
pub(super) fn cpu_of_threads(pid: Pid, prefix: &str) -> anyhow::Result<Duration> {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let mut sum = 0;
    for task in std::fs::read_dir(&tasks).context("reading the server's threads; this needs Linux")? {
        // A thread may end while it is read.
        let Ok(stat) = std::fs::read_to_string(task?.path().join("stat")) else { continue };
        let name = stat.split_once('(').and_then(|(_, rest)| Some(rest.rsplit_once(')')?.0));
        if name.is_some_and(|name| name.starts_with(prefix)) {
            sum += ticks(&stat).unwrap_or(0);
        }
    }
    Ok(Duration::from_millis(sum * 1_000 / TICKS_PER_SECOND))
}

/// KiB of memory now (`VmRSS`) and at most so far (`VmHWM`).
pub(super) fn memory_kib(pid: Pid) -> anyhow::Result<(u64, u64)> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))
        .context("reading the server's memory; this needs Linux")?;
    let field =
        |name: &str| field_kib(&status, name).with_context(|| format!("/proc/PID/status has no {name}"));
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// The program's name stands in parentheses and may hold spaces, so fields are counted behind it.
fn ticks(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(')')?;
    let mut fields = behind_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn field_kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{field_kib, ticks};

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let stat = "4242 (a (b) c) S 1 4242 4242 0 -1 4194560 100 0 0 0 321 45 0 0 20 0 5 0 100 0 0";
        assert_eq!(ticks(stat), Some(366));
        assert_eq!(ticks("4242 (a) S 1"), None);
    }

    #[test]
    fn memory_is_read_in_kib() {
        let status = "Name:\tx\nVmHWM:\t   12345 kB\nVmRSS:\t 678 kB\n";
        assert_eq!(field_kib(status, "VmRSS:"), Some(678));
        assert_eq!(field_kib(status, "VmHWM:"), Some(12_345));
        assert_eq!(field_kib(status, "VmSwap:"), None);
    }
}
