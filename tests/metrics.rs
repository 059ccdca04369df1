//! `GET /metrics`: text that Prometheus takes without complaint, numbers that
//! are right, and label values that nobody can make grow without end.

mod exposition;
mod port;
mod support;

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use exposition::Scrape;
use port::{CHAT, JSON, ask, own_error};
use serde_json::{Value, json};
use support::{Daemon, Home, Provider, Reply, Response, Step, chain_config, chain_config_with, content, get, post, role};

#[track_caller]
fn call(daemon: &Daemon, fields: &Value) -> Response {
    post(daemon.port(), CHAT, &[], port::ask_with(fields))
}

#[track_caller]
fn scrape(daemon: &Daemon) -> Scrape {
    let response = get(daemon.port(), "/metrics");
    assert_eq!(response.status, 200, "{}", response.text());
    Scrape::read(&response.text())
}

/// Waits until this series has this value: requests are counted when their
/// record is written, a moment after the answer.
#[track_caller]
fn wait_for(daemon: &Daemon, name: &str, labels: &[(&str, &str)], value: f64) -> Scrape {
    let until = Instant::now() + Duration::from_secs(10);
    loop {
        let now = scrape(daemon);
        if now.value(name, labels) == Some(value) {
            return now;
        }
        assert!(Instant::now() < until, "{name} {labels:?} is {:?}, not {value}:\n{}", now.value(name, labels), now.text);
        thread::yield_now();
    }
}

/// One request of every outcome at providers `a` and `b`.
fn every_outcome() -> (Provider, Provider, Daemon) {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    assert_eq!(call(&daemon, &json!({"stream": true})).status, 200);
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, &json!({})).status, 200);
    a.then(Reply::status(503));
    b.then(Reply::status(500));
    assert_eq!(call(&daemon, &json!({})).status, 502);
    assert_eq!(call(&daemon, &json!({"model": "nobody-knows-it"})).status, 404);
    a.then(Reply::events_then(vec![role(), content("half")], Step::Close));
    let mut stream = daemon.client();
    stream.send("POST", CHAT, &[JSON], port::ask_with(&json!({"stream": true})));
    stream.read_stream().read_to_end();
    a.then(Reply::hang());
    let mut leaver = daemon.client();
    leaver.send("POST", CHAT, &[JSON], ask("auto"));
    a.wait_for_chats(5);
    drop(leaver);
    wait_for(&daemon, "routor_requests_total", &[("outcome", "client_closed")], 1.0);
    (a, b, daemon)
}

// --- The text ---

#[test]
fn the_content_type_is_prometheus_text() {
    let (_a, daemon) = port::one();
    let kind = get(daemon.port(), "/metrics").header("content-type").map(str::to_owned);
    assert_eq!(kind.as_deref(), Some("text/plain; version=0.0.4; charset=utf-8"));
}

#[test]
fn the_text_keeps_all_rules_before_the_first_request() {
    let (_a, daemon) = port::one();
    scrape(&daemon).check();
}

#[test]
fn the_text_keeps_all_rules_after_every_outcome() {
    let (_a, _b, daemon) = every_outcome();
    assert_eq!(get(daemon.port(), "/nowhere").status, 404);
    let scrape = scrape(&daemon);
    scrape.check();
    for family in [
        "routor_build_info",
        "routor_requests_total",
        "routor_fallbacks_total",
        "routor_attempts_total",
        "routor_request_duration_seconds",
        "routor_first_content_seconds",
        "routor_errors_total",
        "routor_panics_total",
        "routor_log_dropped_total",
        "routor_pool_providers",
        "routor_provider_in_pool",
        "routor_breaker_state",
    ] {
        assert!(scrape.families.iter().any(|known| known.name == family), "{family} is not in\n{}", scrape.text);
    }
}

#[test]
fn promtool_has_nothing_to_say() {
    if Command::new("promtool").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        eprintln!("not run: promtool is not on PATH (Debian package prometheus); the rules of tests/exposition are checked all the same");
        return;
    }
    let (_a, _b, daemon) = every_outcome();
    let text = get(daemon.port(), "/metrics").text();
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool");
    promtool.stdin.take().expect("a pipe").write_all(text.as_bytes()).unwrap();
    let done = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success() && said.trim().is_empty(), "{said}\n{text}");
}

/// Names that would end a label value, a line, or begin a series of their own.
const ODD: [&str; 4] = ["quo\"te", "back\\slash", "two lines 1", "x\",provider=\"forged"];

#[test]
fn odd_names_of_providers_and_models_are_escaped() {
    let a = Provider::start();
    let ids = ODD;
    a.model_ids(&ids);
    let table = |name: &&str| format!("[providers.{}]\nbase_url = \"{}\"\napi_key_env = \"\"\n", json!(name), a.base_url());
    let only: Vec<String> = ODD.iter().map(|name| json!(name).to_string()).collect();
    let config = format!("{}[pool]\nonly = [{}]\n", ODD.iter().map(table).collect::<String>(), only.join(", "));
    let daemon = Daemon::start(config);
    for (name, id) in ODD.iter().zip(&ids) {
        assert_eq!(call(&daemon, &json!({"model": format!("{name}/{id}"), "routor_profile": "direct"})).status, 200, "{name:?}");
    }
    for (name, id) in ODD.iter().zip(&ids) {
        let labels = [("provider", *name), ("model", *id), ("class", "ok")];
        wait_for(&daemon, "routor_attempts_total", &labels, 1.0).check();
    }
    let scrape = scrape(&daemon);
    assert!(ODD.iter().all(|name| scrape.value("routor_provider_in_pool", &[("provider", name)]) == Some(1.0)), "{}", scrape.text);
    assert_eq!(scrape.value("routor_provider_in_pool", &[("provider", "forged")]), None);
}

#[test]
fn many_readers_at_once_get_the_whole_text() {
    let (_a, _b, daemon) = every_outcome();
    let port = daemon.port();
    let readers: Vec<_> = (0..6)
        .map(|_| {
            thread::spawn(move || {
                for _ in 0..10 {
                    let scrape = Scrape::read(&get(port, "/metrics").text());
                    scrape.check();
                    assert_eq!(scrape.value("routor_pool_providers", &[]), Some(2.0));
                    assert_eq!(scrape.all("routor_provider_in_pool").count(), 2);
                }
            })
        })
        .collect();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

// --- Who may ask ---

#[test]
fn guards_and_the_client_key_hold_for_metrics_too() {
    let a = Provider::start();
    let daemon = Daemon::builder().config(chain_config(&[("a", &a)])).env("ROUTOR_API_KEY", "client-key-1").start();
    own_error(&get(daemon.port(), "/metrics"), 401, "invalid_api_key");
    let key = ("authorization", "Bearer client-key-1");
    let mut client = daemon.client();
    for (header, code) in [(("host", "evil.com"), 403), (("origin", "https://evil.com"), 403), (("accept", "text/plain"), 200)] {
        assert_eq!(client.request("GET", "/metrics", &[key, header], "").status, code, "{header:?}");
    }
    assert_eq!(client.request("HEAD", "/metrics", &[key], "").body.len(), 0);
    own_error(&client.request("POST", "/metrics", &[key, JSON], "{}"), 405, "method_not_allowed");
}

// --- The numbers ---

#[test]
fn requests_are_counted_by_outcome() {
    let (_a, _b, daemon) = every_outcome();
    let scrape = scrape(&daemon);
    for outcome in ["served", "fallback", "failed", "partial", "client_closed", "rejected"] {
        let labels = [("outcome", outcome)];
        assert_eq!(scrape.value("routor_requests_total", &labels), Some(1.0), "{outcome}\n{}", scrape.text);
        assert_eq!(scrape.value("routor_request_duration_seconds_count", &labels), Some(1.0), "{outcome}\n{}", scrape.text);
    }
    assert_eq!(scrape.value("routor_fallbacks_total", &[]), Some(1.0), "{}", scrape.text);
}

#[test]
fn attempts_are_counted_by_provider_model_and_class() {
    let (_a, _b, daemon) = every_outcome();
    let scrape = scrape(&daemon);
    for (provider, class, count) in [
        ("a", "ok", 1.0),
        ("a", "overloaded", 2.0),
        ("a", "truncated", 1.0),
        ("a", "client_closed", 1.0),
        ("b", "ok", 1.0),
        ("b", "server_error", 1.0),
    ] {
        let labels = [("provider", provider), ("model", "m1"), ("class", class)];
        assert_eq!(scrape.value("routor_attempts_total", &labels), Some(count), "{provider} {class}\n{}", scrape.text);
    }
    let attempts: f64 = scrape.all("routor_attempts_total").map(|sample| sample.value).sum();
    assert_eq!(attempts, 7.0, "{}", scrape.text);
}

#[test]
fn the_time_to_the_first_content_is_that_of_streams() {
    let (_a, daemon) = port::one();
    for stream in [true, true, false] {
        assert_eq!(call(&daemon, &json!({"stream": stream})).status, 200);
    }
    let scrape = wait_for(&daemon, "routor_requests_total", &[("outcome", "served")], 3.0);
    assert_eq!(scrape.value("routor_first_content_seconds_count", &[("provider", "a")]), Some(2.0), "{}", scrape.text);
    let sum = scrape.value("routor_first_content_seconds_sum", &[("provider", "a")]).expect("a sum");
    assert!(sum < 5.0, "in seconds: {sum}");
}

#[test]
fn a_slow_answer_is_in_the_right_bucket() {
    let (a, daemon) = port::one();
    a.then(Reply::answer("x").after(Step::Pause(Duration::from_millis(600))));
    assert_eq!(call(&daemon, &json!({})).status, 200);
    let scrape = wait_for(&daemon, "routor_requests_total", &[("outcome", "served")], 1.0);
    let bucket = |le: &str| scrape.value("routor_request_duration_seconds_bucket", &[("outcome", "served"), ("le", le)]);
    assert_eq!((bucket("0.5"), bucket("30"), bucket("+Inf")), (Some(0.0), Some(1.0), Some(1.0)), "{}", scrape.text);
}

#[test]
fn an_answer_that_broke_after_a_fallback_is_a_fallback_too() {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::status(503));
    b.always(Reply::events_then(vec![role(), content("half")], Step::Close));
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    support::open_stream(daemon.port(), port::ask_with(&json!({"stream": true}))).read_to_end();
    let scrape = wait_for(&daemon, "routor_requests_total", &[("outcome", "partial")], 1.0);
    assert_eq!(scrape.value("routor_fallbacks_total", &[]), Some(1.0), "{}", scrape.text);
}

#[test]
fn what_guards_stop_is_counted_as_an_error_and_not_as_a_request() {
    let a = Provider::start();
    let config = chain_config_with(&[("a", &a)], "[server]\nmax_body = \"2KiB\"\n");
    let daemon = Daemon::builder().config(config).env("ROUTOR_API_KEY", "client-key-1").start();
    let key = ("authorization", "Bearer client-key-1");
    let port = daemon.port();
    assert_eq!(post(port, CHAT, &[key, ("host", "evil.com")], ask("auto")).status, 403);
    assert_eq!(post(port, CHAT, &[key, ("origin", "https://evil.com")], ask("auto")).status, 403);
    assert_eq!(post(port, CHAT, &[], ask("auto")).status, 401);
    assert_eq!(post(port, CHAT, &[key, ("content-type", "text/plain")], ask("auto")).status, 415);
    assert_eq!(post(port, CHAT, &[key], vec![b' '; 5000]).status, 413);
    assert_eq!(post(port, "/v1/nothing", &[key], "{}").status, 404);
    assert_eq!(post(port, "/health", &[key], "{}").status, 405);
    let text = daemon.client().request("GET", "/metrics", &[key], "").text();
    let scrape = Scrape::read(&text);
    scrape.check();
    for (code, count) in [
        ("forbidden", 2.0),
        ("invalid_api_key", 1.0),
        ("unsupported_media_type", 1.0),
        ("request_too_large", 1.0),
        ("not_found", 1.0),
        ("method_not_allowed", 1.0),
    ] {
        assert_eq!(scrape.value("routor_errors_total", &[("code", code)]), Some(count), "{code}\n{text}");
    }
    assert_eq!(scrape.all("routor_requests_total").count(), 0, "{text}");
}

#[test]
fn a_body_that_cannot_be_read_is_an_error_and_a_rejected_request() {
    let (_a, daemon) = port::one();
    assert_eq!(post(daemon.port(), CHAT, &[], "{").status, 400);
    let scrape = wait_for(&daemon, "routor_requests_total", &[("outcome", "rejected")], 1.0);
    assert_eq!(scrape.value("routor_errors_total", &[("code", "invalid_request_error")]), Some(1.0), "{}", scrape.text);
}

#[test]
fn the_breaker_shows_which_model_cools() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    let state = |provider: &str| scrape(&daemon).value("routor_breaker_state", &[("provider", provider), ("model", "m1")]);
    assert_eq!((state("a"), state("b")), (Some(0.0), Some(0.0)));
    a.then(Reply::status(429).with_header("retry-after", "60"));
    assert_eq!(call(&daemon, &json!({})).status, 200);
    assert_eq!((state("a"), state("b")), (Some(1.0), Some(0.0)));
}

/// A cooldown that has run out stays one until a request probes.
#[track_caller]
fn wait_until_it_may_be_probed(daemon: &Daemon) {
    let until = Instant::now() + Duration::from_secs(10);
    while get(daemon.port(), "/api/providers").json()[0]["models"][0]["cooling_ms"] != 0 {
        assert!(Instant::now() < until, "it still cools");
    }
}

#[test]
fn the_breaker_shows_the_model_that_is_probed() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config_with(&[("a", &a), ("b", &b)], "[breaker]\nfailures = 1\ncooldown = \"1s\"\n"));
    a.then(Reply::status(503));
    assert_eq!(call(&daemon, &json!({})).status, 200);
    let labels = [("provider", "a"), ("model", "m1")];
    wait_for(&daemon, "routor_breaker_state", &labels, 1.0);
    wait_until_it_may_be_probed(&daemon);
    let gate = support::Gate::new();
    a.then(Reply::answer("x").after(Step::WaitFor(gate.clone())));
    let mut client = daemon.client();
    client.send("POST", CHAT, &[JSON], ask("auto"));
    a.wait_for_chats(2);
    wait_for(&daemon, "routor_breaker_state", &labels, 2.0);
    gate.open();
    assert_eq!(client.read_response("POST").unwrap().status, 200);
    wait_for(&daemon, "routor_breaker_state", &labels, 0.0);
}

#[test]
fn the_pool_is_smaller_when_a_provider_has_gone() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    let before = scrape(&daemon);
    assert_eq!(before.value("routor_pool_providers", &[]), Some(2.0));
    assert_eq!(before.value("routor_provider_in_pool", &[("provider", "b")]), Some(1.0));
    b.stop();
    daemon.run(&["reload"]).expect_code(0);
    let after = scrape(&daemon);
    after.check();
    assert_eq!(after.value("routor_pool_providers", &[]), Some(1.0));
    assert_eq!(after.value("routor_provider_in_pool", &[("provider", "b")]), Some(0.0), "it stays, at 0, so that an alert can see it");
}

#[test]
fn a_provider_that_left_the_configuration_leaves_no_series() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    assert!(scrape(&daemon).value("routor_provider_in_pool", &[("provider", "b")]).is_some());
    daemon.rewrite_config(&chain_config(&[("a", &a)]));
    daemon.run(&["reload"]).expect_code(0);
    let after = scrape(&daemon);
    assert_eq!(after.value("routor_provider_in_pool", &[("provider", "b")]), None);
    assert!(after.all("routor_breaker_state").all(|sample| sample.label("provider") != Some("b")), "{}", after.text);
}

#[test]
fn records_that_cannot_be_stored_are_counted() {
    let a = Provider::start();
    let home = Home::new();
    // A folder where the store should be.
    std::fs::create_dir_all(home.state_dir().join("requests.db").join("x")).unwrap();
    let daemon = Daemon::builder().home(home).config(chain_config(&[("a", &a)])).start();
    for _ in 0..3 {
        assert_eq!(call(&daemon, &json!({})).status, 200);
    }
    wait_for(&daemon, "routor_log_dropped_total", &[], 3.0).check();
}

// --- Bounds ---

#[test]
fn odd_model_names_do_not_make_series_without_end() {
    let (a, daemon) = port::one();
    let mut client = daemon.client();
    for number in 0..1500 {
        // A name that nobody knows, and one that is passed on to the provider as it is.
        let unknown = format!("{number}\u{1b}\n\"{}", "x".repeat(number % 50));
        assert_eq!(client.request("POST", CHAT, &[JSON], ask(&unknown)).status, 404);
        let passed = client.request("POST", CHAT, &[JSON], ask(&format!("a/{number}-\"odd\n")));
        assert!(matches!(passed.status, 200 | 404), "{}", passed.text());
        client.request("GET", &format!("/v1/nothing/{number}"), &[], "");
    }
    let seen = a.count();
    let until = Instant::now() + Duration::from_secs(10);
    let scrape = loop {
        let scrape = scrape(&daemon);
        let counted: f64 = scrape.all("routor_requests_total").map(|sample| sample.value).sum();
        if counted >= 3000.0 {
            break scrape;
        }
        assert!(Instant::now() < until, "{counted} of 3000");
    };
    scrape.check();
    for family in &scrape.families {
        let series = scrape.samples.iter().filter(|sample| sample.family == family.name).count();
        assert!(series <= 600, "{} has {series} series; {seen} calls went out", family.name);
    }
    assert!(scrape.text.len() < 300_000, "{} bytes", scrape.text.len());
}

// --- Mistakes ---

#[cfg(debug_assertions)]
#[test]
fn a_panic_is_counted_and_its_request_as_well() {
    let a = Provider::start();
    let daemon = Daemon::builder().config(chain_config(&[("a", &a)])).env("ROUTOR_TEST_PANIC", "1").start();
    assert_eq!(scrape(&daemon).value("routor_panics_total", &[]), Some(0.0));
    assert_eq!(post(daemon.port(), CHAT, &[("x-routor-test-panic", "handler")], ask("auto")).status, 500);
    let scrape = wait_for(&daemon, "routor_requests_total", &[("outcome", "failed")], 1.0);
    assert_eq!(scrape.value("routor_panics_total", &[]), Some(1.0), "{}", scrape.text);
    scrape.check();
}
