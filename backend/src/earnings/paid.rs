//! What the chain has of payouts: transactions of the operator's own address, by their own bytes.

use std::collections::BTreeSet;

use cocoon_receipts::NanoTon;
use cocoon_ton::chain::{Chain, ChainError, MAX_PAGE};
use cocoon_ton::{Address, PayoutId, received_payout};
use serde::Serialize;

use super::Told;

/// Transactions of the address that are looked at: with more, the sum would be of a part.
const MOST_TRANSACTIONS: usize = 10_000;

/// Payouts that came to the operator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Paid {
    pub payouts: u64,
    /// nanoTON.
    pub amount: NanoTon,
    /// Unix time of the newest.
    pub newest: Option<u32>,
}

/// Sums up what `treasury` has paid `payee`, each payout's id once, from the newest transaction to the first.
///
/// # Errors
/// [`ChainError`].
pub(super) async fn paid(
    chain: &dyn Chain,
    payee: &Address,
    treasury: &Address,
) -> Result<Told<Paid>, ChainError> {
    let (mut paid, mut ids) = (Paid::default(), BTreeSet::new());
    let (mut next, mut seen) = (None, 0);
    loop {
        let page = chain.transactions(payee, next, MAX_PAGE).await?;
        let Some(last) = page.last() else { return Ok(Told::Said(paid)) };
        let before = last.previous;
        for transaction in &page {
            let Some((PayoutId(id), amount)) = received_payout(payee, treasury, transaction) else {
                continue;
            };
            if !ids.insert(id) {
                continue;
            }
            paid.payouts += 1;
            paid.amount = paid.amount.checked_add(amount).ok_or(ChainError::Broken("more than there is"))?;
            paid.newest = paid.newest.max(Some(transaction.now));
        }
        seen += page.len();
        if before.is_none() {
            return Ok(Told::Said(paid));
        }
        if seen >= MOST_TRANSACTIONS {
            let Paid { payouts, amount, .. } = paid;
            return Ok(Told::Unknown(format!(
                "the operator's address has more than {MOST_TRANSACTIONS} transactions: \
                 the {payouts} payouts with {amount} nanoTON among the newest are not all"
            )));
        }
        next = before;
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use cocoon_ton::chain::{Account, Head};
    use cocoon_ton::{
        CellHash, Compute, Direction, GlobalId, Internal, Message, StackValue, Transaction, TransactionId,
        Workchain, payout_body,
    };

    use super::*;

    const PAYEE: Address = Address::new(Workchain::Basechain, [7; 32]);
    const TREASURY: Address = Address::new(Workchain::Basechain, [1; 32]);

    /// One address with a payout in each of its transactions, the oldest first. Counts its pages.
    struct History {
        transactions: Vec<Transaction>,
        pages: std::sync::atomic::AtomicUsize,
    }

    fn id(lt: u64) -> TransactionId {
        TransactionId { lt, hash: CellHash([0; 32]) }
    }

    impl History {
        fn new(payouts: impl IntoIterator<Item = (Address, u64, u64)>) -> Self {
            let transactions = payouts.into_iter().zip(1..).map(|((from, payout, nano), lt)| {
                let internal = Internal {
                    bounce: false,
                    bounced: false,
                    from,
                    to: PAYEE,
                    value: NanoTon(nano),
                    forward_fee: NanoTon::ZERO,
                    created_lt: lt,
                };
                Transaction {
                    id: id(lt),
                    account: *PAYEE.hash(),
                    previous: (lt > 1).then(|| id(lt - 1)),
                    now: 1000 + lt as u32,
                    in_message: Some(Message {
                        hash: CellHash([0; 32]),
                        direction: Direction::Internal(internal),
                        has_state_init: false,
                        body: payout_body(PayoutId(payout)).unwrap(),
                    }),
                    out_messages: Vec::new(),
                    compute: Compute::Skipped,
                    aborted: true,
                    has_bounce_phase: false,
                    total_fees: NanoTon::ZERO,
                    skipped_actions: 0,
                }
            });
            Self { transactions: transactions.collect(), pages: 0.into() }
        }

        async fn paid(&self) -> Told<Paid> {
            paid(self, &PAYEE, &TREASURY).await.unwrap()
        }
    }

    #[async_trait]
    impl Chain for History {
        async fn transactions(
            &self,
            address: &Address,
            from: Option<TransactionId>,
            limit: u8,
        ) -> Result<Vec<Transaction>, ChainError> {
            assert_eq!(*address, PAYEE);
            self.pages.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let newest = from.map_or(self.transactions.len(), |from| from.lt as usize);
            Ok(self.transactions[..newest].iter().rev().take(limit.into()).cloned().collect())
        }

        async fn send_boc(&self, _: &[u8]) -> Result<(), ChainError> {
            Err(ChainError::Unreachable)
        }

        async fn account(&self, _: &Address) -> Result<Account, ChainError> {
            Err(ChainError::Unreachable)
        }

        async fn run_get_method(
            &self,
            _: &Address,
            _: &str,
            _: &[StackValue],
        ) -> Result<Vec<StackValue>, ChainError> {
            Err(ChainError::Unreachable)
        }

        async fn head(&self) -> Result<Head, ChainError> {
            Err(ChainError::Unreachable)
        }

        async fn global_id(&self) -> Result<GlobalId, ChainError> {
            Err(ChainError::Unreachable)
        }
    }

    #[tokio::test]
    async fn each_payout_of_the_treasurys_counts_once() {
        let other = Address::new(Workchain::Basechain, [2; 32]);
        let history = History::new([(TREASURY, 1, 5), (other, 2, 50), (TREASURY, 1, 5), (TREASURY, 3, 7)]);
        let paid = Paid { payouts: 2, amount: NanoTon(12), newest: Some(1004) };
        assert_eq!(history.paid().await, Told::Said(paid));
        assert_eq!(History::new([]).paid().await, Told::Said(Paid::default()));
    }

    #[tokio::test]
    async fn what_is_on_the_last_of_many_pages_counts() {
        let history = History::new((0..250).map(|payout| (TREASURY, payout, 1)));
        let paid = Paid { payouts: 250, amount: NanoTon(250), newest: Some(1250) };
        assert_eq!(history.paid().await, Told::Said(paid));
        assert_eq!(history.pages.into_inner(), 3);
    }

    #[tokio::test]
    async fn a_history_that_is_too_long_gives_no_sum() {
        let most = MOST_TRANSACTIONS as u64;
        let whole = History::new((0..most).map(|payout| (TREASURY, payout, 1)));
        assert!(matches!(whole.paid().await, Told::Said(Paid { payouts, .. }) if payouts == most));
        let longer = History::new((0..=most).map(|payout| (TREASURY, payout, 1)));
        assert!(matches!(longer.paid().await, Told::Unknown(why) if why.contains("not all")));
        assert_eq!(longer.pages.into_inner(), MOST_TRANSACTIONS / usize::from(MAX_PAGE));
    }
}
