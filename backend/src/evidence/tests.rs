use std::process::Command;
use std::sync::Arc;

use cocoon_attestation::{Nonce, tree};

use super::desk::Witness as _;
use super::hardware::tests::{config, snp_guest};
use super::*;
use crate::config::EvidenceConfig;
use crate::keyring::Keyring;
use crate::keyring::tests::PERIODS;

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

/// GPU evidence may take seconds. The document is then of the keys that are published when the quote is made.
#[tokio::test]
async fn keys_that_are_replaced_while_the_gpu_is_asked_are_not_attested() {
    let dir = tempfile::tempdir().unwrap();
    let (asked, go) = (dir.path().join("asked"), dir.path().join("go"));
    assert!(Command::new("mkfifo").arg(&asked).arg(&go).status().unwrap().success());
    // Each waits for the other at the pipe's other end.
    let script = format!("echo $1 > '{}'; read _ < '{}'; echo gpu", asked.display(), go.display());
    let gpu = ["sh", "-c", &script, "gpu", "{nonce}"].map(str::to_owned).to_vec();
    let config = EvidenceConfig { gpu_command: gpu, ..config() };
    let evidence = Arc::new(Evidence::open_on(snp_guest(), &config, None).await.unwrap());
    let keyring = Arc::new(Keyring::of_tests(PERIODS, 10));
    let first = keyring.published();
    let published = Published { evidence, keyring: Arc::clone(&keyring) };
    let replacing = async {
        let read = tokio::fs::read_to_string(asked).await.unwrap();
        assert_eq!(read.trim(), root().to_string());
        keyring.rotate();
        tokio::fs::write(go, "\n").await.unwrap();
    };
    let (document, ()) = tokio::join!(published.attest(root()), replacing);
    let attested = Digest::of(&[&document.unwrap().keyset.0]);
    assert_ne!(attested, first);
    assert_eq!(attested, keyring.published());
}
