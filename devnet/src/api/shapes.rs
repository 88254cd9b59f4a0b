//! The chain's things as toncenter v2 writes them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellSlice, HashBytes};
use tycho_types::models::{
    Account, AccountState, Base64StdAddrFlags, DisplayBase64StdAddr, IntAddr, MsgInfo, OwnedMessage,
    ShardAccount, StdAddr, Transaction, TxInfo,
};

use super::error::ApiError;
use crate::network::to_cell;
use crate::state::{Block, Recorded};

/// The one shard of each chain.
pub(crate) const SHARD: &str = "-9223372036854775808";

/// Largest comment that is read, bytes.
const MAX_COMMENT: usize = 4096;

pub(crate) fn hash(hash: &HashBytes) -> String {
    STANDARD.encode(hash)
}

fn boc(cell: &Cell) -> String {
    Boc::encode_base64(cell)
}

/// The form that wallets show.
pub(crate) fn friendly(address: &StdAddr, bounceable: bool, base64_url: bool) -> String {
    let flags = Base64StdAddrFlags { testnet: false, base64_url, bounceable };
    DisplayBase64StdAddr { addr: address, flags }.to_string()
}

fn address(address: &IntAddr) -> String {
    address.as_std().map(|address| friendly(address, true, true)).unwrap_or_default()
}

pub(crate) fn block_id(block: &Block, workchain: i32) -> Value {
    json!({
        "@type": "ton.blockIdExt",
        "workchain": workchain,
        "shard": SHARD,
        "seqno": block.seqno,
        "root_hash": hash(&block.root_hash(workchain)),
        "file_hash": hash(&block.file_hash(workchain)),
    })
}

pub(crate) fn transaction_id(lt: u64, of: &HashBytes) -> Value {
    json!({"@type": "internal.transactionId", "lt": lt.to_string(), "hash": hash(of)})
}

pub(crate) fn state_name(account: Option<&Account>) -> &'static str {
    match account.map(|account| &account.state) {
        None | Some(AccountState::Uninit) => "uninitialized",
        Some(AccountState::Active(_)) => "active",
        Some(AccountState::Frozen(_)) => "frozen",
    }
}

pub(crate) fn balance(account: Option<&Account>) -> String {
    account.map_or(0, |account| account.balance.tokens.into_inner()).to_string()
}

/// Of `getAddressInformation`.
pub(crate) fn account(shard: &ShardAccount, head: &Block) -> Result<Value, ApiError> {
    let account = shard.load_account()?;
    let (mut code, mut data, mut frozen) = (String::new(), String::new(), String::new());
    match account.as_ref().map(|account| &account.state) {
        Some(AccountState::Active(state)) => {
            code = state.code.as_ref().map(boc).unwrap_or_default();
            data = state.data.as_ref().map(boc).unwrap_or_default();
        }
        Some(AccountState::Frozen(of)) => frozen = hash(of),
        Some(AccountState::Uninit) | None => {}
    }
    Ok(json!({
        "@type": "raw.fullAccountState",
        "balance": balance(account.as_ref()),
        "extra_currencies": [],
        "code": code,
        "data": data,
        "frozen_hash": frozen,
        "last_transaction_id": transaction_id(shard.last_trans_lt, &shard.last_trans_hash),
        "block_id": block_id(head, -1),
        "sync_utime": head.time,
        "state": state_name(account.as_ref()),
    }))
}

/// Of `getExtendedAddressInformation`: no contract's data is read.
pub(crate) fn extended_account(of: &StdAddr, shard: &ShardAccount, head: &Block) -> Result<Value, ApiError> {
    let raw = account(shard, head)?;
    let state = match raw["state"].as_str() {
        Some("uninitialized") => json!({"@type": "uninited.accountState", "frozen_hash": raw["frozen_hash"]}),
        _ => json!({
            "@type": "raw.accountState",
            "code": raw["code"],
            "data": raw["data"],
            "frozen_hash": raw["frozen_hash"],
        }),
    };
    Ok(json!({
        "@type": "fullAccountState",
        "address": {"@type": "accountAddress", "account_address": friendly(of, true, true)},
        "balance": raw["balance"],
        "extra_currencies": [],
        "last_transaction_id": raw["last_transaction_id"],
        "block_id": raw["block_id"],
        "sync_utime": head.time,
        "account_state": state,
        "revision": 0,
    }))
}

/// The text of a body that is a comment: 32 zero bits, then UTF-8 in this cell and those it refers to.
fn comment(mut body: CellSlice<'_>) -> Option<String> {
    if body.load_u32().ok()? != 0 {
        return None;
    }
    let mut text = Vec::new();
    loop {
        if !body.size_bits().is_multiple_of(8) || text.len() > MAX_COMMENT {
            return None;
        }
        while body.size_bits() > 0 {
            text.push(body.load_u8().ok()?);
        }
        match body.size_refs() {
            0 => return String::from_utf8(text).ok(),
            1 => body = body.load_reference_as_slice().ok()?,
            _ => return None,
        }
    }
}

fn message(cell: &Cell) -> Result<Value, ApiError> {
    let parsed = cell.parse::<OwnedMessage>()?;
    let slice = CellSlice::apply(&parsed.body)?;
    let body = to_cell(slice)?;
    let (source, destination, value, fee, created_lt) = match &parsed.info {
        MsgInfo::Int(info) => (
            address(&info.src),
            address(&info.dst),
            info.value.tokens.to_string(),
            info.fwd_fee.to_string(),
            info.created_lt,
        ),
        MsgInfo::ExtIn(info) => {
            (String::new(), address(&info.dst), "0".to_owned(), info.import_fee.to_string(), 0)
        }
        MsgInfo::ExtOut(info) => {
            (address(&info.src), String::new(), "0".to_owned(), "0".to_owned(), info.created_lt)
        }
    };
    let init = parsed.init.as_ref().map(tycho_types::cell::CellBuilder::build_from).transpose()?;
    let text = comment(slice);
    let data = match &text {
        Some(text) => json!({"@type": "msg.dataText", "text": STANDARD.encode(text)}),
        None => json!({
            "@type": "msg.dataRaw",
            "body": boc(&body),
            "init_state": init.as_ref().map(boc).unwrap_or_default(),
        }),
    };
    Ok(json!({
        "@type": "raw.message",
        "hash": hash(cell.repr_hash()),
        "source": source,
        "destination": destination,
        "value": value,
        "extra_currencies": [],
        "fwd_fee": fee,
        "ihr_fee": "0",
        "created_lt": created_lt.to_string(),
        "body_hash": hash(body.repr_hash()),
        "msg_data": data,
        "message": text.unwrap_or_else(|| STANDARD.encode(body.data())),
    }))
}

fn storage_fee(info: &TxInfo) -> u128 {
    let phase = match info {
        TxInfo::Ordinary(info) => info.storage_phase.as_ref(),
        TxInfo::TickTock(info) => Some(&info.storage_phase),
    };
    phase.map_or(0, |phase| phase.storage_fees_collected.into_inner())
}

pub(crate) fn transaction(recorded: &Recorded) -> Result<Value, ApiError> {
    let parsed = recorded.cell.parse::<Transaction>()?;
    let outgoing = parsed.out_msgs.values().map(|cell| message(&cell?)).collect::<Result<Vec<_>, _>>()?;
    let fee = parsed.total_fees.tokens.into_inner();
    let storage = storage_fee(&parsed.load_info()?);
    let mut transaction = json!({
        "@type": "raw.transaction",
        "address": {"@type": "accountAddress", "account_address": friendly(&recorded.id.account, true, true)},
        "account": recorded.id.account.to_string(),
        "utime": parsed.now,
        "data": boc(&recorded.cell),
        "transaction_id": transaction_id(recorded.id.lt, &recorded.id.hash),
        "fee": fee.to_string(),
        "storage_fee": storage.to_string(),
        "other_fee": fee.saturating_sub(storage).to_string(),
        "out_msgs": outgoing,
    });
    if let Some(inbound) = &parsed.in_msg {
        transaction["in_msg"] = message(inbound)?;
    }
    Ok(transaction)
}
