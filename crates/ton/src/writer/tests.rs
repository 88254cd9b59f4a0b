use super::*;

#[test]
fn what_does_not_fit_is_an_error_and_no_other_cell() {
    assert_eq!(Writer::new().bytes(&[0; 127]).uint(7, 0).cell().unwrap().bit_len(), 1023);
    assert_eq!(Writer::new().bytes(&[0; 128]).cell(), Err(CellError::Full));
    // More bits than were promised.
    assert_eq!(Writer::new().uint(2, 4).cell(), Err(CellError::Full));
    let cell = Writer::new().cell().unwrap();
    let five = (0..5).fold(Writer::new(), |writer, _| writer.reference(&cell));
    assert_eq!(five.cell(), Err(CellError::Full));
}
