//! From a file's text and the environment to [`Settings`], or to everything
//! that is wrong with them.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::key::Key;
use super::problem::{Problem, Problems};
use super::providers::{self, read_variable_name};
use super::reader::{Placed, Section, Sink, nearest};
use super::routes::{self, Known};
use super::settings::{Breaker, Listen, Log, Order, Overflow, Pool, Routing, Server, Settings, TimeoutSet, Validation};
use crate::catalog::{Catalog, Tier};

/// What lies outside the file and may be looked at while it is read.
pub struct Surroundings<'a> {
    /// The value of an environment variable.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The content of a key file, or why it is refused.
    pub key_file: &'a dyn Fn(&Path) -> Result<String, String>,
    /// What is known of providers and models.
    pub catalog: &'a Catalog,
}

/// The port that routor listens on when nothing else is said.
pub const DEFAULT_PORT: u16 = 4117;

/// Reads the settings. `file` is the path and text of the configuration, if
/// there is one; `listen` is an address from the command line, which beats it.
pub fn load(file: Option<(&Path, &str)>, listen: Option<SocketAddr>, around: &Surroundings<'_>) -> Result<Settings, Problems> {
    let (path, text) = file.map_or((PathBuf::new(), ""), |(path, text)| (path.to_owned(), text));
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let name = path.display().to_string();
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| Problem { span: error.span(), message: error.message().to_owned(), help: None };
        return Err(Problems::new(name, text, errors.iter().map(problem).collect()));
    }
    let sink = Sink::default();
    let warnings = RefCell::new(Vec::new());
    let mut root = Section::root(table.get_ref(), &sink);
    let mut settings = read(&mut root, listen, around, &sink, &warnings);
    root.finish();
    let problems = sink.into_list();
    if !problems.is_empty() {
        return Err(Problems::new(name, text, problems));
    }
    settings.file = file.map(|(path, _)| path.to_owned());
    settings.warnings = warnings.into_inner();
    Ok(settings)
}

/// What every part of the reading needs at hand.
pub(super) struct Reading<'a> {
    around: &'a Surroundings<'a>,
    pub catalog: &'a Catalog,
    pub sink: &'a Sink,
    pub own_ports: Vec<u16>,
    warnings: &'a RefCell<Vec<String>>,
}

impl Reading<'_> {
    pub fn env(&self, name: &str) -> Option<String> {
        (self.around.env)(name)
    }

    pub fn key_file(&self, path: &Path) -> Result<String, String> {
        (self.around.key_file)(path)
    }

    pub fn warn(&self, warning: String) {
        self.warnings.borrow_mut().push(warning);
    }
}

fn read(
    root: &mut Section<'_, '_>,
    listen: Option<SocketAddr>,
    around: &Surroundings<'_>,
    sink: &Sink,
    warnings: &RefCell<Vec<String>>,
) -> Settings {
    let server = read_server(root, listen, around, sink);
    let own_ports = server.listen.required.iter().map(SocketAddr::port).collect();
    let reading = Reading { around, catalog: around.catalog, sink, own_ports, warnings };
    let mut timeouts_section = root.table("timeouts");
    let timeouts = read_timeouts_here(&mut timeouts_section);
    timeouts_section.finish();
    let mut providers = providers::read(root, &reading);
    let names: Vec<String> = providers.iter().map(|provider| provider.name.clone()).collect();
    let mut all: Vec<&str> = around.catalog.providers.iter().map(|entry| entry.id.as_str()).collect();
    all.extend(names.iter().map(String::as_str).filter(|name| around.catalog.provider(name).is_none()));
    let models = routes::read_models(root, &all, &reading);
    let known = Known { providers: all.clone(), facts: &models.facts };
    let (tiers, tiers_set) = routes::read_tiers(root, &known, &reading);
    let aliases = routes::read_aliases(root, &known, &reading);
    let pool = read_pool(root, &all, sink);
    providers.retain(|provider| (pool.only.is_empty() || pool.only.contains(&provider.name)) && !pool.except.contains(&provider.name));
    Settings {
        file: None,
        server,
        timeouts,
        validation: read_validation(root),
        providers,
        models: models.facts,
        model_timeouts: models.timeouts,
        tiers,
        tiers_set,
        routing: read_routing(root, sink),
        aliases,
        breaker: read_breaker(root),
        log: read_log(root),
        warnings: Vec::new(),
    }
}

fn read_server(root: &mut Section<'_, '_>, listen: Option<SocketAddr>, around: &Surroundings<'_>, sink: &Sink) -> Server {
    let mut section = root.table("server");
    let from_file = section.strings("listen", "an address such as \"127.0.0.1:4117\", or a list of them");
    let variable = section.parsed("api_key_env", "the name of a variable", read_variable_name);
    let variable = variable.map_or_else(|| "ROUTOR_API_KEY".to_owned(), |placed| placed.value);
    let client_key = match (around.env)(&variable).map(|text| Key::new(&text)) {
        None => None,
        Some(Ok(key)) => Some(key),
        Some(Err(problem)) => {
            sink.push(
                Problem::general(format!("{variable} {problem}")).help("clients send this key; set it properly, or unset it to need none"),
            );
            None
        }
    };
    let debug = section.flag("debug_routing").unwrap_or(false);
    let overflow = section.parsed("overflow", "\"502\" or \"400\"", |text| match text {
        "502" => Ok(Overflow::AllFailed),
        "400" => Ok(Overflow::BadRequest),
        other => Err(format!("is \"502\" or \"400\"; this is \"{other}\"")),
    });
    let server = Server {
        listen: read_listen(from_file, listen, client_key.is_some(), &variable, sink),
        client_key,
        client_key_env: variable,
        debug_routing: debug || (around.env)("DEBUG_ROUTING").is_some_and(|value| is_on(&value)),
        max_body: section.size("max_body", 1024..=1 << 30).unwrap_or(32 << 20),
        allow_origins: read_origins(&mut section, sink),
        allow_hosts: read_hosts(&mut section, sink),
        overflow: overflow.map_or(Overflow::AllFailed, |placed| placed.value),
    };
    section.finish();
    server
}

/// Whether a switch in the environment is on.
pub fn is_on(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
}

fn read_listen(from_file: Option<Vec<Placed<String>>>, flag: Option<SocketAddr>, has_key: bool, variable: &str, sink: &Sink) -> Listen {
    let open = |address: &SocketAddr| !address.ip().is_loopback() && !has_key;
    let refusal = |address: &SocketAddr| {
        format!("{address} can be reached from other machines, so clients must send a key: set {variable}, or listen on 127.0.0.1")
    };
    if let Some(address) = flag {
        if open(&address) {
            sink.push(Problem::general(refusal(&address)));
        }
        return Listen { required: vec![address], also_v6_loopback: address.ip() == Ipv4Addr::LOCALHOST };
    }
    let Some(texts) = from_file else {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
        return Listen { required: vec![address], also_v6_loopback: true };
    };
    let mut required = Vec::new();
    for text in &texts {
        match text.value.replace("localhost:", "127.0.0.1:").parse::<SocketAddr>() {
            Ok(address) if open(&address) => sink.push(Problem::at(text.span.clone(), refusal(&address))),
            Ok(address) => required.push(address),
            Err(_) => {
                let message = format!("`{}` is not an address with a port from 0 to 65535", text.value);
                sink.push(Problem::at(text.span.clone(), message).help("for example \"127.0.0.1:4117\" or \"[::1]:4117\""));
            }
        }
    }
    if texts.is_empty() {
        sink.push(Problem::general("`server.listen` is an empty list").help("listen = \"127.0.0.1:4117\""));
    }
    Listen { required, also_v6_loopback: false }
}

fn read_origins(section: &mut Section<'_, '_>, sink: &Sink) -> Vec<String> {
    let texts = section.strings("allow_origins", "a list of origins such as \"https://app.example\"").unwrap_or_default();
    let mut origins = Vec::new();
    for text in texts {
        let parsed = url::Url::parse(&text.value).ok().filter(|url| url.origin().ascii_serialization() == text.value);
        match parsed {
            Some(_) => origins.push(text.value),
            None => {
                let message = format!("`{}` is not an origin", text.value);
                sink.push(
                    Problem::at(text.span, message)
                        .help("scheme, host and port alone, in lower case: \"https://app.example\", \"http://localhost:3000\""),
                );
            }
        }
    }
    origins
}

fn read_hosts(section: &mut Section<'_, '_>, sink: &Sink) -> Vec<String> {
    let texts = section.strings("allow_hosts", "a list of host names").unwrap_or_default();
    let mut hosts = Vec::new();
    for text in texts {
        if text.value.is_empty() || text.value.contains([':', '/', '*', ' ', '@']) {
            let message = format!("`{}` is not a host name", text.value);
            sink.push(Problem::at(text.span, message).help("the name alone, without port: \"host.docker.internal\""));
        } else {
            hosts.push(text.value.to_ascii_lowercase());
        }
    }
    hosts
}

fn read_pool(root: &mut Section<'_, '_>, known: &[&str], sink: &Sink) -> Pool {
    let mut section = root.table("pool");
    let mut names = |key| {
        let mut list = Vec::new();
        for text in section.strings(key, "a list of providers").unwrap_or_default() {
            if known.contains(&text.value.as_str()) {
                list.push(text.value);
                continue;
            }
            let problem = Problem::at(text.span, format!("there is no provider `{}`", text.value));
            sink.push(match nearest(&text.value, known.iter().copied()) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem,
            });
        }
        list
    };
    let pool = Pool { only: names("only"), except: names("except") };
    section.finish();
    pool
}

/// The `timeouts` table inside a provider's or model's section.
pub(super) fn read_timeouts(section: &mut Section<'_, '_>) -> TimeoutSet {
    let mut inside = section.table("timeouts");
    let set = read_timeouts_here(&mut inside);
    inside.finish();
    set
}

fn read_timeouts_here(section: &mut Section<'_, '_>) -> TimeoutSet {
    let range = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
    TimeoutSet {
        connect: section.duration("connect", range.clone()),
        first: section.duration("first", range.clone()),
        response: section.duration("response", range.clone()),
        idle: section.duration("idle", range.clone()),
        total: section.duration("total", range),
    }
}

fn read_validation(root: &mut Section<'_, '_>) -> Validation {
    let mut section = root.table("validation");
    let timeout = section.duration("timeout", Duration::from_millis(10)..=Duration::from_secs(300));
    let recheck = section.parsed("recheck", "\"off\" or a time such as \"60s\"", |text| match text {
        "off" => Ok(None),
        _ => match humantime::parse_duration(text) {
            Ok(every) if every >= Duration::from_secs(1) => Ok(Some(every)),
            _ => Err(format!("is \"off\" or a time from 1s, such as \"60s\"; this is \"{text}\"")),
        },
    });
    section.finish();
    Validation { timeout: timeout.unwrap_or(Duration::from_secs(5)), recheck: recheck.and_then(|placed| placed.value) }
}

fn read_routing(root: &mut Section<'_, '_>, sink: &Sink) -> Routing {
    let mut section = root.table("routing");
    let names = Order::NAMES.map(|(name, _)| format!("\"{name}\"")).join(", ");
    let order = section.parsed("order", &format!("one of {names}"), |text| {
        let known = Order::NAMES.iter().find(|(name, _)| *name == text);
        known.map(|(_, order)| *order).ok_or_else(|| format!("is one of {names}; this is \"{text}\""))
    });
    let read_tier = |text: &str| text.parse::<Tier>().map_err(|problem| format!("is {problem}"));
    let floor = section.parsed("floor", "a tier", read_tier).map(|placed| placed.value);
    let ceiling = section.parsed("ceiling", "a tier", read_tier);
    let spill = section.parsed("spill", "\"none\" or \"up\"", |text| match text {
        "none" => Ok(false),
        "up" => Ok(true),
        other => Err(format!("is \"none\" or \"up\"; this is \"{other}\"")),
    });
    section.finish();
    if let (Some(floor), Some(ceiling)) = (floor, &ceiling)
        && floor > ceiling.value
    {
        sink.push(Problem::at(ceiling.span.clone(), format!("`ceiling` {} is below `floor` {floor}", ceiling.value)));
    }
    Routing {
        order: order.map_or(Order::Listed, |placed| placed.value),
        floor,
        ceiling: ceiling.map(|placed| placed.value),
        spill_up: spill.is_some_and(|placed| placed.value),
    }
}

fn read_breaker(root: &mut Section<'_, '_>) -> Breaker {
    let mut section = root.table("breaker");
    let failures = section.integer("failures", 0..=1000).unwrap_or(5);
    let cooldown = section.duration("cooldown", Duration::from_millis(10)..=Duration::from_secs(300));
    section.finish();
    Breaker { failures: u32::try_from(failures).unwrap_or(5), cooldown: cooldown.unwrap_or(Duration::from_secs(30)) }
}

fn read_log(root: &mut Section<'_, '_>) -> Log {
    let mut section = root.table("log");
    let log = Log {
        requests: section.flag("requests").unwrap_or(true),
        keep_days: section.integer("keep_days", 1..=3650).unwrap_or(7),
        max_size: section.size("max_size", 1 << 20..=1 << 40).unwrap_or(64 << 20),
    };
    section.finish();
    log
}
