//! `routor check`: what each answer of a provider proves, what the exit code
//! says, and that no key is ever shown.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Finished, Home, Input, Provider, Reply, Step, chain_config};

const KEY: &str = "sk-canary-4242424242";

/// A home with this configuration and this variable.
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
    done
}

/// Runs `check --format json` with these arguments; gives the code and the report.
#[track_caller]
fn report(home: &Home, args: &[&str]) -> (i32, Value) {
    let done = run(home, &[args, &["--format", "json"]].concat());
    let value = serde_json::from_str(&done.stdout);
    (done.code, value.unwrap_or_else(|problem| panic!("not one JSON document ({problem}): {}\n{}", done.stdout, done.stderr)))
}

/// The row of this provider.
#[track_caller]
fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let rows = report["providers"].as_array().expect("providers");
    rows.iter().find(|row| row["provider"] == name).unwrap_or_else(|| panic!("no row of {name}: {report}"))
}

/// OpenAI moved to this place: its list of models proves the key.
fn openai(base_url: &str) -> String {
    format!("[providers.openai]\nbase_url = \"{base_url}\"\napi_key_env = \"X_KEY\"\n[pool]\nonly = [\"openai\"]\n")
}

/// What `check` makes of this answer to `GET /models`, and the exit code.
#[track_caller]
fn judged(reply: Reply) -> (String, i32) {
    let provider = Provider::start();
    provider.models(reply);
    let (code, report) = report(&home(&openai(&provider.base_url())), &["--timeout", "3s"]);
    assert_eq!(provider.count(), 0, "a billed call was made");
    (row(&report, "openai")["result"].as_str().expect("a result").to_owned(), code)
}

#[track_caller]
fn assert_judged(replies: Vec<(&str, Reply)>, result: &str, code: i32) {
    for (what, reply) in replies {
        assert_eq!(judged(reply), (result.to_owned(), code), "{what}");
    }
}

// --- Results ---

#[test]
fn a_key_that_the_list_accepts_is_ok() {
    let provider = Provider::start();
    provider.model_ids(&["gpt-6.1-sol", "gpt-6.1-terra"]);
    let (code, report) = report(&home(&openai(&provider.base_url())), &[]);
    let row = row(&report, "openai");
    assert_eq!((code, &row["result"], &row["status"], &row["models"]), (0, &json!("ok"), &json!(200), &json!(2)));
    let asked = provider.requests();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("GET", "/v1/models"));
    assert_eq!(asked[0].header("authorization"), Some(format!("Bearer {KEY}").as_str()));
}

#[test]
fn a_provider_that_needs_no_key_is_ok_when_it_lists_models() {
    let provider = Provider::start();
    let (code, report) = report(&home(&chain_config(&[("lab", &provider)])), &[]);
    assert_eq!((code, &row(&report, "lab")["result"]), (0, &json!("ok")));
}

/// A server whose list of models needs this key: 401 without it.
fn keyed_list(key: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0];
                while stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    head.push(byte[0]);
                    if !head.ends_with(b"\r\n\r\n") {
                        continue;
                    }
                    let good = String::from_utf8_lossy(&head).contains(key);
                    head.clear();
                    let (line, body) = if good { ("200 OK", r#"{"data":[{"id":"m1"}]}"#) } else { ("401 Unauthorized", "{}") };
                    let answer =
                        format!("HTTP/1.1 {line}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn lab(port: u16) -> String {
    format!("[providers.lab]\nbase_url = \"http://127.0.0.1:{port}/v1\"\napi_key_env = \"X_KEY\"\n[pool]\nonly = [\"lab\"]\n")
}

#[test]
fn a_list_that_is_refused_without_the_key_proves_the_key() {
    let (code, report) = report(&home(&lab(keyed_list(KEY))), &[]);
    assert_eq!((code, &row(&report, "lab")["result"]), (0, &json!("ok")), "{report}");
}

#[test]
fn a_list_that_refuses_the_key_rejects_it() {
    let (code, report) = report(&home(&lab(keyed_list("another"))), &[]);
    assert_eq!((code, &row(&report, "lab")["result"]), (1, &json!("rejected")), "{report}");
}

#[test]
fn d163_a_list_that_is_public_leaves_the_key_unverified() {
    let provider = Provider::start();
    let (code, report) = report(&home(&lab(provider.port())), &[]);
    assert_eq!((code, &row(&report, "lab")["result"]), (0, &json!("unverified")), "{report}");
    let keys: Vec<bool> = provider.requests().iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(keys, [true, false]);
}

#[test]
fn d163_built_in_providers_whose_list_is_public_leave_the_key_unverified() {
    for name in ["nvidia", "minimax", "alibaba", "llamacpp"] {
        let provider = Provider::start();
        let (code, report) = report(&home(&openai(&provider.base_url()).replace("openai", name)), &[]);
        assert_eq!((code, &row(&report, name)["result"]), (0, &json!("unverified")), "{report}");
    }
}

#[test]
fn a_401_rejects_the_key() {
    let html = Reply::json(401, "<html>401 Authorization Required</html>").with_header("content-type", "text/html");
    assert_judged(vec![("OpenAI", Reply::status(401)), ("empty", Reply::json(401, "")), ("HTML", html)], "rejected", 1);
}

#[test]
fn d165_a_400_that_blames_the_key_rejects_it() {
    let google = r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}]"#;
    let xai = r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: sk***42. You can obtain an API key from https://console.x.ai."}"#;
    assert_judged(vec![("Google", Reply::json(400, google)), ("xAI", Reply::json(400, xai))], "rejected", 1);
}

#[test]
fn a_403_rejects_the_key_only_when_its_text_blames_the_key() {
    let blames = r#"{"code":"unauthenticated:bad-credentials","error":"The OAuth2 access token could not be validated."}"#;
    let other = r#"{"error":{"message":"Country, region, or territory not supported","code":"unsupported_country_region_territory"}}"#;
    assert_eq!(judged(Reply::json(403, blames)), ("rejected".to_owned(), 1));
    assert_eq!(judged(Reply::json(403, other)), ("unverified".to_owned(), 0));
}

#[test]
fn d162_a_key_that_its_own_route_refuses_is_rejected_though_the_list_is_public() {
    let provider = Provider::start();
    provider.on("/key", Reply::json(401, r#"{"error":{"message":"User not found.","code":401}}"#));
    let config = openai(&provider.base_url()).replace("openai", "openrouter");
    let (code, report) = report(&home(&config), &[]);
    assert_eq!((code, &row(&report, "openrouter")["result"]), (1, &json!("rejected")), "{report}");
}

#[test]
fn d166_a_refused_connection_is_unreachable() {
    let provider = Provider::start();
    provider.stop();
    let (code, report) = report(&home(&openai(&provider.base_url())), &[]);
    let row = row(&report, "openai");
    assert_eq!((code, &row["result"], &row["status"]), (1, &json!("unreachable"), &Value::Null), "{report}");
}

#[test]
fn d166_a_5xx_is_unreachable() {
    let rows = [500, 502, 503, 504, 529].map(|status| ("5xx", Reply::status(status)));
    assert_judged(rows.to_vec(), "unreachable", 1);
}

#[test]
fn d166_a_server_that_is_silent_closes_or_resets_is_unreachable() {
    let rows = [
        ("silent", Reply::hang()),
        ("closes", Reply::close()),
        ("resets", Reply::reset()),
        ("noise", Reply::raw("nonsense\r\n\r\n").and(Step::Close)),
    ];
    for (what, reply) in rows {
        let provider = Provider::start();
        provider.models(reply);
        let (code, report) = report(&home(&openai(&provider.base_url())), &["--timeout", "400ms"]);
        assert_eq!((code, &row(&report, "openai")["result"]), (1, &json!("unreachable")), "{what}: {report}");
    }
}

#[test]
fn d166_a_name_that_does_not_exist_and_a_failed_tls_handshake_are_unreachable() {
    let provider = Provider::start();
    for base_url in ["https://nowhere.invalid/v1".to_owned(), provider.base_url().replace("http:", "https:")] {
        let (code, report) = report(&home(&openai(&base_url)), &["--timeout", "2s"]);
        assert_eq!((code, &row(&report, "openai")["result"]), (1, &json!("unreachable")), "{base_url}: {report}");
    }
}

#[test]
fn a_provider_of_the_file_without_its_key_is_no_key_and_is_not_asked() {
    let provider = Provider::start();
    let config = openai(&provider.base_url()).replace("X_KEY", "NEVER_SET");
    let (code, report) = report(&home(&config), &[]);
    let row = row(&report, "openai");
    assert_eq!((code, &row["result"], &row["key_env"]), (1, &json!("no_key"), &json!("NEVER_SET")), "{report}");
    assert!(row["detail"].as_str().unwrap().contains("NEVER_SET"), "{report}");
    assert_eq!(provider.requests().len(), 0);
}

#[test]
fn no_credit_is_seen_by_status_or_text() {
    let quota = r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
    let rows = vec![
        ("402", Reply::status(402)),
        ("429", Reply::json(429, quota)),
        ("500", Reply::json(500, r#"{"error":{"message":"insufficient balance (1008)"}}"#)),
    ];
    assert_judged(rows, "no_credit", 1);
}

#[test]
fn d166_an_answer_that_proves_nothing_leaves_it_unverified() {
    let html = Reply::json(200, "<!doctype html><html><title>Sign in</title></html>").with_header("content-type", "text/html");
    let rows = vec![
        ("404", Reply::status(404)),
        ("405", Reply::json(405, "Method Not Allowed")),
        ("429", Reply::status(429)),
        ("HTML", html),
        ("empty", Reply::json(200, "")),
        ("not JSON", Reply::json(200, "[1,")),
        ("an error inside", Reply::json(200, r#"{"error":{"message":"try again"}}"#)),
    ];
    assert_judged(rows, "unverified", 0);
}

#[test]
fn d164_a_401_about_scopes_leaves_the_key_unverified() {
    let body = r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read. Check that you have the correct role.","type":"invalid_request_error","param":null,"code":null}}"#;
    let provider = Provider::start();
    provider.models(Reply::json(401, body));
    let (code, report) = report(&home(&openai(&provider.base_url())), &[]);
    let row = row(&report, "openai");
    assert_eq!((code, &row["result"]), (0, &json!("unverified")), "{report}");
    assert!(row["detail"].as_str().unwrap().contains("scope"), "{report}");
}

#[test]
fn d174_a_redirect_is_not_followed_and_the_key_does_not_go_there() {
    let (provider, target) = (Provider::start(), Provider::start());
    for status in [301, 302, 307, 308] {
        let place = format!("{}/login", target.base_url());
        provider.models(Reply::json(status, "").with_header("location", &place));
        let (code, report) = report(&home(&openai(&provider.base_url())), &[]);
        assert_eq!((code, &row(&report, "openai")["result"]), (0, &json!("unverified")), "{status}: {report}");
    }
    assert_eq!(target.connections(), 0);
}

#[test]
fn d167_every_shape_of_a_list_is_read() {
    for (body, models) in [
        (r#"[{"id":"m1"},{"id":"m2"}]"#, 2),
        (r#"{"data":[{"id":"m1"}]}"#, 1),
        (r#"{"object":"list","data":[],"extra":{}}"#, 0),
        (r#"{"models":[]}"#, 0),
        (r#"{"models":[{"name":"models/m1"}]}"#, 1),
        (r#"["m1","m2"]"#, 2),
    ] {
        let provider = Provider::start();
        provider.models(Reply::json(200, body));
        let (code, report) = report(&home(&chain_config(&[("lab", &provider)])), &[]);
        let row = row(&report, "lab");
        assert!(matches!(row["result"].as_str(), Some("ok" | "unverified")), "{body}: {report}");
        assert_eq!((code, &row["models"]), (0, &json!(models)), "{body}: {report}");
    }
}

#[test]
fn d167_an_answer_that_is_no_list_is_unverified() {
    for body in [r#"{"data":null}"#, "{}", "null", "7", r#"{"data":{"id":"m1"}}"#, "\"text\""] {
        let provider = Provider::start();
        provider.models(Reply::json(200, body));
        let (code, report) = report(&home(&chain_config(&[("lab", &provider)])), &[]);
        assert_eq!((code, &row(&report, "lab")["result"]), (0, &json!("unverified")), "{body}: {report}");
    }
}

#[test]
fn d167_a_list_of_5_mb_is_read() {
    let provider = Provider::start();
    let ids: Vec<String> = (0..2000).map(|number| format!("{number}-{}", "x".repeat(200))).collect();
    let entries: Vec<Value> = ids.iter().map(|id| json!({"id": id, "description": "d".repeat(2400)})).collect();
    provider.models(Reply::json(200, json!({"data": entries}).to_string()));
    let (code, report) = report(&home(&chain_config(&[("lab", &provider)])), &["--timeout", "20s"]);
    assert_eq!((code, &row(&report, "lab")["models"]), (0, &json!(2000)));
}

#[test]
fn an_endless_answer_ends_with_the_time_limit() {
    let provider = Provider::start();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\n[\r\n";
    provider.models(Reply::raw(head).and(Step::Hang));
    let started = Instant::now();
    let (code, report) = report(&home(&chain_config(&[("lab", &provider)])), &["--timeout", "500ms"]);
    assert_eq!((code, &row(&report, "lab")["result"]), (1, &json!("unreachable")), "{report}");
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

// --- Keys ---

#[test]
fn d169_a_malformed_key_is_named_and_never_shown_or_sent() {
    let long = "canary".repeat(2000);
    for value in [
        "",
        "   ",
        "\"sk-canary-1\"",
        "'sk-canary-1'",
        "sk-canary-1\n",
        "sk-canary\r\nx-evil: 1",
        "Bearer sk-canary-1",
        "bearer sk-canary-1",
        "sk canary",
        "sk-c\u{e4}nary-canary",
        &long,
    ] {
        let provider = Provider::start();
        let mut home = Home::new();
        home.write("routor.toml", openai(&provider.base_url()));
        home.set_env("X_KEY", value);
        let (code, report) = report(&home, &[]);
        let row = row(&report, "openai");
        assert_eq!((code, &row["result"], &row["key_env"]), (1, &json!("no_key"), &json!("X_KEY")), "{value:?}: {report}");
        let table = run(&home, &[]);
        assert!(table.stdout.contains("X_KEY"), "{value:?}: {}", table.stdout);
        assert_eq!(provider.requests().len(), 0, "{value:?}");
    }
}

#[test]
fn d189_d192_keys_are_not_shown_even_when_the_provider_echoes_them_and_everything_is_said() {
    let body = format!(r#"{{"error":{{"message":"Incorrect API key provided: {KEY}","code":"invalid_api_key"}}}}"#);
    for status in [200, 400, 401, 402, 403, 404, 429, 500] {
        let provider = Provider::start();
        provider.models(Reply::json(status, body.clone()));
        let mut home = home(&openai(&provider.base_url()));
        home.set_env("RUST_LOG", "trace");
        for args in [&["-vv"][..], &["-vv", "--format", "json"]] {
            run(&home, args);
        }
    }
}

#[test]
fn d200_keys_stand_in_the_report_by_the_name_of_their_variable() {
    let provider = Provider::start();
    provider.models(Reply::status(401));
    let home = home(&openai(&provider.base_url()));
    let table = run(&home, &[]);
    assert!(table.stdout.contains("X_KEY"), "{}", table.stdout);
    let (_, report) = report(&home, &[]);
    assert_eq!(row(&report, "openai")["key_env"], "X_KEY");
}

#[test]
fn d170_two_variables_that_differ_are_a_warning_that_names_both() {
    let mut home = Home::new();
    home.set_env("GEMINI_API_KEY", "g-canary-1");
    home.set_env("GOOGLE_API_KEY", "g-canary-2");
    // Nothing leaves the machine.
    home.set_env("HTTPS_PROXY", "http://127.0.0.1:9");
    home.write("routor.toml", "[pool]\nonly = [\"google\"]\n");
    let done = run(&home, &["--timeout", "2s"]).expect_code(1);
    assert!(done.stderr.contains("GEMINI_API_KEY") && done.stderr.contains("GOOGLE_API_KEY"), "{}", done.stderr);
}

#[test]
fn hf_token_is_used_only_when_the_file_names_huggingface() {
    let mut home = Home::new();
    home.set_env("HF_TOKEN", "hf_canary0000");
    home.set_env("HTTPS_PROXY", "http://127.0.0.1:9");
    home.write("routor.toml", "[pool]\nexcept = [\"ollama\", \"lmstudio\"]\n");
    let done = run(&home, &["--timeout", "2s"]).expect_code(2);
    assert!(!done.stdout.contains("huggingface"), "{}", done.stdout);
    home.write("routor.toml", "[pool]\nexcept = [\"ollama\", \"lmstudio\"]\n[providers.huggingface]\n");
    let (code, report) = report(&home, &["--timeout", "2s"]);
    assert_eq!((code, &row(&report, "huggingface")["result"]), (1, &json!("unreachable")), "{report}");
}

#[test]
fn d199_a_key_goes_only_to_its_own_provider() {
    let (mine, other) = (Provider::start(), Provider::start());
    let config = format!(
        "[providers.mine]\nbase_url = \"{}\"\napi_key_env = \"X_KEY\"\n[providers.other]\nbase_url = \"{}\"\napi_key_env = \"\"\n[providers.third]\nbase_url = \"{}\"\napi_key_env = \"NEVER_SET\"\n[pool]\nonly = [\"mine\", \"other\", \"third\"]\n",
        mine.base_url(),
        other.base_url(),
        other.base_url(),
    );
    let (code, report) = report(&home(&config), &[]);
    assert_eq!((code, &row(&report, "third")["result"]), (1, &json!("no_key")), "{report}");
    for request in other.requests() {
        assert!(request.headers.iter().all(|(_, value)| !value.contains("canary")), "{request:?}");
    }
    assert_eq!(other.requests().len(), 1);
}

// --- Exit codes and flags ---

/// Three providers: one works, one rejects its key, one has none.
fn mixed() -> (Vec<Provider>, String) {
    let (good, bad) = (Provider::start(), Provider::start());
    bad.models(Reply::status(401));
    let config = format!(
        "[providers.good]\nbase_url = \"{}\"\napi_key_env = \"\"\n[providers.bad]\nbase_url = \"{}\"\napi_key_env = \"X_KEY\"\n[providers.missing]\nbase_url = \"{}\"\napi_key_env = \"NEVER_SET\"\n[pool]\nonly = [\"good\", \"bad\", \"missing\"]\n[tiers]\nLIGHT = [\"good/m1\"]\n",
        good.base_url(),
        bad.base_url(),
        good.base_url(),
    );
    (vec![good, bad], config)
}

#[test]
fn one_unusable_provider_among_good_ones_is_exit_1() {
    let (_providers, config) = mixed();
    let (code, report) = report(&home(&config), &[]);
    assert_eq!((code, &report["ok"]), (1, &json!(false)), "{report}");
    assert_eq!(row(&report, "good")["result"], "ok");
}

#[test]
fn a_provider_can_be_checked_alone_and_the_others_are_not_asked() {
    let (providers, config) = mixed();
    let (code, report) = report(&home(&config), &["--provider", "good"]);
    assert_eq!((code, &report["ok"], report["providers"].as_array().unwrap().len()), (0, &json!(true), 1), "{report}");
    assert_eq!(providers[1].requests().len(), 0);
}

#[test]
fn provider_can_be_given_several_times() {
    let (_providers, config) = mixed();
    let (code, report) = report(&home(&config), &["--provider", "good", "--provider", "bad"]);
    assert_eq!((code, report["providers"].as_array().unwrap().len()), (1, 2), "{report}");
}

#[test]
fn an_unknown_provider_is_exit_2_and_named() {
    let (_providers, config) = mixed();
    let done = run(&home(&config), &["--provider", "goood"]).expect_code(2);
    assert!(done.stderr.contains("goood") && done.stderr.replace("goood", "").contains("good"), "{}", done.stderr);
    assert_eq!(done.stdout, "");
}

#[test]
fn allow_missing_makes_no_key_a_warning() {
    let (_providers, config) = mixed();
    let args = ["--provider", "good", "--provider", "missing"];
    assert_eq!(report(&home(&config), &args).0, 1);
    let (code, report) = report(&home(&config), &[&args[..], &["--allow-missing"]].concat());
    assert_eq!((code, &row(&report, "missing")["result"]), (0, &json!("no_key")), "{report}");
}

#[test]
fn allow_missing_does_not_excuse_a_rejected_key() {
    let (_providers, config) = mixed();
    assert_eq!(report(&home(&config), &["--allow-missing"]).0, 1);
}

#[test]
fn allow_missing_with_nothing_usable_is_exit_1() {
    let (_providers, config) = mixed();
    assert_eq!(report(&home(&config), &["--provider", "missing", "--allow-missing"]).0, 1);
}

#[test]
fn a_tier_that_must_borrow_is_a_warning_and_exit_1_only_with_strict() {
    let (_providers, config) = mixed();
    // COMPLEX is made of a provider that is not in the pool.
    let config = format!("{config}COMPLEX = [\"bad/m1\"]\n");
    let home = home(&config);
    let usual = run(&home, &["--provider", "good"]).expect_code(0);
    assert!(usual.stderr.contains("COMPLEX"), "{}", usual.stderr);
    run(&home, &["--provider", "good", "--strict"]).expect_code(1);
}

#[test]
fn strict_is_content_when_no_tier_must_borrow() {
    let provider = Provider::start();
    run(&home(&chain_config(&[("lab", &provider)])), &["--strict"]).expect_code(0);
}

#[test]
fn nothing_configured_is_exit_2_and_says_what_to_do() {
    let done = Home::new().run(&["check"]).expect_code(2);
    assert_eq!(done.stdout, "");
    for word in ["OPENAI_API_KEY", "Ollama", "--demo"] {
        assert!(done.stderr.contains(word), "{word}: {}", done.stderr);
    }
}

#[test]
fn an_empty_configuration_file_is_nothing_configured() {
    run(&home(""), &[]).expect_code(2);
}

#[test]
fn a_wrong_configuration_is_exit_2() {
    run(&home("[poool]\n"), &[]).expect_code(2);
}

#[test]
fn wrong_flags_are_exit_2() {
    for args in [&["--format", "xml"][..], &["--timeout", "soon"], &["--timeout", "0s"], &["--timeout", "-5s"], &["--nope"], &["extra"]] {
        assert_eq!(run(&home(""), args).code, 2, "{args:?}");
    }
}

#[test]
fn all_providers_are_asked_at_once() {
    let slow: Vec<Provider> = (0..3)
        .map(|_| {
            let provider = Provider::start();
            provider.models(Reply::model_list(&["m1"]).after(Step::Pause(Duration::from_secs(1))));
            provider
        })
        .collect();
    let home = home(&chain_config(&[("a", &slow[0]), ("b", &slow[1]), ("c", &slow[2])]));
    let started = Instant::now();
    assert_eq!(report(&home, &[]).0, 0);
    let took = started.elapsed();
    assert!(took < Duration::from_millis(2500), "{took:?}");
}

#[test]
fn a_slow_provider_is_cut_at_the_timeout_and_holds_up_nobody() {
    let (slow, quick) = (Provider::start(), Provider::start());
    slow.models(Reply::hang());
    let home = home(&chain_config(&[("slow", &slow), ("quick", &quick)]));
    let started = Instant::now();
    let (code, report) = report(&home, &["--timeout", "500ms"]);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
    assert_eq!((code, &row(&report, "slow")["result"], &row(&report, "quick")["result"]), (1, &json!("unreachable"), &json!("ok")));
    let took = row(&report, "slow")["ms"].as_u64().unwrap();
    assert!((500..1500).contains(&took), "{took}");
    assert!(row(&report, "quick")["ms"].as_u64().unwrap() < 500, "{report}");
}

#[test]
fn the_timeout_of_the_configuration_counts_without_the_flag() {
    let slow = Provider::start();
    slow.models(Reply::hang());
    let home = home(&format!("{}[validation]\ntimeout = \"300ms\"\n", chain_config(&[("slow", &slow)])));
    let started = Instant::now();
    assert_eq!(report(&home, &[]).0, 1);
    assert!(started.elapsed() < Duration::from_secs(3), "{:?}", started.elapsed());
}

// --- What is printed ---

#[test]
fn json_has_the_documented_fields() {
    let (_providers, config) = mixed();
    let (_, report) = report(&home(&format!("{config}COMPLEX = [\"bad/m1\"]\n[models.\"good/m1\"]\ncontext_window = 131072\n")), &[]);
    assert!(report["ok"].is_boolean());
    for row in report["providers"].as_array().unwrap() {
        for (field, fits) in [
            ("provider", row["provider"].is_string()),
            ("result", row["result"].is_string()),
            ("status", row["status"].is_u64() || row["status"].is_null()),
            ("ms", row["ms"].is_u64()),
            ("key_env", row["key_env"].is_string() || row["key_env"].is_null()),
            ("models", row["models"].is_u64() || row["models"].is_null()),
            ("detail", row["detail"].is_string()),
        ] {
            assert!(row.get(field).is_some() && fits, "{field}: {row}");
        }
    }
    let chains = report["chains"].as_array().unwrap();
    let names: Vec<&str> = chains.iter().map(|chain| chain["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["NANO", "SIMPLE", "LIGHT", "STANDARD", "COMPLEX"]);
    let light = &chains[2];
    assert_eq!(
        *light,
        json!({"name": "LIGHT", "candidates": ["good/m1"], "usable": true, "borrowed_from": null, "largest_window": 131_072})
    );
    assert_eq!((&chains[4]["usable"], chains[4]["borrowed_from"].is_string()), (&json!(true), true), "{}", chains[4]);
}

#[test]
fn chains_without_any_provider_are_not_usable() {
    let dead = Provider::start();
    dead.stop();
    let (code, report) = report(&home(&chain_config(&[("dead", &dead)])), &[]);
    assert_eq!((code, &report["ok"]), (1, &json!(false)));
    for chain in report["chains"].as_array().unwrap() {
        assert_eq!(
            (&chain["usable"], &chain["candidates"], &chain["largest_window"]),
            (&json!(false), &json!([]), &Value::Null),
            "{chain}"
        );
    }
}

#[test]
fn the_table_names_each_provider_its_result_and_its_address() {
    let (providers, config) = mixed();
    let done = run(&home(&config), &[]).expect_code(1);
    for text in ["good", "ok", "bad", "rejected", "missing", "no_key", &providers[0].base_url(), "LIGHT"] {
        assert!(done.stdout.contains(text), "{text}: {}", done.stdout);
    }
}

#[test]
fn what_is_removed_is_named_with_what_brings_it_back() {
    let (dead, bad) = (Provider::start(), Provider::start());
    dead.stop();
    bad.models(Reply::status(401));
    let config = format!(
        "[providers.dead]\nbase_url = \"{}\"\napi_key_env = \"\"\n[providers.bad]\nbase_url = \"{}\"\napi_key_env = \"X_KEY\"\n[pool]\nonly = [\"dead\", \"bad\"]\n",
        dead.base_url(),
        bad.base_url()
    );
    let done = run(&home(&config), &[]).expect_code(1);
    assert!(done.stderr.contains("routor reload"), "{}", done.stderr);
    assert!(done.stderr.contains("X_KEY") && done.stderr.contains("restart"), "{}", done.stderr);
}

#[test]
fn a_chain_entry_that_its_provider_does_not_list_is_a_warning_with_the_nearest_id() {
    let provider = Provider::start();
    provider.model_ids(&["m1", "qwen3-32b"]);
    let config = chain_config(&[("lab", &provider)]).replace("lab/m1", "lab/qwen3-23b");
    let done = run(&home(&config), &[]).expect_code(0);
    assert!(done.stderr.contains("qwen3-23b") && done.stderr.contains("qwen3-32b"), "{}", done.stderr);
}

#[test]
fn check_makes_no_billed_call_and_needs_no_daemon() {
    let provider = Provider::start();
    report(&home(&chain_config(&[("lab", &provider)])), &[]);
    assert!(provider.requests().iter().all(|request| request.method == "GET"), "{:?}", provider.requests());
}

#[test]
fn a_key_file_is_used_as_the_variable_is() {
    let home = home("");
    let path = home.write("key", format!("{KEY}\n"));
    let config = format!(
        "[providers.lab]\nbase_url = \"http://127.0.0.1:{}/v1\"\napi_key_file = \"{}\"\n[pool]\nonly = [\"lab\"]\n",
        keyed_list(KEY),
        path.display()
    );
    home.write("routor.toml", config);
    let (code, report) = report(&home, &[]);
    assert_eq!((code, &row(&report, "lab")["result"]), (0, &json!("ok")), "{report}");
}

#[test]
fn a_provider_that_the_pool_leaves_out_is_not_asked() {
    let (kept, left) = (Provider::start(), Provider::start());
    let config = format!(
        "[providers.kept]\nbase_url = \"{}\"\napi_key_env = \"\"\n[providers.left]\nbase_url = \"{}\"\napi_key_env = \"\"\n[pool]\nexcept = [\"left\", \"ollama\", \"lmstudio\"]\n",
        kept.base_url(),
        left.base_url()
    );
    let (code, report) = report(&home(&config), &[]);
    assert_eq!((code, report["providers"].as_array().unwrap().len()), (0, 1), "{report}");
    assert_eq!(left.requests().len(), 0);
}

#[test]
fn a_builtin_at_another_address_does_not_get_the_key_of_its_usual_host() {
    let provider = Provider::start();
    let mut home = Home::new();
    home.set_env("OPENAI_API_KEY", KEY);
    home.write("routor.toml", format!("[providers.openai]\nbase_url = \"{}\"\n[pool]\nonly = [\"openai\"]\n", provider.base_url()));
    run(&home, &[]);
    for request in provider.requests() {
        assert!(request.headers.iter().all(|(_, value)| !value.contains("canary")), "OPENAI_API_KEY went to another host: {request:?}");
    }
}

#[test]
fn d231_a_closed_pipe_changes_no_verdict() {
    let (_providers, config) = mixed();
    let home = home(&config);
    let path = home.path().join("routor.toml").display().to_string();
    for (args, code) in [(vec!["check", "--config", &path], 1), (vec!["check", "--config", &path, "--provider", "good"], 0)] {
        let mut child = home
            .command(&args)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(!String::from_utf8_lossy(&done.stderr).contains("panicked"));
    }
}

#[test]
fn ctrl_c_is_exit_130() {
    let slow = Provider::start();
    slow.models(Reply::hang());
    let home = home(&chain_config(&[("slow", &slow)]));
    let path = home.path().join("routor.toml").display().to_string();
    let process = home.spawn(&["check", "--config", &path], Input::Null);
    let until = Instant::now() + Duration::from_secs(10);
    while slow.connections() == 0 {
        assert!(Instant::now() < until, "nobody was asked");
        thread::yield_now();
    }
    process.signal("INT");
    assert_eq!(process.wait_exit(Duration::from_secs(5)), 130);
}
