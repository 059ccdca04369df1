//! `routor chat`: one prompt through the chain. It asks the running daemon;
//! when there is none, the same engine answers in this process.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use super::args::{Chat, Common};
use super::follow::Watch;
use super::screen::{Screen, Unprinted};
use super::{Exit, check, explain, prepare, prompt};
use crate::config::Settings;
use crate::control::Client;
use crate::demo::Demo;
use crate::engine::{Call, Desk, Engine, Reply};
use crate::gateway::{Out, into_response, json_response};
use crate::journal::{Draft, Journal, Limits, Observers};
use crate::paths::{self, State};
use crate::redact::printable;
use crate::sse::{Event, Reader};
use crate::upstream::{Caller, LARGEST_EVENT};
use crate::wire::parse;

/// Asks, and prints the completion.
pub async fn run(common: &Common, args: &Chat, screen: &Screen) -> Exit {
    let prompt = match prompt::gather(args, screen).await {
        Ok(prompt) => prompt,
        Err(problem) => {
            screen.error(&problem);
            return Exit::Usage;
        }
    };
    let body = request(args, &prompt);
    match answer(common, args, body, screen).await {
        Ok(exit) | Err(exit) => exit,
    }
}

/// The request as any client of the API would send it.
fn request(args: &Chat, prompt: &str) -> Value {
    let mut messages = Vec::new();
    if let Some(system) = &args.system {
        messages.push(json!({"role": "system", "content": system}));
    }
    messages.push(json!({"role": "user", "content": prompt}));
    let mut body = json!({"model": args.model.as_deref().unwrap_or("auto"), "messages": messages, "stream": !args.no_stream && !args.json});
    let mut set = |name: &str, value: Option<Value>| {
        if let (Some(value), Some(fields)) = (value, body.as_object_mut()) {
            fields.insert(name.to_owned(), value);
        }
    };
    set("max_tokens", args.max_tokens.map(Value::from));
    set("temperature", args.temperature.map(Value::from));
    set("routor_profile", args.tier.map(|_| "tier".into()));
    set("routor_tier", args.tier.map(|tier| tier.name().into()));
    body
}

async fn answer(common: &Common, args: &Chat, body: Value, screen: &Screen) -> Result<Exit, Exit> {
    let id = format!("chat_{:016x}{:08x}", fastrand::u64(..), fastrand::u32(..));
    if args.demo {
        return in_demo(args, body, id, screen).await;
    }
    let state = prepare::state(common, screen)?;
    if common.config.is_none()
        && let Ok(Some(client)) = Client::find(&state).await
        && let Some(address) = client.hello.addresses.first().cloned()
    {
        return from_daemon(client, &address, args, &body, &id, screen).await;
    }
    let settings = prepare::settings(common, None, screen)?;
    here(settings, state, args, body, id, screen).await
}

async fn from_daemon(client: Client, address: &str, args: &Chat, body: &Value, id: &str, screen: &Screen) -> Result<Exit, Exit> {
    let watch = if args.explain { None } else { Watch::daemon(client, id).await };
    let failed = |problem: reqwest::Error| {
        screen.error(&format!("routor at http://{address} does not answer: {}", problem.without_url()));
        Exit::No
    };
    let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).retry(reqwest::retry::never());
    let http = http.tls_backend_preconfigured(crate::upstream::no_tls()).build().map_err(failed)?;
    let path = if args.explain { "/v1/routing/debug" } else { "/v1/chat/completions" };
    let mut request = http.post(format!("http://{address}{path}")).json(body).header("x-request-id", id);
    if let Some(key) = paths::env(paths::KEY_VARIABLE) {
        request = request.bearer_auth(key);
    }
    let response = request.send().await.map_err(failed)?;
    let (status, events) = (response.status(), is_events(response.headers()));
    Printing { args, screen }.print(status, events, Source::Daemon(response), watch).await
}

/// The demo's providers, for one prompt.
async fn in_demo(args: &Chat, body: Value, id: String, screen: &Screen) -> Result<Exit, Exit> {
    let system = |problem: std::io::Error| {
        screen.error(&format!("the demo cannot be started: {problem}"));
        Exit::No
    };
    let folder = tempfile::Builder::new().prefix("routor-demo-").tempdir().map_err(system)?;
    let demo = Demo::start(&TaskTracker::new()).await.map_err(system)?;
    screen.note("DEMO: the providers are simulated; the first one always fails.");
    let settings = prepare::show(prepare::demo_settings(&demo.config(), None), screen)?;
    here(settings, State::at(folder.path().to_owned()), args, body, id, screen).await
}

/// The engine in this process, recorded in the same log as the daemon's.
async fn here(settings: Settings, state: State, args: &Chat, body: Value, id: String, screen: &Screen) -> Result<Exit, Exit> {
    let failed = |problem: String| {
        screen.error(&problem);
        Exit::No
    };
    let log = settings.log;
    let limits = Limits { keep: std::time::Duration::from_secs(log.keep_days.saturating_mul(24 * 3600)), max_bytes: log.max_size };
    let journal =
        Journal::start(log.requests.then(|| state.log()), limits, Observers::default()).map_err(|problem| failed(problem.to_string()))?;
    let engine = Engine::new(settings, Arc::clone(&journal)).map_err(|problem| failed(problem.to_string()))?;
    enlist(&engine, screen).await?;
    screen.redact(Arc::clone(&engine.fleet().redactor));
    let watch = Watch::here(&journal, &id).await;
    let exit = complete(&engine, args, body, id, watch, screen).await;
    engine.tasks.close();
    let _ = tokio::time::timeout(std::time::Duration::from_millis(500), engine.tasks.wait()).await;
    journal.stop();
    exit
}

/// Takes the configured providers without asking them. Only servers that
/// nobody named are looked for; and when no chain knows a model, those on this
/// machine are asked what they have.
async fn enlist(engine: &Arc<Engine>, screen: &Screen) -> Result<(), Exit> {
    engine.trust();
    engine.recheck(|provider, _| provider.optional).await;
    if crate::catalog::Tier::ALL.into_iter().all(|tier| engine.fleet().table.tier(tier).chain.is_empty()) {
        engine.learn_models(|provider| provider.local && !provider.optional).await;
    }
    let fleet = engine.fleet();
    if fleet.pool_size() > 0 {
        return Ok(());
    }
    let named = fleet.settings.providers.iter().any(|provider| !provider.optional);
    if !named {
        screen.error(check::NOTHING);
        return Err(Exit::Usage);
    }
    screen.error("no provider can be used; `routor check` says why");
    Err(Exit::No)
}

async fn complete(engine: &Arc<Engine>, args: &Chat, body: Value, id: String, watch: Option<Watch>, screen: &Screen) -> Result<Exit, Exit> {
    let ask = parse(Bytes::from(body.to_string())).map_err(|fault| {
        screen.error(&fault.message);
        Exit::Usage
    })?;
    if args.explain {
        let response = match engine.explain(&ask) {
            Ok(explanation) => json_response(StatusCode::OK, serde_json::to_string(&explanation).unwrap_or_default()),
            Err(refusal) => into_response(Reply::Refused(refusal), false),
        };
        let (head, body) = response.into_parts();
        return Printing { args, screen }.print(head.status, false, Source::Here(Box::new(body)), None).await;
    }
    let (desk, headers) = (Desk::new(engine), http::HeaderMap::new());
    let call = Call { ask, caller: Caller::new(&headers, engine.id.clone()), draft: Draft::open(engine.journal(), &id) };
    let response = into_response(engine.answer(&desk, call).await, false);
    let (head, body) = response.into_parts();
    Printing { args, screen }.print(head.status, is_events(&head.headers), Source::Here(Box::new(body)), watch).await
}

fn is_events(headers: &http::HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
}

/// The body of the answer, from either side.
enum Source {
    Daemon(reqwest::Response),
    Here(Box<Out>),
}

impl Source {
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        match self {
            Source::Daemon(response) => response.chunk().await.map_err(|problem| problem.without_url().to_string()),
            Source::Here(body) => loop {
                match http_body_util::BodyExt::frame(body.as_mut()).await {
                    None => return Ok(None),
                    Some(Err(problem)) => return Err(problem.to_string()),
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            return Ok(Some(bytes));
                        }
                    }
                }
            },
        }
    }

    async fn all(&mut self) -> Result<Vec<u8>, String> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.next().await? {
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }
}

struct Printing<'a> {
    args: &'a Chat,
    screen: &'a Screen,
}

impl Printing<'_> {
    async fn print(&self, status: StatusCode, events: bool, mut source: Source, watch: Option<Watch>) -> Result<Exit, Exit> {
        let result = match (status.is_success(), events) {
            (false, _) => self.refused(status, source.all().await),
            (true, true) => self.stream(&mut source).await,
            (true, false) => self.whole(source.all().await),
        };
        drop(source);
        if let Some(note) = match watch {
            Some(watch) => watch.fallback().await,
            None => None,
        } {
            self.screen.note(&note);
        }
        match result {
            Ok(exit) => Ok(exit),
            // The reader has gone: that is how `head` ends a command.
            Err(Unprinted::Closed) => Ok(Exit::Done),
            Err(Unprinted::Failed(problem)) => {
                self.screen.error(&format!("the completion cannot be printed: {problem}"));
                Err(Exit::No)
            }
        }
    }

    fn refused(&self, status: StatusCode, body: Result<Vec<u8>, String>) -> Result<Exit, Unprinted> {
        let body = body.unwrap_or_default();
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = value
            .pointer("/error/message")
            .or_else(|| value.pointer("/0/error/message"))
            .or_else(|| value.get("error"))
            .or_else(|| value.get("message"));
        let message = message.and_then(Value::as_str).map_or_else(|| format!("status {}", status.as_u16()), |text| printable(text, 2000));
        self.screen.error(&message);
        let unknown = status == StatusCode::NOT_FOUND && value.pointer("/error/code") == Some(&json!("model_not_found"));
        Ok(if unknown { Exit::Usage } else { Exit::No })
    }

    fn whole(&self, body: Result<Vec<u8>, String>) -> Result<Exit, Unprinted> {
        let body = match body {
            Ok(body) => body,
            Err(problem) => return Ok(self.broken(&problem)),
        };
        if self.args.explain && !self.args.json {
            explain::print(&body, self.screen)?;
            return Ok(Exit::Done);
        }
        if self.args.json {
            self.screen.bytes(&body)?;
            return Ok(Exit::Done);
        }
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        let text = value.pointer("/choices/0/message/content").map(spoken).unwrap_or_default();
        self.put(&text, true)?;
        Ok(Exit::Done)
    }

    async fn stream(&self, source: &mut Source) -> Result<Exit, Unprinted> {
        let mut reader = Reader::new(LARGEST_EVENT);
        let mut last = None;
        loop {
            let bytes = match source.next().await {
                Ok(Some(bytes)) => bytes,
                Ok(None) => break,
                Err(problem) => {
                    self.end_line(last)?;
                    return Ok(self.broken(&problem));
                }
            };
            reader.push(bytes);
            while let Ok(Some(event)) = reader.next_event() {
                match said(&event) {
                    Said::Text(text) => {
                        last = text.chars().last().or(last);
                        self.put(&text, false)?;
                    }
                    Said::Error(message) => {
                        self.end_line(last)?;
                        return Ok(self.broken(&message));
                    }
                    Said::Nothing => {}
                }
            }
        }
        self.end_line(last)?;
        Ok(Exit::Done)
    }

    /// Writes text of a model to stdout; to a terminal without control characters.
    fn put(&self, text: &str, end: bool) -> Result<(), Unprinted> {
        let shown = if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
            text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
        } else {
            text.to_owned()
        };
        self.screen.data(&shown)?;
        if end { self.end_line(shown.chars().last()) } else { Ok(()) }
    }

    fn end_line(&self, last: Option<char>) -> Result<(), Unprinted> {
        if last == Some('\n') { Ok(()) } else { self.screen.data("\n") }
    }

    fn broken(&self, problem: &str) -> Exit {
        self.screen.error(&printable(problem, 2000));
        Exit::No
    }
}

/// What an event adds to the completion.
enum Said {
    Text(String),
    Error(String),
    Nothing,
}

fn said(event: &Event) -> Said {
    let Some(value) = event.data().and_then(|data| serde_json::from_slice::<Value>(&data).ok()) else { return Said::Nothing };
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        let message = error.get("message").and_then(Value::as_str).or_else(|| error.as_str());
        return Said::Error(message.unwrap_or("the answer broke off").to_owned());
    }
    match value.pointer("/choices/0/delta/content").map(spoken) {
        Some(text) if !text.is_empty() => Said::Text(text),
        _ => Said::Nothing,
    }
}

/// Content as text: a string, or the text parts of a list.
fn spoken(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}
