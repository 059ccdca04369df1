//! Records that are written together.

use super::line;
use super::record::{Moment, Record};

/// A batch takes little more text than this: a reader has each in memory whole.
const BATCH_TEXT: usize = 64 << 10;

/// Records that become one row of the store, as their lines.
#[derive(Debug, Default)]
pub struct Batch {
    /// How many they are.
    pub(super) count: i64,
    /// The time of the newest.
    pub(super) newest: Moment,
    /// In how many of them a fallback happened.
    pub(super) fallbacks: i64,
    /// Their lines, parted by line ends.
    pub(super) text: Vec<u8>,
}

impl Batch {
    /// None yet, in a buffer that may have been used before.
    pub(super) fn empty(mut text: Vec<u8>) -> Self {
        text.clear();
        Self { text, ..Self::default() }
    }

    /// These records, whatever room they take.
    pub fn of<'r>(records: impl IntoIterator<Item = &'r Record>) -> Self {
        let (mut batch, mut text) = (Self::default(), Vec::new());
        for record in records {
            text.clear();
            line::write(record, &mut text);
            batch.add(record, &text);
        }
        batch
    }

    /// Adds a record with its line.
    pub(super) fn add(&mut self, record: &Record, line: &[u8]) {
        if self.count > 0 {
            self.text.push(b'\n');
        }
        self.text.extend_from_slice(line);
        self.count += 1;
        self.newest = self.newest.max(record.time);
        self.fallbacks += i64::from(record.had_fallback());
    }

    /// Whether more belong into another one.
    pub(super) fn is_full(&self) -> bool {
        self.text.len() >= BATCH_TEXT
    }
}
