//! The comment by which a transfer to the treasury says whose balance it is for.
//!
//! It has a checksum, so that a slip of the hand makes it no comment at all and not another account's: such a transfer
//! stays unclaimed. It is no secret: whoever knows it can only give money.

use cocoon_receipts::{AccountId, Digest};

const PREFIX: &str = "cocoon:";
const CHECKSUM_DOMAIN: &[u8] = b"cocoon deposit comment\0";

/// The comment of the platform's own money, for fees: nobody's balance.
pub const FLOAT_COMMENT: &str = "cocoon-float";

/// What a user writes with a transfer that is for this account.
#[must_use]
pub fn deposit_comment(account: &AccountId) -> String {
    format!("{PREFIX}{account}:{}", checksum(account))
}

/// Whose balance a transfer with this comment is for; none where it is no such comment, to the letter.
#[must_use]
pub fn account_of_comment(comment: &str) -> Option<AccountId> {
    let (account, given) = comment.strip_prefix(PREFIX)?.rsplit_once(':')?;
    let account: AccountId = account.parse().ok()?;
    (checksum(&account) == given).then_some(account)
}

/// 32 bits in hexadecimal: of slips, one in four billion is missed.
fn checksum(account: &AccountId) -> String {
    let Digest(bytes) = Digest::of(&[CHECKSUM_DOMAIN, account.as_str().as_bytes()]);
    hex::encode(&bytes[..4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_names_its_account_and_no_other() {
        for name in ["acme", "iss:corp:alice", "a-b_c.d", "0"] {
            let account: AccountId = name.parse().unwrap();
            let comment = deposit_comment(&account);
            assert_eq!(account_of_comment(&comment), Some(account), "{comment}");
        }
        // One for wallets' makers to test against: the first 8 hexadecimal digits of
        // SHA-256("cocoon deposit comment\0acme").
        assert_eq!(deposit_comment(&"acme".parse().unwrap()), "cocoon:acme:92b66ac8");
    }

    #[test]
    fn a_slip_of_the_hand_is_no_comment() {
        let comment = deposit_comment(&"acme".parse().unwrap());
        let bytes = comment.as_bytes();
        for place in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[place] = if changed[place] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(account_of_comment(&changed), None, "{changed}");
            let mut shorter = bytes.to_vec();
            shorter.remove(place);
            let shorter = String::from_utf8(shorter).unwrap();
            assert_eq!(account_of_comment(&shorter), None, "{shorter}");
        }
        for other in [
            "",
            "acme",
            "cocoon:",
            "cocoon:acme",
            FLOAT_COMMENT,
            &comment.to_uppercase(),
            &format!(" {comment}"),
        ] {
            assert_eq!(account_of_comment(other), None, "{other}");
        }
    }
}
