//! A provider that costs as little as possible: one thread, fixed answers.
//!
//! `mock PORT FAILING`: `/v1/…` answers, `/fail/v1/…` says 503, `/slow/v1/…`
//! takes a second, `…/models` lists one model. At the port FAILING every answer
//! is a 503, for proxies that cannot tell providers apart by their paths.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

const ANSWER: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Four score and seven years ago our fathers brought forth, on this continent, a new nation.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":20,"total_tokens":32}}"#;
const BUSY: &str = r#"{"error":{"message":"The model is overloaded.","type":"server_error","param":null,"code":"overloaded"}}"#;
const MODELS: &str = r#"{"object":"list","data":[{"id":"m","object":"model","created":0,"owned_by":"mock"}]}"#;
/// Content events of a stream; with the role, the finish and the end, 53 in all.
const WORDS: usize = 50;

fn main() {
    let mut ports = std::env::args().skip(1).map(|port| port.parse().expect("a port"));
    let (port, failing) = (ports.next().expect("a port"), ports.next().expect("the failing port"));
    let events: &'static [Bytes] = events().leak();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::join!(serve(port, false, events), serve(failing, true, events)) });
}

async fn serve(port: u16, fails: bool, events: &'static [Bytes]) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port");
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let service = service_fn(move |request| answer(request, fails, events));
        tokio::spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn events() -> Vec<Bytes> {
    let event = |delta: &str, finish: &str| {
        Bytes::from(format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
        ))
    };
    let mut all = vec![event("{\"role\":\"assistant\",\"content\":\"\"}", "null")];
    all.extend((0..WORDS).map(|word| event(&format!("{{\"content\":\" word{word}\"}}"), "null")));
    all.push(event("{}", "\"stop\""));
    all.push(Bytes::from_static(b"data: [DONE]\n\n"));
    all
}

async fn answer(request: Request<Incoming>, fails: bool, events: &'static [Bytes]) -> Result<Response<Out>, Infallible> {
    let path = request.uri().path().to_owned();
    let fails = fails || path.starts_with("/fail") && !path.ends_with("/models");
    let mut body = request.into_body();
    let mut stream = false;
    while let Some(Ok(frame)) = body.frame().await {
        stream |= frame.data_ref().is_some_and(|data| memchr::memmem::find(data, b"\"stream\":true").is_some());
    }
    if path.starts_with("/slow") {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let whole = |text: &'static str| Response::new(Out::Whole(Some(Bytes::from_static(text.as_bytes()))));
    let (mut response, kind) = match path.as_str() {
        path if path.ends_with("/models") => (whole(MODELS), "application/json"),
        _ if fails => (whole(BUSY), "application/json"),
        _ if stream => (Response::new(Out::Events { left: events, waited: false }), "text/event-stream"),
        _ => (whole(ANSWER), "application/json"),
    };
    if fails {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

enum Out {
    Whole(Option<Bytes>),
    /// Each event is written on its own, as a model's words come.
    Events {
        left: &'static [Bytes],
        waited: bool,
    },
}

impl Body for Out {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Out::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Out::Events { left, waited } => {
                let Some((first, rest)) = left.split_first() else { return Poll::Ready(None) };
                if !std::mem::replace(waited, true) {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                (*left, *waited) = (rest, false);
                Poll::Ready(Some(Ok(Frame::data(first.clone()))))
            }
        }
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Out::Whole(bytes) => hyper::body::SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Out::Events { .. } => hyper::body::SizeHint::default(),
        }
    }
}
