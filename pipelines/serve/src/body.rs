//! A request's body: read and unpacked within `max_body_bytes`, whatever it claims to be.

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    http::{HeaderMap, header},
};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::{ServeOptions, errors::ApiError};

/// The whole body, unpacked.
///
/// # Errors
/// 413 where it is longer than allowed as it was sent or unpacked, and no more than that was
/// kept or unpacked; 415 for an encoding that is not known; 400 where it cannot be unpacked or
/// breaks off; 408 where it takes too long.
pub(crate) async fn read(body: Body, headers: &HeaderMap, options: &ServeOptions) -> Result<Vec<u8>, ApiError> {
    let limit = options.max_body_bytes;
    let claimed = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let deadline = Instant::now() + Duration::from_secs(options.body_timeout_s);
    let mut chunks = body.into_data_stream();
    let packed = match claimed.is_some_and(|length| length > limit) {
        true => Err(ApiError::BodyTooLarge { limit }),
        false => {
            let gathered = timeout_at(deadline, gather(&mut chunks, claimed.unwrap_or(0), limit)).await;
            gathered.unwrap_or(Err(ApiError::BodyTimeout { limit_s: options.body_timeout_s }))
        }
    };
    // Whoever waits for leave to send needs no more than the answer, and whoever sends far too much
    // is not waited for.
    let excess = claimed.map_or(0, |length| length.saturating_sub(limit));
    let is_waited_for = excess <= options.max_discarded_bytes && !headers.contains_key(header::EXPECT);
    if matches!(packed, Err(ApiError::BodyTooLarge { .. })) && is_waited_for {
        // However the rest of it fares, it is too large.
        let _ = timeout_at(deadline, discard(&mut chunks, limit + options.max_discarded_bytes)).await;
    }
    let packed = packed?;
    match Encoding::of(headers)? {
        Encoding::None => Ok(packed),
        Encoding::Gzip => unpack(MultiGzDecoder::new(&packed[..]), limit, "gzip"),
        Encoding::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(&packed[..]);
            unpack(decoder.map_err(|error| ApiError::Internal(error.to_string()))?, limit, "zstd")
        }
    }
}

#[derive(Clone, Copy)]
enum Encoding {
    None,
    Gzip,
    Zstd,
}

impl Encoding {
    fn of(headers: &HeaderMap) -> Result<Encoding, ApiError> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else { return Ok(Encoding::None) };
        match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "identity" | "" => Ok(Encoding::None),
            "gzip" | "x-gzip" => Ok(Encoding::Gzip),
            "zstd" => Ok(Encoding::Zstd),
            other => Err(ApiError::UnknownEncoding(other.into())),
        }
    }
}

async fn gather(chunks: &mut BodyDataStream, expected: usize, limit: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::with_capacity(expected);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| ApiError::UnreadableBody(format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > limit {
            return Err(ApiError::BodyTooLarge { limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Reads on, up to `limit` bytes, and keeps nothing: a sender whose line is cut while it sends does not
/// get to read the answer.
async fn discard(chunks: &mut BodyDataStream, limit: usize) {
    let mut length = 0;
    while let Some(Ok(chunk)) = chunks.next().await {
        length += chunk.len();
        if length > limit {
            return;
        }
    }
}

fn unpack(decoder: impl Read, limit: usize, name: &str) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    // One byte more than allowed tells a body that is too long from one that just fits.
    match decoder.take(limit as u64 + 1).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() > limit => Err(ApiError::BodyTooLarge { limit }),
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(ApiError::UnreadableBody(format!("the {name} body breaks off before its end")))
        }
        Err(error) => Err(ApiError::UnreadableBody(format!("the body is no {name}: {error}"))),
    }
}
