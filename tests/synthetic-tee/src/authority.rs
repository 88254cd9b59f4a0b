//! Keys, and the certificates and lists that they sign.

use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA384,
};
use x509_cert::certificate::{CertificateInner, TbsCertificateInner, Version};
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::der::asn1::{BitString, GeneralizedTime, ObjectIdentifier, OctetString};
use x509_cert::der::{Any, Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::BasicConstraints;
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::{Time, Validity};

/// RSASSA-PSS-params (RFC 4055): SHA-384, MGF1 with SHA-384, a salt of 48 bytes.
const PSS_SHA384: &str = "3034a00f300d06096086480165030402020500a11c301a06092a864886f70d010108300d06096086480165030402020500a203020130";
const ASN1_NULL: &str = "0500";

/// A private key, with the way it signs.
pub(crate) enum Key {
    RsaPss(rsa::KeyPair),
    RsaPkcs1(rsa::KeyPair),
    P384(EcdsaKeyPair),
}

impl Key {
    pub(crate) fn rsa_pss() -> Self {
        Self::RsaPss(rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    pub(crate) fn rsa_pkcs1() -> Self {
        Self::RsaPkcs1(rsa::KeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    /// The key on P-384 of this PKCS #8.
    pub(crate) fn p384_of(pkcs8: &[u8]) -> Self {
        Self::P384(EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, pkcs8).expect("a key"))
    }

    pub(crate) fn spki(&self) -> SubjectPublicKeyInfoOwned {
        match self {
            Self::RsaPss(key) | Self::RsaPkcs1(key) => {
                SubjectPublicKeyInfoOwned::from_der(key.public_key().as_der().expect("DER").as_ref())
            }
            Self::P384(key) => {
                SubjectPublicKeyInfoOwned::from_der(key.public_key().as_der().expect("DER").as_ref())
            }
        }
        .expect("a key that was just written")
    }

    fn algorithm(&self) -> AlgorithmIdentifierOwned {
        let (oid, parameters) = match self {
            Self::RsaPss(_) => ("1.2.840.113549.1.1.10", Some(PSS_SHA384)),
            Self::RsaPkcs1(_) => ("1.2.840.113549.1.1.11", Some(ASN1_NULL)),
            Self::P384(_) => ("1.2.840.10045.4.3.3", None),
        };
        let parameters =
            parameters.map(|der| Any::from_der(&hex::decode(der).expect("hexadecimal")).expect("DER"));
        AlgorithmIdentifierOwned { oid: ObjectIdentifier::new_unwrap(oid), parameters }
    }

    fn sign(&self, message: &[u8]) -> BitString {
        let random = SystemRandom::new();
        let rsa = |key: &rsa::KeyPair, encoding| {
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(encoding, &random, message, &mut signature).expect("a signature");
            signature
        };
        let signature = match self {
            Self::RsaPss(key) => rsa(key, &RSA_PSS_SHA384),
            Self::RsaPkcs1(key) => rsa(key, &RSA_PKCS1_SHA256),
            Self::P384(key) => key.sign(&random, message).expect("a signature").as_ref().to_vec(),
        };
        BitString::from_bytes(&signature).expect("bits")
    }
}

/// What a certificate says beside its key.
pub(crate) struct Subject<'a> {
    pub(crate) name: &'a str,
    pub(crate) issuer: &'a str,
    pub(crate) serial: u8,
    /// Seconds since 1970.
    pub(crate) valid: (u64, u64),
    pub(crate) extensions: Vec<Extension>,
}

/// A DER certificate of `key`, signed by `by`.
pub(crate) fn certificate(subject: Subject<'_>, key: &Key, by: &Key) -> Vec<u8> {
    let tbs = TbsCertificateInner {
        version: Version::V3,
        serial_number: SerialNumber::new(&[subject.serial]).expect("a number"),
        signature: by.algorithm(),
        issuer: name(subject.issuer),
        validity: Validity { not_before: time(subject.valid.0), not_after: time(subject.valid.1) },
        subject: name(subject.name),
        subject_public_key_info: key.spki(),
        issuer_unique_id: None,
        subject_unique_id: None,
        extensions: Some(subject.extensions),
    };
    let signature = by.sign(&tbs.to_der().expect("DER"));
    let certificate: CertificateInner =
        CertificateInner { tbs_certificate: tbs, signature_algorithm: by.algorithm(), signature };
    certificate.to_der().expect("DER")
}

/// A DER revocation list, signed by `by`.
pub(crate) fn revocations(
    issuer: &str,
    valid: (u64, u64),
    serials: &[u8],
    extensions: Option<Vec<Extension>>,
    by: &Key,
) -> Vec<u8> {
    let revoked = |serial: &u8| RevokedCert {
        serial_number: SerialNumber::new(&[*serial]).expect("a number"),
        revocation_date: time(valid.0),
        crl_entry_extensions: None,
    };
    let body = TbsCertList {
        version: Version::V2,
        signature: by.algorithm(),
        issuer: name(issuer),
        this_update: time(valid.0),
        next_update: Some(time(valid.1)),
        revoked_certificates: (!serials.is_empty()).then(|| serials.iter().map(revoked).collect()),
        crl_extensions: extensions,
    };
    let signature = by.sign(&body.to_der().expect("DER"));
    let list = CertificateList { tbs_cert_list: body, signature_algorithm: by.algorithm(), signature };
    list.to_der().expect("DER")
}

/// An extension with this value as it is.
pub(crate) fn extension(id: &str, value: &[u8]) -> Extension {
    Extension {
        extn_id: ObjectIdentifier::new_unwrap(id),
        critical: false,
        extn_value: OctetString::new(value).expect("bytes"),
    }
}

/// The extension of a key that may sign others, or may not.
pub(crate) fn authority(ca: bool) -> Extension {
    let value = BasicConstraints { ca, path_len_constraint: None };
    Extension { critical: true, ..extension("2.5.29.19", &value.to_der().expect("DER")) }
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn time(seconds: u64) -> Time {
    Time::GeneralTime(GeneralizedTime::from_unix_duration(Duration::from_secs(seconds)).expect("a time"))
}
