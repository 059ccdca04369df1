//! Who is in and who is out over time, and what stop and reload promise.

mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{
    ASK, ASK_STREAM, Daemon, Gate, Provider, Reply, Step, chain_config, chain_config_with, content, post, post_chat, routor, text_of,
};

fn ask(model: &str) -> String {
    json!({"model": model, "messages": [{"role": "user", "content": "hi"}]}).to_string()
}

#[test]
fn a_provider_that_is_cleared_is_back_even_if_another_was_rejected_meanwhile() {
    let (a, b, c) = (Provider::start(), Provider::start(), Provider::start());
    let keyed =
        |name: &str, provider: &Provider| format!("[providers.{name}]\nbase_url = \"{}\"\napi_key_env = \"KEY\"\n", provider.base_url());
    let chain = "[\"a/m1\", \"b/m1\", \"c/m1\"]";
    let tiers: String = ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"].map(|tier| format!("{tier} = {chain}\n")).concat();
    let config = format!("{}{}{}[pool]\nonly = [\"a\", \"b\", \"c\"]\n[tiers]\n{tiers}", keyed("a", &a), keyed("b", &b), keyed("c", &c));
    let daemon = Daemon::builder().env("KEY", "sk-test-key-1").config(config).start();
    let gate = Gate::new();
    a.then(Reply::status(401));
    b.then(Reply::status(401));
    a.models(Reply::status(401));
    b.models(Reply::model_list(&["m1"]).after(Step::WaitFor(gate.clone())));
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    daemon.wait_stderr("a: the key is rejected");
    gate.open();
    daemon.wait_stderr("b: the key was not found to be bad");
    assert!(support::get(daemon.port(), "/v1/models").text().contains("b/m1"), "b is routed to again");
}

#[test]
fn d173_a_key_that_is_revoked_takes_the_provider_out_with_one_warning_and_the_chain_goes_on() {
    let (a, b) = (Provider::start(), Provider::start());
    a.always(Reply::answer("from A"));
    b.always(Reply::answer("from B"));
    let config = chain_config(&[("a", &a), ("b", &b)]).replacen("api_key_env = \"\"", "api_key_env = \"KEY\"", 1);
    let daemon = Daemon::builder().env("KEY", "sk-canary-1").config(config).start();
    assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from A");
    a.always(Reply::status(401)).models(Reply::status(401));
    let lists = || a.requests().iter().filter(|request| request.method == "GET").count();
    let before = lists();
    for _ in 0..10 {
        assert_eq!(text_of(&post_chat(daemon.port(), ASK)), "from B");
    }
    let said = daemon.wait_stderr("a: the key is rejected");
    assert!(said.contains("KEY") && !said.contains("canary"), "{said}");
    assert_eq!((a.count(), lists() - before), (2, 1), "one call was refused, and the list was asked for once");
    for words in ["refused its key", "the key is rejected"] {
        assert_eq!(daemon.stderr().matches(words).count(), 1, "{}", daemon.stderr());
    }
    let record = &daemon.wait_logs(11)[1];
    assert_eq!((support::classes(record), &record["outcome"]), (vec!["auth", "ok"], &json!("fallback")));
    assert!(daemon.run(&["status"]).expect_code(0).stdout.contains("rejected"));
}

#[test]
fn d173_a_revoked_key_under_load_is_warned_of_once() {
    let (a, b) = (Provider::start(), Provider::start());
    b.always(Reply::answer("from B"));
    let config = chain_config(&[("a", &a), ("b", &b)]).replacen("api_key_env = \"\"", "api_key_env = \"KEY\"", 1);
    let daemon = Daemon::builder().env("KEY", "sk-canary-1").config(config).start();
    let gate = Gate::new();
    a.always(Reply::status(401).after(Step::WaitFor(gate.clone()))).models(Reply::status(401));
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let port = daemon.port();
            std::thread::spawn(move || text_of(&post_chat(port, ASK)))
        })
        .collect();
    a.wait_for_chats(20);
    gate.open();
    for answer in asking {
        assert_eq!(answer.join().unwrap(), "from B");
    }
    let said = daemon.wait_stderr("a: the key is rejected");
    assert_eq!(said.matches("refused its key").count(), 1, "{said}");
}

#[test]
fn a_reload_cannot_open_a_reachable_address_to_everybody() {
    let a = Provider::start();
    let open = chain_config_with(&[("a", &a)], "[server]\nlisten = [\"0.0.0.0:0\", \"127.0.0.1:0\"]\n");
    let daemon = Daemon::builder().without_port().env("ROUTOR_API_KEY", "client-key").config(open).start();
    daemon.rewrite_config(&chain_config_with(&[("a", &a)], "[server]\napi_key_env = \"NOT_SET\"\n"));
    let done = daemon.run(&["reload"]).expect_code(1);
    assert!(done.stderr.contains("NOT_SET"), "{}", done.stderr);
    assert_eq!(post_chat(daemon.port(), ASK).status, 401, "the key is still needed");
}

#[test]
fn chat_finds_a_daemon_that_listens_on_all_addresses() {
    let a = Provider::start();
    let open = chain_config_with(&[("a", &a)], "[server]\nlisten = [\"0.0.0.0:0\", \"127.0.0.1:0\"]\n");
    let daemon = Daemon::builder().without_port().env("ROUTOR_API_KEY", "client-key").config(open).start();
    daemon.run(&["chat", "--no-stdin", "hi"]).expect_code(0);
    assert_eq!(a.count(), 1);
}

#[test]
fn stop_returns_when_the_daemon_has_ended() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let gate = Gate::new();
    a.then(Reply::events_then(vec![content("x")], Step::WaitFor(gate.clone())).and(Step::Close));
    let mut stream = support::open_stream(daemon.port(), ASK_STREAM);
    assert!(stream.next_event().is_some());
    let stopping = daemon.spawn(&["stop"], support::Input::Null);
    std::thread::sleep(Duration::from_millis(300));
    assert!(stopping.is_running(), "a request is still being answered");
    gate.open();
    stream.read_to_end();
    assert_eq!(stopping.wait_exit(Duration::from_secs(15)), 0);
    daemon.run(&["status"]).expect_code(3);
}

#[test]
fn d258_a_stop_does_not_wait_behind_a_reload() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], "[validation]\ntimeout = \"60s\"\n"));
    a.models(Reply::hang());
    let before = a.requests().len();
    daemon.signal("HUP");
    let until = Instant::now() + support::PATIENCE;
    while a.requests().len() == before && Instant::now() < until {
        std::thread::yield_now();
    }
    let started = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(20)), 0);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn a_daemon_that_waits_for_a_provider_can_be_asked_and_stopped() {
    let a = Provider::start();
    a.stop();
    let (home, serve) = Daemon::builder().config(chain_config(&[("a", &a)])).arg("--wait").spawn_only();
    serve.wait_stderr("unreachable");
    home.run(&["status"]).expect_code(0);
    home.run(&["stop"]).expect_code(0);
    assert_eq!(serve.wait_exit(Duration::from_secs(10)), 0);
}

#[test]
fn what_a_caller_said_is_not_taken_for_the_providers_word() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    for words in ["why insufficient balance?", "what does invalid api key mean"] {
        let body = json!({"detail": [{"type": "missing", "msg": "Field required", "input": {"content": words}}]}).to_string();
        a.then(Reply::json(422, body.clone()));
        let response = post_chat(daemon.port(), ASK);
        assert_eq!((response.status, response.text()), (422, body));
    }
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    assert_eq!((a.count(), b.count()), (3, 0), "nobody was blamed");
}

#[test]
fn direct_is_the_named_model_or_nothing() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    let body = json!({"model": "openai/gpt-5.5", "routor_profile": "direct", "messages": [{"role": "user", "content": "hi"}]});
    assert_eq!(post_chat(daemon.port(), body.to_string()).status, 503);
    assert_eq!(a.count() + b.count(), 0);
}

#[test]
fn a_model_that_nobody_lists_cools_like_any_other() {
    let a = Provider::start();
    a.models(Reply::status(404));
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let direct = json!({"model": "a/secret", "routor_profile": "direct", "messages": [{"role": "user", "content": "hi"}]}).to_string();
    a.then(Reply::status(429).with_header("retry-after", "60"));
    let response = post_chat(daemon.port(), &direct);
    assert_eq!((response.status, response.header("retry-after").is_some()), (502, true));
}

#[test]
fn an_empty_finish_is_no_finish() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":\"\"}]}\n\n";
    a.then(Reply::events_then(vec![role.to_owned()], Step::Close));
    b.always(Reply::answer("from B"));
    let text = support::open_stream(daemon.port(), ASK_STREAM).read_to_end();
    assert!(text.contains("from B"), "{text}");
}

#[test]
fn a_refusal_of_content_in_a_stream_blames_nobody() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], "[breaker]\nfailures = 2\ncooldown = \"60s\"\n"));
    let refusal = "data: {\"error\":{\"code\":\"content_filter\",\"message\":\"no\"}}\n\n";
    for _ in 0..6 {
        a.then(Reply::events(vec![content("x"), refusal.to_owned()]));
        support::open_stream(daemon.port(), ASK_STREAM).read_to_end();
    }
    daemon.wait_logs(6);
    let record = &daemon.logs()[0];
    assert_eq!((&record["outcome"], &record["attempts"][0]["class"]), (&json!("partial"), &json!("content_filter")));
    let status = daemon.run(&["status", "--json"]).expect_code(0).stdout;
    assert!(!status.contains("\"cooling\":[{"), "{status}");
}

#[test]
fn plain_configured_headers_are_no_secrets() {
    let a = Provider::start();
    let config =
        chain_config(&[("a", &a)]).replace("api_key_env = \"\"", "api_key_env = \"\"\nheaders = { \"x-site\" = \"http://127.0.0.1:1\" }");
    let daemon = Daemon::start(config);
    assert!(daemon.stderr().contains(&a.base_url()), "{}", daemon.stderr());
    assert_eq!(text_of(&post_chat(daemon.port(), ask("a/m1"))), "hello");
    assert_eq!(a.chats()[0].header("x-site"), Some("http://127.0.0.1:1"));
}

#[test]
fn a_405_names_the_method_that_is_right() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    assert_eq!(support::get(daemon.port(), "/v1/chat/completions").header("allow"), Some("POST"));
    assert_eq!(post(daemon.port(), "/health", &[("content-type", "application/json")], "{}").header("allow"), Some("GET"));
}

#[test]
fn wait_takes_its_time_with_and_without_an_equals_sign() {
    for args in [&["serve", "--wait", "1s", "--port", "0"][..], &["serve", "--wait=1s", "--port", "0"]] {
        let done = routor(args, &[("OPENAI_API_KEY", "\"quoted\"")]);
        assert_eq!(done.code, 1, "{args:?}: {}", done.stderr);
    }
}

#[test]
fn a_reload_that_is_asked_for_during_another_comes_after_it() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let gate = Gate::new();
    a.models(Reply::model_list(&["m1"]).after(Step::WaitFor(gate.clone())));
    let before = a.requests().len();
    let reloads = [daemon.spawn(&["reload"], support::Input::Null), daemon.spawn(&["reload"], support::Input::Null)];
    let until = Instant::now() + support::PATIENCE;
    while a.requests().len() == before && Instant::now() < until {
        std::thread::yield_now();
    }
    gate.open();
    for reload in reloads {
        assert_eq!(reload.wait_exit(Duration::from_secs(15)), 0, "{}", reload.stderr());
    }
}
