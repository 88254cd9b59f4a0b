//! Which chain it is.

use std::fmt;

use crate::CellHash;

/// The network's `global_id`, ConfigParam 19 (block.tlb). Signatures and wallets' addresses depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GlobalId(pub i32);

impl GlobalId {
    /// The network whose coins have a price.
    pub const MAINNET: Self = Self(-239);
    /// The public test network, and chains of one's own that are like it.
    pub const TESTNET: Self = Self(-3);

    /// Whether money is at stake.
    #[must_use]
    pub fn is_mainnet(self) -> bool {
        self == Self::MAINNET
    }
}

impl fmt::Display for GlobalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Root hash of mainnet's first block, from its published global configuration.
const MAINNET_ZEROSTATE: CellHash = CellHash([
    0x17, 0xa3, 0xa9, 0x29, 0x92, 0xaa, 0xbe, 0xa7, 0x85, 0xa7, 0xa0, 0x90, 0x98, 0x5a, 0x26, 0x5c, 0xd3,
    0x1f, 0x32, 0x3d, 0x84, 0x9d, 0xa5, 0x12, 0x39, 0x73, 0x7e, 0x32, 0x1f, 0xb0, 0x55, 0x69,
]);

/// The network that a configuration names. An endpoint is of this network by what its chain says, never by
/// its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Money is real. Nothing but this value lets an endpoint of it be used.
    Mainnet,
    /// Any other chain.
    Test {
        global_id: GlobalId,
        /// Root hash of its first block, which tells chains with the same `global_id` apart; not compared
        /// where none.
        zerostate: Option<CellHash>,
    },
}

impl Network {
    /// The public test network or a chain like it, whichever has this `global_id`; none for mainnet's.
    #[must_use]
    pub fn test(global_id: GlobalId) -> Option<Self> {
        (!global_id.is_mainnet()).then_some(Self::Test { global_id, zerostate: None })
    }

    #[must_use]
    pub fn global_id(self) -> GlobalId {
        match self {
            Self::Mainnet => GlobalId::MAINNET,
            Self::Test { global_id, .. } => global_id,
        }
    }

    /// Whether a chain that says this of itself is this network. Mainnet is never taken for a test network,
    /// whatever the fields of [`Self::Test`] say.
    #[must_use]
    pub fn is(self, global_id: GlobalId, zerostate: CellHash) -> bool {
        let expected = match self {
            Self::Mainnet => Some(MAINNET_ZEROSTATE),
            Self::Test { .. } if global_id.is_mainnet() || zerostate == MAINNET_ZEROSTATE => return false,
            Self::Test { zerostate, .. } => zerostate,
        };
        global_id == self.global_id() && expected.is_none_or(|expected| expected == zerostate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: CellHash = CellHash([9; 32]);

    #[test]
    fn a_test_network_is_never_mainnet_even_if_its_number_says_so() {
        assert_eq!(Network::test(GlobalId::MAINNET), None);
        let lie = Network::Test { global_id: GlobalId::MAINNET, zerostate: None };
        assert!(!lie.is(GlobalId::MAINNET, OWN));
        let test = Network::test(GlobalId::TESTNET).unwrap();
        assert!(!test.is(GlobalId::TESTNET, MAINNET_ZEROSTATE));
        assert!(test.is(GlobalId::TESTNET, OWN));
    }

    #[test]
    fn mainnet_is_known_by_its_number_and_its_first_block() {
        assert_eq!(MAINNET_ZEROSTATE.to_string(), "F6OpKZKqvqeFp6CQmFomXNMfMj2EnaUSOXN+Mh+wVWk=");
        assert!(Network::Mainnet.is(GlobalId::MAINNET, MAINNET_ZEROSTATE));
        assert!(!Network::Mainnet.is(GlobalId::MAINNET, OWN));
        assert!(!Network::Mainnet.is(GlobalId::TESTNET, MAINNET_ZEROSTATE));
    }

    #[test]
    fn chains_with_one_number_are_told_apart_by_their_first_block() {
        let own = Network::Test { global_id: GlobalId::TESTNET, zerostate: Some(OWN) };
        assert!(own.is(GlobalId::TESTNET, OWN));
        assert!(!own.is(GlobalId::TESTNET, CellHash([8; 32])));
        assert!(!own.is(GlobalId(-4), OWN));
    }
}
