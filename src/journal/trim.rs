//! How the log stays within its bounds of age and size.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::record::Moment;
use super::store::{PAGE, Store, StoreError};

/// Batches that are removed at once.
const PART: usize = 2000;
/// The least that a batch takes beside its text, for the sum of many small ones.
const BATCH_EXTRA: u64 = 64;

impl Store {
    /// Keeps what goes beside the store small next to this limit.
    pub fn bound(&self, max_bytes: u64) -> Result<(), StoreError> {
        let beside = (max_bytes / 8).clamp(64 << 10, 4 << 20);
        let number = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        self.run(|connection| {
            connection.pragma_update(None, "journal_size_limit", number(beside))?;
            connection.pragma_update(None, "wal_autocheckpoint", number(beside / u64::from(PAGE)))
        })
    }

    /// Removes what is too old, a bounded part at a time, and gives its room
    /// back to the system; says whether there may be more.
    pub fn expire(&self, keep: Duration) -> Result<bool, StoreError> {
        let oldest = Moment::now().before(keep).millis();
        let old = "DELETE FROM batches WHERE last IN (SELECT last FROM batches WHERE newest_ms < ?1 ORDER BY last LIMIT ?2)
                   AND last < (SELECT max(last) FROM batches)";
        let newest = "UPDATE batches SET count = 0, fallbacks = 0, records = ''
                      WHERE newest_ms < ?1 AND count > 0 AND last = (SELECT max(last) FROM batches)";
        self.run(|connection| {
            let gone = connection.execute(old, params![oldest, i64::try_from(PART).unwrap_or(i64::MAX)])?;
            if gone + connection.execute(newest, [oldest])? > 0 {
                give_back(connection)?;
            }
            Ok(gone >= PART)
        })
    }

    /// Keeps a log within `max_bytes`: removes the oldest records, a bounded
    /// part at a time and never the newest, when they take three quarters of
    /// it; says whether there may be more to remove. Their room is used again,
    /// and goes back to the system only when the file itself is too large.
    pub fn shrink(&self, max_bytes: u64) -> Result<bool, StoreError> {
        self.run(|connection| {
            let (used, free) = bytes(connection)?;
            let more = used > max_bytes / 4 * 3 && remove_oldest(connection, used - max_bytes / 8 * 5)?;
            if used + free > max_bytes / 8 * 7 {
                give_back(connection)?;
            }
            Ok(more)
        })
    }
}

/// Removes the oldest records until they make so many bytes; says whether that
/// was not enough yet. The newest stay.
fn remove_oldest(connection: &Connection, bytes: u64) -> rusqlite::Result<bool> {
    let mut oldest = connection.prepare_cached("SELECT last, length(records) FROM batches ORDER BY last LIMIT ?1")?;
    let mut rows = oldest.query([i64::try_from(PART).unwrap_or(i64::MAX)])?;
    let (mut end, mut sum) = (None, 0u64);
    while let Some(row) = rows.next()?.filter(|_| sum < bytes) {
        end = Some(row.get::<_, i64>(0)?);
        sum += u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0) + BATCH_EXTRA;
    }
    drop(rows);
    let gone = connection
        .prepare_cached("DELETE FROM batches WHERE last <= ?1 AND last < (SELECT max(last) FROM batches)")?
        .execute([end.unwrap_or(0)])?;
    Ok(gone > 0 && sum < bytes)
}

/// Gives the room of removed records back to the system.
fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    // It frees a page a step, so it is stepped to its end.
    let mut vacuum = connection.prepare("PRAGMA incremental_vacuum(5000)")?;
    let mut freed = vacuum.query([])?;
    while freed.next()?.is_some() {}
    drop(freed);
    drop(vacuum);
    // Only then the file becomes smaller. A reader may be in the way; the next time then.
    let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    Ok(())
}

/// The bytes that records take, and those that are free for others.
fn bytes(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let number = |name: &str| {
        let pages = connection.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get::<_, i64>(0))?;
        Ok::<_, rusqlite::Error>(u64::try_from(pages).unwrap_or(0))
    };
    let (pages, free, size) = (number("page_count")?, number("freelist_count")?, number("page_size")?);
    Ok((pages.saturating_sub(free) * size, free * size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::store::tests::{ids, record, together};
    use crate::journal::{Outcome, Query};

    #[test]
    fn d247_old_and_too_many_records_go() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(&folder.path().join("log.db")).unwrap();
        for n in 0..5000 {
            store.append(1, n, &[together(&[record(&format!("r{n}"), Outcome::Served, &[("x", "m")])])]).unwrap();
        }
        let hour = Duration::from_secs(3600);
        let left = |store: &Store| ids(store, &Query { limit: 10_000, ..Query::default() }).len();
        assert!(!store.expire(hour).unwrap());
        assert_eq!(left(&store), 5000);
        let (bytes, _) = store.run(bytes).unwrap();
        assert!(!store.shrink(bytes / 3 * 4 + 100).unwrap());
        assert_eq!(left(&store), 5000, "three quarters are not reached");
        assert!(!store.shrink(bytes / 3 * 4 - 100).unwrap());
        assert!((3500..4500).contains(&left(&store)), "as many as were too much, and some: {}", left(&store));
        assert!(store.shrink(1).unwrap(), "there is more to remove");
        while store.shrink(1).unwrap() {}
        assert_eq!(ids(&store, &Query { limit: 9, ..Query::default() }), ["r4999"], "the newest stays");
        let mut old = record("old", Outcome::Served, &[]);
        old.time = "2020-01-01T00:00:00.000Z".parse().unwrap();
        store.append(2, 1, &[together(&[old])]).unwrap();
        store.expire(hour).unwrap();
        assert_eq!(ids(&store, &Query { limit: 9, ..Query::default() }), ["r4999"], "what is too old goes");
    }
}
