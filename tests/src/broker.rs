//! A real Kafka broker: one node, in a folder of its own, on free ports. `tests/kafka/broker` starts it.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use etalage_kafka::{
    Brokers, Secret,
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
    /// What its script is told beside folder and ports.
    arguments: Vec<String>,
    is_guarded: bool,
    child: Option<Child>,
}

/// A broker with TLS that lets nobody do anything but `admin`. Whoever can say a password by PLAIN or SCRAM
/// is let in, and may do what was granted.
const GUARDED: [&str; 12] = [
    "listener.security.protocol.map=PLAINTEXT:SASL_SSL,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name=PLAINTEXT",
    "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
    "sasl.mechanism.inter.broker.protocol=PLAIN",
    "listener.name.plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
     username=\"admin\" password=\"of-admin\" user_admin=\"of-admin\" user_shop=\"of-shop\";",
    "listener.name.plaintext.scram-sha-256.sasl.jaas.config=\
     org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "listener.name.plaintext.scram-sha-512.sasl.jaas.config=\
     org.apache.kafka.common.security.scram.ScramLoginModule required;",
    "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    // The controller's own way in is not guarded.
    "super.users=User:admin;User:ANONYMOUS",
    "ssl.keystore.type=PKCS12",
    "ssl.keystore.password=of-keystore",
    "ssl.truststore.type=PEM",
];

/// The users that a guarded broker knows by SCRAM.
const SCRAM: [&str; 2] =
    ["SCRAM-SHA-256=[name=scram,password=of-scram]", "SCRAM-SHA-512=[name=scram,password=of-scram]"];

/// Makes the key of a broker on 127.0.0.1, and the certificate by which it is known: `ca.pem` in `folder`.
fn certify(folder: &Path) {
    let (store, certificate) = (folder.join("broker.p12"), folder.join("ca.pem"));
    let keytool = |arguments: &[&str]| {
        let mut command = Command::new("keytool");
        command.args(arguments).args(["-alias", "broker", "-storetype", "PKCS12", "-storepass", "of-keystore"]);
        let ended = command.arg("-keystore").arg(&store).output().expect("keytool comes with Java");
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
    };
    let known_as = ["-dname", "CN=127.0.0.1", "-ext", "san=ip:127.0.0.1", "-ext", "bc=ca:true", "-validity", "30"];
    keytool(&[&["-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1"][..], &known_as].concat());
    keytool(&["-exportcert", "-rfc", "-file", certificate.to_str().expect("a path that is text")]);
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
        let mut broker = Broker::prepare();
        broker.begin();
        broker
    }

    /// Starts a broker with TLS that lets nobody do anything but `admin`. There are a user `shop` beside it, and
    /// by SCRAM a user `scram`; the password of each is `of-` and the name.
    ///
    /// # Panics
    /// Where it does not answer.
    pub fn start_guarded() -> Broker {
        let mut broker = Broker::prepare();
        broker.is_guarded = true;
        certify(broker.folder.path());
        for user in ["admin", "shop", "scram"] {
            std::fs::write(broker.password(user), format!("of-{user}\n")).expect("a file in the broker's folder");
        }
        let path = |name: &str| broker.folder.path().join(name).display().to_string();
        let places = [
            format!("ssl.keystore.location={}", path("broker.p12")),
            format!("ssl.truststore.location={}", path("ca.pem")),
        ];
        broker.arguments = GUARDED.map(str::to_owned).into_iter().chain(places).collect();
        broker.arguments.extend(SCRAM.iter().flat_map(|user| ["--add-scram", *user]).map(str::to_owned));
        broker.begin();
        broker
    }

    fn prepare() -> Broker {
        let folder = tempfile::Builder::new().prefix("etalage-kafka-").tempdir().expect("a temporary folder");
        // Both are held until both are known, so that they differ.
        let held = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let ports = held.each_ref().map(|port| port.local_addr().expect("a bound port").port());
        Broker { folder, ports, arguments: Vec::new(), is_guarded: false, child: None }
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
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
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

    /// How it is reached, by `admin` where it is guarded.
    pub fn brokers(&self) -> Brokers {
        match self.is_guarded {
            true => self.brokers_as("admin", "PLAIN"),
            false => Brokers { bootstrap: self.address(), ..Brokers::default() },
        }
    }

    /// How a guarded one is reached by a user, whose password stands in a file.
    pub fn brokers_as(&self, user: &str, mechanism: &str) -> Brokers {
        let certificate = self.folder.path().join("ca.pem").display().to_string();
        let properties = [
            ("security.protocol", "SASL_SSL"),
            ("sasl.mechanism", mechanism),
            ("sasl.username", user),
            ("ssl.ca.location", &certificate),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let secrets = vec![("sasl.password".to_owned(), Secret::File(self.password(user)))];
        Brokers { bootstrap: self.address(), properties, secrets }
    }

    /// The file with a user's password.
    pub fn password(&self, user: &str) -> PathBuf {
        self.folder.path().join(format!("{user}.password"))
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
