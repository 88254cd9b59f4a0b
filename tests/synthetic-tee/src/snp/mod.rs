//! AMD SEV-SNP: reports and certificates under a root of our own.

mod evidence;

use std::fmt::Write as _;
use std::sync::OnceLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_attestation::tree::Tree;
use cocoon_attestation::{AmdRoots, Document, Nonce, Roots, Section, SnpProduct, Tee, report_data};
use x509_cert::der::Encode;
use x509_cert::der::asn1::Ia5StringRef;
use x509_cert::ext::Extension;

use crate::authority::{self, Key, Subject};

pub use evidence::{ChipCertificate, Crl, Evidence, Forged, Tcb};

const ARK: &str = "CN=ARK-Synthetic,O=Cocoon tests";
const ASK: &str = "CN=SEV-Synthetic,O=Cocoon tests";
const VEK: &str = "CN=SEV-VEK,O=Cocoon tests";
const DAY_S: u64 = 86_400;

/// Serial numbers of the certificates, for the revocation list.
pub const ASK_SERIAL: u8 = 2;
pub const VEK_SERIAL: u8 = 3;

/// A chip, or a host with many, whose evidence is as `evidence` says.
#[derive(Debug, Clone)]
pub struct SyntheticSnp {
    pub evidence: Evidence,
}

/// The keys, made once: RSA takes its time.
struct Keys {
    ark: Key,
    ask: Key,
    vek: EcdsaKeyPair,
    vek_public: Key,
    stranger: Key,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let vek = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
        let private = vek.to_pkcs8v1().expect("DER");
        Keys {
            ark: Key::rsa_pss(),
            ask: Key::rsa_pss(),
            vek_public: Key::p384_of(private.as_ref()),
            vek,
            stranger: Key::rsa_pss(),
        }
    })
}

impl Default for SyntheticSnp {
    fn default() -> Self {
        Self::new()
    }
}

impl SyntheticSnp {
    /// A Genoa chip with a good VM.
    #[must_use]
    pub fn new() -> Self {
        Self { evidence: Evidence::genoa() }
    }

    /// A Turin chip, whose id is shorter and whose TCB has one number more.
    #[must_use]
    pub fn turin() -> Self {
        Self { evidence: Evidence::turin() }
    }

    /// The same with a change.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Evidence)) -> Self {
        change(&mut self.evidence);
        self
    }

    /// Roots that believe this evidence.
    #[must_use]
    pub fn roots(&self) -> Roots {
        let mut roots = Roots::default();
        self.roots_into(&mut roots);
        roots
    }

    /// Adds to `roots` what believes this evidence, for every product.
    pub fn roots_into(&self, roots: &mut Roots) {
        let forever = (0, 4_000_000_000);
        let root = Subject {
            name: ARK,
            issuer: ARK,
            serial: 1,
            valid: forever,
            extensions: vec![authority::authority(true)],
        };
        let ask = Subject {
            name: ASK,
            issuer: ARK,
            serial: ASK_SERIAL,
            valid: forever,
            extensions: vec![authority::authority(true)],
        };
        let keys = keys();
        let amd = AmdRoots {
            ark: authority::certificate(root, &keys.ark, &keys.ark),
            ask: authority::certificate(ask, &keys.ask, &keys.ark),
        };
        for product in [SnpProduct::Milan, SnpProduct::Genoa, SnpProduct::Turin] {
            roots.amd.insert(product, amd.clone());
        }
    }

    /// The `[snp]` section of a policy that this evidence passes, whatever the evidence is.
    #[must_use]
    pub fn policy_toml(&self) -> String {
        let evidence = &self.evidence;
        let product = evidence.certificate.product_name.split('-').next().unwrap_or_default().to_lowercase();
        let Tcb { fmc, bootloader, tee, snp, microcode } = evidence.reported.min(evidence.committed);
        let mut text = format!(
            "[snp]\nimages = [{{ name = 'synthetic', launch_digest = '{}' }}]\n",
            hex::encode(evidence.measurement)
        );
        let tcb = format!(
            "{{ bootloader = {bootloader}, tee = {tee}, snp = {snp}, microcode = {microcode}, fmc = {fmc} }}"
        );
        let _ = writeln!(text, "min_tcb = {{ {product} = {tcb} }}");
        let _ = writeln!(text, "id_key = '{}'", hex::encode(evidence.id_key));
        let _ = writeln!(text, "author_key = '{}'", hex::encode(evidence.author_key));
        let _ = writeln!(text, "host_data = '{}'", hex::encode(evidence.host_data));
        let _ = writeln!(text, "allow_smt = {}", evidence.guest_policy & (1 << 16) != 0);
        text
    }

    /// A document for one nonce.
    #[must_use]
    pub fn document(&self, keyset: &[u8], devices: &[u8], nonce: Nonce, now_ms: u64) -> Document {
        let root = Tree::new(&[nonce]).expect("one nonce").root();
        let (quote, collateral) = self.quote(&report_data(root, keyset, devices), now_ms);
        Document {
            tee: Tee::SevSnp,
            keyset: Section(keyset.to_vec()),
            devices: Section(devices.to_vec()),
            quote: Section(quote),
            nonce_path: Section::default(),
            collateral: Section(collateral),
            event_log: Section::default(),
            release_bundle: Section::default(),
        }
    }

    /// A report over `report_data`, and the `collateral` section that goes with it.
    #[must_use]
    pub fn quote(&self, report_data: &[u8; 64], now_ms: u64) -> (Vec<u8>, Vec<u8>) {
        (self.report(report_data), self.collateral(now_ms))
    }

    fn report(&self, report_data: &[u8; 64]) -> Vec<u8> {
        let evidence = &self.evidence;
        let mut report = vec![0; 1184];
        let mut put = |at: usize, bytes: &[u8]| report[at..at + bytes.len()].copy_from_slice(bytes);
        put(0x00, &evidence.version.to_le_bytes());
        put(0x08, &evidence.guest_policy.to_le_bytes());
        put(0x30, &evidence.vmpl.to_le_bytes());
        put(0x34, &evidence.signature_algorithm.to_le_bytes());
        put(0x38, &self.tcb(evidence.reported));
        put(0x48, &evidence.key_info.to_le_bytes());
        put(0x50, report_data);
        put(0x90, &evidence.measurement);
        put(0xc0, &evidence.host_data);
        put(0xe0, &evidence.id_key);
        put(0x110, &evidence.author_key);
        put(0x160, &[0xff; 32]);
        put(0x180, &self.tcb(evidence.reported));
        if evidence.version > 2 {
            put(0x188, &[evidence.cpuid.0, evidence.cpuid.1, 1]);
        }
        put(0x1a0, &evidence.chip_id);
        put(0x1e0, &self.tcb(evidence.committed));
        put(0x1f0, &self.tcb(evidence.reported));
        let stranger;
        let key = if evidence.forged == Some(Forged::Report) {
            stranger = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key");
            &stranger
        } else {
            &keys().vek
        };
        let signature = key.sign(&SystemRandom::new(), &report[..0x2a0]).expect("a signature");
        for (at, number) in [(0x2a0, &signature.as_ref()[..48]), (0x2e8, &signature.as_ref()[48..])] {
            report[at..at + 48].copy_from_slice(number);
            report[at..at + 48].reverse();
        }
        report
    }

    fn tcb(&self, tcb: Tcb) -> [u8; 8] {
        if self.evidence.turin {
            [tcb.fmc, tcb.bootloader, tcb.tee, tcb.snp, 0, 0, 0, tcb.microcode]
        } else {
            [tcb.bootloader, tcb.tee, 0, 0, 0, 0, tcb.snp, tcb.microcode]
        }
    }

    fn collateral(&self, now_ms: u64) -> Vec<u8> {
        let (evidence, keys) = (&self.evidence, keys());
        let by = |what, key| if evidence.forged == Some(what) { &keys.stranger } else { key };
        let chip = Subject {
            name: VEK,
            issuer: ASK,
            serial: VEK_SERIAL,
            valid: days(evidence.certificate.days, now_ms),
            extensions: self.chip_extensions(),
        };
        let chip = authority::certificate(chip, &keys.vek_public, by(Forged::Key, &keys.ask));
        let mut collateral = if evidence.vlek {
            let asvk = Subject {
                name: ASK,
                issuer: ARK,
                serial: ASK_SERIAL,
                valid: (0, 4_000_000_000),
                extensions: vec![authority::authority(evidence.certificate.authority)],
            };
            let asvk = authority::certificate(asvk, &keys.ask, by(Forged::Authority, &keys.ark));
            serde_json::json!({ "vlek": STANDARD.encode(chip), "asvk": STANDARD.encode(asvk) })
        } else {
            serde_json::json!({ "vcek": STANDARD.encode(chip) })
        };
        if let Some(crl) = &evidence.crl {
            let by = by(Forged::Crl, &keys.ark);
            let unknown = Extension { critical: true, ..authority::extension("1.3.6.1.4.1.3704.9", &[5, 0]) };
            let extensions = crl.critical.then(|| vec![unknown]);
            let list = authority::revocations(ARK, days(crl.days, now_ms), &crl.serials, extensions, by);
            collateral["crl"] = STANDARD.encode(list).into();
        }
        collateral.to_string().into_bytes()
    }

    fn chip_extensions(&self) -> Vec<Extension> {
        let certificate = &self.evidence.certificate;
        let amd =
            |number: &str, value: &[u8]| authority::extension(&format!("1.3.6.1.4.1.3704.1.{number}"), value);
        let name = Ia5StringRef::new(&certificate.product_name).and_then(|name| name.to_der()).expect("DER");
        let mut extensions = vec![amd("2", &name)];
        let tcb = certificate.tcb;
        let mut numbers =
            vec![("3.1", tcb.bootloader), ("3.2", tcb.tee), ("3.3", tcb.snp), ("3.8", tcb.microcode)];
        if self.evidence.turin {
            numbers.push(("3.9", tcb.fmc));
        }
        extensions
            .extend(numbers.into_iter().map(|(number, value)| amd(number, &value.to_der().expect("DER"))));
        if !self.evidence.vlek {
            extensions.push(amd("4", &certificate.hardware_id));
        } else if let Some(provider) = &certificate.provider {
            let provider = Ia5StringRef::new(provider).and_then(|name| name.to_der()).expect("DER");
            extensions.push(amd("5", &provider));
        }
        extensions
    }
}

/// Seconds since 1970 of days from now.
fn days(days: (i64, i64), now_ms: u64) -> (u64, u64) {
    let at = |days: i64| {
        let length = days.unsigned_abs().saturating_mul(DAY_S);
        let now = now_ms / 1000;
        if days < 0 { now.saturating_sub(length) } else { now.saturating_add(length) }
    };
    (at(days.0), at(days.1))
}
