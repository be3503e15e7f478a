//! What the tests of the whole pipeline stand on. They run the real binary and know it as its
//! users do: by its command line, its files, HTTP, streams and topics. So this crate depends on no crate
//! of etalage but the one that knows Kafka.
//!
//! - [`binary`]: the binary, built once, and its commands run to their ends.
//! - [`shop`]: a folder with a configuration and a store, and servers that are started on it.
//! - [`broker`]: a real Kafka broker.
//! - [`s3`]: a real S3 server.
//! - [`http`], [`stream`]: clients.
//! - [`link`]: a connection that can be slow, or cut.
//! - [`seed`], [`story`]: random messages that a seed repeats.

pub mod binary;
pub mod broker;
pub mod http;
pub mod link;
pub mod s3;
pub mod seed;
pub mod shop;
pub mod story;
pub mod stream;

pub use binary::{Ended, etalage};
pub use http::{Answer, Http};
pub use shop::{Server, Shop};
pub use stream::{Message, Stream};
