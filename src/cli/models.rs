//! `routor models`: what can be asked for.

use std::sync::Arc;
use std::time::Instant;

use super::args::{Common, Models};
use super::screen::{Screen, Unprinted};
use super::{Exit, manage, prepare, table};
use crate::control::{Command, Line, Listing, ModelLine};
use crate::engine::Engine;
use crate::journal::{Journal, Limits, Observers};
use crate::redact::printable;

/// Lists the models, as the daemon has them if it runs, else as they are configured.
pub async fn run(common: &Common, args: &Models, screen: &Screen) -> Exit {
    match list(common, args, screen).await {
        Ok(exit) | Err(exit) => exit,
    }
}

async fn list(common: &Common, args: &Models, screen: &Screen) -> Result<Exit, Exit> {
    let running = if common.config.is_some() { None } else { manage::ask_quietly(common, &Command::Models, screen).await? };
    let from_daemon = running.is_some();
    let mut listing = match running {
        Some(Line::Models(listing)) => *listing,
        Some(_) => return Err(manage::misunderstood(screen)),
        None => configured(common, screen)?,
    };
    listing.models.retain(|line| {
        (args.all || line.in_pool)
            && args.provider.as_ref().is_none_or(|provider| line.provider == *provider)
            && args.tier.is_none_or(|tier| line.tier == Some(tier))
    });
    let printed = if args.json { print_json(&listing, screen) } else { print(&listing, screen) };
    match printed {
        Ok(()) | Err(Unprinted::Closed) => {}
        Err(Unprinted::Failed(problem)) => {
            screen.error(&format!("the list cannot be printed: {problem}"));
            return Err(Exit::No);
        }
    }
    if listing.models.is_empty() && !args.all {
        screen.note("no model can be asked for like this; `routor models --all` shows all that are known");
    }
    if !from_daemon {
        screen.note("routor is not running: these are the models as configured, and no provider was asked");
    }
    Ok(Exit::Done)
}

/// The models of the configuration, every configured provider taken to be there.
fn configured(common: &Common, screen: &Screen) -> Result<Listing, Exit> {
    let settings = prepare::settings(common, None, screen)?;
    let refused = |problem: String| {
        screen.error(&problem);
        Exit::No
    };
    let limits = Limits { keep: std::time::Duration::ZERO, max_bytes: 0 };
    let journal = Journal::start(None, limits, Observers::default()).map_err(|problem| refused(problem.to_string()))?;
    let engine = Engine::new(settings, Arc::clone(&journal)).map_err(|problem| refused(problem.to_string()))?;
    engine.trust();
    let mut listing = Listing::of(&engine.fleet(), Instant::now());
    // Nobody has looked whether the servers that nobody named are there.
    let optional: Vec<String> =
        engine.fleet().providers().filter(|(provider, _)| provider.optional).map(|(provider, _)| provider.name.clone()).collect();
    listing.models.iter_mut().filter(|line| optional.contains(&line.provider)).for_each(|line| line.in_pool = false);
    journal.stop();
    Ok(listing)
}

fn print_json(listing: &Listing, screen: &Screen) -> Result<(), Unprinted> {
    screen.line(&serde_json::to_string(listing).unwrap_or_default())
}

fn print(listing: &Listing, screen: &Screen) -> Result<(), Unprinted> {
    if !listing.models.is_empty() {
        let mut rows = table::new(&["model", "tier", "window", "$/M in", "$/M out", "state"], screen.out_colour());
        for line in &listing.models {
            let number = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value}"));
            rows.add_row([
                printable(&line.model, 100),
                line.tier.map_or(String::new(), |tier| tier.name().to_owned()),
                line.context_window.map_or(String::new(), |window| window.to_string()),
                number(line.input_usd_per_mtok),
                number(line.output_usd_per_mtok),
                state(line),
            ]);
        }
        screen.line(&rows.to_string())?;
    }
    let names: Vec<String> = listing.names.iter().map(|name| printable(name, 60)).collect();
    screen.line(&format!("and the names {}", names.join(", ")))
}

fn state(line: &ModelLine) -> String {
    match (line.in_pool, line.state.as_str()) {
        (_, "not_configured") => "provider not configured".to_owned(),
        (false, _) => "not in the pool".to_owned(),
        (true, "cooling") => format!("cooling {} s", line.cooling_ms.div_ceil(1000)),
        (true, state) => state.to_owned(),
    }
}
