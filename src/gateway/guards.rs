//! Who may call, decided from the head alone, before anything is read: a web
//! page must not be able to spend the user's money, nor a name that somebody
//! else points at this machine.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN,
};
use http::{Method, StatusCode};
use subtle::ConstantTimeEq;

use super::connection::Clocks;
use super::error::ApiError;
use crate::config::{Key, Server};
use crate::upstream::HOPS;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a guard needs to know of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit<'a> {
    pub method: &'a Method,
    pub path: &'a str,
    pub headers: &'a HeaderMap,
    /// The address that the connection came in on.
    pub local: IpAddr,
    /// The connection's clocks.
    pub clocks: &'a Arc<Clocks>,
}

/// The browser origin to answer with CORS headers, when one of the allowed
/// origins calls; an error when the caller may not call.
pub(super) fn admit<'a>(visit: Visit<'a>, server: &Server) -> Result<Option<&'a str>, ApiError> {
    let host = check_host(visit, server)?;
    let origin = check_origin(visit, server, host)?;
    Ok(origin)
}

/// The Host header's text, when its name is one of ours.
fn check_host<'a>(visit: Visit<'a>, server: &Server) -> Result<&'a str, ApiError> {
    let mut values = visit.headers.get_all(HOST).iter();
    let text = match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(text)), None) if !text.is_empty() => text,
        _ => return Err(ApiError::forbidden("the request needs exactly one Host header, such as 127.0.0.1")),
    };
    let name = host_name(text);
    let known = name.is_some_and(|name| {
        let address = || name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let listens = |address: IpAddr| {
            address == visit.local || server.listen.required.iter().any(|listen| listen.ip() == address && !address.is_unspecified())
        };
        ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| own.eq_ignore_ascii_case(name))
            || address().is_some_and(listens)
            || server.allow_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
    });
    if known {
        return Ok(text);
    }
    let shown: String = name.unwrap_or(text).chars().filter(|c| c.is_ascii_graphic() && *c != '"').take(100).collect();
    Err(ApiError::forbidden(format!(
        "routor does not answer to the host name {shown}; if it is yours, add it to the configuration:\n[server]\nallow_hosts = [\"{shown}\"]"
    )))
}

/// The name in a Host header, without its port.
fn host_name(text: &str) -> Option<&str> {
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.find(']')) {
        Some(end) => text.split_at(end + 2),
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    (port_fits && !name.is_empty() && !name.contains(['@', '/', ' '])).then_some(name)
}

fn check_origin<'a>(visit: Visit<'a>, server: &Server, host: &str) -> Result<Option<&'a str>, ApiError> {
    let site = visit.headers.get(SEC_FETCH_SITE).map(|value| value.as_bytes());
    let foreign_site = site.is_some_and(|site| !matches!(site, b"same-origin" | b"none"));
    let Some(origin) = visit.headers.get(ORIGIN) else {
        return if foreign_site && !is_page_visit(visit) { Err(cross_origin("another web site")) } else { Ok(None) };
    };
    let origin = origin.to_str().map_err(|_| cross_origin("another web site"))?;
    if server.allow_origins.iter().any(|allowed| allowed == origin) {
        return Ok(Some(origin));
    }
    let own = origin.strip_prefix("http://").is_some_and(|origin| origin.eq_ignore_ascii_case(host));
    if own && !foreign_site {
        return Ok(None);
    }
    Err(cross_origin(origin))
}

/// Somebody follows a link to the dashboard: the page itself, read by nobody else.
fn is_page_visit(visit: Visit<'_>) -> bool {
    let is = |name: &str, value: &[u8]| visit.headers.get(name).is_some_and(|own| own.as_bytes() == value);
    visit.method == Method::GET && visit.path == "/dashboard" && is("sec-fetch-mode", b"navigate") && is("sec-fetch-dest", b"document")
}

fn cross_origin(origin: &str) -> ApiError {
    let shown: String = origin.chars().filter(|c| c.is_ascii_graphic() && *c != '"').take(100).collect();
    ApiError::forbidden(format!(
        "a page of {shown} may not call routor; if it is yours, add its origin to the configuration:\n[server]\nallow_origins = [\"{shown}\"]"
    ))
}

/// Whether this is a browser asking if it may call.
pub(super) fn is_preflight(visit: Visit<'_>) -> bool {
    visit.method == Method::OPTIONS && visit.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Checks the bearer token, if one is needed. Takes as long for a token that
/// is nearly right as for one that is not.
pub(super) fn check_key(headers: &HeaderMap, server: &Server) -> Result<(), ApiError> {
    let Some(key) = &server.client_key else { return Ok(()) };
    let given = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let token = given.and_then(|value| {
        let (scheme, token) = value.split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(token.trim_ascii())
    });
    if token.is_some_and(|token| same(token, key)) {
        return Ok(());
    }
    let message = format!("this routor needs a key: send \"Authorization: Bearer …\" with the value of {}", server.client_key_env);
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message))
}

fn same(token: &[u8], key: &Key) -> bool {
    token.ct_eq(key.expose().as_bytes()).into()
}

/// A request that has been through more routors than this goes round in a circle.
const MOST_HOPS: usize = 4;

/// The value of [`HOPS`] for the providers of a request; an error when the
/// request has been here before.
pub(super) fn hops(headers: &HeaderMap, own: &HeaderValue) -> Result<HeaderValue, ApiError> {
    let Some(before) = headers.get(HOPS) else { return Ok(own.clone()) };
    let ids = || before.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    if ids().any(|id| id == own.as_bytes()) || ids().count() >= MOST_HOPS {
        let message = "this request has been here before: a provider's base_url leads back to this routor";
        tracing::warn!("{message}");
        return Err(ApiError::new(StatusCode::BAD_GATEWAY, "loop_detected", message));
    }
    let joined = [before.as_bytes(), b",", own.as_bytes()].concat();
    HeaderValue::from_bytes(&joined)
        .map_err(|_| ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", "x-routor-hop is malformed"))
}

/// A body must be plain JSON: what a web form can send without asking is not.
pub(super) fn check_content(headers: &HeaderMap) -> Result<(), ApiError> {
    let unsupported = |message: &str| Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(b"application/json") {
        return unsupported("the body must be sent as JSON; with curl add: -H 'Content-Type: application/json'");
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return unsupported("the body must be sent without Content-Encoding");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Surroundings, load};

    fn server(text: &str) -> Server {
        let around = Surroundings {
            env: &|name| (name == "ROUTOR_API_KEY").then(|| "client-key".to_owned()),
            key_file: &|_| Err(String::new()),
            catalog: crate::catalog::builtin(),
        };
        load(Some((std::path::Path::new("t"), text)), None, &around).unwrap().server
    }

    fn try_with(headers: &[(&'static str, &str)], method: Method, path: &str) -> bool {
        let server = server(
            "[server]\nallow_hosts = [\"host.docker.internal\"]\nallow_origins = [\"https://app.example\"]\nlisten = \"192.168.7.7:4117\"\n",
        );
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let visit = Visit {
            method: &method,
            path,
            headers: &map,
            local: "127.0.0.1".parse().unwrap(),
            clocks: &Clocks::new(std::task::Waker::noop()),
        };
        admit(visit, &server).is_ok()
    }

    #[test]
    fn the_host_name_decides() {
        for (host, passes) in [
            ("127.0.0.1:4117", true),
            ("127.0.0.1", true),
            ("localhost:1", true),
            ("LOCALHOST", true),
            ("[::1]:4117", true),
            ("[::1]", true),
            ("192.168.7.7:4117", true),
            ("Host.Docker.Internal:4117", true),
            ("evil.com:4117", false),
            ("127.0.0.1.evil.com", false),
            ("localhost.", false),
            ("127.1", false),
            ("0.0.0.0:4117", false),
            ("[::ffff:127.0.0.1]:4117", false),
            ("user@127.0.0.1", false),
            ("127.0.0.1:x", false),
            ("[::1", false),
            ("", false),
        ] {
            assert_eq!(try_with(&[("host", host)], Method::POST, "/"), passes, "{host}");
        }
        assert!(!try_with(&[], Method::POST, "/"));
        assert!(!try_with(&[("host", "localhost"), ("host", "localhost")], Method::POST, "/"));
    }

    #[test]
    fn other_origins_are_turned_away() {
        let with = |more: &[(&'static str, &str)], method, path| {
            let mut headers = vec![("host", "127.0.0.1:4117")];
            headers.extend_from_slice(more);
            try_with(&headers, method, path)
        };
        for (headers, passes) in [
            (&[][..], true),
            (&[("origin", "http://127.0.0.1:4117")], true),
            (&[("origin", "http://127.0.0.1:9999")], false),
            (&[("origin", "https://127.0.0.1:4117")], false),
            (&[("origin", "https://evil.com")], false),
            (&[("origin", "null")], false),
            (&[("origin", "file://")], false),
            (&[("origin", "chrome-extension://x")], false),
            (&[("origin", "http://localhost:3000")], false),
            (&[("origin", "https://app.example")], true),
            (&[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
        ] {
            assert_eq!(with(headers, Method::POST, "/v1/chat/completions"), passes, "{headers:?}");
        }
        let link = &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")][..];
        assert!(with(link, Method::GET, "/dashboard"));
        assert!(!with(link, Method::GET, "/v1/models"));
        assert!(!with(link, Method::POST, "/dashboard"));
    }

    #[test]
    fn only_the_right_token_opens() {
        let server = server("");
        for (value, passes) in [
            (Some("Bearer client-key"), true),
            (Some("bearer client-key"), true),
            (Some("Bearer client-kex"), false),
            (Some("Bearer client-key2"), false),
            (Some("Bearer "), false),
            (Some("client-key"), false),
            (None, false),
        ] {
            let mut headers = HeaderMap::new();
            value.map(|value| headers.insert(AUTHORIZATION, value.parse().unwrap()));
            assert_eq!(check_key(&headers, &server).is_ok(), passes, "{value:?}");
        }
    }

    #[test]
    fn a_request_goes_through_each_routor_once() {
        let own = HeaderValue::from_static("me");
        for (before, expected) in [
            (None, Some("me")),
            (Some("a"), Some("a,me")),
            (Some("a, b,c"), Some("a, b,c,me")),
            (Some("me"), None),
            (Some("a, me"), None),
            (Some("a,b,c,d"), None),
        ] {
            let mut headers = HeaderMap::new();
            before.map(|before| headers.insert(HOPS, HeaderValue::from_static(before)));
            assert_eq!(hops(&headers, &own).ok(), expected.map(HeaderValue::from_static), "{before:?}");
        }
    }

    #[test]
    fn only_json_is_taken() {
        for (kind, passes) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("application/jsonx", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            assert_eq!(check_content(&headers).is_ok(), passes, "{kind}");
        }
        assert!(check_content(&HeaderMap::new()).is_err());
    }
}
