//! The one place that turns values into stored bytes and back (bincode, fixed-width integers,
//! little endian). Frames around it carry the version and the checksum.

use serde::{Serialize, de::DeserializeOwned};

/// Why bytes could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
#[error("codec: {0}")]
pub struct CodecError(#[from] bincode::Error);

/// The bytes of `value`.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, CodecError> {
    Ok(bincode::serialize(value)?)
}

/// Appends the bytes of `value` to `out`.
pub fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    Ok(bincode::serialize_into(out, value)?)
}

/// Appends the bytes of `value`, behind their length (u32, little endian).
pub fn frame_into<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let begin = out.len();
    out.extend_from_slice(&[0; 4]);
    encode_into(value, out)?;
    let length = u32::try_from(out.len() - begin - 4).map_err(|_| Box::new(bincode::ErrorKind::SizeLimit))?;
    out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// The bytes of each value that [`frame_into`] wrote; `None` where they end within one.
pub fn framed(bytes: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let value = rest.split_first_chunk::<4>();
        let value = value.and_then(|(length, behind)| behind.split_at_checked(u32::from_le_bytes(*length) as usize));
        rest = value.map_or(&[][..], |(_, behind)| behind);
        Some(value.map(|(value, _)| value))
    })
}

/// The value that `bytes` hold, all of them.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    Ok(bincode::deserialize(bytes)?)
}
