//! Epochs on a real ledger and a real registry.

use std::time::Duration;

use cocoon_ledger::{Archive, Archiving, Pace, archive_shard};
use cocoon_receipts::Digest;
use cocoon_settler::Step;
use cocoon_settler::decision::{Decision, Opened, Payee};
use cocoon_settler::epochs::{BadProof, EpochError, EpochStep, Held, Publishing, prove};
use cocoon_ton::RegistryMessage;
use cocoon_ton::chain::RegistryError;

use crate::epoch_world::{EVERY, EpochWorld, NETWORK, SETTLED, owner, publisher};
use crate::world::{TON, World, address, operator};

fn digest(receipt: &str) -> Digest {
    Digest::of(&[receipt.as_bytes()])
}

#[tokio::test]
async fn every_receipt_is_in_one_epoch_and_proved_by_the_chain() {
    let world = EpochWorld::open().await;
    let mut epochs = world.epochs();
    let mut receipts = Vec::new();
    for (round, count) in [1, 2, 3, 5, 8, 4].into_iter().enumerate() {
        receipts.extend(world.receipts(count).await);
        world.world.pass(SETTLED).await;
        let steps = world.run(&mut epochs).await;
        let epoch = u32::try_from(round).unwrap() + 2;
        assert_eq!(steps.first(), Some(&EpochStep::Decided { epoch, receipts: count as u64 }));
        assert_eq!(steps.last(), Some(&EpochStep::Published(Publishing::Complete { last: epoch })));
        world.world.pass(EVERY).await;
    }
    assert_eq!(world.assert_all_is_published(&receipts).await, 0, "nothing was sent twice");
    // Every one of them again, by another who has nothing but the log, the journals and the chain.
    std::fs::remove_dir_all(world.folder()).unwrap();
    std::fs::create_dir(world.folder()).unwrap();
    world.assert_all_is_published(&receipts).await;
    // Of six epochs' roots, each cost less than a hundredth of a TON.
    assert!(world.publishers_balance().await.0 > 3 * TON - TON / 10);
}

#[tokio::test]
async fn an_epoch_waits_for_its_time_and_for_receipts() {
    let world = EpochWorld::open().await;
    let mut epochs = world.epochs();
    let complete = |last| EpochStep::Published(Publishing::Complete { last });
    assert_eq!(world.run(&mut epochs).await, [complete(1)]);
    let first = world.receipts(2).await;
    // They may still be lost by the store.
    world.world.pass(SETTLED - 2).await;
    assert_eq!(world.run(&mut epochs).await, [EpochStep::Idle]);
    assert_eq!(world.run(&mut world.epochs()).await, [complete(1)], "one that looks for the first time");
    world.world.pass(60).await;
    assert!(world.run(&mut epochs).await.contains(&EpochStep::Decided { epoch: 2, receipts: 2 }));
    let later = world.receipts(1).await;
    world.world.pass(EVERY - 120).await;
    assert_eq!(world.run(&mut epochs).await, [complete(2)]);
    world.world.pass(200).await;
    assert!(world.run(&mut epochs).await.contains(&EpochStep::Decided { epoch: 3, receipts: 1 }));
    // Deposits alone make no epoch, however long it is.
    world.world.deposit("acme", TON);
    world.world.run(&mut world.world.settler()).await;
    world.world.pass(3 * EVERY).await;
    assert_eq!(world.run(&mut epochs).await, [complete(3)]);
    world.assert_all_is_published(&[first, later].concat()).await;
}

#[tokio::test]
async fn more_receipts_than_an_epoch_takes_make_several_at_once() {
    let world = EpochWorld::open().await;
    let mut epochs = world.epochs().with_most(3);
    let receipts = world.receipts(10).await;
    world.world.pass(SETTLED).await;
    world.run(&mut epochs).await;
    world.world.pass(1).await;
    for _ in 0..5 {
        world.world.pass(61).await;
        world.run(&mut epochs).await;
    }
    let counts: Vec<u64> = epochs.log().sealed().iter().map(|sealed| sealed.commitment.count).collect();
    assert_eq!(counts, [3, 3, 3, 1]);
    assert_eq!(world.assert_all_is_published(&receipts).await, 0);
}

#[tokio::test]
async fn whoever_has_no_money_is_told_and_everybody_is_paid_all_the_same() {
    let world = EpochWorld::begin().await;
    let mut epochs = world.epochs();
    let held = |steps: &[EpochStep]| match steps.last() {
        Some(EpochStep::Published(Publishing::Held(held))) => held.clone(),
        other => panic!("{other:?}"),
    };
    let receipts = world.receipts(3).await;
    world.world.earn("acme", &operator(1), 2 * TON).await;
    world.world.pass(SETTLED).await;
    assert_eq!(held(&world.run(&mut epochs).await), Held::NotDeployed(world.registry));
    let (_, deployed) = epochs.publisher_mut().deploy(owner(), world.world.now()).await.unwrap();
    assert!(matches!(deployed, Publishing::Held(Held::Short { .. })), "{deployed:?}");
    // As much as that asks for, and no more.
    let Publishing::Held(Held::Short { needs, .. }) = deployed else { unreachable!() };
    world.give_publisher(needs.0);
    epochs.publisher_mut().deploy(owner(), world.world.now()).await.unwrap();
    world.world.settle_chain();
    assert_eq!(world.on_chain().await.unwrap().epochs.last, 1);
    // Most of it came back.
    assert!(matches!(
        world.run(&mut epochs).await.last(),
        Some(EpochStep::Published(Publishing::Complete { last: 2 }))
    ));
    // What is left does for some epochs, and then it is said again; what was decided meanwhile is published with more.
    let (mut all, mut short) = (receipts.len() + 1, false);
    for _ in 0..200 {
        all += world.receipts(1).await.len();
        world.world.pass(EVERY).await;
        short = matches!(
            world.run(&mut epochs).await.last(),
            Some(EpochStep::Published(Publishing::Held(Held::Short { .. })))
        );
        if short {
            break;
        }
    }
    assert!(short, "the money never ends");
    world.receipts(2).await;
    world.world.pass(EVERY).await;
    world.run(&mut epochs).await;
    let mut settler = world.world.settler();
    let steps = world.world.run(&mut settler).await;
    assert!(steps.iter().any(|step| matches!(step, Step::Began { .. })), "nobody was paid: {steps:?}");
    assert!(world.world.payouts_to(&address(1)).await.iter().map(|(_, nano)| nano).sum::<u64>() == 2 * TON);
    world.give_publisher(TON);
    world.world.pass(120).await;
    let steps = world.run(&mut epochs).await;
    let last = epochs.log().last();
    assert_eq!(steps.last(), Some(&EpochStep::Published(Publishing::Complete { last })));
    let counted: u64 = epochs.log().sealed().iter().map(|sealed| sealed.commitment.count).sum();
    assert_eq!(counted, all as u64 + 2);
}

#[tokio::test]
async fn a_registry_in_which_somebody_else_published_is_refused() {
    let world = EpochWorld::open().await;
    let mut epochs = world.epochs();
    world.tell_registry(publisher(), RegistryMessage::AppendRoot { epoch: 2, root: [7; 32] });
    let ahead = epochs.step(world.world.now(), true).await.unwrap_err();
    assert!(matches!(ahead, EpochError::Ahead { last: 2, known: 1, .. }), "{ahead}");
    // The next epoch of ours would have that number.
    let receipts = world.receipts(1).await;
    world.world.pass(SETTLED + 60).await;
    let decided = epochs.step(world.world.now(), true).await.unwrap();
    assert_eq!(decided, EpochStep::Decided { epoch: 2, receipts: 1 });
    for epochs in [&mut epochs, &mut world.epochs()] {
        let other = epochs.step(world.world.now(), true).await.unwrap_err();
        assert!(matches!(other, EpochError::OtherRoots { last: 2, .. }), "{other}");
    }
    let other = prove(&mut epochs, NETWORK, &digest(&receipts[0]), None).await.unwrap_err();
    assert!(matches!(other, EpochError::OtherRoots { .. }), "{other}");
    assert_eq!(world.taken().await.0.len(), 2, "something was published there");
    // Payouts go on.
    world.world.run(&mut world.world.settler()).await;
}

#[tokio::test]
async fn a_publisher_that_was_replaced_is_told_so() {
    let world = EpochWorld::open().await;
    let mut epochs = world.epochs();
    let held = Held::OtherPublisher { publisher: address(9), ours: publisher() };
    world.tell_registry(owner(), RegistryMessage::SetPublisher { publisher: address(9) });
    let receipts = world.receipts(2).await;
    world.world.pass(SETTLED).await;
    let steps = world.run(&mut epochs).await;
    assert_eq!(steps.last(), Some(&EpochStep::Published(Publishing::Held(held))));
    world.tell_registry(owner(), RegistryMessage::SetPublisher { publisher: publisher() });
    world.run(&mut epochs).await;
    world.assert_all_is_published(&receipts).await;
}

#[tokio::test]
async fn what_is_no_registry_is_refused() {
    let mut world = EpochWorld::open().await;
    world.registry = World::treasury();
    let error = world.epochs().step(world.world.now(), true).await.unwrap_err();
    assert!(matches!(error, EpochError::Registry(RegistryError::NotARegistry { .. })), "{error}");
}

#[tokio::test]
async fn a_log_of_another_wallet_is_not_gone_on_with() {
    let world = EpochWorld::begin().await;
    let other = World::new().await;
    let opened = Decision::Opened(Opened { wallet: Payee(address(5)), global_id: NETWORK.0 });
    other.books().append(0, serde_json::to_string(&opened).unwrap()).await.unwrap();
    let mut epochs = world.epochs_of(other.books(), world.journals(), world.world.chain());
    let error = epochs.step(world.world.now(), true).await.unwrap_err();
    assert!(matches!(error, EpochError::OtherWallet { .. }), "{error}");
    // And nothing is decided before there is one.
    let empty = World::new().await;
    let mut epochs = world.epochs_of(empty.books(), world.journals(), world.world.chain());
    assert_eq!(epochs.step(world.world.now(), true).await.unwrap(), EpochStep::NoLog);
    assert_eq!(empty.log().await.len(), 0);
}

#[tokio::test]
async fn a_journal_that_has_lost_what_is_in_an_epoch_is_named() {
    let world = EpochWorld::open().await;
    world.receipts(4).await;
    world.world.pass(SETTLED).await;
    world.run(&mut world.epochs()).await;
    // As if the store had begun anew beside the log.
    let other = EpochWorld::begin().await;
    let mut epochs = world.epochs_of(world.world.books(), other.journals(), world.world.chain());
    let error = epochs.step(world.world.now() + EVERY, true).await.unwrap_err();
    assert!(matches!(error, EpochError::Lost(_)), "{error}");
}

/// Carries all of the journals into an archive, and drops what may go.
async fn archive(world: &World, folder: &std::path::Path) -> u64 {
    let archive = Archive::open(folder).unwrap();
    let how = Archiving { keep: Duration::ZERO, segment: 1000, pace: Pace::FULL };
    let mut trimmed = 0;
    for shard in world.ledger.shards().all() {
        let archived = archive_shard(world.ledger.as_ref(), &archive, shard, how).await.unwrap();
        assert!(archived.report.is_clean(), "{:?}", archived.report);
        trimmed += archived.trimmed;
    }
    trimmed
}

#[tokio::test]
async fn a_journal_is_kept_until_it_is_in_an_epoch_with_a_file() {
    let (world, archived) = (EpochWorld::open().await, tempfile::tempdir().unwrap());
    let mut epochs = world.epochs();
    // From the first step on.
    world.run(&mut epochs).await;
    let receipts = world.receipts(9).await;
    world.world.pass(61).await;
    assert_eq!(archive(&world.world, archived.path()).await, 0);
    world.run(&mut epochs).await;
    // And now it may go: the cursor moves at the step after the file was written.
    world.world.pass(EVERY).await;
    assert!(archive(&world.world, archived.path()).await > 0);
    world.assert_all_is_published(&receipts).await;
    let more = world.receipts(8).await;
    world.world.pass(61).await;
    world.run(&mut epochs).await;
    world.assert_all_is_published(&[receipts.clone(), more].concat()).await;

    std::fs::remove_file(world.file(2)).unwrap();
    let mut without = world.epochs();
    let gone = without.step(world.world.now(), true).await.unwrap_err();
    assert!(matches!(gone, EpochError::Gone(2)), "{gone}");
    let gone = prove(&mut without, NETWORK, &digest(&receipts[0]), None).await.unwrap_err();
    assert!(matches!(gone, EpochError::Gone(2)), "{gone}");
}

#[tokio::test]
async fn a_receipt_that_is_in_no_epoch_or_in_none_that_is_published_is_told_so() {
    let world = EpochWorld::open().await;
    let mut epochs = world.epochs();
    let receipts = world.receipts(1).await;
    let nowhere = prove(&mut epochs, NETWORK, &digest(&receipts[0]), None).await.unwrap_err();
    assert!(matches!(nowhere, EpochError::InNoEpoch(_)), "{nowhere}");
    world.world.pass(SETTLED).await;
    assert!(matches!(epochs.step(world.world.now(), true).await.unwrap(), EpochStep::Decided { .. }));
    let not_yet = prove(&mut epochs, NETWORK, &digest(&receipts[0]), None).await.unwrap_err();
    assert!(matches!(not_yet, EpochError::NotPublished { epoch: 2, last: 1 }), "{not_yet}");
    world.run(&mut epochs).await;
    // Signed after the epoch was decided, if its clock were right: it is found all the same.
    let late = Some(world.world.now() + 10_000);
    let proof = prove(&mut epochs, NETWORK, &digest(&receipts[0]), late).await.unwrap().unwrap();
    let storage = world.on_chain().await.unwrap();
    let other = proof.verify(&digest("another"), (&world.registry, NETWORK), &storage);
    assert!(matches!(other, Err(BadProof::OtherReceipt(_))), "{other:?}");
}
