//! Audiences: whom to show something, or not.

pub mod suppress;
