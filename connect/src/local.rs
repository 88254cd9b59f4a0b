//! Who may talk to the sidecar at all. Loopback keeps other machines out, not web pages: a page of any site can have
//! its visitor's browser send requests here, and a name it owns can be made to resolve to 127.0.0.1.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stranger {
    #[error("the Host of a request must be 127.0.0.1, [::1] or localhost, with the sidecar's port")]
    Host,
    #[error("requests of web pages are refused, but for origins named with --allow-origin")]
    Page,
}

/// The rule for every request.
#[derive(Debug, Clone)]
pub struct Callers {
    /// The listener's.
    pub port: u16,
    /// Origins whose pages may ask, as browsers write them.
    pub origins: Vec<HeaderValue>,
}

impl Callers {
    /// # Errors
    /// [`Stranger`].
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Stranger> {
        self.check_host(uri, headers)?;
        self.check_page(headers)
    }

    /// A page that had its own name resolve to loopback is of that name's origin, and would read every answer. What
    /// its requests cannot do is name another host.
    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Stranger> {
        let mut named = false;
        if let Some(authority) = uri.authority() {
            named = true;
            if !self.is_us(authority) {
                return Err(Stranger::Host);
            }
        }
        for host in headers.get_all(HOST) {
            named = true;
            let authority = host.to_str().ok().and_then(|text| text.parse::<Authority>().ok());
            if !authority.is_some_and(|authority| self.is_us(&authority)) {
                return Err(Stranger::Host);
            }
        }
        if named { Ok(()) } else { Err(Stranger::Host) }
    }

    fn is_us(&self, authority: &Authority) -> bool {
        const HTTP: u16 = 80;
        let host = authority.host();
        // Compared with what browsers write for them; 127.1 or 0x7f.1 never is.
        let known = host == Ipv4Addr::LOCALHOST.to_string()
            || host == format!("[{}]", Ipv6Addr::LOCALHOST)
            || host.eq_ignore_ascii_case("localhost");
        let plain = !authority.as_str().contains('@');
        known && plain && authority.port_u16().unwrap_or(HTTP) == self.port
    }

    fn check_page(&self, headers: &HeaderMap) -> Result<(), Stranger> {
        let mut allowed = false;
        for origin in headers.get_all(ORIGIN) {
            if !self.origins.contains(origin) {
                return Err(Stranger::Page);
            }
            allowed = true;
        }
        // Sent by browsers with every request, also with those that have no Origin.
        let site = headers.get_all(SEC_FETCH_SITE);
        let crossed = site.iter().any(|site| site != "none" && site != "same-origin");
        if crossed && !allowed { Err(Stranger::Page) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(uri: &str, headers: &[(&str, &str)]) -> Result<(), Stranger> {
        let callers = Callers { port: 4141, origins: vec![HeaderValue::from_static("https://chat.example")] };
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect();
        callers.check(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn only_our_own_names_with_our_port_are_hosts() {
        for host in ["127.0.0.1:4141", "[::1]:4141", "localhost:4141", "LocalHost:4141"] {
            assert_eq!(check("/v1/models", &[("host", host)]), Ok(()), "{host}");
            assert_eq!(check(&format!("http://{host}/v1/models"), &[]), Ok(()), "{host}");
        }
        for host in [
            "127.0.0.1",
            "127.0.0.1:4142",
            "localhost",
            "evil.example:4141",
            "evil.example",
            "localhost.evil.example:4141",
            "127.0.0.1.evil.example:4141",
            "127.1:4141",
            "127.0.0.2:4141",
            "0.0.0.0:4141",
            "[::]:4141",
            "localhost:4141@evil.example",
            "evil.example@localhost:4141",
            "",
            "127.0.0.1:4141,evil.example",
        ] {
            assert_eq!(check("/v1/models", &[("host", host)]), Err(Stranger::Host), "{host}");
        }
        assert_eq!(check("/v1/models", &[]), Err(Stranger::Host));
        let (us, them) = (("host", "127.0.0.1:4141"), ("host", "evil.example:4141"));
        assert_eq!(check("/v1/models", &[us, them]), Err(Stranger::Host));
        assert_eq!(check("http://evil.example:4141/v1/models", &[us]), Err(Stranger::Host));
        assert_eq!(check("http://127.0.0.1:4141/v1/models", &[them]), Err(Stranger::Host));
    }

    #[test]
    fn pages_are_refused_but_for_named_origins() {
        let us = ("host", "127.0.0.1:4141");
        let with = |headers: &[(&'static str, &'static str)]| check("/v1/models", &[&[us], headers].concat());
        for headers in [
            &[][..],
            &[("sec-fetch-site", "none")],
            &[("sec-fetch-site", "same-origin")],
            &[("origin", "https://chat.example")],
            &[("origin", "https://chat.example"), ("sec-fetch-site", "cross-site")],
        ] {
            assert_eq!(with(headers), Ok(()), "{headers:?}");
        }
        for headers in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "http://127.0.0.1:4141")],
            &[("origin", "https://chat.example:8443")],
            &[("origin", "http://chat.example")],
            &[("origin", "https://chat.example"), ("origin", "https://evil.example")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "")],
        ] {
            assert_eq!(with(headers), Err(Stranger::Page), "{headers:?}");
        }
    }
}
