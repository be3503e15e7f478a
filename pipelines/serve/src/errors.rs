//! Every error that a request can be answered with: `{"error":{"code","message"}}`. The code is
//! stable; the message says what to do.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::Busy;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    #[error("there is no view `{name}`; the views are {known}")]
    UnknownView { name: String, known: String },
    #[error("this key has no value as of this tick")]
    NoValue,
    #[error("{0}")]
    BadKey(String),
    #[error("{0}")]
    BadParameter(String),
    #[error("{given} keys, at most {limit} (max_keys) are given at once")]
    TooManyKeys { given: usize, limit: usize },
    #[error("more than {limit} keys (max_snapshot_keys); follow a narrower prefix, or read the list page by page")]
    SnapshotTooLarge { limit: usize },
    #[error("the state is being read back from the log")]
    NotReady,
    #[error("{0}")]
    NotReadyBecause(String),
    #[error("the views of people are more than group_lag_max behind; read views of the shop by themselves")]
    Lagging,
    #[error(
        "this process serves topics, where views of people and of the shop come along each by itself; read them apart"
    )]
    GroupsApart,
    #[error("send a key: `Authorization: Bearer pk_…` or `sk_…`, or the header X-Etalage-Key")]
    NoKey,
    #[error("this key is not known")]
    WrongKey,
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0}")]
    UnreadableBody(String),
    #[error("the body did not arrive within {limit_s} s (body_timeout_s)")]
    BodyTimeout { limit_s: u64 },
    #[error("the body has more than {limit} bytes (max_body_bytes), unpacked; send smaller batches")]
    BodyTooLarge { limit: usize },
    #[error("the batch has more than {limit} messages (max_batch_events); send smaller batches")]
    BatchTooLarge { limit: usize },
    #[error("content-encoding `{0}` is not known; send gzip, zstd or nothing")]
    UnknownEncoding(String),
    #[error("{}", .0.reason)]
    Busy(Busy),
    #[error("not stored: {0}")]
    NotStored(String),
    #[error("not erased, or not everything: {0}; ask again")]
    NotErased(String),
    /// The wall clock does not drive pipeline time.
    #[error("{0}")]
    NoWallClock(String),
    /// No snapshot could be taken.
    #[error("{0}")]
    NoSnapshot(String),
    #[error("it is unknown whether the batch was stored: {0}; send it again with the same message ids")]
    Unknown(String),
    #[error("all {limit} streams (max_streams) are taken")]
    TooManyStreams { limit: usize },
    #[error("the server is stopping")]
    Stopping,
    #[error("{0}")]
    Internal(String),
    /// Another process does that.
    #[error("this process does not do that; ask {at}")]
    Elsewhere { at: String },
    #[error("there is no such route; see /openapi.json")]
    NoRoute,
    #[error("this route does not take this method; see /openapi.json")]
    WrongMethod,
}

impl ApiError {
    fn kind(&self) -> (StatusCode, &'static str) {
        use StatusCode as S;
        match self {
            ApiError::UnknownView { .. } => (S::NOT_FOUND, "unknown_view"),
            ApiError::NoValue => (S::NOT_FOUND, "no_value"),
            ApiError::BadKey(_) => (S::BAD_REQUEST, "bad_key"),
            ApiError::BadParameter(_) => (S::BAD_REQUEST, "bad_parameter"),
            ApiError::TooManyKeys { .. } => (S::BAD_REQUEST, "too_many_keys"),
            ApiError::SnapshotTooLarge { .. } => (S::BAD_REQUEST, "snapshot_too_large"),
            ApiError::NotReady | ApiError::NotReadyBecause(_) => (S::SERVICE_UNAVAILABLE, "not_ready"),
            ApiError::Lagging => (S::SERVICE_UNAVAILABLE, "lagging"),
            ApiError::GroupsApart => (S::BAD_REQUEST, "groups_apart"),
            ApiError::NoKey => (S::UNAUTHORIZED, "no_key"),
            ApiError::WrongKey => (S::UNAUTHORIZED, "wrong_key"),
            ApiError::Forbidden(_) => (S::FORBIDDEN, "forbidden"),
            ApiError::UnreadableBody(_) => (S::BAD_REQUEST, "unreadable_body"),
            ApiError::BodyTimeout { .. } => (S::REQUEST_TIMEOUT, "body_timeout"),
            ApiError::BodyTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "body_too_large"),
            ApiError::BatchTooLarge { .. } => (S::PAYLOAD_TOO_LARGE, "batch_too_large"),
            ApiError::UnknownEncoding(_) => (S::UNSUPPORTED_MEDIA_TYPE, "unknown_encoding"),
            ApiError::Busy(Busy { overload: true, .. }) => (S::TOO_MANY_REQUESTS, "busy"),
            ApiError::Busy(_) => (S::SERVICE_UNAVAILABLE, "unavailable"),
            ApiError::NotStored(_) => (S::SERVICE_UNAVAILABLE, "not_stored"),
            ApiError::NotErased(_) => (S::SERVICE_UNAVAILABLE, "not_erased"),
            ApiError::NoSnapshot(_) => (S::SERVICE_UNAVAILABLE, "no_snapshot"),
            ApiError::NoWallClock(_) => (S::CONFLICT, "no_wall_clock"),
            ApiError::Unknown(_) => (S::SERVICE_UNAVAILABLE, "unknown_outcome"),
            ApiError::TooManyStreams { .. } => (S::SERVICE_UNAVAILABLE, "too_many_streams"),
            ApiError::Stopping => (S::SERVICE_UNAVAILABLE, "stopping"),
            ApiError::Internal(_) => (S::INTERNAL_SERVER_ERROR, "internal"),
            ApiError::Elsewhere { .. } => (S::MISDIRECTED_REQUEST, "elsewhere"),
            ApiError::NoRoute => (S::NOT_FOUND, "no_route"),
            ApiError::WrongMethod => (S::METHOD_NOT_ALLOWED, "wrong_method"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, code) = self.kind();
        let body = serde_json::json!({ "error": { "code": code, "message": self.to_string() } });
        let mut answer = (status, axum::Json(body)).into_response();
        let headers = answer.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let retry_after_s = match &self {
            ApiError::Busy(busy) => busy.retry_after_s,
            _ => 1,
        };
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, retry_after_s.into());
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        answer
    }
}
