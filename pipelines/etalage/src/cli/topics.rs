//! `etalage topics`, and the topics beside `etalage run`. A build without the feature `kafka` says so
//! where it is asked for any.

use std::sync::mpsc;

use super::{
    CliError,
    args::{FeedArgs, TopicsCommand},
    serving::Beside,
};
use crate::{
    config::Config,
    runtime::{ClockMode, Door},
};

#[cfg(feature = "kafka")]
mod with_kafka {
    use super::*;
    use crate::{
        cli::{Out, args::FeedFormat, run::interrupts},
        runtime::shop_options,
        topics::{
            self, Quarantine, Topics,
            feed::{FeedOptions, FollowError},
        },
    };
    use etalage_feeds::Format;

    /// The topics that a service is connected to, if any.
    pub(in crate::cli) struct Connected(Option<Topics>);

    impl Connected {
        /// Connects to the brokers of the configuration; waits for one, unless `no_wait`.
        pub(in crate::cli) fn start(
            config: &Config,
            no_wait: bool,
            interrupted: &mpsc::Receiver<()>,
        ) -> Result<(Connected, Beside, ClockMode), CliError> {
            if !config.kafka.is_on() {
                return Ok((Connected(None), Beside::default(), ClockMode::Wall));
            }
            reads_none_of_its_own(config)?;
            topics::wait_for_brokers(config, no_wait, |pause| interrupted.recv_timeout(pause).is_ok())?;
            let read = config.kafka.topics.iter().map(|(topic, _)| topic.as_str());
            etalage_kafka::topics::find(&topics::brokers(&config.kafka), read)?;
            complain_of(config)?;
            let connected = Topics::start(config, etalage_views::infos(&shop_options(config)))?;
            let is_fed = !config.kafka.topics.is_empty();
            let beside = Beside {
                reader: Some(Box::new(connected.reader())),
                begin: Some(Box::new(connected.begin())),
                refused: if is_fed { Some(Box::new(Quarantine::open(config)?)) } else { None },
                ..Beside::default()
            };
            let clock = if is_fed { ClockMode::Replay } else { ClockMode::Wall };
            Ok((Connected(Some(connected)), beside, clock))
        }

        /// Begins to read topics.
        pub(in crate::cli) fn feed(&mut self, config: &Config, door: Door) -> Result<(), CliError> {
            let Some(connected) = &mut self.0 else { return Ok(()) };
            connected.feed(config, door).map_err(|error| CliError::Start(crate::runtime::StartError::Thread(error)))
        }

        /// Ends reading: before the pipeline is stopped.
        pub(in crate::cli) fn stop_feeding(&mut self) {
            self.0.iter_mut().for_each(Topics::stop_feeding);
        }

        /// Sends what is left: after the pipeline was stopped.
        pub(in crate::cli) fn stop(self) {
            self.0.into_iter().for_each(Topics::stop);
        }
    }

    /// Keeps a product file current until it is interrupted.
    ///
    /// # Errors
    /// Where the topics cannot be read, or the file cannot be written.
    pub(in crate::cli) fn feed(config: &Config, args: &FeedArgs) -> Result<(), CliError> {
        if !config.kafka.is_on() {
            return Err(CliError::Usage("no brokers are configured; name some in [kafka] brokers".to_owned()));
        }
        let longest = config.windows.names.iter().max_by_key(|window| window.length_us);
        let window = args.window.clone().or_else(|| longest.map(|window| window.name.clone())).unwrap_or_default();
        if !config.windows.names.iter().any(|known| known.name == window) {
            return Err(CliError::Usage(format!("`{window}` is none of the windows of the configuration")));
        }
        let options = FeedOptions {
            path: args.out.clone(),
            format: match args.format {
                FeedFormat::Google => Format::Google,
                FeedFormat::Meta => Format::Meta,
            },
            set: (args.scope.clone(), window),
            every: args.every,
        };
        let interrupted = interrupts()?;
        topics::wait_for_brokers(config, false, |pause| interrupted.recv_timeout(pause).is_ok())?;
        let is_over = |pause| interrupted.recv_timeout(pause).is_ok();
        topics::feed::follow(config, &options, is_over).map_err(|error| match error {
            FollowError::Kafka(error) => CliError::Kafka(error),
            FollowError::File(error) => CliError::Failed(error.to_string()),
        })
    }

    /// What is written must not come in again.
    fn reads_none_of_its_own(config: &Config) -> Result<(), CliError> {
        let written = topics::specs(config);
        let both = |(topic, _): &&(String, _)| written.iter().any(|spec| spec.name == *topic);
        match config.kafka.topics.iter().find(both) {
            Some((topic, _)) => Err(CliError::Usage(format!(
                "[kafka] `{topic}` is read, and etalage writes it; read another one, or change kafka.prefix"
            ))),
            None => Ok(()),
        }
    }

    /// The topics that are written must be there, and set up as they must be.
    fn complain_of(config: &Config) -> Result<(), CliError> {
        let wrong = etalage_kafka::topics::check(&topics::brokers(&config.kafka), &topics::specs(config))?;
        if wrong.is_empty() { Ok(()) } else { Err(CliError::Topics(wrong.join("\n  "))) }
    }

    /// Makes or checks the topics that are written.
    ///
    /// # Errors
    /// Where no broker answers, or a topic is not as it must be.
    pub(in crate::cli) fn run(config: &Config, command: &TopicsCommand) -> Result<(), CliError> {
        if !config.kafka.is_on() {
            return Err(CliError::Usage("no brokers are configured; name some in [kafka] brokers".to_owned()));
        }
        let (brokers, specs) = (topics::brokers(&config.kafka), topics::specs(config));
        let mut out = Out::new();
        match command {
            TopicsCommand::Create => {
                let made = etalage_kafka::topics::create(&brokers, &specs, config.kafka.replication)?;
                for spec in &specs {
                    let what = if made.contains(&spec.name) { "made" } else { "there already" };
                    out.line(&format!("{}  {what}", spec.name))?;
                }
                out.flush()?;
                complain_of(config)
            }
            TopicsCommand::Check => {
                complain_of(config)?;
                out.line(&format!("{} topics are as they must be", specs.len()))?;
                out.flush()
            }
        }
    }
}

#[cfg(not(feature = "kafka"))]
mod without_kafka {
    use super::*;

    pub(in crate::cli) const NO_KAFKA: &str =
        "this build of etalage has no Kafka in it; build it with `cargo build --release --features kafka`";

    /// Nothing: there is no Kafka in this build.
    pub(in crate::cli) struct Connected;

    impl Connected {
        /// Nothing to connect to, unless the configuration asks for it.
        pub(in crate::cli) fn start(
            config: &Config,
            _no_wait: bool,
            _interrupted: &mpsc::Receiver<()>,
        ) -> Result<(Connected, Beside, ClockMode), CliError> {
            match config.kafka.is_on() {
                true => Err(CliError::Usage(NO_KAFKA.to_owned())),
                false => Ok((Connected, Beside::default(), ClockMode::Wall)),
            }
        }

        /// Nothing to read.
        pub(in crate::cli) fn feed(&mut self, _config: &Config, _door: Door) -> Result<(), CliError> {
            Ok(())
        }

        /// Nothing to end.
        pub(in crate::cli) fn stop_feeding(&mut self) {}

        /// Nothing to send.
        pub(in crate::cli) fn stop(self) {}
    }

    /// Says that there is no Kafka in this build.
    ///
    /// # Errors
    /// Always.
    pub(in crate::cli) fn feed(_config: &Config, _args: &FeedArgs) -> Result<(), CliError> {
        Err(CliError::Usage(NO_KAFKA.to_owned()))
    }

    /// Says that there is no Kafka in this build.
    ///
    /// # Errors
    /// Always.
    pub(in crate::cli) fn run(_config: &Config, _command: &TopicsCommand) -> Result<(), CliError> {
        Err(CliError::Usage(NO_KAFKA.to_owned()))
    }
}

#[cfg(feature = "kafka")]
pub(super) use with_kafka::{Connected, feed, run};
#[cfg(not(feature = "kafka"))]
pub(super) use without_kafka::{Connected, NO_KAFKA, feed, run};
