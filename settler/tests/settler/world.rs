//! A chain, a ledger and whoever wants to be paid, all real and in one process: the chain is `cocoon-devnet`'s, asked
//! over HTTP, and makes its blocks when told to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cocoon_devnet::{
    Chain as Devnet, Clock, Endpoint as DevnetEndpoint, EndpointFaults, Fees, Network as DevnetNetwork,
    SharedChain,
};
use cocoon_ledger::{Ledger, Options, Settlement, ShardCount, TonAddress, Withdrawal, WithdrawalBegun, Work};
use cocoon_receipts::{AccountId, BasisPoints, Digest, NanoTon, OperatorId, ReceiptId, RequestId, Usage};
use cocoon_settler::config::{ChannelConfig, DepositConfig, PayoutConfig};
use cocoon_settler::decision::{Batch, Begun, Class, Decision, Owed};
use cocoon_settler::{Books, LedgerBooks, Settings, Settler, Step};
use cocoon_ton::chain::{Chain, Endpoint, EndpointConfig, EndpointUrl, Failover, Status};
use cocoon_ton::{
    Address, Direction, GlobalId, KeyPair, Network, PAYOUT_OP, Wallet, Workchain, deposit_comment,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::models::{
    CurrencyCollection, IntMsgInfo, MessageLayout, MsgInfo, OwnedMessage, StateInit, StdAddr,
};

pub(crate) const TON: u64 = 1_000_000_000;

/// Unix time at which every world begins.
pub(crate) const BEGIN: u32 = 1_790_000_000;

pub(crate) const SEED: [u8; 32] = [42; 32];

pub(crate) struct World {
    pub(crate) devnet: SharedChain,
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) payouts: PayoutConfig,
    pub(crate) deposits: DepositConfig,
    /// Of a call to an endpoint.
    pub(crate) timeout: Duration,
    urls: Vec<String>,
    /// Messages that were put on their way: their logical times differ by it.
    sent: AtomicU64,
    /// Ended with it.
    _servers: JoinSet<()>,
    _folder: TempDir,
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

/// The body of a comment that fits into one cell.
pub(crate) fn comment(text: &[u8]) -> Cell {
    let mut body = CellBuilder::new();
    body.store_u32(0).unwrap();
    body.store_raw(text, u16::try_from(text.len() * 8).unwrap()).unwrap();
    body.build().unwrap()
}

/// A message between accounts that is to be put on its way.
#[derive(Clone)]
pub(crate) struct Sending {
    pub(crate) from: Address,
    pub(crate) to: Address,
    pub(crate) nano: u64,
    pub(crate) body: Cell,
    /// Whether it comes back where it is not taken.
    pub(crate) bounce: bool,
    /// Whether it says that it came back.
    pub(crate) bounced: bool,
}

impl Sending {
    /// A transfer to the treasury, as a wallet sends it.
    pub(crate) fn new(from: u8, nano: u64, body: Cell) -> Self {
        Self { from: address(from), to: World::treasury(), nano, body, bounce: false, bounced: false }
    }

    fn cell(self, init: Option<StateInit>, lt: u64) -> Cell {
        CellBuilder::build_from(OwnedMessage {
            info: MsgInfo::Int(IntMsgInfo {
                bounce: self.bounce,
                bounced: self.bounced,
                src: std_address(&self.from).into(),
                dst: std_address(&self.to).into(),
                value: CurrencyCollection::new(self.nano.into()),
                created_at: BEGIN,
                created_lt: lt,
                ..IntMsgInfo::default()
            }),
            init,
            body: self.body.into(),
            layout: Some(MessageLayout { init_to_cell: true, body_to_cell: true }),
        })
        .unwrap()
    }
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
        Self::with(count, Fees::Current).await
    }

    pub(crate) async fn with(endpoints: usize, fees: Fees) -> Self {
        Self::with_shards(endpoints, fees, ShardCount::DEFAULT).await
    }

    pub(crate) async fn with_shards(endpoints: usize, fees: Fees, shards: ShardCount) -> Self {
        let network = DevnetNetwork::new(fees, -3).unwrap();
        let devnet: SharedChain =
            Arc::new(Mutex::new(Devnet::in_memory(network, Clock::Standing { at: BEGIN })));
        // Messages come from the past: their logical times are small numbers.
        devnet.lock().unwrap().produce().unwrap();
        let (mut urls, mut servers) = (Vec::new(), JoinSet::new());
        for _ in 0..endpoints {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            urls.push(format!("http://{}", listener.local_addr().unwrap()));
            let router = DevnetEndpoint::new(Arc::clone(&devnet)).router();
            servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
        }
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let ledger = cocoon_ledger::open(&url, Options { test_clock: true, shards, ..Options::default() })
            .await
            .unwrap();
        ledger.set_test_time(u64::from(BEGIN) * 1000).await.unwrap();
        let payouts = PayoutConfig { small_after_s: 3600, ..PayoutConfig::default() };
        let (deposits, timeout) = (DepositConfig::default(), Duration::from_secs(60));
        Self {
            devnet,
            ledger,
            payouts,
            deposits,
            timeout,
            urls,
            sent: AtomicU64::new(1),
            _servers: servers,
            _folder: folder,
        }
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
                timeout: self.timeout,
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
            deposits: self.deposits.clone(),
            payouts: self.payouts.clone(),
            channels: ChannelConfig::default(),
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

    /// A transfer to the treasury, which arrives.
    pub(crate) fn send(&self, from: u8, nano: u64, text: Option<&str>) {
        let body = text.map_or_else(Cell::default, |text| comment(text.as_bytes()));
        self.put(Sending::new(from, nano, body));
        self.devnet().produce_until_idle(100).unwrap();
    }

    /// Puts a message on its way.
    pub(crate) fn put(&self, sending: Sending) {
        self.put_with(sending, None);
    }

    /// The same with a contract for who gets it.
    pub(crate) fn put_with(&self, sending: Sending, init: Option<StateInit>) {
        let number = self.sent.fetch_add(1, Ordering::SeqCst);
        let mut devnet = self.devnet();
        devnet.send_internal(sending.cell(init, number)).unwrap();
    }

    /// What this key signs for a batch, and what the settler therefore sends.
    pub(crate) fn signed(batch: &Batch) -> cocoon_ton::Batch {
        let payouts = batch.payouts.iter().map(|begun| cocoon_ton::Payout {
            id: cocoon_ton::PayoutId(begun.id.0),
            to: begun.to.0,
            amount: begun.amount,
            bounce: matches!(begun.of, Owed::Channel { .. }),
            call: match begun.of {
                Owed::Channel { call, .. } => Some(call.into()),
                _ => None,
            },
        });
        let (seqno, until) = (batch.seqno, batch.valid_until);
        Self::wallet().batch(&Self::key(), payouts.collect(), seqno, until, batch.deploy).unwrap()
    }

    /// A batch with these payouts that may be decided next, whatever a planner would say.
    pub(crate) async fn batch_of(&self, settler: &Settler, payouts: Vec<Begun>) -> Batch {
        let Status::Active { data, .. } = self.chain().account(&Self::treasury()).await.unwrap().status
        else {
            panic!("the wallet is not deployed");
        };
        assert_eq!(settler.treasury().on_its_way(), None);
        let mut batch = Batch {
            seqno: cocoon_ton::WalletState::parse(&data).unwrap().seqno,
            valid_until: self.now() + self.payouts.valid_for_s,
            at: self.now(),
            deploy: false,
            body: cocoon_ton::CellHash([0; 32]),
            payouts,
        };
        batch.body = Self::signed(&batch).body_hash;
        batch
    }

    /// New coins, which arrive.
    pub(crate) fn give(&self, to: &Address, nano: u64) {
        self.devnet().give(&std_address(to), nano).unwrap();
        self.settle_chain();
    }

    pub(crate) fn deposit(&self, name: &str, nano: u64) {
        self.send(0xdd, nano, Some(&deposit_comment(&account(name))));
    }

    /// The platform's own money, with which the wallet is deployed and fees are paid.
    pub(crate) fn float(&self, nano: u64) {
        self.send(0xff, nano, Some(cocoon_ton::FLOAT_COMMENT));
    }

    /// A request of `name` that `operator` has answered for so much, all of which is the operator's; its receipt.
    pub(crate) async fn earn(&self, name: &str, operator: &OperatorId, nano: u64) -> String {
        let receipt = ReceiptId::generate();
        let jws = format!("receipt {receipt}");
        let settlement = Settlement {
            account: account(name),
            key: "key".parse().unwrap(),
            project: None,
            request: RequestId::generate(),
            attempt: 1,
            keyset: Digest([1; 32]),
            operator: operator.clone(),
            operator_share: BasisPoints::new(10_000).unwrap(),
            receipt,
            receipt_digest: Digest::of(&[jws.as_bytes()]),
            receipt_jws: jws.clone(),
            model: "model".to_owned(),
            work: Work::Completions,
            usage: Usage::default(),
            cost: NanoTon(nano),
            max_cost: NanoTon(nano),
        };
        self.ledger.settle(&settlement).await.unwrap();
        jws
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

    /// Steps, with a block after each, until nothing is due or nothing can be done but wait.
    pub(crate) async fn run_or_wait(&self, settler: &mut Settler) {
        for _ in 0..200 {
            let step = settler.step(self.now()).await.unwrap();
            self.settle_chain();
            if matches!(step, Step::Idle(_) | Step::Waits) {
                return;
            }
        }
        panic!("it does not come to an end");
    }

    /// The log of decisions.
    pub(crate) async fn log(&self) -> Vec<String> {
        self.ledger.decisions(0, 1000).await.unwrap()
    }

    /// What the log says of each transaction, the oldest first.
    pub(crate) async fn classes(&self) -> Vec<Class> {
        let mut classes = Vec::new();
        for record in self.log().await {
            if let Decision::Read(read) = serde_json::from_str(&record).unwrap() {
                classes.extend(read.transactions.into_iter().map(|entry| entry.class));
            }
        }
        classes
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

    /// Asks an endpoint's side for whoever steers the chain.
    pub(crate) async fn control(
        &self,
        endpoint: usize,
        method: &str,
        path: &str,
        body: &str,
    ) -> serde_json::Value {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let host = self.urls[endpoint].strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}"
        );
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    pub(crate) async fn set_faults(&self, endpoint: usize, faults: &EndpointFaults) {
        let body = serde_json::to_string(faults).unwrap();
        self.control(endpoint, "PUT", "/devnet/faults/endpoint", &body).await;
    }

    /// What must hold whenever all is read and nothing is on its way: no nano is lost, none is there twice.
    pub(crate) async fn assert_closes(&self, settler: &Settler) {
        let (treasury, sums) = (settler.treasury(), settler.treasury().sums());
        assert_eq!(treasury.on_its_way(), None);
        assert_eq!(treasury.balance(), i128::from(self.balance_of(&Self::treasury()).await), "the wallet");
        let came = sums.credited
            + sums.float
            + sums.unclaimed
            + sums.from_operators
            + sums.redeemed
            + sums.from_channels;
        let went = sums.to_operators + sums.withdrawn + sums.to_channels + sums.fees;
        let changed = sums.unexplained + sums.explained;
        let comes_to = i128::try_from(came).unwrap() - i128::try_from(went).unwrap() + changed;
        assert_eq!(treasury.balance(), comes_to, "{sums:?}");
        let ledger = settler.books().sums().await.unwrap();
        assert_eq!((ledger.deposits, ledger.withdrawn), (sums.credited, sums.withdrawn), "ledger and log");
        let gone = ledger.balances + ledger.withdrawing + ledger.charges + ledger.withdrawn;
        assert_eq!(ledger.deposits + ledger.vouchers + ledger.grants, gone, "the ledger");
        let sent: u128 = treasury.operators().map(|(_, paid)| paid.sent).sum();
        assert_eq!(sent, sums.to_operators - sums.from_operators, "the operators");
        let supply = &self.control(0, "GET", "/devnet", "").await["supply"];
        let of = |name: &str| supply[name].as_str().unwrap().parse::<u128>().unwrap();
        assert_eq!(of("minted"), of("balances") + of("on_the_way") + of("fees") + of("burned"), "the chain");
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

/// Whether there is time for more than what every run does.
pub(crate) fn full() -> bool {
    std::env::var_os("COCOON_TEST_FULL").is_some()
}
