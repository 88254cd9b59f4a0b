//! What a sealed request asks for, as far as its headers say.

use cocoon_openapi::{ApiError, KEY_DIGEST_HEADER, MAX_TOKENS_HEADER, MODEL_HEADER};
use cocoon_receipts::Digest;
use cocoon_sealing::{ENCAPSULATED_KEY_HEADER, parse_encapsulated_key};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Uri};
use serde::Deserialize;

use crate::config::Config;
use crate::error::Failure;
use cocoon_openapi::read;

/// A sealed request, but for its body.
#[derive(Debug)]
pub struct Wanted {
    /// The encapsulated key's bytes.
    pub enc: Vec<u8>,
    /// The same as the client wrote it.
    pub enc_header: HeaderValue,
    /// As the client wrote it; perhaps an alias.
    pub model: String,
    /// The keyset that the body is sealed to, where the client says so.
    pub keyset: Option<Digest>,
    /// Completion tokens over all choices.
    pub ceiling: Option<u64>,
    /// Bytes of the body; none where it comes in chunks.
    pub length: Option<u64>,
}

impl Wanted {
    /// # Errors
    /// 415 for a body that is encoded too, 400 that names the header for what is malformed.
    pub fn read(parts: &Parts, config: &Config) -> Result<Self, Failure> {
        let headers = &parts.headers;
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(Failure::sealed_content_encoding());
        }
        let enc_header = one(headers, ENCAPSULATED_KEY_HEADER)?
            .ok_or_else(|| malformed(ENCAPSULATED_KEY_HEADER, "an encapsulated key in hexadecimal"))?;
        let enc = enc_header.to_str().ok().and_then(|text| parse_encapsulated_key(text).ok());
        let (_, enc) =
            enc.ok_or_else(|| malformed(ENCAPSULATED_KEY_HEADER, "an encapsulated key in hexadecimal"))?;
        let keyset = parsed(headers, KEY_DIGEST_HEADER, "64 lower-case hexadecimal characters")?;
        let ceiling = parsed(headers, MAX_TOKENS_HEADER, "a whole number above 0")?;
        if ceiling == Some(0) {
            return Err(malformed(MAX_TOKENS_HEADER, "a whole number above 0"));
        }
        Ok(Self {
            enc,
            enc_header: enc_header.clone(),
            model: model(parts, config)?,
            keyset,
            ceiling,
            length: parsed(headers, CONTENT_LENGTH.as_str(), "a whole number")?,
        })
    }
}

/// A sealed request is a POST with a body; anything else would be answered in the clear.
///
/// # Errors
/// 400.
pub fn check_is_post_with_body(
    method: &Method,
    headers: &HeaderMap,
    has_no_body: bool,
) -> Result<(), Failure> {
    let sealed = headers.contains_key(ENCAPSULATED_KEY_HEADER);
    if sealed && (method != Method::POST || has_no_body) {
        let message = format!("'{ENCAPSULATED_KEY_HEADER}' belongs to a POST with a sealed body.");
        return Err(ApiError::invalid(message).with_param(ENCAPSULATED_KEY_HEADER).into());
    }
    Ok(())
}

/// The model of a request that the gateway cannot read: a header, a query, the virtual host, or what is configured.
///
/// # Errors
/// 400 where none of them names one.
pub fn model(parts: &Parts, config: &Config) -> Result<String, Failure> {
    let found = match one(&parts.headers, MODEL_HEADER)? {
        Some(value) => {
            Some(value.to_str().map_err(|_| malformed(MODEL_HEADER, "the name of a model"))?.to_owned())
        }
        None => match queried(&parts.uri)? {
            Some(model) => Some(model),
            None => hosted(parts, config).or_else(|| config.default_model.clone()),
        },
    };
    let model = found.ok_or_else(|| malformed(MODEL_HEADER, "the name of a model, as its body is sealed"))?;
    if read::is_model_name(&model) { Ok(model) } else { Err(malformed(MODEL_HEADER, "the name of a model")) }
}

#[derive(Deserialize)]
struct Query {
    model: Option<String>,
}

/// `?model=`.
///
/// # Errors
/// 400 where it is there twice, or no text.
pub fn queried(uri: &Uri) -> Result<Option<String>, Failure> {
    match axum::extract::Query::<Query>::try_from_uri(uri) {
        Ok(query) => Ok(query.0.model),
        Err(_) => Err(ApiError::invalid("'model' must be one name in the query.").with_param("model").into()),
    }
}

/// `<model>.<base_host>`. Names of hosts have no case.
fn hosted(parts: &Parts, config: &Config) -> Option<String> {
    let base = config.base_host.as_ref()?;
    let host = match parts.uri.host() {
        Some(host) => host,
        None => parts.headers.get(HOST)?.to_str().ok()?,
    };
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host).to_ascii_lowercase();
    let model = host.strip_suffix(base.as_str())?.strip_suffix('.')?;
    (!model.is_empty()).then(|| model.to_owned())
}

/// A header that must not be there twice: which of the two would be meant?
fn one<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a HeaderValue>, Failure> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(malformed(name, "there once")),
    }
}

fn parsed<T: std::str::FromStr>(
    headers: &HeaderMap,
    name: &'static str,
    what: &str,
) -> Result<Option<T>, Failure> {
    let Some(value) = one(headers, name)? else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| malformed(name, what))
}

fn malformed(name: &'static str, what: &str) -> Failure {
    ApiError::invalid(format!("'{name}' must be {what}.")).with_param(name).into()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::config;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    const ENC: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    #[test]
    fn the_model_is_looked_for_where_it_says_most() {
        let mut config = config::tests::good();
        let found = |config: &Config, uri: &str, headers: &[(&str, &str)]| {
            model(&parts(uri, headers), config).map_err(|failure| failure.api.body.error.param)
        };
        assert_eq!(found(&config, "/", &[]), Err(Some(MODEL_HEADER.to_owned())));
        config.default_model = Some("d".into());
        config.base_host = Some("api.test".into());
        assert_eq!(found(&config, "/", &[("host", "api.test")]).as_deref(), Ok("d"));
        assert_eq!(found(&config, "/", &[("host", "evilapi.test")]).as_deref(), Ok("d"));
        assert_eq!(found(&config, "/", &[("host", "M-1.5.API.test:8080")]).as_deref(), Ok("m-1.5"));
        assert_eq!(found(&config, "http://m.api.test/", &[]).as_deref(), Ok("m"), "HTTP/2's :authority");
        let host = ("host", "h.api.test");
        assert_eq!(found(&config, "/?a=b&model=q%2Fr", &[host]).as_deref(), Ok("q/r"));
        assert_eq!(found(&config, "/?model=q", &[host, (MODEL_HEADER, "m")]).as_deref(), Ok("m"));
        assert_eq!(found(&config, "/?model=q&model=r", &[]), Err(Some("model".to_owned())));
        for bad in ["", &"m".repeat(300)] {
            assert_eq!(found(&config, "/", &[(MODEL_HEADER, bad)]), Err(Some(MODEL_HEADER.to_owned())));
        }
    }

    #[test]
    fn what_is_malformed_or_there_twice_is_named() {
        let mut config = config::tests::good();
        config.default_model = Some("m".into());
        let good = (ENCAPSULATED_KEY_HEADER, ENC);
        let wanted = Wanted::read(&parts("/", &[good]), &config).unwrap();
        assert_eq!(wanted.enc, hex::decode(ENC).unwrap());
        assert_eq!((wanted.keyset, wanted.ceiling, wanted.length), (None, None, None));
        let digest = "ab".repeat(32);
        let all = [good, (KEY_DIGEST_HEADER, &digest), (MAX_TOKENS_HEADER, "7"), ("content-length", "9")];
        let wanted = Wanted::read(&parts("/", &all), &config).unwrap();
        assert_eq!(wanted.keyset, Some(Digest([0xab; 32])));
        assert_eq!((wanted.ceiling, wanted.length), (Some(7), Some(9)));

        let param = |headers: &[(&str, &str)]| {
            let failure = Wanted::read(&parts("/", headers), &config).unwrap_err();
            (failure.api.status, failure.api.body.error.param)
        };
        for bad in ["", "zz", &ENC[1..], &ENC.replace('0', "g")] {
            let expected = (400, Some(ENCAPSULATED_KEY_HEADER.to_owned()));
            assert_eq!(param(&[(ENCAPSULATED_KEY_HEADER, bad)]), expected, "{bad}");
        }
        for (name, value) in [
            (KEY_DIGEST_HEADER, digest.to_uppercase()),
            (KEY_DIGEST_HEADER, digest[1..].to_owned()),
            (MAX_TOKENS_HEADER, "0".to_owned()),
            (MAX_TOKENS_HEADER, "-1".to_owned()),
            (MAX_TOKENS_HEADER, "1.5".to_owned()),
        ] {
            assert_eq!(param(&[good, (name, &value)]), (400, Some(name.to_owned())), "{value}");
        }
        for (name, value) in
            [good, (KEY_DIGEST_HEADER, &digest), (MAX_TOKENS_HEADER, "7"), (MODEL_HEADER, "m")]
        {
            let twice = [good, (name, value), (name, value)];
            let twice = if name == ENCAPSULATED_KEY_HEADER { &twice[..2] } else { &twice[..] };
            assert_eq!(param(twice), (400, Some(name.to_owned())));
        }
        assert_eq!(param(&[good, ("content-encoding", "identity")]).0, 415);
    }

    #[test]
    fn only_a_post_with_a_body_is_sealed() {
        let sealed = parts("/", &[(ENCAPSULATED_KEY_HEADER, ENC)]).headers;
        assert!(check_is_post_with_body(&Method::POST, &sealed, false).is_ok());
        assert!(check_is_post_with_body(&Method::POST, &sealed, true).is_err());
        assert!(check_is_post_with_body(&Method::GET, &sealed, false).is_err());
        assert!(check_is_post_with_body(&Method::GET, &HeaderMap::new(), true).is_ok());
    }
}
