//! In how many runs what occurred.

use std::{collections::BTreeMap, fmt};

use etalage::runtime::FAILPOINTS;

use crate::{Run, plan::FAULTS};

/// Counts what occurred in runs.
#[derive(Default)]
pub struct Report {
    runs: usize,
    messages: usize,
    processes: usize,
    occurred: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Counts a run.
    pub fn add(&mut self, run: &Run) {
        self.runs += 1;
        self.messages += run.messages;
        self.processes += run.processes;
        run.occurred.iter().for_each(|name| *self.occurred.entry(name).or_default() += 1);
    }

    /// Every kind of fault and every failpoint, and the part of the runs in which it occurred.
    pub fn coverage(&self) -> impl Iterator<Item = (&'static str, f64)> + '_ {
        let all = FAULTS.iter().chain(&FAILPOINTS);
        all.map(|name| (*name, self.occurred.get(name).map_or(0.0, |count| *count as f64 / self.runs.max(1) as f64)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} runs, {} messages, {} processes; what occurred, in how many of the runs:",
            self.runs, self.messages, self.processes
        )?;
        for (name, part) in self.coverage() {
            writeln!(f, "  {:>5.1} %  {name}", part * 100.0)?;
        }
        Ok(())
    }
}
