//! What the process asks of the operating system for itself: open files, and
//! that a crash leaves no image of its memory.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Open files that are not connections: the log, the sockets, the terminal.
const OTHERS: u64 = 64;
/// A machine that allows more open files is not asked to serve more than this.
const MOST_CONNECTIONS: u64 = 50_000;

/// Raises the soft limit of open files to the hard one; gives what is allowed
/// then, `None` where there is no such limit.
pub fn raise_open_files() -> Option<u64> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let (current, maximum) = (limit.current?, limit.maximum);
        let raised = Rlimit { current: maximum, maximum };
        // macOS refuses what its kernel has no room for; the old limit stays then.
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => maximum,
            Err(_) => Some(current),
        }
    }
    #[cfg(not(unix))]
    None
}

/// A runtime on the calling thread. Its one thread for blocking work is started
/// at once and kept: a machine that has no more threads to give then makes work
/// wait, and does not make a request fail.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    /// Longer than any process runs.
    const KEPT: Duration = Duration::from_secs(365 * 24 * 3600);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().thread_keep_alive(KEPT).build()?;
    runtime.spawn_blocking(|| {});
    Ok(runtime)
}

/// How many clients may be connected when so many files may be open: each may
/// need a connection to a provider as well.
pub fn connections_for(open_files: Option<u64>) -> usize {
    let most = open_files.map_or(MOST_CONNECTIONS, |files| (files.saturating_sub(OTHERS) / 2).clamp(16, MOST_CONNECTIONS));
    usize::try_from(most).unwrap_or(usize::MAX)
}

/// Keys are in the memory: a crash leaves no image of it on the disk, and no
/// other process of the user can read it.
pub fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    #[cfg(all(unix, not(target_os = "linux")))]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

/// The user that this process runs as.
#[cfg(unix)]
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Something that is said at most once a minute.
#[derive(Debug, Default)]
pub struct Complaint(Mutex<Option<Instant>>);

impl Complaint {
    /// Says it, unless that was done a moment ago; whether it did.
    pub fn make(&self, say: impl FnOnce()) -> bool {
        const EVERY: Duration = Duration::from_secs(60);
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last.elapsed() < EVERY) {
            return false;
        }
        *last = Some(Instant::now());
        drop(last);
        say();
        true
    }
}

/// Notices that the machine has slept, or this process has stood still: more
/// time has gone by between two looks than between two looks of one that runs.
#[derive(Debug)]
pub struct SleepWatch {
    since: (Instant, SystemTime),
    every: Duration,
}

/// A busy machine may be late by so much.
const LATE: Duration = Duration::from_secs(20);

impl SleepWatch {
    /// A watch that is looked at `every` so long, from `now` on.
    pub fn new(every: Duration, now: (Instant, SystemTime)) -> Self {
        Self { since: now, every }
    }

    /// Looks; how long the machine has slept, if it has. Both clocks are asked,
    /// since the monotonic one stands still during sleep on some systems, and
    /// the other is set by people.
    pub fn slept(&mut self, now: (Instant, SystemTime)) -> Option<Duration> {
        let since = std::mem::replace(&mut self.since, now);
        let gone = now.0.saturating_duration_since(since.0).max(now.1.duration_since(since.1).unwrap_or_default());
        gone.checked_sub(self.every).filter(|late| *late > LATE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d159_sleep_is_noticed_and_lateness_is_not_sleep() {
        let (start, wall, second) = (Instant::now(), SystemTime::now(), Duration::from_secs(1));
        for (mono, other, slept) in
            [(5, 5, None), (5, 24, None), (5, 3605, Some(3600)), (3605, 3605, Some(3600)), (8 * 3600 + 5, 5, Some(8 * 3600)), (0, 0, None)]
        {
            let mut watch = SleepWatch::new(5 * second, (start, wall));
            assert_eq!(watch.slept((start + mono * second, wall + other * second)), slept.map(Duration::from_secs), "{mono} {other}");
        }
        let mut watch = SleepWatch::new(5 * second, (start, wall));
        assert_eq!(watch.slept((start + 5 * second, wall - 86_400 * second)), None, "a clock that is set back");
        assert_eq!(watch.slept((start + 10 * second, wall - 86_395 * second)), None, "and goes on");
    }

    #[test]
    fn connections_leave_room_for_those_to_providers() {
        for (files, most) in [(None, 50_000), (Some(1024), 480), (Some(1 << 20), 50_000), (Some(10), 16), (Some(0), 16)] {
            assert_eq!(connections_for(files), most, "{files:?}");
        }
    }
}
