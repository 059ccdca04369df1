//! What happens when the caller leaves: the provider's call is cancelled at
//! once, in every phase; nobody else is asked, and nobody is blamed.

mod support;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{ASK, ASK_STREAM, Pair, Reply, Step, StreamReader, classes, content, role, text_of};

/// 100 ms are promised; a slow machine gets more.
const PROMPT: Duration = Duration::from_secs(1);
const JSON: [(&str, &str); 1] = [("content-type", "application/json")];
/// One failure would show.
const TOUCHY: &str = "[breaker]\nfailures = 1\ncooldown = \"60s\"\n";

/// The three ways to leave.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Close,
    HalfClose,
    Reset,
}

const WAYS: [Way; 3] = [Way::Close, Way::HalfClose, Way::Reset];

/// A caller that has sent a request on a plain socket.
struct Caller(TcpStream);

impl Caller {
    #[track_caller]
    fn asks(pair: &Pair, body: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", pair.daemon.port())).expect("a connection");
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("a request");
        Self(stream)
    }

    /// Waits for a byte of the answer, which stays unread.
    #[track_caller]
    fn sees_something(&self) {
        self.0.set_read_timeout(Some(support::PATIENCE)).expect("a time-out");
        assert!(self.0.peek(&mut [0]).is_ok_and(|count| count > 0), "no answer");
    }

    /// Leaves; gives the moment, and the socket if it is still open.
    fn leaves(self, way: Way) -> (Instant, Option<TcpStream>) {
        let Self(stream) = self;
        let at = Instant::now();
        let kept = match way {
            Way::Close => {
                drop(stream);
                None
            }
            Way::HalfClose => {
                stream.shutdown(std::net::Shutdown::Write).expect("a half-close");
                Some(stream)
            }
            Way::Reset => {
                // A socket that does not linger sends RST when it is closed.
                let socket = socket2::Socket::from(stream);
                socket.set_linger(Some(Duration::ZERO)).expect("no lingering");
                drop(socket);
                None
            }
        };
        (at, kept)
    }
}

/// The caller leaves in each way while A does this; A sees it at once, B is not
/// asked, the record says so, and A is still asked first.
#[track_caller]
fn leaving_is_noticed(body: &str, reply: &Reply, begun: bool) {
    let pair = Pair::start(TOUCHY);
    for (count, way) in WAYS.into_iter().enumerate() {
        pair.a.then(reply.clone());
        let caller = Caller::asks(&pair, body);
        pair.a.wait_for_chats(2 * count + 1);
        if begun {
            caller.sees_something();
        }
        let (at, kept) = caller.leaves(way);
        let noticed = pair.a.wait_for_disconnect(at);
        assert!(noticed < PROMPT, "{way:?}: the provider saw it after {noticed:?}");
        drop(kept);
        let record = pair.record(2 * count + 1);
        assert_eq!((&record["outcome"], &record["status"]), (&json!("client_closed"), &Value::Null), "{way:?}");
        assert_eq!(classes(&record), ["client_closed"], "{way:?}");
        assert_eq!(pair.said(), "from A", "{way:?}: nobody is blamed");
    }
    assert_eq!(pair.b.count(), 0, "nobody else is asked");
}

#[test]
fn d112_leaving_while_the_head_is_waited_for_cancels() {
    leaving_is_noticed(ASK, &Reply::hang(), false);
}

#[test]
fn d112_leaving_while_the_head_of_a_stream_is_waited_for_cancels() {
    leaving_is_noticed(ASK_STREAM, &Reply::hang(), false);
}

#[test]
fn d112_leaving_in_the_middle_of_a_whole_answer_cancels() {
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"choices\":[";
    leaving_is_noticed(ASK, &Reply::raw(half).and(Step::Hang), false);
}

#[test]
fn d112_leaving_in_the_middle_of_an_error_cancels() {
    let half = "HTTP/1.1 500 Oh\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"error\":";
    leaving_is_noticed(ASK, &Reply::raw(half).and(Step::Hang), false);
}

#[test]
fn d113_leaving_before_the_first_content_cancels() {
    leaving_is_noticed(ASK_STREAM, &Reply::events_then(vec![role()], Step::Hang), false);
}

#[test]
fn d114_leaving_in_the_middle_of_a_stream_cancels() {
    leaving_is_noticed(ASK_STREAM, &Reply::events_then(vec![role(), content("half")], Step::Hang), true);
}

#[test]
fn d114_leaving_a_stream_that_flows_cancels() {
    let mut reply = Reply::events_then(vec![role(), content("x")], Step::Pause(Duration::from_millis(5)));
    for _ in 0..2000 {
        reply = reply.and(Step::chunk(content("x"))).and(Step::Pause(Duration::from_millis(5)));
    }
    leaving_is_noticed(ASK_STREAM, &reply, true);
}

#[test]
fn d114_leaving_in_the_middle_of_a_large_answer_cancels() {
    let part = format!("{{\"choices\":[{{\"message\":{{\"content\":\"{}", "x".repeat(17 << 20));
    leaving_is_noticed(ASK, &Reply::json(200, part).with_header("content-length", "90000000").and(Step::Hang), true);
}

#[test]
fn d111_leaving_during_the_second_attempt_cancels_that_one() {
    let pair = Pair::start("");
    for (count, way) in WAYS.into_iter().enumerate() {
        pair.a.then(Reply::status(500));
        pair.b.then(Reply::hang());
        let caller = Caller::asks(&pair, ASK);
        pair.b.wait_for_chats(count + 1);
        let (at, _kept) = caller.leaves(way);
        assert!(pair.b.wait_for_disconnect(at) < PROMPT, "{way:?}");
        assert_eq!(classes(&pair.record(count + 1)), ["server_error", "client_closed"], "{way:?}");
    }
}

/// The caller closes its sending half while A does this; it gets nothing more
/// that could be taken for an answer, and its connection ends.
#[track_caller]
fn half_closing_ends_it(body: &str, reply: Reply, begun: bool) {
    let pair = Pair::start("");
    pair.a.then(reply);
    let caller = Caller::asks(&pair, body);
    pair.a.wait_for_chats(1);
    if begun {
        caller.sees_something();
    }
    let (at, kept) = caller.leaves(Way::HalfClose);
    assert!(pair.a.wait_for_disconnect(at) < PROMPT);
    let mut stream = kept.expect("a socket that can still be read");
    stream.set_read_timeout(Some(support::PATIENCE)).expect("a time-out");
    let mut rest = Vec::new();
    // It may end with a reset, too, but it must end.
    let ended = stream.read_to_end(&mut rest);
    assert!(!ended.is_err_and(|problem| matches!(problem.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)), "it stays open");
    let rest = String::from_utf8_lossy(&rest);
    assert!(begun || rest.is_empty(), "{rest}");
    assert!(!rest.contains("[DONE]") && !rest.contains("\"error\""), "{rest}");
    let record = pair.record(1);
    assert_eq!((&record["outcome"], &record["status"]), (&json!("client_closed"), &Value::Null));
    assert_eq!(pair.b.count(), 0, "nobody else is asked");
}

#[test]
fn d115_a_half_close_while_the_head_is_waited_for_is_leaving() {
    half_closing_ends_it(ASK, Reply::hang(), false);
}

#[test]
fn d115_a_half_close_before_the_first_content_is_leaving() {
    half_closing_ends_it(ASK_STREAM, Reply::events_then(vec![role()], Step::Hang), false);
}

#[test]
fn d115_a_half_close_in_the_middle_of_a_stream_is_leaving() {
    half_closing_ends_it(ASK_STREAM, Reply::events_then(vec![role(), content("half")], Step::Hang), true);
}

#[test]
fn leaving_does_not_use_up_the_probe() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"1s\"\n");
    pair.a.then(Reply::status(500)).then(Reply::hang());
    assert_eq!(pair.said(), "from B");
    let failed = pair.a.chats()[0].at;
    std::thread::sleep(Duration::from_millis(1100).saturating_sub(failed.elapsed()));
    let caller = Caller::asks(&pair, ASK);
    pair.a.wait_for_chats(2);
    let (at, _) = caller.leaves(Way::Close);
    assert!(pair.a.wait_for_disconnect(at) < PROMPT);
    pair.record(2);
    assert_eq!(pair.said(), "from A", "the next one probes");
}

#[test]
fn many_that_leave_do_not_count_in_the_providers_health() {
    let pair = Pair::start("[breaker]\nfailures = 3\ncooldown = \"60s\"\n");
    for _ in 0..10 {
        pair.a.then(Reply::events_then(vec![role(), content("half")], Step::Hang));
    }
    for _ in 0..10 {
        let stream: StreamReader = pair.stream();
        let at = Instant::now();
        drop(stream);
        assert!(pair.a.wait_for_disconnect(at) < PROMPT);
    }
    pair.daemon.wait_logs(10);
    assert_eq!(pair.said(), "from A");
}

#[test]
fn d114_the_tokens_told_before_the_caller_left_are_recorded() {
    let pair = Pair::start("");
    pair.a.then(Reply::events_then(vec![support::usage(31, 1), content("half")], Step::Hang));
    let mut stream = pair.stream();
    stream.next_event();
    drop(stream);
    let record = pair.record(1);
    assert_eq!((&record["outcome"], &record["prompt_tokens"]), (&json!("client_closed"), &json!(31)));
}

#[test]
fn d112_leaving_with_more_sent_than_asked_cancels() {
    let pair = Pair::start("");
    for (count, extra) in ["\r\n", "GET /health HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"].into_iter().enumerate() {
        pair.a.then(Reply::hang());
        let mut caller = Caller::asks(&pair, ASK);
        pair.a.wait_for_chats(count + 1);
        caller.0.write_all(extra.as_bytes()).expect("more bytes");
        let (at, _) = caller.leaves(Way::Close);
        let noticed = pair.a.wait_for_disconnect(at);
        assert!(noticed < PROMPT, "{extra:?}: {noticed:?}");
    }
}

#[test]
fn what_is_sent_while_another_request_is_answered_gets_its_answer() {
    let pair = Pair::start("");
    // The second one is larger than what is taken before its turn.
    let long = ASK.replace("hi", &"x".repeat(100_000));
    for second in [ASK, long.as_str()] {
        let before = pair.a.chats().len();
        pair.a.then(Reply::answer("first").after(Step::Pause(Duration::from_millis(300))));
        pair.a.then(Reply::answer("second"));
        let mut caller = Caller::asks(&pair, ASK);
        pair.a.wait_for_chats(before + 1);
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            second.len()
        );
        caller.0.write_all(head.as_bytes()).and_then(|()| caller.0.write_all(second.as_bytes())).expect("a second request");
        let mut all = String::new();
        caller.0.set_read_timeout(Some(support::PATIENCE)).expect("a time-out");
        caller.0.read_to_string(&mut all).expect("two answers");
        assert_eq!(all.matches("HTTP/1.1 200").count(), 2, "{all}");
        assert!(all.find("first").expect("the first") < all.find("second").expect("the second"), "{all}");
        let asked = pair.a.chats();
        assert_eq!(
            asked.last().map(|request| request.body.len()),
            asked.get(before).map(|first| first.body.len() + second.len() - ASK.len())
        );
    }
}

#[test]
fn d111_leaving_before_the_request_is_whole_asks_nobody() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    client.send("POST", "/v1/chat/completions", &[JSON[0], ("content-length", "500")], r#"{"messages":"#);
    drop(client);
    assert_eq!(pair.said(), "from A");
    assert_eq!(pair.a.count(), 1);
}

#[test]
fn a_connection_that_stays_is_not_taken_for_one_that_left() {
    let pair = Pair::start("");
    let mut client = pair.daemon.client();
    pair.a.then(Reply::answer("late").after(Step::Pause(Duration::from_millis(500))));
    assert_eq!(text_of(&client.post_chat(ASK)), "late");
    assert_eq!(text_of(&client.post_chat(ASK)), "from A");
}

/// A port that takes no further connection: the queue of its listener is full.
#[cfg(target_os = "linux")]
struct Full {
    _listener: socket2::Socket,
    _queued: Vec<TcpStream>,
}

#[cfg(target_os = "linux")]
impl Full {
    fn at(port: u16) -> Self {
        use std::net::SocketAddr;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        listener.set_reuse_address(true).expect("an option");
        // What was there before may take a moment to go.
        let until = Instant::now() + support::PATIENCE;
        while let Err(problem) = listener.bind(&address.into()).and_then(|()| listener.listen(0)) {
            assert!(Instant::now() < until, "the port: {problem}");
            std::thread::sleep(Duration::from_millis(20));
        }
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
        Self { _listener: listener, _queued: (0..16).map_while(connect).collect() }
    }
}

/// Waits until somebody is connecting to this port, or until nobody is.
#[cfg(target_os = "linux")]
#[track_caller]
fn wait_for_connecting(port: u16, wanted: bool) {
    let until = Instant::now() + support::PATIENCE;
    // Of the kernel's table: the remote address and a socket in SYN_SENT.
    let wait = format!(":{port:04X} 02 ");
    let connecting = || std::fs::read_to_string("/proc/net/tcp").expect("the table of sockets").contains(&wait);
    while connecting() != wanted {
        assert!(Instant::now() < until, "connecting to {port} should be {wanted}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn d111_leaving_while_the_connection_is_made_cancels() {
    let pair = Pair::start(&format!("{TOUCHY}[timeouts]\nconnect = \"20s\"\n"));
    pair.a.stop();
    let full = Full::at(pair.a.port());
    for (count, way) in WAYS.into_iter().enumerate() {
        let caller = Caller::asks(&pair, ASK);
        wait_for_connecting(pair.a.port(), true);
        let (at, _kept) = caller.leaves(way);
        wait_for_connecting(pair.a.port(), false);
        assert!(at.elapsed() < PROMPT, "{way:?}: {:?}", at.elapsed());
        let record = pair.record(count + 1);
        assert_eq!((&record["outcome"], classes(&record)), (&json!("client_closed"), vec!["client_closed"]), "{way:?}");
    }
    drop(full);
    pair.a.restart();
    assert_eq!(pair.said(), "from A", "nobody is blamed");
    assert_eq!(pair.b.count(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn d111_leaving_while_the_second_connection_is_made_cancels() {
    let pair = Pair::start("[timeouts]\nconnect = \"20s\"\n[breaker]\nfailures = 0\n");
    pair.a.always(Reply::status(500));
    pair.b.stop();
    let _full = Full::at(pair.b.port());
    for (count, way) in WAYS.into_iter().enumerate() {
        let caller = Caller::asks(&pair, ASK_STREAM);
        wait_for_connecting(pair.b.port(), true);
        let (at, _kept) = caller.leaves(way);
        wait_for_connecting(pair.b.port(), false);
        assert!(at.elapsed() < PROMPT, "{way:?}: {:?}", at.elapsed());
        let record = pair.record(count + 1);
        assert_eq!((&record["outcome"], classes(&record)), (&json!("client_closed"), vec!["server_error", "client_closed"]), "{way:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_connection_that_does_not_stand_in_time_falls_over() {
    let pair = Pair::start("[timeouts]\nconnect = \"300ms\"\n");
    pair.a.stop();
    let _full = Full::at(pair.a.port());
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_model_can_have_its_own_connect_clock() {
    let pair = Pair::start("[timeouts]\nconnect = \"20s\"\n[models.\"a/m1\".timeouts]\nconnect = \"300ms\"\n");
    pair.a.stop();
    let _full = Full::at(pair.a.port());
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

#[test]
fn d114_leaving_one_stream_leaves_the_others_alone() {
    let pair = Pair::start("");
    let gate = support::Gate::new();
    let slow = || {
        Reply::events_then(vec![content("half ")], Step::WaitFor(gate.clone()))
            .and(Step::chunk(content("whole")))
            .and(Step::chunk(support::finish("stop")))
            .and(Step::last_chunk())
    };
    pair.a.then(slow()).then(slow()).then(slow());
    let mut streams: Vec<StreamReader> = (0..3).map(|_| pair.stream()).collect();
    let at = Instant::now();
    drop(streams.remove(1));
    assert!(pair.a.wait_for_disconnect(at) < PROMPT);
    gate.open();
    for mut stream in streams {
        let rest = stream.read_to_end();
        assert!(rest.contains("whole") && rest.ends_with("data: [DONE]\n\n"), "{rest}");
    }
}
