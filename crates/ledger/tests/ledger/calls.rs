//! Random calls that meet each other, and what each is on a ledger and on the model.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::time::Duration;

use cocoon_ledger::{
    Bind, Checkpoint, Credit, Estimate, Grant, LedgerError, Limits, Release, ReleaseReason, Reserve,
    Settlement, Shard, Work,
};
use cocoon_receipts::{AccountId, BasisPoints, Digest, NanoTon, RequestId};

use crate::bench::*;
use crate::model::{Model, Overflow};

/// SplitMix64: a seed printed on failure repeats the whole run.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    pub(crate) fn one_in(&mut self, chances: u64) -> bool {
        self.below(chances) == 0
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()].clone()
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Call {
    Pass(Duration),
    Reserve(Reserve),
    Bind(Bind),
    Extend(Checkpoint),
    Settle(Box<Settlement>),
    Release(Release),
    Expired(Shard, u32),
    Expire(Shard, RequestId),
    Credit(Credit),
    Grant(Grant),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Reserve,
    Bind,
    Extend,
    Settle,
    Release,
    Expired,
    Expire,
    Credit,
    Grant,
    Pass,
}

/// How often each is called, of 20.
const WEIGHTS: [(Kind, u64); 10] = [
    (Kind::Reserve, 4),
    (Kind::Bind, 3),
    (Kind::Extend, 2),
    (Kind::Settle, 4),
    (Kind::Release, 1),
    (Kind::Expired, 1),
    (Kind::Expire, 2),
    (Kind::Credit, 1),
    (Kind::Grant, 1),
    (Kind::Pass, 1),
];

/// By chance alone hardly any request would come to its correction.
const LONG_WAY: [Kind; 7] =
    [Kind::Grant, Kind::Reserve, Kind::Bind, Kind::Extend, Kind::Pass, Kind::Expire, Kind::Settle];

/// What was made so far, so that calls meet each other.
#[derive(Debug, Default)]
pub(crate) struct History {
    requests: Vec<(AccountId, RequestId)>,
    calls: Vec<Call>,
    /// What is still to come of a request that goes the long way.
    story: VecDeque<(Kind, AccountId, RequestId)>,
    made: u64,
}

impl History {
    pub(crate) fn next(&mut self, random: &mut Random, bench: &Bench) -> Call {
        if random.one_in(6) && !self.calls.is_empty() {
            return random.pick(&self.calls);
        }
        let call = self.fresh(random, bench);
        self.calls.push(call.clone());
        call
    }

    fn fresh(&mut self, random: &mut Random, bench: &Bench) -> Call {
        self.made += 1;
        if self.story.is_empty() && random.one_in(6) {
            let (account, request) = self.new_request(random, bench);
            let kept = LONG_WAY.into_iter().filter(|_| !random.one_in(6));
            self.story = kept.map(|kind| (kind, account.clone(), request)).collect();
        }
        if random.one_in(2)
            && let Some((kind, account, request)) = self.story.pop_front()
        {
            return self.call(kind, true, (account, request), random, bench);
        }
        let mut chance = random.below(WEIGHTS.iter().map(|(_, weight)| weight).sum());
        let drawn = WEIGHTS.iter().find(|(_, weight)| {
            let found = chance < *weight;
            chance = chance.saturating_sub(*weight);
            found
        });
        let whose = self.request(random, bench);
        self.call(drawn.expect("the weights are summed").0, false, whose, random, bench)
    }

    /// `usual`: as a caller means it, so that it meets the calls before it.
    fn call(
        &self,
        kind: Kind,
        usual: bool,
        (account, request): (AccountId, RequestId),
        random: &mut Random,
        bench: &Bench,
    ) -> Call {
        let huge = !usual && random.one_in(40);
        let amount = if huge { (1 << 53) - 1 - random.below(3) } else { random.below(1500) };
        let lease = if usual { LEASE } else { Duration::from_secs(random.below(120)) };
        let shard = bench.ledger.shards().of(&account);
        let attempt = if usual { 1 } else { 1 + u32::try_from(random.below(2)).unwrap() };
        let backend = if usual { "a" } else { random.pick(&["a", "a", "b"]) };
        let operator_share = BasisPoints::new(random.pick(&[0, 3333, 9000, 10_000])).unwrap();
        let operator = name(&format!("operator-{}", if random.one_in(30) { "z" } else { backend }));
        let tokens = usage(random.below(20));
        let work = random.pick(&[Work::Completions, Work::Embeddings]);
        match kind {
            Kind::Reserve => {
                let useful_minimum = random.one_in(2).then(|| NanoTon(random.below(300)));
                let estimate = Estimate { worst_case: NanoTon(amount), useful_minimum, tokens: 0 };
                Call::Reserve(Reserve {
                    request,
                    account,
                    key: name("key"),
                    project: random.one_in(2).then(|| name("project")),
                    model: MODEL.to_owned(),
                    work,
                    limits: Limits::default(),
                    estimate,
                    lease,
                })
            }
            Kind::Bind => Call::Bind(Bind { account, request, attempt, keyset: keyset(backend), lease }),
            Kind::Extend => Call::Extend(Checkpoint {
                account,
                request,
                attempt,
                keyset: keyset(backend),
                operator,
                operator_share,
                usage: tokens,
                cost: NanoTon(random.below(400)),
                lease,
            }),
            Kind::Settle => {
                let made_at = if usual { bench.now_ms() } else { self.some_time(random, bench) };
                let receipt = receipt_made_at(made_at, self.made);
                Call::Settle(Box::new(Settlement {
                    account,
                    key: name("key"),
                    project: None,
                    request,
                    attempt,
                    keyset: keyset(backend),
                    operator,
                    operator_share,
                    receipt,
                    receipt_digest: Digest::of(&[receipt.to_string().as_bytes()]),
                    receipt_jws: receipt.to_string(),
                    model: "model".to_owned(),
                    work,
                    usage: tokens,
                    // The most there can be leaves even a rich account short.
                    cost: NanoTon(match random.below(20) {
                        0 => amount,
                        1 => (1 << 53) - 1,
                        _ => amount % 500,
                    }),
                    max_cost: NanoTon(amount),
                }))
            }
            Kind::Release => Call::Release(Release {
                account,
                key: name("key"),
                project: random.one_in(2).then(|| name("project")),
                request,
                reason: ReleaseReason::Rejected,
            }),
            Kind::Expired => Call::Expired(shard, u32::try_from(random.below(4)).unwrap()),
            Kind::Expire => Call::Expire(shard, request),
            Kind::Credit => Call::Credit(Credit {
                account,
                amount: NanoTon(amount),
                lt: self.made,
                tx_hash: Digest::of(&[]),
            }),
            Kind::Grant => Call::Grant(Grant { id: request, account, amount: NanoTon(amount) }),
            Kind::Pass if usual => Call::Pass(LEASE + GRACE),
            Kind::Pass => Call::Pass(random.pick(&[Duration::from_secs(20), LEASE, GRACE, DAY])),
        }
    }

    fn new_request(&mut self, random: &mut Random, bench: &Bench) -> (AccountId, RequestId) {
        let account: AccountId = name(random.pick(&ACCOUNTS[..3]));
        let request = request_made_at(self.some_time(random, bench), self.made);
        self.requests.push((account.clone(), request));
        (account, request)
    }

    /// A new request, or one of the last few.
    fn request(&mut self, random: &mut Random, bench: &Bench) -> (AccountId, RequestId) {
        if random.one_in(5) || self.requests.is_empty() {
            self.new_request(random, bench);
        }
        let recent = self.requests.len().saturating_sub(5);
        let (account, request) = random.pick(&self.requests[recent..]);
        // A caller may be mistaken about whose it is.
        if random.one_in(25) { (name(random.pick(&ACCOUNTS[..3])), request) } else { (account, request) }
    }

    /// Mostly now.
    fn some_time(&self, random: &mut Random, bench: &Bench) -> u64 {
        let day = 24 * 60 * 60 * 1000;
        if random.one_in(12) { bench.now_ms() - random.below(9) * day } else { bench.now_ms() }
    }
}

impl Call {
    pub(crate) fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Reserve(call) => Some(&call.account),
            Self::Bind(call) => Some(&call.account),
            Self::Extend(call) => Some(&call.account),
            Self::Settle(call) => Some(&call.account),
            Self::Release(call) => Some(&call.account),
            Self::Credit(call) => Some(&call.account),
            Self::Grant(call) => Some(&call.account),
            Self::Pass(_) | Self::Expired(..) | Self::Expire(..) => None,
        }
    }

    pub(crate) async fn on(&self, bench: &Bench) -> String {
        let ledger = bench.ledger.as_ref();
        match self {
            Self::Pass(time) => {
                bench.pass(*time).await;
                String::new()
            }
            Self::Reserve(call) => told(ledger.reserve(call).await),
            Self::Bind(call) => told(ledger.bind(call).await),
            Self::Extend(call) => told(ledger.extend(call).await),
            Self::Settle(call) => told(ledger.settle(call).await),
            Self::Release(call) => told(ledger.release(call).await),
            Self::Expired(shard, limit) => told(ledger.expired(*shard, *limit).await),
            Self::Expire(shard, request) => told(ledger.expire(*shard, *request).await),
            Self::Credit(call) => told(ledger.credit(call).await),
            Self::Grant(call) => told(ledger.grant(call).await),
        }
    }

    pub(crate) fn on_model(&self, model: &mut Model) -> String {
        match self {
            Self::Pass(time) => {
                model.now_ms += u64::try_from(time.as_millis()).unwrap();
                String::new()
            }
            Self::Reserve(call) => told::<_, LedgerError>(Ok(model.reserve(call))),
            Self::Bind(call) => told::<_, LedgerError>(Ok(model.bind(call))),
            Self::Extend(call) => told::<_, LedgerError>(Ok(model.extend(call))),
            Self::Settle(call) => told::<_, Overflow>(model.settle(call)),
            Self::Release(call) => told::<_, LedgerError>(Ok(model.release(&call.account, call.request))),
            Self::Expired(shard, limit) => {
                told::<_, LedgerError>(Ok(model.expired(*shard, usize::try_from(*limit).unwrap())))
            }
            Self::Expire(shard, request) => told::<_, LedgerError>(Ok(model.expire(*shard, *request))),
            Self::Credit(call) => told::<_, Overflow>(model.credit(call)),
            Self::Grant(call) => told::<_, Overflow>(model.grant(call)),
        }
    }
}

fn told<Answer: Debug, Error: Debug>(answer: Result<Answer, Error>) -> String {
    match answer {
        Ok(answer) => format!("{answer:?}"),
        Err(error) => format!("{error:?}"),
    }
}
