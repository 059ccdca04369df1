//! What the dashboard reads: `/api/providers` and `/api/requests`, and
//! `/metrics` for Prometheus.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use super::body::Out;
use super::error::{ApiError, json_response};
use super::server::Gateway;
use crate::engine::{Fleet, ProviderState};
use crate::failover::{Class, View, millis_left};
use crate::health::{Point, Status};
use crate::journal::{Found, Outcome, Query, Record, Store, millis};
use crate::metrics::{ModelGauge, Now};
use crate::upstream::{Checked, Standing};

/// Records on a page when nothing else is asked for, and the most there can be.
const LIMIT: u32 = 50;
const MOST: u32 = 500;

/// One provider, as `GET /api/providers` tells it. Names are stable.
#[derive(Debug, Serialize)]
struct ProviderView {
    provider: String,
    in_pool: bool,
    validation: &'static str,
    /// What to know of that, and what would bring it back.
    detail: String,
    base_url: String,
    status: Status,
    /// Why it is not healthy, in a few words.
    why: Option<String>,
    attempts: u32,
    error_rate: Option<f64>,
    p50_ms: Option<u64>,
    p95_ms: Option<u64>,
    last_checked: Option<String>,
    /// The last five minutes in steps of ten seconds, oldest first.
    series: Vec<PointView>,
    models: Vec<ModelView>,
}

#[derive(Debug, Serialize)]
struct PointView {
    ok: u32,
    failed: u32,
    p50_ms: Option<u64>,
}

#[derive(Debug, Serialize)]
struct ModelView {
    model: String,
    state: &'static str,
    cooling_ms: u64,
}

/// `GET /api/providers`: every configured provider, with its last five minutes.
pub(super) fn providers(gateway: &Gateway, fleet: &Fleet) -> Response<Out> {
    let (now, uptime) = (Instant::now(), gateway.engine.uptime());
    let views: Vec<ProviderView> = (0..fleet.settings.providers.len()).filter_map(|place| view(fleet, place, now, uptime)).collect();
    json_response(StatusCode::OK, serde_json::to_string(&views).unwrap_or_default())
}

/// `None` for a local server that nobody named and that is not there.
fn view(fleet: &Fleet, place: usize, now: Instant, uptime: Duration) -> Option<ProviderView> {
    let (provider, state) = fleet.provider(place)?;
    let checked = state.checked();
    let standing = checked.as_ref().map(|(checked, _)| checked.standing);
    if provider.optional && standing.is_none_or(|standing| !standing.in_pool()) {
        return None;
    }
    let figures = state.figures(uptime);
    let in_pool = standing.is_some_and(Standing::in_pool) && !state.is_out();
    let status = if in_pool { figures.status } else { Status::Down };
    let some = |quantile: fn((Duration, Duration)) -> Duration| figures.quantiles.map(|both| millis(quantile(both)));
    Some(ProviderView {
        provider: provider.name.clone(),
        in_pool,
        validation: standing.map_or("unverified", Standing::name),
        why: why(state, checked.as_ref().map(|(checked, _)| checked), status, figures.error_rate(), some(|both| both.1), now),
        detail: checked.as_ref().map(|(checked, _)| crate::redact::printable(&checked.detail, 300)).unwrap_or_default(),
        base_url: provider.endpoint.as_str().to_owned(),
        status,
        attempts: figures.attempts,
        error_rate: (figures.attempts > 0).then(|| figures.error_rate()),
        p50_ms: some(|both| both.0),
        p95_ms: some(|both| both.1),
        last_checked: checked.map(|(_, at)| at),
        series: state.series(uptime).into_iter().map(point).collect(),
        models: models(fleet, place, now),
    })
}

fn point(point: Point) -> PointView {
    PointView { ok: point.succeeded, failed: point.failed, p50_ms: point.median.map(millis) }
}

/// A model cools on its own or with its provider; the longer of both counts.
fn models(fleet: &Fleet, place: usize, now: Instant) -> Vec<ModelView> {
    let Some((_, provider)) = fleet.provider(place) else { return Vec::new() };
    let own = |(candidate, model): (&crate::routing::Candidate, Arc<crate::engine::ModelState>)| {
        let (state, left) = match model.view(now).max_with(provider.view(now)) {
            View::Ready => ("ready", Duration::ZERO),
            View::Cooling(left) => ("cooling", left),
            View::Probing => ("probing", Duration::ZERO),
        };
        ModelView { model: candidate.facts.id.to_string(), state, cooling_ms: millis_left(left) }
    };
    fleet.models_of(place).map(own).collect()
}

fn why(
    state: &ProviderState,
    checked: Option<&Checked>,
    status: Status,
    error_rate: f64,
    p95: Option<u64>,
    now: Instant,
) -> Option<String> {
    let standing = checked.map(|checked| checked.standing);
    match standing {
        _ if state.is_out() => return Some("its key was refused and is being checked".to_owned()),
        Some(Standing::Rejected) => return Some("the key is rejected".to_owned()),
        Some(Standing::Unreachable) => return Some("it cannot be reached".to_owned()),
        Some(Standing::NoKey) => return Some("it has no key".to_owned()),
        Some(Standing::NoCredit) if state.view(now) != View::Ready => return Some("no credit".to_owned()),
        _ if state.cooled_for(now) == Some(Class::NoCredit) => return Some("no credit".to_owned()),
        _ => {}
    }
    match status {
        Status::Healthy | Status::NoData => None,
        Status::Degraded if error_rate <= 0.05 => p95.map(|p95| format!("slow: P95 {:.1} s", p95 as f64 / 1000.0)),
        Status::Degraded | Status::Down => Some(format!("{:.0} % of calls failed", error_rate * 100.0)),
    }
}

/// What the query of `/api/requests` and `/api/events` asks for.
pub(super) fn read_query(text: Option<&str>) -> Result<Query, ApiError> {
    let mut query = Query { limit: LIMIT, ..Query::default() };
    for (name, value) in url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
        let wrong = |param: &'static str, allowed: &str| {
            let message = format!("{param} must be {allowed}");
            Err(ApiError { param: Some(param), ..ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", message) })
        };
        match name.as_ref() {
            "limit" => match value.parse() {
                Ok(limit) if limit <= MOST => query.limit = limit,
                _ => return wrong("limit", "a number from 0 to 500"),
            },
            "cursor" => match value.parse() {
                Ok(cursor) => query.before = Some(cursor),
                Err(_) => return wrong("cursor", "what the page before gave as \"next\""),
            },
            "since" => match humantime::parse_duration(&value) {
                Ok(since) => query.since = Some(since),
                Err(_) => return wrong("since", "a time with its unit, such as 15m or 2h"),
            },
            "outcome" => match Outcome::ALL.into_iter().find(|outcome| outcome.name() == value) {
                Some(outcome) => query.outcome = Some(outcome),
                None => return wrong("outcome", "served, fallback, failed, partial, client_closed or rejected"),
            },
            "provider" => query.provider = Some(value.into_owned()),
            "model" => query.model = Some(value.into_owned()),
            "id" => query.id = Some(value.into_owned()),
            _ => {
                let message = "the query takes limit, cursor, since, outcome, provider, model and id";
                return Err(ApiError::new(StatusCode::BAD_REQUEST, "invalid_request_error", message));
            }
        }
    }
    Ok(query)
}

/// `GET /api/requests`: the newest records first, a page at a time.
pub(super) async fn requests(gateway: &Gateway, query: Option<&str>) -> Result<Response<Out>, ApiError> {
    let query = read_query(query)?;
    let limit = query.limit;
    let Some(path) = gateway.engine.journal().path().map(ToOwned::to_owned) else {
        return Ok(page(&Page::default()));
    };
    // Those that have just ended are in the store then.
    gateway.engine.journal().flush().await;
    let read = tokio::task::spawn_blocking(move || Store::read(&path)?.map_or(Ok(Found::default()), |store| store.find(&query)));
    let unreadable = |_| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the request log cannot be read");
    let found = read.await.map_err(|_| ()).map_err(unreadable)?.map_err(|problem| {
        tracing::warn!("{problem}");
        unreadable(())
    })?;
    let whole = found.records.len() + found.unreadable >= limit as usize && limit > 0;
    let next = found.oldest.filter(|_| whole).map(|oldest| oldest.to_string());
    let requests = found.records.iter().rev().map(|stored| &stored.record).collect();
    Ok(page(&Page { requests, next, recorded: true, unreadable: found.unreadable, damaged: found.damaged }))
}

/// A page of records, as `GET /api/requests` gives it.
#[derive(Debug, Default, Serialize)]
struct Page<'a> {
    requests: Vec<&'a Record>,
    /// What to ask for as `cursor` to go on; `None` at the end.
    next: Option<String>,
    /// Whether requests are recorded at all.
    recorded: bool,
    /// How many records of this page could not be read.
    unreadable: usize,
    /// The log is damaged, and what is older than this could not be read.
    damaged: bool,
}

fn page(page: &Page<'_>) -> Response<Out> {
    json_response(StatusCode::OK, serde_json::to_string(page).unwrap_or_default())
}

/// `GET /metrics`.
pub(super) fn metrics(gateway: &Gateway, fleet: &Fleet) -> Response<Out> {
    let time = Instant::now();
    let places = 0..fleet.settings.providers.len();
    let provider = |place| {
        let (provider, state) = fleet.provider(place)?;
        let in_pool = state.checked().is_some_and(|(checked, _)| checked.standing.in_pool()) && !state.is_out();
        (in_pool || !provider.optional).then(|| (provider.name.clone(), in_pool))
    };
    let model = |place| {
        let name = fleet.provider(place).map(|(provider, _)| provider.name.clone()).unwrap_or_default();
        models(fleet, place, time).into_iter().map(move |model| ModelGauge {
            provider: name.clone(),
            state: match model.state {
                "ready" => 0,
                "cooling" => 1,
                _ => 2,
            },
            model: model.model,
        })
    };
    let now = Now {
        providers: places.clone().filter_map(provider).collect(),
        models: places.flat_map(model).collect(),
        log_dropped: gateway.engine.journal().dropped(),
    };
    let mut response = json_response(StatusCode::OK, gateway.shared.metrics.render(&now));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_and_what_is_wrong_is_named() {
        let query = read_query(Some("limit=7&since=15m&outcome=failed&provider=a&model=a%2Fm&cursor=12")).unwrap();
        assert_eq!((query.limit, query.before, query.since), (7, Some(12), Some(Duration::from_secs(900))));
        assert_eq!((query.outcome, query.provider.as_deref(), query.model.as_deref()), (Some(Outcome::Failed), Some("a"), Some("a/m")));
        assert_eq!(read_query(None).unwrap().limit, LIMIT);
        for (text, param) in [
            ("limit=501", Some("limit")),
            ("limit=-1", Some("limit")),
            ("cursor=x", Some("cursor")),
            ("since=soon", Some("since")),
            ("outcome=bad", Some("outcome")),
            ("page=1", None),
        ] {
            assert_eq!(read_query(Some(text)).unwrap_err().param, param, "{text}");
        }
    }
}
