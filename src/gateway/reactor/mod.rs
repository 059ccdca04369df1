//! Which clients' sockets have something to read or room to write. On Unix a
//! reactor of our own says so (`grouped`), elsewhere the runtime's (`plain`).

#[cfg(unix)]
mod grouped;
#[cfg(any(not(unix), test))]
mod plain;

#[cfg(unix)]
pub(super) use grouped::{Client, Reactor};
#[cfg(not(unix))]
pub(super) use plain::{Client, Reactor};

#[cfg(test)]
mod tests;
