//! The synthetic Intel's keys and certificates (Intel PCK Certificate and CRL Profile specification 1.5): root CA, platform
//! CA, the signer of TCB info and QE identity, and the certificate of one platform.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use time::OffsetDateTime;
use yasna::models::ObjectIdentifier;

use super::evidence::{FMSPC, SVN, Statements};

const PCK_SERIAL: u64 = 0x7c;
/// The extension of a platform's certificate, and the root of its members.
const SGX: [u64; 7] = [1, 2, 840, 113_741, 1, 13, 1];

/// All keys, and the certificates over them.
pub(super) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    platform_ca: CertifiedIssuer<'static, KeyPair>,
    pck: Signer,
    pck_pem: String,
    statements: Signer,
    statements_pem: String,
    /// The quoting enclave's own, which the platform's key vouches for.
    attestation: Signer,
}

/// Signs as the formats want it: `r ‖ s`, 32 bytes each.
pub(super) struct Signer(EcdsaKeyPair);

impl Signer {
    fn new(key: &KeyPair) -> Self {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.serialized_der());
        Self(pair.expect("a P-256 key"))
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        let signature = self.0.sign(&SystemRandom::new(), bytes).expect("the system has randomness");
        signature.as_ref().try_into().expect("64 bytes")
    }

    /// The point's coordinates, 64 bytes.
    pub(super) fn public(&self) -> &[u8] {
        self.0.public_key().as_ref().get(1..).expect("an uncompressed point")
    }
}

impl Authority {
    pub(super) fn new() -> Self {
        let root = CertifiedIssuer::self_signed(ca("Synthetic SGX Root CA"), key()).expect("a root");
        let platform_ca = CertifiedIssuer::signed_by(ca("Synthetic SGX PCK Platform CA"), key(), &root);
        let platform_ca = platform_ca.expect("a platform CA");
        let (pck_key, statements_key) = (key(), key());
        let mut params = leaf("Synthetic SGX PCK Certificate");
        params.serial_number = Some(SerialNumber::from(PCK_SERIAL));
        params.custom_extensions = vec![CustomExtension::from_oid_content(&SGX, platform())];
        let pck = params.signed_by(&pck_key, &platform_ca).expect("a platform's certificate");
        let signing = leaf("Synthetic SGX TCB Signing").signed_by(&statements_key, &root).expect("a signer");
        Self {
            pck: Signer::new(&pck_key),
            pck_pem: pck.pem(),
            statements: Signer::new(&statements_key),
            statements_pem: signing.pem(),
            attestation: Signer::new(&key()),
            platform_ca,
            root,
        }
    }

    pub(super) fn root_der(&self) -> Vec<u8> {
        self.root.der().to_vec()
    }

    /// Signs for the platform.
    pub(super) fn pck(&self) -> &Signer {
        &self.pck
    }

    /// Signs TCB info and QE identity.
    pub(super) fn statements(&self) -> &Signer {
        &self.statements
    }

    /// Signs quotes.
    pub(super) fn attestation(&self) -> &Signer {
        &self.attestation
    }

    /// Leaf first.
    pub(super) fn pck_chain(&self) -> String {
        [self.pck_pem.as_str(), &self.platform_ca_chain()].concat()
    }

    pub(super) fn platform_ca_chain(&self) -> String {
        [self.platform_ca.pem(), self.root.pem()].concat()
    }

    pub(super) fn statements_chain(&self) -> String {
        [self.statements_pem.as_str(), &self.root.pem()].concat()
    }

    pub(super) fn root_crl(&self, statements: &Statements) -> Vec<u8> {
        crl(&self.root, statements, Vec::new())
    }

    pub(super) fn pck_crl(&self, statements: &Statements) -> Vec<u8> {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from(PCK_SERIAL),
            revocation_time: time(statements.issued),
            reason_code: None,
            invalidity_date: None,
        };
        crl(&self.platform_ca, statements, if statements.revoked { vec![revoked] } else { Vec::new() })
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a P-256 key")
}

fn leaf(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    // Whatever time a test is at.
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn ca(name: &str) -> CertificateParams {
    let mut params = leaf(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn crl(issuer: &Issuer<'_, KeyPair>, statements: &Statements, revoked: Vec<RevokedCertParams>) -> Vec<u8> {
    let params = CertificateRevocationListParams {
        this_update: time(statements.issued),
        next_update: time(statements.crl_next_update),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).expect("a revocation list").der().to_vec()
}

/// From milliseconds since 1970.
fn time(ms: u64) -> OffsetDateTime {
    let seconds = i64::try_from(ms / 1000).expect("a time of this age");
    OffsetDateTime::from_unix_timestamp(seconds).expect("a time of this age")
}

/// What the certificate says of the platform: a sequence of pairs of name and value.
fn platform() -> Vec<u8> {
    let oid = |members: &[u64]| ObjectIdentifier::from_slice(&[&SGX, members].concat());
    yasna::construct_der(|writer| {
        writer.write_sequence(|members| {
            let mut bytes = |number: u64, value: &[u8]| {
                members.next().write_sequence(|pair| {
                    pair.next().write_oid(&oid(&[number]));
                    pair.next().write_bytes(value);
                });
            };
            // PPID
            bytes(1, &[0x11; 16]);
            // PCEID, FMSPC
            bytes(3, &[0; 2]);
            bytes(4, &FMSPC);
            members.next().write_sequence(|pair| {
                pair.next().write_oid(&oid(&[2]));
                pair.next().write_sequence(|tcb| {
                    for component in 1..=17 {
                        tcb.next().write_sequence(|pair| {
                            pair.next().write_oid(&oid(&[2, component]));
                            pair.next().write_u8(SVN);
                        });
                    }
                    tcb.next().write_sequence(|pair| {
                        pair.next().write_oid(&oid(&[2, 18]));
                        pair.next().write_bytes(&[SVN; 16]);
                    });
                });
            });
            members.next().write_sequence(|pair| {
                pair.next().write_oid(&oid(&[5]));
                pair.next().write_enum(1);
            });
        });
    })
}
