//! The providers and models that routor knows without being told: facts as
//! data files inside the binary. It must not know which of them are in use.

mod model;
mod provider;
mod tier;

use std::sync::LazyLock;

pub use model::{Capability, Facts, ModelRef};
pub use provider::{Auth, Dialect, Ping, PingAuth, Provider};
pub use tier::{PerTier, Tier};

use serde::Deserialize;

/// Every built-in provider and model, and the default chain of each tier.
#[derive(Debug)]
pub struct Catalog {
    /// Providers in catalogue order, which also decides who serves a bare model name first.
    pub providers: Vec<Provider>,
    /// Model facts, grouped by provider in the same order.
    pub models: Vec<Facts>,
    /// The default chain of each tier.
    pub tiers: PerTier<Vec<ModelRef>>,
}

#[derive(Deserialize)]
struct ProviderFile {
    provider: Vec<Provider>,
}

#[derive(Deserialize)]
struct ModelFile {
    model: Vec<Facts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
struct TierFile {
    nano: Vec<ModelRef>,
    simple: Vec<ModelRef>,
    light: Vec<ModelRef>,
    standard: Vec<ModelRef>,
    complex: Vec<ModelRef>,
}

/// The catalogue that is compiled into this binary. The files are part of the
/// program and a test parses them, so a broken one cannot ship; it would show
/// here as an empty catalogue.
pub fn builtin() -> &'static Catalog {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| parse().unwrap_or_else(|_| Catalog::empty()));
    &CATALOG
}

fn parse() -> Result<Catalog, toml::de::Error> {
    let providers: ProviderFile = toml::from_str(include_str!("data/providers.toml"))?;
    let models: ModelFile = toml::from_str(include_str!("data/models.toml"))?;
    let tiers: TierFile = toml::from_str(include_str!("data/tiers.toml"))?;
    Ok(Catalog {
        providers: providers.provider,
        models: models.model,
        tiers: PerTier::from_fn(|tier| {
            let chain = match tier {
                Tier::Nano => &tiers.nano,
                Tier::Simple => &tiers.simple,
                Tier::Light => &tiers.light,
                Tier::Standard => &tiers.standard,
                Tier::Complex => &tiers.complex,
            };
            chain.clone()
        }),
    })
}

impl Catalog {
    /// A catalogue that knows nothing: what `--demo` starts from.
    pub fn empty() -> Self {
        Self { providers: Vec::new(), models: Vec::new(), tiers: PerTier::default() }
    }

    /// The built-in provider of that name.
    pub fn provider(&self, id: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.id == id)
    }

    /// The models that the catalogue knows at one provider.
    pub fn models_of<'a>(&'a self, provider: &'a str) -> impl Iterator<Item = &'a Facts> {
        self.models.iter().filter(move |facts| *facts.provider == *provider)
    }

    /// The facts of one model, found by its id or one of its aliases.
    pub fn model(&self, name: &ModelRef) -> Option<&Facts> {
        self.models.iter().find(|facts| *facts.provider == *name.provider && facts.answers_to(&name.model))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_data_files_parse_and_agree() {
        let catalog = parse().expect("the catalogue parses");
        assert!(catalog.providers.len() >= 24, "providers: {}", catalog.providers.len());
        assert!(catalog.models.len() >= 100, "models: {}", catalog.models.len());
        let mut seen = HashSet::new();
        for facts in &catalog.models {
            assert!(catalog.provider(&facts.provider).is_some(), "{} has no provider", facts.id);
            assert!(seen.insert((&facts.provider, &facts.id)), "{}/{} twice", facts.provider, facts.id);
        }
        for tier in Tier::ALL {
            for entry in catalog.tiers.get(tier) {
                assert!(catalog.model(entry).is_some(), "{tier}: {entry} is not in models.toml");
            }
        }
    }

    #[test]
    fn any_two_keys_give_two_candidates_in_every_tier() {
        let catalog = parse().expect("the catalogue parses");
        for provider in catalog.providers.iter().filter(|provider| !provider.local) {
            for tier in Tier::ALL {
                assert!(
                    catalog.tiers.get(tier).iter().any(|entry| entry.provider == provider.id),
                    "{tier} has nothing from {}",
                    provider.id
                );
            }
        }
    }

    #[test]
    fn tiers_begin_with_three_different_providers() {
        let catalog = parse().expect("the catalogue parses");
        for tier in Tier::ALL {
            let first: HashSet<_> = catalog.tiers.get(tier).iter().take(3).map(|entry| &entry.provider).collect();
            assert_eq!(first.len(), 3, "{tier} starts with one provider twice");
        }
    }
}
