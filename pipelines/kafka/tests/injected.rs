//! Errors that a real broker does not make on demand, injected by librdkafka's mock of one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, unbounded};
use etalage_kafka::{
    Brokers, InputKind, Publisher, Sink, SinkOptions, SinkReader, Source, SourceOptions, Step, Subscription, To,
};
use etalage_model::{Changes, Group, Key, Micros, SealedBatch, SealedTick, Sym, Tick, TickTimes, Value, ViewInfo};
use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr as Refusal},
};

const VIEW: &str = "numbers";
const PATIENCE: Duration = Duration::from_secs(60);

type Cluster = MockCluster<'static, DefaultProducerContext>;

fn cluster(topics: &[&str]) -> (Cluster, Brokers) {
    let cluster = MockCluster::new(1).expect("a mock starts");
    topics.iter().for_each(|topic| cluster.create_topic(topic, 2, 1).expect("a topic can be made"));
    let brokers = Brokers { bootstrap: cluster.bootstrap_servers(), ..Brokers::default() };
    (cluster, brokers)
}

struct Nothing;

impl etalage_kafka::Urgency for Nothing {
    fn look(&mut self, _tick: &SealedTick) -> bool {
        false
    }
    fn concerns(&self, _view: &str) -> bool {
        false
    }
    fn is_urgent(&self, _view: &str, _step: &Step<'_>) -> bool {
        false
    }
}

/// A sink of one view whose values are numbers, and what it says where it has failed.
fn sink(brokers: &Brokers, is_transactional: bool) -> (Sink, Receiver<String>) {
    let (fail, failed) = unbounded();
    let options = SinkOptions {
        brokers: brokers.clone(),
        prefix: "p.".to_owned(),
        group: Group::Shop,
        views: vec![ViewInfo {
            name: VIEW,
            group: Group::Shop,
            key_fields: &["name"],
            about: "",
            is_personal: false,
            resolve: None,
            window_start: None,
        }],
        linger: Duration::from_micros(500),
        now: || {
            static NOW: AtomicU64 = AtomicU64::new(1);
            let now = NOW.fetch_add(1, Ordering::SeqCst);
            (now, Micros(now))
        },
        publish_interval: Vec::new(),
        change_streams: Vec::new(),
        is_transactional,
        failed: Arc::new(move |reason| fail.send(reason).expect("the test listens")),
    };
    let sink = Sink::start(options, Box::new(Nothing)).expect("a sink starts");
    (sink, failed)
}

fn seal(reader: &mut SinkReader, at: Tick, changes: &[(&str, u64)]) {
    let upserts = changes.iter().map(|(name, number)| (Key::new(&[Sym::new(name)]), Some(Arc::new(*number) as Value)));
    let (lower, upper, group) = (at, at + 1, Group::Shop);
    let batch = SealedBatch { upserts: upserts.collect(), ..SealedBatch::new(group, VIEW, lower, upper) };
    let tick = SealedTick { group, lower, upper, times: TickTimes::default(), batches: vec![batch] };
    reader.sealed(&Arc::new(tick));
}

/// The newest values as of `tick` or later.
fn seen(subscription: &mut Subscription, values: &mut BTreeMap<String, String>, tick: Tick) {
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "tick {tick} is not seen: {values:?}");
        let cut = subscription.next(Duration::from_secs(1)).expect("the topics can be read");
        let Some(cut) = cut else { continue };
        for change in cut.changes {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("JSON is text");
            values.insert(text(change.key), change.value.map(text).unwrap_or_default());
        }
        if cut.tick >= tick {
            return;
        }
    }
}

#[test]
fn values_arrive_in_spite_of_refusals() {
    arrive_in_spite_of_refusals(false, RDKafkaApiKey::Produce);
}

/// What the mock shows of cancelled transactions is not what a broker would: here it is about what arrives in the end.
#[test]
fn values_arrive_in_spite_of_refusals_in_the_middle_of_transactions() {
    arrive_in_spite_of_refusals(true, RDKafkaApiKey::Produce);
    arrive_in_spite_of_refusals(true, RDKafkaApiKey::AddPartitionsToTxn);
}

fn arrive_in_spite_of_refusals(is_transactional: bool, request: RDKafkaApiKey) {
    let (cluster, brokers) = cluster(&["p.numbers.v1", "p.progress.v1"]);
    let (sink, failed) = sink(&brokers, is_transactional);
    let mut reader = sink.reader();
    seal(&mut reader, 1, &[("a", 1), ("b", 1)]);
    sink.begin()();
    let mut subscription = Subscription::open(&brokers, "p.", Group::Shop, &[VIEW]).expect("the topics can be read");
    let mut values = BTreeMap::new();
    seen(&mut subscription, &mut values, 1);

    // What the client itself tries again, and what it gives back.
    let passing = [
        Refusal::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Refusal::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Refusal::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    ];
    let final_ones =
        [Refusal::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, Refusal::RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE];
    for (tick, refusals) in [(2, &passing[..]), (3, &final_ones[..])] {
        cluster.request_errors(request, refusals);
        let sealed = Instant::now();
        seal(&mut reader, tick, &[("a", tick)]);
        seen(&mut subscription, &mut values, tick);
        // What was refused for good waits before it is sent again.
        let waits = refusals == final_ones && request == RDKafkaApiKey::Produce;
        assert!(!waits || sealed.elapsed() > Duration::from_millis(900), "nothing was refused");
        assert_eq!(values[r#"{"name":"a"}"#], tick.to_string());
        assert_eq!(values[r#"{"name":"b"}"#], "1");
    }
    assert!(failed.is_empty());
    sink.stop();
}

/// A producer that has failed for good is told of, once, and does not pretend to send.
#[test]
fn an_error_that_is_fatal_to_the_producer_is_told() {
    let (cluster, brokers) = cluster(&["p.numbers.v1", "p.progress.v1"]);
    cluster
        .request_errors(RDKafkaApiKey::InitProducerId, &[Refusal::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED; 3]);
    let (sink, failed) = sink(&brokers, false);
    let mut reader = sink.reader();
    sink.begin()();
    seal(&mut reader, 1, &[("a", 1)]);
    let reason = failed.recv_timeout(PATIENCE).expect("it is told");
    assert!(reason.contains("can no longer be sent to topics"), "{reason}");
    seal(&mut reader, 2, &[("a", 2)]);
    assert!(failed.recv_timeout(Duration::from_secs(2)).is_err(), "it is told once");
    let began = Instant::now();
    sink.stop();
    assert!(began.elapsed() < Duration::from_secs(5), "there is nothing to wait for");
}

/// A commit that had to be asked for again is followed by a new producer. Where nobody knows what it has done, and where
/// another has begun under the same id, nothing more is sent.
#[test]
fn a_transaction_that_is_not_committed_at_once_is_followed_by_a_new_producer() {
    let ask_again = Refusal::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS;
    let (cluster, brokers) = cluster(&["p.numbers.v1", "p.progress.v1"]);
    let mut subscription = Subscription::open(&brokers, "p.", Group::Shop, &[VIEW]).expect("the topics can be read");
    let (mut values, mut tick) = (BTreeMap::new(), 0);
    for answers in [&[][..], &[ask_again]] {
        let (sink, failed) = sink(&brokers, true);
        let mut reader = sink.reader();
        sink.begin()();
        let mut seal_and_see = || {
            tick += 1;
            seal(&mut reader, tick, &[("a", tick), ("b", tick)]);
            seen(&mut subscription, &mut values, tick);
            assert_eq!(values[r#"{"name":"a"}"#], tick.to_string());
        };
        seal_and_see();
        cluster.request_errors(RDKafkaApiKey::EndTxn, answers);
        seal_and_see();
        // A new producer is one that can be told that it may not begin.
        cluster.request_errors(RDKafkaApiKey::EndTxn, answers);
        let may_not = [Refusal::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED; 4];
        cluster.request_errors(RDKafkaApiKey::InitProducerId, &may_not);
        tick += 1;
        seal(&mut reader, tick, &[("a", tick)]);
        let told = failed.recv_timeout(Duration::from_secs(5));
        assert_eq!(told.is_ok(), !answers.is_empty(), "{answers:?}: {told:?}");
        cluster.clear_request_errors(RDKafkaApiKey::InitProducerId);
        sink.stop();
    }
    for (answer, says) in [
        (Refusal::RD_KAFKA_RESP_ERR_PRODUCER_FENCED, "fenced"),
        (Refusal::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, "EndTxn"),
        (Refusal::RD_KAFKA_RESP_ERR_UNKNOWN, "EndTxn"),
    ] {
        let (sink, failed) = sink(&brokers, true);
        let mut reader = sink.reader();
        sink.begin()();
        cluster.request_errors(RDKafkaApiKey::EndTxn, &[answer]);
        tick += 1;
        seal(&mut reader, tick, &[("a", tick)]);
        let reason = failed.recv_timeout(PATIENCE).expect("it is told");
        assert!(reason.contains(says), "{reason}");
        sink.stop();
    }
}

/// Messages are handed over once, in their order, whatever fetching them is answered meanwhile.
#[test]
fn messages_are_read_in_spite_of_refusals() {
    let (cluster, brokers) = cluster(&["events"]);
    let publisher = Publisher::open(&brokers, Duration::ZERO).expect("a publisher");
    let send = |from: u32, to: u32| {
        for number in from..to {
            let to = To { topic: "events", partition: Some(number % 2), key: "" };
            publisher.send(to, Some(number.to_string().as_bytes())).expect("the client takes it");
        }
        publisher.flush(PATIENCE).expect("everything is delivered");
    };
    send(0, 20);
    cluster.request_errors(
        RDKafkaApiKey::Fetch,
        &[
            Refusal::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Refusal::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            Refusal::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        ],
    );
    let options = SourceOptions {
        brokers,
        topics: vec![("events".to_owned(), InputKind::Events)],
        group: "g".to_owned(),
        discover_every: Duration::from_millis(100),
    };
    let mut source = Source::open(options, &[]).expect("the topic can be read");
    let (mut of, until) = ([Vec::new(), Vec::new()], Instant::now() + PATIENCE);
    for round in 1..=2 {
        while of.iter().map(Vec::len).sum::<usize>() < 20 * round {
            assert!(Instant::now() < until, "not everything is read: {of:?}");
            let Some(received) = source.receive(Duration::from_millis(100)).expect("it goes on") else { continue };
            let text = String::from_utf8(received.payload.expect("no tombstone")).expect("text");
            of[received.partition as usize].push(text.parse::<u32>().expect("a number"));
        }
        assert!(source.has_caught_up());
        if round == 1 {
            cluster.request_errors(RDKafkaApiKey::Metadata, &[Refusal::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART; 2]);
            send(20, 40);
        }
    }
    assert_eq!(of, [0, 1].map(|partition| (0..40).filter(|number| number % 2 == partition).collect::<Vec<u32>>()));
}
