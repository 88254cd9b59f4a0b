use cocoon_openapi::CHAT_COMPLETIONS_PATH;
use cocoon_openapi::x_conf::ClientNonce;
use cocoon_receipts::{DeploymentKey, Payer, Price, RequestId, SigningKey};
use cocoon_sealing::{RequestSealer, encode_hex};
use tokio::io::AsyncWriteExt as _;
use tokio_util::io::ReaderStream;

use super::*;
use crate::config::MinPrice;
use crate::epoch::RequestKey;
use crate::keyring::Periods;
use crate::keyring::tests::PERIODS;

const BODY: &str = r#"{"model":"m","messages":[]}"#;
const ACCT: Digest = Digest([6; 32]);

/// What refusals are told apart by here; callers see less.
const UNKNOWN_KEY: &str = "the request is sealed to another key";
const REPLAYED: &str = "it was admitted before";

struct Desk {
    keyring: Arc<Keyring>,
    unsealer: Unsealer,
    signer: SigningKey,
}

/// A sealed request; every part may be changed before it is sent.
struct Letter {
    encapsulated_key: Vec<u8>,
    named: Option<Digest>,
    ticket: Ticket,
    sealed: Vec<u8>,
}

impl Desk {
    fn new(most: usize) -> Self {
        Self::with(PERIODS, most)
    }

    fn with(periods: Periods, most: usize) -> Self {
        let keyring = Arc::new(Keyring::of_tests(periods, most));
        let signer = SigningKey::generate().unwrap();
        let binding = Binding {
            model: "m".into(),
            min_price: MinPrice::default(),
            gateway_keys: vec![signer.public().clone()],
        };
        Self { unsealer: Unsealer::new(Arc::clone(&keyring), binding, 1 << 20), keyring, signer }
    }

    /// The published key.
    fn key(&self, kem: Kem) -> Arc<RequestKey> {
        self.keyring.keys(kem, Some(self.keyring.published()), Instant::now()).remove(0)
    }

    /// As a client writes it that knows the published keyset.
    fn letter(&self, kem: Kem) -> Letter {
        self.letter_with(kem, |_| ())
    }

    fn letter_with(&self, kem: Kem, change: impl Fn(&mut XConf)) -> Letter {
        let mut context = XConf {
            v: 1,
            nonce: ClientNonce([3; 32]),
            ts: now_ms(),
            path: CHAT_COMPLETIONS_PATH.into(),
            model: "m".into(),
            keyset: self.keyring.published(),
            price_max: None,
            max_cost: None,
            acct: None,
            pad: None,
        };
        change(&mut context);
        self.sealed(kem, &x_conf::insert(BODY.as_bytes(), &context).unwrap())
    }

    fn sealed(&self, kem: Kem, plain: &[u8]) -> Letter {
        let mut sealer = RequestSealer::new(self.key(kem).private.public_key()).unwrap();
        let req = RequestId::generate();
        let payer =
            Payer { account: "a".parse().unwrap(), key: "k".parse().unwrap(), project: None, shard: 0 };
        let none = NanoTon(0);
        let ticket = Ticket {
            req,
            attempt: 1,
            keyset: self.keyring.published(),
            enc: Digest::of(&[sealer.encapsulated_key()]),
            acct: ACCT,
            path: CHAT_COMPLETIONS_PATH.into(),
            model: "m".into(),
            price: Price { table: 1, prompt: none, cached: none, completion: none, reasoning: none },
            max_cost: NanoTon(5),
            exp: now_ms() / 1000 + 60,
            payer: DeploymentKey::generate().unwrap().seal(&payer, req).unwrap(),
        };
        Letter {
            encapsulated_key: sealer.encapsulated_key().to_vec(),
            named: None,
            ticket,
            sealed: sealer.seal(plain).unwrap().to_vec(),
        }
    }

    fn announced(&self, letter: &Letter) -> Result<Announced, Refusal> {
        let mut headers = HeaderMap::new();
        let mut header = |name: &'static str, value: String| headers.insert(name, value.parse().unwrap());
        header(ENCAPSULATED_KEY_HEADER, encode_hex(&letter.encapsulated_key));
        header(TICKET_HEADER, letter.ticket.sign(&self.signer).unwrap());
        if let Some(named) = letter.named {
            header(KEY_DIGEST_HEADER, named.to_string());
        }
        self.unsealer.announced(&headers, CHAT_COMPLETIONS_PATH)
    }

    async fn read(&self, letter: &Letter) -> Result<Opened, String> {
        let announced = self.announced(letter).map_err(|refusal| refusal.to_string())?;
        let opened = self.unsealer.open(announced, Body::from(letter.sealed.clone())).await;
        opened.map(|(opened, _)| opened).map_err(|refusal| refusal.to_string())
    }

    async fn refusal(&self, letter: &Letter) -> String {
        self.read(letter).await.map(drop).unwrap_err()
    }
}

#[tokio::test]
async fn the_length_of_the_encapsulated_key_chooses_the_key_that_opens() {
    let desk = Desk::new(10);
    for kem in Kem::ALL {
        let opened = desk.read(&desk.letter(kem)).await.unwrap();
        assert_eq!(opened.body.unwrap(), BODY.as_bytes());
        let mut short = desk.letter(kem);
        short.encapsulated_key.pop();
        assert_eq!(desk.refusal(&short).await, "the encapsulated key is malformed");
    }
}

#[tokio::test]
async fn a_keyset_that_is_named_is_the_only_one_tried() {
    let desk = Desk::new(10);
    for kem in Kem::ALL {
        let first = desk.keyring.published();
        let mut right = desk.letter(kem);
        let mut wrong = desk.letter(kem);
        desk.keyring.rotate();
        let second = desk.keyring.published();
        right.named = Some(first);
        assert!(desk.read(&right).await.is_ok(), "an earlier key is still accepted");
        wrong.named = Some(second);
        wrong.ticket.keyset = second;
        assert_eq!(desk.refusal(&wrong).await, UNKNOWN_KEY);
        wrong.named = Some(first);
        assert_eq!(desk.refusal(&wrong).await, "its ticket is for another keyset");
        wrong.named = Some(Digest([0; 32]));
        assert_eq!(desk.refusal(&wrong).await, UNKNOWN_KEY);
    }
}

/// A plain EHBP client says nothing of its key, and its gateway cannot know.
#[tokio::test]
async fn without_a_name_every_accepted_key_is_tried_under_a_ticket_for_any_of_them() {
    let desk = Desk::new(10);
    for kem in Kem::ALL {
        let mut bare = desk.sealed(kem, BODY.as_bytes());
        let first = desk.keyring.published();
        let mut with_context = desk.letter(kem);
        let mut moved = desk.letter(kem);
        desk.keyring.rotate();
        let second = desk.keyring.published();
        for letter in [&mut bare, &mut with_context] {
            letter.ticket.keyset = second;
            let opened = desk.read(letter).await.unwrap();
            assert_eq!(opened.ticket.keyset, second);
        }
        moved.ticket.keyset = Digest([0; 32]);
        assert_eq!(desk.refusal(&moved).await, UNKNOWN_KEY, "no keyset of this backend");
        let mut lying = desk.letter_with(kem, |context| context.keyset = first);
        assert_eq!(desk.refusal(&lying).await, "its x_conf is for another keyset");
        lying = desk.letter_with(kem, |context| context.keyset = first);
        lying.ticket.keyset = first;
        assert_eq!(
            desk.refusal(&lying).await,
            "its x_conf is for another keyset",
            "the ticket changes nothing"
        );
    }
}

#[tokio::test]
async fn a_request_is_opened_once_whatever_is_said_of_it_the_second_time() {
    let desk = Desk::new(10);
    for kem in Kem::ALL {
        let mut letter = desk.letter(kem);
        let first = letter.ticket.keyset;
        assert!(desk.read(&letter).await.is_ok());
        assert_eq!(desk.refusal(&letter).await, REPLAYED);
        desk.keyring.rotate();
        assert_eq!(desk.refusal(&letter).await, REPLAYED, "the earlier key remembers");
        letter.named = Some(first);
        assert_eq!(desk.refusal(&letter).await, REPLAYED);
        letter.named = None;
        letter.ticket.keyset = desk.keyring.published();
        letter.ticket.req = RequestId::generate();
        assert_eq!(desk.refusal(&letter).await, REPLAYED);
    }
}

#[tokio::test]
async fn what_does_not_open_is_not_admitted() {
    let desk = Desk::new(10);
    let letter = desk.letter(Kem::X25519);
    let mut torn = desk.letter(Kem::X25519);
    (torn.encapsulated_key, torn.ticket) = (letter.encapsulated_key.clone(), letter.ticket.clone());
    assert_eq!(desk.refusal(&torn).await, UNKNOWN_KEY, "another's frames");
    assert!(desk.read(&letter).await.is_ok());
}

/// X25519 passes over the top bit of a point. Were it taken for the same key, a request could be sent twice.
#[tokio::test]
async fn a_bit_that_the_key_exchange_passes_over_makes_another_key() {
    let desk = Desk::new(10);
    for kem in Kem::ALL {
        let mut letter = desk.letter(kem);
        let honest = letter.encapsulated_key.clone();
        *letter.encapsulated_key.last_mut().unwrap() ^= 0x80;
        letter.ticket.enc = Digest::of(&[&letter.encapsulated_key]);
        assert_eq!(desk.refusal(&letter).await, UNKNOWN_KEY);
        letter.ticket.enc = Digest::of(&[&honest]);
        letter.encapsulated_key = honest;
        assert!(desk.read(&letter).await.is_ok());
    }
}

#[tokio::test]
async fn a_full_key_is_busy_and_the_next_one_is_not() {
    let desk = Desk::new(1);
    let (first, second, late) =
        (desk.letter(Kem::X25519), desk.letter(Kem::X25519), desk.letter(Kem::X25519));
    assert!(desk.read(&first).await.is_ok());
    assert_eq!(desk.refusal(&second).await, Refusal::Busy.to_string());
    assert!(desk.read(&desk.letter(Kem::XWing)).await.is_ok(), "that has a set of its own");
    desk.keyring.rotate();
    assert_eq!(desk.refusal(&first).await, UNKNOWN_KEY, "nothing full is kept");
    assert_eq!(desk.refusal(&late).await, UNKNOWN_KEY);
    assert!(desk.read(&desk.letter(Kem::X25519)).await.is_ok());
}

/// Guards against a key that is taken when the headers come: a slow body would keep it alive for as long as it likes.
#[tokio::test(start_paused = true)]
async fn a_key_whose_time_is_over_before_the_first_frame_opens_nothing() {
    let second = Duration::from_secs(1);
    let periods = Periods { published: second * 3600, x25519_overlap: second * 9, xwing_overlap: second * 4 };
    for (kem, opens) in [(Kem::X25519, true), (Kem::XWing, false)] {
        let desk = Desk::with(periods, 10);
        let mut letter = desk.letter(kem);
        letter.named = Some(letter.ticket.keyset);
        let until = desk.keyring.rotate();
        tokio::time::sleep_until(until).await;
        let announced = desk.announced(&letter).unwrap();
        let (mut writing, reading) = tokio::io::duplex(1 << 16);
        let slow = async {
            writing.write_all(&[0; 4]).await.unwrap();
            tokio::time::sleep(second * 5).await;
            writing.write_all(&letter.sealed).await.unwrap();
            drop(writing);
        };
        let body = Body::from_stream(ReaderStream::new(reading));
        let (opened, ()) = tokio::join!(desk.unsealer.open(announced, body), slow);
        assert_eq!(opened.is_ok(), opens, "{kem:?}");
    }
}

#[tokio::test]
async fn a_context_of_another_api_key_is_refused() {
    let desk = Desk::new(10);
    let same = desk.letter_with(Kem::X25519, |context| context.acct = Some(ACCT));
    assert!(desk.read(&same).await.is_ok());
    let other = desk.letter_with(Kem::X25519, |context| context.acct = Some(Digest([7; 32])));
    assert_eq!(desk.refusal(&other).await, "its x_conf is of another API key than its ticket");
}

#[tokio::test]
async fn a_plain_ehbp_body_must_be_for_the_tickets_model_and_path() {
    let desk = Desk::new(10);
    let opened = desk.read(&desk.sealed(Kem::X25519, BODY.as_bytes())).await.unwrap();
    assert_eq!((opened.cn, opened.body_digest), (Digest::of(&[]), None));
    for (body, cause) in [
        (
            r#"{"model":"n","messages":[]}"#,
            "it has no x_conf, and its body names another model than its ticket",
        ),
        (r#"{"model":"m","prompt":""}"#, "it has no x_conf, and its body is not of its path"),
    ] {
        assert_eq!(desk.refusal(&desk.sealed(Kem::X25519, body.as_bytes())).await, cause);
    }
    let opened = desk.read(&desk.sealed(Kem::X25519, b"[]")).await.unwrap();
    assert!(opened.body.is_err(), "its writer is told, under the seal");
}

#[tokio::test]
async fn an_answer_is_padded_unless_the_client_says_0() {
    let desk = Desk::new(10);
    for (pad, padded) in [(None, true), (Some(1), true), (Some(0), false)] {
        let letter = desk.letter_with(Kem::X25519, |context| context.pad = pad);
        assert_eq!(desk.read(&letter).await.unwrap().pad, padded, "{pad:?}");
    }
    assert!(desk.read(&desk.sealed(Kem::X25519, BODY.as_bytes())).await.unwrap().pad);
}
