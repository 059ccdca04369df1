//! Hints when to ask again: within their bounds whatever is said, at whatever
//! time, and a plain `Retry-After` is believed to the second.
//!
//! Input: the clock in seconds since 1970 on a line of its own, header lines, an
//! empty line, the body.
#![no_main]

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use routor::failover::{ErrorText, Hint, retry_hint};

fuzz_target!(|input: &[u8]| {
    let mut rest = input;
    let seconds = std::str::from_utf8(line(&mut rest)).ok().and_then(|text| text.parse::<i64>().ok()).unwrap_or(1_800_000_000);
    let age = Duration::from_secs(seconds.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let Some(now) = (if seconds < 0 { epoch.checked_sub(age) } else { epoch.checked_add(age) }) else { return };
    let mut headers = HeaderMap::new();
    while !rest.is_empty() {
        let header = line(&mut rest);
        if header.is_empty() {
            break;
        }
        let at = header.iter().position(|byte| *byte == b':').unwrap_or(header.len());
        let (name, value) = header.split_at(at);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let Some(hint) = retry_hint(&headers, &ErrorText::read(rest), now) else {
        assert_eq!(plain(&headers), None, "Retry-After is not heard: {headers:?}");
        return;
    };
    assert!(hint.wait <= Hint::LONGEST_QUOTA, "{hint:?}");
    let longest = if hint.day_quota { Hint::LONGEST_QUOTA } else { Hint::LONGEST };
    assert!((Duration::from_secs(1)..=longest).contains(&hint.cooldown()), "{hint:?}");
    if let Some(wanted) = plain(&headers) {
        assert_eq!(hint.wait, wanted.min(Hint::LONGEST_QUOTA));
    }
});

/// The wait, when whole seconds in `Retry-After` are what decides.
fn plain(headers: &HeaderMap) -> Option<Duration> {
    if headers.contains_key("retry-after-ms") || headers.contains_key("x-ms-retry-after-ms") {
        return None;
    }
    let text = headers.get("retry-after")?.to_str().ok()?;
    let digits = !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok().map(Duration::from_secs)).flatten()
}

/// Takes the first line off.
fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
    let (line, behind) = rest.split_at(end);
    *rest = behind.get(1..).unwrap_or_default();
    line
}
