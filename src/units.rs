//! Amounts: money, tokens, prices. Integers only, checked everywhere.

mod decimal;
mod dimension;
mod money;
mod price;
mod table;
mod usage;

pub use decimal::{AcceptedNumber, DecimalError, parse_count};
pub(crate) use dimension::amount_text;
pub use dimension::{Dimension, DimensionError};
pub use money::{Money, MoneyError};
pub use price::{Price, PriceError};
pub use table::PriceTable;
pub use usage::{TokenWeights, Usage, WeightError};
