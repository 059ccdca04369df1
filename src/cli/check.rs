//! `routor check`: the start-up validation alone, for people and pipelines.

use std::collections::HashMap;
use std::sync::Arc;

use indicatif::ProgressBar;
use serde::Serialize;

use super::args::{Check, Common, Format};
use super::screen::{Screen, Unprinted};
use super::{Exit, prepare, table};
use crate::catalog::Tier;
use crate::config::{Provider, Settings};
use crate::engine::{Engine, Fleet};
use crate::journal::{Journal, Limits, millis};
use crate::routing::Found;
use crate::upstream::{Checked, Standing};

/// What to do when there is nothing to work with.
pub const NOTHING: &str = "no provider is configured: set a key variable such as OPENAI_API_KEY, GEMINI_API_KEY or OPENROUTER_API_KEY, \
or start Ollama or LM Studio, or write a configuration file. To look around without any of these: routor serve --demo";

/// Checks and reports.
pub async fn run(common: &Common, args: &Check, screen: &Screen) -> Exit {
    match check(common, args, screen).await {
        Ok(exit) | Err(exit) => exit,
    }
}

async fn check(common: &Common, args: &Check, screen: &Screen) -> Result<Exit, Exit> {
    let mut settings = prepare::settings(common, None, screen)?;
    keep_named(&mut settings, &args.providers, screen)?;
    if let Some(timeout) = args.timeout {
        settings.validation.timeout = timeout;
    }
    let refused = |problem: String| {
        screen.error(&problem);
        Exit::No
    };
    let limits = Limits { keep: std::time::Duration::ZERO, max_bytes: 0 };
    let journal = Journal::start(None, limits, Box::new(|_| {})).map_err(|problem| refused(problem.to_string()))?;
    let engine = Engine::new(settings, journal).map_err(|problem| refused(problem.to_string()))?;
    let progress = Progress::new(&engine.fleet().settings.providers, screen);
    engine.validate(|provider, checked| progress.done(provider, checked)).await;
    progress.clear();
    let fleet = engine.fleet();
    screen.redact(Arc::clone(&fleet.redactor));
    let results: Vec<(&Provider, Checked)> =
        results(&fleet).into_iter().filter(|(provider, checked)| table::is_shown(provider, checked)).collect();
    if results.is_empty() {
        screen.error(NOTHING);
        return Err(Exit::Usage);
    }
    let warnings = warnings(&fleet);
    let ok = is_ok(&results, &warnings, args) && fleet.pool_size() > 0;
    let printed = match args.format {
        Format::Json => print_json(&fleet, &results, ok, screen),
        Format::Table => print_table(&fleet, &results, screen),
    };
    match printed {
        Ok(()) | Err(Unprinted::Closed) => {}
        Err(Unprinted::Failed(problem)) => return Err(refused(format!("the result cannot be printed: {problem}"))),
    }
    warnings.iter().for_each(|warning| screen.warn(warning));
    advise(&results, screen);
    Ok(if ok { Exit::Done } else { Exit::No })
}

/// Keeps the providers that were asked for.
fn keep_named(settings: &mut Settings, names: &[String], screen: &Screen) -> Result<(), Exit> {
    for name in names {
        if !settings.providers.iter().any(|provider| provider.name == *name) {
            let builtin = crate::catalog::builtin().provider(name);
            let hint = match builtin {
                Some(builtin) if !builtin.key_env.is_empty() => format!("{name} is not configured: set {}", builtin.key_env.join(" or ")),
                Some(_) => format!("{name} is not configured: add [providers.{name}] to the configuration"),
                None => no_such_provider(name, settings),
            };
            screen.error(&hint);
            return Err(Exit::Usage);
        }
    }
    if !names.is_empty() {
        settings.providers.retain(|provider| names.contains(&provider.name));
        settings.providers.iter_mut().for_each(|provider| provider.optional = false);
    }
    Ok(())
}

fn no_such_provider(name: &str, settings: &Settings) -> String {
    let builtin = crate::catalog::builtin().providers.iter().map(|provider| provider.id.as_str());
    let known = settings.providers.iter().map(|provider| provider.name.as_str()).chain(builtin);
    let likeness = |known: &str| strsim::jaro_winkler(&name.to_lowercase(), known);
    let near = known.map(|known| (likeness(known), known)).filter(|(likeness, _)| *likeness > 0.8).max_by(|(a, _), (b, _)| a.total_cmp(b));
    let near = near.map(|(_, near)| format!("; did you mean {near}?")).unwrap_or_default();
    format!("there is no provider `{}`{near}", crate::redact::printable(name, 60))
}

/// A line of progress for each provider while it is asked.
pub struct Progress {
    bars: HashMap<String, ProgressBar>,
    all: indicatif::MultiProgress,
}

impl Progress {
    /// Lines for these providers, on a terminal; elsewhere nothing is shown.
    pub fn new(providers: &[Provider], screen: &Screen) -> Self {
        let all = indicatif::MultiProgress::new();
        let mut bars = HashMap::new();
        if screen.is_lively() {
            for provider in providers.iter().filter(|provider| !provider.optional) {
                let bar = all.add(screen.spinner(format!("{} …", provider.name)));
                bars.insert(provider.name.clone(), bar);
            }
        }
        Self { bars, all }
    }

    /// A provider has answered.
    pub fn done(&self, provider: &Provider, checked: &Checked) {
        if let Some(bar) = self.bars.get(&provider.name) {
            bar.finish_with_message(format!("{} {} ({} ms)", provider.name, checked.standing.name(), checked.took.as_millis()));
        }
    }

    /// Removes the lines, so that the table takes their place.
    pub fn clear(&self) {
        let _ = self.all.clear();
    }
}

/// The last check of each provider, in order.
pub fn results(fleet: &Fleet) -> Vec<(&Provider, Checked)> {
    fleet.providers().filter_map(|(provider, state)| Some((provider, state.checked()?.0))).collect()
}

/// Chains that must borrow, and entries that their provider does not list.
pub fn warnings(fleet: &Fleet) -> Vec<String> {
    let mut warnings = Vec::new();
    if fleet.pool_size() == 0 {
        return warnings;
    }
    for alias in alias_rows(fleet).iter().filter(|alias| !alias.usable) {
        let name = crate::redact::printable(&alias.name, 100);
        warnings.push(format!("no model of `{name}` is in the pool on this machine, where it must stay: requests for it are refused"));
    }
    for tier in Tier::ALL {
        let chain = fleet.table.tier(tier);
        if let Some(lender) = chain.borrowed_from {
            warnings.push(format!("no model of {tier} is in the pool; it borrows the chain of {lender}"));
        }
        for id in chain.chain.iter().filter(|_| chain.borrowed_from.is_none()) {
            let Some(candidate) = fleet.candidate(*id) else { continue };
            let Some((_, state)) = fleet.provider(candidate.provider) else { continue };
            let Some(listed) = state.checked().and_then(|(checked, _)| checked.models) else { continue };
            let known = |id: &String| candidate.facts.answers_to(id);
            if listed.is_empty() || listed.iter().any(known) {
                continue;
            }
            let near = listed.iter().map(|id| (strsim::jaro_winkler(id, &candidate.facts.id), id)).max_by(|(a, _), (b, _)| a.total_cmp(b));
            let near = near.filter(|(likeness, _)| *likeness > 0.8).map(|(_, id)| format!("; the nearest is {id}")).unwrap_or_default();
            let warning =
                format!("{} does not list {}, which is in the chain of {tier}{near}", candidate.facts.provider, candidate.facts.id);
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    warnings
}

fn is_ok(results: &[(&Provider, Checked)], warnings: &[String], args: &Check) -> bool {
    let usable = |checked: &Checked| match checked.standing {
        Standing::Ok => true,
        Standing::Unverified => true,
        Standing::NoKey => args.allow_missing,
        Standing::Rejected | Standing::Unreachable | Standing::NoCredit => false,
    };
    results.iter().all(|(_, checked)| usable(checked)) && (!args.strict || warnings.is_empty())
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    providers: Vec<ProviderRow<'a>>,
    chains: Vec<ChainRow>,
}

#[derive(Serialize)]
struct ProviderRow<'a> {
    provider: &'a str,
    result: Standing,
    status: Option<u16>,
    ms: u64,
    key_env: Option<&'a str>,
    models: Option<usize>,
    detail: &'a str,
    base_url: &'a str,
}

#[derive(Serialize)]
struct ChainRow {
    name: String,
    candidates: Vec<String>,
    usable: bool,
    borrowed_from: Option<Tier>,
    largest_window: Option<u64>,
    /// Nothing of it leaves this machine.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    local_only: bool,
}

fn print_json(fleet: &Fleet, results: &[(&Provider, Checked)], ok: bool, screen: &Screen) -> Result<(), Unprinted> {
    let providers = results.iter().map(|(provider, checked)| ProviderRow {
        provider: &provider.name,
        result: checked.standing,
        status: checked.status,
        ms: millis(checked.took),
        key_env: provider.key_source.as_deref(),
        models: checked.models.as_ref().map(Vec::len),
        detail: &checked.detail,
        base_url: provider.endpoint.as_str(),
    });
    let chains = Tier::ALL.map(|tier| chain_row(fleet, tier)).into_iter().chain(alias_rows(fleet)).collect();
    let report = Report { ok, providers: providers.collect(), chains };
    screen.line(&serde_json::to_string(&report).unwrap_or_default())
}

fn chain_row(fleet: &Fleet, tier: Tier) -> ChainRow {
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
fn alias_rows(fleet: &Fleet) -> Vec<ChainRow> {
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

fn print_table(fleet: &Fleet, results: &[(&Provider, Checked)], screen: &Screen) -> Result<(), Unprinted> {
    let providers = table::of_providers(results.iter().map(|(provider, checked)| (*provider, checked)), screen.out_colour());
    screen.line(&providers.to_string())?;
    if fleet.pool_size() == 0 {
        return Ok(());
    }
    let mut chains = table::new(&["tier", "models", "first", "largest window"], screen.out_colour());
    for tier in Tier::ALL {
        let row = chain_row(fleet, tier);
        let first: Vec<&str> = row.candidates.iter().take(3).map(String::as_str).collect();
        let window = row.largest_window.map_or(String::new(), |window| window.to_string());
        chains.add_row([tier.name().to_owned(), row.candidates.len().to_string(), first.join(" → "), window]);
    }
    screen.line(&format!("\n{chains}"))?;
    for alias in alias_rows(fleet).iter().filter(|alias| alias.usable) {
        let name = crate::redact::printable(&alias.name, 100);
        screen.line(&format!("`{name}` stays on this machine: {}", alias.candidates.join(", ")))?;
    }
    Ok(())
}

/// What brings back what is missing.
fn advise(results: &[(&Provider, Checked)], screen: &Screen) {
    for (provider, checked) in results {
        let source = provider.key_source.as_deref().unwrap_or("its key");
        match checked.standing {
            Standing::Rejected | Standing::NoKey => {
                let place = provider.key_url.as_ref().map(|url| format!("; a key is to be had at {url}")).unwrap_or_default();
                screen.note(&format!(
                    "{}: set {source} to a working key{place}. A running routor takes a new variable only with a restart",
                    provider.name
                ));
            }
            Standing::Unreachable => {
                screen.note(&format!("{}: when it can be reached again, `routor reload` brings it back", provider.name))
            }
            Standing::Ok | Standing::Unverified | Standing::NoCredit => {}
        }
    }
}
