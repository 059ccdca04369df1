//! Providers that never answer: they refuse, hang and hang up, as chance has it,
//! and count who is with them at the same time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;

/// The calls at one of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// Under way.
    pub now: usize,
    /// The most that were under way together.
    pub most: usize,
    /// In all.
    pub all: usize,
}

/// Several such providers on one port, each under a path of its own.
pub struct Flaky {
    port: u16,
    calls: Arc<Mutex<Vec<Calls>>>,
}

impl Flaky {
    pub fn start(count: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls = Arc::new(Mutex::new(vec![Calls::default(); count]));
        let shared = Arc::clone(&calls);
        // Its threads end with the test's process.
        thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let calls = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &calls, Rng::with_seed(number as u64)));
            }
        });
        Self { port, calls }
    }

    pub fn base_url(&self, at: usize) -> String {
        format!("http://127.0.0.1:{}/{at}/v1", self.port)
    }

    /// Counts anew.
    pub fn probes_from_now(&self) {
        for calls in self.calls.lock().unwrap().iter_mut() {
            *calls = Calls { most: calls.now, all: 0, ..*calls };
        }
    }

    pub fn probes(&self) -> Vec<Calls> {
        self.calls.lock().unwrap().clone()
    }
}

/// Answers one request after the other on a connection.
fn serve(stream: TcpStream, calls: &Mutex<Vec<Calls>>, mut rng: Rng) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let (path, length) = head(&mut reader)?;
        reader.read_exact(&mut vec![0; length]).ok()?;
        if !path.ends_with("/chat/completions") {
            answer(&stream, "200 OK", r#"{"object":"list","data":[{"id":"m1","object":"model"}]}"#)?;
            continue;
        }
        let at: usize = path.split('/').nth(1)?.parse().ok()?;
        enter(calls, at);
        let goes_on = fail(&stream, &mut rng);
        // Before the last byte goes out the call is not over.
        leave(calls, at);
        if let Some(status) = goes_on {
            answer(&stream, status, r#"{"error":{"message":"not now"}}"#)?;
        } else {
            return None;
        }
    }
}

/// Waits as chance has it; the status to answer with, if any.
fn fail(stream: &TcpStream, rng: &mut Rng) -> Option<&'static str> {
    let patience = match rng.u8(..4) {
        0 => None,
        1 => Some(Duration::from_secs(10)),
        _ => Some(Duration::from_millis(rng.u64(1..30))),
    };
    if let Some(patience) = patience {
        stream.set_read_timeout(Some(patience)).ok()?;
        // Nothing comes, unless the caller leaves.
        if stream.peek(&mut [0]).is_ok() {
            return None;
        }
        stream.set_read_timeout(None).ok()?;
    }
    rng.choice(["500 Internal Server Error", "503 Service Unavailable", "529 Overloaded"]).filter(|_| rng.u8(..4) > 0)
}

/// A call begins. One whose caller has just left needs a moment to see that.
fn enter(calls: &Mutex<Vec<Calls>>, at: usize) {
    let until = Instant::now() + Duration::from_millis(100);
    while calls.lock().unwrap()[at].now > 0 && Instant::now() < until {
        thread::sleep(Duration::from_millis(1));
    }
    let mut calls = calls.lock().unwrap();
    let calls = &mut calls[at];
    calls.now += 1;
    calls.all += 1;
    calls.most = calls.most.max(calls.now);
}

fn leave(calls: &Mutex<Vec<Calls>>, at: usize) {
    calls.lock().unwrap()[at].now -= 1;
}

fn head(reader: &mut impl BufRead) -> Option<(String, usize)> {
    let (mut line, mut length) = (String::new(), 0);
    reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|count| *count > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some(_) => {}
            None => return Some((path, length)),
        }
    }
}

fn answer(mut stream: &TcpStream, status: &str, body: &str) -> Option<()> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).ok()
}
