//! Chains, wallets, contracts and messages for the tests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cocoon_receipts::NanoTon;
use cocoon_ton::{ArcCell, Batch, ChannelMessage, ChannelTerms, GlobalId, KeyPair, Payout, PayoutId, Wallet};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellFamily, CellSliceParts, HashBytes};
use tycho_types::models::{
    AccountState, ComputePhase, CurrencyCollection, ExtInMsgInfo, IntMsgInfo, MsgInfo, OrdinaryTxInfo,
    OwnedMessage, StateInit, StdAddr, Transaction, TxInfo,
};

use crate::state::Recorded;
use crate::{Chain, Clock, Fees, Network, SharedChain};

pub(crate) const TON: u64 = 1_000_000_000;

/// When the chains of tests begin.
pub(crate) const START: u32 = 1_700_000_000;

/// No test has a message that is valid longer.
pub(crate) const FAR: u32 = u32::MAX - 1;

/// Takes every message.
pub(crate) const SINK: &str = "30";

/// Leaves the arguments of every get method as they are: `DROP`.
pub(crate) const ECHO: &str = SINK;

pub(crate) fn network() -> Network {
    Network::new(Fees::Current, -3).unwrap()
}

pub(crate) fn chain() -> Chain {
    Chain::in_memory(network(), Clock::Standing { at: START })
}

pub(crate) fn shared() -> SharedChain {
    Arc::new(Mutex::new(chain()))
}

/// An account that nobody has the key of.
pub(crate) fn nobody(number: u8) -> StdAddr {
    StdAddr::new(0, HashBytes([number; 32]))
}

/// The cell in the library of the chain, of one in the library of the client.
pub(crate) fn cell(of: &ArcCell) -> Cell {
    Boc::decode(cocoon_ton::boc::encode(of).unwrap()).unwrap()
}

pub(crate) fn std_address(of: cocoon_ton::Address) -> StdAddr {
    of.to_string().parse().unwrap()
}

pub(crate) fn ton_address(of: &StdAddr) -> cocoon_ton::Address {
    of.to_string().parse::<cocoon_ton::Shown>().unwrap().address
}

/// A W5 wallet.
pub(crate) struct Purse {
    pub(crate) key: KeyPair,
    pub(crate) wallet: Wallet,
}

impl Purse {
    pub(crate) fn new(number: u8) -> Self {
        Self::on(number, -3)
    }

    pub(crate) fn on(number: u8, global_id: i32) -> Self {
        let key = KeyPair::from_seed(&[number; 32]).unwrap();
        Self { wallet: Wallet::new(key.public(), GlobalId(global_id)).unwrap(), key }
    }

    pub(crate) fn address(&self) -> StdAddr {
        std_address(self.wallet.address())
    }

    /// A batch that deploys the wallet where it is its first.
    pub(crate) fn batch(&self, seqno: u32, valid_until: u32, to: &[(StdAddr, u64, bool)]) -> Batch {
        let payouts = to.iter().zip(1..).map(|((to, amount, bounce), id)| Payout {
            id: PayoutId(u64::from(seqno) << 32 | id),
            to: ton_address(to),
            amount: NanoTon(*amount),
            bounce: *bounce,
            call: None,
        });
        self.wallet.batch(&self.key, payouts.collect(), seqno, valid_until, seqno == 0).unwrap()
    }

    /// One payment that is valid as long as it takes.
    pub(crate) fn pay(&self, seqno: u32, to: &StdAddr, amount: u64) -> Vec<u8> {
        self.batch(seqno, FAR, &[(to.clone(), amount, false)]).boc
    }
}

/// Coins and a wallet that is deployed: its next seqno is 1.
pub(crate) fn funded(chain: &mut Chain, number: u8) -> Purse {
    let purse = Purse::new(number);
    chain.give(&purse.address(), 100 * TON).unwrap();
    chain.produce().unwrap();
    chain.send_external(&purse.pay(0, &purse.address(), TON)).unwrap();
    chain.produce_until_idle(10).unwrap();
    purse
}

/// A message between accounts, with what it deploys.
pub(crate) struct Letter {
    pub(crate) from: StdAddr,
    pub(crate) to: StdAddr,
    pub(crate) value: u64,
    pub(crate) bounce: bool,
    pub(crate) lt: u64,
    pub(crate) init: Option<StateInit>,
    pub(crate) body: Cell,
}

impl Letter {
    pub(crate) fn new(from: &StdAddr, to: &StdAddr, value: u64) -> Self {
        let (from, to) = (from.clone(), to.clone());
        Self { from, to, value, bounce: true, lt: 0, init: None, body: Cell::empty_cell() }
    }

    pub(crate) fn cell(self) -> Cell {
        let info = IntMsgInfo {
            ihr_disabled: true,
            bounce: self.bounce,
            src: self.from.into(),
            dst: self.to.into(),
            value: CurrencyCollection::new(self.value.into()),
            created_lt: self.lt,
            ..IntMsgInfo::default()
        };
        let (info, body) = (MsgInfo::Int(info), CellSliceParts::from(self.body));
        CellBuilder::build_from(OwnedMessage { info, init: self.init, body, layout: None }).unwrap()
    }
}

/// A message from outside without a signature.
pub(crate) fn external(to: &StdAddr, body: Cell) -> Vec<u8> {
    let info = MsgInfo::ExtIn(ExtInMsgInfo { dst: to.clone().into(), ..ExtInMsgInfo::default() });
    let body = CellSliceParts::from(body);
    Boc::encode(CellBuilder::build_from(OwnedMessage { info, init: None, body, layout: None }).unwrap())
}

pub(crate) fn bits(hex: &str) -> Cell {
    let bytes = hex::decode(hex).unwrap();
    let mut builder = CellBuilder::new();
    builder.store_raw(&bytes, u16::try_from(bytes.len() * 8).unwrap()).unwrap();
    builder.build().unwrap()
}

/// A contract whose code are these instructions.
pub(crate) fn contract(code: &str, data: Cell) -> (StateInit, StdAddr) {
    let init = StateInit { code: Some(bits(code)), data: Some(data), ..StateInit::default() };
    let hash = *CellBuilder::build_from(&init).unwrap().repr_hash();
    (init, StdAddr::new(0, hash))
}

/// Deploys it with so many nanoTON.
pub(crate) fn deploy(chain: &mut Chain, code: &str, data: Cell, value: u64) -> StdAddr {
    let (init, address) = contract(code, data);
    let mut letter = Letter::new(&nobody(0xd0), &address, value);
    letter.init = Some(init);
    chain.send_internal(letter.cell()).unwrap();
    chain.produce_until_idle(10).unwrap();
    assert_eq!(status(chain, &address), "active");
    address
}

/// As many cells, every one of them different, in one tree.
pub(crate) fn large(cells: u32) -> Cell {
    let mut level: Vec<Cell> = (0..cells * 3 / 4).map(|number| bits(&format!("{number:08x}"))).collect();
    while level.len() > 1 {
        level = level
            .chunks(4)
            .map(|children| {
                let mut builder = CellBuilder::new();
                for child in children {
                    builder.store_reference(child.clone()).unwrap();
                }
                builder.build().unwrap()
            })
            .collect();
    }
    level.remove(0)
}

pub(crate) fn balance(chain: &Chain, of: &StdAddr) -> u128 {
    let account = chain.state().account(of).unwrap().load_account().unwrap();
    account.map_or(0, |account| account.balance.tokens.into_inner())
}

pub(crate) fn status(chain: &Chain, of: &StdAddr) -> &'static str {
    let account = chain.state().account(of).unwrap().load_account().unwrap();
    match account.map(|account| account.state) {
        None => "none",
        Some(AccountState::Uninit) => "uninit",
        Some(AccountState::Active(_)) => "active",
        Some(AccountState::Frozen(_)) => "frozen",
    }
}

pub(crate) fn history<'a>(chain: &'a Chain, of: &StdAddr) -> &'a [Arc<Recorded>] {
    chain.state().history.get(of).map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn parsed(recorded: &Recorded) -> (Transaction, OrdinaryTxInfo) {
    let transaction = recorded.cell.parse::<Transaction>().unwrap();
    let TxInfo::Ordinary(info) = transaction.load_info().unwrap() else { panic!("not ordinary") };
    (transaction, info)
}

/// How a contract's run ended; none where there was nothing to run.
pub(crate) fn exit_code(recorded: &Recorded) -> Option<i32> {
    match parsed(recorded).1.compute_phase {
        ComputePhase::Executed(phase) => Some(phase.exit_code),
        ComputePhase::Skipped(_) => None,
    }
}

/// A channel from one wallet to another, and how it is spoken to.
pub(crate) struct Channel {
    pub(crate) terms: ChannelTerms,
    pub(crate) address: StdAddr,
    payer: StdAddr,
    receiver: StdAddr,
}

impl Channel {
    pub(crate) fn between(payer: &Purse, receiver: &Purse, salt: u64) -> Self {
        let terms = ChannelTerms {
            payer: payer.wallet.address(),
            payer_key: payer.key.public(),
            receiver: receiver.wallet.address(),
            close_delay: 3_600,
            salt,
        };
        let address = std_address(terms.address().unwrap());
        Self { terms, address, payer: payer.address(), receiver: receiver.address() }
    }

    /// As if one of the two had sent it.
    pub(crate) fn letter(&self, from_payer: bool, value: u64, message: ChannelMessage) -> Cell {
        let from = if from_payer { &self.payer } else { &self.receiver };
        let mut letter = Letter::new(from, &self.address, value);
        letter.body = cell(&message.body(7).unwrap());
        letter.init = Some(cell(&self.terms.state_init().unwrap()).parse().unwrap());
        letter.cell()
    }
}

/// Messages by their hash, each as often as it is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages(pub(crate) BTreeMap<HashBytes, usize>);

impl Messages {
    pub(crate) fn add(&mut self, message: &Cell) {
        *self.0.entry(*message.repr_hash()).or_default() += 1;
    }
}
