//! `GET /api/events`: the records of requests as they end, history first,
//! without a gap and without a double, and what happens to slow, many and
//! leaving readers.

mod port;
mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use port::{CHAT, JSON};
use serde_json::{Value, json};
use support::{Daemon, Input, Provider, Reply, Response, StreamReader, chain_config, chain_config_with, event_data, get, post};

fn body(fields: &Value) -> String {
    port::ask_with(fields)
}

#[track_caller]
fn call(daemon: &Daemon, id: &str, fields: &Value) -> Response {
    post(daemon.port(), CHAT, &[("x-request-id", id)], body(fields))
}

/// The feed with this query, at its head.
#[track_caller]
fn open(daemon: &Daemon, query: &str) -> StreamReader {
    let mut client = daemon.client();
    client.send("GET", &format!("/api/events{query}"), &[("accept", "text/event-stream")], "");
    client.read_stream()
}

#[track_caller]
fn follow(daemon: &Daemon, query: &str) -> StreamReader {
    let feed = open(daemon, query);
    assert_eq!(feed.status, 200, "{:?}", feed.headers);
    feed
}

/// The next event's kind and data; comments are passed over.
fn next(feed: &mut StreamReader) -> Option<(String, Value)> {
    loop {
        let event = feed.next_event()?;
        let Some(kind) = event.lines().find_map(|line| line.strip_prefix("event: ")) else { continue };
        let data = event_data(&event);
        return Some((kind.to_owned(), serde_json::from_str(&data).unwrap_or_else(|problem| panic!("{problem}: {event}"))));
    }
}

/// The next record.
#[track_caller]
fn record(feed: &mut StreamReader) -> Value {
    let (kind, data) = next(feed).expect("the feed has ended");
    assert_eq!(kind, "request", "{data}");
    data
}

#[track_caller]
fn id(feed: &mut StreamReader) -> String {
    record(feed)["id"].as_str().expect("an id").to_owned()
}

/// Two providers and a request that was served and one that fell back, their
/// ids the outcomes.
fn pair() -> (Provider, Provider, Daemon) {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    assert_eq!(call(&daemon, "served", &json!({})).status, 200);
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, "fallback", &json!({})).status, 200);
    (a, b, daemon)
}

fn one() -> (Provider, Daemon) {
    port::one()
}

#[test]
fn the_feed_is_server_sent_events_that_nobody_stores() {
    let (_a, daemon) = one();
    let feed = follow(&daemon, "");
    assert_eq!(feed.header("content-type"), Some("text/event-stream"));
    assert_eq!(feed.header("cache-control"), Some("no-store"));
    assert!(feed.header("x-request-id").is_some());
}

#[test]
fn history_comes_first_oldest_first_and_then_what_happens() {
    let (a, _b, daemon) = pair();
    let mut feed = follow(&daemon, "");
    assert_eq!([id(&mut feed), id(&mut feed)], ["served", "fallback"]);
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, "live-1", &json!({})).status, 200);
    assert_eq!(id(&mut feed), "live-1");
    assert_eq!(call(&daemon, "live-2", &json!({"model": "nobody-knows-it"})).status, 404);
    assert_eq!(id(&mut feed), "live-2");
}

#[test]
fn its_records_are_those_of_the_log() {
    let (a, b, daemon) = pair();
    let mut feed = follow(&daemon, "");
    let process = daemon.spawn(&["logs", "-f", "--all", "--json"], Input::Null);
    process.wait_stdout("\"id\":\"fallback\"");
    a.then(Reply::status(503));
    b.then(Reply::status(500));
    assert_eq!(call(&daemon, "failed", &json!({"stream": true})).status, 502);
    let told = process.wait_stdout("\"id\":\"failed\"");
    let logged: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let fed: Vec<Value> = (0..3).map(|_| record(&mut feed)).collect();
    assert_eq!(fed, logged);
}

#[test]
fn limit_bounds_the_history_and_not_what_follows() {
    let (_a, _b, daemon) = pair();
    let (mut none, mut newest) = (follow(&daemon, "?limit=0"), follow(&daemon, "?limit=1"));
    assert_eq!(id(&mut newest), "fallback");
    for live in ["x", "y"] {
        assert_eq!(call(&daemon, live, &json!({})).status, 200);
        assert_eq!(id(&mut none), live);
        assert_eq!(id(&mut newest), live);
    }
}

#[test]
fn filters_count_for_history_and_for_what_follows() {
    for query in ["?outcome=fallback", "?provider=b", "?model=b%2Fm1"] {
        let (a, _b, daemon) = pair();
        let mut feed = follow(&daemon, query);
        assert_eq!(id(&mut feed), "fallback", "{query}");
        assert_eq!(call(&daemon, "live-served", &json!({})).status, 200);
        a.then(Reply::status(503));
        assert_eq!(call(&daemon, "live-fallback", &json!({})).status, 200);
        assert_eq!(id(&mut feed), "live-fallback", "{query}");
    }
}

#[test]
fn the_feed_of_one_id_waits_for_it() {
    let (_a, daemon) = one();
    let mut feed = follow(&daemon, "?id=wanted");
    for id in ["other", "wanted"] {
        assert_eq!(call(&daemon, id, &json!({})).status, 200);
    }
    assert_eq!(id(&mut feed), "wanted");
}

#[test]
fn a_name_with_line_ends_stays_inside_its_event() {
    let (_a, daemon) = one();
    let mut feed = follow(&daemon, "");
    let evil = "x\n\nevent: request\ndata: {\"id\":\"forged\"}\n\n\r\r\u{2028}\u{85}";
    assert_eq!(call(&daemon, "real", &json!({"model": evil})).status, 404);
    assert_eq!(call(&daemon, "next", &json!({})).status, 200);
    let first = record(&mut feed);
    assert_eq!((&first["id"], &first["model"]), (&json!("real"), &json!(evil)));
    assert_eq!(id(&mut feed), "next");
}

#[test]
fn it_works_without_a_stored_log() {
    let (_a, daemon) = port::one_with("[log]\nrequests = false\n");
    assert_eq!(call(&daemon, "before", &json!({})).status, 200);
    let mut feed = follow(&daemon, "");
    assert_eq!(call(&daemon, "after", &json!({})).status, 200);
    assert_eq!(id(&mut feed), "after");
}

#[test]
fn a_client_that_left_is_told_to_those_who_follow() {
    let (a, daemon) = one();
    let mut feed = follow(&daemon, "");
    a.then(Reply::hang());
    let mut leaver = daemon.client();
    leaver.send("POST", CHAT, &[JSON, ("x-request-id", "left")], body(&json!({})));
    a.wait_for_chats(1);
    drop(leaver);
    let record = record(&mut feed);
    assert_eq!((&record["id"], &record["outcome"], &record["status"]), (&json!("left"), &json!("client_closed"), &Value::Null));
}

// --- Joining ---

/// Sends requests until told to stop; gives their ids.
fn keep_sending(daemon: &Arc<Daemon>, name: usize, stop: &Arc<AtomicBool>, sent: &Arc<AtomicUsize>) -> thread::JoinHandle<Vec<String>> {
    let (daemon, stop, sent) = (Arc::clone(daemon), Arc::clone(stop), Arc::clone(sent));
    thread::spawn(move || {
        let mut client = daemon.client();
        let mut ids = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let id = format!("s{name}-{}", ids.len());
            let headers = [JSON, ("x-request-id", id.as_str())];
            assert_eq!(client.request("POST", CHAT, &headers, body(&json!({}))).status, 200);
            ids.push(id);
            sent.fetch_add(1, Ordering::SeqCst);
        }
        ids
    })
}

fn wait_for_more(sent: &AtomicUsize, more: usize) {
    let from = sent.load(Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(30);
    while sent.load(Ordering::SeqCst) < from + more {
        assert!(Instant::now() < until, "the requests do not go on");
        thread::yield_now();
    }
}

/// Everything up to the record of this id.
fn until(mut feed: StreamReader, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|id| id != last) {
        seen.push(id(&mut feed));
    }
    seen
}

#[test]
fn history_and_feed_join_without_gap_and_double() {
    let (_a, daemon) = one();
    let daemon = Arc::new(daemon);
    let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let senders: Vec<_> = (0..2).map(|name| keep_sending(&daemon, name, &stop, &sent)).collect();
    // Five readers begin at different moments while requests go on.
    let readers: Vec<_> = (0..5)
        .map(|_| {
            wait_for_more(&sent, 20);
            let feed = follow(&daemon, "?limit=500");
            thread::spawn(move || until(feed, "the-end"))
        })
        .collect();
    wait_for_more(&sent, 60);
    stop.store(true, Ordering::SeqCst);
    let mut wanted: HashSet<String> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
    assert!(wanted.len() < 490, "the history no longer holds all {} of them", wanted.len());
    assert_eq!(call(&daemon, "the-end", &json!({})).status, 200);
    wanted.insert("the-end".to_owned());
    for reader in readers {
        let seen = reader.join().unwrap();
        let unique: HashSet<String> = seen.iter().cloned().collect();
        assert_eq!(unique.len(), seen.len(), "some came twice");
        let missing: Vec<&String> = wanted.difference(&unique).collect();
        assert!(missing.is_empty(), "{} of {} are missing: {missing:?}", missing.len(), wanted.len());
    }
}

// --- Readers ---

#[test]
fn the_feed_ends_soon_when_the_daemon_is_told_to_stop() {
    let (_a, daemon) = one();
    let mut feed = follow(&daemon, "");
    assert_eq!(call(&daemon, "x", &json!({})).status, 200);
    id(&mut feed);
    let told = Instant::now();
    daemon.signal("TERM");
    assert!(next(&mut feed).is_none(), "something came after the stop");
    assert!(feed.ended_cleanly(), "{:?}", feed.broken());
    assert_eq!(daemon.wait_exit(Duration::from_secs(8)), 0);
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
}

/// A daemon whose records are about 40 kB each: what waits for a reader fills
/// the system's buffers soon. Nothing is stored.
fn large_records(log: &str) -> (Provider, Daemon) {
    let a = Provider::start();
    let chain: Vec<String> = (0..400).map(|number| format!("\"a/m1-{number}-{}\"", "x".repeat(90))).collect();
    let extra = format!("[log]\n{log}\n[aliases]\nlarge = [{}]\n", chain.join(", "));
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], &extra));
    (a, daemon)
}

#[test]
fn a_slow_reader_is_told_what_it_missed_and_holds_up_nobody() {
    let (_a, daemon) = large_records("requests = false");
    let mut slow = follow(&daemon, "?limit=0");
    let mut client = daemon.client();
    let started = Instant::now();
    let count = 1500;
    for number in 0..count {
        let id = number.to_string();
        let headers = [JSON, ("x-request-id", id.as_str())];
        assert_eq!(client.request("POST", CHAT, &headers, body(&json!({"model": "large"}))).status, 200);
    }
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    let (mut seen, mut missed) = (Vec::new(), 0);
    while seen.last() != Some(&(count - 1)) {
        let (kind, data) = next(&mut slow).expect("the feed has ended");
        match kind.as_str() {
            "missed" => missed += data["missed"].as_u64().expect("how many"),
            _ => seen.push(data["id"].as_str().unwrap().parse::<u64>().unwrap()),
        }
    }
    assert!(missed > 0, "nothing was missed of {count}");
    assert!(seen.windows(2).all(|two| two[0] < two[1]), "out of order");
    assert_eq!(seen.len() as u64 + missed, count);
}

#[test]
fn a_reader_that_does_not_read_its_history_holds_up_the_stop_no_longer_than_requests_may() {
    let (_a, daemon) = large_records("requests = true");
    let mut client = daemon.client();
    for _ in 0..300 {
        assert_eq!(client.request("POST", CHAT, &[JSON], body(&json!({"model": "large"}))).status, 200);
    }
    let _stuck = follow(&daemon, "?limit=500");
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(15)), 0);
}

#[test]
fn too_many_readers_are_told_so_and_requests_go_on() {
    let (_a, daemon) = one();
    let mut readers: Vec<StreamReader> = Vec::new();
    let refused = loop {
        let feed = open(&daemon, "?limit=0");
        if feed.status != 200 {
            break feed;
        }
        readers.push(feed);
        assert!(readers.len() < 2000, "there is no bound");
    };
    assert!(readers.len() >= 16, "only {} may follow", readers.len());
    let refused = refused.into_response();
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (503, &json!("overloaded")), "{}", refused.text());
    assert!(refused.header("retry-after").is_some() && refused.header("x-should-retry").is_none(), "{:?}", refused.headers);
    assert_eq!(call(&daemon, "x", &json!({})).status, 200);
    assert_eq!(get(daemon.port(), "/api/requests").status, 200);
    for feed in &mut readers {
        assert_eq!(id(feed), "x");
    }
}

#[test]
fn a_reader_that_leaves_gives_its_place_back() {
    let (a, daemon) = one();
    let fill = || {
        let mut readers = Vec::new();
        loop {
            let feed = open(&daemon, "?limit=0");
            if feed.status != 200 {
                return readers;
            }
            readers.push(feed);
        }
    };
    let most = fill().len();
    // All have left; no request ends meanwhile that would wake their feeds.
    for _ in 0..3 {
        let until = Instant::now() + Duration::from_secs(10);
        let mut again = Vec::new();
        while again.len() < most {
            let feed = open(&daemon, "?limit=0");
            if feed.status == 200 {
                again.push(feed);
            }
            assert!(Instant::now() < until, "only {} of {most} places were given back", again.len());
        }
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn a_wrong_question_takes_no_place() {
    let (_a, daemon) = one();
    for _ in 0..200 {
        assert_eq!(get(daemon.port(), "/api/events?limit=x").status, 400);
    }
    assert_eq!(follow(&daemon, "").status, 200);
}
