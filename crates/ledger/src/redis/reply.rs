//! Replies to types.

use std::collections::HashMap;
use std::str::FromStr;

use ::redis::streams::StreamId;
use cocoon_receipts::{NanoTon, OperatorId, Usage};

use crate::{Account, JournalEntry, JournalId, LedgerError, OperatorTotals, Totals, Work};

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

pub(super) const ACCOUNT_FIELDS: [&str; 9] = [
    "balance",
    "held",
    "deposited",
    "granted",
    "charged",
    "shortfall",
    "open_holds",
    "withdrawing",
    "withdrawn",
];

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
        withdrawing: NanoTon(number(7)?),
        withdrawn: NanoTon(number(8)?),
    })
}

/// The inverse of [`account`].
pub(super) fn account_fields(account: &Account) -> [(&'static str, String); 9] {
    let Account { balance, held, deposited, granted, charged, shortfall, open_holds, withdrawing, withdrawn } =
        account;
    let values = [
        balance.0,
        held.0,
        deposited.0,
        granted.0,
        charged.0,
        shortfall.0,
        *open_holds,
        withdrawing.0,
        withdrawn.0,
    ];
    let mut values = values.into_iter();
    ACCOUNT_FIELDS.map(|name| (name, values.next().unwrap_or_default().to_string()))
}

/// The sums' fields, but operators'; the inverse of [`totals`].
pub(super) fn totals_fields(totals: &Totals) -> [(&'static str, String); 11] {
    [
        ("balances", totals.balances.to_string()),
        ("held", totals.held.to_string()),
        ("deposits", totals.deposits.to_string()),
        ("grants", totals.grants.to_string()),
        ("charges", totals.charges.to_string()),
        ("shortfall", totals.shortfall.to_string()),
        ("platform", totals.platform.to_string()),
        ("open_holds", totals.open_holds.to_string()),
        ("too_old", totals.too_old.to_string()),
        ("withdrawing", totals.withdrawing.to_string()),
        ("withdrawn", totals.withdrawn.to_string()),
    ]
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
        withdrawing: NanoTon(number("withdrawing")?),
        withdrawn: NanoTon(number("withdrawn")?),
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

/// The fields of an entry, in the order of all entries (`functions/books.lua`); the inverse of [`journal_entry`].
pub(super) fn journal_fields(entry: &JournalEntry) -> [(&'static str, String); 16] {
    [
        ("t", entry.at_ms.to_string()),
        ("k", entry.kind.letter().to_owned()),
        ("a", entry.account.to_string()),
        ("c", entry.cause.clone()),
        ("y", or_empty(entry.key.as_ref())),
        ("p", or_empty(entry.project.as_ref())),
        ("m", or_empty(entry.model.as_ref())),
        ("w", or_empty(entry.work.map(Work::letter))),
        ("o", or_empty(entry.operator.as_ref())),
        ("r", or_empty(entry.receipt)),
        ("d", or_empty(entry.receipt_digest)),
        ("u", entry.usage.as_ref().map_or_else(String::new, usage_text)),
        ("n", entry.amount.to_string()),
        ("s", entry.shortfall.to_string()),
        ("op", entry.operator_amount.to_string()),
        ("pl", entry.platform_amount.to_string()),
    ]
}

/// The text of what is there.
pub(super) fn or_empty<T: std::fmt::Display>(value: Option<T>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// The value of a text that is not empty.
pub(super) fn optional<T: FromStr>(text: &str) -> Result<Option<T>, LedgerError>
where
    T::Err: std::fmt::Display,
{
    if text.is_empty() { Ok(None) } else { parse(text).map(Some) }
}

/// The four counts with commas between them.
pub(super) fn usage_text(usage: &Usage) -> String {
    format!("{},{},{},{}", usage.prompt, usage.cached, usage.completion, usage.reasoning)
}

pub(super) fn usage(text: &str) -> Result<Option<Usage>, LedgerError> {
    if text.is_empty() {
        return Ok(None);
    }
    let counts: Vec<u64> = text.split(',').map(parse).collect::<Result<_, _>>()?;
    match counts[..] {
        [prompt, cached, completion, reasoning] => Ok(Some(Usage { prompt, cached, completion, reasoning })),
        _ => Err(LedgerError::Corrupt(format!("usage {text:?}"))),
    }
}
