//! Step 8: a verified receipt closes its hold at the true cost, once, whichever way it came: with the answer, from the
//! backend's outbox, twice, or days later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cocoon_attestation::Keyset;
use cocoon_ledger::{Checkpoint, Expired, Ledger, LedgerError, Settled, Settlement};
use cocoon_openapi::{Delivery, Outcome};
use cocoon_receipts::{
    BasisPoints, CHECKPOINT_TYPE, Digest, NanoTon, OperatorId, Payer, RECEIPT_TYPE, Receipt, Ticket,
    VerifyingKey, check_against_ticket, check_checkpoint, claimed_issuer, jws,
};
use tokio_util::sync::CancellationToken;

use crate::admit::work;
use crate::keys::Keys;
use crate::unheard;

/// Keysets whose receipt key is kept at hand; more are looked up again.
const MAX_ISSUERS: usize = 1024;
/// Overdue holds ended per shard and sweep.
const SWEEP_BATCH: u32 = 256;

/// Why a receipt is not booked.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// It never will be: the backend is broken or lying.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// The store cannot say now.
    #[error(transparent)]
    Store(#[from] LedgerError),
}

/// Who signed: taken from a keyset that was accepted under the policy.
#[derive(Debug, Clone)]
struct Issuer {
    key: VerifyingKey,
    operator: OperatorId,
}

/// Books receipts and checkpoints, and ends holds that nobody settles.
#[derive(Debug)]
pub struct Settler {
    ledger: Arc<dyn Ledger>,
    keys: Arc<Keys>,
    operator_share: BasisPoints,
    lease: Duration,
    issuers: Mutex<HashMap<Digest, Issuer>>,
}

impl Settler {
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        keys: Arc<Keys>,
        operator_share: BasisPoints,
        lease: Duration,
    ) -> Self {
        Self { ledger, keys, operator_share, lease, issuers: Mutex::default() }
    }

    /// Books one delivery of an outbox.
    pub async fn deliver(&self, delivery: &Delivery) -> Outcome {
        let booked = match jws::claimed_type(&delivery.token).as_deref() {
            Some(RECEIPT_TYPE) => self.settle_and_say(&delivery.token, &delivery.ticket).await,
            Some(CHECKPOINT_TYPE) => self.extend(&delivery.token, &delivery.ticket).await.map(|()| None),
            _ => Err(SettleError::Refused("malformed")),
        };
        match booked {
            Ok(earned) => Outcome::Acknowledged { earned },
            Err(SettleError::Refused(code)) => {
                tracing::warn!(code, "receipt refused");
                Outcome::Refused { code: code.to_owned() }
            }
            Err(SettleError::Store(error)) => {
                unheard::log(&error, "booking of a receipt; its outbox brings it again", None);
                Outcome::Later
            }
        }
    }

    /// Settles `receipt` (a JWS) with its `ticket` (a JWS). Idempotent.
    ///
    /// # Errors
    /// [`SettleError`].
    pub async fn settle(&self, receipt: &str, ticket: &str) -> Result<Settled, SettleError> {
        self.book(receipt, ticket).await.map(|(settled, _)| settled)
    }

    /// The same, and what the operator earns by it, where the ledger still knows.
    async fn settle_and_say(&self, receipt: &str, ticket: &str) -> Result<Option<NanoTon>, SettleError> {
        let (settled, settlement) = self.book(receipt, ticket).await?;
        let billed = match settled {
            Settled::Charged { .. } => Some(true),
            Settled::AtNoCost => Some(false),
            Settled::TooOld => None,
            Settled::Already { charged } if charged > NanoTon::ZERO => Some(true),
            // It cost nothing, or it is not what its request was charged by, or the account had nothing left.
            Settled::Already { .. } => {
                let by = self.ledger.receipt_of(&settlement.account, settlement.request).await?;
                by.map(|by| by.receipt == settlement.receipt)
            }
        };
        Ok(billed.map(|billed| if billed { settlement.operator_amount() } else { NanoTon::ZERO }))
    }

    async fn book(&self, receipt: &str, ticket: &str) -> Result<(Settled, Settlement), SettleError> {
        let (terms, payer) = self.open_ticket(ticket)?;
        let issuer = self.issuer(receipt).await?;
        let claims =
            Receipt::verify(receipt, &issuer.key).map_err(|_| SettleError::Refused("bad_signature"))?;
        check_against_ticket(&claims, &terms, ticket)
            .map_err(|mismatch| SettleError::Refused(mismatch.code()))?;
        let settlement = Settlement {
            account: payer.account,
            key: payer.key,
            project: payer.project,
            request: terms.req,
            attempt: terms.attempt,
            keyset: terms.keyset,
            operator: issuer.operator,
            operator_share: self.operator_share,
            receipt: claims.jti,
            receipt_digest: Digest::of(&[receipt.as_bytes()]),
            receipt_jws: receipt.to_owned(),
            work: work(&terms.path),
            model: claims.model,
            usage: claims.usage,
            cost: claims.cost,
            max_cost: terms.max_cost,
        };
        let settled = self.ledger.settle(&settlement).await?;
        if settled == Settled::TooOld {
            return Err(SettleError::Refused("too_old"));
        }
        if let Settled::Charged { charged, shortfall } = settled {
            tracing::info!(
                request = %settlement.request, receipt = %settlement.receipt, account = %settlement.account,
                model = %settlement.model, %charged, %shortfall, finish = %claims.finish, "charged"
            );
        }
        Ok((settled, settlement))
    }

    /// Records what a running request has used so far.
    async fn extend(&self, checkpoint: &str, ticket: &str) -> Result<(), SettleError> {
        let (terms, payer) = self.open_ticket(ticket)?;
        let issuer = self.issuer(checkpoint).await?;
        let claims = cocoon_receipts::Checkpoint::verify(checkpoint, &issuer.key)
            .map_err(|_| SettleError::Refused("bad_signature"))?;
        check_checkpoint(&claims, &terms, ticket)
            .map_err(|mismatch| SettleError::Refused(mismatch.code()))?;
        self.ledger
            .extend(&Checkpoint {
                account: payer.account,
                request: terms.req,
                attempt: terms.attempt,
                keyset: terms.keyset,
                operator: issuer.operator,
                operator_share: self.operator_share,
                usage: claims.usage,
                cost: claims.cost,
                lease: self.lease,
            })
            .await?;
        Ok(())
    }

    fn open_ticket(&self, token: &str) -> Result<(Ticket, Payer), SettleError> {
        let ticket = Ticket::verify(token, [self.keys.tickets.public()])
            .map_err(|_| SettleError::Refused("ticket_not_ours"))?;
        let payer = self
            .keys
            .deployment
            .open(&ticket.payer, ticket.req)
            .map_err(|_| SettleError::Refused("ticket_not_ours"))?;
        Ok((ticket, payer))
    }

    async fn issuer(&self, token: &str) -> Result<Issuer, SettleError> {
        let digest = claimed_issuer(token).map_err(|_| SettleError::Refused("malformed"))?;
        let known = self.issuers.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        if let Some(issuer) = known {
            return Ok(issuer);
        }
        let bytes = self.ledger.keyset(digest).await?.ok_or(SettleError::Refused("unknown_keyset"))?;
        let keyset = Keyset::from_bytes(&bytes).map_err(|_| SettleError::Refused("unknown_keyset"))?;
        let key = keyset.receipt_key().map_err(|_| SettleError::Refused("unknown_keyset"))?;
        let issuer = Issuer { key, operator: keyset.operator.address };
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        if issuers.len() >= MAX_ISSUERS {
            issuers.clear();
        }
        issuers.insert(digest, issuer.clone());
        Ok(issuer)
    }

    /// Ends holds whose lease and grace are over, again and again until `shutdown`.
    pub async fn sweep(&self, every: Duration, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(every) => {}
            }
            if let Err(error) = self.sweep_once().await {
                unheard::log(&error, "search for overdue holds", None);
            }
        }
    }

    async fn sweep_once(&self) -> Result<(), LedgerError> {
        for shard in self.ledger.shards().all() {
            for request in self.ledger.expired(shard, SWEEP_BATCH).await? {
                if let Expired::Expired { charged } = self.ledger.expire(shard, request).await? {
                    tracing::warn!(%request, %charged, "hold expired without a receipt");
                }
            }
        }
        Ok(())
    }
}
