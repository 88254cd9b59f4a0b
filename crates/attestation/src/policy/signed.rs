//! Policies that somebody else wrote: believed by their signature.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cocoon_receipts::{SigningKey, VerifyingKey};

use super::{MAX_POLICY, Policy, PolicyError};

/// Stands before the file's bytes in what is signed, so that the signature fits nothing else.
const LABEL: &[u8] = b"cocoon/policy/v1\0";
/// Longest name of a signed policy, bytes.
const MAX_NAME: usize = 64;

impl Policy {
    /// A policy with its detached signature, the content of `FILE.sig`. Nothing of the text is looked at before the
    /// signature verifies.
    ///
    /// # Errors
    /// [`PolicyError`]; also where the policy lacks what a signed one must have, or has what it must not.
    pub fn from_signed(text: &str, signature: &str, signer: &VerifyingKey) -> Result<Self, PolicyError> {
        if text.len() > MAX_POLICY {
            return Err(PolicyError::TooLong);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature.trim_end()).ok();
        let signature = signature.filter(|bytes| bytes.len() == 64).ok_or(PolicyError::NotASignature)?;
        if !signer.verify_bytes(&[LABEL, text.as_bytes()].concat(), &signature) {
            return Err(PolicyError::Signature);
        }
        let policy = Self { signer: Some(signer.clone()), ..Self::from_toml(text)? };
        policy.check_signed()?;
        Ok(policy)
    }

    /// The content of `FILE.sig` for a policy with this text.
    ///
    /// # Errors
    /// [`PolicyError`] where nobody would accept the policy as a signed one.
    pub fn sign(text: &str, key: &SigningKey) -> Result<String, PolicyError> {
        Self::from_toml(text)?.check_signed()?;
        let signature = key.sign_bytes(&[LABEL, text.as_bytes()].concat());
        Ok(format!("{}\n", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// Whose signature the policy was believed by; none where it is a local file that the user names.
    #[must_use]
    pub fn signer(&self) -> Option<&VerifyingKey> {
        self.signer.as_ref()
    }

    /// What must hold of a policy that others follow: that it can be replaced and will end, and that it makes nobody
    /// believe evidence without hardware.
    fn check_signed(&self) -> Result<(), PolicyError> {
        let name = self.name().unwrap_or_default();
        let named = (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(char::is_control);
        for (key, good, problem) in [
            ("name", named, "a signed policy must have one, of 1 to 64 bytes without control characters"),
            ("version", self.version().is_some(), "a signed policy must have one"),
            ("not_after", self.not_after().is_some(), "a signed policy must have an end"),
            ("dev_roots", self.dev_roots().is_empty(), "development evidence cannot be believed for others"),
        ] {
            if !good {
                return Err(PolicyError::Value { key: key.into(), problem });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "name = 'n'\nversion = 3\nnot_after = 2030-01-01T00:00:00Z\n";

    #[test]
    fn a_policy_is_believed_by_the_signature_of_its_signer_alone() {
        let (key, stranger) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let signature = Policy::sign(GOOD, &key).unwrap();
        assert_eq!(signature.len(), 87, "one line of base64url");
        let policy = Policy::from_signed(GOOD, &signature, key.public()).unwrap();
        assert_eq!(policy.signer(), Some(key.public()));
        assert!(Policy::from_toml(GOOD).unwrap().signer().is_none());
        let refused = |text: &str, signature: &str, signer: &SigningKey| {
            Policy::from_signed(text, signature, signer.public()).unwrap_err()
        };
        assert!(matches!(refused(GOOD, &signature, &stranger), PolicyError::Signature));
        let by_stranger = Policy::sign(GOOD, &stranger).unwrap();
        assert!(matches!(refused(GOOD, &by_stranger, &key), PolicyError::Signature));
        for bad in ["", "x", "====", &signature[..80], &format!("{signature}{signature}")] {
            assert!(matches!(refused(GOOD, bad, &key), PolicyError::NotASignature), "{bad}");
        }
        // A signature over the bytes alone is one that another program may have made for another end.
        let bare = URL_SAFE_NO_PAD.encode(key.sign_bytes(GOOD.as_bytes()));
        assert!(matches!(refused(GOOD, &bare, &key), PolicyError::Signature));
    }

    #[test]
    fn every_changed_byte_is_refused() {
        let key = SigningKey::generate().unwrap();
        let signature = Policy::sign(GOOD, &key).unwrap();
        for at in 0..GOOD.len() {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] ^= 1;
            let text = String::from_utf8(bytes).unwrap();
            let refused = Policy::from_signed(&text, &signature, key.public());
            assert!(matches!(refused, Err(PolicyError::Signature)), "byte {at}");
        }
        let longer = format!("{GOOD}\n");
        assert!(matches!(
            Policy::from_signed(&longer, &signature, key.public()),
            Err(PolicyError::Signature)
        ));
    }

    #[test]
    fn a_signed_policy_has_a_name_a_version_an_end_and_no_development_roots() {
        let key = SigningKey::generate().unwrap();
        let root = format!("{GOOD}dev_roots = ['{}']", key.public().to_base64url());
        for (text, key_at_fault) in [
            (GOOD.replace("name = 'n'", ""), "name"),
            (GOOD.replace("'n'", "''"), "name"),
            (GOOD.replace("'n'", "\"a\\nb\""), "name"),
            (GOOD.replace("'n'", &format!("'{}'", "n".repeat(65))), "name"),
            (GOOD.replace("version = 3", ""), "version"),
            (GOOD.replace("not_after = 2030-01-01T00:00:00Z", ""), "not_after"),
            (root, "dev_roots"),
        ] {
            let names = |outcome: PolicyError| matches!(outcome, PolicyError::Value { key, .. } if key == key_at_fault);
            assert!(Policy::from_toml(&text).is_ok(), "unsigned it is good: {text}");
            assert!(names(Policy::sign(&text, &key).unwrap_err()), "{text}");
            // Also where somebody signed it nevertheless.
            let signature = URL_SAFE_NO_PAD.encode(key.sign_bytes(&[LABEL, text.as_bytes()].concat()));
            assert!(names(Policy::from_signed(&text, &signature, key.public()).unwrap_err()), "{text}");
        }
    }
}
