//! Exact, lock-free budgets and rate limits for gateways.

mod sync;
