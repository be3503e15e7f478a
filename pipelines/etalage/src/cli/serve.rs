//! `etalage serve`: answers reads from the topics, and computes nothing.

use super::{CliError, args::ServeArgs};
use crate::config::Config;

#[cfg(feature = "kafka")]
mod with_kafka {
    use std::sync::{Arc, mpsc};

    use etalage_model::{InputKind, KeyFields, Outcome, Record, Rejected, decode::json::BodyError};
    use etalage_serve::{Busy, Counts, Door, NotExplained, NotStored, ReadStore, ServeState};
    use tokio::sync::oneshot;

    use super::*;
    use crate::{
        cli::{
            part,
            run::{LOOK_EVERY, interrupts},
            serving::{Http, address_of, listener, metrics_recorder, store_options},
        },
        runtime::{cluster::Waiting, shop_options},
        topics::{
            self,
            readers::{Readers, ReadersState},
        },
    };

    /// What whoever sends something is told.
    const ELSEWHERE: &str = "the process of `etalage run`: this one serves what the topics hold";

    /// Serves what the topics hold until it is interrupted.
    ///
    /// # Errors
    /// Where no broker answers, a topic is missing, the address is taken, or topics cannot be read any more.
    pub(in crate::cli) fn run(config: &Config, args: &ServeArgs) -> Result<(), CliError> {
        if !config.kafka.is_on() {
            return Err(CliError::Usage("no brokers are configured; name some in [kafka] brokers".to_owned()));
        }
        let interrupted = interrupts()?;
        let listener = listener(config)?;
        let address = address_of(&listener, config)?;
        let waiting = Waiting::of("waiting for a broker");
        let wait =
            || Ok(topics::wait_for_brokers(config, args.no_wait, |pause| interrupted.recv_timeout(pause).is_ok())?);
        part::answering(config, &listener, &waiting, wait)?;
        let views = etalage_views::infos(&shop_options(config));
        let options = etalage_serve::StoreOptions { groups_are_apart: true, ..store_options(config) };
        let store = ReadStore::new(&views, options);
        let readers = Readers::start(config, &views, store.clone())?;
        let mut options = config.serve_options();
        let metrics = metrics_recorder();
        let render = metrics.clone();
        (options.mode, options.elsewhere) = ("serve".to_owned(), Some(ELSEWHERE.to_owned()));
        options.metrics = Arc::new(move || render.render());
        // Wherever these topics are served, a tick means the same.
        let edition = etalage_model::hash::hash64(format!("topics {}", config.kafka.prefix).as_bytes());
        let door = Arc::new(TopicsDoor(readers.state()));
        let state = ServeState::new(views, edition, store, door, options);
        let http = Http::start(listener, state, metrics)?;
        eprintln!("etalage listens on http://{address} (serves topics {}*)", config.kafka.prefix);
        let failure = loop {
            match interrupted.recv_timeout(LOOK_EVERY) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                _ => break None,
            }
            if let Some(reason) = readers.state().failure() {
                break Some(reason);
            }
        };
        eprintln!("stopping");
        http.stop();
        readers.stop();
        failure.map_or(Ok(()), |reason| Err(CliError::Failed(reason)))
    }

    /// Takes nothing in: the routes that would are answered with where they are.
    struct TopicsDoor(ReadersState);

    fn elsewhere() -> String {
        format!("ask {ELSEWHERE}")
    }

    impl Door for TopicsDoor {
        fn decode(&self, _: InputKind, _: &[u8]) -> Result<Vec<Result<Record, Rejected>>, BodyError> {
            Ok(Vec::new())
        }
        fn has_room(&self) -> Result<(), Busy> {
            Err(Busy { retry_after_s: 1, reason: elsewhere(), overload: false })
        }
        fn submit(
            &self,
            _: &str,
            _: Vec<Result<Record, Rejected>>,
        ) -> Result<oneshot::Receiver<Result<Vec<Outcome>, NotStored>>, Busy> {
            Err(Busy { retry_after_s: 1, reason: elsewhere(), overload: false })
        }
        fn counts(&self) -> Counts {
            Counts::default()
        }
        fn quarantine(&self, _: u64, _: usize) -> Result<Vec<etalage_model::Quarantined>, String> {
            Err(elsewhere())
        }
        fn erase(&self, _: &str) -> Result<serde_json::Value, String> {
            Err(elsewhere())
        }
        fn retry(&self, _: &[u64], _: Option<&str>) -> Result<serde_json::Value, String> {
            Err(elsewhere())
        }
        fn snapshot(&self) -> Result<serde_json::Value, String> {
            Err(elsewhere())
        }
        fn clock(&self) -> serde_json::Value {
            serde_json::Value::Null
        }
        fn accept_clock(&self) -> Result<serde_json::Value, String> {
            Err(elsewhere())
        }
        fn explain(&self, _: &str, _: &KeyFields, _: usize) -> Result<serde_json::Value, NotExplained> {
            Err(NotExplained::Asked(elsewhere()))
        }
        fn ready(&self) -> Result<(), String> {
            self.0.failure().or_else(|| self.0.awaited()).map_or(Ok(()), Err)
        }
    }
}

#[cfg(feature = "kafka")]
pub(super) use with_kafka::run;

/// Says that there is no Kafka in this build.
///
/// # Errors
/// Always.
#[cfg(not(feature = "kafka"))]
pub(super) fn run(_config: &Config, _args: &ServeArgs) -> Result<(), CliError> {
    Err(CliError::Usage(super::topics::NO_KAFKA.to_owned()))
}
