//! A routor process and what became of it. Every wait has a bound, and the
//! process is killed when the test lets go of it.

use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::collect::Collected;
use super::{PATIENCE, lock};

/// How long a command that ends by itself may run.
pub const COMMAND_LIMIT: Duration = Duration::from_secs(30);
/// How often a process is asked whether it has ended.
const POLL: Duration = Duration::from_millis(3);

/// What a process reads on standard input.
#[derive(Clone, Debug, Default)]
pub enum Input {
    /// Nothing: the null device.
    #[default]
    Null,
    /// This text, then the end.
    Text(String),
    /// A pipe in which nothing comes until [`Process::close_input`].
    Open,
}

/// A process that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code; -1 when a signal ended it.
    pub code: i32,
    /// Everything on standard output.
    pub stdout: String,
    /// Everything on standard error.
    pub stderr: String,
}

impl Finished {
    /// Itself, when the exit code is this one.
    ///
    /// # Panics
    /// When it is another, with all output.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code; stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

/// A process that runs. Killed when dropped.
pub struct Process {
    child: Mutex<Child>,
    stdin: Mutex<Option<ChildStdin>>,
    stdout: Collected,
    stderr: Collected,
    what: String,
}

impl Process {
    /// Starts the command and collects its output.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(mut command: Command, input: Input) -> Self {
        let stdin = if matches!(input, Input::Null) { Stdio::null() } else { Stdio::piped() };
        let what = format!("{:?}", command.get_args().collect::<Vec<_>>());
        let spawned = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.unwrap_or_else(|problem| panic!("{command:?} cannot be started: {problem}"));
        let pipe = child.stdin.take();
        let kept = match (input, pipe) {
            (Input::Text(text), Some(mut pipe)) => {
                // In a thread: the process may write before it reads, or never read.
                thread::spawn(move || drop(pipe.write_all(text.as_bytes())));
                None
            }
            (_, pipe) => pipe,
        };
        let stdout = Collected::from(child.stdout.take().expect("a piped standard output"));
        let stderr = Collected::from(child.stderr.take().expect("a piped standard error"));
        Self { child: Mutex::new(child), stdin: Mutex::new(kept), stdout, stderr, what }
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        lock(&self.child).id()
    }

    /// Standard output so far.
    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until standard output has this text; gives all of it so far.
    #[track_caller]
    pub fn wait_stdout(&self, text: &str) -> String {
        self.wait_text(&self.stdout, text)
    }

    /// Waits until standard error has this text; gives all of it so far.
    #[track_caller]
    pub fn wait_stderr(&self, text: &str) -> String {
        self.wait_text(&self.stderr, text)
    }

    #[track_caller]
    fn wait_text(&self, output: &Collected, wanted: &str) -> String {
        let found = output.find(PATIENCE, |text| text.contains(wanted).then(|| text.to_owned()));
        found.unwrap_or_else(|text| panic!("{} did not say {wanted:?}; it said:\n{text}\nstderr:\n{}", self.what, self.stderr()))
    }

    /// Standard error, to be searched.
    pub(super) fn errors(&self) -> &Collected {
        &self.stderr
    }

    /// Sends a line or more to an open standard input.
    pub fn write_input(&self, text: &str) {
        if let Some(pipe) = lock(&self.stdin).as_mut() {
            let _ = pipe.write_all(text.as_bytes());
        }
    }

    /// Ends an open standard input.
    pub fn close_input(&self) {
        drop(lock(&self.stdin).take());
    }

    /// Sends a signal by its name without `SIG`: `TERM`, `INT`, `HUP`, `STOP`, …
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let order = format!("kill -s {name} {}", self.pid());
        let done = Command::new("sh").args(["-c", &order]).status();
        assert!(done.is_ok_and(|status| status.success()), "{order} failed; stderr of {}:\n{}", self.what, self.stderr());
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        matches!(lock(&self.child).try_wait(), Ok(None))
    }

    /// Waits until it has ended; gives the exit code, -1 when a signal ended it.
    #[track_caller]
    pub fn wait_exit(&self, bound: Duration) -> i32 {
        let until = Instant::now() + bound;
        loop {
            let asked = lock(&self.child).try_wait();
            match asked {
                Ok(Some(status)) => return status.code().unwrap_or(-1),
                Ok(None) if Instant::now() < until => thread::sleep(POLL),
                _ => panic!("{} still runs after {bound:?}; stdout:\n{}\nstderr:\n{}", self.what, self.stdout(), self.stderr()),
            }
        }
    }

    /// Waits until it has ended, and gives code and output.
    #[track_caller]
    pub fn finish(self, bound: Duration) -> Finished {
        let code = self.wait_exit(bound);
        // A process that it left behind may hold the pipes: not waited for longer.
        Finished { code, stdout: self.stdout.whole(PATIENCE), stderr: self.stderr.whole(PATIENCE) }
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    pub fn kill(&self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
