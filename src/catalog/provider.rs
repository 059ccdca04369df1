//! What is known of one provider: where it is, how it takes a key, how a key
//! is checked for free, and where its dialect of the chat call differs.

use std::collections::BTreeMap;

use serde::Deserialize;

/// How the key travels on the chat route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Auth {
    /// `Authorization: Bearer KEY`.
    #[default]
    Bearer,
    /// `api-key: KEY` (Azure).
    ApiKey,
    /// `x-api-key: KEY`.
    XApiKey,
    /// No key is sent.
    None,
}

impl Auth {
    /// The values that configuration may use.
    pub const NAMES: [(&'static str, Auth); 4] =
        [("bearer", Auth::Bearer), ("api-key", Auth::ApiKey), ("x-api-key", Auth::XApiKey), ("none", Auth::None)];
}

/// How the key travels on the validation call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PingAuth {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// `api-key: KEY`.
    ApiKey,
    /// `x-api-key: KEY`.
    XApiKey,
    /// `x-goog-api-key: KEY`.
    XGoogApiKey,
}

/// The free call that tells at start whether a provider can be used.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ping {
    /// A path below the base URL; `/models` when neither this nor `url` is given.
    pub path: Option<String>,
    /// A whole address, used only while the base URL is the built-in one.
    pub url: Option<String>,
    /// The key's header, when it is not that of the chat route.
    pub auth: Option<PingAuth>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// Whether a 200 proves that the key is good; a public list proves nothing.
    pub proves: bool,
    /// Whether it can be found out if a 200 proves the key, by asking once more
    /// without it: a server that then refuses had looked at it.
    pub compare: bool,
    /// Whether the answer lists the model ids of the chat route.
    pub lists: bool,
    /// Only a 401 proves that the key is bad.
    pub only_401: bool,
}

/// Where a provider's chat call differs from OpenAI's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dialect {
    /// The one name under which it takes the answer's token limit.
    pub max_tokens_field: Option<String>,
    /// Request fields that it refuses, left out before sending.
    pub drop: Vec<String>,
    /// `false`: it refuses `stream_options`.
    pub stream_options: Option<bool>,
}

/// A built-in provider.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Provider {
    /// The name used in configuration and in `provider/model`.
    pub id: String,
    /// The name people know.
    pub name: String,
    /// Where its OpenAI-compatible API is; absent when only the user can know.
    pub base_url: Option<String>,
    /// The variables that may hold its key, in order of preference.
    pub key_env: Vec<String>,
    /// Where a user gets a key.
    pub key_url: Option<String>,
    /// Its documentation.
    pub docs_url: Option<String>,
    /// How the key travels on the chat route.
    pub auth: Auth,
    /// Runs on the user's machine.
    pub local: bool,
    /// Joins the pool when its key variable is set, or (local) when it is found running.
    #[serde(default = "yes")]
    pub implicit: bool,
    /// The free call that checks it.
    pub validate: Ping,
    /// Where its dialect differs.
    pub dialect: Dialect,
    /// Where these facts are from.
    pub sources: Vec<String>,
}

fn yes() -> bool {
    true
}
