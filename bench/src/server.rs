//! The service as a process of its own, for the parts that measure it from outside.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// A running server; it ends with the run, however that ends.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts `binary` on a free port over the store in `dir`.
    pub(crate) fn start(
        binary: &Path,
        dir: &Path,
        environment: impl IntoIterator<Item = (&'static str, String)>,
    ) -> anyhow::Result<Server> {
        let mut child = Command::new(binary)
            .args(["run", "--port", "0", "--data-dir"])
            .arg(dir)
            .envs(environment)
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!("{} cannot be started; build it with `cargo build --release`", binary.display())
            })?;
        let stderr = child.stderr.take().context("a pipe was asked for")?;
        let mut server = Server { child, url: String::new() };
        let (mut lines, mut said) = (BufReader::new(stderr).lines(), String::new());
        for line in lines.by_ref().map_while(Result::ok) {
            if let Some(at) = line.find("http://") {
                server.url = line[at..].split_whitespace().next().unwrap_or_default().to_owned();
                break;
            }
            said.push_str(&line);
            said.push('\n');
        }
        if server.url.is_empty() {
            bail!("the server did not say where it listens, but:\n{said}");
        }
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| eprintln!("server: {line}")));
        Ok(server)
    }

    /// Its process, as `/proc` names it.
    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

/// Asks again and again until `get` says that it is there.
pub(crate) fn wait_until(patience: Duration, what: &str, get: impl Fn() -> bool) -> anyhow::Result<()> {
    let until = Instant::now() + patience;
    while !get() {
        if Instant::now() > until {
            bail!("{what} not there after {patience:?}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
