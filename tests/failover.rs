//! The rules of failover: what makes routor go on to the next model, what does
//! not, how long it takes, and what the caller and the request log are told.

mod chains;
mod support;

use std::time::{Duration, Instant};

use chains::{ALL_FAILED, NO_BREAKER, QUICK, daemon, error_body, providers};
use serde_json::{Value, json};
use support::{ASK, Daemon, Pair, Provider, Reply, Step, chain_config, classes, post, post_chat, text_of};

// What triggers a fallback.

#[test]
fn d031_a_5xx_falls_over_to_the_next_model() {
    let pair = Pair::start(NO_BREAKER);
    let statuses = [500, 501, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 529, 599];
    for (count, status) in statuses.into_iter().enumerate() {
        pair.a.then(Reply::status(status));
        assert_eq!(pair.said(), "from B", "{status}");
        assert_eq!((pair.a.count(), pair.b.count()), (count + 1, count + 1), "{status}");
    }
    for (record, status) in pair.daemon.wait_logs(statuses.len()).iter().zip(statuses) {
        let class = if matches!(status, 503 | 529) { "overloaded" } else { "server_error" };
        assert_eq!(classes(record), [class, "ok"], "{status}");
        assert_eq!(record["attempts"][0]["status"], status);
        assert_eq!((&record["outcome"], &record["status"]), (&json!("fallback"), &json!(200)));
    }
}

#[test]
fn a_time_out_falls_over_to_the_next_model() {
    let pair = Pair::start("[timeouts]\nresponse = \"300ms\"\n");
    pair.a.then(Reply::hang());
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(started.elapsed() >= Duration::from_millis(300) && started.elapsed() < QUICK, "{:?}", started.elapsed());
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[test]
fn a_timed_out_attempt_is_cancelled_at_the_provider() {
    let pair = Pair::start("[timeouts]\nresponse = \"300ms\"\n");
    pair.a.then(Reply::hang());
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(pair.a.wait_for_disconnect(started) < QUICK);
}

#[test]
fn an_answer_that_never_ends_times_out_whole() {
    let pair = Pair::start("[timeouts]\nresponse = \"300ms\"\n");
    let half = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{\"choices\":[";
    pair.a.then(Reply::raw(half).and(Step::Hang));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["timeout", "ok"]);
}

#[test]
fn a_rate_limit_falls_over_to_the_next_model() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["rate_limited", "ok"]);
}

#[test]
fn all_models_failing_is_exactly_the_documented_502() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::status(503));
    let response = pair.ask();
    assert_eq!(response.status, 502);
    assert_eq!(response.text(), ALL_FAILED);
    assert_eq!(response.header("x-should-retry"), Some("false"));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("retry-after"), None, "nothing cools");
    let record = pair.record(1);
    assert_eq!(classes(&record), ["server_error", "overloaded"]);
    assert_eq!((&record["outcome"], &record["status"], &record["served_by"]), (&json!("failed"), &json!(502), &Value::Null));
}

#[test]
fn d071_three_models_that_fail_in_three_ways_are_one_502() {
    let [a, b, c] = providers(["from A", "from B", "from C"]);
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c)], "[timeouts]\ntotal = \"2s\"\n");
    a.then(Reply::status(429));
    b.then(Reply::json(200, "<html>"));
    c.then(Reply::hang());
    let started = Instant::now();
    let response = post_chat(daemon.port(), ASK);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    assert_eq!(response.header("x-should-retry"), Some("false"));
    let record = &daemon.wait_logs(1)[0];
    assert_eq!(classes(record), ["rate_limited", "garbled", "timeout"]);
    assert_eq!((&record["outcome"], &record["status"]), (&json!("failed"), &json!(502)));
}

#[test]
fn all_models_failing_a_stream_is_the_same_502() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::close());
    let response = pair.stream().into_response();
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!(response.header("x-should-retry"), Some("false"));
}

#[test]
fn d073_a_chain_of_one_fails_after_one_attempt() {
    let [a] = providers(["from A"]);
    a.then(Reply::status(500));
    let daemon = daemon(&[("a", &a)], "");
    assert_eq!(post_chat(daemon.port(), ASK).text(), ALL_FAILED);
    assert_eq!(a.count(), 1, "the same model is not tried again");
}

#[test]
fn d074_another_model_of_a_provider_whose_connection_failed_is_tried_once_in_its_place() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]).replace("\"a/m1\", ", "\"a/m1\", \"a/m2\", "));
    a.stop();
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    let record = &daemon.wait_logs(1)[0];
    assert_eq!(classes(record), ["network", "network", "ok"]);
    let models: Vec<&Value> = record["attempts"].as_array().expect("attempts").iter().map(|attempt| &attempt["model"]).collect();
    assert_eq!(models, ["m1", "m2", "m1"]);
}

#[test]
fn d075_a_model_that_stands_twice_in_a_chain_is_tried_once_and_said() {
    let [a, b] = providers(["from A", "from B"]);
    let config = chain_config(&[("a", &a), ("b", &b)]).replace("\"a/m1\", ", "\"a/m1\", \"a/m1\", ");
    let daemon = Daemon::start(config);
    assert!(daemon.stderr().contains("`a/m1` stands twice"), "{}", daemon.stderr());
    a.then(Reply::status(500));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    let record = &daemon.wait_logs(1)[0];
    assert_eq!((&record["chain"], a.count()), (&json!(["a/m1", "b/m1"]), 1));
}

#[test]
fn d076_routors_own_address_as_a_provider_is_refused_at_load() {
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let config =
            format!("[server]\nlisten = \"127.0.0.1:4999\"\n[providers.me]\nbase_url = \"http://{host}:4999/v1\"\napi_key_env = \"\"\n");
        let end = Daemon::builder().without_port().config(config).start_expecting_exit().expect_code(2);
        assert!(end.stderr.contains("own address") && !end.stderr.contains("listening on"), "{host}: {}", end.stderr);
    }
}

/// The error code of one call with this hop header.
#[track_caller]
fn code_with_hops(daemon: &Daemon, hops: &str) -> (u16, Value) {
    let response = post(daemon.port(), "/v1/chat/completions", &[("x-routor-hop", hops)], ASK);
    let body = response.json();
    (response.status, body["error"]["code"].clone())
}

#[test]
fn d076_a_request_that_comes_back_is_a_loop() {
    let [a] = providers(["from A"]);
    let daemon = daemon(&[("a", &a)], "");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from A");
    let own = a.chats()[0].header("x-routor-hop").expect("the hop header").to_owned();
    assert!(!own.is_empty() && !own.contains(','), "{own}");
    let four = "one,two,three,four";
    for hops in [own.as_str(), &format!("one,{own}"), &format!("{own}, two"), four] {
        assert_eq!(code_with_hops(&daemon, hops), (502, json!("loop_detected")), "{hops}");
    }
    assert_eq!(a.count(), 1, "no upstream call");
    assert_eq!(code_with_hops(&daemon, "one,two,three").0, 200);
    let hops = a.chats()[1].header("x-routor-hop").expect("the hop header").to_owned();
    assert_eq!(hops.split(',').map(str::trim).collect::<Vec<_>>(), ["one", "two", "three", own.as_str()]);
}

#[test]
fn d077_two_instances_that_point_at_each_other_stop_after_one_hop() {
    let first = Provider::start();
    let behind = daemon(&[("x", &first)], "[timeouts]\ntotal = \"5s\"\n");
    let config = chain_config(&[("x", &first)]).replace(&first.base_url(), &format!("{}/v1", behind.url()));
    let front = Daemon::start(format!("{config}\n[timeouts]\ntotal = \"5s\"\n"));
    behind.rewrite_config(&config.replace(&behind.url(), &front.url()));
    behind.run(&["reload"]).expect_code(0);
    let started = Instant::now();
    let response = post_chat(front.port(), ASK);
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    assert!(started.elapsed() < QUICK, "{:?}", started.elapsed());
    let records = front.wait_logs(1);
    let attempts = records[0]["attempts"].as_array().map_or(0, Vec::len);
    assert_eq!((records.len(), behind.wait_logs(attempts).len()), (1, attempts), "one hop for each attempt: {records:#?}");
    assert_eq!(first.count(), 0);
}

#[test]
fn each_model_is_tried_at_most_once() {
    let [a, b, c] = providers(["from A", "from B", "from C"]);
    for provider in [&a, &b, &c] {
        provider.always(Reply::status(500));
    }
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c)], "[breaker]\nfailures = 1\n");
    for count in 1..4 {
        assert_eq!(post_chat(daemon.port(), ASK).status, 502);
        assert_eq!((a.count(), b.count(), c.count()), (count, count, count));
    }
}

// Start-up validation.

#[test]
fn a_provider_with_a_bad_key_never_appears_in_a_chain() {
    let [a, b] = providers(["from A", "from B"]);
    a.models(Reply::status(401));
    let daemon = Daemon::builder().config(chain_config(&[("a", &a), ("b", &b)])).env("DEBUG_ROUTING", "1").start();
    a.model_ids(&["m1"]);
    let response = post_chat(daemon.port(), ASK);
    assert_eq!(text_of(&response), "from B");
    assert_eq!(response.header("x-routor-fallback"), None, "B is the first of the chain");
    let record = &daemon.wait_logs(1)[0];
    assert_eq!((&record["chain"], &record["outcome"]), (&json!(["b/m1"]), &json!("served")));
    assert_eq!(a.count(), 0);
}

#[test]
fn an_unreachable_provider_never_appears_in_a_chain() {
    for fault in ["refused", "server error", "silence"] {
        let [a, b] = providers(["from A", "from B"]);
        match fault {
            "refused" => a.stop(),
            "server error" => drop(a.models(Reply::status(500))),
            _ => drop(a.models(Reply::hang())),
        }
        let daemon = daemon(&[("a", &a), ("b", &b)], "[validation]\ntimeout = \"500ms\"\n");
        a.model_ids(&["m1"]).restart();
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B", "{fault}");
        assert_eq!(daemon.wait_logs(1)[0]["chain"], json!(["b/m1"]), "{fault}");
        assert_eq!(a.count(), 0, "{fault}");
    }
}

#[test]
fn a_provider_whose_list_proves_nothing_stays_in_the_chain() {
    for reply in [Reply::status(404), Reply::status(405), Reply::status(429), Reply::json(200, "<html>")] {
        let [a, b] = providers(["from A", "from B"]);
        a.models(reply);
        let daemon = daemon(&[("a", &a), ("b", &b)], "");
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from A");
    }
}

#[test]
fn with_no_provider_left_serve_ends_with_1() {
    let [a] = providers(["from A"]);
    a.models(Reply::status(401));
    let end = Daemon::builder().config(chain_config(&[("a", &a)])).start_expecting_exit().expect_code(1);
    assert!(!end.stderr.contains("listening on"), "{}", end.stderr);
}

// The caller's own mistakes.

#[test]
fn d050_content_that_a_provider_refuses_is_not_offered_to_another() {
    let pair = Pair::start("[breaker]\nfailures = 1\n");
    let body = error_body(
        "The response was filtered due to the prompt triggering the content management policy.",
        "invalid_request_error",
        "content_filter",
    );
    pair.a.then(Reply::json(400, body.as_str()));
    let response = pair.ask();
    assert_eq!((response.status, response.text()), (400, body));
    assert_eq!(pair.b.count(), 0);
    let record = pair.record(1);
    assert_eq!((&record["outcome"], &record["status"], classes(&record)), (&json!("rejected"), &json!(400), vec!["content_filter"]));
    assert_eq!(pair.said(), "from A", "nobody is blamed");
}

#[test]
fn d048_a_4xx_of_the_first_model_is_passed_through_unchanged() {
    let pair = Pair::start("[breaker]\nfailures = 1\n");
    for (count, status) in [400, 405, 415, 422].into_iter().enumerate() {
        let body = format!(
            "{{ \"error\" : {{\"message\":\"Unknown parameter: 'foo'.\",\"type\":\"invalid_request_error\",\"param\":\"foo\",\"code\":\"unknown_parameter\",\"n\":1.0e-7,\"status\":{status}}} }}\n"
        );
        pair.a.then(Reply::json(status, body.as_str()).with_header("x-ratelimit-remaining-tokens", "7"));
        let response = pair.ask();
        assert_eq!((response.status, response.text()), (status, body));
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert_eq!(response.header("x-ratelimit-remaining-tokens"), Some("7"));
        let record = pair.record(2 * count + 1);
        assert_eq!((&record["outcome"], &record["status"], classes(&record)), (&json!("rejected"), &json!(status), vec!["bad_request"]));
        assert_eq!(pair.said(), "from A", "nobody is blamed");
    }
    assert_eq!(pair.b.count(), 0);
}

#[test]
fn d049_a_400_of_a_later_model_goes_on_to_the_next() {
    let [a, b, c] = providers(["from A", "from B", "from C"]);
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c)], NO_BREAKER);
    for (count, status) in [400, 422].into_iter().enumerate() {
        a.then(Reply::status(500));
        b.then(Reply::json(status, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "unknown_parameter")));
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from C", "{status}");
        assert_eq!(classes(&daemon.wait_logs(count + 1)[count]), ["server_error", "bad_request", "ok"], "{status}");
    }
}

#[test]
fn d049_a_400_of_the_last_model_is_the_502() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::json(400, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "unknown_parameter")));
    let response = pair.ask();
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    let record = pair.record(1);
    assert_eq!((&record["outcome"], classes(&record)), (&json!("failed"), vec!["server_error", "bad_request"]));
}

// Time.

#[test]
fn d072_an_attempt_is_cut_so_that_the_next_model_is_still_tried() {
    let [a, b, c] = providers(["from A", "from B", "from C"]);
    a.then(Reply::hang());
    b.then(Reply::hang());
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c)], "[timeouts]\ntotal = \"1500ms\"\n");
    let started = Instant::now();
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from C");
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
    assert_eq!(classes(&daemon.wait_logs(1)[0]), ["timeout", "timeout", "ok"]);
}

#[test]
fn d072_the_502_comes_within_the_total() {
    let [a, b, c] = providers(["from A", "from B", "from C"]);
    for provider in [&a, &b, &c] {
        provider.always(Reply::hang());
    }
    let daemon = daemon(&[("a", &a), ("b", &b), ("c", &c)], "[timeouts]\ntotal = \"900ms\"\n");
    let started = Instant::now();
    assert_eq!(post_chat(daemon.port(), ASK).text(), ALL_FAILED);
    assert!(started.elapsed() < Duration::from_millis(900) + Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(classes(&daemon.wait_logs(1)[0]), ["timeout", "timeout", "timeout"]);
}

#[test]
fn an_own_clock_of_a_provider_goes_before_the_general_one() {
    let pair = Pair::start("[timeouts]\nresponse = \"60s\"\n[providers.a.timeouts]\nresponse = \"300ms\"\n");
    pair.a.then(Reply::hang());
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(started.elapsed() < QUICK);
}

#[test]
fn an_own_clock_of_a_model_goes_before_its_providers() {
    let pair = Pair::start("[providers.a.timeouts]\nresponse = \"60s\"\n[models.\"a/m1\".timeouts]\nresponse = \"300ms\"\n");
    pair.a.then(Reply::hang());
    let started = Instant::now();
    assert_eq!(pair.said(), "from B");
    assert!(started.elapsed() < QUICK);
}

// The request log.

#[test]
fn every_request_has_one_record_that_says_how_it_ended() {
    let pair = Pair::start(NO_BREAKER);
    assert_eq!(pair.said(), "from A");
    pair.a.then(Reply::status(503));
    assert_eq!(pair.said(), "from B");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::json(200, "{}"));
    assert_eq!(pair.ask().status, 502);
    pair.a.then(Reply::events_then(vec![support::role(), support::content("half")], Step::Close));
    pair.stream().read_to_end();
    pair.a.then(Reply::hang());
    let mut client = pair.daemon.client();
    client.send("POST", "/v1/chat/completions", &[("content-type", "application/json")], ASK);
    pair.a.wait_for_chats(5);
    drop(client);
    pair.daemon.wait_logs(5);
    pair.a.then(Reply::json(400, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "x")));
    assert_eq!(pair.ask().status, 400);
    assert_eq!(post_chat(pair.daemon.port(), r#"{"messages":[]}"#).status, 400);
    assert_eq!(post_chat(pair.daemon.port(), ASK.replace("auto", "nobody/knows")).status, 404);

    let records = pair.daemon.wait_logs(8);
    assert_eq!(records.len(), 8);
    let said: Vec<(&str, &Value, Vec<&str>)> =
        records.iter().map(|record| (record["outcome"].as_str().expect("an outcome"), &record["status"], classes(record))).collect();
    let wanted = [
        ("served", json!(200), vec!["ok"]),
        ("fallback", json!(200), vec!["overloaded", "ok"]),
        ("failed", json!(502), vec!["server_error", "garbled"]),
        ("partial", json!(200), vec!["truncated"]),
        ("client_closed", Value::Null, vec!["client_closed"]),
        ("rejected", json!(400), vec!["bad_request"]),
        ("rejected", json!(400), vec![]),
        ("rejected", json!(404), vec![]),
    ];
    for (said, (outcome, status, classes)) in said.into_iter().zip(wanted) {
        assert_eq!(said, (outcome, &status, classes));
    }
    let served: Vec<&Value> = records.iter().map(|record| &record["served_by"]).collect();
    assert_eq!(served[..3], [&json!("a/m1"), &json!("b/m1"), &Value::Null]);
    let ids: std::collections::HashSet<&str> = records.iter().filter_map(|record| record["id"].as_str()).collect();
    assert_eq!(ids.len(), 8, "every id is another");
}

#[test]
fn a_record_has_the_documented_fields() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(503));
    assert_eq!(pair.said(), "from B");
    let record = pair.record(1);
    assert_eq!((&record["model"], &record["chain"], &record["stream"]), (&json!("auto"), &json!(["a/m1", "b/m1"]), &json!(false)));
    assert_eq!((&record["served_by"], &record["prompt_tokens"], &record["completion_tokens"]), (&json!("b/m1"), &json!(9), &json!(3)));
    assert_eq!(record["skipped"], json!([]));
    assert!(record["tier"].is_string() && record["ms"].is_u64() && record["first_ms"].is_null(), "{record}");
    let time = record["time"].as_str().expect("a time");
    assert!(time.len() == 24 && time.ends_with('Z') && &time[19..20] == ".", "{time}");
    let attempts = record["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 2);
    assert_eq!((&attempts[0]["provider"], &attempts[0]["model"], &attempts[0]["status"]), (&json!("a"), &json!("m1"), &json!(503)));
    assert!(attempts.iter().all(|attempt| attempt["ms"].is_u64() && attempt["first_ms"].is_null()), "{record}");
}

#[test]
fn a_record_holds_no_prompt_and_no_answer() {
    let pair = Pair::start("");
    pair.a.then(Reply::json(500, error_body("secret of the provider", "server_error", "x")));
    pair.b.then(Reply::answer("secret of the answer"));
    post_chat(pair.daemon.port(), r#"{"messages":[{"role":"user","content":"secret of the prompt"}],"user":"secret of the user"}"#);
    let record = pair.record(1).to_string();
    assert!(!record.contains("secret"), "{record}");
}
