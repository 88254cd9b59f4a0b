//! `[payouts]`: how `cocoon-backend earnings` asks the chain what was paid.

use cocoon_receipts::BasisPoints;
use cocoon_ton::chain::{ChainConfigError, ChainEndpoint, EndpointConfig, EndpointUrl, NetworkConfig};
use cocoon_ton::{Address, Network};
use serde::Deserialize;

/// Most endpoints that are named.
const MAX_ENDPOINTS: usize = 16;

/// Who pays, and who tells of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayoutsConfig {
    pub network: NetworkConfig,
    /// The wallet that pays, as the gateway shows it for deposits.
    pub treasury: String,
    /// Asked in this order; the first that answers is believed.
    pub endpoints: Vec<ChainEndpoint>,
    /// What the operator was promised of a receipt's cost, ten-thousandths.
    pub operator_share_bps: Option<BasisPoints>,
}

impl PayoutsConfig {
    /// # Errors
    /// The key, and what is wrong with it.
    pub(super) fn check(&self) -> Result<(), ChainConfigError> {
        let wrong = |key, message: &str| Err(ChainConfigError::Value { key, message: message.to_owned() });
        self.treasury()?;
        if !(1..=MAX_ENDPOINTS).contains(&self.endpoints.len()) {
            return wrong("endpoints", "there must be 1 to 16");
        }
        for one in &self.endpoints {
            one.check()?;
            if let Err(error) = EndpointUrl::parse(&one.url) {
                return wrong("endpoints.url", &error.to_string());
            }
        }
        Ok(())
    }

    /// # Errors
    /// [`ChainConfigError::Value`].
    pub fn network(&self) -> Result<Network, ChainConfigError> {
        self.network.network()
    }

    /// # Errors
    /// [`ChainConfigError::Value`], also for an address of test networks on mainnet.
    pub fn treasury(&self) -> Result<Address, ChainConfigError> {
        Address::parse_for(&self.treasury, self.network()?)
            .map_err(|error| ChainConfigError::Value { key: "treasury", message: error.to_string() })
    }

    /// # Errors
    /// [`ChainConfigError`], also for an API key that cannot be read.
    pub fn endpoints(&self) -> Result<Vec<EndpointConfig>, ChainConfigError> {
        let network = self.network()?;
        self.endpoints.iter().map(|one| one.config(network)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREASURY: &str = "0:1111111111111111111111111111111111111111111111111111111111111111";
    const ONE: &str = "{ url = 'https://a.example', operator = 'a' }";

    fn wrong_key(network: &str, treasury: &str, endpoints: &str) -> Option<&'static str> {
        let text = format!(
            "network = {{ {network} }}\ntreasury = '{treasury}'\nendpoints = [{endpoints}]\noperator_share_bps = 9000"
        );
        match toml::from_str::<PayoutsConfig>(&text).unwrap().check() {
            Ok(()) => None,
            Err(ChainConfigError::Value { key, .. }) => Some(key),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn an_error_names_its_key() {
        let test = "name = 'test', global_id = -3";
        assert_eq!(wrong_key(test, TREASURY, ONE), None);
        assert_eq!(wrong_key("name = 'mainnet'", TREASURY, ONE), None);
        assert_eq!(wrong_key("name = 'test', global_id = -239", TREASURY, ONE), Some("network.global_id"));
        assert_eq!(wrong_key("name = 'test'", TREASURY, ONE), Some("network.global_id"));
        assert_eq!(wrong_key(test, "EQsomebody", ONE), Some("treasury"));
        assert_eq!(wrong_key(test, TREASURY, ""), Some("endpoints"));
        assert_eq!(wrong_key(test, TREASURY, &[ONE; 17].join(", ")), Some("endpoints"));
        let nobody = "{ url = 'https://a.example', operator = '' }";
        assert_eq!(wrong_key(test, TREASURY, nobody), Some("endpoints.operator"));
        for url in ["ftp://a.example", "https://a.example/api", "https://key@a.example"] {
            let endpoint = format!("{{ url = '{url}', operator = 'a' }}");
            assert_eq!(wrong_key(test, TREASURY, &endpoint), Some("endpoints.url"), "{url}");
        }
    }

    #[test]
    fn what_is_marked_for_test_networks_pays_nobody_on_mainnet() {
        let treasury = Address::from_raw(TREASURY).unwrap().show(true, true);
        assert_eq!(wrong_key("name = 'test', global_id = -3", &treasury, ONE), None);
        assert_eq!(wrong_key("name = 'mainnet'", &treasury, ONE), Some("treasury"));
    }

    #[test]
    fn a_share_above_the_whole_is_none() {
        let text = format!("network = {{ name = 'mainnet' }}\ntreasury = '{TREASURY}'\nendpoints = [{ONE}]");
        let read = |share: &str| toml::from_str::<PayoutsConfig>(&format!("{text}\n{share}"));
        assert!(read("").unwrap().operator_share_bps.is_none());
        assert!(read("operator_share_bps = 10001").is_err());
        assert!(read("operator_share = 9000").is_err());
    }
}
