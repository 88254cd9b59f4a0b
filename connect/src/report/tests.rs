use cocoon_attestation::Check;

use super::*;

fn evidence() -> Evidence {
    Evidence {
        tee: "dev",
        kems: vec![0x20, 0x647a],
        kem: 0x647a,
        release: "cocoon\u{1b}[2J\u{202e}".into(),
        sequence: 7,
        floor: 5,
        verified_at: 0,
        valid_until: 3_600_000,
        not_after: u64::MAX,
        warnings: vec![DEVELOPMENT],
    }
}

fn report(verdicts: Vec<(Verdict, Findings)>) -> Report {
    let backends = verdicts
        .into_iter()
        .map(|(verdict, checks)| Backend { keyset: Digest([1; 32]).to_string(), verdict, checks })
        .collect();
    Report {
        gateway: "https://gateway.example".into(),
        at: 60_000,
        policy: Some(PolicyInForce {
            sha256: Digest([2; 32]),
            name: Some("production".into()),
            version: Some(3),
            not_after: Some(30_000),
            signer: None,
            min_release: BTreeMap::new(),
        }),
        models: vec![Model { model: "m".into(), backends, warnings: vec![SHRUNK] }],
    }
}

fn verified() -> (Verdict, Findings) {
    (Verdict::Verified(evidence()), Findings::default())
}

fn refused() -> (Verdict, Findings) {
    (Verdict::Refused { reason: "too old".into() }, Findings::default())
}

#[test]
fn one_refused_backend_spoils_the_verdict_and_none_is_none() {
    assert!(report(vec![verified(), verified()]).is_good());
    assert!(!report(vec![verified(), refused()]).is_good());
    assert!(!report(vec![refused()]).is_good());
    assert!(!report(vec![]).is_good());
}

#[test]
fn people_read_what_programs_read() {
    let report = report(vec![verified(), refused()]);
    let text = report.text();
    for part in [
        "https://gateway.example",
        "production, version 3, a local file that nobody signed",
        "ends Thu, 01 Jan 1970 00:00:30 GMT (30 s ago)",
        "VERIFIED",
        "X-Wing (of X25519, X-Wing)",
        "oldest believed: 5",
        "REFUSED",
        "too old",
        DEVELOPMENT,
        SHRUNK,
        "Thu, 01 Jan 1970 01:00:00 GMT (in 59 min)",
        "keys end     no end\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "a name cannot move the cursor, nor turn the line");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["models"][0]["backends"][0]["verdict"], "verified");
    assert_eq!(json["models"][0]["backends"][0]["floor"], 5);
    assert_eq!(json["models"][0]["backends"][1]["reason"], "too old");
}

#[test]
fn every_outcome_has_its_place_and_failures_come_first() {
    let mut checks = Findings::default();
    for check in Check::ALL {
        match check {
            Check::Quote | Check::Model => checks.failed(*check, format!("why {check}")),
            Check::ReportData => checks.unreached(&[*check], Check::Quote),
            Check::Kem => checks.waived(*check, "nobody asked"),
            other => checks.passed(*other, "a detail that people need not read"),
        }
    }
    let text = report(vec![(Verdict::Refused { reason: "refused: quote".into() }, checks)]).text();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = |line: &str| {
        lines.iter().position(|found| found.starts_with(line)).unwrap_or_else(|| panic!("{text}"))
    };
    assert!(at("FAILED       quote: why quote") < at("FAILED       model: why model"));
    assert!(at("FAILED       model") < at("not reached  report_data"));
    assert!(at("not reached") < at("passed       policy, kind"));
    assert!(at("passed") < at("not asked    kem: nobody asked"));
    for check in Check::ALL {
        assert!(text.contains(check.as_str()), "{check}: {text}");
    }
    assert!(!text.contains("need not read") && !text.contains("refused: quote"), "{text}");
    // The one about the gateway is not of a backend.
    let mut ours = text.lines().filter(|line| !line.contains("WARNING"));
    assert!(ours.all(|line| line.chars().count() <= 120) && lines.len() < 24, "one screen: {text}");
}
