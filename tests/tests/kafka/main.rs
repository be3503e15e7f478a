//! The pipeline between real topics: what a subscriber sees is byte for byte what the embedded mode
//! answers, whatever is killed meanwhile.

mod changes;
mod errors;
mod faults;
mod readers;
mod secured;
mod subscribers;
mod support;

use std::time::Duration;

use etalage_tests::{broker::Broker, http::eventually, seed};
use rand::RngExt;
use support::{TopicShop, assert_described, disturbed, messages_in, now_ms, publisher, story};

/// Half of the messages lie in the topics before the service starts, half come while it runs.
#[test]
fn the_topics_hold_what_the_embedded_mode_answers() {
    let broker = Broker::shared();
    for workers in [1, 2] {
        let (seed, mut random) = seed::draw("kafka");
        let topics = TopicShop::new(broker, &format!("equal-{workers}"), workers);
        let publisher = publisher(broker);
        let now_ms = now_ms();
        let mut messages = story(seed::from(seed), 1_500, now_ms);
        let sent = disturbed(&messages, &mut random);
        let (before, after) = sent.split_at(sent.len() / 2);
        topics.send(&publisher, before);
        publisher.flush(Duration::from_secs(30)).expect("everything is delivered");
        let server = topics.shop.run();
        topics.send(&publisher, after);
        messages.extend(topics.send_last(&publisher, now_ms));
        let seen = topics.seen(&broker.brokers());
        assert_eq!(seen, topics.embedded(&messages), "{workers} workers");
        assert_described(&seen);
        server.terminate().with_code(0);
        topics.verify();
    }
}

/// `kill -9` at random moments while messages come, on changing numbers of workers; in every other round
/// after values of that round have been published.
#[test]
fn kills_change_nothing() {
    let broker = Broker::shared();
    let (seed, mut random) = seed::draw("kafka kills");
    let topics = TopicShop::new(broker, "kills", 1);
    let publisher = publisher(broker);
    let now_ms = now_ms();
    let mut messages = story(seed::from(seed), 3_000, now_ms);
    let sent = disturbed(&messages, &mut random);
    for (round, some) in sent.chunks(sent.len().div_ceil(8)).enumerate() {
        topics.configure(1 + round / 2 % 2);
        let published = messages_in(&topics, broker);
        let server = topics.shop.start();
        let (early, late) = some.split_at(some.len() / 2);
        topics.send(&publisher, early);
        if round % 2 == 1 {
            eventually("values are published", || (messages_in(&topics, broker) > published).then_some(()));
        }
        for few in late.chunks(late.len().div_ceil(10)) {
            topics.send(&publisher, few);
            std::thread::sleep(Duration::from_millis(random.random_range(0..60)));
        }
        server.kill();
    }
    let server = topics.shop.run();
    messages.extend(topics.send_last(&publisher, now_ms));
    assert_eq!(topics.seen(&broker.brokers()), topics.embedded(&messages));
    server.terminate().with_code(0);
    topics.verify();
}
