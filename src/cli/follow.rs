//! Waits for the record of one request, to tell whether a fallback happened.

use std::sync::Arc;
use std::time::Duration;

use crate::control::{Client, Command, Connection, Line};
use crate::journal::{Feed, Journal, Outcome, Record};
use crate::redact::printable;

/// The record comes right after the answer; longer is not waited.
const PATIENCE: Duration = Duration::from_millis(500);

/// A look at the feed, taken before the request is sent.
pub struct Watch {
    id: String,
    from: From,
}

enum From {
    Daemon(Connection),
    Here(Feed),
}

impl Watch {
    /// At the daemon's feed; `None` when it has none to give.
    pub async fn daemon(client: Client, id: &str) -> Option<Self> {
        if client.mismatch().is_some() {
            return None;
        }
        let mut connection = client.ask(&Command::Events).await.ok()?;
        let Ok(Some(Line::Subscribed { .. })) = connection.next().await else { return None };
        Some(Self { id: id.to_owned(), from: From::Daemon(connection) })
    }

    /// At this process's own feed.
    pub async fn here(journal: &Arc<Journal>, id: &str) -> Option<Self> {
        Some(Self { id: id.to_owned(), from: From::Here(journal.subscribe().await?) })
    }

    /// The note about a fallback, if one happened.
    pub async fn fallback(mut self) -> Option<String> {
        let record = tokio::time::timeout(PATIENCE, self.record()).await.ok()??;
        let by = record.served_by.as_deref().filter(|_| matches!(record.outcome, Outcome::Fallback | Outcome::Partial))?;
        let failed: Vec<String> = record
            .attempts
            .iter()
            .filter(|attempt| format!("{}/{}", attempt.provider, attempt.model) != by)
            .map(|attempt| {
                let status = attempt.status.map(|status| format!(" {status}")).unwrap_or_default();
                format!("{}/{}{status} {}", attempt.provider, attempt.model, attempt.class)
            })
            .collect();
        let first = record.chain.first().filter(|first| ***first != *by)?;
        let why = if failed.is_empty() { format!("{first} was left out") } else { failed.join(", ") };
        Some(printable(&format!("fallback: answered by {by} ({why})"), 500))
    }

    async fn record(&mut self) -> Option<Record> {
        loop {
            let record = match &mut self.from {
                From::Daemon(connection) => match connection.next().await.ok()?? {
                    Line::Request(record) => *record,
                    _ => continue,
                },
                From::Here(feed) => feed.records.recv().await.ok()?.as_ref().clone(),
            };
            if record.id == self.id {
                return Some(record);
            }
        }
    }
}
