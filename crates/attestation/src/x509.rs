//! X.509 as far as vendors' chains need it: what a certificate says, who signed it, and when it is in date.

use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_ASN1, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, UnparsedPublicKey,
    VerificationAlgorithm,
};
use x509_cert::Certificate;
use x509_cert::der::asn1::{BitString, ObjectIdentifier};
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::Time;

/// Longest certificate that is read, bytes; the vendors' have less than 2,000.
const MAX_CERTIFICATE: usize = 8 << 10;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");

/// What is wrong with a certificate. The text follows its name: "the VCEK certificate …".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("cannot be read")]
    Malformed,
    #[error("is not signed by the one above it")]
    Signature,
    #[error("may not sign others")]
    NoAuthority,
}

/// The ways of signing that vendors use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    RsaPssSha384,
    RsaPkcs1Sha256,
    EcdsaP384Sha384,
}

impl Scheme {
    fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Self::RsaPssSha384 => "1.2.840.113549.1.1.10",
            Self::RsaPkcs1Sha256 => "1.2.840.113549.1.1.11",
            Self::EcdsaP384Sha384 => "1.2.840.10045.4.3.3",
        })
    }

    fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::RsaPssSha384 => &RSA_PSS_2048_8192_SHA384,
            Self::RsaPkcs1Sha256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::EcdsaP384Sha384 => &ECDSA_P384_SHA384_ASN1,
        }
    }
}

/// Reads a certificate of which every byte is accounted for: it would be written as it came, so that what was signed is
/// what was read.
pub(crate) fn read(der: &[u8]) -> Result<Certificate, CertificateError> {
    if der.len() > MAX_CERTIFICATE {
        return Err(CertificateError::Malformed);
    }
    let certificate = Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    let again = certificate.to_der().map_err(|_| CertificateError::Malformed)?;
    if again == der { Ok(certificate) } else { Err(CertificateError::Malformed) }
}

/// Whether the key of `issuer` signed `subject`, by name and by one of `schemes`.
pub(crate) fn issued(
    subject: &Certificate,
    issuer: &Certificate,
    schemes: &[Scheme],
) -> Result<(), CertificateError> {
    let (tbs, above) = (&subject.tbs_certificate, &issuer.tbs_certificate);
    let signed = tbs.to_der().map_err(|_| CertificateError::Malformed)?;
    let named = tbs.issuer == above.subject && tbs.signature == subject.signature_algorithm;
    let key = &above.subject_public_key_info;
    let good = named && is_signed(&signed, &subject.signature_algorithm, &subject.signature, key, schemes);
    if good { Ok(()) } else { Err(CertificateError::Signature) }
}

/// Whether `signature` is over `signed`, by `key` and by one of `schemes`.
pub(crate) fn is_signed(
    signed: &[u8],
    algorithm: &AlgorithmIdentifierOwned,
    signature: &BitString,
    key: &SubjectPublicKeyInfoOwned,
    schemes: &[Scheme],
) -> bool {
    let scheme = schemes.iter().find(|scheme| scheme.oid() == algorithm.oid);
    match (scheme, key.subject_public_key.as_bytes(), signature.as_bytes()) {
        (Some(scheme), Some(key), Some(signature)) => {
            UnparsedPublicKey::new(scheme.verification(), key).verify(signed, signature).is_ok()
        }
        _ => false,
    }
}

/// Whether a certificate says that its key may sign certificates.
pub(crate) fn is_authority(certificate: &Certificate) -> Result<(), CertificateError> {
    let tbs = &certificate.tbs_certificate;
    let constraints = tbs.get::<BasicConstraints>().map_err(|_| CertificateError::Malformed)?;
    let usage = tbs.get::<KeyUsage>().map_err(|_| CertificateError::Malformed)?;
    let authority = constraints.is_some_and(|(_, constraints)| constraints.ca)
        && usage.is_none_or(|(_, usage)| usage.key_cert_sign());
    if authority { Ok(()) } else { Err(CertificateError::NoAuthority) }
}

/// The uncompressed point of a key on P-384; none for any other key.
pub(crate) fn p384_point(key: &SubjectPublicKeyInfoOwned) -> Option<&[u8]> {
    let parameters = key.algorithm.parameters.as_ref()?;
    let curve: ObjectIdentifier = parameters.decode_as().ok()?;
    let point = key.subject_public_key.as_bytes()?;
    (key.algorithm.oid == EC_PUBLIC_KEY && curve == P384 && point.len() == 97 && point.first() == Some(&4))
        .then_some(point)
}

/// The value of the only extension with this number.
pub(crate) fn extension(certificate: &Certificate, id: ObjectIdentifier) -> Option<&[u8]> {
    let mut found = extensions(certificate).iter().filter(|extension| extension.extn_id == id);
    let value = found.next()?.extn_value.as_bytes();
    found.next().is_none().then_some(value)
}

fn extensions(certificate: &Certificate) -> &[Extension] {
    certificate.tbs_certificate.extensions.as_deref().unwrap_or_default()
}

/// When a certificate's validity begins and ends, milliseconds since 1970.
pub(crate) fn validity(certificate: &Certificate) -> (u64, u64) {
    let validity = &certificate.tbs_certificate.validity;
    (millis(validity.not_before), millis(validity.not_after))
}

/// Milliseconds since 1970.
pub(crate) fn millis(time: Time) -> u64 {
    u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX)
}
