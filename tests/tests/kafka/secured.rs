//! Brokers with TLS, passwords and rights (SASL_SSL, PLAIN and SCRAM, ACLs): who is let in, who is told why not, and that
//! nobody is told a secret.

use std::{fs, path::Path, process::Command, time::Duration};

use etalage_kafka::{Brokers, Publisher, Secret};
use etalage_tests::{Server, binary::root, broker::Broker, seed};

use crate::{
    changes::{STREAMS, TRANSACTIONS, assert_told},
    support::{TopicShop, disturbed, now_ms, story},
};

/// Grants what docs/kafka.md says that the service needs.
const GRANT: &str = "
import sys
from confluent_kafka.admin import *
admin = AdminClient(dict(pair.split('=', 1) for pair in sys.argv[3:]))
def grant(kind, name, pattern, *operations):
    return [AclBinding(kind, name, pattern, f'User:{sys.argv[1]}', '*', operation, AclPermissionType.ALLOW)
            for operation in operations]
name, may = sys.argv[2], AclOperation
acls = []
for kind in ['events', 'inventory', 'catalog']:
    acls += grant(ResourceType.TOPIC, f'{name}-in.{kind}', ResourcePatternType.LITERAL, may.READ)
acls += grant(ResourceType.GROUP, 'etalage', ResourcePatternType.LITERAL, may.READ)
acls += grant(ResourceType.TOPIC, f'{name}.', ResourcePatternType.PREFIXED, may.READ, may.WRITE, may.DESCRIBE_CONFIGS)
acls += grant(ResourceType.TRANSACTIONAL_ID, f'{name}.', ResourcePatternType.PREFIXED, may.WRITE)
for granted in admin.create_acls(acls).values():
    granted.result(20)
";

fn grant(broker: &Broker, user: &str, name: &str) {
    let Brokers { bootstrap, properties, secrets } = broker.brokers();
    let mut command = Command::new(root().join("target/kafka/venv/bin/python"));
    command.args(["-c", GRANT, user, name]).arg(format!("bootstrap.servers={bootstrap}"));
    command.args(properties.iter().map(|(name, value)| format!("{name}={value}")));
    for (name, secret) in &secrets {
        let Secret::File(path) = secret else { panic!("{secret:?}") };
        command.arg(format!("{name}={}", fs::read_to_string(path).expect("a password").trim()));
    }
    let ended = command.output().expect("Python starts; `tests/run` installs what tests need");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// Who gives a wrong password, who may not read a topic, who may not even look at one, and who cannot tell whether it is the
/// broker that answers, is told so.
#[test]
fn who_is_not_let_in_is_told() {
    let broker = Broker::start_guarded();
    let mut topics = TopicShop::new(&broker, "guarded", 1);
    let run = |topics: &TopicShop| topics.shop.ended(&["run", "--port", "0", "--no-wait"]).with_code(1);
    let with = |secret: Secret| {
        let secrets = vec![("sasl.password".to_owned(), secret)];
        Brokers { secrets, ..broker.brokers_as("shop", "PLAIN") }
    };

    // Secrets that are not there, or wrong.
    topics.become_user(with(Secret::File("/nowhere/password".into())));
    run(&topics).says(&["[kafka] secrets: `sasl.password`", "the file /nowhere/password: No such file"]);
    topics.become_user(with(Secret::Variable("NOT_SET_ANYWHERE".into())));
    run(&topics).says(&["`sasl.password`: the environment variable NOT_SET_ANYWHERE is not set"]);
    topics.become_user(with(Secret::File("/dev/null".into())));
    run(&topics).says(&["the file /dev/null is empty"]);
    topics.become_user(with(Secret::File(topics.shop.write("guessed", "guessed-so"))));
    let refused = run(&topics).says(&["not allowed to connect", "[kafka] secrets"]);
    assert!(!refused.err.contains("guessed-so"), "{}", refused.err);

    // Rights.
    topics.become_user(broker.brokers_as("shop", "PLAIN"));
    run(&topics).says(&["not allowed to read `guarded-in.events`", "grant it"]);
    topics.shop.ended(&["topics", "check"]).with_code(1).says(&["`guarded.item.sellable.v1` may not be looked at"]);
    topics.shop.ended(&["topics", "create"]).with_code(1);

    // A broker that may be anybody: its certificate is of nobody who is trusted, or of another name.
    let mut unknown = broker.brokers();
    unknown.properties.retain(|(name, _)| name != "ssl.ca.location");
    topics.become_user(unknown);
    run(&topics).says(&["no Kafka broker answers", "certificate verify failed"]);
    let bootstrap = broker.address().replace("127.0.0.1", "localhost");
    topics.become_user(Brokers { bootstrap, ..broker.brokers() });
    run(&topics).says(&["no Kafka broker answers", "certificate verify failed"]);

    topics.become_user(broker.brokers());
    topics.shop.run().terminate().with_code(0);
}

/// By SCRAM over TLS, with no right but those that the documentation lists, and the password in a file or a variable: the
/// answers are those of the embedded mode, and no line of any log holds the password.
#[test]
fn a_user_with_no_more_rights_than_needed_is_served_and_its_password_is_shown_to_nobody() {
    let broker = Broker::start_guarded();
    let mut topics = TopicShop::with(&broker, "secured", 1, STREAMS);
    grant(&broker, "scram", "secured");
    let publisher = Publisher::open(&broker.brokers(), Duration::from_millis(1)).expect("a publisher");
    let (seed, mut random) = seed::draw("kafka secured");
    let now_ms = now_ms();
    let mut messages = story(seed::from(seed), 400, now_ms);
    let sent = disturbed(&messages, &mut random);
    let (before, after) = sent.split_at(sent.len() / 2);
    let mut said = String::new();
    let mut run = |topics: &TopicShop, some: &[_], is_over: &dyn Fn()| {
        topics.send(&publisher, some);
        let mut command = topics.shop.command(&["run", "--port", "0"]);
        command.env("ETALAGE_LOG", "trace").env("OF_SCRAM", "of-scram");
        let server = Server::start(command);
        server.wait_ready();
        is_over();
        said.push_str(&server.http.get("/metrics").text);
        said.push_str(&server.terminate().with_code(0).err);
    };

    topics.become_user(broker.brokers_as("scram", "SCRAM-SHA-512"));
    run(&topics, before, &|| ());
    topics.more = TRANSACTIONS.to_owned();
    let of_variable = vec![("sasl.password".to_owned(), Secret::Variable("OF_SCRAM".into()))];
    topics.become_user(Brokers { secrets: of_variable, ..broker.brokers_as("scram", "SCRAM-SHA-256") });
    let seen = std::cell::RefCell::default();
    let last = std::cell::RefCell::default();
    run(&topics, after, &|| {
        *last.borrow_mut() = topics.send_last(&publisher, now_ms);
        *seen.borrow_mut() = topics.seen(&broker.brokers());
    });
    messages.extend(last.into_inner());
    let seen = seen.into_inner();
    assert_eq!(seen, topics.embedded(&messages));
    assert_told(&topics, &broker, &seen);
    topics.verify();

    let checked = topics.shop.ended(&["check"]).with_code(0);
    said.push_str(&checked.out);
    assert!(said.contains("kafka"), "something was said");
    assert!(!said.contains("of-scram"), "a password is shown");
    assert!(!everything_below(&topics.shop.path(".")).contains("of-scram"), "a password is kept");
}

/// All files of a folder, as far as they are text.
fn everything_below(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).expect("the folder can be listed").flatten() {
        match entry.path() {
            path if path.is_dir() => all.push_str(&everything_below(&path)),
            path => all.push_str(&String::from_utf8_lossy(&fs::read(path).unwrap_or_default())),
        }
    }
    all
}
