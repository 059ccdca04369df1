//! What a provider has been told to do and what it has seen: the state between
//! the test and the threads that serve connections.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;

use super::lock;
use super::reply::Reply;
use super::request::Head;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// `GET`, `POST`, …
    pub method: String,
    /// The target, query included.
    pub path: String,
    /// Names in small letters, in the order they came.
    pub headers: Vec<(String, String)>,
    /// The body as text; what is not UTF-8 is replaced.
    pub body: String,
    /// The body byte for byte.
    pub bytes: Vec<u8>,
    /// Which connection it came on, counted from 1.
    pub connection: usize,
    /// When it was complete.
    pub at: Instant,
}

impl Received {
    /// The first value of this header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON, `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }

    /// Whether it is a chat call.
    pub fn is_chat(&self) -> bool {
        is_chat(&self.method, &self.path)
    }
}

fn is_chat(method: &str, path: &str) -> bool {
    method == "POST" && without_query(path).ends_with("/chat/completions")
}

fn without_query(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

/// One accepted connection, which its own thread serves.
pub(super) struct Connection {
    /// Its number, counted from 1.
    pub id: usize,
    /// Read and written by its own thread; others only shut it down.
    pub stream: TcpStream,
    /// The provider closed it, so the peer did not leave.
    pub closed_here: AtomicBool,
}

impl Connection {
    /// Ends it from another thread; whatever blocks on it returns.
    pub fn close(&self) {
        self.closed_here.store(true, Ordering::SeqCst);
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The part of a script that changes.
pub(super) struct State {
    /// Replies for the next chat calls.
    pub queue: VecDeque<Reply>,
    /// The reply when the queue is empty.
    pub always: Reply,
    /// Replies to other calls, by the end of the path; the latest wins.
    pub routes: Vec<(String, Reply)>,
    /// Replies for the next connections, before anything is read.
    pub on_accept: VecDeque<Reply>,
    /// Every complete request, in order.
    pub requests: Vec<Received>,
    /// When peers left during a chat reply.
    pub left: Vec<Instant>,
    /// How many connections were accepted.
    pub accepted: usize,
    /// The connections that are served now.
    pub open: Vec<Arc<Connection>>,
    /// The threads that serve them, and some that are done.
    pub threads: Vec<JoinHandle<()>>,
}

/// The script of one provider.
pub(super) struct Script {
    /// Everything in it.
    pub state: Mutex<State>,
    /// Told when a request arrives, a peer leaves or a connection ends.
    pub changed: Condvar,
}

impl Script {
    /// Answers like a provider that works, with the model `m1`.
    pub fn new() -> Self {
        let state = State {
            queue: VecDeque::new(),
            always: Reply::answer("hello"),
            routes: vec![("/models".to_owned(), Reply::model_list(&["m1"]))],
            on_accept: VecDeque::new(),
            requests: Vec::new(),
            left: Vec::new(),
            accepted: 0,
            open: Vec::new(),
            threads: Vec::new(),
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The reply for this request, and whether it is a chat call.
    pub fn choose(&self, head: &Head) -> (Reply, bool) {
        let mut state = lock(&self.state);
        if is_chat(&head.method, &head.path) {
            let next = state.queue.pop_front();
            return (next.unwrap_or_else(|| state.always.clone()), true);
        }
        let path = without_query(&head.path);
        let known = state.routes.iter().rev().find(|(end, _)| path.ends_with(end));
        (known.map_or_else(|| Reply::status(404), |(_, reply)| reply.clone()), false)
    }

    /// Notes a request that has arrived.
    pub fn record(&self, head: Head, bytes: Vec<u8>, connection: usize) {
        let Head { method, path, headers } = head;
        let body = String::from_utf8_lossy(&bytes).into_owned();
        lock(&self.state).requests.push(Received { method, path, headers, body, bytes, connection, at: Instant::now() });
        self.changed.notify_all();
    }

    /// Notes that a peer left before its reply was over.
    pub fn peer_left(&self) {
        lock(&self.state).left.push(Instant::now());
        self.changed.notify_all();
    }
}
