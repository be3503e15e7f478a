//! The binary under test. It is built by the first test that asks for it, as `cargo test` builds
//! everything else (profile `test`), with all features. `ETALAGE_BIN` names another one.

use std::{
    ffi::OsStr,
    fmt,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// How long a command may take before its test fails.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(180);

/// The workspace's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("the crate lies in the workspace").to_owned()
}

/// The binary's path.
///
/// # Panics
/// Where it cannot be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| std::env::var_os("ETALAGE_BIN").map_or_else(build, PathBuf::from))
}

fn build() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root()).args([
        "build",
        "--quiet",
        "--profile",
        "test",
        "--package",
        "etalage",
        "--bin",
        "etalage",
    ]);
    cargo.args(["--features", "mutants,kafka,cloud", "--message-format", "json-render-diagnostics"]);
    let built = cargo.stderr(Stdio::inherit()).output().expect("cargo can be started");
    assert!(built.status.success(), "the binary could not be built");
    let text = String::from_utf8_lossy(&built.stdout);
    let artifacts = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut programs = artifacts.filter_map(|artifact| artifact["executable"].as_str().map(PathBuf::from));
    programs.next_back().expect("cargo names the binary")
}

/// A command of the binary. It does not see `ETALAGE_…` variables of whoever runs the tests.
pub fn etalage<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETALAGE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    /// What was run, for messages.
    pub command: String,
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// Where it cannot be started, takes longer than [`COMMAND_TIMEOUT`], or panics itself.
    pub fn of(mut command: Command) -> Ended {
        let name = format!("{command:?}");
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        Ended::wait(child.unwrap_or_else(|error| panic!("{name}: {error}")), name)
    }

    /// Waits for a child whose output is piped.
    ///
    /// # Panics
    /// As [`Ended::of`].
    pub fn wait(mut child: Child, command: String) -> Ended {
        let (out, err) = (read(child.stdout.take()), read(child.stderr.take()));
        let status = wait_for(&mut child, COMMAND_TIMEOUT).unwrap_or_else(|| {
            // It is over anyway.
            let _ = child.kill();
            panic!("{command} did not end within {COMMAND_TIMEOUT:?}")
        });
        let text = |thread: JoinHandle<String>| thread.join().expect("a pipe is read to its end");
        let ended = Ended { command, code: status.code(), out: text(out), err: text(err) };
        assert!(!ended.err.contains("panicked") && !ended.out.contains("panicked"), "it panicked: {ended}");
        ended
    }

    /// The same, which must have ended with `code`.
    ///
    /// # Panics
    /// Where it did not.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Ended {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// The same, whose standard error must hold all `parts`.
    ///
    /// # Panics
    /// Where it does not.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Ended {
        for part in parts {
            assert!(self.err.contains(part), "`{part}` is not said by {self}");
        }
        self
    }

    /// The lines of standard output as JSON.
    ///
    /// # Panics
    /// Where one is none.
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(read).collect()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let out: String = self.out.chars().take(4_000).collect();
        write!(f, "{}\nexit code {:?}\n--- out\n{out}\n--- err\n{}", self.command, self.code, self.err)
    }
}

/// Waits for a child's end, but not longer than `timeout`.
pub fn wait_for(child: &mut Child, timeout: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + timeout;
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal by its name, such as `TERM`.
///
/// # Panics
/// Where there is no such process.
pub fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &child.id().to_string()]).status();
    assert!(sent.expect("sh can be started").success(), "SIG{name} could not be sent");
}

fn read(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
