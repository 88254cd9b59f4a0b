//! What is asked of NVIDIA GPUs. Secure boot, debug off and good measurements are asked always.

use serde::Deserialize;

/// The `[gpu]` section. Without it a document may have no devices.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuPolicy {
    /// How many there must be, no more and no fewer.
    pub count: usize,
    /// Models that will do, as NVIDIA writes `hwmodel`.
    pub models: Vec<String>,
    /// Driver versions that will do; none: any that NVIDIA has reference values for.
    #[serde(default)]
    pub drivers: Vec<String>,
    /// Oldest evidence, seconds.
    #[serde(default = "an_hour")]
    pub max_age_s: u64,
}

fn an_hour() -> u64 {
    3600
}
