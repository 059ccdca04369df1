//! Which records are asked for: of the store as SQL, of the feed as a rule.

use std::time::Duration;

use rusqlite::types::Value;

use super::record::{Outcome, Record};

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
        let provider = |name: &String| record.attempts.iter().any(|attempt| attempt.provider == *name);
        let model = |name: &String| {
            record.model == *name
                || record.attempts.iter().any(|attempt| {
                    let label = format!("{}/{}", attempt.provider, attempt.model);
                    label == *name || label.strip_suffix(name.as_str()).is_some_and(|before| before.ends_with('/'))
                })
        };
        (!self.fallback || had_fallback(record))
            && (!self.failed || matches!(record.outcome, Outcome::Failed | Outcome::Partial))
            && self.outcome.is_none_or(|outcome| record.outcome == outcome)
            && self.provider.as_ref().is_none_or(provider)
            && self.model.as_ref().is_none_or(model)
            && self.id.as_ref().is_none_or(|id| record.id == *id)
    }
}

/// The statement of a query; every value is bound, none is written into it.
pub(super) fn compose(query: &Query) -> (String, Vec<Value>) {
    let mut wheres = Vec::new();
    let mut values: Vec<Value> = Vec::new();
    let mut with = |text: &str, value: Value| {
        values.push(value);
        wheres.push(text.replace('?', &format!("?{}", values.len())));
    };
    if let Some(before) = query.before {
        with("seq < ?", before.into());
    }
    if let Some(since) = query.since {
        let oldest = jiff::Timestamp::now().as_millisecond() - i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        with("time_ms >= ?", oldest.into());
    }
    if let Some(provider) = &query.provider {
        with("instr(touched, ?) > 0", format!("{TRIED}{provider}/").into());
    }
    if let Some(model) = &query.model {
        let tried = "instr(touched, '/' || ? || char(31)) > 0 OR instr(touched, char(31) || ? || char(31)) > 0";
        with(&format!("({tried} OR instr(touched, char(30) || ? || char(30)) > 0)"), model.clone().into());
    }
    if let Some(id) = &query.id {
        with("id = ?", id.clone().into());
    }
    if let Some(outcome) = query.outcome {
        with("outcome = ?", outcome.name().to_owned().into());
    }
    if let Some((writer, n)) = query.until {
        with("NOT (writer = ?", writer.into());
        if let Some(last) = wheres.pop() {
            values.push(n.into());
            wheres.push(format!("{last} AND n > ?{})", values.len()));
        }
    }
    if query.fallback {
        wheres.push("fallback".to_owned());
    }
    if query.failed {
        wheres.push("outcome IN ('failed', 'partial')".to_owned());
    }
    let filter = if wheres.is_empty() { String::new() } else { format!(" WHERE {}", wheres.join(" AND ")) };
    values.push(i64::from(query.limit).into());
    (format!("SELECT seq, record FROM requests{filter} ORDER BY seq DESC LIMIT ?{}", values.len()), values)
}

/// Whether a fallback happened: another model than the first of the chain answered.
pub(super) fn had_fallback(record: &Record) -> bool {
    matches!((&record.served_by, record.chain.first()), (Some(by), Some(first)) if by != first)
}

/// Around each `provider/model` that was tried, and around the name that was asked for.
const TRIED: char = '\u{1f}';
const ASKED: char = '\u{1e}';

/// Every name of a request, marked so that one is not found inside another.
pub(super) fn touched(record: &Record) -> String {
    let plain = |name: &str| name.replace([TRIED, ASKED], " ");
    let mut text = format!("{ASKED}{}{ASKED}", plain(&record.model));
    for attempt in &record.attempts {
        text.push_str(&format!("{TRIED}{}/{}{TRIED}", plain(&attempt.provider), plain(&attempt.model)));
    }
    text
}
