//! `routor status`, `stop` and `reload`: they ask or tell the daemon.

use super::args::{Common, Status as StatusArgs};
use super::screen::{Screen, Unprinted};
use super::{Exit, prepare, table};
use crate::control::{Client, Command, Line, Status};
use crate::redact::printable;

/// Shows how the daemon is.
pub async fn status(common: &Common, args: &StatusArgs, screen: &Screen) -> Exit {
    let line = match ask(common, &Command::Status, screen).await {
        Ok(line) => line,
        Err(Exit::NoDaemon) if args.json => {
            let _ = screen.line("{\"running\":false}");
            return Exit::NoDaemon;
        }
        Err(exit) => return exit,
    };
    let Line::Status(status) = line else { return misunderstood(screen) };
    let printed = if args.json { print_json(&status, screen) } else { print(&status, screen) };
    match printed {
        Ok(()) | Err(Unprinted::Closed) => Exit::Done,
        Err(Unprinted::Failed(_)) => Exit::No,
    }
}

fn print_json(status: &Status, screen: &Screen) -> Result<(), Unprinted> {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("running".to_owned(), true.into());
    }
    screen.line(&value.to_string())
}

fn print(status: &Status, screen: &Screen) -> Result<(), Unprinted> {
    let uptime = humantime::format_duration(std::time::Duration::from_secs(status.uptime_ms / 1000));
    let addresses: Vec<String> = status.addresses.iter().map(|address| format!("http://{address}")).collect();
    screen.line(&format!("routor {} runs at {} (pid {}, since {uptime})", status.version, addresses.join(" and "), status.pid))?;
    screen.line(if status.client_key {
        "clients must send a key"
    } else {
        "clients need no key: every program of every user of this machine can use it"
    })?;
    if status.log_dropped > 0 {
        screen.line(&format!("{} request records could not be stored", status.log_dropped))?;
    }
    let mut rows = table::new(&["provider", "in pool", "check", "base URL", "cooling", ""], screen.out_colour());
    for provider in status.providers.iter().filter(|provider| provider.in_pool || !provider.optional) {
        let cooling: Vec<String> =
            provider.cooling.iter().map(|model| format!("{} {}s", model.model, model.cooling_ms.div_ceil(1000))).collect();
        let mut detail = printable(&provider.detail, 200);
        if let Some(proxy) = &provider.proxy {
            detail.push_str(&format!("{}through the proxy {proxy}", if detail.is_empty() { "" } else { "; " }));
        }
        let in_pool = if provider.in_pool { "yes" } else { "no" };
        rows.add_row([provider.provider.as_str(), in_pool, &provider.validation, &provider.base_url, &cooling.join(", "), &detail]);
    }
    screen.line(&rows.to_string())?;
    for provider in status.providers.iter().filter(|provider| !provider.in_pool && provider.validation != "unreachable") {
        screen.line(&format!("{}: with a working key, restart routor (or `routor reload`, for a key file)", provider.provider))?;
    }
    if status.providers.iter().any(|provider| !provider.in_pool && !provider.optional && provider.validation == "unreachable") {
        screen.line("`routor reload` asks unreachable providers again")?;
    }
    Ok(())
}

/// Stops the daemon and waits until it has ended.
pub async fn stop(common: &Common, screen: &Screen) -> Exit {
    tell(common, &Command::Stop, screen).await
}

/// Makes the daemon read its configuration again.
pub async fn reload(common: &Common, screen: &Screen) -> Exit {
    tell(common, &Command::Reload, screen).await
}

async fn tell(common: &Common, command: &Command, screen: &Screen) -> Exit {
    match ask(common, command, screen).await {
        Ok(Line::Done(text)) => {
            screen.note(&text);
            Exit::Done
        }
        Ok(Line::Failed(problem)) => {
            screen.error(&problem);
            Exit::No
        }
        Ok(_) => misunderstood(screen),
        Err(exit) => exit,
    }
}

pub fn misunderstood(screen: &Screen) -> Exit {
    screen.error("the daemon gave an answer that this version does not understand; restart it");
    Exit::No
}

async fn ask(common: &Common, command: &Command, screen: &Screen) -> Result<Line, Exit> {
    let Some(line) = ask_quietly(common, command, screen).await? else {
        screen.error("routor is not running; start it with `routor serve`");
        return Err(Exit::NoDaemon);
    };
    Ok(line)
}

/// Asks the daemon; `None` when it does not run.
pub async fn ask_quietly(common: &Common, command: &Command, screen: &Screen) -> Result<Option<Line>, Exit> {
    let state = prepare::state(common, screen)?;
    let failed = |problem: std::io::Error| {
        screen.error(&format!("the daemon does not answer on its socket: {problem}"));
        Exit::No
    };
    let Some(client) = Client::find(&state).await.map_err(failed)? else { return Ok(None) };
    if let Some(mismatch) = client.mismatch().filter(|_| !matches!(command, Command::Stop)) {
        screen.error(&mismatch);
        return Err(Exit::No);
    }
    let mut connection = client.ask(command).await.map_err(failed)?;
    match connection.next().await.map_err(failed)? {
        Some(line) => Ok(Some(line)),
        None if matches!(command, Command::Stop) => Ok(Some(Line::Done("stopped".to_owned()))),
        None => Err(misunderstood(screen)),
    }
}
