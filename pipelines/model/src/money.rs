//! Money: integer micros (millionths) of one shop currency.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Micros, Refusal};

/// The largest amount of a single line, in micros: a thousand million currency units. Sums are
/// accumulated wider; a line beyond it is refused as `amount_too_large`.
pub const MAX_LINE_MICROS: i128 = 1_000_000_000 * 1_000_000;

/// The shop's currency and the dated rates by which other currencies are converted into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Currencies {
    /// ISO 4217 code of the shop's currency.
    pub shop: String,
    /// Code → (first instant of validity → how many micros of the shop's currency one unit is).
    pub rates: BTreeMap<String, BTreeMap<Micros, i64>>,
}

impl Currencies {
    /// A shop that knows one currency only.
    pub fn only(shop: &str) -> Currencies {
        Currencies { shop: shop.to_owned(), rates: BTreeMap::new() }
    }

    /// `amount_micros` of `currency`, dated `at`, in micros of the shop's currency (rounded half
    /// away from zero). `None` for the currency means the shop's.
    ///
    /// # Errors
    /// [`Refusal::UnknownCurrency`] where no rate is in force at that time.
    pub fn convert(&self, amount_micros: i64, currency: Option<&str>, at: Micros) -> Result<i64, Refusal> {
        let Some(code) = currency.filter(|code| *code != self.shop) else { return Ok(amount_micros) };
        let unknown = || Refusal::UnknownCurrency(code.to_owned());
        let rates = self.rates.get(code).ok_or_else(unknown)?;
        let (_, rate) = rates.range(..=at).next_back().ok_or_else(unknown)?;
        let product = i128::from(amount_micros) * i128::from(*rate);
        let half = if product < 0 { -500_000 } else { 500_000 };
        i64::try_from((product + half) / 1_000_000).map_err(|_| Refusal::AmountTooLarge)
    }
}

/// A decimal amount as micros, rounded to the nearest; `None` beyond the largest line.
pub fn micros_of(amount: f64) -> Option<i64> {
    let micros = (amount * 1e6).round();
    (micros.is_finite() && micros.abs() <= MAX_LINE_MICROS as f64).then_some(micros as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_to_the_micro() {
        assert_eq!(micros_of(0.29), Some(290_000));
        assert_eq!(micros_of(38_970.001), Some(38_970_001_000));
        assert_eq!(micros_of(f64::NAN), None);
        assert_eq!(micros_of(1e12), None);
    }

    #[test]
    fn a_rate_counts_from_its_date() {
        let mut money = Currencies::only("EUR");
        money.rates.insert("GBP".into(), BTreeMap::from([(Micros(100), 1_200_000), (Micros(200), 1_100_000)]));
        assert_eq!(money.convert(1_000_000, Some("GBP"), Micros(150)), Ok(1_200_000));
        assert_eq!(money.convert(1_000_000, Some("GBP"), Micros(200)), Ok(1_100_000));
        assert_eq!(money.convert(7, None, Micros(0)), Ok(7));
        assert_eq!(money.convert(7, Some("GBP"), Micros(99)), Err(Refusal::UnknownCurrency("GBP".into())));
    }
}
