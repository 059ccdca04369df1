//! The port as its clients and its attackers see it: who may call, what is
//! refused and how, which routes there are, which model a name stands for, and
//! how requests are framed.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{
    Client, Daemon, Gate, Provider, Reply, Response, Step, chain_config, chain_config_with, get, open_stream, post, post_chat, raw,
};

const CHAT: &str = "/v1/chat/completions";
const JSON: (&str, &str) = ("content-type", "application/json");

/// A chat call for this model.
fn ask(model: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]}).to_string()
}

/// A chat call with these fields beside the messages.
fn ask_with(fields: &Value) -> String {
    let mut body = json!({"messages": [{"role": "user", "content": "hi"}]});
    let more = fields.as_object().expect("an object").clone();
    body.as_object_mut().expect("an object").extend(more);
    body.to_string()
}

/// One provider `a` that works, and a daemon with this TOML added.
fn one_with(extra: &str) -> (Provider, Daemon) {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], extra));
    (a, daemon)
}

fn one() -> (Provider, Daemon) {
    one_with("")
}

/// Two providers whose answers are their names, and a daemon whose file has
/// these tiers and whatever else is in `rest`.
fn two(rest: &str) -> (Provider, Provider, Daemon) {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::answer("from a"));
    b.always(Reply::answer("from b"));
    let daemon = Daemon::start(format!("{}{}[pool]\nonly = [\"a\", \"b\"]\n{rest}\n", table("a", &a), table("b", &b)));
    (a, b, daemon)
}

fn table(name: &str, provider: &Provider) -> String {
    format!("[providers.{name}]\nbase_url = \"{}\"\napi_key_env = \"\"\n", provider.base_url())
}

/// Asserts an error of routor's own: status, code, OpenAI's shape, and the
/// headers that all of them carry.
#[track_caller]
fn own_error(response: &Response, status: u16, code: &str) -> String {
    assert_eq!(response.status, status, "{}", response.text());
    let body = response.json();
    let error = body["error"].as_object().unwrap_or_else(|| panic!("no error object: {body}"));
    let mut fields: Vec<&str> = error.keys().map(String::as_str).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["code", "message", "param", "type"], "{body}");
    assert_eq!(error["code"], code, "{body}");
    assert_eq!(response.header("x-should-retry"), Some("false"), "{:?}", response.headers);
    assert!(response.header("x-request-id").is_some(), "{:?}", response.headers);
    assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{:?}", response.headers);
    error["message"].as_str().expect("a message").to_owned()
}

#[track_caller]
fn no_cors(response: &Response) {
    let cors: Vec<_> = response.headers.iter().filter(|(name, _)| name.starts_with("access-control-")).collect();
    assert!(cors.is_empty(), "{cors:?}");
}

/// The text of a completion.
#[track_caller]
fn said(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
}

// --- Guards: the Host header ---

#[test]
fn d202_loopback_names_pass_in_any_case_and_with_any_port() {
    let (_a, daemon) = one();
    for host in ["127.0.0.1", "127.0.0.1:1", "localhost", "localhost:9", "LocalHost:4117", "[::1]", "[::1]:4117"] {
        let response = post(daemon.port(), CHAT, &[("host", host)], ask("auto"));
        assert_eq!(response.status, 200, "{host}: {}", response.text());
    }
}

#[test]
fn d201_a_foreign_host_name_is_forbidden_and_calls_nobody() {
    let (a, daemon) = one();
    let host = format!("evil.com:{}", daemon.port());
    let response = post(daemon.port(), CHAT, &[("host", &host)], ask("auto"));
    own_error(&response, 403, "forbidden");
    no_cors(&response);
    assert_eq!(a.count(), 0);
}

#[test]
fn d202_names_that_only_look_like_loopback_are_forbidden() {
    let (a, daemon) = one();
    for host in [
        "127.0.0.1.evil.com",
        "localhost.",
        "localhost.evil.com",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0.0.0.0",
        "[::]",
        "[::ffff:127.0.0.1]",
        "user@127.0.0.1",
        "127.0.0.1:x",
        "127.0.0.1, evil.com",
        "",
    ] {
        let response = post(daemon.port(), CHAT, &[("host", host)], ask("auto"));
        assert!(matches!(response.status, 400 | 403), "{host}: {} {}", response.status, response.text());
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn d202_a_request_without_host_is_refused() {
    let (a, daemon) = one();
    let body = ask("auto");
    let request = format!(
        "POST {CHAT} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = String::from_utf8_lossy(&raw(daemon.port(), request)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 403") || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(a.count(), 0);
}

#[test]
fn d202_two_host_headers_are_refused() {
    let (a, daemon) = one();
    for pair in [["127.0.0.1", "127.0.0.1"], ["127.0.0.1", "evil.com"], ["evil.com", "127.0.0.1"]] {
        let response = post(daemon.port(), CHAT, &[("host", pair[0]), ("host", pair[1])], ask("auto"));
        assert!(matches!(response.status, 400 | 403), "{pair:?}: {}", response.status);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn a_forbidden_host_is_told_the_line_to_add() {
    let (_a, daemon) = one();
    let response = post(daemon.port(), CHAT, &[("host", "host.docker.internal:4117")], ask("auto"));
    let message = own_error(&response, 403, "forbidden");
    assert!(message.contains("allow_hosts = [\"host.docker.internal\"]"), "{message}");
}

#[test]
fn allow_hosts_lets_a_name_in_without_case_and_with_any_port() {
    let (_a, daemon) = one_with("[server]\nallow_hosts = [\"host.docker.internal\"]\n");
    for host in ["host.docker.internal", "Host.Docker.INTERNAL:4117"] {
        assert_eq!(post(daemon.port(), CHAT, &[("host", host)], ask("auto")).status, 200, "{host}");
    }
    assert_eq!(post(daemon.port(), CHAT, &[("host", "docker.internal")], ask("auto")).status, 403);
}

#[test]
fn d202_a_listen_address_is_a_good_host_name() {
    let a = Provider::start();
    let config = chain_config_with(&[("a", &a)], "[server]\nlisten = [\"127.0.0.1:0\", \"127.0.0.3:0\"]\n");
    let daemon = Daemon::builder().config(config).without_port().start();
    assert_eq!(post(daemon.port(), CHAT, &[("host", "127.0.0.3:80")], ask("auto")).status, 200);
    assert_eq!(post(daemon.port(), CHAT, &[("host", "127.0.0.4:80")], ask("auto")).status, 403);
}

#[test]
fn a_guard_answers_before_the_body_is_there() {
    let (a, daemon) = one();
    let mut client = daemon.client();
    client.send_raw(format!("POST {CHAT} HTTP/1.1\r\nhost: evil.com\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n"));
    let response = client.read_response("POST").unwrap();
    own_error(&response, 403, "forbidden");
    assert_eq!(a.count(), 0);
}

// --- Guards: browsers ---

#[test]
fn d203_d204_a_foreign_origin_is_forbidden_without_cors_headers() {
    let (a, daemon) = one();
    for origin in [
        "https://evil.com",
        "null",
        "file://",
        "chrome-extension://x",
        "http://localhost:3000",
        "http://127.0.0.1.nip.io",
        "http://127.0.0.1:1",
        "https://127.0.0.1",
    ] {
        let response = post(daemon.port(), CHAT, &[("origin", origin)], ask("auto"));
        own_error(&response, 403, "forbidden");
        no_cors(&response);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn its_own_origin_passes() {
    let (_a, daemon) = one();
    let origin = format!("http://127.0.0.1:{}", daemon.port());
    let response = post(daemon.port(), CHAT, &[("origin", &origin), ("sec-fetch-site", "same-origin")], ask("auto"));
    assert_eq!(response.status, 200);
    no_cors(&response);
}

#[test]
fn d208_a_fetch_from_another_site_is_forbidden() {
    let (a, daemon) = one();
    for (site, status) in [("cross-site", 403), ("same-site", 403), ("sideways", 403), ("same-origin", 200), ("none", 200)] {
        let response = post(daemon.port(), CHAT, &[("sec-fetch-site", site)], ask("auto"));
        assert_eq!(response.status, status, "{site}: {}", response.text());
        no_cors(&response);
    }
    assert_eq!(a.count(), 2);
}

#[test]
fn d206_a_page_of_another_site_cannot_read_the_models() {
    let (_a, daemon) = one();
    let headers = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
    let response = daemon.client().request("GET", "/v1/models", &headers, "");
    own_error(&response, 403, "forbidden");
}

const APP: &str = "[server]\nallow_origins = [\"https://app.example\"]\n";

#[test]
fn an_allowed_origin_may_call_and_is_told_so() {
    let (_a, daemon) = one_with(APP);
    let headers = [("origin", "https://app.example"), ("sec-fetch-site", "cross-site")];
    let response = post(daemon.port(), CHAT, &headers, ask("auto"));
    assert_eq!(response.status, 200);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(response.header("vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("origin")), "{:?}", response.headers);
}

#[test]
fn an_allowed_origin_can_read_errors_too() {
    let (_a, daemon) = one_with(APP);
    let response = post(daemon.port(), CHAT, &[("origin", "https://app.example")], "{}");
    own_error(&response, 400, "invalid_request_error");
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
}

#[test]
fn allowed_origins_are_compared_exactly() {
    let (a, daemon) = one_with(APP);
    for origin in ["https://app.example.evil.com", "http://app.example", "https://app.example:8443", "https://xapp.example"] {
        let response = post(daemon.port(), CHAT, &[("origin", origin)], ask("auto"));
        own_error(&response, 403, "forbidden");
        no_cors(&response);
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn the_preflight_of_an_allowed_origin_is_answered() {
    let (a, daemon) = one_with(APP);
    let headers = [
        ("origin", "https://app.example"),
        ("sec-fetch-site", "cross-site"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    let response = daemon.client().request("OPTIONS", CHAT, &headers, "");
    assert!(matches!(response.status, 200 | 204), "{}", response.status);
    assert_eq!(response.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(response.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));
    let allowed = response.header("access-control-allow-headers").unwrap_or_default().to_ascii_lowercase();
    assert!(allowed.contains("authorization") && allowed.contains("content-type"), "{allowed}");
    assert_eq!(a.count(), 0);
}

#[test]
fn the_preflight_of_an_allowed_origin_needs_no_client_key() {
    let a = Provider::start();
    let daemon = Daemon::builder().config(chain_config_with(&[("a", &a)], APP)).env("ROUTOR_API_KEY", "client-key").start();
    let headers = [("origin", "https://app.example"), ("access-control-request-method", "POST")];
    assert!(matches!(daemon.client().request("OPTIONS", CHAT, &headers, "").status, 200 | 204));
}

#[test]
fn d207_a_foreign_preflight_gets_no_allow_headers() {
    let (_a, daemon) = one();
    let headers = [
        ("origin", "https://evil.com"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
        ("access-control-request-private-network", "true"),
    ];
    let response = daemon.client().request("OPTIONS", CHAT, &headers, "");
    assert!(matches!(response.status, 204 | 403), "{}", response.status);
    no_cors(&response);
}

#[test]
fn a_providers_cors_headers_are_not_passed_on() {
    let (a, daemon) = one();
    a.always(Reply::completion("hello").with_header("access-control-allow-origin", "*").with_header("access-control-expose-headers", "*"));
    no_cors(&post_chat(daemon.port(), ask("auto")));
}

// --- Guards: the content type ---

#[test]
fn d205_d124_a_body_that_is_not_declared_json_gets_415_with_the_curl_flag() {
    let (a, daemon) = one();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""] {
        let response = post(daemon.port(), CHAT, &[("content-type", kind)], ask("auto"));
        assert_eq!(response.status, 415, "{kind}: {}", response.text());
        assert!(response.text().contains("-H 'Content-Type: application/json'"), "{}", response.text());
    }
    let without = daemon.client().request("POST", CHAT, &[], ask("auto"));
    assert_eq!(without.status, 415, "{}", without.text());
    assert_eq!(without.header("x-should-retry"), Some("false"));
    assert_eq!(a.count(), 0);
}

#[test]
fn d124_json_with_a_charset_or_in_capitals_is_taken() {
    let (_a, daemon) = one();
    for kind in ["application/json; charset=utf-8", "application/json;charset=UTF-8", "Application/JSON"] {
        assert_eq!(post(daemon.port(), CHAT, &[("content-type", kind)], ask("auto")).status, 200, "{kind}");
    }
}

#[test]
fn d133_a_compressed_request_body_is_refused_with_415() {
    let (a, daemon) = one();
    let response = post(daemon.port(), CHAT, &[("content-encoding", "zstd")], b"\x28\xb5\x2f\xfd");
    assert_eq!(response.status, 415, "{}", response.text());
    assert_eq!(a.count(), 0);
}

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
fn a_body_of_exactly_the_limit_is_taken_in_both_framings() {
    let (a, daemon) = one_with(SMALL);
    let body = sized(1024);
    assert_eq!(post_chat(daemon.port(), &body).status, 200);
    let response = daemon.client().request("POST", CHAT, &[JSON, ("transfer-encoding", "chunked")], chunked(&body));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(a.count(), 2);
}

#[test]
fn a_413_can_be_read_by_a_client_that_sends_everything_first() {
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
fn d121_d122_a_field_of_the_wrong_type_gets_400_with_its_name_as_param() {
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
        (json!({"stream": "true", "messages": messages}), "stream"),
        (json!({"stream": 1, "messages": messages}), "stream"),
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
fn a_stream_of_null_means_no_stream() {
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

// --- The client key ---

fn keyed() -> (Provider, Daemon) {
    let a = Provider::start();
    let daemon = Daemon::builder().config(chain_config(&[("a", &a)])).env("ROUTOR_API_KEY", "client-key-7f3a").start();
    (a, daemon)
}

#[test]
fn d214_without_the_client_key_every_route_but_two_is_401() {
    let (a, daemon) = keyed();
    for (method, path) in [("POST", CHAT), ("GET", "/v1/models"), ("GET", "/v1/models/auto"), ("GET", "/"), ("GET", "/nowhere")] {
        let response = daemon.client().request(method, path, &[JSON], if method == "POST" { ask("auto") } else { String::new() });
        own_error(&response, 401, "invalid_api_key");
    }
    assert_eq!(a.count(), 0);
}

#[test]
fn health_and_ready_need_no_client_key() {
    let (_a, daemon) = keyed();
    assert_eq!(get(daemon.port(), "/health").status, 200);
    assert_eq!(get(daemon.port(), "/ready").status, 200);
}

#[test]
fn d214_every_wrong_key_gets_the_same_401_without_an_echo() {
    let (a, daemon) = keyed();
    let mut bodies = Vec::new();
    let wrong =
        ["Bearer client-key-7f3b", "Bearer x", "Bearer ", "Bearer client-key-7f3a-longer", "Basic client-key-7f3a", "client-key-7f3a"];
    for value in wrong {
        let response = post(daemon.port(), CHAT, &[("authorization", value)], ask("auto"));
        own_error(&response, 401, "invalid_api_key");
        assert!(!response.text().contains("7f3"), "{}", response.text());
        bodies.push(response.text());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(a.count(), 0);
}

#[test]
fn the_right_client_key_opens_and_does_not_go_upstream() {
    let (a, daemon) = keyed();
    for scheme in ["Bearer", "bearer"] {
        let value = format!("{scheme} client-key-7f3a");
        assert_eq!(post(daemon.port(), CHAT, &[("authorization", &value)], ask("auto")).status, 200, "{scheme}");
    }
    for request in a.requests() {
        assert!(request.headers.iter().all(|(_, value)| !value.contains("7f3a")), "{:?}", request.headers);
    }
}

#[test]
fn the_client_key_is_in_the_variable_that_the_file_names() {
    let a = Provider::start();
    let config = chain_config_with(&[("a", &a)], "[server]\napi_key_env = \"TEAM_KEY\"\n");
    let daemon = Daemon::builder().config(config).env("TEAM_KEY", "team-1").env("ROUTOR_API_KEY", "not-this").start();
    assert_eq!(post(daemon.port(), CHAT, &[("authorization", "Bearer team-1")], ask("auto")).status, 200);
    assert_eq!(post(daemon.port(), CHAT, &[("authorization", "Bearer not-this")], ask("auto")).status, 401);
}

#[test]
fn a_foreign_host_is_forbidden_even_with_the_client_key() {
    let (_a, daemon) = keyed();
    let response = post(daemon.port(), CHAT, &[("host", "evil.com"), ("authorization", "Bearer client-key-7f3a")], ask("auto"));
    own_error(&response, 403, "forbidden");
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
fn a_wrong_method_is_405() {
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
    let response = daemon.client().request("GET", CHAT, &headers, "");
    assert!(matches!(response.status, 400 | 404 | 405 | 426), "{}", response.status);
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

// --- Which model a name stands for ---

const TIERS: &str = "[tiers]\nNANO = [\"a/m1\"]\nSIMPLE = [\"a/m1\"]\nLIGHT = [\"a/m1\"]\nSTANDARD = [\"a/m1\"]\nCOMPLEX = [\"b/m1\"]\n";

#[test]
fn auto_nothing_null_and_an_empty_name_let_routor_choose() {
    let (a, _b, daemon) = two(TIERS);
    for fields in [json!({"model": "auto"}), json!({}), json!({"model": null}), json!({"model": ""})] {
        assert_eq!(said(&post_chat(daemon.port(), ask_with(&fields))), "from a", "{fields}");
    }
    assert!(a.chats().iter().all(|chat| chat.json()["model"] == "m1"), "{:?}", a.chats());
}

#[test]
fn a_tier_is_named_in_any_case() {
    let (_a, _b, daemon) = two(TIERS);
    for name in ["COMPLEX", "complex", "Complex"] {
        assert_eq!(said(&post_chat(daemon.port(), ask(name))), "from b", "{name}");
    }
    assert_eq!(said(&post_chat(daemon.port(), ask("light"))), "from a");
}

#[test]
fn an_alias_stands_for_a_model() {
    let (_a, b, daemon) = two(&format!("{TIERS}[aliases]\n\"gpt-4o\" = \"b/m7\"\n"));
    assert_eq!(said(&post_chat(daemon.port(), ask("gpt-4o"))), "from b");
    assert_eq!(b.chats()[0].json()["model"], "m7");
}

#[test]
fn an_alias_stands_for_a_tier() {
    let (_a, _b, daemon) = two(&format!("{TIERS}[aliases]\n\"gpt-4o\" = \"COMPLEX\"\n"));
    assert_eq!(said(&post_chat(daemon.port(), ask("gpt-4o"))), "from b");
}

#[test]
fn an_alias_stands_for_a_list_that_is_its_chain() {
    let (a, b, daemon) = two(&format!("{TIERS}[aliases]\n\"fast\" = [\"b/m1\", \"a/m2\"]\n"));
    b.then(Reply::status(503));
    assert_eq!(said(&post_chat(daemon.port(), ask("fast"))), "from a");
    assert_eq!((b.chats()[0].json()["model"].clone(), a.chats()[0].json()["model"].clone()), (json!("m1"), json!("m2")));
}

#[test]
fn an_alias_stands_for_auto() {
    let (_a, _b, daemon) = two(&format!("{TIERS}[aliases]\n\"gpt-4o\" = \"auto\"\n"));
    assert_eq!(said(&post_chat(daemon.port(), ask("gpt-4o"))), "from a");
}

#[test]
fn an_alias_comes_before_a_tier_and_a_model_of_the_same_name() {
    let (_a, _b, daemon) = two(&format!("{TIERS}[aliases]\n\"LIGHT\" = \"b/m1\"\n\"a/m1\" = \"b/m1\"\n"));
    assert_eq!(said(&post_chat(daemon.port(), ask("LIGHT"))), "from b");
    assert_eq!(said(&post_chat(daemon.port(), ask("a/m1"))), "from b");
}

#[test]
fn the_star_stands_for_every_name_that_nobody_knows() {
    let (_a, _b, daemon) = two(&format!("{TIERS}[aliases]\n\"*\" = \"COMPLEX\"\n"));
    assert_eq!(said(&post_chat(daemon.port(), ask("gpt-99-turbo"))), "from b");
    assert_eq!(said(&post_chat(daemon.port(), ask("nobody/knows"))), "from b");
    assert_eq!(said(&post_chat(daemon.port(), ask("light"))), "from a");
}

#[test]
fn provider_slash_model_is_asked_at_that_provider_by_its_own_id() {
    let (_a, b, daemon) = two(TIERS);
    assert_eq!(said(&post_chat(daemon.port(), ask("b/m1"))), "from b");
    assert_eq!(b.chats()[0].json()["model"], "m1");
}

#[test]
fn a_listed_model_can_be_asked_for_by_its_bare_name() {
    let (a, b) = (Provider::start(), Provider::start());
    a.model_ids(&["m1"]);
    b.model_ids(&["m1", "qwen/qwen3-32b"]);
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    assert_eq!(post_chat(daemon.port(), ask("qwen/qwen3-32b")).status, 200);
    assert_eq!(b.chats()[0].json()["model"], "qwen/qwen3-32b");
    assert_eq!(a.count(), 0);
}

#[test]
fn a_named_model_falls_back_to_the_same_model_elsewhere_and_then_to_its_tier() {
    let (a, b, c) = (Provider::start(), Provider::start(), Provider::start());
    a.model_ids(&["big"]);
    b.model_ids(&["big"]);
    c.model_ids(&["m1"]);
    for provider in [&a, &b] {
        provider.always(Reply::status(503));
    }
    let config = chain_config_with(&[("c", &c)], "").replace("only = [\"c\"]", "only = [\"a\", \"b\", \"c\"]");
    let daemon = Daemon::start(format!("{}{}{config}", table("a", &a), table("b", &b)));
    assert_eq!(said(&post_chat(daemon.port(), ask("a/big"))), "hello");
    let chain = daemon.wait_logs(1)[0]["chain"].clone();
    assert_eq!(chain, json!(["a/big", "b/big", "c/m1"]));
    assert_eq!((a.count(), b.count(), c.count()), (1, 1, 1));
}

#[test]
fn the_profile_direct_is_a_chain_of_one() {
    let (a, b, daemon) = two(TIERS);
    a.always(Reply::status(503));
    let response = post_chat(daemon.port(), ask_with(&json!({"model": "a/m1", "routor_profile": "direct"})));
    assert_eq!(response.status, 502);
    assert_eq!((a.count(), b.count()), (1, 0));
    assert_eq!(daemon.wait_logs(1)[0]["chain"], json!(["a/m1"]));
}

#[test]
fn the_profile_tier_goes_by_routor_tier() {
    let (_a, b, daemon) = two(TIERS);
    let fields = json!({"model": "a/m1", "routor_profile": "tier", "routor_tier": "COMPLEX"});
    assert_eq!(said(&post_chat(daemon.port(), ask_with(&fields))), "from b");
    assert_eq!(b.count(), 1);
}

#[test]
fn routor_fields_do_not_go_upstream() {
    let (_a, b, daemon) = two(TIERS);
    let fields = json!({"routor_profile": "tier", "routor_tier": "complex", "routor_later": {"x": 1}, "user": "u"});
    assert_eq!(post_chat(daemon.port(), ask_with(&fields)).status, 200);
    let sent = b.chats()[0].json();
    let names: Vec<&String> = sent.as_object().unwrap().keys().filter(|name| name.starts_with("routor_")).collect();
    assert!(names.is_empty(), "{names:?}");
    assert_eq!(sent["user"], "u");
}

/// `deepseek/deepseek-v4-pro` is a model of the catalogue that reads no images.
fn blind(provider: &Provider) -> String {
    provider.model_ids(&["deepseek-v4-pro"]).always(Reply::answer("blind"));
    table("deepseek", provider)
}

fn picture(model: &str) -> String {
    let content = json!([{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]);
    json!({"model": model, "messages": [{"role": "user", "content": content}]}).to_string()
}

#[test]
fn a_model_that_reads_no_images_is_left_out_for_an_image() {
    let (a, deepseek) = (Provider::start(), Provider::start());
    let tiers = "[tiers]\nLIGHT = [\"deepseek/deepseek-v4-pro\", \"a/m1\"]\n[pool]\nonly = [\"a\", \"deepseek\"]\n";
    let daemon = Daemon::start(format!("{}{}{tiers}", table("a", &a), blind(&deepseek)));
    assert_eq!(said(&post_chat(daemon.port(), ask("LIGHT"))), "blind");
    assert_eq!(said(&post_chat(daemon.port(), picture("LIGHT"))), "hello");
    let record = daemon.wait_logs(2).remove(1);
    assert_eq!(record["skipped"], json!([{"provider": "deepseek", "model": "deepseek-v4-pro", "why": "vision"}]), "{record}");
    assert_eq!(record["outcome"], "served", "{record}");
}

#[test]
fn when_a_tier_cannot_do_it_the_next_tier_up_is_asked() {
    let (a, deepseek) = (Provider::start(), Provider::start());
    let blind_ones = "[\"deepseek/deepseek-v4-pro\"]";
    let tiers = format!(
        "[tiers]\nNANO = [\"a/low\"]\nSIMPLE = [\"a/low\"]\nLIGHT = {blind_ones}\nSTANDARD = {blind_ones}\nCOMPLEX = [\"a/m1\"]\n[pool]\nonly = [\"a\", \"deepseek\"]\n"
    );
    let daemon = Daemon::start(format!("{}{}{tiers}", table("a", &a), blind(&deepseek)));
    assert_eq!(said(&post_chat(daemon.port(), picture("LIGHT"))), "hello");
    assert_eq!(a.chats()[0].json()["model"], "m1");
}

#[test]
fn when_no_model_can_do_it_the_400_names_the_filter() {
    let deepseek = Provider::start();
    let blind_ones = "[\"deepseek/deepseek-v4-pro\"]";
    let tiers = format!(
        "[tiers]\nNANO = {blind_ones}\nSIMPLE = {blind_ones}\nLIGHT = {blind_ones}\nSTANDARD = {blind_ones}\nCOMPLEX = {blind_ones}\n[pool]\nonly = [\"deepseek\"]\n"
    );
    let daemon = Daemon::start(format!("{}{tiers}", blind(&deepseek)));
    let message = own_error(&post_chat(daemon.port(), picture("LIGHT")), 400, "no_capable_model");
    assert!(message.contains("image") || message.contains("vision"), "{message}");
    assert_eq!(deepseek.count(), 0);
}

#[test]
fn an_unknown_capability_excludes_nothing() {
    let (a, daemon) = one_with("[models.\"a/m1\"]\ncapabilities = [\"tools\"]\n");
    assert_eq!(post_chat(daemon.port(), picture("auto")).status, 200);
    assert_eq!(a.count(), 1);
}

/// A provider that is not on this machine, as routor sees it: its address is
/// private and behind a proxy, which answers for it.
fn far_config(near: &Provider, extra: &str) -> String {
    let far = "[providers.far]\nbase_url = \"http://10.255.255.1:8000/v1\"\napi_key_env = \"\"\n";
    let tiers = "[tiers]\nNANO = [\"far/m1\"]\nSIMPLE = [\"far/m1\"]\nLIGHT = [\"near/m1\", \"far/m1\"]\nSTANDARD = [\"far/m1\"]\nCOMPLEX = [\"far/m1\"]\n";
    format!("{}{far}[pool]\nonly = [\"near\", \"far\"]\n{tiers}{extra}", table("near", near))
}

fn near_and_far(aliases: &str) -> (Provider, Provider, Daemon) {
    let (near, proxy) = (Provider::start(), Provider::start());
    near.always(Reply::status(503));
    // It is asked to open a tunnel, and then stands for the far end itself.
    proxy.on(":8000", Reply::raw("HTTP/1.1 200 Connected\r\n\r\n")).always(Reply::answer("from far"));
    let url = format!("http://127.0.0.1:{}", proxy.port());
    let daemon = Daemon::builder().config(far_config(&near, aliases)).env("HTTP_PROXY", &url).env("http_proxy", &url).start();
    (near, proxy, daemon)
}

#[test]
fn a_chain_without_local_only_may_leave_the_machine() {
    let (near, proxy, daemon) = near_and_far("[aliases]\n\"open\" = \"LIGHT\"\n");
    assert_eq!(said(&post_chat(daemon.port(), ask("open"))), "from far");
    assert_eq!((near.count(), proxy.count()), (1, 1));
}

#[test]
fn a_local_only_alias_never_leaves_the_machine() {
    let aliases = "[aliases]\n\"tier\" = { to = \"LIGHT\", local_only = true }\n\"model\" = { to = \"near/m1\", local_only = true }\n\"list\" = { to = [\"far/m1\", \"near/m1\"], local_only = true }\n";
    let (near, proxy, daemon) = near_and_far(aliases);
    for alias in ["tier", "model", "list"] {
        assert_eq!(post_chat(daemon.port(), ask(alias)).status, 502, "{alias}");
    }
    assert_eq!((near.count(), proxy.count()), (3, 0));
}

#[test]
fn a_local_only_alias_of_remote_models_alone_is_refused() {
    let (near, proxy, daemon) = near_and_far("[aliases]\n\"far\" = { to = \"far/m1\", local_only = true }\n");
    let response = post_chat(daemon.port(), ask("far"));
    if response.status != 502 {
        own_error(&response, 400, "no_capable_model");
    }
    assert_eq!(proxy.count(), 0);
    drop(near);
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
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", daemon.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n",
        body.len()
    );
    std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
    let mut first = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    std::io::Write::write_all(&mut stream, body.as_bytes()).unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn d128_a_body_that_is_too_large_is_refused_before_100_continue() {
    let (a, daemon) = one_with(SMALL);
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 5000\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n"
    );
    let answer = String::from_utf8_lossy(&raw(daemon.port(), head)).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert_eq!(a.count(), 0);
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
fn random_bytes_do_not_disturb_others() {
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

#[test]
fn the_ipv6_loopback_is_served_beside_the_default_address() {
    let (_a, daemon) = one();
    let Ok(mut stream) = std::net::TcpStream::connect(("::1", daemon.port())) else {
        assert!(std::net::TcpListener::bind("[::1]:0").is_err(), "::1 exists here and is not served");
        return;
    };
    std::io::Write::write_all(&mut stream, b"GET /health HTTP/1.1\r\nhost: [::1]\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn d211_other_addresses_of_the_machine_are_not_listened_on() {
    let (_a, daemon) = one();
    assert!(Client::try_connect(daemon.port()).is_ok());
    assert!(std::net::TcpStream::connect(("127.0.0.9", daemon.port())).is_err());
}
