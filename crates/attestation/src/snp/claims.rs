//! What an authentic report says, against the policy.

use sev::firmware::host::TcbVersion;

use super::report::{self, Report};
use crate::findings::{Check, Findings};
use crate::policy::{Hex, SnpPolicy, SnpProduct, SnpTcb};

/// Bits of the guest policy (56860, "Guest policy").
const SMT: u64 = 1 << 16;
/// Reserved, and one.
const ONE: u64 = 1 << 17;
const MIGRATE_MA: u64 = 1 << 18;
const DEBUG: u64 = 1 << 19;
/// Reserved, and zero.
const ZERO: u64 = !((1 << 26) - 1);

pub(super) fn judge(policy: &SnpPolicy, report: &Report, product: SnpProduct, findings: &mut Findings) {
    let (fields, guest) = (&report.fields, report.policy());
    let debug = guest & DEBUG != 0;
    findings.check(Check::SnpDebug, !debug, if debug { "the host may debug the VM" } else { "off" });
    guest_policy(guest, policy.allow_smt, findings);
    findings.check(Check::SnpVmpl, fields.vmpl == 0, format!("level {}, where 0 is asked", fields.vmpl));
    let digest = Hex(fields.measurement);
    match policy.images.iter().find(|image| image.launch_digest == digest) {
        Some(image) => findings.passed(Check::SnpLaunchDigest, format!("{}: {digest}", image.name)),
        None => findings.failed(Check::SnpLaunchDigest, format!("no image of the policy has {digest}")),
    }
    same(Check::SnpIdKey, Hex(fields.id_key_digest), policy.id_key, findings);
    author_key(Hex(fields.author_key_digest), fields.key_info.author_key_en(), policy.author_key, findings);
    same(Check::SnpHostData, Hex(fields.host_data), policy.host_data, findings);
    tcb(policy, product, &[("reported", fields.reported_tcb), ("committed", fields.committed_tcb)], findings);
}

fn guest_policy(guest: u64, allow_smt: bool, findings: &mut Findings) {
    let wrong = [
        (guest & MIGRATE_MA != 0, "the VM may be moved by a migration agent"),
        (guest & SMT != 0 && !allow_smt, "another VM may run on the core's other thread"),
        (guest & ONE == 0 || guest & ZERO != 0, "a reserved bit is not as it must be"),
    ];
    let wrong: Vec<&str> = wrong.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
    let detail = if wrong.is_empty() {
        format!("{guest:#x}: no migration{}", if guest & SMT == 0 { ", no SMT" } else { ", SMT" })
    } else {
        format!("{guest:#x}: {}", wrong.join(", "))
    };
    findings.check(Check::SnpGuestPolicy, wrong.is_empty(), detail);
}

fn same<const N: usize>(check: Check, found: Hex<N>, asked: Hex<N>, findings: &mut Findings) {
    let detail = if found == asked { found.to_string() } else { format!("{found}, where {asked} is asked") };
    findings.check(check, found == asked, detail);
}

/// The digest is there exactly where the flag says so.
fn author_key(found: Hex<48>, flag: bool, asked: Hex<48>, findings: &mut Findings) {
    if flag == (found == Hex::default()) {
        let state = if flag { "on" } else { "off" };
        findings.failed(Check::SnpAuthorKey, format!("AUTHOR_KEY_EN is {state}, with the digest {found}"));
    } else {
        same(Check::SnpAuthorKey, found, asked, findings);
    }
}

fn tcb(policy: &SnpPolicy, product: SnpProduct, found: &[(&str, TcbVersion)], findings: &mut Findings) {
    let Some(least) = policy.min_tcb.get(&product) else {
        let detail = format!("the policy has no lowest TCB of {}", report::name(product));
        findings.failed(Check::SnpTcb, detail);
        return;
    };
    for (which, tcb) in found {
        for (part, has, least) in parts(tcb, least) {
            if has < least {
                let detail = format!("the {which} {part} is {has}, where {least} is the lowest");
                findings.failed(Check::SnpTcb, detail);
                return;
            }
        }
    }
    findings
        .passed(Check::SnpTcb, format!("{}: reported and committed are not too low", report::name(product)));
}

fn parts(tcb: &TcbVersion, least: &SnpTcb) -> [(&'static str, u8, u8); 5] {
    [
        ("bootloader", tcb.bootloader, least.bootloader),
        ("tee", tcb.tee, least.tee),
        ("snp", tcb.snp, least.snp),
        ("microcode", tcb.microcode, least.microcode),
        // Processors before Turin have none, which is less than any.
        ("fmc", tcb.fmc.unwrap_or(0), least.fmc),
    ]
}
