//! The configuration file, the flags and the environment: what is refused, in
//! which words, and what is never shown.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Daemon, Finished, Home, Input, Provider, chain_config, chain_config_with, post_chat, routor};

/// What `check` says to this file.
#[track_caller]
fn check(text: impl AsRef<[u8]>) -> Finished {
    check_in(&Home::new(), text)
}

#[track_caller]
fn check_in(home: &Home, text: impl AsRef<[u8]>) -> Finished {
    let path = home.write("routor.toml", text).display().to_string();
    home.run(&["check", "--timeout", "1s", "--config", &path])
}

/// Asserts that this file is refused with all of these words.
#[track_caller]
fn refused(text: impl AsRef<[u8]>, words: &[&str]) -> String {
    let done = check(text).expect_code(2);
    assert_eq!(done.stdout, "");
    for word in words {
        assert!(done.stderr.contains(word), "{word:?} is missing:\n{}", done.stderr);
    }
    assert!(!done.stderr.contains("canary"), "a secret was shown:\n{}", done.stderr);
    done.stderr
}

// --- The file's content ---

#[test]
fn d177_an_unknown_key_is_named_with_its_place_and_the_nearest_name() {
    refused("[server]\nlisten = \"127.0.0.1:0\"\nallow_host = []\n", &["routor.toml:3:1", "allow_host", "allow_hosts"]);
    refused("[timeouts]\nfrist = \"1s\"\n", &["routor.toml:2:1", "frist", "first"]);
    refused("[timeoutz]\n", &["routor.toml:1:2", "timeoutz", "timeouts"]);
    refused("[providers.openai]\napi_key_evn = \"X\"\n", &["routor.toml:2:1", "api_key_env"]);
}

#[test]
fn d177_a_wrong_type_is_named_with_its_place() {
    refused("[server]\nallow_hosts = 7\n", &["routor.toml:2:15", "allow_hosts"]);
    refused("[breaker]\nfailures = \"five\"\n", &["routor.toml:2:12", "failures"]);
    refused("[log]\nrequests = \"yes\"\n", &["routor.toml:2:12", "requests"]);
    refused("server = true\n", &["routor.toml:1:", "server"]);
}

#[test]
fn d177_a_provider_that_does_not_exist_is_named_with_the_nearest() {
    refused("[tiers]\nLIGHT = [\"opnai/gpt-6-luna\"]\n", &["routor.toml:2:10", "opnai", "openai"]);
    refused("[pool]\nonly = [\"gogle\"]\n", &["routor.toml:2:9", "gogle", "google"]);
    refused("[aliases]\n\"x\" = \"gogle/gemini\"\n", &["routor.toml:2:7", "gogle", "google"]);
    refused("[models.\"gogle/x\"]\ncontext_window = 5\n", &["routor.toml:1:", "gogle", "google"]);
}

#[test]
fn a_model_that_the_catalogue_does_not_know_is_a_warning_only() {
    let lab = Provider::start();
    let done = check(chain_config_with(&[("lab", &lab)], "[aliases]\n\"x\" = \"openai/gpt-6-lunna\"\n")).expect_code(0);
    assert!(done.stderr.contains("gpt-6-lunna") && done.stderr.contains("gpt-6-luna"), "{}", done.stderr);
}

#[test]
fn all_problems_are_reported_at_once() {
    let text = "[server]\nlissten = \"127.0.0.1:1\"\nmax_body = \"huge\"\n[timeouts]\nconnect = \"10\"\n[tiers]\nLIGHT = [\"nobody/x\"]\nHUGE = []\n[breaker]\nfailures = -1\n";
    refused(text, &["lissten", "max_body", "connect", "nobody", "HUGE", "failures", ":2:", ":3:", ":5:", ":7:", ":8:", ":10:"]);
}

#[test]
fn d176_a_syntax_error_has_its_place() {
    refused("[server]\nlisten = \n", &["routor.toml:2:"]);
    refused("[server\n", &["routor.toml:1:"]);
    refused("[server]\n[server]\n", &["routor.toml:2:"]);
    refused("a = 1\na = 2\n", &["routor.toml:2:"]);
}

#[test]
fn d176_a_syntax_error_is_pointed_at() {
    let report = refused("[server]\nmax_body = \"1MiB\nlisten = 3\n", &["routor.toml:2:"]);
    let lines: Vec<&str> = report.lines().collect();
    let shown = lines.iter().position(|line| line.contains("max_body = \"1MiB")).expect("the line");
    assert!(lines[shown + 1].contains('^'), "{report}");
    assert!(!report.contains("listen = 3"), "{report}");
}

#[test]
fn d176_a_syntax_error_beside_a_secret_does_not_show_it() {
    refused("[providers.openai]\napi_key = \"sk-canarycanary\nx = 1\n", &["routor.toml:2:"]);
    refused("[providers.openai]\napi_key = sk-canarycanary\n", &["routor.toml:2:"]);
    refused("[providers.openai]\napi_key = \"sk-canarycanary\"\nbroken =\n", &["routor.toml:3:"]);
    refused("[providers.openai]\nheaders = { authorization = \"Bearer canarycanary\", }}\n", &["routor.toml:2:"]);
}

#[test]
fn d178_empty_chains_and_circles_of_aliases_are_refused() {
    refused("[tiers]\nLIGHT = []\n", &["LIGHT", "empty"]);
    refused("[aliases]\n\"a\" = \"b\"\n\"b\" = \"a\"\n", &["routor.toml:2:", "alias"]);
    refused("[aliases]\n\"a\" = []\n", &["routor.toml:2:", "empty"]);
    refused("[aliases]\n\"auto\" = \"LIGHT\"\n", &["auto"]);
}

#[test]
fn d075_a_model_that_stands_twice_in_a_chain_is_a_warning_or_an_error() {
    let lab = Provider::start();
    let done = check(chain_config(&[("lab", &lab)]).replace("LIGHT = [\"lab/m1\"]", "LIGHT = [\"lab/m1\", \"lab/m1\"]"));
    assert!(matches!(done.code, 0 | 2) && done.stderr.contains("lab/m1"), "{}: {}", done.code, done.stderr);
}

#[test]
fn d179_impossible_times_are_refused_with_the_range() {
    for time in ["\"10\"", "\"0s\"", "\"-5s\"", "\"99999999999d\"", "\"soon\"", "\"\"", "10", "1.5", "true"] {
        let report = refused(format!("[timeouts]\nfirst = {time}\n"), &["routor.toml:2:9", "first"]);
        assert!(!report.contains("panicked"), "{report}");
    }
    refused("[timeouts]\nfirst = \"10\"\n", &["unit"]);
    refused("[timeouts]\nfirst = \"2d\"\n", &["1ms", "1day"]);
}

#[test]
fn d179_impossible_sizes_and_numbers_are_refused() {
    for line in [
        "[server]\nmax_body = \"0\"",
        "[server]\nmax_body = \"9999TiB\"",
        "[server]\nmax_body = -1",
        "[server]\noverflow = \"418\"",
        "[log]\nmax_size = \"1\"",
        "[log]\nkeep_days = -1",
        "[breaker]\nfailures = 1.5",
        "[models.\"openai/x\"]\ncontext_window = 0",
        "[models.\"openai/x\"]\ntier = \"HUGE\"",
        "[models.\"openai/x\"]\ninput_usd_per_mtok = -1.0",
        "[models.\"openai/x\"]\ncapabilities = [\"telepathy\"]",
        "[providers.openai]\nauth = \"basic\"",
        "[server]\nallow_origins = [\"*\"]",
        "[server]\nallow_origins = [\"https://app.example/\"]",
        "[server]\nallow_hosts = [\"http://x\"]",
    ] {
        refused(line, &["routor.toml:2:"]);
    }
}

#[test]
fn d180_addresses_that_no_provider_has_are_refused() {
    for url in [
        "api.example.com/v1",
        "file:///etc/passwd",
        "gopher://example.com/",
        "https://user:pass@example.com/v1",
        "https://example.com/v1?key=x",
        "https://example.com./v1",
        "http://2130706433/v1",
        "http://0x7f.1/v1",
        "http://169.254.169.254/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://[fe80::1]/v1",
        "http://0.0.0.0:8000/v1",
        "",
    ] {
        refused(format!("[providers.lab]\nbase_url = \"{url}\"\n"), &["routor.toml:2:"]);
    }
}

#[test]
fn d181_plain_http_to_a_public_host_is_refused() {
    refused("[providers.lab]\nbase_url = \"http://api.example.com/v1\"\n", &["routor.toml:2:", "https"]);
    refused("[providers.lab]\nbase_url = \"http://8.8.8.8/v1\"\n", &["routor.toml:2:", "https"]);
}

#[test]
fn d181_plain_http_to_a_private_address_is_taken() {
    for host in ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "172.16.0.9", "192.168.0.7", "[fd00::7]"] {
        let home = Home::new();
        let provider = format!("[providers.lab]\nbase_url = \"http://{host}:9/v1\"\napi_key_env = \"LAB_KEY\"\n");
        let text = format!("{provider}[pool]\nonly = [\"lab\"]\n[tiers]\nNANO = [\"lab/m1\"]\n");
        let path = home.write("routor.toml", text).display().to_string();
        let mut command = home.command(&["--config", &path, "chat", "--no-stdin", "--explain", "hi"]);
        // It is only explained: nobody is called.
        let done = command.env("LAB_KEY", "sk-lab-1").stdin(Stdio::null()).output().unwrap();
        assert_eq!(done.status.code(), Some(0), "{host}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn a_custom_provider_without_an_address_is_refused_with_the_nearest_builtin() {
    refused("[providers.opena]\napi_key_env = \"X\"\n", &["opena", "base_url", "openai"]);
}

#[test]
fn d182_a_public_listen_address_without_a_client_key_is_refused() {
    refused("[server]\nlisten = \"0.0.0.0:4117\"\n", &["routor.toml:2:", "0.0.0.0:4117", "ROUTOR_API_KEY"]);
    refused("[server]\nlisten = [\"127.0.0.1:1\", \"[::]:1\"]\n", &["routor.toml:2:", "ROUTOR_API_KEY"]);
    let done = routor(&["serve", "--listen", "0.0.0.0:0"], &[]).expect_code(2);
    assert!(done.stderr.contains("ROUTOR_API_KEY"), "{}", done.stderr);
}

#[test]
fn d182_a_public_listen_address_with_a_client_key_is_served() {
    let lab = Provider::start();
    let config = chain_config_with(&[("lab", &lab)], "[server]\nlisten = [\"127.0.0.1:0\", \"0.0.0.0:0\"]\n");
    let daemon = Daemon::builder().config(config).env("ROUTOR_API_KEY", "client-key-1").without_port().start();
    assert_eq!(post_chat(daemon.port(), "{}").status, 401);
}

#[test]
fn d076_its_own_address_is_refused_as_a_provider() {
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        refused(
            format!("[server]\nlisten = \"127.0.0.1:4199\"\n[providers.me]\nbase_url = \"http://{host}:4199/v1\"\n"),
            &["routor.toml:4:"],
        );
    }
    refused("[providers.me]\nbase_url = \"http://127.0.0.1:4117/v1\"\n", &["routor.toml:2:"]);
}

#[test]
fn d184_impossible_ports_are_refused() {
    refused("[server]\nlisten = \"127.0.0.1:70000\"\n", &["routor.toml:2:", "65535"]);
    refused("[server]\nlisten = \"127.0.0.1\"\n", &["routor.toml:2:"]);
    refused("[server]\nlisten = []\n", &["listen"]);
}

// --- Secrets in the file ---

#[test]
fn d186_a_literal_key_is_refused_and_not_shown() {
    refused("[providers.openai]\napi_key = \"sk-canarycanary\"\n", &["routor.toml:2:", "api_key_env"]);
    refused("[providers.openai]\napi_key_env = \"sk-canarycanary\"\n", &["routor.toml:2:"]);
    refused("[providers.openai]\nheaders = { authorization = \"Bearer canarycanary\" }\n", &["routor.toml:2:", "headers_env"]);
    refused("[providers.openai]\nheaders = { x-team = \"gsk_canarycanary\" }\n", &["routor.toml:2:", "headers_env"]);
}

#[test]
fn d186_a_literal_client_key_is_refused_and_not_shown() {
    refused("[server]\napi_key = \"canarycanary\"\n", &["routor.toml:2:"]);
}

#[test]
fn d180_a_secret_in_a_base_url_is_not_shown() {
    refused("[providers.lab]\nbase_url = \"https://user:canary@example.com/v1\"\n", &["routor.toml:2:"]);
    refused("[providers.lab]\nbase_url = \"https://example.com/v1?key=canary\"\n", &["routor.toml:2:"]);
}

#[test]
fn d186_a_literal_key_is_refused_even_in_a_file_only_the_user_can_read() {
    let home = Home::new();
    let path = home.write("routor.toml", "[providers.openai]\napi_key = \"sk-canarycanary\"\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    home.run(&["check", "--config", &path.display().to_string()]).expect_code(2);
}

#[test]
fn d234_a_key_as_an_argument_is_refused_and_not_repeated_in_full() {
    for args in [&["check", "--key", "sk-canarycanary"][..], &["serve", "--api-key=sk-canarycanary"]] {
        let done = routor(args, &[]).expect_code(2);
        assert!(!done.stderr.contains("canarycanary"), "{}", done.stderr);
    }
}

// --- The file itself ---

/// What `check` says to a configuration at this path.
#[track_caller]
fn check_at(home: &Home, path: &Path) -> Finished {
    let started = Instant::now();
    let done = home.run(&["check", "--config", &path.display().to_string()]);
    assert!(started.elapsed() < Duration::from_secs(5), "it hung for {:?}", started.elapsed());
    done
}

#[test]
fn d175_a_configuration_that_is_named_and_missing_is_exit_2() {
    let home = Home::new();
    let path = home.path().join("nothing.toml");
    let done = check_at(&home, &path).expect_code(2);
    assert!(done.stderr.contains(&path.display().to_string()), "{}", done.stderr);
}

#[test]
fn d175_a_configuration_that_the_environment_names_and_is_missing_is_exit_2() {
    let done = routor(&["check"], &[("ROUTOR_CONFIG", "/nowhere/routor.toml")]).expect_code(2);
    assert!(done.stderr.contains("/nowhere/routor.toml"), "{}", done.stderr);
}

#[test]
fn d175_a_missing_file_at_the_usual_place_is_no_error() {
    let lab = Provider::start();
    let home = Home::new();
    assert_eq!(home.run(&["check"]).code, 2, "nothing is configured");
    home.write("c/routor/routor.toml", chain_config(&[("lab", &lab)]));
    home.run(&["check"]).expect_code(0);
}

#[test]
fn d175_a_folder_is_refused_with_its_path() {
    let home = Home::new();
    let done = check_at(&home, home.path()).expect_code(2);
    assert!(done.stderr.contains(&home.path().display().to_string()), "{}", done.stderr);
}

#[test]
fn d175_a_fifo_is_refused_and_does_not_hang() {
    let home = Home::new();
    let path = home.path().join("fifo.toml");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let done = check_at(&home, &path).expect_code(2);
    assert!(done.stderr.contains("fifo.toml"), "{}", done.stderr);
}

#[test]
fn d175_a_loop_of_links_a_device_and_a_huge_file_are_refused() {
    let home = Home::new();
    let (one, two) = (home.path().join("one.toml"), home.path().join("two.toml"));
    std::os::unix::fs::symlink(&one, &two).unwrap();
    std::os::unix::fs::symlink(&two, &one).unwrap();
    let huge = home.path().join("huge.toml");
    fs::File::create(&huge).unwrap().set_len(1 << 30).unwrap();
    for path in [one.as_path(), Path::new("/dev/zero"), huge.as_path()] {
        let done = check_at(&home, path).expect_code(2);
        assert!(done.stderr.contains(&path.display().to_string()), "{}", done.stderr);
    }
}

fn utf_16(text: &str) -> Vec<u8> {
    std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
}

#[test]
fn d187_utf_16_is_refused_in_clear_words() {
    refused(utf_16("[server]\r\n"), &["UTF-16", "UTF-8", "routor.toml"]);
    refused(b"[server]\nallow_hosts = [\"\xff\"]\n", &["UTF-8", "routor.toml"]);
}

#[test]
fn d187_a_byte_order_mark_and_crlf_are_fine() {
    let lab = Provider::start();
    let text = chain_config(&[("lab", &lab)]);
    check(format!("\u{feff}{text}")).expect_code(0);
    check(text.replace('\n', "\r\n")).expect_code(0);
}

#[test]
fn d188_a_path_with_spaces_and_beyond_ascii_works() {
    let lab = Provider::start();
    let home = Home::new();
    let path = home.write("mit Leer zeichen/köln.toml", chain_config(&[("lab", &lab)]));
    check_at(&home, &path).expect_code(0);
    let bad = home.write("mit Leer zeichen/köln2.toml", "x = 1\n");
    assert!(check_at(&home, &bad).expect_code(2).stderr.contains("köln2.toml:1:1"));
}

#[test]
fn the_flag_beats_the_environment() {
    let lab = Provider::start();
    let mut home = Home::new();
    home.set_env("ROUTOR_CONFIG", "/nowhere/routor.toml");
    let path = home.write("mine.toml", chain_config(&[("lab", &lab)]));
    check_at(&home, &path).expect_code(0);
}

#[test]
fn a_file_env_is_not_read() {
    let home = Home::new();
    home.write(".env", "OPENAI_API_KEY=sk-canarycanary\n");
    home.run(&["check"]).expect_code(2);
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    let lab = Provider::start();
    let home = Home::new();
    let path = home.write("mine.toml", chain_config(&[("lab", &lab)])).display().to_string();
    home.run(&["--config", &path, "check"]).expect_code(0);
    home.run(&["check", "--config", &path]).expect_code(0);
}

// --- Key files ---

/// A configuration whose key is in this file.
fn key_file_config(lab: &Provider, key: &Path) -> String {
    let table = format!("[providers.lab]\nbase_url = \"{}\"\napi_key_file = \"{}\"\n", lab.base_url(), key.display());
    format!("{table}[pool]\nonly = [\"lab\"]\n")
}

#[test]
fn a_key_file_that_others_can_read_is_refused_with_the_command_that_helps() {
    let lab = Provider::start();
    for mode in [0o644, 0o640, 0o604] {
        let home = Home::new();
        let key = home.write("key", "sk-canarycanary\n");
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let done = check_in(&home, key_file_config(&lab, &key));
        assert!(matches!(done.code, 1 | 2), "{mode:o}: {}", done.code);
        let said = format!("{}{}", done.stdout, done.stderr).replace(['\n', ' '], "");
        assert!(said.contains("chmod600"), "{mode:o}: {}{}", done.stdout, done.stderr);
        assert!(!said.contains("canary"), "{said}");
    }
    assert_eq!(lab.requests().len(), 0);
}

#[test]
fn a_key_file_that_only_the_user_can_read_is_used() {
    let lab = Provider::start();
    let home = Home::new();
    let key = home.write("key", "sk-canarycanary\n");
    let done = check_in(&home, key_file_config(&lab, &key)).expect_code(0);
    assert!(!done.stdout.contains("canary"));
    assert_eq!(lab.requests()[0].header("authorization"), Some("Bearer sk-canarycanary"));
}

#[test]
fn a_key_file_that_is_missing_is_named() {
    let lab = Provider::start();
    let home = Home::new();
    let done = check_in(&home, key_file_config(&lab, &home.path().join("nokey")));
    assert!(matches!(done.code, 1 | 2), "{}", done.code);
    let said = format!("{}{}", done.stdout, done.stderr).replace(['\n', ' '], "");
    assert!(said.contains("nokey"), "{}{}", done.stdout, done.stderr);
}

#[test]
fn a_header_takes_its_value_from_a_variable() {
    let lab = Provider::start();
    let config = chain_config(&[("lab", &lab)])
        .replace("api_key_env = \"\"\n", "api_key_env = \"\"\nheaders_env = { \"x-secret\" = \"LAB_SECRET\" }\n");
    let mut home = Home::new();
    home.set_env("LAB_SECRET", "s-canary-1");
    let done = check_in(&home, &config).expect_code(0);
    assert!(!done.stdout.contains("canary"));
    assert_eq!(lab.requests()[0].header("x-secret"), Some("s-canary-1"));
}

// --- The command line ---

#[test]
fn d233_without_a_command_the_help_is_shown_and_the_exit_is_2() {
    let done = routor(&[], &[]).expect_code(2);
    assert!(done.stderr.contains("serve") && done.stdout.is_empty(), "{}{}", done.stdout, done.stderr);
}

#[test]
fn d233_unknown_commands_and_flags_are_exit_2_with_the_nearest_name() {
    for (args, near) in [
        (&["chek"][..], "check"),
        (&["serv"], "serve"),
        (&["check", "--formt", "json"], "--format"),
        (&["--colour", "never", "check"], "--color"),
    ] {
        let done = routor(args, &[]).expect_code(2);
        assert!(done.stderr.contains(near) && done.stdout.is_empty(), "{args:?}: {}{}", done.stdout, done.stderr);
    }
}

#[test]
fn help_goes_to_stdout_with_exit_0() {
    for command in [
        &["--help"][..],
        &["-h"],
        &["serve", "--help"],
        &["check", "--help"],
        &["chat", "--help"],
        &["logs", "--help"],
        &["status", "--help"],
    ] {
        let done = routor(command, &[]).expect_code(0);
        assert!(done.stdout.contains("Usage:") && done.stderr.is_empty(), "{command:?}: {}", done.stderr);
        assert!(!done.stdout.contains('\u{1b}'), "{command:?}");
    }
}

#[test]
fn help_shows_no_value_of_the_environment() {
    let done = routor(&["serve", "--help"], &[("ROUTOR_API_KEY", "canary-1"), ("ROUTOR_STATE", "/tmp/canary-2")]).expect_code(0);
    assert!(!done.stdout.contains("canary"), "{}", done.stdout);
}

#[test]
fn version_goes_to_stdout_with_exit_0() {
    for flag in ["--version", "-V"] {
        let done = routor(&[flag], &[]).expect_code(0);
        assert_eq!(done.stdout, format!("routor {}\n", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn d240_impossible_flags_of_serve_are_exit_2() {
    for args in [
        &["serve", "--port", "abc"][..],
        &["serve", "--port", "70000"],
        &["serve", "--port", "-1"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--port", "1", "--listen", "127.0.0.1:1"],
        &["serve", "--wait=soon"],
        &["serve", "extra"],
        &["-q", "-v", "serve"],
        &["--color", "sometimes", "check"],
    ] {
        assert_eq!(routor(args, &[]).code, 2, "{args:?}");
    }
}

/// Commands whose output has something to colour.
fn colourful(home: &Home, flags: &[&str]) -> Vec<Finished> {
    let path = home.path().join("routor.toml").display().to_string();
    let commands: [&[&str]; 4] = [&["check", "--config", &path], &["check"], &["chek"], &["logs", "--all"]];
    commands.iter().map(|command| home.run(&[flags, command].concat())).collect()
}

#[test]
fn d233_no_escape_codes_come_through_a_pipe_with_no_color_or_with_never() {
    let lab = Provider::start();
    let dead = Provider::start();
    dead.stop();
    for (flags, env) in [
        (&[][..], ("X", "")),
        (&[], ("NO_COLOR", "1")),
        (&["--color", "never"], ("X", "")),
        (&["--color", "auto"], ("TERM", "xterm-256color")),
    ] {
        let mut home = Home::new();
        home.write("routor.toml", chain_config(&[("lab", &lab), ("dead", &dead)]));
        home.set_env(env.0, env.1);
        for done in colourful(&home, flags) {
            assert!(
                !done.stdout.contains('\u{1b}') && !done.stderr.contains('\u{1b}'),
                "{flags:?} {env:?}: {:?}{:?}",
                done.stdout,
                done.stderr
            );
        }
    }
}

#[test]
fn color_never_beats_the_environment_also_for_wrong_usage() {
    let home = Home::new();
    let done = home.command(&["--color", "never", "chek"]).env("CLICOLOR_FORCE", "1").stdin(Stdio::null()).output().unwrap();
    assert!(!String::from_utf8_lossy(&done.stderr).contains('\u{1b}'), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn color_always_colours_even_a_pipe() {
    let lab = Provider::start();
    let home = Home::new();
    home.write("routor.toml", chain_config(&[("lab", &lab)]));
    let done = home.run(&["--color", "always", "check", "--config", &home.path().join("routor.toml").display().to_string()]).expect_code(0);
    assert!(done.stdout.contains('\u{1b}'), "{}", done.stdout);
}

#[test]
fn json_is_never_coloured() {
    let lab = Provider::start();
    let home = Home::new();
    home.write("routor.toml", chain_config(&[("lab", &lab)]));
    let path = home.path().join("routor.toml").display().to_string();
    let done = home.run(&["--color", "always", "check", "--format", "json", "--config", &path]).expect_code(0);
    assert!(!done.stdout.contains('\u{1b}'), "{}", done.stdout);
}

#[test]
fn d242_a_deleted_working_folder_does_not_matter() {
    let lab = Provider::start();
    let home = Home::new();
    let path = home.write("routor.toml", chain_config(&[("lab", &lab)]));
    let gone = home.path().join("gone");
    fs::create_dir(&gone).unwrap();
    // The shell stands in the folder, removes it, and becomes routor there.
    let mut probe = home.command(&["check", "--config", &path.display().to_string()]);
    let program = probe.get_program().to_owned();
    let script = format!("cd {0} && rmdir {0} && exec {1} check --config {2}", gone.display(), program.display(), path.display());
    probe = Command::new("sh");
    probe.args(["-c", &script]).env_clear().env("HOME", home.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let done = probe.stdin(Stdio::null()).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn d188_without_home_the_state_folder_has_to_be_named() {
    let lab = Provider::start();
    let home = Home::new();
    let path = home.write("routor.toml", chain_config(&[("lab", &lab)])).display().to_string();
    let mut command = home.command(&["logs"]);
    command.env_remove("HOME").env_remove("ROUTOR_STATE").env_remove("XDG_CONFIG_HOME").stdin(Stdio::null());
    let done = command.output().unwrap();
    // The system may still know a home folder from its user database.
    assert!(matches!(done.status.code(), Some(0 | 2)), "{done:?}");
    let mut command = home.command(&["--state", &home.state_dir().display().to_string(), "check", "--config", &path]);
    command.env_remove("HOME").env_remove("ROUTOR_STATE").env_remove("XDG_CONFIG_HOME").stdin(Stdio::null());
    assert_eq!(command.output().unwrap().status.code(), Some(0));
}

#[test]
fn d220_a_state_folder_whose_socket_path_is_too_long_is_refused_in_clear_words() {
    let home = Home::new();
    let long = home.path().join("x".repeat(120)).display().to_string();
    let done = home.spawn(&["--state", &long, "serve", "--port", "0"], Input::Null).finish(Duration::from_secs(10)).expect_code(2);
    assert!(done.stderr.contains("too long") && done.stderr.contains("--state"), "{}", done.stderr);
}
