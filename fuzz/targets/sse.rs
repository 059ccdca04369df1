//! The reader of event streams: the same events for every split of the bytes,
//! none above the bound, nothing lost on the way through.
//!
//! Input: a byte for the cuts, a byte for the bound, the stream.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use routor::sse::{Event, Reader, TooLarge};

fuzz_target!(|input: &[u8]| {
    let [cuts, bound, stream @ ..] = input else { return };
    // A small bound, so that small inputs reach it, or one that nothing reaches.
    let limit = if *bound < 128 { 3 + usize::from(*bound) } else { 1 << 20 };
    let whole = read(std::iter::once(stream), limit);
    assert_eq!(read(stream.chunks(1), limit), whole, "byte by byte");
    assert_eq!(read(pieces(stream, *cuts).into_iter(), limit), whole, "in uneven pieces");
    whole.0.iter().for_each(check);
});

/// The events of a stream that arrives in these parts, and how it ended.
fn read<'a>(parts: impl Iterator<Item = &'a [u8]>, limit: usize) -> (Vec<Event>, Option<TooLarge>) {
    let mut reader = Reader::new(limit);
    let mut events: Vec<Event> = Vec::new();
    let (mut taken, mut given) = (0, 0);
    for part in parts {
        reader.push(Bytes::copy_from_slice(part));
        taken += part.len();
        loop {
            match reader.next_event() {
                Ok(Some(event)) => {
                    assert!(event.raw().len() <= limit, "an event of {} bytes, the bound is {limit}", event.raw().len());
                    given += event.raw().len();
                    events.push(event);
                }
                Ok(None) => break,
                Err(problem) => return (events, Some(problem)),
            }
        }
        // Three bytes may have been a byte order mark.
        assert!(taken - given <= limit + 3, "{} bytes are held, the bound is {limit}", taken - given);
    }
    events.extend(reader.finish());
    assert!(reader.is_empty());
    (events, None)
}

/// What is passed on says the same, without the instruction to reconnect.
fn check(event: &Event) {
    let forwarded = event.clone().forward();
    assert!(!forwarded.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| line == b"retry" || line.starts_with(b"retry:")));
    // Behind another event: at the very start a byte order mark would be taken for one.
    let again = read(std::iter::once([b":\n\n", &forwarded[..]].concat().as_slice()), 1 << 20).0;
    match again.get(1) {
        Some(same) => assert_eq!((same.kind(), same.data()), (event.kind(), event.data())),
        None => assert!(forwarded.is_empty() && event.data().is_none() && event.kind().is_none(), "{event:?} is gone"),
    }
}

/// Cuts by a small generator, so that a byte of input decides all of them.
fn pieces(mut stream: &[u8], cuts: u8) -> Vec<&[u8]> {
    let mut state = u32::from(cuts) | 0x100;
    let mut parts = Vec::new();
    while !stream.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (part, rest) = stream.split_at(stream.len().min((state >> 24) as usize % 7));
        parts.push(part);
        stream = rest;
    }
    parts
}
