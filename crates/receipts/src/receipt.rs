//! The receipt: what a backend says, under its attested key, that one request used and cost.

use serde::{Deserialize, Serialize};

use crate::jws::{self, JwsError, SigningKey, VerifyingKey};
use crate::{Digest, NanoTon, Price, ReceiptId, Ticket, Usage};

/// `typ` of a receipt's JWS.
pub const RECEIPT_TYPE: &str = "cocoon-receipt+jwt";
/// `typ` of a checkpoint's JWS: a type of its own, so that none can be taken for a receipt.
pub const CHECKPOINT_TYPE: &str = "cocoon-checkpoint+jwt";
/// Label of [`body_digest`].
const BODY_LABEL: &[u8] = b"cocoon/body/v1";

/// Claims of a receipt (`docs/PROTOCOL.md`, "Receipts").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Keyset that opened the request.
    pub iss: Digest,
    pub jti: ReceiptId,
    /// Seconds since 1970.
    pub iat: u64,
    /// Counts from 1 per signing key.
    pub seq: u64,
    /// SHA-256 of the previous receipt's JWS; 32 zero bytes before the first.
    pub prev: Digest,
    /// SHA-256 of the ticket's JWS.
    pub ticket: Digest,
    /// SHA-256 of the 32 bytes of `x_conf.nonce`; of nothing where the request had none.
    pub cn: Digest,
    /// SHA-256 over all request frames as they came, length prefixes included.
    pub req_hash: Digest,
    /// SHA-256 over the response frames before the one that carries this receipt.
    pub resp_hash: Digest,
    /// How many those were.
    pub resp_frames: u64,
    /// HTTP status of the response.
    pub status: u16,
    /// Its content type.
    pub ctype: String,
    pub model: String,
    /// SHA-256 of the weights.
    pub weights: Digest,
    pub usage: Usage,
    pub price: Price,
    pub cost: NanoTon,
    /// OpenAI's `finish_reason`, or `cancelled`, or `error`.
    pub finish: String,
    /// Whether the response was sent to its end.
    pub complete: bool,
    /// Milliseconds since 1970.
    pub started: u64,
    pub finished: u64,
    /// [`body_digest`] of the client's body, where the request carried a nonce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Digest>,
    /// Always true: a checkpoint is not a receipt.
    #[serde(rename = "final")]
    pub is_final: bool,
}

/// Claims of a checkpoint: what a running request has used so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub iss: Digest,
    pub iat: u64,
    pub ticket: Digest,
    pub usage: Usage,
    pub cost: NanoTon,
    /// Always false.
    #[serde(rename = "final")]
    pub is_final: bool,
}

impl Receipt {
    /// # Errors
    /// [`JwsError::Sign`].
    pub fn sign(&self, key: &SigningKey) -> Result<String, JwsError> {
        jws::sign(RECEIPT_TYPE, key, self)
    }

    /// # Errors
    /// Every token that is not a final receipt of `key`.
    pub fn verify(token: &str, key: &VerifyingKey) -> Result<Self, JwsError> {
        let receipt: Self = jws::verify(RECEIPT_TYPE, token, [key])?;
        if receipt.is_final { Ok(receipt) } else { Err(JwsError::Claims) }
    }

    /// The claims of a receipt that was verified before it was kept. It proves nothing of any other.
    ///
    /// # Errors
    /// [`JwsError::Malformed`].
    pub fn booked(token: &str) -> Result<Self, JwsError> {
        claimed(token)
    }
}

impl Checkpoint {
    /// # Errors
    /// [`JwsError::Sign`].
    pub fn sign(&self, key: &SigningKey) -> Result<String, JwsError> {
        jws::sign(CHECKPOINT_TYPE, key, self)
    }

    /// # Errors
    /// Every token that is not a checkpoint of `key`.
    pub fn verify(token: &str, key: &VerifyingKey) -> Result<Self, JwsError> {
        let checkpoint: Self = jws::verify(CHECKPOINT_TYPE, token, [key])?;
        if checkpoint.is_final { Err(JwsError::Claims) } else { Ok(checkpoint) }
    }
}

/// The keyset digest (`iss`) a token claims, read before any signature can be checked: it only says which key to
/// check it with.
///
/// # Errors
/// [`JwsError::Malformed`], [`JwsError::Claims`].
pub fn claimed_issuer(token: &str) -> Result<Digest, JwsError> {
    #[derive(Deserialize)]
    struct Issuer {
        iss: Digest,
    }
    claimed(token).map(|claims: Issuer| claims.iss)
}

/// The cost a receipt claims, without a look at its signature: for who has signed it.
///
/// # Errors
/// [`JwsError::Malformed`].
pub fn claimed_cost(token: &str) -> Result<NanoTon, JwsError> {
    #[derive(Deserialize)]
    struct Cost {
        cost: NanoTon,
    }
    claimed(token).map(|claims: Cost| claims.cost)
}

fn claimed<Claims: serde::de::DeserializeOwned>(token: &str) -> Result<Claims, JwsError> {
    if token.len() > jws::MAX_TOKEN {
        return Err(JwsError::Malformed);
    }
    jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| JwsError::Malformed)
}

/// SHA-256(`cocoon/body/v1` ‖ nonce ‖ body): fits no other body, and says nothing of it to who has not the nonce.
#[must_use]
pub fn body_digest(nonce: &[u8; 32], body: &[u8]) -> Digest {
    Digest::of(&[BODY_LABEL, nonce, body])
}

/// Why a receipt does not fit its ticket: the backend is broken or lying, and is not paid for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("the receipt is for another ticket")]
    Ticket,
    #[error("the ticket is for another keyset")]
    Keyset,
    #[error("the receipt is for another model")]
    Model,
    #[error("the receipt's prices are not the ticket's")]
    Price,
    #[error("the cost is not what usage and prices give")]
    Cost,
    #[error("the cost is above the ticket's max_cost")]
    MaxCost,
}

impl Mismatch {
    /// A stable name for results and metrics.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Ticket => "ticket_mismatch",
            Self::Keyset => "keyset_mismatch",
            Self::Model => "model_mismatch",
            Self::Price => "price_mismatch",
            Self::Cost => "cost_mismatch",
            Self::MaxCost => "over_max_cost",
        }
    }
}

/// Whether `receipt` is for exactly `ticket` (whose JWS is `ticket_token`) and costs what that allows.
///
/// # Errors
/// The first [`Mismatch`].
pub fn check_against_ticket(receipt: &Receipt, ticket: &Ticket, ticket_token: &str) -> Result<(), Mismatch> {
    if receipt.model != ticket.model {
        return Err(Mismatch::Model);
    }
    if receipt.price != ticket.price {
        return Err(Mismatch::Price);
    }
    check_cost(receipt.ticket, receipt.iss, &receipt.usage, receipt.cost, ticket, ticket_token)
}

/// The same for a checkpoint.
///
/// # Errors
/// The first [`Mismatch`].
pub fn check_checkpoint(
    checkpoint: &Checkpoint,
    ticket: &Ticket,
    ticket_token: &str,
) -> Result<(), Mismatch> {
    check_cost(checkpoint.ticket, checkpoint.iss, &checkpoint.usage, checkpoint.cost, ticket, ticket_token)
}

fn check_cost(
    claimed_ticket: Digest,
    issuer: Digest,
    usage: &Usage,
    cost: NanoTon,
    ticket: &Ticket,
    ticket_token: &str,
) -> Result<(), Mismatch> {
    if claimed_ticket != Digest::of(&[ticket_token.as_bytes()]) {
        return Err(Mismatch::Ticket);
    }
    if issuer != ticket.keyset {
        return Err(Mismatch::Keyset);
    }
    if ticket.price.cost(usage) != Ok(cost) {
        return Err(Mismatch::Cost);
    }
    if cost > ticket.max_cost {
        return Err(Mismatch::MaxCost);
    }
    Ok(())
}
