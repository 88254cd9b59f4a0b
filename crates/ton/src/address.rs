//! Addresses of accounts, in the forms of TEP-2.

use std::fmt;
use std::str::FromStr;

use tonlib_core::TonAddress;

use crate::{CellHash, Network};

/// Where accounts are. Others do not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workchain {
    Basechain,
    Masterchain,
}

impl Workchain {
    /// As cells have it.
    #[must_use]
    pub fn number(self) -> i8 {
        match self {
            Self::Basechain => 0,
            Self::Masterchain => -1,
        }
    }
}

impl TryFrom<i8> for Workchain {
    type Error = AddressError;

    fn try_from(number: i8) -> Result<Self, AddressError> {
        match number {
            0 => Ok(Self::Basechain),
            -1 => Ok(Self::Masterchain),
            _ => Err(AddressError::Workchain),
        }
    }
}

/// Text that is no address here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("an address is 48 characters of base64, such as EQ…, or 0: and 64 hexadecimal characters")]
    Form,
    #[error("the address has a wrong checksum: a character is wrong or missing")]
    Checksum,
    #[error("the address is neither of the basechain nor of the masterchain")]
    Workchain,
    #[error("the address is marked for test networks only")]
    TestOnly,
}

/// An account: workchain and 256 bits, `addr_std` without anycast (block.tlb).
///
/// It is never `addr_none`: 0:000…0 is written as the account that it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    workchain: Workchain,
    hash: [u8; 32],
}

/// An address as it was shown to people (TEP-2), with what its form asks of who sends there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    pub address: Address,
    /// Whether to send so that it comes back where there is no contract; unsaid in the raw form.
    pub bounceable: Option<bool>,
    /// Not to be used on mainnet.
    pub test_only: bool,
}

impl Address {
    #[must_use]
    pub const fn new(workchain: Workchain, hash: [u8; 32]) -> Self {
        Self { workchain, hash }
    }

    #[must_use]
    pub fn workchain(&self) -> Workchain {
        self.workchain
    }

    #[must_use]
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The basechain's account of a contract: the hash of its `StateInit` (block.tlb).
    pub(crate) fn of_state(state_init: CellHash) -> Self {
        Self::new(Workchain::Basechain, state_init.0)
    }

    /// Reads an address that somebody gave for use on `network`.
    ///
    /// # Errors
    /// [`AddressError`]; one marked for test networks is refused on mainnet (TEP-2).
    pub fn parse_for(text: &str, network: Network) -> Result<Self, AddressError> {
        let shown: Shown = text.parse()?;
        if shown.test_only && network == Network::Mainnet {
            return Err(AddressError::TestOnly);
        }
        Ok(shown.address)
    }

    /// 48 characters of base64url.
    #[must_use]
    pub fn show(&self, bounceable: bool, test_only: bool) -> String {
        TonAddress::new(self.workchain.number().into(), self.hash.into())
            .to_base64_url_flags(!bounceable, test_only)
    }

    fn from_raw(text: &str) -> Result<Self, AddressError> {
        let (workchain, hash) = text.split_once(':').ok_or(AddressError::Form)?;
        let workchain = match workchain {
            "0" => Workchain::Basechain,
            "-1" => Workchain::Masterchain,
            other if other.bytes().all(|byte| byte.is_ascii_digit()) && !other.is_empty() => {
                return Err(AddressError::Workchain);
            }
            _ => return Err(AddressError::Form),
        };
        let mut bytes = [0; 32];
        hex::decode_to_slice(hash, &mut bytes).map_err(|_| AddressError::Form)?;
        Ok(Self::new(workchain, bytes))
    }
}

impl FromStr for Shown {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.contains(':') {
            return Ok(Self { address: Address::from_raw(text)?, bounceable: None, test_only: false });
        }
        // 48 characters are 36 bytes without padding or spare bits, so that an address has one text in each
        // alphabet.
        let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte);
        if text.len() != 48 || !text.bytes().all(alphabet) {
            return Err(AddressError::Form);
        }
        let decoded = if text.contains(['-', '_']) {
            TonAddress::from_base64_url_flags(text)
        } else {
            TonAddress::from_base64_std_flags(text)
        };
        let (decoded, non_bounceable, test_only) = decoded.map_err(|_| AddressError::Checksum)?;
        let number = i8::try_from(decoded.workchain).map_err(|_| AddressError::Workchain)?;
        let address = Address::new(number.try_into()?, decoded.hash_part.into());
        Ok(Self { address, bounceable: Some(!non_bounceable), test_only })
    }
}

impl fmt::Display for Address {
    /// The raw form, `0:` and 64 lower-case hexadecimal characters, which says nothing about how to send.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.workchain.number(), hex::encode(self.hash))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
