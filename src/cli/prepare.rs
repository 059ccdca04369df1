//! What several commands begin with: the settings, the state folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Exit;
use super::args::Common;
use super::screen::Screen;
use crate::catalog;
use crate::config::{Problems, Settings, Surroundings, load};
use crate::paths::{self, State};

/// Reads the settings from the file, if there is one, and the environment.
pub fn read_settings(config: Option<&Path>, listen: Option<SocketAddr>) -> Result<Settings, Problems> {
    let file = match paths::config_file(config) {
        Some((path, named)) => match paths::read_text(&path) {
            Ok(text) => Some((path, text)),
            Err(paths::FileError::Missing(_)) if !named => None,
            Err(problem) => return Err(Problems::one(format!("the configuration cannot be read: {problem}"))),
        },
        None => None,
    };
    let around = Surroundings {
        env: &paths::env,
        key_file: &|path| paths::read_key_file(path).map_err(|problem| problem.to_string()),
        catalog: catalog::builtin(),
    };
    load(file.as_ref().map(|(path, text): &(PathBuf, String)| (path.as_path(), text.as_str())), listen, &around)
}

/// Settings from a text that routor made itself: the demo's.
pub fn demo_settings(text: &str, listen: Option<SocketAddr>) -> Result<Settings, Problems> {
    let nothing = catalog::Catalog::empty();
    let around = Surroundings { env: &demo_env, key_file: &|_| Err(String::new()), catalog: &nothing };
    load(Some((Path::new("demo"), text)), listen, &around)
}

/// The demo heeds the switches of the environment, and no key.
fn demo_env(name: &str) -> Option<String> {
    matches!(name, "DEBUG_ROUTING" | paths::KEY_VARIABLE).then(|| paths::env(name)).flatten()
}

/// The settings, with warnings shown; or the problems shown, and the exit.
pub fn settings(common: &Common, listen: Option<SocketAddr>, screen: &Screen) -> Result<Settings, Exit> {
    show(read_settings(common.config.as_deref(), listen), screen)
}

/// Shows what there is to say of settings that were read.
pub fn show(read: Result<Settings, Problems>, screen: &Screen) -> Result<Settings, Exit> {
    match read {
        Ok(settings) => {
            settings.warnings.iter().for_each(|warning| screen.warn(warning));
            Ok(settings)
        }
        Err(problems) => {
            screen.say(&problems.render(screen.err_colour()));
            Err(Exit::Usage)
        }
    }
}

/// The state folder, made.
pub fn state(common: &Common, screen: &Screen) -> Result<State, Exit> {
    let located = State::locate(common.state.as_deref());
    if let Some(folder) = located.as_ref().ok().and_then(State::in_the_home_of_another) {
        screen.warn(&format!("{} belongs to another user, who will not be able to use what root makes in it", folder.display()));
    }
    let made = located.and_then(|state| state.make().map(|()| state));
    made.map_err(|problem| {
        screen.error(&problem.to_string());
        Exit::Usage
    })
}
