//! Replies to types.

use std::collections::HashMap;
use std::str::FromStr;

use ::redis::streams::StreamId;
use cocoon_receipts::{NanoTon, OperatorId, Usage};

use crate::{Account, JournalEntry, JournalId, LedgerError, OperatorTotals, Totals};

/// A function's reply: a word, and what belongs to it.
#[derive(Debug)]
pub(super) struct Reply(pub(super) Vec<String>);

impl Reply {
    pub(super) fn word(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    pub(super) fn amount(&self, index: usize) -> Result<NanoTon, LedgerError> {
        self.0.get(index).ok_or_else(|| self.unexpected()).and_then(|text| parse(text))
    }

    pub(super) fn text(&self, index: usize) -> Result<&str, LedgerError> {
        self.0.get(index).map(String::as_str).ok_or_else(|| self.unexpected())
    }

    pub(super) fn unexpected(&self) -> LedgerError {
        LedgerError::Corrupt(format!("unexpected reply {:?}", self.0))
    }
}

pub(super) fn parse<T: FromStr>(text: &str) -> Result<T, LedgerError>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| LedgerError::Corrupt(format!("{text:?}: {error}")))
}

pub(super) const ACCOUNT_FIELDS: [&str; 7] =
    ["balance", "held", "deposited", "granted", "charged", "shortfall", "open_holds"];

/// From the values of [`ACCOUNT_FIELDS`].
pub(super) fn account(values: &[Option<String>]) -> Result<Account, LedgerError> {
    let number = |index: usize| -> Result<u64, LedgerError> {
        values.get(index).and_then(Option::as_deref).map_or(Ok(0), parse)
    };
    Ok(Account {
        balance: NanoTon(number(0)?),
        held: NanoTon(number(1)?),
        deposited: NanoTon(number(2)?),
        granted: NanoTon(number(3)?),
        charged: NanoTon(number(4)?),
        shortfall: NanoTon(number(5)?),
        open_holds: number(6)?,
    })
}

pub(super) fn totals(
    sums: &HashMap<String, String>,
    operators: &HashMap<String, String>,
) -> Result<Totals, LedgerError> {
    let number =
        |name: &str| -> Result<u64, LedgerError> { sums.get(name).map_or(Ok(0), |text| parse(text)) };
    Ok(Totals {
        balances: NanoTon(number("balances")?),
        held: NanoTon(number("held")?),
        deposits: NanoTon(number("deposits")?),
        grants: NanoTon(number("grants")?),
        charges: NanoTon(number("charges")?),
        shortfall: NanoTon(number("shortfall")?),
        platform: sums.get("platform").map_or(Ok(0), |text| parse(text))?,
        operators: operator_totals(operators)?,
        open_holds: number("open_holds")?,
        too_old: number("too_old")?,
    })
}

/// Fields are `a:<operator>` (accrued) and `r:<operator>` (reversed).
fn operator_totals(fields: &HashMap<String, String>) -> Result<Vec<OperatorTotals>, LedgerError> {
    let mut names: Vec<&str> = fields.keys().filter_map(|field| field.get(2..)).collect();
    names.sort_unstable();
    names.dedup();
    let counter = |prefix: &str, name: &str| -> Result<NanoTon, LedgerError> {
        fields.get(&format!("{prefix}:{name}")).map_or(Ok(NanoTon::ZERO), |text| parse(text))
    };
    names
        .into_iter()
        .map(|name| {
            Ok(OperatorTotals {
                operator: parse::<OperatorId>(name)?,
                accrued: counter("a", name)?,
                reversed: counter("r", name)?,
            })
        })
        .collect()
}

pub(super) fn journal_entry(entry: &StreamId) -> Result<JournalEntry, LedgerError> {
    let text = |field: &str| -> Result<String, LedgerError> {
        entry
            .get(field)
            .ok_or_else(|| LedgerError::Corrupt(format!("journal entry {} lacks {field}", entry.id)))
    };
    Ok(JournalEntry {
        id: JournalId(entry.id.clone()),
        at_ms: parse(&text("t")?)?,
        kind: parse(&text("k")?)?,
        account: parse(&text("a")?)?,
        cause: text("c")?,
        key: optional(&text("y")?)?,
        project: optional(&text("p")?)?,
        model: Some(text("m")?).filter(|model| !model.is_empty()),
        work: optional(&text("w")?)?,
        operator: optional(&text("o")?)?,
        receipt: optional(&text("r")?)?,
        receipt_digest: optional(&text("d")?)?,
        usage: usage(&text("u")?)?,
        amount: parse(&text("n")?)?,
        shortfall: parse(&text("s")?)?,
        operator_amount: parse(&text("op")?)?,
        platform_amount: parse(&text("pl")?)?,
    })
}

fn optional<T: FromStr>(text: &str) -> Result<Option<T>, LedgerError>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// The four counts with commas between them.
pub(super) fn usage_text(usage: &Usage) -> String {
    format!("{},{},{},{}", usage.prompt, usage.cached, usage.completion, usage.reasoning)
}

fn usage(text: &str) -> Result<Option<Usage>, LedgerError> {
    if text.is_empty() {
        return Ok(None);
    }
    let counts: Vec<u64> = text.split(',').map(parse).collect::<Result<_, _>>()?;
    match counts[..] {
        [prompt, cached, completion, reasoning] => Ok(Some(Usage { prompt, cached, completion, reasoning })),
        _ => Err(LedgerError::Corrupt(format!("usage {text:?}"))),
    }
}
