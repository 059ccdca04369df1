//! Bytes of any kind, and things in any order: whatever comes, the same few
//! promises are kept. What is tried is drawn from a fixed seed, so that what
//! fails once fails again.

#![cfg(unix)]

#[path = "any/flaky.rs"]
mod flaky;
mod port;
mod support;

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use flaky::Flaky;
use port::{CHAT, JSON, ask_with, one};
use serde_json::{Value, json};
use support::{ASK, Client, Daemon, PATIENCE, Provider, chain_config, chain_config_with, get, post_chat};

/// Puts in, takes out, repeats and changes a few bytes.
fn damage(bytes: &mut Vec<u8>, fragments: &[&[u8]], times: usize, rng: &mut Rng) {
    for _ in 0..times {
        let at = rng.usize(..=bytes.len());
        let to = (at + rng.usize(..40)).min(bytes.len());
        match rng.u8(..6) {
            0 if at < bytes.len() => bytes[at] = rng.u8(..),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            3 => bytes.truncate(at.max(bytes.len() / 2)),
            4 => drop(bytes.splice(at..at, (0..rng.usize(..8)).map(|_| rng.u8(..)).collect::<Vec<u8>>())),
            _ => drop(bytes.splice(at..at, rng.choice(fragments).copied().unwrap_or_default().to_vec())),
        }
    }
}

/// Nothing has gone wrong inside, and requests are answered.
#[track_caller]
fn assert_sound(daemon: &Daemon, after: &str) {
    assert_eq!(get(daemon.port(), "/health").status, 200, "{after}");
    assert!(!daemon.stderr().contains("panicked"), "{after}: {}", daemon.stderr());
}

// At the listener.

/// What a head can hold that may lead astray.
const FRAGMENTS: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b" ",
    b"content-length: 5\r\n",
    b"content-length: 0\r\n",
    b"transfer-encoding: chunked\r\n",
    b"connection: close\r\n",
    b"expect: 100-continue\r\n",
    b"0\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\n",
];

/// Requests one behind the other with a mark in their bodies, changed here and there.
fn mangled(mark: &str, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..rng.usize(1..5) {
        let body = ask_with(&json!({"user": mark}));
        let head = format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\n{}: {}\r\n", JSON.0, JSON.1);
        bytes.extend_from_slice(&match rng.u8(..4) {
            0 => b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(),
            1 => format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into_bytes(),
            _ => format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes(),
        });
    }
    let times = rng.usize(..5);
    damage(&mut bytes, FRAGMENTS, times, rng);
    bytes
}

/// Sends it in parts and reads what comes back until the daemon has closed.
fn exchange(daemon: &Daemon, bytes: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(rng.usize(1..=rest.len()));
        // The daemon may have closed already.
        if stream.write_all(part).is_err() {
            break;
        }
        rest = behind;
        if rng.u8(..4) == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    // Who half-closes while he is being answered has left.
    thread::sleep(Duration::from_millis(20));
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answers = Vec::new();
    if let Err(problem) = stream.read_to_end(&mut answers) {
        assert!(!matches!(problem.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "it is not closed: {problem}");
    }
    answers
}

fn count(text: &[u8], part: &str) -> usize {
    String::from_utf8_lossy(text).matches(part).count()
}

#[test]
fn d271_whatever_comes_at_the_listener_makes_one_call_for_each_request_at_most() {
    let (a, daemon) = one();
    let mut rng = Rng::with_seed(271);
    let mark = |round: usize| format!("<{round}>");
    let rounds: Vec<(Vec<u8>, Vec<u8>)> = (0..200)
        .map(|round| {
            let sent = mangled(&mark(round), &mut rng);
            let answers = exchange(&daemon, &sent, &mut rng);
            (sent, answers)
        })
        .collect();
    let chats = a.chats();
    for (round, (sent, answers)) in rounds.iter().enumerate() {
        let what = || format!("round {round}: {:?}\n{:?}", String::from_utf8_lossy(sent), String::from_utf8_lossy(answers));
        let asked = chats.iter().filter(|chat| chat.body.contains(&mark(round))).count();
        assert!(asked <= count(sent, "POST /v1/chat/completions"), "{asked} calls, {}", what());
    }
    let good: usize = rounds.iter().map(|(_, answers)| count(answers, "\"choices\"")).sum();
    // At the end of each round one may have been under way when the client had sent all it had.
    assert!((good..=good + rounds.len()).contains(&chats.len()), "{} calls for {good} answers", chats.len());
    assert!(good > rounds.len() / 2, "most are sound: {good}");
    assert_sound(&daemon, "all of them");
    let classes: Vec<String> = daemon.logs().iter().flat_map(support::classes).map(Into::into).collect();
    let left = classes.iter().filter(|class| *class == "client_closed").count();
    // Who left may have done so before the provider had heard of him.
    assert!((classes.len() - left..=classes.len()).contains(&a.count()), "each call is in the log: {} of {classes:?}", a.count());
}

// At the local socket.

const COMMANDS: [&str; 5] = [
    "{\"command\":\"status\"}\n",
    "{\"command\":\"events\"}\n",
    "{\"command\":\"reload\"}\n",
    "{\"command\":\"events\",\"after\":7}\n",
    "{\"command\":[[[[{}]]]],\"x\":\"\\ud800\"}\n",
];

/// The memory of a process that is in use, in KiB.
#[cfg(target_os = "linux")]
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of the memory in use");
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// Says something at the socket, and leaves after a while.
fn say(daemon: &Daemon, bytes: &[u8], stays: Duration) {
    let mut stream = UnixStream::connect(daemon.state_dir().join("routor.sock")).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_read_timeout(Some(stays.max(Duration::from_millis(1)))).unwrap();
    // It may hang up on who says too much, or nonsense.
    let _ = stream.write_all(bytes);
    let _ = stream.read(&mut [0; 4096]);
}

#[cfg(target_os = "linux")]
#[test]
fn d272_whatever_comes_at_the_local_socket_does_no_harm() {
    let (_a, daemon) = one();
    let mut rng = Rng::with_seed(272);
    say(&daemon, &[b'x'; 1 << 20], Duration::from_millis(50));
    let before = resident(daemon.pid());
    let mut deep = vec![b'['; 1 << 20];
    for round in 0..200 {
        let mut bytes = match round % 20 {
            0 => vec![b'{'; rng.usize(..4 << 20)],
            1 => std::mem::take(&mut deep),
            2 => (0..rng.usize(..300)).map(|_| rng.u8(..)).collect(),
            _ => (0..rng.usize(1..4)).map(|_| *rng.choice(&COMMANDS).unwrap()).collect::<String>().into_bytes(),
        };
        let times = rng.usize(..4);
        damage(&mut bytes, &[b"\n", b"\"", b"{\"command\":", b"\0", b"\xff"], times, &mut rng);
        say(&daemon, &bytes, Duration::from_millis(rng.u64(..5)));
    }
    daemon.run(&["status"]).expect_code(0);
    let grown = resident(daemon.pid()).saturating_sub(before);
    assert!(grown < 8 << 10, "{grown} KiB more");
    assert_sound(&daemon, "all of them");
}

// In the log.

#[test]
fn d276_whatever_a_log_has_become_what_comes_later_is_read() {
    let a = Provider::start();
    let config = chain_config(&[("a", &a)]);
    let daemon = Daemon::start(config.clone());
    let mut client = daemon.client();
    for _ in 0..300 {
        assert_eq!(client.post_chat(r#"{"model":"nobody-knows-it","messages":[{"role":"user","content":"hi"}]}"#).status, 404);
    }
    daemon.wait_logs(300);
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(PATIENCE), 0);
    let mut home = daemon.into_home();
    let log = home.state_dir().join("requests.db");
    let sound = fs::read(&log).unwrap();
    let mut rng = Rng::with_seed(276);
    for round in 0..80 {
        let mut bytes = sound.clone();
        let (times, page) = (rng.usize(1..30), [0; 4096]);
        damage(&mut bytes, &[&page, b"\xff\xff\xff\xff", b"[\"", b"\n"], times, &mut rng);
        for other in ["requests.db-wal", "requests.db-journal", "requests.db-shm"] {
            let _ = fs::remove_file(home.state_dir().join(other));
        }
        fs::write(&log, &bytes).unwrap();
        let done = home.run(&["logs", "--all", "--json", "-n", "1000"]);
        assert!([0, 1].contains(&done.code) && !done.stderr.contains("panicked"), "round {round}: {} {}", done.code, done.stderr);
        assert!(done.stdout.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "round {round}: {}", done.stdout);
        let daemon = Daemon::builder().home(home).config(config.clone()).start();
        let id = format!("later-{round}");
        let headers = [JSON, ("x-request-id", id.as_str())];
        assert_eq!(daemon.client().request("POST", CHAT, &headers, ASK).status, 200);
        let until = Instant::now() + PATIENCE;
        loop {
            let done = daemon.run(&["logs", "--all", "--json", "-n", "5"]);
            if done.stdout.contains(&id) {
                break;
            }
            assert!(Instant::now() < until, "round {round}: {done:?}, {}", daemon.stderr());
        }
        assert_sound(&daemon, &format!("round {round}"));
        home = daemon.into_home();
    }
}

// Attempts.

/// How many models there are that never answer.
const MODELS: usize = 6;
const CALLERS: usize = 6;

/// Asks again and again for a while, and sometimes leaves before the answer.
/// Gives the ids of the requests.
fn call(port: u16, caller: usize, until: Instant) -> Vec<String> {
    let (mut rng, mut ids) = (Rng::with_seed(274 + caller as u64), Vec::new());
    while Instant::now() < until {
        let id = format!("{caller}-{}", ids.len());
        let mut client = Client::connect(port);
        client.send("POST", CHAT, &[JSON, ("x-request-id", &id)], ASK);
        ids.push(id);
        if rng.bool() {
            assert_eq!(client.read_response("POST").unwrap().status, 200);
        } else {
            thread::sleep(Duration::from_millis(rng.u64(2..30)));
        }
    }
    ids
}

#[test]
fn d274_in_any_order_there_is_one_probe_at_most_and_one_end_for_each_request() {
    let (flaky, b) = (Flaky::start(MODELS), Provider::start());
    let providers = (0..MODELS).map(|at| format!("[providers.a{at}]\nbase_url = \"{}\"\napi_key_env = \"\"\n", flaky.base_url(at)));
    let config = chain_config_with(
        &[("b", &b)],
        &format!("{}[breaker]\nfailures = 1\ncooldown = \"200ms\"\n[timeouts]\nresponse = \"150ms\"\n", providers.collect::<String>()),
    );
    let names = |end: &str| (0..MODELS).map(|at| format!("\"a{at}{end}\", ")).collect::<String>();
    let config =
        config.replace("only = [\"b\"", &format!("only = [{}\"b\"", names(""))).replace("[\"b/m1\"", &format!("[{}\"b/m1\"", names("/m1")));
    let daemon = Daemon::start(config);
    // So that all have failed once, and nobody is being tried for the first time.
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    flaky.probes_from_now();
    let until = Instant::now() + Duration::from_secs(4);
    let port = daemon.port();
    let ids: Vec<String> = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|caller| scope.spawn(move || call(port, caller, until))).collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    let probes = flaky.probes();
    assert!(probes.iter().all(|probes| probes.most == 1 && probes.all > 2), "{probes:?}");
    let records = daemon.wait_logs(ids.len() + 1);
    let mut ends: HashMap<&str, usize> = HashMap::new();
    for record in &records {
        *ends.entry(record["id"].as_str().unwrap()).or_default() += 1;
    }
    let odd: Vec<_> = ids.iter().filter(|id| ends.get(id.as_str()) != Some(&1)).collect();
    assert!(odd.is_empty(), "{odd:?} of {}", ids.len());
    for record in &records {
        let mut tried = support::tried(record);
        tried.sort_unstable();
        tried.dedup();
        assert_eq!(tried.len(), record["attempts"].as_array().unwrap().len(), "each once at most: {record}");
    }
    assert_sound(&daemon, "all of them");
}
