//! Cases told in sentences. Each is played on every worker count and checked at every cut; what
//! is asserted besides says what the case is about.

mod orders;
mod scopes;
mod stock;
mod trending;
mod windows;
