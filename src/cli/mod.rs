//! The commands: what was typed becomes calls to the rooms below, and what
//! comes of them becomes text and an exit code.

mod args;
mod chat;
mod check;
mod config;
mod explain;
mod follow;
mod logs;
mod manage;
mod models;
mod prepare;
mod prompt;
mod screen;
mod serve;
mod table;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

pub use args::{Args, Command};

/// How a command ended; the numbers are contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what was asked.
    Done,
    /// The answer is no.
    No,
    /// Wrong usage or configuration, or nothing configured.
    Usage,
    /// The daemon is needed and does not run.
    NoDaemon,
    /// It was interrupted.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::No => 1,
            Exit::Usage => 2,
            Exit::NoDaemon => 3,
            Exit::Interrupted => 130,
        })
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let args = parse();
    let screen = screen::Screen::new(&args.common);
    crate::upstream::install_crypto();
    let runtime = match crate::system::runtime() {
        Ok(runtime) => runtime,
        Err(problem) => {
            screen.error(&format!("the system refuses to start a runtime: {problem}"));
            return Exit::No.into();
        }
    };
    let exit = runtime.block_on(async {
        match args.command {
            Command::Serve(serve) => serve::run(&args.common, &serve, &screen).await,
            Command::Check(check) => interruptible(check::run(&args.common, &check, &screen)).await,
            Command::Chat(chat) => interruptible(chat::run(&args.common, &chat, &screen)).await,
            Command::Logs(logs) => interruptible(logs::run(&args.common, &logs, &screen)).await,
            Command::Status(status) => interruptible(manage::status(&args.common, &status, &screen)).await,
            Command::Models(models) => interruptible(models::run(&args.common, &models, &screen)).await,
            Command::Config(config) => config::run(&args.common, &config, &screen),
            Command::Stop => interruptible(manage::stop(&args.common, &screen)).await,
            Command::Reload => interruptible(manage::reload(&args.common, &screen)).await,
        }
    });
    // A thread that still reads the terminal must not keep the process.
    runtime.shutdown_background();
    exit.into()
}

/// Reads the command line. `--color` counts for the messages about wrong
/// usage, too, which come before it has been read.
fn parse() -> Args {
    let typed: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let says = |choice: &str| {
        typed.iter().any(|arg| *arg == format!("--color={choice}")) || typed.windows(2).any(|pair| pair == ["--color", choice])
    };
    let colour = match (says("never"), says("always")) {
        (true, _) => clap::ColorChoice::Never,
        (_, true) => clap::ColorChoice::Always,
        _ => clap::ColorChoice::Auto,
    };
    let read = Args::command().color(colour).try_get_matches().and_then(|matches| Args::from_arg_matches(&matches));
    read.unwrap_or_else(|problem| {
        let exit = match problem.print() {
            Err(unprinted) if !problem.use_stderr() && unprinted.kind() != std::io::ErrorKind::BrokenPipe => 1,
            _ => problem.exit_code(),
        };
        std::process::exit(exit)
    })
}

/// Ends a command on Ctrl-C, with everything it holds dropped in order.
async fn interruptible(command: impl Future<Output = Exit>) -> Exit {
    tokio::select! {
        exit = command => exit,
        _ = tokio::signal::ctrl_c() => Exit::Interrupted,
    }
}
