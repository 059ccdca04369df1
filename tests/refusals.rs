//! Rate limits, money, keys, permissions and models that are gone: how each is
//! known, and for how long what is left alone.

mod chains;
mod support;

use std::thread;
use std::time::{Duration, Instant};

use chains::{ALL_FAILED, KEY, daemon, error_body, eventually, list_calls, providers, retry_after, until_said, with_key};
use serde_json::{Value, json};
use support::{ASK, Daemon, Gate, Pair, Provider, Reply, Step, chain_config, classes, post_chat, text_of, tried};

// Rate limits and money.

#[test]
fn a_rate_limited_model_cools_by_its_hint() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "2"));
    let limited = Instant::now();
    assert_eq!(pair.said(), "from B");
    until_said(&pair, "from A", Duration::from_secs(8));
    let after = limited.elapsed();
    assert!(after >= Duration::from_secs(2) && after < Duration::from_secs(5), "{after:?}");
    assert_eq!(pair.a.count(), 2, "in between A was left alone");
}

/// The seconds for which the provider's models still cool, as `status` shows them.
#[track_caller]
fn cooling(daemon: &Daemon, provider: &str) -> Vec<u64> {
    let status = daemon.run(&["status", "--json"]).expect_code(0).stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let line = status["providers"].as_array().and_then(|all| all.iter().find(|one| one["provider"] == provider)).expect("its line");
    let models = line["cooling"].as_array().expect("a list");
    models.iter().map(|model| model["cooling_ms"].as_u64().expect("milliseconds").div_ceil(1000)).collect()
}

#[test]
fn d032_a_rate_limit_of_30_seconds_is_kept_by_every_request_in_that_time() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "30"));
    let started = Instant::now();
    for _ in 0..6 {
        assert_eq!(pair.said(), "from B");
    }
    assert!(started.elapsed() < Duration::from_secs(5), "at once: {:?}", started.elapsed());
    assert_eq!(pair.a.count(), 1);
    assert!(matches!(cooling(&pair.daemon, "a")[..], [15..=30]), "{:?}", cooling(&pair.daemon, "a"));
    let records = pair.daemon.wait_logs(6);
    assert_eq!(classes(&records[0]), ["rate_limited", "ok"]);
    assert!(records[1..].iter().all(|record| tried(record) == ["b"] && record["outcome"] == "fallback"), "{records:#?}");
}

#[test]
fn a_hint_in_milliseconds_goes_before_one_in_seconds() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after-ms", "1500").with_header("retry-after", "60"));
    let limited = Instant::now();
    assert_eq!(pair.said(), "from B");
    until_said(&pair, "from A", Duration::from_secs(8));
    assert!(limited.elapsed() >= Duration::from_millis(1500));
}

#[test]
fn a_rate_limit_without_a_hint_cools_for_30_seconds() {
    let [a] = providers(["from A"]);
    a.then(Reply::status(429));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(28..=30)), "{wait:?}");
}

#[test]
fn a_hint_in_the_body_is_read() {
    let [a] = providers(["from A"]);
    let body = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"47s"}]}}"#;
    a.then(Reply::json(429, body));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(44..=47)), "{wait:?}");
}

#[test]
fn a_limit_of_input_tokens_per_minute_is_a_rate_limit_and_no_overflow() {
    let [a, b] = providers(["from A", "from B"]);
    // Anthropic's words; B's window is smaller, so that only a rate limit leads there.
    let message = "This request would exceed your organization's rate limit of 30,000 input tokens per minute. Please reduce the prompt length or the maximum tokens requested, or try again later.";
    let body = json!({"type": "error", "error": {"type": "rate_limit_error", "message": message}}).to_string();
    a.then(Reply::json(429, body).with_header("retry-after", "60"));
    let windows = "[models.\"a/m1\"]\ncontext_window = 200000\n[models.\"b/m1\"]\ncontext_window = 100000\n";
    let daemon = daemon(&[("a", &a), ("b", &b)], windows);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(classes(&daemon.wait_logs(1)[0]), ["rate_limited", "ok"]);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(a.count(), 1, "it cools by its hint");
}

#[test]
fn a_quota_per_minute_is_a_rate_limit_whatever_the_prose_says_of_billing() {
    let [a] = providers(["from A"]);
    // Google's words for every quota, those per minute too.
    let message = "You exceeded your current quota, please check your plan and billing details.\n* Quota exceeded for metric: generate_content_free_tier_requests, limit: 10, model: m1\nPlease retry in 38.9s.";
    let details = json!([
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "38s"},
    ]);
    a.then(Reply::json(
        429,
        json!([{"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": details}}]).to_string(),
    ));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert_eq!(classes(&daemon.wait_logs(1)[0]), ["rate_limited"]);
    assert!(matches!(wait, Some(35..=39)), "{wait:?}");
}

#[test]
fn a_hint_is_believed_up_to_an_hour() {
    let [a] = providers(["from A"]);
    a.then(Reply::status(429).with_header("retry-after", "86400"));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(3590..=3600)), "{wait:?}");
}

#[test]
fn hints_that_make_no_sense_do_no_harm() {
    let [a] = providers(["from A"]);
    let daemon = daemon(&[("a", &a)], "");
    for hint in [
        "-1",
        "1e308",
        "NaN",
        "inf",
        "soon",
        "",
        "0",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "99999999999999999999",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ] {
        a.then(Reply::status(429).with_header("retry-after", hint));
        let response = post_chat(daemon.port(), ASK);
        assert_eq!(response.status, 502, "{hint:?}");
        assert!(matches!(retry_after(&response), Some(1..=3600)), "{hint:?}: {:?}", response.headers);
    }
}

#[test]
fn a_rate_limit_is_no_failure_of_the_provider() {
    let [a] = providers(["from A"]);
    let daemon = daemon(&[("a", &a)], "[breaker]\nfailures = 100\n");
    for _ in 0..8 {
        a.then(Reply::status(429).with_header("retry-after", "1"));
        assert_eq!(post_chat(daemon.port(), ASK).status, 502);
    }
    a.then(Reply::status(500));
    let response = post_chat(daemon.port(), ASK);
    assert_eq!(response.status, 502);
    assert!(retry_after(&response).is_none_or(|wait| wait <= 1), "one failure of one counted attempt cools nobody: {:?}", response.headers);
}

#[test]
fn a_rate_limit_leaves_the_providers_other_models_alone() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = daemon(&[("a", &a), ("b", &b)], "");
    a.then(Reply::status(429).with_header("retry-after", "60"));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from A");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
}

/// Answers that say that the money is used up.
fn without_credit() -> [Reply; 6] {
    [
        Reply::json(402, ""),
        Reply::json(
            429,
            error_body(
                "You exceeded your current quota, please check your plan and billing details",
                "insufficient_quota",
                "insufficient_quota",
            ),
        ),
        Reply::json(500, r#"{"type":"error","error":{"type":"api_error","message":"insufficient balance (1008)"}}"#),
        Reply::json(403, r#"{"error":{"message":"insufficient balance"}}"#),
        Reply::json(
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API"}}"#,
        ),
        Reply::json(429, r#"{"type":"error","error":{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}}"#),
    ]
}

#[test]
fn used_up_credit_is_known_in_every_status() {
    let poor = without_credit().map(|reply| {
        let provider = Provider::start();
        provider.always(reply);
        provider
    });
    let [rich] = providers(["from the rich"]);
    let names = ["p0", "p1", "p2", "p3", "p4", "p5"];
    let chain: Vec<(&str, &Provider)> = names.into_iter().zip(&poor).chain([("rich", &rich)]).collect();
    let daemon = daemon(&chain, "");
    for _ in 0..2 {
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from the rich");
    }
    assert!(poor.iter().all(|provider| provider.count() == 1), "they cool: the second request went straight on");
    let records = daemon.wait_logs(2);
    assert_eq!(classes(&records[0]), ["no_credit", "no_credit", "no_credit", "no_credit", "no_credit", "no_credit", "ok"]);
    assert_eq!(tried(&records[1]), ["rich"]);
    assert_eq!(records[1]["outcome"], "fallback", "the chain as decided begins with another");
}

/// One answer that says that the money is used up: its class, and for how long A cools.
#[track_caller]
fn is_without_credit(reply: Reply) {
    let pair = Pair::start("");
    pair.a.then(reply);
    assert_eq!([pair.said(), pair.said()], ["from B", "from B"]);
    assert_eq!((pair.a.count(), classes(&pair.record(1))), (1, vec!["no_credit", "ok"]));
    assert!(matches!(cooling(&pair.daemon, "a")[..], [3570..=3600]), "{:?}", cooling(&pair.daemon, "a"));
}

#[test]
fn d033_a_429_of_a_used_up_quota_is_no_rate_limit() {
    let message = "You exceeded your current quota, please check your plan and billing details";
    is_without_credit(Reply::json(429, error_body(message, "insufficient_quota", "insufficient_quota")));
}

#[test]
fn d034_a_500_about_the_balance_is_no_server_error_and_no_failure() {
    let body = r#"{"type":"error","error":{"type":"api_error","message":"insufficient balance (1008)"},"request_id":"x"}"#;
    is_without_credit(Reply::json(500, body));
    // With a hint that is over at once, only a counted failure could keep A out.
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"60s\"\n");
    for count in 1..7 {
        pair.a.then(Reply::json(500, body).with_header("retry-after-ms", "50"));
        eventually("A is asked", || {
            pair.said();
            pair.a.queued() == 0
        });
        assert!(pair.a.count() >= count);
    }
    until_said(&pair, "from A", Duration::from_secs(5));
}

#[test]
fn d035_a_429_of_a_spend_limit_is_no_rate_limit() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"Limit reached.","details":{"error_code":"enforced_spend_limit_reached"}}}"#;
    is_without_credit(Reply::json(429, body));
}

#[test]
fn d036_a_402_is_used_up_credit_whatever_it_says() {
    for body in ["", "<html>Payment</html>", r#"{"error":{"message":"no","code":402}}"#] {
        is_without_credit(Reply::json(402, body));
    }
}

#[test]
fn without_credit_the_whole_provider_cools() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = daemon(&[("a", &a), ("b", &b)], "");
    a.then(Reply::json(402, ""));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from B");
    assert_eq!(a.count(), 1);
}

#[test]
fn without_credit_the_provider_cools_for_an_hour() {
    let [a] = providers(["from A"]);
    a.then(Reply::json(402, ""));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(3590..=3600)), "{wait:?}");
}

#[test]
fn without_credit_the_provider_cools_by_its_hint() {
    let [a] = providers(["from A"]);
    a.then(Reply::json(402, "").with_header("retry-after", "120"));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(115..=120)), "{wait:?}");
}

#[test]
fn a_used_up_day_quota_cools_for_up_to_a_day() {
    let [a] = providers(["from A"]);
    let body = r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}]}}"#;
    a.then(Reply::json(429, body).with_header("retry-after", "40000"));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(39_900..=40_000)), "{wait:?}");
}

// Keys and permissions.

#[test]
fn d037_a_refused_key_falls_over_and_the_key_is_checked_once() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    let checks = list_calls(&a);
    let gate = Gate::new();
    // Three requests at once find that the key is refused: that is said and checked once.
    for _ in 0..3 {
        a.then(Reply::status(401).after(Step::WaitFor(gate.clone())));
    }
    a.models(Reply::model_list(&["m1", "m2"]).after(Step::WaitFor(gate.clone())));
    thread::scope(|scope| {
        let asked: Vec<_> = (0..3).map(|_| scope.spawn(|| text_of(&post_chat(daemon.port(), ASK)))).collect();
        a.wait_for_chats(3);
        gate.open();
        for one in asked {
            assert_eq!(one.join().expect("an answer"), "from B");
        }
    });
    let record = &daemon.wait_logs(1)[0];
    assert_eq!((classes(record), &record["attempts"][0]["status"]), (vec!["auth", "ok"], &json!(401)));
    eventually("the provider is back", || text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))) == "from A");
    assert_eq!(list_calls(&a), checks + 1, "asked once");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B", "the model that was refused cools");
    let said = daemon.stderr();
    assert_eq!(said.matches("refused its key").count(), 1, "{said}");
    assert!(said.contains("A_KEY") && !said.contains(KEY), "{said}");
}

/// One answer of A about its key, and what follows: A is out, said once.
#[track_caller]
fn is_a_refused_key(reply: Reply) {
    let [a, b] = providers(["from A", "from B"]);
    let daemon = with_key(&a, &b, "");
    a.models(Reply::status(401));
    a.then(reply);
    for _ in 0..3 {
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    }
    let said = daemon.wait_stderr("the key is rejected");
    assert_eq!(said.matches("refused its key").count(), 1, "{said}");
    assert_eq!((a.count(), classes(&daemon.wait_logs(1)[0])), (1, vec!["auth", "ok"]));
}

#[test]
fn d038_a_400_in_a_list_about_the_key_is_a_refused_key() {
    is_a_refused_key(Reply::json(
        400,
        r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}]"#,
    ));
}

/// What xAI answers to this key.
fn flat_refusal(key: &str) -> Reply {
    let text = format!("Incorrect API key provided: {key}. You can obtain an API key from https://console.x.ai.");
    Reply::json(400, json!({"code": "Client specified an invalid argument", "error": text}).to_string())
}

#[test]
fn d039_a_flat_400_about_the_key_is_a_refused_key() {
    is_a_refused_key(flat_refusal("sk***ef"));
}

#[test]
fn d039_the_key_in_a_refusal_is_shown_nowhere() {
    let [a, b] = providers(["from A", "from B"]);
    let config = chain_config(&[("a", &a), ("b", &b)]).replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    let daemon = Daemon::builder().config(config).env("A_KEY", KEY).env("DEBUG_ROUTING", "1").arg("-vv").start();
    for shown in [KEY, "sk-t***cdef"] {
        a.then(flat_refusal(shown));
        b.then(Reply::status(500));
        let response = post_chat(daemon.port(), ASK);
        assert_eq!(response.status, 502);
        let log = daemon.wait_logs(1).iter().map(ToString::to_string).collect::<String>();
        for text in [response.text(), log, daemon.stderr()] {
            assert!(!text.contains(KEY) && !text.contains("sk-t***cdef") && !text.contains("cdef"), "{text}");
        }
        daemon.run(&["reload"]).expect_code(0);
    }
}

#[test]
fn d040_a_key_without_the_scope_falls_over_and_its_provider_is_back() {
    let [a, b] = providers(["from A", "from B"]);
    let daemon = with_key(&a, &b, "");
    let text = "You have insufficient permissions for this operation. Missing scopes: model.request.";
    a.then(Reply::json(401, error_body(text, "invalid_request_error", "missing_scope")));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(classes(&daemon.wait_logs(1)[0]), ["auth", "ok"]);
    daemon.wait_stderr("so it is back");
    assert!(matches!(cooling(&daemon, "a")[..], [570..=600]), "{:?}", cooling(&daemon, "a"));
}

#[test]
fn while_a_refused_key_is_checked_its_provider_gets_nothing() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    let gate = Gate::new();
    a.models(Reply::model_list(&["m1", "m2"]).after(Step::WaitFor(gate.clone())));
    a.then(Reply::status(401));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from B");
    assert_eq!(a.count(), 1);
    gate.open();
}

#[test]
fn a_provider_whose_key_is_bad_stays_out() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    let checks = list_calls(&a);
    a.models(Reply::status(401));
    a.then(Reply::status(401));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    daemon.wait_stderr("rejected");
    // The chain is made without it from now on.
    eventually("A is out of the chain", || {
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
        let records = daemon.wait_logs(1);
        records.last().is_some_and(|record| record["chain"] == json!(["b/m1"]))
    });
    b.then(Reply::status(500));
    assert_eq!(post_chat(daemon.port(), ASK).status, 502, "out is out, even when nothing else is left");
    assert_eq!(a.count(), 1);
    assert_eq!(list_calls(&a), checks + 1);
}

#[test]
fn a_403_that_blames_the_key_takes_the_provider_out() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    a.models(Reply::status(401));
    a.then(Reply::json(403, r#"{"code":"unauthenticated:bad-credentials","error":"The API key is invalid."}"#));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    daemon.wait_stderr("refused its key");
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    assert_eq!((a.count(), classes(&daemon.wait_logs(1)[0])), (1, vec!["auth", "ok"]));
}

#[test]
fn a_model_of_a_provider_that_went_out_can_still_be_asked_for_by_name() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    let named = ASK.replace("auto", "a/m2");
    assert_eq!(text_of(&post_chat(daemon.port(), &named)), "from A");
    a.models(Reply::status(401));
    a.then(Reply::status(401));
    assert_eq!(text_of(&post_chat(daemon.port(), &named)), "from B");
    daemon.wait_stderr("rejected");
    // The name was good a moment ago: the app that uses it must not see that a provider is lost.
    for _ in 0..20 {
        assert_eq!(text_of(&post_chat(daemon.port(), &named)), "from B");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_reload_forgets_a_rejected_key_and_used_up_credit() {
    for refusal in [Reply::status(401), Reply::json(402, "")] {
        let [a, b] = providers(["from A", "from B"]);
        let daemon = with_key(&a, &b, "");
        a.models(Reply::status(401));
        a.then(refusal);
        for _ in 0..2 {
            assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
        }
        a.model_ids(&["m1"]);
        daemon.run(&["reload"]).expect_code(0);
        eventually("A is back", || text_of(&post_chat(daemon.port(), ASK)) == "from A");
    }
}

#[test]
fn d074_another_model_of_a_provider_whose_key_is_refused_is_left_out() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let config = chain_config(&[("a", &a), ("b", &b)]).replace("\"a/m1\", ", "\"a/m1\", \"a/m2\", ");
    let daemon = Daemon::start(config);
    a.models(Reply::status(401));
    a.then(Reply::status(401));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    let record = &daemon.wait_logs(1)[0];
    assert_eq!((tried(record), &record["skipped"][0]["why"]), (vec!["a", "b"], &json!("auth")));
    assert_eq!(a.count(), 1);
}

#[test]
fn any_other_403_cools_the_model_alone() {
    let [a, b] = providers(["from A", "from B"]);
    a.model_ids(&["m1", "m2"]);
    let daemon = with_key(&a, &b, "");
    let checks = list_calls(&a);
    a.then(Reply::json(
        403,
        error_body("Country, region, or territory not supported", "request_forbidden", "unsupported_country_region_territory"),
    ));
    for _ in 0..2 {
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    }
    assert_eq!(a.count(), 1);
    assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from A");
    assert_eq!(list_calls(&a), checks, "the key is not in question");
    assert!(!daemon.stderr().contains("refused its key"), "{}", daemon.stderr());
}

#[test]
fn a_forbidden_model_cools_for_ten_minutes() {
    let [a] = providers(["from A"]);
    a.then(Reply::json(403, error_body("Not for you", "forbidden", "forbidden")));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(590..=600)), "{wait:?}");
}

#[test]
fn d045_a_400_of_a_degraded_function_is_an_overload() {
    let pair = Pair::start("[breaker]\nfailures = 0\n");
    for (count, body) in [
        r#"{"status":400,"title":"Bad Request","detail":"Function id '9b96341b': DEGRADED function cannot be invoked"}"#,
        r#"{"detail":"DEGRADED function cannot be invoked"}"#,
    ]
    .into_iter()
    .enumerate()
    {
        pair.a.then(Reply::json(400, body));
        assert_eq!(pair.said(), "from B", "{body}");
        assert_eq!(classes(&pair.record(count + 1)), ["overloaded", "ok"], "{body}");
    }
}

#[test]
fn d046_a_model_that_is_gone_cools_at_once_and_alone() {
    for (status, body) in [
        (404, error_body("The model `m1` does not exist", "invalid_request_error", "model_not_found")),
        (404, String::new()),
        (410, error_body("retired", "gone", "gone")),
        (
            400,
            error_body(
                "The model `m1` has been decommissioned and is no longer supported.",
                "invalid_request_error",
                "model_decommissioned",
            ),
        ),
    ] {
        let [a, b] = providers(["from A", "from B"]);
        a.model_ids(&["m1", "m2"]);
        let daemon = daemon(&[("a", &a), ("b", &b)], "");
        a.then(Reply::json(status, body.as_str()));
        for _ in 0..2 {
            assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B", "{status} {body}");
        }
        assert_eq!(a.count(), 1, "{status} {body}");
        assert_eq!(text_of(&post_chat(daemon.port(), ASK.replace("auto", "a/m2"))), "from A", "{status} {body}");
        assert_eq!(classes(&daemon.wait_logs(1)[0]), ["model_gone", "ok"], "{status} {body}");
    }
}

#[test]
fn d046_a_model_that_is_gone_cools_for_ten_minutes() {
    let [a] = providers(["from A"]);
    a.then(Reply::status(404));
    let daemon = daemon(&[("a", &a)], "");
    let wait = retry_after(&post_chat(daemon.port(), ASK));
    assert!(matches!(wait, Some(590..=600)), "{wait:?}");
}

#[test]
fn a_model_that_is_gone_is_out_even_when_nothing_else_is_left() {
    let [a] = providers(["from A"]);
    a.then(Reply::status(404));
    let daemon = daemon(&[("a", &a)], "");
    for _ in 0..2 {
        let response = post_chat(daemon.port(), ASK);
        assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    }
    assert_eq!(a.count(), 1);
}

#[test]
fn d047_a_web_page_in_a_404_is_a_hint_at_the_base_url() {
    let pair = Pair::start("");
    pair.a.then(Reply::json(404, "<!doctype html><html><title>Not found</title></html>").with_header("content-type", "text/html"));
    assert_eq!(pair.said(), "from B");
    assert_eq!(classes(&pair.record(1)), ["model_gone", "ok"]);
    let said = pair.daemon.wait_stderr("base_url");
    assert!(said.contains("a"), "{said}");
}

// Headers to the caller.

#[test]
fn retry_after_on_the_502_is_the_soonest_when_all_cool() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "60"));
    pair.b.then(Reply::status(429).with_header("retry-after", "20"));
    let response = pair.ask();
    assert_eq!((response.status, response.text().as_str()), (502, ALL_FAILED));
    let wait = retry_after(&response);
    assert!(matches!(wait, Some(18..=20)), "{wait:?}");
}

#[test]
fn retry_after_is_not_sent_while_one_model_is_ready() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(429).with_header("retry-after", "60"));
    pair.b.then(Reply::status(500));
    let response = pair.ask();
    assert_eq!((response.status, retry_after(&response)), (502, None));
}

#[test]
fn retry_after_counts_the_breakers_cooldown() {
    let pair = Pair::start("[breaker]\nfailures = 1\ncooldown = \"60s\"\n");
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::status(500));
    let wait = retry_after(&pair.ask());
    assert!(matches!(wait, Some(58..=60)), "{wait:?}");
}

#[test]
fn d040_the_warning_about_a_key_without_the_scope_says_scope() {
    let [a, b] = providers(["from A", "from B"]);
    let daemon = with_key(&a, &b, "");
    let text = "You have insufficient permissions for this operation. Missing scopes: model.request.";
    a.then(Reply::json(401, error_body(text, "invalid_request_error", "missing_scope")));
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    let said = daemon.wait_stderr("so it is back");
    assert!(said.contains("scope"), "{said}");
}

#[test]
fn d033_status_says_that_there_is_no_credit() {
    let pair = Pair::start("");
    pair.a.then(Reply::json(402, ""));
    assert_eq!(pair.said(), "from B");
    let shown = pair.daemon.run(&["status"]).expect_code(0).stdout;
    let line = shown.lines().find(|line| line.contains(" a ")).unwrap_or_default();
    assert!(line.contains("credit"), "{shown}");
}
