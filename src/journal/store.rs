//! The records on disk: SQLite in WAL mode, readable while the daemon writes
//! and while it is not there.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, Row, TransactionBehavior, params, params_from_iter};

use super::batch::Batch;
use super::query::{Line, Query, Sieve, Sifted, compose};
use super::record::Record;

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// SQLite says no.
    #[error("the request log {path} cannot be used: {problem}")]
    Sqlite {
        /// The file.
        path: String,
        /// What SQLite says.
        problem: rusqlite::Error,
    },
    /// It was written by a later version.
    #[error("the request log {0} is from a later version of routor")]
    Newer(String),
}

impl StoreError {
    /// Whether the file is no store, or a broken one.
    pub(super) fn is_ruin(&self) -> bool {
        let StoreError::Sqlite { problem, .. } = self else { return false };
        problem.sqlite_error().is_some_and(|problem| {
            // Where the file ends in the middle of a page, that is all SQLite says.
            let is_cut = problem.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ;
            is_cut || matches!(problem.code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
        })
    }
}

/// A page of the file: what is written at once. Under load a batch fills
/// several, and each costs two calls.
pub(super) const PAGE: u32 = 16 << 10;
/// Rises when the tables change, or what is in them.
const VERSION: i64 = 3;
/// The oldest version with the same tables.
const OLDEST: i64 = 2;

/// Records are kept as they came together, one a line (`line.rs`): to insert
/// each as a row of its own would cost more than all else that the log does. A
/// batch is called by the place of its last record. The newest is never
/// removed, so that places only rise: emptied when it is too old.
const SCHEMA: &str = "
    DROP TABLE IF EXISTS requests;
    CREATE TABLE IF NOT EXISTS batches (
        last      INTEGER PRIMARY KEY,
        count     INTEGER NOT NULL,
        writer    INTEGER NOT NULL,
        n         INTEGER NOT NULL,
        newest_ms INTEGER NOT NULL,
        fallbacks INTEGER NOT NULL,
        records   TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS batches_fallback ON batches (last) WHERE fallbacks > 0;
";

/// A record with its place in the store.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its place, rising.
    pub seq: i64,
    /// The record.
    pub record: Record,
}

/// What a query found.
#[derive(Debug, Default)]
pub struct Found {
    /// The records, oldest first.
    pub records: Vec<Stored>,
    /// How many more there were that could not be read.
    pub unreadable: usize,
    /// The place of the oldest of all these.
    pub oldest: Option<i64>,
    /// The file is damaged, and what is older could not be looked at.
    pub damaged: bool,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: String,
    /// The file that is open, however it is called now.
    #[cfg(unix)]
    file: Option<(u64, u64)>,
}

impl Store {
    /// Opens the store to write, making it if need be.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let store = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        private(path);
        store.run(|connection| {
            connection.pragma_update(None, "page_size", PAGE)?;
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "NORMAL")?;
            connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
            connection.pragma_update(None, "cache_size", -1024)
        })?;
        if store.version()? > VERSION {
            return Err(StoreError::Newer(store.path));
        }
        store.run(|connection| {
            connection.execute_batch(SCHEMA)?;
            connection.pragma_update(None, "user_version", VERSION)
        })?;
        #[cfg(unix)]
        return Ok(Self { file: identity(path), ..store });
        #[cfg(not(unix))]
        Ok(store)
    }

    /// Opens the store to write as [`Store::open`] does. One that is no store,
    /// or not a whole one any more, is put aside, and a new one is begun.
    pub fn open_or_begin(path: &Path) -> Result<Self, StoreError> {
        match Self::open(path) {
            Err(problem) if problem.is_ruin() => {
                put_aside(path);
                Self::open(path)
            }
            opened => opened,
        }
    }

    /// Whether what is written still goes into the file of this name: another
    /// program may have moved it, or cut it to nothing.
    pub fn is_in_place(&self, path: &Path) -> bool {
        let Ok(about) = std::fs::metadata(path) else { return false };
        #[cfg(unix)]
        if identity(path) != self.file {
            return false;
        }
        about.len() > 0
    }

    /// Opens the store to read; `None` when nothing was ever written.
    pub fn read(path: &Path) -> Result<Option<Self>, StoreError> {
        if !path.exists() {
            return Ok(None);
        }
        // Readers of a WAL need its shared memory file, which read-only folders cannot give.
        let store = match Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE) {
            Ok(store) => store,
            Err(_) => Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        match store.version()? {
            OLDEST..=VERSION => Ok(Some(store)),
            older if older < OLDEST => Ok(None),
            _ => Err(StoreError::Newer(store.path)),
        }
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, StoreError> {
        let text = path.display().to_string();
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(|problem| StoreError::Sqlite { path: text.clone(), problem })?;
        let store = Self {
            connection,
            path: text,
            #[cfg(unix)]
            file: None,
        };
        store.run(|connection| connection.busy_timeout(Duration::from_secs(5)))?;
        Ok(store)
    }

    fn version(&self) -> Result<i64, StoreError> {
        self.run(|connection| connection.pragma_query_value(None, "user_version", |row| row.get(0)))
    }

    pub(super) fn run<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        act(&self.connection).map_err(|problem| StoreError::Sqlite { path: self.path.clone(), problem })
    }

    /// Writes batches, all or none. `writer` tells processes apart, and `n` is
    /// the first record's number among that writer's; the others follow.
    pub fn append(&mut self, writer: i64, n: i64, batches: &[Batch]) -> Result<(), StoreError> {
        let path = self.path.clone();
        let mut act = || -> rusqlite::Result<()> {
            let change = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            {
                let before = "SELECT coalesce(max(last), 0) FROM batches";
                let mut last: i64 = change.prepare_cached(before)?.query_row([], |row| row.get(0))?;
                let mut insert = change.prepare_cached(
                    "INSERT INTO batches (last, count, writer, n, newest_ms, fallbacks, records) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?;
                let mut n = n;
                for batch in batches {
                    // A damaged file may hold any number.
                    last = last.saturating_add(batch.count);
                    let text = ToSqlOutput::Borrowed(ValueRef::Text(&batch.text));
                    insert.execute(params![last, batch.count, writer, n, batch.newest.millis(), batch.fallbacks, text])?;
                    n = n.saturating_add(batch.count);
                }
            }
            change.commit()
        };
        act().map_err(|problem| StoreError::Sqlite { path, problem })
    }

    /// The newest records that a query picks, oldest first. Those that cannot
    /// be read are left out and counted.
    pub fn find(&self, query: &Query) -> Result<Found, StoreError> {
        let (sql, values) = compose(query);
        let sieve = Sieve::new(query);
        let mut found = Found::default();
        let read = self.run(|connection| {
            let mut select = connection.prepare(&sql)?;
            let mut rows = select.query(params_from_iter(values))?;
            while let Some(row) = rows.next()? {
                // In a damaged file there may be anything in any place.
                let Ok((last, count, writer, n, text)) = fields(row) else {
                    found.unreadable += 1;
                    continue;
                };
                for (back, text) in (0..count).zip(text.rsplit(|byte| *byte == b'\n')) {
                    if found.records.len() + found.unreadable >= query.limit as usize {
                        return Ok(());
                    }
                    let seq = last.saturating_sub(back);
                    let n = n.saturating_add(count - 1).saturating_sub(back);
                    match sieve.sift(&Line { seq, writer, n, text }) {
                        Sifted::Other => continue,
                        Sifted::Wanted(record) => found.records.push(Stored { seq, record: *record }),
                        Sifted::Unreadable => found.unreadable += 1,
                    }
                    found.oldest = Some(seq);
                }
            }
            Ok(())
        });
        match read {
            Err(problem) if problem.is_ruin() && found.oldest.is_some() => found.damaged = true,
            read => read?,
        }
        found.records.reverse();
        Ok(found)
    }
}

/// A batch as it is stored: its place, how many records it has, their writer,
/// the number of the first of them there, their lines.
fn fields<'r>(row: &'r Row<'_>) -> rusqlite::Result<(i64, i64, i64, i64, &'r [u8])> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get_ref(4)?.as_bytes()?))
}

/// Which file has this name.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|about| (about.dev(), about.ino()))
}

/// Gives a broken store another name, the same each time, so that they do not pile up.
pub(super) fn put_aside(path: &Path) {
    tracing::warn!("the request log {0} is damaged; it is kept as {0}.damaged, and a new one is begun", path.display());
    let _ = std::fs::rename(path, format!("{}.damaged", path.display()));
    forget_journal(path);
}

/// Removes what belongs to a store that is not there any more: with another
/// store it would do harm.
pub(super) fn forget_journal(path: &Path) {
    for end in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
}

/// Only the user may read the log, whatever the umask.
fn private(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        for end in ["", "-wal", "-shm"] {
            let file = format!("{}{end}", path.display());
            let _ = std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600));
        }
    }
    #[cfg(not(unix))]
    let _ = path;
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::failover::Class;
    use crate::journal::{Attempt, Moment, Outcome};

    pub fn record(id: &str, outcome: Outcome, tried: &[(&str, &str)]) -> Box<Record> {
        let attempt = |(provider, model): &(&str, &str)| Attempt {
            provider: (*provider).into(),
            model: (*model).into(),
            class: Class::Ok,
            status: Some(200),
            ms: 1,
            first_ms: None,
            at_ms: 0,
            upstream_id: None,
            possible_duplicate: false,
            answered_as: None,
        };
        Box::new(Record {
            id: id.to_owned(),
            time: Moment::now(),
            model: "auto".to_owned(),
            tier: None,
            chain: tried.iter().map(|(provider, model)| format!("{provider}/{model}").into()).collect(),
            stream: false,
            outcome,
            status: Some(200),
            served_by: None,
            ms: 5,
            first_ms: None,
            prompt_tokens: None,
            completion_tokens: None,
            attempts: tried.iter().map(attempt).collect(),
            skipped: Vec::new(),
            traceparent: None,
        })
    }

    pub fn together(records: &[Box<Record>]) -> Batch {
        Batch::of(records.iter().map(|record| &**record))
    }

    fn fallback(mut record: Box<Record>) -> Box<Record> {
        record.served_by = record.chain.last().cloned();
        record
    }

    pub fn ids(store: &Store, query: &Query) -> Vec<String> {
        store.find(query).unwrap().records.into_iter().map(|stored| stored.record.id).collect()
    }

    #[test]
    fn finds_what_is_asked_for_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        assert!(Store::read(&path).unwrap().is_none());
        let mut store = Store::open(&path).unwrap();
        let batch = vec![
            record("a", Outcome::Served, &[("x", "m")]),
            fallback(record("b", Outcome::Fallback, &[("x", "m"), ("y", "org/n")])),
            record("c", Outcome::Failed, &[("x", "m"), ("y", "org/n")]),
        ];
        store.append(7, 1, &[together(&batch)]).unwrap();
        let reader = Store::read(&path).unwrap().unwrap();
        let all = Query { limit: 50, ..Query::default() };
        for (query, wanted) in [
            (all.clone(), &["a", "b", "c"][..]),
            (Query { limit: 2, ..all.clone() }, &["b", "c"]),
            (Query { fallback: true, ..all.clone() }, &["b"]),
            (Query { failed: true, ..all.clone() }, &["c"]),
            (Query { provider: Some("y".into()), ..all.clone() }, &["b", "c"]),
            (Query { model: Some("org/n".into()), ..all.clone() }, &["b", "c"]),
            (Query { model: Some("y/org/n".into()), ..all.clone() }, &["b", "c"]),
            (Query { model: Some("auto".into()), ..all.clone() }, &["a", "b", "c"]),
            (Query { model: Some("n".into()), ..all.clone() }, &["b", "c"]),
            (Query { id: Some("a".into()), ..all.clone() }, &["a"]),
            (Query { id: Some("a' OR 1=1 --".into()), ..all.clone() }, &[]),
            (Query { since: Some(Duration::from_secs(60)), ..all.clone() }, &["a", "b", "c"]),
            (Query { until: Some((7, 1)), ..all.clone() }, &["a"]),
            (Query { until: Some((8, 1)), ..all.clone() }, &["a", "b", "c"]),
        ] {
            assert_eq!(ids(&reader, &query), wanted, "{query:?}");
        }
    }

    #[test]
    fn a_log_of_version_2_is_read_and_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let mut store = Store::open(&path).unwrap();
        let object = serde_json::to_string(&record("old", Outcome::Served, &[("x", "m")])).unwrap();
        store.append(1, 1, &[together(&[record("replaced", Outcome::Served, &[])])]).unwrap();
        store.run(|connection| connection.execute("UPDATE batches SET records = ?1", [object])).unwrap();
        store.run(|connection| connection.pragma_update(None, "user_version", 2)).unwrap();
        let all = Query { limit: 9, ..Query::default() };
        assert_eq!(ids(&Store::read(&path).unwrap().unwrap(), &all), ["old"]);
        let mut store = Store::open(&path).unwrap();
        store.append(2, 1, &[together(&[record("new", Outcome::Served, &[("x", "m")])])]).unwrap();
        for query in [all.clone(), Query { provider: Some("x".into()), outcome: Some(Outcome::Served), ..all }] {
            assert_eq!(ids(&store, &query), ["old", "new"]);
        }
        assert_eq!(store.version().unwrap(), VERSION);
    }

    #[test]
    fn a_large_batch_is_read_record_by_record() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("log.db")).unwrap();
        let batch: Vec<_> = (0..1000).map(|n| record(&format!("r{n}"), Outcome::Served, &[("x", "m")])).collect();
        store.append(1, 1, &[together(&batch[..400]), together(&batch[400..])]).unwrap();
        store.append(2, 1, &[together(&batch[..3])]).unwrap();
        let all = Query { limit: 5000, ..Query::default() };
        let found = store.find(&all).unwrap();
        assert_eq!(found.records.iter().map(|stored| stored.seq).collect::<Vec<_>>(), (1..=1003).collect::<Vec<_>>());
        assert_eq!((found.oldest, found.unreadable), (Some(1), 0));
        let page = store.find(&Query { limit: 4, before: Some(1002), ..Query::default() }).unwrap();
        assert_eq!(page.records.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [998, 999, 1000, 1001]);
        assert_eq!(ids(&store, &Query { until: Some((1, 2)), ..all }), ["r0", "r1", "r0", "r1", "r2"]);
    }

    #[test]
    fn d160_records_keep_their_order_when_the_wall_clock_jumps() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("log.db")).unwrap();
        let hours = [("a", 0), ("b", 10 * 365 * 24), ("c", -24), ("d", 0)];
        for (n, (id, ahead)) in (1..).zip(hours) {
            let mut record = record(id, Outcome::Served, &[("x", "m")]);
            record.time = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(ahead)).to_string().parse().unwrap();
            store.append(1, n, &[together(&[record])]).unwrap();
        }
        let all = Query { limit: 50, ..Query::default() };
        assert_eq!(ids(&store, &all), ["a", "b", "c", "d"]);
        assert_eq!(ids(&store, &Query { limit: 2, ..all.clone() }), ["c", "d"]);
        store.expire(Duration::from_secs(48 * 3600)).unwrap();
        assert_eq!(ids(&store, &all).len(), 4);
        store.expire(Duration::from_secs(3600)).unwrap();
        assert_eq!(ids(&store, &all), ["a", "b", "d"]);
    }

    #[cfg(unix)]
    #[test]
    fn d253_only_the_user_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let _store = Store::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
