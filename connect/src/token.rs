//! Who may use the key that the sidecar was given: on a machine with several users, loopback is open to all of them.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use crate::state::{StateDir, StateError};

const FILE: &str = "token";
/// So that people and secret scanners know what they found.
const PREFIX: &str = "cocoon-local-";
const RANDOM_BYTES: usize = 32;

/// What local callers present in place of an API key.
pub struct LocalToken(Zeroizing<String>);

impl fmt::Debug for LocalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LocalToken").finish_non_exhaustive()
    }
}

impl LocalToken {
    /// That of the last start, or a new one.
    ///
    /// # Errors
    /// [`StateError`]; also where others can read the file, or it holds something else.
    pub fn load_or_create(state: &StateDir) -> Result<Self, StateError> {
        if state.read_secret(FILE)?.is_none() {
            let mut random = Zeroizing::new([0; RANDOM_BYTES]);
            cocoon_receipts::random(random.as_mut()).map_err(|_| StateError::Randomness)?;
            state.create(FILE, &format!("{PREFIX}{}\n", hex::encode(random.as_ref())))?;
        }
        // Read back in either case: another process may have been first.
        let text = Zeroizing::new(state.read_secret(FILE)?.unwrap_or_default());
        let token = text.trim();
        let random = token.strip_prefix(PREFIX).unwrap_or_default();
        if random.len() != 2 * RANDOM_BYTES || !random.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(StateError::Corrupt { path: state.path(FILE), message: "not a local token" });
        }
        Ok(Self(Zeroizing::new(token.to_owned())))
    }

    /// Whether a request carries it. Takes as long for every other token of its length.
    #[must_use]
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        bearer(headers)
            .is_some_and(|token| verify_slices_are_equal(token.as_bytes(), self.0.as_bytes()).is_ok())
    }
}

/// What stands after `Bearer ` in the one `Authorization` header.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?.to_str().ok()?, values.next()) else { return None };
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn the_token_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("s")).unwrap();
        let token = LocalToken::load_or_create(&state).unwrap();
        assert_eq!(state.path(FILE).metadata().unwrap().mode() & 0o777, 0o600);
        let again = LocalToken::load_or_create(&state).unwrap();
        assert_eq!(*token.0, *again.0);
        assert!(token.0.starts_with(PREFIX) && token.0.len() == PREFIX.len() + 64);

        std::fs::set_permissions(state.path(FILE), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(LocalToken::load_or_create(&state), Err(StateError::Open { .. })));
        std::fs::set_permissions(state.path(FILE), std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(state.path(FILE), "").unwrap();
        assert!(matches!(LocalToken::load_or_create(&state), Err(StateError::Corrupt { .. })));
    }

    #[test]
    fn only_the_token_itself_opens() {
        let dir = tempfile::tempdir().unwrap();
        let token = LocalToken::load_or_create(&StateDir::open(&dir.path().join("s")).unwrap()).unwrap();
        let text = token.0.as_str();
        assert!(token.is_in(&headers(&[&format!("Bearer {text}")])));
        assert!(token.is_in(&headers(&[&format!("bearer {text}")])));
        for wrong in [
            format!("Bearer {}", &text[..text.len() - 1]),
            format!("Bearer {text}0"),
            format!("Basic {text}"),
            text.to_owned(),
            "Bearer ".to_owned(),
        ] {
            assert!(!token.is_in(&headers(&[&wrong])), "{wrong}");
        }
        assert!(!token.is_in(&headers(&[])));
        let right = format!("Bearer {text}");
        assert!(!token.is_in(&headers(&[&right, &right])), "two headers are none");
    }
}
