//! How much is served at once: connections, and bytes of request bodies in
//! memory. What is beyond that is told so at once.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::error::ApiError;

/// Request bodies in memory, all together, in units of [`UNIT`]: 1 GiB.
const BODIES: usize = (1 << 30) / UNIT;
/// Room for bodies is given out in pieces of this size.
const UNIT: usize = 64 << 10;
/// Readers of the event feed at once.
const FOLLOWERS: usize = 64;
/// Connections that are being told that there are too many.
const TURNED_AWAY: usize = 64;
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// What all worker threads share.
#[derive(Debug)]
pub struct Capacity {
    seats: Arc<Semaphore>,
    bodies: Semaphore,
    doors: Arc<Semaphore>,
    followers: Arc<Semaphore>,
}

impl Capacity {
    /// Room for so many connections.
    pub fn new(connections: usize) -> Self {
        let semaphore = |count| Arc::new(Semaphore::new(count));
        let bodies = Semaphore::new(BODIES);
        Self { seats: semaphore(connections), bodies, doors: semaphore(TURNED_AWAY), followers: semaphore(FOLLOWERS) }
    }

    /// Leave to serve one more connection, until it is dropped.
    pub(super) fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    /// Leave to follow the events, until it is dropped.
    pub(super) fn follower(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        Arc::clone(&self.followers).try_acquire_owned().map_err(|_| overloaded("too many programs follow the events"))
    }

    /// Room for one request's body, which grows with it.
    pub(super) fn room(&self) -> Room<'_> {
        Room { bodies: &self.bodies, held: None }
    }

    /// Tells a connection for which there is no seat that there is none.
    pub(super) fn turn_away(&self, stream: TcpStream) {
        let Ok(door) = Arc::clone(&self.doors).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let _ = tokio::time::timeout(PATIENCE, refuse(stream)).await;
            drop(door);
        });
    }
}

async fn refuse(mut stream: TcpStream) -> std::io::Result<()> {
    let body = overloaded("too many connections are open; ask again in a moment").body();
    let head =
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: ";
    stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await?;
    stream.shutdown().await?;
    // Closing over what was sent and not read would reset the connection before the answer is read.
    let mut sent = [0u8; 4096];
    while stream.read(&mut sent).await? > 0 {}
    Ok(())
}

/// The place in memory that one request's body takes, until it is dropped.
pub(super) struct Room<'a> {
    bodies: &'a Semaphore,
    held: Option<SemaphorePermit<'a>>,
}

impl Room<'_> {
    /// Makes room for so many bytes in all.
    pub fn for_bytes(&mut self, bytes: usize) -> Result<(), ApiError> {
        let wanted = bytes.div_ceil(UNIT).max(1);
        let more = wanted.saturating_sub(self.held.as_ref().map_or(0, SemaphorePermit::num_permits));
        if more == 0 {
            return Ok(());
        }
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let Ok(permit) = self.bodies.try_acquire_many(more) else {
            return Err(overloaded("too much is being asked at once; ask again in a moment"));
        };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        Ok(())
    }
}

/// There is more to do than can be done; unlike other errors, this one is worth another try.
fn overloaded(message: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_grows_and_is_given_back() {
        let capacity = Capacity::new(1);
        let mut room = capacity.room();
        room.for_bytes(10).unwrap();
        room.for_bytes(UNIT + 1).unwrap();
        assert_eq!(capacity.bodies.available_permits(), BODIES - 2);
        let mut other = capacity.room();
        assert_eq!(other.for_bytes((BODIES - 1) * UNIT).unwrap_err().code, "overloaded");
        drop(room);
        other.for_bytes((BODIES - 1) * UNIT).unwrap();
        drop(other);
        assert_eq!(capacity.bodies.available_permits(), BODIES);
    }
}
