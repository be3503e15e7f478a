//! Identifiers of people.

use etalage_model::{Event, EventKind, Name};
use serde::{Deserialize, Serialize};

/// What an anonymous profile's id begins with; no user id does.
pub use etalage_model::message::ANONYMOUS_PREFIX;

/// Kinds of identifier; texts of two kinds never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The shop's own id of a customer.
    User,
    /// A device's or a browser's: belongs to one user at most.
    Anonymous,
}

impl Kind {
    /// The name in keys.
    pub fn name(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Anonymous => "anonymous",
        }
    }
}

/// An identifier. One of them names a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identifier {
    /// Of which kind.
    pub kind: Kind,
    /// Its text.
    pub id: Name,
}

impl Identifier {
    /// A user.
    pub fn user(id: &str) -> Identifier {
        Identifier { kind: Kind::User, id: id.into() }
    }

    /// A visitor without a name.
    pub fn anonymous(id: &str) -> Identifier {
        Identifier { kind: Kind::Anonymous, id: id.into() }
    }

    /// Whose state an event changes; `None` where it names nobody, or says only who belongs together.
    pub fn of(event: &Event) -> Option<Identifier> {
        if matches!(event.kind, EventKind::Identify | EventKind::Alias | EventKind::Unlink | EventKind::Group) {
            return None;
        }
        let user = event.user_id.as_deref().map(Identifier::user);
        user.or_else(|| event.anonymous_id.as_deref().map(Identifier::anonymous))
    }

    /// The id of the profile that it names.
    pub fn profile_id(&self) -> Name {
        match self.kind {
            Kind::User => self.id.clone(),
            Kind::Anonymous => format!("{ANONYMOUS_PREFIX}{}", self.id).into(),
        }
    }
}
