use std::path::Path;
use std::sync::atomic::Ordering;

use cocoon_synthetic_tee::samples::of_crate;

use super::*;
use crate::config::tests::evidence;
use crate::evidence::samples::{milan_report, milan_vcek, table};
use crate::evidence::tsm::kernel::{DIR, Kernel};

const VCEK_KIND: u128 = 0x63da758d_e664_4564_adc5_f4b93be8accd;
const OURS: [u8; 64] = [1; 64];
const THEIRS: [u8; 64] = [2; 64];

/// A guest whose reports are real but for the data they are on, and so for their signature.
pub(in crate::evidence) fn snp_guest() -> Kernel {
    let sample = milan_report();
    Kernel {
        quoting: Box::new(move |data| [&sample[..0x50], data, &sample[0x90..]].concat()),
        auxblob: Some(table(&[(VCEK_KIND, &milan_vcek())])),
        piece: 4096,
        ..Kernel::new("sev_guest")
    }
}

pub(in crate::evidence) fn config() -> EvidenceConfig {
    EvidenceConfig { tsm_dir: DIR.into(), ..evidence() }
}

#[tokio::test]
async fn a_quote_is_on_the_data_and_comes_with_its_collateral() {
    let hardware = Hardware::open(snp_guest(), &config()).await.unwrap();
    assert_eq!(hardware.tee(), Tee::SevSnp);
    let (quote, collateral) = hardware.quote(OURS).await.unwrap();
    assert_eq!(snp::report_data(&quote), Some(OURS));
    assert!(String::from_utf8(collateral).unwrap().starts_with("{\"vcek\":\""));
}

/// The kernel's counter is right here: one write was dropped, and one was another's.
#[tokio::test]
async fn a_report_on_anothers_data_is_refused_even_where_the_counter_is_right() {
    let mut guest = snp_guest();
    guest.watch = Box::new(|kernel, path| {
        // Not for the first report, with which the guest is opened.
        if path.ends_with("inblob") && kernel.made.load(Ordering::Relaxed) > 1 {
            kernel.foreign_write(path, &THEIRS).unwrap();
            kernel.lost.store(1, Ordering::Relaxed);
        }
    });
    let hardware = Hardware::open(guest, &config()).await.unwrap();
    let refused = hardware.quote(OURS).await;
    assert!(matches!(refused, Err(EvidenceError::Tsm(TsmError::OtherData))), "{refused:?}");
}

#[tokio::test]
async fn what_is_no_report_is_refused() {
    let mut guest = snp_guest();
    guest.quoting = Box::new(|data| data.to_vec());
    let hardware = Hardware::open(guest, &config()).await;
    let refused = hardware.unwrap().quote(OURS).await;
    assert!(matches!(refused, Err(EvidenceError::Tsm(TsmError::Malformed))), "{refused:?}");
}

#[tokio::test]
async fn a_tdx_guest_needs_a_service_that_has_its_collateral() {
    let sample = of_crate("dcap-qvl", "sample/tdx_quote");
    let guest = || {
        let sample = sample.clone();
        Kernel { quoting: Box::new(move |_| sample.clone()), piece: 4096, ..Kernel::new("tdx_guest") }
    };
    let without = Hardware::open(guest(), &config()).await.map(drop).unwrap_err();
    assert!(without.to_string().contains("evidence.pccs: must be set"), "{without}");
    let away = EvidenceConfig { pccs: Some("http://127.0.0.1:9".to_owned()), ..config() };
    let hardware = Hardware::open(guest(), &away).await.unwrap();
    assert_eq!(hardware.tee(), Tee::Tdx);
    let own = tdx::report_data(&sample).unwrap();
    let refused = hardware.quote(own).await;
    assert!(matches!(refused, Err(EvidenceError::Collateral(_))), "no document without it: {refused:?}");
}

#[tokio::test]
async fn a_machine_without_a_tee_says_so_at_the_start() {
    let nowhere = EvidenceConfig { tsm_dir: "/no/such/folder".into(), ..config() };
    let error = Hardware::open(snp_guest(), &nowhere).await.map(drop).unwrap_err();
    assert!(error.to_string().starts_with("there is no TEE here"), "{error}");
    assert!(!Path::new("/no/such/folder").exists());
}
