//! The policy signer's key, and what it signs.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use cocoon_attestation::{Policy, signature_path};
use cocoon_receipts::{SigningKey, VerifyingKey};
use zeroize::Zeroizing;

/// Longest key file that is read, bytes.
const MAX_KEY: u64 = 4 << 10;

/// Makes a new key in a new file that its owner alone can read.
pub(crate) fn create(path: &Path) -> anyhow::Result<VerifyingKey> {
    let pem = SigningKey::generate_pem().context("the system has no randomness")?;
    let public = SigningKey::from_pem(&pem)?.public().clone();
    let named = || path.display().to_string();
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).with_context(named)?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).with_context(named)?;
    Ok(public)
}

/// The key in a file that nobody else can read.
pub(crate) fn read(path: &Path) -> anyhow::Result<SigningKey> {
    let named = || path.display().to_string();
    let file = File::open(path).with_context(named)?;
    let mode = file.metadata().with_context(named)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!("{}: others than its owner can read it (mode {mode:o}); make it 0600", path.display());
    }
    let mut pem = Zeroizing::new(String::new());
    file.take(MAX_KEY).read_to_string(&mut pem).with_context(named)?;
    SigningKey::from_pem(&pem).with_context(named)
}

/// Writes the signature beside a policy that others may follow, and says where.
pub(crate) fn sign(path: &Path, key: &SigningKey, now_ms: u64) -> anyhow::Result<PathBuf> {
    let policy = Policy::load(path, None, None)?.policy;
    if policy.not_after().is_some_and(|end| end <= now_ms) {
        bail!("{}: not_after: it has ended already", path.display());
    }
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let signature = Policy::sign(&text, key).with_context(|| path.display().to_string())?;
    let signature_path = signature_path(path);
    // One that is there is of an earlier text. Half of one is refused by everybody.
    fs::write(&signature_path, signature).with_context(|| signature_path.display().to_string())?;
    Ok(signature_path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GOOD: &str = "name = 'n'\nversion = 1\nnot_after = 2030-01-01T00:00:00Z\n";

    #[test]
    fn what_a_new_key_signs_is_followed_under_its_public_half() {
        let dir = tempfile::tempdir().unwrap();
        let (key, policy) = (dir.path().join("key.pem"), dir.path().join("policy.toml"));
        let public = create(&key).unwrap();
        assert_eq!(key.metadata().unwrap().mode() & 0o777, 0o600);
        fs::write(&policy, GOOD).unwrap();
        let signature = sign(&policy, &read(&key).unwrap(), 0).unwrap();
        assert!(signature.ends_with("policy.toml.sig"));
        assert_eq!(Policy::load(&policy, Some(&public), None).unwrap().policy.version(), Some(1));
        assert!(create(&key).is_err(), "a key is never written over");
        assert_eq!(read(&key).unwrap().public(), &public);
    }

    #[test]
    fn a_key_that_others_can_read_and_what_is_none_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key.pem");
        create(&key).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let message = read(&key).unwrap_err().to_string();
        assert!(message.contains("mode 640"), "{message}");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&key, "secret").unwrap();
        let message = format!("{:#}", read(&key).unwrap_err());
        assert!(message.contains("key.pem") && !message.contains("secret"), "{message}");
    }

    #[test]
    fn nothing_is_signed_that_nobody_would_follow() {
        let dir = tempfile::tempdir().unwrap();
        let policy = dir.path().join("policy.toml");
        let key = SigningKey::generate().unwrap();
        for (text, now, fault) in [
            (GOOD.replace("version = 1", ""), 0, "version"),
            (GOOD.replace("not_after", "# not_after"), 0, "not_after"),
            (format!("{GOOD}nonsense = 1"), 0, "nonsense"),
            (format!("{GOOD}dev_roots = ['{}']", key.public().to_base64url()), 0, "dev_roots"),
            (GOOD.to_owned(), u64::MAX, "ended"),
        ] {
            fs::write(&policy, &text).unwrap();
            let message = format!("{:#}", sign(&policy, &key, now).unwrap_err());
            assert!(message.contains(fault), "{fault}: {message}");
            assert!(!signature_path(&policy).exists());
        }
    }
}
