//! Amounts, prices and the one formula that turns tokens into money.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in nanoTON (10⁻⁹ TON). In JSON a decimal string, so that no reader rounds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NanoTon(pub u64);

impl NanoTon {
    pub const ZERO: Self = Self(0);

    /// Sum, or none where it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Difference, or none where it would be negative.
    #[must_use]
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The part `basis_points` / 10 000 of this amount, rounded down.
    #[must_use]
    pub fn basis_points(self, basis_points: BasisPoints) -> Self {
        let part = u128::from(self.0) * u128::from(basis_points.0) / 10_000;
        Self(u64::try_from(part).unwrap_or(self.0))
    }
}

impl std::fmt::Display for NanoTon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for NanoTon {
    type Err = MoneyError;

    /// Decimal digits only: no sign, no space, no exponent.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(MoneyError::NotAnAmount);
        }
        text.parse().map(Self).map_err(|_| MoneyError::NotAnAmount)
    }
}

impl Serialize for NanoTon {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for NanoTon {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Ten-thousandths, at most 10 000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct BasisPoints(u16);

impl BasisPoints {
    /// 90 %.
    pub const NINE_TENTHS: Self = Self(9000);

    /// # Errors
    /// [`MoneyError::BasisPoints`] above 10 000.
    pub fn new(value: u16) -> Result<Self, MoneyError> {
        if value <= 10_000 { Ok(Self(value)) } else { Err(MoneyError::BasisPoints) }
    }

    #[must_use]
    pub fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for BasisPoints {
    type Error = MoneyError;

    fn try_from(value: u16) -> Result<Self, MoneyError> {
        Self::new(value)
    }
}

impl From<BasisPoints> for u16 {
    fn from(value: BasisPoints) -> Self {
        value.0
    }
}

/// Why an amount is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("not a decimal amount of nanoTON below 2^64")]
    NotAnAmount,
    #[error("basis points are at most 10000")]
    BasisPoints,
    #[error("the cost does not fit in 64 bits")]
    Overflow,
}

/// Prices of one model: nanoTON per million tokens of each class, and the number of the table they are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    pub table: u32,
    pub prompt: NanoTon,
    pub cached: NanoTon,
    pub completion: NanoTon,
    pub reasoning: NanoTon,
}

/// Tokens of one request, by price class. The classes do not overlap: `prompt` leaves out what is in
/// `cached`, `completion` what is in `reasoning`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub prompt: u64,
    pub cached: u64,
    pub completion: u64,
    pub reasoning: u64,
}

impl Usage {
    /// All tokens, saturating.
    #[must_use]
    pub fn total(&self) -> u64 {
        [self.cached, self.completion, self.reasoning]
            .iter()
            .fold(self.prompt, |sum, n| sum.saturating_add(*n))
    }
}

impl Price {
    /// `floor(Σ tokens × price / 1 000 000)`: one rounding for the whole request.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] where the cost does not fit in 64 bits.
    pub fn cost(&self, usage: &Usage) -> Result<NanoTon, MoneyError> {
        self.micro(usage)
            .and_then(|sum| u64::try_from(sum / 1_000_000).ok())
            .map(NanoTon)
            .ok_or(MoneyError::Overflow)
    }

    /// The most completion tokens that `prompt` tokens and `max_cost` leave room for; none where not even the
    /// prompt fits. Whichever of completion and reasoning is dearer counts.
    #[must_use]
    pub fn affordable_completion(&self, prompt: u64, max_cost: NanoTon) -> Option<u64> {
        // The cost is rounded down, so everything below the next whole nanoTON is still within it.
        let room = (u128::from(max_cost.0) + 1) * 1_000_000 - 1;
        let left = room.checked_sub(self.micro(&Usage { prompt, ..Usage::default() })?)?;
        let each = u128::from(self.completion.max(self.reasoning).0);
        if each == 0 {
            return Some(u64::MAX);
        }
        Some(u64::try_from(left / each).unwrap_or(u64::MAX))
    }

    fn micro(&self, usage: &Usage) -> Option<u128> {
        [
            (usage.prompt, self.prompt),
            (usage.cached, self.cached),
            (usage.completion, self.completion),
            (usage.reasoning, self.reasoning),
        ]
        .iter()
        .try_fold(0_u128, |sum, (tokens, price)| sum.checked_add(u128::from(*tokens) * u128::from(price.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(prompt: u64, cached: u64, completion: u64, reasoning: u64) -> Price {
        let [prompt, cached, completion, reasoning] = [prompt, cached, completion, reasoning].map(NanoTon);
        Price { table: 1, prompt, cached, completion, reasoning }
    }

    #[test]
    fn a_request_is_rounded_once_and_down() {
        let usage = Usage { prompt: 1, cached: 1, completion: 1, reasoning: 1 };
        // Four quarters of a nanoTON are one; rounding each class would give none.
        assert_eq!(price(250_000, 250_000, 250_000, 250_000).cost(&usage), Ok(NanoTon(1)));
        assert_eq!(price(250_000, 250_000, 250_000, 249_999).cost(&usage), Ok(NanoTon(0)));
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_no_small_number() {
        let usage = Usage { prompt: u64::MAX, cached: u64::MAX, completion: u64::MAX, reasoning: u64::MAX };
        let dear = price(u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        assert_eq!(dear.cost(&usage), Err(MoneyError::Overflow));
        assert_eq!(dear.affordable_completion(u64::MAX, NanoTon(u64::MAX)), None);
    }

    #[test]
    fn amounts_are_plain_decimal_strings() {
        assert_eq!(serde_json::to_string(&NanoTon(u64::MAX)).unwrap(), "\"18446744073709551615\"");
        for bad in ["", "-1", "+1", " 1", "1e3", "1.0", "0x1", "18446744073709551616", "１"] {
            assert!(bad.parse::<NanoTon>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<NanoTon>("1").is_err(), "a number may have been rounded on its way");
    }

    #[test]
    fn shares_add_up() {
        for amount in [0, 1, 3, 9_999, u64::MAX] {
            let operator = NanoTon(amount).basis_points(BasisPoints::NINE_TENTHS);
            assert!(operator <= NanoTon(amount));
            assert_eq!(u128::from(operator.0), u128::from(amount) * 9 / 10);
        }
        assert_eq!(NanoTon(u64::MAX).basis_points(BasisPoints::new(10_000).unwrap()), NanoTon(u64::MAX));
        assert!(BasisPoints::new(10_001).is_err());
    }

    proptest::proptest! {
        /// The ceiling is exact: what it allows costs no more than the hold, one token more does.
        #[test]
        fn the_affordable_completion_is_the_last_that_fits(
            prompt in 0_u64..100_000,
            prompt_price in 0_u64..1_000_000_000,
            completion_price in 1_u64..1_000_000_000,
            max_cost in 0_u64..100_000_000,
        ) {
            let price = price(prompt_price, prompt_price, completion_price, completion_price);
            let cost = |completion| price.cost(&Usage { prompt, completion, ..Usage::default() }).unwrap();
            match price.affordable_completion(prompt, NanoTon(max_cost)) {
                None => assert!(cost(0) > NanoTon(max_cost)),
                Some(tokens) => {
                    assert!(cost(tokens) <= NanoTon(max_cost));
                    assert!(cost(tokens + 1) > NanoTon(max_cost));
                }
            }
        }
    }
}
