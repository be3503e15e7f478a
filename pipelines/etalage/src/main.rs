//! The binary; everything is in the library.

use std::process::ExitCode;

/// The dataflow allocates and frees small vectors at every tick: measured 15 to 20 % faster, and
/// smaller, than with the C library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    etalage::cli::main()
}
