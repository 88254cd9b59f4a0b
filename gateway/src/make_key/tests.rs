use cocoon_ledger::{Budget, Options, Period};
use cocoon_receipts::NanoTon;

use super::*;

fn new() -> NewKey {
    NewKey {
        account: "alice".parse().unwrap(),
        project: None,
        name: "a key".into(),
        scope: Scope::Inference,
        models: Some(vec!["m".into()]),
        limits: Limits { rpm: Some(2), ..Limits::default() },
        sealed_only: true,
        expires: Some(now_s() + 1000),
    }
}

struct Bench {
    ledger: std::sync::Arc<dyn Ledger>,
    signer: SigningKey,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("ledger.db").display());
        let ledger = cocoon_ledger::open(&url, Options::default()).await.unwrap();
        Self { ledger, signer: SigningKey::generate().unwrap(), _folder: folder }
    }

    fn maker(&self) -> KeyMaker<'_> {
        KeyMaker { ledger: self.ledger.as_ref(), signer: &self.signer, issuer: "cocoon" }
    }

    async fn record(&self, made: &MadeKey) -> KeyRecord {
        self.ledger.key(&made.record.account, &made.record.id).await.unwrap().unwrap()
    }

    fn claims(&self, made: &MadeKey) -> ApiKey {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", made.text).parse().unwrap());
        let public = [self.signer.public().clone()];
        crate::authenticate::authenticate(&headers, &public, "cocoon", now_s()).unwrap()
    }
}

#[tokio::test]
async fn a_key_is_recorded_as_its_claims_are() {
    let bench = Bench::new().await;
    let made = bench.maker().make(NewKey { project: Some("p".parse().unwrap()), ..new() }).await.unwrap();
    assert_eq!(bench.record(&made).await, made.record);
    let claims = bench.claims(&made);
    assert_eq!((&claims.jti, &claims.sub), (&made.record.id, &made.record.account));
    assert_eq!((claims.exp, claims.iat), (made.record.expires, made.record.created));
    assert_eq!((&claims.project, &claims.models), (&made.record.project, &made.record.models));
    assert_eq!((claims.limits, claims.sealed_only), (made.record.limits, true));
    let last = &made.text[made.text.len() - 4..];
    assert_eq!(made.record.hint, format!("sk-cocoon-********{last}"));
    let in_default = NewKey { project: Some("default".parse().unwrap()), ..new() };
    assert_eq!(bench.maker().make(in_default).await.unwrap().record.project, None);
}

#[tokio::test]
async fn what_cannot_be_a_key_is_refused() {
    let bench = Bench::new().await;
    let beyond = Budget { amount: NanoTon(1 << 53), period: Period::Day };
    for (new, word) in [
        (NewKey { name: String::new(), ..new() }, "name"),
        (NewKey { name: "n".repeat(MAX_KEY_NAME + 1), ..new() }, "name"),
        (NewKey { name: "a\nb".into(), ..new() }, "name"),
        (NewKey { models: Some(Vec::new()), ..new() }, "models"),
        (NewKey { models: Some(vec![String::new()]), ..new() }, "models"),
        (NewKey { models: Some(vec!["m".into(); MAX_KEY_MODELS + 1]), ..new() }, "models"),
        (NewKey { limits: Limits { budget: Some(beyond), ..Limits::default() }, ..new() }, "budget"),
        (NewKey { account: "iss:corp:alice".parse().unwrap(), ..new() }, "issuers"),
    ] {
        let error = bench.maker().make(new).await.unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
}

#[tokio::test]
async fn a_successor_is_alike_and_the_old_key_ends_after_the_overlap() {
    let bench = Bench::new().await;
    let old = bench.maker().make(new()).await.unwrap();
    let overlap = Duration::from_secs(3600);
    let before = now_ms();
    let successor = bench.maker().rotate(old.record.clone(), overlap).await.unwrap();
    let (a, b) = (&old.record, &successor.record);
    assert_ne!(a.id, b.id);
    assert_eq!(b.expires.unwrap() - b.created, a.expires.unwrap() - a.created);
    assert_eq!((&a.models, a.limits, a.sealed_only, &a.name), (&b.models, b.limits, b.sealed_only, &b.name));
    let revoked = bench.record(&old).await;
    assert!(revoked.revoked_at_ms.is_some_and(|at| (before..=now_ms()).contains(&(at - 3_600_000))));
    assert!(!is_ended(&revoked));
    let again = bench.maker().rotate(revoked, overlap).await;
    assert!(matches!(again, Err(MakeKeyError::Revoked)), "{again:?}");
    let too_long = bench.maker().rotate(successor.record, MAX_OVERLAP + Duration::from_secs(1)).await;
    assert!(matches!(too_long, Err(MakeKeyError::Overlap)));
    let expired = bench.maker().make(NewKey { expires: Some(now_s()), ..new() }).await.unwrap();
    let late = bench.maker().rotate(expired.record, Duration::ZERO).await;
    assert!(matches!(late, Err(MakeKeyError::Expired)));
}
