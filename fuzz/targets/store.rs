//! The request log on disk: a broken file is an error or fewer records, and of
//! a sound one the store finds what the feed would have shown.
//!
//! Input: bytes that decide records, a query, and what is broken.
#![no_main]

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use routor::failover::Class;
use routor::journal::{Attempt, Batch, Moment, Outcome, Query, Record, Store};

const OUTCOMES: [Outcome; 6] =
    [Outcome::Served, Outcome::Fallback, Outcome::Failed, Outcome::Partial, Outcome::ClientClosed, Outcome::Rejected];

fuzz_target!(|input: &[u8]| {
    let mut any = Unstructured::new(input);
    let _ = if any.arbitrary().unwrap_or(false) { broken(&mut any) } else { sound(&mut any) };
});

/// A folder in memory, where there is one.
static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }).unwrap()
});

/// A store with some records, as bytes.
static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let path = fresh(&[]);
    let mut store = Store::open(&path).unwrap();
    let bytes: Vec<u8> = (0..4000u32).map(|at| (at * 7 % 251) as u8).collect();
    let mut any = Unstructured::new(&bytes);
    let records: Vec<_> = (0..12).map(|_| record(&mut any).unwrap()).collect();
    store.append(1, 1, &[Batch::of(&records)]).unwrap();
    drop(store);
    std::fs::read(&path).unwrap()
});

fn fresh(content: &[u8]) -> PathBuf {
    let path = FOLDER.path().join("log.db");
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    std::fs::write(&path, content).unwrap();
    path
}

/// Bytes of the file are changed, or cells hold what no version wrote.
fn broken(any: &mut Unstructured<'_>) -> Result<()> {
    let mut file = SAMPLE.clone();
    if any.arbitrary()? {
        for _ in 0..any.int_in_range(0..=16)? {
            let at = any.int_in_range(0..=file.len() - 1)?;
            file[at] = any.arbitrary()?;
        }
        file.truncate(any.int_in_range(0..=file.len()).map(|cut| if cut == 0 { file.len() } else { cut })?);
    }
    let path = fresh(&file);
    if any.arbitrary()? {
        change(&path, any.arbitrary()?);
    }
    let query = query(any)?;
    if let Ok(Some(store)) = Store::read(&path) {
        let found = store.find(&query).unwrap_or_default();
        assert!(found.records.len() + found.unreadable <= query.limit.max(1) as usize);
    }
    if let Ok(mut store) = Store::open(&path) {
        let _ = store.append(2, 1, &[Batch::of([&record(any)?])]);
        let _ = store.expire(Duration::from_secs(any.arbitrary()?));
        let _ = store.shrink(any.arbitrary()?);
        let _ = store.find(&query);
    }
    Ok(())
}

/// Puts a text where a record belongs.
fn change(path: &Path, text: &str) {
    if let Ok(connection) = rusqlite::Connection::open(path) {
        let _ = connection.execute("UPDATE batches SET records = ?1, count = length(?1) WHERE last % 2", [text]);
    }
}

/// What the store finds is what [`Query::wants`] picks from the feed.
fn sound(any: &mut Unstructured<'_>) -> Result<()> {
    let path = fresh(&[]);
    let mut store = Store::open(&path).unwrap();
    let mut records = Vec::new();
    for _ in 0..any.int_in_range(1..=5)? {
        records.push(record(any)?);
    }
    let query = Query { limit: 100, before: None, since: None, until: None, ..query(any)? };
    store.append(3, 1, &[Batch::of(&records)]).unwrap();
    let found: Vec<Record> = store.find(&query).unwrap().records.into_iter().map(|stored| stored.record).collect();
    let wanted: Vec<Record> = records.into_iter().filter(|record| query.wants(record)).collect();
    assert_eq!(found, wanted, "{query:?}");
    Ok(())
}

fn query(any: &mut Unstructured<'_>) -> Result<Query> {
    Ok(Query {
        limit: any.arbitrary()?,
        before: any.arbitrary()?,
        since: any.arbitrary::<Option<u64>>()?.map(Duration::from_secs),
        fallback: any.arbitrary()?,
        failed: any.arbitrary()?,
        outcome: if any.arbitrary()? { Some(*any.choose(&OUTCOMES)?) } else { None },
        provider: if any.arbitrary()? { Some(name(any)?) } else { None },
        model: if any.arbitrary()? { Some(name(any)?) } else { None },
        id: if any.ratio(1, 8)? { Some(any.arbitrary()?) } else { None },
        until: any.arbitrary()?,
    })
}

/// Few names, so that some are met again.
fn name(any: &mut Unstructured<'_>) -> Result<String> {
    let names = ["a", "b", "a/b", "b/a", "a-b", "=a", "%", "A"];
    Ok((*any.choose(&names)?).to_owned())
}

fn record(any: &mut Unstructured<'_>) -> Result<Record> {
    let mut attempts = Vec::new();
    for _ in 0..any.int_in_range(0..=2)? {
        attempts.push(Attempt {
            provider: (*any.choose(&["a", "b", "a-b"])?).into(),
            model: name(any)?.into(),
            class: Class::Garbled,
            status: any.arbitrary()?,
            ms: any.arbitrary()?,
            first_ms: any.arbitrary()?,
            at_ms: any.arbitrary()?,
            upstream_id: any.arbitrary()?,
            possible_duplicate: any.arbitrary()?,
            answered_as: any.arbitrary()?,
        });
    }
    let chain: Vec<Arc<str>> = attempts.iter().map(|attempt| format!("{}/{}", attempt.provider, attempt.model).into()).collect();
    let mut record = Record {
        id: any.arbitrary()?,
        time: Moment::now().before(Duration::from_secs(any.arbitrary()?)),
        model: name(any)?,
        tier: None,
        served_by: if any.arbitrary()? { chain.last().cloned() } else { None },
        chain,
        stream: any.arbitrary()?,
        outcome: *any.choose(&OUTCOMES)?,
        status: any.arbitrary()?,
        ms: any.arbitrary()?,
        first_ms: any.arbitrary()?,
        prompt_tokens: any.arbitrary()?,
        completion_tokens: any.arbitrary()?,
        attempts,
        skipped: Vec::new(),
        traceparent: None,
    };
    // No request ends as if the first model had answered when another one did.
    if record.had_fallback() && record.outcome == Outcome::Served {
        record.outcome = Outcome::Fallback;
    }
    Ok(record)
}
