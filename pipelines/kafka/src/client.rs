//! How brokers are reached, and what the client says meanwhile.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, ClientContext,
    config::{FromClientConfigAndContext, RDKafkaLogLevel},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError as ClientError,
    metadata::Metadata,
    types::{RDKafkaConfRes, RDKafkaErrorCode as Code},
};

use crate::KafkaError;

/// How long a broker may take to answer a question about topics.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a broker may take to answer at all.
const REACH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it is waited for before the client is asked what it has to say.
const LISTEN_EVERY: Duration = Duration::from_secs(1);

/// How brokers are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brokers {
    /// Addresses to begin with, separated by commas.
    pub bootstrap: String,
    /// Further settings by librdkafka's names: security, mostly. They take precedence over ours.
    pub properties: Vec<(String, String)>,
    /// Settings that nobody may see, and where each stands.
    pub secrets: Vec<(String, Secret)>,
}

/// Where a secret stands. It is read whenever a client is made, and kept nowhere else: what is printed of
/// [`Brokers`] holds none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// In a file; line ends behind it do not belong to it.
    File(PathBuf),
    /// In an environment variable.
    Variable(String),
}

impl Secret {
    /// What stands there, or why it cannot be used.
    fn read(&self) -> Result<String, String> {
        let (text, place) = match self {
            Secret::File(path) => {
                let place = format!("the file {}", path.display());
                (std::fs::read_to_string(path).map_err(|error| format!("{place}: {error}"))?, place)
            }
            Secret::Variable(name) => {
                let place = format!("the environment variable {name}");
                (std::env::var(name).map_err(|_| format!("{place} is not set, or is no text"))?, place)
            }
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(format!("{place} is empty"));
        }
        Ok(text.to_owned())
    }
}

impl Brokers {
    /// A client with these `settings`, and those of the brokers on top.
    pub(crate) fn client<T, C>(&self, settings: &[(&str, &str)], context: C) -> Result<T, KafkaError>
    where
        C: ClientContext,
        T: FromClientConfigAndContext<C>,
    {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap).set("client.id", "etalage");
        settings.iter().for_each(|(name, value)| _ = config.set(*name, *value));
        self.properties.iter().for_each(|(name, value)| _ = config.set(name, value));
        for (name, secret) in &self.secrets {
            let value = secret.read().map_err(|reason| KafkaError::Secret { name: name.clone(), reason })?;
            config.set(name, value);
        }
        config.create_with_context(context).map_err(|error| match error {
            // What is said of the value may repeat it.
            ClientError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_INVALID, _, name, _)
                if self.secrets.iter().any(|(secret, _)| *secret == name) =>
            {
                KafkaError::Secret { name, reason: "the client does not take what stands there".into() }
            }
            error => KafkaError::of("start a Kafka client", error),
        })
    }

    /// Asks whether a broker answers.
    ///
    /// # Errors
    /// [`KafkaError::Unreachable`] where none does within five seconds, [`KafkaError::Unauthorised`] where
    /// one does not take the credentials.
    pub fn reach(&self) -> Result<(), KafkaError> {
        let client: BaseConsumer<Told> = self.client(&[], Told)?;
        let until = Instant::now() + REACH_TIMEOUT;
        loop {
            let Err(error) = client.fetch_metadata(None, LISTEN_EVERY) else { return Ok(()) };
            // That it is not let in, the client tells by the way.
            while let Some(Err(told)) = client.poll(Duration::ZERO) {
                let error = KafkaError::of("connect", told);
                if matches!(error, KafkaError::Unauthorised { .. }) {
                    return Err(error);
                }
            }
            if Instant::now() >= until {
                return Err(KafkaError::Unreachable { brokers: self.bootstrap.clone(), reason: error.to_string() });
            }
        }
    }
}

/// What a broker says of a topic within `patience`.
pub(crate) fn metadata(
    client: &BaseConsumer<Told>,
    brokers: &Brokers,
    topic: &str,
    patience: Duration,
) -> Result<Metadata, KafkaError> {
    client.fetch_metadata(Some(topic), patience).map_err(|error| match KafkaError::of("ask for topics", error) {
        KafkaError::Other { reason, .. } => KafkaError::Unreachable { brokers: brokers.bootstrap.clone(), reason },
        error => error,
    })
}

/// A duration as librdkafka's settings write it.
pub(crate) fn millis(duration: Duration) -> String {
    (duration.as_micros() as f64 / 1_000.0).to_string()
}

/// The partitions of a topic.
pub(crate) fn partitions(client: &BaseConsumer<Told>, brokers: &Brokers, topic: &str) -> Result<Vec<u32>, KafkaError> {
    partitions_within(client, brokers, topic, ANSWER_TIMEOUT)
}

/// The same, if a broker answers within `patience`.
pub(crate) fn partitions_within(
    client: &BaseConsumer<Told>,
    brokers: &Brokers,
    topic: &str,
    patience: Duration,
) -> Result<Vec<u32>, KafkaError> {
    let told = metadata(client, brokers, topic, patience)?;
    let unknown = || KafkaError::UnknownTopic { topic: topic.to_owned() };
    let about = told.topics().iter().find(|about| about.name() == topic).ok_or_else(unknown)?;
    match about.error().map(Code::from) {
        None => Ok(about.partitions().iter().map(|partition| partition.id() as u32).collect()),
        Some(code) if is_unknown(code) => Err(unknown()),
        Some(code) => Err(KafkaError::of(format!("read `{topic}`"), rdkafka::error::KafkaError::MetadataFetch(code))),
    }
}

/// True where a broker says that there is no such topic.
pub(crate) fn is_unknown(code: Code) -> bool {
    matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic)
}

/// Hands on what the client says to the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told;

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                tracing::warn!(facility, message, "kafka");
            }
            RDKafkaLogLevel::Warning => tracing::info!(facility, message, "kafka"),
            _ => tracing::debug!(facility, message, "kafka"),
        }
    }

    fn error(&self, error: rdkafka::error::KafkaError, reason: &str) {
        // That there is nothing more to read is told to whoever reads, and is no error.
        if error.rdkafka_error_code() == Some(Code::PartitionEOF) {
            return;
        }
        metrics::counter!("etalage_kafka_client_errors_total").increment(1);
        tracing::warn!(%error, reason, "kafka");
    }
}

impl ConsumerContext for Told {}
