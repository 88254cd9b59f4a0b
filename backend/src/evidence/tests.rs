use cocoon_attestation::{Nonce, tree};

use super::hardware::tests::{config, snp_guest};
use super::*;
use crate::config::EvidenceConfig;

fn root() -> Digest {
    tree::leaf(&Nonce([5; 32]))
}

async fn document(config: &EvidenceConfig) -> Result<Document, EvidenceError> {
    let evidence = Evidence::open_on(snp_guest(), config, None).await.unwrap();
    let devices = evidence.devices(root()).await?;
    evidence.document(root(), b"keyset".to_vec(), devices).await
}

#[tokio::test]
async fn the_quote_is_on_the_root_the_keyset_and_the_devices() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    std::fs::write(&log, b"events").unwrap();
    let gpu = ["sh", "-c", "printf \"gpu for $1\"", "gpu", "{nonce}"].map(str::to_owned).to_vec();
    let config = EvidenceConfig { gpu_command: gpu, event_log: Some(log), ..config() };
    let document = document(&config).await.unwrap();
    let devices = format!("gpu for {}", root()).into_bytes();
    assert_eq!((document.tee, document.keyset.0.as_slice()), (Tee::SevSnp, &b"keyset"[..]));
    assert_eq!(document.devices.0, devices);
    assert_eq!(document.event_log.0, b"events");
    assert_eq!(document.quote.0[0x50..0x90], report_data(root(), b"keyset", &devices));
    assert!(!document.collateral.0.is_empty());
}

#[tokio::test]
async fn a_document_that_nobody_would_read_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, length: usize| {
        let path = dir.path().join(name);
        std::fs::write(&path, vec![0; length]).unwrap();
        Some(path)
    };
    let fits = EvidenceConfig { gpu_file: file("gpu", 512 << 10), ..config() };
    assert!(document(&fits).await.is_ok());
    let both = EvidenceConfig { event_log: file("log", MAX_EVENT_LOG), ..fits.clone() };
    assert!(matches!(document(&both).await, Err(EvidenceError::TooLarge(_))));
    let large = EvidenceConfig { event_log: file("log", MAX_EVENT_LOG + 1), ..fits };
    assert!(matches!(document(&large).await, Err(EvidenceError::EventLog(_))));
}

#[tokio::test]
async fn without_what_is_configured_there_is_no_document() {
    let missing = || Some("/no/such/file".into());
    let devices = document(&EvidenceConfig { gpu_file: missing(), ..config() }).await;
    assert!(matches!(devices, Err(EvidenceError::Devices(_))));
    let log = document(&EvidenceConfig { event_log: missing(), ..config() }).await;
    assert!(matches!(log, Err(EvidenceError::EventLog(_))));
}
