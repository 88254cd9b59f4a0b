//! Real evidence, signed by vendors: in the source of the crates that verify it, where Cargo keeps it, and in that of the
//! Python package voltage-verify. It is no part of this repository.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// Where Cargo keeps the source of each crate.
static FOLDERS: LazyLock<HashMap<String, PathBuf>> = LazyLock::new(folders);

/// A quote and what Intel publishes about its platform.
#[derive(Debug, Clone)]
pub struct Sample {
    pub quote: Vec<u8>,
    /// JSON, as a document carries it.
    pub collateral: Vec<u8>,
}

/// The sample of this name, such as `tdx_quote`: a quote and its collateral, signed by Intel.
///
/// # Panics
/// As [`of_crate`].
#[must_use]
pub fn sample(name: &str) -> Sample {
    let read = |file: &str| of_crate("dcap-qvl", &format!("sample/{file}"));
    Sample { quote: read(name), collateral: read(&format!("{name}_collateral.json")) }
}

/// A file that a crate ships.
///
/// # Panics
/// Where the crate's source is not to be found, or has no such file.
#[must_use]
pub fn of_crate(name: &str, file: &str) -> Vec<u8> {
    let folder = FOLDERS.get(name).unwrap_or_else(|| panic!("{name} is no dependency"));
    let path = folder.join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn folders() -> HashMap<String, PathBuf> {
    // What other platforms need was never downloaded where nothing but this project was built.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform", &target]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("there are packages");
    let text = |value: &serde_json::Value| value.as_str().expect("it is text").to_owned();
    let folder = |package: &serde_json::Value| {
        let manifest = PathBuf::from(text(&package["manifest_path"]));
        (text(&package["name"]), manifest.with_file_name(""))
    };
    packages.iter().map(folder).collect()
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
