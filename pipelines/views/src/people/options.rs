//! What a shop configures of the `customer` group, as plain values.

/// Everything that decides what the views of people hold, beside what the shop's views go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeopleOptions {
    /// Items in `profile.recent_views`.
    pub recent_views: usize,
    /// Orders in `profile.purchases`.
    pub purchases: usize,
    /// Categories, and brands, in `profile.affinity`.
    pub affinity: usize,
    /// The half-life of affinity, in microseconds.
    pub affinity_half_life_us: u64,
    /// A pause longer than this ends a session, in microseconds.
    pub session_idle_us: u64,
    /// For how long nothing must happen to a cart before it counts as abandoned, in microseconds.
    pub cart_idle_us: u64,
    /// For how long an identifier of which nothing is heard is remembered, in microseconds of event time.
    pub retention_us: u64,
    /// How old an event may be when it is admitted, at most, in microseconds.
    pub late_us: u64,
    /// For how long what was bought is not advertised, in microseconds.
    pub suppress_us: u64,
    /// The newest lines of cart events that are kept of a person.
    pub max_cart_lines: usize,
    /// The identifiers that may belong to one user.
    pub max_identifiers: usize,
    /// The messages that are kept of one link: so many oldest, and so many newest.
    pub max_link_messages: usize,
}

impl Default for PeopleOptions {
    fn default() -> PeopleOptions {
        const HOUR_US: u64 = 3_600_000_000;
        const DAY_US: u64 = 24 * HOUR_US;
        PeopleOptions {
            recent_views: 10,
            purchases: 10,
            affinity: 5,
            affinity_half_life_us: 14 * DAY_US,
            session_idle_us: HOUR_US / 2,
            cart_idle_us: HOUR_US,
            retention_us: 1_095 * DAY_US,
            late_us: 400 * DAY_US,
            suppress_us: 30 * DAY_US,
            max_cart_lines: 500,
            max_identifiers: 1_000,
            max_link_messages: 32,
        }
    }
}
