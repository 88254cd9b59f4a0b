//! What a sealed request is bound to: its ticket and its `x_conf` must be for this backend, this path, this model and
//! this very ciphertext.

use cocoon_openapi::x_conf::{MAX_SKEW_MS, XConf};
use cocoon_receipts::{Digest, Price, Ticket, VerifyingKey};

use crate::config::MinPrice;
use crate::refusal::Cause;

/// What this backend serves, and for whom.
#[derive(Debug)]
pub(crate) struct Binding {
    pub(crate) keyset: Digest,
    /// Public name.
    pub(crate) model: String,
    pub(crate) min_price: MinPrice,
    pub(crate) gateway_keys: Vec<VerifyingKey>,
}

impl Binding {
    /// The ticket of a request to `path` with the decoded `encapsulated_key`.
    ///
    /// # Errors
    /// The first [`Cause`].
    pub(crate) fn ticket(
        &self,
        token: &str,
        path: &str,
        encapsulated_key: &[u8],
        now_ms: u64,
    ) -> Result<Ticket, Cause> {
        let ticket = Ticket::verify(token, &self.gateway_keys).map_err(Cause::Ticket)?;
        let checks = [
            (ticket.exp > now_ms / 1000, Cause::Expired),
            (ticket.keyset == self.keyset, Cause::TicketKeyset),
            (ticket.enc == Digest::of(&[encapsulated_key]), Cause::TicketEnc),
            (ticket.path == path, Cause::TicketPath),
            (ticket.model == self.model, Cause::TicketModel),
            (self.min_price.allows(&ticket.price), Cause::TicketPrice),
        ];
        all_hold(&checks).map(|()| ticket)
    }

    /// Whether the sealed context is for the request that `ticket` is for.
    ///
    /// # Errors
    /// The first [`Cause`].
    pub(crate) fn x_conf(&self, x_conf: &XConf, ticket: &Ticket, now_ms: u64) -> Result<(), Cause> {
        let price_fits = x_conf.price_max.is_none_or(|most| no_dearer(&ticket.price, &most));
        all_hold(&[
            (x_conf.v == 1, Cause::XConfVersion),
            (x_conf.path == ticket.path, Cause::XConfPath),
            (x_conf.model == ticket.model, Cause::XConfModel),
            (x_conf.keyset == self.keyset, Cause::XConfKeyset),
            (x_conf.ts.abs_diff(now_ms) <= MAX_SKEW_MS, Cause::XConfTime),
            (price_fits, Cause::XConfPrice),
        ])
    }
}

fn all_hold(checks: &[(bool, Cause)]) -> Result<(), Cause> {
    checks.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, cause)| Err(*cause))
}

/// In every class; which table they are from does not matter.
fn no_dearer(price: &Price, most: &Price) -> bool {
    price.prompt <= most.prompt
        && price.cached <= most.cached
        && price.completion <= most.completion
        && price.reasoning <= most.reasoning
}

#[cfg(test)]
mod tests {
    use cocoon_openapi::CHAT_COMPLETIONS_PATH;
    use cocoon_openapi::x_conf::ClientNonce;
    use cocoon_receipts::{DeploymentKey, JwsError, NanoTon, Payer, RequestId, SigningKey};

    use super::*;

    const NOW_MS: u64 = 1_000_000_000;
    const ENC: [u8; 32] = [7; 32];
    const PRICE: Price = Price {
        table: 1,
        prompt: NanoTon(10),
        cached: NanoTon(10),
        completion: NanoTon(30),
        reasoning: NanoTon(30),
    };

    fn ticket() -> Ticket {
        let payer =
            Payer { account: "a".parse().unwrap(), key: "k".parse().unwrap(), project: None, shard: 0 };
        let req = RequestId::generate();
        Ticket {
            req,
            attempt: 1,
            keyset: Digest([1; 32]),
            enc: Digest::of(&[&ENC]),
            acct: Digest([5; 32]),
            path: CHAT_COMPLETIONS_PATH.into(),
            model: "m".into(),
            price: PRICE,
            max_cost: NanoTon(100),
            exp: NOW_MS / 1000 + 1,
            payer: DeploymentKey::generate().unwrap().seal(&payer, req).unwrap(),
        }
    }

    fn binding(key: &SigningKey) -> Binding {
        Binding {
            keyset: Digest([1; 32]),
            model: "m".into(),
            min_price: MinPrice { prompt: NanoTon(10), ..MinPrice::default() },
            gateway_keys: vec![key.public().clone()],
        }
    }

    #[test]
    fn a_ticket_is_taken_for_exactly_what_it_says() {
        let key = SigningKey::generate().unwrap();
        let binding = binding(&key);
        let judge = |change: fn(&mut Ticket)| {
            let mut ticket = ticket();
            change(&mut ticket);
            let token = ticket.sign(&key).unwrap();
            binding.ticket(&token, CHAT_COMPLETIONS_PATH, &ENC, NOW_MS).map(drop)
        };
        assert_eq!(judge(|_| {}), Ok(()));
        for (change, cause) in [
            ((|t| t.exp = NOW_MS / 1000) as fn(&mut Ticket), Cause::Expired),
            (|t| t.keyset = Digest([2; 32]), Cause::TicketKeyset),
            (|t| t.enc = Digest([2; 32]), Cause::TicketEnc),
            (|t| t.path = "/v1/completions".into(), Cause::TicketPath),
            (|t| t.model = "other".into(), Cause::TicketModel),
            (|t| t.price.prompt = NanoTon(9), Cause::TicketPrice),
        ] {
            assert_eq!(judge(change), Err(cause));
        }
    }

    #[test]
    fn only_a_known_gateway_signs_tickets() {
        let (key, stranger) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let judge =
            |token: &str| binding(&key).ticket(token, CHAT_COMPLETIONS_PATH, &ENC, NOW_MS).unwrap_err();
        let forged = ticket().sign(&stranger).unwrap();
        assert_eq!(judge(&forged), Cause::Ticket(JwsError::UnknownKey));
        assert_eq!(judge("x"), Cause::Ticket(JwsError::Malformed));
        let token = ticket().sign(&key).unwrap();
        let (signed, _) = token.rsplit_once('.').unwrap();
        let (_, signature) = forged.rsplit_once('.').unwrap();
        assert_eq!(judge(&format!("{signed}.{signature}")), Cause::Ticket(JwsError::Signature));
    }

    #[test]
    fn a_context_is_taken_for_exactly_what_it_says() {
        let binding = binding(&SigningKey::generate().unwrap());
        let judge = |change: fn(&mut XConf)| {
            let mut x_conf = XConf {
                v: 1,
                nonce: ClientNonce([3; 32]),
                ts: NOW_MS,
                path: CHAT_COMPLETIONS_PATH.into(),
                model: "m".into(),
                keyset: Digest([1; 32]),
                price_max: Some(Price { table: 9, ..PRICE }),
                max_cost: None,
                acct: None,
                pad: None,
            };
            change(&mut x_conf);
            binding.x_conf(&x_conf, &ticket(), NOW_MS)
        };
        assert_eq!(judge(|_| {}), Ok(()));
        assert_eq!(judge(|x| x.ts = NOW_MS + MAX_SKEW_MS), Ok(()));
        assert_eq!(judge(|x| x.price_max = None), Ok(()));
        for (change, cause) in [
            ((|x| x.v = 2) as fn(&mut XConf), Cause::XConfVersion),
            (|x| x.path = "/v1/completions".into(), Cause::XConfPath),
            (|x| x.model = "other".into(), Cause::XConfModel),
            (|x| x.keyset = Digest([2; 32]), Cause::XConfKeyset),
            (|x| x.ts = NOW_MS + MAX_SKEW_MS + 1, Cause::XConfTime),
            (|x| x.ts = NOW_MS - MAX_SKEW_MS - 1, Cause::XConfTime),
            (|x| x.price_max = Some(Price { completion: NanoTon(29), ..PRICE }), Cause::XConfPrice),
        ] {
            assert_eq!(judge(change), Err(cause));
        }
    }
}
