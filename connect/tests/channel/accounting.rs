//! What the sidecar reckons of its channel, whatever happens to its requests.

use std::collections::HashMap;

use cocoon_connect::channel::account::{Account, Exhausted, Word};
use cocoon_receipts::NanoTon;
use proptest::prelude::*;

const DEPOSIT: NanoTon = NanoTon(1000);

/// At the gateway nothing was claimed so far.
fn fresh() -> Account {
    let mut account = Account::new(DEPOSIT, NanoTon::ZERO);
    hears(&mut account, 0, 0);
    account
}

fn hears(account: &mut Account, charged: u64, held: u64) {
    let moment = account.moment();
    account.heard(moment, Word { charged: NanoTon(charged), held: NanoTon(held) });
}

#[test]
fn the_ceiling_covers_what_was_charged_all_that_runs_and_the_next_one() {
    let mut account = fresh();
    assert_eq!(account.begin(NanoTon(100)), Ok(NanoTon(100)));
    assert_eq!(account.begin(NanoTon(50)), Ok(NanoTon(150)));
    account.charge(NanoTon(100), NanoTon(30));
    assert_eq!(account.begin(NanoTon(10)), Ok(NanoTon(30 + 50 + 10)), "less than was signed before");
    assert_eq!(account.signed(), NanoTon(150), "what was signed stays signed");
    account.free(NanoTon(50));
    account.lose(NanoTon(10));
    assert!(account.is_unsure());
    assert_eq!(account.left(), NanoTon(1000 - 30 - 10));
}

#[test]
fn a_request_beyond_the_deposit_changes_nothing() {
    let mut account = fresh();
    account.begin(NanoTon(900)).unwrap();
    let refused = Exhausted { left: NanoTon(100), part: NanoTon(101) };
    assert_eq!(account.begin(NanoTon(101)), Err(refused));
    assert_eq!(account.begin(NanoTon(u64::MAX)), Err(Exhausted { part: NanoTon(u64::MAX), ..refused }));
    assert_eq!((account.signed(), account.left()), (NanoTon(900), NanoTon(100)));
    account.set_deposited(NanoTon(1001));
    assert_eq!(account.begin(NanoTon(101)), Ok(NanoTon(1001)));
}

#[test]
fn after_a_start_all_that_was_signed_is_spent_until_the_gateway_says_less() {
    let mut account = Account::new(DEPOSIT, NanoTon(400));
    assert_eq!(account.left(), NanoTon(600));
    hears(&mut account, 50, 20);
    assert_eq!(account.left(), NanoTon(930));
    assert!(account.is_unsure(), "what is held may cost less");
    hears(&mut account, 60, 0);
    assert_eq!((account.left(), account.is_unsure()), (NanoTon(940), false));
    hears(&mut account, 5000, u64::MAX);
    assert_eq!(account.left(), NanoTon(600), "its word is bounded by what was signed");
}

#[test]
fn what_ended_after_the_question_is_not_forgotten_for_the_answer() {
    let mut account = fresh();
    account.begin(NanoTon(100)).unwrap();
    account.lose(NanoTon(100));
    let moment = account.moment();
    account.begin(NanoTon(40)).unwrap();
    account.charge(NanoTon(40), NanoTon(30));
    account.heard(moment, Word { charged: NanoTon(7), held: NanoTon::ZERO });
    assert_eq!(account.left(), NanoTon(1000 - 7 - 30));
    assert!(account.is_unsure(), "asked again once nothing runs");
}

#[test]
fn a_receipt_of_more_than_was_signed_for_counts_as_what_was() {
    let mut account = fresh();
    account.begin(NanoTon(10)).unwrap();
    account.charge(NanoTon(10), NanoTon(11));
    assert_eq!(account.left(), NanoTon(990));
}

/// What may happen to a sidecar, and at its gateway.
#[derive(Debug, Clone)]
enum Event {
    Begin {
        part: u64,
    },
    /// The gateway takes a request that was sent.
    Admit {
        which: usize,
    },
    /// The gateway has refused it, and says so.
    Refuse {
        which: usize,
    },
    /// The gateway's request ends: it is charged.
    Charge {
        which: usize,
        share: u64,
    },
    /// Its receipt arrives here.
    Receipt {
        which: usize,
    },
    /// The connection breaks, or the caller hangs up.
    Lose {
        which: usize,
    },
    Ask,
    Answer,
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let which = 0..8_usize;
    let event = prop_oneof![
        4 => (0..300_u64).prop_map(|part| Event::Begin { part }),
        4 => which.clone().prop_map(|which| Event::Admit { which }),
        1 => which.clone().prop_map(|which| Event::Refuse { which }),
        3 => (which.clone(), 0..=100_u64).prop_map(|(which, share)| Event::Charge { which, share }),
        3 => which.clone().prop_map(|which| Event::Receipt { which }),
        2 => which.prop_map(|which| Event::Lose { which }),
        2 => Just(Event::Ask),
        2 => Just(Event::Answer),
        1 => Just(Event::Restart),
    ];
    prop::collection::vec(event, 0..120)
}

/// A request, as both sides have it.
#[derive(Debug, Clone, Copy)]
struct Request {
    part: u64,
    /// Here: what became of it is not known yet.
    open: bool,
    admitted: bool,
    refused: bool,
    cost: Option<u64>,
}

/// An honest gateway, which holds a request's part and charges at most that.
#[derive(Debug, Default)]
struct Gateway {
    requests: HashMap<usize, Request>,
}

impl Gateway {
    fn word(&self) -> Word {
        let charged = self.requests.values().filter_map(|request| request.cost).sum();
        let held = self.requests.values().filter(|request| request.admitted && request.cost.is_none());
        Word { charged: NanoTon(charged), held: NanoTon(held.map(|request| request.part).sum()) }
    }

    /// The request that is meant by a number, of those that `fit`.
    fn pick(&mut self, which: usize, fit: impl Fn(&Request) -> bool) -> Option<&mut Request> {
        let mut fitting: Vec<usize> =
            self.requests.iter().filter(|(_, request)| fit(request)).map(|(key, _)| *key).collect();
        fitting.sort_unstable();
        let key = *fitting.get(which % fitting.len().max(1))?;
        self.requests.get_mut(&key)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_ceiling_covers_what_an_honest_gateway_claims_and_holds(events in events()) {
        let (mut account, mut gateway, mut asked) = (fresh(), Gateway::default(), None);
        let (mut newest, mut lost) = (0, false);
        for event in events {
            match event {
                Event::Begin { part } => {
                    // Until the gateway's word is there, a sidecar begins nothing.
                    let before = account.left();
                    match account.begin(NanoTon(part)) {
                        Ok(ceiling) => {
                            prop_assert!(ceiling <= DEPOSIT && ceiling <= account.signed());
                            prop_assert_eq!(account.left().0, before.0 - part);
                            let request = Request { part, open: true, admitted: false, refused: false, cost: None };
                            gateway.requests.insert(gateway.requests.len(), request);
                        }
                        Err(exhausted) => prop_assert!(part > before.0 && exhausted.left == before),
                    }
                }
                Event::Admit { which } => {
                    if let Some(request) = gateway.pick(which, |one| one.open && !one.admitted && !one.refused) {
                        request.admitted = true;
                    }
                }
                Event::Refuse { which } => {
                    if let Some(request) = gateway.pick(which, |one| one.open && !one.admitted && !one.refused) {
                        request.refused = true;
                        request.open = false;
                        account.free(NanoTon(request.part));
                    }
                }
                Event::Charge { which, share } => {
                    if let Some(request) = gateway.pick(which, |one| one.admitted && one.cost.is_none()) {
                        request.cost = Some(request.part * share / 100);
                    }
                }
                Event::Receipt { which } => {
                    if let Some(request) = gateway.pick(which, |one| one.open && one.cost.is_some()) {
                        request.open = false;
                        account.charge(NanoTon(request.part), NanoTon(request.cost.unwrap()));
                    }
                }
                Event::Lose { which } => {
                    if let Some(request) = gateway.pick(which, |one| one.open) {
                        // What never reached the gateway never does.
                        request.refused |= !request.admitted;
                        request.open = false;
                        account.lose(NanoTon(request.part));
                        lost = true;
                    }
                }
                Event::Ask => asked = Some((account.moment(), gateway.word())),
                Event::Answer => {
                    if let Some((moment, word)) = asked.take() {
                        account.heard(moment, word);
                    }
                }
                Event::Restart => {
                    asked = None;
                    for request in gateway.requests.values_mut().filter(|request| request.open) {
                        request.open = false;
                        request.refused |= !request.admitted;
                    }
                    account = Account::new(DEPOSIT, account.signed());
                    let moment = account.moment();
                    account.heard(moment, gateway.word());
                }
            }
            let word = gateway.word();
            let unadmitted: u64 = gateway.requests.values().filter(|one| one.open && !one.admitted)
                .map(|one| one.part).sum();
            let claims = word.charged.0 + word.held.0 + unadmitted;
            let needed = DEPOSIT.0 - account.left().0;
            prop_assert!(needed >= claims, "needed {needed}, claimed {claims}");
            prop_assert!(account.signed().0 >= needed, "all that is needed is signed");
            prop_assert!(account.signed() <= DEPOSIT);
            prop_assert!(account.signed().0 >= newest, "what is signed stays signed");
            newest = account.signed().0;
        }
        // Once nothing runs, the word tells exactly what was spent.
        let keys: Vec<usize> = gateway.requests.keys().copied().collect();
        for key in keys {
            let request = gateway.requests.get_mut(&key).unwrap();
            if std::mem::take(&mut request.open) {
                request.refused |= !request.admitted;
                account.lose(NanoTon(request.part));
                lost = true;
            }
            if request.admitted && request.cost.is_none() {
                request.cost = Some(0);
            }
        }
        let word = gateway.word();
        hears(&mut account, word.charged.0, word.held.0);
        prop_assert_eq!(DEPOSIT.0 - account.left().0, word.charged.0);
        prop_assert!(!account.is_unsure() || !lost);
    }
}
