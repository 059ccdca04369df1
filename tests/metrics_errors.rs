//! Every error that routor makes is counted under its code.

mod exposition;
mod port;
mod support;

use exposition::Scrape;
use port::{CHAT, ask};
use support::{Daemon, Provider, Reply, Step, chain_config, content, get, post, role};

#[track_caller]
fn errors(daemon: &Daemon, code: &str) -> Option<f64> {
    Scrape::read(&get(daemon.port(), "/metrics").text()).value("routor_errors_total", &[("code", code)])
}

#[test]
fn a_502_is_counted_among_the_errors_that_routor_made() {
    let (a, daemon) = port::one();
    a.then(Reply::status(503));
    assert_eq!(post(daemon.port(), CHAT, &[], ask("auto")).status, 502);
    assert_eq!(errors(&daemon, "all_models_failed"), Some(1.0));
}

#[test]
fn an_unknown_model_is_counted_among_the_errors_that_routor_made() {
    let (_a, daemon) = port::one();
    assert_eq!(post(daemon.port(), CHAT, &[], ask("nobody-knows-it")).status, 404);
    assert_eq!(errors(&daemon, "model_not_found"), Some(1.0));
}

#[cfg(debug_assertions)]
#[test]
fn a_panic_is_counted_among_the_errors_that_routor_made() {
    let a = Provider::start();
    let daemon = Daemon::builder().config(chain_config(&[("a", &a)])).env("ROUTOR_TEST_PANIC", "1").start();
    assert_eq!(post(daemon.port(), CHAT, &[("x-routor-test-panic", "handler")], ask("auto")).status, 500);
    assert_eq!(errors(&daemon, "internal_error"), Some(1.0));
}

#[cfg(debug_assertions)]
#[test]
fn a_panic_in_a_stream_is_counted() {
    let a = Provider::start();
    a.then(Reply::events_then(vec![role(), content("x")], Step::Hang));
    let daemon = Daemon::builder().config(chain_config(&[("a", &a)])).env("ROUTOR_TEST_PANIC", "1").start();
    let mut client = daemon.client();
    client.send("POST", CHAT, &[port::JSON, ("x-routor-test-panic", "stream")], port::ask_with(&serde_json::json!({"stream": true})));
    client.read_stream().read_to_end();
    assert_eq!(Scrape::read(&get(daemon.port(), "/metrics").text()).value("routor_panics_total", &[]), Some(1.0));
}
