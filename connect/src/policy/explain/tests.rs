use super::*;

const START: u64 = 1_800_000_000_000;

fn explained(text: &str) -> String {
    explain(&Policy::from_toml(text).unwrap(), START)
}

fn image(rtmr3: &str) -> String {
    let zero = "00".repeat(48);
    format!(
        "[tdx]\n[[tdx.images]]\nname = \"image\\u001b[2J\"\nmr_td = '{}'\nrtmr0 = '{zero}'\nrtmr1 = '{zero}'\n\
         rtmr2 = '{zero}'\nrtmr3 = {rtmr3}\n",
        "ab".repeat(48)
    )
}

#[test]
fn defaults_are_said_in_words_and_it_fits_a_screen() {
    let weights = "cd".repeat(32);
    let text = explained(&format!(
        "name = 'production'\nversion = 3\nnot_after = 2027-03-01T00:00:00Z\nrequire_kem = 'x-wing'\n\
         [min_release]\ncocoon = 7\n[models]\nm = ['{weights}']\n{}\
         [snp]\nimages = [{{ name = 'snp-image', launch_digest = '{}' }}]\n\
         min_tcb.milan = {{ bootloader = 4, tee = 0, snp = 22, microcode = 211 }}\n\
         [gpu]\ncount = 8\nmodels = ['GH100 A01 GSP BROM']\n",
        image(&format!("'{}'", "00".repeat(48))),
        "ef".repeat(48)
    ));
    for part in [
        "production, version 3",
        "ends Mon, 01 Mar 2027 00:00:00 GMT, in 44 days",
        "MRTD abababababababab…",
        "MRSEAM): any that Intel signed",
        "MROWNER: zeros, that is none",
        "TCB status): UpToDate\n",
        "advisories: none accepted",
        "snp-image: launch digest efefefefefefefef…",
        "firmware of milan: bootloader 4, TEE 0, SNP 22, microcode 211, FMC 0 or higher",
        "other thread (SMT): never",
        "exactly 8, of GH100 A01 GSP BROM",
        "weights of m: cdcdcdcdcdcdcdcd…; of other models: none",
        "release of cocoon: 7 or later",
        "X-Wing only",
        "prefix cache: off",
        "a verdict is used for 60 min at most",
        "debug: never",
        "NEVER BELIEVED\n  development evidence\n",
        "tdx.mr_seam: not pinned",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(text.matches("WARNINGS").count(), 1);
    assert_eq!(text.split("WARNINGS\n").nth(1).unwrap().lines().count(), 1, "{text}");
    assert!(!text.contains('\u{1b}'), "a name cannot move the cursor");
    assert!(text.lines().count() <= 50, "{text}");
}

#[test]
fn each_risk_has_its_warning_and_only_where_it_is() {
    let value = format!("'{}'", "00".repeat(48));
    let careful = format!(
        "not_after = 2027-03-01T00:00:00Z\nrequire_kem = 'x-wing'\n[min_release]\nr = 1\n[models]\nm = []\n{}",
        image(&value)
    )
    .replace("[tdx]\n", &format!("[tdx]\nmr_seam = [{value}]\n"));
    assert!(!explained(&careful).contains("WARNINGS"), "{}", explained(&careful));
    let zero = value.as_str();
    let root = cocoon_receipts::SigningKey::generate().unwrap().public().to_base64url();
    for (risk, text) in [
        ("dev_roots:", format!("dev_roots = ['{root}']\n{careful}")),
        ("out of date", careful.replace("[tdx]\n", "[tdx]\ntcb_statuses = ['UpToDate', 'OutOfDate']\n")),
        ("tdx.advisories:", careful.replace("[tdx]\n", "[tdx]\nadvisories = ['INTEL-SA-00837']\n")),
        ("tdx.mr_seam:", careful.replace("mr_seam", "# mr_seam")),
        (
            "register by events",
            careful.replace(&format!("rtmr3 = {zero}"), &format!("rtmr3 = {{ events = [{zero}] }}")),
        ),
        (
            "snp.allow_smt:",
            format!(
                "{careful}[snp]\nallow_smt = true\nimages = [{{ name = 'i', launch_digest = {zero} }}]\n\
                 min_tcb.milan = {{ bootloader = 0, tee = 0, snp = 0, microcode = 0 }}\n"
            ),
        ),
        ("models: none", careful.replace("[models]\nm = []\n", "")),
        ("min_release: none", careful.replace("[min_release]\nr = 1\n", "")),
        ("require_kem:", careful.replace("require_kem", "# require_kem")),
        ("not_after: it has no end", careful.replace("not_after", "# not_after")),
        ("it has ended", careful.replace("2027-03-01", "2026-03-01")),
        ("allow_shared_prefix_cache:", format!("allow_shared_prefix_cache = true\n{careful}")),
        ("it believes nothing", String::new()),
    ] {
        let explained = explained(&text);
        let warnings = explained.split("WARNINGS\n").nth(1).unwrap_or_else(|| panic!("{risk}: {explained}"));
        assert!(warnings.contains(risk) && warnings.lines().count() == 1, "{risk}: {warnings}");
    }
}
