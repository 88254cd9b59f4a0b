use cocoon_ton::{Epochs, RegistryRoles, Workchain};
use proptest::prelude::*;

use super::*;
use crate::epochs::{FIRST, tree};

fn address(byte: u8) -> Address {
    Address::new(Workchain::Basechain, [byte; 32])
}

/// Epochs with 1, 2, 3 and so on receipts after the first, which has none.
struct Published {
    commitments: Vec<Commitment>,
    receipts: Vec<Vec<Digest>>,
}

impl Published {
    fn new(last: u32) -> Self {
        let (mut commitments, mut receipts) = (vec![Commitment::first()], vec![Vec::new()]);
        for epoch in FIRST + 1..=last {
            let some: Vec<Digest> =
                (1..epoch).map(|number| Digest::of(&[&epoch.to_be_bytes(), &number.to_be_bytes()])).collect();
            let (count, tree) = (some.len() as u64, tree::root(&some));
            let cuts = Digest::of(&[&epoch.to_le_bytes()]);
            commitments.push(Commitment { epoch, count, cuts, tree });
            receipts.push(some);
        }
        Self { commitments, receipts }
    }

    fn roots(&self) -> Vec<Digest> {
        self.commitments.iter().map(Commitment::root).collect()
    }

    fn storage(&self, last: u32) -> RegistryStorage {
        let roles = RegistryRoles { owner: address(1), publisher: address(2) };
        let peaks = mountains::peaks(&self.roots(), last).unwrap();
        RegistryStorage { epochs: Epochs { last, peaks }, ..RegistryStorage::new(roles) }
    }

    fn proof(&self, epoch: u32, position: usize, last: u32) -> Proof {
        let index = epoch as usize - 1;
        let (commitment, receipts) = (&self.commitments[index], &self.receipts[index]);
        Proof::new(PLACE, commitment, receipts, position, &self.roots(), last).unwrap()
    }
}

const REGISTRY: Address = Address::new(Workchain::Basechain, [9; 32]);
const PLACE: (&Address, GlobalId) = (&REGISTRY, GlobalId::TESTNET);

fn check(proof: &Proof, storage: &RegistryStorage) -> Result<(), BadProof> {
    proof.verify(&proof.receipt, PLACE, storage)
}

#[test]
fn every_receipt_of_every_epoch_is_proved_and_reads_back() {
    const LAST: u32 = 11;
    let published = Published::new(LAST);
    for last in 2..=LAST {
        let storage = published.storage(last);
        for epoch in 2..=last {
            for position in 0..published.receipts[epoch as usize - 1].len() {
                let proof = published.proof(epoch, position, last);
                assert_eq!(check(&proof, &storage), Ok(()), "{position} in {epoch} of {last}");
                let text = serde_json::to_string_pretty(&proof).unwrap();
                assert_eq!(Proof::parse(&text), Ok(proof));
            }
        }
    }
}

#[test]
fn each_way_to_be_bad_has_its_name() {
    let published = Published::new(7);
    let storage = published.storage(7);
    let good = published.proof(6, 3, 7);
    let with = |change: fn(&mut Proof)| {
        let mut proof = good.clone();
        change(&mut proof);
        check(&proof, &storage).unwrap_err()
    };
    assert_eq!(check(&good, &storage), Ok(()));
    let other = Digest([3; 32]);
    assert_eq!(good.verify(&other, PLACE, &storage), Err(BadProof::OtherReceipt(good.receipt)));
    let mainnet = (&REGISTRY, GlobalId::MAINNET);
    let error = BadProof::OtherNetwork { proof: -3, chain: -239 };
    assert_eq!(good.verify(&good.receipt, mainnet, &storage), Err(error));
    let another = (&address(8), GlobalId::TESTNET);
    let error = BadProof::OtherRegistry(REGISTRY.to_string());
    assert_eq!(good.verify(&good.receipt, another, &storage), Err(error));

    assert_eq!(with(|proof| proof.position = 5), BadProof::Position { position: 5, count: 5 });
    assert_eq!(with(|proof| proof.count = 0), BadProof::Position { position: 3, count: 0 });
    assert_eq!(with(|proof| proof.siblings.truncate(2)), BadProof::Siblings);
    assert_eq!(with(|proof| proof.siblings = vec![proof.cuts; 65]), BadProof::Siblings);
    assert_eq!(with(|proof| proof.epoch = 8), BadProof::NoSuchEpoch { epoch: 8, last: 7 });
    assert_eq!(with(|proof| proof.epoch = 0), BadProof::NoSuchEpoch { epoch: 0, last: 7 });
    assert_eq!(with(|proof| proof.mountain.clear()), BadProof::Mountain);
    assert_eq!(with(|proof| proof.mountain.push(proof.cuts)), BadProof::Mountain);
    // In another mountain, which is higher.
    assert_eq!(with(|proof| proof.epoch = 4), BadProof::Mountain);
    assert_eq!(with(|proof| proof.epoch = 5), BadProof::Wrong);
    assert_eq!(with(|proof| proof.position = 2), BadProof::Wrong);
    assert_eq!(with(|proof| proof.cuts = proof.receipt), BadProof::Wrong);
    assert_eq!(with(|proof| proof.siblings[0].0[0] ^= 1), BadProof::Wrong);
    assert_eq!(with(|proof| proof.mountain[0].0[31] ^= 0x80), BadProof::Wrong);
    // As many siblings would do for one receipt less.
    assert_eq!(with(|proof| proof.count = 6), BadProof::Wrong);
}

#[test]
fn one_that_has_grown_old_is_told_so_and_one_that_still_holds_does() {
    let published = Published::new(8);
    let proof = published.proof(6, 0, 6);
    assert_eq!(check(&proof, &published.storage(6)), Ok(()));
    // Epoch 7 is a mountain of its own, and with epoch 8 all are one.
    assert_eq!(check(&proof, &published.storage(7)), Ok(()));
    assert_eq!(check(&proof, &published.storage(8)), Err(BadProof::Old { made_at: 6, last: 8 }));
    // An endpoint that is behind.
    let newer = published.proof(6, 0, 8);
    assert_eq!(check(&newer, &published.storage(7)), Err(BadProof::Mountain));
    assert_eq!(
        check(&published.proof(8, 0, 8), &published.storage(7)).unwrap_err().to_string(),
        "it is about epoch 8, and the registry has 7"
    );
}

#[test]
fn what_is_no_proof_is_refused() {
    let text = serde_json::to_string(&Published::new(3).proof(3, 1, 3)).unwrap();
    assert!(Proof::parse(&text).is_ok());
    let longer = format!("{text}{}", " ".repeat(MAX_PROOF_BYTES));
    assert_eq!(Proof::parse(&longer), Err(BadProof::TooLong));
    let other = text.replace(FORMAT, "cocoon-epoch-proof/2");
    assert_eq!(Proof::parse(&other), Err(BadProof::Format("cocoon-epoch-proof/2".to_owned())));
    for (from, to) in [("\"epoch\":3", "\"epoch\":-1"), ("\"last\":3", "\"last\":3,\"more\":1"), ("}", "")] {
        let broken = Proof::parse(&text.replace(from, to));
        assert!(matches!(broken, Err(BadProof::Syntax(_))), "{to}: {broken:?}");
    }
}

proptest! {
    /// Whatever of it is another, it does not hold.
    #[test]
    fn any_changed_bit_fails(
        last in 3_u32..40, which: prop::sample::Index, at: prop::sample::Index, place: prop::sample::Index,
        bit in 0_u8..=255,
    ) {
        let published = Published::new(last);
        let epoch = 2 + u32::try_from(at.index(last as usize - 1)).unwrap();
        let position = place.index(epoch as usize - 1);
        let good = published.proof(epoch, position, last);
        let storage = published.storage(last);
        let mut proof = good.clone();
        let flip = |digest: &mut Digest| digest.0[usize::from(bit / 8)] ^= 1 << (bit % 8);
        let mut digests: Vec<&mut Digest> = vec![&mut proof.receipt, &mut proof.cuts];
        digests.extend(proof.siblings.iter_mut().chain(&mut proof.mountain));
        let index = which.index(digests.len());
        flip(digests[index]);
        prop_assert!(check(&proof, &storage).is_err(), "digest {}", index);
        for number in 0..3 {
            let mut proof = good.clone();
            match number {
                0 => proof.epoch ^= 1 << (bit % 32),
                1 => proof.count ^= 1 << (bit % 64),
                _ => proof.position ^= 1 << (bit % 64),
            }
            prop_assert!(check(&proof, &storage).is_err(), "number {}", number);
        }
    }
}
