//! Every path and every environment variable that routor reads, in one place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use directories::ProjectDirs;

/// Where the configuration is, when no flag says it.
pub const CONFIG_VARIABLE: &str = "ROUTOR_CONFIG";
/// The state folder, when no flag says it.
pub const STATE_VARIABLE: &str = "ROUTOR_STATE";
/// The client key that commands send to the daemon.
pub const KEY_VARIABLE: &str = "ROUTOR_API_KEY";

/// A key or configuration file is never larger than this.
const LARGEST_FILE: u64 = 1 << 20;

/// The value of a variable; one that is not Unicode is as good as malformed.
pub fn env(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

fn project() -> Option<ProjectDirs> {
    ProjectDirs::from("", "", "routor")
}

/// The configuration file and whether the user named it: the flag, the
/// variable, or the platform's place.
pub fn config_file(flag: Option<&Path>) -> Option<(PathBuf, bool)> {
    if let Some(path) = flag {
        return Some((path.to_owned(), true));
    }
    if let Some(path) = env(CONFIG_VARIABLE).filter(|path| !path.is_empty()) {
        return Some((PathBuf::from(path), true));
    }
    project().map(|dirs| (dirs.config_dir().join("routor.toml"), false))
}

/// A file that cannot be read, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("{0} does not exist")]
    Missing(PathBuf),
    /// It is there and is not a file to read.
    #[error("{0} is {1}, not a file")]
    NotAFile(PathBuf, &'static str),
    /// It is too large to be one.
    #[error("{0} is larger than {1} MiB, the most that is read")]
    TooLarge(PathBuf, u64),
    /// It is not text.
    #[error("{0} is not UTF-8 text{1}")]
    NotText(PathBuf, &'static str),
    /// Others can read it.
    #[error("{0} can be read by others; run: chmod 600 {0}")]
    Readable(PathBuf),
    /// The system says no.
    #[error("{0} cannot be read: {1}")]
    Refused(PathBuf, io::Error),
}

/// Reads a configuration or key file; refuses what is not a plain file, so
/// that a FIFO or a device never makes a command hang.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    read_bounded(path, LARGEST_FILE)
}

/// Reads a file that is part of a prompt, up to `most` bytes.
pub fn read_prompt_file(path: &Path, most: u64) -> Result<String, FileError> {
    read_bounded(path, most)
}

fn read_bounded(path: &Path, most: u64) -> Result<String, FileError> {
    let owned = || path.to_owned();
    let about = fs::metadata(path).map_err(|problem| match problem.kind() {
        io::ErrorKind::NotFound => FileError::Missing(owned()),
        _ => FileError::Refused(owned(), problem),
    })?;
    if about.is_dir() {
        return Err(FileError::NotAFile(owned(), "a folder"));
    }
    if !about.is_file() {
        return Err(FileError::NotAFile(owned(), "a pipe or device"));
    }
    if about.len() > most {
        return Err(FileError::TooLarge(owned(), most >> 20));
    }
    let bytes = fs::read(path).map_err(|problem| FileError::Refused(owned(), problem))?;
    String::from_utf8(bytes).map_err(|problem| {
        let utf16 = matches!(problem.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
        FileError::NotText(owned(), if utf16 { " but UTF-16; save it as UTF-8" } else { "" })
    })
}

/// The content of a key file. It must be readable by its owner alone.
pub fn read_key_file(path: &Path) -> Result<String, FileError> {
    let path = &expand_home(path);
    let text = read_text(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).map_or(0, |about| about.permissions().mode());
        if mode & 0o077 != 0 {
            return Err(FileError::Readable(path.to_owned()));
        }
    }
    Ok(text)
}

/// `~/x` in the home folder, as people write it in files.
fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), directories::BaseDirs::new()) {
        (Ok(rest), Some(dirs)) => dirs.home_dir().join(rest),
        _ => path.to_owned(),
    }
}

/// The state folder of one instance: its lock, its socket and its log.
#[derive(Debug, Clone)]
pub struct State {
    folder: PathBuf,
}

/// A state folder that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Neither flag nor variable nor a home folder says where it is.
    #[error("no place for routor's state: HOME is not set; give one with --state DIR or {STATE_VARIABLE}")]
    Nowhere,
    /// It cannot be made or entered.
    #[error("the state folder {0} cannot be used: {1}; give another with --state DIR or {STATE_VARIABLE}")]
    Unusable(PathBuf, io::Error),
    /// It belongs to somebody else.
    #[error("the state folder {0} belongs to another user; give another with --state DIR or {STATE_VARIABLE}")]
    Foreign(PathBuf),
    /// The socket's path would be too long for the system.
    #[error("the path {0} is too long for a local socket (at most {1} bytes); give a shorter one with --state DIR or {STATE_VARIABLE}")]
    TooLong(PathBuf, usize),
}

impl State {
    /// The folder that flag, variable or platform name, not yet made.
    pub fn locate(flag: Option<&Path>) -> Result<Self, StateError> {
        let named = flag.map(Path::to_owned).or_else(|| env(STATE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
        let usual = || project().map(|dirs| dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir()).to_owned());
        let folder = named.or_else(usual).ok_or(StateError::Nowhere)?;
        let folder = std::path::absolute(&folder).map_err(|problem| StateError::Unusable(folder, problem))?;
        Ok(Self { folder })
    }

    /// A folder that is used as it is: for `--demo`.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The folder of another user in which root would make this one, which that
    /// user then could not enter: `sudo` keeps the home folder of the caller.
    pub fn in_the_home_of_another(&self) -> Option<PathBuf> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            if crate::system::user() != 0 || self.folder.exists() {
                return None;
            }
            let parent = self.folder.ancestors().skip(1).find(|parent| parent.exists())?;
            fs::metadata(parent).is_ok_and(|about| about.uid() != 0).then(|| parent.to_owned())
        }
        #[cfg(not(unix))]
        None
    }

    /// Makes the folder, so that only the user can enter it.
    pub fn make(&self) -> Result<(), StateError> {
        /// `sun_path` of Linux and of macOS, less the closing zero.
        const LONGEST: usize = if cfg!(target_os = "linux") { 107 } else { 103 };
        if cfg!(unix) && self.socket().as_os_str().len() > LONGEST {
            return Err(StateError::TooLong(self.socket(), LONGEST));
        }
        let unusable = |problem| StateError::Unusable(self.folder.clone(), problem);
        fs::create_dir_all(&self.folder).map_err(unusable)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, PermissionsExt};
            let about = fs::metadata(&self.folder).map_err(unusable)?;
            if crate::system::user() != about.uid() {
                return Err(StateError::Foreign(self.folder.clone()));
            }
            if about.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
            }
        }
        Ok(())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The request log.
    pub fn log(&self) -> PathBuf {
        self.folder.join("requests.db")
    }

    /// Held by the instance that runs here.
    pub fn lock(&self) -> PathBuf {
        self.folder.join("routor.lock")
    }

    /// The local socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("routor.sock")
    }
}
