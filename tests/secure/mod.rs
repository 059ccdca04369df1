//! A provider behind TLS with its certificates, and a daemon in front of it. A
//! test file says `mod support;` beside it.

#![forbid(unsafe_code)]
// Every test file compiles this module anew and uses only a part of it.
#![allow(dead_code)]

pub mod frames;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    self, ASK, ASK_STREAM, Daemon, Home, Provider, Reply, classes, content, done, finish, open_stream, role, text_of, tried,
};
use frames::{End, by_hand};

/// A name of no machine (RFC 6761), reached through a proxy alone.
pub const FAR: &str = "provider.test";

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[track_caller]
pub fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let until = Instant::now() + support::PATIENCE;
    while !met() {
        assert!(Instant::now() < until, "{what}: not within {:?}", support::PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
}

// Certificates.

/// An authority that signs certificates for servers.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The authority that the daemons of these tests trust.
pub static TRUSTED: LazyLock<Authority> = LazyLock::new(|| Authority::new("the trusted authority"));

impl Authority {
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = named(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }
}

pub fn named(hosts: &[&str], name: &str) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names of hosts");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// What a server shows.
#[derive(Clone, Copy, Debug)]
pub enum Shown {
    Good,
    Expired,
    OtherHost,
    SelfSigned,
    UnknownAuthority,
}

/// The faults of a certificate.
pub const BAD: [Shown; 4] = [Shown::Expired, Shown::OtherHost, Shown::SelfSigned, Shown::UnknownAuthority];

pub fn acceptor(shown: Shown, alpn: &[&str]) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let hosts: &[&str] = if matches!(shown, Shown::OtherHost) { &["other.test"] } else { &["localhost", FAR] };
    let mut params = named(hosts, "a provider");
    if matches!(shown, Shown::Expired) {
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    }
    let signed = match shown {
        Shown::SelfSigned => params.self_signed(&key),
        Shown::UnknownAuthority => params.signed_by(&key, &Authority::new("an unknown authority").issuer),
        Shown::Good | Shown::Expired | Shown::OtherHost => params.signed_by(&key, &TRUSTED.issuer),
    };
    let chain = vec![signed.expect("a certificate").der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("versions of TLS").with_no_client_auth();
    let mut config = builder.with_single_cert(chain, key).expect("a certificate with its key");
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

// A provider behind TLS.

/// What happens to a chat call.
#[derive(Clone, Copy)]
pub enum Act {
    /// "from A", as a stream when asked for one.
    Answer,
    /// The stream is reset in place of an answer.
    Refuse(Reason),
    /// A stream that is reset before its first content.
    Break(Reason),
    /// A stream that says "one" and then nothing until it is left.
    Hold,
}

/// What happens to a connection.
#[derive(Clone, Copy, PartialEq)]
pub enum Fate {
    /// Handshake and HTTP as they should be.
    Serve,
    /// No byte of the handshake is answered.
    Stall,
    /// The first bytes of the client are answered with these, and nothing else is.
    Say(&'static [u8]),
    /// HTTP/2: so many chat calls are answered, then comes this end.
    ByHand(usize, End),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The path, or `GOAWAY` for one that was answered with that.
    pub path: String,
    /// The version of HTTP.
    pub version: Version,
    /// Which connection it came on, counted from 1.
    pub connection: usize,
}

#[derive(Default)]
pub struct State {
    seen: Mutex<Vec<Seen>>,
    acts: Mutex<VecDeque<Act>>,
    fates: Mutex<VecDeque<Fate>>,
    /// What happens to connections for which nothing is queued.
    always: Mutex<Option<Fate>>,
    accepted: AtomicUsize,
    /// The connections that are open.
    open: Mutex<Vec<usize>>,
    /// When a held stream was left.
    left: Mutex<Vec<Instant>>,
}

/// A provider behind TLS on a free port. Lives as long as the test's process.
pub struct Tls {
    state: Arc<State>,
    acceptor: Arc<Mutex<TlsAcceptor>>,
    /// Its port on 127.0.0.1.
    pub port: u16,
}

/// Runs a server in a thread of its own; gives its port.
pub fn serve<F: Future<Output = ()> + 'static>(each: impl Fn(TcpStream) -> F + Send + 'static) -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port on 127.0.0.1");
    listener.set_nonblocking(true).expect("a listener that does not block");
    let port = listener.local_addr().expect("the address of a bound listener").port();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                tokio::task::spawn_local(each(stream));
            }
        });
    });
    port
}

impl Tls {
    pub fn start(shown: Shown, alpn: &[&str]) -> Self {
        let state = Arc::new(State::default());
        let acceptor = Arc::new(Mutex::new(acceptor(shown, alpn)));
        let (served, shows) = (Arc::clone(&state), Arc::clone(&acceptor));
        let port = serve(move |stream| connection(Arc::clone(&served), lock(&shows).clone(), stream));
        Self { state, acceptor, port }
    }

    /// What it shows from now on.
    pub fn shows(&self, shown: Shown) {
        *lock(&self.acceptor) = acceptor(shown, &["h2", "http/1.1"]);
    }

    pub fn http1() -> Self {
        Self::start(Shown::Good, &["http/1.1"])
    }

    pub fn http2() -> Self {
        Self::start(Shown::Good, &["h2"])
    }

    pub fn then(&self, act: Act) {
        lock(&self.state.acts).push_back(act);
    }

    /// What happens to the connection after those that already have a fate.
    pub fn next_connection(&self, fate: Fate) {
        lock(&self.state.fates).push_back(fate);
    }

    /// What happens to every connection for which nothing is queued.
    pub fn every_connection(&self, fate: Fate) {
        *lock(&self.state.always) = Some(fate);
    }

    /// How many of the acts no chat call has taken yet.
    pub fn acts_left(&self) -> usize {
        lock(&self.state.acts).len()
    }

    /// When held streams were left.
    pub fn left(&self) -> Vec<Instant> {
        lock(&self.state.left).clone()
    }

    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }

    pub fn chats(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path == CHAT).collect()
    }

    pub fn lists(&self) -> usize {
        self.seen().iter().filter(|seen| seen.path == "/v1/models").count()
    }

    pub fn is_open(&self, connection: usize) -> bool {
        lock(&self.state.open).contains(&connection)
    }
}

pub const CHAT: &str = "/v1/chat/completions";

/// An open connection.
pub struct Opened(Arc<State>, usize);

impl Drop for Opened {
    fn drop(&mut self) {
        lock(&self.0.open).retain(|id| *id != self.1);
    }
}

pub async fn connection(state: Arc<State>, acceptor: TlsAcceptor, mut stream: TcpStream) {
    let id = state.accepted.fetch_add(1, Ordering::SeqCst) + 1;
    lock(&state.open).push(id);
    let _opened = Opened(Arc::clone(&state), id);
    let queued = lock(&state.fates).pop_front();
    let fate = queued.or(*lock(&state.always)).unwrap_or(Fate::Serve);
    if let Fate::Stall | Fate::Say(_) = fate {
        let mut sink = [0; 4096];
        let _ = stream.read(&mut sink).await;
        if let Fate::Say(bytes) = fate {
            let _ = stream.write_all(bytes).await;
        }
        while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        return;
    }
    let Ok(tls) = acceptor.accept(stream).await else { return };
    if let Fate::ByHand(after, end) = fate {
        let _ = by_hand(&state, id, tls, after, end).await;
        return;
    }
    let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2".as_slice());
    let service = service_fn(move |request| answer(Arc::clone(&state), id, request));
    let io = TokioIo::new(tls);
    // How a connection ends is for the test to see at the daemon.
    if is_http2 {
        let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await;
    } else {
        let _ = http1::Builder::new().serve_connection(io, service).await;
    }
}

pub async fn answer(state: Arc<State>, connection: usize, request: Request<Incoming>) -> Result<Response<Sent>, h2::Error> {
    let (path, version) = (request.uri().path().to_owned(), request.version());
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    lock(&state.seen).push(Seen { path: path.clone(), version, connection });
    if path != CHAT {
        return Ok(whole(&json!({"object": "list", "data": [{"id": "m1", "object": "model"}]}).to_string()));
    }
    let streamed = serde_json::from_slice::<Value>(&body).is_ok_and(|body| body["stream"] == true);
    let act = lock(&state.acts).pop_front().unwrap_or(Act::Answer);
    let say = |text: String| Part::Bytes(Bytes::from(text));
    let stream = |parts: Vec<Part>| {
        let body = Sent { parts: parts.into(), state: Arc::clone(&state) };
        Response::builder().header("content-type", "text/event-stream").body(body).expect("an answer")
    };
    match act {
        Act::Refuse(reason) => Err(reason.into()),
        Act::Break(reason) => Ok(stream(vec![say(role()), pause(), Part::Reset(reason)])),
        Act::Hold => Ok(stream(vec![say(role() + &content("one")), Part::Hold])),
        Act::Answer if streamed => {
            Ok(stream(vec![say(role()), say(content("from ")), pause(), say(content("A")), say(finish("stop") + &done())]))
        }
        Act::Answer => Ok(whole(&completion())),
    }
}

pub fn completion() -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "m1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "from A"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    })
    .to_string()
}

pub fn whole(text: &str) -> Response<Sent> {
    let parts = VecDeque::from([Part::Bytes(Bytes::copy_from_slice(text.as_bytes()))]);
    let body = Sent { parts, state: Arc::default() };
    Response::builder().header("content-type", "application/json").header("content-length", text.len()).body(body).expect("an answer")
}

pub fn pause() -> Part {
    Part::Pause(Box::pin(tokio::time::sleep(Duration::from_millis(50))))
}

pub enum Part {
    Bytes(Bytes),
    Pause(Pin<Box<tokio::time::Sleep>>),
    Reset(Reason),
    Hold,
}

/// The body of an answer.
pub struct Sent {
    parts: VecDeque<Part>,
    state: Arc<State>,
}

impl Body for Sent {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        loop {
            match self.parts.pop_front() {
                None => return Poll::Ready(None),
                Some(Part::Bytes(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Part::Reset(reason)) => return Poll::Ready(Some(Err(reason.into()))),
                Some(Part::Hold) => {
                    self.parts.push_front(Part::Hold);
                    return Poll::Pending;
                }
                Some(Part::Pause(mut sleep)) => {
                    if sleep.as_mut().poll(cx).is_pending() {
                        self.parts.push_front(Part::Pause(sleep));
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if matches!(self.parts.front(), Some(Part::Hold)) {
            lock(&self.state.left).push(Instant::now());
        }
    }
}

// Daemons.

/// `a` is behind TLS, at this name; `b` is a plain provider that takes over. No
/// failure makes `a` cool.
pub fn config(host: &str, a: u16, b: &Provider) -> String {
    let tiers = ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"].map(|tier| format!("{tier} = [\"a/m1\", \"b/m1\"]\n")).concat();
    format!(
        "[providers.a]\nbase_url = \"https://{host}:{a}/v1\"\napi_key_env = \"\"\n\n\
         [providers.b]\nbase_url = \"{}\"\napi_key_env = \"\"\n\n\
         [pool]\nonly = [\"a\", \"b\"]\n\n[timeouts]\nconnect = \"300ms\"\n\n[breaker]\nfailures = 0\n\n[tiers]\n{tiers}",
        b.base_url()
    )
}

/// A home whose processes trust the authority of these tests.
pub fn home() -> Home {
    let mut home = Home::new();
    let path = home.write("ca.pem", &TRUSTED.pem);
    home.set_env("SSL_CERT_FILE", &path.display().to_string());
    home
}

pub fn fallback() -> Provider {
    let provider = Provider::start();
    provider.always(Reply::answer("from B"));
    provider
}

/// A daemon in front of a provider behind TLS and one that takes over.
pub struct Both {
    /// The provider behind TLS.
    pub a: Tls,
    /// The one that takes over.
    pub b: Provider,
    /// The daemon in front of them.
    pub daemon: Daemon,
}

impl Both {
    #[track_caller]
    pub fn start(a: Tls) -> Self {
        Self::start_at("localhost", a, &[])
    }

    #[track_caller]
    pub fn start_at(host: &str, a: Tls, env: &[(&str, &str)]) -> Self {
        let b = fallback();
        let builder = Daemon::builder().home(home()).config(config(host, a.port, &b));
        let daemon = env.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start();
        Self { a, b, daemon }
    }

    #[track_caller]
    pub fn said(&self) -> String {
        text_of(&support::post_chat(self.daemon.port(), ASK))
    }

    /// Asks once; the first attempt fails with this class, the second answers.
    #[track_caller]
    pub fn falls_over_as(&self, class: &str) {
        assert_eq!(self.said(), "from B");
        let record = self.daemon.wait_logs(1).remove(0);
        assert_eq!(tried(&record), ["a", "b"], "{record}");
        assert_eq!(classes(&record).first(), Some(&class), "{record}");
    }
}

/// The texts of a stream's events, joined.
#[track_caller]
pub fn streamed(both: &Both) -> String {
    let mut stream = open_stream(both.daemon.port(), ASK_STREAM);
    assert_eq!(stream.status, 200);
    let events = stream.events();
    assert!(stream.ended_cleanly(), "{:?}", stream.broken());
    assert_eq!(events.last().map(String::as_str), Some("data: [DONE]"), "{events:?}");
    let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(&support::event_data(event)).ok());
    chunks.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}
