//! The ticket of an attempt: what it promises is what was reserved.

use cocoon_receipts::{Digest, JwsError, NanoTon, Payer, Price, RequestId, Ticket};

use crate::authenticate::ApiKey;
use crate::clock::now_s;
use crate::keys::Keys;

/// How long a backend may wait before it admits a request, seconds: covers clocks that differ a little.
const ADMISSION_SECONDS: u64 = 120;

/// A ticket and its signed form.
#[derive(Debug, Clone)]
pub struct SignedTicket {
    pub ticket: Ticket,
    pub token: String,
}

/// What differs from attempt to attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    pub number: u32,
    pub keyset: Digest,
    /// SHA-256 of the encapsulated key.
    pub enc: Digest,
    /// Tag of the API key on that encapsulated key.
    pub acct: Digest,
}

/// What does not.
#[derive(Debug, Clone)]
pub struct Terms<'a> {
    pub request: RequestId,
    pub key: &'a ApiKey,
    pub shard: u16,
    pub path: &'a str,
    pub model: &'a str,
    pub price: Price,
    pub max_cost: NanoTon,
}

/// Signs the ticket of `attempt`.
///
/// # Errors
/// [`JwsError::Sign`].
pub fn issue(keys: &Keys, terms: &Terms<'_>, attempt: Attempt) -> Result<SignedTicket, JwsError> {
    let payer = Payer {
        account: terms.key.sub.clone(),
        key: terms.key.jti.clone(),
        project: terms.key.project.clone(),
        shard: terms.shard,
    };
    let ticket = Ticket {
        req: terms.request,
        attempt: attempt.number,
        keyset: attempt.keyset,
        enc: attempt.enc,
        acct: attempt.acct,
        path: terms.path.to_owned(),
        model: terms.model.to_owned(),
        price: terms.price,
        max_cost: terms.max_cost,
        exp: now_s() + ADMISSION_SECONDS,
        payer: keys.deployment.seal(&payer, terms.request)?,
    };
    let token = ticket.sign(&keys.tickets)?;
    Ok(SignedTicket { ticket, token })
}
