//! One attempt at one model: send, wait for the first content or the whole
//! answer, and hand back what came. An attempt that failed is data, not an
//! error.

use std::future::poll_fn;
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::client::{Line, Upstream};
use super::connect::ConnectTimeout;
use super::head::{Caller, Outgoing};
use super::http1::Broken;
use super::inflate::{inflate, is_coded};
use super::pool::{Problem, Reply};
use super::received::{Collected, End, Received, collect};
use super::stream::{Live, Next};
use crate::catalog::Facts;
use crate::config::Provider;
use crate::failover::{Class, ErrorText, Hint, classify, classify_embedded, retry_hint};
use crate::turn;
use crate::wire::{Answer, Ask, Chunk, Usage, model_of, read_answer, read_chunk};

/// A whole answer up to this size is held and looked at before it is passed on.
const HELD: usize = 16 << 20;
/// More of a failed answer than this is not read.
const FAILED: usize = 4 << 20;
/// A failed answer has this long to arrive whole, so that its connection can be kept.
const FAILED_PATIENCE: Duration = Duration::from_secs(5);
/// What may come before the first content of a stream.
const PREAMBLE: usize = 1 << 20;

/// What to send, and where.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The provider's place in the settings.
    pub place: usize,
    /// How long a connection may take.
    pub connect: Duration,
    /// The provider.
    pub provider: &'a Provider,
    /// The model.
    pub facts: &'a Facts,
    /// The request.
    pub ask: &'a Ask,
    /// The caller's headers that go on.
    pub caller: &'a Caller<'a>,
    /// Until the first content of a stream, or the whole of any other answer.
    pub deadline: Instant,
}

/// What an attempt brought.
#[derive(Debug)]
pub enum Sent {
    /// A whole answer.
    Whole(Whole),
    /// A stream that has begun to say something.
    Live(Box<Live>),
    /// Nothing that could be passed on as an answer.
    Failed(Failure),
}

/// A whole answer, looked at.
#[derive(Debug)]
pub struct Whole {
    /// Its status.
    pub status: StatusCode,
    /// Its headers as they came.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Tokens, as far as told.
    pub usage: Usage,
    /// The model that it names, where that is another than was asked for.
    pub other_model: Option<String>,
}

/// A failed attempt.
#[derive(Debug)]
pub struct Failure {
    /// What it came to.
    pub class: Class,
    /// The provider's status, if it gave one.
    pub status: Option<u16>,
    /// When the provider says it can be asked again.
    pub hint: Option<Hint>,
    /// The request may have reached the provider.
    pub sent: bool,
    /// This machine could not make the attempt; the provider had no part in it.
    pub ours: bool,
    /// The user should hear of it at once: it will not pass by itself.
    pub loud: bool,
    /// What happened, for the program's own log: never the provider's words.
    pub detail: String,
    /// The provider's answer, to be passed on if the failure is the caller's mistake.
    pub refused: Option<Refused>,
}

/// A provider's refusal as it came.
#[derive(Debug)]
pub struct Refused {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Failure {
    fn new(class: Class, detail: impl Into<String>) -> Self {
        Self { class, status: None, hint: None, sent: true, ours: false, loud: false, detail: detail.into(), refused: None }
    }

    /// Whether the provider may have answered all the same, unheard.
    pub fn is_possible_duplicate(&self) -> bool {
        self.sent && matches!(self.class, Class::Network | Class::Timeout | Class::Truncated)
    }

    fn unsent(self) -> Self {
        Self { sent: false, ..self }
    }
}

/// What came within the time of an attempt.
enum Came {
    Answer(Sent),
    /// An answer with another status than a good one, its body still to be read.
    Refusal(Reply),
}

/// Makes the attempt. Dropping the future cancels it: the connection is
/// closed, or the HTTP/2 stream reset.
pub async fn send(upstream: &Upstream, task: Task<'_>) -> Sent {
    let Some(line) = upstream.line(task.place, task.connect) else {
        return Sent::Failed(Failure::new(Class::Network, "the provider's address cannot be used").unsent());
    };
    let (mut awaited, mut told) = ("an answer", None);
    let came = {
        let coming = async {
            let Reply { status, headers, body } = exchange(line, &task).await?;
            if !status.is_success() {
                return Ok(Came::Refusal(Reply { status, headers, body }));
            }
            let events = has_type(&headers, "text/event-stream");
            (awaited, told) = (if events { "the first content" } else { "the whole answer" }, Some(status));
            match (events, task.ask.stream) {
                (true, true) => Box::pin(first_content(status, headers, body, &task.facts.id)).await,
                (true, false) => Err(Failure::new(Class::Garbled, "a stream although none was asked for")),
                (false, _) => whole(status, headers, body, &task.facts.id).await,
            }
            .map(Came::Answer)
        };
        turn::by(task.deadline, pin!(coming)).await
    };
    let mut failure = match came {
        Some(Ok(Came::Answer(sent))) => return sent,
        Some(Ok(Came::Refusal(reply))) => {
            let failure = Box::pin(failed(reply, task.deadline)).await;
            return Sent::Failed(if line.forwarded { by_proxy(failure) } else { failure });
        }
        Some(Err(failure)) => failure,
        None => Failure::new(Class::Timeout, format!("{awaited} did not come in time")),
    };
    failure.status = told.map(|status| status.as_u16()).or(failure.status);
    Sent::Failed(failure)
}

/// Sends the request and waits for the head of the answer. A connection of
/// the pool that turns out to be dead before a byte came back gets one
/// immediate replacement.
async fn exchange(line: &Line, task: &Task<'_>) -> Result<Reply, Failure> {
    let Task { caller, ask, provider, facts, .. } = *task;
    let request = Outgoing { template: &line.template, caller, ask, provider, facts };
    let sent = match line.pool.send(false, &request).await {
        Err(problem) if died_idle(&problem) || was_refused_unread(&problem) => Box::pin(line.pool.send(true, &request)).await,
        sent => sent,
    };
    sent.map_err(|problem| broken(&problem))
}

/// Whether the connection had served before and broke before a byte of this
/// answer came: the provider had closed it while it was idle.
fn died_idle(problem: &Problem) -> bool {
    let Problem::Exchange(_, uses) = problem else { return false };
    let unanswered = problem.causes().any(|cause| {
        let closed = cause.downcast_ref::<hyper::Error>().is_some_and(|problem| problem.is_incomplete_message() || problem.is_canceled())
            || matches!(cause.downcast_ref(), Some(Broken::Ended));
        let reset = cause.downcast_ref::<std::io::Error>().is_some_and(|problem| {
            matches!(
                problem.kind(),
                std::io::ErrorKind::ConnectionReset
                    | std::io::ErrorKind::BrokenPipe
                    | std::io::ErrorKind::ConnectionAborted
                    // TLS that ends without a word.
                    | std::io::ErrorKind::UnexpectedEof
            )
        });
        closed || reset
    });
    uses.was_idle() && unanswered
}

/// Whether an HTTP/2 provider says that it never looked at the request.
fn was_refused_unread(problem: &Problem) -> bool {
    problem.causes().any(|cause| {
        let Some(problem) = cause.downcast_ref::<h2::Error>() else { return false };
        let reason = problem.reason();
        reason == Some(h2::Reason::REFUSED_STREAM) || problem.is_go_away() && reason == Some(h2::Reason::NO_ERROR)
    })
}

/// A failure of the connection, in words that hold nothing of the request.
fn broken(problem: &Problem) -> Failure {
    let mut words = Vec::new();
    let mut unsent = matches!(problem, Problem::Connect(_));
    for cause in problem.causes() {
        let timed_out = cause.downcast_ref::<std::io::Error>().is_some_and(|problem| problem.kind() == std::io::ErrorKind::TimedOut);
        if cause.is::<ConnectTimeout>() || unsent && timed_out {
            return Failure::new(Class::Timeout, "no connection in time").unsent();
        }
        unsent |= matches!(cause.downcast_ref(), Some(Broken::Unsent(_)));
        words.push(cause.to_string());
    }
    words.dedup();
    let failure = Failure { loud: is_untrusted(problem), ours: is_exhausted(problem), ..Failure::new(Class::Network, words.join(": ")) };
    if unsent { failure.unsent() } else { failure }
}

/// Whether this machine has no more open files to give.
fn is_exhausted(problem: &Problem) -> bool {
    /// EMFILE and ENFILE, the same on Linux, macOS and the BSDs.
    const TOO_MANY_FILES: [i32; 2] = [24, 23];
    let files = |cause: &std::io::Error| cfg!(unix) && cause.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code));
    problem.causes().any(|cause| cause.downcast_ref().is_some_and(files))
}

/// Whether the provider could not prove who it is.
fn is_untrusted(problem: &Problem) -> bool {
    let certificate =
        |cause: &rustls::Error| matches!(cause, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented);
    problem.causes().any(|cause| within(cause).downcast_ref().is_some_and(certificate))
}

/// What an I/O error was made of, which is not among its causes.
fn within<'e>(cause: &'e (dyn std::error::Error + 'static)) -> &'e (dyn std::error::Error + 'static) {
    let mut inner = cause;
    while let Some(deeper) = inner.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        inner = deeper;
    }
    inner
}

/// Reads a failed answer to its end, so that its connection can be used
/// again, and classifies it.
async fn failed(reply: Reply, deadline: Instant) -> Failure {
    let Reply { status, mut headers, body } = reply;
    let patience = deadline.min(turn::now() + FAILED_PATIENCE);
    let mut collected = Collected::default();
    let _ = turn::by(patience, pin!(collect(body, FAILED, &mut collected))).await;
    let plain = inflate(&mut headers, collected.freeze(), FAILED);
    let (body, decodable) = plain.map_or_else(|_| (Bytes::new(), false), |body| (body, true));
    let text = ErrorText::read(&body);
    let class = if decodable { classify(status.as_u16(), &text) } else { Class::Garbled };
    let mut detail = format!("status {}", status.as_u16());
    if class == Class::ModelGone && text.html {
        detail.push_str(" with a web page: base_url may be wrong (is /v1 missing?)");
    }
    if class == Class::Auth && (text.prose.contains("scope") || text.codes.contains("scope")) {
        detail.push_str(", and names a scope that the key lacks");
    }
    let hint = retry_hint(&headers, &text, SystemTime::now());
    Failure {
        class,
        status: Some(status.as_u16()),
        hint,
        sent: true,
        ours: false,
        loud: false,
        detail,
        refused: Some(Refused { status, headers, body }),
    }
}

/// What a proxy says for itself is no word of the provider's.
fn by_proxy(failure: Failure) -> Failure {
    let own = match failure.status {
        Some(407) => true,
        Some(502..=504) => failure.refused.as_ref().is_none_or(|refused| !has_type(&refused.headers, "application/json")),
        _ => false,
    };
    let Some(status) = failure.status.filter(|_| own) else { return failure };
    Failure { refused: None, hint: None, ..Failure::new(Class::Network, format!("the proxy answered {status} itself")) }.unsent()
}

/// An error inside an answer with a good status.
fn embedded(status: StatusCode, headers: HeaderMap, body: Bytes) -> Failure {
    let text = ErrorText::read(&body);
    let class = classify_embedded(&text);
    let hint = retry_hint(&headers, &text, SystemTime::now());
    let refused = Some(Refused { status, headers, body });
    Failure {
        class,
        status: Some(status.as_u16()),
        hint,
        sent: true,
        ours: false,
        loud: false,
        detail: "an error inside a good answer".to_owned(),
        refused,
    }
}

async fn whole(status: StatusCode, mut headers: HeaderMap, body: Received, asked: &str) -> Result<Sent, Failure> {
    let coded = is_coded(&headers);
    let mut collected = Collected::default();
    match collect(body, HELD, &mut collected).await {
        End::Whole => {}
        End::Broken => return Err(Failure::new(Class::Truncated, "the answer broke off")),
        End::More(_) if coded => return Err(Failure::new(Class::Garbled, "a coded answer that is too large to decode")),
        End::More(rest) => {
            let mut live = Live::new(status, headers, rest, false);
            live.held.push_back(collected.freeze());
            return Ok(Sent::Live(Box::new(live)));
        }
    }
    let body = inflate(&mut headers, collected.freeze(), HELD).map_err(|problem| Failure::new(Class::Garbled, problem.0))?;
    match read_answer(&body) {
        Answer::Completion(usage, model) => {
            let other_model = other(model, asked);
            Ok(Sent::Whole(Whole { status, headers, body, usage, other_model }))
        }
        Answer::Error => Err(embedded(status, headers, body)),
        Answer::Garbled(what) => Err(Failure::new(Class::Garbled, what)),
    }
}

/// Reads events until one says something. Those before it are held and go out
/// with it, so that nothing of a model that fails here reaches the caller.
async fn first_content(status: StatusCode, headers: HeaderMap, body: Received, asked: &str) -> Result<Sent, Failure> {
    if is_coded(&headers) {
        return Err(Failure::new(Class::Garbled, "a coded stream, which was not asked for"));
    }
    let mut live = Box::new(Live::new(status, headers, body, true));
    let mut held = 0;
    loop {
        let event = match poll_fn(|cx| live.poll_event(cx)).await {
            Next::Event(event) => event,
            Next::End if held == 0 => return Err(Failure::new(Class::Garbled, "an empty stream")),
            Next::End => return Err(Failure::new(Class::Truncated, "the stream ended before its first content")),
            Next::Broken(problem) => return Err(Failure::new(Class::Truncated, problem)),
        };
        let Some(data) = event.data() else { continue };
        let (chunk, notes) = read_chunk(&data);
        live.note(notes);
        match chunk {
            Chunk::Content | Chunk::Finish => {
                live.other_model = other(model_of(&data), asked);
                drop(data);
                live.held.push_back(event.forward());
                return Ok(Sent::Live(live));
            }
            Chunk::Error | Chunk::BadFinish => return Err(embedded_event(&live, &event, &data, chunk)),
            Chunk::Done => return Err(Failure::new(Class::Garbled, "an empty completion")),
            Chunk::Garbled => return Err(Failure::new(Class::Garbled, "an event that is not JSON")),
            Chunk::Nothing if event.kind() == Some(b"error") => return Err(embedded_event(&live, &event, &data, chunk)),
            Chunk::Nothing => {
                held += event.raw().len();
                drop(data);
                live.held.push_back(event.forward());
            }
        }
        if held > PREAMBLE {
            return Err(Failure::new(Class::Garbled, "more than 1 MiB of events without content"));
        }
    }
}

/// The model that an answer names, if it is not the one that was asked for.
fn other(named: Option<&str>, asked: &str) -> Option<String> {
    named.filter(|named| *named != asked).map(str::to_owned)
}

fn embedded_event(live: &Live, event: &crate::sse::Event, data: &[u8], chunk: Chunk) -> Failure {
    let mut failure = embedded(live.status, live.headers.clone(), Bytes::copy_from_slice(data));
    if chunk == Chunk::BadFinish && failure.class == Class::Garbled {
        failure.class = Class::ServerError;
    }
    if let Some(refused) = &mut failure.refused {
        refused.body = event.raw().clone();
    }
    failure
}

fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default();
    kind.trim_ascii().eq_ignore_ascii_case(wanted.as_bytes())
}
