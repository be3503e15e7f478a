//! What may stand at a key of the configuration.

/// What may stand at a key.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A text that is not empty.
    Text,
    /// Where snapshots may be.
    Place,
    /// A whole number within bounds.
    Int(i64, i64),
    /// A duration, such as `"10s"`.
    Span,
    /// A duration, or `"auto"`.
    SpanOrAuto,
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A currency code: three capital letters.
    Currency,
    /// Address and port to listen on.
    Address,
    /// Texts.
    List,
    /// Durations, written as the windows shall be called.
    Windows,
    /// Durations, written as the half-lives shall be called; there may be none.
    HalfLives,
    /// Scope dimensions and pairs of them.
    Dimensions,
    /// SHA-256 sums in hex.
    Hashes,
    /// Names of views.
    Views,
    /// Currency code → (date → rate).
    Rates,
}

impl Kind {
    /// What is expected, for error messages and the reference.
    pub fn expects(self) -> String {
        match self {
            Kind::Text => "a text".to_owned(),
            Kind::Place => "a folder or a URL such as \"s3://bucket/path\"".to_owned(),
            Kind::Int(i64::MIN, i64::MAX) => "a whole number".to_owned(),
            Kind::Int(min, max) => format!("a whole number from {min} to {max}"),
            Kind::Span => "a duration such as \"10s\"".to_owned(),
            Kind::SpanOrAuto => "a duration such as \"90d\", or \"auto\"".to_owned(),
            Kind::OneOf(names) => names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or "),
            Kind::Currency => "a currency code such as \"EUR\"".to_owned(),
            Kind::Address => "address and port such as \"127.0.0.1:7878\"".to_owned(),
            Kind::List => "a list of texts".to_owned(),
            Kind::Windows | Kind::HalfLives => "a list of durations such as [\"1h\", \"7d\"]".to_owned(),
            Kind::Dimensions => "a list of dimensions such as [\"global\", \"country+category\"]".to_owned(),
            Kind::Hashes => "a list of SHA-256 sums, each 64 hex digits".to_owned(),
            Kind::Views => "a list of view names".to_owned(),
            Kind::Rates => "a table of rates by date such as { \"2010-01-01\" = 1.17 }".to_owned(),
        }
    }
}
