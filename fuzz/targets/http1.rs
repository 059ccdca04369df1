//! An answer on the wire: the same head, body and rest for every split of the
//! bytes, nothing lost, and nothing in the body that was not there.
//!
//! Input: a byte for the cuts, the bytes of a connection.
#![no_main]

use bytes::{Buf, Bytes};
use libfuzzer_sys::fuzz_target;
use routor::upstream::{Broken, Decoder, Found, Framing, read_head};

fuzz_target!(|input: &[u8]| {
    let [cuts, wire @ ..] = input else { return };
    let wire = Bytes::copy_from_slice(wire);
    for decoder in [Decoder::Size, Decoder::Length(u64::from(*cuts)), Decoder::UntilClose] {
        compare(decoder, &wire, *cuts);
    }
    let Ok(Some(head)) = read_head(&wire) else { return };
    for end in 0..head.len.min(64) {
        assert!(!matches!(read_head(&wire.slice(..end)), Ok(Some(_))), "a head of {end} bytes in one of {}", head.len);
    }
    assert_eq!(read_head(&wire.slice(..head.len)).unwrap().unwrap().len, head.len);
    if head.keeps {
        assert_ne!(head.framing, Framing::UntilClose, "nothing can come behind what only the close ends");
    }
    compare(Decoder::from(head.framing), &wire.slice(head.len..), *cuts);
});

fn compare(decoder: Decoder, wire: &[u8], cuts: u8) {
    let whole = decode(decoder, &[wire]);
    let step = 1 + usize::from(cuts % 7);
    let parts: Vec<&[u8]> = wire.chunks(step).collect();
    let split = decode(decoder, &parts);
    match (whole, split) {
        (Ok(whole), Ok(split)) => {
            assert_eq!(whole.0, split.0, "another body in parts");
            assert_eq!(whole.1.is_some(), split.1.is_some(), "another end in parts");
            if let (Some(whole), Some(split)) = (&whole.1, &split.1) {
                assert!(whole.starts_with(split), "another rest in parts");
            }
            assert!(whole.0.len() + whole.1.map_or(0, |rest| rest.len()) <= wire.len());
        }
        // What is too long may be seen later in parts, and is an error in both; what is malformed is so at once.
        (Err(_), Err(_)) => {}
        (Err(problem), Ok(_)) | (Ok(_), Err(problem)) => panic!("an error only one way: {problem}"),
    }
}

/// The body, and what is left behind its end, if that was reached.
fn decode(mut decoder: Decoder, parts: &[&[u8]]) -> Result<(Vec<u8>, Option<Vec<u8>>), Broken> {
    let (mut body, mut input) = (Vec::new(), Bytes::new());
    for part in parts.iter().chain([&&[][..]]) {
        input = [input.chunk(), part].concat().into();
        loop {
            match decoder.next(&mut input)? {
                Found::Data(bytes) => {
                    assert!(!bytes.is_empty());
                    body.extend_from_slice(&bytes);
                }
                Found::More => break,
                Found::End => return Ok((body, Some(input.to_vec()))),
            }
        }
    }
    Ok((body, None))
}
