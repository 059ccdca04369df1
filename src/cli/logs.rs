//! `routor logs`: history from the store, which needs no daemon, then what
//! happens now from the daemon, without a gap and without a double.

use super::args::{Common, Format, Logs};
use super::screen::{Screen, Tone, Unprinted};
use super::{Exit, prepare};
use crate::control::{Client, Command, Connection, Line};
use crate::failover::Class;
use crate::journal::{Outcome, Query, Record, Store};
use crate::paths::State;
use crate::redact::printable;

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
    match connection.next().await.map_err(failed)? {
        Some(Line::Subscribed { writer, after }) => Ok(Some((connection, (writer, after)))),
        _ => Ok(None),
    }
}

fn history(state: &State, query: &Query, screen: &Screen) -> Result<Vec<Record>, Exit> {
    let read = Store::read(&state.log()).and_then(|store| store.map_or(Ok(Vec::new()), |store| store.find(query)));
    match read {
        Ok(found) => Ok(found.into_iter().map(|stored| stored.record).collect()),
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
        self.screen.line(&self.row(record))?;
        if self.whole {
            for skipped in &record.skipped {
                let sizes = match (skipped.needs_tokens, skipped.has_tokens) {
                    (Some(needs), Some(has)) => format!(" (needs about {needs} tokens, the model has {has})"),
                    _ => String::new(),
                };
                self.screen.line(&format!(
                    "  left out {}/{}: {}{sizes}",
                    safe(&skipped.provider),
                    safe(&skipped.model),
                    skipped.why.text()
                ))?;
            }
        }
        Ok(())
    }

    fn row(&self, record: &Record) -> String {
        let tone = match record.outcome {
            Outcome::Served => Tone::Good,
            Outcome::Fallback | Outcome::Partial => Tone::Warn,
            Outcome::Failed => Tone::Bad,
            Outcome::ClientClosed | Outcome::Rejected => Tone::Faint,
        };
        let time = record
            .time
            .parse::<jiff::Timestamp>()
            .map_or_else(|_| safe(&record.time), |time| time.to_zoned(jiff::tz::TimeZone::system()).strftime("%m-%d %H:%M:%S").to_string());
        let attempts: Vec<String> = record.attempts.iter().map(|attempt| self.attempt(attempt)).collect();
        let tier = record.tier.map_or("", |tier| tier.name());
        format!(
            "{}  {}  {:<8}  {:>7}  {}  {}",
            self.screen.paint(Tone::Faint, &time),
            self.screen.paint(tone, &format!("{:<13}", record.outcome.name())),
            tier,
            format!("{} ms", record.ms),
            attempts.join(" → "),
            self.screen.paint(Tone::Faint, &safe(&record.id)),
        )
    }

    fn attempt(&self, attempt: &crate::journal::Attempt) -> String {
        let status = attempt.status.map_or_else(|| attempt.class.name().to_owned(), |status| status.to_string());
        let tone = if attempt.class == Class::Ok { Tone::Good } else { Tone::Bad };
        format!("{}/{} {} {} ms", safe(&attempt.provider), safe(&attempt.model), self.screen.paint(tone, &status), attempt.ms)
    }
}

/// Text of a record, safe for a terminal.
fn safe(text: &str) -> String {
    printable(text, 200)
}
