use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cocoon_attestation::{Tee, tree};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

/// Signs by putting the root where the quote would be. Each quote takes a permit.
struct Counting {
    permits: Semaphore,
    made: AtomicUsize,
    at: Mutex<Vec<Instant>>,
    failing: bool,
}

impl Counting {
    fn new(permits: usize) -> Arc<Self> {
        let (made, at) = (AtomicUsize::new(0), Mutex::default());
        Arc::new(Self { permits: Semaphore::new(permits), made, at, failing: false })
    }

    fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}

impl Witness for Arc<Counting> {
    async fn attest(&self, root: Digest) -> Result<Document, EvidenceError> {
        self.made.fetch_add(1, Ordering::Relaxed);
        self.at.lock().unwrap().push(Instant::now());
        self.permits.acquire().await.unwrap().forget();
        if self.failing {
            return Err(super::super::TsmError::Empty.into());
        }
        let empty = Section::default;
        Ok(Document {
            tee: Tee::Tdx,
            keyset: empty(),
            devices: empty(),
            quote: Section(root.0.to_vec()),
            nonce_path: empty(),
            collateral: empty(),
            event_log: empty(),
            release_bundle: empty(),
        })
    }
}

/// A desk that is served until the set is dropped.
fn desk(witness: &Arc<Counting>) -> (Desk, JoinSet<()>) {
    let (desk, maker) = Desk::new(Arc::clone(witness), SECOND);
    let mut tasks = JoinSet::new();
    tasks.spawn(maker.run(CancellationToken::new()));
    (desk, tasks)
}

fn nonce(number: usize) -> Nonce {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Nonce(bytes)
}

/// What a verifier does: from its own nonce, by the path, to what the quote is on.
fn is_fresh_for(document: &Document, nonce: Nonce) -> bool {
    tree::root_of(&nonce, &document.nonce_path.0).is_some_and(|root| root.0 == *document.quote.0)
}

fn ask(desk: &Desk, callers: std::ops::Range<usize>) -> JoinSet<(usize, Result<Document, Unavailable>)> {
    let mut asking = JoinSet::new();
    for number in callers {
        let desk = desk.clone();
        asking.spawn(async move { (number, desk.document(nonce(number)).await) });
    }
    asking
}

#[tokio::test(start_paused = true)]
async fn after_silence_a_caller_is_served_at_once() {
    let witness = Counting::new(10);
    let (desk, _tasks) = desk(&witness);
    for number in 0..3 {
        tokio::time::sleep(2 * SECOND).await;
        let before = Instant::now();
        let document = desk.document(nonce(number)).await.unwrap();
        assert_eq!(before.elapsed(), Duration::ZERO);
        assert!(document.nonce_path.0.is_empty() && is_fresh_for(&document, nonce(number)));
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_come_within_the_interval_share_the_next_quote() {
    let witness = Counting::new(10);
    let (desk, _tasks) = desk(&witness);
    let begun = Instant::now();
    desk.document(nonce(0)).await.unwrap();
    let callers = ask(&desk, 1..301).join_all().await;
    assert_eq!(begun.elapsed(), SECOND);
    for (number, document) in callers {
        let document = document.unwrap();
        assert!(is_fresh_for(&document, nonce(number)), "caller {number}");
        assert!(!is_fresh_for(&document, nonce(number + 1000)), "for nobody else");
    }
    assert_eq!(witness.made(), 2);
}

#[tokio::test(start_paused = true)]
async fn there_is_never_more_than_one_quote_in_an_interval_however_many_ask() {
    let witness = Counting::new(1000);
    let (desk, _tasks) = desk(&witness);
    let mut asking = JoinSet::new();
    for caller in 0..50 {
        let desk = desk.clone();
        asking.spawn(async move {
            for round in 0..10 {
                desk.document(nonce(caller * 100 + round)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(37 * caller as u64 % 400)).await;
            }
        });
    }
    asking.join_all().await;
    let at = witness.at.lock().unwrap();
    assert!(at.windows(2).all(|two| two[1] - two[0] >= SECOND), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn those_who_come_while_a_quote_is_made_get_the_next_one() {
    let witness = Counting::new(0);
    let (desk, _tasks) = desk(&witness);
    let first = ask(&desk, 0..1);
    tokio::time::sleep(MOMENT).await;
    let later = ask(&desk, 1..3);
    tokio::time::sleep(MOMENT).await;
    witness.permits.add_permits(1);
    let first = first.join_all().await;
    assert!(is_fresh_for(first[0].1.as_ref().unwrap(), nonce(0)));
    witness.permits.add_permits(1);
    for (number, document) in later.join_all().await {
        assert!(is_fresh_for(&document.unwrap(), nonce(number)));
    }
    assert_eq!(witness.made(), 2);
}

#[tokio::test(start_paused = true)]
async fn more_callers_than_one_tree_holds_are_turned_away_and_the_others_served() {
    let witness = Counting::new(0);
    let (desk, _tasks) = desk(&witness);
    let first = ask(&desk, 0..1);
    tokio::time::sleep(MOMENT).await;
    let waiting = ask(&desk, 1..MAX_LEAVES + 1);
    tokio::time::sleep(MOMENT).await;
    assert_eq!(desk.document(nonce(9999)).await, Err(Unavailable::Busy));
    witness.permits.add_permits(2);
    for (number, document) in first.join_all().await.into_iter().chain(waiting.join_all().await) {
        assert!(is_fresh_for(&document.unwrap(), nonce(number)));
    }
    witness.permits.add_permits(1);
    assert!(desk.document(nonce(9999)).await.is_ok(), "once there is a place");
}

#[tokio::test(start_paused = true)]
async fn callers_who_give_up_cost_nothing() {
    let witness = Counting::new(10);
    let (desk, _tasks) = desk(&witness);
    desk.document(nonce(0)).await.unwrap();
    let gone = tokio::time::timeout(MOMENT, ask(&desk, 1..MAX_LEAVES + 1).join_all()).await;
    assert!(gone.is_err(), "they would have had to wait");
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(witness.made(), 1, "nobody was left to make one for");
    assert!(desk.document(nonce(1)).await.is_ok(), "and their places are free");
}

#[tokio::test(start_paused = true)]
async fn evidence_that_cannot_be_gathered_is_said_to_all_and_tried_again() {
    let failing = Counting { failing: true, ..Arc::into_inner(Counting::new(10)).unwrap() };
    let failing = Arc::new(failing);
    let (desk, _tasks) = desk(&failing);
    for (_, document) in ask(&desk, 0..3).join_all().await {
        assert_eq!(document, Err(Unavailable::Failed));
    }
    let before = Instant::now();
    assert_eq!(desk.document(nonce(4)).await, Err(Unavailable::Failed));
    assert!(before.elapsed() <= SECOND && failing.made() == 2, "not more often than quotes");
}

#[tokio::test(start_paused = true)]
async fn evidence_that_never_comes_is_given_up() {
    let witness = Counting::new(0);
    let (desk, _tasks) = desk(&witness);
    let before = Instant::now();
    assert_eq!(desk.document(nonce(0)).await, Err(Unavailable::Failed));
    assert_eq!(before.elapsed(), GATHER_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_desk_that_has_closed_says_so_at_once() {
    let witness = Counting::new(0);
    let (desk, maker) = Desk::new(Arc::clone(&witness), SECOND);
    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(maker.run(stop.clone()));
    let waiting = ask(&desk, 0..1);
    tokio::time::sleep(MOMENT).await;
    stop.cancel();
    assert_eq!(waiting.join_all().await, [(0, Err(Unavailable::Failed))]);
    assert_eq!(desk.document(nonce(1)).await, Err(Unavailable::Failed));
}
