use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use jsonwebtoken::Algorithm;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;
use crate::clock::now_s;
use crate::issuers::Issuers;
use crate::issuers::jwks::LIMITS;

/// What the issuer answers, and how often it was asked.
#[derive(Default)]
struct Answers {
    status: StatusCode,
    body: String,
    asked: usize,
}

/// An issuer's server, and who follows it.
struct Bench {
    answers: Arc<Mutex<Answers>>,
    issuers: Arc<Issuers>,
    background: TaskTracker,
    ended: CancellationToken,
    _server: JoinSet<()>,
}

impl Bench {
    async fn start(status: StatusCode, body: String, refresh_s: u64) -> Self {
        let answers = Arc::new(Mutex::new(Answers { status, body, asked: 0 }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let app = Router::new().route("/jwks", get(answer)).with_state(Arc::clone(&answers));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let issuers = Arc::new(Issuers::new(&[IssuerConfig { url, refresh_s, ..good() }]).unwrap());
        let (background, ended) = (TaskTracker::new(), CancellationToken::new());
        issuers.follow(&background, &ended);
        Self { answers, issuers, background, ended, _server: server }
    }

    fn answer(&self, status: StatusCode, body: String) {
        let mut answers = self.answers.lock().unwrap();
        (answers.status, answers.body) = (status, body);
    }

    fn asked(&self) -> usize {
        self.answers.lock().unwrap().asked
    }

    /// The status that a request with this signer's token gets; 200 where it goes on.
    async fn status(&self, signer: &Signer) -> u16 {
        status(&self.issuers, &signer.sign(&claims(now_s()))).await
    }

    async fn until_asked(&self, times: usize) {
        let asked = async {
            while self.asked() < times {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), asked).await.unwrap();
    }

    async fn end(self) {
        self.ended.cancel();
        self.background.close();
        self.background.wait().await;
    }
}

async fn status(issuers: &Issuers, token: &str) -> u16 {
    match issuers.authenticate(token, now_s()).await {
        Ok(Some(key)) => {
            assert_eq!(key.sub.as_str(), "iss:corp:alice");
            200
        }
        Ok(None) => 0,
        Err(failure) => failure.api.status,
    }
}

async fn answer(State(answers): State<Arc<Mutex<Answers>>>) -> (StatusCode, String) {
    let mut answers = answers.lock().unwrap();
    answers.asked += 1;
    (answers.status, answers.body.clone())
}

#[tokio::test]
async fn a_rotated_key_is_found_by_many_with_one_fetch_and_an_unknown_one_is_not_asked_for_again() {
    let (old, new) = (Signer::new("old", Algorithm::EdDSA), Arc::new(Signer::new("new", Algorithm::ES256)));
    let bench = Bench::start(StatusCode::OK, set(&[old.jwk()]), 3600).await;
    assert_eq!(bench.status(&old).await, 200, "the first token waits for the keys");
    assert_eq!(bench.asked(), 1);
    bench.answer(StatusCode::OK, set(&[new.jwk()]));
    let mut tokens = JoinSet::new();
    for _ in 0..20 {
        let (issuers, new) = (Arc::clone(&bench.issuers), Arc::clone(&new));
        tokens.spawn(async move { status(&issuers, &new.sign(&claims(now_s()))).await });
    }
    assert!(tokens.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(bench.asked(), 2, "one fetch for all");
    assert_eq!(bench.status(&old).await, 401, "it was taken out of the set");
    let stranger = Signer::new("stranger", Algorithm::EdDSA);
    for _ in 0..5 {
        assert_eq!(bench.status(&stranger).await, 401);
    }
    assert_eq!(bench.asked(), 2, "at most once a minute");
    bench.end().await;
}

#[tokio::test]
async fn keys_stay_in_force_while_they_cannot_be_fetched() {
    let signer = Signer::new("k1", Algorithm::EdDSA);
    let bench = Bench::start(StatusCode::OK, set(&[signer.jwk()]), 1).await;
    assert_eq!(bench.status(&signer).await, 200);
    let mut times = bench.asked();
    let too_large = set(&[signer.jwk(), json!({ "kty": "x".repeat(LIMITS.size) })]);
    for (status, body) in [
        (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
        (StatusCode::OK, "no JSON".to_owned()),
        (StatusCode::OK, set(&[])),
        (StatusCode::OK, too_large),
    ] {
        bench.answer(status, body);
        // The second of them is asked for once the first has been judged.
        bench.until_asked(times + 2).await;
        times = bench.asked();
        assert_eq!(bench.status(&signer).await, 200);
    }
    bench.end().await;
}

#[tokio::test]
async fn a_set_that_is_too_large_is_none() {
    let signer = Signer::new("k1", Algorithm::EdDSA);
    let large = set(&[signer.jwk(), json!({ "kty": "x".repeat(LIMITS.size) })]);
    let bench = Bench::start(StatusCode::OK, large, 3600).await;
    assert_eq!(bench.status(&signer).await, 503);
    bench.end().await;
}

#[tokio::test]
async fn a_token_is_503_until_the_keys_were_fetched_once() {
    let signer = Signer::new("k1", Algorithm::EdDSA);
    let bench = Bench::start(StatusCode::BAD_GATEWAY, String::new(), 3600).await;
    assert_eq!(bench.status(&signer).await, 503);
    bench.answer(StatusCode::OK, set(&[signer.jwk()]));
    // It was not asked for by a token yet: the first attempt was the gateway's own.
    assert_eq!(bench.status(&signer).await, 200);
    bench.end().await;
}

#[tokio::test]
async fn a_token_of_nobody_we_know_is_left_to_others() {
    let signer = Signer::new("k1", Algorithm::EdDSA);
    let bench = Bench::start(StatusCode::OK, set(&[signer.jwk()]), 3600).await;
    let mut other = claims(now_s());
    other["iss"] = json!("https://other.example");
    assert_eq!(status(&bench.issuers, &signer.sign(&other)).await, 0);
    assert_eq!(status(&bench.issuers, "no.token.at-all").await, 0);
    bench.end().await;
}
