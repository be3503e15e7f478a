//! Standard output. Every line is a value that may fail to be written, and a reader that has
//! gone (`| head`) ends the command quietly.

use std::io::{self, StdoutLock, Write};

use super::CliError;

/// Where commands print.
pub struct Out(StdoutLock<'static>);

impl Out {
    /// Locks standard output.
    pub fn new() -> Out {
        Out(io::stdout().lock())
    }

    /// Prints one line.
    ///
    /// # Errors
    /// [`CliError::ReaderGone`] where nobody reads any more.
    pub fn line(&mut self, text: &str) -> Result<(), CliError> {
        self.0.write_all(text.as_bytes())?;
        self.0.write_all(b"\n")?;
        Ok(())
    }

    /// Makes sure that what was printed is seen.
    ///
    /// # Errors
    /// As [`Out::line`].
    pub fn flush(&mut self) -> Result<(), CliError> {
        Ok(self.0.flush()?)
    }
}

impl Default for Out {
    fn default() -> Out {
        Out::new()
    }
}
