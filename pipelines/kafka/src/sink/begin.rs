//! Before anything is sent: what the topics hold is read, by a thread, while sealed ticks are taken.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::output::Output;
use crate::{
    Brokers, KafkaError,
    published::{self, Published},
};

/// The pause before topics that could not be read are read again.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How far the beginning has come.
pub(super) enum Begin {
    /// State is not complete.
    Awaited,
    /// The topics are to be read then.
    At(Instant),
    /// They are being read, since.
    Reading(Instant, Receiver<Result<Published, KafkaError>>),
    /// It is over: values are sent.
    Done,
    /// Nothing can be sent any more.
    Failed,
}

impl Begin {
    /// Goes on with reading the topics: what they hold, once that is known.
    pub(super) fn go_on(&mut self, brokers: &Brokers, outputs: &[Output]) -> Option<Published> {
        match self {
            Begin::At(at) if *at <= Instant::now() => {
                let (done, read) = bounded(1);
                let (brokers, outputs) = (brokers.clone(), outputs.to_vec());
                // A sink that has stopped meanwhile does not want it.
                let reading = move || _ = done.send(published::read(&brokers, &outputs));
                *self = match std::thread::Builder::new().name("kafka-published".into()).spawn(reading) {
                    Ok(_) => Begin::Reading(Instant::now(), read),
                    Err(error) => Begin::again(&error),
                };
            }
            Begin::Reading(since, read) => match read.try_recv() {
                Ok(Ok(published)) => {
                    let (keys, seconds) = (published.newest.len(), since.elapsed().as_secs_f64());
                    tracing::info!(keys, seconds, "the output topics were read");
                    *self = Begin::Done;
                    return Some(published);
                }
                Ok(Err(error)) => *self = Begin::again(&error),
                Err(TryRecvError::Disconnected) => *self = Begin::again(&"the reader has panicked"),
                Err(TryRecvError::Empty) => {}
            },
            Begin::At(_) | Begin::Awaited | Begin::Done | Begin::Failed => {}
        }
        None
    }

    /// What the topics hold beyond the state would stay there for ever: nothing is sent until it is known.
    fn again(error: &dyn std::fmt::Display) -> Begin {
        tracing::error!(%error, "the output topics cannot be read; it is tried again");
        Begin::At(Instant::now() + RETRY_EVERY)
    }
}
