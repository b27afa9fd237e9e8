//! Wrong and extreme input of every kind has a decided answer.

#[path = "edges/amounts.rs"]
mod amounts;
#[path = "edges/answers.rs"]
mod answers;
#[path = "edges/clocks.rs"]
mod clocks;
#[path = "edges/enforcement.rs"]
mod enforcement;
#[path = "support/kit.rs"]
mod kit;
#[path = "edges/operators.rs"]
mod operators;
#[path = "edges/topology.rs"]
mod topology;
