//! Measures as a differential difference: they are added, negated and multiplied like numbers.

use differential_dataflow::difference::{Abelian, IsZero, Monoid, Multiply, Semigroup};
use etalage_model::{Measures, ScoreWeights};
use serde::{Deserialize, Serialize};

/// [`Measures`] that add up in a dataflow. Most of what happens are views and carts: what else there is
/// of them is held apart, so that a sum takes a fifth of the room.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sum {
    views: i64,
    carts: i64,
    /// What there is but for views and carts, if that is anything.
    others: Option<Box<Measures>>,
}

impl Sum {
    /// The sum of these.
    pub fn of(measures: &Measures) -> Sum {
        let others = Measures { views: 0, carts: 0, ..*measures };
        let others = (!others.is_zero()).then(|| Box::new(others));
        Sum { views: measures.views, carts: measures.carts, others }
    }

    /// What has been added up.
    pub fn measures(&self) -> Measures {
        let others = self.others.as_deref().copied().unwrap_or_default();
        Measures { views: self.views, carts: self.carts, ..others }
    }

    /// What was taken and what was given back, where there is any.
    pub fn money_micros(&self) -> impl Iterator<Item = i128> {
        self.others.iter().flat_map(|others| [others.revenue_micros, others.refund_micros])
    }

    fn combine(&mut self, other: &Sum, factor: i64) {
        self.views += other.views * factor;
        self.carts += other.carts * factor;
        if let Some(more) = &other.others {
            let others = self.others.get_or_insert_default();
            others.combine(more, factor);
            self.others.take_if(|others| others.is_zero());
        }
    }
}

impl IsZero for Sum {
    fn is_zero(&self) -> bool {
        self.views == 0 && self.carts == 0 && self.others.is_none()
    }
}
impl Semigroup for Sum {
    fn plus_equals(&mut self, other: &Sum) {
        self.combine(other, 1);
    }
}
impl Monoid for Sum {
    fn zero() -> Sum {
        Sum::default()
    }
}
impl Abelian for Sum {
    fn negate(&mut self) {
        *self = self.clone().multiply(&-1isize);
    }
}
impl Multiply<isize> for Sum {
    type Output = Sum;
    fn multiply(self, factor: &isize) -> Sum {
        let mut product = Sum::default();
        product.combine(&self, *factor as i64);
        product
    }
}

/// What a window adds up: all measures, or their score alone where no view needs more.
pub trait Weighed: differential_dataflow::ExchangeData + Abelian {
    /// What `measures` are in this form.
    fn of(measures: &Measures, weights: &ScoreWeights) -> Self;
}

impl Weighed for Sum {
    fn of(measures: &Measures, _weights: &ScoreWeights) -> Sum {
        Sum::of(measures)
    }
}

impl Weighed for i64 {
    fn of(measures: &Measures, weights: &ScoreWeights) -> i64 {
        weights.score(measures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One form for one content, whatever came and went.
    #[test]
    fn they_add_up_and_take_back_to_the_same_form() {
        let viewed = Measures { views: 2, ..Default::default() };
        let bought = Measures { lines: 1, units: 3, revenue_micros: 7, ..Default::default() };
        let mut sum = Sum::of(&viewed);
        sum.plus_equals(&Sum::of(&bought));
        assert_eq!(sum.measures(), Measures { views: 2, ..bought });
        let mut back = Sum::of(&bought);
        back.negate();
        sum.plus_equals(&back);
        assert_eq!(sum, Sum::of(&viewed));
        assert_eq!(sum.clone().multiply(&3).measures().views, 6);
        assert!(sum.multiply(&0).is_zero());
    }
}
