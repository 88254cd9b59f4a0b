//! Get methods: the TVM run on an account's code and data, with nothing kept.

use num_bigint::BigInt;
use tycho_types::cell::HashBytes;
use tycho_types::dict::Dict;
use tycho_types::models::{AccountState, LibDescr, ShardAccount};
use tycho_vm::{GasParams, RcStackValue, SmcInfoBase, VmStateBuilder};

use crate::{Network, NotExecuted};

/// As the C++ node says it of an account without code.
const NO_CODE: i32 = -13;

/// What a get method left.
pub(crate) struct Got {
    pub(crate) exit_code: i32,
    pub(crate) gas_used: u64,
    /// The top of the stack is last.
    pub(crate) stack: Vec<RcStackValue>,
}

/// Runs the method of this number at Unix time `now`.
///
/// # Errors
/// Only for an account that cannot be read.
pub(crate) fn run(
    network: &Network,
    account: &ShardAccount,
    now: u32,
    method: u32,
    mut stack: Vec<RcStackValue>,
) -> Result<Got, NotExecuted> {
    let account = account.load_account().map_err(|error| NotExecuted::Fatal(error.into()))?;
    let no_code = Got { exit_code: NO_CODE, gas_used: 0, stack: Vec::new() };
    let Some(account) = account else { return Ok(no_code) };
    let AccountState::Active(state) = &account.state else { return Ok(no_code) };
    let Some(code) = state.code.clone() else { return Ok(no_code) };
    stack.push(RcStackValue::new_dyn_value(BigInt::from(method)));
    let config = network.config();
    // Not `VmCaller::call_getter`: it reads a storage price list with more than one entry wrongly.
    let info = SmcInfoBase::new()
        .with_now(now)
        .with_block_lt(account.last_trans_lt)
        .with_tx_lt(account.last_trans_lt)
        .with_account_balance(account.balance.clone())
        .with_account_addr(account.address.clone())
        .with_config(config.raw.params.clone())
        .require_ton_v4()
        .with_code(code.clone())
        .require_ton_v6()
        .with_unpacked_config(config.unpacked.as_tuple())
        .require_ton_v11();
    let libraries = (&state.libraries, &Dict::<HashBytes, LibDescr>::new());
    let mut vm = VmStateBuilder::new()
        .with_smc_info(info)
        .with_code(code)
        .with_data(state.data.clone().unwrap_or_default())
        .with_libraries(&libraries)
        .with_init_selector(false)
        .with_stack(stack)
        .with_gas(GasParams::getter())
        .build();
    let exit_code = !vm.run();
    Ok(Got { exit_code, gas_used: vm.gas.consumed(), stack: vm.stack.items.clone() })
}
