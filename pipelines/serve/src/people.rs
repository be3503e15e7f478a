//! What is asked about single people: erasure, and what is behind a value. Only secret keys may.

use axum::{
    extract::State,
    http::Uri,
    response::{IntoResponse, Response},
};
use etalage_model::KeyFields;

use crate::{
    NotExplained, ServeState,
    errors::ApiError,
    keys::Access,
    query::{Params, path_pieces},
};

/// How many events are told where a request does not say.
const DEFAULT_EVENTS: usize = 100;

/// `DELETE /v1/profiles/{id}`
pub(crate) async fn erase(
    State(state): State<ServeState>,
    access: Access,
    uri: Uri,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    access.secret()?;
    let mut pieces = path_pieces(uri.path().strip_prefix("/v1/profiles/").unwrap_or_default())?;
    let (Some(id), true) = (pieces.pop(), pieces.is_empty()) else {
        return Err(ApiError::BadKey("one profile is erased at a time: DELETE /v1/profiles/{id}".into()));
    };
    state.door().ready().map_err(ApiError::NotReadyBecause)?;
    let door = state.door().clone();
    let receipt = blocking(move || door.erase(&id)).await?.map_err(ApiError::NotErased)?;
    Ok(axum::Json(receipt).into_response())
}

/// `GET /v1/explain/{view}/{field}/…?limit=`
pub(crate) async fn explain(
    State(state): State<ServeState>,
    access: Access,
    uri: Uri,
    params: Params,
) -> Result<Response, ApiError> {
    let params = params.only(&["limit"])?;
    access.secret()?;
    let limit = params.number("limit", DEFAULT_EVENTS, 1..=state.options().max_limit)?;
    let mut pieces = path_pieces(uri.path().strip_prefix("/v1/explain/").unwrap_or_default())?;
    let key = KeyFields(pieces.split_off(1));
    let (_, view) = state.view(&pieces[0])?;
    let (name, door) = (view.name, state.door().clone());
    let told = blocking(move || door.explain(name, &key, limit)).await?.map_err(|error| match error {
        NotExplained::Asked(why) => ApiError::BadKey(why),
        NotExplained::Unreadable(why) => ApiError::NotReadyBecause(why),
    })?;
    Ok(axum::Json(told).into_response())
}

/// Runs what may take long where it holds up no other request.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::Internal(error.to_string()))
}
