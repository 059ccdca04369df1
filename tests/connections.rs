//! Connections to providers and what goes wrong with them: refused, closed,
//! reset, stale, not HTTP at all.

mod chains;
mod support;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use chains::{NO_BREAKER, QUICK, black_hole, error_body, eventually, providers};
use serde_json::json;
use support::{ASK, Client, Daemon, Gate, Pair, Provider, Reply, Step, chain_config_with, classes, post_chat, text_of};

// Network faults.

#[test]
fn d001_a_refused_connection_falls_over() {
    let pair = Pair::start("");
    pair.a.stop();
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(started.elapsed() < QUICK);
    assert_eq!(classes(&pair.record(1)), ["network", "ok"]);
}

#[test]
fn d002_a_black_hole_falls_over_after_the_connect_time() {
    let pair = Pair::start("[timeouts]\nconnect = \"500ms\"\n");
    pair.a.stop();
    let Some(_hole) = black_hole(SocketAddr::from((Ipv4Addr::LOCALHOST, pair.a.port()))) else {
        println!("skipped: this system takes connections beyond the queue of a listener");
        return;
    };
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(490) && took < QUICK, "{took:?}");
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[test]
fn d003_a_provider_that_says_nothing_is_left_before_the_next_one_answers() {
    for (clock, stream) in [("first", true), ("response", false)] {
        let pair = Pair::start(&format!("[timeouts]\n{clock} = \"300ms\"\n"));
        let gate = Gate::new();
        pair.a.on_accept(Reply::hang());
        pair.b.then(Reply::answer("from B").after(Step::WaitFor(gate.clone())));
        let started = Instant::now();
        thread::scope(|scope| {
            let asked = scope.spawn(|| if stream { pair.stream().into_response().status } else { pair.ask().status });
            pair.b.wait_for_chats(1);
            pair.a.wait_for_disconnect(started);
            gate.open();
            assert_eq!(asked.join().expect("an answer"), 200);
        });
        assert_eq!((pair.a.count(), classes(&pair.record(1))), (0, vec!["timeout", "ok"]), "{clock}");
    }
}

#[test]
fn d003_a_provider_that_does_not_even_read_falls_over() {
    let pair = Pair::start("[providers.a.timeouts]\nresponse = \"500ms\"\n");
    let gate = Gate::new();
    pair.a.on_accept(Reply::steps(vec![Step::WaitFor(gate.clone())]));
    // More than the buffers of both sides take.
    let body = json!({"messages": [{"role": "user", "content": "x".repeat(24 << 20)}]}).to_string();
    assert_eq!(text_of(&post_chat(pair.daemon.port(), body)), "from B");
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
    gate.open();
}

#[test]
fn d004_a_connection_closed_without_a_byte_falls_over() {
    let pair = Pair::start("");
    pair.a.then(Reply::close());
    assert_eq!(pair.said(), "from B");
    assert_eq!(pair.a.count(), 1, "a fresh connection is no stale one: nothing is resent");
    assert_eq!(classes(&pair.record(1)), ["network", "ok"]);
}

#[test]
fn d005_a_reset_connection_falls_over() {
    let pair = Pair::start("");
    pair.a.then(Reply::reset());
    assert_eq!(pair.said(), "from B");
    assert_eq!(pair.a.count(), 1);
    assert_eq!(classes(&pair.record(1)), ["network", "ok"]);
}

/// A asks, B answers; whether A's attempt is marked as perhaps carried out.
#[track_caller]
fn is_marked(pair: &Pair, count: usize) -> bool {
    assert_eq!(pair.said(), "from B");
    let record = pair.record(count);
    assert_eq!(record["attempts"][1].get("possible_duplicate"), None, "{record}");
    let mark = record["attempts"][0].get("possible_duplicate");
    assert!(mark.is_none_or(|mark| mark == true), "{record}");
    mark.is_some()
}

#[test]
fn d004_a_request_that_may_have_been_carried_out_is_marked_in_the_log() {
    let pair = Pair::start(&format!("{NO_BREAKER}[providers.a.timeouts]\nresponse = \"300ms\"\n"));
    for (count, (reply, marked)) in [(Reply::close(), true), (Reply::hang(), true), (Reply::status(500), false)].into_iter().enumerate() {
        pair.a.then(reply);
        assert_eq!(is_marked(&pair, count + 1), marked, "{count}");
    }
    pair.a.stop();
    assert!(!is_marked(&pair, 4), "refused: nothing was sent");
}

#[test]
fn d005_a_request_whose_connection_was_reset_is_marked_in_the_log() {
    let pair = Pair::start("");
    pair.a.then(Reply::reset());
    assert!(is_marked(&pair, 1));
}

#[test]
fn something_that_is_not_http_falls_over() {
    let pair = Pair::start(NO_BREAKER);
    for (count, bytes) in
        ["SSH-2.0-OpenSSH_9.6\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "\r\n\r\n\r\n{}"].into_iter().enumerate()
    {
        pair.a.then(Reply::raw(bytes).and(Step::Close));
        assert_eq!(pair.said(), "from B", "{bytes:?}");
        assert_eq!(classes(&pair.record(count + 1)).len(), 2, "{bytes:?}");
    }
}

#[test]
fn d029_a_head_that_is_too_large_falls_over() {
    let pair = Pair::start("");
    let head = format!("HTTP/1.1 200 OK\r\nx-pad: {}\r\n\r\n", "x".repeat(1 << 20));
    pair.a.then(Reply::raw(head).and(Step::Close));
    assert_eq!(pair.said(), "from B");
}

#[test]
fn d026_interim_answers_are_passed_over() {
    let pair = Pair::start("");
    let body = r#"{"choices":[{"message":{"content":"late"}}]}"#;
    let bytes = format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    pair.a.then(Reply::raw(bytes));
    assert_eq!(pair.said(), "late");
}

#[test]
fn d027_a_switch_of_protocols_falls_over_as_garbled() {
    let pair = Pair::start("");
    pair.a.then(Reply::raw("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").and(Step::Hang));
    assert_eq!(pair.said(), "from B");
    let record = pair.record(1);
    assert_eq!((classes(&record), &record["attempts"][0]["status"]), (vec!["garbled", "ok"], &json!(101)));
}

#[test]
fn d029_a_head_of_300_headers_falls_over() {
    let pair = Pair::start("");
    let many: String = (0..300).map(|number| format!("x-header-{number}: {number}\r\n")).collect();
    let body = r#"{"choices":[{"message":{"content":"from A"}}]}"#;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n{many}\r\n{body}", body.len());
    pair.a.then(Reply::raw(head));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["network", "ok"]);
    assert_eq!(pair.said(), "from A");
}

#[test]
fn d030_a_head_that_trickles_in_is_bounded_by_the_clock_of_the_answer() {
    for (clock, stream) in [("first", true), ("response", false)] {
        let pair = Pair::start(&format!("[timeouts]\n{clock} = \"400ms\"\n"));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
        let mut steps: Vec<Step> =
            head.bytes().flat_map(|byte| [Step::Bytes(vec![byte]), Step::Pause(Duration::from_millis(40))]).collect();
        steps.push(Step::Hang);
        pair.a.then(Reply::steps(steps));
        let started = Instant::now();
        let status = if stream { pair.stream().into_response().status } else { pair.ask().status };
        let took = started.elapsed();
        assert!(status == 200 && took >= Duration::from_millis(390) && took < QUICK, "{clock}: {status} after {took:?}");
        assert_eq!(classes(&pair.record(1)), ["timeout", "ok"], "{clock}");
    }
}

#[test]
fn d067_an_answer_before_the_request_is_sent_whole_is_read() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "60").early());
    let body = json!({"messages": [{"role": "user", "content": "x".repeat(8 << 20)}]}).to_string();
    assert_eq!(text_of(&post_chat(pair.daemon.port(), body)), "from B");
    assert_eq!(classes(&pair.record(1)), ["rate_limited", "ok"]);
}

#[test]
fn d067_a_request_goes_out_to_its_end_when_its_answer_has_begun_before() {
    const LONG: usize = 24 << 20;
    let pair = Pair::start("");
    pair.a.stop();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, pair.a.port())).expect("the port of A");
    let provider = thread::spawn(move || -> std::io::Result<()> {
        let answer = r#"{"choices":[{"message":{"content":"heard it all"}}]}"#;
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", answer.len())?;
        stream.read_exact(&mut vec![0; LONG])?;
        stream.write_all(answer.as_bytes())
    });
    let body = json!({"messages": [{"role": "user", "content": "x".repeat(LONG)}]}).to_string();
    assert_eq!(text_of(&post_chat(pair.daemon.port(), body)), "heard it all");
    provider.join().expect("a provider").expect("a whole request");
}

#[test]
fn an_answer_that_only_the_close_ends_is_whole() {
    let pair = Pair::start("");
    let body = r#"{"choices":[{"message":{"content":"old"}}]}"#;
    for version in ["1.0", "1.1"] {
        let head = format!("HTTP/{version} 200 OK\r\ncontent-type: application/json\r\n\r\n{body}");
        pair.a.then(Reply::raw(head).and(Step::Close));
        assert_eq!(pair.said(), "old", "{version}");
    }
}

#[test]
fn d066_a_connection_with_bytes_that_nobody_asked_for_is_not_used_again() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    let body = r#"{"choices":[{"message":{"content":"first"}}]}"#;
    let extra = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
    pair.a.then(Reply::json(200, format!("{body}{extra}")).with_header("content-length", &body.len().to_string()));
    assert_eq!(text_of(&client.post_chat(ASK)), "first");
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(pair.b.count(), 0);
    let chats = pair.a.chats();
    assert_ne!(chats[0].connection, chats.last().expect("a call").connection);
}

#[test]
fn d066_a_connection_on_which_something_came_later_is_not_used_again() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    let body = r#"{"choices":[{"message":{"content":"first"}}]}"#;
    let late = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n";
    let told = Gate::new();
    let reply = Reply::json(200, body).with_header("content-length", &body.len().to_string());
    pair.a.then(reply.and(Step::WaitFor(told.clone())).and(Step::Bytes(late.into())));
    assert_eq!(text_of(&client.post_chat(ASK)), "first");
    told.open();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(pair.b.count(), 0);
    let chats = pair.a.chats();
    assert_eq!(chats.len(), 2, "the 408 is not taken for an answer, nor is the request sent into the old connection");
    assert_ne!(chats[0].connection, chats[1].connection);
}

// Answers that nobody asked for.

#[test]
fn d025_redirects_are_not_followed_and_the_key_stays_here() {
    let target = Provider::start();
    let [a, b] = providers(["from A", "from B"]);
    let config = chain_config_with(&[("a", &a), ("b", &b)], NO_BREAKER).replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    let daemon = Daemon::builder().config(config).env("A_KEY", "sk-a-0123456789").start();
    let to = format!("{}/chat/completions", target.base_url());
    for (count, status) in [301, 302, 303, 307, 308].into_iter().enumerate() {
        a.then(Reply::json(status, "{}").with_header("location", &to));
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B", "{status}");
        assert_eq!(classes(&daemon.wait_logs(count + 1)[count]), ["garbled", "ok"], "{status}");
    }
    assert_eq!(target.connections(), 0);
}

#[test]
fn d025_a_redirect_to_the_provider_itself_is_not_followed() {
    let pair = Pair::start(NO_BREAKER);
    let own = format!("{}/chat/completions", pair.a.base_url());
    let places = [own.as_str(), "/v1/chat/completions", "", "http://localhost/v1/chat/completions"];
    for (count, to) in places.into_iter().enumerate() {
        pair.a.then(Reply::json(307, "{}").with_header("location", to));
        assert_eq!(pair.said(), "from B", "{to:?}");
        assert_eq!(pair.a.count(), count + 1, "{to:?}: asked once");
        assert_eq!(classes(&pair.record(count + 1)), ["garbled", "ok"], "{to:?}");
    }
}

#[test]
fn d065_an_answer_with_a_length_and_chunks_is_read_by_its_chunks_or_falls_over() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = r#"{"choices":[{"message":{"content":"by chunks"}}]}"#;
    pair.a.then(Reply::steps(vec![Step::Bytes(head.into()), Step::chunk(body), Step::last_chunk()]));
    let said = text_of(&client.post_chat(ASK));
    assert!(["by chunks", "from B"].contains(&said.as_str()), "{said}");
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
}

// Connections.

#[test]
fn d006_a_stale_connection_is_replaced_once_and_nobody_notices() {
    let pair = Pair::start("[breaker]\nfailures = 1\n");
    let mut client = pair.daemon.client();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    pair.a.then(Reply::close());
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(text_of(&client.post_chat(ASK)), "from A", "it is no failure");
    let chats = pair.a.chats();
    assert_eq!(chats.len(), 4, "the one that met the dead connection was sent again");
    assert_eq!(chats[0].connection, chats[1].connection);
    assert_ne!(chats[1].connection, chats[2].connection);
    assert_eq!(pair.b.count(), 0);
    let record = pair.record(2);
    assert_eq!((&record["outcome"], classes(&record)), (&json!("served"), vec!["ok"]));
}

#[test]
fn a_stale_connection_that_is_reset_is_replaced_too() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    pair.a.then(Reply::reset());
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(pair.b.count(), 0);
}

#[test]
fn d007_a_replacement_that_dies_too_is_not_replaced() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    pair.a.then(Reply::close()).then(Reply::close());
    assert_eq!(text_of(&client.post_chat(ASK)), "from B");
    assert_eq!(pair.a.count(), 3, "no third try");
    assert_eq!(classes(&pair.record(2)), ["network", "ok"]);
}

#[test]
fn d007_a_request_that_met_a_stale_connection_twice_is_marked_in_the_log() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    pair.a.then(Reply::close()).then(Reply::close());
    assert_eq!(text_of(&client.post_chat(ASK)), "from B");
    assert_eq!(pair.record(2)["attempts"][0]["possible_duplicate"], true);
}

#[test]
fn a_stale_connection_is_replaced_by_a_new_one_not_by_another_idle_one() {
    let pair = Pair::start("");
    let gate = Gate::new();
    // Enough at once that some worker has several idle connections afterwards.
    let mut clients: Vec<Client> = (0..12).map(|_| pair.daemon.client()).collect();
    for client in &mut clients {
        pair.a.then(Reply::answer("from A").after(Step::WaitFor(gate.clone())));
        client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
    }
    pair.a.wait_for_chats(12);
    gate.open();
    for client in &mut clients {
        assert_eq!(text_of(&client.read_response("POST").expect("an answer")), "from A");
    }
    for client in &mut clients {
        let (before, known) = (pair.a.count(), pair.a.connections());
        pair.a.then(Reply::close());
        assert_eq!(client.post_chat(ASK).status, 200);
        let sent: Vec<usize> = pair.a.chats()[before..].iter().map(|chat| chat.connection).collect();
        if sent[0] <= known {
            assert!(sent.len() == 2 && sent[1] > known, "sent on connections {sent:?}, of which {known} were open before");
        }
    }
}

#[test]
fn d008_a_provider_that_restarts_is_no_failure() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    pair.a.restart();
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    assert_eq!(pair.b.count(), 0);
}

#[test]
fn the_connection_of_a_failed_answer_is_used_again() {
    let pair = Pair::start(NO_BREAKER);
    let mut client = pair.daemon.client();
    for status in [500, 429, 503, 404] {
        pair.a.then(Reply::json(status, error_body(&"x".repeat(40_000), "server_error", "x")).with_header("retry-after", "0"));
        assert_eq!(text_of(&client.post_chat(ASK)), "from B");
        if status == 429 {
            eventually("A is asked again", || text_of(&client.post_chat(ASK)) == "from A");
        }
    }
    let chats = pair.a.chats();
    assert!(
        chats.iter().all(|chat| chat.connection == chats[0].connection),
        "{:?}",
        chats.iter().map(|chat| chat.connection).collect::<Vec<_>>()
    );
}

#[test]
fn a_provider_that_hangs_holds_up_no_other() {
    let pair = Pair::start("");
    for _ in 0..100 {
        pair.a.then(Reply::hang());
    }
    let hanging: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = pair.daemon.client();
            client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
            client
        })
        .collect();
    pair.a.wait_for_chats(100);
    let started = Instant::now();
    assert_eq!(text_of(&post_chat(pair.daemon.port(), ASK.replace("auto", "b/m1"))), "from B");
    assert!(started.elapsed() < QUICK);
    drop(hanging);
}

#[test]
fn d065_an_answer_with_a_length_and_chunks_ends_its_connection() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\ntransfer-encoding: chunked\r\n\r\n";
    let body = r#"{"choices":[{"message":{"content":"by chunks"}}]}"#;
    pair.a.then(Reply::steps(vec![Step::Bytes(head.into()), Step::chunk(body), Step::last_chunk()]));
    let said = text_of(&client.post_chat(ASK));
    assert!(["by chunks", "from B"].contains(&said.as_str()), "{said}");
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
    let chats = pair.a.chats();
    assert_ne!(chats[0].connection, chats[1].connection, "the connection is not used again");
}
