//! A chain, a stand-in for a gateway, and the state folder of a sidecar.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cocoon_connect::channel::desk::Desk;
use cocoon_connect::channel::file::Channel;
use cocoon_connect::channel::wallet::OwnWallet;
use cocoon_connect::gateway::Gateway;
use cocoon_connect::state::StateDir;
use cocoon_devnet::{
    Chain as Devnet, Clock, Endpoint as DevnetEndpoint, Fees, Network as DevnetNetwork, SharedChain,
};
use cocoon_ton::chain::{Chain, Endpoint, EndpointConfig, EndpointUrl, Failover};
use cocoon_ton::{
    Address, ArcCell, ChannelMessage, ChannelStorage, Direction, GlobalId, Network, Phase, Transaction, boc,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::models::{CurrencyCollection, IntMsgInfo, MessageLayout, MsgInfo, OwnedMessage, StdAddr};

use crate::mortal::{Fate, MortalChain};
use crate::stand_in::StandIn;

pub(crate) const TON: u64 = 1_000_000_000;
const BEGIN: u32 = 1_790_000_000;

pub(crate) struct World {
    pub(crate) devnet: SharedChain,
    pub(crate) chain: Arc<dyn Chain>,
    pub(crate) gateway: Arc<StandIn>,
    url: String,
    dir: tempfile::TempDir,
    _servers: JoinSet<()>,
}

fn std_address(address: &Address) -> StdAddr {
    StdAddr::new(address.workchain().number(), HashBytes(*address.hash()))
}

/// Puts a message between two accounts on its way.
pub(crate) fn put(devnet: &SharedChain, from: Address, to: Address, nano: u64, body: &ArcCell) {
    let body: Cell = Boc::decode(boc::encode(body).unwrap()).unwrap();
    let message = CellBuilder::build_from(OwnedMessage {
        info: MsgInfo::Int(IntMsgInfo {
            bounce: true,
            src: std_address(&from).into(),
            dst: std_address(&to).into(),
            value: CurrencyCollection::new(nano.into()),
            created_at: BEGIN,
            created_lt: 1,
            ..IntMsgInfo::default()
        }),
        init: None,
        body: body.into(),
        layout: Some(MessageLayout { init_to_cell: true, body_to_cell: true }),
    });
    devnet.lock().unwrap().send_internal(message.unwrap()).unwrap();
}

async fn listen(servers: &mut JoinSet<()>, router: axum::Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    servers.spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

impl World {
    /// With so many nanoTON sent to the sidecar's wallet.
    pub(crate) async fn with(nano: u64) -> Self {
        Self::under(Fees::Current, nano).await
    }

    pub(crate) async fn under(fees: Fees, nano: u64) -> Self {
        let network = DevnetNetwork::new(fees, -3).unwrap();
        let devnet: SharedChain =
            Arc::new(Mutex::new(Devnet::in_memory(network, Clock::Standing { at: BEGIN })));
        devnet.lock().unwrap().produce().unwrap();
        let mut servers = JoinSet::new();
        let url = listen(&mut servers, DevnetEndpoint::new(Arc::clone(&devnet)).router()).await;
        let endpoint = Endpoint::new(EndpointConfig {
            url: EndpointUrl::parse(&url).unwrap(),
            api_key: None,
            operator: "devnet".into(),
            network: Network::test(GlobalId::TESTNET).unwrap(),
            timeout: Duration::from_secs(60),
        });
        let chain: Arc<dyn Chain> = Arc::new(Failover::new(vec![endpoint.unwrap()]).unwrap());
        let gateway = StandIn::new(Arc::clone(&devnet), Arc::clone(&chain));
        let url = listen(&mut servers, gateway.router()).await;
        let dir = tempfile::tempdir().unwrap();
        let world = Self { devnet, chain, gateway, url, dir, _servers: servers };
        if nano > 0 {
            world.give(nano);
        }
        world
    }

    pub(crate) fn state(&self) -> StateDir {
        StateDir::open(&self.dir.path().join("state")).unwrap()
    }

    pub(crate) fn own(&self) -> OwnWallet {
        OwnWallet::load_or_create(&self.state(), GlobalId::TESTNET).unwrap()
    }

    pub(crate) fn wallet(&self) -> Address {
        self.own().wallet.address()
    }

    pub(crate) fn give(&self, nano: u64) {
        let mut devnet = self.devnet.lock().unwrap();
        devnet.give(&std_address(&self.wallet()), nano).unwrap();
        devnet.produce_until_idle(10).unwrap();
    }

    /// Where a command works that meets this fate.
    pub(crate) fn desk(&self, fate: &Arc<Fate>) -> Desk {
        let chain = MortalChain {
            devnet: Arc::clone(&self.devnet),
            chain: Arc::clone(&self.chain),
            fate: Arc::clone(fate),
        };
        Desk {
            chain: Arc::new(chain),
            network: Network::test(GlobalId::TESTNET).unwrap(),
            gateway: Gateway::new(self.url.parse().unwrap(), Duration::from_secs(60)).unwrap(),
            state: self.state(),
            own: self.own(),
            poll: Duration::from_millis(1),
            patience: Duration::from_secs(60),
        }
    }

    /// One that is not ended.
    pub(crate) fn free(&self) -> Desk {
        self.desk(&Fate::kind())
    }

    /// What is on its way arrives, and so much time passes.
    pub(crate) fn pass(&self, seconds: u32) {
        let mut devnet = self.devnet.lock().unwrap();
        devnet.produce_until_idle(100).unwrap();
        let clock = devnet.clock().advanced(seconds).unwrap();
        devnet.set_clock(clock).unwrap();
        devnet.produce().unwrap();
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::load(&self.state()).unwrap().unwrap()
    }

    pub(crate) async fn storage(&self, channel: &Channel) -> ChannelStorage {
        self.free().storage(channel).await.unwrap().unwrap()
    }

    pub(crate) async fn phase(&self) -> Phase {
        self.storage(&self.channel()).await.state.phase
    }

    pub(crate) async fn balance(&self, address: &Address) -> u64 {
        self.chain.account(address).await.unwrap().balance.0
    }

    /// All transactions of an account, the newest first.
    pub(crate) async fn history(&self, address: &Address) -> Vec<Transaction> {
        let mut next = self.chain.account(address).await.unwrap().last_transaction;
        let mut all = Vec::new();
        while let Some(from) = next {
            let page = self.chain.transactions(address, Some(from), 100).await.unwrap();
            next = page.last().unwrap().previous;
            all.extend(page);
        }
        all
    }

    /// What the wallet has sent by its own will: to whom, nanoTON, and what a channel was told.
    pub(crate) async fn sent(&self) -> Vec<(Address, u64, Option<ChannelMessage>)> {
        self.devnet.lock().unwrap().produce_until_idle(100).unwrap();
        let history = self.history(&self.wallet()).await;
        let messages = history.iter().rev().flat_map(|transaction| &transaction.out_messages);
        messages
            .map(|message| {
                let Direction::Internal(sent) = &message.direction else { panic!("an event") };
                let told = ChannelMessage::parse(&message.body).ok().map(|(told, _)| told);
                (sent.to, sent.value.0, told)
            })
            .collect()
    }

    /// How many deposits the wallet has sent, and how many a channel has taken.
    pub(crate) async fn deposits(&self, channel: &Channel) -> (usize, usize) {
        let is_deposit = |told: &Option<ChannelMessage>| matches!(told, Some(ChannelMessage::Deposit));
        let sent = self.sent().await.iter().filter(|(_, _, told)| is_deposit(told)).count();
        let history = self.history(&channel.address()).await;
        let took = history.iter().filter(|transaction| {
            let body = &transaction.in_message.as_ref().unwrap().body;
            let told = ChannelMessage::parse(body).ok().map(|(told, _)| told);
            !transaction.aborted && is_deposit(&told)
        });
        (sent, took.count())
    }
}
