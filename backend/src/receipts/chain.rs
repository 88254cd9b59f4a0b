//! The chain: every receipt of a key names the one before it.

use cocoon_receipts::{Checkpoint, Digest, JwsError, NanoTon, Price, Receipt, ReceiptId, SigningKey, Usage};

/// What a request's own part of a receipt says; the chain adds the rest.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// The ticket's: whom the ledger has bound the hold to, and may pay.
    pub(crate) keyset: Digest,
    pub(crate) ticket: Digest,
    pub(crate) cn: Digest,
    pub(crate) req_hash: Digest,
    pub(crate) resp_hash: Digest,
    pub(crate) resp_frames: u64,
    pub(crate) status: u16,
    pub(crate) ctype: &'static str,
    pub(crate) usage: Usage,
    pub(crate) price: Price,
    pub(crate) cost: NanoTon,
    pub(crate) finish: &'static str,
    pub(crate) complete: bool,
    /// Milliseconds since 1970.
    pub(crate) started: u64,
    pub(crate) body: Option<Digest>,
}

/// What a running request has used so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CheckpointDraft {
    pub(crate) keyset: Digest,
    pub(crate) ticket: Digest,
    pub(crate) usage: Usage,
    pub(crate) cost: NanoTon,
}

/// The receipt key and where its chain has come to.
#[derive(Debug)]
pub(crate) struct Chain {
    key: SigningKey,
    model: String,
    weights: Digest,
    last: Last,
}

/// The end of the chain.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Last {
    seq: u64,
    digest: Digest,
}

impl Chain {
    /// A new chain, for the key of this boot.
    pub(crate) fn new(key: SigningKey, model: String, weights: Digest) -> Self {
        Self { key, model, weights, last: Last { seq: 0, digest: Digest([0; 32]) } }
    }

    /// Signs the next receipt.
    ///
    /// # Errors
    /// [`JwsError::Sign`]; the chain is then as before.
    pub(crate) fn sign(&mut self, draft: Draft, now_ms: u64) -> Result<(ReceiptId, String), JwsError> {
        let id = ReceiptId::generate();
        let receipt = Receipt {
            iss: draft.keyset,
            jti: id,
            iat: now_ms / 1000,
            seq: self.last.seq + 1,
            prev: self.last.digest,
            ticket: draft.ticket,
            cn: draft.cn,
            req_hash: draft.req_hash,
            resp_hash: draft.resp_hash,
            resp_frames: draft.resp_frames,
            status: draft.status,
            ctype: draft.ctype.to_owned(),
            model: self.model.clone(),
            weights: self.weights,
            usage: draft.usage,
            price: draft.price,
            cost: draft.cost,
            finish: draft.finish.to_owned(),
            complete: draft.complete,
            started: draft.started,
            finished: now_ms,
            body: draft.body,
            is_final: true,
        };
        let token = receipt.sign(&self.key)?;
        self.last = Last { seq: receipt.seq, digest: Digest::of(&[token.as_bytes()]) };
        Ok((id, token))
    }

    /// Signs a checkpoint, which is no part of the chain.
    ///
    /// # Errors
    /// [`JwsError::Sign`].
    pub(crate) fn checkpoint(&self, draft: CheckpointDraft, now_ms: u64) -> Result<String, JwsError> {
        let CheckpointDraft { keyset, ticket, usage, cost } = draft;
        let checkpoint = Checkpoint { iss: keyset, iat: now_ms / 1000, ticket, usage, cost, is_final: false };
        checkpoint.sign(&self.key)
    }

    pub(crate) fn last(&self) -> Last {
        self.last
    }

    /// Takes back receipts that never left, so that the chain has no gap.
    pub(crate) fn go_back_to(&mut self, last: Last) {
        self.last = last;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn draft() -> Draft {
        let price = NanoTon(1_000_000);
        Draft {
            keyset: Digest([9; 32]),
            ticket: Digest([1; 32]),
            cn: Digest([2; 32]),
            req_hash: Digest([3; 32]),
            resp_hash: Digest([4; 32]),
            resp_frames: 2,
            status: 200,
            ctype: "application/json",
            usage: Usage { prompt: 1, ..Usage::default() },
            price: Price { table: 1, prompt: price, cached: price, completion: price, reasoning: price },
            cost: NanoTon(1),
            finish: "stop",
            complete: true,
            started: 5,
            body: None,
        }
    }

    pub(crate) fn chain() -> (Chain, cocoon_receipts::VerifyingKey) {
        let key = SigningKey::generate().unwrap();
        let public = key.public().clone();
        (Chain::new(key, "m".into(), Digest([8; 32])), public)
    }

    #[test]
    fn each_receipt_names_the_one_before_and_the_first_names_none() {
        let (mut chain, key) = chain();
        let mut prev = Digest([0; 32]);
        for seq in 1..=3 {
            let (_, token) = chain.sign(draft(), 1000).unwrap();
            let receipt = Receipt::verify(&token, &key).unwrap();
            assert_eq!((receipt.seq, receipt.prev), (seq, prev));
            prev = Digest::of(&[token.as_bytes()]);
        }
    }

    #[test]
    fn a_receipt_that_is_taken_back_leaves_no_gap() {
        let (mut chain, key) = chain();
        let before = chain.last();
        chain.sign(draft(), 1000).unwrap();
        chain.go_back_to(before);
        let (_, token) = chain.sign(draft(), 1000).unwrap();
        assert_eq!(Receipt::verify(&token, &key).unwrap().seq, 1);
    }
}
