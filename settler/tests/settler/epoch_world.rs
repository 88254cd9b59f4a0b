//! A world with a registry, and who publishes epochs there.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use cocoon_devnet::Fees;
use cocoon_ledger::ShardCount;
use cocoon_receipts::{Digest, NanoTon};
use cocoon_settler::Books;
use cocoon_settler::decision::{Opened, Payee};
use cocoon_settler::epochs::{
    EpochStep, Epochs, FIRST, Folder, Journals, LedgerJournals, Publisher, Publishing, prove,
};
use cocoon_ton::chain::{Chain, registry};
use cocoon_ton::{
    Address, ArcCell, Direction, GlobalId, KeyPair, Network, RegistryMessage, RegistryRoles, RegistryStorage,
    Wallet, boc,
};
use tempfile::TempDir;
use tycho_types::boc::Boc;
use tycho_types::cell::Cell;

use crate::world::{Sending, TON, World, address, operator};

/// Seconds.
pub(crate) const EVERY: u32 = 3600;

pub(crate) const NETWORK: GlobalId = GlobalId::TESTNET;

/// More than entries have to be old before they are in an epoch, seconds.
pub(crate) const SETTLED: u32 = 11;

pub(crate) struct EpochWorld {
    pub(crate) world: World,
    pub(crate) registry: Address,
    folder: TempDir,
}

pub(crate) fn owner() -> Address {
    address(0x0e)
}

fn publisher_key() -> KeyPair {
    KeyPair::from_seed(&[43; 32]).unwrap()
}

pub(crate) fn publisher() -> Address {
    Wallet::new(publisher_key().public(), NETWORK).unwrap().address()
}

/// Of @ton/core's kind into the chain's.
fn cell(of: &ArcCell) -> Cell {
    Boc::decode(boc::encode(of).unwrap()).unwrap()
}

impl EpochWorld {
    /// The treasury's wallet is there and acme has money; there is no registry yet. The ledger has few shards, so that
    /// few calls look through all of them.
    pub(crate) async fn begin() -> Self {
        let world = World::with_shards(1, Fees::Current, ShardCount::new(3).unwrap()).await;
        world.float(TON);
        world.run(&mut world.settler()).await;
        world.deposit("acme", 100 * TON);
        world.run(&mut world.settler()).await;
        let registry = RegistryRoles { owner: owner(), publisher: publisher() }.address().unwrap();
        Self { world, registry, folder: tempfile::tempdir().unwrap() }
    }

    /// The same with a registry, and money for who publishes.
    pub(crate) async fn open() -> Self {
        let world = Self::begin().await;
        world.give_publisher(3 * TON);
        let mut epochs = world.epochs();
        let (registry, _) = epochs.publisher_mut().deploy(owner(), world.world.now()).await.unwrap();
        assert_eq!(registry, world.registry);
        world.world.settle_chain();
        assert_eq!(world.on_chain().await.unwrap().epochs.last, FIRST);
        world
    }

    pub(crate) fn give_publisher(&self, nano: u64) {
        self.send(0xee, publisher(), nano, Cell::default());
    }

    /// A message of anybody to anybody, which arrives.
    pub(crate) fn send(&self, from: u8, to: Address, nano: u64, body: Cell) {
        self.world.put(Sending { to, ..Sending::new(from, nano, body) });
        self.world.settle_chain();
    }

    /// A message to the registry from whom it takes it.
    pub(crate) fn tell_registry(&self, from: Address, message: RegistryMessage) {
        let body = cell(&message.body(0).unwrap());
        self.world.put(Sending { from, to: self.registry, ..Sending::new(0, TON, body) });
        self.world.settle_chain();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn file(&self, epoch: u32) -> PathBuf {
        self.folder().join(format!("{epoch:08}.json"))
    }

    pub(crate) fn journals(&self) -> Arc<dyn Journals> {
        Arc::new(LedgerJournals(Arc::clone(&self.world.ledger)))
    }

    pub(crate) fn epochs(&self) -> Epochs {
        self.epochs_of(self.world.books(), self.journals(), self.world.chain())
    }

    pub(crate) fn epochs_of(
        &self,
        books: Arc<dyn Books>,
        journals: Arc<dyn Journals>,
        chain: Arc<dyn Chain>,
    ) -> Epochs {
        self.epochs_in(self.folder(), books, journals, chain)
    }

    pub(crate) fn epochs_in(
        &self,
        folder: &Path,
        books: Arc<dyn Books>,
        journals: Arc<dyn Journals>,
        chain: Arc<dyn Chain>,
    ) -> Epochs {
        let network = Network::test(NETWORK).unwrap();
        let publisher = Publisher::new(chain, publisher_key(), network, Some(self.registry)).unwrap();
        let ours = Opened { wallet: Payee(World::treasury()), global_id: NETWORK.0 };
        Epochs::new(books, journals, publisher, Folder::open(folder).unwrap(), EVERY, ours)
    }

    /// So many receipts, of several accounts.
    pub(crate) async fn receipts(&self, count: usize) -> Vec<String> {
        let mut receipts = Vec::new();
        for number in 0..count {
            let name = ["acme", "bob", "carol", "dave"][number % 4];
            receipts.push(self.world.earn(name, &operator(7), 1000).await);
        }
        receipts
    }

    /// Steps with a block after each, until all is published or nothing can be done.
    pub(crate) async fn run(&self, epochs: &mut Epochs) -> Vec<EpochStep> {
        let mut steps = Vec::new();
        for _ in 0..50 {
            let step = epochs.step(self.world.now(), true).await.unwrap();
            self.world.settle_chain();
            let is_over = matches!(
                step,
                EpochStep::Idle | EpochStep::Published(Publishing::Complete { .. } | Publishing::Held(_))
            );
            steps.push(step);
            if is_over {
                return steps;
            }
        }
        panic!("it does not come to an end: {steps:?}");
    }

    /// What the registry stores.
    pub(crate) async fn on_chain(&self) -> Option<RegistryStorage> {
        registry(self.world.chain().as_ref(), &self.registry).await.unwrap()
    }

    /// The roots that the registry took, in order, and how many messages it refused.
    pub(crate) async fn taken(&self) -> (Vec<(u32, Digest)>, usize) {
        let chain = self.world.chain();
        let (mut taken, mut refused) = (Vec::new(), 0);
        let mut next = chain.account(&self.registry).await.unwrap().last_transaction;
        while let Some(from) = next {
            for transaction in chain.transactions(&self.registry, Some(from), 100).await.unwrap() {
                next = transaction.previous;
                let Some(message) = transaction.in_message else { continue };
                let Direction::Internal(_) = message.direction else { continue };
                if transaction.aborted {
                    refused += 1;
                } else if let Ok((RegistryMessage::AppendRoot { epoch, root }, _)) =
                    RegistryMessage::parse(&message.body)
                {
                    taken.push((epoch, Digest(root)));
                }
            }
        }
        taken.reverse();
        (taken, refused)
    }

    /// Every receipt is proved by the chain, all of them in their epochs, each in one place; gives how many messages the
    /// registry refused.
    pub(crate) async fn assert_all_is_published(&self, receipts: &[String]) -> usize {
        let mut epochs = self.epochs();
        epochs.catch_up().await.unwrap();
        let roots = epochs.log().roots();
        let (taken, refused) = self.taken().await;
        let expected: Vec<(u32, Digest)> = (FIRST..).zip(roots).collect();
        assert_eq!(taken, expected, "what the registry took");
        let storage = self.on_chain().await.unwrap();
        let mut places = std::collections::BTreeSet::new();
        for receipt in receipts {
            let digest = Digest::of(&[receipt.as_bytes()]);
            let proof = prove(&mut epochs, NETWORK, &digest, None).await.unwrap().unwrap();
            assert_eq!(proof.verify(&digest, (&self.registry, NETWORK), &storage), Ok(()));
            assert!(places.insert((proof.epoch, proof.position)), "two receipts in one place");
        }
        let counted: u64 = epochs.log().sealed().iter().map(|sealed| sealed.commitment.count).sum();
        assert_eq!(counted, receipts.len() as u64, "a receipt is in two epochs, or in none");
        refused
    }

    pub(crate) async fn publishers_balance(&self) -> NanoTon {
        self.world.chain().account(&publisher()).await.unwrap().balance
    }
}
