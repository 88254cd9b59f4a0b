//! More endpoints than one.

use super::*;

async fn two(
    first: impl IntoIterator<Item = Script>,
    second: impl IntoIterator<Item = Script>,
) -> (Scripted, Scripted, Failover) {
    let (first, second) = (Scripted::start(-3, first).await, Scripted::start(-3, second).await);
    let failover = Failover::new(vec![first.endpoint("one"), second.endpoint("two")]).unwrap();
    (first, second, failover)
}

#[tokio::test]
async fn the_next_endpoint_answers_for_one_that_fails() {
    for failure in [
        error(500, "x"),
        Script::CutShort(200),
        Script::Answer(200, "", "garbage".to_owned()),
        error(500, "LITE_SERVER_UNKNOWN"),
        error(429, "x"),
    ] {
        let (first, second, chain) = two([failure], [ok(&active(1))]).await;
        assert!(chain.account(&treasury()).await.is_ok());
        assert_eq!((first.asked().len(), second.asked().len()), (1, 1));
    }
}

#[tokio::test]
async fn an_endpoint_in_time_answers_for_one_that_is_silent() {
    let (first, second) =
        (Scripted::start(-3, [Script::Silence]).await, Scripted::start(-3, [ok(&active(1))]).await);
    let slow = EndpointConfig { timeout: Duration::from_secs(2), ..first.config("one") };
    let chain = Failover::new(vec![endpoint(slow).unwrap(), second.endpoint("two")]).unwrap();
    assert!(chain.account(&treasury()).await.is_ok());
}

#[tokio::test]
async fn an_endpoint_that_asks_for_fewer_requests_rests_as_long_as_it_says() {
    let limited = Script::Answer(429, "retry-after: 60\r\n", String::new());
    let (first, second, chain) = two([limited, ok(&active(1))], [ok(&active(1)), ok(&active(1))]).await;
    for _ in 0..2 {
        chain.account(&treasury()).await.unwrap();
    }
    assert_eq!((first.asked().len(), second.asked().len()), (1, 2));
}

#[tokio::test]
async fn with_one_endpoint_a_call_waits_and_tries_again_but_not_for_ever() {
    let begun = Instant::now();
    let limited = Script::Answer(429, "retry-after: 1\r\n", String::new());
    let server = Scripted::start(-3, [limited, error(500, "x"), ok(&active(1))]).await;
    let chain = Failover::new(vec![server.endpoint("one")]).unwrap();
    assert!(chain.account(&treasury()).await.is_ok());
    // As long as it said, then twice the first rest.
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(server.asked().len(), 3);
    assert_eq!(chain.account(&treasury()).await.unwrap_err(), ChainError::Server(500));
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn what_is_not_the_endpoints_fault_is_not_asked_of_the_next() {
    let run = json!({"stack": [], "exit_code": 11});
    let rejected = error(500, "LITE_SERVER_UNKNOWN: cannot apply external message to current state");
    let (_first, second, chain) = two([ok(&run), rejected, error(422, "x")], []).await;
    assert_eq!(chain.run_get_method(&treasury(), "x", &[]).await.unwrap_err(), ChainError::ExitCode(11));
    assert!(matches!(chain.send_boc(&[1]).await, Err(ChainError::NotAccepted(_))));
    assert!(matches!(chain.account(&treasury()).await, Err(ChainError::Refused { .. })));
    assert_eq!(second.asked(), []);
}

#[tokio::test]
async fn an_endpoint_of_another_network_is_a_mistake_and_not_gone_around() {
    let (first, second) = (Scripted::start(-239, []).await, Scripted::start(-3, [ok(&active(1))]).await);
    let chain = Failover::new(vec![first.endpoint("one"), second.endpoint("two")]).unwrap();
    assert!(matches!(chain.account(&treasury()).await, Err(ChainError::OtherNetwork { .. })));
}

#[test]
fn no_endpoint_is_no_chain() {
    assert!(Failover::new(Vec::new()).is_err());
}

/// Asks for the treasury's newest transaction.
async fn newest(endpoint: &Endpoint) -> Result<Option<TransactionId>, ChainError> {
    Ok(endpoint.transactions(&treasury(), None, 1).await?.first().map(|transaction| transaction.id))
}

#[tokio::test]
async fn two_operators_who_say_the_same_are_believed() {
    let (_first, _second, chain) = two([ok(&raw(&["deposit"]))], [ok(&raw(&["deposit"]))]).await;
    assert_eq!(chain.agreed(newest).await, Ok(Some(recorded().transaction("deposit").id)));
}

#[tokio::test]
async fn one_operator_is_not_two() {
    let server = Scripted::start(-3, [ok(&raw(&["deposit"])), ok(&raw(&["deposit"]))]).await;
    let chain = Failover::new(vec![server.endpoint("one"), server.endpoint("one")]).unwrap();
    assert_eq!(chain.agreed(newest).await, Err(Disagreement::TooFew(None)));
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_failure_or_another_answer_is_no_agreement() {
    let (_first, _second, chain) = two([ok(&raw(&["deposit"]))], [error(500, "x")]).await;
    assert_eq!(chain.agreed(newest).await, Err(Disagreement::TooFew(Some(ChainError::Server(500)))));
    let (_first, _second, chain) = two([ok(&raw(&["deposit"]))], [ok(&raw(&["deposit_small"]))]).await;
    assert_eq!(chain.agreed(newest).await, Err(Disagreement::Differ));
}

#[tokio::test]
async fn a_third_operator_outvotes_one_that_lies() {
    let answers = ["deposit_small", "deposit", "deposit"];
    let mut servers = Vec::new();
    for answer in answers {
        servers.push(Scripted::start(-3, [ok(&raw(&[answer]))]).await);
    }
    let endpoints =
        servers.iter().zip(["one", "two", "three"]).map(|(server, operator)| server.endpoint(operator));
    let chain = Failover::new(endpoints.collect()).unwrap();
    assert_eq!(chain.agreed(newest).await, Ok(Some(recorded().transaction("deposit").id)));
}
