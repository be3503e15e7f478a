//! A folder with a configuration and a store, and the servers that are started on it one after
//! the other.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, ChildStderr, Command, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    Ended, Http,
    binary::{etalage, signal, wait_for},
    http::eventually,
};

/// How long a server may take to listen, and to end.
const SERVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Its folder goes away with this value.
pub struct Shop {
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl Shop {
    /// An empty shop with this configuration.
    ///
    /// # Panics
    /// Where no folder can be made.
    pub fn new(config: &str) -> Shop {
        let folder = tempfile::Builder::new().prefix("etalage-tests-").tempdir().expect("a temporary folder");
        let shop = Shop { folder, environment: Vec::new() };
        shop.configure(config);
        shop
    }

    /// Another configuration from the next start on.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn configure(&self, config: &str) {
        fs::write(self.path("shop.toml"), config).expect("the configuration can be written");
    }

    /// The same shop with a variable in the environment of its commands.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Shop {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of its store.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The segments of its log, oldest first.
    ///
    /// # Panics
    /// Where there is no store.
    pub fn segments(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.data()).expect("there is a store");
        let paths = entries.map(|entry| entry.expect("the folder can be listed").path());
        let mut segments: Vec<PathBuf> = paths.filter(|path| path.extension() == Some("seg".as_ref())).collect();
        segments.sort();
        segments
    }

    /// A command that reads this shop's configuration and store.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = etalage(arguments);
        command.arg("--config").arg(self.path("shop.toml")).arg("--data-dir").arg(self.data());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs [`Shop::command`] to its end.
    pub fn ended(&self, arguments: &[&str]) -> Ended {
        Ended::of(self.command(arguments))
    }

    /// Writes a file into its folder.
    ///
    /// # Panics
    /// Where that fails.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, bytes).expect("a file can be written");
        path
    }

    /// Starts `etalage run` on a free port and waits until it is ready.
    #[track_caller]
    pub fn run(&self) -> Server {
        let server = self.start();
        server.wait_ready();
        server
    }

    /// Starts `etalage run` on a free port and waits until it listens.
    #[track_caller]
    pub fn start(&self) -> Server {
        Server::start(self.command(&["run", "--port", "0"]))
    }
}

/// A running command that serves nothing; it is killed when this value goes away.
pub struct Running(Child);

impl Running {
    /// Starts a command.
    ///
    /// # Panics
    /// Where it does not start.
    pub fn start(mut command: Command) -> Running {
        Running(command.stdout(Stdio::null()).spawn().expect("the binary starts"))
    }

    /// Asks it to end, as `systemd` would; its exit code.
    ///
    /// # Panics
    /// Where it does not end.
    pub fn terminate(mut self) -> Option<i32> {
        signal(&self.0, "TERM");
        wait_for(&mut self.0, SERVER_TIMEOUT).expect("a command ends when it is asked to").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server; it is killed when this value goes away.
pub struct Server {
    child: Child,
    /// A client of it.
    pub http: Http,
    command: String,
    said: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a command that prints an address to standard error, and waits for it.
    ///
    /// # Panics
    /// Where it ends before, or says nothing.
    #[track_caller]
    pub fn start(command: Command) -> Server {
        match Server::try_start(command) {
            Ok(server) => server,
            Err(said) => panic!("{said}"),
        }
    }

    /// As [`Server::start`].
    ///
    /// # Errors
    /// What it said, where it ended before it named an address.
    ///
    /// # Panics
    /// Where it does not start at all.
    pub fn try_start(mut command: Command) -> Result<Server, String> {
        let name = format!("{command:?}");
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let (send, address) = channel();
        let said = Arc::new(Mutex::new(String::new()));
        let pipe = child.stderr.take().expect("standard error is piped");
        let reader = std::thread::spawn({
            let said = Arc::clone(&said);
            move || listen(pipe, &said, &send)
        });
        let Ok(url) = address.recv_timeout(SERVER_TIMEOUT) else {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("{name} named no address: {}", said.lock().expect("no reader panics")));
        };
        Ok(Server { child, http: Http::new(&url), command: name, said, reader: Some(reader) })
    }

    /// Waits until `/readyz` says so.
    #[track_caller]
    pub fn wait_ready(&self) {
        eventually("the server is ready", || self.http.try_get("/readyz").ok().filter(|answer| answer.status == 200));
    }

    /// What it has said on standard error so far.
    ///
    /// # Panics
    /// Where its reader has panicked.
    pub fn said(&self) -> String {
        self.said.lock().expect("no reader panics").clone()
    }

    /// Whether it has ended by itself.
    ///
    /// # Panics
    /// Where the system does not tell.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the system knows its children").is_some()
    }

    /// `kill -9`.
    ///
    /// # Panics
    /// Where it has ended before and was waited for.
    pub fn kill(mut self) -> Ended {
        self.child.kill().expect("a running server can be killed");
        self.wait()
    }

    /// Asks it to end, as `systemd` would.
    pub fn terminate(self) -> Ended {
        self.end("TERM")
    }

    /// Ctrl-C.
    pub fn interrupt(self) -> Ended {
        self.end("INT")
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    fn end(self, name: &str) -> Ended {
        self.signal(name);
        self.wait()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// Where it does not end, or has panicked.
    pub fn wait(mut self) -> Ended {
        let status = wait_for(&mut self.child, SERVER_TIMEOUT);
        let status = status.unwrap_or_else(|| panic!("{} does not end: {}", self.command, self.said()));
        if let Some(reader) = self.reader.take() {
            reader.join().expect("standard error is read to its end");
        }
        let ended = Ended { command: self.command.clone(), code: status.code(), out: String::new(), err: self.said() };
        assert!(!ended.err.contains("panicked"), "it panicked: {ended}");
        ended
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.command, self.said());
        }
    }
}

/// Reads standard error; the first address goes to `address`.
fn listen(pipe: ChildStderr, said: &Mutex<String>, address: &Sender<String>) {
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        let mut said = said.lock().expect("no reader panics");
        said.push_str(&line);
        said.push('\n');
        drop(said);
        if let Some((_, rest)) = line.split_once(" listens on http://") {
            let url = rest.split_whitespace().next().unwrap_or_default();
            // Only the first one is waited for.
            let _ = address.send(format!("http://{url}"));
        }
    }
}
