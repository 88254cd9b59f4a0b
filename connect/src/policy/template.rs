//! The text of a new policy. What is not known is left as something that no policy can have, so that nobody follows it
//! unfinished.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use cocoon_attestation::{Claimed, ClaimedMachine, ClaimedSnp, ClaimedTdx};

use super::init::Kind;
use crate::report::is_obeyed;

/// 180 days.
const LIFE_S: u64 = 180 * 24 * 3600;
/// Stands for a measurement; it is refused as one.
const BLANK: &str = "FILL IN";
const X_WING: u16 = 0x647a;

/// A policy for evidence of this kind, or for the machines that these claims are of.
pub(crate) fn template(kind: Option<Kind>, claims: &[Claimed], now_ms: u64) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(kind, claims, now_ms, &mut text);
    text
}

fn write(kind: Option<Kind>, claims: &[Claimed], now_ms: u64, text: &mut String) -> fmt::Result {
    text.push_str(HEAD);
    if !claims.is_empty() {
        text.push_str(UNVERIFIED);
    }
    let end =
        i64::try_from(now_ms / 1000 + LIFE_S).ok().and_then(|end| jiff::Timestamp::from_second(end).ok());
    text.push_str(TITLE);
    writeln!(text, "# name = \"production\"\nversion = 1")?;
    if let Some(end) = end {
        writeln!(text, "not_after = {end}")?;
    }
    text.push_str(KEM);
    let all_x_wing = claims.iter().all(|claim| claim.keyset.hpke.iter().any(|key| key.kem == X_WING));
    writeln!(text, "{}require_kem = \"x-wing\"", if all_x_wing { "" } else { "# " })?;
    text.push_str(TIMES);
    let is_dev = |claim: &Claimed| matches!(claim.machine, ClaimedMachine::Dev);
    if kind == Some(Kind::Dev) || claims.iter().any(is_dev) {
        text.push_str(DEV);
        writeln!(text, "dev_roots = [\"{BLANK}\"]")?;
    }
    write_releases_and_models(claims, text)?;

    let mut tdx: Vec<&ClaimedTdx> = Vec::new();
    let mut snp: Vec<&ClaimedSnp> = Vec::new();
    for claim in claims {
        match &claim.machine {
            ClaimedMachine::Tdx(claim) if !tdx.contains(&claim.as_ref()) => tdx.push(claim),
            ClaimedMachine::Snp(claim) => snp.push(claim),
            ClaimedMachine::Tdx(_) | ClaimedMachine::Dev => {}
        }
    }
    if kind == Some(Kind::Tdx) || !tdx.is_empty() {
        write_tdx(&tdx, text)?;
    }
    if kind == Some(Kind::SevSnp) || !snp.is_empty() {
        write_snp(&snp, text)?;
    }
    if claims.iter().any(|claim| claim.has_devices) {
        text.push_str(GPU);
        writeln!(text, "[gpu]\ncount = 0 # {BLANK}\nmodels = [] # {BLANK}")?;
    }
    Ok(())
}

fn write_releases_and_models(claims: &[Claimed], text: &mut String) -> fmt::Result {
    let mut releases: BTreeMap<&str, u64> = BTreeMap::new();
    let mut models: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for Claimed { keyset, .. } in claims {
        let oldest = releases.entry(&keyset.release.name).or_insert(u64::MAX);
        *oldest = keyset.release.sequence.min(*oldest);
        models.entry(&keyset.model.id).or_default().insert(keyset.model.sha256.to_string());
    }
    text.push_str(RELEASES);
    match releases.is_empty() {
        true => writeln!(text, "# [min_release]\n# cocoon = 1")?,
        false => writeln!(text, "[min_release]")?,
    }
    for (name, oldest) in releases {
        writeln!(text, "{} = {oldest}", quoted(name))?;
    }
    text.push_str(MODELS);
    match models.is_empty() {
        true => writeln!(text, "# [models]\n# \"model\" = [\"SHA-256 of its weights\"]")?,
        false => writeln!(text, "[models]")?,
    }
    for (model, weights) in models {
        let weights: Vec<String> = weights.iter().map(|digest| format!("\"{digest}\"")).collect();
        writeln!(text, "{} = [{}]", quoted(model), weights.join(", "))?;
    }
    Ok(())
}

fn write_tdx(claims: &[&ClaimedTdx], text: &mut String) -> fmt::Result {
    text.push_str(TDX);
    writeln!(text, "[tdx]\n{MR_SEAM}")?;
    let modules: BTreeSet<String> = claims.iter().map(|claim| format!("\"{}\"", claim.mr_seam)).collect();
    match modules.is_empty() {
        true => writeln!(text, "# mr_seam = [\"{BLANK}\"]")?,
        false => writeln!(text, "mr_seam = [{}]", modules.into_iter().collect::<Vec<_>>().join(", "))?,
    }
    text.push_str(TDX_MORE);
    match claims {
        [] => {
            writeln!(text, "# mr_config_id, mr_owner, mr_owner_config: 96 hexadecimal characters; xfam: 16")?
        }
        [first, ..] => {
            for (key, value) in [
                ("mr_config_id", first.mr_config_id),
                ("mr_owner", first.mr_owner),
                ("mr_owner_config", first.mr_owner_config),
            ] {
                writeln!(text, "{key} = \"{value}\"")?;
            }
            writeln!(text, "xfam = \"{}\"", first.xfam)?;
        }
    }
    text.push_str(IMAGES);
    for (at, claim) in claims.iter().enumerate() {
        writeln!(text, "[[tdx.images]]\nname = \"image {}\"\nmr_td = \"{}\"", at + 1, claim.mr_td)?;
        for (register, value) in claim.rtmr.iter().enumerate() {
            writeln!(text, "rtmr{register} = \"{value}\"")?;
        }
    }
    if claims.is_empty() {
        writeln!(text, "[[tdx.images]]\nname = \"{BLANK}\"\nmr_td = \"{BLANK}\"")?;
        for register in 0..4 {
            writeln!(text, "rtmr{register} = \"{BLANK}\"")?;
        }
    }
    Ok(())
}

fn write_snp(claims: &[&ClaimedSnp], text: &mut String) -> fmt::Result {
    text.push_str(SNP);
    writeln!(text, "[snp]")?;
    match claims {
        [] => writeln!(text, "# id_key, author_key: 96 hexadecimal characters; host_data: 64")?,
        [first, ..] => {
            for (key, value) in [("id_key", first.id_key), ("author_key", first.author_key)] {
                writeln!(text, "{key} = \"{value}\"")?;
            }
            writeln!(text, "host_data = \"{}\"", first.host_data)?;
        }
    }
    let smt = claims.iter().any(|claim| claim.allows_smt);
    writeln!(text, "# Whether another VM may run on a core's other thread.\nallow_smt = {smt}")?;
    text.push_str(MIN_TCB);
    let mut products = BTreeSet::new();
    for claim in claims {
        if products.insert(claim.product) {
            let (product, tcb) = (claim.product.unwrap_or(BLANK), claim.tcb);
            writeln!(
                text,
                "[snp.min_tcb.{}]\nbootloader = {}\ntee = {}\nsnp = {}\nmicrocode = {}\nfmc = {}",
                quoted(product),
                tcb.bootloader,
                tcb.tee,
                tcb.snp,
                tcb.microcode,
                tcb.fmc
            )?;
        }
    }
    if claims.is_empty() {
        writeln!(text, "[snp.min_tcb.{}]\nbootloader = 0\ntee = 0\nsnp = 0\nmicrocode = 0", quoted(BLANK))?;
    }
    text.push_str(IMAGES);
    let digests: BTreeSet<String> = claims.iter().map(|claim| claim.launch_digest.to_string()).collect();
    for (at, digest) in digests.iter().enumerate() {
        writeln!(text, "[[snp.images]]\nname = \"image {}\"\nlaunch_digest = \"{digest}\"", at + 1)?;
    }
    if digests.is_empty() {
        writeln!(text, "[[snp.images]]\nname = \"{BLANK}\"\nlaunch_digest = \"{BLANK}\"")?;
    }
    Ok(())
}

/// A document's own text as a basic string (TOML 1.0): it stays a value, whatever is in it, and moves no cursor.
fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            // Below U+10000, all of them.
            _ if is_obeyed(char) => quoted.push_str(&format!("\\u{:04X}", u32::from(char))),
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

const HEAD: &str = "\
# Which evidence is believed. What is not named here is not believed.
#   cocoon-connect policy check FILE      says what is wrong with it
#   cocoon-connect policy explain FILE    says in plain words what it believes
";
const UNVERIFIED: &str = "
# !!! The measurements below are what a machine says of itself. NOTHING OF IT WAS VERIFIED. They are worth nothing
# !!! until you have compared them with those of an image that you, or somebody whom you trust, built from its source.
";
const TITLE: &str = "
# All three are needed where the policy is signed for others. The version grows with every change, and never goes back
# where it is followed; after not_after the policy believes nothing.
";
const KEM: &str = "
# Refuses backends without an X-Wing key: what is recorded today then stays closed to a later quantum computer.
";
const TIMES: &str = "
# How long a verdict may be used, and how old a backend's keys may be, seconds. Defaults: 3600; until the keys' own end.
# max_verdict_age_s = 3600
# max_keyset_age_s = 86400
";
const DEV: &str = "
# DEVELOPMENT: the public keys of `cocoon-backend dev-root`. No hardware protects what is sent to such a backend; it is
# believed on this machine only, and never by a signed policy.
";
const RELEASES: &str = "
# The oldest release that is believed, by the release's name.
";
const MODELS: &str = "
# Digests of the weights that will do, by model; other models are refused. Without this section any weights will do.
";
const TDX: &str = "
# Intel TDX. Debug, migration and service TDs are refused always.
";
const MR_SEAM: &str =
    "# Measurements of the TDX module. Without them any that Intel signed will do, at the TCB status below.";
const TDX_MORE: &str = "\
# Intel's words for a platform that will do, and the advisories that may apply to it; others are refused.
tcb_statuses = [\"UpToDate\"]
advisories = []
# min_tcb_evaluation_number = 0
# max_collateral_age_days = 30
# What the VM was configured with; zeros, the default, where there is nothing. Extended features that may be on.
";
const IMAGES: &str = "
# What may run: a machine must fit one of them in all. The name is for people.
";
const SNP: &str = "
# AMD SEV-SNP. Debug, migration and VMPL above 0 are refused always. Keys and host data: zeros, the default, for none.
";
const MIN_TCB: &str = "
# Lowest security versions of the firmware, by processor: milan, genoa or turin; others are refused.
";
const GPU: &str = "
# NVIDIA GPUs: there is evidence of some. How many, no more and no fewer, and of which models (NVIDIA's `hwmodel`).
";

#[cfg(test)]
mod tests;
