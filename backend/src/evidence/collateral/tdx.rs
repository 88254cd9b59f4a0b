//! Intel's collateral for TDX, from a caching service (PCCS) with the paths of Intel's own, version 4.

use std::str::FromStr as _;
use std::sync::{Arc, PoisonError, RwLock};

use cocoon_process::{FetchError, Fetched, Fetcher};
use dcap_qvl::QuoteCollateralV3;
use dcap_qvl::quote::Quote;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::{DateTime, Decode as _};

use super::{CollateralError, LIMITS};

/// Certification data in a quote that is the platform's certificate chain (Intel's quote format, appendix A.3.11).
const CERTIFICATE_CHAIN: u16 = 5;
/// Where the base URL may end, as Intel's tools have it.
const BASE_SUFFIXES: [&str; 2] = ["/sgx/certification/v4", "/tdx/certification/v4"];

/// The 64 bytes that a quote is on; none where it is no TDX quote.
pub(in crate::evidence) fn report_data(quote: &[u8]) -> Option<[u8; 64]> {
    Quote::parse(quote).ok()?.report.as_td10().map(|report| report.report_data)
}

/// Which collateral a quote needs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Platform {
    /// Family, model, stepping and so on, in hexadecimal.
    fmspc: String,
    /// `processor` or `platform`: who issued its certificate.
    issuer: &'static str,
}

/// Collateral that was fetched.
#[derive(Debug)]
struct Kept {
    platform: Platform,
    collateral: QuoteCollateralV3,
    /// When the first part of it is out of date, milliseconds since 1970.
    until: u64,
}

/// The caching service, and what it said last.
#[derive(Debug)]
pub(in crate::evidence) struct Pccs {
    fetcher: Fetcher,
    base: String,
    kept: RwLock<Option<Arc<Kept>>>,
}

impl Pccs {
    /// # Errors
    /// [`FetchError`].
    pub(super) fn new(url: &str) -> Result<Self, FetchError> {
        let mut base = url.trim_end_matches('/');
        for suffix in BASE_SUFFIXES {
            base = base.trim_end_matches(suffix);
        }
        let fetcher = Fetcher::new(base.starts_with("https"), LIMITS)?;
        Ok(Self { fetcher, base: base.to_owned(), kept: RwLock::default() })
    }

    /// The collateral for a quote as `dcap_qvl`'s JSON. What is kept is used while it is in date.
    pub(super) async fn section(&self, quote: &[u8], now_ms: u64) -> Result<Vec<u8>, CollateralError> {
        let (platform, chain) = platform(quote)?;
        let kept = self.kept().filter(|kept| kept.platform == platform && kept.until > now_ms);
        let kept = match kept {
            Some(kept) => kept,
            None => self.fetch(platform, now_ms).await?,
        };
        let collateral = QuoteCollateralV3 { pck_certificate_chain: Some(chain), ..kept.collateral.clone() };
        serde_json::to_vec(&collateral).map_err(|_| self.malformed("the collateral"))
    }

    /// Fetches anew what is kept.
    pub(super) async fn refresh(&self, now_ms: u64) -> Result<(), CollateralError> {
        match self.kept() {
            Some(kept) => self.fetch(kept.platform.clone(), now_ms).await.map(drop),
            None => Ok(()),
        }
    }

    fn kept(&self) -> Option<Arc<Kept>> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn fetch(&self, platform: Platform, now_ms: u64) -> Result<Arc<Kept>, CollateralError> {
        let Platform { fmspc, issuer } = &platform;
        let at = |path: String| format!("{}/{path}", self.base);
        let urls = [
            at(format!("sgx/certification/v4/pckcrl?ca={issuer}&encoding=der")),
            at("sgx/certification/v4/rootcacrl".to_owned()),
            at(format!("tdx/certification/v4/tcb?fmspc={fmspc}")),
            at("tdx/certification/v4/qe/identity".to_owned()),
        ];
        let [pck_crl, root_crl, tcb, identity] = &urls;
        let (pck_crl, root_crl, tcb, identity) = tokio::try_join!(
            self.fetcher.get(pck_crl),
            self.fetcher.get(root_crl),
            self.fetcher.get(tcb),
            self.fetcher.get(identity)
        )?;
        let (pck_crl_der, pck_until) = self.list(&pck_crl.body, "the platform's revocation list")?;
        let (root_ca_crl, root_until) = self.list(&root_crl.body, "the root's revocation list")?;
        let (tcb_info, tcb_info_signature, tcb_until) = self.signed::<TcbInfo>(&tcb)?;
        let (qe_identity, qe_identity_signature, identity_until) = self.signed::<Identity>(&identity)?;
        let until = pck_until.min(root_until).min(tcb_until).min(identity_until);
        if until <= now_ms {
            return Err(CollateralError::OutOfDate("Intel's collateral at the PCCS"));
        }
        let collateral = QuoteCollateralV3 {
            pck_crl_issuer_chain: self.chain(&pck_crl, &["sgx-pck-crl-issuer-chain"])?,
            root_ca_crl,
            pck_crl: pck_crl_der,
            tcb_info_issuer_chain: self
                .chain(&tcb, &["tcb-info-issuer-chain", "sgx-tcb-info-issuer-chain"])?,
            tcb_info,
            tcb_info_signature,
            qe_identity_issuer_chain: self.chain(&identity, &["sgx-enclave-identity-issuer-chain"])?,
            qe_identity,
            qe_identity_signature,
            pck_certificate_chain: None,
        };
        let kept = Arc::new(Kept { platform, collateral, until });
        *self.kept.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&kept));
        Ok(kept)
    }

    /// A revocation list in DER, which some services give in hexadecimal, and when the next one comes.
    fn list(&self, body: &[u8], what: &'static str) -> Result<(Vec<u8>, u64), CollateralError> {
        let der = hex::decode(body.trim_ascii()).unwrap_or_else(|_| body.to_vec());
        let list = CertificateList::from_der(&der).ok();
        let next = list.and_then(|list| list.tbs_cert_list.next_update);
        let next = next.ok_or_else(|| self.malformed(what))?.to_unix_duration();
        Ok((der, millis(next)))
    }

    /// The signed bytes as they came, their signature, and when the next ones come.
    fn signed<S: Signed>(&self, fetched: &Fetched) -> Result<(String, Vec<u8>, u64), CollateralError> {
        let malformed = || self.malformed(S::WHAT);
        let answer: S = serde_json::from_slice(&fetched.body).map_err(|_| malformed())?;
        let (text, signature) = answer.parts();
        let dated: Dated = serde_json::from_str(text).map_err(|_| malformed())?;
        let next = DateTime::from_str(&dated.next_update).map_err(|_| malformed())?.unix_duration();
        let signature = hex::decode(signature).map_err(|_| malformed())?;
        Ok((text.to_owned(), signature, millis(next)))
    }

    /// A certificate chain (PEM), which travels in a header.
    fn chain(&self, fetched: &Fetched, names: &[&str]) -> Result<String, CollateralError> {
        let header = names.iter().find_map(|name| fetched.headers.get(*name));
        let encoded = header.and_then(|value| value.to_str().ok());
        let chain = encoded.and_then(|text| percent_decode_str(text).decode_utf8().ok());
        chain
            .filter(|chain| chain.contains("-----BEGIN CERTIFICATE-----"))
            .map(std::borrow::Cow::into_owned)
            .ok_or_else(|| self.malformed("an issuer chain"))
    }

    fn malformed(&self, what: &'static str) -> CollateralError {
        CollateralError::Malformed { from: self.base.clone(), what }
    }
}

/// The platform of a quote, and its certificate chain (PEM).
fn platform(quote: &[u8]) -> Result<(Platform, String), CollateralError> {
    let quote = Quote::parse(quote).map_err(|_| CollateralError::Platform("it is no TDX quote"))?;
    if quote.inner_cert_type() != CERTIFICATE_CHAIN {
        return Err(CollateralError::Platform("it has no certificate chain"));
    }
    let no_chain = || CollateralError::Platform("its certificate chain is none");
    let chain = dcap_qvl::intel::extract_cert_chain(&quote).map_err(|_| no_chain())?;
    let leaf = chain.first().ok_or_else(no_chain)?;
    let extension = dcap_qvl::intel::parse_pck_extension(leaf).map_err(|_| no_chain())?;
    let leaf = Certificate::from_der(leaf).map_err(|_| no_chain())?;
    // The C strings of the format end with a zero.
    let pem = String::from_utf8(quote.inner_cert_data().to_vec()).map_err(|_| no_chain())?;
    let platform = Platform {
        fmspc: hex::encode_upper(extension.fmspc),
        issuer: issuer(&leaf).ok_or(CollateralError::Platform("its certificate has another issuer"))?,
    };
    Ok((platform, pem.trim_end_matches('\0').to_owned()))
}

/// Which of Intel's two authorities issued a platform's certificate; they have revocation lists of their own.
fn issuer(leaf: &Certificate) -> Option<&'static str> {
    let name = leaf.tbs_certificate.issuer.to_string();
    [("PCK Processor CA", "processor"), ("PCK Platform CA", "platform")]
        .into_iter()
        .find_map(|(part, issuer)| name.contains(part).then_some(issuer))
}

fn millis(since_1970: std::time::Duration) -> u64 {
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// A signed answer of the service.
trait Signed: serde::de::DeserializeOwned {
    const WHAT: &'static str;

    /// The exact signed text, and the signature in hexadecimal.
    fn parts(&self) -> (&str, &str);
}

#[derive(Deserialize)]
struct TcbInfo {
    #[serde(rename = "tcbInfo")]
    info: Box<RawValue>,
    signature: String,
}

impl Signed for TcbInfo {
    const WHAT: &'static str = "the TCB information";

    fn parts(&self) -> (&str, &str) {
        (self.info.get(), &self.signature)
    }
}

#[derive(Deserialize)]
struct Identity {
    #[serde(rename = "enclaveIdentity")]
    identity: Box<RawValue>,
    signature: String,
}

impl Signed for Identity {
    const WHAT: &'static str = "the quoting enclave's identity";

    fn parts(&self) -> (&str, &str) {
        (self.identity.get(), &self.signature)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dated {
    next_update: String,
}

#[cfg(test)]
mod tests;
