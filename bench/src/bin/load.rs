//! Delays, measured from the outside.
//!
//! `load PORT rate SECONDS`: 1,000 small chats a second over 16 kept
//! connections, whatever the answers take.
//! `load PORT streams COUNT`: one stream after the other on a kept connection.
//! `load PORT flight COUNT`: so many requests at once, held open.
//!
//! Prints microseconds: p50 and p99 of each figure.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const RATE: u32 = 1000;
const CONNECTIONS: u32 = 16;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |at: usize| args.get(at).and_then(|text| text.parse::<u32>().ok()).expect("a number");
    let (port, count) = (u16::try_from(number(1)).expect("a port"), number(3));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    match args.get(2).map(String::as_str) {
        Some("rate") => runtime.block_on(rate(port, count)),
        Some("streams") => runtime.block_on(streams(port, count)),
        Some("flight") => runtime.block_on(flight(port, count)),
        _ => panic!("rate, streams or flight"),
    }
}

fn request(stream: bool) -> Vec<u8> {
    let body = format!(r#"{{"model":"LIGHT","stream":{stream},"messages":[{{"role":"user","content":"Say something short."}}]}}"#);
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n";
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A kept connection.
struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    async fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Self { stream, buffer: Vec::with_capacity(64 << 10) }
    }

    async fn read(&mut self) {
        assert!(self.stream.read_buf(&mut self.buffer).await.expect("bytes") > 0, "closed");
    }

    /// Sends, and reads until `end` is there; the time to the first content and to the end.
    async fn ask(&mut self, bytes: &[u8], first: &[u8], end: &[u8]) -> (Duration, Duration) {
        let since = Instant::now();
        self.buffer.clear();
        self.stream.write_all(bytes).await.expect("a write");
        let mut seen = None;
        loop {
            self.read().await;
            if seen.is_none() && memchr::memmem::find(&self.buffer, first).is_some() {
                seen = Some(since.elapsed());
            }
            if memchr::memmem::find(&self.buffer, end).is_some() {
                return (seen.unwrap_or_default(), since.elapsed());
            }
        }
    }
}

async fn rate(port: u16, seconds: u32) {
    let mut tasks = Vec::new();
    let start = Instant::now() + Duration::from_millis(100);
    for number in 0..CONNECTIONS {
        tasks.push(tokio::spawn(async move {
            let (mut line, bytes) = (Line::open(port).await, request(false));
            let mut times = Vec::new();
            let step = Duration::from_secs(1) * CONNECTIONS / RATE;
            for turn in 0..seconds * RATE / CONNECTIONS {
                let due = start + step * turn + step * number / CONNECTIONS;
                tokio::time::sleep_until(due.into()).await;
                times.push(line.ask(&bytes, b"choices", b"\"total_tokens\":32}}").await.1);
            }
            times
        }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await.expect("a task"));
    }
    print("total", times);
}

async fn streams(port: u16, count: u32) {
    let (mut line, bytes) = (Line::open(port).await, request(true));
    let (mut first, mut total) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let (to_first, to_end) = line.ask(&bytes, b" word0", b"0\r\n\r\n").await;
        first.push(to_first);
        total.push(to_end);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    print("first", first);
    print("total", total);
}

async fn flight(port: u16, count: u32) {
    let mut tasks = Vec::new();
    for _ in 0..count {
        tasks.push(tokio::spawn(async move { Line::open(port).await.ask(&request(false), b"choices", b"\"total_tokens\":32}}").await.1 }));
    }
    let mut times = Vec::new();
    for task in tasks {
        times.push(task.await.expect("a task"));
    }
    print("total", times);
}

fn print(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_micros();
    println!("{name} {} {}", at(50), at(99));
}
