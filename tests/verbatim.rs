//! What goes to a provider and what comes back to the caller: byte for byte,
//! but for what must not.

mod chains;
mod support;

use chains::{ALL_FAILED, KEY, error_body, providers, with_key};
use serde_json::{Value, json};
use support::{ASK, Daemon, Pair, Reply, chain_config_with, post, post_chat, text_of};

// Headers to the caller.

#[test]
fn a_sane_request_id_is_kept_and_any_other_is_replaced() {
    let pair = Pair::start("");
    let asked_with = |id: &str| {
        let response = post(pair.daemon.port(), "/v1/chat/completions", &[("x-request-id", id)], ASK);
        response.header("x-request-id").expect("an id").to_owned()
    };
    let long = "x".repeat(10_000);
    assert_eq!(asked_with("job-7_a.b:c"), "job-7_a.b:c");
    assert_eq!(pair.record(1)["id"], "job-7_a.b:c");
    for id in ["", "a b", "{\"x\":1}", "é", long.as_str(), "a;b"] {
        let given = asked_with(id);
        assert!(given != id && !given.is_empty() && given.is_ascii(), "{id:?} → {given:?}");
    }
    assert_ne!(pair.ask().header("x-request-id"), None, "always");
    assert_ne!(pair.ask().header("x-request-id"), pair.ask().header("x-request-id"));
}

#[test]
fn with_debug_routing_the_headers_say_how_it_was_routed() {
    let pair = Pair::start_with("", |builder| builder.env("DEBUG_ROUTING", "1"));
    let first = pair.ask();
    let names = ["x-routor-model", "x-routor-profile", "x-routor-attempts", "x-routor-fallback"];
    assert_eq!(names.map(|name| first.header(name)), [Some("a/m1"), Some("auto"), Some("1"), None]);
    assert!(first.header("x-routor-tier").is_some_and(|tier| ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"].contains(&tier)));
    let confidence = first.header("x-routor-confidence").and_then(|value| value.parse::<f64>().ok());
    assert!(confidence.is_some_and(|value| (0.0..=1.0).contains(&value)), "{:?}", first.headers);
}

#[test]
fn with_debug_routing_a_fallback_says_so() {
    let pair = Pair::start_with("", |builder| builder.env("DEBUG_ROUTING", "1"));
    let names = ["x-routor-model", "x-routor-attempts", "x-routor-fallback"];
    pair.a.then(Reply::status(500));
    let whole = pair.ask();
    assert_eq!(names.map(|name| whole.header(name)), [Some("b/m1"), Some("2"), Some("true")]);
    pair.a.then(Reply::status(500));
    let stream = pair.stream();
    assert_eq!(names.map(|name| stream.header(name)), [Some("b/m1"), Some("2"), Some("true")]);
}

#[test]
fn without_debug_routing_no_header_tells() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    let fallback = pair.ask();
    pair.a.then(Reply::status(500));
    pair.b.then(Reply::status(500));
    let failed = pair.ask();
    pair.a.then(Reply::status(500));
    let stream = pair.stream();
    for headers in [&fallback.headers, &failed.headers, &stream.headers] {
        assert!(!headers.iter().any(|(name, _)| name.starts_with("x-routor")), "{headers:?}");
    }
}

#[test]
fn with_debug_routing_the_502_names_the_attempts() {
    let pair = Pair::start_with("", |builder| builder.env("DEBUG_ROUTING", "1"));
    pair.a.then(Reply::status(503));
    pair.b.then(Reply::close());
    let response = pair.ask();
    assert_eq!(response.status, 502);
    let mut body = response.json();
    let attempts = body["error"].as_object_mut().expect("an error").remove("attempts").expect("attempts");
    assert_eq!(body, serde_json::from_str::<Value>(ALL_FAILED).expect("JSON"), "the rest is the documented body");
    let shown = |at: usize| ["provider", "model", "class", "status"].map(|name| attempts[at][name].clone());
    assert_eq!(shown(0), [json!("a"), json!("m1"), json!("overloaded"), json!(503)]);
    assert_eq!(shown(1), [json!("b"), json!("m1"), json!("network"), Value::Null]);
    assert!(attempts[0]["ms"].is_u64() && attempts.as_array().is_some_and(|list| list.len() == 2), "{attempts}");
    assert_eq!(response.header("x-routor-attempts"), Some("2"));
}

// Fidelity.

#[test]
fn the_body_goes_upstream_byte_for_byte_but_for_the_model() {
    let pair = Pair::start("");
    let sent = "\n{ \"x\" : 1e-7,\t\"big\":12345678901234567890 ,\"nul\":null,\r\n  \"model\" :  \"auto\" ,\"f\":0.10000000000000000001,\"u\":\"\\u00e9\\/é\\ud83d\\ude00\",\"messages\":[ {\"role\":\"user\",\"content\":\"hi\" , \"model\":\"inner\",\"routor_tier\":\"inner\"} ],\"temperature\":1.0 }\n ";
    assert_eq!(text_of(&post_chat(pair.daemon.port(), sent)), "from A");
    assert_eq!(pair.a.chats()[0].body, sent.replace("\"auto\"", "\"m1\""));
}

#[test]
fn the_next_model_gets_the_same_body_with_its_own_name() {
    let [a, b] = providers(["from A", "from B"]);
    b.model_ids(&["other"]);
    let config = chain_config_with(&[("a", &a), ("b", &b)], "").replace("b/m1", "b/other");
    let daemon = Daemon::start(config);
    a.then(Reply::status(500));
    let sent = r#"{"messages":[{"role":"user","content":"hi"}], "model":"auto", "seed":12345678901234567890}"#;
    assert_eq!(text_of(&post_chat(daemon.port(), sent)), "from B");
    assert_eq!(a.chats()[0].body, sent.replace("auto", "m1"));
    assert_eq!(b.chats()[0].body, sent.replace("auto", "other"));
}

#[test]
fn a_large_body_goes_whole_to_the_next_model() {
    let pair = Pair::start("");
    pair.a.then(Reply::status(500));
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": "0123456789".repeat(3 << 20)}]}).to_string();
    assert_eq!(text_of(&post_chat(pair.daemon.port(), &body)), "from B");
    let wanted = body.replace("\"auto\"", "\"m1\"");
    for provider in [&pair.a, &pair.b] {
        assert!(provider.chats()[0].body == wanted, "{} bytes", provider.chats()[0].body.len());
    }
}

#[test]
fn a_header_that_comes_twice_goes_upstream_whole() {
    let pair = Pair::start("");
    let headers = [("anthropic-beta", "one"), ("anthropic-beta", "two"), ("tracestate", "x=1"), ("tracestate", "y=2")];
    assert_eq!(text_of(&post(pair.daemon.port(), "/v1/chat/completions", &headers, ASK)), "from A");
    let request = &pair.a.chats()[0];
    for (name, values) in [("anthropic-beta", ["one", "two"]), ("tracestate", ["x=1", "y=2"])] {
        let all = request.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(",");
        assert!(values.iter().all(|value| all.contains(value)), "{name}: {all:?}");
    }
}

#[test]
fn routors_own_fields_stay_here() {
    let pair = Pair::start("");
    let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
    for (sent, wanted) in [
        (format!(r#"{{"routor_tier":"LIGHT", "model":"auto",{messages}}}"#), format!(r#"{{"model":"m1",{messages}}}"#)),
        (format!(r#"{{"model":"auto",{messages},"routor_tier":"LIGHT"}}"#), format!(r#"{{"model":"m1",{messages}}}"#)),
        (format!(r#"{{"model":"auto","routor_tier":"LIGHT",{messages},"x":1}}"#), format!(r#"{{"model":"m1",{messages},"x":1}}"#)),
    ] {
        let response = post_chat(pair.daemon.port(), &sent);
        assert_eq!(response.status, 200, "{sent}: {}", response.text());
        assert_eq!(pair.a.chats().last().expect("a call").body, wanted, "{sent}");
    }
}

#[test]
fn only_the_listed_headers_go_upstream() {
    let [a, b] = providers(["from A", "from B"]);
    let daemon = with_key(&a, &b, "");
    let passed = [
        ("accept", "application/json, text/plain"),
        ("user-agent", "my-app/1.0"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "x=1"),
        ("idempotency-key", "abc-1"),
        ("openai-beta", "assistants=v2"),
        ("anthropic-beta", "prompt-caching"),
        ("http-referer", "http://localhost/app"),
        ("x-title", "My App"),
    ];
    let kept = [
        ("authorization", "Bearer the-callers-own"),
        ("cookie", "session=1"),
        ("openai-organization", "org-1"),
        ("openai-project", "proj-1"),
        ("x-api-key", "the-callers-own"),
        ("api-key", "the-callers-own"),
        ("accept-encoding", "gzip, br"),
        ("x-stainless-lang", "python"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-custom", "1"),
        ("x-request-id", "mine"),
    ];
    let headers: Vec<(&str, &str)> = passed.into_iter().chain(kept).collect();
    a.then(Reply::status(500));
    assert_eq!(text_of(&post(daemon.port(), "/v1/chat/completions", &headers, ASK)), "from B");
    let (to_a, to_b) = (&a.chats()[0], &b.chats()[0]);
    let fixed = ["host", "content-length", "content-type", "accept-encoding", "x-routor-hop"];
    for (request, own) in [(to_a, Some(format!("Bearer {KEY}"))), (to_b, None)] {
        for (name, value) in passed {
            assert_eq!(request.header(name), Some(value));
        }
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("authorization"), own.as_deref());
        for (name, value) in &request.headers {
            let known = fixed.contains(&name.as_str()) || name == "authorization" || passed.iter().any(|(passed, _)| passed == name);
            assert!(known || name == "connection", "{name}: {value}");
        }
    }
}

#[test]
fn d062_the_answer_comes_back_byte_for_byte() {
    let pair = Pair::start("");
    let body = "\n {\"id\":\"x\" , \"choices\":[{\"message\":{\"content\":\"\\u00e9\\ud800 é\",\"odd\":1e-7}}],\"n\":12345678901234567890,\"choices2\":null , \"dup\":1,\"dup\":2}\r\n";
    pair.a.then(
        Reply::json(200, body)
            .with_header("content-type", "application/json; charset=UTF-8")
            .with_header("x-ratelimit-remaining-requests", "5"),
    );
    let response = pair.ask();
    assert_eq!((response.status, response.text().as_str()), (200, body));
    assert_eq!(response.header("content-type"), Some("application/json; charset=UTF-8"));
    assert_eq!(response.header("x-ratelimit-remaining-requests"), Some("5"));
}

#[test]
fn d068_private_headers_of_a_provider_stay_here() {
    let pair = Pair::start("");
    let private = [
        ("set-cookie", "a=b"),
        ("server", "nginx"),
        ("alt-svc", "h3=\":443\""),
        ("access-control-allow-origin", "*"),
        ("x-routor-model", "fake/model"),
        ("x-request-id", "req-of-the-provider"),
        ("x-should-retry", "true"),
        ("location", "http://elsewhere/"),
        ("clear-site-data", "\"*\""),
        ("strict-transport-security", "max-age=1"),
        ("nel", "{}"),
        ("report-to", "{}"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("x-hop", "1"),
    ];
    let dressed =
        |reply: Reply| private.iter().fold(reply, |reply, (name, value)| reply.with_header(name, value)).with_header("connection", "x-hop");
    pair.a.then(dressed(Reply::answer("from A"))).then(dressed(Reply::stream(&["from A"])));
    pair.a.then(dressed(Reply::json(400, error_body("Unknown parameter: 'foo'.", "invalid_request_error", "x"))));
    let (whole, stream, refused) = (pair.ask(), pair.stream().into_response(), pair.ask());
    assert_eq!([whole.status, stream.status, refused.status], [200, 200, 400]);
    for response in [whole, stream, refused] {
        for (name, value) in private {
            assert_ne!(response.header(name), Some(value), "{:?}", response.headers);
            assert!(name == "x-request-id" || response.header(name).is_none(), "{name}: {:?}", response.headers);
        }
    }
    assert_eq!(pair.record(1)["attempts"][0]["upstream_id"], "req-of-the-provider", "kept in the log");
}

#[test]
fn a_key_echoed_in_an_error_is_masked() {
    let [a, b] = providers(["from A", "from B"]);
    let daemon = with_key(&a, &b, "");
    a.then(Reply::json(400, error_body(&format!("Bad header Authorization: Bearer {KEY} in request"), "invalid_request_error", "x")));
    let response = post_chat(daemon.port(), ASK);
    assert_eq!(response.status, 400);
    assert!(!response.text().contains(KEY), "{}", response.text());
    assert_eq!(response.json()["error"]["code"], "x");
}
