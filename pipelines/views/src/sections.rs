//! What a snapshot holds of a dataflow: the rows of every operator that remembers what happened.
//!
//! **What is kept**: an operator whose state cannot be made of what its inputs say now (windows, decayed
//! sums, newest statements, summaries of people). Everything else (joins, lists, timers, sealed values) is made anew
//! of what those tell when they start.
//! **Time**: all sections of a dataflow are exported as of one tick, and imported at it, or a part at a time at the
//! ticks just before it: so that what one part makes has been told before the next comes. An operator that imports drops
//! what its input says at these ticks: its rows hold it already.
//! **Encoding**: rows as [`codec::frame_into`] writes them, keyed by data and not by worker, so that any number of
//! workers can take them.
//! **Bound**: what waits to be taken is at most [`EXPORT_SLICE_ROWS`](etalage_operators::shell::EXPORT_SLICE_ROWS)
//! rows a section. What changes before its section has its turn is copied and waits too: at most all that there was.

use differential_dataflow::ExchangeData;
use etalage_model::{
    Tick,
    codec::{self, CodecError},
};
use etalage_operators::shell::{ExportPace, Exports, Restored, Steps, Wiring};
use timely::{
    container::CapacityContainerBuilder,
    dataflow::{InputHandle, Scope},
};

/// Rows of one section, encoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// How many there are.
    pub count: u64,
    /// Each behind its length.
    pub bytes: Vec<u8>,
}

/// Why rows could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// They end within a row.
    #[error("rows of section {section} end within a row")]
    Short {
        /// The section.
        section: &'static str,
    },
    /// A row is not what this version writes.
    #[error("a row of section {section}: {error}")]
    Row {
        /// The section.
        section: &'static str,
        /// What the codec said.
        error: CodecError,
    },
}

/// The rows of one operator in a worker.
pub trait Section {
    /// The operator's name.
    fn name(&self) -> &'static str;
    /// Asks for the rows as of `tick`, which the operator must not have passed.
    fn request(&self, tick: Tick);
    /// Appends the rows that were exported since the last call; true when they are all.
    fn take(&self, rows: &mut Rows) -> Result<bool, CodecError>;
    /// Hands rows of an earlier export to the operator, at `tick`.
    fn import(&mut self, rows: &[u8], tick: Tick) -> Result<(), ImportError>;
    /// Says that rows that are still to come count from `upper` on.
    fn advance(&mut self, upper: Tick);
    /// Says that no rows come any more.
    fn close(&mut self);
}

/// All sections of a worker's dataflow, in the order in which it was built.
pub type Sections = Vec<Box<dyn Section>>;

/// The section of an operator whose rows are `Row`.
struct Kept<Row: ExchangeData> {
    name: &'static str,
    exports: Exports<Row>,
    /// Absent once no rows come any more.
    imports: Option<InputHandle<Tick, CapacityContainerBuilder<Vec<(Row, Tick, isize)>>>>,
}

/// What the operators of a dataflow share that start from rows.
#[derive(Clone, Default)]
pub(crate) struct Keeping {
    pub(crate) steps: Steps,
    pub(crate) pace: ExportPace,
    pub(crate) restored: Restored,
}

/// Wires an operator whose rows are kept, and gives its section.
pub(crate) fn keep<'scope, Row: ExchangeData>(
    name: &'static str,
    scope: Scope<'scope, Tick>,
    keeping: &Keeping,
) -> (Wiring<'scope, Row>, Box<dyn Section>) {
    let mut imports = InputHandle::new();
    let rows = imports.to_stream(scope);
    let Keeping { steps, pace, restored } = keeping.clone();
    let exports = Exports::at_pace(&pace);
    let section = Kept { name, exports: exports.clone(), imports: Some(imports) };
    (Wiring { name, imports: rows, exports, steps, restored }, Box::new(section))
}

impl<Row: ExchangeData> Section for Kept<Row> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn request(&self, tick: Tick) {
        self.exports.request(tick);
    }

    fn take(&self, rows: &mut Rows) -> Result<bool, CodecError> {
        let (taken, is_all) = self.exports.take();
        for row in taken {
            codec::frame_into(&row, &mut rows.bytes)?;
            rows.count += 1;
        }
        Ok(is_all)
    }

    fn import(&mut self, rows: &[u8], tick: Tick) -> Result<(), ImportError> {
        let section = self.name;
        let imports = self.imports.as_mut().expect("rows come before anything else");
        for row in codec::framed(rows) {
            let row = row.ok_or(ImportError::Short { section })?;
            let row = codec::decode(row).map_err(|error| ImportError::Row { section, error })?;
            imports.send((row, tick, 1));
        }
        imports.flush();
        Ok(())
    }

    fn advance(&mut self, upper: Tick) {
        self.imports.iter_mut().for_each(|imports| imports.advance_to(upper));
    }

    fn close(&mut self) {
        self.imports = None;
    }
}
