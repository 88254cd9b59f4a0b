//! The last requests of an account, and receipts as they were sent (`functions/requests.lua`).

use ::redis::cmd;
use async_trait::async_trait;
use cocoon_receipts::{AccountId, NanoTon, ReceiptId, RequestId};

use super::RedisLedger;
use super::reply::{parse, usage};
use crate::rules::day_of;
use crate::{KeptReceipt, LedgerError, MAX_REQUESTS_PAGE, RequestQuery, RequestRecord, Requests, Work};

/// Requests that one step looks at.
const STEP: usize = 200;

#[async_trait]
impl Requests for RedisLedger {
    async fn requests(&self, query: &RequestQuery) -> Result<Vec<RequestRecord>, LedgerError> {
        let limit = query.limit.min(MAX_REQUESTS_PAGE) as usize;
        let k = self.keys_of(&query.account);
        let recent = k.recent(&query.account);
        let mut first = match query.after {
            None => 0,
            Some(after) => {
                let mut rank = cmd("ZREVRANK");
                rank.arg(&recent).arg(after.to_string());
                match self.functions.link().command::<Option<usize>>(&rank).await? {
                    Some(rank) => rank + 1,
                    None => return Ok(Vec::new()),
                }
            }
        };
        let mut records = Vec::new();
        while records.len() < limit {
            let mut range = cmd("ZREVRANGE");
            range.arg(&recent).arg(first).arg(first + STEP - 1);
            let ids: Vec<String> = self.functions.link().command(&range).await?;
            if ids.is_empty() {
                break;
            }
            first += ids.len();
            let mut get = cmd("HMGET");
            get.arg(k.requests(&query.account)).arg(&ids);
            let packed: Vec<Option<String>> = self.functions.link().command(&get).await?;
            for (id, packed) in ids.iter().zip(packed) {
                // It made room for a new one between the two commands.
                let Some(packed) = packed else { continue };
                let record = record(parse(id)?, &packed)?;
                if records.len() < limit && query.key.as_ref().is_none_or(|key| *key == record.key) {
                    records.push(record);
                }
            }
        }
        self.add_receipts(&query.account, &mut records).await?;
        Ok(records)
    }

    async fn receipt(
        &self,
        account: &AccountId,
        receipt: ReceiptId,
    ) -> Result<Option<KeptReceipt>, LedgerError> {
        let kept = self.keys_of(account).kept(day_of(receipt.made_at_ms()));
        let mut get = cmd("HGET");
        get.arg(kept).arg(receipt.to_string());
        let packed: Option<String> = self.functions.link().command(&get).await?;
        let Some((owner, kept)) = packed.map(|packed| kept_receipt(receipt, &packed)).transpose()? else {
            return Ok(None);
        };
        Ok(Some(kept).filter(|_| owner == *account))
    }

    async fn receipt_of(
        &self,
        account: &AccountId,
        request: RequestId,
    ) -> Result<Option<KeptReceipt>, LedgerError> {
        let kept_of = self.keys_of(account).kept_of(day_of(request.made_at_ms()));
        let mut get = cmd("HGET");
        get.arg(kept_of).arg(request.to_string());
        match self.functions.link().command::<Option<String>>(&get).await? {
            Some(receipt) => self.receipt(account, parse(&receipt)?).await,
            None => Ok(None),
        }
    }
}

impl RedisLedger {
    async fn add_receipts(
        &self,
        account: &AccountId,
        records: &mut [RequestRecord],
    ) -> Result<(), LedgerError> {
        let k = self.keys_of(account);
        let with_receipt = || records.iter().filter_map(|record| record.receipt);
        if with_receipt().next().is_none() {
            return Ok(());
        }
        let mut all = ::redis::pipe();
        for receipt in with_receipt() {
            all.cmd("HGET").arg(k.kept(day_of(receipt.made_at_ms()))).arg(receipt.to_string());
        }
        let packed: Vec<Option<String>> = self.functions.link().pipeline(&all).await?;
        let mut packed = packed.into_iter();
        for record in records {
            if let Some(receipt) = record.receipt
                && let Some(Some(packed)) = packed.next()
            {
                record.jws = Some(kept_receipt(receipt, &packed)?.1.jws);
            }
        }
        Ok(())
    }
}

pub(super) fn record(request: RequestId, packed: &str) -> Result<RequestRecord, LedgerError> {
    let parts: Vec<&str> = packed.splitn(7, '|').collect();
    let corrupt = || LedgerError::Corrupt(format!("request {packed:?}"));
    let [receipt, key, project, work, used, charged, model] = parts[..] else { return Err(corrupt()) };
    Ok(RequestRecord {
        request,
        receipt: if receipt.is_empty() { None } else { Some(parse(receipt)?) },
        key: parse(key)?,
        project: if project.is_empty() { None } else { Some(parse(project)?) },
        model: model.to_owned(),
        work: work.parse::<Work>()?,
        usage: usage(used)?.ok_or_else(corrupt)?,
        charged: parse::<NanoTon>(charged)?,
        jws: None,
    })
}

/// With the account it belongs to.
pub(super) fn kept_receipt(
    receipt: ReceiptId,
    packed: &str,
) -> Result<(AccountId, KeptReceipt), LedgerError> {
    let parts: Vec<&str> = packed.splitn(6, '|').collect();
    let [account, request, key, project, charged, jws] = parts[..] else {
        return Err(LedgerError::Corrupt(format!("kept receipt {receipt}")));
    };
    let kept = KeptReceipt {
        receipt,
        request: parse(request)?,
        key: parse(key)?,
        project: if project.is_empty() { None } else { Some(parse(project)?) },
        charged: parse(charged)?,
        jws: jws.to_owned(),
    };
    Ok((parse(account)?, kept))
}
