//! What reservations hold, on routes of every length and of many ways to weigh tokens: each counter
//! gets its own amount, and gives it back.

#[path = "holds/extended.rs"]
mod extended;
#[path = "support/kit.rs"]
mod kit;
#[path = "holds/shapes.rs"]
mod shapes;
