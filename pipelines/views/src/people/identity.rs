//! `identity.assignment`: which profile an identifier belongs to.
//!
//! - **Input** `identify`, `alias`, `unlink`, and events that carry two identifiers.
//! - **Output** (kind, id) → the profile's id, for every identifier that is linked to another. One
//!   without a row is a profile of its own.
//! - **Time** plays no part but that of order.
//! - **State bound**: per pair what [`link`] keeps; per link a row; per profile its identifiers, of
//!   which a user has at most `max_identifiers`: those whose links are the oldest.
//!
//! ```text
//!   events ──> pairs ──> live links ──┬─ visitor, user: the least per visitor ──> by user ──> by owner
//!                                     └─ user, user ──> components (iterate) ────────^
//! ```
//!
//! A weak identifier belongs to at most one user: that of its least live link. Users are joined only
//! by `alias`; their components are kept by differential iteration, since a link can be taken back.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    sync::Arc,
};

use differential_dataflow::{AsCollection, algorithms::graphs::propagate::propagate};
use etalage_model::{EventKind, Group, Key, KeyFields, Name, Resolve, Value, Written};
use etalage_operators::{
    Collection,
    inflow::Inflow,
    reduce::ReduceSmall,
    seal::seal_values,
    stitch::{Place, summarize},
    table::hash_of,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use timely::dataflow::operators::vec::Map;

use super::{
    Identifier, Kind, Limit, Seen,
    identifier::ANONYMOUS_PREFIX,
    link::{self, Link, Order, Pair, Says},
};
use crate::{
    View,
    oracle::{History, json},
    parts::{Batch, Parts},
    row_schema,
    sealed::{Published, Sealable},
};

/// The view's name.
pub const NAME: &str = "identity.assignment";

/// The view.
pub const VIEW: View = View {
    name: NAME,
    group: Group::Customer,
    key_fields: &["kind", "id"],
    about: "the profile that an identifier belongs to, where it is linked to another",
    has_window_start: false,
    causes: LINKS,
    schema: || row_schema::<Row>(),
    read: Written::known::<Row>,
    build,
    oracle,
};

/// How readers find a profile by any of its identifiers: a user's id, `anon:<id>`, or a visitor's id as
/// it was sent.
pub const RESOLVE: Resolve = Resolve {
    view: NAME,
    keys: |text| {
        let key = |kind: Kind, id: &str| KeyFields(vec![kind.name().to_owned(), id.to_owned()]);
        match text.strip_prefix(ANONYMOUS_PREFIX) {
            Some(visitor) => vec![key(Kind::Anonymous, visitor)],
            None => vec![key(Kind::User, text), key(Kind::Anonymous, text)],
        }
    },
    profile: |value| value.as_any().downcast_ref::<Row>().map(|row| row.profile_id.as_str()),
    alone: |text| format!("{ANONYMOUS_PREFIX}{text}"),
};

/// Identifiers that belong together, in order.
pub type Members = Arc<Vec<Identifier>>;

/// What says who belongs together, beside events that carry two identifiers.
pub const LINKS: &[EventKind] = &[EventKind::Identify, EventKind::Alias, EventKind::Unlink];

/// A row as readers see it.
#[derive(Debug, JsonSchema, Serialize, Deserialize)]
struct Row {
    profile_id: String,
}

/// What decides about a user: its visitors with the orders of their links, and its component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Fact {
    /// The component's least user.
    Component(Name),
    Visitor(Order, Name),
}

/// The identifiers of every profile that has several: by its owner, a user.
pub fn members<'scope>(parts: &Parts<'scope>) -> Collection<'scope, (Name, Members)> {
    let rules = Rc::new(parts.options.people.clone());
    let steps = parts.steps();
    let facts = move |(batch, tick, diff): (Batch, u64, isize)| {
        let end = steps.end_of(tick);
        let facts = Seen::all(&batch).flat_map(|seen| {
            let pairs: Vec<(Pair, Says)> = link::pairs(seen.event()).collect();
            pairs.into_iter().map(move |(pair, says)| (pair, (seen.clone(), says)))
        });
        facts.map(|fact| (fact, end, diff)).collect::<Vec<_>>()
    };
    let facts = parts.batches().flat_map(facts).as_collection();
    let live = summarize::<Pair, Link>(facts, rules, parts.kept("Links"));
    // Users that are joined, and what they are joined into.
    let edges = live
        .clone()
        .filter(|(pair, _)| link::is_of_users(pair))
        .flat_map(|(Pair(one, other), _)| [(one.id.clone(), other.clone()), (other, one.id)]);
    let nodes = edges.clone().map(|(user, _)| (user.clone(), user)).distinct();
    let components = propagate(edges, nodes);
    let visitors = live.flat_map(|(Pair(visitor, user), order)| {
        (visitor.kind == Kind::Anonymous).then_some((visitor.id, (order, user)))
    });
    let least = |_: &Name, users: &[((Order, Name), isize)], out: &mut Vec<(Order, Name)>| {
        out.extend(users.first().map(|(least, _)| least.clone()));
    };
    let of_visitors = visitors.reduce_small(parts.wiring("User of a visitor"), Name::clone, least);
    let facts = Inflow::of(of_visitors, |(visitor, (order, user)), diff| {
        ((user.clone(), Fact::Visitor(order.clone(), visitor.clone())), *diff)
    })
    .and(Inflow::of(components, |(user, least), diff| ((user.clone(), Fact::Component(least.clone())), *diff)));
    let max = parts.options.people.max_identifiers;
    let members = facts.reduce_small(parts.wiring("Identifiers of a user"), Name::clone, move |user, facts, out| {
        let component = facts.iter().find_map(|(fact, _)| match fact {
            Fact::Component(least) => Some(least),
            Fact::Visitor(..) => None,
        });
        let owner = component.unwrap_or(user);
        let visitors = facts.iter().filter_map(|(fact, _)| match fact {
            Fact::Visitor(_, visitor) => Some(Identifier { kind: Kind::Anonymous, id: visitor.clone() }),
            Fact::Component(_) => None,
        });
        if visitors.clone().count() > max {
            Limit::Identifiers.hit();
        }
        let own = Identifier { kind: Kind::User, id: user.clone() };
        out.extend([own].into_iter().chain(visitors.take(max)).map(|member| (owner.clone(), member)));
    });
    let of_owner = members.map(|(_, member)| member);
    let all = |_: &Name, members: &[(Identifier, isize)], out: &mut Vec<Members>| {
        out.push(Arc::new(members.iter().map(|(member, _)| member.clone()).collect()));
    };
    of_owner.reduce_small(parts.wiring("Identifiers of a profile"), Name::clone, all)
}

/// Where every linked identifier belongs; the generation is a hash of all that belong there.
pub fn places<'scope>(
    members: Collection<'scope, (Name, Members)>,
) -> Collection<'scope, (Identifier, Place<Identifier>)> {
    members.flat_map(|(owner, members)| {
        let generation = hash_of(&*members);
        let owner = Identifier { kind: Kind::User, id: owner };
        let place = |member: &Identifier| (member.clone(), (owner.clone(), generation));
        members.iter().map(place).collect::<Vec<_>>()
    })
}

fn build<'scope>(parts: &Parts<'scope>) -> Box<dyn Sealable<'scope> + 'scope> {
    let rows = parts.people().places().map(|(id, (owner, _))| (id, owner.id));
    let publish = |id: Identifier, owner: Option<Name>| {
        let value = owner.map(|owner| Arc::new(Row { profile_id: owner.as_str().to_owned() }) as Value);
        (Key::of_names(&[id.kind.name().into(), id.id]), value)
    };
    Published::rows(seal_values(rows, NAME, Identifier::clone), publish)
}

/// Every linked identifier with its owner, plainly.
pub fn plain_owners(history: &History<'_>) -> BTreeMap<Identifier, Identifier> {
    let options = &history.options.people;
    let mut links: BTreeMap<Pair, Vec<(Order, link::Says)>> = BTreeMap::new();
    for event in history.events() {
        for (pair, says) in link::pairs(event) {
            let order = (event.timestamp.0, event.message_id.as_str().into());
            links.entry(pair).or_default().push((order, says));
        }
    }
    // The least live link of each visitor; the neighbours of each user.
    let mut of_visitor: BTreeMap<Name, (Order, Name)> = BTreeMap::new();
    let mut beside: BTreeMap<Name, BTreeSet<Name>> = BTreeMap::new();
    for (Pair(one, user), mut messages) in links {
        messages.sort_by(|one, other| one.0.cmp(&other.0));
        let Some(order) = plain_order(&messages, options.max_link_messages) else { continue };
        if one.kind == Kind::User {
            beside.entry(one.id.clone()).or_default().insert(user.clone());
            beside.entry(user).or_default().insert(one.id);
        } else {
            let new = (order, user);
            let known = of_visitor.entry(one.id).or_insert_with(|| new.clone());
            *known = new.min(known.clone());
        }
    }
    let mut visitors: BTreeMap<Name, Vec<(Order, Name)>> = BTreeMap::new();
    for (visitor, (order, user)) in of_visitor {
        visitors.entry(user).or_default().push((order, visitor));
    }
    let mut owners = BTreeMap::new();
    for user in beside.keys().chain(visitors.keys()) {
        let owner = Identifier { kind: Kind::User, id: least_reachable(user, &beside) };
        owners.insert(Identifier { kind: Kind::User, id: user.clone() }, owner);
    }
    for (user, mut of_user) in visitors {
        of_user.sort();
        let owner = owners[&Identifier { kind: Kind::User, id: user }].clone();
        for (_, visitor) in of_user.into_iter().take(options.max_identifiers) {
            owners.insert(Identifier { kind: Kind::Anonymous, id: visitor }, owner.clone());
        }
    }
    owners
}

/// The order of a link, if it is live, of all messages about it in order.
fn plain_order(messages: &[(Order, link::Says)], max: usize) -> Option<Order> {
    let of = |wanted| messages.iter().filter(move |(_, says)| *says == wanted).map(|(order, _)| order);
    let explicit: Vec<&Order> = of(link::Says::Link).collect();
    let newest = explicit.len().saturating_sub(max).max(max.min(explicit.len()));
    let kept = explicit.iter().take(max).chain(&explicit[newest..]);
    match of(link::Says::Unlink).max() {
        Some(unlink) => kept.copied().find(|order| *order > unlink).cloned(),
        None => kept.copied().chain(of(link::Says::Seen)).min().cloned(),
    }
}

fn least_reachable(user: &Name, beside: &BTreeMap<Name, BTreeSet<Name>>) -> Name {
    let (mut seen, mut next) = (BTreeSet::from([user]), VecDeque::from([user]));
    while let Some(user) = next.pop_front() {
        next.extend(beside.get(user).into_iter().flatten().filter(|other| seen.insert(other)));
    }
    seen.first().copied().unwrap_or(user).clone()
}

fn oracle(history: &History<'_>) -> BTreeMap<Key, String> {
    let row = |(id, owner): (Identifier, Identifier)| {
        let row = Row { profile_id: owner.profile_id().as_str().to_owned() };
        (Key::of_names(&[id.kind.name().into(), id.id]), json(&row))
    };
    plain_owners(history).into_iter().map(row).collect()
}
