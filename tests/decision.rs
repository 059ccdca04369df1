//! The routing decision seen from outside: what `POST /v1/routing/debug` and
//! `chat --explain` show, that nobody is called for it, and what the
//! configuration and a request's own fields change in it.

mod support;

use serde_json::{Value, json};
use support::{Daemon, Provider, chain_config_with, post, post_chat};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// Two providers of one model each; A is dear and good, B cheap.
struct Two {
    a: Provider,
    b: Provider,
    daemon: Daemon,
}

fn two(extra: &str) -> Two {
    let (a, b) = (Provider::start(), Provider::start());
    let facts = "[models.\"a/m1\"]\ncontext_window = 8000\ninput_usd_per_mtok = 10.0\noutput_usd_per_mtok = 30.0\n\
                 [models.\"b/m1\"]\ncontext_window = 100000\ninput_usd_per_mtok = 0.1\noutput_usd_per_mtok = 0.3\n";
    let daemon = Daemon::start(chain_config_with(&[("a", &a), ("b", &b)], &format!("{facts}{extra}")));
    Two { a, b, daemon }
}

fn explain(daemon: &Daemon, body: Value) -> Value {
    let response = post(daemon.port(), "/v1/routing/debug", &JSON, body.to_string());
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["decision"].clone()
}

#[test]
fn the_debug_route_shows_the_whole_decision_and_calls_nobody() {
    let two = two("");
    let decision = explain(&two.daemon, json!({"prompt": "Prove that the square root of 2 is irrational."}));
    for field in [
        "model",
        "tier",
        "category",
        "confidence",
        "method",
        "reasoning",
        "costEstimate",
        "baselineCost",
        "savings",
        "filteredChain",
        "profile",
        "historyFloor",
        "toolScenario",
        "bfclScore",
    ] {
        assert!(decision.get(field).is_some(), "{field} is missing: {decision}");
    }
    assert_eq!((&decision["tier"], &decision["method"], &decision["profile"]), (&json!("COMPLEX"), &json!("rules"), &json!("auto")));
    assert_eq!(decision["filteredChain"], json!(["a/m1", "b/m1"]));
    assert!(decision["reasoning"].as_str().unwrap().starts_with("rules: score="), "{decision}");
    assert_eq!(two.a.count() + two.b.count(), 0);
    assert!(two.daemon.logs().is_empty(), "a question about a request is no request");
}

#[test]
fn greetings_and_proofs_go_to_different_tiers() {
    let two = two("");
    for (prompt, tier) in [
        ("hi", "NANO"),
        ("What is the capital of France?", "SIMPLE"),
        ("Design a microservice architecture for a fintech platform", "COMPLEX"),
    ] {
        assert_eq!(explain(&two.daemon, json!({"prompt": prompt}))["tier"], tier, "{prompt}");
    }
}

#[test]
fn floor_and_ceiling_hold_from_the_request_and_from_the_file() {
    let two = two("[routing]\nfloor = \"SIMPLE\"\nceiling = \"STANDARD\"\n");
    let tier = |body: Value| explain(&two.daemon, body)["tier"].clone();
    let proof = "Prove that the square root of 2 is irrational.";
    assert_eq!(tier(json!({"prompt": "hi"})), "SIMPLE");
    assert_eq!(tier(json!({"prompt": proof})), "STANDARD");
    assert_eq!(tier(json!({"prompt": "hi", "routor_tier_floor": "LIGHT"})), "LIGHT");
    assert_eq!(tier(json!({"prompt": proof, "routor_tier_ceiling": "LIGHT"})), "LIGHT");
    assert_eq!(tier(json!({"prompt": "hi", "routor_code_quality": 1})), "STANDARD");
    assert_eq!(tier(json!({"prompt": "hi", "profile": "tier", "routor_tier": "COMPLEX"})), "COMPLEX");
}

#[test]
fn a_follow_up_in_a_coding_session_keeps_its_tier() {
    let two = two("");
    let messages = json!([
        {"role": "user", "content": "Refactor this auth middleware to use JWT:\n```rust\nfn auth(req: &Request) -> Result<User> { session(req) }\n```"},
        {"role": "assistant", "content": "I can do that. Shall I also write the tests?"},
    ]);
    let decision = explain(&two.daemon, json!({"messages": messages, "prompt": "yes, do it"}));
    assert_ne!(decision["tier"], "NANO", "{decision}");
    assert!(decision["historyFloor"].is_string(), "{decision}");
}

#[test]
fn the_order_by_cost_puts_the_cheapest_first() {
    let two = two("[routing]\norder = \"cost\"\n");
    assert_eq!(explain(&two.daemon, json!({"prompt": "hi"}))["filteredChain"], json!(["b/m1", "a/m1"]));
    assert_eq!(post_chat(two.daemon.port(), r#"{"messages":[{"role":"user","content":"hi"}]}"#).status, 200);
    assert_eq!((two.a.count(), two.b.count()), (0, 1));
}

#[test]
fn a_cost_cap_leaves_out_what_is_dearer() {
    let two = two("");
    let decision = explain(&two.daemon, json!({"prompt": "hi", "routor_max_cost": 0.001}));
    assert_eq!(decision["filteredChain"], json!(["b/m1"]));
    assert_eq!(decision["skipped"][0]["why"], "max_cost");
}

#[test]
fn a_prompt_between_the_bounds_is_counted() {
    let two = two("");
    // 30,000 bytes: more than 8,000 tokens if each were a token, about 6,000 if they are words.
    let fits = "word ".repeat(6_000);
    assert_eq!(explain(&two.daemon, json!({"prompt": fits}))["filteredChain"], json!(["a/m1", "b/m1"]));
    // Two bytes a token: 15,000 tokens, far more than A has room for.
    let long = "1a ".repeat(10_000);
    let decision = explain(&two.daemon, json!({"prompt": long}));
    assert_eq!(decision["filteredChain"], json!(["b/m1"]), "{decision}");
    let skipped = &decision["skipped"][0];
    assert_eq!((&skipped["why"], &skipped["has_tokens"]), (&json!("context_window"), &json!(8000)));
    let call = json!({"messages": [{"role": "user", "content": long}]}).to_string();
    assert_eq!(post_chat(two.daemon.port(), &call).status, 200);
    assert_eq!((two.a.count(), two.b.count()), (0, 1));
    let record = &two.daemon.wait_logs(1)[0];
    assert_eq!((&record["outcome"], &record["skipped"][0]["why"]), (&json!("fallback"), &json!("context_window")));
}

#[test]
fn wrong_values_are_refused_with_the_field_and_what_is_allowed() {
    let two = two("");
    for (body, param, says) in [
        (json!({}), "prompt", "missing"),
        (json!({"prompt": 5}), "prompt", "string"),
        (json!({"prompt": "x", "messages": "y"}), "messages", "list"),
        (json!({"prompt": "x", "profile": "best"}), "routor_profile", "direct"),
        (json!({"prompt": "x", "routor_tier_floor": "HUGE"}), "routor_tier_floor", "COMPLEX"),
        (json!({"prompt": "x", "routor_tier_floor": "COMPLEX", "routor_tier_ceiling": "NANO"}), "routor_tier_floor", "ceiling"),
    ] {
        let response = post(two.daemon.port(), "/v1/routing/debug", &JSON, body.to_string());
        assert_eq!((response.status, &response.json()["error"]["param"]), (400, &json!(param)), "{body}");
        assert!(response.text().contains(says), "{}", response.text());
    }
}

#[test]
fn spill_goes_on_with_the_next_tier_up() {
    let (a, b) = (Provider::start(), Provider::start());
    let config = |spill: &str| {
        format!(
            "[providers.a]\nbase_url = \"{}\"\napi_key_env = \"\"\n[providers.b]\nbase_url = \"{}\"\napi_key_env = \"\"\n[pool]\nonly = [\"a\", \"b\"]\n\
             [tiers]\nNANO = [\"a/m1\"]\nSIMPLE = [\"b/m1\"]\nLIGHT = [\"b/m1\"]\nSTANDARD = [\"b/m1\"]\nCOMPLEX = [\"b/m1\"]\n[routing]\nspill = \"{spill}\"\n",
            a.base_url(),
            b.base_url()
        )
    };
    a.always(support::Reply::status(503));
    let ask = r#"{"model":"NANO","messages":[{"role":"user","content":"hi"}]}"#;
    assert_eq!(post_chat(Daemon::start(config("none")).port(), ask).status, 502);
    assert_eq!(post_chat(Daemon::start(config("up")).port(), ask).status, 200);
}

#[test]
fn chat_explain_prints_the_decision_with_and_without_a_daemon() {
    let two = two("");
    let done = two.daemon.run(&["chat", "--explain", "hi"]).expect_code(0);
    assert!(done.stdout.contains("NANO") && done.stdout.contains("a/m1"), "{}", done.stdout);
    let done = two.daemon.run(&["chat", "--explain", "--json", "hi"]).expect_code(0);
    let value: Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(value["decision"]["tier"], "NANO");
    let config = two.daemon.config_path().display().to_string();
    let here = two.daemon.run(&["--config", &config, "chat", "--explain", "hi"]).expect_code(0);
    assert!(here.stdout.contains("NANO") && here.stdout.contains("a/m1"), "{}", here.stdout);
    assert_eq!(two.a.count() + two.b.count(), 0);
}

#[test]
fn debug_headers_tell_savings_and_floor() {
    let a = Provider::start();
    let facts = "[models.\"a/m1\"]\ninput_usd_per_mtok = 0.5\noutput_usd_per_mtok = 2.5\n[server]\ndebug_routing = true\n";
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], facts));
    let body = json!({"messages": [
        {"role": "user", "content": "Refactor this auth middleware to use JWT:\n```rust\nfn auth(req: &Request) -> Result<User> { session(req) }\n```"},
        {"role": "assistant", "content": "Shall I?"}, {"role": "user", "content": "yes"}]});
    let response = post_chat(daemon.port(), body.to_string());
    assert_eq!(response.header("x-routor-savings"), Some("90"), "a tenth of the baseline's price");
    assert!(response.header("x-routor-history-floor").is_some());
}

#[test]
fn a_configured_provider_that_is_out_is_named_among_the_left_out() {
    let (a, b) = (Provider::start(), Provider::start());
    a.stop();
    let daemon = Daemon::start(support::chain_config(&[("a", &a), ("b", &b)]));
    let decision = explain(&daemon, json!({"prompt": "hi"}));
    assert_eq!(decision["filteredChain"], json!(["b/m1"]));
    assert_eq!(decision["skipped"], json!([{"provider": "a", "model": "m1", "why": "not_in_pool"}]));
}

#[test]
fn check_proves_that_a_local_only_alias_stays_on_this_machine() {
    let a = Provider::start();
    let aliases = "[aliases]\n\"mine\" = { to = \"a/m1\", local_only = true }\n\"gone\" = { to = \"openai/gpt-5.5\", local_only = true }\n";
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], aliases));
    let config = daemon.config_path().display().to_string();
    let done = daemon.run(&["--config", &config, "check"]).expect_code(0);
    assert!(done.stdout.contains("`mine` stays on this machine: a/m1"), "{}", done.stdout);
    assert!(done.stderr.contains("`gone`"), "{}", done.stderr);
    daemon.run(&["--config", &config, "check", "--strict"]).expect_code(1);
    let done = daemon.run(&["--config", &config, "check", "--format", "json"]).expect_code(0);
    let report: Value = serde_json::from_str(&done.stdout).expect("JSON");
    let row = report["chains"].as_array().unwrap().iter().find(|row| row["name"] == "mine").expect("a row");
    assert_eq!((&row["local_only"], &row["candidates"]), (&json!(true), &json!(["a/m1"])));
}
