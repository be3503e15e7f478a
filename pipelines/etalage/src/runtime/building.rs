//! The frames of one commit, while they are made: records by tick, and how far their sources have been
//! read.

use etalage_model::{Binding, Position, Record, Tick};

use super::{StoredFrame, admission::Moment, clock::ClockMode};

/// Frames in the making.
#[derive(Default)]
pub(super) struct Building {
    frames: Vec<StoredFrame>,
    /// What was read before the first frame began.
    ahead: Binding,
}

impl Building {
    /// Adds a record to the frame of its tick; in a replay a greater tick begins a new frame.
    pub(super) fn add(&mut self, record: Record, arrived_us: u64, Moment { tick, mode, .. }: Moment) {
        match self.frames.last_mut().filter(|frame| frame.tick == tick) {
            Some(frame) => {
                frame.records.push(record);
                if let Some((first, last)) = &mut frame.arrivals_us {
                    (*first, *last) = ((*first).min(arrived_us), (*last).max(arrived_us));
                }
            }
            None => self.frames.push(StoredFrame {
                complete_below: if mode == ClockMode::Replay { tick } else { tick + 1 },
                records: vec![record],
                arrivals_us: Some((arrived_us, arrived_us)),
                ..StoredFrame::empty(tick)
            }),
        }
    }

    /// Everything below a position is in the frames so far, or needs none.
    pub(super) fn has_read(&mut self, position: Position) {
        self.frames.last_mut().map_or(&mut self.ahead, |frame| &mut frame.binding).advance(position);
    }

    /// The frames. What was read of which nothing is stored has one of its own, at `tick`.
    pub(super) fn frames(mut self, tick: Tick) -> Vec<StoredFrame> {
        if self.frames.is_empty() && !self.ahead.is_empty() {
            self.frames.push(StoredFrame::empty(tick));
        }
        if let Some(first) = self.frames.first_mut() {
            self.ahead.positions.into_iter().for_each(|position| first.binding.advance(position));
        }
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use etalage_model::{Catalogue, Message, Micros, Sym};

    use super::*;

    fn record(tick: Tick) -> Record {
        let (message_id, updated_at) = (tick.to_string(), Micros(tick));
        let message = Message::Catalogue(Catalogue { message_id, item_id: Sym::new("a"), updated_at, entry: None });
        Record { message, content: 0 }
    }

    fn at(tick: Tick) -> Moment {
        Moment { tick, wall_us: 0, mode: ClockMode::Replay }
    }

    fn position(next: u64) -> Position {
        Position { source: "t".into(), partition: 0, next }
    }

    /// Ticks, how many records, and how far partition 0 was read.
    fn told(frames: &[StoredFrame]) -> Vec<(Tick, usize, Vec<u64>)> {
        let next = |frame: &StoredFrame| frame.binding.positions.iter().map(|position| position.next).collect();
        frames.iter().map(|frame| (frame.tick, frame.records.len(), next(frame))).collect()
    }

    #[test]
    fn what_is_read_is_bound_with_the_frame_that_it_belongs_to() {
        let mut building = Building::default();
        building.has_read(position(1));
        building.add(record(5), 0, at(5));
        building.add(record(5), 0, at(5));
        building.has_read(position(3));
        building.add(record(6), 0, at(6));
        building.has_read(position(4));
        building.has_read(position(5));
        assert_eq!(told(&building.frames(6)), [(5, 2, vec![3]), (6, 1, vec![5])]);
    }

    #[test]
    fn what_is_read_before_a_message_that_is_not_done_with_is_bound_too() {
        let mut building = Building::default();
        building.has_read(position(1));
        building.add(record(5), 0, at(5));
        assert_eq!(told(&building.frames(5)), [(5, 1, vec![1])]);
    }

    #[test]
    fn what_is_read_without_anything_to_store_has_a_frame_of_its_own() {
        let mut building = Building::default();
        building.has_read(position(7));
        assert_eq!(told(&building.frames(9)), [(9, 0, vec![7])]);
        assert!(Building::default().frames(9).is_empty());
    }
}
