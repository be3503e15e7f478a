//! What can go wrong with brokers and topics, and what to do about it.

use rdkafka::types::RDKafkaErrorCode as Code;

/// Why something with brokers or topics failed.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// No broker answers.
    #[error("no Kafka broker answers at {brokers} ({reason}); start one, or name others in [kafka] brokers")]
    Unreachable {
        /// The addresses that were tried.
        brokers: String,
        /// What the client said.
        reason: String,
    },
    /// There is no such topic.
    #[error(
        "there is no topic `{topic}`; make it (`etalage topics create` makes those of the outputs), or name another one in [kafka]"
    )]
    UnknownTopic {
        /// The topic.
        topic: String,
    },
    /// The broker does not let us.
    #[error(
        "not allowed to {action} ({reason}); grant it to the user of [kafka] properties, or give other credentials there \
         and in [kafka] secrets"
    )]
    Unauthorised {
        /// What was to be done.
        action: String,
        /// What the broker said.
        reason: String,
    },
    /// Messages between what was read and what the topic still holds are gone.
    #[error(
        "`{topic}` partition {partition} holds no message at offset {next}, where reading has to go on: its retention \
         has removed messages that were never read. Give the topic a longer retention, and an empty --data-dir to begin anew"
    )]
    Gone {
        /// The topic.
        topic: String,
        /// The partition.
        partition: u32,
        /// The first offset that was not read.
        next: u64,
    },
    /// A setting is not one of librdkafka's, or has no such value.
    #[error("[kafka] properties: `{name}`: {reason}")]
    Setting {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A secret cannot be read, or is of no use.
    #[error("[kafka] secrets: `{name}`: {reason}; put it there, or name another place")]
    Secret {
        /// The name of the setting.
        name: String,
        /// What is wrong, and where. It does not hold the secret.
        reason: String,
    },
    /// Settings do not go together, or name what is not there.
    #[error("[kafka] properties: {reason}")]
    Settings {
        /// What the client said.
        reason: String,
    },
    /// Anything else.
    #[error("cannot {action}: {reason}")]
    Other {
        /// What was to be done.
        action: String,
        /// What the client said.
        reason: String,
    },
}

impl KafkaError {
    /// What `error` means for whoever wanted to `action`.
    pub(crate) fn of(action: impl Into<String>, error: rdkafka::error::KafkaError) -> KafkaError {
        let (action, reason) = (action.into(), error.to_string());
        if let rdkafka::error::KafkaError::ClientConfig(_, reason, name, _) = error {
            return KafkaError::Setting { name, reason };
        }
        if let rdkafka::error::KafkaError::ClientCreation(reason) = error {
            return KafkaError::Settings { reason };
        }
        match error.rdkafka_error_code() {
            Some(
                Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::Authentication,
            ) => KafkaError::Unauthorised { action, reason },
            _ => KafkaError::Other { action, reason },
        }
    }

    /// True where there is no such topic, or a broker has not heard of it yet.
    pub fn is_unknown_topic(&self) -> bool {
        matches!(self, KafkaError::UnknownTopic { .. })
    }

    /// True where trying again may help without anybody's doing.
    pub fn is_passing(&self) -> bool {
        matches!(self, KafkaError::Unreachable { .. } | KafkaError::Other { .. })
    }
}
