//! A policy in plain words.

use std::fmt::{self, Write as _};

use cocoon_attestation::{
    GpuPolicy, Hex, Policy, Register, RequiredKem, SnpPolicy, TcbStatus, TdxImage, TdxPolicy,
};

use crate::clock::{shown, span};
use crate::report::quoted;

/// Entries of one list that are written out; more are counted.
const MAX_LISTED: usize = 6;

/// What the policy believes, what it does not, and what is risky in it.
pub(crate) fn explain(policy: &Policy, now_ms: u64) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(policy, now_ms, &mut text);
    text
}

fn write(policy: &Policy, now: u64, text: &mut String) -> fmt::Result {
    let name = policy.name().map_or("without a name".into(), quoted);
    let version = policy.version().map_or_else(String::new, |version| format!(", version {version}"));
    writeln!(text, "policy   {name}{version}")?;
    match policy.not_after() {
        None => writeln!(text, "         has no end")?,
        Some(end) if end <= now => writeln!(text, "         ENDED {}, {} ago", shown(end), span(now - end))?,
        Some(end) => writeln!(text, "         ends {}, in {}", shown(end), span(end - now))?,
    }
    writeln!(text, "         sha256 {}\n\nBELIEVED", policy.digest())?;
    if let Some(tdx) = policy.tdx() {
        write_tdx(tdx, text)?;
    }
    if let Some(snp) = policy.snp() {
        write_snp(snp, text)?;
    }
    if let Some(gpu) = policy.gpu() {
        write_gpu(gpu, text)?;
    }
    if !policy.dev_roots().is_empty() {
        let roots = policy.dev_roots().len();
        writeln!(text, "  development evidence, on this machine only, signed by one of {roots} root(s)")?;
    }
    if nothing_is_believed(policy) {
        writeln!(text, "  nothing")?;
    }
    write_every(policy, text)?;
    write_not(policy, text)?;
    let warnings = warnings(policy, now);
    if !warnings.is_empty() {
        writeln!(text, "\nWARNINGS")?;
    }
    warnings.iter().try_for_each(|warning| writeln!(text, "  {warning}"))
}

fn write_tdx(tdx: &TdxPolicy, text: &mut String) -> fmt::Result {
    writeln!(text, "  Intel TDX: a VM that was started as one of")?;
    for image in tdx.images.iter().take(MAX_LISTED) {
        writeln!(text, "    {}: MRTD {}, {}", quoted(&image.name), short(&image.mr_td), registers(image))?;
    }
    write_more(tdx.images.len(), text)?;
    match tdx.mr_seam.as_slice() {
        [] => writeln!(text, "    TDX module (MRSEAM): any that Intel signed")?,
        modules => writeln!(text, "    TDX module (MRSEAM): {}", listed(modules.iter().map(short)))?,
    }
    for (label, value) in [
        ("MRCONFIGID", &tdx.mr_config_id),
        ("MROWNER", &tdx.mr_owner),
        ("MROWNERCONFIG", &tdx.mr_owner_config),
    ] {
        writeln!(text, "    {label}: {}", or_zero(value))?;
    }
    let features = tdx.xfam.map_or_else(|| "any".to_owned(), |xfam| format!("no others than {xfam}"));
    writeln!(text, "    extended features (XFAM): {features}")?;
    let statuses = listed(tdx.tcb_statuses.iter().map(|status| format!("{status:?}")));
    writeln!(text, "    platform, in Intel's words (TCB status): {statuses}")?;
    let advisories = match tdx.advisories.as_slice() {
        [] => "none accepted".to_owned(),
        accepted => format!("accepted: {}", listed(accepted.iter().map(|advisory| quoted(advisory)))),
    };
    writeln!(text, "    advisories: {advisories}")?;
    writeln!(text, "    TCB evaluation number: {} or higher", tdx.min_tcb_evaluation_number)?;
    match tdx.max_collateral_age_days {
        None => writeln!(text, "    collateral: until its own dates end"),
        Some(days) => writeln!(text, "    collateral: issued in the last {days} days"),
    }
}

fn registers(image: &TdxImage) -> String {
    let all =
        [("RTMR0", &image.rtmr0), ("RTMR1", &image.rtmr1), ("RTMR2", &image.rtmr2), ("RTMR3", &image.rtmr3)];
    let words = all.map(|(name, register)| match register {
        Register::Value(value) => format!("{name} {}", short(value)),
        Register::Events { events } => format!("{name} by {} event(s)", events.len()),
    });
    words.join(", ")
}

fn write_snp(snp: &SnpPolicy, text: &mut String) -> fmt::Result {
    writeln!(text, "  AMD SEV-SNP: a VM that was started as one of")?;
    for image in snp.images.iter().take(MAX_LISTED) {
        writeln!(text, "    {}: launch digest {}", quoted(&image.name), short(&image.launch_digest))?;
    }
    write_more(snp.images.len(), text)?;
    for (product, tcb) in &snp.min_tcb {
        writeln!(
            text,
            "    firmware of {}: bootloader {}, TEE {}, SNP {}, microcode {}, FMC {} or higher",
            format!("{product:?}").to_lowercase(),
            tcb.bootloader,
            tcb.tee,
            tcb.snp,
            tcb.microcode,
            tcb.fmc
        )?;
    }
    writeln!(text, "    other processors: never")?;
    for (label, value) in [("ID key", or_zero(&snp.id_key)), ("author key", or_zero(&snp.author_key))] {
        writeln!(text, "    {label}: {value}")?;
    }
    writeln!(text, "    host data: {}", or_zero(&snp.host_data))?;
    let smt = if snp.allow_smt { "allowed" } else { "never" };
    writeln!(text, "    another VM on a core's other thread (SMT): {smt}")
}

fn write_gpu(gpu: &GpuPolicy, text: &mut String) -> fmt::Result {
    let models = listed(gpu.models.iter().map(|model| quoted(model)));
    writeln!(text, "  NVIDIA GPUs: exactly {}, of {models}", gpu.count)?;
    let drivers = match gpu.drivers.as_slice() {
        [] => "any that NVIDIA has measured".to_owned(),
        drivers => listed(drivers.iter().map(|driver| quoted(driver))),
    };
    writeln!(
        text,
        "    drivers: {drivers}; evidence: of the last {}",
        span(gpu.max_age_s.saturating_mul(1000))
    )
}

fn write_every(policy: &Policy, text: &mut String) -> fmt::Result {
    writeln!(text, "\nASKED OF EVERY BACKEND")?;
    match policy.models().len() {
        0 => writeln!(text, "  weights: any, of any model")?,
        names => {
            for (model, weights) in policy.models().iter().take(MAX_LISTED) {
                let digests = listed(weights.iter().map(|digest| shortened(&digest.to_string())));
                writeln!(text, "  weights of {}: {digests}; of other models: none", quoted(model))?;
            }
            write_more(names, text)?;
        }
    }
    match policy.min_releases().len() {
        0 => writeln!(text, "  release: any, but none older than one that was seen for a week")?,
        names => {
            for (release, oldest) in policy.min_releases().iter().take(MAX_LISTED) {
                writeln!(text, "  release of {}: {oldest} or later", quoted(release))?;
            }
            write_more(names, text)?;
        }
    }
    let keys = match policy.require_kem() {
        Some(RequiredKem::XWing) => "X-Wing only",
        None => "X-Wing where there is one, X25519 where not",
    };
    writeln!(text, "  keys to seal to: {keys}")?;
    let cache = if policy.allows_shared_prefix_cache() { "may be shared" } else { "off" };
    writeln!(text, "  prompts' prefix cache: {cache}")?;
    match policy.max_keyset_age_ms() {
        None => writeln!(text, "  age of its keys: until their own end")?,
        Some(age) => writeln!(text, "  age of its keys: {} at most", span(age))?,
    }
    writeln!(text, "  a verdict is used for {} at most", span(policy.max_verdict_age_ms()))
}

fn write_not(policy: &Policy, text: &mut String) -> fmt::Result {
    writeln!(text, "\nNEVER BELIEVED")?;
    for (kind, named) in [
        ("Intel TDX", policy.tdx().is_some()),
        ("AMD SEV-SNP", policy.snp().is_some()),
        ("GPUs: a backend that has any is refused", policy.gpu().is_some()),
        ("development evidence", !policy.dev_roots().is_empty()),
    ] {
        if !named {
            writeln!(text, "  {kind}")?;
        }
    }
    writeln!(text, "  debug: never; migration, service TDs: never; VMPL above 0: never")?;
    writeln!(text, "  GPUs in debug mode, without secure boot or with other measurements: never")
}

/// What its author should know to have chosen.
fn warnings(policy: &Policy, now: u64) -> Vec<&'static str> {
    let (tdx, snp) = (policy.tdx(), policy.snp());
    let has = |status: TcbStatus| tdx.is_some_and(|tdx| tdx.tcb_statuses.contains(&status));
    let by_events = |image: &TdxImage| {
        let registers = [&image.rtmr0, &image.rtmr1, &image.rtmr2, &image.rtmr3];
        registers.iter().any(|register| matches!(register, Register::Events { .. }))
    };
    let hardware = tdx.is_some() || snp.is_some();
    [
        (nothing_is_believed(policy), "it believes nothing, so no backend is ever used"),
        (policy.not_after().is_some_and(|end| end <= now), "it has ended: every backend is refused"),
        (policy.not_after().is_none() && hardware, "not_after: it has no end, so nobody is made to renew it"),
        (!policy.dev_roots().is_empty(), "dev_roots: no hardware protects what is sent to such a backend"),
        (
            has(TcbStatus::OutOfDate) || has(TcbStatus::OutOfDateConfigurationNeeded),
            "tdx.tcb_statuses: platforms that Intel calls out of date have known holes",
        ),
        (
            tdx.is_some_and(|tdx| !tdx.advisories.is_empty()),
            "tdx.advisories: holes that Intel has published are accepted",
        ),
        (
            tdx.is_some_and(|tdx| tdx.mr_seam.is_empty()),
            "tdx.mr_seam: not pinned, so any TDX module will do that Intel signed, as far as the TCB status goes",
        ),
        (
            tdx.is_some_and(|tdx| tdx.images.iter().any(by_events)),
            "tdx.images: a register by events believes every combination of the digests that are named",
        ),
        (
            snp.is_some_and(|snp| snp.allow_smt),
            "snp.allow_smt: another VM on a core's other thread may learn from timing",
        ),
        (hardware && policy.models().is_empty(), "models: none are named, so any weights will do"),
        (hardware && policy.min_releases().is_empty(), "min_release: none, so old releases will do at first"),
        (
            hardware && policy.require_kem().is_none(),
            "require_kem: what is recorded today may be opened by a later quantum computer where X-Wing is missing",
        ),
        (
            policy.allows_shared_prefix_cache(),
            "allow_shared_prefix_cache: callers can time each other's prompts",
        ),
    ]
    .into_iter()
    .filter_map(|(applies, warning)| applies.then_some(warning))
    .collect()
}

fn nothing_is_believed(policy: &Policy) -> bool {
    policy.tdx().is_none() && policy.snp().is_none() && policy.dev_roots().is_empty()
}

fn listed(entries: impl ExactSizeIterator<Item = String>) -> String {
    let more = entries.len().saturating_sub(MAX_LISTED);
    let words = entries.take(MAX_LISTED).collect::<Vec<_>>().join(", ");
    if more == 0 { words } else { format!("{words} and {more} more") }
}

fn write_more(length: usize, text: &mut String) -> fmt::Result {
    match length.saturating_sub(MAX_LISTED) {
        0 => Ok(()),
        more => writeln!(text, "    and {more} more"),
    }
}

fn or_zero<const N: usize>(value: &Hex<N>) -> String {
    if value.0 == [0; N] { "zeros, that is none".to_owned() } else { short(value) }
}

fn short<const N: usize>(value: &Hex<N>) -> String {
    shortened(&value.to_string())
}

/// Enough to compare with another by eye; the file has all of it.
fn shortened(hex: &str) -> String {
    format!("{}…", hex.chars().take(16).collect::<String>())
}

#[cfg(test)]
mod tests;
