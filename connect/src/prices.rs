//! What the gateway's list says of a model. Its price is sealed into every request, and no receipt may charge more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use cocoon_openapi::MODELS_PATH;
use cocoon_openapi::prices::PriceTable;
use cocoon_receipts::Price;
use serde::Deserialize;

use crate::ask::Payer;
use crate::channel::bound::Listed;
use crate::error::Failure;
use crate::gateway::Gateway;
use crate::registry::Registry;

/// A list is believed for five minutes.
const FRESH_MS: u64 = 5 * 60 * 1000;
const MAX_LIST: usize = 4 << 20;
const MAX_MODELS: usize = 1024;

#[derive(Deserialize)]
struct List {
    data: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    pricing: Price,
    context_length: u64,
}

/// Prices by model, with the time they were read.
#[derive(Debug, Default)]
pub struct Prices {
    known: Mutex<HashMap<String, (Listed, u64)>>,
    /// Must have the price table, where it is followed.
    registry: Option<Arc<Registry>>,
}

impl Prices {
    #[must_use]
    pub fn new(registry: Option<Arc<Registry>>) -> Self {
        Self { known: Mutex::default(), registry }
    }

    /// The price of `model`, and its context. The list is asked for in the payer's name: it is not public, though what
    /// it says of a model is the same for everybody.
    ///
    /// # Errors
    /// The gateway's own; 404 where the list does not have the model; 502 where the prices are not the registry's.
    pub async fn of(
        &self,
        gateway: &Gateway,
        model: &str,
        payer: &Payer,
        now_ms: u64,
    ) -> Result<Listed, Failure> {
        if let Some(price) = self.fresh(model, now_ms) {
            return Ok(price);
        }
        let list: List = gateway.get_json(MODELS_PATH, Some(payer.authorization()?), MAX_LIST).await?;
        let published = match &self.registry {
            Some(registry) => registry.prices(gateway).await?,
            None => None,
        };
        let mut prices = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *prices = priced(list, published.as_ref()).map(|(id, listed)| (id, (listed, now_ms))).collect();
        prices.get(model).map(|(listed, _)| *listed).ok_or_else(|| Failure::model_not_found(model))
    }

    /// The next request reads the list again.
    pub fn forget(&self, model: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(model);
    }

    fn fresh(&self, model: &str, now_ms: u64) -> Option<Listed> {
        let prices = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (listed, read_at) = prices.get(model)?;
        (now_ms.saturating_sub(*read_at) < FRESH_MS).then_some(*listed)
    }
}

/// The listed models, at the published prices where there are such, whatever the list says.
fn priced(list: List, published: Option<&PriceTable>) -> impl Iterator<Item = (String, Listed)> {
    list.data.into_iter().take(MAX_MODELS).filter_map(move |entry| {
        let price = match published {
            Some(table) => *table.0.get(&entry.id)?,
            None => entry.pricing,
        };
        Some((entry.id, Listed { price, context: entry.context_length }))
    })
}

/// Whether `charged` asks for more than `listed` in any class of tokens.
#[must_use]
pub fn is_above(charged: &Price, listed: &Price) -> bool {
    charged.prompt > listed.prompt
        || charged.cached > listed.cached
        || charged.completion > listed.completion
        || charged.reasoning > listed.reasoning
}

#[cfg(test)]
mod tests {
    use cocoon_receipts::NanoTon;

    use super::*;

    #[test]
    fn published_prices_stand_for_those_of_the_list() {
        let price = |prompt: u64| Price {
            table: 1,
            prompt: NanoTon(prompt),
            cached: NanoTon(1),
            completion: NanoTon(1),
            reasoning: NanoTon(1),
        };
        let list = || List {
            data: [("a", 20), ("b", 30)]
                .map(|(id, prompt)| Entry { id: id.to_owned(), pricing: price(prompt), context_length: 9 })
                .into(),
        };
        let table = PriceTable([("a".to_owned(), price(7))].into());
        let all = |published: Option<&PriceTable>| {
            priced(list(), published).map(|(id, listed)| (id, listed.price.prompt.0)).collect::<Vec<_>>()
        };
        assert_eq!(all(None), [("a".to_owned(), 20), ("b".to_owned(), 30)]);
        assert_eq!(all(Some(&table)), [("a".to_owned(), 7)], "what has no published price is not to be had");
    }

    #[test]
    fn one_dearer_class_is_enough() {
        let listed = Price {
            table: 1,
            prompt: NanoTon(2),
            cached: NanoTon(1),
            completion: NanoTon(3),
            reasoning: NanoTon(3),
        };
        assert!(!is_above(&listed, &listed));
        assert!(!is_above(&Price { table: 2, prompt: NanoTon(1), ..listed }, &listed));
        for dearer in [
            Price { prompt: NanoTon(3), ..listed },
            Price { cached: NanoTon(2), ..listed },
            Price { completion: NanoTon(4), ..listed },
            Price { reasoning: NanoTon(4), ..listed },
        ] {
            assert!(is_above(&dearer, &listed), "{dearer:?}");
        }
    }
}
