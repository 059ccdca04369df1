//! The records on disk: SQLite in WAL mode, readable while the daemon writes
//! and while it is not there.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, params, params_from_iter};

use super::query::{Query, compose, had_fallback, touched};
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

/// Records that are removed at once.
const PART: i64 = 2000;

/// Rises when the tables change.
const VERSION: i64 = 1;

/// Every request pays for an index, and only a reader now and then profits: to
/// look through a whole log takes well under 200 ms.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS requests (
        seq      INTEGER PRIMARY KEY AUTOINCREMENT,
        writer   INTEGER NOT NULL,
        n        INTEGER NOT NULL,
        time_ms  INTEGER NOT NULL,
        id       TEXT NOT NULL,
        outcome  TEXT NOT NULL,
        fallback INTEGER NOT NULL,
        touched  TEXT NOT NULL,
        record   TEXT NOT NULL
    ) STRICT;
    CREATE INDEX IF NOT EXISTS requests_fallback ON requests (seq) WHERE fallback;
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
            Err(StoreError::Sqlite { problem, .. }) if is_ruined(&problem) => {
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

    /// The bytes on the disk, of the store and of what goes with it.
    pub fn size(&self) -> u64 {
        let size = |end: &str| std::fs::metadata(format!("{}{end}", self.path)).map_or(0, |about| about.len());
        size("") + size("-wal")
    }

    /// Keeps what goes beside the store small next to this limit.
    pub fn bound(&self, max_bytes: u64) -> Result<(), StoreError> {
        let beside = (max_bytes / 8).clamp(64 << 10, 4 << 20);
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.run(|connection| {
            connection.pragma_update(None, "journal_size_limit", number(beside))?;
            connection.pragma_update(None, "wal_autocheckpoint", number(beside / 4096))
        })
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
            0 => Ok(None),
            VERSION => Ok(Some(store)),
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

    fn run<T>(&self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        act(&self.connection).map_err(|problem| StoreError::Sqlite { path: self.path.clone(), problem })
    }

    /// Writes a batch, all or nothing. `writer` tells processes apart, and
    /// each record has its number among that writer's.
    pub fn append(&mut self, writer: i64, batch: &[(i64, Box<Record>)]) -> Result<(), StoreError> {
        let path = self.path.clone();
        let mut act = || -> rusqlite::Result<()> {
            let change = self.connection.transaction()?;
            {
                let mut insert = change.prepare_cached(
                    "INSERT INTO requests (writer, n, time_ms, id, outcome, fallback, touched, record)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                )?;
                for (n, record) in batch {
                    let text = serde_json::to_string(record).unwrap_or_default();
                    insert.execute(params![
                        writer,
                        n,
                        time_millis(&record.time),
                        record.id,
                        record.outcome.name(),
                        had_fallback(record),
                        touched(record),
                        text
                    ])?;
                }
            }
            change.commit()
        };
        act().map_err(|problem| StoreError::Sqlite { path, problem })
    }

    /// Removes what is too old, a bounded part at a time; says whether there may
    /// be more. It looks through the whole log, so it is not for every batch.
    pub fn expire(&self, keep: Duration) -> Result<bool, StoreError> {
        let oldest = jiff::Timestamp::now().as_millisecond() - i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let old = "DELETE FROM requests WHERE seq IN (SELECT seq FROM requests WHERE time_ms < ?1 ORDER BY seq LIMIT ?2)";
        self.run(|connection| give_back(connection, connection.execute(old, params![oldest, PART])?))
    }

    /// Removes the oldest records of a log that takes more than `max_bytes`, a
    /// bounded part at a time and never the newest record; says whether there
    /// may be more to remove.
    pub fn shrink(&self, max_bytes: u64) -> Result<bool, StoreError> {
        self.run(|connection| {
            let (bytes, records) = (self.bytes(connection)?, self.count(connection)?);
            if bytes <= max_bytes || records <= 1 {
                return Ok(false);
            }
            // As many as take up what is too much, and a tenth of the limit, so that it is not done for each record.
            let spare = (bytes - max_bytes).saturating_add(max_bytes / 10);
            let each = (bytes / records).max(1);
            let wanted = i64::try_from(spare.div_ceil(each).min(records - 1)).unwrap_or(PART).min(PART);
            let first = "DELETE FROM requests WHERE seq IN (SELECT seq FROM requests ORDER BY seq LIMIT ?1)
                         AND seq < (SELECT max(seq) FROM requests)";
            give_back(connection, connection.execute(first, params![wanted])?)
        })
    }

    fn count(&self, connection: &Connection) -> rusqlite::Result<u64> {
        // Their places tell at once, and nearly enough; to count them would read the whole log.
        let span = "SELECT coalesce(max(seq) - min(seq) + 1, 0) FROM requests";
        let count = connection.query_row(span, [], |row| row.get::<_, i64>(0))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The bytes that records take.
    fn bytes(&self, connection: &Connection) -> rusqlite::Result<u64> {
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let pages = number("page_count")?.saturating_sub(number("freelist_count")?);
        Ok(u64::try_from(pages.saturating_mul(number("page_size")?)).unwrap_or(0))
    }

    /// The newest records that a query picks, oldest first. Those that cannot
    /// be read are left out and counted.
    pub fn find(&self, query: &Query) -> Result<Found, StoreError> {
        let (sql, values) = compose(query);
        let (mut unreadable, mut oldest) = (0, None);
        let mut records: Vec<Stored> = self.run(|connection| {
            let mut select = connection.prepare(&sql)?;
            let rows = select.query_map(params_from_iter(values), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
            let mut found = Vec::new();
            for row in rows {
                let (seq, text) = row?;
                oldest = Some(seq);
                match serde_json::from_str(&text) {
                    Ok(record) => found.push(Stored { seq, record }),
                    Err(_) => unreadable += 1,
                }
            }
            Ok(found)
        })?;
        records.reverse();
        Ok(Found { records, unreadable, oldest })
    }
}

fn time_millis(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_millisecond)
}

/// Gives the room of removed records back to the system; says whether a full part went.
fn give_back(connection: &Connection, gone: usize) -> rusqlite::Result<bool> {
    if gone > 0 {
        // It frees a page a step, so it is stepped to its end.
        let mut vacuum = connection.prepare("PRAGMA incremental_vacuum(5000)")?;
        let mut freed = vacuum.query([])?;
        while freed.next()?.is_some() {}
        drop(freed);
        drop(vacuum);
        // Only then the file becomes smaller. A reader may be in the way; the next time then.
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    }
    Ok(i64::try_from(gone).unwrap_or(PART) >= PART)
}

/// Which file has this name.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|about| (about.dev(), about.ino()))
}

/// Whether the file is no store, or a broken one.
fn is_ruined(problem: &rusqlite::Error) -> bool {
    matches!(problem.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
}

/// Gives a broken store another name, the same each time, so that they do not pile up.
fn put_aside(path: &Path) {
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
mod tests {
    use super::*;
    use crate::failover::Class;
    use crate::journal::Outcome;
    use crate::journal::{Attempt, now_text};

    fn record(id: &str, outcome: Outcome, tried: &[(&str, &str)]) -> Box<Record> {
        let attempt = |(provider, model): &(&str, &str)| Attempt {
            provider: (*provider).to_owned(),
            model: (*model).to_owned(),
            class: Class::Ok,
            status: Some(200),
            ms: 1,
            first_ms: None,
            at_ms: 0,
            upstream_id: None,
            possible_duplicate: false,
        };
        Box::new(Record {
            id: id.to_owned(),
            time: now_text(),
            model: "auto".to_owned(),
            tier: None,
            chain: tried.iter().map(|(provider, model)| format!("{provider}/{model}")).collect(),
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

    fn fallback(mut record: Box<Record>) -> Box<Record> {
        record.served_by = record.chain.last().cloned();
        record
    }

    fn ids(store: &Store, query: &Query) -> Vec<String> {
        store.find(query).unwrap().records.into_iter().map(|stored| stored.record.id).collect()
    }

    #[test]
    fn finds_what_is_asked_for_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        assert!(Store::read(&path).unwrap().is_none());
        let mut store = Store::open(&path).unwrap();
        let batch = vec![
            (1, record("a", Outcome::Served, &[("x", "m")])),
            (2, fallback(record("b", Outcome::Fallback, &[("x", "m"), ("y", "org/n")]))),
            (3, record("c", Outcome::Failed, &[("x", "m"), ("y", "org/n")])),
        ];
        store.append(7, &batch).unwrap();
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
    fn d247_old_and_too_many_records_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("log.db")).unwrap();
        let batch: Vec<_> = (0..5000).map(|n| (n, record(&format!("r{n}"), Outcome::Served, &[("x", "m")]))).collect();
        store.append(1, &batch).unwrap();
        let hour = Duration::from_secs(3600);
        let left = |store: &Store| ids(store, &Query { limit: 10_000, ..Query::default() }).len();
        assert!(!store.expire(hour).unwrap());
        assert_eq!(left(&store), 5000);
        let bytes = store.bytes(&store.connection).unwrap();
        assert!(!store.shrink(bytes * 9 / 10).unwrap());
        assert!((3500..4500).contains(&left(&store)), "as many as were too much, and some: {}", left(&store));
        assert!(store.shrink(1).unwrap(), "there is more to remove");
        while store.shrink(1).unwrap() {}
        assert_eq!(ids(&store, &Query { limit: 9, ..Query::default() }), ["r4999"], "the newest stays");
        let old = Box::new(Record { time: "2020-01-01T00:00:00.000Z".into(), ..*record("old", Outcome::Served, &[]) });
        store.append(2, &[(1, old)]).unwrap();
        store.expire(hour).unwrap();
        assert_eq!(ids(&store, &Query { limit: 9, ..Query::default() }), ["r4999"], "what is too old goes");
    }

    #[test]
    fn d160_records_keep_their_order_when_the_wall_clock_jumps() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("log.db")).unwrap();
        let hours = [("a", 0), ("b", 10 * 365 * 24), ("c", -24), ("d", 0)];
        for (n, (id, ahead)) in (1..).zip(hours) {
            let mut record = record(id, Outcome::Served, &[("x", "m")]);
            record.time = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(ahead)).to_string();
            store.append(1, &[(n, record)]).unwrap();
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
