//! Takes the body out of the bytes of a connection.

use bytes::{Buf, Bytes};

use super::Broken;
use super::head::Framing;

/// The longest line with a chunk's length, with what else may stand in it. A part of the
/// body that is held keeps the lines before it in memory, too.
const LINE: usize = 256;
/// The most that may stand behind the last chunk.
const TRAILERS: usize = 16 * 1024;
/// The most fields there.
const TRAILER_FIELDS: usize = 32;

/// What was found in the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A part of the body, never empty.
    Data(Bytes),
    /// Nothing before more bytes come.
    More,
    /// The body has ended; what is left does not belong to it.
    End,
}

/// Where in a body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoder {
    /// In one of known length, with so many bytes to come.
    Length(u64),
    /// In one that ends with the connection.
    UntilClose,
    /// Before the length of a chunk.
    Size,
    /// In a chunk, with so many bytes to come.
    Chunk(u64),
    /// At the end of a chunk's line.
    ChunkEnd,
    /// Behind the last chunk.
    Trailers,
    /// Behind the body.
    Done,
}

impl From<Framing> for Decoder {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Size,
            Framing::UntilClose => Self::UntilClose,
        }
    }
}

impl Decoder {
    /// Takes the next part of the body from the front of `input`.
    ///
    /// # Errors
    /// The chunks are not well formed.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Found, Broken> {
        loop {
            match self {
                Self::Done | Self::Length(0) => return Ok(Found::End),
                _ if input.is_empty() => return Ok(Found::More),
                Self::UntilClose => return Ok(Found::Data(std::mem::take(input))),
                Self::Length(left) => return Ok(Found::Data(take(input, left))),
                Self::Chunk(0) => *self = Self::ChunkEnd,
                Self::Chunk(left) => return Ok(Found::Data(take(input, left))),
                Self::ChunkEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        input.advance(2);
                        *self = Self::Size;
                    }
                    None if input.starts_with(b"\r") => return Ok(Found::More),
                    _ => return Err(Broken::Chunk),
                },
                Self::Size => match size(input)? {
                    None => return Ok(Found::More),
                    Some(0) => *self = Self::Trailers,
                    Some(length) => *self = Self::Chunk(length),
                },
                Self::Trailers => {
                    let mut fields = [httparse::EMPTY_HEADER; TRAILER_FIELDS];
                    match httparse::parse_headers(input, &mut fields)? {
                        httparse::Status::Complete((len, _)) if len <= TRAILERS => input.advance(len),
                        httparse::Status::Partial if input.len() <= TRAILERS => return Ok(Found::More),
                        _ => return Err(Broken::Chunk),
                    }
                    *self = Self::Done;
                }
            }
        }
    }

    /// Whether the end of the connection is the end of the body.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }

    /// The bytes to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            _ => None,
        }
    }
}

/// The line with a chunk's length; `None` when it is not all there.
fn size(input: &mut Bytes) -> Result<Option<u64>, Broken> {
    if input.first().is_some_and(|first| !first.is_ascii_hexdigit()) {
        return Err(Broken::Chunk);
    }
    match httparse::parse_chunk_size(input).map_err(|_| Broken::Chunk)? {
        // A bare line feed is the end of the line for some, and a part of it for others.
        httparse::Status::Complete((len, length)) if len <= LINE && memchr::memchr(b'\n', input) == Some(len - 1) => {
            input.advance(len);
            Ok(Some(length))
        }
        httparse::Status::Partial if input.len() <= LINE => Ok(None),
        _ => Err(Broken::Chunk),
    }
}

/// What there is of the `left` bytes.
fn take(input: &mut Bytes, left: &mut u64) -> Bytes {
    let count = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    *left -= count as u64;
    input.split_to(count)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::Broken;
    use super::{Decoder, Found};

    /// The body in `parts`, and what was left behind its end, `None` when it did not end.
    fn decode(mut decoder: Decoder, parts: &[&[u8]]) -> Result<(Vec<u8>, Option<Vec<u8>>), Broken> {
        let (mut body, mut input) = (Vec::new(), Bytes::new());
        for part in parts {
            input = [&input[..], part].concat().into();
            loop {
                match decoder.next(&mut input)? {
                    Found::Data(bytes) => body.extend_from_slice(&bytes),
                    Found::More => break,
                    Found::End => return Ok((body, Some(input.to_vec()))),
                }
            }
        }
        Ok((body, None))
    }

    #[test]
    fn bodies_end_where_they_say() {
        for (decoder, text, body, rest) in [
            (Decoder::Length(0), "", "", Some("")),
            (Decoder::Length(3), "abcHTTP", "abc", Some("HTTP")),
            (Decoder::Length(3), "ab", "ab", None),
            (Decoder::UntilClose, "abc", "abc", None),
            (Decoder::Size, "0\r\n\r\n", "", Some("")),
            (Decoder::Size, "3\r\nabc\r\n0\r\n\r\nHTTP", "abc", Some("HTTP")),
            (Decoder::Size, "a;name=\"x\"\r\n0123456789\r\n00\r\nname: value\r\n\r\n", "0123456789", Some("")),
            (Decoder::Size, "3\r\nabc\r\n", "abc", None),
            (Decoder::Size, "3\r\nab", "ab", None),
            (Decoder::Size, "3\r\nabc\r\n0\r\n", "abc", None),
            (Decoder::Size, "3 \r\nabc\r\n0\r\n\r\n", "abc", Some("")),
        ] {
            if text.is_empty() && rest.is_some() {
                assert_eq!({ decoder }.next(&mut Bytes::new()).unwrap(), Found::End);
                continue;
            }
            let (found, left) = decode(decoder, &[text.as_bytes()]).unwrap();
            assert_eq!((found.as_slice(), left.as_deref()), (body.as_bytes(), rest.map(str::as_bytes)), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_an_error() {
        for text in [
            "\r\n",
            "x\r\n",
            " 3\r\nabc\r\n",
            "-3\r\nabc\r\n",
            "0x3\r\nabc\r\n",
            "3\nabc\n",
            "3\r\nabcd\r\n",
            "3\r\nabc\rx",
            "3 4\r\nabc\r\n",
            "3;\nx\r\nabc\r\n",
            "11112222333344445\r\n",
            "0\r\nno field\r\n\r\n",
        ] {
            assert!(decode(Decoder::Size, &[text.as_bytes()]).is_err(), "{text:?}");
        }
        assert!(decode(Decoder::Size, &[b"3;", &vec![b'x'; super::LINE]]).is_err());
        assert!(decode(Decoder::Size, &[b"0\r\na: ", &vec![b'x'; super::TRAILERS]]).is_err());
    }

    proptest! {
        /// However a body is cut in chunks, and however these come in parts, it is the same body.
        #[test]
        fn the_parts_do_not_matter(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
            let mut text = Vec::new();
            for chunk in &chunks {
                text.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\nnext");
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len())).chain([0, text.len()]).collect();
            places.sort_unstable();
            let parts: Vec<&[u8]> = places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            let (body, rest) = decode(Decoder::Size, &parts).unwrap();
            prop_assert_eq!(body, chunks.concat());
            prop_assert!(b"next".starts_with(&rest.unwrap()));
        }

        /// No bytes make it panic or give more than came.
        #[test]
        fn any_bytes_are_safe(bytes in prop::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'0'), Just(b'f'), Just(b';'), any::<u8>()], 0..80)) {
            if let Ok((body, _)) = decode(Decoder::Size, &[&bytes]) {
                prop_assert!(body.len() <= bytes.len());
            }
        }
    }
}
