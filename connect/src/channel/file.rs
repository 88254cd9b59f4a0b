//! What is kept of a channel: its terms and its key, which no one else has, and how far it has come.

use cocoon_receipts::NanoTon;
use cocoon_ton::{
    Address, ChannelTerms, GlobalId, KeyError, KeyPair, StateInitError, Voucher, VoucherError, VoucherToken,
};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::state::{StateDir, StateError};

#[cfg(test)]
mod tests;

const FILE: &str = "channel.json";
/// The newest amount that was signed: a file of its own, since every request may write it.
const SIGNED_FILE: &str = "channel-signed.json";

/// How far a channel has come, as far as this sidecar has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Its terms are made; nothing is known to have been deposited.
    Opening,
    Open,
    /// For ever.
    Closed,
}

/// A channel that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(transparent)]
    State(#[from] StateError),
    #[error("the channel's terms make no address: {0}")]
    Terms(#[from] StateInitError),
    #[error("the channel's key: {0}")]
    Key(#[from] KeyError),
    #[error(transparent)]
    Voucher(#[from] VoucherError),
}

/// `channel.json`, mode 0600. Amounts are nanoTON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    global_id: i32,
    /// Raw.
    payer: String,
    /// Raw.
    receiver: String,
    close_delay: u32,
    /// In text: it may be above 2^53.
    salt: String,
    /// Seed of the key that signs this channel's vouchers and nothing else, hexadecimal.
    key: String,
    stage: Stage,
    deposited: NanoTon,
}

/// A channel with the key of its vouchers.
pub struct Channel {
    pub global_id: GlobalId,
    pub terms: ChannelTerms,
    pub stage: Stage,
    /// NanoTON that the chain showed as deposited.
    pub deposited: NanoTon,
    seed: Zeroizing<[u8; 32]>,
    key: KeyPair,
    address: Address,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel")
            .field("address", &self.address)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Channel {
    /// A new channel with a key and a salt of its own. It is not kept yet.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn new(
        global_id: GlobalId,
        payer: Address,
        receiver: Address,
        close_delay: u32,
    ) -> Result<Self, FileError> {
        let (mut seed, mut salt) = (Zeroizing::new([0; 32]), [0; 8]);
        for bytes in [seed.as_mut_slice(), salt.as_mut_slice()] {
            cocoon_receipts::random(bytes).map_err(|_| StateError::Randomness)?;
        }
        let payer_key = KeyPair::from_seed(&seed)?.public();
        let terms = ChannelTerms { payer, payer_key, receiver, close_delay, salt: u64::from_be_bytes(salt) };
        Self::with(global_id, terms, seed, Stage::Opening, NanoTon::ZERO)
    }

    fn with(
        global_id: GlobalId,
        terms: ChannelTerms,
        seed: Zeroizing<[u8; 32]>,
        stage: Stage,
        deposited: NanoTon,
    ) -> Result<Self, FileError> {
        let key = KeyPair::from_seed(&seed)?;
        Ok(Self { global_id, terms, stage, deposited, seed, key, address: terms.address()? })
    }

    /// The state folder's channel, whatever its stage.
    ///
    /// # Errors
    /// [`FileError`]; also where others can read the file, or it holds something else.
    pub fn load(state: &StateDir) -> Result<Option<Self>, FileError> {
        let Some(text) = state.read_secret(FILE)?.map(Zeroizing::new) else { return Ok(None) };
        let corrupt = || StateError::Corrupt { path: state.path(FILE), message: "not a channel" };
        let written: Written = serde_json::from_str(&text).map_err(|_| corrupt())?;
        if written.version != 1 {
            return Err(corrupt().into());
        }
        let mut seed = Zeroizing::new([0; 32]);
        hex::decode_to_slice(written.key.as_bytes(), seed.as_mut_slice()).map_err(|_| corrupt())?;
        let terms = ChannelTerms {
            payer: Address::from_raw(&written.payer).map_err(|_| corrupt())?,
            payer_key: KeyPair::from_seed(&seed)?.public(),
            receiver: Address::from_raw(&written.receiver).map_err(|_| corrupt())?,
            close_delay: written.close_delay,
            salt: written.salt.parse().map_err(|_| corrupt())?,
        };
        Self::with(GlobalId(written.global_id), terms, seed, written.stage, written.deposited).map(Some)
    }

    /// Puts it in the place of what was kept before, durably.
    ///
    /// # Errors
    /// [`FileError::State`].
    pub fn store(&self, state: &StateDir) -> Result<(), FileError> {
        Ok(state.replace(FILE, &self.written(state)?)?)
    }

    /// Keeps a channel that has ended under a name of its own, so that another one can take its place.
    ///
    /// # Errors
    /// [`FileError::State`].
    pub fn archive(&self, state: &StateDir) -> Result<(), FileError> {
        let name = format!("channel-{}.json", hex::encode(self.address.hash()));
        Ok(state.replace(&name, &self.written(state)?)?)
    }

    fn written(&self, state: &StateDir) -> Result<Zeroizing<String>, FileError> {
        let written = Written {
            version: 1,
            global_id: self.global_id.0,
            payer: self.terms.payer.to_string(),
            receiver: self.terms.receiver.to_string(),
            close_delay: self.terms.close_delay,
            salt: self.terms.salt.to_string(),
            key: hex::encode(self.seed.as_slice()),
            stage: self.stage,
            deposited: self.deposited,
        };
        let failed = |_| StateError::Corrupt { path: state.path(FILE), message: "it cannot be written" };
        Ok(serde_json::to_string(&written).map(Zeroizing::new).map_err(failed)?)
    }

    #[must_use]
    pub fn address(&self) -> Address {
        self.address
    }

    /// As people are shown it.
    #[must_use]
    pub fn shown(&self) -> String {
        self.address.show(true, !self.global_id.is_mainnet())
    }

    /// The voucher for `cumulative` as a bearer token: a secret. Its first nanoTON is signed to say who asks, where
    /// nothing else was signed yet.
    ///
    /// # Errors
    /// [`FileError::Voucher`] never comes of an amount; it is what cells can fail with.
    pub fn token(&self, cumulative: NanoTon) -> Result<Zeroizing<String>, FileError> {
        let cumulative = cumulative.max(NanoTon(1));
        let voucher = Voucher { global_id: self.global_id, channel: self.address, cumulative };
        Ok(Zeroizing::new(VoucherToken::from(&voucher.sign(&self.key)?).to_string()))
    }

    /// The newest amount that was signed; 0 where there is none.
    ///
    /// # Errors
    /// [`StateError`]; also where the file holds something else, because nobody knows then what was signed.
    pub fn signed(&self, state: &StateDir) -> Result<NanoTon, StateError> {
        let Some(text) = state.read_secret(SIGNED_FILE)? else { return Ok(NanoTon::ZERO) };
        let signed: Signed = serde_json::from_str(&text).map_err(|_| StateError::Corrupt {
            path: state.path(SIGNED_FILE),
            message: "not an amount that was signed",
        })?;
        Ok(if signed.channel == self.address.to_string() { signed.signed } else { NanoTon::ZERO })
    }

    /// Writes down what is about to be signed.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn store_signed(state: &StateDir, channel: &Address, signed: NanoTon) -> Result<(), StateError> {
        let text = serde_json::json!({ "channel": channel.to_string(), "signed": signed }).to_string();
        state.replace(SIGNED_FILE, &text)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    channel: String,
    signed: NanoTon,
}
