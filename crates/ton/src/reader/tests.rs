use tonlib_core::cell::CellBuilder;

use super::*;
use crate::writer::Writer;

#[test]
fn a_cell_that_stands_for_another_is_not_read() {
    let mut builder = CellBuilder::new();
    builder.set_cell_is_exotic(true);
    builder.store_byte(2).unwrap().store_slice(&[1; 32]).unwrap();
    assert_eq!(Reader::new(&builder.build().unwrap()).err(), Some(CellError::Exotic));
}

#[test]
fn amounts_above_64_bits_are_refused() {
    let of = |bytes: &[u8]| {
        let cell = Writer::new().uint(4, bytes.len() as u64).bytes(bytes).cell().unwrap();
        Reader::new(&cell).unwrap().coins()
    };
    assert_eq!(of(&[0xff; 8]), Ok(NanoTon(u64::MAX)));
    assert_eq!(of(&[1; 9]), Err(CellError::Amount));
    assert_eq!(of(&[1; 15]), Err(CellError::Amount));
}

#[test]
fn an_address_with_a_rewritten_prefix_is_refused() {
    // addr_std$10 with anycast.
    let cell = Writer::new().uint(2, 0b10).bit(true).uint(8, 0).bytes(&[1; 32]).cell().unwrap();
    assert_eq!(Reader::new(&cell).unwrap().address(), Err(CellError::Address));
}

#[test]
fn a_cell_too_short_for_a_tag_does_not_have_it() {
    let cell = Writer::new().uint(8, 0).cell().unwrap();
    assert_eq!(Reader::new(&cell).unwrap().tag(32, 0, "a test"), Err(CellError::Tag("a test")));
}
