//! A command's end of the local socket. It knows the sad paths by name:
//! nobody there, a socket that a crash left, another version.

use std::io;
use std::time::Duration;

use interprocess::local_socket::Name;
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::tokio::prelude::*;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Take};

use super::protocol::{Command, Hello, Line, PROTOCOL};
use crate::paths::State;

/// The daemon answers within this time; it never has to ask anybody.
const PATIENCE: Duration = Duration::from_secs(5);
/// The daemon's line is never longer.
const LONGEST_LINE: u64 = 4 << 20;

/// The socket's name on this system.
pub(super) fn socket_name(state: &State) -> io::Result<Name<'static>> {
    #[cfg(unix)]
    {
        use interprocess::local_socket::{GenericFilePath, ToFsName};
        state.socket().to_fs_name::<GenericFilePath>()
    }
    #[cfg(not(unix))]
    {
        use std::hash::{DefaultHasher, Hash, Hasher};

        use interprocess::local_socket::{GenericNamespaced, ToNsName};
        // A pipe's name is the machine's: the folder makes it the user's and the instance's.
        let mut hasher = DefaultHasher::new();
        state.folder().hash(&mut hasher);
        format!("routor-{:016x}", hasher.finish()).to_ns_name::<GenericNamespaced>()
    }
}

/// A daemon that was found.
#[derive(Debug)]
pub struct Client {
    /// What it said of itself.
    pub hello: Hello,
    stream: Stream,
}

impl Client {
    /// Finds the daemon of a state folder; `None` when none runs there.
    pub async fn find(state: &State) -> io::Result<Option<Self>> {
        let connecting = async {
            match Stream::connect(socket_name(state)?).await {
                Ok(stream) => Ok(Some(stream)),
                Err(problem) if matches!(problem.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
                Err(problem) => Err(problem),
            }
        };
        let Some(stream) = tokio::time::timeout(PATIENCE, connecting).await?? else { return Ok(None) };
        let hello: Option<Hello> = {
            let mut reader = BufReader::with_capacity(1, (&stream).take(LONGEST_LINE));
            tokio::time::timeout(PATIENCE, read_line(&mut reader)).await??
        };
        let Some(hello) = hello else {
            let text = "it closed the connection without a word; it has too many clients, or is stopping";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, text));
        };
        Ok(Some(Self { hello, stream }))
    }

    /// Why this command and that daemon do not understand each other, if so.
    pub fn mismatch(&self) -> Option<String> {
        let (theirs, ours) = (&self.hello.version, env!("CARGO_PKG_VERSION"));
        (self.hello.protocol != PROTOCOL)
            .then(|| format!("the running routor is version {theirs} and this is {ours}; restart it: routor stop, routor serve"))
    }

    /// Says what is wanted.
    pub async fn ask(self, command: &Command) -> io::Result<Connection> {
        let mut text = serde_json::to_string(command)?;
        text.push('\n');
        tokio::time::timeout(PATIENCE, (&self.stream).write_all(text.as_bytes())).await??;
        Ok(Connection { reader: BufReader::new(self.stream.take(LONGEST_LINE)) })
    }
}

/// The daemon's answers.
pub struct Connection {
    reader: BufReader<Take<Stream>>,
}

impl Connection {
    /// The next line; `None` when the daemon has gone.
    pub async fn next(&mut self) -> io::Result<Option<Line>> {
        self.reader.get_mut().set_limit(LONGEST_LINE);
        read_line(&mut self.reader).await
    }
}

async fn read_line<T: DeserializeOwned>(reader: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<T>> {
    let mut text = String::new();
    if reader.read_line(&mut text).await? == 0 {
        return Ok(None);
    }
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "what answers on routor's socket is not routor"))
}
