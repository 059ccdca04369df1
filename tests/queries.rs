//! What is asked of the log is what comes back, odd names and broken records too.

mod port;
mod support;

use port::CHAT;
use serde_json::{Value, json};
use support::{Daemon, Provider, chain_config, get, post};

fn ids(value: &Value) -> Vec<String> {
    value["requests"].as_array().unwrap().iter().map(|record| record["id"].as_str().unwrap().to_owned()).collect()
}

fn read(daemon: &Daemon, query: &str) -> Value {
    get(daemon.port(), &format!("/api/requests{query}")).json()
}

#[track_caller]
fn call(daemon: &Daemon, id: &str, fields: &Value) {
    post(daemon.port(), CHAT, &[("x-request-id", id)], port::ask_with(fields));
}

#[test]
fn a_name_with_spaces_is_not_taken_for_an_attempt() {
    let (a, b) = (Provider::start(), Provider::start());
    let daemon = Daemon::start(chain_config(&[("a", &a), ("b", &b)]));
    call(&daemon, "x", &json!({"model": "nothing b/m1 here"}));
    daemon.wait_logs(1);
    assert!(ids(&read(&daemon, "?provider=b")).is_empty(), "b was never tried");
    assert!(ids(&read(&daemon, "?model=b%2Fm1")).is_empty(), "b/m1 was never tried or asked for");
}

#[test]
fn names_with_spaces_can_be_filtered_by() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    call(&daemon, "x", &json!({"model": "my model"}));
    daemon.wait_logs(1);
    assert_eq!(ids(&read(&daemon, "?model=my%20model")), ["x"]);
    assert!(ids(&read(&daemon, "?model=my")).is_empty());
}

#[test]
fn a_record_that_cannot_be_read_does_not_end_the_pages() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    for number in 0..6 {
        call(&daemon, &format!("r{number}"), &json!({}));
    }
    daemon.wait_logs(6);
    let store = rusqlite::Connection::open(daemon.state_dir().join("requests.db")).unwrap();
    let bad = "UPDATE batches SET records = replace(records, '[\"r4\",', '[\"r4\";') WHERE records LIKE '%\"r4\"%'";
    assert_eq!(store.execute(bad, []).unwrap(), 1);
    let first = read(&daemon, "?limit=3");
    assert_eq!(ids(&first), ["r5", "r3"]);
    assert!(first["next"].is_string(), "r2, r1 and r0 are behind this page: {first}");
}

#[test]
fn an_empty_name_is_nobodys() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    call(&daemon, "x", &json!({}));
    daemon.wait_logs(1);
    assert!(ids(&read(&daemon, "?provider=")).is_empty());
    assert!(ids(&read(&daemon, "?model=")).is_empty(), "no request asked for or tried a model without a name");
}
