//! `/api/providers` and `/api/requests`, which the web page and scripts read:
//! their shapes, their pages and filters, and who may ask.

mod port;
mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use port::{CHAT, JSON, no_cors, own_error};
use serde_json::{Value, json};
use support::{Client, Daemon, Provider, Reply, Response, Step, chain_config, chain_config_with, content, get, post, role};

const ROUTES: [&str; 3] = ["/api/providers", "/api/requests", "/api/events"];

fn body(fields: &Value) -> String {
    port::ask_with(fields)
}

/// A chat call with this id and these fields.
#[track_caller]
fn call(daemon: &Daemon, id: &str, fields: &Value) -> Response {
    post(daemon.port(), CHAT, &[("x-request-id", id)], body(fields))
}

/// What a GET of this path gives as JSON.
#[track_caller]
fn read(daemon: &Daemon, path: &str) -> Value {
    let response = get(daemon.port(), path);
    assert_eq!(response.status, 200, "{path}: {}", response.text());
    assert!(response.header("content-type").is_some_and(|kind| kind.starts_with("application/json")), "{:?}", response.headers);
    response.json()
}

/// The row of this provider in `/api/providers`.
#[track_caller]
fn row(daemon: &Daemon, name: &str) -> Value {
    let rows = read(daemon, "/api/providers");
    let list = rows.as_array().unwrap_or_else(|| panic!("not an array: {rows}"));
    list.iter().find(|row| row["provider"] == name).unwrap_or_else(|| panic!("no row of {name}: {rows}")).clone()
}

/// The ids of a page of `/api/requests`.
fn ids(page: &Value) -> Vec<String> {
    let requests = page["requests"].as_array().unwrap_or_else(|| panic!("no requests: {page}"));
    requests.iter().map(|record| record["id"].as_str().expect("an id").to_owned()).collect()
}

#[track_caller]
fn found(daemon: &Daemon, query: &str) -> Vec<String> {
    ids(&read(daemon, &format!("/api/requests{query}")))
}

/// Every id, page after page of this size; `between` runs after each page.
#[track_caller]
fn walk(daemon: &Daemon, limit: usize, mut between: impl FnMut()) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = read(daemon, &format!("/api/requests?limit={limit}{cursor}"));
        let own = ids(&page);
        assert!(own.len() <= limit, "{} records on a page of {limit}", own.len());
        all.extend(own);
        let Some(next) = page["next"].as_str() else { return all };
        cursor = format!("&cursor={next}");
        between();
        assert!(all.len() < 10_000, "the pages have no end");
    }
}

/// Providers `a` and `b` and one request of every outcome, its id the outcome;
/// `other` asked for another model.
fn history() -> (Provider, Provider, Daemon) {
    let (a, b) = (Provider::start(), Provider::start());
    b.model_ids(&["m1", "m2"]);
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    let auto = json!({"model": "auto"});
    assert_eq!(call(&daemon, "served", &auto).status, 200);
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, "fallback", &auto).status, 200);
    a.then(Reply::status(503));
    b.then(Reply::status(500));
    assert_eq!(call(&daemon, "failed", &auto).status, 502);
    assert_eq!(call(&daemon, "rejected", &json!({"model": "nobody-knows-it"})).status, 404);
    a.then(Reply::events_then(vec![role(), content("half")], Step::Close));
    let mut stream = daemon.client();
    stream.send("POST", CHAT, &[JSON, ("x-request-id", "partial")], body(&json!({"stream": true})));
    stream.read_stream().read_to_end();
    a.then(Reply::hang());
    let mut leaver = daemon.client();
    leaver.send("POST", CHAT, &[JSON, ("x-request-id", "client_closed")], body(&auto));
    a.wait_for_chats(5);
    drop(leaver);
    daemon.wait_logs(6);
    assert_eq!(call(&daemon, "other", &json!({"model": "b/m2"})).status, 200);
    (a, b, daemon)
}

const ALL: [&str; 7] = ["other", "client_closed", "partial", "rejected", "failed", "fallback", "served"];

// --- Providers ---

#[test]
fn a_provider_has_the_documented_fields() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let rows = read(&daemon, "/api/providers");
    assert_eq!(rows.as_array().map(Vec::len), Some(1), "{rows}");
    let row = &rows[0];
    for (field, fits) in [
        ("provider", row["provider"] == "a"),
        ("in_pool", row["in_pool"] == true),
        ("validation", row["validation"] == "ok"),
        ("status", row["status"] == "no_data"),
        ("attempts", row["attempts"] == 0),
        ("error_rate", row["error_rate"].is_null()),
        ("p50_ms", row["p50_ms"].is_null()),
        ("p95_ms", row["p95_ms"].is_null()),
        ("last_checked", row["last_checked"].is_string()),
        ("models", row["models"] == json!([{"model": "m1", "state": "ready", "cooling_ms": 0}])),
    ] {
        assert!(row.get(field).is_some() && fits, "{field}: {row}");
    }
    let time = row["last_checked"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
}

#[test]
fn the_last_five_minutes_are_thirty_points() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    assert_eq!(call(&daemon, "x", &json!({})).status, 200);
    a.then(Reply::status(503));
    call(&daemon, "y", &json!({}));
    let row = row(&daemon, "a");
    let series = row["series"].as_array().expect("a series");
    assert_eq!(series.len(), 30, "{row}");
    let sum = |field: &str| -> u64 { series.iter().map(|point| point[field].as_u64().expect("a count")).sum() };
    assert_eq!((sum("ok"), sum("failed")), (1, 1), "{row}");
    assert!(series.iter().all(|point| point["p50_ms"].is_null() || point["p50_ms"].is_u64()), "{row}");
    // Oldest first: what has just happened is at the end.
    assert!(series[..25].iter().all(|point| point["ok"] == 0), "{row}");
}

#[test]
fn the_figures_count_attempts_and_failures() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    for _ in 0..9 {
        assert_eq!(call(&daemon, "x", &json!({"stream": true})).status, 200);
    }
    a.then(Reply::status(500));
    assert_eq!(call(&daemon, "x", &json!({})).status, 200);
    let (first, second) = (row(&daemon, "a"), row(&daemon, "b"));
    assert_eq!((&first["attempts"], &first["error_rate"], &first["status"]), (&json!(10), &json!(0.1), &json!("degraded")), "{first}");
    assert!(first["why"].as_str().is_some_and(|why| why.contains("10 %")), "{first}");
    assert!(first["p50_ms"].is_u64() && first["p95_ms"].as_u64() >= first["p50_ms"].as_u64(), "{first}");
    assert_eq!((&second["attempts"], &second["status"], &second["why"]), (&json!(1), &json!("no_data"), &Value::Null), "{second}");
}

#[test]
fn a_rate_limited_model_is_shown_as_cooling_with_the_time_left() {
    let (a, b) = (Provider::start(), Provider::start());
    a.model_ids(&["m1", "m2"]);
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    a.then(Reply::status(429).with_header("retry-after", "120"));
    assert_eq!(call(&daemon, "x", &json!({})).status, 200);
    let row = row(&daemon, "a");
    let model = |id: &str| row["models"].as_array().unwrap().iter().find(|model| model["model"] == id).expect("the model").clone();
    let cooling = model("m1");
    assert_eq!(cooling["state"], "cooling", "{row}");
    assert!(cooling["cooling_ms"].as_u64().is_some_and(|left| (60_000..=120_000).contains(&left)), "{row}");
    assert_eq!((&model("m2")["state"], &model("m2")["cooling_ms"]), (&json!("ready"), &json!(0)), "{row}");
}

#[test]
fn a_provider_without_credit_cools_with_all_its_models_and_says_why() {
    let (a, b) = (Provider::start(), Provider::start());
    a.model_ids(&["m1", "m2"]);
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    a.then(Reply::status(402));
    assert_eq!(call(&daemon, "x", &json!({})).status, 200);
    let row = row(&daemon, "a");
    assert_eq!(row["why"], "no credit", "{row}");
    assert!(row["models"].as_array().unwrap().iter().all(|model| model["state"] == "cooling"), "{row}");
}

#[test]
fn a_provider_that_only_fails_is_down_and_says_how_much() {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::status(503));
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    for _ in 0..6 {
        assert_eq!(call(&daemon, "x", &json!({})).status, 200);
    }
    let row = row(&daemon, "a");
    assert_eq!((&row["status"], &row["error_rate"], &row["in_pool"]), (&json!("down"), &json!(1.0), &json!(true)), "{row}");
    assert!(row["why"].as_str().is_some_and(|why| why.contains("100 %")), "{row}");
    assert_eq!(row["models"][0]["state"], "cooling", "{row}");
}

#[test]
fn a_removed_provider_stays_listed_with_the_reason() {
    let (good, dead, bad) = (Provider::start(), Provider::start(), Provider::start());
    dead.stop();
    bad.models(Reply::json(401, r#"{"error":{"message":"Incorrect API key provided: canary-0123456789"}}"#));
    let config =
        chain_config(&[("good", &good), ("dead", &dead), ("bad", &bad)]).replacen("api_key_env = \"\"", "api_key_env = \"B_KEY\"", 3);
    let config = config.replacen("api_key_env = \"B_KEY\"", "api_key_env = \"\"", 2);
    let daemon = Daemon::builder().config(config).env("B_KEY", "canary-0123456789").start();
    for (name, validation) in [("dead", "unreachable"), ("bad", "rejected")] {
        let row = row(&daemon, name);
        assert_eq!(
            (&row["in_pool"], &row["validation"], &row["status"]),
            (&json!(false), &json!(validation), &json!("down")),
            "{name}: {row}"
        );
        assert!(row["why"].as_str().is_some_and(|why| !why.is_empty()), "{row}");
    }
    assert_eq!(row(&daemon, "good")["in_pool"], true);
    assert!(!get(daemon.port(), "/api/providers").text().contains("canary"), "a key is shown");
}

#[test]
fn a_provider_whose_key_is_refused_later_is_out_of_the_pool() {
    let (a, b) = (Provider::start(), Provider::start());
    let config = chain_config(&[("a", &a), ("b", &b)]).replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    let daemon = Daemon::builder().config(config).env("A_KEY", "sk-canary-0123456789").start();
    a.models(Reply::status(401));
    a.always(Reply::status(401));
    assert_eq!(call(&daemon, "x", &json!({})).status, 200);
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let row = row(&daemon, "a");
        assert_eq!((&row["in_pool"], &row["status"]), (&json!(false), &json!("down")), "{row}");
        if row["validation"] == "rejected" {
            break;
        }
        assert!(Instant::now() < until, "its key was not looked at: {row}");
    }
}

#[test]
fn a_local_server_that_nobody_named_and_that_is_absent_is_not_listed() {
    let a = Provider::start();
    // Without `[pool] only`, so that Ollama and LM Studio are looked for.
    let config = format!("[providers.a]\nbase_url = \"{}\"\napi_key_env = \"\"\n", a.base_url());
    let daemon = Daemon::start(config);
    let rows = read(&daemon, "/api/providers");
    assert!(rows.as_array().unwrap().iter().all(|row| row["provider"] == "a" || row["in_pool"] == true), "{rows}");
}

// --- Who may ask ---

#[test]
fn a_client_key_is_needed_when_one_is_set() {
    let a = Provider::start();
    let daemon = Daemon::builder().config(chain_config(&[("a", &a)])).env("ROUTOR_API_KEY", "client-key-1").start();
    for route in ROUTES {
        own_error(&get(daemon.port(), route), 401, "invalid_api_key");
        own_error(&daemon.client().request("GET", route, &[("authorization", "Bearer client-key-2")], ""), 401, "invalid_api_key");
        // The key has no business in the query, where it would be logged.
        assert_eq!(get(daemon.port(), &format!("{route}?key=client-key-1")).status, 401);
        let mut client = daemon.client();
        client.send("GET", route, &[("authorization", "Bearer client-key-1")], "");
        assert_eq!(client.read_stream().status, 200, "{route}");
    }
}

#[test]
fn head_gives_the_head_alone() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let mut client = daemon.client();
    for route in ["/api/providers", "/api/requests"] {
        let response = client.request("HEAD", route, &[], "");
        assert_eq!((response.status, response.body.len()), (200, 0), "{route}");
        assert!(response.header("content-length").is_some_and(|length| length != "0"), "{route}: {:?}", response.headers);
    }
    // A feed has no end, so there is no head of it either; it must not hang.
    assert_eq!(client.request("HEAD", "/api/events", &[], "").status, 405);
}

#[test]
fn other_methods_are_told_the_right_one() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    for route in ROUTES {
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let response = daemon.client().request(method, route, &[JSON], "{}");
            own_error(&response, 405, "method_not_allowed");
            assert!(response.header("allow").is_some_and(|allow| allow.contains("GET")), "{method} {route}: {:?}", response.headers);
        }
    }
    own_error(&get(daemon.port(), "/api"), 404, "not_found");
    own_error(&get(daemon.port(), "/api/nothing"), 404, "not_found");
}

#[test]
fn other_hosts_and_web_pages_are_turned_away() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    for route in ROUTES {
        for header in [("host", "evil.com"), ("origin", "https://evil.com"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
            let response = daemon.client().request("GET", route, &[header], "");
            own_error(&response, 403, "forbidden");
            no_cors(&response);
        }
        let mut client = daemon.client();
        client.send("GET", route, &[("sec-fetch-site", "same-origin")], "");
        assert_eq!(client.read_stream().status, 200, "{route}");
    }
}

// --- Requests ---

#[test]
fn requests_are_given_newest_first_and_are_those_of_the_log() {
    let (_a, _b, daemon) = history();
    let page = read(&daemon, "/api/requests");
    assert_eq!(ids(&page), ALL);
    assert_eq!(page["next"], Value::Null, "{page}");
    let mut logged = daemon.logs();
    logged.reverse();
    assert_eq!(page["requests"], json!(logged));
}

#[test]
fn a_log_without_a_request_is_an_empty_page() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let page = read(&daemon, "/api/requests");
    assert_eq!((&page["requests"], &page["next"]), (&json!([]), &Value::Null), "{page}");
}

#[test]
fn limit_is_the_size_of_a_page() {
    let (_a, _b, daemon) = history();
    let page = read(&daemon, "/api/requests?limit=2");
    assert_eq!(ids(&page), ["other", "client_closed"]);
    assert!(page["next"].is_string(), "{page}");
    assert_eq!(found(&daemon, "?limit=500"), ALL);
    let none = read(&daemon, "/api/requests?limit=0");
    assert_eq!((&none["requests"], &none["next"]), (&json!([]), &Value::Null), "{none}");
}

#[test]
fn pages_join_without_gap_and_double() {
    let (_a, _b, daemon) = history();
    for limit in 1..=8 {
        assert_eq!(walk(&daemon, limit, || {}), ALL, "pages of {limit}");
    }
}

#[test]
fn pages_join_with_a_filter_too() {
    let (_a, _b, daemon) = history();
    let first = read(&daemon, "/api/requests?limit=2&provider=a");
    let next = first["next"].as_str().expect("a cursor");
    let second = read(&daemon, &format!("/api/requests?limit=10&provider=a&cursor={next}"));
    assert_eq!([ids(&first), ids(&second)].concat(), ["client_closed", "partial", "failed", "fallback", "served"]);
}

#[test]
fn pages_join_while_new_requests_arrive() {
    let a = Provider::start();
    let daemon = Arc::new(Daemon::start(chain_config(&[("a", &a)])));
    let before: Vec<String> = (0..40).map(|number| format!("old-{number}")).collect();
    let mut client = daemon.client();
    for id in &before {
        let headers = [JSON, ("x-request-id", id.as_str())];
        assert_eq!(client.request("POST", CHAT, &headers, body(&json!({}))).status, 200);
    }
    let stop = Arc::new(AtomicBool::new(false));
    let sender = {
        let (daemon, stop) = (Arc::clone(&daemon), Arc::clone(&stop));
        thread::spawn(move || {
            let mut client = daemon.client();
            while !stop.load(Ordering::SeqCst) {
                assert_eq!(client.post_chat(body(&json!({}))).status, 200);
            }
        })
    };
    let mut new = 0;
    let seen = walk(&daemon, 7, || {
        new += 1;
        assert_eq!(call(&daemon, &format!("new-{new}"), &json!({})).status, 200);
    });
    stop.store(true, Ordering::SeqCst);
    sender.join().unwrap();
    assert_eq!(seen.iter().collect::<HashSet<_>>().len(), seen.len(), "some are there twice");
    let old: Vec<&String> = seen.iter().filter(|id| id.starts_with("old-")).collect();
    assert_eq!(old, before.iter().rev().collect::<Vec<_>>());
}

#[test]
fn a_request_is_there_as_soon_as_it_is_answered() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    // The log is written in batches; who asks gets what is still waiting as well.
    for number in 0..20 {
        let id = format!("r{number}");
        assert_eq!(call(&daemon, &id, &json!({})).status, 200);
        let until = Instant::now() + Duration::from_secs(2);
        while found(&daemon, "?limit=1") != [id.as_str()] {
            assert!(Instant::now() < until, "{id} is not there");
        }
    }
}

#[test]
fn outcome_shows_those_that_ended_like_this() {
    let (_a, _b, daemon) = history();
    for outcome in ["fallback", "failed", "partial", "client_closed", "rejected"] {
        assert_eq!(found(&daemon, &format!("?outcome={outcome}")), [outcome]);
    }
    assert_eq!(found(&daemon, "?outcome=served"), ["other", "served"]);
}

#[test]
fn provider_model_id_and_since_pick_requests() {
    let (_a, _b, daemon) = history();
    for (query, wanted) in [
        ("?provider=b", &["other", "failed", "fallback"][..]),
        ("?provider=nobody", &[]),
        ("?model=m2", &["other"]),
        ("?model=b%2Fm2", &["other"]),
        ("?model=b/m2", &["other"]),
        ("?model=nobody-knows-it", &["rejected"]),
        ("?model=nobody", &[]),
        ("?id=partial", &["partial"]),
        ("?id=", &[]),
        ("?provider=b&outcome=failed", &["failed"]),
        ("?provider=b&outcome=served&limit=1", &["other"]),
        ("?since=0s", &[]),
    ] {
        assert_eq!(found(&daemon, query), wanted, "{query}");
    }
    assert_eq!(found(&daemon, "?since=1h"), ALL);
    assert_eq!(found(&daemon, "?since=1h%2030m"), ALL);
}

#[test]
fn a_value_is_never_part_of_the_statement() {
    let (_a, _b, daemon) = history();
    for evil in ["%27", "x%27%20OR%20%271%27=%271", "%25", "_", "%00", "%ff%fe", "%22", "a%27--", "%2a"] {
        for name in ["provider", "model", "id"] {
            assert!(found(&daemon, &format!("?{name}={evil}")).is_empty(), "{name}={evil}");
        }
    }
}

#[test]
fn a_wrong_value_is_a_400_that_names_its_parameter() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    for (query, param) in [
        ("limit=-1", "limit"),
        ("limit=501", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1.5", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=1%27", "cursor"),
        ("cursor=99999999999999999999999", "cursor"),
        ("since=soon", "since"),
        ("since=15", "since"),
        ("since=-5m", "since"),
        ("since=", "since"),
        ("outcome=bad", "outcome"),
        ("outcome=Served", "outcome"),
        ("outcome=", "outcome"),
        ("limit=5&outcome=nope", "outcome"),
    ] {
        for route in ["/api/requests", "/api/events"] {
            let response = get(daemon.port(), &format!("{route}?{query}"));
            let message = own_error(&response, 400, "invalid_request_error");
            assert_eq!(response.json()["error"]["param"], param, "{query}: {message}");
            assert!(message.contains(param), "{query}: {message}");
        }
    }
}

#[test]
fn a_parameter_that_is_not_there_is_a_400_that_lists_those_that_are() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let message = own_error(&get(daemon.port(), "/api/requests?page=2"), 400, "invalid_request_error");
    assert!(["limit", "cursor", "since", "outcome", "provider", "model", "id"].iter().all(|name| message.contains(name)), "{message}");
}

#[test]
fn no_span_of_time_is_too_long() {
    let (_a, _b, daemon) = history();
    for since in ["300y", "1000000y", "100000000000d", "18446744073709551615s"] {
        let response = get(daemon.port(), &format!("/api/requests?since={since}"));
        assert!(matches!(response.status, 200 | 400), "{since}: {}", response.text());
        if response.status == 200 {
            assert_eq!(ids(&response.json()), ALL, "{since}");
        }
    }
}

#[test]
fn a_log_that_is_switched_off_is_said() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], "[log]\nrequests = false\n"));
    assert_eq!(call(&daemon, "x", &json!({})).status, 200);
    let page = read(&daemon, "/api/requests");
    assert_eq!(page, json!({"requests": [], "next": null, "recorded": false, "unreadable": 0, "damaged": false}));
}

#[test]
fn a_store_that_has_vanished_or_is_ruined_is_no_crash() {
    let (_a, _b, daemon) = history();
    let store = daemon.state_dir().join("requests.db");
    assert_eq!(found(&daemon, ""), ALL);
    std::fs::write(&store, vec![0x5a; 20_000]).unwrap();
    let response = get(daemon.port(), "/api/requests");
    assert!(matches!(response.status, 200 | 500), "{}", response.text());
    assert!(!response.text().contains("/s/requests.db"), "a path of this machine is told: {}", response.text());
    std::fs::remove_file(&store).unwrap();
    assert!(matches!(get(daemon.port(), "/api/requests").status, 200 | 500));
    assert_eq!(call(&daemon, "after", &json!({})).status, 200);
    assert!(!daemon.stderr().contains("made a mistake"), "{}", daemon.stderr());
}

// --- Secrets ---

#[test]
fn no_prompt_answer_or_key_is_in_any_of_them() {
    let (a, b) = (Provider::start(), Provider::start());
    b.always(Reply::answer("answer-canary"));
    let config = chain_config(&[("a", &a), ("b", &b)]).replacen("api_key_env = \"\"", "api_key_env = \"A_KEY\"", 1);
    let daemon = Daemon::builder().config(config).env("A_KEY", "provider-canary-11").env("ROUTOR_API_KEY", "client-canary").start();
    a.always(Reply::json(401, r#"{"error":{"message":"Incorrect API key provided: provider-canary-11","code":"invalid_api_key"}}"#));
    a.models(Reply::json(401, r#"{"error":{"message":"Incorrect API key provided: provider-canary-11"}}"#));
    let key = ("authorization", "Bearer client-canary");
    for stream in [false, true] {
        let text = json!({"stream": stream, "messages": [{"role": "user", "content": "prompt-canary"}], "user": "user-canary"});
        assert_eq!(post(daemon.port(), CHAT, &[key, ("user-agent", "agent-canary")], text.to_string()).status, 200);
    }
    daemon.wait_logs(2);
    for route in ["/api/providers", "/api/requests", "/metrics"] {
        let text = daemon.client().request("GET", route, &[key], "").text();
        assert!(text.len() > 100 && !text.contains("canary"), "{route}: {text}");
    }
    let mut client: Client = daemon.client();
    client.send("GET", "/api/events", &[key], "");
    let mut feed = client.read_stream();
    let events = [feed.next_event().unwrap(), feed.next_event().unwrap()];
    assert!(events.iter().all(|event| event.contains("\"outcome\"") && !event.contains("canary")), "{events:?}");
}

#[test]
fn the_status_of_the_page_is_that_of_the_command() {
    let (a, dead) = (Provider::start(), Provider::start());
    dead.stop();
    let daemon = Daemon::start(chain_config(&[("a", &a), ("dead", &dead)]));
    let status: Value = serde_json::from_str(&daemon.run(&["status", "--json"]).expect_code(0).stdout).unwrap();
    for told in status["providers"].as_array().expect("providers") {
        let row = row(&daemon, told["provider"].as_str().unwrap());
        assert_eq!((&row["in_pool"], &row["validation"]), (&told["in_pool"], &told["validation"]), "{row} {told}");
    }
}
