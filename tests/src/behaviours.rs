//! What the whole system does, one module per visible behaviour. Run with `cargo xtask test`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]

mod harness;

mod archive;
mod bad_input;
mod bill;
mod blind;
mod channels;
mod chaos;
mod clients;
mod connect;
mod contracts;
mod dashboard;
mod description;
mod drain;
mod earnings;
mod embeddings;
mod endpoints;
mod epochs;
mod evidence;
mod faults;
mod first_byte;
mod frame_sizes;
mod goldens;
mod hang_up;
mod hop;
mod idempotency;
mod isolation;
mod issuers;
mod judge;
mod keys_api;
mod kill;
mod lies;
mod limits;
mod many;
mod meddled_answers;
mod openai;
mod other_endpoints;
mod redis_gone;
mod redis_late;
mod refused_receipts;
mod refused_requests;
mod registry;
mod relay;
mod relay_ends;
mod renewal;
mod sampling;
mod sealed_clients;
mod sealed_refusals;
mod sealing_cost;
mod second_implementation;
mod seen;
mod settlement;
mod shapes;
mod standings;
mod surface;
mod tdx_agreement;
mod ton_clients;
mod transport;
mod turned_bad;
mod usage_api;
mod verbatim;
mod verification_cost;
mod watching;

use libtest_mimic::{Arguments, Failed, Trial};

/// One trial per function, named `module::function`.
macro_rules! trials {
    ($($module:ident: $($test:ident),+;)+) => {
        vec![$($(trial(concat!(stringify!($module), "::", stringify!($test)), || Box::pin($module::$test())),)+)+]
    };
}

type Outcome = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>>>>;

fn trial(name: &str, test: fn() -> Outcome) -> Trial {
    Trial::test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(test()).map_err(|error| Failed::from(format!("{error:?}")))
    })
}

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = trials! {
        openai: the_official_client_gets_a_real_answer, streamed_and_unstreamed_agree_byte_for_byte;
        embeddings: inputs_become_vectors_and_are_charged, what_cannot_be_embedded_is_refused_by_name;
        other_endpoints: a_text_is_continued, a_response_is_answered_and_not_kept;
        goldens: every_answer_and_error_is_as_checked_in;
        sampling: a_seed_gives_the_same_text_again, bias_and_penalties_move_the_text, logprobs_are_natural_logarithms,
            choices_and_stop_strings_end_as_they_must, constrained_output_ends_by_itself;
        clients: each_is_served_and_every_answer_fits_the_document, each_is_served_through_the_sidecar;
        second_implementation: each_opens_what_the_other_sealed;
        sealed_clients: each_is_served_and_charged_by_its_receipts;
        watching: a_marker_in_memory_is_found_and_another_is_not, a_marker_in_two_pieces_is_found,
            what_a_process_reads_and_writes_is_seen;
        tdx_agreement: another_verifier_says_the_same_of_every_sample, another_verifier_says_the_same_of_changed_ones;
        judge: it_finds_what_is_wrong;
        hop: nothing_readable_crosses_it;
        bill: a_receipt_verifies_and_is_charged_once, a_stream_ends_with_its_receipt, a_balance_too_low_is_402,
            who_cannot_pay_is_told_where_to_send_ton;
        settlement: an_operator_is_paid_from_what_a_user_paid_in_on_sqlite,
            an_operator_is_paid_from_what_a_user_paid_in_on_redis, settlers_that_are_killed_pay_each_once_on_sqlite,
            settlers_that_are_killed_pay_each_once_on_redis;
        earnings: what_was_signed_is_booked_and_paid, a_gateway_that_books_less_than_it_acknowledged_is_found_out,
            what_an_operator_earned_is_told_on_the_ops_listener_alone;
        epochs: receipts_are_proved_by_the_chain_alone_on_sqlite, receipts_are_proved_by_the_chain_alone_on_redis;
        registry: a_policy_is_followed_only_while_the_registry_names_it,
            no_other_prices_are_charged_than_the_registrys;
        kill: the_gateway_on_sqlite, the_gateway_on_redis, the_engine_on_sqlite, the_engine_on_redis;
        refused_receipts: each_forgery_is_refused;
        refused_requests: each_forgery_is_refused, a_replay_is_refused, errors_never_tell_which_check_failed;
        lies: a_receipt_that_does_not_fit_its_answer_is_refused;
        isolation: answers_are_the_same_alone_and_beside_others;
        many: twenty_streams_finish_and_cut_ones_end;
        bad_input: each_gets_its_error, keys_that_are_not_good_are_401;
        faults: no_backend_is_503, an_engine_that_dies_ends_the_stream_with_an_error,
            a_backend_that_dies_is_paid_to_its_last_checkpoint, a_tampered_answer_is_not_handed_on, an_answer_under_another_nonce_is_not_handed_on,
            a_store_that_is_down_is_503;
        archive: it_is_whole_and_the_ledger_goes_on_on_sqlite, it_is_whole_and_the_ledger_goes_on_on_redis;
        redis_gone: killed_under_streams, hanging_under_streams;
        redis_late: one_that_is_not_there_is_waited_for, one_that_reads_its_file_is_waited_for,
            one_that_never_comes_ends_the_start, one_that_must_not_be_used_ends_the_start_at_once,
            a_start_that_waits_ends_when_told;
        hang_up: a_client_that_hangs_up_pays_for_what_was_generated;
        shapes: a_client_that_closes_at_done_pays_once, a_client_that_hangs_up_after_the_first_token_pays_once,
            ten_thousand_tiny_chunks_arrive, a_slow_reader_costs_no_memory, a_prompt_of_a_mebibyte_is_refused;
        evidence: a_backend_that_the_policy_refuses_is_never_used, a_recorded_document_is_refused, a_restarted_backend_is_verified_again,
            what_was_believed_can_be_verified_later;
        renewal: fresh_nonces_come_before_a_verdict_runs_out,
            a_backend_too_busy_for_its_evidence_is_used_until_its_verdict_runs_out;
        turned_bad: a_changed_quote_drains_its_backend, a_policy_that_refuses_it_drains_a_backend;
        chaos: the_books_are_exact_on_sqlite, the_books_are_exact_on_redis, every_token_of_a_crowd_is_charged_once;
        endpoints: each_is_served_under_its_own_path_and_bound;
        transport: compressed_bodies_are_what_they_unpack_to, http2_without_tls_streams_with_trailers,
            tls_serves_both_versions_and_takes_up_a_new_certificate;
        limits: a_limit_per_minute_is_told_and_over_when_told, a_budget_is_not_overspent, requests_at_once_are_limited,
            a_revoked_key_is_refused_everywhere_on_sqlite, a_revoked_key_is_refused_everywhere_on_redis;
        idempotency: a_repetition_is_not_run_or_charged_on_sqlite, a_repetition_is_not_run_or_charged_on_redis,
            a_repetition_waits_for_the_first_and_is_told_to_come_again,
            failures_free_their_key_and_large_answers_are_not_kept,
            a_killed_gateway_frees_its_keys_on_sqlite, a_killed_gateway_frees_its_keys_on_redis;
        description: it_is_a_valid_openapi_document, what_it_describes_is_served;
        usage_api: months_add_up_to_the_journal_on_sqlite, months_add_up_to_the_journal_on_redis,
            an_account_sees_its_own_and_a_key_its_own;
        standings: a_key_reads_all_that_limits_it, a_payout_address_waits_a_day,
            a_withdrawal_begins_once_and_only_to_an_address_that_is_old_enough;
        verbatim: any_object_arrives_byte_for_byte;
        surface: errors_say_what_openais_say_and_whether_to_retry, an_answer_that_failed_and_cost_is_not_retried,
            answers_say_how_many_more_may_be_sent,
            any_page_may_ask;
        frame_sizes: tokens_of_one_and_of_twelve_letters_look_alike, whole_answers_have_few_lengths, the_cost_of_padding;
        blind: the_gateway_of_an_ehbp_client, the_gateway_of_the_sidecar;
        meddled_answers: cut_at_every_frame_boundary, changed_in_every_other_way;
        sealed_refusals: the_same_ciphertext_again,
            the_same_ciphertext_after_a_rotation_and_within_the_overlap, a_key_whose_time_is_over,
            ciphertext_that_was_moved, a_bit_that_was_flipped, frames_that_were_moved, frames_that_are_none,
            members_that_are_there_twice;
        relay: bytes_pass_untouched_both_ways, chunks_are_handed_on_as_they_come, what_is_not_right_is_refused,
            a_key_for_sealed_requests_only_is_good_for_them, keys_and_evidence_need_no_api_key,
            another_backend_is_tried_where_the_key_is_not_known, a_request_that_was_not_kept_is_sent_once,
            a_refusal_is_heard_by_who_still_sends,
            what_is_held_follows_from_the_headers, a_body_that_breaks_off_holds_nothing,
            heads_of_32_kib_arrive_over_both_versions, the_hop_is_sealed_with_x_wing_where_there_is_one;
        relay_ends: a_client_that_closes_at_done_is_charged_once, an_answer_near_its_end_is_read_on, a_client_that_hangs_up_pays_for_what_was_generated,
            a_backend_that_dies_ends_the_answer_without_an_end, an_answer_over_the_deadline_has_no_end;
        keys_api: the_official_client_administers_keys_on_sqlite, the_official_client_administers_keys_on_redis,
            only_those_who_may_administer_do, what_is_not_right_is_refused_by_name,
            a_store_that_is_down_is_503_to_administrators, the_command_line_does_what_the_api_does;
        issuers: tokens_of_a_provider_run_models_and_nothing_else;
        drain: running_streams_finish_after_sigterm;
        dashboard: its_files_are_strict_and_asked_for_anew, its_library_is_what_its_package_has, every_state_is_shown,
            it_shows_and_does_what_the_api_does;
        contracts: their_code_is_what_their_sources_compile_to, they_do_what_their_tests_say,
            each_guard_is_missed_when_it_is_gone,
            each_pitfall_names_tests_that_are_there, the_goldens_are_what_others_make_anew;
        channels: a_payer_pays_by_vouchers_alone_on_sqlite, a_payer_pays_by_vouchers_alone_on_redis,
            a_payer_whose_gateway_is_gone_takes_its_deposit_back, the_sidecar_pays_from_a_channel_of_its_own,
            the_sidecar_takes_its_deposit_back_alone;
        ton_clients: the_official_one_deploys_pays_and_reads_back, another_one_deploys_pays_and_reads_back;
        connect: a_gateway_is_reached_over_tls, a_chat_completes_and_streams_sealed, an_answer_that_was_tampered_with_is_an_error,
            requests_of_web_pages_are_403, verify_prints_what_it_checked;
    };
    let measurements = trials! {
        first_byte: through_the_gateway_and_from_the_backend;
        sealing_cost: of_a_request_and_of_a_token;
        verification_cost: of_development_evidence;
    };
    // Only where they are asked for: `cargo xtask bench`.
    trials.extend(measurements.into_iter().map(|trial| trial.with_ignored_flag(true)));
    libtest_mimic::run(&arguments, trials).exit_code()
}
