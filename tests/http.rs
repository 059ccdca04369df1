//! The port as its clients see it: bodies, routes, and how requests are framed.

mod port;
mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use port::{CHAT, JSON, ask, ask_with, one, one_with, own_error, said};
use serde_json::json;
use support::{Daemon, Gate, PATIENCE, Provider, Reply, Step, chain_config, chain_config_with, get, open_stream, post, post_chat, raw};

// --- The body ---

const SMALL: &str = "[server]\nmax_body = \"1KiB\"\n";

/// A call whose body has exactly so many bytes.
fn sized(bytes: usize) -> String {
    let bare = ask_with(&json!({"user": ""}));
    ask_with(&json!({"user": "x".repeat(bytes - bare.len())}))
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[test]
fn d119_a_declared_length_over_the_limit_gets_413_before_the_body_is_sent() {
    let (a, daemon) = one_with(SMALL);
    let mut client = daemon.client();
    client.send_raw(format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1025\r\n\r\n"));
    let message = own_error(&client.read_response("POST").unwrap(), 413, "request_too_large");
    assert!(message.contains("max_body"), "{message}");
    assert_eq!(a.count(), 0);
}

#[test]
fn d119_a_chunked_body_over_the_limit_gets_413() {
    let (a, daemon) = one_with(SMALL);
    let response = daemon.client().request("POST", CHAT, &[JSON, ("transfer-encoding", "chunked")], chunked(&sized(1025)));
    own_error(&response, 413, "request_too_large");
    assert_eq!(a.count(), 0);
}

#[test]
fn d119_a_body_of_exactly_the_limit_is_taken_in_both_framings() {
    let (a, daemon) = one_with(SMALL);
    let body = sized(1024);
    assert_eq!(post_chat(daemon.port(), &body).status, 200);
    let response = daemon.client().request("POST", CHAT, &[JSON, ("transfer-encoding", "chunked")], chunked(&body));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(a.count(), 2);
}

/// The head and the body of a call whose body is as long as that.
fn long_call(bytes: usize) -> (String, String) {
    let body = sized(bytes);
    (format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len()), body)
}

#[test]
fn d119_a_long_body_arrives_whole_however_it_is_cut_and_what_is_behind_it_is_another_request() {
    let (a, daemon) = one();
    let mut client = daemon.client();
    let mut wanted = Vec::new();
    for (size, cuts) in
        [(3 << 20, vec![]), (1 << 20, vec![1, 100_000, 100_001]), (400_000, vec![65_536, 399_999]), (2 << 20, vec![1 << 20])]
    {
        let (head, body) = long_call(size);
        client.send_raw(&head);
        let mut from = 0;
        for cut in cuts {
            client.send_raw(&body[from..cut]);
            std::thread::sleep(Duration::from_millis(30));
            from = cut;
        }
        // The next requests are behind it in the same packet: a small one, and a head that is no ordinary one.
        let (small_head, small) = long_call(200);
        let last = format!("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n{head}{body}");
        client.send_raw(format!("{}{small_head}{small}{last}", &body[from..]));
        wanted.extend([body.clone(), small, body]);
        for (what, status) in [("long", 200), ("small", 200), ("none", 200), ("long again", 200)] {
            let response = client.read_response("POST").unwrap_or_else(|problem| panic!("{size}, {what}: {problem}"));
            assert_eq!(response.status, status, "{size}, {what}: {}", response.text());
        }
    }
    let user = |body: &str| serde_json::from_str::<serde_json::Value>(body).expect("JSON")["user"].clone();
    let got: Vec<_> = a.chats().iter().map(|chat| user(&chat.body)).collect();
    assert!(got == wanted.iter().map(|body| user(body)).collect::<Vec<_>>(), "a body was changed on its way");
}

#[test]
fn d119_a_long_body_whose_request_came_while_another_was_answered_arrives_whole() {
    let (a, daemon) = one();
    for size in [20_000, 30_000, 200_000] {
        let (gate, before) = (Gate::new(), a.count());
        a.then(Reply::answer("first").after(Step::WaitFor(gate.clone())));
        let mut client = daemon.client();
        let (small_head, small) = long_call(200);
        client.send_raw(small_head + &small);
        a.wait_for_chats(before + 1);
        let (head, body) = long_call(size);
        client.send_raw(head + &body);
        // Some of it is taken from the socket by now, to see whether the client has left.
        std::thread::sleep(Duration::from_millis(100));
        gate.open();
        for what in ["first", "long"] {
            assert_eq!(client.read_response("POST").unwrap_or_else(|problem| panic!("{size}, {what}: {problem}")).status, 200);
        }
        let got = &a.chats()[before + 1].body;
        assert!(got.contains(&"x".repeat(size - 100)), "{size}: {} bytes", got.len());
    }
}

#[test]
fn d119_a_long_body_that_nobody_wants_is_thrown_away_and_the_connection_goes_on() {
    let (a, daemon) = one_with("[server]\nmax_body = \"2MiB\"\n");
    let mut client = daemon.client();
    let (head, body) = long_call(3 << 20);
    for (head, status) in [
        (head.clone(), 413),
        (head.replace("application/json", "text/plain"), 415),
        (head.replace(CHAT, "/v1/nowhere"), 404),
        (head.replace("localhost", "evil.example"), 403),
    ] {
        client.send_raw(&head);
        client.send_raw(&body);
        assert_eq!(client.read_response("POST").expect("the answer").status, status);
    }
    let (head, body) = long_call(1 << 20);
    client.send_raw(head + &body);
    assert_eq!(client.read_response("POST").expect("the answer").status, 200);
    assert_eq!(a.count(), 1);
}

#[test]
fn d119_a_long_body_that_breaks_off_calls_nobody() {
    let (a, daemon) = one();
    let (head, body) = long_call(1 << 20);
    let mut client = daemon.client();
    client.send_raw(head.clone() + &body[..1 << 19]);
    client.shutdown_write();
    let message = own_error(&client.read_response("POST").expect("an answer"), 400, "invalid_request_error");
    assert!(message.contains("could not be read"), "{message}");
    assert!(client.closes_within(PATIENCE));
    let mut client = daemon.client();
    client.send_raw(head + &body[..1 << 19]);
    drop(client);
    assert_eq!(post_chat(daemon.port(), sized(100)).status, 200);
    assert_eq!(a.count(), 1);
}

#[test]
fn d119_a_413_can_be_read_by_a_client_that_sends_everything_first() {
    let (a, daemon) = one_with(SMALL);
    let response = daemon.client().request("POST", CHAT, &[JSON], "x".repeat(3 << 20));
    own_error(&response, 413, "request_too_large");
    assert_eq!(a.count(), 0);
}

#[test]
fn d121_what_is_not_a_json_object_gets_400_and_calls_nobody() {
    let (a, daemon) = one();
    for body in [
        "",
        " \n",
        "{",
        "[]",
        "[{\"messages\":[]}]",
        "\"text\"",
        "7",
        "null",
        "true",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],}",
        "{\"messages\":[NaN]}",
        "{'messages':[]}",
        "{\"messages\":[{}]} trailing",
        "\u{feff}{",
    ] {
        let response = post_chat(daemon.port(), body);
        own_error(&response, 400, "invalid_request_error");
        assert_eq!(response.json()["error"]["type"], "invalid_request_error", "{body}");
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d121_a_field_of_the_wrong_type_gets_400_with_its_name_as_param() {
    let (a, daemon) = one();
    let messages = json!([{"role": "user", "content": "hi"}]);
    for (body, param) in [
        (json!({}), "messages"),
        (json!({"messages": []}), "messages"),
        (json!({"messages": "hi"}), "messages"),
        (json!({"messages": {}}), "messages"),
        (json!({"messages": null}), "messages"),
        (json!({"model": 5, "messages": messages}), "model"),
        (json!({"model": ["auto"], "messages": messages}), "model"),
        (json!({"routor_tier": "HUGE", "messages": messages}), "routor_tier"),
        (json!({"routor_profile": "mine", "messages": messages}), "routor_profile"),
    ] {
        let response = post_chat(daemon.port(), body.to_string());
        own_error(&response, 400, "invalid_request_error");
        assert_eq!(response.json()["error"]["param"], param, "{body}");
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d122_a_stream_that_is_no_boolean_gets_400() {
    let (a, daemon) = one();
    for stream in [json!("true"), json!("false"), json!(1), json!(0), json!([]), json!({})] {
        let response = post_chat(daemon.port(), ask_with(&json!({"stream": stream})));
        own_error(&response, 400, "invalid_request_error");
        assert_eq!(response.json()["error"]["param"], "stream", "{stream}");
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d122_a_stream_of_null_means_no_stream() {
    let (_a, daemon) = one();
    assert_eq!(said(&post_chat(daemon.port(), ask_with(&json!({"stream": null})))), "hello");
}

#[test]
fn d123_an_unknown_model_gets_404_with_the_nearest_names() {
    let a = Provider::start();
    a.model_ids(&["m1", "qwen3-32b"]);
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], "[aliases]\n\"quick\" = \"LIGHT\"\n"));
    for (name, near) in [("a/qwen3-23b", "qwen3-32b"), ("qwen3-31b", "qwen3-32b"), ("quik", "quick"), ("COMPLX", "COMPLEX")] {
        let response = post_chat(daemon.port(), ask(name));
        let message = own_error(&response, 404, "model_not_found");
        assert!(message.contains(near), "{name}: {message}");
        assert!(message.contains(name), "{name}: {message}");
        assert_eq!(response.json()["error"]["param"], "model");
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d120_a_body_of_30_mb_is_taken_and_failed_over_with_the_same_bytes() {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::status(503));
    let daemon = Daemon::start(chain_config_with(&[("a", &a), ("b", &b)], "[server]\nmax_body = \"64MiB\"\n"));
    let picture = "A".repeat(30 << 20);
    let content = json!([{"type": "text", "text": "what is it?"}, {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{picture}")}}]);
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": content}]}).to_string();
    assert_eq!(said(&post_chat(daemon.port(), &body)), "hello");
    let (first, second) = (a.chats().remove(0), b.chats().remove(0));
    assert!(first.bytes == second.bytes, "the two bodies differ: {} and {} bytes", first.bytes.len(), second.bytes.len());
    let expected = body.replacen("\"auto\"", "\"m1\"", 1);
    assert!(first.bytes == expected.into_bytes(), "the body is not the client's with another model name");
}

/// The most memory that a process has ever used, in KiB.
#[cfg(target_os = "linux")]
fn peak(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line of the peak");
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn d120_four_attempts_need_no_more_memory_than_one() {
    let providers: Vec<Provider> = (0..4).map(|_| Provider::start()).collect();
    for provider in &providers {
        provider.always(Reply::status(503));
    }
    let named: Vec<(&str, &Provider)> = ["a", "b", "c", "d"].into_iter().zip(&providers).collect();
    let body = ask_with(&json!({"user": "x".repeat(30 << 20)}));
    let peaks = [1, 4].map(|length| {
        let daemon = Daemon::start(chain_config(&named[..length]));
        assert_eq!(post_chat(daemon.port(), &body).status, 502);
        peak(&daemon)
    });
    assert!(providers[3].chats()[0].bytes.len() > 30 << 20, "the last one had it all");
    assert!(peaks[1] < peaks[0] + (30 << 10), "{peaks:?} KiB");
}

#[test]
fn d132_the_clients_own_credentials_go_nowhere() {
    let (a, daemon) = one();
    a.then(Reply::answer("hello")).then(Reply::status(401));
    let secret = "sk-real-9d2f71";
    let bearer = format!("Bearer {secret}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("proxy-authorization", &bearer),
        ("x-api-key", secret),
        ("api-key", secret),
        ("x-goog-api-key", secret),
        ("cookie", secret),
        ("openai-organization", secret),
        ("openai-project", secret),
    ];
    for path in [CHAT, CHAT, "/nowhere"] {
        let response = post(daemon.port(), path, &headers, ask("auto"));
        assert!(!response.text().contains(secret) && !format!("{:?}", response.headers).contains(secret), "{}", response.text());
    }
    assert_eq!(a.count(), 2);
    assert!(a.requests().iter().all(|request| !format!("{:?}", request.headers).contains(secret)), "{:?}", a.requests());
    let records = daemon.wait_logs(2);
    assert!(!format!("{records:?}{}", daemon.stderr()).contains(secret), "{records:?}");
}

// --- Routes ---

#[test]
fn the_root_names_the_routes() {
    let (_a, daemon) = one();
    let response = get(daemon.port(), "/");
    assert_eq!(response.status, 200);
    for route in [CHAT, "/v1/models", "/health", "/ready"] {
        assert!(response.text().contains(route), "{}", response.text());
    }
}

#[test]
fn health_says_that_the_process_is_alive_also_with_an_empty_pool() {
    let (a, daemon) = one();
    assert_eq!(get(daemon.port(), "/health").status, 200);
    a.stop();
    daemon.run(&["reload"]);
    assert_eq!(get(daemon.port(), "/health").status, 200);
}

#[test]
fn ready_follows_the_pool() {
    let (a, daemon) = one();
    assert_eq!(get(daemon.port(), "/ready").status, 200);
    a.stop();
    daemon.run(&["reload"]);
    assert_eq!(get(daemon.port(), "/ready").status, 503);
    a.restart();
    daemon.run(&["reload"]).expect_code(0);
    assert_eq!(get(daemon.port(), "/ready").status, 200);
}

#[test]
fn an_empty_pool_answers_503_no_providers() {
    let (a, daemon) = one();
    a.stop();
    daemon.run(&["reload"]);
    for model in ["auto", "LIGHT"] {
        own_error(&post_chat(daemon.port(), ask(model)), 503, "no_providers");
    }
}

fn listed(daemon: &Daemon) -> Vec<String> {
    let list = get(daemon.port(), "/v1/models").json();
    assert_eq!(list["object"], "list");
    let entries = list["data"].as_array().expect("a list").clone();
    for entry in &entries {
        assert_eq!(entry["object"], "model", "{entry}");
        assert!(entry["created"].is_u64() && entry["owned_by"].is_string(), "{entry}");
    }
    entries.iter().map(|entry| entry["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn the_list_of_models_holds_auto_the_tiers_the_aliases_and_the_models_in_the_pool() {
    let (_a, daemon) = one_with("[aliases]\n\"gpt-4o-mini\" = \"LIGHT\"\n");
    let ids = listed(&daemon);
    for wanted in ["auto", "NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX", "gpt-4o-mini", "a/m1"] {
        assert_eq!(ids.iter().filter(|id| *id == wanted).count(), 1, "{wanted}: {ids:?}");
    }
}

#[test]
fn models_of_a_provider_that_is_out_of_the_pool_are_not_listed() {
    let (a, b, dead) = (Provider::start(), Provider::start(), Provider::start());
    dead.stop();
    let daemon = Daemon::start(chain_config(&[("dead", &dead), ("a", &a), ("b", &b)]));
    let ids = listed(&daemon);
    assert!(ids.iter().all(|id| !id.starts_with("dead/")), "{ids:?}");
    assert!(ids.contains(&"b/m1".to_owned()));
}

#[test]
fn one_model_can_be_asked_for_with_a_slash_or_its_code() {
    let (_a, daemon) = one();
    for path in ["/v1/models/a/m1", "/v1/models/a%2Fm1", "/v1/models/a%2fm1"] {
        let response = get(daemon.port(), path);
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert_eq!(response.json()["id"], "a/m1", "{path}");
        assert_eq!(response.json()["object"], "model", "{path}");
    }
    assert_eq!(get(daemon.port(), "/v1/models/auto").json()["id"], "auto");
}

#[test]
fn an_unknown_model_of_the_list_is_404_model_not_found() {
    let (_a, daemon) = one();
    own_error(&get(daemon.port(), "/v1/models/a%2Fm9"), 404, "model_not_found");
}

#[test]
fn an_unknown_route_is_404_not_found() {
    let (_a, daemon) = one();
    for path in ["/nowhere", "/v2/chat/completions", "/v1", "/favicon.ico"] {
        own_error(&get(daemon.port(), path), 404, "not_found");
    }
}

#[test]
fn a_route_of_openai_or_anthropic_that_is_not_there_says_not_yet() {
    let (a, daemon) = one();
    for path in ["/v1/responses", "/v1/embeddings", "/v1/messages", "/v1/completions", "/v1/images/generations"] {
        let message = own_error(&post(daemon.port(), path, &[], ask("auto")), 404, "not_found");
        assert!(message.contains("yet") && message.contains(path), "{message}");
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d126_a_wrong_method_is_405() {
    let (_a, daemon) = one();
    for (method, path) in [("GET", CHAT), ("PUT", CHAT), ("POST", "/v1/models"), ("DELETE", "/v1/models/auto"), ("POST", "/health")] {
        let response = daemon.client().request(method, path, &[JSON], if method == "GET" { "" } else { "{}" });
        assert_eq!(response.status, 405, "{method} {path}: {}", response.text());
        assert_eq!(response.header("x-should-retry"), Some("false"));
        assert!(response.json()["error"]["message"].is_string());
    }
}

#[test]
fn d126_twisted_paths_and_methods_reach_no_provider() {
    let (a, daemon) = one();
    for (method, target) in [
        ("POST", "//v1//chat/completions"),
        ("POST", "/v1/chat/completions/"),
        ("POST", "/v1/%2e%2e/v1/chat/completions"),
        ("POST", "/v1/chat%2Fcompletions"),
        ("POST", "/V1/Chat/Completions"),
        ("POST", "/v1/../v1/chat/completions"),
        ("TRACE", CHAT),
        ("OPTIONS", "*"),
    ] {
        let response = daemon.client().request(method, target, &[JSON], ask("auto"));
        assert!(matches!(response.status, 400 | 403 | 404 | 405), "{method} {target}: {}", response.status);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d126_routor_is_no_forward_proxy() {
    let (a, daemon) = one();
    let outside = Provider::start();
    for target in [format!("http://127.0.0.1:{}/v1/chat/completions", outside.port()), "http://evil.example/v1/chat/completions".to_owned()]
    {
        let response = daemon.client().request("POST", &target, &[JSON], ask("auto"));
        assert!(matches!(response.status, 400 | 403 | 404 | 405), "{target}: {}", response.status);
    }
    let answer =
        raw(daemon.port(), format!("CONNECT 127.0.0.1:{0} HTTP/1.1\r\nhost: 127.0.0.1:{0}\r\nconnection: close\r\n\r\n", outside.port()));
    assert!(answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!((a.count(), outside.connections()), (0, 0));
}

#[test]
fn d134_an_upgrade_to_websocket_is_refused() {
    let (a, daemon) = one();
    let headers = [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-key", "eA=="), ("sec-websocket-version", "13")];
    for path in [CHAT, "/v1/realtime", "/health"] {
        let response = daemon.client().request("GET", path, &headers, "");
        assert!(matches!(response.status, 200 | 400 | 404 | 405 | 426), "{path}: {}", response.status);
        assert!(response.header("upgrade").is_none() && response.header("sec-websocket-accept").is_none(), "{:?}", response.headers);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn every_answer_has_a_request_id() {
    let (a, daemon) = one();
    a.then(Reply::status(503));
    let port = daemon.port();
    let answers = [
        post_chat(port, ask("auto")),
        post_chat(port, ask("auto")),
        post_chat(port, "{"),
        post_chat(port, ask("nobody")),
        post(port, CHAT, &[("host", "evil.com")], ask("auto")),
        post(port, CHAT, &[("content-type", "text/plain")], ask("auto")),
        get(port, "/nowhere"),
        get(port, "/health"),
    ];
    let mut ids: Vec<String> = answers.iter().map(|answer| answer.header("x-request-id").expect("an id").to_owned()).collect();
    assert_eq!(answers[0].status, 502);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), answers.len(), "{ids:?}");
}

#[test]
fn a_sane_request_id_of_the_caller_is_kept_and_another_replaced() {
    let (_a, daemon) = one();
    let sane = post(daemon.port(), CHAT, &[("x-request-id", "my-id_1.2")], ask("auto"));
    assert_eq!(sane.header("x-request-id"), Some("my-id_1.2"));
    for odd in ["", "with space", "\u{1b}[31m", &"x".repeat(5000)] {
        let response = post(daemon.port(), CHAT, &[("x-request-id", odd)], ask("auto"));
        let given = response.header("x-request-id").unwrap_or_default();
        assert!(response.status >= 400 || (given != odd && !given.is_empty()), "{odd:?} came back");
    }
}

#[test]
fn the_providers_own_request_id_does_not_reach_the_client() {
    let (a, daemon) = one();
    a.always(Reply::completion("hello").with_header("x-request-id", "theirs"));
    assert_ne!(post_chat(daemon.port(), ask("auto")).header("x-request-id"), Some("theirs"));
}

#[test]
fn the_502_tells_sdks_not_to_try_again() {
    let (a, daemon) = one();
    a.always(Reply::status(503));
    let response = post_chat(daemon.port(), ask("auto"));
    assert_eq!(response.status, 502);
    assert_eq!(response.header("x-should-retry"), Some("false"));
    let documented = r#"{"error":{"message":"All providers in the fallback chain failed. Please try again.","type":"provider_error","code":"all_models_failed"}}"#;
    assert_eq!(response.text(), documented);
}

// --- Framing ---

/// Sends these bytes and gives the status lines of what came back; the daemon
/// must still answer afterwards.
#[track_caller]
fn odd(daemon: &Daemon, bytes: impl AsRef<[u8]>) -> Vec<String> {
    let answer = String::from_utf8_lossy(&raw(daemon.port(), bytes)).into_owned();
    assert_eq!(get(daemon.port(), "/health").status, 200);
    answer.split("HTTP/1.").skip(1).map(|rest| rest.get(2..5).unwrap_or_default().to_owned()).collect()
}

const SMUGGLED: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 59\r\n\r\n{\"messages\":[{\"role\":\"user\",\"content\":\"smuggled content\"}]}";

#[track_caller]
fn at_most_one(provider: &Provider, answers: &[String]) {
    assert!(provider.count() <= 1, "{} upstream calls", provider.count());
    assert!(provider.chats().iter().all(|chat| !chat.body.contains("smuggled")), "{:?}", provider.chats());
    assert!(answers.len() <= 1, "{answers:?}");
}

#[test]
fn d125_length_and_chunked_together_make_at_most_one_request() {
    let (a, daemon) = one();
    let body = ask("auto");
    for length in [3, chunked(&body).len(), chunked(&body).len() + SMUGGLED.len()] {
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let before = a.count();
        let answers = odd(&daemon, format!("{head}{}{SMUGGLED}", chunked(&body)));
        assert!(a.count() - before <= 1 && answers.len() <= 1, "{length}: {answers:?}");
    }
    assert!(a.chats().iter().all(|chat| !chat.body.contains("smuggled")), "{:?}", a.chats());
}

#[test]
fn d125_two_lengths_that_differ_are_refused() {
    let (a, daemon) = one();
    let body = ask("auto");
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\ncontent-length: 3\r\n\r\n",
        body.len()
    );
    let answers = odd(&daemon, format!("{head}{body}{SMUGGLED}"));
    at_most_one(&a, &answers);
    assert_eq!(a.count(), 0);
}

#[test]
fn d125_an_unknown_transfer_coding_is_refused() {
    let (a, daemon) = one();
    for coding in ["xchunked", "chunked, identity", "gzip"] {
        let head =
            format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: {coding}\r\n\r\n");
        let answers = odd(&daemon, format!("{head}{}{SMUGGLED}", chunked(&ask("auto"))));
        at_most_one(&a, &answers);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d125_bytes_that_no_header_may_hold_make_no_second_request() {
    let (a, daemon) = one();
    let body = ask("auto");
    let rest = format!("content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    for header in ["x-a: b\0c\r\n", "x-a: b\r\n folded: 1\r\n", "x-a : b\r\n", "x-a: b\rc\r\n", "no colon\r\n", ": empty\r\n"] {
        let before = a.count();
        let answers = odd(&daemon, format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\n{header}{rest}"));
        assert!(a.count() - before <= 1 && answers.len() <= 1, "{header:?}: {answers:?}");
    }
}

#[test]
fn d125_bare_line_feeds_make_at_most_one_request() {
    let (a, daemon) = one();
    let body = ask("auto");
    let head = format!(
        "POST {CHAT} HTTP/1.1\nhost: localhost\ncontent-type: application/json\ncontent-length: {}\nconnection: close\n\n",
        body.len()
    );
    let answers = odd(&daemon, format!("{head}{body}"));
    at_most_one(&a, &answers);
}

#[test]
fn d125_a_broken_chunk_size_calls_nobody() {
    let (a, daemon) = one();
    for size in ["fffffffffffffffff", "-1", "0x10", "5;\0", "zz", ""] {
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
        odd(&daemon, format!("{head}{size}\r\n{}\r\n0\r\n\r\n", ask("auto")));
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d127_a_client_of_http_1_0_gets_its_answer_without_chunks() {
    let (_a, daemon) = one();
    for stream in [false, true] {
        let body = ask_with(&json!({"stream": stream}));
        let request = format!(
            "POST {CHAT} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = String::from_utf8_lossy(&raw(daemon.port(), request)).into_owned();
        let (head, text) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(" 200 "), "{answer}");
        assert!(!head.to_ascii_lowercase().contains("transfer-encoding"), "{head}");
        let start = if stream { "data: {" } else { "{" };
        assert!(text.starts_with(start), "{answer}");
        assert!(!stream || text.ends_with("data: [DONE]\n\n"), "{answer}");
    }
}

#[test]
fn d128_a_client_that_expects_100_continue_is_told_to_send() {
    let (_a, daemon) = one();
    let body = sized(100_000);
    // The harness's client passes over the 100, so it is read by hand here.
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn d128_a_body_that_is_too_large_is_refused_before_100_continue() {
    let (a, daemon) = one_with(SMALL);
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 5000\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 413");
    assert_eq!(a.count(), 0);
}

#[test]
fn a_body_in_parts_that_came_together_is_read_to_its_end_at_once() {
    let (_a, daemon) = one();
    let body = ask("auto");
    let (left, right) = body.split_at(10);
    let parts = format!("{:x}\r\n{left}\r\n{:x}\r\n{right}\r\n0\r\n\r\n", left.len(), right.len());
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
    // Nothing else comes, and a connection looks at itself every ten seconds only.
    stream.set_read_timeout(Some(Duration::from_secs(8))).unwrap();
    let head = "host: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("POST {CHAT} HTTP/1.1\r\n{head}{parts}").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn d129_pipelined_requests_are_answered_in_order() {
    let (a, daemon) = one();
    a.then(Reply::answer("first")).then(Reply::answer("second"));
    let body = ask("auto");
    let one = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut client = daemon.client();
    client.send_raw(format!("{one}{one}"));
    for wanted in ["first", "second"] {
        match client.read_response("POST") {
            Ok(response) => assert_eq!(said(&response), wanted),
            Err(_) if wanted == "second" => {}
            Err(problem) => panic!("no answer to the first request: {problem}"),
        }
    }
}

#[test]
fn d118_a_connection_serves_one_request_after_the_other() {
    let (_a, daemon) = one();
    let mut client = daemon.client();
    for _ in 0..5 {
        assert_eq!(client.post_chat(ask("auto")).status, 200);
    }
    assert_eq!(client.post_chat("{").status, 400);
    assert_eq!(client.request("GET", "/health", &[], "").status, 200);
}

#[test]
fn d130_http_2_with_prior_knowledge_is_refused_cleanly() {
    let (a, daemon) = one();
    let answer = raw(daemon.port(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5"), "{answer:?}");
    assert_eq!(post_chat(daemon.port(), ask("auto")).status, 200);
    assert_eq!(a.count(), 1);
}

#[test]
fn d125_random_bytes_do_not_disturb_others() {
    let (a, daemon) = one();
    let mut client = daemon.client();
    for seed in 0u32..20 {
        let noise: Vec<u8> =
            (0..2000u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(97)) >> 13) as u8).collect();
        let mut other = daemon.client();
        other.send_raw(noise);
        other.shutdown_write();
        assert!(other.closes_within(Duration::from_secs(10)));
        assert_eq!(client.request("GET", "/health", &[], "").status, 200);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d135_a_slow_body_is_waited_for_and_holds_up_nobody() {
    let (a, daemon) = one();
    let body = ask("auto");
    let (start, end) = body.split_at(20);
    let mut slow = daemon.client();
    slow.send_raw(format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{start}",
        body.len()
    ));
    for _ in 0..10 {
        assert_eq!(post_chat(daemon.port(), ask("auto")).status, 200);
    }
    assert_eq!(a.count(), 10);
    slow.send_raw(end);
    assert_eq!(slow.read_response("POST").unwrap().status, 200);
}

#[test]
fn a_body_that_ends_early_calls_nobody() {
    let (a, daemon) = one();
    let mut client = daemon.client();
    client.send_raw(format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{}",
        ask("auto")
    ));
    client.shutdown_write();
    assert!(client.closes_within(Duration::from_secs(5)));
    assert_eq!(get(daemon.port(), "/health").status, 200);
    assert_eq!(a.count(), 0);
}

#[test]
fn a_hanging_stream_holds_up_nobody() {
    let (a, daemon) = one();
    let gate = Gate::new();
    a.then(Reply::events_then(vec![support::role(), support::content("one")], Step::WaitFor(gate.clone())).and(Step::last_chunk()));
    let mut stream = open_stream(daemon.port(), ask_with(&json!({"stream": true})));
    assert!(stream.next_event().is_some());
    for _ in 0..20 {
        assert_eq!(post_chat(daemon.port(), ask("auto")).status, 200);
    }
    gate.open();
    stream.read_to_end();
}

#[test]
fn d131_nothing_in_a_request_changes_where_it_goes() {
    let (a, daemon) = one();
    let outside = Provider::start();
    let url = outside.base_url();
    let headers =
        [("x-api-base", url.as_str()), ("api_base", &url), ("base_url", &url), ("x-portkey-custom-host", &url), ("x-forwarded-host", &url)];
    let body = ask_with(&json!({"model": "a/m1", "base_url": url, "api_base": url, "api_key": "sk-x"}));
    assert_eq!(post(daemon.port(), CHAT, &headers, body).status, 200);
    assert_eq!((a.count(), outside.connections()), (1, 0));
}

/// The daemon answers 400 alone, closes, and calls nobody.
#[track_caller]
fn refused_as_malformed(daemon: &Daemon, a: &Provider, request: &str) {
    let answers = odd(daemon, request);
    assert_eq!((answers.as_slice(), a.count()), (&["400".to_owned()][..], 0), "{request:?}");
}

#[test]
fn d125_length_and_chunked_together_are_refused() {
    let (a, daemon) = one();
    let body = chunked(&ask("auto"));
    for length in [3, body.len(), body.len() + SMUGGLED.len()] {
        let both = [format!("content-length: {length}"), "transfer-encoding: chunked".to_owned()];
        for [first, second] in [[&both[0], &both[1]], [&both[1], &both[0]]] {
            let head = format!(
                "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{first}\r\n{second}\r\nconnection: close\r\n\r\n"
            );
            refused_as_malformed(&daemon, &a, &format!("{head}{body}"));
        }
    }
}

#[test]
fn d125_bare_line_feeds_are_refused() {
    let (a, daemon) = one();
    let body = ask("auto");
    let lines =
        ["host: localhost", "content-type: application/json", &format!("content-length: {}", body.len()), "connection: close", "", ""];
    for (end, other) in [("\n", "\n"), ("\r\n", "\n")] {
        let head = format!("POST {CHAT} HTTP/1.1{other}{}", lines.join(end));
        refused_as_malformed(&daemon, &a, &format!("{head}{body}"));
    }
}

#[test]
fn d125_a_transfer_coding_before_chunked_is_refused() {
    let (a, daemon) = one();
    for coding in ["xchunked, chunked", "gzip, chunked", "chunked, chunked", "identity, chunked"] {
        let head = format!(
            "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: {coding}\r\nconnection: close\r\n\r\n"
        );
        refused_as_malformed(&daemon, &a, &format!("{head}{}", chunked(&ask("auto"))));
    }
}

#[test]
fn d125_what_is_refused_alone_is_refused_behind_another() {
    let (a, daemon) = one();
    let body = ask("auto");
    let chat = |length: &str| format!("POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{length}\r\n\r\n");
    let sound = [
        ("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), 0),
        (format!("{}{body}", chat(&format!("content-length: {}", body.len()))), 1),
        (format!("{}{}", chat("transfer-encoding: chunked"), chunked(&body)), 1),
    ];
    let both = format!("content-length: {}\r\ntransfer-encoding: chunked", chunked(&body).len());
    for wrong in [both.as_str(), "transfer-encoding: gzip, chunked", "x-a: b\ntransfer-encoding: chunked"] {
        for (before, calls) in &sound {
            let (asked, behind) = (a.count(), chat(wrong));
            let answers = odd(&daemon, format!("{before}{behind}{}", chunked(&body)));
            assert_eq!((answers, a.count() - asked), (vec!["200".to_owned(), "400".to_owned()], *calls), "{wrong:?} behind {before:?}");
            // The end of its head comes for itself.
            let (start, end) = behind.split_at(behind.len() - 10);
            let mut client = daemon.client();
            client.send_raw(format!("{before}{start}"));
            assert_eq!(client.read_response("POST").unwrap().status, 200);
            client.send_raw(format!("{end}{}", chunked(&body)));
            assert_eq!(client.read_response("POST").unwrap().status, 400, "{wrong:?} in two behind {before:?}");
            assert_eq!(a.count() - asked, 2 * calls);
        }
    }
}

#[test]
fn d129_a_second_request_is_taken_wherever_a_read_ends_in_it() {
    let (_a, daemon) = one();
    let second = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    // Reads are of powers of two, for the most part.
    for read in [1 << 10, 2 << 10, 4 << 10, 8 << 10] {
        for inside in 0..=second.len() {
            let first = "GET /health HTTP/1.1\r\nhost: localhost\r\nx-a: \r\n\r\n";
            let first = first.replace("x-a: ", &format!("x-a: {}", "y".repeat(read - first.len() - inside)));
            assert_eq!(odd(&daemon, format!("{first}{second}")), ["200", "200"], "{inside} bytes into it, after {read}");
        }
    }
}
