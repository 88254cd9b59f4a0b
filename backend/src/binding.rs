//! What a sealed request is bound to: its ticket and its `x_conf` must be for this backend, this path, this model and
//! this very ciphertext.

use cocoon_openapi::x_conf::{MAX_SKEW_MS, XConf};
use cocoon_openapi::{CHAT_COMPLETIONS_PATH, COMPLETIONS_PATH, scan};
use cocoon_receipts::{Digest, Price, Ticket, VerifyingKey};

use crate::config::MinPrice;
use crate::refusal::Cause;

/// What this backend serves, and for whom.
#[derive(Debug)]
pub(crate) struct Binding {
    /// Public name.
    pub(crate) model: String,
    pub(crate) min_price: MinPrice,
    pub(crate) gateway_keys: Vec<VerifyingKey>,
}

impl Binding {
    /// The ticket of a request to `path` with the decoded `encapsulated_key`. Its keyset is not judged here.
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
            (ticket.enc == Digest::of(&[encapsulated_key]), Cause::TicketEnc),
            (ticket.path == path, Cause::TicketPath),
            (ticket.model == self.model, Cause::TicketModel),
            (self.min_price.allows(&ticket.price), Cause::TicketPrice),
        ];
        all_hold(&checks).map(|()| ticket)
    }

    /// Whether the sealed context is for the request that `ticket` is for, and for the keyset `opened_by` whose key has
    /// opened it.
    ///
    /// # Errors
    /// The first [`Cause`].
    pub(crate) fn x_conf(
        &self,
        x_conf: &XConf,
        ticket: &Ticket,
        opened_by: Digest,
        now_ms: u64,
    ) -> Result<(), Cause> {
        let price_fits = x_conf.price_max.is_none_or(|most| no_dearer(&ticket.price, &most));
        all_hold(&[
            (x_conf.v == 1, Cause::XConfVersion),
            (x_conf.path == ticket.path, Cause::XConfPath),
            (x_conf.model == ticket.model, Cause::XConfModel),
            (x_conf.keyset == opened_by, Cause::XConfKeyset),
            (x_conf.acct.is_none_or(|acct| acct == ticket.acct), Cause::XConfAccount),
            (x_conf.ts.abs_diff(now_ms) <= MAX_SKEW_MS, Cause::XConfTime),
            (price_fits, Cause::XConfPrice),
        ])
    }
}

/// Whether a body without a context is for the model and the path of `ticket`: all that ties a plain EHBP client's
/// ciphertext to them.
///
/// # Errors
/// [`Cause::BodyModel`], [`Cause::BodyPath`].
pub(crate) fn bare_body(body: &[u8], ticket: &Ticket) -> Result<(), Cause> {
    let object = scan::scan(body).map_err(|_| Cause::BodyModel)?;
    let model = object.parse::<String>("model", "a string");
    let required = match ticket.path.as_str() {
        CHAT_COMPLETIONS_PATH => "messages",
        COMPLETIONS_PATH => "prompt",
        _ => "input",
    };
    all_hold(&[
        (model.is_ok_and(|model| model.as_deref() == Some(ticket.model.as_str())), Cause::BodyModel),
        (object.get(required).is_some(), Cause::BodyPath),
    ])
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
    use cocoon_openapi::x_conf::ClientNonce;
    use cocoon_openapi::{EMBEDDINGS_PATH, RESPONSES_PATH};
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
            binding.x_conf(&x_conf, &ticket(), Digest([1; 32]), NOW_MS)
        };
        assert_eq!(judge(|_| {}), Ok(()));
        assert_eq!(judge(|x| x.ts = NOW_MS + MAX_SKEW_MS), Ok(()));
        assert_eq!(judge(|x| x.price_max = None), Ok(()));
        assert_eq!(judge(|x| x.acct = Some(Digest([5; 32]))), Ok(()));
        for (change, cause) in [
            ((|x| x.v = 2) as fn(&mut XConf), Cause::XConfVersion),
            (|x| x.path = "/v1/completions".into(), Cause::XConfPath),
            (|x| x.model = "other".into(), Cause::XConfModel),
            (|x| x.keyset = Digest([2; 32]), Cause::XConfKeyset),
            (|x| x.acct = Some(Digest([4; 32])), Cause::XConfAccount),
            (|x| x.ts = NOW_MS + MAX_SKEW_MS + 1, Cause::XConfTime),
            (|x| x.ts = NOW_MS - MAX_SKEW_MS - 1, Cause::XConfTime),
            (|x| x.price_max = Some(Price { completion: NanoTon(29), ..PRICE }), Cause::XConfPrice),
        ] {
            assert_eq!(judge(change), Err(cause));
        }
    }

    #[test]
    fn a_body_without_a_context_is_taken_for_its_model_and_the_path_whose_member_it_has() {
        let judge =
            |path: &str, body: &str| bare_body(body.as_bytes(), &Ticket { path: path.into(), ..ticket() });
        for (path, member) in [
            (CHAT_COMPLETIONS_PATH, "messages"),
            (COMPLETIONS_PATH, "prompt"),
            (EMBEDDINGS_PATH, "input"),
            (RESPONSES_PATH, "input"),
        ] {
            assert_eq!(judge(path, &format!(r#"{{"model":"m","{member}":[]}}"#)), Ok(()));
            let others = ["messages", "prompt", "input"].into_iter().filter(|other| *other != member);
            for other in others {
                let body = format!(r#"{{"model":"m","{other}":[]}}"#);
                assert_eq!(judge(path, &body), Err(Cause::BodyPath), "{path} {body}");
            }
        }
        for body in [r#"{"model":"n","messages":[]}"#, r#"{"model":5,"messages":[]}"#, r#"{"messages":[]}"#] {
            assert_eq!(judge(CHAT_COMPLETIONS_PATH, body), Err(Cause::BodyModel), "{body}");
        }
    }
}
