//! The sidecar's own wallet: where a user's TON comes in, and from where it goes to a channel and back.

use cocoon_ton::{GlobalId, KeyPair, StateInitError, Wallet};
use zeroize::Zeroizing;

use super::file::FileError;
use crate::state::{StateDir, StateError};

/// The wallet's seed: one for each network.
fn wallet_file(network: GlobalId) -> String {
    format!("wallet-{}.key", network.0)
}

/// The sidecar's own wallet.
#[derive(Debug)]
pub struct OwnWallet {
    pub key: KeyPair,
    pub wallet: Wallet,
}

impl OwnWallet {
    /// That of the last time, or a new one.
    ///
    /// # Errors
    /// [`FileError`]; also where others can read the file, or it holds something else.
    pub fn load_or_create(state: &StateDir, network: GlobalId) -> Result<Self, FileError> {
        let name = wallet_file(network);
        if state.read_secret(&name)?.is_none() {
            let mut seed = Zeroizing::new([0; 32]);
            cocoon_receipts::random(seed.as_mut_slice()).map_err(|_| StateError::Randomness)?;
            state.create(&name, &Zeroizing::new(format!("{}\n", &*Zeroizing::new(hex::encode(*seed)))))?;
        }
        // Read back in either case: another process may have been first.
        let text = Zeroizing::new(state.read_secret(&name)?.unwrap_or_default());
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), seed.as_mut_slice())
            .map_err(|_| StateError::Corrupt { path: state.path(&name), message: "not a wallet's key" })?;
        let key = KeyPair::from_seed(&seed)?;
        let wallet = Wallet::new(key.public(), network).map_err(StateInitError::from)?;
        Ok(Self { key, wallet })
    }
}
