//! Undoes a coding that nobody asked for, within a bound.

use std::io::Read;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HeaderMap};

/// What is wrong with a coded body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Undecodable(pub &'static str);

/// Whether the body is coded at all.
pub(super) fn is_coded(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity")
}

/// The plain body; `most` is the most bytes it may have. The header is removed
/// with the coding.
pub(super) fn inflate(headers: &mut HeaderMap, body: Bytes, most: usize) -> Result<Bytes, Undecodable> {
    let coding = match headers.get(CONTENT_ENCODING).map(|coding| coding.as_bytes().to_ascii_lowercase()) {
        None => return Ok(body),
        Some(coding) => coding,
    };
    headers.remove(CONTENT_ENCODING);
    match coding.as_slice() {
        b"identity" | b"" => Ok(body),
        b"gzip" | b"x-gzip" => read(flate2::read::MultiGzDecoder::new(&body[..]), most),
        // "deflate" is zlib by the book, and raw with some servers.
        b"deflate" => {
            read(flate2::read::ZlibDecoder::new(&body[..]), most).or_else(|_| read(flate2::read::DeflateDecoder::new(&body[..]), most))
        }
        _ => Err(Undecodable("coded in a way that was not asked for")),
    }
}

fn read(decoder: impl Read, most: usize) -> Result<Bytes, Undecodable> {
    let mut out = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    match decoder.take(limit.saturating_add(1)).read_to_end(&mut out) {
        Ok(_) if out.len() > most => Err(Undecodable("larger than allowed once decoded")),
        Ok(_) => Ok(out.into()),
        Err(_) => Err(Undecodable("not what its Content-Encoding says")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn coded(coding: &'static str, body: Vec<u8>, most: usize) -> Result<Bytes, Undecodable> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, coding.parse().unwrap());
        inflate(&mut headers, body.into(), most)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn decodes_what_it_knows_within_the_bound() {
        assert_eq!(coded("gzip", gzip(b"hello"), 100).unwrap(), "hello");
        assert_eq!(coded("identity", b"hello".to_vec(), 100).unwrap(), "hello");
        assert!(coded("gzip", b"hello".to_vec(), 100).is_err());
        assert!(coded("gzip", gzip(b"hello")[..10].to_vec(), 100).is_err());
        assert!(coded("gzip", gzip(&vec![0; 1 << 20]), 1000).is_err());
        assert!(coded("br", b"hello".to_vec(), 100).is_err());
    }
}
