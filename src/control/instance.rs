//! One daemon for each state folder. The lock decides; the socket only tells.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;

use crate::paths::State;

/// This process's hold on its state folder; given back when it is dropped,
/// and by the system when the process dies in whatever way.
#[derive(Debug)]
pub struct Instance {
    _lock: File,
}

/// The state folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// Another daemon has it; the process id is what it wrote down.
    #[error("routor already runs here{}", .0.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Running(Option<u32>),
    /// The lock file cannot be used.
    #[error("{0} cannot be locked: {1}")]
    Unusable(PathBuf, io::Error),
}

impl Instance {
    /// Takes the state folder, or finds who has it.
    pub fn acquire(state: &State) -> Result<Self, InstanceError> {
        let path = state.lock();
        let unusable = |problem| InstanceError::Unusable(path.clone(), problem);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut lock = options.open(&path).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = (&lock).take(32).read_to_string(&mut text);
                return Err(InstanceError::Running(text.trim().parse().ok()));
            }
            Err(TryLockError::Error(problem)) => return Err(unusable(problem)),
        }
        let write = |lock: &mut File| -> io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        write(&mut lock).map_err(unusable)?;
        Ok(Self { _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time_who_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::at(folder.path().to_owned());
        let first = Instance::acquire(&state).unwrap();
        let second = Instance::acquire(&state);
        assert!(matches!(second, Err(InstanceError::Running(Some(pid))) if pid == std::process::id()), "{second:?}");
        drop(first);
        assert!(Instance::acquire(&state).is_ok());
    }
}
