//! A product file that follows the topics.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use etalage_feeds::{Feed, FeedError, Format, Written, confirm, write};
use etalage_kafka::{KafkaError, Source, SourceOptions, Subscription};
use etalage_model::{Group, InputKind, Message, Micros, Tick, decode::json::Context};

use super::{brokers, decoding::Decoded, source_options};
use crate::{config::Config, runtime::Reading};

/// How long the topics of views are waited for before the catalogue is looked at again.
const PATIENCE: Duration = Duration::from_millis(50);

/// The pause before topics are read anew after an error.
const PAUSE: Duration = Duration::from_secs(1);

/// The views that are followed.
const SELLABLE: &str = etalage_views::sellable::NAME;
const SETS: &str = etalage_views::bestsellers::NAME;

/// How long changes are gathered before the file is looked at, however many more there are.
const GATHER: Duration = Duration::from_secs(1);

/// What is written, and where.
#[derive(Clone, Debug)]
pub struct FeedOptions {
    /// The file.
    pub path: PathBuf,
    /// Whose words it uses.
    pub format: Format,
    /// The scope and window of the set that gives the labels.
    pub set: (String, String),
    /// How often it is written at most. A product that can no longer be sold is not waited with.
    pub every: Duration,
}

/// Why a feed ended.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The topics.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    /// The file.
    #[error(transparent)]
    File(#[from] FeedError),
}

/// Keeps the file current until `is_over`, which may wait as long as it is told. Where the brokers are
/// away, the file stays as it is, and its `as_of` with it.
///
/// # Errors
/// Where the topics may not be read, or the file cannot be written.
pub fn follow(config: &Config, options: &FeedOptions, is_over: impl Fn(Duration) -> bool) -> Result<(), FollowError> {
    let mut was_open = false;
    loop {
        let opened = Following::open(config, options);
        was_open |= opened.is_ok();
        match opened.and_then(|following| following.go_on(&is_over)) {
            // Brokers that restart do not know all topics. What retention removes is of no use to a feed,
            // which reads everything that is there each time.
            Err(FollowError::Kafka(error))
                if error.is_passing()
                    || (was_open && error.is_unknown_topic())
                    || matches!(error, KafkaError::Gone { .. }) =>
            {
                tracing::warn!(%error, "the topics cannot be read; it is tried again");
                if is_over(PAUSE) {
                    return Ok(());
                }
            }
            ended => return ended,
        }
    }
}

/// A feed, and what it follows.
struct Following<'a> {
    config: &'a Config,
    options: &'a FeedOptions,
    subscription: Subscription,
    catalogue: Source,
    feed: Feed,
    as_of: Option<Tick>,
    /// What was written last, and when that was last confirmed.
    written: Option<(Written, Instant)>,
}

impl<'a> Following<'a> {
    fn open(config: &'a Config, options: &'a FeedOptions) -> Result<Self, FollowError> {
        let subscription =
            Subscription::open(&brokers(&config.kafka), &config.kafka.prefix, Group::Shop, &[SELLABLE, SETS])?;
        let catalogue = Source::open(catalogue_options(config), &[])?;
        Ok(Following { config, options, subscription, catalogue, feed: Feed::default(), as_of: None, written: None })
    }

    fn go_on(mut self, is_over: impl Fn(Duration) -> bool) -> Result<(), FollowError> {
        while !is_over(Duration::ZERO) {
            self.read_catalogue()?;
            self.read_views()?;
            self.write()?;
        }
        Ok(())
    }

    /// Takes everything that is there before the file is written.
    fn read_views(&mut self) -> Result<(), KafkaError> {
        let set = serde_json::json!({ "scope": self.options.set.0, "window": self.options.set.1 }).to_string();
        let (mut patience, began) = (PATIENCE, Instant::now());
        while began.elapsed() < GATHER
            && let Some(cut) = self.subscription.next(patience)?
        {
            for change in cut.changes {
                match &*change.view {
                    SELLABLE => self.feed.sellable(&change.key, change.value.as_deref()),
                    _ if change.key == set.as_bytes() => self.feed.set(change.value.as_deref()),
                    _ => {}
                }
            }
            self.as_of = Some(cut.tick);
            patience = Duration::ZERO;
        }
        Ok(())
    }

    fn read_catalogue(&mut self) -> Result<(), KafkaError> {
        let limits = self.config.decode_limits();
        let now = Micros(Reading::now().wall_us);
        let context = Context { now, map_time: None, currencies: &self.config.shop.currencies, limits: &limits };
        let began = Instant::now();
        while began.elapsed() < GATHER
            && let Some(received) = self.catalogue.receive(Duration::ZERO)?
        {
            for item in Decoded::of(received, &context).items {
                // What cannot be read lies in the quarantine of the service.
                if let Ok(Message::Catalogue(stated)) = item.map(|record| record.message) {
                    self.feed.catalogue(stated);
                }
            }
        }
        Ok(())
    }

    /// Writes the file where that is due, or says of it that it still holds.
    fn write(&mut self) -> Result<(), FeedError> {
        let FeedOptions { path, format, every, .. } = self.options;
        let Some(tick) = self.as_of.filter(|_| self.catalogue.has_caught_up()) else { return Ok(()) };
        let is_due = self.written.as_ref().is_none_or(|(_, at)| at.elapsed() >= *every);
        match &mut self.written {
            _ if self.feed.has_changed() && (is_due || self.feed.is_urgent()) => {
                let offered = self.feed.offered();
                let done = write(path, &self.feed.take(*format), offered, tick)?;
                tracing::info!(as_of = done.as_of, rows = done.rows, offered, "the feed is written");
                self.written = Some((done, Instant::now()));
            }
            // Nothing has changed, which is not the same as that nothing is known.
            Some((done, at)) if is_due && !self.feed.has_changed() && done.tick < tick => {
                confirm(path, done, tick)?;
                *at = Instant::now();
            }
            _ => {}
        }
        Ok(())
    }
}

fn catalogue_options(config: &Config) -> SourceOptions {
    let mut options = source_options(&config.kafka);
    options.topics.retain(|(_, kind)| *kind == InputKind::Catalogue);
    options.group.push_str("-feed");
    options
}
