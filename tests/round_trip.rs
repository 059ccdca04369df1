//! What `config init` and `config show` write says the same again when it is
//! read as a configuration.

mod support;

use serde_json::{Value, json};
use support::{Daemon, Home, Provider, chain_config};

const USUAL: &str = "c/routor/routor.toml";

fn offline() -> Home {
    let mut home = Home::new();
    home.set_env("HTTPS_PROXY", "http://127.0.0.1:9");
    home
}

#[track_caller]
fn models(home: &Home) -> Value {
    let done = home.run(&["models", "--json", "--all"]).expect_code(0);
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn the_starter_changes_nothing_whatever_key_is_set() {
    let all = [
        "OPENAI_API_KEY",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "GOOGLE_API_KEY",
        "GOOGLE_GENERATIVE_AI_API_KEY",
        "DEEPSEEK_API_KEY",
        "XAI_API_KEY",
        "MISTRAL_API_KEY",
        "MOONSHOT_API_KEY",
        "MINIMAX_API_KEY",
        "ZAI_API_KEY",
        "DASHSCOPE_API_KEY",
        "NVIDIA_API_KEY",
        "AZURE_OPENAI_API_KEY",
        "AZURE_API_KEY",
        "AZURE_AI_API_KEY",
        "GROQ_API_KEY",
        "CEREBRAS_API_KEY",
        "TOGETHER_API_KEY",
        "FIREWORKS_API_KEY",
        "OPENROUTER_API_KEY",
        "COHERE_API_KEY",
        "PERPLEXITY_API_KEY",
        "HF_TOKEN",
        "HUGGINGFACE_HUB_TOKEN",
        "LMSTUDIO_API_KEY",
        "LM_STUDIO_API_KEY",
        "LLAMA_CPP_API_KEY",
        "LLAMA_API_KEY",
        "VLLM_API_KEY",
        "HOSTED_VLLM_API_KEY",
    ];
    let mut wrong = Vec::new();
    for name in all {
        let mut home = offline();
        home.set_env(name, "sk-canary-0123456789");
        let before = models(&home);
        home.run(&["config", "init"]).expect_code(0);
        let after = home.run(&["models", "--json", "--all"]);
        if after.code != 0 {
            wrong.push(format!("{name}: exit {}: {}", after.code, after.stderr));
        } else if serde_json::from_str::<Value>(&after.stdout).unwrap() != before {
            wrong.push(format!("{name}: another effect"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `config show` prints of this file, as a file.
#[track_caller]
fn shown(home: &Home, config: &str) -> String {
    home.write(USUAL, config);
    home.run(&["config", "show"]).expect_code(0).stdout
}

#[test]
fn auth_and_headers_survive() {
    let a = Provider::start();
    let mut home = offline();
    home.set_env("X_KEY", "sk-0123456789");
    home.set_env("X_SECRET", "secret-0123456789");
    let config = format!(
        "[providers.a]\nbase_url = \"{}\"\napi_key_env = \"X_KEY\"\nauth = \"x-api-key\"\nheaders = {{ \"x-team\" = \"search\" }}\nheaders_env = {{ \"x-h\" = \"X_SECRET\" }}\n[pool]\nonly = [\"a\"]\n",
        a.base_url()
    );
    let again = shown(&home, &config);
    home.write("again.toml", &again);
    let path = home.path().join("again.toml").display().to_string();
    home.run(&["check", "--config", &path, "--provider", "a"]);
    let asked = &a.requests()[0];
    assert_eq!(
        (asked.header("x-api-key"), asked.header("x-team"), asked.header("x-h")),
        (Some("sk-0123456789"), Some("search"), Some("secret-0123456789")),
        "{asked:?}"
    );
}

#[test]
fn the_pool_survives() {
    let a = Provider::start();
    let mut home = offline();
    home.set_env("OPENAI_API_KEY", "sk-0123456789");
    let again = shown(&home, &format!("[providers.a]\nbase_url = \"{}\"\napi_key_env = \"\"\n[pool]\nonly = [\"a\"]\n", a.base_url()));
    home.write(USUAL, again);
    let models = models(&home);
    let openai = models["models"].as_array().unwrap().iter().filter(|line| line["provider"] == "openai" && line["in_pool"] == true).count();
    assert_eq!(openai, 0, "openai was not in the pool");
}

#[test]
fn local_servers_that_nobody_named_stay_optional() {
    let a = Provider::start();
    let home = offline();
    let config = format!("[providers.a]\nbase_url = \"{}\"\napi_key_env = \"\"\n", a.base_url());
    let again = shown(&home, &config);
    home.run(&["check", "--timeout", "2s"]).expect_code(0);
    home.write(USUAL, again);
    home.run(&["check", "--timeout", "2s"]).expect_code(0);
}

#[test]
fn capabilities_of_a_model_survive() {
    let a = Provider::start();
    let home = offline();
    let tools = json!({"model": "a/m1", "routor_profile": "direct", "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]});
    let config = format!("{}[models.\"a/m1\"]\ncapabilities = [\"tools\"]\n", chain_config(&[("a", &a)]));
    let without = config.replace("[\"tools\"]", "[]");
    let status = |config: &str| support::post_chat(Daemon::start(config).port(), tools.to_string()).status;
    let again = shown(&home, &config);
    assert_eq!(status(&again), status(&config));
    let again = shown(&home, &without);
    assert_eq!(status(&again), status(&without), "{again}");
    assert!(shown(&home, &config).contains("capabilities = [\"tools\"]"));
}

#[test]
fn the_tiers_of_a_local_server_survive() {
    let local = Provider::start();
    let home = offline();
    let config = format!("[providers.ollama]\nbase_url = \"{}\"\n[pool]\nonly = [\"ollama\"]\n", local.base_url());
    let again = shown(&home, &config);
    for config in [&config, &again] {
        let daemon = Daemon::start(config.as_str());
        assert_eq!(support::post_chat(daemon.port(), support::ASK).status, 200);
        assert_eq!(local.chats().last().unwrap().json()["model"], "m1");
    }
}

#[test]
fn a_name_with_a_line_end_is_quoted() {
    let home = offline();
    let again = shown(&home, "[aliases]\n\"two\\nlines\" = \"LIGHT\"\n");
    home.write(USUAL, &again);
    let done = home.run(&["config", "show"]);
    assert_eq!(done.code, 0, "{}\n{again}", done.stderr);
}

#[test]
fn a_path_with_a_line_end_does_not_leave_its_comment() {
    let home = offline();
    let path = home.write("x\n[server]\noverflow = \"400\"\n#.toml", "[log]\nkeep_days = 3\n").display().to_string();
    let done = home.run(&["config", "show", "--config", &path]).expect_code(0);
    home.write(USUAL, &done.stdout);
    home.run(&["config", "show"]).expect_code(0);
}

#[test]
fn a_switch_that_is_off_is_not_the_origin() {
    let mut home = offline();
    home.set_env("DEBUG_ROUTING", "0");
    let again = shown(&home, "[server]\ndebug_routing = true\n");
    let line = again.lines().find(|line| line.starts_with("debug_routing")).unwrap();
    assert!(line.ends_with("routor.toml:2"), "{line}");
}

#[test]
fn a_key_file_of_a_builtin_that_is_not_there_round_trips() {
    let home = offline();
    let again = shown(&home, "[providers.openai]\napi_key_file = \"~/nowhere\"\n");
    assert!(again.contains("api_key_file = \"~/nowhere\""), "{again}");
}

#[test]
fn init_does_not_replace_a_link_to_a_file_that_is_elsewhere_for_now() {
    let home = offline();
    std::fs::create_dir_all(home.path().join("c/routor")).unwrap();
    std::os::unix::fs::symlink(home.path().join("dotfiles.toml"), home.path().join(USUAL)).unwrap();
    home.run(&["config", "init"]);
    assert!(home.path().join(USUAL).is_symlink());
}

#[test]
fn the_size_of_a_body_survives() {
    let a = Provider::start();
    let home = offline();
    let config = format!("{}[server]\nmax_body = \"1500000\"\n", chain_config(&[("a", &a)]));
    let again = shown(&home, &config);
    let body = json!({"messages": [{"role": "user", "content": "x ".repeat(740_000)}]}).to_string();
    for config in [&config, &again] {
        assert_eq!(support::post_chat(Daemon::start(config.as_str()).port(), &body).status, 200, "{config}");
    }
}
