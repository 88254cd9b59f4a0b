//! What is asked of Intel TDX quotes. DEBUG off, no migration, no service TD are asked always.

use serde::Deserialize;

use super::hex::Hex;

/// The `[tdx]` section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxPolicy {
    /// What may run: a quote must fit one of them in every register.
    pub images: Vec<TdxImage>,
    /// Measurements of the TDX module; where there are none, any module that Intel signed will do, at the TCB status below.
    #[serde(default)]
    pub mr_seam: Vec<Hex<48>>,
    #[serde(default)]
    pub mr_config_id: Hex<48>,
    #[serde(default)]
    pub mr_owner: Hex<48>,
    #[serde(default)]
    pub mr_owner_config: Hex<48>,
    /// Extended features that the VM may have on, as the mask XFAM; none: any.
    #[serde(default)]
    pub xfam: Option<Hex<8>>,
    /// TCB statuses in Intel's words.
    #[serde(default = "up_to_date")]
    pub tcb_statuses: Vec<TcbStatus>,
    /// Advisories that may apply, such as `INTEL-SA-00837`; any other fails.
    #[serde(default)]
    pub advisories: Vec<String>,
    #[serde(default)]
    pub min_tcb_evaluation_number: u32,
    /// Oldest issue date of the collateral, days.
    #[serde(default)]
    pub max_collateral_age_days: Option<u32>,
}

/// A VM's image by its measurements.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxImage {
    /// For people.
    pub name: String,
    pub mr_td: Hex<48>,
    pub rtmr0: Register,
    pub rtmr1: Register,
    pub rtmr2: Register,
    pub rtmr3: Register,
}

/// What a run-time measurement register must hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Register {
    Value(Hex<48>),
    /// What the event log of the document says was measured into it, and the quote confirms: one event for each place, in
    /// this order, and no other.
    Events {
        events: Vec<Event>,
    },
}

/// The digests that will do at one place of an event log.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Event {
    One(Hex<48>),
    AnyOf(Vec<Hex<48>>),
}

/// Intel's words for the state of a platform (Intel PCS API, TCB Info).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum TcbStatus {
    UpToDate,
    SWHardeningNeeded,
    ConfigurationNeeded,
    ConfigurationAndSWHardeningNeeded,
    OutOfDate,
    OutOfDateConfigurationNeeded,
    TDRelaunchAdvised,
    TDRelaunchAdvisedConfigurationNeeded,
}

fn up_to_date() -> Vec<TcbStatus> {
    vec![TcbStatus::UpToDate]
}
