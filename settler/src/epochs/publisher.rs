//! Sends roots to the registry, from a wallet that has no other right. Which one is next, the registry itself says: it
//! takes none but that, so that one which is sent twice costs a fee and changes nothing.

use std::sync::Arc;

use cocoon_receipts::{Digest, NanoTon};
use cocoon_ton::chain::{Chain, ChainError, Status, registry};
use cocoon_ton::{
    Address, KeyPair, Network, Outgoing, OutgoingValue, RegistryMessage, RegistryRoles, RegistryStorage,
    StackValue, StateInitError, Wallet, WalletState, amount_from_stack,
};

use super::chain::check_roots;
use super::commitment::{Commitment, FIRST};
use super::error::EpochError;

/// Roots that are sent at once, where some were waiting.
const AT_ONCE: usize = 8;

/// Upper bound of what the wallet pays to send one message, nanoTON, under the older, dearer prices.
const MESSAGE_COST: u64 = 10_000_000;

/// Left on the wallet for its rent, nanoTON.
const RESERVE: u64 = 50_000_000;

/// What a registry is deployed with, nanoTON: its rent for two years and the first root need a third of it under the older
/// prices. The rest comes back.
const DEPLOYMENT: NanoTon = NanoTon(200_000_000);

/// On top of what the registry asks for: rent may fall due on the way. The rest comes back.
const ON_TOP: u64 = 10_000_000;

/// How long a signed request may be executed, seconds.
const VALID_FOR: u32 = 120;

/// How long a root may be on its way from the wallet to the registry, seconds.
const ON_ITS_WAY: u32 = 60;

/// Why nothing is published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    #[error("no registry is named: `cocoon-settler registry deploy` makes one, `epochs.registry` names it")]
    NoRegistry,
    #[error("the registry {0} is not deployed")]
    NotDeployed(Address),
    #[error(
        "the registry's publisher is {publisher}, and our wallet {ours}: its owner has to say who publishes"
    )]
    OtherPublisher { publisher: Address, ours: Address },
    #[error("the publisher's wallet has {has} nanoTON and needs {needs}: send it some, to {to}")]
    Short { to: String, has: NanoTon, needs: NanoTon },
}

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publishing {
    /// The registry has all that there is.
    Complete {
        last: u32,
    },
    /// These roots were sent, the first of them or again.
    Sent {
        from: u32,
        to: u32,
    },
    /// What was sent has not arrived yet.
    Waits {
        last: u32,
    },
    Held(Held),
}

/// What was last handed to the chain.
struct Sent {
    boc: Vec<u8>,
    /// Of the wallet.
    seqno: u32,
    /// Unix time from which the wallet does not take it.
    valid_until: u32,
    /// The last epoch of it.
    to: u32,
    /// Unix time.
    at: u32,
}

/// The wallet, and where it publishes.
pub struct Publisher {
    chain: Arc<dyn Chain>,
    wallet: Wallet,
    key: KeyPair,
    network: Network,
    registry: Option<Address>,
    sent: Option<Sent>,
}

impl Publisher {
    /// # Errors
    /// [`EpochError::Cell`] never comes of a key.
    pub fn new(
        chain: Arc<dyn Chain>,
        key: KeyPair,
        network: Network,
        registry: Option<Address>,
    ) -> Result<Self, EpochError> {
        let wallet = Wallet::new(key.public(), network.global_id())?;
        Ok(Self { chain, wallet, key, network, registry, sent: None })
    }

    #[must_use]
    pub fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    #[must_use]
    pub fn registry(&self) -> Option<Address> {
        self.registry
    }

    #[must_use]
    pub fn chain(&self) -> &Arc<dyn Chain> {
        &self.chain
    }

    /// Where its money is sent to: not bounceable, as it may not be deployed yet.
    #[must_use]
    pub fn shown(&self) -> String {
        self.wallet.address().show(false, self.network != Network::Mainnet)
    }

    /// The registry, and that its epochs are the first of those with these roots.
    ///
    /// # Errors
    /// [`EpochError`]; above all where it has other roots.
    pub async fn look(
        &self,
        roots: &[Digest],
    ) -> Result<Result<(Address, RegistryStorage), Held>, EpochError> {
        let Some(address) = self.registry else { return Ok(Err(Held::NoRegistry)) };
        let Some(storage) = registry(self.chain.as_ref(), &address).await? else {
            return Ok(Err(Held::NotDeployed(address)));
        };
        check_roots(&address, &storage, roots)?;
        Ok(Ok((address, storage)))
    }

    /// Sends what the registry does not have of `roots`, which are those of epoch 1 and so on.
    ///
    /// # Errors
    /// [`EpochError`]; above all where the registry has other roots.
    pub async fn step(&mut self, roots: &[Digest], now: u32) -> Result<Publishing, EpochError> {
        let (address, storage) = match self.look(roots).await? {
            Ok(found) => found,
            Err(held) => return Ok(Publishing::Held(held)),
        };
        let last = storage.epochs.last;
        self.sent = self.sent.take().filter(|sent| sent.to > last);
        // Its epochs are the first ones of ours.
        let waiting: Vec<(u32, &Digest)> =
            (FIRST..).zip(roots).filter(|(epoch, _)| *epoch > last).take(AT_ONCE).collect();
        if waiting.is_empty() {
            return Ok(Publishing::Complete { last });
        }
        if let Some(held) = self.has_no_right(&storage) {
            return Ok(Publishing::Held(held));
        }
        let value = self.required(&address).await?;
        let message = |(epoch, root): (u32, &Digest)| append(address, epoch, root, value, None);
        let messages = waiting.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
        let to = last.saturating_add(u32::try_from(messages.len()).unwrap_or(u32::MAX));
        Ok(match self.send(&messages, value, to, now).await? {
            Sending::Sent => Publishing::Sent { from: last + 1, to },
            Sending::Waits => Publishing::Waits { last },
            Sending::Held(held) => Publishing::Held(held),
        })
    }

    /// What would keep the next root from being sent.
    ///
    /// # Errors
    /// [`EpochError`].
    pub async fn obstacle(
        &self,
        registry: &Address,
        storage: &RegistryStorage,
    ) -> Result<Option<Held>, EpochError> {
        if let Some(held) = self.has_no_right(storage) {
            return Ok(Some(held));
        }
        let value = self.required(registry).await?;
        let account = self.chain.account(&self.wallet.address()).await?;
        Ok(self.is_short(account.balance, std::iter::once(value)))
    }

    fn has_no_right(&self, storage: &RegistryStorage) -> Option<Held> {
        let (publisher, ours) = (storage.roles.publisher, self.wallet.address());
        (publisher != ours).then_some(Held::OtherPublisher { publisher, ours })
    }

    fn is_short(&self, has: NanoTon, values: impl Iterator<Item = NanoTon>) -> Option<Held> {
        let each = values.map(|value| value.0.saturating_add(MESSAGE_COST));
        let needs = NanoTon(each.fold(RESERVE, u64::saturating_add));
        (has < needs).then(|| Held::Short { to: self.shown(), has, needs })
    }

    /// Deploys the registry that begins with this owner and our wallet as its publisher, with the first epoch.
    ///
    /// # Errors
    /// [`EpochError`].
    pub async fn deploy(&mut self, owner: Address, now: u32) -> Result<(Address, Publishing), EpochError> {
        let roles = RegistryRoles { owner, publisher: self.wallet.address() };
        let address = roles.address().map_err(|error| code(&error))?;
        if let Some(storage) = registry(self.chain.as_ref(), &address).await? {
            return Ok((address, Publishing::Complete { last: storage.epochs.last }));
        }
        let init = RegistryStorage::new(roles).state_init().map_err(|error| code(&error))?;
        let root = Commitment::first().root();
        let message = append(address, FIRST, &root, DEPLOYMENT, Some(init))?;
        let publishing = match self.send(&[message], DEPLOYMENT, FIRST, now).await? {
            Sending::Sent => Publishing::Sent { from: FIRST, to: FIRST },
            Sending::Waits => Publishing::Waits { last: 0 },
            Sending::Held(held) => Publishing::Held(held),
        };
        Ok((address, publishing))
    }

    /// What the next root has to bring, as the registry says under the prices of the day.
    async fn required(&self, registry: &Address) -> Result<NanoTon, EpochError> {
        let op = RegistryMessage::AppendRoot { epoch: 0, root: [0; 32] }.op();
        let argument = StackValue::Number(op.into());
        let answer = self.chain.run_get_method(registry, "required_value", &[argument]).await?;
        Ok(NanoTon(amount_from_stack(&answer)?.0.saturating_add(ON_TOP)))
    }

    async fn send(
        &mut self,
        messages: &[Outgoing],
        value: NanoTon,
        to: u32,
        now: u32,
    ) -> Result<Sending, EpochError> {
        let account = self.chain.account(&self.wallet.address()).await?;
        let seqno = match &account.status {
            Status::Uninitialized => None,
            Status::Frozen => return Err(EpochError::Wallet("it is frozen")),
            Status::Active { data, .. } => {
                let state = WalletState::parse(data)?;
                if state.key != self.key.public() {
                    return Err(EpochError::Wallet("another key"));
                }
                Some(state.seqno)
            }
        };
        let now = now.max(u32::try_from(account.at).unwrap_or(now));
        let number = seqno.unwrap_or(0);
        if let Some(Sent { boc, seqno, valid_until, at, .. }) = &self.sent {
            // Not executed, and may still be: the same once more.
            if *seqno == number && now < *valid_until {
                return self.hand_over(boc).await;
            }
            // Executed: the registry may not have it yet.
            if *seqno < number && now < at.saturating_add(ON_ITS_WAY) {
                return Ok(Sending::Waits);
            }
        }
        if let Some(held) = self.is_short(account.balance, messages.iter().map(|_| value)) {
            return Ok(Sending::Held(held));
        }
        let valid_until = now.saturating_add(VALID_FOR);
        let signed = self.wallet.request(&self.key, messages, number, valid_until, seqno.is_none())?;
        let boc = signed.boc.clone();
        self.sent = Some(Sent { boc: signed.boc, seqno: number, valid_until, to, at: now });
        self.hand_over(&boc).await
    }

    async fn hand_over(&self, boc: &[u8]) -> Result<Sending, EpochError> {
        match self.chain.send_boc(boc).await {
            Ok(()) => Ok(Sending::Sent),
            // It may have been executed a moment ago: the chain will tell.
            Err(ChainError::NotAccepted(why)) => {
                tracing::debug!(why, "the roots are not accepted");
                Ok(Sending::Waits)
            }
            Err(error) => Err(error.into()),
        }
    }
}

enum Sending {
    Sent,
    Waits,
    Held(Held),
}

/// The pinned code was damaged before this was compiled.
fn code(error: &StateInitError) -> EpochError {
    tracing::error!(%error, "the registry's own code");
    EpochError::Wallet("the registry's code cannot be read")
}

fn append(
    registry: Address,
    epoch: u32,
    root: &Digest,
    value: NanoTon,
    init: Option<cocoon_ton::ArcCell>,
) -> Result<Outgoing, EpochError> {
    let body = RegistryMessage::AppendRoot { epoch, root: root.0 }.body(epoch.into())?;
    Ok(Outgoing { to: registry, value: OutgoingValue::Exactly(value), bounce: true, init, body })
}
