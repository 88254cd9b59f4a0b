//! What goes out.

use cocoon_settler::Step;

use crate::world::{TON, World, address, operator};

#[tokio::test]
async fn an_operator_is_paid_what_it_has_earned_and_no_more() {
    let world = World::open().await;
    world.deposit("acme", 5 * TON);
    let mut settler = world.settler();
    world.run(&mut settler).await;
    world.earn("acme", &operator(7), 2 * TON).await;
    world.run(&mut settler).await;
    assert_eq!(world.payouts_to(&address(7)).await, [(1, 2 * TON)]);
    let steps = world.run(&mut settler).await;
    assert!(matches!(steps.as_slice(), [Step::Idle(_)]), "{steps:?}");
}
