//! A product file that follows the topics.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use etalage_feeds::{Feed, FeedError, Format, Written, confirm, write};
use etalage_kafka::{KafkaError, Source, SourceOptions, Subscription};
use etalage_model::{InputKind, Message, Micros, Tick, decode::json::Context};

use super::{brokers, decoding::Decoded, source_options};
use crate::{config::Config, runtime::Reading};

/// How long the topics of views are waited for before the catalogue is looked at again.
const PATIENCE: Duration = Duration::from_millis(50);

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

/// Keeps the file current until `is_over`.
///
/// # Errors
/// Where the topics cannot be read, or the file cannot be written.
pub fn follow(config: &Config, options: &FeedOptions, is_over: impl Fn() -> bool) -> Result<(), FollowError> {
    let views = [etalage_views::sellable::NAME, etalage_views::bestsellers::NAME];
    let mut subscription = Subscription::open(&brokers(&config.kafka), &config.kafka.prefix, &views)?;
    let mut catalogue = Source::open(catalogue_options(config), &[])?;
    let (mut feed, mut as_of, mut written) = (Feed::default(), None::<Tick>, None::<(Written, Instant)>);
    let set = serde_json::json!({ "scope": options.set.0, "window": options.set.1 }).to_string();
    while !is_over() {
        read_catalogue(config, &mut catalogue, &mut feed)?;
        // Everything that is there is taken before the file is written.
        let (mut patience, began) = (PATIENCE, Instant::now());
        while began.elapsed() < GATHER
            && let Some(cut) = subscription.next(patience)?
        {
            for change in cut.changes {
                match &*change.view {
                    view if view == views[0] => feed.sellable(&change.key, change.value.as_deref()),
                    _ if change.key == set.as_bytes() => feed.set(change.value.as_deref()),
                    _ => {}
                }
            }
            as_of = Some(cut.tick);
            patience = Duration::ZERO;
        }
        let Some(tick) = as_of.filter(|_| catalogue.has_caught_up()) else { continue };
        let is_due = written.as_ref().is_none_or(|(_, at)| at.elapsed() >= options.every);
        match &mut written {
            _ if feed.has_changed() && (is_due || feed.is_urgent()) => {
                let offered = feed.offered();
                let done = write(&options.path, &feed.take(options.format), offered, tick)?;
                tracing::info!(as_of = done.as_of, rows = done.rows, offered, "the feed is written");
                written = Some((done, Instant::now()));
            }
            // Nothing has changed, which is not the same as that nothing is known.
            Some((done, at)) if is_due && !feed.has_changed() && done.tick < tick => {
                confirm(&options.path, done, tick)?;
                *at = Instant::now();
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_catalogue(config: &Config, source: &mut Source, feed: &mut Feed) -> Result<(), KafkaError> {
    let limits = config.decode_limits();
    let now = Micros(Reading::now().wall_us);
    let context = Context { now, map_time: None, currencies: &config.shop.currencies, limits: &limits };
    let began = Instant::now();
    while began.elapsed() < GATHER
        && let Some(received) = source.receive(Duration::ZERO)?
    {
        for item in Decoded::of(received, &context).items {
            // What cannot be read lies in the quarantine of the service.
            if let Ok(Message::Catalogue(stated)) = item.map(|record| record.message) {
                feed.catalogue(stated);
            }
        }
    }
    Ok(())
}

fn catalogue_options(config: &Config) -> SourceOptions {
    let mut options = source_options(&config.kafka);
    options.topics.retain(|(_, kind)| *kind == InputKind::Catalogue);
    options.group.push_str("-feed");
    options
}
