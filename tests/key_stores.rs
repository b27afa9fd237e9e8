//! What every key store guarantees, by one suite of cases that is run on each of them: the name of
//! a test is `store::case`.
//!
//! A store joins by a module with a [`Place`](kit::Place), named at the end of this file.
#![cfg(feature = "ledger")]

#[path = "key_stores/kit.rs"]
mod kit;
#[path = "key_stores/life.rs"]
mod life;
#[path = "key_stores/random.rs"]
mod random;
#[path = "key_stores/together.rs"]
mod together;

/// Runs cases in a module of their own, each on a fresh place.
macro_rules! cases {
    ($place:ty: $($file:ident: $($case:ident),+;)+) => {
        $($(
            #[test]
            fn $case() {
                if <$place as crate::kit::Place>::is_here() {
                    crate::$file::$case(&mut <$place as crate::kit::Place>::fresh());
                }
            }
        )+)+
    };
}

/// What is asked of every store.
macro_rules! every_store {
    ($place:ty) => {
        cases! { $place:
            life:
                a_completed_key_is_replayed,
                one_of_two_claims_owns,
                who_does_not_hold_a_key_cannot_end_it,
                a_failed_key_is_tried_again_under_its_charge,
                a_lease_that_is_over_is_taken_over_once,
                a_heartbeat_prolongs_from_now,
                another_fingerprint_is_a_mismatch_on_every_path,
                results_come_back_byte_for_byte,
                the_time_to_live_counts_from_the_end,
                the_largest_values_come_back,
                operations_of_a_group_meet_those_before_them,
                a_group_of_nothing_is_nothing,
                peeking_changes_nothing,
                keys_of_any_accepted_text_are_kept_apart,
                purging_is_bounded_and_takes_what_has_expired;
            random:
                histories_are_those_of_the_state_machine;
            together:
                of_many_claims_at_once_one_owns,
                groups_in_any_order_end,
                claims_and_purges_at_once_lose_nothing,
                fronts_that_share_a_store_execute_once;
        }
    };
}

#[path = "key_stores/memory.rs"]
mod memory;
#[cfg(feature = "postgres")]
#[path = "key_stores/postgres.rs"]
mod postgres;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[path = "key_stores/processes.rs"]
mod processes;
#[cfg(feature = "postgres")]
#[path = "support/postgres.rs"]
mod server;
#[cfg(feature = "sqlite")]
#[path = "key_stores/sqlite.rs"]
mod sqlite;
