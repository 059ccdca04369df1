//! What a check found, in the shape that scripts read; every format shows this.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::live::Answer;
use crate::catalog::Tier;
use crate::config::{KeyState, Provider};
use crate::engine::Fleet;
use crate::journal::millis;
use crate::routing::Found;
use crate::upstream::{Checked, Standing};

/// The whole result. Names are stable.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Whether the exit code is 0.
    pub ok: bool,
    /// Every provider that was checked.
    pub providers: Vec<ProviderRow>,
    /// The tiers' chains, and the aliases that stay on this machine.
    pub chains: Vec<ChainRow>,
    /// What is not wrong and likely not meant.
    pub warnings: Vec<String>,
    /// What would be left without some providers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Without>,
    /// The key variables that were looked at, and whether each is set.
    pub key_variables: Vec<KeyVariable>,
}

/// One provider.
#[derive(Debug, Serialize)]
pub struct ProviderRow {
    pub provider: String,
    pub result: Standing,
    pub status: Option<u16>,
    pub ms: u64,
    pub key_env: Option<String>,
    pub models: Option<usize>,
    pub detail: String,
    pub base_url: String,
    /// What a real, billed call came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<Answer>,
    /// Whether this result makes the check fail.
    #[serde(skip)]
    pub fails: bool,
}

/// One chain.
#[derive(Debug, Serialize)]
pub struct ChainRow {
    pub name: String,
    pub candidates: Vec<String>,
    pub usable: bool,
    pub borrowed_from: Option<Tier>,
    pub largest_window: Option<u64>,
    /// Nothing of it leaves this machine.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub local_only: bool,
}

/// The chains as they would be without one provider.
#[derive(Debug, Serialize)]
pub struct Without {
    pub provider: String,
    pub chains: Vec<ChainRow>,
}

/// A variable that a key may be in.
#[derive(Debug, Serialize)]
pub struct KeyVariable {
    pub name: String,
    pub set: bool,
}

impl Report {
    /// Puts together what was found.
    pub fn new(
        fleet: &Fleet,
        results: &[(&Provider, Checked)],
        ok: bool,
        warnings: &[String],
        without: Vec<Without>,
        live: &HashMap<String, Answer>,
        allow_missing: bool,
    ) -> Self {
        let provider = |(provider, checked): &(&Provider, Checked)| ProviderRow {
            provider: provider.name.clone(),
            result: checked.standing,
            status: checked.status,
            ms: millis(checked.took),
            key_env: provider.key_source.clone(),
            models: checked.models.as_ref().map(Vec::len),
            detail: checked.detail.clone(),
            base_url: provider.endpoint.as_str().to_owned(),
            live: live.get(&provider.name).cloned(),
            fails: !super::is_usable(checked.standing, allow_missing) || live.get(&provider.name).is_some_and(|answer| !answer.is_good()),
        };
        Self {
            ok,
            providers: results.iter().map(provider).collect(),
            chains: Tier::ALL.map(|tier| chain_row(fleet, tier)).into_iter().chain(alias_rows(fleet)).collect(),
            warnings: warnings.to_vec(),
            without,
            key_variables: key_variables(fleet),
        }
    }

    /// The chains that have no answer, those without a provider among them.
    pub fn dead_chains(&self) -> impl Iterator<Item = (String, &ChainRow)> {
        let own = self.chains.iter().filter(|chain| !chain.local_only).map(|chain| (chain.name.clone(), chain));
        let without = self
            .without
            .iter()
            .flat_map(|without| without.chains.iter().map(move |chain| (format!("{} without {}", chain.name, without.provider), chain)));
        own.chain(without).filter(|(_, chain)| !chain.usable)
    }

    /// Whether nothing failed but the warnings, which `--strict` counts.
    pub fn fails_for_warnings(&self) -> bool {
        !self.ok && self.providers.iter().all(|row| !row.fails) && self.dead_chains().next().is_none()
    }

    /// The key variables in a line for people.
    pub fn looked_at(&self) -> String {
        let names = |set: bool| -> Vec<&str> {
            self.key_variables.iter().filter(|variable| variable.set == set).map(|variable| variable.name.as_str()).collect()
        };
        let or_none = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        format!("key variables that are set: {}; not set: {}", or_none(names(true)), or_none(names(false)))
    }
}

/// Those of the catalogue, and those that the configuration names.
fn key_variables(fleet: &Fleet) -> Vec<KeyVariable> {
    let mut found: Vec<KeyVariable> = Vec::new();
    let mut add = |name: &str, set: bool| match found.iter_mut().find(|variable| variable.name == name) {
        Some(variable) => variable.set |= set,
        None => found.push(KeyVariable { name: name.to_owned(), set }),
    };
    for (provider, _) in fleet.providers() {
        if let Some(source) = provider.key_source.as_deref().filter(|source| is_variable(source)) {
            add(source, matches!(provider.key, KeyState::Present(_)));
        }
    }
    let builtin = crate::catalog::builtin().providers.iter().flat_map(|provider| &provider.key_env);
    builtin.for_each(|name| add(name, crate::paths::env(name).is_some_and(|value| !value.is_empty())));
    found
}

/// A key's source is a variable or a file.
fn is_variable(source: &str) -> bool {
    source.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The chain of a tier.
pub fn chain_row(fleet: &Fleet, tier: Tier) -> ChainRow {
    let chain = fleet.table.tier(tier);
    let candidates: Vec<_> = chain.chain.iter().filter_map(|id| fleet.candidate(*id)).collect();
    ChainRow {
        name: tier.name().to_owned(),
        local_only: false,
        usable: !candidates.is_empty(),
        borrowed_from: chain.borrowed_from,
        largest_window: candidates.iter().filter_map(|candidate| candidate.facts.context_window).max(),
        candidates: candidates.iter().map(|candidate| candidate.label.to_string()).collect(),
    }
}

/// The aliases that keep requests on this machine, with what serves them:
/// only models at loopback addresses are ever among it.
pub fn alias_rows(fleet: &Fleet) -> Vec<ChainRow> {
    let local = fleet.settings.aliases.iter().filter(|alias| alias.local_only);
    let row = |alias: &crate::config::Alias| {
        let ids = match fleet.table.find(Some(&alias.name)).map(|(found, _)| found) {
            Some(Found::Model(ids) | Found::List(ids)) => ids,
            Some(Found::Tier(tier)) => fleet.table.tier(tier).chain.clone(),
            Some(Found::Auto | Found::Unlisted(_)) | None => {
                Tier::ALL.into_iter().flat_map(|tier| fleet.table.tier(tier).chain.clone()).collect()
            }
        };
        let mut candidates: Vec<_> =
            ids.iter().filter_map(|id| fleet.candidate(*id)).filter(|candidate| candidate.in_pool && candidate.loopback).collect();
        candidates.dedup_by_key(|candidate| candidate.label.clone());
        ChainRow {
            name: alias.name.clone(),
            usable: !candidates.is_empty(),
            borrowed_from: None,
            largest_window: candidates.iter().filter_map(|candidate| candidate.facts.context_window).max(),
            candidates: candidates.iter().map(|candidate| candidate.label.to_string()).collect(),
            local_only: true,
        }
    };
    local.map(row).collect()
}

/// The chains as they would be without each of these providers.
pub fn without(fleet: &Fleet, names: &[String]) -> Vec<Without> {
    let one = |name: &String| {
        let mut settings = fleet.settings.as_ref().clone();
        settings.providers.retain(|provider| provider.name != *name);
        let left = Fleet::new(Arc::new(settings), Some(fleet));
        Without { provider: name.clone(), chains: Tier::ALL.map(|tier| chain_row(&left, tier)).into_iter().collect() }
    };
    names.iter().map(one).collect()
}

impl Without {
    /// Whether every tier would still have an answer.
    pub fn is_usable(&self) -> bool {
        self.chains.iter().all(|chain| chain.usable)
    }

    /// What would be worse without it.
    pub fn warnings(&self) -> impl Iterator<Item = String> {
        self.chains.iter().filter_map(|chain| match (chain.usable, chain.borrowed_from) {
            (false, _) => Some(format!("without {}, {} has no answer", self.provider, chain.name)),
            (true, Some(lender)) => Some(format!("without {}, {} borrows the chain of {lender}", self.provider, chain.name)),
            (true, None) => None,
        })
    }
}
