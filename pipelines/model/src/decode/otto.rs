//! The sessions of the OTTO recommender data set into messages, in the order of the file.
//!
//! ```text
//! {"session":12,"events":[{"aid":7,"ts":1659304800025,"type":"clicks"}, …]}
//!
//! line ──► session ──► act ──┬─ clicks, carts ─► view_item, add_to_cart, one each
//!   │         │         │    └─ orders ─► run of equal ts ─► purchase: at most 200 items each
//!   └─────────┴─────────┴─► bad line
//! ```
//!
//! **Messages.** `anonymousId` is the session, items are the `aid`s as written, times the `ts` in
//! milliseconds. There are no prices (0), and an act is one unit. The transaction of an order is
//! `<session>:<ts>`. An order whose run is cut, or interrupted by another act, goes on as a
//! message of its own, of the same transaction. `messageId` is made from the acts, their places
//! in the session, and the line.
//!
//! The file is ordered by session, not by time: a session spans up to weeks, so the clock of a
//! replay stands at the end of the first ones early on, and what follows counts as late.
//!
//! **Bad lines.** An act that cannot be read is bad by itself, with its own bytes, and interrupts
//! no run; what cannot be read as a session is bad as a whole line. Reading goes on.

mod session;

use std::{io::Read, vec};

use self::session::{Act, BadAct, Session};
use super::{
    BadLine, ReadError,
    assembling::{Assembling, Assembly, Placed},
    draft::{Draft, Origin, plain_item},
    lines::{Line, Lines},
};
use crate::{EventKind, Record};

/// The most bytes of one line; a longer one is bad as a whole.
pub const MAX_SESSION_BYTES: usize = 16 * 1024 * 1024;

/// The most acts of one session; one with more is bad as a whole.
pub const MAX_SESSION_EVENTS: usize = 200_000;

const ORIGIN: Origin = Origin { name: "otto", currency: "" };

/// What was read so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines that are a session; blank lines are none.
    pub sessions: u64,
    /// Acts of `clicks`.
    pub clicks: u64,
    /// Acts of `carts`.
    pub carts: u64,
    /// Acts of `orders`.
    pub orders: u64,
    /// Acts that could not be read.
    pub bad_events: u64,
    /// Lines that could not be read.
    pub bad_lines: u64,
    /// Messages made of the rest.
    pub messages: u64,
}

/// Reads messages, each with the number of its line, and the bad lines between them.
pub struct Reader<R> {
    lines: Assembling<R, Otto>,
}

impl<R: Read> Reader<R> {
    /// Reads from the beginning; the format has no header.
    pub fn new(input: R) -> Reader<R> {
        let assembly = Otto { counts: Counts::default(), at_hand: None, bad: None };
        Reader { lines: Assembling::new(Lines::json(input, MAX_SESSION_BYTES), assembly) }
    }

    /// What was read so far.
    pub fn counts(&self) -> Counts {
        self.lines.assembly.counts
    }

    /// The number of the last line that was read.
    pub fn line(&self) -> u64 {
        self.lines.line()
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<(u64, Record), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.lines.next()
    }
}

/// One session at a time. Its acts stay small, and become messages as these are taken.
struct Otto {
    counts: Counts,
    at_hand: Option<AtHand>,
    bad: Option<BadLine>,
}

struct AtHand {
    line: u64,
    session: String,
    acts: vec::IntoIter<Result<Act, BadAct>>,
    /// The order that is being gathered.
    order: Option<Draft>,
    /// What stands behind that order and was looked at to end it.
    next: Option<Act>,
}

impl Assembly for Otto {
    fn absorb(&mut self, line: Line) {
        match session::read(&line.text) {
            Ok(Session { session, acts }) => {
                self.counts.sessions += 1;
                let acts = acts.into_iter();
                self.at_hand = Some(AtHand { line: line.number, session, acts, order: None, next: None });
            }
            Err(reason) => self.bad(BadLine { line: line.number, raw: line.text, reason }),
        }
    }

    fn bad(&mut self, bad: BadLine) {
        self.counts.bad_lines += 1;
        self.bad = Some(bad);
    }

    fn finish(&mut self) {}

    /// Nothing is at hand when a line is read: a session is taken to its end before.
    fn break_off(&mut self) {}

    fn take(&mut self) -> Option<Placed> {
        if let Some(bad) = self.bad.take() {
            return Some(Err(ReadError::Line(bad)));
        }
        let taken = self.at_hand.as_mut()?.take(&mut self.counts);
        match &taken {
            None => self.at_hand = None,
            Some(Ok(_)) => self.counts.messages += 1,
            Some(Err(_)) => self.counts.bad_events += 1,
        }
        taken
    }
}

impl AtHand {
    fn take(&mut self, counts: &mut Counts) -> Option<Placed> {
        loop {
            let act = match self.next.take().map(Ok).or_else(|| self.acts.next()) {
                Some(Ok(act)) => act,
                Some(Err(BadAct { raw, reason })) => {
                    return Some(Err(ReadError::Line(BadLine { line: self.line, raw, reason })));
                }
                None => return self.close(),
            };
            if self.order.as_ref().is_some_and(|order| !continues(order, &act)) {
                self.next = Some(act);
                return self.close();
            }
            *match act.kind {
                EventKind::AddToCart => &mut counts.carts,
                EventKind::Purchase => &mut counts.orders,
                _ => &mut counts.clicks,
            } += 1;
            let draft = self.order.get_or_insert_with(|| {
                let mut draft = Draft::new(act.kind, act.at, self.line);
                draft.event.anonymous_id = Some(self.session.clone());
                if act.kind == EventKind::Purchase {
                    draft.event.transaction_id = Some(format!("{}:{}", self.session, act.at.0 / 1_000));
                }
                draft
            });
            let (place, item, at) = (act.place, act.item, act.at.0);
            let row = format!("{} {place} {item} {at} {}", self.session, act.kind.name());
            draft.add(row.as_bytes(), self.line, plain_item(act.item, 1, 0), 0);
            if act.kind != EventKind::Purchase || draft.is_full() {
                return self.close();
            }
        }
    }

    fn close(&mut self) -> Option<Placed> {
        self.order.take().map(|draft| Ok(draft.record(ORIGIN)))
    }
}

/// True where `act` is one more item of `order`.
fn continues(order: &Draft, act: &Act) -> bool {
    act.kind == EventKind::Purchase && order.event.timestamp == act.at
}
