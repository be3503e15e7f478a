//! The sections of the configuration.

/// The sections, in the order of the reference, each with a sentence.
pub const SECTIONS: &[(&str, &str)] = &[
    ("windows", "Rolling windows: how far back popularity counts."),
    ("trending", "Trends: how fast a score fades."),
    ("shop", "The shop's money."),
    ("scopes", "For which groups of items and events popularity and sets are kept."),
    ("score", "How much one of each is worth in the score that ranks the sets. May be negative."),
    ("sets", "Bestseller sets."),
    ("stock", "What counts as sellable."),
    ("people", "What is known of customers and visitors."),
    ("store", "The embedded log, in which a message is stored before it is acknowledged."),
    ("snapshots", "State as of one tick, so that a restart reads only the end of the log."),
    ("time", "Pipeline time, and which messages it admits."),
    ("dedup", "How long a messageId is remembered."),
    ("limits", "What a sender, a reader and the queues between them may take up."),
    ("server", "The HTTP interface."),
    (
        "keys",
        "Who may use the HTTP interface. Make a key with `etalage key new pk` (or `sk`); only its hash stands here.",
    ),
    ("views", "Views that are switched off cost nothing."),
    ("online_retail", "The file format `online-retail` of `etalage replay`."),
    ("workers", "Threads that compute."),
    ("cluster", "Several processes that compute one pipeline."),
    ("kafka", "Topics: what is read from them, and what is written. Needs a build with the feature `kafka`."),
    ("quarantine", "Messages that were refused, kept with their reason."),
];
