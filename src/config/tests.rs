use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::catalog::{self, ModelRef, Tier};

fn load_with(text: &str, env: &[(&str, &str)]) -> Result<Settings, Problems> {
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    let around = Surroundings {
        env: &|name| env.get(name).map(|value| (*value).to_owned()),
        key_file: &|path| {
            if path.ends_with("good.key") { Ok("sk-from-a-file\n".to_owned()) } else { Err(format!("{} is not there", path.display())) }
        },
        catalog: catalog::builtin(),
    };
    load(Some((Path::new("routor.toml"), text)), None, &around)
}

fn names(settings: &Settings) -> Vec<&str> {
    settings.providers.iter().map(|provider| provider.name.as_str()).collect()
}

#[test]
fn a_key_variable_is_all_a_builtin_provider_needs() {
    let settings = load_with("", &[("OPENAI_API_KEY", "sk-x"), ("HF_TOKEN", "hf_x")]).unwrap();
    assert_eq!(names(&settings), ["openai", "ollama", "lmstudio"]);
    assert!(settings.providers.iter().skip(1).all(|provider| provider.optional));
}

#[test]
fn huggingface_joins_only_when_the_file_names_it() {
    let settings = load_with("[providers.huggingface]\n", &[("HF_TOKEN", "hf_x")]).unwrap();
    assert!(names(&settings).contains(&"huggingface"));
}

#[test]
fn a_named_provider_without_a_key_is_there_and_says_why() {
    let settings = load_with("[providers.groq]\n", &[]).unwrap();
    let groq = settings.providers.iter().find(|provider| provider.name == "groq").unwrap();
    assert!(matches!(&groq.key, KeyState::Missing(why) if why.contains("GROQ_API_KEY")), "{groq:?}");
}

#[test]
fn an_unusable_key_variable_is_named_and_never_shown() {
    let settings = load_with("", &[("OPENAI_API_KEY", "\"sk-canary\"")]).unwrap();
    assert!(matches!(&settings.providers[0].key, KeyState::Missing(why) if why.contains("OPENAI_API_KEY") && why.contains("quotes")));
    assert!(!format!("{settings:?}").contains("canary"));
}

#[test]
fn the_first_of_two_key_variables_wins_with_a_warning() {
    let settings = load_with("", &[("GEMINI_API_KEY", "one"), ("GOOGLE_API_KEY", "two")]).unwrap();
    assert_eq!(settings.providers[0].key.key().unwrap().expose(), "one");
    assert!(settings.warnings[0].contains("GOOGLE_API_KEY"), "{:?}", settings.warnings);
}

#[test]
fn a_key_file_serves_and_a_variable_beats_it() {
    let text = "[providers.openai]\napi_key_file = \"/x/good.key\"\n";
    let settings = load_with(text, &[]).unwrap();
    assert_eq!(settings.providers[0].key.key().unwrap().expose(), "sk-from-a-file");
    let both = "[providers.openai]\napi_key_env = \"MINE\"\napi_key_file = \"/x/good.key\"\n";
    assert_eq!(load_with(both, &[("MINE", "sk-env")]).unwrap().providers[0].key.key().unwrap().expose(), "sk-env");
}

#[test]
fn a_provider_of_the_users_own() {
    let text = "[providers.lab]\nbase_url = \"http://127.0.0.1:8000/v1\"\napi_key_env = \"\"\n[models.\"lab/q\"]\ntier = \"light\"\ncontext_window = 1000\n";
    let settings = load_with(text, &[]).unwrap();
    let lab = settings.providers.iter().find(|provider| provider.name == "lab").unwrap();
    assert!(matches!(lab.key, KeyState::NotNeeded) && lab.local);
    let facts = settings.models.iter().find(|facts| &*facts.provider == "lab").unwrap();
    assert_eq!((facts.tier, facts.context_window), (Some(Tier::Light), Some(1000)));
}

#[test]
fn all_problems_are_reported_at_once_with_their_places() {
    let text = r#"
[server]
lissten = "127.0.0.1:1"
max_body = "12 parsecs"
debug_routing = "yes"
[timeouts]
connect = 5
first = "0s"
[providers.opnai]
[pool]
only = ["opena"]
[tiers]
LIGHT = ["gogle/x", "openai"]
STANDARD = []
[aliases]
"a" = "b"
"b" = "LIGHT"
"#;
    let report = load_with(text, &[]).unwrap_err().render(false);
    for expected in [
        "routor.toml:3:1",
        "did you mean `listen`",
        "routor.toml:4:12",
        "routor.toml:5:17",
        "true or false",
        "routor.toml:7:11",
        "with its unit",
        "routor.toml:8:9",
        "did you mean `openai`",
        "did you mean `google/x`",
        "provider/model",
        "the chain of STANDARD is empty",
        "is an alias itself",
    ] {
        assert!(report.contains(expected), "{expected:?} is not in\n{report}");
    }
}

#[test]
fn syntax_errors_show_the_place_and_no_secret() {
    let report = load_with("[providers.openai]\napi_key = \"sk-canarycanary\nx = 1\n", &[]).unwrap_err().render(false);
    assert!(report.contains("routor.toml:2:"), "{report}");
    assert!(!report.contains("canary"), "{report}");
}

#[test]
fn literal_keys_are_refused_and_not_shown() {
    for text in [
        "[providers.openai]\napi_key = \"sk-canarycanary\"\n",
        "[providers.openai]\napi_key_env = \"sk-canarycanary\"\n",
        "[providers.openai]\nheaders = { authorization = \"Bearer canary-canary\" }\n",
        "[providers.openai]\nheaders = { x-team = \"gsk_canarycanary\" }\n",
    ] {
        let report = load_with(text, &[]).unwrap_err().render(false);
        assert!(!report.contains("canary"), "{report}");
        assert!(report.contains("api_key_env") || report.contains("headers_env") || report.contains("the key itself"), "{report}");
    }
}

#[test]
fn a_listen_address_beyond_loopback_needs_a_client_key() {
    let text = "[server]\nlisten = [\"127.0.0.1:1\", \"0.0.0.0:4117\"]\n";
    assert!(load_with(text, &[]).unwrap_err().render(false).contains("ROUTOR_API_KEY"));
    assert!(load_with(text, &[("ROUTOR_API_KEY", "secret")]).is_ok());
    assert!(load_with("", &[("ROUTOR_API_KEY", "")]).unwrap_err().render(false).contains("ROUTOR_API_KEY"));
}

#[test]
fn its_own_address_is_no_provider() {
    let text = "[providers.loop]\nbase_url = \"http://localhost:4117/v1\"\n";
    assert!(load_with(text, &[]).unwrap_err().render(false).contains("circles"));
}

#[test]
fn an_unknown_model_of_a_known_provider_is_a_warning() {
    let settings = load_with("[tiers]\nLIGHT = [\"openai/gpt-99\"]\n", &[]).unwrap();
    assert_eq!(*settings.tiers.get(Tier::Light), [ModelRef::new("openai", "gpt-99")]);
    assert!(settings.warnings[0].contains("gpt-99"));
}

#[test]
fn aliases_stand_for_models_tiers_lists_and_auto() {
    let text = r#"
[aliases]
"a" = "light"
"b" = "auto"
"c" = "google/gemini-3.5-flash"
"d" = ["google/gemini-3.5-flash", "google/gemini-3.5-flash"]
"e" = { to = "ollama/x", local_only = true }
"f" = "gemini-3.5-flash"
"#;
    let settings = load_with(text, &[]).unwrap();
    let model = ModelRef::new("google", "gemini-3.5-flash");
    let targets: Vec<Target> = settings.aliases.iter().map(|alias| alias.target.clone()).collect();
    assert_eq!(
        targets,
        [
            Target::Tier(Tier::Light),
            Target::Auto,
            Target::Model(model.clone()),
            Target::List(vec![model.clone()]),
            Target::Model(ModelRef::new("ollama", "x")),
            Target::Model(model),
        ]
    );
    assert!(settings.aliases[4].local_only);
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let settings = load_with("", &[]).unwrap();
    assert_eq!(settings.server.listen.required[0].to_string(), "127.0.0.1:4117");
    assert_eq!(settings.server.max_body, 32 << 20);
    assert_eq!((settings.breaker.failures, settings.breaker.cooldown), (5, Duration::from_secs(30)));
    assert_eq!((settings.log.keep_days, settings.log.max_size), (7, 64 << 20));
    assert_eq!(settings.validation.timeout, Duration::from_secs(5));
}

proptest::proptest! {
    #[test]
    fn d270_no_text_makes_the_loader_panic(text in "\\PC{0,200}") {
        let _ = load_with(&text, &[]).map_err(|problems| problems.render(false));
    }

    #[test]
    fn no_settings_make_the_loader_panic(
        section in "(server|pool|timeouts|providers|providers\\.openai|models|tiers|aliases|breaker|log)",
        key in "(listen|max_body|only|connect|base_url|auth|LIGHT|headers|\"x/y\"|failures|[a-z]{1,6})",
        value in "(1|-1|1.5|true|\"\"|\"x\"|\"5s\"|\\[\\]|\\[1\\]|\\{\\}|\\{ to = 1 \\}|1979-05-27)",
    ) {
        let _ = load_with(&format!("[{section}]\n{key} = {value}\n"), &[]).map_err(|problems| problems.render(true));
    }
}
