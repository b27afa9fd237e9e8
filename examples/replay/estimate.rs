//! Estimates: what a request is held for before anybody knows what it uses.

use super::cli::Estimate;
use super::document::Document;
use super::failure::Failure;
use super::traffic::{Request, priced};
use tollkeeper::{Money, PriceTable, Usage};

/// What to hold for a request.
pub fn estimate(
    policy: Estimate,
    request: &Request,
    document: &Document,
    prices: &PriceTable,
) -> Result<Usage, Failure> {
    let (usage, model) = (request.usage, &document.models[request.model]);
    match policy {
        Estimate::Exact => Ok(usage),
        Estimate::Twice => {
            let twice = Usage {
                input_tokens: 2 * usage.input_tokens,
                output_tokens: 2 * usage.output_tokens,
                cached_tokens: 2 * usage.cached_tokens,
                ..usage
            };
            priced(twice, model, prices)
        }
        // Tokens sent can be counted beforehand, tokens received cannot.
        Estimate::Fixed(output_tokens) => priced(Usage { output_tokens, ..usage }, model, prices),
        Estimate::None => Ok(Usage { requests: 1, cost: Money::ZERO, ..Usage::default() }),
    }
}
