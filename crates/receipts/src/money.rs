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
        [self.cached, self.completion, self.reasoning].iter().fold(self.prompt, |sum, n| sum.saturating_add(*n))
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
