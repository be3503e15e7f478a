//! Reads of views: one key, many keys, a list by prefix. Each answer is of one tick, and says of
//! which: in `as_of` and in the header `as-of`.
//!
//! The `ETag` is the greatest tick at which anything that was read has changed; a list counts
//! what was removed from it too.

use axum::{
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use etalage_model::{KeyFields, KeyPrefix, Micros, Tick, ViewInfo, key::write_json_str};

use crate::{
    ServeState,
    clock::monotonic_us,
    errors::ApiError,
    json,
    keys::Access,
    query::{Params, path_pieces},
    read_store::{Entry, Read, Unreadable, ViewId},
};

/// Lists up to this length are read and written where they stand; longer ones on a thread where
/// they hold up no other request.
const LONG_LIST: usize = 500;

/// `GET /v1/views`
pub(crate) async fn views(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    let keys = state.store().keys();
    let listed = state.views().iter().zip(keys).filter(|(view, _)| access.read(view).is_ok());
    let views = listed.map(|(view, (_, keys))| {
        serde_json::json!({
            "name": view.name, "group": view.group.name(), "key_fields": view.key_fields, "about": view.about,
            "keys": keys,
        })
    });
    Ok(axum::Json(serde_json::json!({ "views": views.collect::<Vec<_>>() })).into_response())
}

/// `GET /v1/views/{view}/{field}/…`
pub(crate) async fn one(
    State(state): State<ServeState>,
    access: Access,
    uri: Uri,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    let mut pieces = path_pieces(uri.path().strip_prefix("/v1/views/").unwrap_or_default())?;
    let key = KeyFields(pieces.split_off(1));
    let (id, view) = readable(&state, access, &pieces[0])?;
    if key.0.len() > view.key_fields.len() {
        let fields = view.key_fields.join("/");
        return Err(ApiError::BadKey(format!("`{}` has more fields than the key {fields}", uri.path())));
    }
    let read = state.store().get(id, std::slice::from_ref(&key));
    let Some(entry) = &read.entries[0] else {
        let mut answer = ApiError::NoValue.into_response();
        answer.headers_mut().insert("as-of", as_of_header(read.as_of));
        return Ok(answer);
    };
    let body = |out: &mut Vec<u8>| {
        out.push(b',');
        write_fields(view, &key, Some(entry), read.as_of, out);
    };
    Ok(answer(&state, view, &read, &headers, body))
}

/// `GET /v1/views/{view}?key=…&key=…` and `GET /v1/views/{view}?prefix=…&limit=…&cursor=…`
pub(crate) async fn several(
    State(state): State<ServeState>,
    access: Access,
    Path(name): Path<String>,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let params = params.only(&["key", "prefix", "limit", "cursor"])?;
    let (id, view) = readable(&state, access, &name)?;
    let keys = params.all("key").map(|text| KeyFields::parse(text, view.key_fields).map_err(ApiError::BadKey));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() {
        return list(state.clone(), id, &params, headers).await;
    }
    params.only(&["key"])?;
    let limit = state.options().max_keys;
    if keys.len() > limit {
        return Err(ApiError::TooManyKeys { given: keys.len(), limit });
    }
    let read = state.store().get(id, &keys);
    let body = |out: &mut Vec<u8>| {
        out.extend_from_slice(b",\"entries\":[");
        for (at, (key, entry)) in keys.iter().zip(&read.entries).enumerate() {
            out.extend_from_slice(if at > 0 { b",{" } else { b"{" });
            write_fields(view, key, entry.as_ref(), read.as_of, out);
            out.push(b'}');
        }
        out.push(b']');
    };
    Ok(answer(&state, view, &read, &headers, body))
}

/// `GET /v1/read?get=VIEW:KEY&get=…`: keys of several views, all as of one tick.
pub(crate) async fn together(
    State(state): State<ServeState>,
    access: Access,
    params: Params,
) -> Result<Response, ApiError> {
    let params = params.only(&["get"])?;
    let wanted = params.all("get").map(|text| {
        let (name, key) = text.split_once(':').unwrap_or((text, ""));
        let (id, view) = readable(&state, access, name)?;
        Ok((id, KeyFields::parse(key, view.key_fields).map_err(ApiError::BadKey)?))
    });
    let wanted = wanted.collect::<Result<Vec<_>, ApiError>>()?;
    let limit = state.options().max_keys;
    match wanted.len() {
        0 => return Err(ApiError::BadParameter("say what to read: ?get=VIEW:KEY".into())),
        given if given > limit => return Err(ApiError::TooManyKeys { given, limit }),
        _ => {}
    }
    let read = state.store().together(&wanted).map_err(|unreadable| match unreadable {
        Unreadable::Apart => ApiError::GroupsApart,
        _ => ApiError::Lagging,
    })?;
    let mut out = Vec::with_capacity(512);
    out.push(b'{');
    json::as_of(read.as_of, &mut out);
    out.push(b',');
    json::times(&read.times, monotonic_us(), false, &mut out);
    out.extend_from_slice(b",\"entries\":[");
    for (at, ((id, key), entry)) in wanted.iter().zip(&read.entries).enumerate() {
        let view = &state.views()[*id];
        out.extend_from_slice(if at > 0 { b",{\"view\":" } else { b"{\"view\":" });
        write_json_str(view.name, &mut out);
        out.push(b',');
        write_fields(view, key, entry.as_ref(), read.as_of, &mut out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    let headers = [
        (header::HeaderName::from_static("as-of"), as_of_header(read.as_of)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ];
    Ok((headers, out).into_response())
}

/// Key and value of one that was asked for by `key`, and found as `entry`.
fn write_fields(view: &ViewInfo, key: &KeyFields, entry: Option<&Entry>, as_of: Tick, out: &mut Vec<u8>) {
    match entry {
        Some(entry) => {
            json::key(view, &entry.key, out);
            json::window_start(view, &entry.key, as_of, out);
        }
        None => json::key(view, key, out),
    }
    out.push(b',');
    json::value(entry.and_then(|entry| entry.held.value()).as_ref(), out);
}

async fn list(state: ServeState, id: ViewId, params: &Params, headers: HeaderMap) -> Result<Response, ApiError> {
    let view = &state.views()[id];
    let options = state.options();
    let prefix = KeyPrefix::parse(params.one("prefix")?.unwrap_or(""), view.key_fields).map_err(ApiError::BadKey)?;
    let limit = params.number("limit", options.default_limit.min(options.max_limit), 1..=options.max_limit)?;
    let cursor = params.one("cursor")?.map(path_pieces).transpose()?.map(KeyFields);
    if cursor.as_ref().is_some_and(|cursor| cursor.0.len() > view.key_fields.len()) {
        return Err(ApiError::BadParameter("`cursor` is not one that `next` has given".into()));
    }
    let state = state.clone();
    let read = move || {
        let view = &state.views()[id];
        let (read, more) = state.store().list(id, &prefix, cursor.as_ref(), limit);
        answer(&state, view, &read, &headers, |out| {
            out.extend_from_slice(b",\"entries\":[");
            for (at, entry) in read.entries.iter().enumerate() {
                out.extend_from_slice(if at > 0 { b",{" } else { b"{" });
                json::key(view, &entry.key, out);
                json::window_start(view, &entry.key, read.as_of, out);
                out.push(b',');
                json::value(entry.held.value().as_ref(), out);
                out.push(b'}');
            }
            out.push(b']');
            if let Some(last) = read.entries.last().filter(|_| more) {
                out.extend_from_slice(b",\"next\":");
                write_json_str(&last.key.path(), out);
            }
        })
    };
    if limit <= LONG_LIST {
        return Ok(read());
    }
    tokio::task::spawn_blocking(read).await.map_err(|error| ApiError::Internal(error.to_string()))
}

fn readable<'a>(state: &'a ServeState, access: Access, name: &str) -> Result<(ViewId, &'a ViewInfo), ApiError> {
    let (id, view) = state.view(name)?;
    access.read(view)?;
    state.store().as_of(view.group).ok_or(ApiError::NotReady)?;
    Ok((id, view))
}

/// `{"view","as_of","times", …}` with its headers, or 304 where the client has it already.
fn answer<E>(
    state: &ServeState,
    view: &ViewInfo,
    read: &Read<E>,
    asked: &HeaderMap,
    body: impl FnOnce(&mut Vec<u8>),
) -> Response {
    let tag = format!("\"{:x}-{}\"", state.epoch(), read.tag);
    let headers = [
        (header::HeaderName::from_static("as-of"), as_of_header(read.as_of)),
        (header::ETAG, HeaderValue::try_from(&tag).expect("hexadecimal digits are a header value")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::VARY, HeaderValue::from_static("authorization, x-etalage-key")),
    ];
    if matches_tag(asked, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"{\"view\":");
    write_json_str(view.name, &mut out);
    out.push(b',');
    json::as_of(read.as_of, &mut out);
    out.push(b',');
    json::times(&read.times, monotonic_us(), false, &mut out);
    body(&mut out);
    out.push(b'}');
    (headers, [(header::CONTENT_TYPE, "application/json")], out).into_response()
}

fn as_of_header(tick: Tick) -> HeaderValue {
    HeaderValue::try_from(Micros(tick).to_string()).expect("an instant is a header value")
}

fn matches_tag(asked: &HeaderMap, tag: &str) -> bool {
    let given = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}
