//! All routes on one page.

use std::{io, time::Duration};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
    serve::ListenerExt,
};
use tokio::net::TcpListener;
use tower_http::compression::CompressionLayer;

use crate::{ServeState, errors::ApiError, ingest, page, people, reads, sse::stream, status};

/// The routes of the HTTP interface.
pub fn app(state: ServeState) -> Router {
    // Streams stay as they are: a compressor would hold messages back.
    let read = Router::new()
        .route("/v1/views", get(reads::views))
        .route("/v1/views/{view}", get(reads::several))
        .route("/v1/views/{view}/{*key}", get(reads::one))
        .route("/v1/read", get(reads::together))
        .route("/v1/status", get(status::status))
        .route("/metrics", get(status::metrics))
        .merge(page::routes())
        .layer(CompressionLayer::new());
    let pipeline = Router::new()
        .route("/v1/explain/{view}/{*key}", get(people::explain))
        .route("/v1/profiles/{*id}", delete(people::erase))
        .route("/v1/clock", get(status::clock))
        .route("/v1/clock/accept", post(status::accept_clock))
        .route("/v1/snapshots", post(status::snapshot))
        .route("/v1/quarantine", get(status::quarantine).layer(CompressionLayer::new()))
        .route("/v1/quarantine/retry", post(status::retry))
        .route("/v1/events", post(ingest::events))
        .route("/v1/inventory", post(ingest::inventory))
        .route("/v1/catalog", post(ingest::catalog))
        .layer(middleware::from_fn_with_state(state.clone(), elsewhere));
    Router::new()
        .merge(read)
        .merge(pipeline)
        .route("/v1/stream", get(stream::several))
        .route("/v1/stream/{view}", get(stream::one_view))
        .route("/healthz", get(status::healthz))
        .route("/readyz", get(status::readyz))
        .fallback(async || ApiError::NoRoute)
        .method_not_allowed_fallback(async || ApiError::WrongMethod)
        .layer(middleware::from_fn(count))
        .with_state(state)
}

/// Serves the routes until [`ServeState::shutdown`]; then waits for open requests, but not
/// longer than `stop_timeout_s`.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(listener: TcpListener, state: ServeState) -> io::Result<()> {
    let stop_timeout = Duration::from_secs(state.options().stop_timeout_s);
    let stop = |state: &ServeState| {
        let mut stopping = state.stopping();
        async move {
            // An error means that the state is gone, and nobody is left to be served.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        }
    };
    let listener = listener.tap_io(|stream| {
        // A message of a stream must not wait for the next one to fill a packet.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    });
    let late = {
        let stop = stop(&state);
        async move {
            stop.await;
            tokio::time::sleep(stop_timeout).await;
        }
    };
    let served = axum::serve(listener, app(state.clone())).with_graceful_shutdown(stop(&state));
    tokio::select! {
        result = served.into_future() => result,
        () = late => {
            tracing::warn!("requests were still open after stop_timeout_s and are cut off");
            Ok(())
        }
    }
}

/// What the pipeline does is done by another process, where this one only serves.
async fn elsewhere(State(state): State<ServeState>, request: Request, next: Next) -> Response {
    match state.options().elsewhere.clone() {
        Some(at) => ApiError::Elsewhere { at }.into_response(),
        None => next.run(request).await,
    }
}

async fn count(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none".to_owned(), |path| path.as_str().to_owned());
    let answer = next.run(request).await;
    let code = answer.status().as_u16().to_string();
    metrics::counter!("etalage_http_requests_total", "route" => route, "code" => code).increment(1);
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The description names every route of the interface, and no other.
    #[test]
    fn all_routes_are_described() {
        let document: serde_json::Value = serde_json::from_str(include_str!("openapi.json")).expect("JSON");
        let described: BTreeSet<&str> =
            document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
        let routes = include_str!("app.rs").lines().filter_map(|line| line.trim().strip_prefix(".route(\""));
        let routes: Vec<String> = routes.filter_map(|rest| Some(rest.split_once('"')?.0.replace("{*", "{"))).collect();
        let files = ["/", "/openapi.json"];
        let routes: BTreeSet<&str> = routes.iter().map(String::as_str).chain(files).collect();
        assert_eq!(routes, described);
        assert!(routes.len() > 10);
    }
}
