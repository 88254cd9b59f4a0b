//! Real evidence, signed by Intel: quotes and their collateral, in the source of the package dcap-qvl, where Cargo keeps
//! it, and in that of the Python package voltage-verify. It is no part of this repository.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A quote and what Intel publishes about its platform.
#[derive(Debug, Clone)]
pub struct Sample {
    pub quote: Vec<u8>,
    /// JSON, as a document carries it.
    pub collateral: Vec<u8>,
}

/// The sample of this name, such as `tdx_quote`.
///
/// # Panics
/// Where dcap-qvl's source is not to be found, or has no such sample.
#[must_use]
pub fn sample(name: &str) -> Sample {
    let folder = folder();
    let read = |file: String| {
        let path = folder.join(file);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    Sample { quote: read(name.to_owned()), collateral: read(format!("{name}_collateral.json")) }
}

fn folder() -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let package =
        packages.iter().find(|package| package["name"] == "dcap-qvl").expect("dcap-qvl is a dependency");
    let manifest = PathBuf::from(package["manifest_path"].as_str().expect("it has a manifest"));
    manifest.with_file_name("sample")
}

/// The quote of a VM with an H200, in the source of voltage-verify 0.2.3 in folder `package`, and the report data that was
/// put into it. The package has no revocation lists of that time; those that came later with another quote, of the same
/// authorities, make it good in October 2026.
///
/// # Panics
/// Where the package or dcap-qvl's source is not as it should be.
#[must_use]
pub fn h200(package: &Path) -> (Sample, Vec<u8>) {
    let read = |name: &str| {
        let path = package.join("tests/fixtures").join(name);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).expect("it is JSON");
    let published = json(&read("intel_collateral_90c06f000000_2026-09-12.json"));
    let answer = |name: &str| published[name]["body"].as_str().expect("there is an answer");
    let (tcb_info, tcb_signature) = signed(answer("tcb_info"), "tcbInfo");
    let (qe_identity, qe_signature) = signed(answer("qe_identity"), "enclaveIdentity");
    let mut collateral = json(&sample("tdx_quote_td15ex").collateral);
    // The quote brings its own.
    collateral.as_object_mut().expect("it has members").remove("pck_certificate_chain");
    for (member, value) in [
        ("tcb_info", tcb_info),
        ("tcb_info_signature", tcb_signature),
        ("qe_identity", qe_identity),
        ("qe_identity_signature", qe_signature),
    ] {
        collateral[member] = value.into();
    }
    let collateral = collateral.to_string().into_bytes();
    let quote = read("quote_h200_2026-09-04.bin");
    (Sample { quote, collateral }, read("report_data_h200_2026-09-04.bin"))
}

/// The statement in `{"NAME":STATEMENT,"signature":"…"}`, byte for byte as it was signed, and its signature.
fn signed<'a>(answer: &'a str, name: &str) -> (&'a str, &'a str) {
    let parts = answer
        .strip_prefix(&format!("{{\"{name}\":"))
        .and_then(|inner| inner.strip_suffix("\"}"))
        .and_then(|inner| inner.split_once(",\"signature\":\""));
    parts.expect("it is a signed statement")
}
