//! Step 6 of a request that the gateway may read: its body is sealed to a backend and sent; anew elsewhere only where no
//! backend can have admitted it.

use cocoon_exchange::{Encapsulated, Sealed};
use cocoon_ledger::ReleaseReason;
use cocoon_openapi::x_conf::{ClientNonce, XConf};
use cocoon_sealing::encode_hex;
use http::uri::Authority;
use http::{HeaderValue, StatusCode};
use http_body_util::Full;

use crate::admit::Admitted;
use crate::clock::now_ms;
use crate::error::Failure;
use crate::hop::{Answered, Envelope, Errand, HopBody, MAX_ATTEMPTS, Outcome, PATIENCE, Sender, not_sent};
use crate::route::Chosen;

/// A request that a backend has opened, and the sealed answer that comes back.
#[derive(Debug)]
pub struct Exchange {
    pub answered: Box<Answered>,
    pub sealed: Sealed,
    pub chosen: Chosen,
}

impl Sender {
    /// Seals and sends until a backend has opened the request. `body` is the client's bytes.
    ///
    /// # Errors
    /// 503 where no backend takes it, 502 where one failed, 503 where the store does not answer.
    pub async fn send(
        &self,
        mut admitted: Admitted,
        errand: &Errand<'_>,
        body: &[u8],
        nonce: ClientNonce,
    ) -> Result<Exchange, Failure> {
        let mut tried: Vec<Authority> = Vec::new();
        for number in 1..=MAX_ATTEMPTS {
            let Some(chosen) = self.fleet.choose_within(errand.model, &tried, PATIENCE).await else {
                break;
            };
            let (enc, sealed) = seal(&admitted, errand, &chosen, body, nonce)?;
            let envelope = Envelope {
                enc: &enc,
                enc_header: HeaderValue::from_str(&encode_hex(&enc))
                    .map_err(|error| not_sent(&admitted, &error))?,
                names_keyset: true,
                body: HopBody::Whole(Full::new(sealed.frames.clone())),
            };
            match self.attempt(&mut admitted, number, &chosen, errand, envelope).await? {
                Outcome::Answered(answered) => return Ok(Exchange { answered, sealed, chosen }),
                // The body was sealed here, so it is the key that is gone.
                Outcome::Refused(StatusCode::UNPROCESSABLE_ENTITY) => {
                    chosen.backend.suspect(chosen.attested.digest());
                }
                Outcome::Refused(StatusCode::SERVICE_UNAVAILABLE) | Outcome::Unreachable => {}
                Outcome::Refused(_) => {
                    admitted.release(ReleaseReason::Rejected).await;
                    return Err(Failure::backend_refused());
                }
                Outcome::Broken => return Err(Failure::backend_failed()),
            }
            // A backend whose keys were stale is back in the fleet, under new keys, once it was verified again.
            if chosen.backend.attested().is_some() {
                tried.push(chosen.backend.authority.clone());
            }
        }
        admitted.release(ReleaseReason::NoBackend).await;
        Err(Failure::no_backend())
    }
}

/// The body sealed to `chosen`, and the encapsulated key.
fn seal(
    admitted: &Admitted,
    errand: &Errand<'_>,
    chosen: &Chosen,
    body: &[u8],
    nonce: ClientNonce,
) -> Result<(Vec<u8>, Sealed), Failure> {
    let key = chosen.attested.strongest_key().ok_or_else(|| not_sent(admitted, &"no HPKE key"))?;
    let encapsulated = Encapsulated::new(key).map_err(|error| not_sent(admitted, &error))?;
    let enc = encapsulated.key().to_vec();
    let context = XConf {
        v: 1,
        nonce,
        ts: now_ms(),
        path: errand.path.to_owned(),
        model: errand.model.to_owned(),
        keyset: chosen.attested.digest(),
        price_max: None,
        max_cost: Some(admitted.hold),
        acct: Some(errand.tag_key.tag(&enc)),
        pad: None,
    };
    let sealed = encapsulated.seal(body, &context).map_err(|error| not_sent(admitted, &error))?;
    Ok((enc, sealed))
}
