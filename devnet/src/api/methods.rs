//! The methods of toncenter v2.

use serde_json::{Value, json};
use tycho_types::boc::Boc;
use tycho_types::cell::{Cell, CellBuilder, CellSliceParts, HashBytes};
use tycho_types::models::{
    AccountState, ComputePhase, ExtInMsgInfo, MsgInfo, OwnedMessage, StateInit, StdAddr, Transaction, TxInfo,
};
use tycho_vm::VmGetterMethodId as _;

use super::error::ApiError;
use super::parameters::{Parameters, address, friendly_flags};
use super::{shapes, stack};
use crate::execution::Executed;
use crate::state::{Block, State, TransactionId};
use crate::{Chain, Network, getter};

/// Most transactions that may be asked for: toncenter's 100, and the one that `@ton/ton` asks for beside a
/// page, because it drops the first one of it.
const MOST_TRANSACTIONS: usize = 101;

/// Most transactions of a block that may be asked for.
const MOST_IN_BLOCK: usize = 1024;

/// All methods.
pub(super) const NAMES: &[&str] = &[
    "detectAddress",
    "estimateFee",
    "getAddressBalance",
    "getAddressInformation",
    "getAddressState",
    "getBlockHeader",
    "getBlockTransactions",
    "getBlockTransactionsExt",
    "getConfigAll",
    "getConfigParam",
    "getConsensusBlock",
    "getExtendedAddressInformation",
    "getLibraries",
    "getMasterchainBlockSignatures",
    "getMasterchainInfo",
    "getOutMsgQueueSize",
    "getOutMsgQueueSizes",
    "getShardBlockProof",
    "getShards",
    "getTokenData",
    "getTransactions",
    "getWalletInformation",
    "lookupBlock",
    "packAddress",
    "runGetMethod",
    "sendBoc",
    "sendBocReturnHash",
    "sendQuery",
    "shards",
    "tryLocateResultTx",
    "tryLocateSourceTx",
    "tryLocateTx",
    "unpackAddress",
];

/// The chain as one endpoint sees it.
pub(crate) struct View<'a> {
    pub(crate) network: &'a Network,
    pub(crate) state: &'a State,
}

/// Methods that change something, or run what is not on the chain yet. Others are answered by [`View::call`].
pub(crate) fn call(
    chain: &mut Chain,
    method: &str,
    parameters: &Parameters,
) -> Option<Result<Value, ApiError>> {
    Some(match method {
        "sendBoc" => send(chain, parameters).map(|_| json!({"@type": "ok"})),
        "sendBocReturnHash" => send(chain, parameters)
            .map(|hash| json!({"@type": "raw.extMessageInfo", "hash": shapes::hash(&hash)})),
        "sendQuery" => {
            query(parameters).and_then(|boc| Ok(chain.send_external(&boc)?)).map(|_| json!({"@type": "ok"}))
        }
        "estimateFee" => query(parameters)
            .and_then(|boc| {
                let any_signature = parameters.optional_flag("ignore_chksig")?.unwrap_or(true);
                Ok(chain.emulate_external(&boc, any_signature)?)
            })
            .and_then(|executed| fees(&executed)),
        _ => return None,
    })
}

fn send(chain: &mut Chain, parameters: &Parameters) -> Result<HashBytes, ApiError> {
    Ok(chain.send_external(&parameters.bytes("boc")?)?)
}

/// The message that `sendQuery` and `estimateFee` describe by its parts.
fn query(parameters: &Parameters) -> Result<Vec<u8>, ApiError> {
    let to = parameters.address("address")?;
    let body = parameters.optional_cell("body")?.unwrap_or_default();
    let (code, data) = (parameters.optional_cell("init_code")?, parameters.optional_cell("init_data")?);
    let init = (code.is_some() || data.is_some()).then(|| StateInit { code, data, ..StateInit::default() });
    let info = MsgInfo::ExtIn(ExtInMsgInfo { dst: to.into(), ..ExtInMsgInfo::default() });
    let body = CellSliceParts::from(body);
    Ok(Boc::encode(CellBuilder::build_from(OwnedMessage { info, init, body, layout: None })?))
}

fn fees(executed: &Executed) -> Result<Value, ApiError> {
    let transaction = executed.transaction.parse::<Transaction>()?;
    let TxInfo::Ordinary(info) = transaction.load_info()? else {
        return Err(ApiError::NotOffered("the fee of such a transaction"));
    };
    let gas = match &info.compute_phase {
        ComputePhase::Executed(phase) => phase.gas_fees.into_inner(),
        ComputePhase::Skipped(_) => 0,
    };
    let forward = info.action_phase.as_ref().and_then(|phase| phase.total_fwd_fees);
    let storage = info.storage_phase.as_ref().map_or(0, |phase| phase.storage_fees_collected.into_inner());
    // Numbers in JSON: what one transaction takes is far below 2^53 nanoTON.
    let number = |nano: u128| u64::try_from(nano).unwrap_or(u64::MAX);
    let fees = json!({
        "@type": "fees",
        "in_fwd_fee": number(transaction.total_fees.tokens.into_inner().saturating_sub(gas + storage)),
        "storage_fee": number(storage),
        "gas_fee": number(gas),
        "fwd_fee": number(forward.map_or(0, |fee| fee.into_inner())),
    });
    Ok(json!({"@type": "query.fees", "source_fees": fees, "destination_fees": []}))
}

impl View<'_> {
    pub(crate) fn call(&self, method: &str, parameters: &Parameters) -> Result<Value, ApiError> {
        match method {
            "getMasterchainInfo" => Ok(self.masterchain()),
            "getConsensusBlock" => {
                Ok(json!({"consensus_block": self.state.head().seqno, "timestamp": self.state.head().time}))
            }
            "getAddressInformation" => {
                let account = self.state.account(&parameters.address("address")?)?;
                shapes::account(&account, self.state.head())
            }
            "getExtendedAddressInformation" => {
                let address = parameters.address("address")?;
                let account = self.state.account(&address)?;
                shapes::extended_account(&address, &account, self.state.head())
            }
            "getWalletInformation" => self.wallet(parameters),
            "getAddressBalance" => {
                let account = self.state.account(&parameters.address("address")?)?.load_account()?;
                Ok(shapes::balance(account.as_ref()).into())
            }
            "getAddressState" => {
                let account = self.state.account(&parameters.address("address")?)?.load_account()?;
                Ok(shapes::state_name(account.as_ref()).into())
            }
            "packAddress" => Ok(shapes::friendly(&parameters.address("address")?, true, false).into()),
            "unpackAddress" => Ok(parameters.address("address")?.to_string().into()),
            "detectAddress" => detect(parameters.text("address")?),
            "getTransactions" => self.transactions(parameters),
            "tryLocateTx" | "tryLocateResultTx" => self.locate(parameters, true),
            "tryLocateSourceTx" => self.locate(parameters, false),
            "runGetMethod" => self.run(parameters),
            "getConfigAll" => Ok(config(&self.network.root())),
            "getConfigParam" => {
                let id = match parameters.optional_number("config_id")? {
                    Some(id) => id,
                    None => parameters.number("param")?,
                };
                let cell = self.network.parameter(id)?;
                Ok(config(&cell.ok_or(ApiError::NotFound("no such configuration parameter"))?))
            }
            "shards" | "getShards" => {
                let block = self.block(parameters.number("seqno")?)?;
                Ok(json!({"@type": "blocks.shards", "shards": [shapes::block_id(block, 0)]}))
            }
            "lookupBlock" => self.look_up(parameters),
            "getBlockHeader" => self.header(parameters),
            "getBlockTransactions" => self.in_block(parameters, false),
            "getBlockTransactionsExt" => self.in_block(parameters, true),
            "getOutMsgQueueSizes" | "getOutMsgQueueSize" => Ok(self.queue_sizes()),
            "getMasterchainBlockSignatures" => Err(ApiError::NotOffered("a proof")),
            "getShardBlockProof" => Err(ApiError::NotOffered("a proof")),
            "getLibraries" => Ok(json!({"@type": "smc.libraryResult", "result": []})),
            "getTokenData" => Err(ApiError::NotOffered("what tokens say of themselves")),
            _ => Err(ApiError::UnknownMethod),
        }
    }

    fn masterchain(&self) -> Value {
        let head = self.state.head();
        let first = self.state.block(0).unwrap_or(head);
        json!({
            "@type": "blocks.masterchainInfo",
            "last": shapes::block_id(head, -1),
            "state_root_hash": shapes::hash(&head.digest),
            "init": shapes::block_id(first, -1),
        })
    }

    fn wallet(&self, parameters: &Parameters) -> Result<Value, ApiError> {
        let shard = self.state.account(&parameters.address("address")?)?;
        let account = shard.load_account()?;
        let seqno = match account.as_ref().map(|account| &account.state) {
            Some(AccountState::Active(_)) => {
                let now = self.state.head().time;
                let got = getter::run(self.network, &shard, now, "seqno".as_getter_method_id(), Vec::new());
                let got = got.map_err(crate::ChainError::from)?;
                (got.exit_code == 0)
                    .then(|| got.stack.last().and_then(|value| value.as_int()?.try_into().ok()))
                    .flatten()
            }
            _ => None,
        };
        let seqno: Option<u32> = seqno;
        let mut wallet = json!({
            "wallet": seqno.is_some(),
            "balance": shapes::balance(account.as_ref()),
            "account_state": shapes::state_name(account.as_ref()),
            "last_transaction_id": shapes::transaction_id(shard.last_trans_lt, &shard.last_trans_hash),
        });
        if let Some(seqno) = seqno {
            wallet["seqno"] = seqno.into();
        }
        Ok(wallet)
    }

    /// From the newest on, or from the one that is named, each the one before.
    fn transactions(&self, parameters: &Parameters) -> Result<Value, ApiError> {
        let account = parameters.address("address")?;
        let limit = parameters.count("limit", 10, MOST_TRANSACTIONS)?;
        let to_lt = parameters.optional_number::<u64>("to_lt")?.unwrap_or(0);
        let from = (parameters.optional_number::<u64>("lt")?, parameters.optional_hash("hash")?);
        let (mut lt, hash) = match from {
            (Some(lt), Some(hash)) => (lt, Some(hash)),
            (None, None) => (self.state.account(&account)?.last_trans_lt, None),
            _ => return Err(ApiError::Parameter("lt and hash come together".to_owned())),
        };
        let mut found = Vec::new();
        while lt > to_lt && found.len() < limit {
            let recorded = self.state.transaction(&account, lt);
            let wrong = |recorded: &crate::state::Recorded| {
                found.is_empty() && hash.is_some_and(|hash| hash != recorded.id.hash)
            };
            let Some(recorded) = recorded.filter(|recorded| !wrong(recorded)) else {
                return Err(ApiError::Chain(
                    "cannot locate transaction in block with specified logical time".to_owned(),
                ));
            };
            found.push(shapes::transaction(recorded)?);
            lt = recorded.previous_lt;
        }
        Ok(found.into())
    }

    /// By the message between two accounts: the transaction that it made, or the one that sent it.
    fn locate(&self, parameters: &Parameters, result: bool) -> Result<Value, ApiError> {
        let (source, destination) = (parameters.address("source")?, parameters.address("destination")?);
        let created_lt: u64 = parameters.number("created_lt")?;
        let is_it = |cell: &Cell| {
            let Ok(message) = cell.parse::<OwnedMessage>() else { return false };
            let MsgInfo::Int(info) = message.info else { return false };
            info.created_lt == created_lt
                && info.src.as_std() == Some(&source)
                && info.dst.as_std() == Some(&destination)
        };
        let history = self.state.history.get(if result { &destination } else { &source });
        for recorded in history.into_iter().flatten().rev() {
            let parsed = recorded.cell.parse::<Transaction>()?;
            let found = match result {
                true => parsed.in_msg.as_ref().is_some_and(is_it),
                false => parsed.out_msgs.values().any(|cell| cell.is_ok_and(|cell| is_it(&cell))),
            };
            if found {
                return shapes::transaction(recorded);
            }
        }
        Err(ApiError::NotFound("message not found"))
    }

    fn run(&self, parameters: &Parameters) -> Result<Value, ApiError> {
        let address = parameters.address("address")?;
        let method = match parameters.required("method")? {
            Value::String(name) => name.as_str().as_getter_method_id(),
            Value::Number(_) => parameters.number("method")?,
            _ => return Err(ApiError::Parameter("method is not a name or a number".to_owned())),
        };
        let arguments = stack::read(parameters.required("stack")?)?;
        let account = self.state.account(&address)?;
        let now = self.state.head().time;
        let got =
            getter::run(self.network, &account, now, method, arguments).map_err(crate::ChainError::from)?;
        Ok(json!({
            "@type": "smc.runResult",
            "gas_used": got.gas_used,
            "stack": stack::write(&got.stack)?,
            "exit_code": got.exit_code,
            "block_id": shapes::block_id(self.state.head(), -1),
            "last_transaction_id": shapes::transaction_id(account.last_trans_lt, &account.last_trans_hash),
        }))
    }

    fn block(&self, seqno: u32) -> Result<&Block, ApiError> {
        self.state.block(seqno).ok_or(ApiError::NotFound("block is not applied"))
    }

    fn look_up(&self, parameters: &Parameters) -> Result<Value, ApiError> {
        let workchain = workchain(parameters)?;
        let asked: (Option<u32>, Option<u64>, Option<u32>) = (
            parameters.optional_number("seqno")?,
            parameters.optional_number("lt")?,
            parameters.optional_number("unixtime")?,
        );
        let block = match asked {
            (Some(seqno), _, _) => self.state.block(seqno),
            (None, Some(lt), _) => self.state.block_of_lt(lt),
            (None, None, Some(time)) => self.state.block_until(time),
            (None, None, None) => {
                return Err(ApiError::Parameter("seqno, lt or unixtime is missing".to_owned()));
            }
        };
        Ok(shapes::block_id(block.ok_or(ApiError::NotFound("block is not applied"))?, workchain))
    }

    fn header(&self, parameters: &Parameters) -> Result<Value, ApiError> {
        let workchain = workchain(parameters)?;
        let block = self.block(parameters.number("seqno")?)?;
        let previous = block.seqno.checked_sub(1).and_then(|seqno| self.state.block(seqno));
        Ok(json!({
            "@type": "blocks.header",
            "id": shapes::block_id(block, workchain),
            "global_id": self.network.global_id(),
            "version": 0,
            "flags": 0,
            "after_merge": false,
            "after_split": false,
            "before_split": false,
            "want_merge": false,
            "want_split": false,
            "validator_list_hash_short": 0,
            "catchain_seqno": 0,
            "min_ref_mc_seqno": block.seqno.saturating_sub(1),
            "is_key_block": false,
            "prev_key_block_seqno": 0,
            "start_lt": block.start_lt.to_string(),
            "end_lt": block.end_lt.to_string(),
            "gen_utime": block.time,
            "vert_seqno": 0,
            "prev_blocks": Vec::from_iter(previous.map(|previous| shapes::block_id(previous, workchain))),
        }))
    }

    fn in_block(&self, parameters: &Parameters, whole: bool) -> Result<Value, ApiError> {
        let workchain = workchain(parameters)?;
        let block = self.block(parameters.number("seqno")?)?;
        let count = parameters.count("count", 40, MOST_IN_BLOCK)?;
        let mut all: Vec<&TransactionId> =
            block.transactions.iter().filter(|id| i32::from(id.account.workchain) == workchain).collect();
        all.sort_by(|a, b| (&a.account, a.lt).cmp(&(&b.account, b.lt)));
        // After the one of this account, as a block has them: by account, then by logical time.
        match (parameters.optional_number::<u64>("after_lt")?, parameters.optional_hash("after_hash")?) {
            (Some(lt), Some(hash)) => all.retain(|id| (id.account.address, id.lt) > (hash, lt)),
            (None, None) => {}
            _ => return Err(ApiError::Parameter("after_lt and after_hash come together".to_owned())),
        }
        let incomplete = all.len() > count;
        all.truncate(count);
        let transactions = all.into_iter().map(|id| self.short(id, whole)).collect::<Result<Vec<_>, _>>()?;
        Ok(json!({
            "@type": if whole { "blocks.transactionsExt" } else { "blocks.transactions" },
            "id": shapes::block_id(block, workchain),
            "req_count": count,
            "incomplete": incomplete,
            "transactions": transactions,
        }))
    }

    fn short(&self, id: &TransactionId, whole: bool) -> Result<Value, ApiError> {
        if whole {
            let recorded = self.state.transaction_of(id);
            return shapes::transaction(recorded.ok_or(ApiError::NotFound("transaction not found"))?);
        }
        Ok(json!({
            "@type": "blocks.shortTxId",
            "mode": 135,
            "account": id.account.to_string(),
            "lt": id.lt.to_string(),
            "hash": shapes::hash(&id.hash),
        }))
    }

    fn queue_sizes(&self) -> Value {
        let size = self.state.queue.len();
        let shard = json!({
            "@type": "blocks.outMsgQueueSize",
            "id": shapes::block_id(self.state.head(), 0),
            "size": size,
        });
        json!({"@type": "blocks.outMsgQueueSizes", "shards": [shard], "ext_msg_queue_size_limit": 0})
    }
}

fn workchain(parameters: &Parameters) -> Result<i32, ApiError> {
    // Some clients write the one shard of each as a signed number, others as an unsigned one.
    let shard = parameters.optional_number::<i128>("shard")?;
    if shard.is_some_and(|shard| shard != i64::MIN.into() && shard != 1 << 63) {
        return Err(ApiError::NotFound("no such shard"));
    }
    match parameters.number("workchain")? {
        workchain @ (-1 | 0) => Ok(workchain),
        _ => Err(ApiError::NotFound("no such workchain")),
    }
}

fn config(cell: &Cell) -> Value {
    json!({"@type": "configInfo", "config": {"@type": "tvm.cell", "bytes": Boc::encode_base64(cell)}})
}

fn detect(text: &str) -> Result<Value, ApiError> {
    let found: StdAddr = address(text)?;
    let form = |bounceable| {
        json!({
            "b64": shapes::friendly(&found, bounceable, false),
            "b64url": shapes::friendly(&found, bounceable, true),
        })
    };
    let (given, test_only) = match friendly_flags(text) {
        Some(flags) if flags.bounceable => ("friendly_bounceable", flags.testnet),
        Some(flags) => ("friendly_non_bounceable", flags.testnet),
        None => ("raw_form", false),
    };
    Ok(json!({
        "raw_form": found.to_string(),
        "bounceable": form(true),
        "non_bounceable": form(false),
        "given_type": given,
        "test_only": test_only,
    }))
}
