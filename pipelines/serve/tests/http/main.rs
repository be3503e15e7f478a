//! The HTTP interface as its clients see it: a server on a free port, a door that keeps what it
//! takes in memory, and sealed ticks made by hand.

mod access;
mod bundles;
mod inputs;
mod reads;
mod shop;
mod stream_limits;
mod streams;
