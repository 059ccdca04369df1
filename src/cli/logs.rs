//! `routor logs`: history from the store, which needs no daemon, then what
//! happens now from the daemon, without a gap and without a double.

use std::sync::Arc;

use super::args::{Common, Format, Logs};
use super::screen::{Screen, Tone, Unprinted};
use super::{Exit, prepare};
use crate::control::{Client, Command, Connection, Line};
use crate::failover::Class;
use crate::journal::{Attempt, Found, Moment, Outcome, Query, Record, Skipped, Store};
use crate::paths::State;
use crate::redact::printable;

/// The daemon stores what it holds within this time.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);

/// Shows the records that the flags ask for.
pub async fn run(common: &Common, args: &Logs, screen: &Screen) -> Exit {
    match show(common, args, screen).await {
        Ok(exit) | Err(Stop::Exit(exit)) => exit,
        Err(Stop::Print(Unprinted::Closed)) => Exit::Done,
        Err(Stop::Print(Unprinted::Failed(problem))) => {
            screen.error(&format!("the log cannot be printed: {problem}"));
            Exit::No
        }
    }
}

enum Stop {
    Exit(Exit),
    Print(Unprinted),
}

impl From<Unprinted> for Stop {
    fn from(unprinted: Unprinted) -> Self {
        Stop::Print(unprinted)
    }
}

impl From<Exit> for Stop {
    fn from(exit: Exit) -> Self {
        Stop::Exit(exit)
    }
}

async fn show(common: &Common, args: &Logs, screen: &Screen) -> Result<Exit, Stop> {
    let state = prepare::state(common, screen)?;
    let mut query = Query {
        limit: args.number,
        since: args.since,
        fallback: !args.all && !args.failed && args.id.is_none(),
        failed: args.failed,
        provider: args.provider.clone(),
        model: args.model.clone(),
        id: args.id.clone(),
        ..Query::default()
    };
    let printer = Printer { json: args.json || args.format == Format::Json, whole: args.id.is_some(), screen };
    // A daemon that is asked for its feed stores what it still holds first, so that
    // the history is whole up to now.
    let mut feed = match subscribe(&state).await {
        Ok(feed) => feed.filter(|_| args.follow),
        Err(problem) if args.follow => {
            screen.error(&problem);
            return Ok(Exit::No);
        }
        Err(_) => None,
    };
    if let Some((_, place)) = &feed {
        query.until = Some(*place);
    }
    let found = history(&state, &query, screen)?;
    for record in &found {
        printer.print(record)?;
    }
    match &mut feed {
        Some((connection, _)) => follow(connection, &query, &printer).await,
        None if args.follow => {
            screen.error("routor is not running, so there is nothing to follow; start it with `routor serve`");
            Ok(Exit::NoDaemon)
        }
        None => {
            if found.is_empty() {
                screen.note(nothing(args));
            }
            Ok(Exit::Done)
        }
    }
}

fn nothing(args: &Logs) -> &'static str {
    match (args.all, args.failed, &args.id) {
        (.., Some(_)) => "there is no request with this id",
        (true, ..) => "no requests yet",
        (_, true, _) => "no failed requests",
        _ => "no fallbacks yet; --all shows every request",
    }
}

/// The daemon's feed, if it runs, and the place where it begins.
async fn subscribe(state: &State) -> Result<Option<(Connection, (i64, i64))>, String> {
    let failed = |problem: std::io::Error| format!("the daemon does not answer on its socket: {problem}");
    let Some(client) = Client::find(state).await.map_err(failed)? else { return Ok(None) };
    if let Some(mismatch) = client.mismatch() {
        return Err(mismatch);
    }
    let mut connection = client.ask(&Command::Events).await.map_err(failed)?;
    // A daemon whose disk does not answer stores nothing now; what is stored can be read all the same.
    let Ok(first) = tokio::time::timeout(PATIENCE, connection.next()).await else { return Ok(None) };
    match first.map_err(failed)? {
        Some(Line::Subscribed { writer, after }) => Ok(Some((connection, (writer, after)))),
        _ => Ok(None),
    }
}

fn history(state: &State, query: &Query, screen: &Screen) -> Result<Vec<Record>, Exit> {
    let read = Store::read(&state.log()).and_then(|store| store.map_or(Ok(Found::default()), |store| store.find(query)));
    match read {
        Ok(found) => {
            if found.unreadable > 0 {
                screen.warn(&format!("{} records of the request log could not be read", found.unreadable));
            }
            if found.damaged {
                screen.warn("the request log is damaged; what is older than this could not be read");
            }
            Ok(found.records.into_iter().map(|stored| stored.record).collect())
        }
        Err(problem) => {
            screen.error(&problem.to_string());
            Err(Exit::No)
        }
    }
}

async fn follow(connection: &mut Connection, query: &Query, printer: &Printer<'_>) -> Result<Exit, Stop> {
    loop {
        match connection.next().await {
            Ok(Some(Line::Request(record))) if query.wants(&record) => printer.print(&record)?,
            Ok(Some(Line::Missed(missed))) => printer.screen.warn(&format!("{missed} requests were missed; `routor logs` has them")),
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                printer.screen.note("routor has stopped");
                return Ok(Exit::Done);
            }
        }
    }
}

struct Printer<'a> {
    json: bool,
    whole: bool,
    screen: &'a Screen,
}

impl Printer<'_> {
    fn print(&self, record: &Record) -> Result<(), Unprinted> {
        if self.json {
            return self.screen.line(&serde_json::to_string(record).unwrap_or_default());
        }
        if self.whole {
            return self.in_full(record);
        }
        self.screen.line(&self.row(record))
    }

    /// One line. On a terminal it is as wide as that: the id goes first, then
    /// the end of a long list of attempts; elsewhere nothing is left out.
    fn row(&self, record: &Record) -> String {
        let tier = record.tier.map_or("", |tier| tier.name());
        let head = format!(
            "{}  {}  {:<8}  {:>9}",
            self.screen.paint(Tone::Faint, &local_time(record.time)),
            self.screen.paint(tone(record.outcome), &format!("{:<13}", record.outcome.name())),
            tier,
            format!("{} ms", record.ms),
        );
        let attempts: Vec<String> = record.attempts.iter().map(|attempt| self.attempt(attempt)).collect();
        let told = if attempts.is_empty() { safe(&record.model) } else { attempts.join(" → ") };
        let row = format!("{head}  {told}");
        let whole = format!("{row}  {}", self.screen.paint(Tone::Faint, &safe(&record.id)));
        match self.screen.width() {
            Some(width) if console::measure_text_width(&whole) > width => console::truncate_str(&row, width, "…").into_owned(),
            _ => whole,
        }
    }

    fn attempt(&self, attempt: &Attempt) -> String {
        let status = attempt.status.map_or_else(|| attempt.class.name().to_owned(), |status| status.to_string());
        let tone = if attempt.class == Class::Ok { Tone::Good } else { Tone::Bad };
        format!("{}/{} {} {} ms", safe(&attempt.provider), safe(&attempt.model), self.screen.paint(tone, &status), attempt.ms)
    }

    /// A request with everything that is known of it: why each model of its
    /// chain was used or not.
    fn in_full(&self, record: &Record) -> Result<(), Unprinted> {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let number = |value: Option<u64>| or_dash(value.map(|value| value.to_string()));
        let status = or_dash(record.status.map(|status| status.to_string()));
        let first = record.first_ms.map_or(String::new(), |first| format!(", first content after {first} ms"));
        for (name, value) in [
            ("request", safe(&record.id)),
            ("time", format!("{} ({})", record.time, local_time(record.time))),
            ("asked for", format!("{}{}", safe(&record.model), if record.stream { ", as a stream" } else { "" })),
            ("tier", record.tier.map_or("–", |tier| tier.name()).to_owned()),
            ("outcome", format!("{} (status {status})", self.screen.paint(tone(record.outcome), record.outcome.name()))),
            ("answered by", or_dash(record.served_by.as_deref().map(safe))),
            ("took", format!("{} ms{first}", record.ms)),
            ("tokens", format!("{} of the prompt, {} of the answer", number(record.prompt_tokens), number(record.completion_tokens))),
        ] {
            self.screen.line(&format!("{:<12} {value}", name))?;
        }
        self.screen.line("chain")?;
        for (place, line) in self.chain(record).iter().enumerate() {
            self.screen.line(&format!("{:>4}. {line}", place + 1))?;
        }
        Ok(())
    }

    /// Each model of the chain with what came of it; behind them those that
    /// were left out before the chain was made.
    fn chain(&self, record: &Record) -> Vec<String> {
        let is = |provider: &str, model: &str, label: &str| label.split_once('/') == Some((provider, model));
        let skipped = |label: &Arc<str>| record.skipped.iter().find(|skipped| is(&skipped.provider, &skipped.model, label));
        let tried = |label: &Arc<str>| record.attempts.iter().find(|attempt| is(&attempt.provider, &attempt.model, label));
        let line = |label: &Arc<str>| match (tried(label), skipped(label)) {
            (Some(attempt), _) => format!("{}{}", self.attempt(attempt), told_more(attempt)),
            (None, Some(skipped)) => left_out(skipped),
            (None, None) => format!("{}: not tried", safe(label)),
        };
        let others = record.skipped.iter().filter(|skipped| !record.chain.iter().any(|label| is(&skipped.provider, &skipped.model, label)));
        record.chain.iter().map(line).chain(others.map(left_out)).collect()
    }
}

fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Served => Tone::Good,
        Outcome::Fallback | Outcome::Partial => Tone::Warn,
        Outcome::Failed => Tone::Bad,
        Outcome::ClientClosed | Outcome::Rejected => Tone::Faint,
    }
}

fn local_time(time: Moment) -> String {
    jiff::Timestamp::from(time).to_zoned(jiff::tz::TimeZone::system()).strftime("%m-%d %H:%M:%S").to_string()
}

/// What else an attempt's record tells, for a reader.
fn told_more(attempt: &Attempt) -> String {
    let mut more = vec![format!("after {} ms", attempt.at_ms)];
    if attempt.class != Class::Ok {
        more.push(attempt.class.name().to_owned());
    }
    more.extend(attempt.first_ms.map(|first| format!("first content {first} ms")));
    more.extend(attempt.answered_as.as_deref().map(|name| format!("answered as {}", safe(name))));
    more.extend(attempt.upstream_id.as_deref().map(|id| format!("its id {}", safe(id))));
    if attempt.possible_duplicate {
        more.push("the provider may have done the work all the same".to_owned());
    }
    format!(" ({})", more.join(", "))
}

fn left_out(skipped: &Skipped) -> String {
    let sizes = match (skipped.needs_tokens, skipped.has_tokens) {
        (Some(needs), Some(has)) => format!(" (needs about {needs} tokens, the model has {has})"),
        _ => String::new(),
    };
    format!("{}/{}: left out, {}{sizes}", safe(&skipped.provider), safe(&skipped.model), skipped.why.text())
}

/// Text of a record, safe for a terminal.
fn safe(text: &str) -> String {
    printable(text, 200)
}
