//! Amounts as people write them: TON, with at most nine digits behind the point.

use cocoon_receipts::NanoTon;

const NANO: u64 = 1_000_000_000;

/// NanoTON of an amount in TON.
///
/// # Errors
/// What it must be.
pub fn read(text: &str) -> Result<NanoTon, String> {
    let expected = || "an amount of TON above 0, such as 5 or 0.25".to_owned();
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(rest) || rest.len() > 9 {
        return Err(expected());
    }
    let whole: u64 = whole.parse().map_err(|_| expected())?;
    let rest: u64 = format!("{rest:0<9}").parse().map_err(|_| expected())?;
    let nano = whole.checked_mul(NANO).and_then(|nano| nano.checked_add(rest));
    nano.filter(|nano| *nano > 0).map(NanoTon).ok_or_else(expected)
}

/// As people read it.
#[must_use]
pub fn shown(amount: NanoTon) -> String {
    let (whole, rest) = (amount.0 / NANO, amount.0 % NANO);
    if rest == 0 {
        return format!("{whole} TON");
    }
    let rest = format!("{rest:09}");
    format!("{whole}.{} TON", rest.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_and_shown_to_the_last_nano() {
        for (text, nano, said) in [
            ("5", 5_000_000_000, "5 TON"),
            ("0.25", 250_000_000, "0.25 TON"),
            ("1.000000001", 1_000_000_001, "1.000000001 TON"),
            ("18446744073.709551615", u64::MAX, "18446744073.709551615 TON"),
        ] {
            assert_eq!(read(text), Ok(NanoTon(nano)), "{text}");
            assert_eq!(shown(NanoTon(nano)), said);
        }
        for text in
            ["", "0", "0.0", ".5", "1.", "-1", "+1", "1e3", "1,5", "1.0000000001", "18446744073.709551616"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
