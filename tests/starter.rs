//! `routor config init` and `routor config show`: the starter file, and what is
//! in force with where each value comes from.

mod support;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use support::{Daemon, Finished, Home, Provider, chain_config};

const KEY: &str = "sk-canary-4242424242";

/// Where the file is looked for when nothing else is said.
const USUAL: &str = "c/routor/routor.toml";

#[track_caller]
fn run(home: &Home, args: &[&str]) -> Finished {
    let done = home.run(args);
    assert!(!done.stdout.contains("canary") && !done.stderr.contains("canary"), "a key was shown: {}{}", done.stdout, done.stderr);
    assert!(!done.stderr.contains("made a mistake"), "{}", done.stderr);
    done
}

fn text(home: &Home, name: &str) -> String {
    fs::read_to_string(home.path().join(name)).unwrap_or_else(|problem| panic!("{name}: {problem}"))
}

/// A home in which nothing reaches the world.
fn offline(variables: &[&str]) -> Home {
    let mut home = Home::new();
    home.set_env("HTTPS_PROXY", "http://127.0.0.1:9");
    variables.iter().for_each(|name| home.set_env(name, KEY));
    home
}

/// Everything in a folder, by name.
fn inside(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

// --- init ---

#[test]
fn init_writes_the_file_where_it_is_looked_for() {
    let home = Home::new();
    let done = run(&home, &["config", "init"]).expect_code(0);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains(&home.path().join(USUAL).display().to_string()), "{}", done.stderr);
    assert!(text(&home, USUAL).starts_with("# "));
    assert_eq!(inside(&home.path().join("c/routor")), ["routor.toml"], "nothing else is left there");
}

#[test]
fn init_does_not_overwrite_a_file() {
    let home = Home::new();
    home.write(USUAL, "# mine\n");
    let done = run(&home, &["config", "init"]).expect_code(1);
    assert!(done.stderr.contains("--force") && done.stderr.contains("routor.toml"), "{}", done.stderr);
    assert_eq!(text(&home, USUAL), "# mine\n");
}

#[test]
fn init_twice_is_exit_1_and_changes_nothing() {
    let home = Home::new();
    run(&home, &["config", "init"]).expect_code(0);
    let before = text(&home, USUAL);
    run(&home, &["config", "init"]).expect_code(1);
    assert_eq!(text(&home, USUAL), before);
}

#[test]
fn force_replaces_the_whole_file() {
    let home = Home::new();
    home.write(USUAL, "# mine\n".repeat(5000));
    run(&home, &["config", "init", "--force"]).expect_code(0);
    assert!(!text(&home, USUAL).contains("# mine"));
    assert_eq!(text(&home, USUAL), run(&home, &["config", "init", "--stdout"]).stdout);
}

#[test]
fn stdout_prints_and_writes_nothing() {
    let home = Home::new();
    let done = run(&home, &["config", "init", "--stdout"]).expect_code(0);
    assert!(done.stdout.contains("[server]") && !home.config_dir().exists(), "{}", done.stdout);
    home.write(USUAL, "# mine\n");
    run(&home, &["config", "init", "--stdout"]).expect_code(0);
    run(&home, &["config", "init", "--stdout", "--force"]).expect_code(2);
    assert_eq!(text(&home, USUAL), "# mine\n");
}

#[test]
fn flag_and_variable_say_where_it_goes() {
    let mut home = Home::new();
    let place = |name: &str| home.path().join(name).display().to_string();
    let (by_flag, by_variable) = (place("f/flag.toml"), place("v/variable.toml"));
    home.set_env("ROUTOR_CONFIG", &by_variable);
    run(&home, &["config", "init"]).expect_code(0);
    run(&home, &["config", "init", "--config", &by_flag]).expect_code(0);
    run(&home, &["--config", "plain.toml", "config", "init"]).expect_code(0);
    assert_eq!(text(&home, "f/flag.toml"), text(&home, "v/variable.toml"));
    assert_eq!(text(&home, "plain.toml"), text(&home, "v/variable.toml"));
    assert!(!home.config_dir().exists());
    run(&home, &["config", "init"]).expect_code(1);
}

#[test]
fn a_place_that_cannot_be_written_is_exit_1_and_leaves_nothing() {
    let home = Home::new();
    home.write("file", "x");
    fs::create_dir(home.path().join("folder")).unwrap();
    let place = |name: &str| home.path().join(name).display().to_string();
    for path in [place("file/routor.toml"), place("file/deep/routor.toml"), "/proc/routor/routor.toml".to_owned(), place("folder")] {
        for force in [&[][..], &["--force"]] {
            let done = run(&home, &[&["config", "init", "--config", &path], force].concat()).expect_code(1);
            assert!(done.stderr.contains(&path), "{}", done.stderr);
        }
    }
    let mut left = inside(home.path());
    left.sort();
    assert_eq!(left, ["file", "folder"]);
    assert!(inside(&home.path().join("folder")).is_empty());
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written_is_exit_1() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let folder = home.path().join("locked");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(folder.join("probe"), "").is_ok() {
        eprintln!("not run: this user may write everywhere");
        return;
    }
    let path = folder.join("routor.toml").display().to_string();
    let done = run(&home, &["config", "init", "--config", &path]).expect_code(1);
    assert!(done.stderr.contains(&path), "{}", done.stderr);
}

#[test]
fn the_starter_names_the_variables_that_are_set_and_no_key() {
    let home = offline(&["OPENAI_API_KEY", "GOOGLE_API_KEY"]);
    let starter = run(&home, &["config", "init", "--stdout"]).stdout;
    assert!(starter.contains("[providers.openai]\napi_key_env = \"OPENAI_API_KEY\""), "{starter}");
    assert!(starter.contains("[providers.google]\napi_key_env = \"GOOGLE_API_KEY\""), "{starter}");
    assert!(!starter.contains("\n[providers.anthropic]"), "{starter}");
}

#[test]
fn every_example_of_the_starter_is_right() {
    let home = offline(&["OPENAI_API_KEY"]);
    let starter = run(&home, &["config", "init", "--stdout"]).stdout;
    // Each line that can be uncommented is, as its reader would.
    let is_setting = |line: &str| line.starts_with("# ") && (line.contains(" = ") || line.starts_with("# ["));
    let open: String = starter
        .lines()
        .map(|line| if is_setting(line) { line.trim_start_matches("# ") } else { line })
        .filter(|line| !line.contains("api_key_file"))
        .map(|line| format!("{line}\n"))
        .collect();
    home.write(USUAL, &open);
    let done = run(&home, &["config", "show"]);
    assert_eq!(done.code, 0, "{}\n{open}", done.stderr);
}

/// What there is to be asked for, whole.
#[track_caller]
fn models(home: &Home, config: &[&str]) -> Value {
    let done = run(home, &[&["models", "--json", "--all"], config].concat()).expect_code(0);
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn the_starter_changes_nothing() {
    for variables in [
        &[][..],
        &["OPENAI_API_KEY"],
        &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        &["ANTHROPIC_API_KEY", "MOONSHOT_API_KEY", "DEEPSEEK_API_KEY", "GROQ_API_KEY", "OPENROUTER_API_KEY"],
    ] {
        let home = offline(variables);
        let before = models(&home, &[]);
        run(&home, &["config", "init"]).expect_code(0);
        assert_eq!(models(&home, &[]), before, "{variables:?}");
    }
}

#[test]
fn the_starter_is_accepted_by_check_and_by_serve() {
    let empty = offline(&[]);
    run(&empty, &["config", "init"]).expect_code(0);
    assert_eq!(run(&empty, &["check"]).code, 2, "still nothing is configured");
    let home = offline(&["OPENAI_API_KEY"]);
    run(&home, &["config", "init"]).expect_code(0);
    let done = run(&home, &["check", "--timeout", "2s", "--format", "json"]).expect_code(1);
    assert!(done.stdout.contains("\"provider\":\"openai\",\"result\":\"unreachable\""), "{}", done.stdout);
    let served = run(&home, &["serve", "--port", "0"]).expect_code(1);
    assert!(served.stderr.contains("openai") && served.stderr.contains("unreachable"), "{}", served.stderr);
}

// --- show ---

/// The lines of `config show`, without the head.
#[track_caller]
fn show(home: &Home, args: &[&str]) -> String {
    run(home, &[&["config", "show"], args].concat()).expect_code(0).stdout
}

/// The line of this key in this section.
#[track_caller]
fn value<'a>(shown: &'a str, section: &str, key: &str) -> &'a str {
    let mut inside = false;
    for line in shown.lines() {
        if line.starts_with('[') && !line.starts_with("[[") {
            inside = line == format!("[{section}]");
        }
        if inside && line.trim_start_matches("# ").split_once(" = ").is_some_and(|(name, _)| name == key) {
            return line;
        }
    }
    panic!("no {key} in [{section}]: {shown}")
}

#[track_caller]
fn origin<'a>(shown: &'a str, section: &str, key: &str) -> &'a str {
    value(shown, section, key).rsplit_once("# ").expect("an origin").1
}

#[test]
fn without_a_file_everything_is_a_default() {
    let shown = show(&Home::new(), &[]);
    assert!(shown.contains("the file: none"), "{shown}");
    for (section, key) in [
        ("server", "listen"),
        ("server", "max_body"),
        ("server", "overflow"),
        ("timeouts", "connect"),
        ("timeouts", "total"),
        ("validation", "recheck"),
        ("routing", "order"),
        ("breaker", "failures"),
        ("log", "requests"),
        ("tiers", "LIGHT"),
    ] {
        assert_eq!(origin(&shown, section, key), "default", "{section}.{key}");
    }
    assert!(value(&shown, "timeouts", "idle").starts_with("idle = \"1m\""), "{shown}");
}

#[test]
fn a_value_of_the_file_is_shown_with_its_line() {
    let home = Home::new();
    let file = "# a comment\n\n[server]\noverflow = \"400\"\nmax_body = \"1MiB\"\n\n[timeouts]\n# another\nidle = \"90s\"\n\
                [breaker]\nfailures = 2\n[tiers]\nLIGHT = [\n  \"openai/gpt-5.5\",\n]\n[aliases]\n\"my own\" = \"LIGHT\"\n[log]\nkeep_days = 3\n";
    home.write(USUAL, file);
    let shown = show(&home, &[]);
    for (section, key, start, line) in [
        ("server", "overflow", "overflow = \"400\"", 4),
        ("server", "max_body", "max_body = \"1", 5),
        ("timeouts", "idle", "idle = \"1m30s\"", 9),
        ("breaker", "failures", "failures = 2", 11),
        ("tiers", "LIGHT", "LIGHT = [", 13),
        ("aliases", "\"my own\"", "\"my own\" = \"LIGHT\"", 17),
        ("log", "keep_days", "keep_days = 3", 19),
    ] {
        assert!(value(&shown, section, key).starts_with(start), "{shown}");
        assert_eq!(origin(&shown, section, key), format!("routor.toml:{line}"), "{section}.{key}");
    }
    assert_eq!(origin(&shown, "log", "requests"), "default");
    assert!(shown.contains(&format!("the file: {}", home.path().join(USUAL).display())), "{shown}");
}

#[test]
fn a_file_with_windows_line_ends_and_a_mark_has_the_same_lines() {
    let home = Home::new();
    home.write(USUAL, "\u{feff}[log]\r\n\r\nkeep_days = 3\r\n");
    assert_eq!(origin(&show(&home, &[]), "log", "keep_days"), "routor.toml:3");
}

#[test]
fn an_inline_table_and_a_dotted_key_have_their_line_too() {
    let home = Home::new();
    home.write(USUAL, "log.keep_days = 3\nbreaker = { failures = 7 }\n");
    let shown = show(&home, &[]);
    assert_eq!((origin(&shown, "log", "keep_days"), origin(&shown, "breaker", "failures")), ("routor.toml:1", "routor.toml:2"));
}

#[test]
fn what_the_environment_says_is_shown_as_such() {
    let mut home = offline(&["OPENAI_API_KEY"]);
    home.set_env("DEBUG_ROUTING", "1");
    home.set_env("ROUTOR_API_KEY", "client-canary-1");
    let shown = show(&home, &[]);
    assert_eq!(origin(&shown, "server", "debug_routing"), "DEBUG_ROUTING");
    assert!(value(&shown, "server", "debug_routing").starts_with("debug_routing = true"), "{shown}");
    assert!(origin(&shown, "server", "api_key_env").contains("set: clients must send it"), "{shown}");
    assert!(value(&shown, "providers.openai", "api_key_env").contains("\"OPENAI_API_KEY\""), "{shown}");
    assert!(origin(&shown, "providers.openai", "api_key_env").ends_with("; set"), "{shown}");
}

#[test]
fn the_flag_says_which_file_is_shown() {
    let mut home = Home::new();
    home.write(USUAL, "[log]\nkeep_days = 3\n");
    let other = home.write("other.toml", "[log]\nkeep_days = 4\n").display().to_string();
    let variable = home.write("variable.toml", "[log]\nkeep_days = 5\n").display().to_string();
    assert!(value(&show(&home, &[]), "log", "keep_days").starts_with("keep_days = 3"));
    home.set_env("ROUTOR_CONFIG", &variable);
    assert_eq!(origin(&show(&home, &[]), "log", "keep_days"), "variable.toml:2");
    let shown = show(&home, &["--config", &other]);
    assert_eq!(origin(&shown, "log", "keep_days"), "other.toml:2");
    assert!(value(&shown, "log", "keep_days").starts_with("keep_days = 4"), "{shown}");
}

#[test]
fn no_key_and_no_secret_header_is_ever_shown() {
    let mut home = offline(&["OPENAI_API_KEY", "X_KEY"]);
    home.set_env("SECRET_HEADER", "header-canary");
    let file = home.write("key", format!("{KEY}\n")).display().to_string();
    home.write(
        USUAL,
        format!(
            "[providers.lab]\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"X_KEY\"\nheaders_env = {{ \"x-secret\" = \"SECRET_HEADER\" }}\n\
             [providers.two]\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_file = \"{file}\"\n"
        ),
    );
    // `run` looks for the keys in all that is printed.
    for args in [&[][..], &["-vv"], &["--color", "always"]] {
        let shown = show(&home, args);
        assert!(shown.contains("SECRET_HEADER") && shown.contains("X_KEY"), "{shown}");
        assert!(value(&shown, "providers.two", "api_key_file").contains(&file), "{shown}");
    }
}

#[test]
fn a_key_that_is_missing_is_said() {
    let home = Home::new();
    home.write(USUAL, "[providers.openai]\n");
    let shown = show(&home, &[]);
    assert!(origin(&shown, "providers.openai", "api_key_env").ends_with("not usable"), "{shown}");
}

/// What is shown, without comments and empty lines.
fn bare(shown: &str) -> Vec<String> {
    let kept = shown.lines().map(|line| line.split(" # ").next().unwrap_or_default().trim_end().to_owned());
    kept.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[test]
fn what_is_shown_is_a_configuration_that_shows_the_same() {
    let (a, b) = (Provider::start(), Provider::start());
    let extra = "[aliases]\n\"my own\" = [\"a/m1\", \"b/m1\"]\nstar = { to = \"a/m1\", local_only = true }\n\"*\" = \"auto\"\n\
                 [models.\"a/m1\"]\ncontext_window = 4096\nmax_output = 512\ntier = \"LIGHT\"\ninput_usd_per_mtok = 0.25\n\
                 [models.\"a/m1\".timeouts]\nfirst = \"7s\"\n[providers.a.timeouts]\nconnect = \"2s\"\n\
                 [routing]\norder = \"cost\"\nfloor = \"LIGHT\"\nspill = \"up\"\n[validation]\nrecheck = \"60s\"\ntimeout = \"1500ms\"\n\
                 [breaker]\ncooldown = \"90s\"\n[server]\noverflow = \"400\"\nmax_body = \"2MiB\"\nallow_hosts = [\"x.example\"]\n";
    let home = Home::new();
    home.write(USUAL, format!("{}{extra}", chain_config(&[("a", &a), ("b", &b)])));
    let first = show(&home, &[]);
    let again = home.write("again.toml", &first).display().to_string();
    let second = bare(&show(&home, &["--config", &again]));
    for line in bare(&first) {
        assert!(second.contains(&line), "{line} is not in {second:#?}");
    }
}

#[test]
fn odd_names_are_quoted() {
    let odd = ["my lab", "a\"b", "back\\slash", "dots.and:colons", "\u{e9}\u{4e2d}", "[x]", "# no comment", "'single'"];
    let home = Home::new();
    let providers: String =
        odd.iter().map(|name| format!("[providers.{}]\nbase_url = \"http://127.0.0.1:9/v1\"\napi_key_env = \"\"\n", json!(name))).collect();
    let aliases: String = odd.iter().map(|name| format!("{} = {}\n", json!(name), json!(format!("{name}/m 1")))).collect();
    home.write(USUAL, format!("{providers}[aliases]\n{aliases}"));
    let shown = show(&home, &[]);
    let again = home.write("again.toml", &shown).display().to_string();
    let second: Value = models(&home, &["--config", &again]);
    let first: Value = models(&home, &[]);
    assert_eq!(second["names"], first["names"]);
    assert!(odd.iter().all(|name| second["names"].as_array().unwrap().contains(&json!(name))), "{second}");
}

#[test]
fn a_wrong_configuration_is_exit_2_and_shows_nothing() {
    let home = Home::new();
    home.write(USUAL, "[poool]\n[log]\nkeep_days = \"x\"\n");
    let done = run(&home, &["config", "show"]).expect_code(2);
    assert_eq!(done.stdout, "");
    assert!(done.stderr.contains("poool") && done.stderr.contains("keep_days"), "all problems at once: {}", done.stderr);
    let done = run(&home, &["config", "show", "--config", "nowhere.toml"]).expect_code(2);
    assert!(done.stderr.contains("nowhere.toml"), "{}", done.stderr);
}

#[test]
fn wrong_usage_is_exit_2() {
    for args in [&["config"][..], &["config", "edit"], &["config", "show", "--force"], &["config", "init", "extra"]] {
        run(&Home::new(), args).expect_code(2);
    }
}

#[test]
fn a_closed_pipe_is_exit_0() {
    let home = Home::new();
    for args in [&["config", "show"][..], &["config", "init", "--stdout"]] {
        let mut child = home.command(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        assert_eq!((done.status.code(), String::from_utf8_lossy(&done.stderr).as_ref()), (Some(0), ""));
    }
}

#[test]
fn what_is_shown_serves_as_the_file_did() {
    let (a, b) = (Provider::start(), Provider::start());
    let home = Home::new();
    home.write(USUAL, format!("{}[server]\ndebug_routing = true\n", chain_config(&[("a", &a), ("b", &b)])));
    let daemon = Daemon::builder().config(show(&home, &[])).start();
    a.then(support::Reply::status(503));
    let answer = support::post_chat(daemon.port(), support::ASK);
    assert_eq!((answer.status, answer.header("x-routor-model")), (200, Some("b/m1")));
}
