use std::net::TcpListener;

use futures_util::FutureExt as _;

use super::*;

/// Channels of an empty ledger, and a chain that answers nothing.
async fn with_a_silent_chain(folder: &std::path::Path, chain: &TcpListener) -> Channels {
    let config = format!(
        "network = {{ name = 'test', global_id = -3 }}\nendpoints = [{{ url = 'http://{}', operator = 'a' }}]",
        chain.local_addr().unwrap()
    );
    let ledger = format!("sqlite:{}", folder.join("ledger.db").display());
    let ledger = cocoon_ledger::open(&ledger, cocoon_ledger::Options::default()).await.unwrap();
    let treasury = Address::new(Workchain::Basechain, [1; 32]).show(false, true);
    Channels::new(toml::from_str(&config).unwrap(), &treasury, "issuer", ledger).unwrap()
}

#[tokio::test]
async fn so_many_callers_without_a_key_are_served_at_once_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let chain = TcpListener::bind("127.0.0.1:0").unwrap();
    let channels = with_a_silent_chain(folder.path(), &chain).await;
    let channel = Address::new(Workchain::Basechain, [7; 32]);
    let mut running = Vec::new();
    for _ in 0..MAX_LOOKS {
        let mut open = Box::pin(channels.open(&channel));
        assert!((&mut open).now_or_never().is_none(), "it waits for the ledger");
        running.push(open);
    }
    // It is refused before the ledger or the chain is asked anything.
    let Some(Err(refused)) = channels.open(&channel).now_or_never() else {
        panic!("one more has to wait, or was let in");
    };
    assert_eq!((refused.api.status, refused.api.body.error.code.as_deref()), (503, Some("overloaded")));
    // Who goes away leaves a place.
    running.pop();
    assert!(channels.open(&channel).now_or_never().is_none(), "there is a place again");
}
