//! The local socket's lines: whatever is read is written on one line and read
//! back the same, and so is whatever the daemon can say.
//!
//! Input: a line; its bytes also decide a record.
#![no_main]

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use routor::catalog::Tier;
use routor::control::{Command, CoolingModel, Hello, Line, ProviderLine, Status};
use routor::failover::Class;
use routor::journal::{Attempt, Moment, Outcome, Record, Skipped};
use routor::routing::Why;
use serde::{Serialize, de::DeserializeOwned};

fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        reread::<Command>(text);
        reread::<Hello>(text);
        reread::<Line>(text);
    }
    if let Ok(lines) = said(&mut Unstructured::new(input)) {
        for line in lines {
            let text = written(&line);
            let back: Line = serde_json::from_str(&text).unwrap_or_else(|problem| panic!("{problem}: {text}"));
            assert_eq!(written(&back), text);
            if let (Line::Request(one), Line::Request(other)) = (line, back) {
                assert_eq!(one, other);
            }
        }
    }
});

fn written(line: &impl Serialize) -> String {
    let text = serde_json::to_string(line).unwrap();
    assert!(!text.contains(['\n', '\r']), "more than a line: {text}");
    text
}

fn reread<T: Serialize + DeserializeOwned>(text: &str) {
    let Ok(line) = serde_json::from_str::<T>(text) else { return };
    let first = written(&line);
    let back: T = serde_json::from_str(&first).unwrap_or_else(|problem| panic!("{problem}: {first}"));
    assert_eq!(written(&back), first);
}

/// Lines with any values in them.
fn said(any: &mut Unstructured<'_>) -> Result<Vec<Line>> {
    let cooling = CoolingModel { model: any.arbitrary()?, state: any.arbitrary()?, cooling_ms: any.arbitrary()? };
    let provider = ProviderLine {
        provider: any.arbitrary()?,
        base_url: any.arbitrary()?,
        proxy: any.arbitrary()?,
        optional: any.arbitrary()?,
        in_pool: any.arbitrary()?,
        validation: any.arbitrary()?,
        detail: any.arbitrary()?,
        cooling: vec![cooling],
    };
    let status = Status {
        version: any.arbitrary()?,
        pid: any.arbitrary()?,
        addresses: any.arbitrary()?,
        uptime_ms: any.arbitrary()?,
        client_key: any.arbitrary()?,
        log_dropped: any.arbitrary()?,
        providers: vec![provider],
    };
    Ok(vec![
        Line::Request(Box::new(record(any)?)),
        Line::Status(Box::new(status)),
        Line::Done(any.arbitrary()?),
        Line::Failed(any.arbitrary()?),
        Line::Subscribed { writer: any.arbitrary()?, after: any.arbitrary()? },
        Line::Missed(any.arbitrary()?),
    ])
}

fn record(any: &mut Unstructured<'_>) -> Result<Record> {
    let classes = [Class::Ok, Class::Auth, Class::ModelGone, Class::ContextWindow, Class::Garbled, Class::ClientClosed];
    let attempt = Attempt {
        provider: any.arbitrary()?,
        model: any.arbitrary()?,
        class: *any.choose(&classes)?,
        status: any.arbitrary()?,
        ms: any.arbitrary()?,
        first_ms: any.arbitrary()?,
        at_ms: any.arbitrary()?,
        upstream_id: any.arbitrary()?,
        possible_duplicate: any.arbitrary()?,
        answered_as: any.arbitrary()?,
    };
    let skipped = Skipped {
        provider: any.arbitrary()?,
        model: any.arbitrary()?,
        why: *any.choose(&[Why::Tools, Why::JsonSchema, Why::BfclMin, Why::LocalOnly, Why::NotInPool])?,
        needs_tokens: any.arbitrary()?,
        has_tokens: any.arbitrary()?,
    };
    let outcomes = [Outcome::Served, Outcome::Fallback, Outcome::Failed, Outcome::Partial, Outcome::ClientClosed, Outcome::Rejected];
    Ok(Record {
        id: any.arbitrary()?,
        time: Moment::now().before(Duration::from_secs(any.arbitrary::<u32>()?.into())),
        model: any.arbitrary()?,
        tier: if any.arbitrary()? { Some(*any.choose(&Tier::ALL)?) } else { None },
        chain: any.arbitrary()?,
        stream: any.arbitrary()?,
        outcome: *any.choose(&outcomes)?,
        status: any.arbitrary()?,
        served_by: any.arbitrary()?,
        ms: any.arbitrary()?,
        first_ms: any.arbitrary()?,
        prompt_tokens: any.arbitrary()?,
        completion_tokens: any.arbitrary()?,
        attempts: vec![attempt],
        skipped: vec![skipped],
        traceparent: None,
    })
}
