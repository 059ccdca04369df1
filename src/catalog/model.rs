//! What is known of one model at one provider.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::tier::Tier;

/// A model at a provider, written `provider/model`. The model part may hold
/// further slashes (`groq/openai/gpt-oss-120b`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelRef {
    /// The provider's name in configuration.
    pub provider: String,
    /// The id that this provider understands.
    pub model: String,
}

impl ModelRef {
    /// A reference from its two parts.
    pub fn new(provider: impl Into<String>, model: impl Into<String>) -> Self {
        Self { provider: provider.into(), model: model.into() }
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

/// The text is not of the form `provider/model`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a model is written provider/model, for example google/gemini-3.5-flash")]
pub struct NotAModelRef;

impl FromStr for ModelRef {
    type Err = NotAModelRef;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((provider, model)) if !provider.is_empty() && !model.is_empty() => Ok(Self::new(provider, model)),
            _ => Err(NotAModelRef),
        }
    }
}

impl TryFrom<String> for ModelRef {
    type Error = NotAModelRef;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ModelRef> for String {
    fn from(name: ModelRef) -> Self {
        name.to_string()
    }
}

/// Something a model may or may not be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// Calls functions that the request declares.
    Tools,
    /// Reads images.
    Vision,
    /// Hears audio.
    Audio,
    /// Watches video.
    Video,
    /// Reads attached files (PDF).
    Files,
    /// Thinks before it answers, so its first content may take minutes.
    Reasoning,
    /// Answers by a given JSON schema.
    JsonSchema,
}

impl Capability {
    /// The names that configuration may use, with what they mean.
    pub const NAMES: [(&'static str, Capability); 7] = [
        ("tools", Capability::Tools),
        ("vision", Capability::Vision),
        ("audio", Capability::Audio),
        ("video", Capability::Video),
        ("files", Capability::Files),
        ("reasoning", Capability::Reasoning),
        ("json_schema", Capability::JsonSchema),
    ];

    /// The name as configuration writes it.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, capability)| *capability == self).map_or("", |(name, _)| *name)
    }
}

/// The facts of one model at one provider. What is not known is absent, and an
/// unknown fact excludes nothing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// The provider's name.
    pub provider: Arc<str>,
    /// The id to send upstream.
    pub id: Arc<str>,
    /// The name people use; the same model has the same name at every provider.
    pub name: String,
    /// Other ids of the same model at this provider.
    pub aliases: Vec<String>,
    /// The tier whose chain a request for this model falls back to.
    pub tier: Option<Tier>,
    /// Tokens of prompt and answer together.
    pub context_window: Option<u64>,
    /// Tokens of the prompt alone, where the vendor limits it.
    pub max_input: Option<u64>,
    /// Tokens of the answer.
    pub max_output: Option<u64>,
    /// USD per million prompt tokens.
    pub input_usd_per_mtok: Option<f64>,
    /// USD per million answer tokens.
    pub output_usd_per_mtok: Option<f64>,
    /// USD per million prompt tokens read from the provider's cache.
    pub cached_usd_per_mtok: Option<f64>,
    /// What it is known to be able to do.
    pub has: Vec<Capability>,
    /// What it is known not to be able to do.
    pub lacks: Vec<Capability>,
    /// Request fields that this model refuses, left out before sending.
    pub rejects: Vec<String>,
    /// Artificial Analysis Intelligence Index v4.1.
    pub intelligence: Option<f64>,
    /// Berkeley Function Calling Leaderboard v4, as a fraction.
    pub bfcl: Option<f64>,
    /// The day the provider says it will be switched off.
    pub retires: Option<String>,
}

impl Facts {
    /// Nothing but a name, for a model that only the user or the provider's list knows.
    pub fn unknown(provider: &str, id: &str) -> Self {
        Self { provider: provider.into(), id: id.into(), ..Self::default() }
    }

    /// Whether `model` is this model's id or one of its aliases.
    pub fn answers_to(&self, model: &str) -> bool {
        *self.id == *model || self.aliases.iter().any(|alias| alias == model)
    }

    /// Whether the model is known to be able to do this.
    pub fn has(&self, capability: Capability) -> bool {
        self.has.contains(&capability)
    }

    /// Whether the model is known not to be able to do this.
    pub fn lacks(&self, capability: Capability) -> bool {
        self.lacks.contains(&capability)
    }

    /// What makes two entries the same model at different providers: the name,
    /// or the last part of the id, in lower case with only letters and digits.
    pub fn family(&self) -> String {
        let source = if self.name.is_empty() { self.id.rsplit('/').next().unwrap_or(&self.id) } else { &self.name };
        source.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_id_may_hold_slashes() {
        let name: ModelRef = "groq/openai/gpt-oss-120b".parse().unwrap();
        assert_eq!((name.provider.as_str(), name.model.as_str()), ("groq", "openai/gpt-oss-120b"));
        for wrong in ["", "gpt-4", "/x", "x/"] {
            assert!(wrong.parse::<ModelRef>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_same_model_at_two_providers_is_one_family() {
        let named = Facts { name: "GLM-5.3".into(), ..Facts::unknown("zai", "glm-5.3") };
        let listed = Facts::unknown("together", "zai-org/GLM-5.3");
        assert_eq!(named.family(), listed.family());
    }
}
