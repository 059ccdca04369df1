//! One provider as it is configured: the catalogue's facts under the file's
//! and the environment's decisions.

use std::path::Path;

use super::address::Endpoint;
use super::key::{Key, KeyState};
use super::load::{Reading, read_timeouts};
use super::problem::{Problem, looks_like_a_key, names_a_secret};
use super::reader::{Placed, Section, nearest};
use super::settings::TimeoutSet;
use crate::catalog::{self, Auth, Dialect, Ping};

/// A provider that this configuration may use.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The name in configuration, in `provider/model` and in the log.
    pub name: String,
    /// The name people know.
    pub title: String,
    /// Where its API is.
    pub endpoint: Endpoint,
    /// Its key, or why it has none.
    pub key: KeyState,
    /// The variable or file that the key is from, or should be from; for messages.
    pub key_source: Option<String>,
    /// How the key travels on the chat route.
    pub auth: Auth,
    /// Further headers of every request.
    pub headers: Vec<Header>,
    /// Where its dialect differs.
    pub dialect: Dialect,
    /// The free call that checks it.
    pub ping: Ping,
    /// A server on the user's machine that may come and go; its absence is not an error.
    pub optional: bool,
    /// Runs models itself, on this machine or nearby: fills the tiers only when nothing else does.
    pub local: bool,
    /// Where a user gets a key.
    pub key_url: Option<String>,
    /// Its own time limits.
    pub timeouts: TimeoutSet,
}

/// A header that the configuration adds to every request of a provider.
#[derive(Debug, Clone)]
pub struct Header {
    /// Its name, in lower case.
    pub name: String,
    /// Its value.
    pub value: Key,
    /// The variable that the value came from, which makes it a secret.
    pub variable: Option<String>,
}

/// All providers of a configuration, built-in ones in catalogue order first.
pub(super) fn read(root: &mut Section<'_, '_>, reading: &Reading<'_>) -> Vec<Provider> {
    let mut sections = root.entries("providers");
    let mut providers = Vec::new();
    for entry in &reading.catalog.providers {
        let at = sections.iter().position(|(name, _)| name.value == entry.id);
        let section = at.map(|at| sections.remove(at));
        providers.extend(builtin(entry, section, reading));
    }
    let names: Vec<&str> = reading.catalog.providers.iter().map(|entry| entry.id.as_str()).collect();
    for (name, section) in sections {
        providers.extend(custom(&name, section, &names, reading));
    }
    providers
}

fn builtin(entry: &catalog::Provider, section: Option<(Placed<String>, Section<'_, '_>)>, reading: &Reading<'_>) -> Option<Provider> {
    let named = section.as_ref().map(|(name, _)| name.clone());
    let own = match section {
        Some((_, mut section)) => {
            let own = Own::read(&mut section, reading);
            section.finish();
            own
        }
        None => Own::default(),
    };
    // A usual variable is for the usual host: a key never goes where it does not belong.
    let usual = entry.base_url.as_deref().and_then(|url| Endpoint::parse(url).ok());
    let elsewhere = matches!((&usual, &own.endpoint), (Some(usual), Some(own)) if usual.url().host() != own.url().host());
    let found = find_key(&own, if elsewhere { &[] } else { &entry.key_env }, reading);
    let optional = named.is_none() && entry.local && entry.implicit;
    let wanted = named.is_some() || entry.implicit && (entry.local || found.is_some());
    if !wanted {
        return None;
    }
    let Some(endpoint) = own.endpoint.clone().or(usual) else {
        let message = format!("`{}` needs a base_url: {} runs at an address of your own", entry.id, entry.name);
        match named {
            Some(name) if !own.broken => reading.sink.push(Problem::at(name.span, message)),
            Some(_) => {}
            None => reading.warn(format!("{message}; it is left out until [providers.{}] gives one", entry.id)),
        }
        return None;
    };
    let keyless = entry.local || own.auth == Some(Auth::None) || own.key_env.as_deref() == Some("");
    let source = own.source().or_else(|| found.as_ref().map(|found| found.source.clone())).or_else(|| entry.key_env.first().cloned());
    let key = match state(found, keyless, source.as_deref()) {
        KeyState::Missing(_) if elsewhere && own.source().is_none() => {
            let usual = entry.key_env.join(" and ");
            KeyState::Missing(format!(
                "base_url is another host than {}'s, so {usual} is not sent there; name a variable with api_key_env",
                entry.name
            ))
        }
        key => key,
    };
    let moved = own.endpoint.is_some();
    let ping = if moved { Ping { url: None, ..entry.validate.clone() } } else { entry.validate.clone() };
    Some(Provider {
        name: entry.id.clone(),
        title: entry.name.clone(),
        endpoint,
        key,
        key_source: source,
        auth: own.auth.unwrap_or(entry.auth),
        headers: own.headers,
        dialect: entry.dialect.clone(),
        ping,
        optional,
        local: entry.local,
        key_url: entry.key_url.clone(),
        timeouts: own.timeouts,
    })
}

fn custom(name: &Placed<String>, mut section: Section<'_, '_>, known: &[&str], reading: &Reading<'_>) -> Option<Provider> {
    let own = Own::read(&mut section, reading);
    section.finish();
    if name.value.is_empty() || name.value.contains(|c: char| c == '/' || c.is_control()) {
        reading
            .sink
            .push(Problem::at(name.span.clone(), "a provider's name is not empty and holds neither slashes nor control characters"));
        return None;
    }
    let Some(endpoint) = own.endpoint.clone() else {
        if !own.broken {
            let problem = Problem::at(name.span.clone(), format!("`{}` is not a built-in provider, and has no base_url", name.value));
            reading.sink.push(match nearest(&name.value, known.iter().copied()) {
                Some(near) => problem.help(format!("did you mean `{near}`? Otherwise add base_url = \"http://…/v1\"")),
                None => problem.help("add base_url = \"http://…/v1\", the address before /chat/completions"),
            });
        }
        return None;
    };
    let keyless = own.auth == Some(Auth::None) || own.source().is_none();
    let source = own.source();
    let found = find_key(&own, &[], reading);
    let local = endpoint.is_loopback();
    Some(Provider {
        name: name.value.clone(),
        title: name.value.clone(),
        endpoint,
        key: state(found, keyless, source.as_deref()),
        key_source: source,
        auth: own.auth.unwrap_or_default(),
        headers: own.headers,
        dialect: Dialect::default(),
        ping: Ping { proves: keyless, compare: !keyless, lists: true, ..Ping::default() },
        optional: false,
        local,
        key_url: None,
        timeouts: own.timeouts,
    })
}

/// What a provider's own section says.
#[derive(Default)]
struct Own {
    endpoint: Option<Endpoint>,
    /// A base_url is there but wrong, and already reported.
    broken: bool,
    key_env: Option<String>,
    key_file: Option<String>,
    auth: Option<Auth>,
    headers: Vec<Header>,
    timeouts: TimeoutSet,
}

impl Own {
    fn read(section: &mut Section<'_, '_>, reading: &Reading<'_>) -> Self {
        section.refuse(
            "api_key",
            "a key does not belong in this file",
            "put it in a variable and name that with api_key_env = \"NAME\", or in a file only you can read and name that with api_key_file",
        );
        let given = section.span_of("base_url").is_some();
        let endpoint = section.parsed("base_url", "a web address", Endpoint::parse).map(|placed| {
            if placed.value.is_loopback() && reading.own_ports.contains(&placed.value.port()) {
                let message = "`base_url` is this proxy's own address: requests would go round in circles";
                reading.sink.push(Problem::at(placed.span, message));
            }
            placed.value
        });
        let auth = section.parsed("auth", "one of \"bearer\", \"api-key\", \"x-api-key\", \"none\"", read_auth);
        Self {
            broken: given && endpoint.is_none(),
            endpoint,
            key_env: section.parsed("api_key_env", "the name of a variable", read_variable_name).map(|placed| placed.value),
            key_file: section.string("api_key_file", "the path of a file").map(|placed| placed.value),
            auth: auth.map(|placed| placed.value),
            headers: read_headers(section, reading),
            timeouts: read_timeouts(section),
        }
    }

    /// Where the user said the key is.
    fn source(&self) -> Option<String> {
        let env = self.key_env.clone().filter(|name| !name.is_empty());
        env.or_else(|| self.key_file.clone())
    }
}

/// A key that was looked for and found, usable or not.
struct Found {
    source: String,
    key: Result<Key, String>,
}

/// Looks where the user said, else where the catalogue says. A variable beats
/// a file.
fn find_key(own: &Own, usual: &[String], reading: &Reading<'_>) -> Option<Found> {
    let variables: Vec<&String> = match &own.key_env {
        Some(name) => vec![name],
        None if own.key_file.is_some() => Vec::new(),
        None => usual.iter().collect(),
    };
    let mut found: Option<(Found, &String, String)> = None;
    for variable in variables.into_iter().filter(|name| !name.is_empty()) {
        let Some(text) = reading.env(variable) else { continue };
        match &found {
            None => {
                let key = Key::new(&text).map_err(|problem| format!("{variable} {problem}"));
                found = Some((Found { source: variable.clone(), key }, variable, text));
            }
            Some((_, used, other)) if *other != text => {
                reading.warn(format!("{used} and {variable} are both set and differ: {used} is used"));
            }
            Some(_) => {}
        }
    }
    if let Some((found, _, _)) = found {
        return Some(found);
    }
    let path = own.key_file.as_ref()?;
    let key = reading
        .key_file(Path::new(path))
        .and_then(|text| Key::new(text.trim_end_matches(['\n', '\r'])).map_err(|problem| format!("the key in {path} {problem}")));
    Some(Found { source: path.clone(), key })
}

fn state(found: Option<Found>, keyless: bool, source: Option<&str>) -> KeyState {
    match found.map(|found| found.key) {
        Some(Ok(key)) => KeyState::Present(key),
        Some(Err(problem)) => KeyState::Missing(problem),
        None if keyless => KeyState::NotNeeded,
        None => KeyState::Missing(format!("{} is not set", source.unwrap_or("its key variable"))),
    }
}

fn read_auth(text: &str) -> Result<Auth, String> {
    Auth::NAMES
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, auth)| *auth)
        .ok_or_else(|| format!("is one of \"bearer\", \"api-key\", \"x-api-key\", \"none\"; this is \"{text}\""))
}

/// The name of a variable, or nothing for a provider that needs no key. What
/// looks like the key itself is refused and not repeated.
pub(super) fn read_variable_name(text: &str) -> Result<String, String> {
    if looks_like_a_key(text) {
        return Err("is the name of a variable, and this looks like the key itself".to_owned());
    }
    let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if text.bytes().all(name) && !text.starts_with(|c: char| c.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err("is the name of a variable: letters, digits and underscores".to_owned())
    }
}

fn read_headers(section: &mut Section<'_, '_>, reading: &Reading<'_>) -> Vec<Header> {
    let mut headers = Vec::new();
    for (name, entry) in section.values("headers") {
        let Some(value) = entry.strings(&name.value, "a header's value").and_then(|list| list.into_iter().next()) else { continue };
        if names_a_secret(&name.value) || looks_like_a_key(&value.value) {
            let problem = Problem::at(name.span, format!("the header `{}` holds a secret, which does not belong in this file", name.value));
            reading.sink.push(problem.help(format!("headers_env = {{ \"{}\" = \"VARIABLE\" }}", name.value)));
            continue;
        }
        push_header(&mut headers, &name, &value.value, None, reading);
    }
    for (name, entry) in section.values("headers_env") {
        let Some(variable) = entry.strings(&name.value, "the name of a variable").and_then(|list| list.into_iter().next()) else {
            continue;
        };
        match read_variable_name(&variable.value) {
            Err(problem) => reading.sink.push(Problem::at(variable.span, format!("`{}` {problem}", name.value))),
            Ok(variable_name) => match reading.env(&variable_name) {
                Some(value) => push_header(&mut headers, &name, &value, Some(variable_name), reading),
                None => {
                    let message = format!("the header `{}` takes its value from {variable_name}, which is not set", name.value);
                    reading.sink.push(Problem::at(variable.span, message));
                }
            },
        }
    }
    headers
}

fn push_header(headers: &mut Vec<Header>, name: &Placed<String>, value: &str, variable: Option<String>, reading: &Reading<'_>) {
    let valid_name = http::HeaderName::from_bytes(name.value.as_bytes()).is_ok();
    let reserved = ["host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding"];
    if !valid_name || reserved.contains(&name.value.to_ascii_lowercase().as_str()) {
        reading.sink.push(Problem::at(name.span.clone(), format!("`{}` is not a header that can be set", name.value)));
        return;
    }
    match Key::new(&value.replace(' ', "_")).and(http::HeaderValue::from_str(value).map_err(|_| "is not a header's value")) {
        Ok(_) => headers.push(Header { name: name.value.to_ascii_lowercase(), value: Key::header(value), variable }),
        Err(problem) => reading.sink.push(Problem::at(name.span.clone(), format!("the value of the header `{}` {problem}", name.value))),
    }
}
