//! Measures as a differential difference: they are added, negated and multiplied like numbers.

use differential_dataflow::difference::{Abelian, IsZero, Monoid, Multiply, Semigroup};
use etalage_model::{Measures, ScoreWeights};
use serde::{Deserialize, Serialize};

/// [`Measures`] that add up in a dataflow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sum(pub Measures);

impl IsZero for Sum {
    fn is_zero(&self) -> bool {
        self.0.is_zero()
    }
}
impl Semigroup for Sum {
    fn plus_equals(&mut self, other: &Sum) {
        self.0.add(&other.0);
    }
}
impl Monoid for Sum {
    fn zero() -> Sum {
        Sum::default()
    }
}
impl Abelian for Sum {
    fn negate(&mut self) {
        *self = (*self).multiply(&-1isize);
    }
}
impl Multiply<isize> for Sum {
    type Output = Sum;
    fn multiply(self, factor: &isize) -> Sum {
        let mut product = Measures::default();
        product.combine(&self.0, *factor as i64);
        Sum(product)
    }
}

/// What a window adds up: all measures, or their score alone where no view needs more.
pub trait Weighed: differential_dataflow::ExchangeData + Abelian {
    /// What `measures` are in this form.
    fn of(measures: &Measures, weights: &ScoreWeights) -> Self;
}

impl Weighed for Sum {
    fn of(measures: &Measures, _weights: &ScoreWeights) -> Sum {
        Sum(*measures)
    }
}

impl Weighed for i64 {
    fn of(measures: &Measures, weights: &ScoreWeights) -> i64 {
        weights.score(measures)
    }
}
