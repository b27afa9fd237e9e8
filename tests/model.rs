//! Random histories, played to the engine and to a reference that is too dumb to be wrong.
//!
//! After every step the answer, every limit's reading and every event are the same on both sides:
//! equality, never tolerance. It is the test of the laws as far as one thread goes: L1 to L9 and
//! L13 in any order of operations, with a clock that jumps either way. What takes two threads is
//! in `threads.rs` and in the models.
//!
//! The same player runs under the fuzzer, on histories spelled by bytes.

#[path = "model/operations.rs"]
mod operations;
#[path = "model/player.rs"]
mod player;
#[path = "model/reference.rs"]
mod reference;
#[path = "model/steering.rs"]
mod steering;
#[path = "model/strategies.rs"]
mod strategies;

use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

proptest! {
    // Cases that failed once are kept beside this file, and tried first.
    #![proptest_config(ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource(
            "proptest-regressions",
        ))),
        ..ProptestConfig::default()
    })]

    /// L1 to L9, L13.
    #[test]
    fn every_history_reads_like_the_reference(
        deny_unknown in any::<bool>(),
        ops in strategies::history(60),
    ) {
        player::play(deny_unknown, &ops);
    }

    /// The decoder is total, and what it spells is a history like any other.
    #[test]
    fn any_bytes_are_a_history(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        player::history(&data);
    }
}
