//! A group of views as one dataflow: its input, its views, and when a tick is complete.
//!
//! Both groups take the same input, each at its own pace: `shop` never waits for `customer`.

use std::sync::Arc;

use differential_dataflow::AsCollection;
use etalage_model::{Group, SealedBatch, Tick, codec::CodecError, hash::hash128};
use etalage_operators::{
    dedup::{Dedup, Identity, Verdict},
    shell::{EXPORT_SLICE_ROWS, Wiring},
};
use timely::{
    dataflow::{
        InputHandle, ProbeHandle, Stream,
        operators::{Probe, vec::Map},
    },
    worker::Worker,
};

use crate::{
    ShopOptions, VIEWS,
    parts::{Batch, Parts},
    sealed::Cutter,
    sections::{ImportError, Keeping, Rows, Sections},
};

/// What one worker holds of a group's dataflow.
pub struct Dataflow {
    group: Group,
    input: InputHandle<Tick, timely::container::CapacityContainerBuilder<Vec<(Batch, Tick, isize)>>>,
    probe: ProbeHandle<Tick>,
    cutters: Vec<(&'static str, Box<dyn Cutter>)>,
    keeping: Keeping,
    sections: Sections,
    /// The first of the sections of which rows are still to come, while they are exported.
    exporting: Option<usize>,
    /// The last tick at which rows are imported.
    imported_until: Tick,
    lower: Tick,
}

impl Dataflow {
    /// Builds the dataflow of the views of a group that are switched on.
    pub fn build(worker: &mut Worker, group: Group, options: ShopOptions) -> Dataflow {
        let options = Arc::new(options);
        let keeping = Keeping::default();
        let probe = ProbeHandle::new();
        let (input, cutters, sections) = worker.dataflow_named(group.name(), |scope| {
            let mut input = InputHandle::new();
            let batches = deduplicated(input.to_stream(scope), &options);
            let parts = Parts::new(group, Arc::clone(&options), keeping.clone(), batches);
            let mut cutters = Vec::new();
            for view in VIEWS.iter().filter(|view| view.group == group && options.is_on(view.name)) {
                let sealable = (view.build)(&parts);
                sealable.passed().probe_with(&probe);
                cutters.push((view.name, sealable.cutter()));
            }
            (input, cutters, parts.into_sections())
        });
        Dataflow { group, input, probe, cutters, keeping, sections, exporting: None, imported_until: 0, lower: 0 }
    }

    /// Hands a batch to the dataflow, at `tick`.
    pub fn send(&mut self, batch: Batch, tick: Tick) {
        self.update(batch, tick, 1);
    }

    /// As [`Dataflow::send`], or the other way round: with a difference of −1 everything becomes as if
    /// the batch had never come.
    pub fn update(&mut self, batch: Batch, tick: Tick, diff: isize) {
        // The input stays at the end of the step before: a time of its own for each of many batches would cost
        // the engine more than the batches do.
        assert!(*self.input.time() <= tick, "a batch belongs to a step that is not complete");
        self.input.send((batch, tick, diff));
    }

    /// Says that no more input comes below `upper`, and that the next cut is there.
    pub fn advance(&mut self, upper: Tick) {
        // Rows of an earlier export come before everything else.
        let is_importing = upper <= self.imported_until;
        self.sections
            .iter_mut()
            .for_each(|section| if is_importing { section.advance(upper) } else { section.close() });
        self.keeping.steps.announce(upper);
        self.input.advance_to(upper);
        self.input.flush();
    }

    /// True where the group has views to keep.
    pub fn has_views(&self) -> bool {
        !self.cutters.is_empty()
    }

    /// True once every view has all that belongs below `upper`.
    pub fn has_passed(&self, upper: Tick) -> bool {
        !self.probe.less_than(&upper)
    }

    /// This worker's part of everything that changed below `upper`, which must have been passed.
    pub fn cut(&mut self, upper: Tick) -> Vec<SealedBatch> {
        assert!(self.has_passed(upper), "a tick is cut once it is complete");
        let lower = std::mem::replace(&mut self.lower, upper);
        self.keeping.steps.forget_below(lower);
        let mut batches = Vec::new();
        for (view, cutter) in &mut self.cutters {
            let mut batch = SealedBatch::new(self.group, view, lower, upper);
            cutter.cut(upper, &mut batch);
            if !batch.is_empty() {
                batches.push(batch);
            }
        }
        batches
    }

    /// The names of the sections that a snapshot has of it, each behind those of which its rows are made.
    pub fn sections(&self) -> impl Iterator<Item = &'static str> {
        self.sections.iter().map(|section| section.name())
    }

    /// Starts from rows as of `last`, which are imported at ticks from `first` on: before anything else, and before
    /// [`Dataflow::import`]. What is cut before all are imported is what some of the rows make.
    pub fn begin_import(&mut self, first: Tick, last: Tick) {
        self.keeping.restored.set(first, last);
        self.imported_until = last;
    }

    /// Takes rows of the section called `name` that were exported by whatever worker; they count from `tick` on.
    ///
    /// # Errors
    /// Where the rows are not what this version writes.
    pub fn import(&mut self, name: &str, rows: &[u8], tick: Tick) -> Result<(), ImportError> {
        let section = self.sections.iter_mut().find(|section| section.name() == name);
        section.map_or(Ok(()), |section| section.import(rows, tick))
    }

    /// Asks for the rows of all sections as of `tick`, at which a step must end that is not complete yet.
    pub fn begin_export(&mut self, tick: Tick) {
        self.sections.iter().for_each(|section| section.request(tick));
        self.exporting = (!self.sections.is_empty()).then_some(0);
    }

    /// True while rows are to be exported.
    pub fn is_exporting(&self) -> bool {
        self.exporting.is_some()
    }

    /// Allows a slice of rows to be written in the next step, and gives what was written before: the
    /// section's name, and its rows.
    ///
    /// # Errors
    /// Where a row cannot be encoded.
    pub fn export_some(&mut self) -> Result<Option<(&'static str, Rows)>, CodecError> {
        let Some(at) = self.exporting else { return Ok(None) };
        let mut rows = Rows::default();
        self.keeping.pace.set_rows(EXPORT_SLICE_ROWS);
        if self.sections[at].take(&mut rows)? {
            self.exporting = Some(at + 1).filter(|next| *next < self.sections.len());
        }
        Ok((rows.count > 0).then(|| (self.sections[at].name(), rows)))
    }

    /// How many keys this worker holds of each view.
    pub fn keys(&self) -> Vec<(&'static str, usize)> {
        self.cutters.iter().map(|(view, cutter)| (*view, cutter.keys())).collect()
    }
}

/// The first operator after the tick, where the source does not deduplicate by itself.
///
/// Of two arrivals of one tick the first in log order stays: the records of a tick are dealt to
/// the workers in shares, in the order of the log, so that worker and place in its share tell it.
fn deduplicated<'scope>(
    batches: Stream<'scope, Tick, Vec<(Batch, Tick, isize)>>,
    options: &ShopOptions,
) -> Stream<'scope, Tick, Vec<(Batch, Tick, isize)>> {
    let Some(limits) = options.dedup else { return batches };
    let scope = batches.scope();
    let worker = scope.index() as u64;
    let each = |(batch, tick, diff): (Batch, Tick, isize)| {
        (0..batch.len()).map(move |place| ((Arc::clone(&batch), place), tick, diff)).collect::<Vec<_>>()
    };
    let arrivals = batches.flat_map(each).map(move |((batch, place), tick, diff)| {
        let record = batch[place].clone();
        let id = hash128(record.message.message_id().as_bytes());
        let place = worker << 32 | place as u64;
        ((Hashed { id, content: record.content, place }, Opaque(Arc::new(vec![record]))), tick, diff)
    });
    arrivals
        .as_collection()
        .dedup(limits, Wiring::fresh("Dedup", scope), |(hashed, _)| Identity {
            id: hashed.id,
            content: hashed.content,
            place: hashed.place,
        })
        .inner
        .flat_map(|(((_, Opaque(batch)), verdict), tick, diff)| {
            (verdict == Verdict::New).then_some((batch, tick, diff))
        })
}

/// What identifies an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
struct Hashed {
    id: u128,
    content: u64,
    place: u64,
}

/// A batch that travels with its identity, which alone orders it.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
struct Opaque(Batch);

impl PartialEq for Opaque {
    fn eq(&self, _: &Opaque) -> bool {
        true
    }
}
impl Eq for Opaque {}
impl PartialOrd for Opaque {
    fn partial_cmp(&self, other: &Opaque) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Opaque {
    fn cmp(&self, _: &Opaque) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}
