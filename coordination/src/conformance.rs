//! The promises of [`Coordination`](crate::Coordination), one public function each, run by every backend.
//!
//! A backend's tests turn each name that [`every_promise!`](crate::every_promise) gives into a test, so that no promise is forgotten.
//! A function panics where a promise is broken. It uses its own names only, so all of them may run at once on one
//! ensemble. Waiting is for a state and has a deadline ([`PATIENCE`]).

mod hints;
mod locks;
mod membership;
mod scene;
mod sessions;

pub use hints::{notified_topics_reach_everyone, readers_without_hints_still_see_the_truth};
pub use locks::{
    a_lock_has_one_holder, a_lock_is_free_again_after_its_session, a_lock_needs_a_member,
    a_released_lock_goes_to_another, a_thousand_locks, contenders_elect_exactly_one,
    displacing_needs_the_state_that_was_seen, taking_a_held_lock_again_changes_nothing,
    updates_are_fenced_after_a_loss,
};
pub use membership::{
    a_restarted_server_waits_out_its_predecessor, a_second_server_with_one_id_is_refused,
    leaving_gives_everything_back, members_see_each_other_come_change_and_go,
};
pub use scene::{Cluster, PATIENCE};
pub use sessions::{a_lost_session_is_replaced_but_not_its_locks, every_session_has_its_number};

/// Calls a macro with the names of all promises of [`conformance`](crate::conformance).
#[macro_export]
macro_rules! every_promise {
    ($macro:ident) => {
        $macro!(
            members_see_each_other_come_change_and_go,
            a_second_server_with_one_id_is_refused,
            a_restarted_server_waits_out_its_predecessor,
            leaving_gives_everything_back,
            a_lock_has_one_holder,
            contenders_elect_exactly_one,
            a_lock_needs_a_member,
            taking_a_held_lock_again_changes_nothing,
            a_released_lock_goes_to_another,
            a_lock_is_free_again_after_its_session,
            displacing_needs_the_state_that_was_seen,
            updates_are_fenced_after_a_loss,
            a_thousand_locks,
            a_lost_session_is_replaced_but_not_its_locks,
            every_session_has_its_number,
            notified_topics_reach_everyone,
            readers_without_hints_still_see_the_truth,
        );
    };
}
