//! What operators and the live page ask: health, readiness, metrics, status, quarantine.

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use etalage_model::{Group, Micros, Quarantined};
use serde_json::{Value, json};

use crate::{ServeState, clock::monotonic_us, errors::ApiError, keys::Access, people::blocking, query::Params};

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: the state is complete and messages are taken.
pub(crate) async fn readyz(State(state): State<ServeState>) -> Result<Json<Value>, ApiError> {
    state.door().ready().map_err(ApiError::NotReadyBecause)?;
    let as_of = state.store().as_of(Group::Shop).ok_or(ApiError::NotReady)?;
    Ok(Json(json!({ "status": "ready", "as_of": Micros(as_of).to_string() })))
}

/// `GET /metrics`
pub(crate) async fn metrics(State(state): State<ServeState>, access: Access) -> Result<Response, ApiError> {
    access.secret()?;
    let text = (state.options().metrics)();
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// `GET /v1/status`
pub(crate) async fn status(
    State(state): State<ServeState>,
    _access: Access,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    let counts = state.door().counts();
    let gauges = &state.hub().gauges;
    let fresh = gauges.freshness(Group::Shop, monotonic_us());
    let ms = |us: u64| us as f64 / 1e3;
    let as_of = state.store().as_of(Group::Shop);
    let body = json!({
        "mode": state.options().mode,
        "ready": state.door().ready().is_ok() && as_of.is_some(),
        "as_of": as_of.map(|tick| Micros(tick).to_string()),
        "tick": as_of,
        "epoch": format!("{:x}", state.epoch()),
        "uptime_s": state.uptime_s(),
        "events_per_s": (gauges.events_per_s() * 10.0).round() / 10.0,
        "counts": { "stored": counts.stored, "duplicates": counts.duplicates, "refused": counts.refused },
        "freshness": {
            "p50_ms": ms(fresh.p50_us), "p99_ms": ms(fresh.p99_us), "max_ms": ms(fresh.max_us), "ticks": fresh.ticks,
        },
        "streams": state.hub().streams(),
        "views": state.store().keys().into_iter().map(|(name, keys)| json!({ "name": name, "keys": keys }))
            .collect::<Vec<_>>(),
    });
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

/// `GET /v1/clock`
pub(crate) async fn clock(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    access.secret()?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(state.door().clock())).into_response())
}

/// `POST /v1/clock/accept`: adopts the wall clock.
pub(crate) async fn accept_clock(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    access.secret()?;
    state.door().ready().map_err(ApiError::NotReadyBecause)?;
    Ok(Json(state.door().accept_clock().map_err(ApiError::NoWallClock)?).into_response())
}

/// `POST /v1/snapshots`: takes one now.
pub(crate) async fn snapshot(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    access.secret()?;
    state.door().ready().map_err(ApiError::NotReadyBecause)?;
    let door = state.door().clone();
    let taken = blocking(move || door.snapshot()).await?.map_err(ApiError::NoSnapshot)?;
    Ok((StatusCode::CREATED, Json(taken)).into_response())
}

/// `GET /v1/quarantine?after=&limit=`
pub(crate) async fn quarantine(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
) -> Result<Response, ApiError> {
    access.secret()?;
    let params = params.only(&["after", "limit"])?;
    let max = state.options().max_quarantine_limit;
    let after = params.number("after", 0, 0..=usize::MAX)? as u64;
    let limit = params.number("limit", max.min(100), 1..=max)?;
    let door = state.door().clone();
    let listed = tokio::task::spawn_blocking(move || door.quarantine(after, limit)).await;
    let listed = listed.map_err(|error| error.to_string()).flatten().map_err(ApiError::Internal)?;
    let next = listed.last().filter(|_| listed.len() == limit).map(|last| last.seq);
    let records: Vec<Value> = listed.iter().map(record).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(json!({ "records": records, "next": next }))).into_response())
}

/// `POST /v1/quarantine/retry?number=&number=`, or `?code=`: takes refused messages in once more.
pub(crate) async fn retry(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
) -> Result<Response, ApiError> {
    let params = params.only(&["number", "code"])?;
    access.secret()?;
    let wrong = |text: &str| ApiError::BadParameter(format!("`{text}` is no number of a refused message"));
    let numbers = params.all("number").map(|text| text.parse().map_err(|_| wrong(text)));
    let numbers = numbers.collect::<Result<Vec<u64>, ApiError>>()?;
    let code = params.one("code")?.map(str::to_owned);
    if numbers.is_empty() == code.is_none() {
        return Err(ApiError::BadParameter("say which: ?number=N&number=N, or ?code=REASON".into()));
    }
    let limit = state.options().max_keys;
    if numbers.len() > limit {
        return Err(ApiError::TooManyKeys { given: numbers.len(), limit });
    }
    state.door().ready().map_err(ApiError::NotReadyBecause)?;
    let door = state.door().clone();
    let retried = blocking(move || door.retry(&numbers, code.as_deref())).await?.map_err(ApiError::NotStored)?;
    Ok(Json(json!({ "retried": retried })).into_response())
}

fn record(one: &Quarantined) -> Value {
    json!({
        "seq": one.seq,
        "arrived_at": one.arrived_at.to_string(),
        "source": one.source,
        "code": one.reason.code(),
        "reason": one.reason.to_string(),
        "raw": String::from_utf8_lossy(&one.raw),
        "raw_bytes": one.raw_bytes,
    })
}
