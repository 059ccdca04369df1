//! A running `routor serve`, the real binary in a home of its own, on a port
//! that the system chooses.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::PATIENCE;
use super::home::Home;
use super::http::Client;
use super::process::{COMMAND_LIMIT, Finished, Input, Process};

/// How long a start may take, validation of dead providers included.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How often the log is read while a record is waited for: the store is written
/// in batches, up to 200 ms late.
const LOG_POLL: Duration = Duration::from_millis(50);

/// What `serve` is to be started with.
#[derive(Default)]
pub struct Builder {
    home: Home,
    config: Option<String>,
    args: Vec<String>,
    no_port: bool,
}

impl Builder {
    /// Writes this file and names it with `--config`. Without it there is no
    /// file and no flag.
    pub fn config(mut self, toml: impl Into<String>) -> Self {
        self.config = Some(toml.into());
        self
    }

    /// Adds a variable, for this daemon and for the commands run beside it.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.home.set_env(name, value);
        self
    }

    /// Adds an argument to `serve`.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Leaves `--port 0` out: the file or an argument says where to listen.
    pub fn without_port(mut self) -> Self {
        self.no_port = true;
        self
    }

    /// Uses a home that was prepared, or left by a daemon before this one. To be
    /// called first: files and variables given before it are lost.
    pub fn home(mut self, home: Home) -> Self {
        self.home = home;
        self
    }

    /// Writes a file below the home before the start.
    pub fn file(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        self.home.write(name, text);
        self
    }

    fn spawn(self) -> (Home, Process) {
        let mut args = vec!["serve".to_owned()];
        if let Some(toml) = &self.config {
            let path = self.home.write(CONFIG_NAME, toml);
            args.extend(["--config".to_owned(), path.display().to_string()]);
        }
        if !self.no_port {
            args.extend(["--port".to_owned(), "0".to_owned()]);
        }
        args.extend(self.args);
        let process = self.home.spawn(&args, Input::Null);
        (self.home, process)
    }

    /// Starts it and waits until its port is open.
    ///
    /// # Panics
    /// When it ends before that, or takes longer than 20 s; with its output.
    #[track_caller]
    pub fn start(self) -> Daemon {
        let (home, process) = self.spawn();
        match process.errors().find(START_LIMIT, listening_port) {
            Ok(port) => Daemon { process, port, home },
            Err(stderr) if process.is_running() => panic!("routor serve did not open its port in {START_LIMIT:?}; stderr:\n{stderr}"),
            Err(_) => {
                let end = process.finish(PATIENCE);
                panic!("routor serve ended with {} before its port was open; stdout:\n{}\nstderr:\n{}", end.code, end.stdout, end.stderr)
            }
        }
    }

    /// Starts it and waits until it has ended by itself.
    ///
    /// # Panics
    /// When it still runs after 30 s.
    #[track_caller]
    pub fn start_expecting_exit(self) -> Finished {
        let (_home, process) = self.spawn();
        process.finish(COMMAND_LIMIT)
    }

    /// Starts it and waits for nothing; for starts that take their time.
    pub fn spawn_only(self) -> (Home, Process) {
        self.spawn()
    }
}

const CONFIG_NAME: &str = "routor.toml";

/// The port of the first line that is complete and says where routor listens.
fn listening_port(stderr: &str) -> Option<u16> {
    let complete = &stderr[..=stderr.rfind('\n')?];
    let (_, after) = complete.split_once("listening on http://127.0.0.1:")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// A daemon whose port is open. Killed when dropped.
pub struct Daemon {
    process: Process,
    port: u16,
    home: Home,
}

impl Daemon {
    /// A daemon that is not yet started.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A daemon with this configuration.
    #[track_caller]
    pub fn start(toml: impl Into<String>) -> Self {
        Self::builder().config(toml).start()
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A new connection to it.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.port)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The process itself.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its home.
    pub fn home(&self) -> &Home {
        &self.home
    }

    /// Its state folder.
    pub fn state_dir(&self) -> PathBuf {
        self.home.state_dir()
    }

    /// The file that `--config` names.
    pub fn config_path(&self) -> PathBuf {
        Path::new(self.home.path()).join(CONFIG_NAME)
    }

    /// Replaces the configuration file; the daemon is not told.
    pub fn rewrite_config(&self, toml: &str) {
        self.home.write(CONFIG_NAME, toml);
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.process.stderr()
    }

    /// Waits until standard error has this text; gives all of it so far.
    #[track_caller]
    pub fn wait_stderr(&self, text: &str) -> String {
        self.process.wait_stderr(text)
    }

    /// Sends a signal: `TERM`, `INT`, `HUP`, …
    #[track_caller]
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits until it has ended; gives the exit code, -1 when a signal ended it.
    #[track_caller]
    pub fn wait_exit(&self, bound: Duration) -> i32 {
        self.process.wait_exit(bound)
    }

    /// Kills it at once (SIGKILL), as a crash would.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Kills it when it still runs and gives its home, for a daemon after it.
    pub fn into_home(self) -> Home {
        self.process.kill();
        self.home
    }

    /// Runs another routor command with the same environment and state.
    #[track_caller]
    pub fn run(&self, args: &[impl AsRef<OsStr>]) -> Finished {
        self.home.run(args)
    }

    /// The same with this text on standard input.
    #[track_caller]
    pub fn run_with_stdin(&self, args: &[impl AsRef<OsStr>], text: &str) -> Finished {
        self.home.run_with_stdin(args, text)
    }

    /// Starts another routor command that goes on: `logs --follow`.
    pub fn spawn(&self, args: &[impl AsRef<OsStr>], input: Input) -> Process {
        self.home.spawn(args, input)
    }

    /// Every record of the request log, oldest first.
    ///
    /// # Panics
    /// When `routor logs` fails or prints a line that is not JSON.
    #[track_caller]
    pub fn logs(&self) -> Vec<Value> {
        let done = self.run(&["logs", "--all", "--json", "-n", "100000"]).expect_code(0);
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|problem| panic!("not JSON ({problem}): {line}"));
        done.stdout.lines().map(parse).collect()
    }

    /// Every record of the request log, once there are this many.
    #[track_caller]
    pub fn wait_logs(&self, count: usize) -> Vec<Value> {
        let until = Instant::now() + PATIENCE;
        loop {
            let records = self.logs();
            if records.len() >= count {
                return records;
            }
            assert!(Instant::now() < until, "waited {PATIENCE:?} for {count} records; there are {}: {records:#?}", records.len());
            thread::sleep(LOG_POLL);
        }
    }
}
