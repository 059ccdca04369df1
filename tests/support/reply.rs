//! What a scripted provider does with one request: a list of steps, and the
//! constructors for the usual ones. Nothing here touches a socket.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::{events, lock, wait_until};

/// A latch that the test opens and a step waits for. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets everyone through, now and later.
    pub fn open(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    /// Whether it has been opened, waiting for that at most `bound`.
    pub fn opens_within(&self, bound: Duration) -> bool {
        *wait_until(&self.0.0, &self.0.1, bound, |open| *open)
    }
}

/// One thing that a provider does on the connection.
#[derive(Clone)]
pub enum Step {
    /// Writes these bytes.
    Bytes(Vec<u8>),
    /// Is silent for so long.
    Pause(Duration),
    /// Is silent until the test opens the gate.
    WaitFor(Gate),
    /// Closes the connection cleanly (FIN).
    Close,
    /// Resets the connection (RST). The last byte of the request stays unread
    /// for that, so in a reply with this step the peer's leaving is not noticed.
    Reset,
    /// Is silent until the peer closes or the provider is stopped.
    Hang,
}

/// The answer to one request.
#[derive(Clone)]
pub struct Reply {
    before: Vec<Step>,
    head: Option<(u16, Vec<(String, String)>)>,
    steps: Vec<Step>,
    early: bool,
    streaming: Option<Box<Reply>>,
}

impl Reply {
    /// Exactly these steps; afterwards the connection is kept unless one closed it.
    pub fn steps(steps: Vec<Step>) -> Self {
        Self { before: Vec::new(), head: None, steps, early: false, streaming: None }
    }

    /// Exactly these bytes, head and body; afterwards the connection is kept.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self::steps(vec![Step::Bytes(bytes.into())])
    }

    /// Says nothing and keeps the connection.
    pub fn hang() -> Self {
        Self::steps(vec![Step::Hang])
    }

    /// Closes the connection without a byte.
    pub fn close() -> Self {
        Self::steps(vec![Step::Close])
    }

    /// Resets the connection without a byte.
    pub fn reset() -> Self {
        Self::steps(vec![Step::Reset])
    }

    /// This body, as JSON by its content type whatever it is; 204 and 304 have none.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let bare = matches!(status, 100..=199 | 204 | 304);
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        if !bare {
            headers.push(("content-length".to_owned(), body.len().to_string()));
        }
        let steps = if bare { Vec::new() } else { vec![Step::Bytes(body)] };
        Self { head: Some((status, headers)), ..Self::steps(steps) }
    }

    /// A whole `chat.completion` with this text; 9 prompt and 3 completion tokens.
    pub fn completion(text: &str) -> Self {
        let body = json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "m1",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text, "refusal": null}, "logprobs": null, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        });
        Self::json(200, body.to_string())
    }

    /// A completion, or a stream of one piece when the request asks for a stream.
    pub fn answer(text: &str) -> Self {
        Self { streaming: Some(Box::new(Self::stream(&[text]))), ..Self::completion(text) }
    }

    /// An error of this status with the body that OpenAI sends for it; statuses
    /// that OpenAI does not use get a text that blames nobody.
    pub fn status(status: u16) -> Self {
        let (message, kind, code) = match status {
            401 => ("Incorrect API key provided.", "invalid_request_error", json!("invalid_api_key")),
            429 => ("Rate limit reached for requests.", "requests", json!("rate_limit_exceeded")),
            503 | 529 => ("The engine is currently overloaded, please try again later.", "server_error", Value::Null),
            500.. => ("The server had an error while processing your request.", "server_error", Value::Null),
            _ => ("The request was not served.", "invalid_request_error", Value::Null),
        };
        Self::json(status, json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string())
    }

    /// A list of models, as `GET /models` answers.
    pub fn model_list(ids: &[&str]) -> Self {
        let data: Vec<Value> =
            ids.iter().map(|id| json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "lab"})).collect();
        Self::json(200, json!({"object": "list", "data": data}).to_string())
    }

    /// A whole stream: the role, a delta for each piece, finish `stop`, `[DONE]`.
    pub fn stream(pieces: &[&str]) -> Self {
        let mut texts = vec![events::role()];
        texts.extend(pieces.iter().map(|piece| events::content(piece)));
        texts.extend([events::finish("stop"), events::done()]);
        Self::events(texts)
    }

    /// A stream of these event texts, one chunk each, properly ended.
    pub fn events(texts: Vec<String>) -> Self {
        Self::event_stream(texts).and(Step::last_chunk())
    }

    /// A stream of these event texts that then does `step`, without the chunk
    /// that ends it.
    pub fn events_then(texts: Vec<String>, step: Step) -> Self {
        Self::event_stream(texts).and(step)
    }

    fn event_stream(texts: Vec<String>) -> Self {
        let headers =
            [("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), ("transfer-encoding", "chunked")];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let steps = texts.iter().map(Step::chunk).collect();
        Self { head: Some((200, headers)), ..Self::steps(steps) }
    }

    /// With this header, in place of one of the same name that the reply already
    /// has. `connection: close` also closes the connection at the end.
    ///
    /// # Panics
    /// When the reply is made of raw bytes or steps and so has no headers.
    pub fn with_header(self, name: &str, value: &str) -> Self {
        self.changed(&|reply| {
            let (_, headers) = reply.head.as_mut().expect("a reply of raw bytes or steps has no headers to add to");
            headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            headers.push((name.to_owned(), value.to_owned()));
        })
    }

    /// With one more step at the end.
    pub fn and(self, step: Step) -> Self {
        self.changed(&|reply| reply.steps.push(step.clone()))
    }

    /// With a step in front of everything, the status line too.
    pub fn after(self, step: Step) -> Self {
        self.changed(&|reply| reply.before.insert(0, step.clone()))
    }

    /// Answered as soon as the request's head is there: the body is not read
    /// nor recorded, and the connection closes at the end.
    pub fn early(self) -> Self {
        self.changed(&|reply| reply.early = true)
    }

    fn changed(mut self, change: &dyn Fn(&mut Self)) -> Self {
        change(&mut self);
        self.streaming = self.streaming.map(|reply| Box::new(reply.changed(change)));
        self
    }

    /// Whether the body of the request is left alone.
    pub(super) fn is_early(&self) -> bool {
        self.early
    }

    /// Whether it ends in a reset.
    pub(super) fn resets(&self) -> bool {
        self.before.iter().chain(&self.steps).any(|step| matches!(step, Step::Reset))
    }

    /// Whether it says in a header that the connection ends.
    pub(super) fn says_close(&self) -> bool {
        let headers = self.head.iter().flat_map(|(_, headers)| headers);
        headers.into_iter().any(|(name, value)| name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close"))
    }

    /// The reply for a request that asks for a stream, or not.
    pub(super) fn suited(self, stream: bool) -> Self {
        match self.streaming {
            Some(reply) if stream => *reply,
            _ => self,
        }
    }

    /// All that is to be done, with the head in one write with what follows it.
    pub(super) fn into_steps(self) -> Vec<Step> {
        let mut steps = self.steps;
        if let Some((status, headers)) = &self.head {
            let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let head = format!("HTTP/1.1 {status} {}\r\n{lines}\r\n", reason(*status));
            match steps.first_mut() {
                Some(Step::Bytes(bytes)) => drop(bytes.splice(0..0, head.into_bytes())),
                _ => steps.insert(0, Step::Bytes(head.into_bytes())),
            }
        }
        steps.splice(0..0, self.before);
        steps
    }
}

impl Step {
    /// Bytes that are one chunk of a chunked body; not empty, which would end it.
    pub fn chunk(data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref();
        Self::Bytes([format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat())
    }

    /// The chunk that ends a chunked body.
    pub fn last_chunk() -> Self {
        Self::Bytes(b"0\r\n\r\n".to_vec())
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Scripted",
    }
}
