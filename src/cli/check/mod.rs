//! `routor check`: the start-up validation alone, for people and pipelines.

mod formats;
mod live;
mod report;

use std::collections::HashMap;
use std::sync::Arc;

use indicatif::ProgressBar;

use super::args::{Check, CheckFormat, Common};
use super::screen::{Screen, Unprinted};
use super::{Exit, prepare, table};
use crate::catalog::Tier;
use crate::config::{Provider, Settings};
use crate::engine::{Engine, Fleet};
use crate::journal::{Journal, Limits, Observers};
use crate::redact::printable;
use crate::upstream::{Checked, Standing};
use report::Report;

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
    let missing = args.without.iter().find(|name| !settings.providers.iter().any(|provider| provider.name == **name));
    if let Some(name) = missing {
        screen.error(&not_configured(name, &settings));
        return Err(Exit::Usage);
    }
    keep_named(&mut settings, &args.providers, screen)?;
    if let Some(timeout) = args.timeout {
        settings.validation.timeout = timeout;
    }
    let refused = |problem: String| {
        screen.error(&problem);
        Exit::No
    };
    let limits = Limits { keep: std::time::Duration::ZERO, max_bytes: 0 };
    let journal = Journal::start(None, limits, Observers::default()).map_err(|problem| refused(problem.to_string()))?;
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
    let live = if args.live { live::ask_all(&engine).await } else { HashMap::new() };
    let mut warnings = warnings(&fleet);
    let without = report::without(&fleet, &args.without);
    warnings.extend(without.iter().flat_map(report::Without::warnings));
    let usable = without.iter().all(report::Without::is_usable) && live.values().all(live::Answer::is_good);
    let ok = is_ok(&results, &warnings, args) && fleet.pool_size() > 0 && usable;
    let report = Report::new(&fleet, &results, ok, &warnings, without, &live, args.allow_missing);
    let printed = match args.format {
        CheckFormat::Json => formats::json(&report, screen),
        CheckFormat::Table => formats::table(&fleet, &results, &report, screen),
        CheckFormat::Junit => formats::junit(&report, screen),
        CheckFormat::Github => formats::github(&report, screen),
    };
    match printed {
        Ok(()) | Err(Unprinted::Closed) => {}
        Err(Unprinted::Failed(problem)) => return Err(refused(format!("the result cannot be printed: {problem}"))),
    }
    screen.note(&report.looked_at());
    warnings.iter().for_each(|warning| screen.warn(warning));
    advise(&results, screen);
    Ok(if ok { Exit::Done } else { Exit::No })
}

/// Keeps the providers that were asked for.
fn keep_named(settings: &mut Settings, names: &[String], screen: &Screen) -> Result<(), Exit> {
    for name in names {
        if !settings.providers.iter().any(|provider| provider.name == *name) {
            screen.error(&not_configured(name, settings));
            return Err(Exit::Usage);
        }
    }
    if !names.is_empty() {
        settings.providers.retain(|provider| names.contains(&provider.name));
        settings.providers.iter_mut().for_each(|provider| provider.optional = false);
    }
    Ok(())
}

/// What to do about a provider that was named and is not configured.
fn not_configured(name: &str, settings: &Settings) -> String {
    match crate::catalog::builtin().provider(name) {
        Some(builtin) if !builtin.key_env.is_empty() => format!("{name} is not configured: set {}", builtin.key_env.join(" or ")),
        Some(_) => format!("{name} is not configured: add [providers.{name}] to the configuration"),
        None => no_such_provider(name, settings),
    }
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
    for alias in report::alias_rows(fleet).iter().filter(|alias| !alias.usable) {
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
            let near = near
                .filter(|(likeness, _)| *likeness > 0.8)
                .map(|(_, id)| format!("; the nearest is {}", printable(id, 200)))
                .unwrap_or_default();
            let warning =
                format!("{} does not list {}, which is in the chain of {tier}{near}", candidate.facts.provider, candidate.facts.id);
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    warnings
}

/// Whether a provider of this standing is no reason to fail.
fn is_usable(standing: Standing, allow_missing: bool) -> bool {
    match standing {
        Standing::Ok | Standing::Unverified => true,
        Standing::NoKey => allow_missing,
        Standing::Rejected | Standing::Unreachable | Standing::NoCredit => false,
    }
}

fn is_ok(results: &[(&Provider, Checked)], warnings: &[String], args: &Check) -> bool {
    results.iter().all(|(_, checked)| is_usable(checked.standing, args.allow_missing)) && (!args.strict || warnings.is_empty())
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
