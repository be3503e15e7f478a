//! A request's body: read and unpacked within `max_body_bytes`, whatever it claims to be.

use std::{
    io::{self, Read},
    time::Duration,
};

use axum::{
    body::Body,
    http::{HeaderMap, header},
};
use flate2::read::MultiGzDecoder;
use futures_util::StreamExt;

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
    let excess = claimed.map_or(0, |length| length.saturating_sub(limit));
    let too_large = || ApiError::BodyTooLarge { limit };
    // Whoever waits for leave to send needs no more than the answer.
    if excess > options.max_discarded_bytes || (excess > 0 && headers.contains_key(header::EXPECT)) {
        return Err(too_large());
    }
    let limit_s = options.body_timeout_s;
    let (mut packed, mut length) = (Vec::with_capacity(claimed.unwrap_or(0).min(limit)), 0);
    let gathered = gather(body, &mut packed, &mut length, limit, options.max_discarded_bytes);
    let gathered = tokio::time::timeout(Duration::from_secs(limit_s), gathered).await;
    // Once it is known to be too long it is that, however the rest of it fares.
    if excess > 0 || length > limit {
        return Err(too_large());
    }
    gathered.map_err(|_| ApiError::BodyTimeout { limit_s })??;
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

/// Gathers `bytes`, at most `limit` of them, and counts the `length` of all that came. What comes
/// beyond the limit is thrown away, up to `discarded` bytes of it: a sender whose line is cut while it
/// sends does not get to read the answer.
async fn gather(
    body: Body,
    bytes: &mut Vec<u8>,
    length: &mut usize,
    limit: usize,
    discarded: usize,
) -> Result<(), ApiError> {
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| ApiError::UnreadableBody(format!("the body broke off: {error}")))?;
        *length += chunk.len();
        if *length <= limit {
            bytes.extend_from_slice(&chunk);
        } else if *length - limit > discarded {
            break;
        }
    }
    Ok(())
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
