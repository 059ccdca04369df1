//! A fresh home folder and the environment of a routor process in it: nothing of
//! the machine that runs the tests gets in, `PATH` excepted.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::process::{COMMAND_LIMIT, Finished, Input, Process};

/// A temporary home, removed when dropped. Its path is short, as the path of a
/// local socket in it must be.
pub struct Home {
    folder: TempDir,
    env: Vec<(String, String)>,
}

impl Home {
    /// An empty home.
    ///
    /// # Panics
    /// When no temporary folder can be made.
    pub fn new() -> Self {
        let root = if cfg!(unix) { PathBuf::from("/tmp") } else { std::env::temp_dir() };
        let folder = tempfile::Builder::new().prefix("r").tempdir_in(root).expect("a temporary folder");
        Self { folder, env: Vec::new() }
    }

    /// The folder itself, which is `HOME`.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The state folder, which is `ROUTOR_STATE`; routor makes it.
    pub fn state_dir(&self) -> PathBuf {
        self.path().join("s")
    }

    /// The folder of `XDG_CONFIG_HOME`; routor's own file there would be
    /// `routor/routor.toml`.
    pub fn config_dir(&self) -> PathBuf {
        self.path().join("c")
    }

    /// Adds a variable for every process of this home.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Writes a file below the home, readable by its owner alone, in place of one
    /// that is there; gives its path.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        let folder = path.parent().expect("a folder above a file");
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, text)).expect("a file in the temporary home");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions of a file in the temporary home");
        }
        path
    }

    /// The routor binary with these arguments in this home, not yet started.
    pub fn command(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_routor"));
        command.args(args).current_dir(self.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path()).env("ROUTOR_STATE", self.state_dir()).env("XDG_CONFIG_HOME", self.config_dir());
        if cfg!(windows) {
            // Sockets do not open without these.
            let needed = ["SystemRoot", "TEMP"].map(|name| (name, std::env::var_os(name).unwrap_or_default()));
            command.envs(needed);
        }
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts routor with these arguments.
    pub fn spawn(&self, args: &[impl AsRef<OsStr>], input: Input) -> Process {
        Process::spawn(self.command(args), input)
    }

    /// Runs routor to its end, 30 s at most, without standard input.
    #[track_caller]
    pub fn run(&self, args: &[impl AsRef<OsStr>]) -> Finished {
        self.spawn(args, Input::Null).finish(COMMAND_LIMIT)
    }

    /// Runs routor to its end, 30 s at most, with this text on standard input.
    #[track_caller]
    pub fn run_with_stdin(&self, args: &[impl AsRef<OsStr>], text: &str) -> Finished {
        self.spawn(args, Input::Text(text.to_owned())).finish(COMMAND_LIMIT)
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

/// Runs one routor command in a home of its own, with these variables added.
#[track_caller]
pub fn routor(args: &[&str], env: &[(&str, &str)]) -> Finished {
    let mut home = Home::new();
    env.iter().for_each(|(name, value)| home.set_env(name, value));
    home.run(args)
}
