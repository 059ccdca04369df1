//! `--demo`: three simulated providers on loopback, of which the first fails,
//! so that a newcomer sees a failover without any key. They are real servers
//! behind real sockets; nothing else in routor knows that they are not.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::Sleep;
use tokio_util::task::TaskTracker;

/// Name, model, and whether it works.
const PROVIDERS: [(&str, &str, bool); 3] =
    [("demo-north", "kimi-simulated", false), ("demo-south", "gemini-simulated", true), ("demo-east", "deepseek-simulated", true)];
/// A simulated model speaks a word this often.
const PER_WORD: Duration = Duration::from_millis(12);
/// The largest request that a simulated provider reads.
const LARGEST: usize = 64 << 20;

/// The simulated providers, while this is kept.
#[derive(Debug)]
pub struct Demo {
    ports: Vec<u16>,
}

impl Demo {
    /// Starts them on free ports; they live as long as the runtime or `tasks`.
    pub async fn start(tasks: &TaskTracker) -> io::Result<Self> {
        let mut ports = Vec::new();
        for (name, model, works) in PROVIDERS {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            ports.push(listener.local_addr()?.port());
            let connections = tasks.clone();
            tasks.spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = stream.set_nodelay(true);
                    let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(name, model, works, request).await) });
                    connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                }
            });
        }
        Ok(Self { ports })
    }

    /// The configuration that uses them and nothing else.
    pub fn config(&self) -> String {
        let mut text = String::new();
        for ((name, model, _), port) in PROVIDERS.iter().zip(&self.ports) {
            text.push_str(&format!("[providers.{name}]\nbase_url = \"http://127.0.0.1:{port}/v1\"\napi_key_env = \"\"\n"));
            text.push_str(&format!("[models.\"{name}/{model}\"]\ncontext_window = 131072\nmax_output = 8192\ntier = \"LIGHT\"\ncapabilities = [\"tools\"]\ninput_usd_per_mtok = 0.0\noutput_usd_per_mtok = 0.0\n"));
        }
        let chain: Vec<String> = PROVIDERS.iter().map(|(name, model, _)| format!("\"{name}/{model}\"")).collect();
        text.push_str("[tiers]\n");
        for tier in crate::catalog::Tier::ALL {
            text.push_str(&format!("{tier} = [{}]\n", chain.join(", ")));
        }
        text
    }
}

async fn answer(name: &'static str, model: &'static str, works: bool, request: Request<Incoming>) -> Response<Words> {
    let path = request.uri().path().to_owned();
    if path.ends_with("/models") {
        let list = json!({"object": "list", "data": [{"id": model, "object": "model", "created": 0, "owned_by": name}]});
        return whole(StatusCode::OK, &list);
    }
    let body = Limited::new(request.into_body(), LARGEST).collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    if !works {
        let error = json!({"error": {"message": format!("{name} is simulated and always overloaded"), "type": "server_error", "param": null, "code": "overloaded"}});
        return whole(StatusCode::SERVICE_UNAVAILABLE, &error);
    }
    let Ok(ask) = serde_json::from_slice::<Value>(&body) else {
        return whole(
            StatusCode::BAD_REQUEST,
            &json!({"error": {"message": "not JSON", "type": "invalid_request_error", "param": null, "code": null}}),
        );
    };
    let reply = Simulated::new(name, model, &ask);
    if ask.get("stream") == Some(&Value::Bool(true)) { reply.stream(&ask) } else { whole(StatusCode::OK, &reply.completion()) }
}

/// What a simulated model says.
struct Simulated {
    id: String,
    model: &'static str,
    text: String,
    tool: Option<String>,
    prompt_tokens: usize,
}

impl Simulated {
    fn new(name: &str, model: &'static str, ask: &Value) -> Self {
        let messages = ask.get("messages").and_then(Value::as_array).cloned().unwrap_or_default();
        let last = messages.last().cloned().unwrap_or_default();
        let said: String = last.get("content").map(spoken).unwrap_or_default().chars().take(200).collect();
        let tool = ask.pointer("/tools/0/function/name").and_then(Value::as_str).filter(|_| last.get("role") != Some(&json!("tool")));
        Self {
            id: format!("chatcmpl-demo-{:016x}", fastrand::u64(..)),
            model,
            text: format!("This is a simulated answer from {name}; no real model was asked. You said: {said}"),
            tool: tool.map(str::to_owned),
            prompt_tokens: messages.iter().map(|message| message.to_string().len() / 4).sum(),
        }
    }

    fn usage(&self) -> Value {
        let completion = self.text.split_whitespace().count();
        json!({"prompt_tokens": self.prompt_tokens, "completion_tokens": completion, "total_tokens": self.prompt_tokens + completion})
    }

    fn call(&self, name: &str) -> Value {
        json!([{"index": 0, "id": "call_demo_1", "type": "function", "function": {"name": name, "arguments": "{}"}}])
    }

    fn completion(&self) -> Value {
        let (message, reason) = match &self.tool {
            Some(name) => (json!({"role": "assistant", "content": null, "tool_calls": self.call(name)}), "tool_calls"),
            None => (json!({"role": "assistant", "content": self.text}), "stop"),
        };
        json!({"id": self.id, "object": "chat.completion", "created": created(), "model": self.model,
               "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": reason}], "usage": self.usage()})
    }

    fn stream(&self, ask: &Value) -> Response<Words> {
        let created = created();
        let chunk = |delta: Value, reason: Value| {
            let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason});
            event(&json!({"id": self.id, "object": "chat.completion.chunk", "created": created, "model": self.model, "choices": [choice]}))
        };
        let mut events = vec![chunk(json!({"role": "assistant", "content": ""}), Value::Null)];
        match &self.tool {
            Some(name) => events.push(chunk(json!({"tool_calls": self.call(name)}), Value::Null)),
            None => events.extend(self.text.split_inclusive(' ').map(|word| chunk(json!({"content": word}), Value::Null))),
        }
        events.push(chunk(json!({}), json!(if self.tool.is_some() { "tool_calls" } else { "stop" })));
        if ask.pointer("/stream_options/include_usage") == Some(&Value::Bool(true)) {
            let usage = json!({"id": self.id, "object": "chat.completion.chunk", "created": created, "model": self.model, "choices": [], "usage": self.usage()});
            events.push(event(&usage));
        }
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        respond(StatusCode::OK, "text/event-stream", Words { pieces: events.into_iter(), wait: None, pause: PER_WORD })
    }
}

/// The text of a message's content, whole or in parts.
fn spoken(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    }
}

fn created() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_secs())
}

fn event(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}

fn whole(status: StatusCode, value: &Value) -> Response<Words> {
    respond(
        status,
        "application/json",
        Words { pieces: vec![Bytes::from(value.to_string())].into_iter(), wait: None, pause: Duration::ZERO },
    )
}

fn respond(status: StatusCode, kind: &'static str, body: Words) -> Response<Words> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A body that comes piece by piece, with a pause before each.
struct Words {
    pieces: std::vec::IntoIter<Bytes>,
    wait: Option<Pin<Box<Sleep>>>,
    pause: Duration,
}

impl Body for Words {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let words = self.as_mut().get_mut();
        if !words.pause.is_zero() {
            let pause = words.pause;
            let wait = words.wait.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
            std::task::ready!(wait.as_mut().poll(cx));
            words.wait = None;
        }
        Poll::Ready(words.pieces.next().map(|piece| Ok(Frame::data(piece))))
    }
}
