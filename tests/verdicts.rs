//! The verdict of `check` is the same in every format, and no name breaks out of one.

#[path = "pipeline/mod.rs"]
mod read;
mod support;

use read::{commands, xml};
use serde_json::json;
use support::{Finished, Home, Provider, Reply, chain_config};

fn home(config: &str) -> Home {
    let home = Home::new();
    home.write("routor.toml", config);
    home
}

fn run(home: &Home, args: &[&str]) -> Finished {
    let path = home.path().join("routor.toml").display().to_string();
    home.run(&[&["check", "--config", &path], args].concat())
}

#[track_caller]
fn has_an_error(done: &Finished) {
    let errors = commands(&done.stdout).iter().filter(|command| command.name == "error").count();
    assert_eq!(done.code != 0, errors > 0, "exit {} and\n{}", done.code, done.stdout);
}

#[test]
fn a_strict_run_that_fails_for_warnings_has_an_error_annotation() {
    let a = Provider::start();
    a.model_ids(&["qwen3-32b"]);
    let home = home(&chain_config(&[("a", &a)]).replace("a/m1", "a/qwen3-23b"));
    has_an_error(&run(&home, &["--format", "github", "--strict"]).expect_code(1));
}

#[test]
fn a_loss_that_leaves_no_answer_has_an_error_annotation() {
    let a = Provider::start();
    has_an_error(&run(&home(&chain_config(&[("a", &a)])), &["--format", "github", "--without", "a"]).expect_code(1));
}

fn local_alias_without_models() -> (Provider, Home) {
    let a = Provider::start();
    let dead = Provider::start();
    let config = format!("{}[aliases]\nprivate = {{ to = \"dead/m1\", local_only = true }}\n", chain_config(&[("a", &a), ("dead", &dead)]));
    (a, home(&config))
}

#[test]
fn an_alias_that_is_only_a_warning_is_no_failed_case() {
    let (_a, home) = local_alias_without_models();
    let done = run(&home, &["--provider", "a", "--format", "junit"]);
    let failures = xml(&done.stdout).number("failures");
    assert_eq!(done.code != 0, failures > 0, "exit {} and\n{}", done.code, done.stdout);
}

#[test]
fn an_alias_that_is_only_a_warning_is_no_error_annotation() {
    let (_a, home) = local_alias_without_models();
    has_an_error(&run(&home, &["--provider", "a", "--format", "github"]));
}

#[test]
fn characters_that_xml_does_not_have_are_replaced() {
    let a = Provider::start();
    a.models(Reply::json(200, json!({"data": [{"id": "qwen3-32b\u{ffff}"}]}).to_string()));
    let home = home(&chain_config(&[("a", &a)]).replace("a/m1", "a/qwen3-32"));
    xml(&run(&home, &["--format", "junit"]).stdout);
}

#[test]
fn a_provider_with_a_line_end_in_its_name_gives_no_command_on_stderr() {
    let a = Provider::start();
    a.stop();
    let name = json!("x\n::error::forged");
    let config = format!("[providers.{name}]\nbase_url = \"{}\"\napi_key_env = \"\"\n[pool]\nonly = [{name}]\n", a.base_url());
    for format in ["github", "table"] {
        let done = run(&home(&config), &["--format", format]);
        assert!(commands(&done.stderr).is_empty(), "{}", done.stderr);
    }
}

#[test]
fn direction_marks_in_a_listed_id_do_not_reach_a_terminal() {
    let a = Provider::start();
    a.models(Reply::json(200, json!({"data": [{"id": "qwen3-32b\u{202e}"}]}).to_string()));
    let home = home(&chain_config(&[("a", &a)]).replace("a/m1", "a/qwen3-32"));
    let done = run(&home, &[]);
    assert!(done.stderr.contains("qwen3-32b") && !done.stderr.contains('\u{202e}'), "{:?}", done.stderr);
}

#[test]
fn control_characters_in_names_do_not_reach_a_terminal() {
    let a = Provider::start();
    let name = json!("x\u{1b}]0;title\u{7}y");
    let config = format!("[providers.{name}]\nbase_url = \"{}\"\napi_key_env = \"\"\n[pool]\nonly = [{name}]\n", a.base_url());
    let done = run(&home(&config), &[]);
    assert!(![done.stdout.as_str(), &done.stderr].concat().contains('\u{1b}'), "{:?}", done.stdout);
}
