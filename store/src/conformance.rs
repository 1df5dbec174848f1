//! The promises of the store's traits as functions, each run against every backend.
//!
//! A backend's tests iterate [`all`], so that no promise is forgotten. Each function gets a migrated store, makes groups and jobs of its
//! own, and may share the database with any other function, running at the same time or long before. A broken promise is a panic with
//! what was expected.
//!
//! Begin with [`planning`] and [`lives`]: what the trigger protocol stands on.
#![allow(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]

pub mod accounts;
pub mod catalog;
pub mod edits;
mod fixture;
pub mod history;
pub mod lives;
pub mod maps;
pub mod observed;
pub mod planning;
pub mod shards;
pub mod triggers;

use std::future::Future;
use std::pin::Pin;

use crate::SharedStore;

/// A promise, ready to be run.
#[derive(Clone, Copy)]
pub struct Promise {
    /// What is promised, as the function's path.
    pub name: &'static str,
    /// Runs it; panics when it is broken.
    pub run: fn(SharedStore) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Runs promises one after the other; tells which were broken, and how.
pub async fn keep(promises: &[Promise], store: &SharedStore) -> Vec<String> {
    let mut broken = Vec::new();
    for promise in promises {
        let kept = tokio::spawn((promise.run)(store.clone())).await;
        broken.extend(kept.err().map(|error| format!("{}: {error}", promise.name)));
    }
    broken
}

/// Runs promises all at once, sharing the database and its connections; tells which were broken, and how.
pub async fn keep_at_once(promises: &[Promise], store: &SharedStore) -> Vec<String> {
    let running: Vec<_> =
        promises.iter().map(|promise| (promise.name, tokio::spawn((promise.run)(store.clone())))).collect();
    let mut broken = Vec::new();
    for (name, promise) in running {
        broken.extend(promise.await.err().map(|error| format!("{name}: {error}")));
    }
    broken
}

/// Lists functions as promises.
macro_rules! promises {
    ($($module:ident: $($function:ident),+ $(,)?;)+) => {
        /// Every promise.
        pub fn all() -> Vec<Promise> {
            vec![$($(Promise {
                name: concat!(stringify!($module), "::", stringify!($function)),
                run: |store| Box::pin($module::$function(store)),
            }),+),+]
        }
    };
}

promises! {
    planning: a_slice_commits_watermark_and_rows_together,
        a_slice_is_fenced_by_epoch_jobs_version_and_watermark,
        a_repeated_slice_changes_nothing,
        slices_of_many_shards_succeed_or_are_fenced_each_by_itself,
        two_planners_race_and_no_fire_is_lost_or_doubled,
        a_row_reads_back_as_it_was_inserted,
        due_now_rows_say_whether_they_are_new,
        large_and_strange_texts_survive;
    lives: every_transition_is_legal_or_refused,
        repeated_and_late_steps_change_nothing,
        the_steps_of_one_run_apply_in_order,
        a_retry_records_the_attempt_and_plans_the_next,
        a_late_end_of_a_retried_attempt_is_ignored,
        late_news_completes_the_record_once,
        a_presumption_is_corrected_by_the_truth,
        an_edit_that_came_too_late_is_corrected_by_the_truth,
        a_row_that_is_due_now_holds_only_for_the_version_of_its_job,
        a_next_attempt_holds_only_for_the_job_set_it_was_planned_with,
        an_end_that_was_decided_holds_only_for_the_plan_that_was_seen,
        a_dead_letter_is_reopened_or_discarded,
        unknown_runs_are_not_invented,
        racing_ends_leave_one,
        a_move_needs_the_plan_number_that_was_read,
        a_replaced_owner_decides_nothing,
        a_result_beyond_the_limit_is_refused;
    triggers: one_key_makes_one_run,
        one_key_makes_one_run_however_many_ask_at_once,
        keys_compare_by_every_byte,
        a_batch_mixes_new_and_known_keys;
    shards: a_claim_needs_the_epoch_that_was_read,
        each_claim_is_recorded,
        of_many_claimers_one_wins,
        placement_reads_back,
        shards_are_listed_in_order,
        the_same_database_names_itself_the_same;
    catalog: group_numbers_and_job_ids_are_never_given_twice,
        a_group_reads_back_and_changes_by_revision,
        ids_and_names_of_groups_are_unique,
        a_group_with_jobs_is_not_deleted,
        groups_are_paged_in_id_order,
        jobs_are_found_by_every_filter,
        a_loaded_plan_is_one_snapshot,
        the_plan_of_one_job_is_its_part_of_the_whole,
        the_plan_tells_when_a_job_with_a_delay_ended_last;
    edits: a_created_job_and_its_fires_are_one_commit,
        an_edit_cancels_replans_and_inserts,
        a_fire_that_comes_back_is_planned_again,
        an_edit_leaves_started_and_final_rows_alone,
        an_edit_of_a_changed_shard_is_refused,
        an_edit_of_another_version_is_refused,
        a_taken_name_is_refused_and_leaves_no_trace,
        of_many_creators_of_a_name_one_wins,
        a_deleted_job_leaves_its_history,
        a_retry_in_backoff_goes_on_under_the_new_version,
        edits_and_planning_race_and_no_fire_is_lost_or_doubled;
    history: open_runs_are_those_that_a_new_owner_takes_over,
        pages_of_runs_join_without_gap_or_overlap,
        every_filter_restricts,
        a_count_stops_at_its_cap,
        the_last_end_is_that_of_the_newest_final_run,
        outcomes_are_the_newest_of_each_job,
        runs_of_many_jobs_in_many_states_are_merged,
        a_histogram_counts_the_runs_of_a_job,
        the_failed_runs_of_a_job_are_found_among_many,
        old_runs_of_a_group_go,
        old_runs_go_with_all_that_belongs_to_them;
    maps: batches_read_back_and_repeat_safely,
        checkpoints_read_back_and_repeat_safely,
        a_stale_epoch_writes_no_checkpoint,
        outputs_and_failures_are_paged,
        subtasks_are_found_by_the_beginning_of_their_key,
        limits_of_subtasks_are_enforced,
        logs_are_read_by_bytes;
    observed: figures_read_back_and_replace_each_other,
        minutes_are_summed_into_hours,
        old_figures_go_a_few_at_a_time,
        a_group_may_keep_its_runs_for_another_time;
    accounts: names_of_users_are_unique_whatever_the_case,
        of_many_first_users_one_is_created,
        a_user_changes_by_revision_and_goes_with_all_it_has,
        grants_replace_each_other,
        sessions_and_tokens_expire,
        tokens_are_found_and_touched,
        sign_in_failures_are_counted_together,
        the_audit_trail_is_read_backwards_by_filter;
}
