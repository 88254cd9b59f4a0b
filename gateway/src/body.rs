//! A request's body as it is sealed: read whole, its transfer compression taken off, never over the limit.

use std::io;
use std::time::Duration;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use axum::body::Body;
use bytes::Bytes;
use cocoon_openapi::ApiError;
use futures_util::TryStreamExt;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;

use crate::error::Failure;

/// A client that does not send its body for this long is let go.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// 2^23 bytes: the largest window that RFC 9659 lets a client use for content encodings.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A content encoding that is taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Brotli,
    Zstd,
}

impl Encoding {
    /// As RFC 9110 section 8.4.1, RFC 7932 and RFC 8878 name them.
    fn named(name: &str) -> Option<Self> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("gzip") || is("x-gzip") {
            Some(Self::Gzip)
        } else if is("br") {
            Some(Self::Brotli)
        } else if is("zstd") {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// Reads `body`: at most `limit` bytes, on the wire and decoded.
///
/// # Errors
/// 413 over the limit, 415 for an encoding we do not know and for several, 408 where it does not arrive, 400 where it
/// breaks off or does not decode.
pub async fn read(body: Body, headers: &HeaderMap, limit: usize) -> Result<Bytes, Failure> {
    let encoding = encoding(headers)?;
    // A length that is over the limit is refused before a byte of it is read.
    let announced = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        return Err(Failure::body_too_large(limit));
    }
    let body = Limited::new(body, limit);
    let reading = async {
        match encoding {
            None => body
                .collect()
                .await
                .map(http_body_util::Collected::to_bytes)
                .map_err(|error| unreadable(error.as_ref(), limit)),
            Some(encoding) => decode(body, encoding, limit).await.map(Bytes::from),
        }
    };
    tokio::time::timeout(BODY_TIMEOUT, reading).await.map_err(|_| Failure::body_timeout())?
}

/// The one encoding that the headers name; `identity` is none.
fn encoding(headers: &HeaderMap) -> Result<Option<Encoding>, Failure> {
    let mut found = None;
    for value in headers.get_all(CONTENT_ENCODING) {
        let text = value.to_str().map_err(|_| Failure::content_encoding())?;
        for name in text.split(',').map(str::trim).filter(|name| !name.eq_ignore_ascii_case("identity")) {
            let encoding = Encoding::named(name).ok_or_else(Failure::content_encoding)?;
            if found.replace(encoding).is_some() {
                return Err(Failure::content_encoding());
            }
        }
    }
    Ok(found)
}

async fn decode(body: Limited<Body>, encoding: Encoding, limit: usize) -> Result<Vec<u8>, Failure> {
    let wire = StreamReader::new(body.into_data_stream().map_err(io::Error::other));
    let decoded = match encoding {
        Encoding::Gzip => {
            let mut decoder = GzipDecoder::new(wire);
            decoder.multiple_members(true);
            bounded(decoder, limit).await
        }
        Encoding::Brotli => brotli(wire, limit).await,
        Encoding::Zstd => {
            let mut decoder = ZstdDecoder::with_params(wire, &[DParameter::window_log_max(ZSTD_WINDOW_LOG)]);
            decoder.multiple_members(true);
            bounded(decoder, limit).await
        }
    };
    match decoded {
        Ok(plain) if plain.len() > limit => Err(Failure::body_too_large(limit)),
        Ok(plain) => Ok(plain),
        Err(error) if error.get_ref().is_some_and(|inner| is_over_limit(inner)) => {
            Err(Failure::body_too_large(limit))
        }
        Err(_) => {
            let message = format!("The request body could not be decoded as '{}'.", encoding.name());
            Err(ApiError::invalid(message).into())
        }
    }
}

/// Brotli has no members: what follows its end is no part of it.
async fn brotli(wire: impl AsyncBufRead + Unpin, limit: usize) -> io::Result<Vec<u8>> {
    let mut decoder = BrotliDecoder::new(wire);
    let plain = bounded(&mut decoder, limit).await?;
    let mut wire = decoder.into_inner();
    if plain.len() <= limit && wire.read(&mut [0]).await? > 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(plain)
}

/// Stops one byte over the limit: a bomb is never unpacked.
async fn bounded(decoder: impl AsyncRead + Unpin, limit: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    decoder.take((limit as u64).saturating_add(1)).read_to_end(&mut plain).await?;
    Ok(plain)
}

fn unreadable(error: &(dyn std::error::Error + Send + Sync + 'static), limit: usize) -> Failure {
    if is_over_limit(error) {
        return Failure::body_too_large(limit);
    }
    ApiError::invalid("The request body broke off.").into()
}

/// Whether the limit on the wire is the cause, however deep.
fn is_over_limit(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<LengthLimitError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
    use http::HeaderValue;
    use tokio::io::AsyncWriteExt;

    use super::*;

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Brotli, Encoding::Zstd];

    async fn packed(encoding: Encoding, plain: &[u8]) -> Vec<u8> {
        macro_rules! with {
            ($encoder:ident) => {{
                let mut encoder = $encoder::new(Vec::new());
                encoder.write_all(plain).await.unwrap();
                encoder.shutdown().await.unwrap();
                encoder.into_inner()
            }};
        }
        match encoding {
            Encoding::Gzip => with!(GzipEncoder),
            Encoding::Brotli => with!(BrotliEncoder),
            Encoding::Zstd => with!(ZstdEncoder),
        }
    }

    async fn read_as(names: &[&'static str], body: Vec<u8>, limit: usize) -> Result<Bytes, u16> {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(CONTENT_ENCODING, HeaderValue::from_static(name));
        }
        read(Body::from(body), &headers, limit).await.map_err(|failure| failure.api.status)
    }

    #[tokio::test]
    async fn what_was_packed_is_what_is_read() {
        let plain = br#"{"a": 1e400, "b": "\u0000"}"#.repeat(500);
        for encoding in ALL {
            let body = packed(encoding, &plain).await;
            assert!(body.len() < plain.len());
            assert_eq!(read_as(&[encoding.name()], body, plain.len()).await.unwrap(), plain, "{encoding:?}");
        }
        assert_eq!(read_as(&["Identity"], plain.clone(), plain.len()).await.unwrap(), plain);
        let gzip = packed(Encoding::Gzip, &plain).await;
        assert_eq!(read_as(&["identity, X-GZIP"], gzip, plain.len()).await.unwrap(), plain);
    }

    #[tokio::test]
    async fn a_bomb_is_413_by_what_it_unpacks_to() {
        let plain = vec![b' '; 1 << 20];
        for encoding in ALL {
            let body = packed(encoding, &plain).await;
            assert!(body.len() < 4096, "{encoding:?}");
            assert_eq!(
                read_as(&[encoding.name()], body.clone(), plain.len() - 1).await,
                Err(413),
                "{encoding:?}"
            );
            assert!(read_as(&[encoding.name()], body, plain.len()).await.is_ok(), "{encoding:?}");
        }
        assert_eq!(read_as(&[], vec![b' '; 11], 10).await, Err(413));
        let noise: Vec<u8> = (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for encoding in ALL {
            let body = packed(encoding, &noise).await;
            assert_eq!(read_as(&[encoding.name()], body, 100).await, Err(413), "{encoding:?} on the wire");
        }
    }

    #[tokio::test]
    async fn encodings_that_are_unknown_or_stacked_are_415() {
        for names in [&["deflate"][..], &["gzip, br"], &["gzip", "gzip"], &["gzip,"], &["*"], &[""]] {
            assert_eq!(read_as(names, b"x".to_vec(), 100).await, Err(415), "{names:?}");
        }
    }

    #[tokio::test]
    async fn what_does_not_decode_is_400() {
        for encoding in ALL {
            let whole = packed(encoding, &b"some text ".repeat(99)).await;
            let cut = whole[..whole.len() - 5].to_vec();
            let more = [&whole[..], b"more"].concat();
            for body in [b"{}".to_vec(), cut, more] {
                assert_eq!(read_as(&[encoding.name()], body, 10_000).await, Err(400), "{encoding:?}");
            }
        }
    }
}
