//! etalage, the binary: configuration, command line, inputs, the demonstration, and the runtime
//! that ties store, dataflow and server together.

pub mod cli;
pub mod config;
pub mod demo;
pub mod input;
pub mod runtime;
#[cfg(feature = "kafka")]
pub mod topics;
