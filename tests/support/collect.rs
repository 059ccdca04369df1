//! Collects what a process writes, so that a test can wait for a text and see
//! everything when it fails.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use super::{lock, wait_until};

/// One output of a process, read to its end by a thread of its own.
#[derive(Clone, Default)]
pub struct Collected(Arc<(Mutex<Text>, Condvar)>);

#[derive(Default)]
struct Text {
    bytes: Vec<u8>,
    ended: bool,
}

impl Text {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

impl Collected {
    /// Starts to read.
    pub fn from(source: impl Read + Send + 'static) -> Self {
        let collected = Self::default();
        let told = collected.clone();
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            // An error ends it like the end itself.
            while let Some(part) = source.fill_buf().ok().filter(|part| !part.is_empty()).map(<[u8]>::to_vec) {
                source.consume(part.len());
                lock(&told.0.0).bytes.extend(part);
                told.0.1.notify_all();
            }
            lock(&told.0.0).ended = true;
            told.0.1.notify_all();
        });
        collected
    }

    /// What has come so far; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        lock(&self.0.0).text()
    }

    /// What `find` makes of the text as soon as it finds something; the whole
    /// text when the output ends or `bound` passes before that.
    pub fn find<T>(&self, bound: Duration, find: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let mut found = None;
        let text = wait_until(&self.0.0, &self.0.1, bound, |text| {
            found = find(&text.text());
            found.is_some() || text.ended
        });
        found.ok_or_else(|| text.text())
    }

    /// The whole output, once it has ended; what there is after `bound`.
    pub fn whole(&self, bound: Duration) -> String {
        wait_until(&self.0.0, &self.0.1, bound, |text| text.ended).text()
    }
}
