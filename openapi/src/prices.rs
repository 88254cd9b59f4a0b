//! The price table: what every model costs, in the one form whose digest a registry publishes.

use std::collections::BTreeMap;

use cocoon_receipts::{Digest, Price};
use serde::{Deserialize, Serialize};

/// Prices by public model name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PriceTable(pub BTreeMap<String, Price>);

impl PriceTable {
    /// Its canonical bytes, which `GET /v1/prices` answers: JSON without spaces, the models in the order of their names'
    /// bytes, and of each `table`, `prompt`, `cached`, `completion` and `reasoning`, amounts as decimal strings.
    ///
    /// # Errors
    /// Those of JSON, which such a table never comes to.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// SHA-256 of the canonical bytes.
    ///
    /// # Errors
    /// As [`Self::to_bytes`].
    pub fn digest(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest::of(&[&self.to_bytes()?]))
    }

    /// The number that all its prices have; none where they differ, or there are none.
    #[must_use]
    pub fn number(&self) -> Option<u32> {
        let mut numbers = self.0.values().map(|price| price.table);
        let first = numbers.next()?;
        numbers.all(|number| number == first).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use cocoon_receipts::NanoTon;

    use super::*;

    fn price(table: u32, prompt: u64) -> Price {
        let rest = NanoTon(60);
        Price { table, prompt: NanoTon(prompt), cached: NanoTon(prompt), completion: rest, reasoning: rest }
    }

    /// A form of the wire: a registry has its digest.
    #[test]
    fn a_table_has_one_form() {
        let table = PriceTable([("b".to_owned(), price(7, 20)), ("a/\"x\"".to_owned(), price(7, 9))].into());
        let text = String::from_utf8(table.to_bytes().unwrap()).unwrap();
        assert_eq!(
            text,
            r#"{"a/\"x\"":{"table":7,"prompt":"9","cached":"9","completion":"60","reasoning":"60"},"b":{"table":7,"prompt":"20","cached":"20","completion":"60","reasoning":"60"}}"#
        );
        assert_eq!(table.digest().unwrap(), Digest::of(&[text.as_bytes()]));
        assert_eq!(serde_json::from_str::<PriceTable>(&text).unwrap(), table);
    }

    #[test]
    fn a_table_has_one_number_or_none() {
        let table = |numbers: &[u32]| {
            PriceTable(numbers.iter().enumerate().map(|(at, one)| (at.to_string(), price(*one, 1))).collect())
        };
        assert_eq!(table(&[3, 3]).number(), Some(3));
        assert_eq!(table(&[3, 4]).number(), None);
        assert_eq!(table(&[]).number(), None);
    }
}
