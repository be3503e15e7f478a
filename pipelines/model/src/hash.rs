//! Hashes that are part of stored data or of an answer: the same on every machine and in every
//! version. The function is XXH3 (<https://xxhash.com>), seed 0.

use xxhash_rust::xxh3;

/// 64-bit hash of `bytes`: chooses workers and window phases.
pub fn hash64(bytes: &[u8]) -> u64 {
    xxh3::xxh3_64(bytes)
}

/// 128-bit hash of `bytes`: stands for a message or transaction id.
pub fn hash128(bytes: &[u8]) -> u128 {
    xxh3::xxh3_128(bytes)
}
