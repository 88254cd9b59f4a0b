//! Real evidence, signed by Intel, in the source of the package dcap-qvl: quotes and their collateral. It is read from where
//! Cargo keeps that source and is no part of this repository.

use std::path::PathBuf;
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
