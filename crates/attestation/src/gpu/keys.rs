//! The keys of tokens. A key counts only as what its certificates say: the set that it comes in is part of the document.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cocoon_receipts::Digest;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Encode, Tag, Tagged};

use super::anchors::Anchor;
use super::devices::{Jwk, Jwks};
use crate::x509::{self, CertificateError, Scheme};

/// How the authorities sign: 004 has an RSA key, 005 one on P-384.
const SCHEMES: [Scheme; 2] = [Scheme::RsaPkcs1Sha256, Scheme::EcdsaP384Sha384];
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const NVIDIA: &str = "NVIDIA Corporation";
/// Most certificates above a key: its own, the authority's, and what may be above that.
const MAX_CHAIN: usize = 4;

/// Why a key is not NVIDIA's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeyError {
    #[error("its key is not in the set")]
    Unknown,
    #[error("its key is in the set more than once")]
    Twice,
    #[error("its key is not an EC key on P-384")]
    Curve,
    #[error("its key has no certificate with that of the authority above it")]
    Chain,
    #[error("the authority above its key is not one of those that are pinned")]
    Anchor,
    #[error("its key's {0} certificate {1}")]
    Certificate(&'static str, CertificateError),
    #[error("its key's certificate is not of NVIDIA Corporation")]
    Organization,
    #[error("its key is not the one in the certificate")]
    OtherKey,
}

/// A key that NVIDIA certified.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// The uncompressed point.
    pub(super) point: Vec<u8>,
    /// When certificates and authority are in date, milliseconds since 1970.
    pub(super) from: u64,
    pub(super) until: u64,
}

/// The keys of one set, each looked at when it is first asked for.
pub(super) struct Keys<'a> {
    jwks: &'a Jwks,
    anchors: Vec<Anchor>,
    known: BTreeMap<String, Result<Key, KeyError>>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(jwks: &'a Jwks, anchors: Vec<Anchor>) -> Self {
        Self { jwks, anchors, known: BTreeMap::new() }
    }

    pub(super) fn get(&mut self, kid: &str) -> Result<Key, KeyError> {
        if let Some(known) = self.known.get(kid) {
            return known.clone();
        }
        let found = self.find(kid);
        self.known.insert(kid.to_owned(), found.clone());
        found
    }

    fn find(&self, kid: &str) -> Result<Key, KeyError> {
        let mut keys = self.jwks.keys.iter().filter(|key| key.kid == kid);
        let key = keys.next().ok_or(KeyError::Unknown)?;
        if keys.next().is_some() {
            return Err(KeyError::Twice);
        }
        certified(key, &self.anchors)
    }
}

fn certified(key: &Jwk, anchors: &[Anchor]) -> Result<Key, KeyError> {
    if key.kty != "EC" || key.crv != "P-384" {
        return Err(KeyError::Curve);
    }
    let [leaf, issuer, ..] = key.x5c.as_slice() else {
        return Err(KeyError::Chain);
    };
    if key.x5c.len() > MAX_CHAIN {
        return Err(KeyError::Chain);
    }
    let (leaf, issuer) = (read("own", leaf)?, read("authority's", issuer)?);
    let spki = issuer.tbs_certificate.subject_public_key_info.to_der();
    let spki = Digest::of(&[&spki.map_err(|_| KeyError::Anchor)?]).0;
    let anchor = anchors.iter().find(|anchor| anchor.spki == spki).ok_or(KeyError::Anchor)?;
    x509::is_authority(&issuer).map_err(|problem| KeyError::Certificate("authority's", problem))?;
    x509::issued(&leaf, &issuer, &SCHEMES).map_err(|problem| KeyError::Certificate("own", problem))?;
    if !is_nvidias(&leaf) {
        return Err(KeyError::Organization);
    }
    let point = x509::p384_point(&leaf.tbs_certificate.subject_public_key_info).ok_or(KeyError::Curve)?;
    if declared(key).as_deref() != Some(point) {
        return Err(KeyError::OtherKey);
    }
    let ((leaf_from, leaf_until), (from, until)) = (x509::validity(&leaf), x509::validity(&issuer));
    Ok(Key {
        point: point.to_vec(),
        from: leaf_from.max(from),
        until: leaf_until.min(until).min(anchor.ends.saturating_mul(1000)),
    })
}

fn read(name: &'static str, text: &str) -> Result<Certificate, KeyError> {
    let malformed = || KeyError::Certificate(name, CertificateError::Malformed);
    let der = STANDARD.decode(text).map_err(|_| malformed())?;
    x509::read(&der).map_err(|problem| KeyError::Certificate(name, problem))
}

/// The point that the JWK itself declares.
fn declared(key: &Jwk) -> Option<Vec<u8>> {
    let mut point = vec![4];
    point.extend(URL_SAFE_NO_PAD.decode(&key.x).ok()?);
    point.extend(URL_SAFE_NO_PAD.decode(&key.y).ok()?);
    Some(point)
}

/// Whether the certificate's subject has the organization NVIDIA Corporation, and no other.
fn is_nvidias(certificate: &Certificate) -> bool {
    let names = certificate.tbs_certificate.subject.0.iter().flat_map(|name| name.0.iter());
    let mut organizations =
        names.filter(|name| name.oid == ORGANIZATION).map(|name| match name.value.tag() {
            Tag::Utf8String => {
                name.value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str() == NVIDIA)
            }
            Tag::PrintableString => {
                name.value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.as_str() == NVIDIA)
            }
            _ => None,
        });
    organizations.next() == Some(Some(true)) && organizations.next().is_none()
}
