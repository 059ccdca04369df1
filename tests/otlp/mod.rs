//! A collector for OpenTelemetry's traces over HTTP, and a reader for the few
//! fields of its protocol buffers that tests look at.

// What a test file does not use is no mistake.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// `SpanKind` as it is written.
pub const SERVER: u64 = 2;
pub const CLIENT: u64 = 3;
const ERROR: u64 = 2;
/// How long spans are waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// A span, its ids in hexadecimal digits and its times in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct Span {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub kind: u64,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, Value>,
    status: u64,
}

impl Span {
    pub fn is_error(&self) -> bool {
        self.status == ERROR
    }
}

/// What it does with a request.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Good,
    Hangs,
    Refuses,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    heads: Vec<String>,
    bodies: Vec<Vec<u8>>,
    open: Vec<TcpStream>,
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Seen>,
    changed: Condvar,
    stopped: AtomicBool,
}

/// A collector on a free port. Stopped when dropped.
pub struct Collector {
    shared: Arc<Shared>,
    port: u16,
    thread: Option<JoinHandle<()>>,
}

impl Collector {
    /// One that takes everything.
    pub fn start() -> Self {
        Self::with(Manner::Good)
    }

    /// One that takes requests and never answers.
    pub fn hanging() -> Self {
        Self::with(Manner::Hangs)
    }

    /// One that answers 503.
    pub fn refusing() -> Self {
        Self::with(Manner::Refuses)
    }

    fn with(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let own = Arc::clone(&shared);
        let thread = thread::spawn(move || accept(&listener, &own, manner));
        Self { shared, port, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.shared.seen)
    }

    pub fn connections(&self) -> usize {
        self.seen().connections
    }

    /// The paths that were asked for.
    pub fn paths(&self) -> Vec<String> {
        self.seen().heads.iter().filter_map(|head| head.split(' ').nth(1).map(str::to_owned)).collect()
    }

    /// All heads of requests.
    pub fn heads(&self) -> String {
        self.seen().heads.concat()
    }

    /// All bodies as text, whatever they are.
    pub fn everything(&self) -> String {
        String::from_utf8_lossy(&self.seen().bodies.concat()).into_owned()
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.seen().bodies.iter().flat_map(|body| spans(body)).collect()
    }

    /// Everything seen so far is forgotten.
    pub fn forget(&self) {
        self.seen().bodies.clear();
    }

    /// The attributes of the resource of the first request.
    #[track_caller]
    pub fn resource(&self) -> BTreeMap<String, Value> {
        let seen = self.seen();
        let resource_spans = messages(seen.bodies.first().expect("a request"), 1);
        let resource = messages(resource_spans.first().expect("spans"), 1);
        attributes(resource.first().expect("a resource"), 1)
    }

    /// Waits until there are this many spans; gives all there are.
    #[track_caller]
    pub fn wait_spans(&self, count: usize) -> Vec<Span> {
        let number = |seen: &Seen| seen.bodies.iter().map(|body| spans(body).len()).sum::<usize>();
        drop(self.wait(|seen| number(seen) >= count));
        let all = self.spans();
        assert!(all.len() >= count, "waited {PATIENCE:?} for {count} spans; there are {all:#?}");
        all
    }

    /// Waits until something was sent.
    #[track_caller]
    pub fn wait_for_a_request(&self) {
        let came = !self.wait(|seen| !seen.bodies.is_empty()).bodies.is_empty();
        assert!(came, "nothing came in {PATIENCE:?}");
    }

    fn wait(&self, mut met: impl FnMut(&Seen) -> bool) -> MutexGuard<'_, Seen> {
        let until = Instant::now() + PATIENCE;
        let mut seen = self.seen();
        while !met(&seen) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            seen = self.shared.changed.wait_timeout(seen, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        seen
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        for stream in &self.seen().open {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, manner: Manner) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { return };
        let mut seen = lock(&shared.seen);
        seen.connections += 1;
        seen.open.extend(stream.try_clone());
        drop(seen);
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(stream, &shared, manner));
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, manner: Manner) {
    while let Some((head, body)) = read_request(&mut stream) {
        let mut seen = lock(&shared.seen);
        seen.heads.push(head);
        seen.bodies.push(body);
        drop(seen);
        shared.changed.notify_all();
        let line = match manner {
            Manner::Good => "200 OK",
            Manner::Refuses => "503 Service Unavailable",
            // The peer's leaving or the collector's end is waited for.
            Manner::Hangs => return while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {},
        };
        let answer = format!("HTTP/1.1 {line}\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// Head, names in small letters, and body of the next request.
fn read_request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let lower = |line: &str| match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}\n", name.to_lowercase()),
        None => format!("{line}\n"),
    };
    let head: String = text.lines().map(lower).collect();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((head, body))
}

// --- Protocol buffers ---

/// A field's value as it is on the wire.
#[derive(Clone, Debug)]
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The fields of a message with their numbers.
///
/// # Panics
/// When it is none.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes).expect("a field's key");
        let value = match key & 7 {
            0 => Field::Number(varint(&mut bytes).expect("a number")),
            1 => {
                let (own, rest) = bytes.split_at(8);
                bytes = rest;
                Field::Number(u64::from_le_bytes(own.try_into().expect("eight bytes")))
            }
            2 => {
                let length = usize::try_from(varint(&mut bytes).expect("a length")).expect("a small length");
                let (own, rest) = bytes.split_at(length);
                bytes = rest;
                Field::Bytes(own)
            }
            5 => {
                let (own, rest) = bytes.split_at(4);
                bytes = rest;
                Field::Number(u64::from(u32::from_le_bytes(own.try_into().expect("four bytes"))))
            }
            other => panic!("wire type {other}"),
        };
        found.push((key >> 3, value));
    }
    found
}

/// The messages in a repeated field.
fn messages(bytes: &[u8], number: u64) -> Vec<&[u8]> {
    fields(bytes)
        .into_iter()
        .filter_map(|field| if let (own, Field::Bytes(bytes)) = field { (own == number).then_some(bytes) } else { None })
        .collect()
}

fn number_of(bytes: &[u8], number: u64) -> u64 {
    let found = fields(bytes)
        .into_iter()
        .find_map(|field| if let (own, Field::Number(value)) = field { (own == number).then_some(value) } else { None });
    found.unwrap_or_default()
}

fn text_of(bytes: &[u8], number: u64) -> String {
    messages(bytes, number).first().map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default()
}

fn hex_of(bytes: &[u8], number: u64) -> String {
    messages(bytes, number).first().map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect()).unwrap_or_default()
}

/// The `KeyValue`s in a repeated field.
fn attributes(bytes: &[u8], number: u64) -> BTreeMap<String, Value> {
    let value = |any: &[u8]| match fields(any).first() {
        Some((1, Field::Bytes(text))) => json!(String::from_utf8_lossy(text)),
        Some((2, Field::Number(flag))) => json!(*flag != 0),
        Some((3, Field::Number(number))) => json!(number),
        _ => Value::Null,
    };
    let pair = |pair: &[u8]| (text_of(pair, 1), messages(pair, 2).first().map_or(Value::Null, |any| value(any)));
    messages(bytes, number).into_iter().map(pair).collect()
}

/// The spans of an `ExportTraceServiceRequest`.
fn spans(body: &[u8]) -> Vec<Span> {
    let scopes = messages(body, 1).into_iter().flat_map(|resource| messages(resource, 2));
    scopes.flat_map(|scope| messages(scope, 2)).map(span).collect()
}

fn span(bytes: &[u8]) -> Span {
    Span {
        trace: hex_of(bytes, 1),
        id: hex_of(bytes, 2),
        parent: hex_of(bytes, 4),
        name: text_of(bytes, 5),
        kind: number_of(bytes, 6),
        start: number_of(bytes, 7),
        end: number_of(bytes, 8),
        attributes: attributes(bytes, 9),
        status: messages(bytes, 15).first().map_or(0, |status| number_of(status, 3)),
    }
}
