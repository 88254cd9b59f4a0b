//! A dishonest operator with an attested backend signs what it likes, and is not paid for it.

use std::sync::Arc;

use anyhow::{Context, ensure};
use cocoon_ledger::{Bind, Estimate, Ledger, Limits, Rates, Reserve, Reserved, Work};
use cocoon_openapi::{CHAT_COMPLETIONS_PATH, Delivery, Outcome};
use cocoon_receipts::{Digest, KeyId, NanoTon, Receipt, ReceiptId, RequestId, SigningKey, Ticket, Usage};

use crate::bill::deliver;
use crate::harness::{ACCOUNT, Liar, PRICE, Sealed, Settings, Stack, eventually};

const MODEL: &str = "liar-model";
const MAX_COST: NanoTon = NanoTon(100_000);

/// A hold of the test account, bound to the liar's keyset, as a gateway would make it.
async fn hold(ledger: &Arc<dyn Ledger>, liar: &Liar) -> anyhow::Result<RequestId> {
    let request = RequestId::generate();
    let lease = std::time::Duration::from_secs(600);
    let key: KeyId = "test".parse()?;
    let reserve = Reserve {
        request,
        account: ACCOUNT.parse()?,
        key,
        project: None,
        model: MODEL.into(),
        work: Work::Completions,
        limits: Limits::default(),
        estimate: Estimate { worst_case: MAX_COST, useful_minimum: None, tokens: 0 },
        lease,
    };
    ensure!(ledger.reserve(&reserve).await? == Reserved::Held { amount: MAX_COST, rates: Rates::default() });
    ledger.bind(&Bind { account: ACCOUNT.parse()?, request, attempt: 1, keyset: liar.digest, lease }).await?;
    Ok(request)
}

fn ticket(stack: &Stack, liar: &Liar, request: RequestId) -> anyhow::Result<Ticket> {
    Ok(Ticket {
        req: request,
        attempt: 1,
        keyset: liar.digest,
        enc: Digest([1; 32]),
        acct: Digest([1; 32]),
        path: CHAT_COMPLETIONS_PATH.into(),
        model: MODEL.into(),
        price: PRICE,
        max_cost: MAX_COST,
        exp: 1,
        payer: Sealed::payer(stack, request)?,
    })
}

fn receipt(liar: &Liar, ticket: &Ticket, ticket_token: &str) -> Receipt {
    let usage = Usage { prompt: 100, completion: 50, ..Usage::default() };
    Receipt {
        iss: liar.digest,
        jti: ReceiptId::generate(),
        iat: 1,
        seq: 1,
        prev: Digest([0; 32]),
        ticket: Digest::of(&[ticket_token.as_bytes()]),
        cn: Digest::of(&[ticket_token.as_bytes(), b"nonce"]),
        req_hash: Digest([2; 32]),
        resp_hash: Digest([3; 32]),
        resp_frames: 1,
        status: 200,
        ctype: "application/json".into(),
        model: ticket.model.clone(),
        weights: Digest([0; 32]),
        usage,
        price: ticket.price,
        cost: ticket.price.cost(&usage).unwrap_or_default(),
        finish: "stop".into(),
        complete: true,
        started: 1,
        finished: 2,
        body: None,
        is_final: true,
    }
}

/// Every line of the list, and its neighbours. Each forgery is refused by name and moves nothing; the honest
/// receipt for the same hold is then accepted, so it was the forgery that was refused.
pub(crate) async fn each_forgery_is_refused() -> anyhow::Result<()> {
    let mut liar = Liar::new(MODEL).await?;
    let settings =
        Settings { second_backend: Some(liar.url()), gateway: liar.prices(), ..Settings::default() };
    let stack = Stack::start(settings).await?;
    liar.serve(SigningKey::from_pem(&std::fs::read_to_string(stack.path("keys/dev-root.pem"))?)?);
    let ledger = cocoon_ledger::open(
        &format!("sqlite:{}", stack.path("ledger.db").display()),
        cocoon_ledger::Options::default(),
    )
    .await?;
    eventually("the gateway accepts the liar's evidence", std::time::Duration::from_secs(30), || async {
        Ok(ledger.keyset(liar.digest).await?)
    })
    .await?;

    let tickets = Sealed::ticket_key(&stack)?;
    let stranger = SigningKey::generate()?;
    let (first, second) = (hold(&ledger, &liar).await?, hold(&ledger, &liar).await?);
    let honest = ticket(&stack, &liar, first)?;
    let honest_token = honest.sign(&tickets)?;
    let other = ticket(&stack, &liar, second)?;
    let other_token = other.sign(&tickets)?;
    let before = stack.account().await?;
    ensure!(before.open_holds == 2 && before.held.0 == 2 * MAX_COST.0, "{before:?}");

    let (real_keyset, real_digest) = Sealed::keyset(&stack).await?;
    drop(real_keyset);
    let (mut elsewhere, mut dearer, mut swapped) = (honest.clone(), honest.clone(), honest.clone());
    elsewhere.keyset = real_digest;
    dearer.max_cost = NanoTon(u64::MAX);
    swapped.payer = other.payer.clone();
    let elsewhere_token = elsewhere.sign(&tickets)?;
    let dearer_forged = dearer.sign(&stranger)?;
    let swapped_token = swapped.sign(&tickets)?;

    type Change = fn(&mut Receipt);
    let forgeries: Vec<(&str, &str, &Ticket, &str, &SigningKey, Change)> = vec![
        // What it is, the code it gets, the ticket it is for, the ticket it comes with, who signs it, what it claims.
        ("another hold's ticket", "ticket_mismatch", &honest, &other_token, &liar.receipt_key, |_| ()),
        (
            "a ticket for another keyset",
            "keyset_mismatch",
            &elsewhere,
            &elsewhere_token,
            &liar.receipt_key,
            |_| (),
        ),
        ("a forged ticket", "ticket_not_ours", &dearer, &dearer_forged, &liar.receipt_key, |_| ()),
        ("another request's payer", "ticket_not_ours", &swapped, &swapped_token, &liar.receipt_key, |_| ()),
        ("a cost above max_cost", "over_max_cost", &honest, &honest_token, &liar.receipt_key, |receipt| {
            receipt.usage.completion = 10_000_000;
            receipt.cost = receipt.price.cost(&receipt.usage).unwrap_or_default();
        }),
        (
            "a cost that usage does not give",
            "cost_mismatch",
            &honest,
            &honest_token,
            &liar.receipt_key,
            |receipt| {
                receipt.cost = NanoTon(receipt.cost.0 + 1);
            },
        ),
        ("prices of its own", "price_mismatch", &honest, &honest_token, &liar.receipt_key, |receipt| {
            receipt.price.completion = NanoTon(70_000_000);
            receipt.cost = receipt.price.cost(&receipt.usage).unwrap_or_default();
        }),
        ("another model", "model_mismatch", &honest, &honest_token, &liar.receipt_key, |receipt| {
            receipt.model = "better-model".into();
        }),
        ("a stranger's signature", "bad_signature", &honest, &honest_token, &stranger, |_| ()),
        (
            "a keyset nobody accepted",
            "unknown_keyset",
            &honest,
            &honest_token,
            &liar.receipt_key,
            |receipt| {
                receipt.iss = Digest([9; 32]);
            },
        ),
        ("a checkpoint's flag", "bad_signature", &honest, &honest_token, &liar.receipt_key, |receipt| {
            receipt.is_final = false;
        }),
    ];
    for (what, code, for_ticket, with_token, signer, change) in forgeries {
        let for_token = if std::ptr::eq(for_ticket, &honest) { honest_token.as_str() } else { with_token };
        let mut claims = receipt(&liar, for_ticket, for_token);
        change(&mut claims);
        let delivery = Delivery { token: claims.sign(signer)?, ticket: with_token.to_owned() };
        let outcomes = deliver(&stack, vec![delivery]).await?;
        ensure!(outcomes == [Outcome::Refused { code: code.into() }], "{what}: {outcomes:?}");
        ensure!(stack.account().await? == before, "{what} moved something");
    }
    for garbage in ["", "a.b.c", "not a token", &"x".repeat(100_000)] {
        let delivery = Delivery { token: garbage.to_owned(), ticket: honest_token.clone() };
        let outcomes = deliver(&stack, vec![delivery]).await?;
        ensure!(outcomes == [Outcome::Refused { code: "malformed".into() }], "{outcomes:?}");
    }

    let true_receipt = receipt(&liar, &honest, &honest_token);
    let delivery = Delivery { token: true_receipt.sign(&liar.receipt_key)?, ticket: honest_token.clone() };
    let earned = Outcome::Acknowledged { earned: Some(NanoTon(true_receipt.cost.0 * 9 / 10)) };
    ensure!(deliver(&stack, vec![delivery.clone()]).await? == std::slice::from_ref(&earned));
    let after = stack.account().await?;
    ensure!(after.open_holds == 1 && before.balance.0 - after.balance.0 == true_receipt.cost.0, "{after:?}");

    // A second, different receipt for the hold that is charged already costs nothing more.
    let again = receipt(&liar, &honest, &honest_token);
    let again = Delivery { token: again.sign(&liar.receipt_key)?, ticket: honest_token };
    let nothing = Outcome::Acknowledged { earned: Some(NanoTon::ZERO) };
    for _ in 0..2 {
        let outcomes = deliver(&stack, vec![again.clone(), delivery.clone()]).await?;
        ensure!(outcomes == [nothing.clone(), earned.clone()], "{outcomes:?}");
        ensure!(stack.account().await? == after, "{outcomes:?}");
    }
    ledger.account(&ACCOUNT.parse()?).await.context("the ledger still answers")?;
    Ok(())
}
