//! Every sentence of the table of operations, on both stores, and on both servers that the second can be on.

mod answers;
mod booking;
mod books;
mod budgets;
mod channels;
mod endings;
mod holders;
mod holds;
mod key_registry;
mod limits;
mod reading;
mod receipts;
mod treasury;
mod usages;
mod withdrawals;

use std::pin::Pin;

use crate::bench::{Bench, accounts};
use crate::moving::carried;
use crate::redis_server::RedisServer;
use crate::{archived, invariants};

/// Boxed where it is made: all of them in one function would be more than a stack holds.
type Behaviour = for<'a> fn(&'a Bench) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! on_every_store {
    ($($module:ident: $($behaviour:ident)*;)*) => {
        mod embedded {
            $($(#[tokio::test]
            async fn $behaviour() {
                let bench = super::Bench::embedded().await;
                super::$module::$behaviour(&bench).await;
                super::at_rest(&bench).await;
            })*)*
        }
        mod redis {
            $($(#[tokio::test]
            async fn $behaviour() {
                let bench = super::Bench::redis().await;
                super::$module::$behaviour(&bench).await;
                super::at_rest(&bench).await;
            })*)*
        }
        mod valkey {
            $($(#[tokio::test]
            async fn $behaviour() {
                let bench = super::Bench::valkey().await;
                super::$module::$behaviour(&bench).await;
                super::at_rest(&bench).await;
            })*)*
        }

        /// All of it on one server, one after the other.
        pub(crate) async fn on_one_server(server: &RedisServer) {
            let all: &[Behaviour] = &[$($(|bench| Box::pin($module::$behaviour(bench)),)*)*];
            for behaviour in all {
                let bench = Bench::redis_on(server).await;
                behaviour(&bench).await;
                at_rest(&bench).await;
            }
        }
    };
}

on_every_store! {
    answers:
        an_answer_is_kept_for_its_key_and_request
        a_request_that_ended_unkept_is_not_run_again
        an_abandoned_key_is_free
        a_key_is_held_for_its_lease_and_as_long_as_it_is_renewed
        what_is_kept_is_forgotten_after_a_day
        an_account_has_a_thousand_keys_and_the_oldest_ended_one_goes
        an_accounts_answers_are_bounded_and_the_oldest_goes
        of_many_that_begin_at_once_one_runs;
    booking:
        a_deposit_is_booked_once_per_logical_time_and_hash
        a_grant_is_booked_once_per_id_and_apart_from_deposits
        a_balance_that_would_reach_2_to_the_53_is_refused
        what_would_bring_a_balance_back_to_2_to_the_53_is_refused
        sums_beyond_2_to_the_53_are_exact
        amounts_and_counts_that_no_double_holds_are_refused;
    holds:
        a_reserve_takes_its_worst_case_once
        without_a_ceiling_a_quarter_is_held_but_never_less_than_is_useful
        a_refusal_moves_nothing_and_tells_a_low_balance_from_a_held_one
        a_worst_case_beyond_any_balance_is_refused_exactly
        a_request_without_cost_needs_no_balance
        a_hold_belongs_to_its_account
        a_later_attempt_supersedes_the_earlier
        binding_what_is_gone_says_so
        a_checkpoint_renews_the_lease_and_keeps_the_highest_report
        a_shorter_lease_takes_nothing_back
        a_report_that_shrinks_in_cost_or_tokens_is_ignored
        no_lease_is_longer_than_a_year
        checkpoints_of_others_change_nothing
        a_checkpoint_beyond_the_hold_is_ignored
        a_finished_request_cannot_be_reserved_again
        a_request_older_than_seven_days_cannot_be_reserved;
    key_registry:
        a_key_is_recorded_once_and_read_again
        a_record_that_is_too_large_is_not_kept
        keys_are_listed_by_set_in_pages_both_ways
        a_key_is_revoked_now_or_later_and_never_postponed
        limits_are_set_and_taken_away
        an_account_has_the_projects_that_keys_and_limits_name_and_a_bound_on_them
        an_account_has_no_more_than_ten_thousand_keys
        a_key_is_forgotten_and_stays_refused;
    receipts:
        a_receipt_turns_its_hold_into_a_charge_exactly_once
        the_operator_has_its_share_and_the_platform_the_remainder
        the_same_receipt_again_charges_nothing
        a_second_receipt_for_a_settled_request_costs_nothing
        a_receipt_of_a_superseded_attempt_costs_nothing_and_leaves_the_hold
        a_receipt_of_another_keyset_costs_nothing_and_leaves_the_hold
        a_receipt_whose_bind_was_lost_is_charged
        every_request_is_charged_on_its_own
        a_receipt_without_a_hold_takes_what_is_available
        a_receipt_after_a_release_is_charged
        a_receipt_older_than_seven_days_is_kept_aside_and_counted
        a_receipt_for_a_request_older_than_seven_days_is_too_old;
    endings:
        a_release_gives_the_hold_back_once
        a_release_before_its_reserve_refuses_it
        a_release_after_a_charge_changes_nothing
        an_unbound_hold_ends_with_its_lease
        a_bound_hold_waits_for_its_receipt_through_the_grace
        an_expired_hold_pays_its_last_checkpoint
        a_checkpoint_of_a_superseded_attempt_is_not_paid
        a_superseded_attempt_leaves_nothing_behind
        another_operators_late_receipt_corrects_nothing
        a_second_expire_does_nothing
        holds_are_swept_oldest_first_and_no_more_than_asked
        a_receipt_after_expiry_that_is_lower_is_refunded
        a_receipt_after_expiry_that_is_higher_takes_no_more_than_is_available
        a_receipt_after_an_expiry_without_checkpoint_is_charged
        a_late_receipt_of_a_superseded_attempt_corrects_nothing;
    reading:
        an_account_never_seen_is_all_zero
        what_was_seen_is_forgotten_after_eight_days
        a_shards_time_never_goes_back
        the_journal_says_what_happened
        the_journal_is_read_in_pages
        a_keyset_is_kept_under_its_digest
        the_first_document_of_a_keyset_is_kept
        a_document_too_long_is_not_kept;
    books:
        accounts_are_listed_by_name_in_pages
        a_cut_names_the_last_entry
        holds_are_seen_with_their_accounts;
    withdrawals:
        a_withdrawal_leaves_the_balance_once_and_is_gone_when_done
        a_withdrawal_that_is_undone_is_back_once
        an_intent_belongs_to_its_account_and_amount
        only_what_is_available_and_was_deposited_is_withdrawn
        what_may_be_withdrawn_is_exact_beyond_2_to_the_53
        nothing_is_paid_to_an_address_younger_than_a_day
        stopped_withdrawals_do_not_begin_and_may_end;
    treasury:
        decisions_are_appended_where_the_log_ends_and_nowhere_else
        an_append_that_is_repeated_is_answered_as_before_while_it_is_the_last
        an_append_of_nothing_tells_whether_the_log_has_grown
        what_is_empty_or_too_much_is_not_appended
        decisions_are_read_in_pages_that_are_bounded
        the_lease_has_one_holder_until_it_is_over
        a_lease_is_given_up_by_its_holder_alone
        a_clock_that_goes_back_makes_no_lease_longer
        a_withdrawal_is_open_from_its_begin_to_its_end
        open_withdrawals_are_listed_by_id_in_pages
        no_more_than_a_thousand_open_withdrawals_are_listed_at_once;
    channels:
        a_channel_is_opened_once_and_its_deposit_grows
        a_voucher_credits_what_is_above_the_newest_and_the_base
        every_raise_is_one_entry_of_the_journal
        what_a_voucher_credits_is_held_and_charged_as_any_credit
        a_closed_channel_stays_closed_and_pays_what_it_held
        a_channels_account_takes_nothing_but_vouchers_and_pays_nothing_out
        what_is_no_channels_name_or_no_amount_is_refused
        channels_are_listed_by_name_in_pages_with_their_accounts
        a_late_receipt_takes_no_more_than_a_channel_has;
    budgets:
        a_budget_holds_what_is_spent_and_what_is_held
        periods_begin_at_midnight_on_monday_and_on_the_first
        a_hold_settles_in_the_period_of_its_reserve
        a_correction_belongs_to_the_period_of_its_reserve
        a_receipt_without_a_hold_belongs_to_the_time_of_its_request
        without_a_ceiling_a_quarter_of_the_least_rest_is_held
        the_balance_is_asked_after_the_budgets
        sums_of_charges_beyond_2_to_the_53_are_exact;
    holders:
        limits_stand_for_the_key_its_project_and_its_account
        a_refusal_takes_nothing_of_any_holder
        the_rates_of_who_has_least_left_are_told
        a_revoked_key_is_refused_before_all_else
        a_hold_is_counted_for_who_reserved_it
        who_is_not_seen_for_60_days_is_forgotten_unless_a_budget_is_for_all_time;
    limits:
        requests_per_minute_are_refused_until_the_time_that_is_named
        a_settled_request_stays_counted_and_a_released_one_does_not
        tokens_are_taken_by_estimate_and_corrected_by_use
        a_request_larger_than_the_limit_is_taken_when_nothing_is_owed
        the_largest_limits_are_exact
        a_limit_of_nothing_is_never_there
        a_limit_that_changes_keeps_what_was_used
        the_same_request_takes_once
        an_expiry_counts_the_tokens_of_its_checkpoint
        requests_at_once_are_counted_until_their_lease_or_their_end
        the_longest_wait_is_named;
    usages:
        usage_is_counted_by_key_project_model_and_work
        a_bucket_begins_at_its_first_millisecond
        a_correction_is_counted_at_its_own_time
        what_costs_nothing_is_no_usage
        counts_that_no_bucket_holds_are_refused
        usage_is_read_in_pages_over_any_time
        the_last_requests_are_listed_newest_first
        a_corrected_request_keeps_its_place
        a_thousand_requests_are_remembered
        a_receipt_is_kept_eight_days_for_its_account;
}

async fn at_rest(bench: &Bench) {
    let accounts: Vec<_> = accounts().collect();
    invariants::check(bench.ledger.as_ref(), &accounts, bench.now_ms()).await;
    // Whatever came of it can be carried away.
    carried(bench).await;
    archived::check(bench.ledger.as_ref()).await;
}
