//! `routor check` in pipelines: JSON, JUnit XML and GitHub's workflow commands,
//! what a provider's loss would mean, real calls, and what fails a run.

#[path = "pipeline/mod.rs"]
mod read;
mod support;

use read::{Node, commands, xml};
use serde_json::{Value, json};
use support::{Finished, Home, Provider, Reply, Step, chain_config};

const KEY: &str = "sk-canary-4242424242";

fn home(config: &str) -> Home {
    let mut home = Home::new();
    home.write("routor.toml", config);
    home.set_env("X_KEY", KEY);
    home
}

#[track_caller]
fn run(home: &Home, args: &[&str]) -> Finished {
    let path = home.path().join("routor.toml").display().to_string();
    let done = home.run(&[&["check", "--config", &path], args].concat());
    assert!(!done.stdout.contains("canary") && !done.stderr.contains("canary"), "a key was shown: {}{}", done.stdout, done.stderr);
    assert!(!done.stderr.contains("made a mistake"), "{}", done.stderr);
    done
}

#[track_caller]
fn report(home: &Home, args: &[&str]) -> (i32, Value) {
    let done = run(home, &[args, &["--format", "json"]].concat());
    assert_eq!(done.stdout.lines().count(), 1, "one JSON document: {}", done.stdout);
    (done.code, serde_json::from_str(&done.stdout).unwrap_or_else(|problem| panic!("{problem}: {}\n{}", done.stdout, done.stderr)))
}

/// Runs `check --format junit`; the XML is well-formed and its numbers are
/// those of its cases.
#[track_caller]
fn junit(home: &Home, args: &[&str]) -> (i32, Node) {
    let done = run(home, &[args, &["--format", "junit"]].concat());
    let root = xml(&done.stdout);
    assert!(done.stdout.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>"), "{}", done.stdout);
    assert_eq!(root.name, "testsuites");
    let count = |cases: &[&Node], kind: &str| cases.iter().filter(|case| case.child(kind).is_some()).count();
    for suite in root.all("testsuite") {
        let cases: Vec<&Node> = suite.all("testcase").collect();
        assert_eq!(suite.number("tests"), cases.len(), "{}", done.stdout);
        for (attribute, kind) in [("failures", "failure"), ("errors", "error"), ("skipped", "skipped")] {
            assert_eq!(suite.number(attribute), count(&cases, kind), "{attribute} in {}", done.stdout);
        }
    }
    let cases = root.cases();
    assert_eq!((root.number("tests"), root.number("failures")), (cases.len(), count(&cases, "failure")), "{}", done.stdout);
    let mut names: Vec<(&str, &str)> = cases.iter().map(|case| (case.get("classname"), case.get("name"))).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|two| two[0] != two[1]), "two cases of one name: {names:?}");
    assert!(cases.iter().all(|case| case.get("time").parse::<f64>().is_ok()), "{}", done.stdout);
    // Who reads the file and who reads the exit code must be told the same.
    assert_eq!(done.code != 0, root.number("failures") > 0, "exit {} and\n{}", done.code, done.stdout);
    (done.code, root)
}

/// Runs `check --format github`; gives the commands, of which there are no
/// others than annotations.
#[track_caller]
fn github(home: &Home, args: &[&str]) -> (i32, Vec<read::Command>) {
    let done = run(home, &[args, &["--format", "github"]].concat());
    let found = commands(&done.stdout);
    assert_eq!(found.len(), done.stdout.lines().count(), "every line is a command: {}", done.stdout);
    assert!(found.iter().all(|command| matches!(command.name.as_str(), "error" | "warning" | "notice")), "{found:?}");
    // A runner looks for commands on stderr as well.
    assert!(commands(&done.stderr).is_empty(), "{}", done.stderr);
    (done.code, found)
}

fn count(commands: &[read::Command], name: &str) -> usize {
    commands.iter().filter(|command| command.name == name).count()
}

fn table(name: &str, provider: &Provider, key: &str) -> String {
    format!("[providers.{}]\nbase_url = \"{}\"\napi_key_env = \"{key}\"\n", json!(name), provider.base_url())
}

/// Three providers: `good`, `bad` whose key is rejected, and `missing` without one.
fn mixed() -> (Vec<Provider>, Home) {
    let (good, bad) = (Provider::start(), Provider::start());
    bad.models(Reply::status(401));
    let config = [
        table("good", &good, ""),
        table("bad", &bad, "X_KEY"),
        table("missing", &good, "NEVER_SET"),
        "[pool]\nonly = [\"good\", \"bad\", \"missing\"]\n[tiers]\nLIGHT = [\"good/m1\"]\n".to_owned(),
    ];
    (vec![good, bad], home(&config.concat()))
}

fn two() -> (Provider, Provider, Home) {
    let (a, b) = (Provider::start(), Provider::start());
    let facts = "[models.\"a/m1\"]\ncontext_window = 200000\n[models.\"b/m1\"]\ncontext_window = 8000\n";
    let home = home(&format!("{}{facts}", chain_config(&[("a", &a), ("b", &b)])));
    (a, b, home)
}

// --- JUnit ---

#[test]
fn junit_has_a_case_for_each_provider_and_each_chain() {
    let (_a, _b, home) = two();
    let (code, root) = junit(&home, &[]);
    assert_eq!(code, 0);
    let names: Vec<(&str, &str)> = root.cases().iter().map(|case| (case.get("classname"), case.get("name"))).collect();
    let of = |class: &str| names.iter().filter(|(own, _)| own.contains(class)).map(|(_, name)| *name).collect::<Vec<_>>();
    assert_eq!(of("providers"), ["a", "b"]);
    assert_eq!(of("chains"), ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"]);
}

#[test]
fn junit_fails_those_cases_that_fail_the_run() {
    let (_providers, home) = mixed();
    let (code, root) = junit(&home, &[]);
    assert_eq!(code, 1);
    let failure = |name: &str| root.case(name).child("failure");
    assert!(failure("good").is_none());
    for (name, kind, variable) in [("bad", "rejected", "X_KEY"), ("missing", "no_key", "NEVER_SET")] {
        let failure = failure(name).expect("a failure");
        assert_eq!(failure.get("type"), kind);
        assert!(failure.get("message").contains(variable), "the key is named by its variable: {failure:?}");
    }
}

#[test]
fn junit_skips_what_is_allowed_to_be_missing() {
    let (_providers, home) = mixed();
    let (code, root) = junit(&home, &["--provider", "good", "--provider", "missing", "--allow-missing"]);
    assert_eq!(code, 0);
    assert!(root.case("missing").child("skipped").is_some() && root.case("missing").child("failure").is_none());
}

#[test]
fn junit_fails_every_chain_when_nothing_is_left() {
    let dead = Provider::start();
    dead.stop();
    let (code, root) = junit(&home(&chain_config(&[("dead", &dead)])), &["--timeout", "2s"]);
    assert_eq!((code, root.number("failures")), (1, 6));
    assert!(root.case("COMPLEX").child("failure").is_some());
}

#[test]
fn junit_fails_for_warnings_when_told_to_be_strict() {
    let (_providers, home) = mixed();
    let usual = junit(&home, &["--provider", "good"]);
    // The tiers without a model of `good` borrow the chain of LIGHT.
    assert_eq!(usual.0, 0);
    let (code, root) = junit(&home, &["--provider", "good", "--strict"]);
    assert_eq!(code, 1);
    let texts: String = root.cases().iter().filter_map(|case| case.child("failure")).map(|failure| failure.get("message")).collect();
    assert!(texts.contains("COMPLEX"), "{texts}");
}

#[test]
fn junit_tells_of_a_loss_that_leaves_no_answer() {
    let (_a, _b, home) = two();
    let (code, root) = junit(&home, &["--provider", "a", "--without", "a"]);
    assert_eq!(code, 1);
    let named: Vec<&str> = root.cases().iter().filter(|case| case.child("failure").is_some()).map(|case| case.get("name")).collect();
    assert!(named.len() == 5 && named.iter().all(|name| name.contains("without a")), "{named:?}");
}

#[test]
fn junit_tells_the_time_in_seconds() {
    let slow = Provider::start();
    slow.models(Reply::model_list(&["m1"]).after(Step::Pause(std::time::Duration::from_millis(1100))));
    let (_, root) = junit(&home(&chain_config(&[("slow", &slow)])), &[]);
    let time: f64 = root.case("slow").get("time").parse().unwrap();
    assert!((1.1..4.5).contains(&time), "{time}");
}

// --- GitHub ---

#[test]
fn github_annotates_what_fails_and_notes_what_is_good() {
    let (_providers, home) = mixed();
    let (code, found) = github(&home, &["--allow-missing"]);
    assert_eq!(code, 1);
    let of = |provider: &str| found.iter().find(|command| command.title.ends_with(provider)).unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!((of("good").name.as_str(), of("bad").name.as_str(), of("missing").name.as_str()), ("notice", "error", "warning"));
    assert!(of("bad").message.contains("rejected") && of("bad").message.contains("X_KEY"), "{found:?}");
    assert!(found.iter().any(|command| command.name == "warning" && command.message.contains("borrows")), "{found:?}");
}

#[test]
fn github_has_no_error_in_a_good_run_and_one_in_a_bad_one() {
    let (_a, _b, home) = two();
    let (code, found) = github(&home, &[]);
    assert_eq!((code, count(&found, "error"), count(&found, "notice")), (0, 0, 2), "{found:?}");
    let dead = Provider::start();
    dead.stop();
    let (code, found) = github(&self::home(&chain_config(&[("dead", &dead)])), &[]);
    assert!(code == 1 && count(&found, "error") > 0, "{found:?}");
}

// --- Names that would break out ---

/// Names of providers, as a configuration may have them.
const ODD: [&str; 6] = ["a\"b'c", "<failure>", "&amp;&lt;", "]]>", "100% %0A::error::x", "a::b,c=d:e##[error]f"];

fn odd_config(provider: &Provider, key: &str) -> String {
    let tables: String = ODD.iter().map(|name| table(name, provider, key)).collect();
    let only: Vec<String> = ODD.iter().map(|name| json!(name).to_string()).collect();
    let chain: Vec<String> = ODD.iter().map(|name| json!(format!("{name}/m1")).to_string()).collect();
    format!("{tables}[pool]\nonly = [{}]\n[tiers]\nLIGHT = [{}]\n", only.join(", "), chain.join(", "))
}

#[test]
fn odd_names_do_not_break_the_xml() {
    for models in [Reply::model_list(&["m1"]), Reply::status(503)] {
        let provider = Provider::start();
        provider.models(models);
        let (_, root) = junit(&home(&odd_config(&provider, "")), &["--without", ODD[1], "--without", ODD[3]]);
        let names: Vec<&str> =
            root.cases().iter().filter(|case| case.get("classname").contains("providers")).map(|case| case.get("name")).collect();
        assert_eq!(names, ODD);
    }
}

#[test]
fn odd_names_of_providers_are_no_commands_of_their_own_on_stdout() {
    let provider = Provider::start();
    provider.models(Reply::status(503));
    let done = run(&home(&odd_config(&provider, "")), &["--format", "github"]);
    let found = commands(&done.stdout);
    assert!(found.iter().all(|command| command.title.starts_with("routor check")), "{found:#?}");
    assert_eq!(count(&found, "error"), ODD.len() + 5, "{}", done.stdout);
}

#[test]
fn what_a_provider_says_is_no_command_and_no_markup() {
    let evil = "<b>\"]]>&\n::error::forged\n\u{1b}[31m\u{0}\u{b}";
    let list = json!({"data": [{"id": format!("m2{evil}")}, {"id": "m2<&\"]]>::error::x"}]});
    let replies = [
        Reply::json(200, list.to_string()),
        Reply::json(302, "").with_header("location", "https://evil%0A::error::x.example/]]>&<"),
        Reply::json(302, "").with_header("location", "https://a\"b<c>&]]>.example/"),
        Reply::json(302, "").with_header("location", "odd://::error::<x>]]>&\"/"),
        Reply::json(307, "").with_header("location", "https://xn--e1afmkfd.example/::error::"),
        Reply::json(403, json!({"error": {"message": evil, "code": evil}}).to_string()),
        Reply::json(200, json!({"error": {"message": evil}}).to_string()),
    ];
    for reply in replies {
        let provider = Provider::start();
        provider.models(reply);
        let home = home(&chain_config(&[("a", &provider)]).replace("a/m1", "a/m2"));
        let args = ["--strict"];
        assert_eq!(junit(&home, &args).1.case("a").get("classname"), "routor.providers");
        let (_, found) = github(&home, &args);
        assert!(found.iter().all(|command| command.title.starts_with("routor check")), "{found:?}");
        let text = run(&home, &args);
        assert!(![text.stdout, text.stderr].concat().contains(['\u{1b}', '\u{0}', '\u{b}']));
    }
}

// --- Without ---

#[test]
fn without_tells_what_each_chain_would_still_have() {
    let (_a, _b, home) = two();
    let (code, report) = report(&home, &["--without", "a"]);
    assert_eq!((code, &report["ok"]), (0, &json!(true)), "{report}");
    let without = &report["without"][0];
    assert_eq!(without["provider"], "a");
    let chains = without["chains"].as_array().expect("chains");
    assert_eq!(chains.len(), 5, "{without}");
    for chain in chains {
        assert_eq!(
            (&chain["candidates"], &chain["usable"], &chain["largest_window"]),
            (&json!(["b/m1"]), &json!(true), &json!(8000)),
            "{chain}"
        );
    }
    // What is there now is told as ever.
    assert_eq!(report["chains"][0]["candidates"], json!(["a/m1", "b/m1"]), "{report}");
}

#[test]
fn without_can_be_given_several_times_and_each_is_looked_at_alone() {
    let (_a, _b, home) = two();
    let (code, report) = report(&home, &["--without", "a", "--without", "b"]);
    assert_eq!(code, 0, "{report}");
    let left: Vec<(&Value, &Value)> =
        report["without"].as_array().unwrap().iter().map(|without| (&without["provider"], &without["chains"][0]["candidates"])).collect();
    assert_eq!(left, [(&json!("a"), &json!(["b/m1"])), (&json!("b"), &json!(["a/m1"]))]);
}

#[test]
fn a_loss_that_leaves_no_answer_is_exit_1() {
    let a = Provider::start();
    let home = home(&chain_config(&[("a", &a)]));
    let (code, report) = report(&home, &["--without", "a"]);
    assert_eq!((code, &report["ok"]), (1, &json!(false)), "{report}");
    assert!(report["without"][0]["chains"].as_array().unwrap().iter().all(|chain| chain["usable"] == false), "{report}");
    let table = run(&home, &["--without", "a"]).expect_code(1);
    assert!(table.stdout.contains("without a") && table.stderr.contains("without a"), "{}{}", table.stdout, table.stderr);
}

#[test]
fn a_loss_after_which_a_tier_must_borrow_is_a_warning() {
    let (a, b) = (Provider::start(), Provider::start());
    let config = chain_config(&[("a", &a), ("b", &b)]).replace("COMPLEX = [\"a/m1\", \"b/m1\"]", "COMPLEX = [\"a/m1\"]");
    let home = home(&config);
    let (code, report) = report(&home, &["--without", "a"]);
    assert_eq!(code, 0, "{report}");
    let complex = &report["without"][0]["chains"][4];
    assert!(complex["usable"] == true && complex["borrowed_from"].is_string(), "{report}");
    run(&home, &["--without", "a", "--strict"]).expect_code(1);
}

#[test]
fn an_unknown_name_behind_without_is_exit_2_with_the_nearest() {
    let (a, _b, home) = two();
    let done = run(&home, &["--without", "aa"]).expect_code(2);
    assert!(done.stdout.is_empty() && done.stderr.contains("aa"), "{}", done.stderr);
    let done = run(&home, &["--without", "a", "--without", "opennai"]).expect_code(2);
    assert!(done.stderr.contains("openai"), "{}", done.stderr);
    // A provider that exists and is not configured has nothing to lose, and is likely a mistake.
    run(&home, &["--without", "openai"]).expect_code(2);
    assert_eq!(a.requests().len(), 0, "it is said before anybody is asked");
}

// --- Live ---

#[test]
fn live_makes_exactly_one_small_call_to_each_provider() {
    let (a, b, home) = two();
    let (code, report) = report(&home, &["--live"]);
    assert_eq!(code, 0, "{report}");
    for (place, provider) in [&a, &b].into_iter().enumerate() {
        let calls = provider.chats();
        assert_eq!(calls.len(), 1, "{calls:?}");
        let body = calls[0].json();
        assert!(body["max_tokens"].as_u64().is_some_and(|most| most <= 32) && calls[0].bytes.len() < 500, "{body}");
        assert_eq!(body["model"], "m1", "{body}");
        let live = &report["providers"][place]["live"];
        assert_eq!((&live["class"], &live["status"]), (&json!("ok"), &json!(200)), "{report}");
    }
}

#[test]
fn without_live_nothing_is_billed() {
    let (a, _b, home) = two();
    assert_eq!(report(&home, &["--without", "b"]).1["providers"][0].get("live"), None);
    assert_eq!(a.count(), 0);
}

#[test]
fn a_live_call_that_fails_is_exit_1_with_its_class_and_is_not_made_again() {
    for (status, class) in
        [(503, "overloaded"), (500, "server_error"), (429, "rate_limited"), (402, "no_credit"), (404, "model_gone"), (400, "bad_request")]
    {
        let (a, b, home) = two();
        a.always(Reply::status(status));
        let (code, report) = report(&home, &["--live"]);
        assert_eq!((code, &report["ok"]), (1, &json!(false)), "{status}: {report}");
        let live = &report["providers"][0]["live"];
        assert_eq!((&live["class"], &live["status"]), (&json!(class), &json!(status)), "{report}");
        assert_eq!((a.count(), b.count()), (1, 1), "{status}: no other provider stands in for it");
    }
}

#[test]
fn a_live_call_that_fails_is_told_in_every_format() {
    let (a, _b, home) = two();
    a.always(Reply::status(503));
    let args = ["--live"];
    let table = run(&home, &args).expect_code(1);
    assert!(table.stdout.contains("overloaded") && table.stdout.contains("a/m1"), "{}", table.stdout);
    let (_, root) = junit(&home, &args);
    assert!(root.case("a").child("failure").is_some_and(|failure| failure.get("message").contains("overloaded")), "{root:?}");
    let (_, found) = github(&home, &args);
    assert!(found.iter().any(|command| command.name == "error" && command.message.contains("overloaded")), "{found:?}");
}

#[test]
fn live_asks_nobody_whose_check_failed() {
    let (providers, home) = mixed();
    report(&home, &["--live"]);
    assert_eq!((providers[0].count(), providers[1].count()), (1, 0));
}

#[test]
fn a_live_call_goes_to_a_listed_model_when_no_chain_has_one() {
    let a = Provider::start();
    a.model_ids(&["only-this"]);
    let config = format!("{}[pool]\nonly = [\"a\"]\n", table("a", &a, ""));
    let (code, report) = report(&home(&config), &["--live"]);
    assert_eq!((code, &report["providers"][0]["live"]["model"]), (0, &json!("a/only-this")), "{report}");
    assert_eq!(a.chats()[0].json()["model"], "only-this");
}

#[test]
fn a_key_that_is_good_for_the_list_and_not_for_calls_is_found() {
    let a = Provider::start();
    a.always(Reply::json(401, json!({"error": {"message": format!("Incorrect API key provided: {KEY}")}}).to_string()));
    let config = chain_config(&[("a", &a)]).replace("api_key_env = \"\"", "api_key_env = \"X_KEY\"");
    let (code, report) = report(&home(&config), &["--live"]);
    assert_eq!((code, &report["providers"][0]["live"]["class"]), (1, &json!("auth")), "{report}");
    assert_eq!(a.count(), 1);
}

// --- What is told beside the result ---

#[test]
fn key_variables_are_named_with_whether_they_are_set() {
    let (_providers, home) = mixed();
    let (_, report) = report(&home, &[]);
    let set = |name: &str| {
        let all = report["key_variables"].as_array().expect("variables");
        all.iter().find(|variable| variable["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"))["set"].clone()
    };
    assert_eq!((set("X_KEY"), set("NEVER_SET"), set("OPENAI_API_KEY")), (json!(true), json!(false), json!(false)));
    let table = run(&home, &[]);
    for text in ["X_KEY", "NEVER_SET", "OPENAI_API_KEY"] {
        assert!(table.stderr.contains(text), "{text}: {}", table.stderr);
    }
}

#[test]
fn a_variable_that_holds_nothing_usable_is_not_told_as_a_good_key() {
    let a = Provider::start();
    let mut home = home(&format!("{}[pool]\nonly = [\"a\"]\n", table("a", &a, "B_KEY")));
    home.set_env("B_KEY", "  ");
    let (code, report) = report(&home, &[]);
    assert_eq!((code, &report["providers"][0]["result"]), (1, &json!("no_key")), "{report}");
    let variables = report["key_variables"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["name"] == "B_KEY" && variable["set"] == false), "{report}");
}

#[test]
fn a_model_that_is_not_listed_is_a_warning_with_the_nearest_in_every_format() {
    let a = Provider::start();
    a.model_ids(&["qwen3-32b", "other"]);
    let home = home(&chain_config(&[("a", &a)]).replace("a/m1", "a/qwen3-23b"));
    let (code, report) = report(&home, &[]);
    let warnings = report["warnings"].to_string();
    assert!(code == 0 && warnings.contains("qwen3-23b") && warnings.contains("nearest is qwen3-32b"), "{report}");
    let (_, found) = github(&home, &[]);
    assert!(found.iter().any(|command| command.name == "warning" && command.message.contains("qwen3-32b")), "{found:?}");
    let (_, root) = junit(&home, &[]);
    assert!(root.all("testsuite").any(|suite| suite.child("system-out").is_some_and(|out| out.text.contains("qwen3-32b"))), "{root:?}");
    assert_eq!(run(&home, &["--strict"]).code, 1);
}

#[test]
fn stdout_holds_the_document_alone() {
    let (_providers, home) = mixed();
    for format in ["json", "junit"] {
        for more in [&["-vv"][..], &["--color", "always"], &["--strict", "--live"]] {
            let done = run(&home, &[&["--format", format], more].concat());
            let first = done.stdout.chars().next();
            assert_eq!(first, Some(if format == "json" { '{' } else { '<' }), "{}", done.stdout);
            assert!(!done.stdout.contains('\u{1b}'), "{}", done.stdout);
        }
    }
}

#[test]
fn quiet_leaves_the_document_and_the_exit_code() {
    let (_providers, home) = mixed();
    let (loud, quiet) = (run(&home, &["--format", "junit"]), run(&home, &["--format", "junit", "-q"]));
    assert_eq!((loud.code, quiet.code), (1, 1));
    assert_eq!(xml(&loud.stdout).cases().len(), xml(&quiet.stdout).cases().len());
}
