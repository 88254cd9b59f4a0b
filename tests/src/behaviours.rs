//! What the whole system does, one module per visible behaviour. Run with `cargo xtask test`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]

mod harness;

mod bad_input;
mod bill;
mod chaos;
mod clients;
mod drain;
mod evidence;
mod faults;
mod first_byte;
mod hang_up;
mod hop;
mod judge;
mod kill;
mod lies;
mod many;
mod openai;
mod refused_receipts;
mod refused_requests;
mod seen;
mod shapes;

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
        clients: each_is_served_and_every_answer_fits_the_document;
        judge: it_finds_what_is_wrong;
        hop: nothing_readable_crosses_it;
        bill: a_receipt_verifies_and_is_charged_once, a_stream_ends_with_its_receipt, a_balance_too_low_is_402;
        kill: the_gateway_on_sqlite, the_gateway_on_redis, the_engine_on_sqlite, the_engine_on_redis;
        refused_receipts: each_forgery_is_refused;
        refused_requests: each_forgery_is_refused, a_replay_is_refused, errors_never_tell_which_check_failed;
        lies: a_receipt_that_does_not_fit_its_answer_is_refused;
        many: twenty_streams_finish_and_cut_ones_end;
        bad_input: each_gets_its_error, keys_that_are_not_good_are_401;
        faults: no_backend_is_503, an_engine_that_dies_ends_the_stream_with_an_error,
            a_backend_that_dies_is_paid_to_its_last_checkpoint, a_tampered_answer_is_not_handed_on, an_answer_under_another_nonce_is_not_handed_on,
            a_store_that_is_down_is_503;
        hang_up: a_client_that_hangs_up_pays_for_what_was_generated;
        shapes: a_client_that_closes_at_done_pays_once, a_client_that_hangs_up_after_the_first_token_pays_once,
            ten_thousand_tiny_chunks_arrive, a_slow_reader_costs_no_memory, a_prompt_of_a_mebibyte_is_refused;
        evidence: a_backend_that_the_policy_refuses_is_never_used, a_recorded_document_is_refused, a_restarted_backend_is_verified_again;
        chaos: the_books_are_exact_on_sqlite, the_books_are_exact_on_redis;
        drain: running_streams_finish_after_sigterm;
    };
    let measurements = trials! {
        first_byte: through_the_gateway_and_from_the_backend;
    };
    // Only where they are asked for: `cargo xtask bench`.
    trials.extend(measurements.into_iter().map(|trial| trial.with_ignored_flag(true)));
    libtest_mimic::run(&arguments, trials).exit_code()
}
