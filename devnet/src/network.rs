//! What the chain charges and which chain it is: its configuration, made from published parameters.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use tycho_executor::ParsedConfig;
use tycho_types::cell::{Cell, CellBuilder, HashBytes};
use tycho_types::dict::Dict;
use tycho_types::error::Error;
use tycho_types::models::{
    BlockchainConfig, BlockchainConfigParams, GasLimitsPrices, GlobalCapabilities, GlobalVersion,
    MsgForwardPrices, StoragePrices, WorkchainDescription, WorkchainFormat, WorkchainFormatBasic,
};

/// The TVM's version, ConfigParam 8: the newest that `tycho-vm` and `@ton/sandbox` both have. Mainnet is at 15;
/// no contract here depends on what 13 to 15 changed.
const TVM_VERSION: u32 = 12;

/// ConfigParam 8 of mainnet at that version.
const CAPABILITIES: u64 = 0x1ee;

/// Account of the masterchain that keeps the configuration.
const CONFIGURATION: HashBytes = HashBytes([0x55; 32]);

/// Prices are counted in 1/65536 nanoTON (block.tlb, `gas_prices`, `msg_forward_prices`).
const UNIT: u64 = 1 << 16;

/// A list of prices that the main network has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fees {
    /// 400 nanoTON for a unit of gas: until April 2026.
    Old,
    /// 66.67 nanoTON for a unit of gas: since then.
    Current,
}

/// ConfigParam 18, 21 and 25 for the basechain.
struct Prices {
    storage_bit: u64,
    storage_cell: u64,
    gas_flat: u64,
    gas: u64,
    message: u64,
    message_bit: u64,
    message_cell: u64,
}

impl Fees {
    const fn prices(self) -> Prices {
        match self {
            Self::Old => Prices {
                storage_bit: 1,
                storage_cell: 500,
                gas_flat: 40_000,
                gas: 400 * UNIT,
                message: 400_000,
                message_bit: 400 * UNIT,
                message_cell: 40_000 * UNIT,
            },
            Self::Current => Prices {
                storage_bit: 0,
                storage_cell: 135,
                gas_flat: 6_667,
                gas: 4_369_067,
                message: 66_667,
                message_bit: 4_369_067,
                message_cell: 436_906_667,
            },
        }
    }
}

/// One chain: its prices, its number, and the name of its first block.
#[derive(Debug, Clone)]
pub struct Network {
    fees: Fees,
    global_id: i32,
    zerostate: HashBytes,
    config: Arc<ParsedConfig>,
}

impl Network {
    /// A network of these prices and this number.
    ///
    /// # Errors
    /// Only if the parameters do not fit the cells they are written to.
    pub fn new(fees: Fees, global_id: i32) -> Result<Self, Error> {
        let params = parameters(&fees.prices(), global_id)?;
        let address = CONFIGURATION;
        // All storage prices are in force, whatever the time.
        let config = ParsedConfig::parse(BlockchainConfig { address, params }, u32::MAX)?;
        let mut zerostate = Sha256::new_with_prefix("cocoon-devnet zerostate\0");
        zerostate.update(root(&config).repr_hash());
        let zerostate = HashBytes(zerostate.finalize().into());
        Ok(Self { fees, global_id, zerostate, config: Arc::new(config) })
    }

    /// Which list of prices it has.
    #[must_use]
    pub fn fees(&self) -> Fees {
        self.fees
    }

    /// ConfigParam 19, on which signatures and the addresses of W5 wallets depend.
    #[must_use]
    pub fn global_id(&self) -> i32 {
        self.global_id
    }

    /// What stands for the root hash of the first block. No other network has it, so nothing that names its
    /// network by it can be taken for this one.
    #[must_use]
    pub fn zerostate(&self) -> HashBytes {
        self.zerostate
    }

    /// The whole configuration, a dictionary by the number of each parameter.
    #[must_use]
    pub fn root(&self) -> Cell {
        root(&self.config)
    }

    /// One parameter; none where the chain does not have it.
    ///
    /// # Errors
    /// Only for a configuration that [`Self::new`] did not make.
    pub fn parameter(&self, id: u32) -> Result<Option<Cell>, Error> {
        self.config.raw.params.get_raw_cell(id)
    }

    pub(crate) fn config(&self) -> &ParsedConfig {
        &self.config
    }
}

fn root(config: &ParsedConfig) -> Cell {
    // A dictionary with entries has a root.
    config.raw.params.as_dict().root().clone().unwrap_or_default()
}

fn parameters(prices: &Prices, global_id: i32) -> Result<BlockchainConfigParams, Error> {
    let mut params = BlockchainConfig::new_empty(CONFIGURATION).params;
    params.set_elector_address(&HashBytes([0x33; 32]))?;
    let capabilities = GlobalCapabilities::new(CAPABILITIES);
    params.set_global_version(&GlobalVersion { version: TVM_VERSION, capabilities })?;
    params.set_workchains(&basechain()?)?;
    params.set_storage_prices(&[StoragePrices {
        utime_since: 0,
        bit_price_ps: prices.storage_bit,
        cell_price_ps: prices.storage_cell,
        mc_bit_price_ps: 1_000,
        mc_cell_price_ps: 500_000,
    }])?;
    params.set_global_id(global_id)?;
    for masterchain in [true, false] {
        params.set_gas_prices(masterchain, &gas_prices(prices, masterchain))?;
        params.set_msg_forward_prices(masterchain, &forward_prices(prices, masterchain))?;
    }
    params.set_fundamental_addresses(&[CONFIGURATION])?;
    params.set_size_limits(&ParsedConfig::DEFAULT_SIZE_LIMITS_CONFIG)?;
    Ok(params)
}

fn basechain() -> Result<Dict<i32, WorkchainDescription>, Error> {
    let mut workchains = Dict::new();
    workchains.set(
        0,
        WorkchainDescription {
            enabled_since: 0,
            actual_min_split: 0,
            min_split: 0,
            max_split: 0,
            active: true,
            accept_msgs: true,
            zerostate_root_hash: HashBytes::ZERO,
            zerostate_file_hash: HashBytes::ZERO,
            version: 0,
            format: WorkchainFormat::Basic(WorkchainFormatBasic { vm_version: -1, vm_mode: 0 }),
        },
    )?;
    Ok(workchains)
}

fn gas_prices(prices: &Prices, masterchain: bool) -> GasLimitsPrices {
    let limits = GasLimitsPrices {
        gas_price: prices.gas,
        gas_limit: 1_000_000,
        special_gas_limit: 1_000_000,
        gas_credit: 10_000,
        block_gas_limit: 10_000_000,
        // Debts of an account in nanoTON: 0.1 TON and 1 TON.
        freeze_due_limit: 100_000_000,
        delete_due_limit: 1_000_000_000,
        flat_gas_limit: 100,
        flat_gas_price: prices.gas_flat,
    };
    if !masterchain {
        return limits;
    }
    GasLimitsPrices {
        gas_price: 10_000 * UNIT,
        special_gas_limit: 70_000_000,
        block_gas_limit: 2_500_000,
        flat_gas_price: 1_000_000,
        ..limits
    }
}

fn forward_prices(prices: &Prices, masterchain: bool) -> MsgForwardPrices {
    let (lump_price, bit_price, cell_price) = match masterchain {
        true => (10_000_000, 10_000 * UNIT, 1_000_000 * UNIT),
        false => (prices.message, prices.message_bit, prices.message_cell),
    };
    // A third of a message's fee goes to the block that sends it (65536 / 3).
    MsgForwardPrices {
        lump_price,
        bit_price,
        cell_price,
        ihr_price_factor: 98_304,
        first_frac: 21_845,
        next_frac: 21_845,
    }
}

/// A message's body or a value as a cell of its own.
pub(crate) fn to_cell(slice: tycho_types::cell::CellSlice<'_>) -> Result<Cell, Error> {
    let mut builder = CellBuilder::new();
    builder.store_slice(slice)?;
    builder.build()
}
