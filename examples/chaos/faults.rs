//! The faults: what the broken provider does with a request, all of it before
//! the first word of an answer.

/// One way to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None: the healthy provider is asked directly.
    None,
    Refused,
    Closes,
    Resets,
    Status500,
    Overloaded,
    OverloadedAndClosed,
    RateLimited,
    ModelGone,
    TooLong,
    WebPage,
    Empty,
    ErrorInside,
    CutShort,
    ErrorEvent,
    RoleThenCut,
    DoneAtOnce,
    Silent,
    /// Down for good, with the breaker on.
    Down,
}

impl Fault {
    /// All that hit every time.
    pub const ALL: [Fault; 18] = [
        Fault::None,
        Fault::Refused,
        Fault::Closes,
        Fault::Resets,
        Fault::Status500,
        Fault::Overloaded,
        Fault::OverloadedAndClosed,
        Fault::RateLimited,
        Fault::ModelGone,
        Fault::TooLong,
        Fault::WebPage,
        Fault::Empty,
        Fault::ErrorInside,
        Fault::CutShort,
        Fault::ErrorEvent,
        Fault::RoleThenCut,
        Fault::DoneAtOnce,
        Fault::Silent,
    ];

    /// What the table calls it.
    pub fn title(self) -> &'static str {
        match self {
            Fault::None => "is healthy (the measure)",
            Fault::Refused => "refuses the connection",
            Fault::Closes => "closes without a byte",
            Fault::Resets => "resets the connection",
            Fault::Status500 => "answers 500",
            Fault::Overloaded => "answers 503",
            Fault::OverloadedAndClosed => "answers 503 and closes",
            Fault::RateLimited => "answers 429",
            Fault::ModelGone => "answers 404, the model is gone",
            Fault::TooLong => "answers 400, the prompt is too long",
            Fault::WebPage => "answers 200 with a web page",
            Fault::Empty => "answers 200 with nothing",
            Fault::ErrorInside => "answers 200 with an error inside",
            Fault::CutShort => "answers 200 and half of the body",
            Fault::ErrorEvent => "streams an error first",
            Fault::RoleThenCut => "streams a role and breaks off",
            Fault::DoneAtOnce => "streams nothing but the end",
            Fault::Silent => "says nothing (limit 250 ms)",
            Fault::Down => "is down, breaker open",
        }
    }

    /// Streams break in ways of their own.
    pub fn needs_stream(self) -> Option<bool> {
        match self {
            Fault::ErrorEvent | Fault::RoleThenCut | Fault::DoneAtOnce => Some(true),
            Fault::CutShort | Fault::ErrorInside | Fault::Empty => Some(false),
            _ => None,
        }
    }

    /// How often it comes up, next to the others. A silent provider costs its
    /// whole limit, so it comes up less.
    pub fn weight(self) -> usize {
        if self == Fault::Silent { 1 } else { 20 }
    }

    /// What the broken provider writes, and whether it then closes; none when it says nothing.
    pub fn bytes(self) -> Option<(String, bool)> {
        let whole = |status: &str, kind: &str, more: &str, body: &str| {
            format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{more}content-length: {}\r\n\r\n{body}", body.len())
        };
        let error = |status: &str, more: &str, code: &str, message: &str| {
            let body = format!(r#"{{"error":{{"message":"{message}","type":"server_error","param":null,"code":"{code}"}}}}"#);
            whole(status, "application/json", more, &body)
        };
        let stream = |body: &str, ends: bool| {
            let end = if ends { "0\r\n\r\n" } else { "" };
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n{end}",
                body.len()
            )
        };
        let role = "data: {\"id\":\"a\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
        let busy = "the model is overloaded";
        Some(match self {
            Fault::None | Fault::Refused | Fault::Silent | Fault::Resets => return None,
            Fault::Closes => (String::new(), true),
            Fault::Status500 => (error("500 Internal Server Error", "", "internal_error", "it broke"), false),
            Fault::Overloaded | Fault::Down => (error("503 Service Unavailable", "", "overloaded", busy), false),
            Fault::OverloadedAndClosed => (error("503 Service Unavailable", "connection: close\r\n", "overloaded", busy), true),
            Fault::RateLimited => {
                (error("429 Too Many Requests", "retry-after: 20\r\n", "rate_limit_exceeded", "too many requests"), false)
            }
            Fault::ModelGone => (error("404 Not Found", "", "model_not_found", "the model does not exist"), false),
            Fault::TooLong => (error("400 Bad Request", "", "context_length_exceeded", "maximum context length is 8 tokens"), false),
            Fault::WebPage => (whole("200 OK", "text/html", "", "<!doctype html><title>Sign in to the network</title>"), false),
            Fault::Empty => (whole("200 OK", "application/json", "", ""), false),
            Fault::ErrorInside => (error("200 OK", "", "server_error", "upstream failed"), false),
            Fault::CutShort => {
                ("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"id\":\"a\",\"choi".to_owned(), true)
            }
            Fault::ErrorEvent => {
                (stream("data: {\"error\":{\"message\":\"overloaded\",\"type\":\"overloaded_error\",\"code\":529}}\n\n", true), false)
            }
            Fault::RoleThenCut => (stream(role, false), true),
            Fault::DoneAtOnce => (stream("data: [DONE]\n\n", true), false),
        })
    }
}
