//! What comes in.

use cocoon_receipts::NanoTon;

use crate::world::{TON, World};

#[tokio::test]
async fn a_transfer_with_an_accounts_comment_is_credited_once() {
    let world = World::open().await;
    let mut settler = world.settler();
    world.deposit("acme", 5 * TON);
    world.run(&mut settler).await;
    assert_eq!(world.user("acme").await.deposited, NanoTon(5 * TON));
    // Another one reads the same chain and the same log.
    world.run(&mut world.settler()).await;
    assert_eq!(world.user("acme").await.deposited, NanoTon(5 * TON));
}
