//! Whether a policy can be followed.

use std::fmt::Write as _;
use std::path::Path;

use cocoon_attestation::{Policy, signature_path};
use cocoon_receipts::VerifyingKey;

use crate::clock::{shown, span};
use crate::report::quoted;

/// What was found, for people.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) text: String,
    pub(crate) good: bool,
}

/// Reads the policy as a verifier does, but remembers nothing of it.
pub(crate) fn check(path: &Path, signer: Option<&VerifyingKey>, now_ms: u64) -> Checked {
    let loaded = match Policy::load(path, signer, None) {
        Ok(loaded) => loaded,
        Err(error) => return Checked { text: format!("REFUSED  {error}\n"), good: false },
    };
    let policy = &loaded.policy;
    let mut text = String::new();
    let ended = policy.not_after().is_some_and(|end| end <= now_ms);
    let name = policy.name().map_or("without a name".into(), quoted);
    let version = policy.version().map_or_else(String::new, |version| format!(", version {version}"));
    // Writing to a string does not fail.
    let _ =
        writeln!(text, "{}  {}: {name}{version}", if ended { "REFUSED" } else { "VALID  " }, path.display());
    let _ = match policy.not_after() {
        None => writeln!(text, "         it has no end"),
        Some(end) if ended => {
            writeln!(text, "         not_after: it ended {}, {} ago", shown(end), span(now_ms - end))
        }
        Some(end) => writeln!(text, "         it ends {}, in {}", shown(end), span(end - now_ms)),
    };
    let _ = match policy.signer() {
        Some(signer) => writeln!(text, "         signed by {}", signer.to_base64url()),
        None if loaded.signature_ignored => {
            let signature = signature_path(path);
            writeln!(text, "         {} was not looked at: give --signer", signature.display())
        }
        None => writeln!(text, "         nobody signed it"),
    };
    let _ = writeln!(text, "         sha256 {}", policy.digest());
    Checked { text, good: !ended }
}

#[cfg(test)]
mod tests {
    use cocoon_receipts::SigningKey;

    use super::*;

    const END: u64 = 1_893_456_000_000;

    #[test]
    fn it_says_what_is_wrong_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        let key = SigningKey::generate().unwrap();
        let good = "name = 'n'\nversion = 1\nnot_after = 2030-01-01T00:00:00Z\n";
        let checked = |text: &str, signer: Option<&SigningKey>, now: u64| {
            std::fs::write(&path, text).unwrap();
            let checked = check(&path, signer.map(SigningKey::public), now);
            (checked.good, checked.text)
        };
        let has = |(good, text): (bool, String), expected: bool, parts: &[&str]| {
            assert_eq!(good, expected, "{text}");
            for part in parts {
                assert!(text.contains(part), "{part}: {text}");
            }
        };
        has(
            checked(good, None, END - 60_000),
            true,
            &["VALID", "n, version 1", "in 60 s", "nobody signed it"],
        );
        has(checked(good, None, END + 3_600_000), false, &["REFUSED", "not_after: it ended", "60 min ago"]);
        has(checked("\nmax_verdict_age_s = 0", None, 0), false, &["REFUSED", "line 2: max_verdict_age_s"]);
        has(checked("\n\nnonsense = 1", None, 0), false, &["line 3", "nonsense"]);
        has(checked(good, Some(&key), 0), false, &["policy.toml.sig", "missing"]);
        std::fs::write(signature_path(&path), Policy::sign(good, &key).unwrap()).unwrap();
        has(checked(good, Some(&key), 0), true, &["signed by", &key.public().to_base64url()]);
        has(checked(good, None, 0), true, &["was not looked at"]);
        has(checked(&format!("{good}\n"), Some(&key), 0), false, &["not the pinned signer's"]);
    }
}
