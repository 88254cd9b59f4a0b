//! `[channels]`: which channels are taken, and who tells of them.

use cocoon_ton::chain::{self, ChainConfigError, ChainEndpoint, NetworkConfig};
use cocoon_ton::{MAX_CLOSE_DELAY, Network};
use serde::Deserialize;

/// Least close delay on mainnet, seconds: a settler that was away for so long has lost nothing.
const MIN_CLOSE_DELAY_OF_MAINNET: u32 = 24 * 60 * 60;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelsConfig {
    pub network: NetworkConfig,
    /// Where there are two of different operators, both must say the same of a channel.
    pub endpoints: Vec<ChainEndpoint>,
    /// Least close delay of a channel, seconds.
    #[serde(default = "default_min_close_delay_s")]
    pub min_close_delay_s: u32,
}

fn default_min_close_delay_s() -> u32 {
    MIN_CLOSE_DELAY_OF_MAINNET
}

impl ChannelsConfig {
    /// # Errors
    /// The key, and what is wrong with it.
    pub fn check(&self) -> Result<(), ChainConfigError> {
        let wrong = |key, message: &str| Err(ChainConfigError::Value { key, message: message.to_owned() });
        let network = self.network.network()?;
        chain::check(&self.endpoints, network)?;
        if !(1..=MAX_CLOSE_DELAY).contains(&self.min_close_delay_s) {
            return wrong("min_close_delay_s", "is 1 to 2592000");
        }
        if network == Network::Mainnet && self.min_close_delay_s < MIN_CLOSE_DELAY_OF_MAINNET {
            return wrong("min_close_delay_s", "is at least 86400 on mainnet");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong_key(text: &str) -> Option<&'static str> {
        match toml::from_str::<ChannelsConfig>(text).unwrap().check() {
            Ok(()) => None,
            Err(ChainConfigError::Value { key, .. }) => Some(key),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn mainnet_needs_a_day_and_two_who_say_the_same() {
        let one = "{ url = 'https://a.example', operator = 'a' }";
        let other = "{ url = 'https://b.example', operator = 'b' }";
        let of = |network: &str, endpoints: &[&str], rest: &str| {
            wrong_key(&format!("network = {{ {network} }}\nendpoints = [{}]\n{rest}", endpoints.join(", ")))
        };
        let (test, mainnet) = ("name = 'test', global_id = -3", "name = 'mainnet'");
        assert_eq!(of(test, &[one], ""), None);
        assert_eq!(of(test, &[one], "min_close_delay_s = 1"), None);
        assert_eq!(of(test, &[one], "min_close_delay_s = 0"), Some("min_close_delay_s"));
        assert_eq!(of(test, &[one], "min_close_delay_s = 2592001"), Some("min_close_delay_s"));
        assert_eq!(of(test, &[], ""), Some("endpoints"));
        assert_eq!(of("name = 'test', global_id = -239", &[one], ""), Some("network.global_id"));
        assert_eq!(of(mainnet, &[one, other], ""), None);
        assert_eq!(of(mainnet, &[one], ""), Some("endpoints"));
        assert_eq!(of(mainnet, &[one, one], ""), Some("endpoints"));
        assert_eq!(of(mainnet, &[one, other], "min_close_delay_s = 86399"), Some("min_close_delay_s"));
        let nobody = "{ url = 'https://a.example', operator = '' }";
        assert_eq!(of(test, &[nobody], ""), Some("endpoints.operator"));
    }
}
