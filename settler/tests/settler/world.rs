//! A chain, a ledger and whoever wants to be paid, all real and in one process: the chain is `cocoon-devnet`'s, asked
//! over HTTP, and makes its blocks when told to.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cocoon_devnet::{
    Chain as Devnet, Clock, Endpoint as DevnetEndpoint, Fees, Network as DevnetNetwork, SharedChain,
};
use cocoon_ledger::{Ledger, Options, Settlement, TonAddress, Withdrawal, WithdrawalBegun, Work};
use cocoon_receipts::{AccountId, BasisPoints, Digest, NanoTon, OperatorId, ReceiptId, RequestId, Usage};
use cocoon_settler::config::{DepositConfig, PayoutConfig};
use cocoon_settler::{Books, LedgerBooks, Settings, Settler, Step};
use cocoon_ton::chain::{Chain, Endpoint, EndpointConfig, EndpointUrl, Failover};
use cocoon_ton::{
    Address, Direction, GlobalId, KeyPair, Network, PAYOUT_OP, Wallet, Workchain, deposit_comment,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::models::{CurrencyCollection, IntMsgInfo, MsgInfo, OwnedMessage, StdAddr};

pub(crate) const TON: u64 = 1_000_000_000;

/// Unix time at which every world begins.
pub(crate) const BEGIN: u32 = 1_790_000_000;

const SEED: [u8; 32] = [42; 32];

pub(crate) struct World {
    pub(crate) devnet: SharedChain,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) payouts: PayoutConfig,
    urls: Vec<String>,
    servers: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

pub(crate) fn operator(byte: u8) -> OperatorId {
    address(byte).to_string().parse().unwrap()
}

pub(crate) fn address(byte: u8) -> Address {
    Address::new(Workchain::Basechain, [byte; 32])
}

pub(crate) fn account(name: &str) -> AccountId {
    name.parse().unwrap()
}

fn std_address(address: &Address) -> StdAddr {
    StdAddr::new(address.workchain().number(), HashBytes(*address.hash()))
}

/// A transfer with a comment, as a wallet sends it.
pub(crate) fn transfer(from: &Address, to: &Address, nano: u64, comment: Option<&str>, lt: u64) -> Cell {
    let mut body = CellBuilder::new();
    if let Some(comment) = comment {
        body.store_u32(0).unwrap();
        body.store_raw(comment.as_bytes(), u16::try_from(comment.len() * 8).unwrap()).unwrap();
    }
    CellBuilder::build_from(OwnedMessage {
        info: MsgInfo::Int(IntMsgInfo {
            src: std_address(from).into(),
            dst: std_address(to).into(),
            value: CurrencyCollection::new(nano.into()),
            created_at: BEGIN,
            created_lt: lt,
            ..IntMsgInfo::default()
        }),
        init: None,
        body: body.build().unwrap().into(),
        layout: None,
    })
    .unwrap()
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_endpoints(1).await
    }

    /// With the wallet deployed and a little of the platform's own on it.
    pub(crate) async fn open() -> Self {
        let world = Self::new().await;
        world.float(TON);
        world.run(&mut world.settler()).await;
        world
    }

    pub(crate) async fn with_endpoints(count: usize) -> Self {
        let network = DevnetNetwork::new(Fees::Current, -3).unwrap();
        let devnet: SharedChain =
            Arc::new(Mutex::new(Devnet::in_memory(network, Clock::Standing { at: BEGIN })));
        let (mut urls, mut servers) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.push(format!("http://{}", listener.local_addr().unwrap()));
            let router = DevnetEndpoint::new(Arc::clone(&devnet)).router();
            servers.push(tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }));
        }
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let ledger =
            cocoon_ledger::open(&url, Options { test_clock: true, ..Options::default() }).await.unwrap();
        ledger.set_test_time(u64::from(BEGIN) * 1000).await.unwrap();
        let payouts = PayoutConfig { small_after_s: 3600, ..PayoutConfig::default() };
        Self { devnet, ledger, payouts, urls, servers, _folder: folder }
    }

    pub(crate) fn key() -> KeyPair {
        KeyPair::from_seed(&SEED).unwrap()
    }

    pub(crate) fn wallet() -> Wallet {
        Wallet::new(Self::key().public(), GlobalId::TESTNET).unwrap()
    }

    pub(crate) fn treasury() -> Address {
        Self::wallet().address()
    }

    pub(crate) fn devnet(&self) -> std::sync::MutexGuard<'_, Devnet> {
        self.devnet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        let network = Network::test(GlobalId::TESTNET).unwrap();
        let one = |(number, url): (usize, &String)| {
            Endpoint::new(EndpointConfig {
                url: EndpointUrl::parse(url).unwrap(),
                api_key: None,
                operator: format!("operator {number}"),
                network,
                timeout: Duration::from_secs(5),
            })
            .unwrap()
        };
        self.urls.iter().enumerate().map(one).collect()
    }

    pub(crate) fn chain(&self) -> Arc<dyn Chain> {
        Arc::new(Failover::new(self.endpoints()).unwrap())
    }

    pub(crate) fn books(&self) -> Arc<dyn Books> {
        Arc::new(LedgerBooks(Arc::clone(&self.ledger)))
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings {
            network: Network::test(GlobalId::TESTNET).unwrap(),
            deposits: DepositConfig::default(),
            payouts: self.payouts.clone(),
        }
    }

    pub(crate) fn settler(&self) -> Settler {
        self.settler_of(self.books(), self.chain())
    }

    pub(crate) fn settler_of(&self, books: Arc<dyn Books>, chain: Arc<dyn Chain>) -> Settler {
        Settler::new(books, chain, None, Self::key(), self.settings()).unwrap()
    }

    pub(crate) fn now(&self) -> u32 {
        self.devnet().now()
    }

    pub(crate) fn block(&self) {
        self.devnet().produce().unwrap();
    }

    pub(crate) fn settle_chain(&self) {
        self.devnet().produce_until_idle(1000).unwrap();
    }

    /// Lets time pass for the chain and the ledger, and makes a block.
    pub(crate) async fn pass(&self, seconds: u32) {
        {
            let mut devnet = self.devnet();
            let clock = devnet.clock().advanced(seconds).unwrap();
            devnet.set_clock(clock).unwrap();
            devnet.produce().unwrap();
        }
        let now = u64::from(self.now()) * 1000;
        self.ledger.set_test_time(now).await.unwrap();
    }

    pub(crate) fn send(&self, from: u8, nano: u64, comment: Option<&str>) {
        let mut devnet = self.devnet();
        let lt = devnet.head().end_lt + u64::from(from);
        let message = transfer(&address(from), &Self::treasury(), nano, comment, lt);
        devnet.send_internal(message).unwrap();
        devnet.produce_until_idle(100).unwrap();
    }

    pub(crate) fn deposit(&self, name: &str, nano: u64) {
        self.send(0xdd, nano, Some(&deposit_comment(&account(name))));
    }

    /// The platform's own money, with which the wallet is deployed and fees are paid.
    pub(crate) fn float(&self, nano: u64) {
        self.send(0xff, nano, Some(cocoon_ton::FLOAT_COMMENT));
    }

    /// A request of `name` that `operator` has answered for so much, all of which is the operator's.
    pub(crate) async fn earn(&self, name: &str, operator: &OperatorId, nano: u64) {
        let settlement = Settlement {
            account: account(name),
            key: "key".parse().unwrap(),
            project: None,
            request: RequestId::generate(),
            attempt: 1,
            keyset: Digest([1; 32]),
            operator: operator.clone(),
            operator_share: BasisPoints::new(10_000).unwrap(),
            receipt: ReceiptId::generate(),
            receipt_digest: Digest([2; 32]),
            receipt_jws: "receipt".to_owned(),
            model: "model".to_owned(),
            work: Work::Completions,
            usage: Usage::default(),
            cost: NanoTon(nano),
            max_cost: NanoTon(nano),
        };
        self.ledger.settle(&settlement).await.unwrap();
    }

    /// A withdrawal of `name` to `payee`, whose address is old enough.
    pub(crate) async fn withdraw(&self, name: &str, payee: u8, nano: u64) -> RequestId {
        let to: TonAddress = address(payee).show(false, false).parse().unwrap();
        self.ledger.set_payout_address(&account(name), &to).await.unwrap();
        self.pass(24 * 60 * 60).await;
        let intent = RequestId::generate();
        let begun = Withdrawal { account: account(name), intent, amount: NanoTon(nano) };
        let begun = self.ledger.withdraw_begin(&begun).await.unwrap();
        assert_eq!(begun, WithdrawalBegun::Begun { address: to });
        intent
    }

    /// Steps, with a block after each, until nothing is due.
    pub(crate) async fn run(&self, settler: &mut Settler) -> Vec<Step> {
        let mut steps = Vec::new();
        for _ in 0..200 {
            let step = settler.step(self.now()).await.unwrap();
            let idle = matches!(step, Step::Idle(_));
            steps.push(step);
            if idle {
                return steps;
            }
            self.settle_chain();
        }
        panic!("it does not come to an end: {steps:?}");
    }

    /// What came to this account by payouts of the treasury: id and nanoTON of each, the oldest first.
    pub(crate) async fn payouts_to(&self, payee: &Address) -> Vec<(u64, u64)> {
        let chain = self.chain();
        let (mut found, mut next) = (Vec::new(), chain.account(payee).await.unwrap().last_transaction);
        while let Some(from) = next {
            let page = chain.transactions(payee, Some(from), 100).await.unwrap();
            for transaction in page {
                next = transaction.previous;
                let Some(message) = transaction.in_message else { continue };
                let Direction::Internal(internal) = message.direction else { continue };
                if internal.from == Self::treasury() {
                    found.push((payout_id(&message.body), internal.value.0));
                }
            }
        }
        found.reverse();
        found
    }

    pub(crate) async fn balance_of(&self, address: &Address) -> u64 {
        self.chain().account(address).await.unwrap().balance.0
    }

    pub(crate) async fn user(&self, name: &str) -> cocoon_ledger::Account {
        self.ledger.account(&account(name)).await.unwrap()
    }
}

/// Of a payout's body, read here without the library's own reader.
fn payout_id(body: &cocoon_ton::ArcCell) -> u64 {
    let data = body.data();
    assert_eq!(data[..4], PAYOUT_OP.to_be_bytes(), "not a payout");
    u64::from_be_bytes(data[4..12].try_into().unwrap())
}
