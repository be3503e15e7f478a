//! A real S3 server with one bucket, on a free port. `tests/cloud/s3` starts it; what it holds is gone with it.

use std::{
    fs::File,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;
use ureq::Agent;

use crate::binary::{root, signal};

/// How long it may take to start, with what it needs from PyPI where that is not there yet.
const S3_TIMEOUT: Duration = Duration::from_secs(180);

/// The bucket.
pub const BUCKET: &str = "etalage-tests";

/// The secret that its clients have; it must be seen nowhere.
pub const SECRET: &str = "hush-this-must-be-seen-nowhere";

/// Whose objects these are, for the server, which looks at no signature.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=etalage/20260101/eu-west-1/s3/aws4_request, SignedHeaders=host, \
                      Signature=0";

/// An S3 server; it is killed when this value goes away.
pub struct S3 {
    folder: TempDir,
    port: u16,
    agent: Agent,
    /// Whether it knows nobody, so that whoever asks is refused.
    is_guarded: bool,
    child: Option<Child>,
}

impl S3 {
    /// Starts one that lets everybody in, and makes the bucket.
    ///
    /// # Panics
    /// Where it does not answer.
    pub fn start() -> S3 {
        S3::start_with(false)
    }

    /// Starts one that refuses whoever asks, once the bucket is made.
    ///
    /// # Panics
    /// Where it does not answer.
    pub fn start_guarded() -> S3 {
        S3::start_with(true)
    }

    fn start_with(is_guarded: bool) -> S3 {
        let folder = tempfile::Builder::new().prefix("etalage-s3-").tempdir().expect("a temporary folder");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|held| held.local_addr()).expect("a free port").port();
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(30)));
        let mut s3 = S3 { folder, port, agent: config.build().into(), is_guarded, child: None };
        s3.begin();
        s3
    }

    /// Starts it again on the same port, with nothing in it but the bucket.
    ///
    /// # Panics
    /// Where it does not answer.
    pub fn begin(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.expect("a file in the server's folder");
        let mut command = Command::new(root().join("tests/cloud/s3"));
        command.arg(self.port.to_string());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
        command.env("ETALAGE_S3_PARENT", std::process::id().to_string());
        if self.is_guarded {
            // The one that makes the bucket, and the first of them after that, asks for nothing.
            command.env("INITIAL_NO_AUTH_ACTION_COUNT", "1");
        }
        self.child = Some(command.spawn().expect("the server's script starts"));
        let (began, bucket) = (Instant::now(), self.url(""));
        loop {
            match self.agent.put(&bucket).send_empty() {
                Ok(answer) if answer.status() == 200 => return,
                Ok(answer) => panic!("PUT {bucket}: {}\n{}", answer.status(), self.said()),
                Err(error) => {
                    assert!(began.elapsed() < S3_TIMEOUT, "no S3 server answers: {error}\n{}", self.said());
                    let child = self.child.as_mut().expect("it was just started");
                    let ended = child.try_wait().expect("a child can be asked");
                    assert!(ended.is_none(), "the S3 server has ended: {ended:?}\n{}", self.said());
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    }

    /// Kills it, with all it holds.
    ///
    /// # Panics
    /// Where it cannot be killed.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
    }

    /// It takes connections and answers nothing, until [`S3::thaw`].
    ///
    /// # Panics
    /// Where it does not run.
    pub fn freeze(&self) {
        signal(self.child.as_ref().expect("it runs"), "STOP");
    }

    /// It answers again.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn thaw(&self) {
        signal(self.child.as_ref().expect("it runs"), "CONT");
    }

    /// The environment with which it is reached.
    pub fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "eu-west-1".into()),
            ("AWS_ACCESS_KEY_ID", "etalage".into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// The keys of all objects, in order.
    ///
    /// # Panics
    /// Where they are not listed.
    pub fn keys(&self) -> Vec<String> {
        let mut listed = self.agent.get(self.url("?list-type=2")).call().expect("the bucket is listed");
        let text = listed.body_mut().read_to_string().expect("a list is a text");
        assert!(!text.contains("<IsTruncated>true"), "one page holds all of them");
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split('<').next());
        keys.map(str::to_owned).collect()
    }

    /// Writes an object over another.
    ///
    /// # Panics
    /// Where it is not taken.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        let answer =
            self.agent.put(self.url(key)).header("Authorization", SIGNED).send(bytes).expect("an object is taken");
        assert_eq!(answer.status(), 200, "PUT {key}");
    }

    /// Removes an object.
    ///
    /// # Panics
    /// Where it stays.
    pub fn remove(&self, key: &str) {
        let answer =
            self.agent.delete(self.url(key)).header("Authorization", SIGNED).call().expect("an object is removed");
        assert_eq!(answer.status(), 204, "DELETE {key}");
    }

    fn url(&self, rest: &str) -> String {
        format!("http://127.0.0.1:{}/{BUCKET}/{rest}", self.port)
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
