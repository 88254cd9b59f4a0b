//! What toncenter v2 answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cocoon_receipts::NanoTon;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Account, ChainError, Head, Status};
use crate::reader::Reader;
use crate::transaction::TransactionId;
use crate::{Address, CellHash, GlobalId, Transaction, boc};

/// A number, or one in text, as large ones are.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64().map(i128::from),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| serde::de::Error::custom("not a number"))
}

#[derive(Deserialize)]
struct BlockId {
    workchain: i32,
    #[serde(deserialize_with = "number")]
    seqno: i128,
    root_hash: String,
}

#[derive(Deserialize)]
struct MasterchainInfo {
    last: BlockId,
    init: BlockId,
}

#[derive(Deserialize)]
struct ConfigInfo {
    config: Bytes,
}

#[derive(Deserialize)]
struct Bytes {
    bytes: String,
}

#[derive(Deserialize)]
struct FullAccountState {
    #[serde(deserialize_with = "number")]
    balance: i128,
    code: String,
    data: String,
    state: String,
    last_transaction_id: InternalTransactionId,
    #[serde(deserialize_with = "number")]
    sync_utime: i128,
}

#[derive(Deserialize)]
struct InternalTransactionId {
    #[serde(deserialize_with = "number")]
    lt: i128,
    hash: String,
}

#[derive(Deserialize)]
struct RawTransaction {
    data: String,
}

#[derive(Deserialize)]
struct RunResult {
    stack: Value,
    exit_code: i32,
}

fn read<T: serde::de::DeserializeOwned>(result: Value, what: &'static str) -> Result<T, ChainError> {
    serde_json::from_value(result).map_err(|_| ChainError::Malformed(what))
}

fn hash(text: &str) -> Result<CellHash, ChainError> {
    text.parse().map_err(|_| ChainError::Malformed("a hash"))
}

fn in_range<T: TryFrom<i128>>(number: i128) -> Result<T, ChainError> {
    T::try_from(number).map_err(|_| ChainError::Malformed("a number"))
}

/// Of `getMasterchainInfo`.
pub(super) fn head(result: Value) -> Result<Head, ChainError> {
    let info: MasterchainInfo = read(result, "masterchainInfo")?;
    if info.last.workchain != -1 || info.init.workchain != -1 || info.init.seqno != 0 {
        return Err(ChainError::Malformed("masterchainInfo"));
    }
    Ok(Head {
        seqno: in_range(info.last.seqno)?,
        root_hash: hash(&info.last.root_hash)?,
        zerostate: hash(&info.init.root_hash)?,
    })
}

/// Of `getConfigParam` with 19.
pub(super) fn global_id(result: Value) -> Result<GlobalId, ChainError> {
    let malformed = ChainError::Malformed("ConfigParam 19");
    let info: ConfigInfo = read(result, "configInfo")?;
    let cell = boc::decode_base64(&info.config.bytes).map_err(|_| malformed.clone())?;
    let mut reader = Reader::new(&cell).map_err(|_| malformed.clone())?;
    let global_id = reader.i32().map_err(|_| malformed.clone())?;
    reader.end().map_err(|_| malformed)?;
    Ok(GlobalId(global_id))
}

/// Of `getAddressInformation`.
pub(super) fn account(result: Value) -> Result<Account, ChainError> {
    let state: FullAccountState = read(result, "fullAccountState")?;
    let cell = |text: &str| boc::decode_base64(text).map_err(|_| ChainError::Malformed("code or data"));
    let status = match state.state.as_str() {
        "uninitialized" => Status::Uninitialized,
        "active" => Status::Active { code: cell(&state.code)?, data: cell(&state.data)? },
        "frozen" => Status::Frozen,
        _ => return Err(ChainError::Malformed("state")),
    };
    let lt = in_range(state.last_transaction_id.lt)?;
    let last_transaction = match lt {
        0 => None,
        lt => Some(TransactionId { lt, hash: hash(&state.last_transaction_id.hash)? }),
    };
    // An account that never was has -1.
    let balance = NanoTon(in_range(state.balance.max(0))?);
    Ok(Account { balance, status, last_transaction, at: in_range(state.sync_utime)? })
}

/// Of `getTransactions`: from `from` on, each the one before it.
pub(super) fn transactions(
    result: Value,
    address: &Address,
    from: Option<TransactionId>,
    limit: u8,
) -> Result<Vec<Transaction>, ChainError> {
    let raw: Vec<RawTransaction> = read(result, "transactions")?;
    let mut expected = from;
    let mut transactions: Vec<Transaction> = Vec::new();
    // Some endpoints answer one more than was asked for.
    for raw in raw.into_iter().take(limit.into()) {
        let bytes = STANDARD.decode(raw.data).map_err(|_| ChainError::Malformed("a transaction"))?;
        let transaction =
            Transaction::from_boc(&bytes).map_err(|_| ChainError::Malformed("a transaction"))?;
        if transaction.account != *address.hash() {
            return Err(ChainError::Broken("a transaction of another account"));
        }
        let begins = transactions.is_empty() && from.is_none();
        if !begins && expected != Some(transaction.id) {
            return Err(ChainError::Broken("a transaction that does not follow"));
        }
        expected = transaction.previous;
        transactions.push(transaction);
    }
    if transactions.is_empty() && from.is_some() {
        return Err(ChainError::Broken("a transaction that is not there"));
    }
    Ok(transactions)
}

/// Of `runGetMethod`.
pub(super) fn stack(result: Value) -> Result<Vec<crate::StackValue>, ChainError> {
    let run: RunResult = read(result, "runResult")?;
    // 1 is the alternative success of the TVM.
    if !matches!(run.exit_code, 0 | 1) {
        return Err(ChainError::ExitCode(run.exit_code));
    }
    Ok(crate::StackValue::list_from_json(&run.stack)?)
}
