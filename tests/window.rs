//! What counts in the health of a provider and what does not, how one that is
//! down comes back, and what is kept of the time that answers take.

mod support;

use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};
use support::{
    ASK, ASK_STREAM, Client, Daemon, Gate, Pair, Provider, Reply, Step, chain_config_with, classes, content, done, finish, open_stream,
    post_chat, role, text_of, tried,
};

/// Only health moves a provider, as soon as it may and for longer than a test lasts.
const HEALTH_ALONE: &str = "[breaker]\nfailures = 100\ncooldown = \"60s\"\n";
/// Only health moves a provider, for a second at first.
const SHORT: &str = "[breaker]\nfailures = 100\ncooldown = \"1s\"\n";
/// Two failures in a row move a model.
const TWO: &str = "[breaker]\nfailures = 2\ncooldown = \"60s\"\n";

/// Sends a chat call on a connection of its own and reads nothing.
#[track_caller]
fn sent(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
    client
}

/// Makes `a` fail five requests of five.
#[track_caller]
fn take_down(pair: &Pair) {
    for _ in 0..5 {
        pair.a.then(Reply::status(500));
        assert_eq!(pair.said(), "from B");
    }
    assert_eq!((pair.said().as_str(), pair.a.count()), ("from B", 5));
}

/// The rule is about a second that has passed, so it has to pass.
fn a_second_of_silence() {
    thread::sleep(Duration::from_millis(1100));
}

// Down, and back again.

#[test]
fn d155_a_provider_that_is_down_is_back_only_after_a_good_probe() {
    let pair = Pair::start(SHORT);
    take_down(&pair);
    a_second_of_silence();
    let gate = Gate::new();
    pair.a.always(Reply::answer("from A").after(Step::WaitFor(gate.clone())));
    let mut probe = sent(&pair.daemon);
    pair.a.wait_for_chats(6);
    assert_eq!([pair.said(), pair.said()], ["from B", "from B"], "silence alone does not bring it back");
    assert_eq!(pair.a.count(), 6);
    gate.open();
    assert_eq!(text_of(&probe.read_response("POST").expect("an answer")), "from A");
    assert_eq!([pair.said(), pair.said()], ["from A", "from A"]);
}

#[test]
fn d155_a_bad_probe_keeps_it_down() {
    let pair = Pair::start(SHORT);
    take_down(&pair);
    a_second_of_silence();
    pair.a.then(Reply::status(500));
    assert_eq!(pair.said(), "from B");
    assert_eq!(pair.a.count(), 6);
    a_second_of_silence();
    assert_eq!((pair.said().as_str(), pair.a.count()), ("from B", 6), "the second step is longer");
}

// What is no failure.

/// Asks eight times while `a` answers like this; `a` must then still be asked first.
#[track_caller]
fn blames_nobody(extra: &str, reply: &Reply, status: u16) {
    for breaker in [HEALTH_ALONE, TWO] {
        let pair = Pair::start(&format!("{breaker}{extra}"));
        for _ in 0..8 {
            pair.a.then(reply.clone());
            let response = pair.ask();
            assert_eq!(response.status, status, "{}", response.text());
        }
        assert_eq!((pair.said().as_str(), pair.a.count()), ("from A", 9), "{breaker}");
    }
}

fn error(message: &str, code: &str) -> String {
    json!({"error": {"message": message, "type": "invalid_request_error", "param": null, "code": code}}).to_string()
}

#[test]
fn d156_the_callers_mistakes_are_no_errors() {
    blames_nobody("", &Reply::json(400, error("Unknown parameter: 'foo'.", "unknown_parameter")), 400);
    blames_nobody("", &Reply::json(422, error("'n' is too large.", "invalid_value")), 422);
}

#[test]
fn d156_a_content_filter_is_no_error() {
    blames_nobody("", &Reply::json(400, error("The response was filtered.", "content_filter")), 400);
}

#[test]
fn d156_an_overflow_is_no_error() {
    let windows = "[models.\"a/m1\"]\ncontext_window = 100000\n[models.\"b/m1\"]\ncontext_window = 200000\n";
    blames_nobody(windows, &Reply::json(400, error("This model's maximum context length is 9 tokens.", "context_length_exceeded")), 200);
}

#[test]
fn d156_a_rate_limit_is_no_error() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], HEALTH_ALONE));
    for _ in 0..8 {
        a.then(Reply::status(429).with_header("retry-after", "1"));
        assert_eq!(post_chat(daemon.port(), ASK).status, 502);
    }
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "hello");
    a.then(Reply::status(500));
    let response = post_chat(daemon.port(), ASK);
    assert_eq!((response.status, response.header("retry-after")), (502, None), "it does not cool: one of two that count has failed");
}

#[test]
fn d156_callers_that_leave_are_no_errors() {
    for breaker in [HEALTH_ALONE, TWO] {
        let pair = Pair::start(breaker);
        for count in 1..=8 {
            pair.a.then(Reply::hang());
            let client = sent(&pair.daemon);
            pair.a.wait_for_chats(count);
            drop(client);
        }
        let records = pair.daemon.wait_logs(8);
        assert!(records.iter().all(|record| classes(record) == ["client_closed"]), "{records:#?}");
        assert_eq!(pair.said(), "from A");
    }
}

#[test]
fn d156_callers_that_leave_in_the_middle_of_a_stream_are_no_errors() {
    let pair = Pair::start(HEALTH_ALONE);
    for _ in 0..8 {
        pair.a.then(Reply::events_then(vec![role(), content("x")], Step::Hang));
        let mut stream = pair.stream();
        assert!(stream.next_event().is_some() && stream.next_event().is_some());
    }
    pair.daemon.wait_logs(8);
    assert_eq!(pair.said(), "from A");
}

#[test]
fn d157_a_fallback_is_one_request_with_an_error_of_one_and_a_success_of_the_other() {
    let pair = Pair::start(HEALTH_ALONE);
    take_down(&pair);
    let records = pair.daemon.wait_logs(6);
    assert_eq!(records.len(), 6);
    for record in &records[..5] {
        assert_eq!((tried(record), classes(record)), (vec!["a", "b"], vec!["server_error", "ok"]), "{record}");
        assert_eq!((&record["outcome"], &record["status"]), (&json!("fallback"), &json!(200)));
    }
    let status: Value = serde_json::from_str(&pair.daemon.run(&["status", "--json"]).expect_code(0).stdout).expect("JSON");
    let cools = |name: &str| {
        let providers = status["providers"].as_array().expect("providers");
        let own = providers.iter().find(|provider| provider["provider"] == name).expect("the provider");
        own["cooling"].as_array().is_some_and(|models| !models.is_empty())
    };
    assert_eq!((cools("a"), cools("b")), (true, false), "{status}");
}

// Time.

/// A stream that says something at once and goes on for half a second.
fn slow_to_end() -> Reply {
    let start = Reply::events_then(vec![role(), content("x")], Step::Pause(Duration::from_millis(500)));
    start.and(Step::chunk(finish("stop"))).and(Step::chunk(done())).and(Step::last_chunk())
}

#[test]
fn d158_the_time_to_the_first_content_and_the_whole_time_are_both_kept() {
    let pair = Pair::start("");
    pair.a.then(slow_to_end());
    let mut stream = open_stream(pair.daemon.port(), ASK_STREAM);
    stream.read_to_end();
    let record = pair.record(1);
    let attempt = &record["attempts"][0];
    for part in [&record, attempt] {
        let (first, whole) = (part["first_ms"].as_u64().expect("a time"), part["ms"].as_u64().expect("a time"));
        assert!(whole >= 500 && first + 400 <= whole, "{first} and {whole}: {record}");
    }
}

#[test]
fn d158_a_whole_answer_has_no_first_content() {
    let pair = Pair::start("");
    pair.a.then(Reply::answer("from A").after(Step::Pause(Duration::from_millis(300))));
    assert_eq!(pair.said(), "from A");
    let record = pair.record(1);
    assert_eq!(record["attempts"][0]["first_ms"], Value::Null, "{record}");
    assert!(record["attempts"][0]["ms"].as_u64().is_some_and(|time| time >= 300), "{record}");
}

#[test]
fn d160_a_wall_clock_that_was_set_back_keeps_the_order_of_the_log() {
    let pair = Pair::start("");
    let ask = |id: &str| {
        let headers = [("content-type", "application/json"), ("x-request-id", id)];
        assert_eq!(pair.daemon.client().request("POST", "/v1/chat/completions", &headers, ASK).status, 200);
    };
    ask("before");
    pair.daemon.wait_logs(1);
    // As if the first record had been written under a clock ten years ahead.
    let store = Connection::open(pair.daemon.state_dir().join("requests.db")).expect("the store");
    let ahead =
        "UPDATE batches SET newest_ms = newest_ms + 3155760000000, records = replace(records, newest_ms, newest_ms + 3155760000000)";
    assert_eq!(store.execute(ahead, []).expect("a change"), 1);
    drop(store);
    ask("after");
    let records = pair.daemon.wait_logs(2);
    let ids: Vec<&str> = records.iter().filter_map(|record| record["id"].as_str()).collect();
    assert_eq!(ids, ["before", "after"]);
    assert!(records[0]["time"].as_str() > records[1]["time"].as_str());
}

/// What `GET /api/providers` says of a provider.
#[track_caller]
fn figures(daemon: &Daemon, name: &str) -> Value {
    let answer = support::get(daemon.port(), "/api/providers");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let rows = answer.json();
    rows.as_array().expect("an array").iter().find(|row| row["provider"] == name).expect("the provider").clone()
}

#[test]
fn d142_one_failure_of_one_request_is_shown_and_is_no_data() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    assert_eq!(pair.said(), "from B");
    let a = figures(&pair.daemon, "a");
    assert_eq!((&a["attempts"], &a["error_rate"], &a["status"]), (&json!(1), &json!(1.0), &json!("no_data")), "{a}");
}

#[test]
fn d154_a_provider_that_was_never_asked_has_no_figures() {
    let pair = Pair::start("");
    let a = figures(&pair.daemon, "a");
    assert_eq!(
        (&a["attempts"], &a["status"], &a["p50_ms"], &a["p95_ms"]),
        (&json!(0), &json!("no_data"), &Value::Null, &Value::Null),
        "{a}"
    );
}

#[test]
fn d157_a_fallback_is_an_error_of_one_provider_and_a_success_of_the_other() {
    let pair = Pair::start(HEALTH_ALONE);
    take_down(&pair);
    let (a, b) = (figures(&pair.daemon, "a"), figures(&pair.daemon, "b"));
    assert_eq!((&a["attempts"], &a["error_rate"], &a["status"]), (&json!(5), &json!(1.0), &json!("down")), "{a}");
    assert_eq!((&b["attempts"], &b["error_rate"], &b["status"]), (&json!(6), &json!(0.0), &json!("healthy")), "{b}");
}
