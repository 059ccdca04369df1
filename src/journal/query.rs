//! Which records are asked for: one rule for the store and the feed, and what
//! spares the store from reading those that cannot be meant.

use std::time::Duration;

use memchr::memmem::Finder;

use super::line;
use super::record::{Moment, Outcome, Record};

/// Which records to read.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The most records, the newest ones.
    pub limit: u32,
    /// Only records before this one.
    pub before: Option<i64>,
    /// Only records not older than this.
    pub since: Option<Duration>,
    /// Only requests in which a fallback happened.
    pub fallback: bool,
    /// Only requests that did not get a whole answer because providers failed.
    pub failed: bool,
    /// Only requests that ended like this.
    pub outcome: Option<Outcome>,
    /// Only requests that tried this provider.
    pub provider: Option<String>,
    /// Only requests that asked for or tried this model.
    pub model: Option<String>,
    /// Only the request with this id.
    pub id: Option<String>,
    /// Leave out what this writer wrote after its n-th record: it comes over the feed.
    pub until: Option<(i64, i64)>,
}

impl Query {
    /// Whether a record that comes over the feed is one of those asked for.
    pub fn wants(&self, record: &Record) -> bool {
        let provider = |name: &String| record.attempts.iter().any(|attempt| *attempt.provider == **name);
        let model = |name: &String| {
            record.model == *name
                || record.attempts.iter().any(|attempt| {
                    let label = format!("{}/{}", attempt.provider, attempt.model);
                    label == *name || label.strip_suffix(name.as_str()).is_some_and(|before| before.ends_with('/'))
                })
        };
        (!self.fallback || record.had_fallback())
            && (!self.failed || matches!(record.outcome, Outcome::Failed | Outcome::Partial))
            && self.outcome.is_none_or(|outcome| record.outcome == outcome)
            && self.provider.as_ref().is_none_or(provider)
            && self.model.as_ref().is_none_or(model)
            && self.id.as_ref().is_none_or(|id| record.id == *id)
    }
}

/// The statement that reads the batches in which records of a query can be,
/// newest first; every value is bound, none is written into it.
pub(super) fn compose(query: &Query) -> (String, Vec<i64>) {
    let mut wheres = Vec::new();
    let mut values = Vec::new();
    let mut with = |text: &str, value: i64| {
        values.push(value);
        wheres.push(format!("{text} ?{}", values.len()));
    };
    if let Some(before) = query.before {
        with("last - count + 1 <", before);
    }
    if let Some(since) = query.since {
        with("newest_ms >=", oldest(since).millis());
    }
    if query.fallback {
        wheres.push("fallbacks > 0".to_owned());
    }
    let filter = if wheres.is_empty() { String::new() } else { format!(" WHERE {}", wheres.join(" AND ")) };
    (format!("SELECT last, count, writer, n, records FROM batches{filter} ORDER BY last DESC"), values)
}

fn oldest(since: Duration) -> Moment {
    Moment::now().before(since)
}

/// Picks the records of a query out of batches. To read a record takes much
/// longer than to look through its line, so lines are looked through first.
pub(super) struct Sieve<'q> {
    query: &'q Query,
    oldest: Option<Moment>,
    /// A line that can be wanted has one of each of these.
    marks: Vec<Vec<Finder<'static>>>,
}

/// A line of a batch, with its place in the store, its writer and its number there.
pub(super) struct Line<'t> {
    pub seq: i64,
    pub writer: i64,
    pub n: i64,
    pub text: &'t [u8],
}

/// What a line holds.
pub(super) enum Sifted {
    /// Nothing that is asked for.
    Other,
    Wanted(Box<Record>),
    /// Something that can be asked for, and is no record.
    Unreadable,
}

impl<'q> Sieve<'q> {
    pub fn new(query: &'q Query) -> Self {
        let mut marks = Vec::new();
        let mut one_of = |texts: Vec<String>| marks.push(texts.iter().map(|text| Finder::new(text).into_owned()).collect());
        let outcomes = |wanted: &dyn Fn(&Outcome) -> bool| -> Vec<String> {
            Outcome::ALL.iter().filter(|outcome| wanted(outcome)).map(|outcome| quoted(outcome.name())).collect()
        };
        if let Some(id) = &query.id {
            one_of(vec![quoted(id)]);
        }
        if let Some(provider) = &query.provider {
            one_of(vec![quoted(provider)]);
        }
        if let Some(model) = &query.model {
            // A name may begin with that of a provider, and ends a name or all of one.
            let end = model.rsplit('/').next().unwrap_or_default();
            one_of(vec![quoted(end).trim_start_matches('"').to_owned()]);
        }
        if let Some(outcome) = query.outcome {
            one_of(outcomes(&|own| *own == outcome));
        }
        if query.failed {
            one_of(outcomes(&|own| matches!(own, Outcome::Failed | Outcome::Partial)));
        }
        if query.fallback {
            one_of(outcomes(&|own| *own != Outcome::Served));
        }
        Self { query, oldest: query.since.map(oldest), marks }
    }

    pub fn sift(&self, line: &Line<'_>) -> Sifted {
        let before = self.query.before.is_none_or(|before| line.seq < before);
        let until = self.query.until.is_none_or(|(writer, n)| line.writer != writer || line.n <= n);
        let marked = || self.marks.iter().all(|one_of| one_of.iter().any(|mark| mark.find(line.text).is_some()));
        if !(before && until && marked()) {
            return Sifted::Other;
        }
        match line::read(line.text) {
            Err(_) => Sifted::Unreadable,
            Ok(record) if self.oldest.is_none_or(|oldest| record.time >= oldest) && self.query.wants(&record) => Sifted::Wanted(record),
            Ok(_) => Sifted::Other,
        }
    }
}

/// A text as it is written in a record.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}
