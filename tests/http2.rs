//! What goes wrong with HTTP/2 at a provider, and what each fault comes to.

mod secure;
mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use h2::Reason;
use secure::frames::End;
use secure::{Act, Both, Fate, Tls, eventually, streamed};
use serde_json::json;
use support::{ASK, ASK_STREAM, Client, classes, open_stream, text_of, tried};

/// 100 ms are promised; a slow machine gets more.
const PROMPT: Duration = Duration::from_secs(1);

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

/// The record of the request that came as number `count` is that of one good attempt.
#[track_caller]
fn is_served_at_once(both: &Both, count: usize) {
    let record = both.daemon.wait_logs(count).remove(count - 1);
    assert_eq!((classes(&record), &record["outcome"]), (vec!["ok"], &json!("served")), "{record}");
    assert_eq!(both.b.count(), 0);
}

/// How often A said that its connection ends.
fn went_away(both: &Both) -> usize {
    both.a.seen().iter().filter(|seen| seen.path == "GOAWAY").count()
}

#[test]
fn d009_a_fresh_connection_that_goes_away_unseen_is_replaced() {
    let both = Both::start(Tls::http2());
    both.a.next_connection(Fate::ByHand(0, End::Unseen));
    assert_eq!(both.said(), "from A");
    assert_eq!(went_away(&both), 1);
    is_served_at_once(&both, 1);
}

#[test]
fn d009_a_used_connection_that_goes_away_unseen_is_replaced() {
    let both = Both::start(Tls::http2());
    both.a.next_connection(Fate::ByHand(2, End::Unseen));
    let mut client = Client::connect(both.daemon.port());
    for _ in 0..4 {
        assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    }
    assert_eq!(went_away(&both), 1);
    let chats = both.a.chats();
    assert!(chats[1].connection < chats[2].connection && chats.len() == 4, "{chats:?}");
    is_served_at_once(&both, 3);
}

#[test]
fn d010_a_fresh_connection_that_goes_away_after_it_saw_the_request_falls_over_once() {
    let both = Both::start(Tls::http2());
    both.a.next_connection(Fate::ByHand(0, End::Seen));
    both.falls_over_as("network");
    assert_eq!((went_away(&both), both.a.chats().len()), (1, 0), "it may have been carried out: it is not sent again");
    assert_eq!(both.said(), "from A", "the next request gets a new connection");
}

#[test]
fn d011_a_refused_stream_is_sent_again_and_counts_as_no_error() {
    let both = Both::start(Tls::http2());
    let mut client = Client::connect(both.daemon.port());
    for count in 1..4 {
        // The first on a fresh connection, the others on one that has served.
        both.a.then(Act::Refuse(Reason::REFUSED_STREAM));
        assert_eq!(text_of(&client.post_chat(ASK)), "from A");
        assert_eq!((both.a.acts_left(), both.a.chats().len()), (0, 2 * count), "refused, then answered");
        is_served_at_once(&both, count);
    }
}

#[test]
fn d011_a_stream_that_is_refused_again_falls_over() {
    let both = Both::start(Tls::http2());
    both.a.then(Act::Refuse(Reason::REFUSED_STREAM));
    both.a.then(Act::Refuse(Reason::REFUSED_STREAM));
    both.falls_over_as("network");
    assert_eq!(both.a.chats().len(), 2, "no third try");
}

/// One chat call with more patience than the client of the other tests has.
#[track_caller]
fn ask_patiently(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("a time limit");
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\n";
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{ASK}", ASK.len()).as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

// The clock of the pings cannot be set: 20 s until one, 10 s for its answer.
#[test]
fn d012_a_connection_whose_peer_is_stopped_is_found_out_by_a_ping() {
    let both = Both::start(Tls::http2());
    // Every worker's connection answers once and is then frozen.
    both.a.every_connection(Fate::ByHand(1, End::Frozen));
    let mut client = Client::connect(both.daemon.port());
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
    let started = Instant::now();
    while both.b.count() == 0 {
        assert!(started.elapsed() < Duration::from_secs(90), "no ping found it out");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(text_of(&client.read_response("POST").expect("an answer")), "from B");
    let record = both.daemon.wait_logs(2).remove(1);
    assert_eq!(tried(&record), ["a", "b"], "{record}");
    assert_eq!(classes(&record), ["network", "ok"], "a ping, and none of the clocks for answers: {record}");
}

// As above, the ping comes after 20 s.
#[test]
fn d013_a_peer_that_wants_no_pings_costs_one_fallback_and_nothing_else() {
    let both = Both::start(Tls::http2());
    both.a.next_connection(Fate::ByHand(0, End::Calm));
    let answer = ask_patiently(both.daemon.port());
    assert!(answer.contains("from B"), "{answer}");
    assert_eq!(went_away(&both), 1, "it was the answer to a ping");
    assert_eq!(classes(&both.daemon.wait_logs(1)[0]), ["network", "ok"]);
    assert_eq!(both.said(), "from A", "the next request gets a new connection");
}

#[test]
fn a_caller_that_leaves_resets_its_http_2_stream_at_once_and_nothing_else() {
    let both = Both::start(Tls::http2());
    both.a.then(Act::Hold);
    let mut stream = open_stream(both.daemon.port(), ASK_STREAM);
    while !stream.next_event().expect("content").contains("one") {}
    let at = Instant::now();
    drop(stream);
    eventually("the stream is reset", || !both.a.left().is_empty());
    let took = both.a.left()[0].duration_since(at);
    assert!(took < PROMPT, "the stream was reset after {took:?}");
    thread::sleep(Duration::from_millis(100));
    assert!(both.a.is_open(both.a.chats()[0].connection), "the connection stays open");
    assert_eq!(both.b.count(), 0);
}

#[test]
fn d010_a_used_connection_that_goes_away_after_it_saw_the_request_falls_over_once() {
    let both = Both::start(Tls::http2());
    both.a.next_connection(Fate::ByHand(1, End::Seen));
    let mut client = Client::connect(both.daemon.port());
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(text_of(&client.post_chat(ASK)), "from B");
    assert_eq!((went_away(&both), both.a.chats().len()), (1, 1), "it may have been carried out: it is not sent again");
    let record = both.daemon.wait_logs(2).remove(1);
    assert_eq!(classes(&record), ["network", "ok"], "{record}");
}
