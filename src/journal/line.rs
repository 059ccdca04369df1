//! A record as it is stored: a line that is a JSON array of its fields, in the
//! order in which [`Record`] has them. With their names it would be more than
//! twice as long, and cost a request accordingly. In a log of version 2 the
//! lines are objects; both are read.

use std::sync::Arc;

use super::record::{Attempt, Record, Skipped};
use crate::routing::Why;
use crate::wire::is_plain;

/// Puts a record's line, without a line's end, behind what is there.
pub fn write(record: &Record, line: &mut Vec<u8>) {
    record.put(line);
}

/// The record of a line.
pub fn read(line: &[u8]) -> Result<Box<Record>, serde_json::Error> {
    serde_json::from_slice(line)
}

/// What a line can hold.
trait Put {
    /// Puts it behind what is there, as JSON.
    fn put(&self, line: &mut Vec<u8>);
}

/// Puts an array.
fn array<'a>(items: impl IntoIterator<Item = &'a (impl Put + ?Sized + 'a)>, line: &mut Vec<u8>) {
    line.push(b'[');
    let mut items = items.into_iter();
    if let Some(first) = items.next() {
        first.put(line);
    }
    for item in items {
        line.push(b',');
        item.put(line);
    }
    line.push(b']');
}

impl Put for Record {
    fn put(&self, line: &mut Vec<u8>) {
        // All of them by name, so that a new field is not forgotten here.
        let Record {
            id,
            time,
            model,
            tier,
            chain,
            stream,
            outcome,
            status,
            served_by,
            ms,
            first_ms,
            prompt_tokens,
            completion_tokens,
            attempts,
            skipped,
            traceparent: _,
        } = self;
        let (time, tier, outcome) = (time.millis(), tier.map(|tier| Name(tier.name())), Name(outcome.name()));
        let fields: [&dyn Put; 15] = [
            id,
            &time,
            model,
            &tier,
            chain,
            stream,
            &outcome,
            status,
            served_by,
            ms,
            first_ms,
            prompt_tokens,
            completion_tokens,
            attempts,
            skipped,
        ];
        array(fields, line);
    }
}

impl Put for Attempt {
    fn put(&self, line: &mut Vec<u8>) {
        let Attempt { provider, model, class, status, ms, first_ms, at_ms, upstream_id, possible_duplicate, answered_as } = self;
        let class = Name(class.name());
        let fields: [&dyn Put; 9] = [provider, model, &class, status, ms, first_ms, at_ms, upstream_id, possible_duplicate];
        // Logs of before have no more than these, so what is not there may be left out.
        let last = answered_as.as_ref().map(|name| name as &dyn Put);
        array(fields.into_iter().chain(last), line);
    }
}

impl Put for Skipped {
    fn put(&self, line: &mut Vec<u8>) {
        let Skipped { provider, model, why, needs_tokens, has_tokens } = self;
        let fields: [&dyn Put; 5] = [provider, model, why, needs_tokens, has_tokens];
        array(fields, line);
    }
}

impl<T: Put> Put for Vec<T> {
    fn put(&self, line: &mut Vec<u8>) {
        array(self, line);
    }
}

impl<T: Put> Put for Option<T> {
    fn put(&self, line: &mut Vec<u8>) {
        match self {
            Some(value) => value.put(line),
            None => line.extend_from_slice(b"null"),
        }
    }
}

impl Put for bool {
    fn put(&self, line: &mut Vec<u8>) {
        line.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

/// One of our own names, which have nothing to escape.
struct Name(&'static str);

impl Put for Name {
    fn put(&self, line: &mut Vec<u8>) {
        plain(self.0, line);
    }
}

impl Put for str {
    fn put(&self, line: &mut Vec<u8>) {
        if is_plain(self) {
            plain(self, line);
        } else {
            json(self, line);
        }
    }
}

fn plain(text: &str, line: &mut Vec<u8>) {
    line.reserve(text.len() + 2);
    line.push(b'"');
    line.extend_from_slice(text.as_bytes());
    line.push(b'"');
}

impl Put for String {
    fn put(&self, line: &mut Vec<u8>) {
        self.as_str().put(line);
    }
}

impl Put for Arc<str> {
    fn put(&self, line: &mut Vec<u8>) {
        (**self).put(line);
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Put for $number {
            fn put(&self, line: &mut Vec<u8>) {
                line.extend_from_slice(itoa::Buffer::new().format(*self).as_bytes());
            }
        })*
    };
}

numbers!(u16 u64 i64);

impl Put for Why {
    fn put(&self, line: &mut Vec<u8>) {
        json(self, line);
    }
}

fn json(value: &(impl serde::Serialize + ?Sized), line: &mut Vec<u8>) {
    // Writing to memory does not fail, and JSON has a form for each text and number.
    let _ = serde_json::to_writer(line, value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::Tier;
    use crate::failover::Class;
    use crate::journal::{Moment, Outcome};

    fn name() -> impl Strategy<Value = Arc<str>> {
        any::<String>().prop_map(Into::into)
    }

    fn attempt() -> impl Strategy<Value = Attempt> {
        let class = prop::sample::select(vec![Class::Ok, Class::RateLimited, Class::ClientClosed]);
        let times = any::<(Option<u16>, u64, Option<u64>, u64)>();
        (name(), name(), class, times, any::<(Option<String>, bool, Option<String>)>()).prop_map(|(provider, model, class, times, rest)| {
            let ((status, ms, first_ms, at_ms), (upstream_id, possible_duplicate, answered_as)) = (times, rest);
            Attempt { provider, model, class, status, ms, first_ms, at_ms, upstream_id, possible_duplicate, answered_as }
        })
    }

    fn skipped() -> impl Strategy<Value = Skipped> {
        let why = prop::sample::select(vec![Why::Tools, Why::NotInPool]);
        (name(), name(), why, any::<(Option<u64>, Option<u64>)>()).prop_map(|(provider, model, why, (needs_tokens, has_tokens))| Skipped {
            provider,
            model,
            why,
            needs_tokens,
            has_tokens,
        })
    }

    prop_compose! {
        fn record()(
            (id, model, ago, stream, status) in any::<(String, String, u32, bool, Option<u16>)>(),
            (ms, first_ms, prompt_tokens, completion_tokens) in any::<(u64, Option<u64>, Option<u64>, Option<u64>)>(),
            tier in prop::option::of(prop::sample::select(Tier::ALL.to_vec())),
            outcome in prop::sample::select(Outcome::ALL.to_vec()),
            chain in prop::collection::vec(name(), 0..3),
            served_by in prop::option::of(name()),
            attempts in prop::collection::vec(attempt(), 0..3),
            skipped in prop::collection::vec(skipped(), 0..3),
        ) -> Record {
            let time = Moment::now().before(std::time::Duration::from_millis(ago.into()));
            Record {
                id, time, model, tier, chain, stream, outcome, status, served_by, ms, first_ms, prompt_tokens, completion_tokens,
                attempts, skipped, traceparent: None,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(record in record()) {
            let mut line = b"before".to_vec();
            write(&record, &mut line);
            let line = line.strip_prefix(b"before").unwrap();
            prop_assert!(!line.contains(&b'\n'));
            prop_assert_eq!(&*read(line).unwrap(), &record);
        }

        #[test]
        fn objects_are_read_as_well(record in record()) {
            prop_assert_eq!(&*read(&serde_json::to_vec(&record).unwrap()).unwrap(), &record);
        }
    }

    #[test]
    fn a_line_of_a_plain_request() {
        let mut record = crate::journal::store::tests::record("r1", Outcome::Served, &[("a", "m")]);
        record.time = "2026-01-01T00:00:00.250Z".parse().unwrap();
        let mut line = Vec::new();
        write(&record, &mut line);
        let wanted = r#"["r1",1767225600250,"auto",null,["a/m"],false,"served",200,null,5,null,null,null,[["a","m","ok",200,1,null,0,null,false]],[]]"#;
        assert_eq!(std::str::from_utf8(&line).unwrap(), wanted);
    }
}
