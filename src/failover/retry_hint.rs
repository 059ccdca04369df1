//! When a provider says that it can be asked again: every form in which
//! providers are known to say it.

use std::time::{Duration, SystemTime};

use http::header::{HeaderMap, HeaderName, RETRY_AFTER};

use super::error_body::ErrorText;

const MILLIS: [HeaderName; 2] = [HeaderName::from_static("retry-after-ms"), HeaderName::from_static("x-ms-retry-after-ms")];
const RESETS: [HeaderName; 4] = [
    HeaderName::from_static("x-ratelimit-reset-after"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// A provider's hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hint {
    /// How long to leave it alone, at most [`Hint::LONGEST_QUOTA`].
    pub wait: Duration,
    /// A quota per day is used up: the wait may be longer than an hour.
    pub day_quota: bool,
}

impl Hint {
    /// The longest a rate limit is believed.
    pub const LONGEST: Duration = Duration::from_secs(3600);
    /// The longest a named day quota is believed.
    pub const LONGEST_QUOTA: Duration = Duration::from_secs(24 * 3600);

    /// The hint as a cooldown: a second at least, an hour at most, a day for a day quota.
    pub fn cooldown(self) -> Duration {
        let longest = if self.day_quota { Self::LONGEST_QUOTA } else { Self::LONGEST };
        self.wait.clamp(Duration::from_secs(1), longest)
    }
}

/// Reads the hint of a failed answer: milliseconds header, `Retry-After`, the
/// body's `RetryInfo`, its prose, the reset headers, in this order. `now` is
/// the wall clock, for forms that name a time of day.
pub fn retry_hint(headers: &HeaderMap, body: &ErrorText, now: SystemTime) -> Option<Hint> {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let millis = || MILLIS.iter().find_map(|name| seconds(text(name)?).map(|ms| ms / 1000.0));
    let after = || text(&RETRY_AFTER).and_then(|value| seconds(value).or_else(|| until_date(value, now)));
    let reset = || {
        let anthropic =
            headers.iter().filter(|(name, _)| name.as_str().starts_with("anthropic-ratelimit-") && name.as_str().ends_with("-reset"));
        let anthropic = anthropic.filter_map(|(_, value)| value.to_str().ok());
        RESETS.iter().filter_map(text).chain(anthropic).filter_map(|value| reset_value(value, now)).reduce(f64::max)
    };
    let found = millis().or_else(after).or_else(|| retry_info(body)).or_else(|| prose(&body.prose)).or_else(reset)?;
    let day_quota = ["perday", "per day", "daily"].iter().any(|words| body.says(&[words]));
    Some(Hint { wait: bounded(found)?, day_quota })
}

/// A finite number of seconds that is not negative.
fn seconds(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0)
}

fn bounded(seconds: f64) -> Option<Duration> {
    let most = Hint::LONGEST_QUOTA.as_secs_f64();
    (seconds.is_finite() && seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(most)))
}

fn until_date(text: &str, now: SystemTime) -> Option<f64> {
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).map_or(0.0, |wait| wait.as_secs_f64()))
}

/// Go-style durations, RFC 3339, epoch seconds or milliseconds, plain seconds.
fn reset_value(text: &str, now: SystemTime) -> Option<f64> {
    if let Some(number) = seconds(text) {
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64());
        return match number {
            0.0 => None,
            millis if millis > 1e11 => Some((millis / 1000.0 - since_epoch).max(0.0)),
            epoch if epoch > 1e8 => Some((epoch - since_epoch).max(0.0)),
            wait => Some(wait),
        };
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        let time = SystemTime::from(time);
        return Some(time.duration_since(now).map_or(0.0, |wait| wait.as_secs_f64()));
    }
    spelled(text).map(|(wait, _)| wait)
}

/// `google.rpc.RetryInfo`: a delay such as `38s` among the codes.
fn retry_info(body: &ErrorText) -> Option<f64> {
    if !body.codes.contains("retryinfo") && !body.codes.contains("resource_exhausted") {
        return None;
    }
    body.codes.split(' ').find_map(|code| {
        let number = code.strip_suffix('s')?;
        number.starts_with(|c: char| c.is_ascii_digit()).then(|| seconds(number)).flatten()
    })
}

/// "try again in 5.289s", "retry in 38.9s", "reset after 2h10m5s".
fn prose(text: &str) -> Option<f64> {
    const LEADS: [&str; 7] = ["try again in ", "retry in ", "retry after ", "reset after ", "resets in ", "reset in ", "available in "];
    if !text.contains(" in ") && !text.contains(" after ") {
        return None;
    }
    LEADS.iter().find_map(|lead| {
        let (_, rest) = text.split_once(lead)?;
        let (wait, rest) = spelled(rest).or_else(|| {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, rest) = rest.split_at(end);
            seconds(number.trim_end_matches('.')).map(|wait| (wait, rest))
        })?;
        let unit = rest.trim_start();
        let scale = if unit.starts_with("minute") {
            60.0
        } else if unit.starts_with("hour") {
            3600.0
        } else {
            1.0
        };
        Some(wait * scale)
    })
}

/// The duration that a text starts with, such as `2m59.56s` or `12ms`, in
/// seconds, and what follows it.
fn spelled(text: &str) -> Option<(f64, &str)> {
    let mut rest = text;
    let mut total = 0.0;
    let mut found = false;
    while rest.starts_with(|c: char| c.is_ascii_digit()) {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(end);
        let units = [("ms", 0.001), ("µs", 1e-6), ("us", 1e-6), ("ns", 1e-9), ("d", 86400.0), ("h", 3600.0), ("m", 60.0), ("s", 1.0)];
        let (unit, scale) = units.iter().find(|(unit, _)| after.starts_with(unit))?;
        let behind = after.get(unit.len()..)?;
        // "5 seconds" has its unit behind a space; "5min" and "5mb" are no durations.
        if behind.starts_with(|c: char| c.is_alphabetic()) {
            return None;
        }
        total += seconds(number)? * scale;
        found = true;
        rest = behind;
    }
    found.then_some((total, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn with_header(name: &'static str, value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().ok()?);
        retry_hint(&headers, &ErrorText::default(), now()).map(|hint| hint.wait)
    }

    fn with_body(body: &str) -> Option<Duration> {
        retry_hint(&HeaderMap::new(), &ErrorText::read(body.as_bytes()), now()).map(|hint| hint.wait)
    }

    #[test]
    fn d145_header_forms() {
        let millis = |ms| Some(Duration::from_millis(ms));
        for (name, value, wanted) in [
            ("retry-after", "30", millis(30_000)),
            ("retry-after", "1.5", millis(1_500)),
            ("retry-after", "Fri, 15 Jan 2027 08:00:10 GMT", millis(10_000)),
            ("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT", millis(0)),
            ("retry-after-ms", "250.5", millis(250).map(|wait| wait + Duration::from_micros(500))),
            ("x-ms-retry-after-ms", "900", millis(900)),
            ("x-ratelimit-reset-requests", "12ms", millis(12)),
            ("x-ratelimit-reset-tokens", "6m0s", millis(360_000)),
            ("x-ratelimit-reset-tokens", "2m59.56s", millis(179_560)),
            ("x-ratelimit-reset-tokens", "-1", None),
            ("x-ratelimit-reset-tokens", "0", None),
            ("x-ratelimit-reset-after", "7", millis(7_000)),
            ("x-ratelimit-reset", "1800000042", millis(42_000)),
            ("x-ratelimit-reset", "1800000042000", millis(42_000)),
            ("anthropic-ratelimit-requests-reset", "2027-01-15T08:00:05Z", millis(5_000)),
            ("retry-after", "86400000", Some(Hint::LONGEST_QUOTA)),
            ("retry-after", "1e308", Some(Hint::LONGEST_QUOTA)),
            ("retry-after", "99999999999999999999", Some(Hint::LONGEST_QUOTA)),
            ("retry-after", "-1", None),
            ("retry-after", "NaN", None),
            ("retry-after", "inf", None),
            ("retry-after", "soon", None),
            ("retry-after", "", None),
        ] {
            assert_eq!(with_header(name, value), wanted, "{name}: {value}");
        }
    }

    #[test]
    fn body_forms() {
        for (body, wanted) in [
            (r#"{"error":{"message":"Please try again in 5.289s. Visit"}}"#, 5_289),
            (r#"{"error":{"message":"Please retry in 38.922534355s."}}"#, 38_922),
            (r#"{"error":{"message":"Your quota will reset after 2h10m5s."}}"#, 7_805_000),
            (r#"{"error":{"message":"please try again in 20 seconds"}}"#, 20_000),
            (r#"{"error":{"message":"please retry after 3 minutes"}}"#, 180_000),
            (
                r#"{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"45.837906927s"}]}}"#,
                45_837,
            ),
        ] {
            assert_eq!(with_body(body).map(|wait| wait.as_millis()), Some(wanted), "{body}");
        }
        assert_eq!(with_body(r#"{"error":{"message":"no hint in 5 places"}}"#), None);
    }

    #[test]
    fn d143_an_hour_is_the_most_and_a_day_for_a_day_quota() {
        let hint = |day_quota| Hint { wait: Hint::LONGEST_QUOTA, day_quota };
        assert_eq!(hint(false).cooldown(), Hint::LONGEST);
        assert_eq!(hint(true).cooldown(), Hint::LONGEST_QUOTA);
        assert_eq!(Hint { wait: Duration::ZERO, day_quota: false }.cooldown(), Duration::from_secs(1));
    }

    proptest::proptest! {
        #[test]
        fn d269_any_text_gives_a_bounded_hint(header in "[ -~]{0,30}", body in "(try again in |retry in )[0-9.smh]{0,25}") {
            let wait = with_header("retry-after", &header).or(with_header("x-ratelimit-reset", &header)).or(with_body(&body));
            proptest::prop_assert!(wait.unwrap_or_default() <= Hint::LONGEST_QUOTA);
        }
    }
}
