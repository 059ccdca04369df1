//! The breaker of each model and the health of each provider.

mod chains;
mod support;

use std::thread;
use std::time::Duration;

use chains::{NO_BREAKER, daemon, error_body, eventually, providers, until_said};
use serde_json::json;
use support::{ASK, Gate, Pair, Reply, Step, post_chat, text_of, tried};

// The breaker.

#[test]
fn failures_in_a_row_make_a_model_cool() {
    let pair = Pair::start("[breaker]\nfailures = 2\ncooldown = \"60s\"\n");
    pair.a.then(Reply::status(500)).then(Reply::answer("from A")).then(Reply::status(500)).then(Reply::status(500));
    let said: Vec<String> = (0..6).map(|_| pair.said()).collect();
    assert_eq!(said, ["from B", "from A", "from B", "from B", "from B", "from B"]);
    assert_eq!(pair.a.count(), 4, "one failure, a success and two failures in a row; then it is left alone");
}

#[test]
fn a_cooling_model_is_tried_when_nothing_else_is_left() {
    let pair = Pair::start_with("[breaker]\nfailures = 1\ncooldown = \"60s\"\n", |builder| builder.env("DEBUG_ROUTING", "1"));
    pair.a.then(Reply::status(500));
    assert_eq!(pair.said(), "from B");
    pair.b.then(Reply::status(500));
    let response = pair.ask();
    assert_eq!(text_of(&response), "from A");
    assert_eq!(response.header("x-routor-fallback"), None, "A is the first of the chain as decided");
    assert_eq!(response.header("x-routor-attempts"), Some("2"));
    let record = pair.record(2);
    assert_eq!((tried(&record), &record["outcome"]), (vec!["b", "a"], &json!("served")));
}

#[test]
fn an_answer_in_place_of_a_cooling_model_is_a_fallback() {
    let pair = Pair::start_with("[breaker]\nfailures = 1\ncooldown = \"60s\"\n", |builder| builder.env("DEBUG_ROUTING", "1"));
    pair.a.then(Reply::status(500));
    pair.said();
    let response = pair.ask();
    assert_eq!((response.header("x-routor-fallback"), response.header("x-routor-attempts")), (Some("true"), Some("1")));
    let record = pair.record(2);
    assert_eq!((tried(&record), &record["outcome"]), (vec!["b"], &json!("fallback")));
}

#[test]
fn a_success_of_a_cooling_model_ends_its_cooldown() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"60s\"\n");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::answer("from B")).then(Reply::status(500));
    assert_eq!([pair.said(), pair.said(), pair.said()], ["from B", "from A", "from A"]);
}

#[test]
fn after_the_cooldown_a_good_probe_brings_the_model_back() {
    let pair = Pair::start("[breaker]\nfailures = 2\ncooldown = \"1s\"\n");
    pair.a.then(Reply::status(500)).then(Reply::status(500));
    assert_eq!([pair.said(), pair.said(), pair.said()], ["from B", "from B", "from B"]);
    assert_eq!(pair.a.count(), 2);
    until_said(&pair, "from A", Duration::from_secs(5));
    for _ in 0..8 {
        assert_eq!(pair.said(), "from A");
    }
    pair.a.then(Reply::status(500));
    assert_eq!([pair.said(), pair.said()], ["from B", "from A"], "the count begins anew");
}

#[test]
fn a_failed_probe_doubles_the_cooldown() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"1s\"\n");
    pair.a.then(Reply::status(500)).then(Reply::status(500));
    pair.said();
    eventually("the probe", || {
        pair.said();
        pair.a.count() == 2
    });
    let failed = pair.a.chats()[1].at;
    until_said(&pair, "from A", Duration::from_secs(8));
    assert!(failed.elapsed() >= Duration::from_secs(2), "{:?}", failed.elapsed());
    let first = pair.a.chats()[0].at;
    assert!(failed.duration_since(first) >= Duration::from_millis(990), "{:?}", failed.duration_since(first));
}

#[test]
fn exactly_one_of_many_requests_probes() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"1s\"\n");
    pair.a.then(Reply::status(500));
    pair.said();
    let failed = pair.a.chats()[0].at;
    let gate = Gate::new();
    pair.a.always(Reply::answer("from A").after(Step::WaitFor(gate.clone())));
    thread::sleep(Duration::from_millis(1100).saturating_sub(failed.elapsed()));
    let said = thread::scope(|scope| {
        let asked: Vec<_> = (0..50).map(|_| scope.spawn(|| pair.said())).collect();
        pair.a.wait_for_chats(2);
        pair.b.wait_for_chats(50);
        gate.open();
        asked.into_iter().map(|one| one.join().expect("an answer")).collect::<Vec<String>>()
    });
    assert_eq!(pair.a.count(), 2, "the failure and one probe");
    assert_eq!(said.iter().filter(|text| *text == "from A").count(), 1);
}

#[test]
fn a_probe_that_ends_without_a_verdict_is_made_again() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"1s\"\n");
    pair.a.then(Reply::status(500)).then(Reply::json(400, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "x")));
    pair.said();
    eventually("the probe", || pair.ask().status == 400);
    assert_eq!(pair.said(), "from A");
}

#[test]
fn with_failures_0_no_failure_moves_a_model() {
    let pair = Pair::start(NO_BREAKER);
    for count in 0..12 {
        pair.a.then(Reply::status(500));
        assert_eq!(pair.said(), "from B");
        assert_eq!(pair.a.count(), count + 1, "A is still asked first");
    }
    assert_eq!(pair.said(), "from A");
}

#[test]
fn with_failures_0_a_hint_still_cools() {
    let pair = Pair::start(NO_BREAKER);
    pair.a.then(Reply::status(429).with_header("retry-after", "60"));
    assert_eq!([pair.said(), pair.said()], ["from B", "from B"]);
    assert_eq!(pair.a.count(), 1);
}

#[test]
fn with_failures_0_a_failure_after_a_hint_cools_nobody() {
    let pair = Pair::start(NO_BREAKER);
    pair.a.then(Reply::status(429).with_header("retry-after", "1")).then(Reply::status(500));
    pair.said();
    eventually("A is asked again", || {
        pair.said();
        pair.a.count() == 2
    });
    assert_eq!(pair.said(), "from A");
}

// Health.

#[test]
fn a_provider_below_70_percent_is_treated_as_cooling() {
    let pair = Pair::start("[breaker]\nfailures = 100\ncooldown = \"60s\"\n");
    for reply in [Reply::answer("from A"), Reply::status(500), Reply::answer("from A"), Reply::status(500)] {
        pair.a.then(reply);
        pair.said();
    }
    assert_eq!(pair.a.count(), 4, "four attempts say nothing");
    pair.a.then(Reply::status(500));
    assert_eq!(pair.said(), "from B");
    assert_eq!([pair.said(), pair.said()], ["from B", "from B"]);
    assert_eq!(pair.a.count(), 5, "two of five were good");
}

#[test]
fn a_provider_at_70_percent_is_not_treated_as_cooling() {
    let pair = Pair::start("[breaker]\nfailures = 100\ncooldown = \"60s\"\n");
    for good in [true, true, true, true, false, true, true, true, false, false] {
        pair.a.then(if good { Reply::answer("from A") } else { Reply::status(500) });
        assert_eq!(pair.said(), if good { "from A" } else { "from B" });
    }
    assert_eq!(pair.said(), "from A");
}

#[test]
fn a_good_probe_restarts_the_providers_window() {
    let pair = Pair::start("[breaker]\nfailures = 100\ncooldown = \"1s\"\n");
    for _ in 0..5 {
        pair.a.then(Reply::status(500));
        pair.said();
    }
    assert_eq!(pair.said(), "from B");
    assert_eq!(pair.a.count(), 5);
    until_said(&pair, "from A", Duration::from_secs(5));
    pair.a.then(Reply::status(500));
    assert_eq!([pair.said(), pair.said()], ["from B", "from A"], "one failure after it says nothing");
}

#[test]
fn health_is_the_providers_and_counts_all_its_models() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = daemon(&[("a", &a), ("b", &b)], "[breaker]\nfailures = 100\ncooldown = \"60s\"\n");
    for _ in 0..5 {
        a.then(Reply::status(500));
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    }
    assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from B");
}

#[test]
fn the_callers_mistakes_are_no_failures_of_the_provider() {
    let pair = Pair::start("[breaker]\nfailures = 2\n");
    for _ in 0..8 {
        pair.a.then(Reply::json(400, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "x")));
        assert_eq!(pair.ask().status, 400);
    }
    assert_eq!(pair.said(), "from A");
    assert_eq!(pair.b.count(), 0);
}
