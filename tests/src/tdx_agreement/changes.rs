//! Changed quotes, each made from a seed and the same from the same seed; and where the two verifiers differ on purpose.

use serde_json::Value;

use super::cases::Case;

const DAY: u64 = 24 * 3600;

/// A difference between the verifiers that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exception {
    /// Ours refuses what theirs accepts.
    OursIsStricter,
    /// Theirs refuses what ours accepts.
    TheirsIsStricter,
}

const NONE: &[Exception] = &[];
const OURS: &[Exception] = &[Exception::OursIsStricter];
const EITHER: &[Exception] = &[Exception::OursIsStricter, Exception::TheirsIsStricter];

pub(super) struct Changed {
    pub(super) case: Case,
    /// The differences that are allowed.
    pub(super) exceptions: &'static [Exception],
}

/// One of `bases`, changed as `seed` says.
pub(super) fn change(bases: &[Case], seed: u64) -> Changed {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut case = bases[rng.usize(..bases.len())].clone();
    let (what, exceptions) = match rng.u32(..100) {
        0..40 => flip_in_quote(&mut case, &mut rng),
        40..50 => {
            let length = rng.usize(..case.quote.len());
            case.quote.truncate(length);
            (format!("cut to {length} bytes"), NONE)
        }
        50..55 => {
            let more = rng.usize(1..200);
            case.quote.extend((0..more).map(|_| rng.u8(..)));
            (format!("{more} bytes more"), NONE)
        }
        55..85 => flip_in_collateral(&mut case, &mut rng),
        85..92 => {
            let other = &bases[rng.usize(..bases.len())];
            case.collateral = other.collateral.clone();
            (format!("with the collateral of '{}'", other.name), NONE)
        }
        _ => {
            let by = rng.u64(..80 * DAY);
            case.now = case.now + by - 40 * DAY;
            (format!("at {}", case.now), NONE)
        }
    };
    case.name = format!("seed {seed}: {}, {what}", case.name);
    Changed { case, exceptions }
}

/// With a bit of its chain changed that base64 does not use, where one of its certificates but the last has such bits.
pub(super) fn with_unused_bit(base: &Case) -> Option<Changed> {
    let chain = find(&base.quote, b"-----BEGIN CERTIFICATE")?;
    let at = (chain..base.quote.len() - 1)
        .find(|at| base.quote[at + 1] == b'=' && in_chain(&base.quote[chain..], at - chain, 1) == OURS)?;
    let mut case = base.clone();
    case.quote[at] ^= 1;
    case.name = format!("{}, an unused bit of byte {at}", case.name);
    Some(Changed { case, exceptions: OURS })
}

fn flip_in_quote(case: &mut Case, rng: &mut fastrand::Rng) -> (String, &'static [Exception]) {
    let (at, bits) = (rng.usize(..case.quote.len()), mask(rng, 8));
    let chain = find(&case.quote, b"-----BEGIN CERTIFICATE").unwrap_or(case.quote.len());
    let exceptions = if at >= chain {
        in_chain(&case.quote[chain..], at - chain, bits)
    } else {
        // Theirs takes any certification data for the quoting enclave's report.
        let kind = case.certification_type_at();
        if (kind..kind + 2).contains(&at) { OURS } else { NONE }
    };
    case.quote[at] ^= bits;
    (format!("byte {at} of the quote ^ {bits:#04x}"), exceptions)
}

fn flip_in_collateral(case: &mut Case, rng: &mut fastrand::Rng) -> (String, &'static [Exception]) {
    let mut members: Vec<(&String, &mut Value)> =
        case.collateral.as_object_mut().into_iter().flatten().collect();
    let chosen = rng.usize(..members.len());
    let (name, member) = &mut members[chosen];
    let mut text = member.as_str().unwrap_or_default().as_bytes().to_vec();
    // Still text.
    let (at, bits) = (rng.usize(..text.len()), mask(rng, 7));
    let exceptions = match name.as_str() {
        // Theirs looks serial numbers up in whatever can be read, and verifies neither signatures nor dates of the lists.
        "root_ca_crl" | "pck_crl" => OURS,
        name if name.ends_with("_chain") => in_chain(&text, at, bits),
        _ => NONE,
    };
    text[at] ^= bits;
    let what = format!("byte {at} of {name} ^ {bits:#04x}");
    **member = String::from_utf8_lossy(&text).into_owned().into();
    (what, exceptions)
}

/// A chain of PEM certificates. Its last is the root's: ours uses the one that is trusted and does not read the copy, theirs
/// verifies the copy too. And text that is no PEM is passed over by theirs, where ours refuses the chain; but for the white
/// space between lines, of which ours takes more kinds.
fn in_chain(chain: &[u8], at: usize, bits: u8) -> &'static [Exception] {
    let begin = b"-----BEGIN CERTIFICATE";
    let last = chain.windows(begin.len()).rposition(|window| window == begin).unwrap_or(0);
    let is_space = |byte: u8| byte.is_ascii_whitespace() || byte == 0x0b;
    if at >= last || is_space(chain[at]) || is_space(chain[at] ^ bits) {
        EITHER
    } else if is_unused(chain, at, bits) {
        OURS
    } else {
        NONE
    }
}

/// Whether only bits change that base64 does not use, in the character before its padding: ours wants them to be zero
/// (RFC 4648, section 3.5), theirs passes over them.
fn is_unused(text: &[u8], at: usize, bits: u8) -> bool {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |byte: u8| alphabet.iter().position(|known| *known == byte);
    let padding = text[at + 1..].iter().take_while(|byte| **byte == b'=').count();
    match (value(text[at]), value(text[at] ^ bits)) {
        (Some(before), Some(after)) => (before ^ after) >> (2 * padding) == 0,
        _ => false,
    }
}

/// One bit, or any.
fn mask(rng: &mut fastrand::Rng, bits: u32) -> u8 {
    if rng.bool() { 1 << rng.u32(..bits) } else { rng.u8(1..=(0xff >> (8 - bits))) }
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
