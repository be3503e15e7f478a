//! What a process answers that has no values: one of a cluster that computes a part of the keys, or one that waits for the
//! others.
//!
//! Health, readiness and metrics are those of the process. Everything else is answered 421 with the place where values
//! are read, or 503 while nothing is known yet.

use std::{future::Future, io, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, Method, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{Keys, errors::ApiError, keys::presented, status::healthz};

/// A process without values.
#[derive(Clone)]
pub struct PartState {
    /// Who is let in.
    pub keys: Keys,
    /// The text of `/metrics`.
    pub metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// What is waited for, if anything is.
    pub waiting: Arc<dyn Fn() -> Option<String> + Send + Sync>,
    /// Where another process does what this one is asked for, told whether something is to be read; absent for a process
    /// that will do it itself.
    pub elsewhere: Option<Arc<dyn Fn(bool) -> String + Send + Sync>>,
}

/// Serves these routes until `stop`; open requests are ended with it.
///
/// # Errors
/// Where the listener fails.
pub async fn serve_part(listener: TcpListener, state: PartState, stop: impl Future<Output = ()>) -> io::Result<()> {
    tokio::select! {
        result = axum::serve(listener, part_app(state)).into_future() => result,
        () = stop => Ok(()),
    }
}

/// The routes.
fn part_app(state: PartState) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(elsewhere)
        .with_state(state)
}

async fn readyz(State(state): State<PartState>) -> Result<Json<Value>, ApiError> {
    match ((state.waiting)(), state.elsewhere) {
        (Some(reason), _) => Err(ApiError::NotReadyBecause(reason)),
        // It is about to begin with what it waited for.
        (None, None) => Err(ApiError::NotReady),
        (None, Some(_)) => Ok(Json(json!({ "status": "ready" }))),
    }
}

async fn metrics(State(state): State<PartState>, headers: HeaderMap) -> Result<Response, ApiError> {
    state.keys.access(presented(&headers))?.secret()?;
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (state.metrics)()).into_response())
}

async fn elsewhere(State(state): State<PartState>, method: Method) -> ApiError {
    match ((state.waiting)(), state.elsewhere) {
        (_, Some(at)) => ApiError::Elsewhere { at: at(method.is_safe()) },
        (Some(reason), None) => ApiError::NotReadyBecause(reason),
        (None, None) => ApiError::NotReady,
    }
}
