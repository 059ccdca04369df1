//! The memory of large request bodies, used again for the next ones. The
//! allocator gives such pieces back to the system now and then, and to get them
//! anew costs as much as everything else that is done with the body.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::turn;

/// Smaller bodies are the allocator's.
const LARGE: usize = 128 << 10;
/// So much is kept in all.
const KEPT: usize = 32 << 20;
/// Memory that nobody has used for this long is given back.
const UNUSED: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Spare {
    /// The last used behind.
    buffers: Vec<(Vec<u8>, Instant)>,
    sweeping: bool,
}

static SPARE: Mutex<Spare> = Mutex::new(Spare { buffers: Vec::new(), sweeping: false });

fn spare() -> MutexGuard<'static, Spare> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A body that is put together from its parts.
#[derive(Debug)]
pub(super) struct Joined {
    /// All that may be written to: the body so far, and room behind it.
    buffer: Vec<u8>,
    length: usize,
}

/// So much is made ready at once to be read to, or as much as there is already.
const STEP: usize = 64 << 10;

impl Joined {
    /// Nothing yet, with room for so many bytes.
    pub fn with_capacity(length: usize) -> Self {
        if length < LARGE {
            return Self { buffer: Vec::with_capacity(length), length: 0 };
        }
        let mut spare = spare();
        // What is much larger is left to bodies that need it.
        let fits = |(buffer, _): &(Vec<u8>, Instant)| (length..=length.saturating_mul(2)).contains(&buffer.capacity());
        let found = spare.buffers.iter().rposition(fits).map(|at| spare.buffers.remove(at).0);
        Self { buffer: found.unwrap_or_else(|| Vec::with_capacity(length)), length: 0 }
    }

    pub fn push(&mut self, part: &[u8]) {
        self.buffer.truncate(self.length);
        self.buffer.extend_from_slice(part);
        self.length = self.buffer.len();
    }

    /// Room behind the body so far, to be read to: up to `most` bytes.
    pub fn room(&mut self, most: usize) -> &mut [u8] {
        let ready = self.buffer.len() - self.length;
        if ready < most.min(STEP) {
            self.buffer.resize(self.length + most.min(STEP.max(self.length)), 0);
        }
        let end = self.buffer.len().min(self.length.saturating_add(most));
        self.buffer.get_mut(self.length..end).unwrap_or_default()
    }

    /// So much of the room has been filled.
    pub fn fill(&mut self, count: usize) {
        self.length = self.buffer.len().min(self.length + count);
    }

    pub fn len(&self) -> usize {
        self.length
    }

    /// The whole body. When the last one that shares it is done, its memory is kept.
    pub fn freeze(mut self) -> Bytes {
        if self.buffer.capacity() < LARGE {
            self.buffer.truncate(self.length);
            return Bytes::from(std::mem::take(&mut self.buffer));
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Joined {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        if buffer.capacity() < LARGE {
            return;
        }
        // Where nothing could give it back later, it is not kept.
        let Ok(runtime) = Handle::try_current() else { return };
        let mut spare = spare();
        spare.forget_unused();
        let kept: usize = spare.buffers.iter().map(|(buffer, _)| buffer.capacity()).sum();
        if kept + buffer.capacity() > KEPT {
            return;
        }
        spare.buffers.push((buffer, turn::now()));
        if !std::mem::replace(&mut spare.sweeping, true) {
            runtime.spawn(sweep());
        }
    }
}

impl Spare {
    fn forget_unused(&mut self) {
        let now = turn::now();
        self.buffers.retain(|(_, used)| now.saturating_duration_since(*used) < UNUSED);
    }
}

/// Gives back what nobody uses, until there is nothing.
async fn sweep() {
    loop {
        tokio::time::sleep(UNUSED).await;
        let mut spare = spare();
        spare.forget_unused();
        if spare.buffers.is_empty() {
            spare.sweeping = false;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_to_its_room_is_part_of_a_body() {
        let whole: Vec<u8> = (0..3 * LARGE).map(|at| at as u8).collect();
        for (pushed, step) in [(0, 1 << 20), (1000, 70_000), (LARGE, 5000), (3 * LARGE, 1)] {
            let mut joined = Joined::with_capacity(whole.len());
            joined.push(&whole[..pushed]);
            while joined.len() < whole.len() {
                let have = joined.len();
                let room = joined.room(whole.len() - have);
                let count = room.len().min(step);
                assert!((1..=have.max(STEP).max(whole.len() - have)).contains(&room.len()));
                room[..count].copy_from_slice(&whole[have..have + count]);
                joined.fill(count);
            }
            assert!(joined.room(0).is_empty() && joined.freeze() == whole);
        }
        let mut small = Joined::with_capacity(10);
        small.room(10)[..3].copy_from_slice(b"abc");
        small.fill(3);
        small.push(b"de");
        assert_eq!(small.freeze(), "abcde", "room that was not filled is no part of it");
    }

    /// One test, because what is kept is kept for the whole process.
    #[test]
    fn the_memory_of_a_large_body_is_used_again_within_a_bound() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let join = |length: usize| {
            let mut joined = Joined::with_capacity(length);
            joined.push(&vec![b'x'; length]);
            joined.freeze()
        };
        let first = join(LARGE);
        let (place, shared) = (first.as_ptr(), first.slice(1..3));
        drop(first);
        assert_ne!(join(LARGE).as_ptr(), place, "a part of it is still in use");
        drop(shared);
        let again = join(LARGE);
        assert_eq!((again.as_ptr(), again.len()), (place, LARGE));
        drop(again);
        assert_ne!(join(LARGE / 3).as_ptr(), place, "a small one is the allocator's");
        assert_ne!(join(3 * LARGE).as_ptr(), place, "there is no room in it");
        drop((0..2 * KEPT / LARGE).map(|_| join(LARGE)).collect::<Vec<_>>());
        let kept = || spare().buffers.iter().map(|(buffer, _)| buffer.capacity()).sum::<usize>();
        assert!((KEPT / 2..=KEPT).contains(&kept()), "{}", kept());
        for (_, used) in &mut spare().buffers {
            *used -= UNUSED;
        }
        drop(join(LARGE));
        assert!(kept() <= 2 * LARGE, "{}", kept());
    }
}
