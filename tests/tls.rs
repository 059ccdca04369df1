//! Providers behind TLS: which certificates are trusted, both versions of HTTP,
//! what the faults of each come to, and the proxy of the environment.

mod support;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
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
use support::{ASK, ASK_STREAM, Client, Daemon, Home, Provider, Reply, classes, content, done, finish, open_stream, role, text_of, tried};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Longer than anything that should be quick may take, even on a slow machine.
const QUICK: Duration = Duration::from_secs(3);
/// 100 ms are promised; a slow machine gets more.
const PROMPT: Duration = Duration::from_secs(1);
/// A name of no machine (RFC 6761), reached through a proxy alone.
const FAR: &str = "provider.test";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[track_caller]
fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let until = Instant::now() + support::PATIENCE;
    while !met() {
        assert!(Instant::now() < until, "{what}: not within {:?}", support::PATIENCE);
        thread::sleep(Duration::from_millis(5));
    }
}

// Certificates.

/// An authority that signs certificates for servers.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The authority that the daemons of these tests trust.
static TRUSTED: LazyLock<Authority> = LazyLock::new(|| Authority::new("the trusted authority"));

impl Authority {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = named(&[], name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }
}

fn named(hosts: &[&str], name: &str) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names of hosts");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// What a server shows.
#[derive(Clone, Copy, Debug)]
enum Shown {
    Good,
    Expired,
    OtherHost,
    SelfSigned,
    UnknownAuthority,
}

/// The faults of a certificate.
const BAD: [Shown; 4] = [Shown::Expired, Shown::OtherHost, Shown::SelfSigned, Shown::UnknownAuthority];

fn acceptor(shown: Shown, alpn: &[&str]) -> TlsAcceptor {
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
enum Act {
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
enum Fate {
    Serve,
    /// No byte of the handshake is answered.
    Stall,
    /// HTTP/2: so many chat calls are answered, then GOAWAY(NO_ERROR) says that no
    /// other was looked at, and the connection ends.
    GoAway(usize),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Seen {
    path: String,
    version: Version,
    connection: usize,
}

#[derive(Default)]
struct State {
    seen: Mutex<Vec<Seen>>,
    acts: Mutex<VecDeque<Act>>,
    fates: Mutex<VecDeque<Fate>>,
    stalls: AtomicBool,
    accepted: AtomicUsize,
    /// The connections that are open.
    open: Mutex<Vec<usize>>,
    /// When a held stream was left.
    left: Mutex<Vec<Instant>>,
}

/// A provider behind TLS on a free port. Lives as long as the test's process.
struct Tls {
    state: Arc<State>,
    acceptor: Arc<Mutex<TlsAcceptor>>,
    port: u16,
}

/// Runs a server in a thread of its own; gives its port.
fn serve<F: Future<Output = ()> + 'static>(each: impl Fn(TcpStream) -> F + Send + 'static) -> u16 {
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
    fn start(shown: Shown, alpn: &[&str]) -> Self {
        let state = Arc::new(State::default());
        let acceptor = Arc::new(Mutex::new(acceptor(shown, alpn)));
        let (served, shows) = (Arc::clone(&state), Arc::clone(&acceptor));
        let port = serve(move |stream| connection(Arc::clone(&served), lock(&shows).clone(), stream));
        Self { state, acceptor, port }
    }

    /// What it shows from now on.
    fn shows(&self, shown: Shown) {
        *lock(&self.acceptor) = acceptor(shown, &["h2", "http/1.1"]);
    }

    fn http1() -> Self {
        Self::start(Shown::Good, &["http/1.1"])
    }

    fn http2() -> Self {
        Self::start(Shown::Good, &["h2"])
    }

    fn then(&self, act: Act) {
        lock(&self.state.acts).push_back(act);
    }

    fn next_connection(&self, fate: Fate) {
        lock(&self.state.fates).push_back(fate);
    }

    fn seen(&self) -> Vec<Seen> {
        lock(&self.state.seen).clone()
    }

    fn chats(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.path == CHAT).collect()
    }

    fn lists(&self) -> usize {
        self.seen().iter().filter(|seen| seen.path == "/v1/models").count()
    }

    fn is_open(&self, connection: usize) -> bool {
        lock(&self.state.open).contains(&connection)
    }
}

const CHAT: &str = "/v1/chat/completions";

/// An open connection.
struct Opened(Arc<State>, usize);

impl Drop for Opened {
    fn drop(&mut self) {
        lock(&self.0.open).retain(|id| *id != self.1);
    }
}

async fn connection(state: Arc<State>, acceptor: TlsAcceptor, mut stream: TcpStream) {
    let id = state.accepted.fetch_add(1, Ordering::SeqCst) + 1;
    lock(&state.open).push(id);
    let _opened = Opened(Arc::clone(&state), id);
    let fate = lock(&state.fates).pop_front().unwrap_or(Fate::Serve);
    if fate == Fate::Stall || state.stalls.load(Ordering::SeqCst) {
        let mut sink = [0; 4096];
        while stream.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        return;
    }
    let Ok(tls) = acceptor.accept(stream).await else { return };
    if let Fate::GoAway(after) = fate {
        let _ = go_away(&state, id, tls, after).await;
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

async fn answer(state: Arc<State>, connection: usize, request: Request<Incoming>) -> Result<Response<Sent>, h2::Error> {
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

fn completion() -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_700_000_000, "model": "m1",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "from A"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    })
    .to_string()
}

fn whole(text: &str) -> Response<Sent> {
    let parts = VecDeque::from([Part::Bytes(Bytes::copy_from_slice(text.as_bytes()))]);
    let body = Sent { parts, state: Arc::default() };
    Response::builder().header("content-type", "application/json").header("content-length", text.len()).body(body).expect("an answer")
}

fn pause() -> Part {
    Part::Pause(Box::pin(tokio::time::sleep(Duration::from_millis(50))))
}

enum Part {
    Bytes(Bytes),
    Pause(Pin<Box<tokio::time::Sleep>>),
    Reset(Reason),
    Hold,
}

/// The body of an answer.
struct Sent {
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

// HTTP/2 by hand, for what no library lets a server do.

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const PREFACE: usize = 24;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Answers `after` chat calls; to the next it says GOAWAY(NO_ERROR), naming the
/// last answered stream, and closes.
async fn go_away(state: &State, connection: usize, mut tls: TlsStream<TcpStream>, after: usize) -> std::io::Result<()> {
    tls.read_exact(&mut [0; PREFACE]).await?;
    tls.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let (mut answered, mut last) = (0, 0);
    loop {
        let mut head = [0; 9];
        tls.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        tls.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match head[3] {
            SETTINGS if head[4] & ACK == 0 => tls.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
            HEADERS if answered == after => {
                lock(&state.seen).push(Seen { path: "GOAWAY".to_owned(), version: Version::HTTP_2, connection });
                // The last stream, then NO_ERROR.
                let what = [u32::to_be_bytes(last), [0; 4]].concat();
                tls.write_all(&frame(GOAWAY, 0, 0, &what)).await?;
                tls.shutdown().await?;
                let mut sink = [0; 4096];
                while tls.read(&mut sink).await? > 0 {}
                return Ok(());
            }
            DATA if head[4] & END_STREAM != 0 => {
                (answered, last) = (answered + 1, stream);
                lock(&state.seen).push(Seen { path: CHAT.to_owned(), version: Version::HTTP_2, connection });
                // `:status: 200` of the static table, `content-type` (31) with its value.
                let block = [&[0x88, 0x5f, 16], b"application/json".as_slice()].concat();
                tls.write_all(&frame(HEADERS, END_HEADERS, stream, &block)).await?;
                tls.write_all(&frame(DATA, END_STREAM, stream, completion().as_bytes())).await?;
            }
            _ => {}
        }
    }
}

// A proxy.

/// What a proxy does with CONNECT.
#[derive(Clone, Copy)]
enum Manner {
    /// Connects to this port of 127.0.0.1, whatever the name.
    Tunnel(u16),
    /// Answers with this status.
    Refuse(u16),
}

/// A proxy on a free port that keeps the first line of every request.
struct Proxy {
    asked: Arc<Mutex<Vec<String>>>,
    manner: Arc<Mutex<Manner>>,
    port: u16,
}

impl Proxy {
    fn start(manner: Manner) -> Self {
        let (asked, manner) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(manner)));
        let (noted, kept) = (Arc::clone(&asked), Arc::clone(&manner));
        let port = serve(move |stream| {
            let (noted, manner) = (Arc::clone(&noted), *lock(&kept));
            async move { drop(tunnel(&noted, manner, stream).await) }
        });
        Self { asked, manner, port }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

async fn tunnel(asked: &Mutex<Vec<String>>, manner: Manner, mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let first = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
    lock(asked).push(first);
    match manner {
        Manner::Refuse(status) => {
            stream.write_all(format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n").as_bytes()).await?;
            stream.shutdown().await
        }
        Manner::Tunnel(port) => {
            let mut to = TcpStream::connect(("127.0.0.1", port)).await?;
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
            copy_bidirectional(&mut stream, &mut to).await.map(drop)
        }
    }
}

// Daemons.

/// `a` is behind TLS, at this name; `b` is a plain provider that takes over. No
/// failure makes `a` cool.
fn config(host: &str, a: u16, b: &Provider) -> String {
    let tiers = ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"].map(|tier| format!("{tier} = [\"a/m1\", \"b/m1\"]\n")).concat();
    format!(
        "[providers.a]\nbase_url = \"https://{host}:{a}/v1\"\napi_key_env = \"\"\n\n\
         [providers.b]\nbase_url = \"{}\"\napi_key_env = \"\"\n\n\
         [pool]\nonly = [\"a\", \"b\"]\n\n[timeouts]\nconnect = \"300ms\"\n\n[breaker]\nfailures = 0\n\n[tiers]\n{tiers}",
        b.base_url()
    )
}

/// A home whose processes trust the authority of these tests.
fn home() -> Home {
    let mut home = Home::new();
    let path = home.write("ca.pem", &TRUSTED.pem);
    home.set_env("SSL_CERT_FILE", &path.display().to_string());
    home
}

fn fallback() -> Provider {
    let provider = Provider::start();
    provider.always(Reply::answer("from B"));
    provider
}

/// A daemon in front of a provider behind TLS and one that takes over.
struct Both {
    a: Tls,
    b: Provider,
    daemon: Daemon,
}

impl Both {
    #[track_caller]
    fn start(a: Tls) -> Self {
        Self::start_at("localhost", a, &[])
    }

    #[track_caller]
    fn start_at(host: &str, a: Tls, env: &[(&str, &str)]) -> Self {
        let b = fallback();
        let builder = Daemon::builder().home(home()).config(config(host, a.port, &b));
        let daemon = env.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start();
        Self { a, b, daemon }
    }

    #[track_caller]
    fn said(&self) -> String {
        text_of(&support::post_chat(self.daemon.port(), ASK))
    }

    /// Asks once; the first attempt fails with this class, the second answers.
    #[track_caller]
    fn falls_over_as(&self, class: &str) {
        assert_eq!(self.said(), "from B");
        let record = self.daemon.wait_logs(1).remove(0);
        assert_eq!(tried(&record), ["a", "b"], "{record}");
        assert_eq!(classes(&record).first(), Some(&class), "{record}");
    }
}

/// The texts of a stream's events, joined.
#[track_caller]
fn streamed(both: &Both) -> String {
    let mut stream = open_stream(both.daemon.port(), ASK_STREAM);
    assert_eq!(stream.status, 200);
    let events = stream.events();
    assert!(stream.ended_cleanly(), "{:?}", stream.broken());
    assert_eq!(events.last().map(String::as_str), Some("data: [DONE]"), "{events:?}");
    let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(&support::event_data(event)).ok());
    chunks.filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)).collect()
}

// Both versions of HTTP.

#[test]
fn a_provider_behind_tls_answers_over_http_1_1() {
    let both = Both::start(Tls::http1());
    assert_eq!(both.said(), "from A");
    assert_eq!(streamed(&both), "from A");
    let chats = both.a.chats();
    assert!(chats.len() == 2 && chats.iter().all(|chat| chat.version == Version::HTTP_11), "{chats:?}");
    assert_eq!(both.b.count(), 0);
}

#[test]
fn a_provider_behind_tls_answers_over_http_2() {
    let both = Both::start(Tls::http2());
    assert_eq!(both.said(), "from A");
    let chats = both.a.chats();
    assert!(chats.len() == 1 && chats[0].version == Version::HTTP_2, "{chats:?}");
    assert_eq!(both.b.count(), 0);
}

#[test]
fn a_provider_behind_tls_streams_over_http_2() {
    let both = Both::start(Tls::http2());
    assert_eq!(streamed(&both), "from A");
    let chats = both.a.chats();
    assert!(chats.len() == 1 && chats[0].version == Version::HTTP_2, "{chats:?}");
    assert_eq!(both.b.count(), 0);
}

#[test]
fn http_2_is_preferred_where_both_are_offered() {
    let both = Both::start(Tls::start(Shown::Good, &["h2", "http/1.1"]));
    assert_eq!(both.said(), "from A");
    assert_eq!(both.a.chats()[0].version, Version::HTTP_2);
}

#[test]
fn several_requests_go_over_one_http_2_connection() {
    let both = Both::start(Tls::http2());
    // One connection of the caller stays with one worker.
    let mut client = Client::connect(both.daemon.port());
    for _ in 0..5 {
        assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    }
    let chats = both.a.chats();
    assert_eq!(chats.len(), 5);
    assert!(chats.iter().all(|chat| chat.connection == chats[0].connection), "{chats:?}");
}

#[test]
fn a_loopback_provider_behind_tls_is_validated_with_the_same_roots() {
    let (a, b, home) = (Tls::http2(), fallback(), home());
    let path = home.write("routor.toml", config("localhost", a.port, &b));
    let done = home.run(&["check", "--config", &path.display().to_string(), "--timeout", "3s", "--format", "json"]);
    let report: Value = serde_json::from_str(&done.stdout).expect("a report");
    let row = report["providers"].as_array().and_then(|rows| rows.iter().find(|row| row["provider"] == "a")).expect("a row of a");
    assert_eq!(row["result"], "ok", "{report}");
    assert_eq!(a.lists(), 1);
}

// Faults of HTTP/2.

#[test]
fn an_http_2_stream_reset_before_its_first_content_falls_over() {
    for reason in [Reason::INTERNAL_ERROR, Reason::CANCEL, Reason::NO_ERROR] {
        let both = Both::start(Tls::http2());
        both.a.then(Act::Break(reason));
        assert_eq!(streamed(&both), "from B", "{reason:?}");
        let record = both.daemon.wait_logs(1).remove(0);
        assert_eq!(tried(&record), ["a", "b"], "{reason:?}: {record}");
    }
}

#[test]
fn an_http_2_stream_reset_in_place_of_an_answer_falls_over() {
    let both = Both::start(Tls::http2());
    both.a.then(Act::Refuse(Reason::INTERNAL_ERROR));
    both.falls_over_as("network");
}

#[test]
fn a_refused_http_2_stream_is_survived() {
    let both = Both::start(Tls::http2());
    let mut client = Client::connect(both.daemon.port());
    for _ in 0..3 {
        // The first on a fresh connection, the others on one that has served.
        both.a.then(Act::Refuse(Reason::REFUSED_STREAM));
        let said = text_of(&client.post_chat(ASK));
        assert!(["from A", "from B"].contains(&said.as_str()), "{said}");
        assert!(lock(&both.a.state.acts).is_empty(), "it was not asked");
        assert_eq!(text_of(&client.post_chat(ASK)), "from A", "the connection is good for the next request");
    }
}

#[test]
fn a_fresh_http_2_connection_that_goes_away_is_survived() {
    let both = Both::start(Tls::http2());
    both.a.next_connection(Fate::GoAway(0));
    let said = both.said();
    assert!(["from A", "from B"].contains(&said.as_str()), "{said}");
    assert!(both.a.seen().iter().any(|seen| seen.path == "GOAWAY"), "it went away");
    assert_eq!(both.said(), "from A", "the next request gets a new connection");
}

#[test]
fn a_used_http_2_connection_that_goes_away_is_survived() {
    let both = Both::start(Tls::http2());
    both.a.next_connection(Fate::GoAway(2));
    let mut client = Client::connect(both.daemon.port());
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    let said = text_of(&client.post_chat(ASK));
    assert!(["from A", "from B"].contains(&said.as_str()), "{said}");
    assert!(both.a.seen().iter().any(|seen| seen.path == "GOAWAY"), "it went away");
    assert_eq!(text_of(&client.post_chat(ASK)), "from A", "the next request gets a new connection");
}

#[test]
fn a_caller_that_leaves_resets_its_http_2_stream_at_once_and_nothing_else() {
    let both = Both::start(Tls::http2());
    both.a.then(Act::Hold);
    let mut stream = open_stream(both.daemon.port(), ASK_STREAM);
    while !stream.next_event().expect("content").contains("one") {}
    let at = Instant::now();
    drop(stream);
    eventually("the stream is reset", || !lock(&both.a.state.left).is_empty());
    let took = lock(&both.a.state.left)[0].duration_since(at);
    assert!(took < PROMPT, "the stream was reset after {took:?}");
    thread::sleep(Duration::from_millis(100));
    assert!(both.a.is_open(both.a.chats()[0].connection), "the connection stays open");
    assert_eq!(both.b.count(), 0);
}

// Certificates and handshakes.

#[test]
fn a_certificate_that_cannot_be_trusted_falls_over() {
    for shown in BAD {
        // One that is bad from the start is in no chain: it turns bad later.
        let both = Both::start(Tls::http2());
        both.a.shows(shown);
        let started = Instant::now();
        both.falls_over_as("network");
        assert!(started.elapsed() < QUICK, "{shown:?}: {:?}", started.elapsed());
        assert!(both.a.chats().is_empty(), "{shown:?}: a request was sent");
    }
}

#[test]
fn check_calls_a_provider_with_a_bad_certificate_unreachable() {
    for shown in BAD {
        let (a, b, home) = (Tls::start(shown, &["h2", "http/1.1"]), fallback(), home());
        let path = home.write("routor.toml", config("localhost", a.port, &b));
        let done = home.run(&["check", "--config", &path.display().to_string(), "--timeout", "3s", "--format", "json"]);
        let report: Value = serde_json::from_str(&done.stdout).expect("a report");
        let row = report["providers"].as_array().and_then(|rows| rows.iter().find(|row| row["provider"] == "a")).expect("a row of a");
        assert_eq!(row["result"], "unreachable", "{shown:?}: {report}");
        assert!(row["detail"].as_str().is_some_and(|detail| detail.contains("certificate")), "{shown:?}: {row}");
        assert!(a.seen().is_empty(), "{shown:?}: a request was sent");
    }
}

#[test]
fn a_handshake_that_stalls_falls_over_after_the_connect_time() {
    let both = Both::start(Tls::http2());
    both.a.state.stalls.store(true, Ordering::SeqCst);
    let started = Instant::now();
    both.falls_over_as("timeout");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(290) && took < QUICK, "{took:?}");
}

#[test]
fn a_machine_without_any_certificate_store_still_starts() {
    let b = fallback();
    let config = support::chain_config(&[("b", &b)]);
    let none = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    for env in [&none[..1], &none[..]] {
        let builder = Daemon::builder().config(config.clone());
        let daemon = env.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start();
        assert_eq!(text_of(&support::post_chat(daemon.port(), ASK)), "from B");
    }
}

// The proxy of the environment.

/// Nobody listens there.
const DEAD: &str = "http://127.0.0.1:9";
const DEAD_PROXY: [(&str, &str); 4] = [("HTTP_PROXY", DEAD), ("http_proxy", DEAD), ("HTTPS_PROXY", DEAD), ("ALL_PROXY", DEAD)];

#[test]
fn the_proxy_of_the_environment_is_used_for_validation_and_chat() {
    for alpn in ["http/1.1", "h2"] {
        let a = Tls::start(Shown::Good, &[alpn]);
        let proxy = Proxy::start(Manner::Tunnel(a.port));
        let both = Both::start_at(FAR, a, &[("HTTPS_PROXY", &proxy.url())]);
        assert_eq!(both.a.lists(), 1, "{alpn}: validated");
        let before = proxy.asked().len();
        assert!(before >= 1, "{alpn}");
        assert_eq!(both.said(), "from A", "{alpn}");
        assert_eq!(streamed(&both), "from A", "{alpn}");
        let asked = proxy.asked();
        assert!(asked.len() > before, "{alpn}: {asked:?}");
        let wanted = format!("CONNECT {FAR}:{} HTTP/1.1", both.a.port);
        assert!(asked.iter().all(|line| *line == wanted), "{alpn}: {asked:?}");
    }
}

#[test]
fn no_proxy_is_honoured() {
    let a = Tls::http2();
    let proxy = Proxy::start(Manner::Tunnel(a.port));
    let both = Both::start_at(FAR, a, &[("HTTPS_PROXY", &proxy.url()), ("NO_PROXY", FAR)]);
    assert_eq!(both.said(), "from B", "its name cannot be looked up");
    assert_eq!(proxy.asked(), [""; 0]);
    assert!(both.a.seen().is_empty());
}

#[test]
fn a_proxy_that_refuses_falls_over() {
    for status in [407, 502] {
        let a = Tls::http2();
        // With one that refuses from the start, the provider is in no chain.
        let proxy = Proxy::start(Manner::Tunnel(a.port));
        let both = Both::start_at(FAR, a, &[("HTTPS_PROXY", &proxy.url())]);
        let before = proxy.asked().len();
        *lock(&proxy.manner) = Manner::Refuse(status);
        both.falls_over_as("network");
        assert!(proxy.asked().len() > before, "{status}");
        assert!(both.a.chats().is_empty(), "{status}");
    }
}

#[test]
fn no_proxy_is_asked_for_plain_providers_on_this_machine() {
    let b = fallback();
    let builder = Daemon::builder().config(support::chain_config(&[("b", &b)]));
    let daemon = DEAD_PROXY.iter().fold(builder, |builder, (name, value)| builder.env(name, value)).start();
    assert_eq!(text_of(&support::post_chat(daemon.port(), ASK)), "from B");
    assert!(b.requests().iter().any(|request| request.path.ends_with("/models")), "validated");
}

#[test]
fn no_proxy_is_asked_for_providers_behind_tls_on_this_machine() {
    let both = Both::start_at("localhost", Tls::http2(), &DEAD_PROXY);
    assert_eq!(both.said(), "from A");
    assert_eq!(both.a.lists(), 1, "validated");
}
