//! The client's ciphertext on its way to a backend: handed on as it comes, never held whole. Its beginning is kept, so
//! that another backend can be given it from the start while nothing more was read.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body as ClientBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// Most bytes that are kept for another attempt.
const REPLAY_LIMIT: usize = 256 << 10;

/// Why a body does not go on. What the client is told follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the request body is over the limit")]
    TooLarge,
    #[error("the request body did not arrive in time")]
    TimedOut,
    #[error("the request body broke off")]
    BrokeOff,
    #[error("the request is sent elsewhere by now")]
    Superseded,
}

/// A request's body, read once and given to as many attempts as its beginning is kept for.
#[derive(Debug, Clone)]
pub struct Source(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    body: ClientBody,
    /// All that was read, while it is at most [`REPLAY_LIMIT`]; none once it was more.
    kept: Option<Vec<Bytes>>,
    read: u64,
    limit: u64,
    /// All of it was read.
    whole: bool,
    failure: Option<BodyError>,
    /// Number of the attempt that may read on.
    attempt: u32,
    time_limit: Pin<Box<Sleep>>,
}

impl Source {
    /// At most `limit` bytes, within `time`.
    #[must_use]
    pub fn new(body: ClientBody, limit: u64, time: Duration) -> Self {
        Self(Arc::new(Mutex::new(State {
            whole: body.is_end_stream(),
            body,
            kept: Some(Vec::new()),
            read: 0,
            limit,
            failure: None,
            attempt: 0,
            time_limit: Box::pin(tokio::time::sleep(time)),
        })))
    }

    /// The body for a further attempt, from its first byte; the attempts before read nothing more. None where its
    /// beginning is no longer kept, or it has failed.
    #[must_use]
    pub fn attempt(&self) -> Option<Attempt> {
        let mut state = self.state();
        if state.kept.is_none() || state.failure.is_some() {
            return None;
        }
        state.attempt += 1;
        Some(Attempt { source: self.clone(), number: state.attempt, replayed: 0, sent: 0 })
    }

    /// Whether an attempt may have been given all of it: nothing runs before that.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.state().whole
    }

    /// Why it does not go on, if it does not.
    #[must_use]
    pub fn failure(&self) -> Option<BodyError> {
        self.state().failure
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The next bytes from the client.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(failure) = self.failure {
                return Poll::Ready(Some(Err(failure)));
            }
            if self.whole {
                return Poll::Ready(None);
            }
            let polled = Pin::new(&mut self.body).poll_frame(context);
            if polled.is_pending() {
                ready!(self.time_limit.as_mut().poll(context));
                self.failure = Some(BodyError::TimedOut);
                continue;
            }
            match ready!(polled) {
                None => self.whole = true,
                Some(Err(_)) => self.failure = Some(BodyError::BrokeOff),
                // Trailers of a request have no meaning here.
                Some(Ok(frame)) => {
                    let Ok(chunk) = frame.into_data() else { continue };
                    if chunk.is_empty() {
                        continue;
                    }
                    self.read += chunk.len() as u64;
                    if self.read > self.limit {
                        self.failure = Some(BodyError::TooLarge);
                        continue;
                    }
                    self.whole = self.body.is_end_stream();
                    self.keep(&chunk);
                    return Poll::Ready(Some(Ok(chunk)));
                }
            }
        }
    }

    fn keep(&mut self, chunk: &Bytes) {
        if self.read > REPLAY_LIMIT as u64 {
            self.kept = None;
        } else if let Some(kept) = &mut self.kept {
            kept.push(chunk.clone());
        }
    }
}

/// The body as one attempt sends it: first what was read before, then what comes.
#[derive(Debug)]
pub struct Attempt {
    source: Source,
    number: u32,
    /// Kept chunks that this attempt has sent.
    replayed: usize,
    /// Bytes that this attempt has sent.
    sent: u64,
}

impl Body for Attempt {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let source = self.source.clone();
        let mut state = source.state();
        if state.attempt != self.number {
            return Poll::Ready(Some(Err(BodyError::Superseded)));
        }
        if let Some(chunk) = state.kept.as_ref().and_then(|kept| kept.get(self.replayed)).cloned() {
            self.replayed += 1;
            self.sent += chunk.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        let read = ready!(state.poll_read(context));
        Poll::Ready(read.map(|chunk| {
            let chunk = chunk?;
            // What was just read is sent, and is no longer to be replayed by this attempt.
            self.replayed += 1;
            self.sent += chunk.len() as u64;
            Ok(Frame::data(chunk))
        }))
    }

    fn is_end_stream(&self) -> bool {
        let state = self.source.state();
        state.attempt == self.number && state.whole && self.sent == state.read
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.source.state();
        // A length that the client announced is announced to the backend.
        match state.body.size_hint().exact() {
            Some(left) => SizeHint::with_exact((state.read + left).saturating_sub(self.sent)),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;

    use super::*;

    const TIME: Duration = Duration::from_secs(60);

    /// A client that sends these chunks.
    fn client(chunks: Vec<Bytes>) -> ClientBody {
        let frames = chunks.into_iter().map(|chunk| Ok::<_, BodyError>(Frame::data(chunk)));
        ClientBody::new(StreamBody::new(stream::iter(frames)))
    }

    fn source(chunks: Vec<Bytes>) -> Source {
        Source::new(client(chunks), 1 << 20, TIME)
    }

    async fn read(attempt: &mut Attempt, frames: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..frames {
            match attempt.frame().await {
                Some(frame) => bytes.extend(frame.unwrap().into_data().unwrap()),
                None => break,
            }
        }
        bytes
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    proptest! {
        /// However the client cuts its body, and wherever the attempts before broke off: each sends the same bytes.
        #[test]
        fn every_attempt_sends_the_same_bytes(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..20),
            broke_off in proptest::collection::vec(0usize..20, 0..3),
        ) {
            let whole = chunks.concat();
            let chunks: Vec<Bytes> = chunks.into_iter().map(Bytes::from).collect();
            runtime().block_on(async {
                let source = source(chunks);
                for frames in broke_off {
                    let part = read(&mut source.attempt().unwrap(), frames).await;
                    assert!(whole.starts_with(&part));
                }
                let last = source.attempt().unwrap().collect().await.unwrap().to_bytes();
                assert_eq!(last, whole);
                assert!(source.is_whole());
            });
        }
    }

    #[tokio::test]
    async fn a_body_that_is_not_kept_any_more_is_sent_once() {
        let chunk = Bytes::from(vec![7; REPLAY_LIMIT / 2]);
        let source = source(vec![chunk.clone(), chunk.clone(), Bytes::from_static(b"x")]);
        let mut first = source.attempt().unwrap();
        read(&mut first, 2).await;
        drop(first);
        let mut second = source.attempt().unwrap();
        assert_eq!(read(&mut second, 9).await.len(), REPLAY_LIMIT + 1);
        assert!(source.attempt().is_none(), "it was more than is kept");
        assert!(source.is_whole());
    }

    #[tokio::test]
    async fn an_attempt_that_was_given_up_takes_no_byte_from_the_next() {
        let source = source(vec![Bytes::from_static(b"ab"), Bytes::from_static(b"cd")]);
        let mut first = source.attempt().unwrap();
        read(&mut first, 1).await;
        let mut second = source.attempt().unwrap();
        assert_eq!(first.frame().await.unwrap().unwrap_err(), BodyError::Superseded);
        assert_eq!(read(&mut second, 9).await, b"abcd");
    }

    #[tokio::test]
    async fn a_body_over_the_limit_fails_and_is_not_whole() {
        let source = Source::new(client(vec![Bytes::from_static(b"ab"); 3]), 5, TIME);
        let error = source.attempt().unwrap().collect().await.unwrap_err();
        assert_eq!((error, source.failure()), (BodyError::TooLarge, Some(BodyError::TooLarge)));
        assert!(!source.is_whole() && source.attempt().is_none());
    }

    #[tokio::test]
    async fn a_body_that_stalls_times_out() {
        let stalled = stream::pending::<Result<Frame<Bytes>, BodyError>>();
        let source = Source::new(ClientBody::new(StreamBody::new(stalled)), 5, Duration::from_millis(10));
        assert_eq!(source.attempt().unwrap().collect().await.unwrap_err(), BodyError::TimedOut);
    }

    #[tokio::test]
    async fn a_length_that_was_announced_is_announced_to_every_attempt() {
        let source = Source::new(ClientBody::from("abcd"), 9, TIME);
        let mut first = source.attempt().unwrap();
        assert_eq!(first.size_hint().exact(), Some(4));
        read(&mut first, 1).await;
        assert!(first.is_end_stream());
        let second = source.attempt().unwrap();
        assert_eq!(second.size_hint().exact(), Some(4));
        assert!(!second.is_end_stream());
    }
}
