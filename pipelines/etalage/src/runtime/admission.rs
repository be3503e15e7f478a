//! What is let in. Decided once, before a message is stored, by the message and the tick alone:
//! what the log holds has been admitted, and reading it back restores the same decisions.
//!
//! Order of the checks: the date, the use of versions, then the id. A message that is refused is
//! not remembered as seen.

use std::collections::{HashMap, hash_map::Entry};

use etalage_model::{
    Message, Micros, Record, Refusal, Sym, Tick,
    codec::{self, CodecError},
    hash::hash128,
};
use etalage_operators::dedup::{DedupCore, DedupLimits, Known, Verdict};

use super::clock::ClockMode;
use crate::config::Config;

/// The section of a snapshot that holds the ids that are known.
pub const IDS: &str = "Ids";

/// The section that holds who uses versions.
pub const VERSIONS: &str = "Versions";

/// How many rows are exported between two commits.
const EXPORT_SLICE_ROWS: usize = 1_024;

/// How many slices that turn out empty are looked at between two commits.
const EMPTY_SLICES: usize = 16;

/// An item, or an item at a location.
type Place = (Sym, Option<Sym>);

/// A place, whether its messages carry versions, and that there is one.
type VersionsRow = (Place, bool, u64);

/// What comes next of an export.
pub enum Exported {
    /// Rows of a section.
    Rows(&'static str, Vec<u8>),
    /// Nothing yet.
    More,
    /// Nothing any more.
    Done,
}

/// What was decided about a message.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It is stored and counts. True where it is older than every window.
    Admit {
        /// Older than every window.
        late: bool,
    },
    /// It is stored already.
    Duplicate,
    /// It goes to the quarantine.
    Refuse(Refusal),
}

/// Decides about messages in the order of the log.
pub struct Admission {
    max_clock_skew_us: u64,
    max_replay_gap_us: u64,
    retention_us: u64,
    longest_window_us: u64,
    dedup: DedupCore,
    /// Whether the messages of a place carry versions, and how many there are.
    versions: HashMap<Place, (bool, u64)>,
    /// The places in the order in which they came.
    places: Vec<Place>,
    /// How many of them were exported.
    exported: usize,
    /// Whether an event was admitted.
    has_event: bool,
}

/// When a message is judged.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Pipeline time.
    pub tick: Tick,
    /// Wall-clock time.
    pub wall_us: u64,
    /// What drives pipeline time.
    pub mode: ClockMode,
}

impl Moment {
    /// The tick that a message gets when it is admitted: the clock of a replay moves with it.
    fn arrival(self, message: &Message) -> Tick {
        match self.mode {
            ClockMode::Replay => self.tick.max(message.at().0),
            ClockMode::Wall | ClockMode::Scaled { .. } => self.tick,
        }
    }
}

impl Admission {
    /// An empty memory.
    pub fn new(config: &Config) -> Admission {
        let limits = DedupLimits { horizon_us: config.dedup.horizon_us, max_ids: config.dedup.max_ids };
        Admission {
            max_clock_skew_us: config.time.max_clock_skew_us,
            max_replay_gap_us: config.time.max_replay_gap_us,
            retention_us: config.time.retention_us,
            longest_window_us: config.windows.names.iter().map(|window| window.length_us).max().unwrap_or(0),
            dedup: DedupCore::new(limits),
            versions: HashMap::new(),
            places: Vec::new(),
            exported: 0,
            has_event: false,
        }
    }

    /// Decides, and remembers what was admitted.
    pub fn decide(&mut self, record: &Record, moment: Moment) -> Decision {
        if let Some(refusal) = self.date(&record.message, moment).or_else(|| self.mixed_versions(&record.message)) {
            return Decision::Refuse(refusal);
        }
        let id = id_of(record);
        match self.dedup.judge(id, record.content, moment.tick) {
            Verdict::New => {
                self.dedup.admit(id, record.content, moment.arrival(&record.message));
                self.note(&record.message);
                let late = record.message.at().0.saturating_add(self.longest_window_us) < moment.tick;
                Decision::Admit { late }
            }
            Verdict::Duplicate => Decision::Duplicate,
            Verdict::Conflict => Decision::Refuse(Refusal::Conflict),
        }
    }

    /// Reads what is known of the ids of records that are about to be decided about or restored, all at once:
    /// one by one each would wait for memory.
    pub fn look_ahead<'a>(&self, records: impl Iterator<Item = &'a Record>) {
        self.dedup.look_ahead(&records.map(id_of).collect::<Vec<_>>());
    }

    /// Forgets a record that was admitted but could not be stored: sent again, it is new.
    pub fn take_back(&mut self, record: &Record) {
        self.dedup.take_back(id_of(record));
        let Message::Inventory(stock) = &record.message else { return };
        let place = (stock.item_id, stock.location_id);
        if let Entry::Occupied(mut used) = self.versions.entry(place) {
            used.get_mut().1 -= 1;
            if used.get().1 == 0 {
                used.remove();
                // It came last, or not long ago.
                if let Some(at) = self.places.iter().rposition(|other| *other == place) {
                    self.places.remove(at);
                }
            }
        }
    }

    /// Remembers a record that the log holds.
    pub fn restore(&mut self, record: &Record, tick: Tick) {
        self.dedup.offer(id_of(record), record.content, tick);
        self.note(&record.message);
    }

    /// Begins an export of what is known now.
    pub fn begin_export(&mut self) {
        self.exported = 0;
        self.dedup.begin_export();
    }

    /// The next rows of the export.
    ///
    /// Who uses versions is told as of when it is written: what came since the export began is in the log behind it, and
    /// is remembered again when that is read. That there is one message of a place is enough: it is stored, and is never
    /// taken back.
    ///
    /// # Errors
    /// Where one cannot be encoded.
    pub fn export_some(&mut self) -> Result<Exported, CodecError> {
        let mut rows = Vec::new();
        let places = self.places.iter().skip(self.exported).take(EXPORT_SLICE_ROWS);
        for place in places {
            let row: VersionsRow = (*place, self.versions.get(place).is_some_and(|(used, _)| *used), 1);
            codec::frame_into(&row, &mut rows)?;
        }
        if !rows.is_empty() {
            self.exported = (self.exported + EXPORT_SLICE_ROWS).min(self.places.len());
            return Ok(Exported::Rows(VERSIONS, rows));
        }
        let mut ids: Vec<(u128, Known)> = Vec::new();
        for _ in 0..EMPTY_SLICES {
            let is_over = self.dedup.export_slice(EXPORT_SLICE_ROWS, &mut ids);
            if !ids.is_empty() {
                ids.iter().try_for_each(|id| codec::frame_into(id, &mut rows))?;
                return Ok(Exported::Rows(IDS, rows));
            }
            if is_over {
                return Ok(Exported::Done);
            }
        }
        Ok(Exported::More)
    }

    /// Takes back rows of the section called `name`.
    ///
    /// # Errors
    /// Where they are not what this version writes.
    pub fn import(&mut self, name: &str, rows: &[u8]) -> Result<(), CodecError> {
        for row in codec::framed(rows) {
            // What is not whole does not decode.
            let row = row.unwrap_or_default();
            match name {
                IDS => self.dedup.import(codec::decode(row)?),
                VERSIONS => {
                    let (place, used, count): VersionsRow = codec::decode(row)?;
                    if self.versions.insert(place, (used, count)).is_none() {
                        self.places.push(place);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether an event was admitted.
    pub fn has_event(&self) -> bool {
        self.has_event
    }

    /// Takes back that one was.
    pub fn restore_has_event(&mut self, has_event: bool) {
        self.has_event |= has_event;
    }

    /// For how long ids are known at present, in microseconds.
    pub fn effective_horizon_us(&self) -> u64 {
        self.dedup.effective_horizon_us()
    }

    /// How many ids are known.
    pub fn known_ids(&self) -> usize {
        self.dedup.len()
    }

    fn date(&self, message: &Message, moment: Moment) -> Option<Refusal> {
        let at = message.at();
        let dated = || Micros(at.0).to_string();
        match moment.mode {
            // Before the first event nothing is a gap: stock and catalogue may be years old. But
            // what is ahead of the wall clock has not happened.
            ClockMode::Replay => {
                if at.0 > moment.wall_us.saturating_add(self.max_clock_skew_us) {
                    return Some(Refusal::Future(dated()));
                }
                if self.has_event && at.0 > moment.tick.saturating_add(self.max_replay_gap_us) {
                    return Some(Refusal::ReplayGap(dated()));
                }
            }
            ClockMode::Wall | ClockMode::Scaled { .. } => {
                if at.0 > moment.tick.saturating_add(self.max_clock_skew_us) {
                    return Some(Refusal::Future(dated()));
                }
            }
        }
        // Stock and catalogue are states, however long ago they were stated.
        let is_event = matches!(message, Message::Event(_));
        (is_event && at.0.saturating_add(self.retention_us) < moment.tick).then(|| Refusal::TooOld(dated()))
    }

    fn mixed_versions(&self, message: &Message) -> Option<Refusal> {
        let Message::Inventory(stock) = message else { return None };
        let (used, _) = *self.versions.get(&(stock.item_id, stock.location_id))?;
        let used_text = if used { "versions" } else { "no versions" };
        (used != stock.version.is_some()).then(|| Refusal::MixedVersions(used_text.into()))
    }

    /// Remembers what later messages are judged by.
    fn note(&mut self, message: &Message) {
        match message {
            Message::Inventory(stock) => {
                let place = (stock.item_id, stock.location_id);
                let places = &mut self.places;
                let used = self.versions.entry(place).or_insert_with(|| {
                    places.push(place);
                    (stock.version.is_some(), 0)
                });
                used.1 += 1;
            }
            Message::Event(_) => self.has_event = true,
            Message::Catalogue(_) => {}
        }
    }
}

/// By what a message is known.
fn id_of(record: &Record) -> u128 {
    hash128(record.message.message_id().as_bytes())
}
