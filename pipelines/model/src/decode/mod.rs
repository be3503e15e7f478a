//! From bytes to messages: JSON bodies and the file formats of `replay`. Nothing here does I/O
//! of its own or knows a clock: bytes, readers and the time come from the caller. What cannot be
//! read is a value with its reason, never a panic.

mod assembling;
mod draft;
mod fingerprint;
pub mod json;
mod lines;
pub mod online_retail;
pub mod otto;
mod read_error;
pub mod rees46;
pub mod retailrocket;
mod table;

pub use read_error::{BadLine, ReadError};
