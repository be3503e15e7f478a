//! The three inputs. A body is read and decoded here, handed through the [`Door`](crate::Door),
//! and answered when it is stored: one result per item, in their order.

use std::time::Duration;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use etalage_model::{InputKind, Outcome, Record, Rejected, decode::json::BodyError};
use serde::Serialize;

use crate::{NotStored, ServeState, body, errors::ApiError, keys::Access, query::Params};

/// `POST /v1/events`
pub(crate) async fn events(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    take(&state, access, params, &headers, body, InputKind::Events).await
}

/// `POST /v1/inventory`
pub(crate) async fn inventory(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    take(&state, access, params, &headers, body, InputKind::Inventory).await
}

/// `POST /v1/catalog`
pub(crate) async fn catalog(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    take(&state, access, params, &headers, body, InputKind::Catalogue).await
}

async fn take(
    state: &ServeState,
    access: Access,
    params: Params,
    headers: &HeaderMap,
    body: Body,
    kind: InputKind,
) -> Result<Response, ApiError> {
    access.write(kind)?;
    params.only(&[])?;
    let options = state.options();
    let bytes = body::read(body, headers, options).await?;
    let door = state.door();
    // Whoever is turned away costs no more than the reading of the body.
    door.has_room().map_err(ApiError::Busy)?;
    let batch = door.decode(kind, &bytes).map_err(|error| match error {
        BodyError::TooManyEvents { limit } => ApiError::BatchTooLarge { limit },
        error => ApiError::UnreadableBody(error.to_string()),
    })?;
    drop(bytes);
    let ids: Vec<Option<String>> = batch.iter().map(message_id).collect();
    if ids.is_empty() {
        return answer(&ids, &[]);
    }
    let stored = door.submit(source(kind), batch).map_err(ApiError::Busy)?;
    let outcomes = tokio::time::timeout(Duration::from_secs(options.store_timeout_s), stored).await;
    let outcomes = outcomes.map_err(|_| ApiError::Unknown("the store did not answer in time".into()))?;
    let outcomes = outcomes.map_err(|_| ApiError::Unknown("the store stopped".into()))?;
    let outcomes = outcomes.map_err(|error| match error {
        NotStored::Failed(reason) => ApiError::NotStored(reason),
        NotStored::Unknown(reason) => ApiError::Unknown(reason),
    });
    answer(&ids, &outcomes?)
}

fn source(kind: InputKind) -> &'static str {
    match kind {
        InputKind::Events => "POST /v1/events",
        InputKind::Inventory => "POST /v1/inventory",
        InputKind::Catalogue => "POST /v1/catalog",
    }
}

fn message_id(item: &Result<Record, Rejected>) -> Option<String> {
    match item {
        Ok(record) => Some(record.message.message_id().to_owned()),
        Err(rejected) => rejected.message_id.clone(),
    }
}

#[derive(Serialize)]
struct Answer<'a> {
    results: Vec<ItemResult<'a>>,
}

#[derive(Serialize)]
struct ItemResult<'a> {
    #[serde(rename = "messageId")]
    message_id: Option<&'a str>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

fn answer(ids: &[Option<String>], outcomes: &[Outcome]) -> Result<Response, ApiError> {
    if ids.len() != outcomes.len() {
        return Err(ApiError::Internal(format!("{} outcomes for {} messages", outcomes.len(), ids.len())));
    }
    let results = ids.iter().zip(outcomes).map(|(id, outcome)| {
        let (status, reason) = match outcome {
            Outcome::Stored => ("stored", None),
            Outcome::Duplicate => ("duplicate", None),
            Outcome::Refused(reason) => ("refused", Some(reason.to_string())),
        };
        ItemResult { message_id: id.as_deref(), status, reason }
    });
    let body = Answer { results: results.collect() };
    Ok(([(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response())
}
