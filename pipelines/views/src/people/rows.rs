//! What a person tells: rows of the profile's views, and what other views are made from.

use std::sync::Arc;

use etalage_model::{Micros, Name, Sym, Value};
use serde::{Deserialize, Serialize};

use crate::{
    lines::Cell,
    profile::{activity, affinity, cart, customer_status, purchases, recent_views, snapshot, value},
    signal::cart_abandoned::Signal,
};

/// A row of one of the views of a profile.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Profiled {
    Value(Arc<value::Row>),
    Purchases(Arc<purchases::Row>),
    RecentViews(Arc<recent_views::Row>),
    Affinity(Arc<affinity::Row>),
    CustomerStatus(Arc<customer_status::Row>),
    Activity(Arc<activity::Row>),
    Cart(Arc<cart::Row>),
    Snapshot(Arc<snapshot::Row>),
}

/// Number of the views of a profile.
pub const FEATURES: usize = 8;

/// A view of a profile, numbered as in [`Profiled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Feature {
    Value,
    Purchases,
    RecentViews,
    Affinity,
    CustomerStatus,
    Activity,
    Cart,
    Snapshot,
}

impl Profiled {
    /// Which view it is of.
    pub fn feature(&self) -> Feature {
        match self {
            Profiled::Value(_) => Feature::Value,
            Profiled::Purchases(_) => Feature::Purchases,
            Profiled::RecentViews(_) => Feature::RecentViews,
            Profiled::Affinity(_) => Feature::Affinity,
            Profiled::CustomerStatus(_) => Feature::CustomerStatus,
            Profiled::Activity(_) => Feature::Activity,
            Profiled::Cart(_) => Feature::Cart,
            Profiled::Snapshot(_) => Feature::Snapshot,
        }
    }

    /// The row as readers see it.
    pub fn value(self) -> Value {
        match self {
            Profiled::Value(row) => row,
            Profiled::Purchases(row) => row,
            Profiled::RecentViews(row) => row,
            Profiled::Affinity(row) => row,
            Profiled::CustomerStatus(row) => row,
            Profiled::Activity(row) => row,
            Profiled::Cart(row) => row,
            Profiled::Snapshot(row) => row,
        }
    }
}

/// Something that a person tells.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Row {
    /// A row of a view: the profile's id, and the row.
    Profiled(Name, Profiled),
    /// When somebody last looked at an item.
    Looked(Cell, u64),
    /// When somebody, named by a hash of the profile's id, last bought an item.
    Bought(Cell, u128, u64),
    /// Since when a profile owns an item.
    Owned(Name, Sym, Micros),
    /// A signal of a profile's cart, and when it begins and ends to hold.
    Idle(Name, Arc<Signal>),
}

/// The stream of [`Row::Looked`]; those below are of [`Row::Profiled`], by feature.
pub const LOOKED: usize = FEATURES;
/// The stream of [`Row::Bought`].
pub const BOUGHT: usize = LOOKED + 1;
/// The stream of [`Row::Owned`].
pub const OWNED: usize = BOUGHT + 1;
/// The stream of [`Row::Idle`].
pub const IDLE: usize = OWNED + 1;
/// Number of streams that rows are divided into.
pub const STREAMS: usize = IDLE + 1;

impl Row {
    /// The stream of a row.
    pub fn stream(&self) -> usize {
        match self {
            Row::Profiled(_, row) => row.feature() as usize,
            Row::Looked(..) => LOOKED,
            Row::Bought(..) => BOUGHT,
            Row::Owned(..) => OWNED,
            Row::Idle(..) => IDLE,
        }
    }
}
