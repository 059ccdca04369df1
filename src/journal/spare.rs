//! Records that are done with, for their memory: a worker writes one for each
//! request, always with the same few strings and lists.

use std::cell::RefCell;

use super::record::Record;

/// Records that a worker keeps.
const KEPT: usize = 64;
/// Larger ones are not kept.
const LONGEST_TEXT: usize = 256;
const LONGEST_LIST: usize = 8;

thread_local! {
    // Boxes, because that is what is handed on.
    #[expect(clippy::vec_box)]
    static SPARE: RefCell<Vec<Box<Record>>> = const { RefCell::new(Vec::new()) };
}

/// An empty record.
pub(super) fn take() -> Box<Record> {
    SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Takes back a record that nobody needs any more. Only room is kept of it.
pub(super) fn put(mut record: Box<Record>) {
    let Record { mut id, mut model, mut chain, mut attempts, mut skipped, .. } = std::mem::take(&mut *record);
    let texts = id.capacity().max(model.capacity());
    let lists = chain.capacity().max(attempts.capacity()).max(skipped.capacity());
    if texts > LONGEST_TEXT || lists > LONGEST_LIST {
        return;
    }
    [&mut id, &mut model].into_iter().for_each(String::clear);
    chain.clear();
    attempts.clear();
    skipped.clear();
    *record = Record { id, model, chain, attempts, skipped, ..Record::default() };
    SPARE.with_borrow_mut(|spare| {
        if spare.len() < KEPT {
            spare.push(record);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Tier;
    use crate::journal::{Moment, Outcome};

    #[test]
    fn nothing_of_a_record_is_in_the_next_one_but_its_room() {
        let mut record = take();
        assert_eq!(*record, Record::default());
        record.id.push_str("req_1");
        record.model.push('m');
        record.chain.push("p/m".into());
        (record.time, record.tier, record.outcome) = (Moment::now(), Some(Tier::Light), Outcome::Served);
        (record.status, record.ms, record.traceparent) = (Some(200), 7, Some("t".to_owned()));
        let place = record.id.as_ptr();
        put(record);
        let next = take();
        assert_eq!((&*next, next.id.as_ptr()), (&Record::default(), place));
    }

    #[test]
    fn what_is_large_or_too_much_is_not_kept() {
        let mut record = take();
        record.id = "x".repeat(LONGEST_TEXT + 1);
        put(record);
        assert_eq!(take().id.capacity(), 0);
        (0..2 * KEPT).for_each(|_| put(Box::default()));
        assert_eq!(SPARE.with_borrow(Vec::len), KEPT);
    }
}
