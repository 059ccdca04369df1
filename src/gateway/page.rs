//! `GET /dashboard`: one page and its files, inside the binary. It asks no
//! other host for anything, and its policy forbids it.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Response, StatusCode};

use super::body::Out;
use super::error::json_response;

/// Scripts and styles from this address alone, nothing inline, and no page may frame this one.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file at a path; `None` when it is none of the page's.
pub(super) fn file(path: &str) -> Option<Response<Out>> {
    let script = "text/javascript; charset=utf-8";
    let (kind, text) = match path {
        "/dashboard" | "/dashboard/" => ("text/html; charset=utf-8", include_str!("page/index.html")),
        "/dashboard/page.css" => ("text/css; charset=utf-8", include_str!("page/page.css")),
        "/dashboard/theme.js" => (script, include_str!("page/theme.js")),
        "/dashboard/page.js" => (script, include_str!("page/page.js")),
        "/dashboard/api.js" => (script, include_str!("page/api.js")),
        "/dashboard/dom.js" => (script, include_str!("page/dom.js")),
        "/dashboard/health.js" => (script, include_str!("page/health.js")),
        "/dashboard/log.js" => (script, include_str!("page/log.js")),
        "/dashboard/try.js" => (script, include_str!("page/try.js")),
        "/dashboard/icon.svg" => ("image/svg+xml", include_str!("page/icon.svg")),
        _ => return None,
    };
    let mut response = json_response(StatusCode::OK, Bytes::from_static(text.as_bytes()));
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        // A new version of routor brings a new page.
        (CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}
