//! What an attempt came to, in one word.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The outcome of an attempt. The names are stable: scripts read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The answer was delivered.
    Ok,
    /// Refused, reset, name not found, TLS.
    Network,
    /// One of the clocks ran out.
    Timeout,
    /// A 5xx that says nothing more exact.
    ServerError,
    /// The provider says it has too much to do.
    Overloaded,
    /// Too many requests for now.
    RateLimited,
    /// Money or quota is used up.
    NoCredit,
    /// The key is not accepted.
    Auth,
    /// Not allowed, for a reason that is not the key. Shown as `auth`.
    #[serde(rename = "auth", skip_deserializing)]
    Forbidden,
    /// The model is not there.
    ModelGone,
    /// The prompt is too long for the model.
    ContextWindow,
    /// A good status with something that is no answer.
    Garbled,
    /// The answer ended before its end.
    Truncated,
    /// The provider refuses the content.
    ContentFilter,
    /// The caller's mistake.
    BadRequest,
    /// The caller left.
    ClientClosed,
}

impl Class {
    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Class::Ok => "ok",
            Class::Network => "network",
            Class::Timeout => "timeout",
            Class::ServerError => "server_error",
            Class::Overloaded => "overloaded",
            Class::RateLimited => "rate_limited",
            Class::NoCredit => "no_credit",
            Class::Auth | Class::Forbidden => "auth",
            Class::ModelGone => "model_gone",
            Class::ContextWindow => "context_window",
            Class::Garbled => "garbled",
            Class::Truncated => "truncated",
            Class::ContentFilter => "content_filter",
            Class::BadRequest => "bad_request",
            Class::ClientClosed => "client_closed",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
