//! A real Kafka broker: one node, in a folder of its own, on free ports. `tests/kafka/broker` starts it.

use std::{
    fs::File,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use etalage_kafka::{
    Brokers,
    topics::{self, TopicSpec},
};
use tempfile::TempDir;

use crate::binary::{root, signal, wait_for};

/// How long a broker may take to start, and to end.
const BROKER_TIMEOUT: Duration = Duration::from_secs(120);

/// A broker; it is killed when this value goes away.
pub struct Broker {
    folder: TempDir,
    ports: [u16; 2],
    settings: Vec<String>,
    /// What its clients have to say to be let in.
    properties: Vec<(String, String)>,
    child: Option<Child>,
}

/// A broker that lets nobody do anything but `admin`; there is a user `shop` beside it.
const GUARDED: [&str; 6] = [
    "listener.security.protocol.map=PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name=PLAINTEXT",
    "sasl.enabled.mechanisms=PLAIN\nsasl.mechanism.inter.broker.protocol=PLAIN",
    "listener.name.plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
     username=\"admin\" password=\"of-admin\" user_admin=\"of-admin\" user_shop=\"of-shop\";",
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    // The controller's own way in is not guarded.
    "super.users=User:admin;User:ANONYMOUS",
];

/// The settings with which a user is let in.
pub fn credentials(user: &str, password: &str) -> Vec<(String, String)> {
    let settings = [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", user),
        ("sasl.password", password),
    ];
    settings.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

impl Broker {
    /// The broker that the tests of one program share. It ends with the program.
    pub fn shared() -> &'static Broker {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(Broker::start)
    }

    /// Starts a broker, and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub fn start() -> Broker {
        Broker::start_with(&[], Vec::new())
    }

    /// Starts a broker that lets nobody do anything but `admin`. There is a user `shop`, with the password
    /// `of-shop`.
    ///
    /// # Panics
    /// Where it does not answer.
    pub fn start_guarded() -> Broker {
        Broker::start_with(&GUARDED, credentials("admin", "of-admin"))
    }

    fn start_with(settings: &[&str], properties: Vec<(String, String)>) -> Broker {
        let folder = tempfile::Builder::new().prefix("etalage-kafka-").tempdir().expect("a temporary folder");
        // Both are held until both are known, so that they differ.
        let held = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = held.each_ref().map(|port| port.local_addr().expect("a bound port").port());
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let mut broker = Broker { folder, ports, settings, properties, child: None };
        drop(held);
        broker.begin();
        broker
    }

    /// Starts it again on the same folder and ports, and waits until it answers.
    ///
    /// # Panics
    /// Where it does not.
    pub fn begin(&mut self) {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.expect("a file in the broker's folder");
        let mut command = Command::new(root().join("tests/kafka/broker"));
        command.arg(self.folder.path().join("broker")).args(self.ports.map(|port| port.to_string()));
        command.args(&self.settings).stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
        // It ends with the test that started it, also where that is killed.
        command.env("ETALAGE_KAFKA_PARENT", std::process::id().to_string());
        self.child = Some(command.spawn().expect("the broker's script starts"));
        let began = Instant::now();
        while let Err(error) = self.brokers().reach() {
            assert!(began.elapsed() < BROKER_TIMEOUT, "no broker answers: {error}\n{}", self.said());
            let child = self.child.as_mut().expect("it was just started");
            let ended = child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "the broker has ended: {ended:?}\n{}", self.said());
        }
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Panics
    /// Where it does not.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(&child, "TERM");
        let status = wait_for(&mut child, BROKER_TIMEOUT);
        assert!(status.is_some(), "the broker does not end: {}", self.said());
    }

    /// Kills it: it has no time for anything.
    ///
    /// # Panics
    /// Where it cannot be killed.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        child.kill().expect("a child can be killed");
        child.wait().expect("a killed child ends");
    }

    /// How it is reached.
    pub fn brokers(&self) -> Brokers {
        Brokers { bootstrap: self.address(), properties: self.properties.clone() }
    }

    /// Its address.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.ports[0])
    }

    /// Makes topics of so many partitions each.
    ///
    /// # Panics
    /// Where they cannot be made.
    pub fn make(&self, wanted: &[(&str, u32)]) {
        self.make_with(wanted, &[]);
    }

    /// The same, with settings.
    ///
    /// # Panics
    /// Where they cannot be made.
    pub fn make_with(&self, wanted: &[(&str, u32)], settings: &[(&'static str, &str)]) {
        let spec = |(name, partitions): &(&str, u32)| TopicSpec {
            name: (*name).to_owned(),
            partitions: *partitions,
            settings: settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
            min_message_bytes: 0,
        };
        let specs: Vec<TopicSpec> = wanted.iter().map(spec).collect();
        let made = topics::create(&self.brokers(), &specs, 1);
        assert_eq!(made.expect("topics can be made").len(), wanted.len());
    }

    /// Gives a topic more partitions, so that it has `count`.
    ///
    /// # Panics
    /// Where it cannot.
    pub fn add_partitions(&self, topic: &str, count: u32) {
        topics::grow(&self.brokers(), topic, count).expect("a topic can grow");
    }

    fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
