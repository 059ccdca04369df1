//! `routor models`: what can be asked for, with and without the daemon.

mod port;
mod support;

use std::process::Stdio;

use serde_json::{Value, json};
use support::{Daemon, Finished, Home, Provider, Reply, chain_config, chain_config_with, get, post};

#[track_caller]
fn list(done: Finished) -> Value {
    let done = done.expect_code(0);
    assert_eq!(done.stdout.lines().count(), 1, "one document: {}", done.stdout);
    serde_json::from_str(&done.stdout).unwrap_or_else(|problem| panic!("{problem}: {}", done.stdout))
}

/// The models that `models --json` lists with these arguments.
#[track_caller]
fn asked(daemon: &Daemon, args: &[&str]) -> Vec<String> {
    names(&list(daemon.run(&[&["models", "--json"], args].concat())))
}

fn names(listing: &Value) -> Vec<String> {
    let models = listing["models"].as_array().unwrap_or_else(|| panic!("no models: {listing}"));
    models.iter().map(|line| line["model"].as_str().expect("a model").to_owned()).collect()
}

#[track_caller]
fn line(listing: &Value, model: &str) -> Value {
    let models = listing["models"].as_array().expect("models");
    models.iter().find(|line| line["model"] == model).unwrap_or_else(|| panic!("no {model}: {listing}")).clone()
}

const EXTRA: &str = "[models.\"a/m1\"]\ncontext_window = 131072\ntier = \"LIGHT\"\ninput_usd_per_mtok = 0.5\noutput_usd_per_mtok = 2.25\n\
                     [aliases]\n\"gpt-4o-mini\" = \"LIGHT\"\n\"my own\" = \"a/m1\"\n";

fn pair() -> (Provider, Provider, Daemon) {
    let (a, b) = (Provider::start(), Provider::start());
    a.model_ids(&["m1", "m2"]);
    let daemon = Daemon::start(chain_config_with(&[("a", &a), ("b", &b)], EXTRA));
    (a, b, daemon)
}

/// A home whose usual configuration file is this.
fn home(config: &str) -> Home {
    let home = Home::new();
    home.write("c/routor/routor.toml", config);
    home
}

// --- With the daemon ---

#[test]
fn with_the_daemon_its_models_are_listed() {
    let (_a, _b, daemon) = pair();
    let listing = list(daemon.run(&["models", "--json"]));
    let mut models = names(&listing);
    models.sort();
    assert_eq!(models, ["a/m1", "a/m2", "b/m1"]);
    let line = line(&listing, "a/m1");
    for (field, value) in [
        ("provider", json!("a")),
        ("tier", json!("LIGHT")),
        ("context_window", json!(131_072)),
        ("input_usd_per_mtok", json!(0.5)),
        ("output_usd_per_mtok", json!(2.25)),
        ("in_pool", json!(true)),
        ("state", json!("ready")),
        ("cooling_ms", json!(0)),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
}

#[test]
fn the_names_are_auto_the_tiers_and_the_aliases() {
    let (_a, _b, daemon) = pair();
    let listing = list(daemon.run(&["models", "--json"]));
    assert_eq!(listing["names"], json!(["auto", "NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX", "gpt-4o-mini", "my own"]));
    let table = daemon.run(&["models"]).expect_code(0);
    for text in ["a/m1", "131072", "LIGHT", "2.25", "ready", "auto", "gpt-4o-mini", "my own"] {
        assert!(table.stdout.contains(text), "{text}: {}", table.stdout);
    }
    assert!(!table.stderr.contains("not running"), "{}", table.stderr);
}

#[test]
fn whatever_is_listed_can_be_asked_for() {
    let (_a, _b, daemon) = pair();
    let listing = list(daemon.run(&["models", "--json"]));
    let all = names(&listing).into_iter().chain(listing["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
    for name in all {
        assert_eq!(post(daemon.port(), port::CHAT, &[], port::ask(&name)).status, 200, "{name}");
    }
}

#[test]
fn the_command_lists_what_the_route_lists() {
    let (_a, _b, daemon) = pair();
    let route = get(daemon.port(), "/v1/models").json();
    let mut there: Vec<String> = route["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect();
    let listing = list(daemon.run(&["models", "--json"]));
    let mut here = names(&listing);
    here.extend(listing["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()));
    there.sort();
    here.sort();
    assert_eq!(here, there);
}

#[test]
fn provider_and_tier_pick_models() {
    let (_a, _b, daemon) = pair();
    assert_eq!(asked(&daemon, &["--provider", "b"]), ["b/m1"]);
    assert_eq!(asked(&daemon, &["--tier", "LIGHT"]), ["a/m1"]);
    assert_eq!(asked(&daemon, &["-t", "light", "--provider", "a"]), ["a/m1"]);
    assert!(asked(&daemon, &["--tier", "NANO", "--provider", "b"]).is_empty());
}

#[test]
fn a_cooling_model_is_shown_with_the_time_left() {
    let (a, _b, daemon) = pair();
    a.then(Reply::status(429).with_header("retry-after", "90"));
    assert_eq!(post(daemon.port(), port::CHAT, &[], port::ask("auto")).status, 200);
    let line = line(&list(daemon.run(&["models", "--json"])), "a/m1");
    assert_eq!(line["state"], "cooling", "{line}");
    assert!(line["cooling_ms"].as_u64().is_some_and(|left| (30_000..=90_000).contains(&left)), "{line}");
    let table = daemon.run(&["models"]).expect_code(0);
    let row = table.stdout.lines().find(|row| row.contains("a/m1")).expect("a row");
    assert!(row.contains("cooling") && row.contains(" s"), "{row}");
}

#[test]
fn a_provider_out_of_the_pool_is_only_in_the_whole_list() {
    let (a, dead) = (Provider::start(), Provider::start());
    dead.stop();
    let daemon = Daemon::start(chain_config(&[("a", &a), ("dead", &dead)]));
    assert_eq!(asked(&daemon, &[]), ["a/m1"]);
    let listing = list(daemon.run(&["models", "--json", "--all", "--provider", "dead"]));
    assert_eq!((names(&listing), &listing["models"][0]["in_pool"]), (vec!["dead/m1".to_owned()], &json!(false)));
    assert!(daemon.run(&["models", "--all", "--provider", "dead"]).stdout.contains("not in the pool"));
}

#[test]
fn all_shows_what_is_known_and_not_configured() {
    let (_a, _b, daemon) = pair();
    let listing = list(daemon.run(&["models", "--json", "--all"]));
    let models = listing["models"].as_array().unwrap();
    let unknown = models.iter().filter(|line| line["state"] == "not_configured").count();
    assert!(unknown > 20, "{unknown}");
    assert!(models.iter().all(|line| (line["state"] == "not_configured") <= (line["in_pool"] == false)), "{listing}");
    assert!(daemon.run(&["models", "--all"]).stdout.contains("provider not configured"));
}

#[test]
fn nothing_to_show_is_said_and_is_no_failure() {
    let (_a, _b, daemon) = pair();
    let done = daemon.run(&["models", "--provider", "nobody"]).expect_code(0);
    assert!(done.stderr.contains("--all"), "{}", done.stderr);
    assert!(!done.stdout.contains("a/m1"));
}

#[test]
fn another_configuration_is_looked_at_without_the_daemon() {
    let (_a, _b, daemon) = pair();
    let c = Provider::start();
    let path = daemon.home().write("other.toml", chain_config(&[("c", &c)])).display().to_string();
    let done = daemon.run(&["models", "--json", "--config", &path]);
    assert!(done.stderr.contains("as configured"), "{}", done.stderr);
    assert_eq!(names(&list(done)), ["c/m1"]);
    assert_eq!(c.requests().len(), 0);
}

// --- Without the daemon ---

#[test]
fn without_the_daemon_the_configuration_is_listed_and_nobody_is_asked() {
    let a = Provider::start();
    let home = home(&chain_config_with(&[("a", &a)], EXTRA));
    let done = home.run(&["models", "--json"]);
    assert!(done.stderr.contains("not running"), "{}", done.stderr);
    let listing = list(done);
    assert_eq!(names(&listing), ["a/m1"]);
    assert!(listing["names"].as_array().unwrap().contains(&json!("my own")), "{listing}");
    assert_eq!(a.requests().len(), 0);
}

#[test]
fn a_key_in_the_environment_brings_its_models() {
    let mut home = Home::new();
    home.set_env("GEMINI_API_KEY", "canary-0123456789");
    let done = home.run(&["models", "--json"]);
    assert!(!done.stdout.contains("canary") && !done.stderr.contains("canary"));
    let models = names(&list(done));
    assert!(!models.is_empty() && models.iter().all(|model| model.starts_with("google/")), "{models:?}");
    let light = names(&list(home.run(&["models", "--json", "-t", "LIGHT"])));
    assert!(!light.is_empty() && light.iter().all(|model| models.contains(model)), "{light:?}");
}

#[test]
fn local_servers_are_not_promised_without_having_been_looked_for() {
    let mut home = Home::new();
    home.set_env("GEMINI_API_KEY", "canary-0123456789");
    home.write("c/routor/routor.toml", "[models.\"ollama/qwen3\"]\ncontext_window = 4096\n");
    assert!(names(&list(home.run(&["models", "--json"]))).iter().all(|model| !model.starts_with("ollama/")));
    let all = list(home.run(&["models", "--json", "--all"]));
    assert_eq!(line(&all, "ollama/qwen3")["in_pool"], false);
}

#[test]
fn a_local_server_that_runs_is_listed_by_the_daemon() {
    let (local, b) = (Provider::start(), Provider::start());
    local.model_ids(&["qwen3:8b", "llama"]);
    let config = format!(
        "[providers.ollama]\nbase_url = \"{}\"\n[providers.b]\nbase_url = \"{}\"\napi_key_env = \"\"\n[pool]\nonly = [\"ollama\", \"b\"]\n",
        local.base_url(),
        b.base_url()
    );
    let daemon = Daemon::start(config);
    let models = asked(&daemon, &["--provider", "ollama"]);
    assert!(["ollama/llama", "ollama/qwen3:8b"].iter().all(|own| models.iter().any(|model| model == own)), "{models:?}");
}

#[test]
fn nothing_configured_is_an_empty_list_with_the_names() {
    let done = Home::new().run(&["models", "--json"]);
    let listing = list(done);
    assert_eq!((names(&listing).len(), &listing["names"][0]), (0, &json!("auto")));
}

// --- Usage ---

#[test]
fn wrong_usage_is_exit_2() {
    let home = Home::new();
    for args in [&["models", "--tier", "HUGE"][..], &["models", "extra"], &["models", "--nope"], &["models", "--provider"]] {
        let done = home.run(args).expect_code(2);
        assert!(done.stdout.is_empty() && !done.stderr.is_empty());
    }
    self::home("[poool]\n").run(&["models"]).expect_code(2);
}

#[test]
fn no_daemon_of_that_state_folder_is_the_same_as_none() {
    let (_a, _b, daemon) = pair();
    let other = daemon.home().path().join("elsewhere").display().to_string();
    let done = daemon.run(&["models", "--json", "--state", &other]);
    assert!(done.stderr.contains("not running"), "{}", done.stderr);
    assert!(names(&list(done)).is_empty());
}

#[test]
fn a_closed_pipe_is_exit_0() {
    let (_a, _b, daemon) = pair();
    for args in [&["models", "--all"][..], &["models", "--all", "--json"]] {
        let mut child = daemon.home().command(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(!String::from_utf8_lossy(&done.stderr).contains("mistake"));
    }
}

#[test]
fn no_control_character_of_a_name_reaches_the_terminal() {
    let a = Provider::start();
    a.models(Reply::json(200, json!({"data": [{"id": "m1"}, {"id": "m2\u{202e}\u{2066}x"}, {"id": "m3\u{1b}[31m"}]}).to_string()));
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], "[aliases]\n\"x\\u001b[31m\\u202ey\\n\" = \"LIGHT\"\n"));
    let table = daemon.run(&["models"]).expect_code(0);
    assert!(table.stdout.contains("a/m2"), "{}", table.stdout);
    assert!(!table.stdout.contains(['\u{1b}', '\u{202e}', '\u{2066}']), "{:?}", table.stdout);
    assert_eq!(daemon.run(&["models", "--json"]).stdout.lines().count(), 1);
}
