//! Where the gateway is, and what may be said to it there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Uri;
use http::uri::{Authority, Scheme};

/// The gateway's origin. `https`, or `http` on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayUrl {
    scheme: Scheme,
    authority: Authority,
}

/// What is wrong with a gateway's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    #[error("the gateway must be an origin such as https://gateway.example, with or without /v1")]
    NotAnOrigin,
    #[error(
        "the gateway must be https: API keys go to it. http is for a loopback address (127.0.0.1, [::1]) alone; \
         'localhost' is a name, and what a name resolves to can change"
    )]
    NotEncrypted,
}

impl FromStr for GatewayUrl {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let parts = text.parse::<Uri>().map_err(|_| OriginError::NotAnOrigin)?.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(OriginError::NotAnOrigin);
        };
        let path = parts.path_and_query.as_ref().map_or("/", |path| path.as_str());
        if authority.as_str().contains('@') || !matches!(path, "/" | "/v1" | "/v1/") {
            return Err(OriginError::NotAnOrigin);
        }
        let encrypted = if scheme == Scheme::HTTPS {
            true
        } else if scheme == Scheme::HTTP {
            false
        } else {
            return Err(OriginError::NotAnOrigin);
        };
        let url = Self { scheme, authority };
        if encrypted || url.is_loopback() { Ok(url) } else { Err(OriginError::NotEncrypted) }
    }
}

impl GatewayUrl {
    /// Whether it is a loopback address. Names are not: what they resolve to can change.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The address of `path_and_query` at the gateway; none where that is no path.
    #[must_use]
    pub fn at(&self, path_and_query: &str) -> Option<Uri> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path_and_query)
            .build()
            .ok()
    }
}

impl fmt::Display for GatewayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_taken_with_or_without_v1() {
        for (text, shown, loopback) in [
            ("https://gateway.example", "https://gateway.example", false),
            ("https://gateway.example/v1", "https://gateway.example", false),
            ("https://gateway.example:8443/v1/", "https://gateway.example:8443", false),
            ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080", true),
            ("http://127.8.9.1", "http://127.8.9.1", true),
            ("http://[::1]:8080", "http://[::1]:8080", true),
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443", true),
            ("https://localhost", "https://localhost", false),
        ] {
            let url: GatewayUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.is_loopback()), (shown, loopback), "{text}");
        }
        let url: GatewayUrl = "https://gateway.example/v1".parse().unwrap();
        assert_eq!(url.at("/v1/models?a=b").unwrap(), "https://gateway.example/v1/models?a=b");
    }

    #[test]
    fn a_key_never_goes_out_in_the_clear() {
        for text in [
            "http://gateway.example",
            "http://localhost:8080",
            "http://127.0.0.1.example",
            "http://10.0.0.1",
            "http://0.0.0.0:8080",
            "http://[::]:8080",
            "http://[::2]:8080",
        ] {
            assert_eq!(text.parse::<GatewayUrl>(), Err(OriginError::NotEncrypted), "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "",
            "gateway.example",
            "/v1",
            "ftp://gateway.example",
            "https://gateway.example/v2",
            "https://gateway.example/v1?x=1",
            "https://user@gateway.example",
            "https://127.0.0.1@gateway.example",
        ] {
            assert_eq!(text.parse::<GatewayUrl>(), Err(OriginError::NotAnOrigin), "{text}");
        }
    }
}
