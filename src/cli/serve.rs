//! `routor serve`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::task::TaskTracker;

use super::args::{Common, Serve};
use super::screen::Screen;
use super::{Exit, check, prepare, table};
use crate::config::Settings;
use crate::control::{Client, Instance, InstanceError};
use crate::daemon::{self, Plan, StartError};
use crate::demo::Demo;
use crate::engine::Engine;
use crate::paths::State;

/// Serves until stopped.
pub async fn run(common: &Common, args: &Serve, screen: &Screen) -> Exit {
    let listen = args.listen.or_else(|| args.port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    let result = if args.demo { demo(args, listen, screen).await } else { real(common, args, listen, screen).await };
    result.unwrap_or_else(|exit| exit)
}

async fn real(common: &Common, args: &Serve, listen: Option<SocketAddr>, screen: &Screen) -> Result<Exit, Exit> {
    let settings = prepare::settings(common, listen, screen)?;
    let state = prepare::state(common, screen)?;
    let _instance = hold(&state, screen).await?;
    if settings.providers.is_empty() {
        screen.error(check::NOTHING);
        return Err(Exit::Usage);
    }
    let config = common.config.clone();
    let read = move || prepare::read_settings(config.as_deref(), listen).map_err(|problems| problems.to_string());
    start(settings, state, args, Box::new(read), screen, false).await
}

async fn demo(args: &Serve, listen: Option<SocketAddr>, screen: &Screen) -> Result<Exit, Exit> {
    let system = |problem: std::io::Error| {
        screen.error(&format!("the demo cannot be started: {problem}"));
        Exit::No
    };
    let folder = tempfile::Builder::new().prefix("routor-demo-").tempdir().map_err(system)?;
    let state = State::at(folder.path().to_owned());
    let demo = Demo::start(&TaskTracker::new()).await.map_err(system)?;
    let text = demo.config();
    let settings = prepare::show(prepare::demo_settings(&text, listen), screen)?;
    screen.note("DEMO: these providers are simulated; demo-north always fails, so every request falls back to demo-south.");
    screen.note(&format!("Its state is kept in {0} until it stops: routor --state {0} logs", folder.path().display()));
    let _instance = hold(&state, screen).await?;
    let read = move || prepare::demo_settings(&text, listen).map_err(|problems| problems.to_string());
    start(settings, state, args, Box::new(read), screen, listen.is_none()).await
}

/// Takes the state folder, or says who has it.
async fn hold(state: &State, screen: &Screen) -> Result<Instance, Exit> {
    state.make().map_err(|problem| {
        screen.error(&problem.to_string());
        Exit::Usage
    })?;
    match Instance::acquire(state) {
        Ok(instance) => Ok(instance),
        Err(InstanceError::Running(pid)) => {
            let found = Client::find(state).await.ok().flatten();
            let who = match (found, pid) {
                (Some(client), _) => {
                    let hello = &client.hello;
                    let place = hello.addresses.first().map(|address| format!(" at http://{address}")).unwrap_or_default();
                    format!("{place} (pid {}, version {})", hello.pid, hello.version)
                }
                (None, Some(pid)) => format!(" (pid {pid}, still starting)"),
                (None, None) => String::new(),
            };
            screen.error(&format!("routor already runs{who}; stop it with `routor stop`, or give this one its own --state DIR"));
            Err(Exit::No)
        }
        Err(problem) => {
            screen.error(&problem.to_string());
            Err(Exit::No)
        }
    }
}

async fn start(
    settings: Settings,
    state: State,
    args: &Serve,
    read_settings: daemon::ReadSettings,
    screen: &Screen,
    any_port: bool,
) -> Result<Exit, Exit> {
    let named = settings.providers.iter().any(|provider| !provider.optional);
    let progress = Arc::new(Mutex::new(check::Progress::new(&settings.providers, screen)));
    let (on_result, on_all) = (Arc::clone(&progress), progress);
    let (talk, listening) = (screen.clone(), screen.clone());
    let key_needed = settings.server.client_key.is_some().then(|| settings.server.client_key_env.clone());
    let plan = Plan {
        settings,
        state,
        wait: args.wait,
        read_settings,
        any_port,
        on_checked: Box::new(move |provider, checked| on_result.lock().unwrap_or_else(PoisonError::into_inner).done(provider, checked)),
        on_validated: Box::new(move |engine| {
            on_all.lock().unwrap_or_else(PoisonError::into_inner).clear();
            report(engine, &talk);
        }),
        on_listening: Box::new(move |addresses| {
            for address in addresses {
                listening.say(&format!("listening on http://{address}"));
            }
            if let Some(variable) = &key_needed {
                listening.note(&format!("clients must send the value of {variable} as a bearer token"));
            }
        }),
    };
    match daemon::run(plan).await {
        Ok(()) | Err(StartError::Stopped) => Ok(Exit::Done),
        Err(StartError::NothingLeft) if !named => {
            screen.error(check::NOTHING);
            Err(Exit::Usage)
        }
        Err(problem) => {
            screen.error(&explain(&problem));
            Err(Exit::No)
        }
    }
}

/// The table of results, and what is worth a warning.
fn report(engine: &Engine, screen: &Screen) {
    let fleet = engine.fleet();
    screen.redact(Arc::clone(&fleet.redactor));
    let checks = check::results(&fleet);
    if checks.iter().any(|(provider, checked)| table::is_shown(provider, checked)) {
        screen.note(&table::of_providers(checks.iter().map(|(provider, checked)| (*provider, checked)), screen.err_colour()).to_string());
    }
    check::warnings(&fleet).iter().for_each(|warning| screen.warn(warning));
}

fn explain(problem: &StartError) -> String {
    match problem {
        StartError::Address(address, cause) => match cause.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!(
                    "another program already listens on {address}; stop it, or choose another port with --port PORT (0 takes a free one)"
                )
            }
            std::io::ErrorKind::PermissionDenied => {
                format!("{address} cannot be listened on: ports below 1024 need special rights; choose another with --port PORT")
            }
            _ => problem.to_string(),
        },
        StartError::NothingLeft => format!("{problem}; the table says why. `routor check` asks again, `routor serve --wait` waits"),
        StartError::Stopped | StartError::System(_) => problem.to_string(),
    }
}
