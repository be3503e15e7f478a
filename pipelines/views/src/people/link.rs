//! Links between identifiers: what the messages about one pair come to.
//!
//! A link is a set element, not a count. Of `identify` (or `alias`) and `unlink` the newest by
//! (timestamp, messageId) decides; an event that merely carries both identifiers links them too,
//! unless they were ever unlinked: then only an explicit link does. The *order* of a link is that
//! of the least message that makes it: of the explicit ones after the last unlink, or of all where
//! there is none.
//!
//! **State bound**: per pair so many explicit links, the oldest and the newest of them; of implicit
//! ones and unlinks one each.

use etalage_model::{Event, EventKind, Name, Tick};
use etalage_operators::stitch::{Summary, Told};
use serde::{Deserialize, Serialize};

use super::{Identifier, Kind, Limit, PeopleOptions, Seen};

/// Place of a message among others: timestamp, messageId.
pub type Order = (u64, Box<str>);

/// Two identifiers that some message speaks of together: users in their order, or a visitor and a user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pair(pub Identifier, pub Name);

/// What a message says about a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Says {
    /// They belong together.
    Link,
    /// They were seen together.
    Seen,
    /// They do not belong together.
    Unlink,
}

/// The pairs that an event speaks of.
pub fn pairs(event: &Event) -> impl Iterator<Item = (Pair, Says)> {
    let user = event.user_id.as_deref();
    let says = match event.kind {
        EventKind::Identify => Says::Link,
        EventKind::Unlink => Says::Unlink,
        _ => Says::Seen,
    };
    let weak = event.anonymous_id.as_deref().zip(user);
    let weak = weak.map(|(visitor, user)| (Pair(Identifier::anonymous(visitor), user.into()), says));
    let users = event.previous_id.as_deref().zip(user).filter(|(previous, user)| previous != user);
    let users = users.and_then(|(previous, user)| {
        let says = match event.kind {
            EventKind::Alias => Says::Link,
            EventKind::Unlink => Says::Unlink,
            _ => return None,
        };
        Some((Pair(Identifier::user(previous.min(user)), previous.max(user).into()), says))
    });
    weak.into_iter().chain(users)
}

/// A live link: the pair, and its order.
pub type Live = (Pair, Order);

/// What is known of a pair.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Link {
    /// The newest unlink.
    unlink: Option<Order>,
    /// Explicit links in order: the oldest and the newest.
    explicit: Vec<Order>,
    /// The least implicit link.
    seen: Option<Order>,
    #[serde(skip)]
    told: Told<Order>,
}

impl Link {
    /// The order of the link, if it is live.
    pub fn live(&self) -> Option<&Order> {
        match &self.unlink {
            Some(unlink) => self.explicit.iter().find(|order| *order > unlink),
            None => self.explicit.first().into_iter().chain(&self.seen).min(),
        }
    }

    /// Takes in what a message says.
    pub fn take(&mut self, order: (u64, &str), says: Says, max: usize) {
        let owned = || (order.0, Box::from(order.1));
        let less = |other: &Order| order < (other.0, &*other.1);
        match says {
            Says::Seen if self.seen.as_ref().is_none_or(less) => self.seen = Some(owned()),
            Says::Seen => {}
            Says::Unlink if self.unlink.as_ref().is_none_or(|other| !less(other)) => self.unlink = Some(owned()),
            Says::Unlink => {}
            Says::Link => self.add(owned(), max),
        }
    }

    fn add(&mut self, order: Order, max: usize) {
        if let Err(place) = self.explicit.binary_search(&order) {
            self.explicit.insert(place, order);
        }
        if self.explicit.len() > 2 * max {
            Limit::LinkMessages.hit();
            // Whatever comes later, this one is never again among the oldest or the newest.
            self.explicit.remove(max);
        }
    }
}

impl Summary<Pair> for Link {
    type Fact = (Seen, Says);
    type Row = Live;
    type Rules = PeopleOptions;

    fn absorb(&mut self, (seen, says): &Self::Fact, rules: &PeopleOptions) {
        let event = seen.event();
        self.take((event.timestamp.0, &*event.message_id), *says, rules.max_link_messages);
    }

    fn merge(&mut self, other: &Self, rules: &PeopleOptions) {
        let max = rules.max_link_messages;
        fn order((at, id): &Order) -> (u64, &str) {
            (*at, id)
        }
        other.unlink.iter().for_each(|unlink| self.take(order(unlink), Says::Unlink, max));
        other.seen.iter().for_each(|seen| self.take(order(seen), Says::Seen, max));
        other.explicit.iter().for_each(|link| self.add(link.clone(), max));
    }

    fn settle(&mut self, pair: &Pair, _tick: Tick, _rules: &PeopleOptions, tell: &mut dyn FnMut(Live, isize)) {
        if self.live() == self.told.0.as_ref() {
            return;
        }
        let live = self.live().cloned();
        self.told.0.take().into_iter().for_each(|order| tell((pair.clone(), order), -1));
        live.iter().for_each(|order| tell((pair.clone(), order.clone()), 1));
        self.told = Told(live);
    }

    fn withdraw(&mut self, pair: &Pair, _rules: &PeopleOptions, tell: &mut dyn FnMut(Live, isize)) {
        self.told.0.take().into_iter().for_each(|order| tell((pair.clone(), order), -1));
    }
}

/// True where the pair is of two users.
pub fn is_of_users(pair: &Pair) -> bool {
    pair.0.kind == Kind::User
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(messages: &[(u64, Says)]) -> Option<u64> {
        let mut live = None;
        // Every rotation of the messages must come to the same.
        for first in 0..messages.len() {
            let mut link = Link::default();
            messages.iter().cycle().skip(first).take(messages.len()).for_each(|(at, says)| {
                link.take((*at, "id"), *says, 2);
            });
            let found = link.live().map(|(at, _)| *at);
            assert!(first == 0 || live == found, "{messages:?} from {first}");
            live = found;
        }
        live
    }

    #[test]
    fn the_newest_of_link_and_unlink_decides_and_an_unlink_blocks_what_was_merely_seen() {
        use Says::{Link, Seen, Unlink};
        assert_eq!(live(&[(3, Seen), (2, Seen), (5, Link)]), Some(2));
        assert_eq!(live(&[(3, Seen), (4, Unlink), (5, Seen)]), None);
        assert_eq!(live(&[(3, Link), (4, Unlink), (6, Link), (5, Seen), (7, Link)]), Some(6));
        assert_eq!(live(&[(3, Link), (4, Unlink), (6, Link), (8, Unlink)]), None);
    }

    #[test]
    fn the_oldest_and_the_newest_links_are_kept() {
        let messages: Vec<(u64, Says)> = (1..20).map(|at| (at, Says::Link)).collect();
        assert_eq!(live(&messages), Some(1));
        let unlinked: Vec<(u64, Says)> = messages.iter().copied().chain([(18, Says::Unlink)]).collect();
        assert_eq!(live(&unlinked), Some(19));
    }
}
