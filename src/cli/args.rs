//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::catalog::Tier;

/// A failover proxy for LLM APIs: one OpenAI-compatible address on loopback
/// that keeps answering when a provider fails.
#[derive(Debug, Parser)]
#[command(name = "routor", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Args {
    /// What every command takes.
    #[command(flatten)]
    pub common: Common,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str =
    "Exit codes: 0 done; 1 the answer is no; 2 wrong usage or configuration; 3 the daemon is needed and not running; 130 interrupted.";

/// Flags before or after any command.
#[derive(Debug, Clone, ClapArgs)]
pub struct Common {
    /// The configuration file [default: $ROUTOR_CONFIG, or routor.toml in the platform's configuration folder]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The state folder; each is an independent instance [default: $ROUTOR_STATE, or the platform's place]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// Say more (-vv: everything)
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// When to use colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the providers, then serve the proxy until stopped
    Serve(Serve),
    /// Check which providers can be used; the exit code tells
    Check(Check),
    /// Send one prompt through the failover chain and print the completion
    Chat(Chat),
    /// Show past requests, and follow fallbacks as they happen
    Logs(Logs),
    /// Show whether the daemon runs and how its providers are
    Status(Status),
    /// Show what can be asked for
    Models(Models),
    /// Make or show the configuration
    Config(Config),
    /// Stop the daemon
    Stop,
    /// Make the daemon read its configuration and key files again
    Reload,
}

/// `routor serve`.
#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// The address to listen on, instead of the configuration's
    #[arg(long, value_name = "ADDR:PORT", conflicts_with = "port")]
    pub listen: Option<SocketAddr>,
    /// The loopback port to listen on; 0 takes a free one
    #[arg(short, long, value_name = "PORT", value_parser = read_port)]
    pub port: Option<u16>,
    /// Serve three simulated providers, of which the first fails; no key is needed
    #[arg(long)]
    pub demo: bool,
    /// When no provider can be used, ask again every 5 s, for so long (without a time: until one can)
    #[arg(long, value_name = "TIME", num_args = 0..=1, default_missing_value = "365d", value_parser = read_time)]
    pub wait: Option<Duration>,
}

/// `routor check`.
#[derive(Debug, ClapArgs)]
pub struct Check {
    /// Check only this provider (may be given several times)
    #[arg(long = "provider", value_name = "NAME")]
    pub providers: Vec<String>,
    /// How to print the result
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: CheckFormat,
    /// Also tell which chains would still have an answer without this provider (may be given several times)
    #[arg(long, value_name = "PROVIDER")]
    pub without: Vec<String>,
    /// Also make one small real call to each provider, which it bills
    #[arg(long)]
    pub live: bool,
    /// How long a provider may take to answer [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    pub timeout: Option<Duration>,
    /// Fail on warnings too
    #[arg(long)]
    pub strict: bool,
    /// A provider without a key is a warning, not a failure
    #[arg(long)]
    pub allow_missing: bool,
}

/// `routor chat`.
#[derive(Debug, ClapArgs)]
pub struct Chat {
    /// The prompt; the words are joined by spaces. `-` alone reads it from standard input
    #[arg(value_name = "PROMPT")]
    pub prompt: Vec<String>,
    /// A model, a tier, an alias, or auto
    #[arg(short, long, value_name = "MODEL", conflicts_with = "tier")]
    pub model: Option<String>,
    /// The tier whose chain is asked: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX
    #[arg(short, long, value_name = "TIER", value_parser = read_tier)]
    pub tier: Option<Tier>,
    /// Instructions for the model, before the prompt
    #[arg(short, long, value_name = "TEXT")]
    pub system: Option<String>,
    /// A text file to put behind the prompt (may be given several times)
    #[arg(short, long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The most tokens to answer with
    #[arg(long, value_name = "N", value_parser = read_count::<u64>)]
    pub max_tokens: Option<u64>,
    /// How freely the model chooses its words
    #[arg(long, value_name = "T", value_parser = read_temperature, allow_negative_numbers = true)]
    pub temperature: Option<f64>,
    /// Print the answer when it is whole, not as it comes
    #[arg(long)]
    pub no_stream: bool,
    /// Do not read standard input
    #[arg(long)]
    pub no_stdin: bool,
    /// Print the provider's whole answer as JSON
    #[arg(long)]
    pub json: bool,
    /// Print the routing decision and ask nobody
    #[arg(long)]
    pub explain: bool,
    /// Ask three simulated providers, of which the first fails
    #[arg(long)]
    pub demo: bool,
}

/// `routor logs`.
#[derive(Debug, ClapArgs)]
pub struct Logs {
    /// Go on with what happens now
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the newest to show
    #[arg(short = 'n', value_name = "N", default_value_t = 50, value_parser = read_count::<u32>)]
    pub number: u32,
    /// Only what is not older than this, such as 10m or 2h
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    pub since: Option<Duration>,
    /// All requests, not only those in which a fallback happened
    #[arg(long, conflicts_with = "failed")]
    pub all: bool,
    /// Only requests that failed or broke off
    #[arg(long)]
    pub failed: bool,
    /// Only requests that tried this provider
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<String>,
    /// Only requests that asked for or tried this model
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Only the request with this id
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
    /// How to print them
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: Format,
    /// The same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
}

/// `routor status`.
#[derive(Debug, ClapArgs)]
pub struct Status {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// `routor models`.
#[derive(Debug, ClapArgs)]
pub struct Models {
    /// Also what is known and cannot be asked for now
    #[arg(long)]
    pub all: bool,
    /// Only models of this provider
    #[arg(long, value_name = "PROVIDER")]
    pub provider: Option<String>,
    /// Only models of this tier: NANO, SIMPLE, LIGHT, STANDARD or COMPLEX
    #[arg(short, long, value_name = "TIER", value_parser = read_tier)]
    pub tier: Option<Tier>,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// `routor config`.
#[derive(Debug, ClapArgs)]
pub struct Config {
    /// What to do
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What can be done with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Write a commented starter file, with the providers whose keys are set
    Init {
        /// Replace a file that is there
        #[arg(long, conflicts_with = "stdout")]
        force: bool,
        /// Print it and write nothing
        #[arg(long)]
        stdout: bool,
    },
    /// Print the effective configuration, and where each value comes from
    Show,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For scripts
    Json,
}

/// How the result of a check is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people
    Table,
    /// For scripts
    Json,
    /// JUnit XML, for CI servers
    Junit,
    /// Workflow commands, for GitHub Actions
    Github,
}

fn read_time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("a time with its unit, such as 500ms, 30s, 5m, 2h, 7d".to_owned()),
    }
}

fn read_count<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    text.parse().ok().filter(|count| *count >= T::from(1)).ok_or_else(|| "a whole number from 1 on".to_owned())
}

fn read_port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "a port is a number from 0 to 65535".to_owned())
}

fn read_tier(text: &str) -> Result<Tier, String> {
    text.parse().map_err(|problem| format!("{problem}"))
}

fn read_temperature(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number| (0.0..=2.0).contains(number)).ok_or_else(|| "a number from 0 to 2".to_owned())
}
