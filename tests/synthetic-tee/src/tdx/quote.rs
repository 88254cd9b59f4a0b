//! A quote's bytes (Intel TDX DCAP quoting library API, appendix A.3 and A.4), little-endian throughout.

use aws_lc_rs::digest::{SHA256, digest};

use super::authority::Authority;
use super::evidence::{Form, SVN, Td, TdxEvidence};

const TDX: u32 = 0x81;
const ECDSA_P256: u16 = 2;
/// Intel's quoting enclave, 939A7233-F79C-4CA9-940A-0DB3957F0607.
const VENDOR: [u8; 16] =
    [0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07];
const TD_REPORT_1_5: u16 = 3;
/// Certification data: the quoting enclave's report, and in that a chain of PEM certificates.
const QE_REPORT: u16 = 6;
const PCK_CHAIN: u16 = 5;

/// Of the quoting enclave; the QE identity says the same.
pub(super) const QE_SIGNER: [u8; 32] = [0xdc; 32];
pub(super) const QE_PRODUCT: u16 = 2;
pub(super) const QE_ATTRIBUTES: [u8; 16] = [0x11, 0, 0, 0, 0, 0, 0, 0, 0xe7, 0, 0, 0, 0, 0, 0, 0];

pub(super) fn quote(authority: &Authority, evidence: &TdxEvidence, report_data: &[u8; 64]) -> Vec<u8> {
    let mut quote = header(evidence.form);
    let body = body(evidence.form, &evidence.td, report_data);
    if evidence.form == Form::V5 {
        quote.extend(TD_REPORT_1_5.to_le_bytes());
        quote.extend(length(&body));
    }
    quote.extend(body);

    let signer = authority.attestation();
    let auth_data = [0x20; 32];
    let hash = digest(&SHA256, &[signer.public(), &auth_data].concat());
    let enclave = enclave(hash.as_ref());
    let chain = authority.pck_chain().into_bytes();
    let mut certification = enclave.clone();
    certification.extend(authority.pck().sign(&enclave));
    certification.extend(32_u16.to_le_bytes());
    certification.extend(auth_data);
    certification.extend(PCK_CHAIN.to_le_bytes());
    certification.extend(length(&chain));
    certification.extend(chain);

    let mut signed = signer.sign(&quote).to_vec();
    signed.extend(signer.public());
    signed.extend(QE_REPORT.to_le_bytes());
    signed.extend(length(&certification));
    signed.extend(certification);
    quote.extend(length(&signed));
    quote.extend(signed);
    quote
}

fn header(form: Form) -> Vec<u8> {
    let version: u16 = match form {
        Form::V4 => 4,
        Form::V5 => 5,
    };
    let mut header = version.to_le_bytes().to_vec();
    header.extend(ECDSA_P256.to_le_bytes());
    header.extend(TDX.to_le_bytes());
    // SVN of QE and PCE, which version 4 has no more.
    header.extend([0; 4]);
    header.extend(VENDOR);
    header.extend([0; 20]);
    header
}

fn body(form: Form, td: &Td, report_data: &[u8; 64]) -> Vec<u8> {
    let mut body = td.tee_tcb_svn.to_vec();
    body.extend(td.mr_seam);
    body.extend(td.mr_signer_seam);
    body.extend(td.seam_attributes);
    body.extend(td.attributes.to_le_bytes());
    body.extend(td.xfam);
    body.extend(td.mr_td);
    body.extend(td.mr_config_id);
    body.extend(td.mr_owner);
    body.extend(td.mr_owner_config);
    body.extend(td.rtmr.as_flattened());
    body.extend(report_data);
    if form == Form::V5 {
        // The TCB that the module has now, which is what it had at launch.
        body.extend(td.tee_tcb_svn);
        body.extend(td.mr_service_td);
    }
    body
}

/// The quoting enclave's report, with `hash` as the first half of its report data.
fn enclave(hash: &[u8]) -> Vec<u8> {
    let mut report = vec![SVN; 16];
    // MISCSELECT, reserved.
    report.extend([0; 4 + 28]);
    report.extend(QE_ATTRIBUTES);
    // MRENCLAVE, reserved.
    report.extend([0xe1; 32]);
    report.extend([0; 32]);
    report.extend(QE_SIGNER);
    report.extend([0; 96]);
    report.extend(QE_PRODUCT.to_le_bytes());
    report.extend(u16::from(SVN).to_le_bytes());
    report.extend([0; 60]);
    report.extend(hash);
    report.extend([0; 32]);
    report
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("a short part").to_le_bytes()
}
