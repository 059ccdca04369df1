//! The only place that prints. Data goes to stdout, everything else to
//! stderr; a closed pipe ends a command quietly; no key and no control
//! character of a provider reaches a terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::args::{Color, Common};
use crate::redact::Redactor;

/// What is printed with, and how.
#[derive(Debug, Clone)]
pub struct Screen {
    quiet: bool,
    out_colour: bool,
    err_colour: bool,
    redactor: Arc<Mutex<Arc<Redactor>>>,
}

/// Printing failed: the reader has gone, or the disk is full.
#[derive(Debug)]
pub enum Unprinted {
    /// The reader has gone, which ends a command quietly.
    Closed,
    /// Something else.
    Failed(io::Error),
}

impl From<io::Error> for Unprinted {
    fn from(problem: io::Error) -> Self {
        if problem.kind() == io::ErrorKind::BrokenPipe { Unprinted::Closed } else { Unprinted::Failed(problem) }
    }
}

/// A colour for a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Good.
    Good,
    /// To be looked at.
    Warn,
    /// Bad.
    Bad,
    /// Beside the point.
    Faint,
}

impl Tone {
    fn style(self) -> Style {
        match self {
            Tone::Good => AnsiColor::Green.on_default(),
            Tone::Warn => AnsiColor::Yellow.on_default(),
            Tone::Bad => AnsiColor::Red.on_default(),
            Tone::Faint => Style::new().dimmed(),
        }
    }
}

impl Screen {
    /// A screen by the common flags; also starts the program's own log, on stderr.
    pub fn new(common: &Common) -> Self {
        let wanted = |terminal: bool| match common.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let screen = Self {
            quiet: common.quiet,
            out_colour: wanted(io::stdout().is_terminal()),
            err_colour: wanted(io::stderr().is_terminal()),
            redactor: Arc::default(),
        };
        screen.start_log(common);
        screen.clone().tell_panics();
        screen
    }

    /// Only routor's own lines are shown: what libraries would log of heads
    /// and bodies is nobody's business.
    fn start_log(&self, common: &Common) {
        let level = match (common.quiet, common.verbose) {
            (true, _) => LevelFilter::WARN,
            (_, 0) => LevelFilter::INFO,
            (_, 1) => LevelFilter::DEBUG,
            (_, _) => LevelFilter::TRACE,
        };
        let lines = tracing_subscriber::fmt::layer()
            .with_target(false)
            .with_ansi(self.err_colour)
            .without_time()
            .compact()
            .with_writer(Sink(self.clone()));
        let filter = Targets::new().with_target("routor", level).with_default(LevelFilter::OFF);
        let _ = tracing_subscriber::registry().with(lines.with_filter(filter)).try_init();
    }

    /// A panic is told by its place alone: its message may hold what somebody wrote.
    fn tell_panics(self) {
        std::panic::set_hook(Box::new(move |panic| {
            let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line())).unwrap_or_default();
            self.error(&format!("routor made a mistake{place}; please report it (version {})", env!("CARGO_PKG_VERSION")));
        }));
    }

    /// From now on these keys are masked in everything that is printed.
    pub fn redact(&self, redactor: Arc<Redactor>) {
        *self.redactor.lock().unwrap_or_else(PoisonError::into_inner) = redactor;
    }

    fn masked(&self, text: &str) -> String {
        self.redactor.lock().unwrap_or_else(PoisonError::into_inner).mask_text(text)
    }

    /// Whether stderr is a terminal that may be drawn on.
    pub fn is_lively(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }

    /// Whether stdout takes colour.
    pub fn out_colour(&self) -> bool {
        self.out_colour
    }

    /// Whether stderr takes colour.
    pub fn err_colour(&self) -> bool {
        self.err_colour
    }

    /// The columns of the terminal that stdout is; `None` when it is none.
    pub fn width(&self) -> Option<usize> {
        let (_, columns) = console::Term::stdout().size_checked()?;
        io::stdout().is_terminal().then_some(usize::from(columns))
    }

    /// A word in a tone, for stdout.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        paint(self.out_colour, tone.style(), text)
    }

    /// Writes data to stdout, at once.
    pub fn data(&self, text: &str) -> Result<(), Unprinted> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// Writes bytes to stdout as they are, and a line end if they have none.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Unprinted> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        if !bytes.ends_with(b"\n") {
            out.write_all(b"\n")?;
        }
        out.flush()?;
        Ok(())
    }

    /// Writes a line of data to stdout.
    pub fn line(&self, text: &str) -> Result<(), Unprinted> {
        self.data(&format!("{text}\n"))
    }

    /// Tells something on stderr, unless told to be quiet.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Warns on stderr.
    pub fn warn(&self, text: &str) {
        self.say(&format!("{} {text}", paint(self.err_colour, AnsiColor::Yellow.on_default().bold(), "warning:")));
    }

    /// Tells what went wrong, on stderr.
    pub fn error(&self, text: &str) {
        self.say(&format!("{} {text}", paint(self.err_colour, AnsiColor::Red.on_default().bold(), "error:")));
    }

    /// Prints on stderr as it is, keys masked.
    pub fn say(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{}", self.masked(text));
    }

    /// A line that turns while something is waited for; invisible where
    /// stderr is no terminal.
    pub fn spinner(&self, text: String) -> ProgressBar {
        let target = if self.is_lively() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(text);
        bar.enable_steady_tick(std::time::Duration::from_millis(100));
        bar
    }
}

fn paint(colour: bool, style: Style, text: &str) -> String {
    if colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
}

/// Where the program's own log goes.
struct Sink(Screen);

impl<'a> MakeWriter<'a> for Sink {
    type Writer = SinkLine<'a>;

    fn make_writer(&'a self) -> SinkLine<'a> {
        SinkLine { screen: &self.0, line: Vec::new() }
    }
}

/// One line on its way there; keys are masked when it is whole.
struct SinkLine<'a> {
    screen: &'a Screen,
    line: Vec<u8>,
}

impl Write for SinkLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SinkLine<'_> {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            let text = self.screen.masked(&String::from_utf8_lossy(&self.line));
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }
}
