use proptest::prelude::*;
use tonlib_core::cell::CellBuilder;

use super::*;
use crate::CellHash;
use crate::writer::Writer;

/// Code of PayChannel as @ton/core's compiler wrapper wrote it: a bag that we did not write.
const FOREIGN: &str = include_str!("../../../../contracts/build/registry.json");

fn foreign() -> Vec<u8> {
    let built: serde_json::Value = serde_json::from_str(FOREIGN).unwrap();
    STANDARD.decode(built["code"].as_str().unwrap()).unwrap()
}

fn chain_of(depth: u16) -> ArcCell {
    let mut cell = Writer::new().cell().unwrap();
    for _ in 0..depth {
        cell = Writer::new().reference(&cell).cell().unwrap();
    }
    cell
}

#[test]
fn a_bag_reads_back_with_and_without_checksum() {
    let root = decode(&foreign()).unwrap();
    let written = encode(&root).unwrap();
    assert_eq!(CellHash::of(&decode(&written).unwrap()), CellHash::of(&root));
    let plain = BagOfCells::new(std::slice::from_ref(&root)).serialize(false).unwrap();
    assert_eq!(CellHash::of(&decode(&plain).unwrap()), CellHash::of(&root));
}

#[test]
fn every_changed_bit_of_a_bag_with_a_checksum_is_noticed() {
    let mut bag = encode(&decode(&foreign()).unwrap()).unwrap();
    for index in 0..bag.len() {
        bag[index] ^= 0x10;
        assert!(decode(&bag).is_err(), "byte {index}");
        bag[index] ^= 0x10;
    }
    let last = bag.len() - 1;
    bag[last] ^= 1;
    assert_eq!(decode(&bag).unwrap_err(), BocError::Checksum);
}

#[test]
fn a_bag_cut_short_or_with_more_behind_is_refused() {
    let bag = foreign();
    for length in 0..bag.len() {
        assert!(decode(&bag[..length]).is_err(), "{length}");
    }
    assert!(decode(&[&bag[..], &[0]].concat()).is_err());
}

#[test]
fn the_depth_is_bounded() {
    assert!(decode(&encode(&chain_of(MAX_BOC_DEPTH)).unwrap()).is_ok());
    assert_eq!(decode(&encode(&chain_of(MAX_BOC_DEPTH + 1)).unwrap()).unwrap_err(), BocError::TooDeep);
}

#[test]
fn length_and_number_of_cells_are_bounded() {
    assert_eq!(decode(&vec![0; MAX_BOC_BYTES + 1]).unwrap_err(), BocError::TooLong);
    assert_eq!(decode_base64(&"A".repeat(MAX_BOC_BYTES * 2)).unwrap_err(), BocError::TooLong);
    assert_eq!(decode_base64(&"!".repeat(MAX_BOC_BYTES * 2)).unwrap_err(), BocError::TooLong);
    assert_eq!(decode_base64("!").unwrap_err(), BocError::Base64);
    // A header that promises 2^32 - 1 cells, for which the parser below would set memory aside.
    let mut header = [&MAGIC[..], &[4, 1], &[0xff; 4], &[0, 0, 0, 1], &[0; 4], &[0], &[0; 4]].concat();
    assert_eq!(decode(&header).unwrap_err(), BocError::TooManyCells);
    header[6..10].copy_from_slice(&1_u32.to_be_bytes());
    assert_eq!(decode(&header).unwrap_err(), BocError::Malformed);
}

#[test]
fn a_cell_cannot_refer_to_itself_or_past_the_end() {
    // One cell with one reference.
    for target in [0, 1, 0xff] {
        let bag = [&MAGIC[..], &[1, 1, 1, 1, 0, 3, 0], &[1, 0, target]].concat();
        assert_eq!(decode(&bag).unwrap_err(), BocError::Malformed, "{target}");
    }
    // No root, or one that is not there.
    for (roots, root) in [(0, 0), (2, 0), (1, 1)] {
        let bag = [&MAGIC[..], &[1, 1, 1, roots, 0, 2, root], &[0, 0]].concat();
        assert_eq!(decode(&bag).unwrap_err(), BocError::Malformed);
    }
    assert!(decode(&[&MAGIC[..], &[1, 1, 1, 1, 0, 2, 0], &[0, 0]].concat()).is_ok());
}

/// What is refused here must not depend on what the parser below notices too.
#[test]
fn every_part_of_a_bag_is_checked_before_it_is_parsed() {
    // One empty cell. Flags and width of counts, width of lengths; cells, roots, absent, length, root.
    let bag = |head: &[u8], cells: &[u8]| check(&[&MAGIC, head, cells].concat());
    let one = [1, 1, 1, 1, 0, 2, 0];
    assert_eq!(bag(&one, &[0, 0]), Ok(()));
    let malformed = Err(BocError::Malformed);
    for (place, value) in [(0, 9), (0, 17), (3, 2), (3, 0), (4, 1), (6, 1)] {
        let mut head = one;
        head[place] = value;
        assert_eq!(bag(&head, &[0, 0]), malformed, "{place} {value}");
    }
    let counts_of_5_bytes =
        [&[5, 1][..], &[0, 0, 0, 0, 1], &[0, 0, 0, 0, 1], &[0; 5], &[2], &[0; 5]].concat();
    assert_eq!(bag(&counts_of_5_bytes, &[0, 0]), malformed);
    let length_of_9_bytes = [&[1, 9, 1, 1, 0][..], &[0, 0, 0, 0, 0, 0, 0, 0, 2], &[0]].concat();
    assert_eq!(bag(&length_of_9_bytes, &[0, 0]), malformed);
    assert_eq!(check(&[&[0xb5, 0xee, 0x9c, 0x73][..], &one, &[0, 0]].concat()), malformed);

    // Hashes that are stored; an odd size whose last byte marks no end; a byte that is no cell's.
    for cells in [&[16, 0][..], &[0, 1, 0], &[0, 0, 0]] {
        let head = [1, 1, 1, 1, 0, u8::try_from(cells.len()).unwrap(), 0];
        assert_eq!(bag(&head, cells), malformed, "{cells:?}");
    }
    // Two cells that refer to each other; one that refers to the other five times.
    assert_eq!(bag(&[1, 1, 2, 1, 0, 6, 0], &[1, 0, 1, 1, 0, 0]), malformed);
    assert_eq!(bag(&[1, 1, 2, 1, 0, 9, 0], &[5, 0, 1, 1, 1, 1, 1, 0, 0]), malformed);
}

#[test]
fn of_exotic_cells_only_library_references_are_read() {
    let exotic = |kind: u8, length: usize| {
        let mut builder = CellBuilder::new();
        builder.set_cell_is_exotic(true);
        builder.store_byte(kind).unwrap().store_slice(&vec![1; length]).unwrap();
        encode(&builder.build().unwrap().to_arc()).unwrap()
    };
    assert!(decode(&exotic(2, 32)).unwrap().is_library());
    // A pruned branch of level 1.
    assert_eq!(decode(&exotic(1, 1 + 34)).unwrap_err(), BocError::Exotic);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
        let _ = decode(&[&MAGIC[..], &bytes].concat());
    }

    #[test]
    fn no_damage_to_a_real_bag_panics(place in 0_usize..1000, byte: u8, second in 0_usize..1000, other: u8) {
        let mut bag = foreign();
        let length = bag.len();
        bag[place % length] = byte;
        bag[second % length] = other;
        let _ = decode(&bag);
    }
}
