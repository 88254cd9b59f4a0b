//! What a key is where the file does not say.

pub(super) fn max_running() -> u32 {
    20
}

pub(super) fn keepalive_ms() -> u64 {
    10_000
}

pub(super) fn coalesce_ms() -> u64 {
    20
}

pub(super) fn key_lifetime_ms() -> u64 {
    6 * 3_600_000
}

pub(super) fn xwing_overlap_ms() -> u64 {
    10 * 60_000
}

pub(super) fn x25519_overlap_ms() -> u64 {
    24 * 3_600_000
}

pub(super) fn checkpoint_ms() -> u64 {
    5_000
}

pub(super) fn receipt_confirm_ms() -> u64 {
    60_000
}

pub(super) fn request_deadline_ms() -> u64 {
    600_000
}

pub(super) fn max_body() -> u64 {
    8 << 20
}

pub(super) fn engine_ready_ms() -> u64 {
    120_000
}

pub(super) fn shutdown_grace_ms() -> u64 {
    30_000
}
