//! Threads without which the process is of no use.

/// The exit code of a process of which a part has panicked.
pub const DEFECT: u8 = 5;

/// Held by a thread, by its name: ends the process when that thread panics, since the others would
/// wait for it for ever. What was acknowledged is stored, and read back at the next start.
pub struct Vital(pub &'static str);

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                thread = self.0,
                "a part of the pipeline has panicked, which is a defect; the process ends"
            );
            std::process::exit(i32::from(DEFECT));
        }
    }
}
