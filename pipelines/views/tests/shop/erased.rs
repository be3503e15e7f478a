//! What is taken back was never there: somebody is erased as the service does it, and every view equals
//! its oracle over a history without them.

use std::collections::BTreeSet;

use etalage_model::{Event, EventKind, Message, Record, Tick};
use etalage_views::{
    oracle::History,
    people::{Identifier, Kind, identity::plain_owners},
};
use proptest::prelude::*;

use crate::{
    harness::{Arrivals, WORKERS, admitted, expected, follow, play_and_take_back},
    random::{RandomShop, cases, shops},
};

/// As many superseded statements of an item as are known, and the one in force.
const KNOWN_STATEMENTS: usize = 9;

fn of_kind(identifiers: &BTreeSet<Identifier>, kind: Kind) -> BTreeSet<String> {
    let of_kind = identifiers.iter().filter(|identifier| identifier.kind == kind);
    of_kind.map(|identifier| identifier.id.to_string()).collect()
}

/// What an event becomes where these are erased: it goes, or it stays without them.
fn without(event: &Event, identifiers: &BTreeSet<Identifier>) -> Option<Event> {
    let (users, visitors) = (of_kind(identifiers, Kind::User), of_kind(identifiers, Kind::Anonymous));
    let is_in = |ids: &BTreeSet<String>, id: &Option<String>| id.as_ref().is_some_and(|id| ids.contains(id));
    if is_in(&users, &event.user_id) || event.user_id.is_none() && is_in(&visitors, &event.anonymous_id) {
        return None;
    }
    let mut rest = event.clone();
    rest.anonymous_id.take_if(|id| visitors.contains(id));
    rest.previous_id.take_if(|id| users.contains(id));
    let is_link = matches!(event.kind, EventKind::Identify | EventKind::Alias | EventKind::Unlink);
    let links_nobody = is_link && rest.anonymous_id.is_none() && rest.previous_id.is_none();
    (rest == *event || !links_nobody).then_some(rest)
}

/// What is taken back, what stands in its place, and what there is without it.
fn erased(arrivals: &Arrivals, identifiers: &BTreeSet<Identifier>) -> (Vec<Record>, Vec<Record>, Arrivals) {
    let (mut gone, mut instead, mut rest) = (Vec::new(), Vec::new(), Arrivals::new());
    for (tick, record) in arrivals {
        let becomes = match &record.message {
            Message::Event(event) => without(event, identifiers).map(Message::Event),
            other => Some(other.clone()),
        };
        let becomes = becomes.map(|message| Record { message, content: record.content });
        if becomes.as_ref() != Some(record) {
            gone.push(record.clone());
            instead.extend(becomes.clone());
        }
        rest.extend(becomes.map(|record| (*tick, record)));
    }
    (gone, instead, rest)
}

/// How many lines somebody has at most of one item.
fn most_lines(gone: &[Record]) -> usize {
    let lines = gone.iter().flat_map(|record| match &record.message {
        Message::Event(event) => event.items.as_slice(),
        _ => &[],
    });
    let items: Vec<_> = lines.map(|item| item.item_id).collect();
    items.iter().map(|item| items.iter().filter(|other| *other == item).count()).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(cases(150))]

    #[test]
    fn it_is_as_if_they_had_never_come(shop in shops(), who in any::<prop::sample::Index>(), later_us in 1u64..2_000) {
        let RandomShop { options, mut arrivals, mut uppers } = shop;
        let end: Tick = uppers.last().unwrap() + later_us;
        uppers.push(end);
        let messages = admitted(&arrivals);
        let owners = plain_owners(&History { options: &options, admitted: &messages, tick: end - 1 });
        let of_events = messages.iter().filter_map(|(_, message)| match message {
            Message::Event(event) => Identifier::of(event),
            _ => None,
        });
        let everybody: Vec<Identifier> = of_events.collect::<BTreeSet<_>>().into_iter().collect();
        prop_assume!(!everybody.is_empty());
        let one = who.get(&everybody);
        let owner = owners.get(one).unwrap_or(one);
        let theirs = owners.iter().filter(|(_, of)| *of == owner).map(|(identifier, _)| identifier);
        let identifiers: BTreeSet<Identifier> = theirs.chain([one]).cloned().collect();
        let (gone, instead, rest) = erased(&arrivals, &identifiers);
        prop_assume!(most_lines(&gone) < KNOWN_STATEMENTS);
        arrivals.extend(instead.into_iter().map(|record| (end - 1, record)));
        let wanted = expected(&options, &admitted(&rest), end - 1);
        for workers in WORKERS {
            let got = follow(&play_and_take_back(workers, &options, &arrivals, gone.clone(), &uppers)).pop();
            prop_assert_eq!(Some(&wanted), got.as_ref(), "{:?} on {} workers", identifiers, workers);
        }
    }
}
