//! A shop in EUR that converts GBP, and short ways to decode with it.
#![allow(dead_code, unreachable_pub)]

pub mod files;

use std::collections::BTreeMap;

use etalage_model::{
    Event, InputKind, Message, Micros, Record, Rejected,
    decode::json::{self, BodyError, Context, Limits},
    money::Currencies,
};

/// Pipeline time in these tests.
pub const AT: Micros = Micros(1_790_000_000_000_000);

/// What a body gives.
pub type Results = Result<Vec<Result<Record, Rejected>>, BodyError>;

/// What a [`Context`] borrows.
pub struct Shop<'m> {
    pub currencies: Currencies,
    pub limits: Limits,
    pub map_time: Option<&'m (dyn Fn(Micros) -> Micros + Sync)>,
}

pub fn shop() -> Shop<'static> {
    let mut currencies = Currencies::only("EUR");
    let since = Micros::parse("2020-01-01T00:00:00Z").unwrap();
    currencies.rates.insert("GBP".to_owned(), BTreeMap::from([(since, 1_200_000)]));
    Shop { currencies, limits: Limits::default(), map_time: None }
}

impl Shop<'_> {
    pub fn context(&self) -> Context<'_> {
        Context { now: AT, map_time: self.map_time, currencies: &self.currencies, limits: &self.limits }
    }

    pub fn body(&self, kind: InputKind, bytes: &[u8]) -> Results {
        json::body(kind, bytes, &self.context())
    }

    pub fn events(&self, bytes: &[u8]) -> Results {
        self.body(InputKind::Events, bytes)
    }

    pub fn event(&self, message: serde_json::Value) -> Event {
        match self.one(InputKind::Events, message).map(|record| record.message) {
            Ok(Message::Event(event)) => event,
            other => panic!("expected an event, found {other:?}"),
        }
    }

    pub fn one(&self, kind: InputKind, message: serde_json::Value) -> Result<Record, Rejected> {
        json::one(kind, message.to_string().as_bytes(), &self.context())
    }
}

pub fn event(message: serde_json::Value) -> Event {
    shop().event(message)
}

/// Why an event is refused; its bytes must come back with the reason.
pub fn reason(message: serde_json::Value) -> String {
    let sent = message.to_string();
    let rejected = shop().one(InputKind::Events, message).expect_err(&sent);
    assert_eq!(rejected.raw, sent.into_bytes());
    rejected.reason.to_string()
}
