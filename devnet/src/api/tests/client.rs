//! The chain as our own client of it sees it.

use std::time::Duration;

use cocoon_receipts::NanoTon;
use cocoon_ton::chain::{
    ApiKey, Chain as _, ChainError, Endpoint as Client, EndpointConfig, EndpointUrl, Failover, Status,
};
use cocoon_ton::{
    CellHash, ChannelMessage, ChannelState, ChannelStorage, ChannelTerms, Deposit, Epochs, GlobalId, Network,
    Observed, Phase, RegistryMessage, RegistryRoles, StackValue, Voucher, WalletState, accept,
    amount_from_stack, bounced_payout, deposit, paid_batch,
};
use serde_json::json;

use super::*;

fn zerostate(chain: &SharedChain) -> CellHash {
    CellHash(lock(chain).network().zerostate().0)
}

fn client_of(url: &str, operator: &str, network: Network) -> Client {
    Client::new(EndpointConfig {
        url: EndpointUrl::parse(url).unwrap(),
        api_key: Some(ApiKey::new("any".to_owned())),
        operator: operator.to_owned(),
        network,
        timeout: Duration::from_secs(60),
    })
    .unwrap()
}

/// A chain that listens, and a client that knows it by its zerostate.
async fn served() -> (SharedChain, Client) {
    let chain = shared();
    let url = listening(&chain).await;
    let network = Network::Test { global_id: GlobalId::TESTNET, zerostate: Some(zerostate(&chain)) };
    (chain, client_of(&url, "a", network))
}

fn settle(chain: &SharedChain) {
    lock(chain).produce_until_idle(20).unwrap();
}

#[tokio::test]
async fn the_network_is_known_by_its_number_and_its_first_block() {
    let (chain, client) = served().await;
    lock(&chain).produce().unwrap();
    let head = client.head().await.unwrap();
    assert_eq!((head.seqno, head.zerostate), (1, zerostate(&chain)));
    assert_eq!(client.global_id().await.unwrap(), GlobalId::TESTNET);
    let url = listening(&chain).await;
    let own = zerostate(&chain);
    for network in [
        Network::Mainnet,
        Network::Test { global_id: GlobalId(-4), zerostate: Some(own) },
        Network::Test { global_id: GlobalId::TESTNET, zerostate: Some(CellHash([1; 32])) },
    ] {
        let other = client_of(&url, "a", network);
        assert!(matches!(other.head().await, Err(ChainError::OtherNetwork { .. })), "{network:?}");
    }
}

#[tokio::test]
async fn a_batch_deploys_the_wallet_and_what_it_paid_is_judged_from_the_chain() {
    let (chain, client) = served().await;
    let purse = Purse::new(1);
    let address = purse.wallet.address();
    lock(&chain).give(&purse.address(), 100 * TON).unwrap();
    settle(&chain);
    let before = client.account(&address).await.unwrap();
    assert!(matches!(before.status, Status::Uninitialized));
    assert_eq!((before.balance, before.at), (NanoTon(100 * TON), u64::from(START)));
    // The second bounces: nobody is there.
    let to = [(nobody(8), 2 * TON, false), (nobody(9), 3 * TON, true)];
    let batch = purse.batch(0, FAR, &to);
    client.send_boc(&batch.boc).await.unwrap();
    settle(&chain);
    let account = client.account(&address).await.unwrap();
    let Status::Active { data, .. } = account.status else { panic!("not deployed") };
    assert_eq!(WalletState::parse(&data).unwrap().seqno, 1);
    let history = client.transactions(&address, None, 100).await.unwrap();
    assert_eq!(history.len(), 3);
    assert_eq!(account.last_transaction, Some(history[0].id));
    let paid = paid_batch(&batch, &address, &history[1]).unwrap();
    assert_eq!((paid.sent.len(), paid.skipped.len()), (2, 0));
    let (id, from, returned) = bounced_payout(&address, &history[0]).unwrap();
    assert_eq!((id, from), (batch.payouts[1].id, ton_address(&nobody(9))));
    assert!((NanoTon(29 * TON / 10)..NanoTon(3 * TON)).contains(&returned));
    let next = client.transactions(&address, history[1].previous, 1).await.unwrap();
    assert_eq!(next[0].id, history[2].id);
    // The same bytes again are refused, as they were executed before.
    assert!(matches!(client.send_boc(&batch.boc).await, Err(ChainError::NotAccepted(_))));
}

#[tokio::test]
async fn a_payout_that_the_wallet_cannot_pay_is_skipped_and_still_owed() {
    let (chain, client) = served().await;
    let purse = funded(&mut lock(&chain), 1);
    let batch = purse.batch(1, FAR, &[(nobody(8), TON, false), (nobody(9), 1_000 * TON, false)]);
    client.send_boc(&batch.boc).await.unwrap();
    settle(&chain);
    let address = purse.wallet.address();
    let history = client.transactions(&address, None, 1).await.unwrap();
    let paid = paid_batch(&batch, &address, &history[0]).unwrap();
    assert_eq!((paid.sent.len(), paid.skipped.len()), (1, 1));
    assert_eq!(paid.skipped[0].amount, NanoTon(1_000 * TON));
}

#[tokio::test]
async fn a_deposit_is_recognised_by_its_comment() {
    let (chain, client) = served().await;
    let purse = funded(&mut lock(&chain), 1);
    let mut builder = tycho_types::cell::CellBuilder::new();
    builder.store_u32(0).unwrap();
    builder.store_raw(b"account-7", 72).unwrap();
    let mut letter = Letter::new(&nobody(5), &purse.address(), 3 * TON);
    letter.body = builder.build().unwrap();
    lock(&chain).send_internal(letter.cell()).unwrap();
    settle(&chain);
    let address = purse.wallet.address();
    let newest = client.transactions(&address, None, 1).await.unwrap().remove(0);
    let found = deposit(&newest, &address, NanoTon(TON)).unwrap();
    let expected = Deposit {
        id: newest.id,
        now: START,
        from: ton_address(&nobody(5)),
        amount: NanoTon(3 * TON),
        comment: "account-7".to_owned(),
    };
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_channel_is_opened_and_pays_what_its_voucher_says_once() {
    let (chain, client) = served().await;
    let [payer, receiver] = [1, 2].map(|number| funded(&mut lock(&chain), number));
    let channel = Channel::between(&payer, &receiver, 1);
    let address = channel.terms.address().unwrap();
    let state = async || {
        let stack = client.run_get_method(&address, ChannelState::METHOD, &[]).await.unwrap();
        ChannelState::from_stack(&stack).unwrap()
    };
    let missing = client.run_get_method(&address, ChannelState::METHOD, &[]).await;
    assert!(matches!(missing, Err(ChainError::ExitCode(-13))), "{missing:?}");
    lock(&chain).send_internal(channel.letter(true, 5 * TON, ChannelMessage::Deposit)).unwrap();
    settle(&chain);
    let account = client.account(&address).await.unwrap();
    let Status::Active { code, data } = account.status else { panic!("not deployed") };
    let observed = Observed { address, code: &code, data: &data };
    let accepted = accept(observed, &receiver.wallet.address(), 3_600).unwrap();
    assert!(accepted.unsettled > NanoTon(4 * TON), "{accepted:?}");
    let terms = client.run_get_method(&address, ChannelTerms::METHOD, &[]).await.unwrap();
    assert_eq!(ChannelTerms::from_stack(&terms).unwrap(), channel.terms);
    // A get method with an argument.
    let op = StackValue::Number(ChannelMessage::Deposit.op().into());
    let required = client.run_get_method(&address, "required_value", &[op]).await.unwrap();
    assert!(amount_from_stack(&required).unwrap() > NanoTon::ZERO);

    let voucher = Voucher { global_id: GlobalId::TESTNET, channel: address, cumulative: NanoTon(2 * TON) };
    let signature = *voucher.sign(&payer.key).unwrap().signature();
    let (amount, cumulative) = (NanoTon(2 * TON), NanoTon(2 * TON));
    let redeem = ChannelMessage::Redeem { amount, cumulative, signature };
    let before = client.account(&receiver.wallet.address()).await.unwrap().balance;
    // Twice: the second one is refused by the contract.
    for _ in 0..2 {
        lock(&chain).send_internal(channel.letter(false, TON / 10, redeem)).unwrap();
        settle(&chain);
        let state = state().await;
        assert_eq!((state.phase, state.settled), (Phase::Open, NanoTon(2 * TON)));
    }
    let after = client.account(&receiver.wallet.address()).await.unwrap().balance;
    assert!((before.0 + 2 * TON..before.0 + 3 * TON).contains(&after.0), "{before:?} {after:?}");
    let storage = client.account(&address).await.unwrap();
    let Status::Active { data, .. } = storage.status else { panic!("gone") };
    assert_eq!(ChannelStorage::parse(&data).unwrap().state, state().await);
    // On another network the same signature is worth nothing.
    let voucher = Voucher { global_id: GlobalId::MAINNET, cumulative: NanoTon(3 * TON), ..voucher };
    let signature = *voucher.sign(&payer.key).unwrap().signature();
    let amount = NanoTon(3 * TON);
    let redeem = ChannelMessage::Redeem { amount, cumulative: amount, signature };
    lock(&chain).send_internal(channel.letter(false, TON / 10, redeem)).unwrap();
    settle(&chain);
    assert_eq!(state().await.settled, NanoTon(2 * TON));
}

#[tokio::test]
async fn a_registry_is_deployed_and_answers_all_its_get_methods() {
    let (chain, client) = served().await;
    let roles = RegistryRoles { owner: ton_address(&nobody(1)), publisher: ton_address(&nobody(2)) };
    let address = roles.address().unwrap();
    let to = std_address(address);
    for epoch in 1..=3_u32 {
        let message = RegistryMessage::AppendRoot { epoch, root: [epoch.to_le_bytes()[0]; 32] };
        let mut letter = Letter::new(&nobody(2), &to, TON);
        letter.body = cell(&message.body(1).unwrap());
        let init = cocoon_ton::RegistryStorage::new(roles).state_init().unwrap();
        letter.init = Some(cell(&init).parse().unwrap());
        lock(&chain).send_internal(letter.cell()).unwrap();
        settle(&chain);
    }
    let ask = async |method| client.run_get_method(&address, method, &[]).await.unwrap();
    assert_eq!(RegistryRoles::from_stack(&ask(RegistryRoles::METHOD).await).unwrap(), roles);
    let epochs = Epochs::from_stack(&ask(Epochs::METHOD).await).unwrap();
    assert_eq!((epochs.last, epochs.peaks.len()), (3, 2));
    cocoon_ton::Policy::from_stack(&ask(cocoon_ton::Policy::METHOD).await).unwrap();
    cocoon_ton::Published::from_stack(&ask(cocoon_ton::Published::METHOD).await).unwrap();
}

#[tokio::test]
async fn failures_of_an_endpoint_are_told_apart() {
    let (chain, _) = served().await;
    let url = listening(&chain).await;
    let client = client_of(&url, "a", Network::test(GlobalId::TESTNET).unwrap());
    client.head().await.unwrap();
    let fail = async |faults: serde_json::Value| {
        let request =
            reqwest::Client::new().put(format!("{url}/devnet/faults/endpoint")).body(faults.to_string());
        assert_eq!(request.send().await.unwrap().status(), 200);
        client.head().await.unwrap_err()
    };
    assert_eq!(fail(json!({"refuse": 1})).await, ChainError::Limited { retry_after: None });
    assert_eq!(fail(json!({"refuse": 1, "refuse_with": 503})).await, ChainError::Server(503));
    assert_eq!(fail(json!({"lose_answers": 1})).await, ChainError::Server(504));
    let refused = fail(json!({"refuse": 1, "refuse_with": 403})).await;
    assert!(matches!(refused, ChainError::Refused { status: 403, .. }), "{refused}");
    client.head().await.unwrap();
}

#[tokio::test]
async fn a_failing_endpoint_is_passed_over_for_another_one_of_the_chain() {
    let (chain, _) = served().await;
    let (failing, working) = (listening(&chain).await, listening(&chain).await);
    let network = Network::test(GlobalId::TESTNET).unwrap();
    let clients = [(&failing, "a"), (&working, "b")].map(|(url, operator)| client_of(url, operator, network));
    let failover = Failover::new(clients.into()).unwrap();
    let faults = reqwest::Client::new().put(format!("{failing}/devnet/faults/endpoint"));
    faults.body(r#"{"refuse": 100}"#).send().await.unwrap();
    let purse = funded(&mut lock(&chain), 1);
    failover.send_boc(&purse.pay(1, &nobody(9), TON)).await.unwrap();
    settle(&chain);
    let account = failover.account(&ton_address(&nobody(9))).await.unwrap();
    assert_eq!(account.balance, NanoTon(TON));
}

#[tokio::test]
async fn an_endpoint_that_is_behind_does_not_agree_with_one_that_is_not() {
    let (chain, _) = served().await;
    let purse = funded(&mut lock(&chain), 1);
    let (stale, fresh) = (listening(&chain).await, listening(&chain).await);
    let network = Network::test(GlobalId::TESTNET).unwrap();
    let clients = [(&stale, "a"), (&fresh, "b")].map(|(url, operator)| client_of(url, operator, network));
    let failover = Failover::new(clients.into()).unwrap();
    let address = purse.wallet.address();
    let last = || failover.agreed(async |client| Ok(client.account(&address).await?.last_transaction));
    last().await.unwrap();
    let faults = reqwest::Client::new().put(format!("{stale}/devnet/faults/endpoint"));
    faults.body(r#"{"stale": true}"#).send().await.unwrap();
    lock(&chain).give(&purse.address(), TON).unwrap();
    settle(&chain);
    assert_eq!(last().await, Err(cocoon_ton::chain::Disagreement::Differ));
}
