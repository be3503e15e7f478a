//! The views of a shop against their oracles, on 1, 2 and 4 workers.
//!
//! `harness` plays arrivals as the pipeline does and gives what was sealed; `story` tells small
//! shops in sentences; `random` draws big ones. Whatever is played is checked at every cut:
//! every view equals its oracle, no set holds an item that must not be shown, each key changes
//! at most once and only where its value changes, and nothing of a view that is off is sealed.

mod against_oracle;
mod any_order;
mod cases;
mod erased;
mod harness;
mod promise;
mod random;
mod restored;
mod story;
mod switches;
