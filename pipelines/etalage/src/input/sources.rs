//! Several inputs as one, merged by time.
//!
//! **Input**: the messages of each source, in its order. **Output**: all of them, each source's
//! in its order; of the sources' next messages the one with the least time comes first, and of
//! equal times that of the first source. A bad line has no time and comes as soon as it is next.
//! **Bound**: a batch of each source, and [`MAX_FILES`] sources.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use etalage_model::{Micros, Record, Rejected};

use super::{BATCH_MESSAGES, InputError, Opened, Source, SourceOptions, Tally};

/// How many files are read at once.
pub const MAX_FILES: usize = 64;

/// A line of one of several files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLine {
    /// Which of them, from 0.
    pub file: usize,
    /// The line's number.
    pub line: u64,
}

/// Messages in the order of time, each with its line.
#[derive(Debug, Default)]
pub struct Merged {
    /// The line of each of `results`; the last one, where a message is made of several.
    pub lines: Vec<FileLine>,
    /// What each is.
    pub results: Vec<Result<Record, Rejected>>,
}

/// Inputs that are being decoded.
pub struct Sources {
    names: Arc<[String]>,
    heads: Vec<Head>,
    /// Why no more is read, once what was read before has come out.
    broken: Option<InputError>,
}

/// A source, and what was read of it and not given yet.
struct Head {
    source: Source,
    waiting: VecDeque<(u64, Result<Record, Rejected>)>,
    is_at_end: bool,
}

impl Sources {
    /// Opens `paths`, all of one format.
    ///
    /// # Errors
    /// Where one of them cannot be opened, or begins with something else than the format does.
    pub fn open(paths: &[PathBuf], options: &SourceOptions) -> Result<Sources, InputError> {
        if paths.len() > MAX_FILES {
            return Err(InputError::TooManyFiles { files: paths.len(), limit: MAX_FILES });
        }
        let open = |path: &PathBuf| Source::new(Opened::path(path)?, options.clone());
        let sources = paths.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let names = sources.iter().map(|source| source.name().to_owned()).collect();
        let head = |source| Head { source, waiting: VecDeque::new(), is_at_end: false };
        Ok(Sources { names, heads: sources.into_iter().map(head).collect(), broken: None })
    }

    /// What the inputs are called.
    pub fn names(&self) -> &Arc<[String]> {
        &self.names
    }

    /// Their length as they lie there, where that is known of all.
    pub fn total_bytes(&self) -> Option<u64> {
        self.heads.iter().map(|head| head.source.total_bytes()).sum()
    }

    /// How much was read of each.
    pub fn read_bytes(&self) -> Vec<Arc<AtomicU64>> {
        self.heads.iter().map(|head| head.source.read_bytes()).collect()
    }

    /// How many rows of each kind were read of each, where the format has rows.
    pub fn tallies(&self) -> impl Iterator<Item = (&str, Tally)> {
        self.heads.iter().filter_map(|head| Some((head.source.name(), head.source.tally()?)))
    }

    /// The next messages, at least one; `None` at the end.
    ///
    /// # Errors
    /// Where one of the inputs cannot be read on. What was merged before comes out first.
    pub fn next_batch(&mut self) -> Result<Option<Merged>, InputError> {
        let mut batch = Merged::default();
        while batch.results.len() < BATCH_MESSAGES && self.broken.is_none() {
            if let Err(error) = self.heads.iter_mut().try_for_each(Head::fill) {
                self.broken = Some(error);
                break;
            }
            let next = self.heads.iter_mut().enumerate().filter(|(_, head)| !head.waiting.is_empty());
            let Some((file, head)) = next.min_by_key(|(_, head)| head.time()) else { break };
            if let Some((line, result)) = head.waiting.pop_front() {
                batch.lines.push(FileLine { file, line });
                batch.results.push(result);
            }
        }
        if !batch.results.is_empty() {
            return Ok(Some(batch));
        }
        self.broken.take().map_or(Ok(None), Err)
    }
}

impl Head {
    /// Reads on where nothing waits.
    fn fill(&mut self) -> Result<(), InputError> {
        if self.waiting.is_empty() && !self.is_at_end {
            match self.source.next_batch()? {
                Some(batch) => self.waiting.extend(batch.lines.into_iter().zip(batch.results)),
                None => self.is_at_end = true,
            }
        }
        Ok(())
    }

    /// The time of what is next; `None` is the least.
    fn time(&self) -> Option<Micros> {
        self.waiting.front().and_then(|(_, result)| result.as_ref().ok()).map(|record| record.message.at())
    }
}
