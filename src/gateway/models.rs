//! `GET /v1/models`: what can be asked for.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::body::Out;
use super::error::{ApiError, json_response};
use crate::catalog::Tier;
use crate::engine::Fleet;

/// All names, in OpenAI's shape: `auto`, the tiers, the aliases, and every
/// model whose provider is in the pool.
pub(super) fn list(fleet: &Fleet) -> Response<Out> {
    let data: Vec<Value> = names(fleet).map(|(id, owner)| entry(&id, &owner)).collect();
    json_response(StatusCode::OK, Bytes::from(json!({"object": "list", "data": data}).to_string()))
}

/// One of them; `id` is the rest of the path, with `%2F` allowed for a slash.
pub(super) fn show(fleet: &Fleet, id: &str) -> Result<Response<Out>, ApiError> {
    let id = percent_decode(id);
    match names(fleet).find(|(name, _)| *name == id) {
        Some((id, owner)) => Ok(json_response(StatusCode::OK, Bytes::from(entry(&id, &owner).to_string()))),
        None => Err(crate::routing::Refusal::UnknownModel { near: fleet.table.nearest(&id), name: id }.into()),
    }
}

fn names(fleet: &Fleet) -> impl Iterator<Item = (String, String)> {
    let own = ["auto"].into_iter().chain(Tier::ALL.map(Tier::name)).chain(fleet.table.alias_names());
    let own = own.map(|name| (name.to_owned(), "routor".to_owned()));
    let models = fleet.table.candidates().filter(|(_, candidate)| candidate.in_pool);
    own.chain(models.map(|(_, candidate)| (candidate.label.to_string(), candidate.facts.provider.to_string())))
}

fn entry(id: &str, owner: &str) -> Value {
    json!({"id": id, "object": "model", "created": 0, "owned_by": owner})
}

fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
