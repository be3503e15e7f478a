//! What is wrong is said clearly, at once, and with what to do.

use etalage_tests::{Shop, broker::Broker};

use crate::support::TopicShop;

#[test]
fn a_broker_that_does_not_answer_is_named() {
    let shop = Shop::new("[kafka]\nbrokers = [\"127.0.0.1:1\"]\n");
    shop.ended(&["run", "--port", "0", "--no-wait"]).with_code(1).says(&["no Kafka broker answers at 127.0.0.1:1"]);
    shop.ended(&["topics", "check"]).with_code(1).says(&["127.0.0.1:1", "[kafka] brokers"]);
}

#[test]
fn a_configuration_says_all_that_is_wrong_with_its_topics() {
    let shop =
        Shop::new("[kafka]\nevents = [\"a\", \"b\"]\ninventory = [\"b\"]\nproperties = [\"x\"]\npartitions = 0\n");
    shop.ended(&["check"]).with_code(2).says(&[
        "`b` stands in kafka.events already",
        "cannot be read without brokers",
        "write each as `name=value`",
        "from 1 to 10000",
    ]);
}

#[test]
fn a_setting_that_the_client_does_not_know_is_named() {
    let broker = Broker::shared();
    let address = broker.address();
    let shop = Shop::new(&format!("[kafka]\nbrokers = [\"{address}\"]\nproperties = [\"no.such.setting=1\"]\n"));
    shop.ended(&["run", "--port", "0"]).with_code(1).says(&["no.such.setting"]);
}

#[test]
fn topics_that_are_missing_or_would_forget_keys_are_refused() {
    let broker = Broker::shared();
    let topics = TopicShop::new(broker, "wrong", 1);
    let config = topics.config(1);

    topics.shop.configure(&config.replace("wrong-in.events", "nowhere.events"));
    topics.shop.ended(&["run", "--port", "0"]).with_code(1).says(&["there is no topic `nowhere.events`"]);

    topics.shop.configure(&config.replace(r#"prefix = "wrong.""#, r#"prefix = "other.""#));
    let missing = topics.shop.ended(&["run", "--port", "0"]).with_code(1);
    missing.says(&[
        "there is no topic `other.set.bestsellers.v1`",
        "there is no topic `other.progress.v1`",
        "topics create",
    ]);

    broker.make(&[("plain.item.sellable.v1", 1), ("plain.set.bestsellers.v1", 1)]);
    topics.shop.configure(&config.replace(r#"prefix = "wrong.""#, r#"prefix = "plain.""#));
    let refused = topics.shop.ended(&["topics", "create"]).with_code(1);
    refused.says(&["`plain.item.sellable.v1` has cleanup.policy = delete", "--add-config cleanup.policy=compact"]);
    topics.configure(1);
    topics.shop.ended(&["topics", "check"]).with_code(0);
}

#[test]
fn what_is_written_does_not_come_in_again() {
    let shop = Shop::new("[kafka]\nbrokers = [\"127.0.0.1:1\"]\nevents = [\"etalage.item.sellable.v1\"]\n");
    shop.ended(&["run", "--port", "0"])
        .with_code(2)
        .says(&["`etalage.item.sellable.v1` is read, and etalage writes it"]);
}
