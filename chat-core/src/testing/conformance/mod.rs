//! What every [`Store`] has to do, as cases that any implementation runs in its own tests.
//!
//! One test a case, with the case's name:
//!
//! ```no_run
//! use chat_core::store::MemoryStore;
//!
//! async fn store() -> MemoryStore {
//!     MemoryStore::new()
//! }
//!
//! chat_core::conformance_tests!(store);
//! # fn main() {}
//! ```
//!
//! or all of them in one test, with [`run`]. Each case wants a store without rooms.
//!
//! A case fails by a panic. What a store shows is held against a naive reading of what it said to have committed: see
//! `model.rs` and `stage.rs` beside this file. Whether a deleted message still has its `edited_at` is left to the store.

#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "this is test code in a library: a case says no by a panic"
)]

pub mod batches;
pub mod content;
pub mod keys;
pub mod members;
pub mod messages;
mod model;
pub mod pages;
pub mod reading;
pub mod right_ends;
pub mod rights;
pub mod rooms;
mod stage;
pub mod trim;

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    task::Poll,
};

use crate::store::{BoxFuture, Store};

/// One thing that a store has to do.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Case {
    /// What it is, as a sentence in snake case.
    pub name: &'static str,
    /// Tries it on a store without rooms; panics where the store does not do it.
    pub run: for<'a> fn(&'a dyn Store) -> BoxFuture<'a, ()>,
}

/// Lists the cases once, by theme: the table and the tests follow from it.
macro_rules! cases {
    ($d:tt $($theme:ident: $($name:ident)+;)+) => {
        /// Every case.
        pub const CASES: &[Case] =
            &[$($(Case { name: stringify!($name), run: |store| Box::pin($theme::$name(store)) },)+)+];

        /// Makes one `#[tokio::test]` of every case of the [conformance suite](crate::testing::conformance), each on
        /// a store of its own from the async function or closure that is given.
        #[macro_export]
        macro_rules! conformance_tests {
            ($d make:expr) => {$($(
                #[tokio::test]
                async fn $name() {
                    $crate::testing::conformance::$theme::$name(&($d make)().await).await;
                }
            )+)+};
        }
    };
}

cases! { $
    batches:
        numbers_are_dense_from_one
        an_event_says_what_was_asked
        an_empty_batch_is_fine
        refused_items_leave_no_trace_and_take_no_number
        an_unknown_room_is_refused_beside_good_ones
        rooms_of_one_batch_are_numbered_apart
        a_member_who_was_just_added_may_send
        a_member_who_was_just_removed_may_not_send
        an_edit_sees_the_one_before_it
        a_reaction_sees_the_deletion_before_it
        a_version_counts_within_the_batch
        a_thousand_items_are_one_batch
        batches_at_the_same_time_are_dense;
    content:
        texts_are_kept_byte_for_byte
        edited_texts_are_kept_byte_for_byte
        meta_is_kept_byte_for_byte
        names_topics_and_states_are_kept_byte_for_byte
        times_are_kept;
    keys:
        a_key_counts_once_within_a_batch
        a_key_sent_again_finds_the_first
        taken_keys_amid_many_leave_no_gap
        a_key_belongs_to_one_author
        a_key_belongs_to_one_room
        a_key_outlives_the_deletion_of_its_message
        keys_are_compared_byte_for_byte
        a_taken_key_is_found_before_the_version_is_judged
        who_lost_the_room_finds_no_key
        a_refused_item_leaves_its_key_free
        batches_that_race_for_a_key_commit_it_once;
    members:
        members_change_by_events
        a_role_is_granted_up_to_ones_own
        a_higher_member_is_out_of_reach
        everybody_may_leave
        members_are_changed_by_managers
        the_standing_one_has_is_a_duplicate
        a_ban_shuts_out_until_it_is_lifted
        members_come_in_pages_in_order_of_ids;
    messages:
        an_edit_shows_in_its_message
        a_text_that_is_there_already_is_a_duplicate
        a_deleted_text_comes_back_from_no_read
        reactions_are_counted_for_each_reader
        a_reaction_that_changes_nothing_is_a_duplicate
        reactions_are_sorted_and_compared_byte_for_byte
        different_emojis_under_a_message_have_a_bound
        reactions_go_with_their_message;
    pages:
        a_page_holds_what_a_naive_reading_finds
        a_page_ends_at_its_bytes
        pages_in_a_row_miss_nothing
        more_speaks_of_the_kinds_asked_for
        a_page_without_a_reader_has_no_reactions
        a_room_that_is_not_there_has_no_page
        ends_come_in_the_order_asked
        the_store_answers;
    reading:
        a_read_mark_moves_only_forward
        read_marks_of_unknown_rooms_are_passed_over
        read_marks_belong_to_one_user_and_room
        unread_are_others_messages_after_the_mark
        unread_are_counted_up_to_a_bound;
    right_ends:
        a_removed_member_reads_up_to_the_removal
        a_banned_user_reads_up_to_the_ban
        a_room_turned_private_is_read_up_to_there
        who_never_might_read_gets_no_page
        a_removed_member_of_a_public_room_reads_on
        who_comes_back_reads_everything
        only_the_first_loss_counts
        the_last_time_a_room_closed_counts
        the_host_and_the_tail_read_everything
        every_page_stops_where_the_right_ended
        a_right_that_ended_before_the_oldest_event_shows_nothing;
    rights:
        a_private_room_does_not_exist_for_outsiders
        a_public_room_does_not_exist_for_the_banned
        everybody_writes_in_a_public_room
        the_host_may_do_everything
        each_change_has_its_rights
        what_is_no_message_is_no_target
        a_required_role_is_judged
        a_required_version_is_judged
        racers_for_a_version_have_one_winner
        a_room_is_changed_by_managers
        a_state_is_changed_by_the_host;
    rooms:
        a_new_room_is_as_it_was_asked
        first_members_are_its_first_events
        a_room_is_made_once
        rooms_made_at_the_same_time_are_one
        a_store_is_full_at_the_bound
        a_patch_changes_what_is_new_and_counts
        a_room_is_deleted_by_managers
        nothing_of_a_deleted_room_comes_back
        a_room_made_again_is_another_room
        a_deletion_amid_sends_leaves_nothing
        the_list_has_public_rooms_and_ones_own
        the_list_comes_in_pages_in_order_of_ids;
    trim:
        a_trimmed_room_begins_later
        trim_goes_forward_up_to_the_end
        keys_of_trimmed_messages_are_free_again
        a_trimmed_message_is_no_target
        pages_of_a_trimmed_room_hold_what_is_left;
}

/// Runs every case, each on a fresh store.
///
/// # Panics
/// With the names of the cases that failed; why they did stands above, where the panic of each is reported.
///
/// # Cancel safety
/// A dropped run leaves the rest of the cases untried.
pub async fn run<S: Store, Fut: Future<Output = S>>(make: impl Fn() -> Fut) {
    let failed = failures(make).await;
    assert!(failed.is_empty(), "{} of {} cases failed: {}", failed.len(), CASES.len(), failed.join(", "));
}

/// Runs every case, each on a fresh store: the names of those that failed.
///
/// # Cancel safety
/// A dropped run leaves the rest of the cases untried.
pub async fn failures<S: Store, Fut: Future<Output = S>>(make: impl Fn() -> Fut) -> Vec<&'static str> {
    let mut failed = Vec::new();
    for case in CASES {
        let store = make().await;
        if panics((case.run)(&store)).await {
            failed.push(case.name);
        }
    }
    failed
}

/// Whether the case panics. Nothing of it is used afterwards, so it may be left in any state.
async fn panics(mut case: BoxFuture<'_, ()>) -> bool {
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| case.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(true), |poll| poll.map(|()| false))
    })
    .await
}

/// Waits for all of them, polled in turn in one task: a store that works elsewhere works on all at once.
async fn all<T>(mut waiting: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = waiting.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, done) in waiting.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(cx) {
                *done = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
