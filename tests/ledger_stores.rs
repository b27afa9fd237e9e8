//! What every ledger store guarantees, by one suite of cases that is run on each of them: the name
//! of a test is `store::case`.
//!
//! A store joins by a module with a [`Place`](kit::Place), named at the end of this file.
#![cfg(feature = "ledger")]

#[path = "ledger_stores/deleting.rs"]
mod deleting;
#[path = "ledger_stores/granting.rs"]
mod granting;
#[path = "ledger_stores/kit.rs"]
mod kit;
#[path = "ledger_stores/random.rs"]
mod random;
#[path = "ledger_stores/reading.rs"]
mod reading;
#[path = "ledger_stores/together.rs"]
mod together;
#[path = "ledger_stores/writing.rs"]
mod writing;

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
            writing:
                every_field_comes_back,
                the_largest_values_come_back,
                what_columns_cannot_hold_is_rejected,
                a_total_beyond_64_bits_rejects_the_group,
                fates_are_in_the_order_of_the_group,
                a_group_of_nothing_is_written,
                a_second_entry_of_the_same_record_changes_nothing,
                a_lost_acknowledgement_is_recognised,
                totals_are_the_sums_of_postings,
                the_last_posting_says_where_a_window_ends,
                a_record_is_corrected_once,
                an_opening_needs_no_record;
            deleting:
                a_reference_that_is_not_registered_is_null,
                both_references_may_be_missing,
                missing_references_do_not_hold_up_the_group,
                before_tells_what_was_null_then,
                deleting_an_owner_takes_its_totals,
                deleting_a_member_takes_the_totals_of_its_pairs,
                unlinking_is_bounded_and_takes_nothing_else,
                deleting_nobody_says_so,
                what_comes_again_begins_at_zero,
                the_last_window_that_is_left_is_the_open_one;
            reading:
                open_totals_are_of_the_last_windows,
                an_opening_makes_its_window_the_open_one,
                a_window_that_never_ends_is_always_open,
                a_late_posting_leaves_the_last_window_open,
                totals_of_a_limit_are_all_its_windows,
                the_total_before_an_instant_is_the_last_that_began_before_it,
                filters_choose,
                pages_are_in_the_order_of_ids,
                uncertain_records_without_a_correction_are_found,
                purging_is_bounded_and_keeps_totals;
            granting:
                top_ups_add_up_each_once,
                an_id_of_another_top_up_adds_nothing,
                overrides_are_set_and_taken_away,
                credit_and_override_stand_side_by_side,
                the_largest_grants_come_back,
                grants_go_with_their_owner,
                what_was_granted_to_another_owner_is_forgotten,
                many_who_top_up_at_once_lose_nothing;
            random:
                totals_equal_a_recount;
            together:
                writers_lose_nothing,
                the_same_entry_from_many_threads_is_written_once,
                a_deleted_owner_leaves_no_ghost;
        }
    };
}

/// What is asked of stores that outlive the process.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
macro_rules! durable_store {
    ($place:ty) => {
        cases! { $place:
            writing:
                an_unknown_constraint_rejects_the_group_once;
            reading:
                everything_is_there_after_opening_again;
            granting:
                grants_are_there_after_opening_again;
        }
    };
}

#[path = "ledger_stores/memory.rs"]
mod memory;
#[cfg(feature = "postgres")]
#[path = "ledger_stores/postgres.rs"]
mod postgres;
#[cfg(feature = "postgres")]
#[path = "support/postgres.rs"]
mod server;
#[cfg(feature = "sqlite")]
#[path = "ledger_stores/sqlite.rs"]
mod sqlite;
