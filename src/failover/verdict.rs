//! From a class to what follows: for this request, and for the requests after it.

use std::time::Duration;

use super::class::Class;
use super::retry_hint::Hint;

/// What to do with the request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Hand the answer to the caller.
    Deliver,
    /// Hand the provider's refusal to the caller as it is: nobody else would answer otherwise.
    Refuse,
    /// Go on with the next candidate.
    TryNext,
    /// Go on with the next candidate that has a larger window.
    TryLarger,
    /// The caller is gone: do nothing more.
    Stop,
}

/// Decides for the attempt's class. `first` is whether it was made at the
/// chain's first candidate: a later one that refuses a request may simply
/// know less than the first.
pub fn judge(class: Class, first: bool) -> Verdict {
    match class {
        Class::Ok => Verdict::Deliver,
        Class::Network
        | Class::Timeout
        | Class::ServerError
        | Class::Overloaded
        | Class::RateLimited
        | Class::NoCredit
        | Class::Auth
        | Class::Forbidden
        | Class::ModelGone
        | Class::Garbled
        | Class::Truncated => Verdict::TryNext,
        Class::ContextWindow => Verdict::TryLarger,
        Class::ContentFilter => Verdict::Refuse,
        Class::BadRequest if first => Verdict::Refuse,
        Class::BadRequest => Verdict::TryNext,
        Class::ClientClosed => Verdict::Stop,
    }
}

/// What the attempt means for later requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Aftermath {
    /// Whether it counts in the provider's health, and as what.
    pub health: Option<bool>,
    /// Whether it counts against the model in its breaker.
    pub blame_model: bool,
    /// The model is left alone for so long.
    pub cool_model: Option<Duration>,
    /// The model is not there: it is not tried even when nothing else is left.
    pub gone: bool,
    /// The whole provider is left alone for so long.
    pub cool_provider: Option<Duration>,
    /// The provider is out until its key is looked at again.
    pub out: bool,
}

/// How long a rate limit without a hint lasts.
const RATE_LIMIT: Duration = Duration::from_secs(30);
/// How long a model that is gone or forbidden is left alone.
const GONE: Duration = Duration::from_secs(600);
/// How long a provider without credit is left alone.
const NO_CREDIT: Duration = Duration::from_secs(3600);

/// What follows from a class, with the provider's hint if it gave one.
pub fn aftermath(class: Class, hint: Option<Hint>) -> Aftermath {
    let nothing = Aftermath::default();
    match class {
        Class::Ok => Aftermath { health: Some(true), ..nothing },
        Class::Network | Class::Timeout | Class::ServerError | Class::Overloaded | Class::Garbled | Class::Truncated => {
            Aftermath { health: Some(false), blame_model: true, ..nothing }
        }
        Class::RateLimited => Aftermath { cool_model: Some(hint.map_or(RATE_LIMIT, Hint::cooldown)), ..nothing },
        Class::NoCredit => Aftermath { cool_provider: Some(hint.map_or(NO_CREDIT, Hint::cooldown)), ..nothing },
        Class::Auth => Aftermath { out: true, ..nothing },
        Class::ModelGone => Aftermath { cool_model: Some(GONE), gone: true, ..nothing },
        Class::Forbidden => Aftermath { cool_model: Some(GONE), ..nothing },
        Class::ContextWindow | Class::ContentFilter | Class::BadRequest | Class::ClientClosed => nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Class; 16] = [
        Class::Ok,
        Class::Network,
        Class::Timeout,
        Class::ServerError,
        Class::Overloaded,
        Class::RateLimited,
        Class::NoCredit,
        Class::Auth,
        Class::Forbidden,
        Class::ModelGone,
        Class::ContextWindow,
        Class::Garbled,
        Class::Truncated,
        Class::ContentFilter,
        Class::BadRequest,
        Class::ClientClosed,
    ];

    #[test]
    fn only_the_callers_own_mistakes_end_the_chain() {
        for class in ALL {
            let ends = matches!(judge(class, true), Verdict::Refuse | Verdict::Stop);
            assert_eq!(ends, matches!(class, Class::ContentFilter | Class::BadRequest | Class::ClientClosed), "{class}");
        }
        assert_eq!(judge(Class::BadRequest, false), Verdict::TryNext);
        assert_eq!(judge(Class::ContentFilter, false), Verdict::Refuse);
    }

    #[test]
    fn d156_nobody_is_blamed_for_the_caller_or_for_load() {
        for class in
            [Class::RateLimited, Class::NoCredit, Class::ContextWindow, Class::ContentFilter, Class::BadRequest, Class::ClientClosed]
        {
            assert_eq!(aftermath(class, None).health, None, "{class}");
            assert!(!aftermath(class, None).blame_model, "{class}");
        }
    }

    #[test]
    fn d143_hints_set_the_cooldown() {
        let hint = |secs, day_quota| Some(Hint { wait: Duration::from_secs(secs), day_quota });
        assert_eq!(aftermath(Class::RateLimited, None).cool_model, Some(RATE_LIMIT));
        assert_eq!(aftermath(Class::RateLimited, hint(7, false)).cool_model, Some(Duration::from_secs(7)));
        assert_eq!(aftermath(Class::RateLimited, hint(86_400, false)).cool_model, Some(Hint::LONGEST));
        assert_eq!(aftermath(Class::NoCredit, None).cool_provider, Some(NO_CREDIT));
        assert_eq!(aftermath(Class::NoCredit, hint(50_000, true)).cool_provider, Some(Duration::from_secs(50_000)));
    }
}
