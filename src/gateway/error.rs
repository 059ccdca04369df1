//! The errors that routor itself makes, in OpenAI's shape.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use super::body::Out;
use crate::journal::Attempt;
use crate::routing::Refusal;
use crate::wire::Fault;

/// The documented body of a chain of which every model failed.
pub const ALL_FAILED: &str = r#"{"error":{"message":"All providers in the fallback chain failed. Please try again.","type":"provider_error","code":"all_models_failed"}}"#;

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The status.
    pub status: StatusCode,
    /// The stable code.
    pub code: &'static str,
    /// What is wrong and what to do, for a reader.
    pub message: String,
    /// The request field it is about.
    pub param: Option<&'static str>,
    /// The method that would be right, for a 405.
    pub allow: Option<&'static str>,
}

impl ApiError {
    /// An error with a stable code.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), param: None, allow: None }
    }

    /// The caller may not do this from where it is.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    /// There is nothing at this address.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// As JSON, OpenAI's shape.
    pub fn body(&self) -> String {
        let kind = if self.status.is_server_error() { "server_error" } else { "invalid_request_error" };
        json!({"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}).to_string()
    }

    /// The response. SDKs are told not to try again, except when routor has
    /// too much to do: it has tried already.
    pub fn into_response(self) -> Response<Out> {
        let mut response = json_response(self.status, self.body());
        if let Some(allow) = self.allow {
            response.headers_mut().insert(http::header::ALLOW, HeaderValue::from_static(allow));
        }
        let (name, value) = if self.code == "overloaded" { ("retry-after", "1") } else { ("x-should-retry", "false") };
        response.headers_mut().insert(name, HeaderValue::from_static(value));
        response
    }
}

impl From<Fault> for ApiError {
    fn from(fault: Fault) -> Self {
        Self { param: fault.param, ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", fault.message) }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownModel { name, near } => {
                let hint = if near.is_empty() {
                    "GET /v1/models lists what there is".to_owned()
                } else {
                    format!("did you mean {}?", near.join(", "))
                };
                let name = crate::redact::printable(&name, 200);
                let message = format!("there is no model `{name}`; {hint}");
                Self { param: Some("model"), ..Self::new(StatusCode::NOT_FOUND, "model_not_found", message) }
            }
            Refusal::NoCapableModel(why) => Self::new(
                StatusCode::BAD_REQUEST,
                "no_capable_model",
                format!("no model in the pool can take this request: of each one that was left, {}", why.text()),
            ),
            Refusal::NotInPool(name) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no_providers",
                format!("none of the models of `{}` is in the pool; `routor check` says why", crate::redact::printable(&name, 200)),
            ),
            Refusal::EmptyPool => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "no_providers", "no provider is in the pool; `routor check` says why")
            }
        }
    }
}

/// The 502: exactly the documented body, with the attempts only in debug mode.
pub(super) fn all_failed(attempts: Option<&[Attempt]>, retry_after: Option<u64>) -> Response<Out> {
    let body = match attempts {
        None => Bytes::from_static(ALL_FAILED.as_bytes()),
        Some(attempts) => {
            let one = |attempt: &Attempt| json!({"provider": attempt.provider, "model": attempt.model, "class": attempt.class, "status": attempt.status, "ms": attempt.ms});
            let list: Vec<_> = attempts.iter().map(one).collect();
            let open = ALL_FAILED.strip_suffix("}}").unwrap_or(ALL_FAILED);
            format!("{open},\"attempts\":{}}}}}", serde_json::Value::from(list)).into()
        }
    };
    let mut response = json_response(StatusCode::BAD_GATEWAY, body);
    response.headers_mut().insert("x-should-retry", HeaderValue::from_static("false"));
    if let Some(seconds) = retry_after {
        response.headers_mut().insert("retry-after", HeaderValue::from(seconds));
    }
    response
}

/// What a caller gets when routor itself fails; the others do not notice.
pub(super) fn internal() -> ApiError {
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "routor failed at this request; please report it, with what its log says",
    )
}

/// A JSON response.
pub fn json_response(status: StatusCode, body: impl Into<Bytes>) -> Response<Out> {
    let mut response = Response::new(Out::full(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_openais() {
        let error = ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", "x");
        let value: serde_json::Value = serde_json::from_str(&error.body()).unwrap();
        assert_eq!(value["error"]["param"], serde_json::Value::Null);
        assert_eq!(value["error"]["type"], "invalid_request_error");
    }
}
