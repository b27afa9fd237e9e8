//! Prices by model.

use std::collections::BTreeMap;

use super::{Money, Price, PriceError, Usage};

/// Prices by model name, matched exactly.
///
/// A model without a price is an error, never free of charge.
///
/// ```
/// use tollkeeper::{Money, Price, PriceError, PriceTable, Usage};
///
/// let mut table = PriceTable::new();
/// table.insert("large", Price::per_million(Money::from_units(2), Money::from_units(8)));
/// let usage = Usage { output_tokens: 1_000_000, ..Usage::default() };
/// assert_eq!(table.cost("large", &usage), Ok(Money::from_units(8)));
/// assert!(matches!(table.cost("Large", &usage), Err(PriceError::UnknownModel { .. })));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriceTable(BTreeMap<String, Price>);

impl PriceTable {
    /// A table without prices.
    pub fn new() -> PriceTable {
        PriceTable::default()
    }

    /// Sets a model's price and returns the one it had.
    pub fn insert(&mut self, model: impl Into<String>, price: Price) -> Option<Price> {
        self.0.insert(model.into(), price)
    }

    /// Takes a model's price away and returns it.
    pub fn remove(&mut self, model: &str) -> Option<Price> {
        self.0.remove(model)
    }

    /// A model's price.
    ///
    /// # Errors
    ///
    /// [`PriceError::UnknownModel`] when the table has none.
    pub fn get(&self, model: &str) -> Result<&Price, PriceError> {
        let unknown = || PriceError::UnknownModel { model: model.chars().take(256).collect() };
        self.0.get(model).ok_or_else(unknown)
    }

    /// What a usage of a model costs.
    ///
    /// # Errors
    ///
    /// [`PriceError::UnknownModel`], and [`PriceError::Overflow`] as of [`Price::cost`].
    pub fn cost(&self, model: &str, usage: &Usage) -> Result<Money, PriceError> {
        self.get(model)?.cost(usage)
    }

    /// How many models have a price.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no model has a price.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<M: Into<String>> FromIterator<(M, Price)> for PriceTable {
    fn from_iter<I: IntoIterator<Item = (M, Price)>>(prices: I) -> PriceTable {
        PriceTable(prices.into_iter().map(|(model, price)| (model.into(), price)).collect())
    }
}
