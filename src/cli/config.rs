//! `routor config init` and `routor config show`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::args::{Common, Config, ConfigAction};
use super::screen::{Screen, Unprinted};
use super::{Exit, prepare};
use crate::catalog::{self, Tier};
use crate::config::{KeyState, Order, Overflow, Provider, Settings, Target, TimeoutSet, Timeouts};
use crate::paths;
use crate::redact::printable;

/// Does what was asked.
pub fn run(common: &Common, args: &Config, screen: &Screen) -> Exit {
    let done = match args.action {
        ConfigAction::Init { force, stdout } => init(common, force, stdout, screen),
        ConfigAction::Show => show(common, screen),
    };
    done.map_or_else(|exit| exit, |()| Exit::Done)
}

fn printed(result: Result<(), Unprinted>, screen: &Screen) -> Result<(), Exit> {
    match result {
        Ok(()) | Err(Unprinted::Closed) => Ok(()),
        Err(Unprinted::Failed(problem)) => {
            screen.error(&format!("it cannot be printed: {problem}"));
            Err(Exit::No)
        }
    }
}

// --- init ---

/// Writes the starter file where routor looks for its configuration.
fn init(common: &Common, force: bool, stdout: bool, screen: &Screen) -> Result<(), Exit> {
    let text = starter();
    if stdout {
        return printed(screen.data(&text), screen);
    }
    let Some((path, _)) = paths::config_file(common.config.as_deref()) else {
        screen.error("no place for a configuration file: HOME is not set; give one with --config FILE");
        return Err(Exit::Usage);
    };
    if std::fs::symlink_metadata(&path).is_ok() && !force {
        screen.error(&format!("{} is there already; --force replaces it, --stdout prints instead", path.display()));
        return Err(Exit::No);
    }
    write_whole(&path, &text).map_err(|problem| {
        screen.error(&format!("{} cannot be written: {problem}", path.display()));
        Exit::No
    })?;
    screen.note(&format!("wrote {}; `routor config show` shows what it comes to", path.display()));
    Ok(())
}

/// All of it or nothing, so that a full disk leaves the old file.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A file that says what is so anyway, ready to be changed: the providers whose
/// keys are set, and everything else as comments.
fn starter() -> String {
    let set = |name: &String| paths::env(name).is_some_and(|value| !value.trim().is_empty());
    let found: Vec<(&catalog::Provider, &String)> = catalog::builtin()
        .providers
        .iter()
        // Those that are used anyway: to name another one would bring it in.
        .filter(|provider| provider.implicit && !provider.local && provider.base_url.is_some())
        .filter_map(|provider| Some((provider, provider.key_env.iter().find(|name| set(name))?)))
        .collect();
    let mut text = STARTER_HEAD.to_owned();
    for (provider, variable) in &found {
        let _ = write!(text, "\n[providers.{}]\napi_key_env = \"{variable}\"\n", provider.id);
    }
    if found.is_empty() {
        text.push_str("\n# No key variable is set here now. For example:\n# [providers.openai]\n# api_key_env = \"OPENAI_API_KEY\"\n");
    }
    text.push_str(STARTER_TIERS);
    let known = |name: &str| found.iter().any(|(provider, _)| provider.id == name);
    for tier in Tier::ALL {
        let chain = catalog::builtin().tiers.get(tier);
        let own: Vec<String> =
            chain.iter().filter(|model| found.is_empty() || known(&model.provider)).take(4).map(|model| format!("\"{model}\"")).collect();
        let _ = writeln!(text, "# {tier} = [{}]", own.join(", "));
    }
    text.push_str(STARTER_TAIL);
    text
}

const STARTER_HEAD: &str = "\
# routor's configuration. Nothing here is needed: a built-in provider is used as
# soon as its key variable is set. Remove a # to change what is behind it.
# Keys never stand here; they stay in the environment, or in files that only you
# can read (api_key_file = \"…\").

[server]
# listen        = \"127.0.0.1:4117\"
# api_key_env   = \"ROUTOR_API_KEY\"   # when the variable is set, clients must send it
# debug_routing = false
# allow_origins = []                 # browser origins that may call
# allow_hosts   = []                 # such as \"host.docker.internal\"

# [validation]
# recheck = \"60s\"                    # ask providers again that could not be reached

# Providers whose keys were set when this file was made.
";

const STARTER_TIERS: &str = "
# Any OpenAI-compatible server:
# [providers.lab]
# base_url    = \"http://127.0.0.1:8000/v1\"
# api_key_env = \"\"

# The fallback chain of each tier, preferred first. A tier that is not set keeps
# its built-in chain.
[tiers]
";

const STARTER_TAIL: &str = "
# Names that apps send, and what they stand for.
[aliases]
# \"gpt-4o-mini\" = \"LIGHT\"
# \"*\"           = \"auto\"             # what to do with a name that nobody knows

# [log]
# requests  = true                   # times, models and outcomes; never prompts or answers
# keep_days = 7
# max_size  = \"64MiB\"
";

// --- show ---

/// Prints what is in force as a configuration file, each value with where it comes from.
fn show(common: &Common, screen: &Screen) -> Result<(), Exit> {
    let settings = prepare::settings(common, None, screen)?;
    let text = settings.file.as_deref().and_then(|path| paths::read_text(path).ok()).unwrap_or_default();
    printed(screen.data(&Shown::new(&settings, &text).render()), screen)
}

/// The text in the making.
struct Shown<'a> {
    settings: &'a Settings,
    /// The line of each key that the file sets, by its path.
    lines: HashMap<String, usize>,
    /// The file as it is: some of it is shown as it stands there.
    table: toml::Table,
    file: String,
    out: String,
}

impl<'a> Shown<'a> {
    fn new(settings: &'a Settings, text: &str) -> Self {
        let plain = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = HashMap::new();
        if let Ok(table) = DeTable::parse(plain) {
            note_lines(table.get_ref(), "", plain, &mut lines);
        }
        let file = settings.file.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let table = toml::from_str(plain).unwrap_or_default();
        Self { settings, lines, table, file: printable(&file.unwrap_or_default(), 100), out: String::new() }
    }

    fn render(mut self) -> String {
        let path = self.settings.file.as_deref().map(|path| printable(&path.display().to_string(), 500));
        let _ = writeln!(self.out, "# the file: {}", path.unwrap_or_else(|| "none".to_owned()));
        self.server();
        self.raw("pool");
        self.times();
        self.rules();
        for provider in &self.settings.providers {
            let before = self.out.len();
            self.provider(provider);
            // To name a server that nobody named would make its absence an error.
            if provider.optional {
                let section = self.out.split_off(before);
                section.lines().for_each(|line| self.out.push_str(&if line.is_empty() { "\n".to_owned() } else { format!("# {line}\n") }));
            }
        }
        self.models();
        self.routes();
        self.out
    }

    fn section(&mut self, name: &str) {
        let _ = writeln!(self.out, "\n[{name}]");
    }

    /// Where the value of a key comes from.
    fn origin(&self, path: &str) -> String {
        self.lines.get(path).map_or_else(|| "default".to_owned(), |line| format!("{}:{line}", self.file))
    }

    fn set(&mut self, section: &str, key: &str, value: impl Into<Value>) {
        let origin = self.origin(&format!("{section}.{key}"));
        self.put(key, &written(&value.into()), &origin);
    }

    fn put(&mut self, key: &str, value: &str, origin: &str) {
        // To say these two is more than not to say them: [::1] is listened on as well, and
        // reasoning models have more time.
        let implied = origin == "default" && matches!(key, "listen" | "first");
        let comment = if implied { "# " } else { "" };
        let _ = writeln!(self.out, "{:<48} # {origin}", format!("{comment}{} = {value}", bare(key)));
    }

    /// A section of the file as it stands there.
    fn raw(&mut self, section: &str) {
        let Some(Value::Table(values)) = self.table.get(section).cloned() else { return };
        self.section(section);
        for (key, value) in values {
            self.set(section, &key, value);
        }
    }

    /// What the file says of one provider or model.
    fn of_file(&self, section: &str, name: &str, key: &str) -> Option<Value> {
        self.table.get(section)?.get(name)?.get(key).cloned()
    }

    fn server(&mut self) {
        let server = &self.settings.server;
        self.section("server");
        self.set("server", "listen", strings(server.listen.required.iter().map(ToString::to_string)));
        let set = if server.client_key.is_some() { "set: clients must send it" } else { "not set: clients need no key" };
        let origin = format!("{}; {set}", self.origin("server.api_key_env"));
        self.put("api_key_env", &quoted(&server.client_key_env), &origin);
        let by_env = paths::env("DEBUG_ROUTING").is_some_and(|value| crate::config::is_on(&value));
        let origin = if by_env { "DEBUG_ROUTING".to_owned() } else { self.origin("server.debug_routing") };
        self.put("debug_routing", &server.debug_routing.to_string(), &origin);
        self.set("server", "max_body", size(server.max_body));
        self.set("server", "allow_origins", strings(server.allow_origins.iter().cloned()));
        self.set("server", "allow_hosts", strings(server.allow_hosts.iter().cloned()));
        self.set("server", "overflow", if server.overflow == Overflow::BadRequest { "400" } else { "502" });
    }

    fn times(&mut self) {
        self.section("timeouts");
        let none = TimeoutSet::default();
        let all = Timeouts::resolve([&self.settings.timeouts, &none, &none], false);
        for (key, value) in
            [("connect", all.connect), ("first", all.first), ("response", all.response), ("idle", all.idle), ("total", all.total)]
        {
            self.set("timeouts", key, time(value));
        }
        self.section("validation");
        self.set("validation", "timeout", time(self.settings.validation.timeout));
        self.set("validation", "recheck", self.settings.validation.recheck.map_or_else(|| "off".to_owned(), time));
    }

    fn rules(&mut self) {
        let (routing, breaker, log) = (self.settings.routing, self.settings.breaker, self.settings.log);
        self.section("routing");
        let order = Order::NAMES.iter().find(|(_, order)| *order == routing.order).map_or("listed", |(name, _)| name);
        self.set("routing", "order", order);
        self.set("routing", "floor", routing.floor.unwrap_or(Tier::Nano).name());
        self.set("routing", "ceiling", routing.ceiling.unwrap_or(Tier::Complex).name());
        self.set("routing", "spill", if routing.spill_up { "up" } else { "none" });
        self.section("breaker");
        self.set("breaker", "failures", i64::from(breaker.failures));
        self.set("breaker", "cooldown", time(breaker.cooldown));
        self.section("log");
        self.set("log", "requests", log.requests);
        self.set("log", "keep_days", i64::try_from(log.keep_days).unwrap_or(i64::MAX));
        self.set("log", "max_size", size(log.max_size));
    }

    fn provider(&mut self, provider: &Provider) {
        let section = format!("providers.{}", bare(&provider.name));
        let path = format!("providers.{}", provider.name);
        self.section(&section);
        self.set(&path, "base_url", provider.endpoint.as_str());
        let state = match &provider.key {
            KeyState::Present(_) => "set",
            KeyState::Missing(_) => "not usable",
            KeyState::NotNeeded => "none is needed",
        };
        let key = if self.lines.contains_key(&format!("{path}.api_key_file")) { "api_key_file" } else { "api_key_env" };
        let origin = format!("{}; {state}", self.origin(&format!("{path}.{key}")));
        let source = provider.key_source.clone().filter(|_| !matches!(provider.key, KeyState::NotNeeded)).unwrap_or_default();
        let source = match self.of_file("providers", &provider.name, key) {
            Some(Value::String(own)) => own,
            _ => source,
        };
        self.put(key, &quoted(&source), &origin);
        for key in ["auth", "headers", "headers_env"] {
            if let Some(value) = self.of_file("providers", &provider.name, key) {
                self.set(&path, key, value);
            }
        }
        if provider.optional {
            let _ = writeln!(self.out, "looked for on this machine; not an error when it is not there");
        }
        self.own_times(&path, &section, provider.timeouts);
    }

    fn own_times(&mut self, path: &str, section: &str, set: TimeoutSet) {
        let all = [("connect", set.connect), ("first", set.first), ("response", set.response), ("idle", set.idle), ("total", set.total)];
        if all.iter().any(|(_, value)| value.is_some()) {
            self.section(&format!("{section}.timeouts"));
        }
        for (key, value) in all.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            self.set(&format!("{path}.timeouts"), key, time(value));
        }
    }

    /// The models that the file says something of.
    fn models(&mut self) {
        let settings = self.settings;
        for (model, timeouts) in &settings.model_timeouts {
            let path = format!("models.{model}");
            let section = format!("models.{}", bare(&model.to_string()));
            self.section(&section);
            let facts = settings.models.iter().find(|facts| *facts.provider == *model.provider && facts.answers_to(&model.model));
            if let Some(facts) = facts {
                let number = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok()).map(Value::from);
                let values = [
                    ("context_window", number(facts.context_window)),
                    ("max_output", number(facts.max_output)),
                    ("tier", facts.tier.map(|tier| Value::from(tier.name()))),
                    ("input_usd_per_mtok", facts.input_usd_per_mtok.map(Value::from)),
                    ("output_usd_per_mtok", facts.output_usd_per_mtok.map(Value::from)),
                ];
                if let Some(value) = self.of_file("models", &model.to_string(), "capabilities") {
                    self.set(&path, "capabilities", value);
                }
                for (key, value) in values.into_iter().filter_map(|(key, value)| Some((key, value?))) {
                    self.set(&path, key, value);
                }
            }
            self.own_times(&path, &section, *timeouts);
        }
    }

    fn routes(&mut self) {
        let settings = self.settings;
        self.section("tiers");
        for tier in Tier::ALL {
            let origin = self.origin(&format!("tiers.{tier}"));
            let _ = writeln!(self.out, "{:<48} # {origin}", format!("{tier} = ["));
            for model in settings.tiers.get(tier) {
                let _ = writeln!(self.out, "    {},", quoted(&model.to_string()));
            }
            let _ = writeln!(self.out, "]");
        }
        if !settings.aliases.is_empty() {
            self.section("aliases");
        }
        for alias in &settings.aliases {
            let target = match &alias.target {
                Target::Auto => Value::from("auto"),
                Target::Tier(tier) => Value::from(tier.name()),
                Target::Model(model) => Value::from(model.to_string()),
                Target::List(list) => strings(list.iter().map(ToString::to_string)),
            };
            let origin = self.origin(&format!("aliases.{}", alias.name));
            let target = written(&target);
            let value = if alias.local_only { format!("{{ to = {target}, local_only = true }}") } else { target };
            self.put(&alias.name, &value, &origin);
        }
    }
}

/// Writes down on which line each key of a table stands.
fn note_lines(table: &DeTable<'_>, path: &str, text: &str, lines: &mut HashMap<String, usize>) {
    for (key, value) in table.iter() {
        let path = if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
        let line = text.get(..key.span().start).map_or(0, |before| before.matches('\n').count()) + 1;
        if let DeValue::Table(inside) = value.get_ref() {
            note_lines(inside, &path, text, lines);
        }
        lines.insert(path, line);
    }
}

fn strings(list: impl Iterator<Item = String>) -> Value {
    Value::Array(list.map(Value::from).collect())
}

fn time(value: Duration) -> String {
    humantime::format_duration(value).to_string().replace(' ', "")
}

/// A key as TOML wants it.
fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if plain { key.to_owned() } else { quoted(key) }
}

/// A text in quotes, on one line. What JSON escapes, TOML reads; it wants one more.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F")
}

/// A value on one line.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        Value::Table(fields) => {
            let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{} = {}", bare(key), written(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// A number of bytes as the file may say it, exactly.
fn size(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    if bytes.is_multiple_of(MIB) { format!("{}MiB", bytes / MIB) } else { bytes.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Surroundings, load};

    fn settings(text: &str) -> Settings {
        let around = Surroundings {
            env: &|name| (name == "OPENAI_API_KEY").then(|| "sk-canary-0123456789".to_owned()),
            key_file: &|_| Err(String::new()),
            catalog: catalog::builtin(),
        };
        load(Some((Path::new("some/routor.toml"), text)), None, &around).unwrap()
    }

    #[test]
    fn what_is_shown_says_where_it_comes_from_and_is_a_configuration() {
        let text = "[server]\nmax_body = \"1MiB\"\n\n[aliases]\n\"my name\" = \"LIGHT\"\n\"here\" = { to = \"openai/gpt-5.5\", local_only = true }\n[timeouts]\nidle = \"90s\"\n[providers.openai.timeouts]\nfirst = \"7s\"\n";
        let settings = settings(text);
        let shown = Shown::new(&settings, text).render();
        let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}: {shown}"));
        for (start, end) in [
            ("max_body = \"1", "# routor.toml:2"),
            ("\"my name\" = \"LIGHT\"", "# routor.toml:5"),
            ("idle = \"1m30s\"", "# routor.toml:8"),
            ("first = \"7s\"", "# routor.toml:10"),
            ("overflow = \"502\"", "# default"),
            ("api_key_env = \"OPENAI_API_KEY\"", "default; set"),
        ] {
            assert!(line(start).ends_with(end), "{}", line(start));
        }
        assert!(!shown.contains("canary"), "{shown}");
        let again = load_again(&shown);
        assert_eq!(again.timeouts.idle, Some(Duration::from_secs(90)));
        assert_eq!(again.server.max_body, 1 << 20);
    }

    fn load_again(text: &str) -> Settings {
        settings(text)
    }

    #[test]
    fn the_starter_is_a_configuration() {
        let settings = settings(&starter());
        assert!(settings.aliases.is_empty());
        assert!(starter().lines().all(|line| line.len() < 250));
    }
}
