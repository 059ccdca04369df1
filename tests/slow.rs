//! Callers that take their time. The clocks here are real and long, so they all
//! run side by side, once, against one daemon; each test looks at its own part.

mod port;
mod support;

use std::any::Any;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use port::{CHAT, ask, table};
use serde_json::{Value, json};
use support::{Client, Daemon, PATIENCE, Provider, get, post_chat};

/// How late a clock may be noticed: it is looked at every 10 s, and the machine may be busy.
const LATE: Duration = Duration::from_secs(30);
/// How early, as this side and the daemon do not start to count at the same moment.
const EARLY: Duration = Duration::from_secs(1);

// --- A provider that never stops ---

/// What it would send if nobody held it back.
const ENDLESS: u64 = 1 << 30;

/// A provider whose every answer is a stream of 1 GiB.
struct Flood {
    port: u16,
    seen: Arc<Seen>,
    accepting: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    /// Bytes of answers that went out.
    written: AtomicU64,
    /// Answers whose reader left before their end.
    left: AtomicUsize,
    over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Flood {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let accepting = thread::spawn(move || {
            let mut serving = Vec::new();
            while let Ok((stream, _)) = listener.accept()
                && !shared.over.load(Ordering::SeqCst)
            {
                shared.open.lock().unwrap().push(stream.try_clone().unwrap());
                let seen = Arc::clone(&shared);
                serving.push(thread::spawn(move || drop(flood(stream, &seen))));
            }
            serving.into_iter().for_each(|thread| drop(thread.join()));
        });
        Self { port, seen, accepting: Some(accepting) }
    }

    fn table(&self) -> String {
        format!("[providers.flood]\nbase_url = \"http://127.0.0.1:{}/v1\"\napi_key_env = \"\"\n", self.port)
    }

    fn written(&self) -> u64 {
        self.seen.written.load(Ordering::SeqCst)
    }

    /// Waits until so many readers have left.
    #[track_caller]
    fn wait_for_left(&self, count: usize, bound: Duration) -> Duration {
        let started = Instant::now();
        while self.seen.left.load(Ordering::SeqCst) < count {
            assert!(started.elapsed() < bound, "{} of {count} were let go of", self.seen.left.load(Ordering::SeqCst));
            thread::sleep(Duration::from_millis(20));
        }
        started.elapsed()
    }

    /// Waits until it has been unable to write for a second; gives what it wrote.
    #[track_caller]
    fn wait_for_standstill(&self, bound: Duration) -> u64 {
        let started = Instant::now();
        let (mut written, mut since) = (self.written(), Instant::now());
        while written == 0 || since.elapsed() < Duration::from_secs(1) {
            assert!(started.elapsed() < bound, "it is still writing, after {written} bytes");
            thread::sleep(Duration::from_millis(20));
            let now = self.written();
            if now != written {
                (written, since) = (now, Instant::now());
            }
        }
        written
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::SeqCst);
        let open = std::mem::take(&mut *self.seen.open.lock().unwrap_or_else(PoisonError::into_inner));
        open.iter().for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
        // Wakes the thread from its accept.
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        self.accepting.take().map(thread::JoinHandle::join);
    }
}

/// Answers what comes on one connection.
fn flood(stream: TcpStream, seen: &Seen) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (first, length) = read_head(&mut reader)?;
        io::copy(&mut (&mut reader).take(length), &mut io::sink())?;
        if first.starts_with("POST") {
            let broken = pour(&stream, seen);
            seen.left.fetch_add(1, Ordering::SeqCst);
            return broken;
        }
        let list = r#"{"object":"list","data":[{"id":"m1","object":"model","owned_by":"lab"}]}"#;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", list.len());
        (&stream).write_all(format!("{head}{list}").as_bytes())?;
    }
}

/// The first line of a request and the length of its body.
fn read_head(reader: &mut impl BufRead) -> io::Result<(String, u64)> {
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            return Ok((first, length));
        }
    }
}

fn pour(mut stream: &TcpStream, seen: &Seen) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")?;
    let event = support::content(&"x".repeat(1800));
    let events = event.repeat(32);
    let chunk = format!("{:x}\r\n{events}\r\n", events.len());
    for _ in 0..ENDLESS / chunk.len() as u64 {
        stream.write_all(chunk.as_bytes())?;
        seen.written.fetch_add(chunk.len() as u64, Ordering::SeqCst);
    }
    Ok(())
}

const FLOOD: &str = r#"{"model":"flood/m1","routor_profile":"direct","stream":true,"messages":[{"role":"user","content":"hi"}]}"#;

/// A caller of the flood whose system takes only a few bytes that it has not read.
#[track_caller]
fn caller_of_flood(port: u16) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).unwrap();
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{FLOOD}",
        FLOOD.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// `a`, who answers at once, and the flood, which is asked only by its name.
fn daemon_for(a: &Provider, flood: &Flood) -> Daemon {
    let tiers = ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"].map(|tier| format!("{tier} = [\"a/m1\"]\n")).concat();
    Daemon::start(format!("{}{}[pool]\nonly = [\"a\", \"flood\"]\n[tiers]\n{tiers}", table("a", a), flood.table()))
}

// --- Back-pressure ---

const STREAMS: usize = 50;

/// So many callers who have seen the first byte of the flood and read no more;
/// and what the provider could write.
#[track_caller]
fn stopped_reading(daemon: &Daemon, flood: &Flood) -> (Vec<TcpStream>, u64) {
    let callers: Vec<TcpStream> = (0..STREAMS).map(|_| caller_of_flood(daemon.port())).collect();
    for caller in &callers {
        assert!(caller.peek(&mut [0]).is_ok_and(|count| count > 0), "the answer has begun");
    }
    let written = flood.wait_for_standstill(Duration::from_secs(60));
    (callers, written)
}

#[test]
fn d116_callers_that_stop_reading_hold_back_the_provider_and_nobody_else() {
    let (a, flood) = (Provider::start(), Flood::start());
    let daemon = daemon_for(&a, &flood);
    let (mut callers, written) = stopped_reading(&daemon, &flood);
    assert!(written < STREAMS as u64 * ENDLESS / 4, "the provider could write {written} bytes");
    assert_eq!(post_chat(daemon.port(), ask("auto")).status, 200, "others are served");
    let took = io::copy(&mut callers.remove(0).take(32 << 20), &mut io::sink()).unwrap();
    assert_eq!(took, 32 << 20, "who reads on gets more");
    assert!(flood.written() > written);
    drop(callers);
    flood.wait_for_left(STREAMS, PATIENCE);
}

// --- The long clocks ---

/// What one of the long waits has seen, or why it failed.
type Part<T> = Result<T, String>;

/// What all of them have seen.
struct Scene {
    heads: Part<Heads>,
    idle: Vec<(u64, Part<u16>)>,
    late_head: Part<u16>,
    body: Part<(Duration, String)>,
    patient_body: Part<u16>,
    stall: Part<Stall>,
    others: Part<usize>,
    /// Chat calls that came to the provider `a`.
    asked: usize,
}

/// Connections whose head does not end.
struct Heads {
    /// How long after its first byte each was closed.
    closed: Vec<Duration>,
    /// Those that were still open in the end.
    open: usize,
}

struct Stall {
    /// How long after its last read the provider of the caller was let go of.
    let_go: Duration,
    /// What a caller that reads slowly had got by then, and whether it was cut off.
    sluggish: (u64, bool),
    records: Vec<Value>,
}

fn scene() -> &'static Scene {
    static SCENE: OnceLock<Scene> = OnceLock::new();
    SCENE.get_or_init(|| {
        let (a, flood) = (Provider::start(), Flood::start());
        let daemon = daemon_for(&a, &flood);
        let port = daemon.port();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let others = scope.spawn(|| others_meanwhile(port, &over));
            let heads = scope.spawn(|| slow_heads(port));
            let late_head = scope.spawn(|| late_head(port));
            let body = scope.spawn(|| slow_body(port));
            let patient_body = scope.spawn(|| patient_body(port));
            let stall = scope.spawn(|| stall(&daemon, &flood));
            let idle: Vec<_> = (5..=115).step_by(10).map(|rest| (rest, scope.spawn(move || idle_for(port, rest)))).collect();
            let mut scene = Scene {
                idle: idle.into_iter().map(|(rest, thread)| (rest, part(thread))).collect(),
                heads: part(heads),
                late_head: part(late_head),
                body: part(body),
                patient_body: part(patient_body),
                stall: part(stall),
                others: Err(String::new()),
                asked: a.count(),
            };
            over.store(true, Ordering::SeqCst);
            scene.others = part(others);
            scene
        })
    })
}

/// What a thread has seen; the text of its panic when it failed.
fn part<T>(thread: thread::ScopedJoinHandle<'_, T>) -> Part<T> {
    let text = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => panic.downcast::<&str>().map_or_else(|_| "it failed".to_owned(), |text| (*text).to_owned()),
    };
    thread.join().map_err(text)
}

#[track_caller]
fn seen<T>(part: &Part<T>) -> &T {
    part.as_ref().unwrap_or_else(|problem| panic!("{problem}"))
}

/// A connection that gives up when nothing comes for so long.
fn connect(port: u16, patience: Duration) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(patience)).unwrap();
    stream.set_write_timeout(Some(patience)).unwrap();
    stream
}

/// How many connections this process and the daemon can well have, at most a thousand.
fn many() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")?.split_whitespace().next()?.parse::<usize>().ok());
    (files.unwrap_or(256) / 4).min(1000)
}

/// Sends a byte of a head every 10 s on many connections.
fn slow_heads(port: u16) -> Heads {
    let mut open: Vec<(TcpStream, Instant)> = Vec::new();
    for _ in 0..many() {
        let mut stream = connect(port, PATIENCE);
        stream.write_all(b"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ").unwrap();
        stream.set_nonblocking(true).unwrap();
        open.push((stream, Instant::now()));
    }
    let (started, mut written, mut closed) = (Instant::now(), 0, Vec::new());
    while !open.is_empty() && started.elapsed() < Duration::from_secs(30) + LATE {
        thread::sleep(Duration::from_millis(100));
        open.retain(|(stream, since)| {
            let gone = !matches!(stream.peek(&mut [0]), Err(problem) if problem.kind() == ErrorKind::WouldBlock);
            if gone {
                closed.push(since.elapsed());
            }
            !gone
        });
        if started.elapsed().as_secs() / 10 > written {
            written += 1;
            open.iter_mut().for_each(|(stream, _)| drop(stream.write_all(b"a")));
        }
    }
    Heads { closed, open: open.len() }
}

/// A connection that says nothing for longer than a head may take, and then
/// takes nearly as long as it may, twice.
fn late_head(port: u16) -> u16 {
    let mut client = Client::connect(port);
    for _ in 0..2 {
        thread::sleep(Duration::from_secs(35));
        client.send_raw("GET /health HTTP/1.1\r\nhost: 127");
        thread::sleep(Duration::from_secs(20));
        client.send_raw(".0.0.1\r\n\r\n");
        let status = client.read_response("GET").map_or(0, |response| response.status);
        if status != 200 {
            return status;
        }
    }
    200
}

/// A call, so many seconds of nothing, and another call on the same connection.
fn idle_for(port: u16, rest: u64) -> u16 {
    let mut client = Client::connect(port);
    assert_eq!(client.post_chat(ask("auto")).status, 200);
    thread::sleep(Duration::from_secs(rest));
    client.post_chat(ask("auto")).status
}

/// Calls that others make every half second; how many were answered.
fn others_meanwhile(port: u16, over: &AtomicBool) -> usize {
    let mut count = 0;
    while !over.load(Ordering::SeqCst) {
        let started = Instant::now();
        assert_eq!(get(port, "/health").status, 200);
        assert!(started.elapsed() < Duration::from_secs(5), "an answer took {:?}", started.elapsed());
        count += 1;
        thread::sleep(Duration::from_millis(500));
    }
    count
}

/// A call whose body is padded to so many bytes.
fn call_of(bytes: usize) -> (String, String) {
    let body = json!({"user": "x".repeat(bytes), "messages": [{"role": "user", "content": "hi"}]}).to_string();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    (head, body)
}

/// Sends 1 KiB of a body each second until the answer begins.
fn drip(port: u16, bytes: usize) -> (Duration, String) {
    let (head, body) = call_of(bytes);
    let mut stream = connect(port, Duration::from_secs(1));
    stream.write_all(head.as_bytes()).unwrap();
    let started = Instant::now();
    for part in body.as_bytes().chunks(1024) {
        stream.write_all(part).unwrap();
        // Waits a second for an answer, which is also the pace of sending.
        if stream.peek(&mut [0]).is_ok() || started.elapsed() > Duration::from_secs(120) + LATE {
            break;
        }
    }
    let (took, mut answer) = (started.elapsed(), Vec::new());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A reset may follow the answer, as the rest of the body was not read.
    let _ = stream.read_to_end(&mut answer);
    (took, String::from_utf8_lossy(&answer).into_owned())
}

fn slow_body(port: u16) -> (Duration, String) {
    drip(port, 400 << 10)
}

fn patient_body(port: u16) -> u16 {
    drip(port, 60 << 10).1.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// One caller of the flood reads nothing, and another reads slowly.
fn stall(daemon: &Daemon, flood: &Flood) -> Stall {
    let silent = caller_of_flood(daemon.port());
    silent.peek(&mut [0]).unwrap();
    let (port, over) = (daemon.port(), AtomicBool::new(false));
    thread::scope(|scope| {
        let sluggish = scope.spawn(|| sluggish(port, &over));
        let since = Instant::now();
        while flood.seen.left.load(Ordering::SeqCst) == 0 && since.elapsed() < Duration::from_secs(60) + LATE {
            thread::sleep(Duration::from_millis(50));
        }
        let let_go = since.elapsed();
        // The other one has then read slowly for longer than the clock.
        thread::sleep(Duration::from_secs(15));
        let records = daemon.wait_logs(1).into_iter().filter(|record| record["model"] == "flood/m1").collect();
        over.store(true, Ordering::SeqCst);
        drop(silent);
        Stall { let_go, sluggish: sluggish.join().unwrap(), records }
    })
}

/// Reads 128 KiB each second; how much that was, and whether it was cut off.
fn sluggish(port: u16, over: &AtomicBool) -> (u64, bool) {
    let mut stream = caller_of_flood(port);
    let (mut total, mut cut) = (0, false);
    while !over.load(Ordering::SeqCst) && !cut {
        let count = io::copy(&mut (&mut stream).take(128 << 10), &mut io::sink()).unwrap_or(0);
        total += count;
        cut = count < 128 << 10;
        thread::sleep(Duration::from_secs(1));
    }
    (total, cut)
}

fn within(time: Duration, limit: Duration) -> bool {
    time > limit - EARLY && time < limit + LATE
}

#[test]
fn d117_a_head_that_does_not_end_is_given_30_seconds_from_its_first_byte() {
    let Heads { closed, open } = seen(&scene().heads);
    assert_eq!((*open, closed.len()), (0, many()), "all are closed");
    let odd: Vec<_> = closed.iter().filter(|time| !within(**time, Duration::from_secs(30))).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn d117_silence_before_the_first_byte_does_not_count() {
    assert_eq!(*seen(&scene().late_head), 200);
}

#[test]
fn d117_others_are_served_meanwhile() {
    assert!(*seen(&scene().others) > 50);
}

#[test]
fn d118_a_connection_that_was_idle_for_up_to_115_seconds_serves_again() {
    let failed: Vec<_> = scene().idle.iter().filter(|(_, status)| status != &Ok(200)).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn d135_a_body_that_is_not_whole_after_two_minutes_gets_408() {
    let (took, answer) = seen(&scene().body);
    assert!(within(*took, Duration::from_secs(120)), "{took:?}: {answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    assert!(head.starts_with("HTTP/1.1 408 ") && head.contains("x-should-retry: false"), "{head}");
    let error: Value = serde_json::from_str(body).unwrap_or_else(|problem| panic!("{problem}: {body}"));
    assert!(error["error"]["message"].is_string() && error["error"]["type"] == "invalid_request_error", "{body}");
}

#[test]
fn d135_a_slow_body_that_is_whole_in_time_is_served_and_the_other_asks_nobody() {
    assert_eq!(*seen(&scene().patient_body), 200);
    assert_eq!(scene().asked, 2 * scene().idle.len() + 1);
}

#[test]
fn d116_a_caller_that_reads_nothing_for_a_minute_has_left() {
    let Stall { let_go, records, .. } = seen(&scene().stall);
    assert!(within(*let_go, Duration::from_secs(60)), "{let_go:?}");
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!((&records[0]["outcome"], &records[0]["status"]), (&json!("client_closed"), &Value::Null), "{records:?}");
}

#[test]
fn d116_a_caller_that_reads_slowly_is_not_cut_off() {
    let (total, cut) = seen(&scene().stall).sluggish;
    assert!(!cut, "cut off after {total} bytes");
}

/// The memory of a process that is in use, in KiB.
#[cfg(target_os = "linux")]
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of the memory in use");
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn d116_a_stream_that_is_held_back_takes_at_most_256_kib() {
    let (a, flood) = (Provider::start(), Flood::start());
    let daemon = daemon_for(&a, &flood);
    assert_eq!(post_chat(daemon.port(), ask("auto")).status, 200);
    let before = resident(daemon.pid());
    let (_callers, _) = stopped_reading(&daemon, &flood);
    let each = resident(daemon.pid()).saturating_sub(before) / STREAMS as u64;
    assert!(each <= 256, "{each} KiB for each stream");
}

/// A refused call whose body comes after its head, 45 s of nothing, and a good
/// call on the same connection: longer than a head may take, shorter than clients
/// keep a connection.
#[test]
fn d118_a_connection_whose_refused_body_was_thrown_away_serves_again() {
    let (a, flood) = (Provider::start(), Flood::start());
    let daemon = daemon_for(&a, &flood);
    let mut client = daemon.client();
    client.send_raw(format!("POST {CHAT} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: text/plain\r\ncontent-length: 100000\r\n\r\n"));
    assert_eq!(client.read_response("POST").unwrap().status, 415);
    client.send_raw("x".repeat(100_000));
    thread::sleep(Duration::from_secs(45));
    assert_eq!(client.post_chat(ask("auto")).status, 200);
}

#[cfg(unix)]
#[test]
fn a_head_that_came_while_the_process_stood_still_is_answered_though_its_time_is_over() {
    let a = Provider::start();
    let daemon = Daemon::start(support::chain_config(&[("a", &a)]));
    // More than are told at once of what has come.
    let mut clients: Vec<Client> = (0..150).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.send_raw("GET /health HTTP/1.1\r\n");
    }
    // So that all have been read.
    assert_eq!(get(daemon.port(), "/health").status, 200);
    daemon.signal("STOP");
    for client in &mut clients {
        client.send_raw("host: localhost\r\n\r\n");
    }
    thread::sleep(Duration::from_secs(41));
    daemon.signal("CONT");
    let answered = clients.iter_mut().filter_map(|client| client.read_response("GET").ok()).filter(|answer| answer.status == 200).count();
    assert_eq!(answered, clients.len());
}
