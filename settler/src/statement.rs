//! Where all money is: what came in, whose it is, and whether chain, log and ledger say the same of it.

use std::fmt;

use cocoon_receipts::{NanoTon, OperatorId};
use serde::Serialize;

use crate::owing::LedgerSums;
use crate::plan::{Owing, platform};
use crate::treasury::Treasury;

/// An amount in nanoTON that may be below zero; text in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Nano(pub i128);

impl Serialize for Nano {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl From<u128> for Nano {
    fn from(amount: u128) -> Self {
        Self(i128::try_from(amount).unwrap_or(i128::MAX))
    }
}

impl fmt::Display for Nano {
    /// In TON, to the last nano: `-1.000000005`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let amount = self.0.unsigned_abs();
        f.pad_integral(true, "", &format!("{sign}{}.{:09}", amount / 1_000_000_000, amount % 1_000_000_000))
    }
}

/// What one operator has earned and got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorLine {
    pub operator: OperatorId,
    pub earned: Nano,
    pub paid: Nano,
    pub on_its_way: Nano,
    pub owed: Nano,
}

/// All of it, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Statement {
    /// What users have sent, and what came back of their withdrawals.
    pub deposits: Nano,
    /// The platform's own.
    pub float: Nano,
    /// Came in, and nobody knows for whom.
    pub unclaimed: Nano,
    /// What channels have paid.
    pub redeemed: Nano,
    /// With channels that have not answered yet, for their fees.
    pub at_channels: Nano,
    /// What channels have still to pay. It is not in the wallet, and so in none of the sums.
    pub to_redeem: Nano,
    /// What users have, without test credit that is not used.
    pub balances: Nano,
    pub withdrawing: Nano,
    pub withdrawn: Nano,
    pub operators: Vec<OperatorLine>,
    /// What the chain took.
    pub fees: Nano,
    /// What is the platform's when everybody has theirs.
    pub platform: Nano,
    /// What transactions have changed that nobody can place.
    pub unexplained: Nano,
    /// What the wallet holds by its transactions.
    pub wallet: Nano,
    /// What contradicts something else: nothing, when all is well.
    pub findings: Vec<String>,
}

impl Statement {
    /// `on_chain`: what the chain says that the wallet has, where all its transactions are booked.
    #[must_use]
    pub fn new(treasury: &Treasury, owing: &Owing, sums: &LedgerSums, on_chain: Option<NanoTon>) -> Self {
        let operators = owing.earned.iter().map(|(operator, earned)| {
            let paid = treasury.paid(operator);
            OperatorLine {
                operator: operator.clone(),
                earned: Nano(*earned),
                paid: paid.sent.into(),
                on_its_way: paid.on_its_way.into(),
                owed: Nano(owing.owed(operator, treasury)),
            }
        });
        let booked = treasury.sums();
        let mut statement = Self {
            deposits: booked.credited.into(),
            float: booked.float.into(),
            unclaimed: booked.unclaimed.into(),
            redeemed: booked.redeemed.into(),
            at_channels: treasury.at_channels().into(),
            to_redeem: owing.to_redeem(treasury).into(),
            balances: owing.balances.into(),
            withdrawing: owing.withdrawing.into(),
            withdrawn: booked.withdrawn.into(),
            operators: operators.collect(),
            // Of what channels were sent, what they have not given back.
            fees: (booked.fees + booked.to_channels)
                .saturating_sub(booked.from_channels + treasury.at_channels())
                .into(),
            platform: Nano(platform(owing, treasury)),
            unexplained: Nano(booked.unexplained),
            wallet: Nano(treasury.balance()),
            findings: Vec::new(),
        };
        statement.findings = statement.contradictions(treasury, sums, on_chain);
        statement
    }

    fn contradictions(
        &self,
        treasury: &Treasury,
        sums: &LedgerSums,
        on_chain: Option<NanoTon>,
    ) -> Vec<String> {
        let mut findings = Vec::new();
        let mut equal = |what: &str, left: Nano, right: Nano| {
            if left != right {
                findings.push(format!("{what}: {left} and {right} TON"));
            }
        };
        let of = Nano::from;
        if let Some(on_chain) = on_chain {
            equal(
                "the wallet's transactions and its balance on the chain",
                self.wallet,
                of(on_chain.0.into()),
            );
        }
        equal("deposits in the log and in the ledger", self.deposits, of(sums.deposits));
        equal("withdrawals paid in the log and in the ledger", self.withdrawn, of(sums.withdrawn));
        equal(
            "the ledger's deposits and test credit, and what became of them",
            of(sums.deposits + sums.vouchers + sums.grants),
            of(sums.balances + sums.withdrawing + sums.charges + sums.withdrawn),
        );
        equal(
            "the ledger's charges, and who got them",
            of(sums.charges + sums.shortfall),
            Nano(sums.operators.values().sum::<i128>() + sums.platform),
        );
        for line in &self.operators {
            if line.owed.0 < 0 {
                let OperatorLine { operator, owed, .. } = line;
                findings.push(format!("operator {operator} was paid more than it has earned: {owed} TON"));
            }
        }
        // What channels still owe is as good as there.
        let lacks = -(self.platform.0 + self.to_redeem.0);
        if lacks > 0 {
            findings.push(format!("the wallet lacks {} TON of what it owes", Nano(lacks)));
        }
        findings.extend(treasury.unexplained().map(|place| format!("transaction {place} is unexplained")));
        findings
    }
}

impl fmt::Display for Statement {
    /// The table that closes: what came in is what there is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paid: i128 = self.operators.iter().map(|line| line.paid.0).sum();
        let open: i128 = self.operators.iter().map(|line| line.owed.0.max(0) + line.on_its_way.0).sum();
        let mut line = |sign: &str, what: &str, amount: i128| {
            writeln!(f, "{sign} {what:<38}{:>24}", Nano(amount).to_string())
        };
        line(" ", "deposits", self.deposits.0)?;
        line("+", "the platform's float", self.float.0)?;
        line("+", "unclaimed", self.unclaimed.0)?;
        line("+", "paid by channels", self.redeemed.0)?;
        line("=", "users' balances", self.balances.0)?;
        line("+", "withdrawals on their way", self.withdrawing.0)?;
        line("+", "withdrawals paid", self.withdrawn.0)?;
        line("+", "owed to operators", open)?;
        line("+", "paid to operators", paid)?;
        line("+", "unclaimed", self.unclaimed.0)?;
        line("+", "the platform's", self.platform.0)?;
        line("+", "with channels, for their fees", self.at_channels.0)?;
        line("+", "chain fees", self.fees.0)?;
        if self.unexplained.0 != 0 {
            line("-", "unexplained", -self.unexplained.0)?;
        }
        let came = self.deposits.0 + self.float.0 + self.unclaimed.0 + self.redeemed.0;
        let is = self.balances.0
            + self.withdrawing.0
            + self.withdrawn.0
            + open
            + paid
            + self.unclaimed.0
            + self.platform.0
            + self.at_channels.0
            + self.fees.0;
        line("?", "difference", came - is)?;
        writeln!(f, "  {:<38}{:>24}", "in the wallet", self.wallet.to_string())?;
        if self.to_redeem.0 != 0 {
            writeln!(f, "  {:<38}{:>24}", "channels have still to pay", self.to_redeem.to_string())?;
        }
        for finding in &self.findings {
            writeln!(f, "! {finding}")?;
        }
        Ok(())
    }
}
