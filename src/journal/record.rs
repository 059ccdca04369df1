//! What is written down of a request: metadata, never a prompt, an answer or
//! a key.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::spare;
use super::writer::Journal;
use crate::catalog::Tier;
use crate::failover::Class;
use crate::routing::Why;
use crate::turn;

/// A moment of the wall clock, in milliseconds since 1970. As text it is RFC
/// 3339 in UTC with milliseconds, which is made when it is wanted: a request
/// does not pay for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(i64);

impl Moment {
    /// The wall clock now.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Milliseconds since 1970.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// So much earlier.
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl From<Moment> for jiff::Timestamp {
    fn from(moment: Moment) -> Self {
        Self::from_millisecond(moment.0).unwrap_or_default()
    }
}

impl std::fmt::Display for Moment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.3}", jiff::Timestamp::from(*self))
    }
}

impl std::str::FromStr for Moment {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.parse::<jiff::Timestamp>()?.as_millisecond()))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From its text, or from the number.
impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl Visitor<'_> for Form {
            type Value = Moment;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a time")
            }

            fn visit_i64<E: Error>(self, millis: i64) -> Result<Moment, E> {
                Ok(Moment(millis))
            }

            fn visit_u64<E: Error>(self, millis: u64) -> Result<Moment, E> {
                i64::try_from(millis).map(Moment).map_err(E::custom)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// How a request ended. The names are stable: scripts read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The first model of the chain answered.
    Served,
    /// Another one did.
    Fallback,
    /// The 502.
    Failed,
    /// It broke after the commit point.
    Partial,
    /// The caller left; so it is as long as nothing else is known.
    #[default]
    ClientClosed,
    /// It was answered with a 4xx, routor's own or a provider's.
    Rejected,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Outcome; 6] =
        [Outcome::Served, Outcome::Fallback, Outcome::Failed, Outcome::Partial, Outcome::ClientClosed, Outcome::Rejected];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Served => "served",
            Outcome::Fallback => "fallback",
            Outcome::Failed => "failed",
            Outcome::Partial => "partial",
            Outcome::ClientClosed => "client_closed",
            Outcome::Rejected => "rejected",
        }
    }
}

/// One attempt at one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The provider's name.
    pub provider: Arc<str>,
    /// The model's id there.
    pub model: Arc<str>,
    /// What it came to.
    pub class: Class,
    /// The provider's status, if it gave one.
    pub status: Option<u16>,
    /// How long it took.
    pub ms: u64,
    /// How long until its first content.
    pub first_ms: Option<u64>,
    /// When it began, counted from the request's arrival.
    #[serde(default)]
    pub at_ms: u64,
    /// The provider's own id for it, to quote to its support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_id: Option<String>,
    /// Its connection broke or went silent after the request had gone out: the
    /// provider may have done the work, and charged for it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub possible_duplicate: bool,
    /// The model that the answer names, where that is another than was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_as: Option<String>,
}

/// A model of the chain that was not tried, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Skipped {
    /// The provider's name.
    pub provider: Arc<str>,
    /// The model's id there.
    pub model: Arc<str>,
    /// Why it was left out.
    pub why: Why,
    /// Tokens that the request needs at least, where that was the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_tokens: Option<u64>,
    /// Tokens that the model has room for, where that was the reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has_tokens: Option<u64>,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Record {
    /// The request's id, as in `X-Request-Id`.
    pub id: String,
    /// When it arrived.
    pub time: Moment,
    /// The model that was asked for.
    pub model: String,
    /// The tier that was decided.
    pub tier: Option<Tier>,
    /// The chain as decided.
    pub chain: Vec<Arc<str>>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// The status that the caller got; `None` when it left before.
    pub status: Option<u16>,
    /// The model that answered.
    pub served_by: Option<Arc<str>>,
    /// How long it took.
    pub ms: u64,
    /// How long until the first content.
    pub first_ms: Option<u64>,
    /// Tokens of the prompt, when the serving provider told.
    pub prompt_tokens: Option<u64>,
    /// Tokens of the answer, when the serving provider told.
    pub completion_tokens: Option<u64>,
    /// What was tried, in order.
    pub attempts: Vec<Attempt>,
    /// What was left out.
    pub skipped: Vec<Skipped>,
    /// The caller's `traceparent`, for traces; it is not stored.
    #[serde(skip)]
    pub traceparent: Option<String>,
}

impl Record {
    /// Whether a fallback happened: another model than the first of the chain answered.
    pub fn had_fallback(&self) -> bool {
        matches!((&self.served_by, self.chain.first()), (Some(by), Some(first)) if by != first)
    }
}

/// A record in the making. It is written when it is dropped, so that a
/// request whose caller vanished leaves its line like any other.
#[derive(Debug)]
pub struct Draft {
    record: Option<Box<Record>>,
    /// Since when the last attempt runs, if it does: when the caller leaves, it
    /// stays written down as cut short by that.
    running: Option<Instant>,
    started: Instant,
    journal: Arc<Journal>,
}

impl Draft {
    /// Opens the record of a request that has just arrived.
    pub fn open(journal: &Arc<Journal>, id: &str) -> Self {
        let mut record = spare::take();
        record.id.push_str(id);
        record.time = Moment::now();
        Self { record: Some(record), running: None, started: turn::now(), journal: Arc::clone(journal) }
    }

    /// An attempt begins now.
    pub fn begin(&mut self, provider: &Arc<str>, model: &Arc<str>, now: Instant) {
        let attempt = Attempt {
            provider: Arc::clone(provider),
            model: Arc::clone(model),
            class: Class::ClientClosed,
            status: None,
            ms: 0,
            first_ms: None,
            at_ms: millis(now.saturating_duration_since(self.started)),
            upstream_id: None,
            possible_duplicate: false,
            answered_as: None,
        };
        self.edit(|record| record.attempts.push(attempt));
        self.running = Some(now);
    }

    /// The attempt that runs has ended now: `end` fills in what it came to.
    pub fn concluded(&mut self, now: Instant, end: impl FnOnce(&mut Attempt)) {
        let Some(since) = self.running.take() else { return };
        if let Some(attempt) = self.record.as_deref_mut().and_then(|record| record.attempts.last_mut()) {
            attempt.ms = millis(now.saturating_duration_since(since));
            end(attempt);
        }
    }

    /// The fields to fill in. (The record is there until the draft is dropped.)
    pub fn edit(&mut self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.record.as_deref_mut() {
            change(record);
        }
    }

    /// Reads the record as it is so far.
    pub fn read<T: Default>(&self, look: impl FnOnce(&Record) -> T) -> T {
        self.record.as_deref().map_or_else(T::default, look)
    }

    /// When the request arrived.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// How it ends, with the status that the caller gets.
    pub fn end(&mut self, outcome: Outcome, status: Option<u16>) {
        self.edit(|record| {
            record.outcome = outcome;
            record.status = status;
        });
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let now = turn::now();
        self.concluded(now, |_| {});
        if std::thread::panicking() {
            self.end(Outcome::Failed, Some(500));
        }
        if self.journal.is_halting() && self.read(|record| record.outcome == Outcome::ClientClosed) {
            self.end(Outcome::Failed, Some(503));
        }
        if let Some(mut record) = self.record.take() {
            record.ms = millis(now.saturating_duration_since(self.started));
            self.journal.write(record);
        }
    }
}

/// Whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
